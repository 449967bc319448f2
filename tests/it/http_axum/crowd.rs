//! A server with more silent clients than file descriptors. The server is `HttpServer`, with the
//! routes and the TLS configuration of the example.

#[path = "../../../examples/axum_server.rs"]
#[allow(dead_code, reason = "its `main` is for people")]
mod example;

use std::{net::SocketAddr, process::Stdio, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    process::{Child, ChildStdin, Command},
};
use wsmux::{
    Config, Http2Client, WebSocketClient, WebSocketConnection,
    http::Version,
    hyper::HttpServer,
    rustls::{
        self, DigitallySignedStruct, SignatureScheme,
        client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        pki_types::{CertificateDer, ServerName, UnixTime},
    },
};

use super::server::{exchange, version, within};

const CLIENTS: usize = 80;
const DESCRIPTORS: usize = 40;

/// How long a server here waits for a client that sends nothing.
const HEAD_TIMEOUT: Duration = Duration::from_millis(300);

/// The first bytes of every HTTP/2 client (RFC 9113 §3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// An empty SETTINGS frame, and the header of a HEADERS frame whose block never arrives.
const HALF_HTTP2: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 1, 0, 1, 4, 0, 0, 0, 1];

const HALF_A_HEAD: &[u8] = b"GET /mux HTTP/1.1\r\nHost: localhost\r\nUpgrade: webs";

/// The server, in a process that has few descriptors and ends when its standard input is closed.
struct Server {
    address: SocketAddr,
    _input: ChildStdin,
    _process: Child,
}

impl Server {
    async fn start(kind: &str) -> Self {
        let limited =
            format!("ulimit -n {DESCRIPTORS}; exec \"$0\" --ignored --exact --nocapture \"$1\"");
        let mut process = Command::new("sh")
            .args(["-c", &limited])
            .arg(std::env::current_exe().unwrap())
            .arg("http_axum::crowd::a_process_with_few_descriptors")
            .env("WSMUX_SERVER", kind)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let input = process.stdin.take().unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let address = within("the server's address", async {
            loop {
                let line = lines.next_line().await.unwrap().expect("the server says its address");
                if let Some((_, address)) = line.split_once("listening on ") {
                    return address.parse().unwrap();
                }
            }
        })
        .await;
        Self { address, _input: input, _process: process }
    }
}

#[tokio::test]
#[ignore = "lacks descriptors; started by the tests below"]
async fn a_process_with_few_descriptors() {
    let Ok(kind) = std::env::var("WSMUX_SERVER") else { return };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    println!("listening on {}", listener.local_addr().unwrap());
    let mut server = HttpServer::new().head_timeout(HEAD_TIMEOUT);
    if kind == "tls" {
        server = server.tls_config(Arc::new(example::tls_config().unwrap()));
    }
    let serving = server.serve_routes(listener, example::routes().unwrap());
    // A blocking task waits for the end of stdin, because such a task needs no further descriptor.
    let ended =
        tokio::task::spawn_blocking(|| std::io::copy(&mut std::io::stdin(), &mut std::io::sink()));
    tokio::select! {
        never = serving => match never {},
        _ = ended => {}
    }
}

fn client() -> WebSocketClient {
    let mut config = Config::default();
    // The client may have to wait until the server has dropped all silent clients.
    config.handshake_timeout(Duration::from_secs(100));
    WebSocketClient::builder().danger_accept_any_certificate().config(config).build().unwrap()
}

/// Returns a TLS connector that accepts any server.
fn connector(alpn: &[u8]) -> tokio_rustls::TlsConnector {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anybody))
        .with_no_client_auth();
    config.alpn_protocols = vec![alpn.to_vec()];
    Arc::new(config).into()
}

#[derive(Debug)]
struct Anybody;

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        rustls::crypto::aws_lc_rs::default_provider()
            .signature_verification_algorithms
            .supported_schemes()
    }
}

/// Asserts that the connection works.
async fn is_served(connection: &WebSocketConnection) {
    exchange(connection, 1000).await;
    connection.close(0u32.into(), b"");
    within("the end", connection.closed()).await;
}

/// Waits for the server to end the connection of a silent client.
async fn is_let_go(mut stream: impl AsyncReadExt + Unpin) {
    let mut rest = Vec::new();
    // The operating system decides whether this is an RST or a FIN.
    let _ = within("an end", stream.read_to_end(&mut rest)).await;
}

#[tokio::test]
async fn eighty_clients_that_stand_still_hold_no_server_of_forty_descriptors() {
    let server = Server::start("plain").await;
    let starts =
        [&b""[..], b"G", HALF_A_HEAD, &PREFACE[..10], PREFACE, &[PREFACE, HALF_HTTP2].concat()];
    let mut still = Vec::new();
    for start in starts.iter().cycle().take(CLIENTS) {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(start).await.unwrap();
        still.push(stream);
    }
    let url = format!("ws://{}/mux", server.address);
    is_served(&within("connecting", client().connect(&url)).await.unwrap()).await;
    let http2 = Http2Client::with_prior_knowledge(client());
    is_served(&within("connecting", http2.connect(&url)).await.unwrap()).await;
    for stream in still {
        is_let_go(stream).await;
    }
}

#[tokio::test]
async fn eighty_clients_that_stand_still_within_tls_hold_the_example_no_longer() {
    let server = Server::start("tls").await;
    let mut still = Vec::new();
    for number in 0..CLIENTS {
        let address = server.address;
        let (h1, h2) = (connector(b"http/1.1"), connector(b"h2"));
        still.push(tokio::spawn(async move {
            let mut tcp = TcpStream::connect(address).await.unwrap();
            let name = ServerName::try_from("localhost").unwrap();
            let (connector, start) = match number % 5 {
                0 => return is_let_go(tcp).await,
                // These are the first bytes of a ClientHello.
                1 => {
                    tcp.write_all(&[22, 3, 1, 2, 0, 1, 0]).await.unwrap();
                    return is_let_go(tcp).await;
                }
                2 => (h1, &b""[..]),
                3 => (h1, HALF_A_HEAD),
                _ => (h2, PREFACE),
            };
            // If a client comes late, the server may drop it during the TLS handshake.
            if let Ok(mut tls) = connector.connect(name, tcp).await {
                let _ = tls.write_all(start).await;
                is_let_go(tls).await;
            }
        }));
    }
    let url = format!("wss://localhost:{}/mux", server.address.port());
    is_served(&within("connecting", client().connect(&url)).await.unwrap()).await;
    let http2 = Http2Client::new(client());
    is_served(&within("connecting", http2.connect(&url)).await.unwrap()).await;
    for stream in still {
        within("an end", stream).await.unwrap();
    }
}

// ---- in this process ----

/// Starts a server with these limits and the routes of the example, and returns its address.
async fn here(server: HttpServer) -> (SocketAddr, tokio::task::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let routes = example::routes().unwrap();
    let serving = tokio::spawn(async move { match server.serve_routes(listener, routes).await {} });
    (address, serving)
}

/// Sends a request, and returns all that arrives before the end of the connection.
async fn answered(address: SocketAddr, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    // The server may answer and end the connection before the whole request is written.
    let _ = stream.write_all(request).await;
    let mut all = Vec::new();
    let _ = within("the end", stream.read_to_end(&mut all)).await;
    String::from_utf8_lossy(&all).into_owned()
}

#[tokio::test]
async fn a_client_that_has_been_served_is_let_go_when_it_asks_no_more() {
    let idle = HttpServer::new().idle_timeout(HEAD_TIMEOUT);
    let (address, _) = here(idle).await;
    for rest in ["", "GET / HTTP/1.1\r\nHo"] {
        let request = format!("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n{rest}");
        let answer = answered(address, request.as_bytes()).await;
        assert!(answer.contains("200 OK") && answer.contains("a page"), "{answer}");
    }
}

#[tokio::test]
async fn a_connection_over_http2_outlives_the_idle_timeout() {
    let (address, _) = here(HttpServer::new().idle_timeout(HEAD_TIMEOUT)).await;
    let http2 = Http2Client::with_prior_knowledge(client());
    let url = format!("ws://{address}/mux");
    let connection = within("connecting", http2.connect(&url)).await.unwrap();
    assert_eq!(version(&connection), Version::HTTP_2);
    // This later TCP connection has no open stream, so the idle timeout ends it. By then this
    // timeout has also passed for the first TCP connection, but that connection has an open stream.
    let tcp = TcpStream::connect(address).await.unwrap();
    let (mut send, other) = h2::client::handshake(tcp).await.unwrap();
    let other = tokio::spawn(other);
    let request = wsmux::http::Request::get(format!("http://{address}/")).body(()).unwrap();
    let (response, _) = send.send_request(request, true).unwrap();
    assert_eq!(within("a page", response).await.unwrap().status(), 200);
    within("GOAWAY, and the end", other).await.unwrap().unwrap();
    exchange(&connection, 1000).await;
    // The next connection gets a TCP connection of its own, because the first TCP connection
    // accepts no further streams.
    is_served(&within("connecting", http2.connect(&url)).await.unwrap()).await;
    exchange(&connection, 1000).await;
}

#[tokio::test]
async fn a_head_that_is_too_large_is_refused() {
    let (address, _) = here(HttpServer::new()).await;
    let head = format!("GET / HTTP/1.1\r\nHost: localhost\r\nX: {}\r\n\r\n", "x".repeat(70_000));
    let answer = answered(address, head.as_bytes()).await;
    assert!(answer.contains(" 431 "), "{answer}");
}

#[tokio::test]
async fn a_server_that_is_dropped_takes_nobody_and_ends_no_connection() {
    let (address, serving) = here(HttpServer::new()).await;
    let url = format!("ws://{address}/mux");
    let http2 = Http2Client::with_prior_knowledge(client());
    let over_http1 = within("connecting", client().connect(&url)).await.unwrap();
    let over_http2 = within("connecting", http2.connect(&url)).await.unwrap();
    serving.abort();
    assert!(serving.await.unwrap_err().is_cancelled());
    let refused = within("an answer", client().connect(&url)).await;
    assert!(matches!(refused, Err(wsmux::ConnectError::Connect(_))), "{refused:?}");
    for connection in [over_http1, over_http2] {
        is_served(&connection).await;
    }
}
