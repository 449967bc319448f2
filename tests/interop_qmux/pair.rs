//! Our end and the crate `qmux`, connected by the QMux wire, and what the crate's end does.

use std::sync::Arc;

use bytes::Bytes;
use qmux::ws::tokio_tungstenite::{
    Connector, connect_async_with_config,
    tungstenite::{client::IntoClientRequest, http::HeaderValue},
};
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};
use tokio_rustls::TlsAcceptor;
use web_transport_trait::{RecvStream as _, SendStream as _, Session as _};
use wsmux::{
    Config, WebSocketClient, WebSocketConnection, WebSocketServer, WebSocketStream,
    rustls::{ClientConfig, RootCertStore, ServerConfig, crypto::aws_lc_rs},
};

use crate::interop::{
    Certificate, Echo, Role, accept, check_pattern, pattern, receive_pattern, send_pattern, within,
};

/// A stream of the crate's.
pub(crate) type Theirs = (qmux::SendStream, qmux::RecvStream);

/// Who opens a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Opener {
    Us,
    Them,
}

impl Opener {
    pub(crate) const BOTH: [Self; 2] = [Self::Us, Self::Them];
}

pub(crate) struct Pair {
    pub(crate) ours: WebSocketConnection,
    pub(crate) theirs: qmux::Session,
    _server: Option<WebSocketServer>,
}

/// The crate's settings, its defaults changed.
pub(crate) fn their_config(change: impl FnOnce(&mut qmux::Config)) -> qmux::Config {
    let mut config = qmux::Config::default();
    change(&mut config);
    config
}

/// With this window on each of the crate's streams, and half as much again for all of them together.
pub(crate) fn their_window(window: u64) -> qmux::Config {
    their_config(|config| {
        config.max_stream_data_bidi_local = window;
        config.max_stream_data_bidi_remote = window;
        config.max_stream_data_uni = window;
        config.max_data = window + window / 2;
    })
}

impl Pair {
    pub(crate) async fn new(role: Role, ours: Config, theirs: qmux::Config) -> Self {
        match role {
            Role::WeServe => {
                let server = WebSocketServer::builder().config(ours).bind("127.0.0.1:0");
                let server = server.await.expect("a port");
                let url = format!("ws://{}/", server.local_addr().expect("an address"));
                let (ours, theirs) = tokio::join!(accept(&server), connect_nodelay(&url, theirs));
                Self { ours, theirs, _server: Some(server) }
            }
            Role::WeConnect => {
                let client = WebSocketClient::builder().config(ours).build().expect("a client");
                let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
                let url = format!("ws://{}/", listener.local_addr().expect("an address"));
                let server = qmux::ws::Server::new().with_session_config(theirs);
                let accepted =
                    async { server.accept(tcp(&listener).await).await.expect("their handshake") };
                Self::we_connect(client, &url, accepted).await
            }
        }
    }

    /// The same over TLS, with everything at its default.
    pub(crate) async fn over_tls(role: Role) -> Self {
        let certificate = Certificate::new();
        let provider = Arc::new(aws_lc_rs::default_provider());
        match role {
            Role::WeServe => {
                let mut roots = RootCertStore::empty();
                roots.add(certificate.chain[0].clone()).expect("a root");
                let tls = ClientConfig::builder_with_provider(provider)
                    .with_safe_default_protocol_versions()
                    .expect("versions")
                    .with_root_certificates(roots)
                    .with_no_client_auth();
                let server = WebSocketServer::builder()
                    .certificate(certificate.chain, certificate.key)
                    .bind("127.0.0.1:0");
                let client =
                    qmux::ws::Client::new().with_connector(Connector::Rustls(Arc::new(tls)));
                Self::we_serve(server.await.expect("a port"), "wss", client).await
            }
            Role::WeConnect => {
                let client = WebSocketClient::builder()
                    .trust_self_signed(certificate.chain[0].clone())
                    .build()
                    .expect("a client");
                let tls = ServerConfig::builder_with_provider(provider)
                    .with_safe_default_protocol_versions()
                    .expect("versions")
                    .with_no_client_auth()
                    .with_single_cert(certificate.chain, certificate.key)
                    .expect("a certificate");
                let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
                let url = format!("wss://{}/", listener.local_addr().expect("an address"));
                let accepted = async {
                    let tcp = tcp(&listener).await;
                    let tls = TlsAcceptor::from(Arc::new(tls)).accept(tcp).await.expect("TLS");
                    qmux::ws::Server::new().accept(tls).await.expect("their handshake")
                };
                Self::we_connect(client, &url, accepted).await
            }
        }
    }

    pub(crate) async fn we_serve(
        server: WebSocketServer,
        scheme: &str,
        client: qmux::ws::Client,
    ) -> Self {
        let url = format!("{scheme}://{}/", server.local_addr().expect("an address"));
        let (ours, theirs) = tokio::join!(accept(&server), client.connect(&url));
        Self { ours, theirs: theirs.expect("their connection"), _server: Some(server) }
    }

    pub(crate) async fn we_connect(
        client: WebSocketClient,
        url: &str,
        accepted: impl Future<Output = qmux::Session>,
    ) -> Self {
        let (ours, theirs) =
            within("both handshakes", async { tokio::join!(client.connect(url), accepted) }).await;
        Self { ours: ours.expect("our connection"), theirs, _server: None }
    }

    /// A new stream at both ends. The acceptor knows of it by its first byte, which both have dealt with.
    pub(crate) async fn open(&self, opener: Opener) -> (WebSocketStream, Theirs) {
        match opener {
            Opener::Us => {
                let mut stream = within("opening", self.ours.open_bi()).await.expect("a stream");
                stream.send().write_all(b"!").await.expect("a byte sent");
                let mut theirs =
                    within("accepting", self.theirs.accept_bi()).await.expect("a stream");
                assert_eq!(within("a byte", theirs.1.read_chunk(1)).await.unwrap().unwrap(), "!");
                (stream, theirs)
            }
            Opener::Them => {
                let mut theirs = within("opening", self.theirs.open_bi()).await.expect("a stream");
                theirs.0.write_all(b"!").await.expect("a byte sent");
                let mut stream =
                    within("accepting", self.ours.accept_bi()).await.expect("a stream");
                within("a byte", stream.recv().read_exact(&mut [0])).await.expect("a byte");
                (stream, theirs)
            }
        }
    }

    /// Proves with a new stream that the connection works both ways.
    pub(crate) async fn exchange(&self, opener: Opener, bytes: u64) {
        let (mut stream, (mut their_send, mut their_recv)) = self.open(opener).await;
        let (send, recv) = stream.split();
        tokio::join!(
            send_pattern(send, 1, bytes),
            receive_pattern(recv, 2, bytes),
            they_send_pattern(&mut their_send, 2, bytes),
            they_receive_pattern(&mut their_recv, 1, bytes),
        );
    }

    /// Both ends send back whatever comes; theirs until it is aborted.
    pub(crate) fn start_echoes(&self) -> (Echo, JoinHandle<()>) {
        (Echo::start(&self.ours), tokio::spawn(they_echo(self.theirs.clone())))
    }

    /// A stream of theirs there and back, by our echo.
    pub(crate) async fn they_get_echo(&self, seed: u8, bytes: u64) {
        let (mut send, mut recv) =
            within("their opening", self.theirs.open_bi()).await.expect("a stream");
        tokio::join!(
            they_send_pattern(&mut send, seed, bytes),
            they_receive_pattern(&mut recv, seed, bytes),
        );
    }
}

pub(crate) async fn they_send_pattern(send: &mut qmux::SendStream, seed: u8, bytes: u64) {
    let mut at = 0;
    while at < bytes {
        let chunk = pattern(seed, at, (bytes - at).min(65_536) as usize);
        at += chunk.len() as u64;
        within("their writing", send.write_chunk(chunk)).await.expect("a stream that takes all");
    }
    send.finish().expect("a stream that can be finished");
}

pub(crate) async fn they_receive_pattern(recv: &mut qmux::RecvStream, seed: u8, bytes: u64) {
    let mut at = 0;
    while let Some(chunk) =
        within("their reading", recv.read_chunk(usize::MAX)).await.expect("a clean end")
    {
        check_pattern(seed, at, &chunk);
        at += chunk.len() as u64;
    }
    assert_eq!(at, bytes, "bytes until the end of their stream");
}

/// Reads until the end or an error of their stream, throwing the bytes away.
pub(crate) async fn they_read_to_error(recv: &mut qmux::RecvStream) -> Option<qmux::Error> {
    loop {
        match within("their end of the stream", recv.read_chunk(usize::MAX)).await {
            Ok(Some(_)) => {}
            Ok(None) => return None,
            Err(error) => return Some(error),
        }
    }
}

/// Sends back streams, and datagrams, as they come.
async fn they_echo(session: qmux::Session) {
    let bi = async {
        while let Ok((mut send, mut recv)) = session.accept_bi().await {
            tokio::spawn(async move {
                while let Some(chunk) = recv.read_chunk(usize::MAX).await? {
                    send.write_chunk(chunk).await?;
                }
                send.finish()
            });
        }
    };
    let uni = async {
        while let Ok(mut recv) = session.accept_uni().await {
            let session = session.clone();
            tokio::spawn(async move {
                let all: Bytes = recv.read_all().await?;
                drop(recv);
                let mut send = session.open_uni().await?;
                send.write_chunk(all).await?;
                send.finish()
            });
        }
    };
    let datagrams = async {
        while let Ok(datagram) = session.recv_datagram().await {
            let _ = session.send_datagram(datagram);
        }
    };
    tokio::join!(bi, uni, datagrams);
}

/// Their next TCP connection. Without Nagle's algorithm, which they leave on: it costs each short stream the
/// 40 ms that the other end delays its TCP acknowledgement.
pub(crate) async fn tcp(listener: &TcpListener) -> TcpStream {
    let (tcp, _) = within("a connection", listener.accept()).await.expect("a connection");
    tcp.set_nodelay(true).expect("a socket");
    tcp
}

/// What `qmux::ws::Client` does, without Nagle's algorithm.
async fn connect_nodelay(url: &str, config: qmux::Config) -> qmux::Session {
    let mut request = url.into_client_request().expect("a URL");
    let offered = HeaderValue::from_static("qmux-02, qmux-01, qmux-00, webtransport");
    request.headers_mut().insert("sec-websocket-protocol", offered);
    let (websocket, response) =
        within("their connection", connect_async_with_config(request, None, true))
            .await
            .expect("a WebSocket");
    let selected = &response.headers()["sec-websocket-protocol"];
    qmux::ws::Upgraded::new(websocket)
        .with_alpn(selected.to_str().expect("a name"))
        .with_session_config(config)
        .connect()
}
