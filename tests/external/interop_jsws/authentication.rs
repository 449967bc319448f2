//! Certificates, logins and headers between us and the package, and what each end learns of a
//! refusal.

use wsmux_testing::server as support;

use std::{
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

use serde_json::{Value, json};
use support::Tls;
use wsmux::{
    AcceptError, ConnectError, ConnectionError, WebSocketClient, WebSocketClientBuilder,
    WebSocketServerBuilder, Wire, authorize::Basic,
};

use super::{
    interop::{accept, within},
    node::Node,
};

/// PEM files that are removed when this value is dropped.
struct Files(Vec<PathBuf>);

impl Files {
    fn new() -> Self {
        Self(Vec::new())
    }

    fn write(&mut self, pem: &str) -> String {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("{}-{number}-authentication.pem", std::process::id());
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        std::fs::write(&path, pem).expect("a file in the target folder");
        let text = path.to_str().expect("a path in UTF-8").to_owned();
        self.0.push(path);
        text
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        for path in &self.0 {
            let _ = std::fs::remove_file(path);
        }
    }
}

/// Connects the package's client to our server. Returns the result that the client reports, and the
/// result of our server.
async fn node_connects(
    server: WebSocketServerBuilder,
    options: &[&str],
) -> (Result<(), Value>, Result<wsmux::WebSocketConnection, AcceptError>) {
    let server = server.wires([Wire::JsWs]).bind("127.0.0.1:0").await.expect("a port");
    let url = format!("wss://{}", server.local_addr().expect("an address"));
    let accepting = async {
        let connecting = within("a client", server.accept()).await.expect("the server lives");
        within("the handshake", connecting).await
    };
    let (node, accepted) = tokio::join!(Node::try_client("jsws.mjs", &url, options), accepting);
    (node.map(drop), accepted)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_packages_client_shows_its_certificate_and_hears_the_alert_without() {
    let (tls, people, others) = (Tls::new("127.0.0.1"), Tls::new("client"), Tls::new("client"));
    let mut files = Files::new();
    let ca = files.write(&tls.root_pem);
    let mut shows = |who: &Tls| [files.write(&who.pem), files.write(&who.key_pem)];
    let (ours, theirs) = (shows(&people), shows(&others));
    let server = || tls.server().require_client_certificates([people.root.clone()]);

    let options = ["--cert", &ours[0], "--key", &ours[1], "--ca", &ca, "--verify", "true"];
    let (node, accepted) = node_connects(server(), &options).await;
    node.expect("a connection");
    assert_eq!(accepted.unwrap().peer_certificates().unwrap().to_vec(), [&*people.certificate]);

    let theirs = ["--cert", &theirs[0], "--key", &theirs[1]];
    for (options, alert) in [(&[][..], "certificate required"), (&theirs[..], "unknown ca")] {
        let (node, accepted) = node_connects(server(), options).await;
        let failed = node.unwrap_err().to_string();
        assert!(failed.contains("alert") && failed.contains(alert), "{failed}");
        let failed = accepted.unwrap_err();
        assert!(matches!(failed, AcceptError::Tls(_)), "{failed:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_packages_verify_callback_judges_our_servers_certificate() {
    let (tls, other) = (Tls::new("127.0.0.1"), Tls::new("127.0.0.1"));
    let mut files = Files::new();
    let (own, wrong) = (files.write(&tls.pem), files.write(&other.pem));
    let server = tls.server().wires([Wire::JsWs]).bind("127.0.0.1:0").await.expect("a port");
    let url = format!("wss://{}", server.local_addr().expect("an address"));
    let pinned = ["--verify", "true", "--accept", &own];
    let (_node, _ours) = tokio::join!(Node::client("jsws.mjs", &url, &pinned), accept(&server));
    // The package calls its verification callback after the WebSocket is open, so both ends have a
    // connection, which then ends.
    let refused = ["--verify", "true", "--accept", &wrong];
    let (node, ours) = tokio::join!(Node::try_client("jsws.mjs", &url, &refused), accept(&server));
    match within("the end", ours.closed()).await {
        ConnectionError::SocketLost(_) => {}
        other => panic!("it destroys the socket, without a Close: {other:?}"),
    }
    match node {
        Ok(node) => while node.call("status", json!({})).await["closed"] != true {},
        Err(failed) => assert!(failed.to_string().contains("verification callback"), "{failed}"),
    }
}

/// The package's client cannot send headers that an application adds. So it sends no
/// `Authorization`, and is refused.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_packages_client_hears_the_status_of_a_login_that_fails() {
    let tls = Tls::new("127.0.0.1");
    let server = tls.server().authorizer(Basic::new("jsws").user("a", "b"));
    let (node, accepted) = node_connects(server, &[]).await;
    let failed = node.unwrap_err().to_string();
    assert!(failed.contains("401"), "{failed}");
    match accepted.unwrap_err() {
        AcceptError::Refused { status, .. } => assert_eq!(status, 401),
        other => panic!("{other:?}"),
    }
}

/// Connects our client to the package's server with these options.
async fn we_connect(
    tls: &Tls,
    options: &[&str],
    client: WebSocketClientBuilder,
) -> (Node, Result<wsmux::WebSocketConnection, ConnectError>) {
    let mut files = Files::new();
    let (cert, key) = (files.write(&tls.pem), files.write(&tls.key_pem));
    let options = [&["--cert", &cert, "--key", &key], options].concat();
    let (node, port) = Node::server("jsws.mjs", &options).await;
    let client = client.trust_self_signed(tls.certificate.clone()).wire(Wire::JsWs);
    let client = client.build().expect("a client");
    let connected = within("an outcome", client.connect(&format!("wss://127.0.0.1:{port}/"))).await;
    (node, connected)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_packages_server_judges_our_certificate() {
    let (tls, people, others) = (Tls::new("127.0.0.1"), Tls::new("client"), Tls::new("client"));
    let mut files = Files::new();
    let (root, own) = (files.write(&people.root_pem), files.write(&people.pem));
    let shows = |who: &Tls| {
        WebSocketClient::builder().client_certificate([who.certificate.clone()], who.key())
    };
    // The server checks certificates against its roots, or with its callback.
    for options in [&["--verify", "true", "--ca", &root], &["--verify", "true", "--accept", &own]] {
        let (_node, connected) = we_connect(&tls, options, shows(&people)).await;
        assert_eq!(
            connected.expect("a connection").peer_certificates().unwrap()[0],
            *tls.certificate
        );
        // The server destroys the socket without an alert or a status, so our end can only report
        // an error of the socket or of TLS.
        let (_node, failed) = we_connect(&tls, options, shows(&others)).await;
        let failed = failed.unwrap_err();
        assert!(matches!(failed, ConnectError::Io(_) | ConnectError::Tls(_)), "{failed:?}");
    }
}

/// The package's server cannot check headers. This test passes an https server to the package, and
/// the https server checks the headers.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_header_that_the_packages_server_refuses_is_a_status_for_us() {
    let tls = Tls::new("127.0.0.1");
    let options = ["--header", "authorization: Bearer good"];
    let client =
        |token: &str| WebSocketClient::builder().header("Authorization", format!("Bearer {token}"));
    let (_node, connected) = we_connect(&tls, &options, client("good")).await;
    connected.expect("a connection");
    let (_node, failed) = we_connect(&tls, &options, client("bad")).await;
    match failed.unwrap_err() {
        ConnectError::Refused { status, body, .. } => {
            assert_eq!((status.as_u16(), &*body), (403, "this header is refused"));
        }
        other => panic!("{other:?}"),
    }
}
