//! An axum server with pages, a login, and WebSocket routes that echo each stream. The server
//! counts its TCP connections.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    extract::{Request, State},
    middleware::{self, Next},
    response::{Html, IntoResponse, Response},
    routing::{any, get},
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
    service::TowerToHyperService,
};
use rcgen::{CertifiedKey, KeyPair};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
    sync::{Semaphore, mpsc, watch},
    task::JoinHandle,
};
use wsmux::{
    ConnectionInfo, WebSocketAcceptor, WebSocketClient, WebSocketClientBuilder,
    WebSocketConnection, WebSocketServer, WebSocketServerBuilder, Wire,
    axum::WsMuxUpgrade,
    http::{StatusCode, Version, header},
    rustls::{
        self,
        pki_types::{CertificateDer, PrivateKeyDer},
        server::WebPkiClientVerifier,
    },
};

/// Waits for a future. The time limit is long, because a busy machine may stop for some seconds.
pub(crate) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    let limit = Duration::from_secs(120);
    tokio::time::timeout(limit, future).await.unwrap_or_else(|_| panic!("{what} took too long"))
}

/// What kind of server to start.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Kind {
    pub(crate) tls: bool,
    pub(crate) alpn: &'static [&'static str],
    pub(crate) extended_connect: bool,
    pub(crate) max_streams: u32,
    /// Whether clients must show a certificate.
    pub(crate) client_certificates: bool,
}

impl Kind {
    pub(crate) const PLAIN: Self = Self {
        tls: false,
        alpn: &[],
        extended_connect: true,
        max_streams: 200,
        client_certificates: false,
    };
    pub(crate) const TLS: Self = Self { tls: true, alpn: &["h2", "http/1.1"], ..Self::PLAIN };
}

pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    kind: Kind,
    certificate: CertificateDer<'static>,
    /// The certificate and key of a client that the server accepts.
    client: CertifiedKey<KeyPair>,
    counts: Arc<Counts>,
    accepted: tokio::sync::Mutex<mpsc::UnboundedReceiver<WebSocketConnection>>,
    /// The outcomes that pages have reported.
    said: tokio::sync::Mutex<mpsc::UnboundedReceiver<String>>,
    draining: watch::Sender<bool>,
    serving: JoinHandle<()>,
}

#[derive(Debug)]
pub(crate) struct Counts {
    tcp: AtomicUsize,
    open: AtomicUsize,
    ended: Semaphore,
}

#[derive(Clone)]
struct Shared {
    acceptor: WebSocketAcceptor,
    accepted: mpsc::UnboundedSender<WebSocketConnection>,
    said: mpsc::UnboundedSender<String>,
}

/// A page that opens three WebSockets to the server that sent the page, and reports the outcome.
const PAGE: &str = include_str!("page.html");

async fn mux(State(shared): State<Shared>, upgrade: WsMuxUpgrade) -> Response {
    upgrade
        .on_connection(&shared.acceptor, |connection| async move {
            let _ = shared.accepted.send(connection.clone());
            echo(connection).await;
        })
        .await
}

async fn echo(connection: WebSocketConnection) {
    while let Ok(stream) = connection.accept_bi().await {
        let (mut send, mut recv) = stream.into_split();
        tokio::spawn(async move {
            while let Ok(Some(chunk)) = recv.read_chunk(usize::MAX).await {
                // The client asks the server to read no more of this stream.
                if chunk.starts_with(b"stall") {
                    std::future::pending::<()>().await;
                }
                send.write_chunk(chunk).await?;
            }
            let _ = send.finish();
            Ok::<_, wsmux::WriteError>(())
        });
    }
}

/// Accepts the name "user" with the password "secret".
async fn login(request: Request, next: Next) -> Response {
    let authorization = request.headers().get(header::AUTHORIZATION);
    if authorization.is_some_and(|value| value == "Basic dXNlcjpzZWNyZXQ=") {
        return next.run(request).await;
    }
    let challenge = [(header::WWW_AUTHENTICATE, "Basic realm=\"wsmux\"")];
    (StatusCode::UNAUTHORIZED, challenge, "who are you?\n").into_response()
}

fn routes(shared: Shared) -> Router {
    let private = Router::new()
        .route("/", get(|| async { "a private page\n" }))
        .route("/mux", any(mux))
        .layer(middleware::from_fn(login));
    let said = shared.said.clone();
    Router::new()
        .route("/", get(|| async { "a page\n" }))
        .route("/browser", get(|| async { Html(PAGE) }))
        .route(
            "/said",
            axum::routing::post(|words: String| async move {
                let _ = said.send(words);
            }),
        )
        .route("/mux", any(mux))
        .nest("/private", private)
        .with_state(shared)
}

impl Server {
    pub(crate) async fn start(kind: Kind) -> Self {
        let builder = WebSocketServer::builder()
            .wires([Wire::QMux, Wire::JsWs])
            .protocol("chat")
            .header("x-served-by", "axum")
            .authorize(|info| match info.remote_address() {
                Some(_) => Ok(()),
                None => Err(StatusCode::INTERNAL_SERVER_ERROR),
            });
        Self::with(kind, builder).await
    }

    /// Starts a server that accepts WebSockets with the settings of this builder.
    pub(crate) async fn with(kind: Kind, builder: WebSocketServerBuilder) -> Self {
        let certified =
            rcgen::generate_simple_self_signed(["localhost".to_owned(), "127.0.0.1".to_owned()])
                .unwrap();
        let certificate = certified.cert.der().clone();
        let client = rcgen::generate_simple_self_signed(["client".to_owned()]).unwrap();
        let mut roots = rustls::RootCertStore::empty();
        roots.add(client.cert.der().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifier =
            WebPkiClientVerifier::builder_with_provider(roots.into(), provider.clone()).build();
        let verifier = match kind.client_certificates {
            true => verifier.unwrap(),
            false => WebPkiClientVerifier::no_client_auth(),
        };
        let mut tls = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(verifier)
            .with_single_cert(vec![certificate.clone()], PrivateKeyDer::from(certified.signing_key))
            .unwrap();
        tls.alpn_protocols = kind.alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        let tls = tokio_rustls::TlsAcceptor::from(Arc::new(tls));

        let (accepted_tx, accepted) = mpsc::unbounded_channel();
        let (said_tx, said) = mpsc::unbounded_channel();
        let acceptor = builder.build().unwrap();
        let routes = routes(Shared { acceptor, accepted: accepted_tx, said: said_tx });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let counts = Arc::new(Counts {
            tcp: AtomicUsize::new(0),
            open: AtomicUsize::new(0),
            ended: Semaphore::new(0),
        });
        let counted = counts.clone();
        let (draining, drain) = watch::channel(false);
        let serving = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            loop {
                let (tcp, _) = listener.accept().await.unwrap();
                counted.tcp.fetch_add(1, Ordering::SeqCst);
                counted.open.fetch_add(1, Ordering::SeqCst);
                let (routes, tls, counts) = (routes.clone(), tls.clone(), counted.clone());
                // A call of `go_away` affects only connections that are open at the time of the
                // call. So `serve` ignores a call that came before its connection.
                let drain = drain.clone();
                connections.spawn(async move {
                    if !kind.tls {
                        let info = ConnectionInfo::of_tcp(&tcp);
                        serve(kind, tcp, routes, info, drain).await;
                    } else if let Ok(tls) = tls.accept(tcp).await {
                        let info = ConnectionInfo::of_tls(&tls);
                        serve(kind, tls, routes, info, drain).await;
                    }
                    counts.open.fetch_sub(1, Ordering::SeqCst);
                    counts.ended.add_permits(1);
                });
            }
        });
        let (accepted, said) = (tokio::sync::Mutex::new(accepted), tokio::sync::Mutex::new(said));
        Self { address, kind, certificate, client, counts, draining, accepted, said, serving }
    }

    /// Sends GOAWAY on each HTTP/2 connection that is open now. Open streams go on.
    pub(crate) fn go_away(&self) {
        self.draining.send_replace(true);
    }

    /// Returns the certificate and key of a client that the server accepts.
    pub(crate) fn client_identity(&self) -> (CertificateDer<'static>, PrivateKeyDer<'static>) {
        let key = self.client.signing_key.serialize_der().try_into().unwrap();
        (self.client.cert.der().clone(), key)
    }

    /// Returns the number of TCP connections since the start.
    pub(crate) fn tcp_connections(&self) -> usize {
        self.counts.tcp.load(Ordering::SeqCst)
    }

    /// Waits until one more TCP connection has ended.
    pub(crate) async fn tcp_ended(&self) {
        within("the end of TCP", self.counts.ended.acquire()).await.unwrap().forget();
    }

    pub(crate) async fn accepted(&self) -> WebSocketConnection {
        within("a connection", async { self.accepted.lock().await.recv().await }).await.unwrap()
    }

    pub(crate) async fn said(&self) -> Option<String> {
        self.said.lock().await.recv().await
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}://{}{path}", if self.kind.tls { "wss" } else { "ws" }, self.address)
    }

    pub(crate) fn client(&self) -> WebSocketClientBuilder {
        WebSocketClient::builder().trust_self_signed(self.certificate.clone())
    }

    /// Ends all TCP connections and the listener.
    pub(crate) fn kill(&self) {
        self.serving.abort();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

async fn serve<S>(
    kind: Kind,
    io: S,
    routes: Router,
    info: ConnectionInfo,
    mut draining: watch::Receiver<bool>,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut server = auto::Builder::new(TokioExecutor::new());
    if kind.extended_connect {
        wsmux::hyper::allow_http2(&mut server);
    }
    server.http2().max_concurrent_streams(kind.max_streams);
    let routes = routes.layer(axum::Extension(info));
    let service = TowerToHyperService::new(routes);
    let serving = server.serve_connection_with_upgrades(TokioIo::new(io), service);
    let mut serving = std::pin::pin!(serving);
    draining.mark_unchanged();
    tokio::select! {
        _ = &mut serving => return,
        _ = draining.changed() => serving.as_mut().graceful_shutdown(),
    }
    let _ = serving.await;
}

/// Returns the HTTP version of the request for this connection.
pub(crate) fn version(connection: &WebSocketConnection) -> Version {
    connection.info().request().expect("a request").version()
}

/// Sends `len` bytes on a stream to the echo, and reads them back.
pub(crate) async fn exchange(connection: &WebSocketConnection, len: usize) {
    let (mut send, mut recv) = connection.open_bi().await.unwrap().into_split();
    let bytes: Vec<u8> = (0..len).map(|at| (at * 31 / 7) as u8).collect();
    let expected = bytes.clone();
    let write = async {
        send.write_all(&bytes).await.unwrap();
        send.finish().unwrap();
    };
    let read = async { recv.read_to_end(len).await.unwrap() };
    let ((), read) = within("an exchange", async { tokio::join!(write, read) }).await;
    assert!(read == expected, "what came back is not what was sent");
}
