//! Tests of the QMux wire against another implementation, the crate `qmux`. This module runs the
//! tests of `foreign`, and tests of features that only this crate has. Each test runs with our
//! server and with our client.

use wsmux_testing::interop;
mod theirs;
#[cfg(feature = "web-transport")]
mod web_transport;

use qmux::{
    Session,
    ws::{Client, Server},
};
use web_transport_trait::Session as _;
use wsmux::{Config, WebSocketClient, WebSocketServer};

use crate::foreign::{self, *};
use interop::*;

type Them = Session;

every_test! { qmux::Session }

in_both_roles! {
    our_reset_after_a_part_of_a_stream_is_a_reset_to_them,
    an_application_protocol_is_agreed_on,
    a_peer_that_knows_the_older_draft_alone_is_understood,
}

/// The crate discards even the bytes below the reliable size, which RESET_STREAM_AT promises to
/// deliver.
async fn our_reset_after_a_part_of_a_stream_is_a_reset_to_them(role: Role) {
    let pair = Pair::<Them>::new(role, Config::default(), qmux::Config::default()).await;
    for opener in Opener::BOTH {
        let (mut stream, (_, mut their_recv)) = pair.open(opener).await;
        stream.send().write_all(b"kept and dropped").await.unwrap();
        stream.send().reset_at(code(42), 5).unwrap();
        assert_eq!(they_read_to_end(&mut their_recv).await.1, Some(End::Code(42)));
    }
    pair.exchange(Opener::Us, 100_000).await;
}

async fn connected(
    role: Role,
    (our_server, their_client): (wsmux::WebSocketServerBuilder, Client),
    (our_client, their_server): (wsmux::WebSocketClientBuilder, Server),
) -> Pair<Them> {
    match role {
        Role::WeServe => {
            let connect =
                async |url: String| their_client.connect(&url).await.expect("their connection");
            Pair::we_serve(our_server, "ws", connect).await
        }
        Role::WeConnect => {
            let serve = |tcp| theirs::Server { tcp, tls: None, server: their_server };
            Pair::we_connect(our_client, "ws", serve).await
        }
    }
}

async fn an_application_protocol_is_agreed_on(role: Role) {
    let pair = connected(
        role,
        (WebSocketServer::builder().protocol("chat"), Client::new().with_protocol("chat", &[])),
        (WebSocketClient::builder().protocol("chat"), Server::new().with_protocol("chat", &[])),
    )
    .await;
    assert_eq!(pair.ours.subprotocol(), Some("qmux-02.chat"));
    assert_eq!(pair.theirs.protocol(), Some("chat"));
    pair.exchange(Opener::Us, 1_000).await;
}

async fn a_peer_that_knows_the_older_draft_alone_is_understood(role: Role) {
    const OLDER: &[qmux::Version] = &[qmux::Version::QMux01];
    let our_client = WebSocketClient::builder().protocol("moqt-18").older_versions(true);
    let pair = connected(
        role,
        (
            WebSocketServer::builder().protocol("moqt-18"),
            Client::new().with_protocol("moqt-18", OLDER).require_protocol(),
        ),
        (
            our_client.require_protocol(true),
            Server::new().with_protocol("moqt-18", OLDER).require_protocol(),
        ),
    )
    .await;
    assert_eq!(pair.ours.subprotocol(), Some("qmux-01.moqt-18"));
    assert_eq!(pair.ours.protocol(), Some("moqt-18"));
    assert_eq!(pair.theirs.protocol(), Some("moqt-18"));
    pair.exchange(Opener::Us, 1_000_000).await;
    pair.exchange(Opener::Them, 1_000_000).await;
}
