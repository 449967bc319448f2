//! Our end and the crate `zmux`, connected by the QMux wire, and what the crate's end does.

use std::sync::Arc;

use tokio::{net::TcpListener, task::JoinHandle};
use tokio_rustls::{TlsAcceptor, TlsConnector};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use wsmux::{
    Config, WebSocketClient, WebSocketClientBuilder, WebSocketConnection, WebSocketServer,
    WebSocketServerBuilder, WebSocketStream,
    rustls::{ClientConfig, RootCertStore, ServerConfig, crypto::aws_lc_rs},
};
use zmux::{Listener, ListenerConfig, Session, StreamError};
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

/// Both ends of one connection.
pub(crate) struct Pair {
    pub(crate) ours: WebSocketConnection,
    pub(crate) theirs: Session,
    _server: Option<WebSocketServer>,
    _listener: Option<TheirServer>,
}

/// A server of the crate's.
struct TheirServer {
    listener: Listener,
    serves: JoinHandle<()>,
}

impl Drop for TheirServer {
    fn drop(&mut self) {
        self.serves.abort();
    }
}

impl TheirServer {
    async fn accept(&self) -> Session {
        within("their session", self.listener.accept()).await.expect("a session")
    }
}

/// The crate's settings, its defaults changed.
pub(crate) fn their_config(change: impl FnOnce(&mut zmux::Config)) -> zmux::Config {
    let mut config = zmux::Config::default();
    change(&mut config);
    config
}

/// With this window on each of the crate's streams, which does not grow, and four times as much for all of them
/// together: it takes no less.
pub(crate) fn their_window(window: u64) -> zmux::Config {
    their_config(|config| {
        config.initial_stream_receive_window = window;
        config.max_stream_receive_window = zmux::Cap::Fixed(window);
        config.initial_connection_receive_window = 4 * window;
        config.max_connection_receive_window = zmux::Cap::Fixed(4 * window);
    })
}

impl Pair {
    pub(crate) async fn new(role: Role, ours: Config, theirs: zmux::Config) -> Self {
        match role {
            Role::WeServe => {
                let server = WebSocketServer::builder().config(ours);
                Self::we_serve(server, "", &Options::default(), theirs).await
            }
            Role::WeConnect => {
                let client = WebSocketClient::builder().config(ours);
                Self::we_connect(client, Options::default(), theirs).await
            }
        }
    }

    /// With these subprotocols instead of what their options say, where there are any.
    pub(crate) async fn we_serve(
        server: WebSocketServerBuilder,
        offered: &str,
        options: &Options,
        theirs: zmux::Config,
    ) -> Self {
        let server = server.bind("127.0.0.1:0").await.expect("a port");
        let url = format!("ws://{}/", server.local_addr().expect("an address"));
        let mut request = url.into_client_request().expect("a URL");
        if !offered.is_empty() {
            let name = "sec-websocket-protocol";
            request.headers_mut().insert(name, offered.parse().expect("a header's value"));
        }
        let connect = zmux_websocket::connect(request, options, theirs);
        let (ours, theirs) =
            within("both handshakes", async { tokio::join!(accept(&server), connect) }).await;
        let theirs = theirs.expect("their connection");
        Self { ours, theirs, _server: Some(server), _listener: None }
    }

    pub(crate) async fn we_connect(
        client: WebSocketClientBuilder,
        options: Options,
        theirs: zmux::Config,
    ) -> Self {
        let client = client.build().expect("a client");
        let tcp = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("ws://{}/", tcp.local_addr().expect("an address"));
        let listener = Listener::new(theirs, ListenerConfig::default());
        let serves = tokio::spawn(zmux_websocket::serve(listener.clone(), tcp, options));
        Self::connected_to(TheirServer { listener, serves }, client, &url).await
    }

    async fn connected_to(listener: TheirServer, client: WebSocketClient, url: &str) -> Self {
        let handshakes = async { tokio::join!(client.connect(url), listener.accept()) };
        let (ours, theirs) = within("both handshakes", handshakes).await;
        let ours = ours.expect("our connection");
        Self { ours, theirs, _server: None, _listener: Some(listener) }
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
                let tls = TlsConnector::from(Arc::new(tls));
                let options = Options::default();
                let connect =
                    zmux_websocket::connect_tls(url, &tls, &options, zmux::Config::default());
                let (ours, theirs) =
                    within("both handshakes", async { tokio::join!(accept(&server), connect) })
                        .await;
                let theirs = theirs.expect("their connection");
                Self { ours, theirs, _server: Some(server), _listener: None }
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
                let tcp = TcpListener::bind("127.0.0.1:0").await.expect("a port");
                let url = format!("wss://{}/", tcp.local_addr().expect("an address"));
                let listener = Listener::new(zmux::Config::default(), ListenerConfig::default());
                let tls = TlsAcceptor::from(Arc::new(tls));
                let serve =
                    zmux_websocket::serve_tls(listener.clone(), tcp, tls, Options::default());
                let listener = TheirServer { listener, serves: tokio::spawn(serve) };
                Self::connected_to(listener, client, &url).await
            }
        }
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

/// Reads until the end or an error of their stream, and gives what came before.
pub(crate) async fn they_read_to_error(
    recv: &mut zmux::RecvStream,
) -> (Vec<u8>, Option<StreamError>) {
    let mut all = Vec::new();
    loop {
        match within("their end of the stream", recv.read_chunk(usize::MAX)).await {
            Ok(Some(chunk)) => all.extend_from_slice(&chunk),
            Ok(None) => return (all, None),
            Err(error) => return (all, Some(error)),
        }
    }
}

/// Sends back streams, and datagrams, as they come.
async fn they_echo(session: Session) {
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
                if send.write_chunk(all.into()).await.is_ok() {
                    let _ = send.finish();
                }
            });
        }
    };
    let datagrams = async {
        while let Ok(datagram) = session.read_datagram().await {
            let _ = session.send_datagram(datagram);
        }
    };
    tokio::join!(bi, uni, datagrams);
}
