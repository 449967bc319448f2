//! Our end and the crate `zmux-websocket`, connected by the QMux wire, and what the crate's end does.

use std::sync::Arc;

use tokio::{net::TcpListener, task::JoinHandle};
use tokio_rustls::{TlsAcceptor, TlsConnector};
use wsmux::{
    Config, WebSocketClient, WebSocketConnection, WebSocketServer, WebSocketStream,
    rustls::{ClientConfig, RootCertStore, ServerConfig, crypto::aws_lc_rs},
};
use zmux::{Listener, ListenerConfig, VarInt};
use zmux_websocket::Options;

use crate::interop::{
    Certificate, Echo, Role, accept, check_pattern, pattern, receive_pattern, send_pattern, within,
};

/// A stream of the crate's.
pub(crate) type Theirs = (zmux::SendStream, zmux::RecvStream);

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
    pub(crate) theirs: zmux::Session,
    _server: Option<WebSocketServer>,
    _their_server: Option<TheirServer>,
}

/// A code of the crate's.
pub(crate) fn their_code(code: u64) -> VarInt {
    VarInt::from_u64(code).expect("a code of 62 bits")
}

/// The crate's settings, its defaults changed. It leaves datagrams off unless they are asked for.
pub(crate) fn their_config(change: impl FnOnce(&mut zmux::Config)) -> zmux::Config {
    let mut config = zmux::Config::default();
    config.enable_datagrams = true;
    change(&mut config);
    config
}

/// The crate's server, which listens until this is dropped.
struct TheirServer {
    listener: Listener,
    url: String,
    task: JoinHandle<()>,
}

impl TheirServer {
    async fn start(config: zmux::Config, options: Options, tls: Option<ServerConfig>) -> Self {
        let listener = Listener::new(config, ListenerConfig::default());
        let tcp = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let scheme = if tls.is_some() { "wss" } else { "ws" };
        let url = format!("{scheme}://{}/", tcp.local_addr().expect("an address"));
        let serving = listener.clone();
        let task = tokio::spawn(async move {
            match tls {
                None => zmux_websocket::serve(serving, tcp, options).await,
                Some(tls) => {
                    let tls = TlsAcceptor::from(Arc::new(tls));
                    zmux_websocket::serve_tls(serving, tcp, tls, options).await;
                }
            }
        });
        Self { listener, url, task }
    }
}

impl Drop for TheirServer {
    fn drop(&mut self) {
        self.listener.close();
        self.task.abort();
    }
}

impl Pair {
    pub(crate) async fn new(role: Role, ours: Config, theirs: zmux::Config) -> Self {
        let server = WebSocketServer::builder().config(ours.clone());
        let client = WebSocketClient::builder().config(ours).build().expect("a client");
        match role {
            Role::WeServe => {
                let server = server.bind("127.0.0.1:0").await.expect("a port");
                Self::we_serve(server, Options::default(), theirs).await
            }
            Role::WeConnect => Self::we_connect(client, Options::default(), theirs).await,
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
                    .bind("127.0.0.1:0")
                    .await
                    .expect("a port");
                let url = format!("wss://{}/", server.local_addr().expect("an address"));
                let (tls, options) = (TlsConnector::from(Arc::new(tls)), Options::default());
                let connected =
                    zmux_websocket::connect_tls(&url, &tls, &options, their_config(|_| {}));
                let (ours, theirs) = tokio::join!(accept(&server), connected);
                Self::of(ours, theirs.expect("their connection"), Some(server), None)
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
                let config = their_config(|_| {});
                let server = TheirServer::start(config, Options::default(), Some(tls)).await;
                Self::to_their_server(client, server).await
            }
        }
    }

    pub(crate) async fn we_serve(
        server: WebSocketServer,
        options: Options,
        theirs: zmux::Config,
    ) -> Self {
        let url = format!("ws://{}/", server.local_addr().expect("an address"));
        let connected = zmux_websocket::connect(&url, &options, theirs);
        let (ours, theirs) = tokio::join!(accept(&server), connected);
        Self::of(ours, theirs.expect("their connection"), Some(server), None)
    }

    pub(crate) async fn we_connect(
        client: WebSocketClient,
        options: Options,
        theirs: zmux::Config,
    ) -> Self {
        let server = TheirServer::start(theirs, options, None).await;
        Self::to_their_server(client, server).await
    }

    async fn to_their_server(client: WebSocketClient, server: TheirServer) -> Self {
        let both = async { tokio::join!(client.connect(&server.url), server.listener.accept()) };
        let (ours, theirs) = within("both handshakes", both).await;
        let ours = ours.expect("our connection");
        Self::of(ours, theirs.expect("their connection"), None, Some(server))
    }

    fn of(
        ours: WebSocketConnection,
        theirs: zmux::Session,
        server: Option<WebSocketServer>,
        their_server: Option<TheirServer>,
    ) -> Self {
        Self { ours, theirs, _server: server, _their_server: their_server }
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

    /// Both ends send back what comes; theirs until it is aborted.
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

pub(crate) async fn they_send_pattern(send: &mut zmux::SendStream, seed: u8, bytes: u64) {
    let mut at = 0;
    while at < bytes {
        let chunk = pattern(seed, at, (bytes - at).min(65_536) as usize);
        at += chunk.len() as u64;
        within("their writing", send.write_chunk(chunk)).await.expect("a stream that takes all");
    }
    send.finish().expect("a stream that can be finished");
}

pub(crate) async fn they_receive_pattern(recv: &mut zmux::RecvStream, seed: u8, bytes: u64) {
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
pub(crate) async fn they_read_to_error(recv: &mut zmux::RecvStream) -> Option<zmux::StreamError> {
    loop {
        match within("their end of the stream", recv.read_chunk(usize::MAX)).await {
            Ok(Some(_)) => {}
            Ok(None) => return None,
            Err(error) => return Some(error),
        }
    }
}

/// Sends back bidirectional streams on themselves, and unidirectional ones on new ones.
async fn they_echo(session: zmux::Session) {
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
                let Ok(all) = recv.read_to_end(1 << 20).await else { return };
                drop(recv);
                let Ok(mut send) = session.open_uni().await else { return };
                if send.write_all(&all).await.is_ok() {
                    let _ = send.finish();
                }
            });
        }
    };
    tokio::join!(bi, uni);
}
