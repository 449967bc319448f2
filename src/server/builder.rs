//! What can be set on a server.

use std::sync::Arc;

use async_trait::async_trait;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
#[cfg(feature = "tls")]
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::ToSocketAddrs;

#[cfg(feature = "tls")]
use super::accept::{CurrentTls, Tls};
use super::{
    Listener, WebSocketAcceptor, WebSocketServer,
    accept::ServerSettings,
    authorize::{Accept, Authorize, Refuse, UpgradeRequest},
    limits::Limits,
};
#[cfg(feature = "tls")]
use crate::tls::{ClientAuth, Identity, http1_only, server_config};
use crate::{
    connection::{ConnectionInfo, WebSocketConnection, WebSocketConnectionBuilder},
    error::{BindError, BuildError},
    handshake::{
        headers::add_header,
        negotiation::{Negotiation, Protocol, Subprotocols},
    },
    proto::{Config, Wire},
};

/// Sets up a [`WebSocketServer`], or a [`WebSocketAcceptor`].
#[must_use]
pub struct WebSocketServerBuilder {
    wires: Vec<Wire>,
    subprotocols: Subprotocols,
    headers: HeaderMap,
    connection: WebSocketConnectionBuilder,
    hooks: Vec<Box<dyn Authorize>>,
    limits: Limits,
    #[cfg(feature = "tls")]
    tls: Option<TlsSource>,
    #[cfg(feature = "tls")]
    clients: Option<ClientAuth>,
    /// The first mistake.
    error: Option<BuildError>,
}

/// Where the TLS comes from.
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
            // A client that offers no subprotocol may speak neither wire, so js-ws is opt-in.
            wires: vec![Wire::QMux],
            subprotocols: Subprotocols { older_versions: true, ..Subprotocols::default() },
            headers: HeaderMap::new(),
            connection: WebSocketConnection::builder(),
            hooks: Vec::new(),
            limits: Limits::default(),
            #[cfg(feature = "tls")]
            tls: None,
            #[cfg(feature = "tls")]
            clients: None,
            error: None,
        }
    }

    /// The wires that are spoken: a client that offers one of the accepted subprotocols gets [`Wire::QMux`],
    /// one that offers none gets [`Wire::JsWs`], and whoever wants a wire that is not spoken is refused.
    /// Default QMux alone; with both, each client has its own.
    pub fn wires(mut self, wires: impl IntoIterator<Item = Wire>) -> Self {
        self.wires = wires.into_iter().collect();
        self
    }

    /// Accepts the application protocol `name`, as subprotocol `qmux-02.<name>`. Of several that a client
    /// offers the first of these calls is selected. Default none.
    pub fn protocol(mut self, name: impl Into<String>) -> Self {
        self.subprotocols.protocols.push(Protocol::OfVersion(name.into()));
        self
    }

    /// Accepts the application protocol `name` by its bare name, such as `moqt-18`
    /// (draft-lcurley-qmux-websocket-00). [`protocol`](Self::protocol) accepts the other form. The
    /// order of the calls of both is the order of preference. Default none.
    pub fn bare_protocol(mut self, name: impl Into<String>) -> Self {
        self.subprotocols.protocols.push(Protocol::Bare(name.into()));
        self
    }

    /// Whether the names of older versions of QMux with the same wire are accepted besides `qmux-02`, each after
    /// it: `qmux-01`, and `qmux-01.<name>` for each [`protocol`](Self::protocol). Default `true`.
    pub fn older_versions(mut self, accepted: bool) -> Self {
        self.subprotocols.older_versions = accepted;
        self
    }

    /// Whether a client must know one of the application protocols. Otherwise the bare `qmux-02` is accepted
    /// too. Default `false`.
    pub fn require_protocol(mut self, required: bool) -> Self {
        self.subprotocols.protocol_required = required;
        self
    }

    /// Accepts exactly these subprotocols, instead of those that follow from
    /// [`protocol`](Self::protocol): for clients that call the QMux wire by other names. The most wanted first.
    pub fn subprotocols(mut self, names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.subprotocols.names = Some(names.into_iter().map(Into::into).collect());
        self
    }

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

    /// The limits and times of the connections. Its [handshake timeout](Config::handshake_timeout) covers TLS,
    /// the upgrade and the client's transport parameters together. Default [`Config::default`].
    pub fn config(mut self, config: Config) -> Self {
        self.connection = self.connection.config(config);
        self
    }

    /// Writes a log of each connection on the QMux wire, in QUIC's qlog; see [`QlogConfig`](crate::QlogConfig).
    /// Default `None`: a log costs time and disk space, and shows who did what when.
    #[cfg(feature = "qlog")]
    pub fn qlog(mut self, qlog: impl Into<Option<crate::observe::qlog::QlogConfig>>) -> Self {
        self.connection = self.connection.qlog(qlog);
        self
    }

    /// Asks `authorize` about each client whose request is in order: by its path, its headers, its address
    /// and its certificate. With an error the client is refused with that status, or with 403 where it is no
    /// error's. Default: everyone is welcome.
    ///
    /// It is the simple form of [`authorizer`](Self::authorizer), and must not block.
    ///
    /// Web pages of any origin may open a WebSocket, and the browser sends its cookies along: a server that
    /// trusts cookies has to look at `Origin`, as [`AllowedOrigins`](super::authorize::AllowedOrigins) does.
    pub fn authorize<F>(self, authorize: F) -> Self
    where
        F: Fn(&ConnectionInfo) -> Result<(), StatusCode> + Send + Sync + 'static,
    {
        self.authorizer(Check(authorize))
    }

    /// Asks this hook about each client whose request is in order. It may take its time, up to the handshake
    /// timeout, choose among the subprotocols, add headers, attach data to the connection, and refuse with a
    /// response of its own; see [`authorize`](super::authorize). Of several calls all hooks are asked, in their order,
    /// and all must accept. Default: everyone is welcome.
    pub fn authorizer(mut self, hook: impl Authorize) -> Self {
        self.hooks.push(Box::new(hook));
        self
    }

    /// Accepts so many clients at once, those in their handshake and in their closing handshake included; more wait
    /// in the system's queue until some have gone, and are refused by the system when that is full. It counts
    /// for a server that listens. Default no limit: file descriptors are one, past which it is the same.
    pub fn max_connections(mut self, count: usize) -> Self {
        self.limits.connections = Some(count);
        self
    }

    /// Accepts so many clients of one address at once; more are closed as soon as they come, before TLS: of
    /// whoever floods, nothing should cost more. With IPv6 a /64 is one address, for that is what one
    /// subscriber has. Clients of Unix sockets are not counted. Default no limit: behind a proxy all clients
    /// have the proxy's address.
    pub fn max_connections_per_address(mut self, count: usize) -> Self {
        self.limits.per_address = Some(count);
        self
    }

    /// Accepts clients only while there are fewer handshakes under way, from [`accept`](WebSocketServer::accept) until
    /// [`Connecting`](crate::Connecting) is done or dropped; more wait in the system's queue. Each may hold 110 kB and
    /// the state of TLS for as long as the handshake timeout. Default no limit.
    pub fn max_handshakes(mut self, count: usize) -> Self {
        self.limits.handshakes = Some(count);
        self
    }

    /// Lets so many handshakes of one address be under way at once; more of its clients are closed as soon as they
    /// come. Addresses count as those of [`max_connections_per_address`](Self::max_connections_per_address). Set it
    /// beside [`max_handshakes`](Self::max_handshakes), which one address that connects and says nothing could
    /// otherwise use up, for the handshake timeout each time. Default no limit: behind a proxy all clients have the
    /// proxy's address.
    pub fn max_handshakes_per_address(mut self, count: usize) -> Self {
        self.limits.handshakes_per_address = Some(count);
        self
    }

    /// What does the handshakes, without a listener.
    ///
    /// # Errors
    /// [`BuildError`] for the first setting that cannot be.
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
            #[cfg(feature = "tls")]
            tls: Tls { clients: self.clients, current: current.into() },
        })))
    }

    /// Listens on a TCP address, the first that can be had where a name has several. `[::]` takes IPv4 clients
    /// too, as [`Listener::tcp`] says.
    ///
    /// # Errors
    /// [`BindError`].
    pub async fn bind(self, address: impl ToSocketAddrs) -> Result<WebSocketServer, BindError> {
        let acceptor = self.build()?;
        let listeners = Listener::first_of(address).await?;
        Ok(WebSocketServer::with_listeners(listeners, acceptor))
    }

    /// Listens on each of these TCP addresses; see [`Listener::tcp`]. Other sockets go by
    /// [`WebSocketServer::with_listeners`].
    ///
    /// # Errors
    /// [`BindError`], when one of them cannot be had.
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

/// A hook that only says yes or no.
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

/// With `certificate` or `tls_config` the server speaks TLS, and nothing else.
#[cfg(feature = "tls")]
impl WebSocketServerBuilder {
    /// Shows this certificate, with the chain behind it, to the clients.
    /// [`set_certificate`](WebSocketServer::set_certificate) renews it while the server runs.
    pub fn certificate(
        mut self,
        chain: impl IntoIterator<Item = CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
    ) -> Self {
        let chain = chain.into_iter().collect();
        self.tls = Some(TlsSource::Identity(Identity { chain, key }));
        self
    }

    /// Asks clients for a certificate that goes back to one of these roots, and turns away those without (mutual
    /// TLS). [`peer_certificates`](crate::WebSocketConnection::peer_certificates) then has the chain. Needs a
    /// [`certificate`](Self::certificate).
    ///
    /// That the chain is good says that one of the roots vouches for the client; whether this client may come is
    /// for an [`authorizer`](Self::authorizer) to say.
    pub fn require_client_certificates(
        mut self,
        roots: impl IntoIterator<Item = CertificateDer<'static>>,
    ) -> Self {
        let roots = roots.into_iter().collect();
        self.clients = Some(ClientAuth { roots, required: true });
        self
    }

    /// As [`require_client_certificates`](Self::require_client_certificates), but clients without a certificate are
    /// welcome: their [`peer_certificates`](crate::WebSocketConnection::peer_certificates) is `None`. One that goes back to no
    /// root is refused all the same.
    pub fn request_client_certificates(
        mut self,
        roots: impl IntoIterator<Item = CertificateDer<'static>>,
    ) -> Self {
        let roots = roots.into_iter().collect();
        self.clients = Some(ClientAuth { roots, required: false });
        self
    }

    /// Uses this configuration: for several certificates, or a verifier of clients of your own.
    /// [`set_tls_config`](WebSocketServer::set_tls_config) changes it while the server runs.
    ///
    /// Of its ALPN `h2` is never selected, for this server speaks HTTP/1.1: the configuration may be that of an HTTP
    /// server. An ALPN that has names and not `http/1.1` is a [`BuildError::Tls`](crate::BuildError::Tls).
    pub fn tls_config(mut self, config: Arc<rustls::ServerConfig>) -> Self {
        self.tls = Some(TlsSource::Config(config));
        self
    }
}
