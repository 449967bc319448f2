//! Our end and a foreign end, connected by the QMux wire, and what the foreign end does in the
//! tests.

use std::sync::Arc;

use bytes::Bytes;
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_rustls::TlsAcceptor;
use wsmux::{
    Config, WebSocketClient, WebSocketClientBuilder, WebSocketConnection, WebSocketServer,
    WebSocketServerBuilder, WebSocketStream,
    rustls::{ClientConfig, RootCertStore, ServerConfig, crypto::aws_lc_rs},
};

use super::{
    End, Foreign, ForeignRecv, ForeignSend,
    interop::{
        Certificate, Echo, Opener, Role, accept, check_pattern, pattern, receive_pattern,
        send_pattern, within,
    },
};

/// Both ends of one connection.
pub(crate) struct Pair<F: Foreign> {
    pub(crate) ours: WebSocketConnection,
    pub(crate) theirs: F,
    _server: Option<WebSocketServer>,
    _their_server: Option<F::Server>,
}

impl<F: Foreign> Pair<F> {
    pub(crate) async fn new(role: Role, ours: Config, theirs: F::Config) -> Self {
        match role {
            Role::WeServe => {
                let server = WebSocketServer::builder().config(ours);
                Self::we_serve(server, "ws", async |url| F::connect(&url, theirs).await).await
            }
            Role::WeConnect => {
                let client = WebSocketClient::builder().config(ours);
                Self::we_connect(client, "ws", |tcp| F::serve(tcp, None, theirs)).await
            }
        }
    }

    /// Connects both ends over TLS, with all settings at their defaults.
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
                let server =
                    WebSocketServer::builder().certificate(certificate.chain, certificate.key);
                let connect = async |url: String| F::connect_tls(&url, Arc::new(tls)).await;
                Self::we_serve(server, "wss", connect).await
            }
            Role::WeConnect => {
                let client =
                    WebSocketClient::builder().trust_self_signed(certificate.chain[0].clone());
                let tls = ServerConfig::builder_with_provider(provider)
                    .with_safe_default_protocol_versions()
                    .expect("versions")
                    .with_no_client_auth()
                    .with_single_cert(certificate.chain, certificate.key)
                    .expect("a certificate");
                let tls = Some(TlsAcceptor::from(Arc::new(tls)));
                let serve = |tcp| F::serve(tcp, tls, F::Config::default());
                Self::we_connect(client, "wss", serve).await
            }
        }
    }

    pub(crate) async fn we_serve(
        server: WebSocketServerBuilder,
        scheme: &str,
        connect: impl AsyncFnOnce(String) -> F,
    ) -> Self {
        let server = server.bind("127.0.0.1:0").await.expect("a port");
        let url = format!("{scheme}://{}/", server.local_addr().expect("an address"));
        let handshakes = async { tokio::join!(accept(&server), connect(url)) };
        let (ours, theirs) = within("both handshakes", handshakes).await;
        Self { ours, theirs, _server: Some(server), _their_server: None }
    }

    pub(crate) async fn we_connect(
        client: WebSocketClientBuilder,
        scheme: &str,
        serve: impl FnOnce(TcpListener) -> F::Server,
    ) -> Self {
        let client = client.build().expect("a client");
        let tcp = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("{scheme}://{}/", tcp.local_addr().expect("an address"));
        let server = serve(tcp);
        let handshakes = async { tokio::join!(client.connect(&url), F::accept(&server)) };
        let (ours, theirs) = within("both handshakes", handshakes).await;
        let ours = ours.expect("our connection");
        Self { ours, theirs, _server: None, _their_server: Some(server) }
    }

    /// Opens a stream, and returns both ends of it. The accepting end learns of the stream only
    /// when the first byte arrives. So the opening end sends one byte, and the accepting end reads
    /// that byte.
    pub(crate) async fn open(&self, opener: Opener) -> (WebSocketStream, (F::Send, F::Recv)) {
        match opener {
            Opener::Us => {
                let mut stream = within("opening", self.ours.open_bi()).await.expect("a stream");
                stream.send().write_all(b"!").await.expect("a byte sent");
                let mut theirs =
                    within("accepting", self.theirs.accept_bi()).await.expect("a stream");
                assert_eq!(within("a byte", theirs.1.read(1)).await.unwrap().unwrap(), "!");
                (stream, theirs)
            }
            Opener::Them => {
                let mut theirs = within("opening", self.theirs.open_bi()).await.expect("a stream");
                theirs.0.write(Bytes::from_static(b"!")).await.expect("a byte sent");
                let mut stream =
                    within("accepting", self.ours.accept_bi()).await.expect("a stream");
                within("a byte", stream.recv().read_exact(&mut [0])).await.expect("a byte");
                (stream, theirs)
            }
        }
    }

    /// Shows on a new stream that the connection works in both directions.
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

    /// Starts an echo at both ends. The echo at the foreign end runs until its task is aborted.
    pub(crate) fn start_echoes(&self) -> (Echo, JoinHandle<()>) {
        (Echo::start(&self.ours), tokio::spawn(they_echo(self.theirs.clone())))
    }

    pub(crate) async fn they_get_echo(&self, seed: u8, bytes: u64) {
        they_get_echo(&self.theirs, seed, bytes).await;
    }
}

/// Makes the foreign end send a stream to our echo and read the echo.
pub(crate) async fn they_get_echo(theirs: &impl Foreign, seed: u8, bytes: u64) {
    let (mut send, mut recv) = within("their opening", theirs.open_bi()).await.expect("a stream");
    tokio::join!(
        they_send_pattern(&mut send, seed, bytes),
        they_receive_pattern(&mut recv, seed, bytes),
    );
}

pub(crate) async fn they_send_pattern(send: &mut impl ForeignSend, seed: u8, bytes: u64) {
    let mut at = 0;
    while at < bytes {
        let chunk = pattern(seed, at, (bytes - at).min(65_536) as usize);
        at += chunk.len() as u64;
        within("their writing", send.write(chunk)).await.expect("a stream that takes all");
    }
    send.finish();
}

pub(crate) async fn they_receive_pattern(recv: &mut impl ForeignRecv, seed: u8, bytes: u64) {
    let mut at = 0;
    while let Some(chunk) =
        within("their reading", recv.read(usize::MAX)).await.expect("a clean end")
    {
        check_pattern(seed, at, &chunk);
        at += chunk.len() as u64;
    }
    assert_eq!(at, bytes, "bytes until the end of their stream");
}

/// Reads a stream at the foreign end until its end or an error. Returns the bytes, and the error if
/// there was one.
pub(crate) async fn they_read_to_end(recv: &mut impl ForeignRecv) -> (Vec<u8>, Option<End>) {
    let mut all = Vec::new();
    loop {
        match within("their end of the stream", recv.read(usize::MAX)).await {
            Ok(Some(chunk)) => all.extend_from_slice(&chunk),
            Ok(None) => return (all, None),
            Err(end) => return (all, Some(end)),
        }
    }
}

/// Sends back streams and datagrams as they arrive.
async fn they_echo(session: impl Foreign) {
    let bi = async {
        while let Some((mut send, mut recv)) = session.accept_bi().await {
            tokio::spawn(async move {
                while let Some(chunk) = recv.read(usize::MAX).await? {
                    send.write(chunk).await?;
                }
                send.finish();
                Ok::<_, End>(())
            });
        }
    };
    let uni = async {
        while let Some(mut recv) = session.accept_uni().await {
            let session = session.clone();
            tokio::spawn(async move {
                let (all, None) = they_read_to_end(&mut recv).await else { return };
                drop(recv);
                let Some(mut send) = session.open_uni().await else { return };
                if send.write(all.into()).await.is_ok() {
                    send.finish();
                }
            });
        }
    };
    let datagrams = async {
        while let Some(datagram) = session.read_datagram().await {
            session.send_datagram(datagram);
        }
    };
    tokio::join!(bi, uni, datagrams);
}
