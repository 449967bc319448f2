//! Our end and the Node package's end, connected by the js-ws wire over wss.

use std::cell::Cell;

use serde_json::json;
use wsmux::{Config, WebSocketClient, WebSocketConnection, WebSocketServer, WebSocketStream, Wire};

use super::{
    interop::{
        Certificate, CertificateFiles, Opener, Role, accept, config, receive_pattern, send_pattern,
        within,
    },
    node::Node,
};

#[derive(Debug)]
pub(crate) struct Pair {
    pub(crate) ours: WebSocketConnection,
    pub(crate) node: Node,
    node_echoes: Cell<bool>,
    _server: Option<WebSocketServer>,
    _files: Option<CertificateFiles>,
}

impl Pair {
    pub(crate) async fn new(role: Role, config: Config, node_options: &[&str]) -> Self {
        let certificate = Certificate::new();
        let node_echoes = Cell::new(false);
        match role {
            Role::WeServe => {
                let server = WebSocketServer::builder()
                    .wires([Wire::JsWs])
                    .config(config)
                    .certificate(certificate.chain, certificate.key)
                    .bind("127.0.0.1:0")
                    .await
                    .expect("a port");
                let url = format!("wss://{}", server.local_addr().expect("an address"));
                let (ours, node) =
                    tokio::join!(accept(&server), Node::client("jsws.mjs", &url, node_options));
                Self { ours, node, node_echoes, _server: Some(server), _files: None }
            }
            Role::WeConnect => {
                let files = certificate.write();
                let options =
                    [&["--cert", &files.cert, "--key", &files.key], node_options].concat();
                let (node, port) = Node::server("jsws.mjs", &options).await;
                let client = WebSocketClient::builder()
                    .wire(Wire::JsWs)
                    .config(config)
                    .trust_self_signed(certificate.chain[0].clone())
                    .build()
                    .expect("a client");
                let url = format!("wss://localhost:{port}/");
                let ours = within("connecting", client.connect(&url)).await.expect("a connection");
                node.event("connection").await;
                Self { ours, node, node_echoes, _server: None, _files: Some(files) }
            }
        }
    }

    /// Connects both ends. Each end advertises `window` as the receive window of each stream.
    pub(crate) async fn with_windows(role: Role, window: u64) -> Self {
        let ours = config(|config| _ = config.stream_receive_window(window));
        Self::new(role, ours, &["--window", &window.to_string()]).await
    }

    /// Opens a stream. Returns the stream, and the handle by which the Node end knows the stream.
    pub(crate) async fn open(&self, opener: Opener) -> (WebSocketStream, u64) {
        match opener {
            Opener::Us => {
                let accepted = self.node.accept("bi");
                let stream = within("opening", self.ours.open_bi()).await.expect("a stream");
                (stream, accepted.await)
            }
            Opener::Them => {
                let there = self.node.open("bi").await;
                let stream = within("a stream", self.ours.accept_bi()).await.expect("a stream");
                (stream, there)
            }
        }
    }

    /// Sends `bytes` bytes both ways over a stream, until both halves have ended.
    pub(crate) async fn talk(&self, stream: &mut WebSocketStream, there: u64, bytes: u64) {
        let (send, recv) = stream.split();
        tokio::join!(
            self.node.read_pattern(there, 50, bytes),
            self.node.write_pattern(there, 60, bytes),
            send_pattern(send, 50, bytes),
            receive_pattern(recv, 60, bytes),
        );
    }

    /// Shows that the connection works, by an exchange on a new stream.
    pub(crate) async fn exchange(&self, opener: Opener, bytes: u64) {
        let (mut stream, there) = self.open(opener).await;
        self.talk(&mut stream, there, bytes).await;
    }

    /// From here on the Node end echoes every stream of ours.
    pub(crate) async fn start_node_echo(&self) {
        self.node.call("echo", json!({})).await;
        self.node_echoes.set(true);
    }

    /// Asserts that neither end remembers a stream, and that the Node process has had no error.
    pub(crate) async fn assert_no_streams_left(&self) {
        // At our end, a stream is live until its last frame has been sent. The frames of a new
        // stream are sent after the frames of the earlier streams. So once the other end has
        // received the new stream, only the new stream is live.
        let marker = if self.node_echoes.get() {
            let mut marker = within("opening", self.ours.open_bi()).await.expect("a stream");
            marker.send().write_all(b"!").await.expect("a stream that takes a byte");
            within("the echo", marker.recv().read_exact(&mut [0])).await.expect("a byte");
            marker
        } else {
            self.open(Opener::Us).await.0
        };
        assert_eq!(self.ours.stats().live_streams, 1, "more than the marker");
        let status = self.node.call("status", json!({})).await;
        assert_eq!(status["streams"], 1, "more than the marker: {status}");
        drop(marker);
        self.node.assert_unharmed().await;
    }
}
