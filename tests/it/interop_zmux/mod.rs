//! The QMux wire against a third implementation, the crates `zmux` and `zmux-websocket`. This
//! module runs the tests of `foreign`, and tests of features that only these crates have. Each test
//! runs with our server and with our client.

use wsmux_testing::interop;
mod theirs;

use bytes::Bytes;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use wsmux::{
    Config, SendDatagramError, WebSocketClient, WebSocketClientBuilder, WebSocketServer,
    WebSocketServerBuilder,
};
use zmux::{DatagramError, Session};
use zmux_websocket::Options;

use crate::foreign::{self, *};
use interop::*;

type Them = Session;

every_test! { zmux::Session }

in_both_roles! {
    our_reset_after_a_part_of_a_stream_keeps_that_part,
    a_drain_of_either_end_loses_nothing,
    there_are_no_datagrams_where_one_end_takes_none,
    an_application_protocol_is_agreed_on_by_each_name,
}

/// The crate delivers the bytes below the reliable size, as RESET_STREAM_AT promises. The crate
/// `qmux` discards them.
async fn our_reset_after_a_part_of_a_stream_keeps_that_part(role: Role) {
    let pair = Pair::<Them>::new(role, Config::default(), zmux::Config::default()).await;
    for opener in Opener::BOTH {
        let (mut stream, (_their_send, mut their_recv)) = pair.open(opener).await;
        stream.send().write_all(b"kept and dropped").await.unwrap();
        // If this end opened the stream, it has already sent one byte, which counts towards the
        // reliable size. So the peer gets at least four bytes of this text.
        stream.send().reset_at(code(42), 5).unwrap();
        let (kept, end) = they_read_to_end(&mut their_recv).await;
        assert!(b"kept and dropped".starts_with(&kept) && kept.len() >= 4, "{kept:?}");
        assert_eq!(end, Some(End::Code(42)));
    }
    pair.exchange(Opener::Us, 100_000).await;
}

/// This test is not in `foreign`, because the crate `qmux` sometimes reports the end of the
/// connection as `Closed`, without the code.
async fn a_drain_of_either_end_loses_nothing(role: Role) {
    for opener in Opener::BOTH {
        let pair = Pair::<Them>::new(role, Config::default(), zmux::Config::default()).await;
        let (mut stream, (mut their_send, mut their_recv)) = pair.open(opener).await;
        // When the drain begins, the stream is open, and nearly all data is still to be sent.
        let (send, recv) = stream.split();
        let all = async {
            tokio::join!(
                send_pattern(send, 1, 4 * MIB),
                receive_pattern(recv, 2, 4 * MIB),
                they_send_pattern(&mut their_send, 2, 4 * MIB),
                they_receive_pattern(&mut their_recv, 1, 4 * MIB),
            );
        };
        pair.ours.drain();
        let ((), end) = tokio::join!(all, within("the drain", pair.ours.closed()));
        let (code, _) = within("their end", Foreign::closed(&pair.theirs)).await;
        assert_eq!(code, 0, "{end:?}");
    }
}

async fn there_are_no_datagrams_where_one_end_takes_none(role: Role) {
    let pair = Pair::<Them>::new(role, Config::default(), zmux::Config::default()).await;
    let refused = pair.ours.send_datagram(Bytes::new());
    assert!(matches!(refused, Err(SendDatagramError::UnsupportedByPeer)), "{refused:?}");

    let none = config(|config| _ = config.datagram_receive_buffer_size(0));
    let theirs = Them::config(Settings { datagrams: true, ..Settings::default() });
    let pair = Pair::<Them>::new(role, none, theirs).await;
    let refused = pair.theirs.send_datagram(Bytes::new());
    assert!(matches!(refused, Err(DatagramError::NotNegotiated)), "{refused:?}");
}

/// Connects both ends. If `offered` is given, the crate's client offers these subprotocols instead
/// of those in its options.
async fn connected(
    role: Role,
    server: WebSocketServerBuilder,
    client: WebSocketClientBuilder,
    offered: Option<&str>,
    options: Options,
) -> Pair<Them> {
    let config = zmux::Config::default();
    match role {
        Role::WeServe => {
            let connect = async |url: String| {
                let mut request = url.into_client_request().expect("a URL");
                if let Some(offered) = offered {
                    let value = offered.parse().expect("a header's value");
                    request.headers_mut().insert("sec-websocket-protocol", value);
                }
                let connected = zmux_websocket::connect(request, &options, config);
                connected.await.expect("their connection")
            };
            Pair::we_serve(server, "ws", connect).await
        }
        Role::WeConnect => {
            let serve = |tcp| theirs::Server::start(tcp, None, options, config);
            Pair::we_connect(client, "ws", serve).await
        }
    }
}

/// A subprotocol has one of two forms. The first form is the name of the current or the older
/// version, a dot, and the application protocol. The second form is the application protocol alone.
async fn an_application_protocol_is_agreed_on_by_each_name(role: Role) {
    let chat = || Options::for_application("chat");
    for (name, options, application) in [
        ("qmux-02.chat", chat(), "chat"),
        ("qmux-01.chat", chat(), "chat"),
        ("moqt-18", Options::for_protocol("moqt-18"), "moqt-18"),
        ("com.example.rpc", Options::for_protocol("com.example.rpc"), "com.example.rpc"),
    ] {
        let server = WebSocketServer::builder().protocol("chat");
        let server = server.bare_protocol("moqt-18").bare_protocol("com.example.rpc");
        let client = WebSocketClient::builder().subprotocols([name]);
        let pair = connected(role, server, client, Some(name), options).await;
        assert_eq!(pair.ours.subprotocol(), Some(name));
        assert_eq!(pair.ours.protocol(), Some(application));
        assert_eq!(pair.theirs.protocol().as_deref(), Some(name));
        pair.exchange(Opener::Us, 1_000).await;
        pair.exchange(Opener::Them, 1_000).await;
    }
    // Now each client offers the subprotocols that it offers by default.
    let server = WebSocketServer::builder().protocol("chat");
    let client = WebSocketClient::builder().protocol("chat");
    let pair = connected(role, server, client, None, chat()).await;
    assert_eq!(pair.ours.subprotocol(), Some("qmux-02.chat"));
}
