//! The settings of a server.

use std::sync::Arc;

use async_trait::async_trait;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
#[cfg(feature = "tls")]
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::ToSocketAddrs;
use wsmux_proto::Wire;

#[cfg(feature = "tls")]
use super::accept::{CurrentTls, Tls};
use super::{
    Listener, WebSocketAcceptor, WebSocketServer,
    accept::ServerSettings,
    authorize::{Accept, Authorize, Refuse, UpgradeRequest},
    limits::Limits,
    sessions::{SessionRegistry, SuspendedLimits},
};
#[cfg(feature = "tls")]
use crate::tls::{ClientAuth, Identity, http1_only, server_config};
use crate::{
    connection::{ConnectionInfo, WebSocketConnection, WebSocketConnectionBuilder},
    error::{BindError, BuildError},
    handshake::{
        headers::add_header,
        negotiation::{Negotiation, Subprotocols},
    },
    setters::shared_setters,
};

/// Sets up a [`WebSocketServer`] or a [`WebSocketAcceptor`].
#[must_use]
pub struct WebSocketServerBuilder {
    wires: Vec<Wire>,
    subprotocols: Subprotocols,
    headers: HeaderMap,
    connection: WebSocketConnectionBuilder,
    hooks: Vec<Box<dyn Authorize>>,
    limits: Limits,
    suspended: SuspendedLimits,
    #[cfg(feature = "tls")]
    tls: Option<TlsSource>,
    #[cfg(feature = "tls")]
    clients: Option<ClientAuth>,
    /// The first invalid setting.
    error: Option<BuildError>,
}

/// The source of the TLS configuration.
#[cfg(feature = "tls")]
enum TlsSource {
    Identity(Identity),
    Config(Arc<rustls::ServerConfig>),
}

impl std::fmt::Debug for WebSocketServerBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WebSocketServerBuilder")
            .field("wires", &self.wires)
            .field("subprotocols", &self.subprotocols)
            .field("limits", &self.limits)
            .field("config", &self.connection.config)
            .finish_non_exhaustive()
    }
}

impl WebSocketServerBuilder {
    pub(super) fn new() -> Self {
        Self {
            // A js-ws client offers no subprotocol, and a client that speaks neither wire offers
            // none either. The server could not tell these two clients apart, so js-ws is opt-in.
            wires: vec![Wire::QMux],
            subprotocols: Subprotocols { older_versions: true, ..Subprotocols::default() },
            headers: HeaderMap::new(),
            connection: WebSocketConnection::builder(),
            hooks: Vec::new(),
            limits: Limits::default(),
            suspended: SuspendedLimits::default(),
            #[cfg(feature = "tls")]
            tls: None,
            #[cfg(feature = "tls")]
            clients: None,
            error: None,
        }
    }

    /// Sets the wires that the server accepts. A client that offers one of the accepted
    /// subprotocols gets [`Wire::QMux`], and a client that offers no subprotocol gets
    /// [`Wire::JsWs`]. A client that asks for a wire that is not accepted is refused. If both wires
    /// are accepted, each client gets the wire that it asks for. By default, only QMux is accepted.
    pub fn wires(mut self, wires: impl IntoIterator<Item = Wire>) -> Self {
        self.wires = wires.into_iter().collect();
        self
    }

    shared_setters!(server);

    /// Adds a header to the response that opens a WebSocket.
    pub fn header<N, V>(mut self, name: N, value: V) -> Self
    where
        N: TryInto<HeaderName>,
        V: TryInto<HeaderValue>,
    {
        if let Err(error) = add_header(&mut self.headers, name, value) {
            self.error.get_or_insert(error);
        }
        self
    }

    /// Calls `authorize` for each client whose request is valid, with the client's path, headers,
    /// address and certificate. If `authorize` returns `Err(status)`, the client is refused with
    /// that status, or with 403 if the status is not 4xx or 5xx. By default every client is
    /// accepted.
    ///
    /// This method is the simple form of [`authorizer`](Self::authorizer). The function must not
    /// block.
    ///
    /// A web page of any origin can open a WebSocket, and the browser sends the cookies of its
    /// user. A server that trusts cookies has to check `Origin`, for example with
    /// [`AllowedOrigins`](super::authorize::AllowedOrigins).
    pub fn authorize<F>(self, authorize: F) -> Self
    where
        F: Fn(&ConnectionInfo) -> Result<(), StatusCode> + Send + Sync + 'static,
    {
        self.authorizer(Check(authorize))
    }

    /// Calls this hook for each client whose request is valid. Within the handshake timeout the
    /// hook may wait, choose one of the subprotocols, add headers, attach data to the connection,
    /// or refuse with a response of its own; see [`authorize`](super::authorize). If this is called
    /// several times, the hooks are called in the order in which they were added, and all must
    /// accept the client. By default every client is accepted.
    pub fn authorizer(mut self, hook: impl Authorize) -> Self {
        self.hooks.push(Box::new(hook));
        self
    }

    /// Sets how many clients there may be at once, including clients in their opening or closing
    /// handshake. With `None`, which is the default, there is no limit. With 0, no client is
    /// accepted.
    ///
    /// Further clients wait in the kernel's accept queue until others have ended, and the kernel
    /// refuses clients if the queue is full. Reaching the process's limit on file descriptors has
    /// the same effect. The limit applies only to a [`WebSocketServer`], which accepts clients on
    /// sockets of its own, and not to a [`WebSocketAcceptor`].
    pub fn max_connections(mut self, count: Option<usize>) -> Self {
        self.limits.connections = count;
        self
    }

    /// Sets how many clients from one address there may be at once. With `None`, there is no limit.
    /// `None` is the default, because behind a proxy all clients have the proxy's address. With 0,
    /// no client that has an address is accepted.
    ///
    /// Further clients are closed as soon as they are accepted, before TLS, so that a flood costs
    /// as little as possible. An IPv6 /64 counts as one address, because one subscriber can use all
    /// of it. Clients of Unix sockets are not counted.
    ///
    /// A client that [resumes](crate::Config::resume_timeout) a connection has two sockets for a
    /// moment if its old socket still looks alive to the server. So the limit has to leave room for
    /// this second socket.
    pub fn max_connections_per_address(mut self, count: Option<usize>) -> Self {
        self.limits.per_address = count;
        self
    }

    /// Sets how many connections without a socket may wait for their clients to
    /// [resume](crate::Config::resume_timeout) them. If there are more, the connection that has
    /// waited longest ends. With `None`, there is no limit. With 0, no connection outlives its
    /// socket. The default is 10,000.
    ///
    /// A connection without a socket does not count against
    /// [`max_connections`](Self::max_connections).
    pub fn max_suspended_connections(mut self, count: Option<usize>) -> Self {
        self.suspended.connections = count;
        self
    }

    /// Sets how many bytes all connections without a socket together may keep. They keep these
    /// bytes to send them again. The bytes of a connection are counted when it loses its socket. If
    /// the connections keep more, the connection that keeps the most ends. With `None`, there is no
    /// limit. The default is 256 MiB.
    ///
    /// In addition, each of these connections keeps the bytes that its streams have buffered; see
    /// [`MemoryBound`](crate::MemoryBound).
    pub fn max_suspended_bytes(mut self, bytes: Option<u64>) -> Self {
        self.suspended.bytes = bytes;
        self
    }

    /// Sets how many handshakes there may be at once. A handshake lasts from
    /// [`accept`](WebSocketServer::accept) until its [`Connecting`](crate::Connecting) has finished
    /// or is dropped. With `None`, which is the default, there is no limit. With 0, no client is
    /// accepted.
    ///
    /// Further clients wait in the kernel's accept queue. Each handshake may hold 110 kB and the
    /// state of TLS until the handshake timeout.
    pub fn max_handshakes(mut self, count: Option<usize>) -> Self {
        self.limits.handshakes = count;
        self
    }

    /// Sets how many handshakes with one address there may be at once. With `None`, there is no
    /// limit. `None` is the default, because behind a proxy all clients have the proxy's address.
    /// With 0, no client that has an address is accepted.
    ///
    /// Further clients from the address are closed as soon as they are accepted. Addresses are
    /// counted as for [`max_connections_per_address`](Self::max_connections_per_address). Set this
    /// limit if you set [`max_handshakes`](Self::max_handshakes). Otherwise one address could use
    /// up all handshakes with silent connections, because each silent connection lasts for the
    /// whole handshake timeout.
    pub fn max_handshakes_per_address(mut self, count: Option<usize>) -> Self {
        self.limits.handshakes_per_address = count;
        self
    }

    /// Makes an acceptor, which does handshakes without listening.
    ///
    /// # Errors
    /// [`BuildError`] for the first invalid setting.
    pub fn build(self) -> Result<WebSocketAcceptor, BuildError> {
        if let Some(error) = self.error {
            return Err(error);
        }
        if self.wires.is_empty() {
            return Err(BuildError::NoWire);
        }
        let negotiation = Negotiation::new(&self.wires, &self.subprotocols)?;
        #[cfg(feature = "tls")]
        let current = match (self.tls, &self.clients) {
            (Some(TlsSource::Identity(identity)), clients) => {
                CurrentTls::OfCertificate(server_config(&identity, clients.as_ref())?)
            }
            (Some(TlsSource::Config(config)), None) => CurrentTls::AsGiven(http1_only(config)?),
            (None, None) => CurrentTls::None,
            (_, Some(_)) => {
                let what = "clients' certificates are asked for with `certificate`";
                return Err(BuildError::Tls(what.into()));
            }
        };
        Ok(WebSocketAcceptor(Arc::new(ServerSettings {
            negotiation,
            headers: self.headers,
            connection: self.connection,
            hooks: self.hooks,
            limits: self.limits,
            sessions: Arc::new(SessionRegistry::new(self.suspended)),
            #[cfg(feature = "tls")]
            tls: Tls { clients: self.clients, current: current.into() },
        })))
    }

    /// Listens on a TCP address. If a name has several addresses, the first available one is used.
    /// `[::]` accepts IPv4 clients, too, as [`Listener::tcp`] says.
    ///
    /// # Errors
    /// [`BindError`].
    pub async fn bind(self, address: impl ToSocketAddrs) -> Result<WebSocketServer, BindError> {
        let acceptor = self.build()?;
        let listeners = Listener::first_of(address).await?;
        Ok(WebSocketServer::with_listeners(listeners, acceptor))
    }

    /// Listens on each of these TCP addresses; see [`Listener::tcp`]. For other sockets use
    /// [`WebSocketServer::with_listeners`].
    ///
    /// # Errors
    /// [`BindError`] if one of the addresses is not available.
    pub async fn bind_all(
        self,
        addresses: impl IntoIterator<Item = impl ToSocketAddrs>,
    ) -> Result<WebSocketServer, BindError> {
        let acceptor = self.build()?;
        let listeners = Listener::tcp(addresses).await?;
        Ok(WebSocketServer::with_listeners(listeners, acceptor))
    }

    /// Listens on a Unix socket; see [`Listener::unix`].
    ///
    /// # Errors
    /// [`BindError`].
    #[cfg(unix)]
    pub fn bind_unix(
        self,
        path: impl AsRef<std::path::Path>,
    ) -> Result<WebSocketServer, BindError> {
        let acceptor = self.build()?;
        Ok(WebSocketServer::new(Listener::unix(path)?, acceptor))
    }
}

/// The hook of [`authorize`](WebSocketServerBuilder::authorize).
struct Check<F>(F);

#[async_trait]
impl<F> Authorize for Check<F>
where
    F: Fn(&ConnectionInfo) -> Result<(), StatusCode> + Send + Sync + 'static,
{
    async fn authorize(&self, request: &UpgradeRequest) -> Result<Accept, Refuse> {
        match (self.0)(request.info()) {
            Ok(()) => Ok(Accept::new()),
            Err(status) => {
                let is_error = status.is_client_error() || status.is_server_error();
                let status = if is_error { status } else { StatusCode::FORBIDDEN };
                Err(Refuse::new(status).body("not authorised\n"))
            }
        }
    }
}

/// The settings of TLS. If `certificate` or `tls_config` is set, the server accepts TLS only.
#[cfg(feature = "tls")]
impl WebSocketServerBuilder {
    /// Presents this certificate and its chain to clients.
    /// [`set_certificate`](WebSocketServer::set_certificate) replaces it while the server runs.
    pub fn certificate(
        mut self,
        chain: impl IntoIterator<Item = CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
    ) -> Self {
        let chain = chain.into_iter().collect();
        self.tls = Some(TlsSource::Identity(Identity { chain, key }));
        self
    }

    /// Requires a client certificate that leads to one of these roots (mutual TLS); other clients
    /// are refused. [`peer_certificates`](crate::WebSocketConnection::peer_certificates) returns
    /// the chain. Without a [`certificate`](Self::certificate), this setting makes the build fail.
    ///
    /// A valid chain means that one of the roots vouches for the client. Use an
    /// [`authorizer`](Self::authorizer) to decide whether this client may connect.
    pub fn require_client_certificates(
        mut self,
        roots: impl IntoIterator<Item = CertificateDer<'static>>,
    ) -> Self {
        let roots = roots.into_iter().collect();
        self.clients = Some(ClientAuth { roots, required: true });
        self
    }

    /// Asks for client certificates as
    /// [`require_client_certificates`](Self::require_client_certificates) does, but also accepts
    /// clients without a certificate. For such clients,
    /// [`peer_certificates`](crate::WebSocketConnection::peer_certificates) returns `None`. A
    /// client whose certificate leads to none of the roots is still refused.
    pub fn request_client_certificates(
        mut self,
        roots: impl IntoIterator<Item = CertificateDer<'static>>,
    ) -> Self {
        let roots = roots.into_iter().collect();
        self.clients = Some(ClientAuth { roots, required: false });
        self
    }

    /// Uses this TLS configuration, for example to have several certificates or a client verifier
    /// of your own. [`set_tls_config`](WebSocketServer::set_tls_config) replaces it while the
    /// server runs.
    ///
    /// This server speaks HTTP/1.1, so it never selects `h2` from the configuration's ALPN. The
    /// configuration may therefore be shared with an HTTP server. A non-empty ALPN without
    /// `http/1.1` is a [`BuildError::Tls`](crate::BuildError::Tls).
    pub fn tls_config(mut self, config: Arc<rustls::ServerConfig>) -> Self {
        self.tls = Some(TlsSource::Config(config));
        self
    }
}
