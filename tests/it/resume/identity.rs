//! Which clients may resume a connection, and what happens to a client that may not.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use wsmux::{
    AcceptError, Config, SessionState, WebSocketClient, WebSocketServer, WebSocketServerBuilder,
    authorize::{Accept, Basic, Bearer, Refuse, UpgradeRequest, User},
    http::StatusCode,
    rustls::{self, client::ResolvesClientCert, sign::CertifiedKey},
};
use wsmux_testing::server::Tls;

use super::{
    config, ended_by_the_loss, lose,
    place::{Ends, Place},
};

/// Cuts the connection. The client then comes back, and the server refuses it. Returns the server's
/// error for this client.
async fn come_back_in_vain(ends: &Ends) -> AcceptError {
    ends.talk().await;
    assert_eq!(ends.client.session_state(), SessionState::Live);
    lose(ends).await;
    ended_by_the_loss(&ends.client).await;
    // The client did not try again.
    assert_eq!(ends.cutter.accepted(), 2);
    ends.place.refused().await
}

/// Returns the error of a server to which a client comes back with a session that the server never
/// had.
async fn said_of_an_unknown_session() -> String {
    let builder = || WebSocketServer::builder().config(config());
    let (before, after) =
        (Place::start(builder(), "ws").await, Place::start(builder(), "ws").await);
    let ends = before.connect(WebSocketClient::builder().config(config())).await;
    ends.cutter.forward_to(after.server.local_addr().unwrap());
    lose(&ends).await;
    ended_by_the_loss(&ends.client).await;
    assert_eq!(ends.cutter.accepted(), 2);
    // The server that has the session waits for the client.
    assert_eq!(ends.server.session_state(), SessionState::Suspended);
    after.refused().await.to_string()
}

/// Returns a server whose hook answers each client with the result of `accept`. The argument of
/// `accept` is the number of clients that came before.
fn server_of(
    accept: impl Fn(usize) -> Result<Accept, Refuse> + Send + Sync + 'static,
) -> WebSocketServerBuilder {
    let count = AtomicUsize::new(0);
    WebSocketServer::builder().config(config()).authorizer(move |_: UpgradeRequest| {
        let answer = accept(count.fetch_add(1, Ordering::Relaxed));
        async move { answer }
    })
}

#[tokio::test]
async fn another_identity_gets_the_answer_for_an_unknown_session() {
    let unknown = said_of_an_unknown_session().await;
    type Hook = fn(usize) -> Result<Accept, Refuse>;
    let hooks: [Hook; 3] = [
        |nth| Ok(Accept::new().identity(["one", "another"][nth])),
        |nth| Ok(if nth == 0 { Accept::new().identity("one") } else { Accept::new() }),
        |nth| Ok(Accept::new().data(User(["one", "another"][nth].to_owned()))),
    ];
    for hook in hooks {
        let place = Place::start(server_of(hook), "ws").await;
        let ends = place.connect(WebSocketClient::builder().config(config())).await;
        assert_eq!(come_back_in_vain(&ends).await.to_string(), unknown);
        // The session has not changed.
        assert_eq!(ends.server.session_state(), SessionState::Suspended);
    }
}

#[tokio::test]
async fn the_same_identity_may_resume() {
    let named = server_of(|_| Ok(Accept::new().identity("one")));
    let basic = WebSocketServer::builder().config(config());
    let basic = basic.authorizer(Basic::new("files").user("Aladdin", "open sesame"));
    let bearer = WebSocketServer::builder().config(config());
    let bearer = bearer.authorizer(Bearer::new("api").token("t0ken", "one"));
    let client = || WebSocketClient::builder().config(config());
    for (server, client) in [
        (named, client()),
        (basic, client().header("authorization", "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==")),
        (bearer, client().header("authorization", "Bearer t0ken")),
    ] {
        let ends = Place::start(server, "ws").await.connect(client).await;
        lose(&ends).await;
        ends.talk().await;
        assert_eq!(ends.server.session_stats().resumptions, 1);
    }
}

/// Presents another certificate in each TLS handshake.
#[derive(Debug)]
struct Certificates(Vec<Arc<CertifiedKey>>, AtomicUsize);

impl ResolvesClientCert for Certificates {
    fn resolve(&self, _: &[&[u8]], _: &[rustls::SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.0.get(self.1.fetch_add(1, Ordering::Relaxed).min(self.0.len() - 1)).cloned()
    }

    fn has_certs(&self) -> bool {
        true
    }
}

fn certified(tls: &Tls) -> Arc<CertifiedKey> {
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let key = provider.key_provider.load_private_key(tls.key()).unwrap();
    Arc::new(CertifiedKey::new(vec![tls.certificate.clone()], key))
}

#[tokio::test]
async fn only_the_same_certificate_may_resume() {
    let (tls, one, another) = (Tls::new("localhost"), Tls::new("one"), Tls::new("another"));
    for same in [true, false] {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(tls.root.clone()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let second = if same { &one } else { &another };
        let certificates =
            Certificates(vec![certified(&one), certified(second)], AtomicUsize::new(0));
        let mut client = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_client_cert_resolver(Arc::new(certificates));
        // TLS resumption is off, because a resumed TLS session keeps the certificate of the earlier
        // session.
        client.resumption = rustls::client::Resumption::disabled();
        let client = WebSocketClient::builder().config(config()).tls_config(Arc::new(client));
        let server = tls.server().config(config());
        let server = server.require_client_certificates([one.root.clone(), another.root.clone()]);
        let ends = Place::start(server, "wss").await.connect(client).await;
        if same {
            lose(&ends).await;
            ends.talk().await;
        } else {
            let unknown = said_of_an_unknown_session().await;
            assert_eq!(come_back_in_vain(&ends).await.to_string(), unknown);
        }
    }
}

#[tokio::test]
async fn a_client_that_is_refused_with_401_does_not_dial_again() {
    let server = server_of(|nth| match nth {
        0 => Ok(Accept::new()),
        _ => Err(Refuse::unauthorized("Basic")),
    });
    let ends =
        Place::start(server, "ws").await.connect(WebSocketClient::builder().config(config())).await;
    let refused = come_back_in_vain(&ends).await;
    assert!(
        matches!(refused, AcceptError::Refused { status: StatusCode::UNAUTHORIZED, .. }),
        "{refused:?}"
    );
    assert_eq!(ends.server.session_state(), SessionState::Suspended);
}

#[tokio::test]
async fn a_server_that_offers_no_resumption_ends_the_connection_at_once() {
    let before = Place::start(WebSocketServer::builder().config(config()), "ws").await;
    let plain = WebSocketServer::builder().config(Config::default());
    let after = Place::start(plain, "ws").await;
    let ends = before.connect(WebSocketClient::builder().config(config())).await;
    ends.cutter.forward_to(after.server.local_addr().unwrap());
    lose(&ends).await;
    ended_by_the_loss(&ends.client).await;
    assert_eq!(ends.cutter.accepted(), 2);
}

#[tokio::test]
async fn a_server_with_another_subprotocol_ends_the_connection_at_once() {
    let server = |name| WebSocketServer::builder().config(config()).protocol(name);
    let client = || WebSocketClient::builder().config(config()).protocol("a").protocol("b");
    for other in ["b", "c"] {
        let (before, after) =
            (Place::start(server("a"), "ws").await, Place::start(server(other), "ws").await);
        let ends = before.connect(client()).await;
        assert_eq!(ends.client.protocol(), Some("a"));
        ends.cutter.forward_to(after.server.local_addr().unwrap());
        lose(&ends).await;
        ended_by_the_loss(&ends.client).await;
        assert_eq!(ends.cutter.accepted(), 2, "with {other}");
    }
}
