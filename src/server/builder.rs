//! What can be set on a server.

use std::sync::Arc;

#[cfg(feature = "tls")]
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::{TcpListener, ToSocketAddrs};
use tokio_tungstenite::tungstenite::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use super::{Authorize, BindError, Settings, WebSocketAcceptor, WebSocketServer};
use crate::{
    BuildError, Config, ConnectionInfo,
    handshake::{Subprotocols, add_header},
    proto::Wire,
};

/// Sets up a [`WebSocketServer`], or a [`WebSocketAcceptor`].
#[must_use]
pub struct WebSocketServerBuilder {
    qmux: bool,
    jsws: bool,
    subprotocols: Subprotocols,
    headers: HeaderMap,
    config: Config,
    authorize: Option<Box<Authorize>>,
    #[cfg(feature = "tls")]
    tls: Option<Arc<rustls::ServerConfig>>,
    /// The first mistake.
    error: Option<BuildError>,
}

impl std::fmt::Debug for WebSocketServerBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WebSocketServerBuilder")
            .field("qmux", &self.qmux)
            .field("jsws", &self.jsws)
            .field("subprotocols", &self.subprotocols)
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

impl WebSocketServerBuilder {
    pub(super) fn new() -> Self {
        Self {
            // A client that offers nothing may well mean neither wire, so js-ws has to be asked for.
            qmux: true,
            jsws: false,
            subprotocols: Subprotocols::default(),
            headers: HeaderMap::new(),
            config: Config::default(),
            authorize: None,
            #[cfg(feature = "tls")]
            tls: None,
            error: None,
        }
    }

    /// The wires that are spoken: a client that offers one of the accepted subprotocols gets [`Wire::QMux`],
    /// one that offers none gets [`Wire::JsWs`], and whoever wants a wire that is not spoken is refused.
    /// Default QMux alone; with both, each client has its own.
    pub fn wires(mut self, wires: impl IntoIterator<Item = Wire>) -> Self {
        (self.qmux, self.jsws) = (false, false);
        for wire in wires {
            match wire {
                Wire::QMux => self.qmux = true,
                Wire::JsWs => self.jsws = true,
            }
        }
        self
    }

    /// Accepts the application protocol `name`, as subprotocol `qmux-02.<name>`. Of several that a client
    /// offers the first of these calls is selected. Default none.
    pub fn protocol(mut self, name: impl Into<String>) -> Self {
        self.subprotocols.protocols.push(name.into());
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
        self.config = config;
        self
    }

    /// Asks `authorize` about each client whose request is in order: by its path, its headers, its address
    /// and its certificate. With an error the client is refused with that status, or with 403 where it is no
    /// error's. Default: everyone is welcome.
    ///
    /// Web pages of any origin may open a WebSocket, and the browser sends its cookies along: a server that
    /// trusts cookies has to look at `Origin` here.
    pub fn authorize<F>(mut self, authorize: F) -> Self
    where
        F: Fn(&ConnectionInfo) -> Result<(), StatusCode> + Send + Sync + 'static,
    {
        self.authorize = Some(Box::new(authorize));
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
        if !self.qmux && !self.jsws {
            return Err(BuildError::NoWire);
        }
        let accepted = match (self.subprotocols.names(), self.qmux) {
            (Ok(_) | Err(BuildError::NoSubprotocol), false) => Vec::new(),
            (names, _) => names?,
        };
        Ok(WebSocketAcceptor(Arc::new(Settings {
            accepted,
            jsws: self.jsws,
            headers: self.headers,
            config: self.config,
            authorize: self.authorize,
            #[cfg(feature = "tls")]
            tls: self.tls,
        })))
    }

    /// Listens on a TCP address. An unspecified IPv6 address takes IPv4 clients too, where the system is set
    /// so.
    ///
    /// # Errors
    /// [`BindError`].
    pub async fn bind(self, address: impl ToSocketAddrs) -> Result<WebSocketServer, BindError> {
        let acceptor = self.build()?;
        Ok(WebSocketServer::new(TcpListener::bind(address).await?, acceptor))
    }
}

/// With one of these the server speaks TLS, and nothing else.
#[cfg(feature = "tls")]
impl WebSocketServerBuilder {
    /// Shows this certificate, with the chain behind it, to the clients.
    pub fn certificate(
        mut self,
        chain: impl IntoIterator<Item = CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
    ) -> Self {
        let chain = chain.into_iter().collect();
        match crate::tls::server_config(&crate::tls::Identity { chain, key }) {
            Ok(config) => self.tls = Some(config),
            Err(error) => {
                self.error.get_or_insert(BuildError::Tls(error.to_string()));
            }
        }
        self
    }

    /// Uses this configuration as it is: to ask clients for certificates, for example.
    pub fn tls_config(mut self, config: Arc<rustls::ServerConfig>) -> Self {
        self.tls = Some(config);
        self
    }
}
