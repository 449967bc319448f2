//! How a connection's end looks to other implementations. OpenSSL distinguishes a TLS stream that
//! ends from a TLS stream that is cut off. Node's HTTP/2 distinguishes an HTTP/2 stream that ends
//! from an HTTP/2 stream that is cancelled.
//!
//! Needs the program `openssl`, and Node 20 without any packages; `./test` runs this module.

use wsmux_testing::server as support;

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines, join},
    net::{TcpListener, UnixStream},
    process::{Child, ChildStdout, Command},
};
use tokio_tungstenite::{WebSocketStream, tungstenite::protocol::Role};
use wsmux::{
    Config, ConnectError, Http2Client, Side, WebSocketClient, WebSocketConnection, WebSocketServer,
    Wire,
};

use support::*;

/// A folder that is removed at the end of the test.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("wsmux-end-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Starts OpenSSL, which is one end of a TLS connection. The standard input and output of OpenSSL
/// carry the decrypted bytes, which are a plain WebSocket. OpenSSL logs the TLS messages in a file.
fn openssl(folder: &Folder, arguments: &[&str]) -> Child {
    Command::new("openssl")
        .args(arguments)
        .args(["-quiet", "-msg", "-msgfile", &folder.path("messages")])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(std::fs::File::create(folder.path("errors")).unwrap())
        .kill_on_drop(true)
        .spawn()
        .expect("openssl, which ./test wants")
}

/// Waits until OpenSSL exits, and checks that it received a close_notify.
async fn heard_close_notify(folder: &Folder, mut openssl: Child, what: &str) {
    within(openssl.wait()).await.unwrap();
    let messages = std::fs::read_to_string(folder.path("messages")).unwrap();
    let errors = std::fs::read_to_string(folder.path("errors")).unwrap();
    let heard =
        messages.lines().any(|line| line.starts_with("<<<") && line.contains("close_notify"));
    assert!(heard, "{what}: {errors}\n{messages}");
    assert!(!errors.contains("unexpected eof"), "{what}: {errors}");
}

/// Which end closes the connection.
const BY: [Side; 2] = [Side::Client, Side::Server];

fn close(by: Side, client: &WebSocketConnection, server: &WebSocketConnection) {
    let end = if by == Side::Client { client } else { server };
    end.close(7u32.into(), b"bye");
}

/// [W-55] Once both Closes have been sent, or the wait for the peer's Close is over, we MUST end
/// our direction of the underlying stream. We end it by a close_notify under TLS, by END_STREAM on
/// HTTP/2, and by a FIN on TCP.
#[tokio::test]
async fn openssl_hears_close_notify_of_a_client_in_every_close() {
    for by in BY {
        let (folder, tls) = (Folder::new(), Tls::new("localhost"));
        std::fs::write(folder.path("cert.pem"), &tls.pem).unwrap();
        std::fs::write(folder.path("key.pem"), &tls.key_pem).unwrap();
        let (socket, cert, key) =
            (folder.path("socket"), folder.path("cert.pem"), folder.path("key.pem"));
        let listen = ["s_server", "-unix", &socket, "-naccept", "1", "-cert", &cert, "-key", &key];
        let mut openssl = openssl(&folder, &listen);
        let plain = join(openssl.stdout.take().unwrap(), openssl.stdin.take().unwrap());
        let io = within(async {
            loop {
                match UnixStream::connect(&socket).await {
                    Ok(io) => return io,
                    // OpenSSL does not report that it listens, so this loop tries again.
                    Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
                }
            }
        })
        .await;
        // OpenSSL's server never ends the connection first, so each close takes the client's close
        // timeout.
        let soon = config(|config| _ = config.close_timeout(Duration::from_millis(200)));
        let client = tls.client().config(soon).build().unwrap();
        let acceptor = WebSocketServer::builder().build().unwrap();
        let ends =
            async { tokio::join!(client.from_io("wss://localhost/", io), acceptor.from_io(plain)) };
        let (client, server) = within(ends).await;
        let (client, server) = (client.unwrap(), server.unwrap());
        echo(&client, &server).await;
        close(by, &client, &server);
        within(client.closed()).await;
        within(server.closed()).await;
        heard_close_notify(&folder, openssl, &format!("{by:?}")).await;
    }
}

/// [W-55] Once both Closes have been sent, or the wait for the peer's Close is over, we MUST end
/// our direction of the underlying stream. We end it by a close_notify under TLS, by END_STREAM on
/// HTTP/2, and by a FIN on TCP.
#[tokio::test]
async fn openssl_hears_close_notify_of_a_server_in_every_close() {
    for by in BY {
        let (folder, tls) = (Folder::new(), Tls::new("localhost"));
        let (address, accepted) = one_client(tls.server()).await;
        let connect = ["s_client", "-connect", &address.to_string(), "-servername", "localhost"];
        let mut openssl = openssl(&folder, &connect);
        let plain = join(openssl.stdout.take().unwrap(), openssl.stdin.take().unwrap());
        let client = WebSocketClient::builder().build().unwrap();
        let client = within(client.from_io("ws://localhost/", plain)).await.unwrap();
        let server = within(accepted).await.unwrap().unwrap();
        echo(&client, &server).await;
        close(by, &client, &server);
        within(server.closed()).await;
        within(client.closed()).await;
        heard_close_notify(&folder, openssl, &format!("{by:?}")).await;
    }
}

/// Node's HTTP/2 server. It answers the WebSocket handshake, and forwards the stream to `upstream`.
/// There our server's end takes the stream over after the handshake.
struct Node {
    url: String,
    upstream: TcpListener,
    lines: Lines<BufReader<ChildStdout>>,
    _process: Child,
}

impl Node {
    async fn start() -> Self {
        let upstream = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = upstream.local_addr().unwrap().port();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers/node/http2.mjs");
        let mut process = Command::new("node")
            .arg(script)
            .arg(port.to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("node, which ./test installs");
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let mut this = Self { url: String::new(), upstream, lines, _process: process };
        let listening = this.event().await;
        this.url = format!("ws://127.0.0.1:{}", listening["port"]);
        this
    }

    async fn event(&mut self) -> Value {
        let line = within(self.lines.next_line()).await.unwrap().expect("node lives");
        serde_json::from_str(&line).unwrap()
    }

    fn client(&self) -> Http2Client {
        Http2Client::with_prior_knowledge(WebSocketClient::builder().build().unwrap())
    }

    /// Connects through Node, and returns both ends.
    async fn connect(&self) -> (WebSocketConnection, WebSocketConnection) {
        let (client, url) = (self.client(), format!("{}/mux", self.url));
        let accept = async {
            let (tcp, _) = self.upstream.accept().await.unwrap();
            let config = Config::default();
            let settings = Some(WebSocketConnection::websocket_config(&config, Wire::QMux));
            let websocket = WebSocketStream::from_raw_socket(tcp, Role::Server, settings).await;
            WebSocketConnection::from_websocket(websocket, Side::Server, Wire::QMux, config).await
        };
        let (client, server) = within(async { tokio::join!(client.connect(&url), accept) }).await;
        (client.unwrap(), server.unwrap())
    }
}

/// RFC 8441 §5: END_STREAM corresponds to a TCP FIN, and RST_STREAM with CANCEL to a TCP RST.
#[tokio::test]
async fn nodes_http2_sees_a_stream_that_ends_in_every_close() {
    let mut node = Node::start().await;
    for by in BY {
        let (client, server) = node.connect().await;
        echo(&client, &server).await;
        close(by, &client, &server);
        within(client.closed()).await;
        let closed = node.event().await;
        assert_eq!((&closed["code"], &closed["aborted"]), (&0.into(), &false.into()), "{by:?}");
    }
}

/// [W-59] If the response to a client's handshake opens no WebSocket, the client MUST end its
/// direction of the underlying stream as W-55 requires.
#[tokio::test]
async fn nodes_http2_sees_a_refused_clients_stream_end() {
    let mut node = Node::start().await;
    let failed = node.client().connect(&format!("{}/elsewhere", node.url)).await.unwrap_err();
    assert!(matches!(failed, ConnectError::Refused { .. }), "{failed:?}");
    let closed = node.event().await;
    assert_eq!((&closed["code"], &closed["aborted"]), (&0.into(), &false.into()));
}
