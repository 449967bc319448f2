//! Our end and the Node package's end, connected by the QMux wire.

use serde_json::json;
use wsmux::{Config, WebSocketClient, WebSocketConnection, WebSocketServer, WebSocketStream};

use super::{
    interop::{
        Certificate, CertificateFiles, Opener, Role, accept, receive_pattern, send_pattern, within,
    },
    node::Node,
};

/// Whether the connection uses ws or wss.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scheme {
    Ws,
    Wss,
}

#[derive(Debug)]
pub(crate) struct Pair {
    pub(crate) ours: WebSocketConnection,
    pub(crate) node: Node,
    _server: Option<WebSocketServer>,
    _files: Option<CertificateFiles>,
}

impl Pair {
    pub(crate) async fn new(role: Role, config: Config, node_options: &[&str]) -> Self {
        Self::with_scheme(Scheme::Ws, role, config, node_options).await
    }

    pub(crate) async fn with_scheme(
        scheme: Scheme,
        role: Role,
        config: Config,
        node_options: &[&str],
    ) -> Self {
        let certificate = Certificate::new();
        let name = if scheme == Scheme::Wss { "wss" } else { "ws" };
        match role {
            Role::WeServe => {
                let mut server = WebSocketServer::builder().protocol("chat").config(config);
                if scheme == Scheme::Wss {
                    server = server.certificate(certificate.chain, certificate.key);
                }
                let server = server.bind("127.0.0.1:0").await.expect("a port");
                let url = format!("{name}://{}", server.local_addr().expect("an address"));
                let (ours, node) =
                    tokio::join!(accept(&server), Node::client("qmux.mjs", &url, node_options));
                Self { ours, node, _server: Some(server), _files: None }
            }
            Role::WeConnect => {
                let files = certificate.write();
                let mut options = node_options.to_vec();
                let mut client = WebSocketClient::builder().protocol("chat").config(config);
                if scheme == Scheme::Wss {
                    options.extend(["--cert", &files.cert, "--key", &files.key]);
                    client = client.trust_self_signed(certificate.chain[0].clone());
                }
                let client = client.build().expect("a client");
                let (node, port) = Node::server("qmux.mjs", &options).await;
                let url = format!("{name}://127.0.0.1:{port}/");
                let ours = within("connecting", client.connect(&url)).await.expect("a connection");
                node.event("connection").await;
                Self { ours, node, _server: None, _files: Some(files) }
            }
        }
    }

    /// Opens a stream, and returns both ends of it. The accepting end learns of a stream by the
    /// stream's first byte. So the opening end sends one byte, and the accepting end reads that
    /// byte.
    pub(crate) async fn open(&self, opener: Opener) -> (WebSocketStream, u64) {
        match opener {
            Opener::Us => {
                let accepted = self.node.accept("bi");
                let mut stream = within("opening", self.ours.open_bi()).await.expect("a stream");
                stream.send().write_all(b"!").await.expect("a byte sent");
                let there = accepted.await;
                let read = self.node.call("read", json!({ "stream": there, "max": 1 })).await;
                assert_eq!(read["bytes"], 1);
                (stream, there)
            }
            Opener::Them => {
                let there = self.node.open("bi").await;
                let first = json!({ "stream": there, "text": "!" });
                let written = self.node.call("writeText", first);
                let mut stream =
                    within("accepting", self.ours.accept_bi()).await.expect("a stream");
                within("a byte", stream.recv().read_exact(&mut [0])).await.expect("a byte");
                written.await;
                (stream, there)
            }
        }
    }

    /// Shows that the connection works in both directions, with `bytes` bytes on a new stream.
    pub(crate) async fn exchange(&self, opener: Opener, bytes: u64) {
        let (mut stream, there) = self.open(opener).await;
        // The Node end counts the byte that opened the stream as the first byte of its pattern.
        let (here_at, there_at) = if opener == Opener::Us { (1, 0) } else { (0, 1) };
        let (send, recv) = stream.split();
        let sending = async {
            within("writing", super::interop::write_pattern(send, 50, here_at, bytes))
                .await
                .unwrap();
            send.finish().unwrap();
        };
        let receiving = super::interop::receive_pattern_from(recv, 60, there_at, bytes);
        let read = self.node.call("read", json!({ "stream": there, "seed": 50 }));
        let write = json!({ "stream": there, "seed": 60, "bytes": bytes });
        let write = self.node.call("write", write);
        let finish = self.node.call("finish", json!({ "stream": there }));
        let (read, ..) = tokio::join!(read, write, finish, sending, receiving);
        assert_eq!((&read["bytes"], &read["patternOk"]), (&bytes.into(), &true.into()), "{read}");
    }

    /// From here on the Node end echoes every stream of ours.
    pub(crate) async fn start_node_echo(&self) {
        self.node.call("echo", json!({})).await;
    }
}

/// Sends a unidirectional stream, and waits until it has ended at both ends.
pub(crate) async fn send_uni(pair: &Pair, seed: u8, bytes: u64) {
    let accepted = pair.node.accept("uni");
    let mut send = within("opening", pair.ours.open_uni()).await.expect("a stream");
    let read = async { pair.node.read_pattern(accepted.await, seed, bytes).await };
    tokio::join!(send_pattern(&mut send, seed, bytes), read);
}

/// Receives a unidirectional stream of the Node end, and waits until it has ended at both ends.
pub(crate) async fn receive_uni(pair: &Pair, seed: u8, bytes: u64) {
    let there = pair.node.open("uni").await;
    let read = async {
        let mut recv = within("a stream", pair.ours.accept_uni()).await.expect("a stream");
        receive_pattern(&mut recv, seed, bytes).await;
    };
    tokio::join!(pair.node.write_pattern(there, seed, bytes), read);
}
