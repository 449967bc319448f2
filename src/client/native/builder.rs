//! What can be set on a client.

use std::{fmt, sync::Arc, time::Duration};

use http::{HeaderMap, HeaderName, HeaderValue, header};
#[cfg(feature = "tls")]
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

#[cfg(feature = "tls")]
use super::tls::LazyConfig;
use super::{ClientSettings, ProxyServer, Verifier};
use crate::{
    client::{SocketOptions, VerifyServer, WebSocketClient},
    connection::{WebSocketConnection, WebSocketConnectionBuilder, info::HeaderNames},
    error::BuildError,
    handshake::{
        headers::add_header,
        host::is_host,
        negotiation::{Negotiation, Protocol, Subprotocols},
        proxy::Proxy,
    },
    proto::{Config, Wire},
};

/// Sets up a [`WebSocketClient`].
#[must_use]
pub struct WebSocketClientBuilder {
    wire: Wire,
    subprotocols: Subprotocols,
    headers: HeaderMap,
    connection: WebSocketConnectionBuilder,
    connect_timeout: Duration,
    socket_options: SocketOptions,
    proxy: Option<Proxy>,
    verifier: Option<Verifier>,
    #[cfg(feature = "tls")]
    trust: crate::tls::Trust,
    #[cfg(feature = "tls")]
    identity: Option<crate::tls::Identity>,
    #[cfg(feature = "tls")]
    server_name: Option<rustls::pki_types::ServerName<'static>>,
    #[cfg(feature = "tls")]
    proxy_tls_config: Option<Arc<rustls::ClientConfig>>,
    /// The first mistake.
    error: Option<BuildError>,
}

/// As the client's `Debug`.
impl fmt::Debug for WebSocketClientBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebSocketClientBuilder")
            .field("wire", &self.wire)
            .field("headers", &HeaderNames(&self.headers))
            .field("config", &self.connection.config)
            .field("connect_timeout", &self.connect_timeout)
            .field("socket_options", &self.socket_options)
            .field("proxy", &self.proxy)
            .field("verifier", &self.verifier)
            .field("error", &self.error)
            .finish_non_exhaustive()
    }
}

impl WebSocketClientBuilder {
    pub(super) fn new() -> Self {
        Self {
            wire: Wire::QMux,
            subprotocols: Subprotocols::default(),
            headers: HeaderMap::new(),
            connection: WebSocketConnection::builder(),
            // Three of TCP's SYN packets, which go out after 0, 1 and 3 s; with the fourth at 7 s an address
            // is as good as dead.
            connect_timeout: Duration::from_secs(10),
            socket_options: SocketOptions::default(),
            proxy: None,
            verifier: None,
            #[cfg(feature = "tls")]
            trust: crate::tls::Trust::default(),
            #[cfg(feature = "tls")]
            identity: None,
            #[cfg(feature = "tls")]
            server_name: None,
            #[cfg(feature = "tls")]
            proxy_tls_config: None,
            error: None,
        }
    }

    /// The wire to speak. Default [`Wire::QMux`].
    ///
    /// On [`Wire::JsWs`] no subprotocol is offered, whatever else is set: a js-ws server would select any.
    pub fn wire(mut self, wire: Wire) -> Self {
        self.wire = wire;
        self
    }

    /// Offers the application protocol `name`, as subprotocol `qmux-02.<name>`. Several are offered in the
    /// order of the calls, the most wanted first. Default none.
    pub fn protocol(mut self, name: impl Into<String>) -> Self {
        self.subprotocols.protocols.push(Protocol::OfVersion(name.into()));
        self
    }

    /// Offers the application protocol `name` by that name alone, such as `moqt-18`, as
    /// draft-lcurley-qmux-websocket-00 has it; [`protocol`](Self::protocol) offers the other form, in the order of the calls. Default none.
    pub fn bare_protocol(mut self, name: impl Into<String>) -> Self {
        self.subprotocols.protocols.push(Protocol::Bare(name.into()));
        self
    }

    /// Whether the names of older versions of QMux with the same wire are offered besides `qmux-02`, each after
    /// it: `qmux-01`, and `qmux-01.<name>` for each [`protocol`](Self::protocol). Default `false`.
    pub fn older_versions(mut self, offered: bool) -> Self {
        self.subprotocols.older_versions = offered;
        self
    }

    /// Whether a server must know one of the application protocols. Otherwise the bare `qmux-02` is offered
    /// after them. Default `false`.
    pub fn require_protocol(mut self, required: bool) -> Self {
        self.subprotocols.protocol_required = required;
        self
    }

    /// Offers exactly these subprotocols, instead of those that follow from
    /// [`protocol`](Self::protocol): for servers that call the QMux wire by other names.
    pub fn subprotocols(mut self, names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.subprotocols.names = Some(names.into_iter().map(Into::into).collect());
        self
    }

    /// Adds a header to the request, such as `Authorization` or `Origin`. A `Host` takes the place of that of
    /// the URL, and the last one holds; it is a host and perhaps a port, as a server would take it.
    pub fn header<N, V>(mut self, name: N, value: V) -> Self
    where
        N: TryInto<HeaderName>,
        V: TryInto<HeaderValue>,
    {
        if let Err(error) = self.add_header(name, value) {
            self.error.get_or_insert(error);
        }
        self
    }

    fn add_header<N, V>(&mut self, name: N, value: V) -> Result<(), BuildError>
    where
        N: TryInto<HeaderName>,
        V: TryInto<HeaderValue>,
    {
        let mut added = HeaderMap::new();
        add_header(&mut added, name, value)?;
        if let Some(host) = added.remove(header::HOST) {
            // W-45: a server would refuse a request with any other.
            if !is_host(&host) {
                return Err(BuildError::InvalidHeader("host".into()));
            }
            self.headers.insert(header::HOST, host);
        }
        // `extend` would replace earlier headers of the same name.
        for (name, value) in &added {
            self.headers.append(name, value.clone());
        }
        Ok(())
    }

    /// The limits and times of the connections. Its [handshake timeout](Config::handshake_timeout) covers TLS,
    /// the upgrade and the server's transport parameters together. Default [`Config::default`].
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

    /// How long name resolution, TCP and the tunnel of a [proxy](Self::proxy) may take, for all addresses
    /// together. Default 10 s.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// What the operating system is asked to do for the TCP connections, those to a proxy too.
    pub fn socket_options(mut self, options: SocketOptions) -> Self {
        self.socket_options = options;
        self
    }

    /// Connects through this HTTP proxy, by a tunnel (CONNECT, RFC 9110 §9.3.6) for `ws://` and `wss://` alike:
    /// `http://proxy.example:3128`, or `https://` to speak TLS to the proxy itself. Credentials in it, as in
    /// `http://user:password@proxy.example`, are percent-encoded, and sent with the first request as
    /// `Proxy-Authorization: Basic` (RFC 7617): in the clear, unless the proxy is spoken to in TLS.
    ///
    /// The proxy resolves the server's name. TLS with the server goes through the tunnel from end to end; the
    /// proxy learns host and port. What goes wrong up to the tunnel's end is a
    /// [`ConnectError::Proxy`](crate::ConnectError::Proxy). Default none: no environment variable is read.
    ///
    /// The [`remote_address`](crate::ConnectionInfo::remote_address) of such a connection is the proxy's, and
    /// [`from_io`](WebSocketClient::from_io) knows of no proxy.
    pub fn proxy(mut self, url: impl AsRef<str>) -> Self {
        match Proxy::parse(url.as_ref()) {
            Ok(proxy) => self.proxy = Some(proxy),
            Err(error) => {
                self.error.get_or_insert(error);
            }
        }
        self
    }

    /// Asks this check about each server, its certificates and its response, before a connection is handed out.
    /// It comes on top of what TLS verifies, and the last that was set holds.
    pub fn verify_server(mut self, verifier: impl VerifyServer) -> Self {
        self.verifier = Some(Verifier(Box::new(verifier)));
        self
    }

    /// Makes the client.
    ///
    /// # Errors
    /// [`BuildError`] for the first setting that is not valid.
    pub fn build(self) -> Result<WebSocketClient, BuildError> {
        if let Some(error) = self.error {
            return Err(error);
        }
        let negotiation = Negotiation::new(&[self.wire], &self.subprotocols)?;
        #[cfg(feature = "tls")]
        crate::tls::check_client(&self.trust, self.identity.as_ref())?;
        #[cfg(feature = "tls")]
        let proxy_trust = match (self.proxy_tls_config, &self.trust) {
            (Some(config), _) => crate::tls::Trust::Config(config),
            (None, trust @ (crate::tls::Trust::Roots(_) | crate::tls::Trust::Any)) => trust.clone(),
            // These are about the server alone.
            (None, _) => crate::tls::Trust::default(),
        };
        let proxy = self.proxy.map(|proxy| ProxyServer {
            proxy,
            #[cfg(feature = "tls")]
            tls: LazyConfig::new(proxy_trust, None),
        });
        Ok(WebSocketClient(Arc::new(ClientSettings {
            wire: self.wire,
            negotiation,
            headers: self.headers,
            connection: self.connection,
            connect_timeout: self.connect_timeout,
            socket_options: self.socket_options,
            proxy,
            verifier: self.verifier,
            #[cfg(feature = "tls")]
            tls: LazyConfig::new(self.trust, self.identity),
            #[cfg(feature = "tls")]
            server_name: self.server_name,
        })))
    }
}

/// Whom to trust under `wss://`. By default it is the platform's own verifier and its roots. Of roots,
/// pinned certificates and the others the last that was set holds; several of one kind add up.
#[cfg(feature = "tls")]
impl WebSocketClientBuilder {
    /// Trusts this root certificate, in DER, besides those of the platform. One that cannot be parsed is a
    /// [`BuildError::Tls`](crate::BuildError::Tls), and so is any on Android, which takes no further roots.
    pub fn add_root_certificate(mut self, der: impl Into<CertificateDer<'static>>) -> Self {
        match &mut self.trust {
            crate::tls::Trust::Roots(roots) => roots.push(der.into()),
            other => *other = crate::tls::Trust::Roots(vec![der.into()]),
        }
        self
    }

    /// Trusts exactly this certificate of a server, in DER, whoever signed it: the pin of a self-signed one.
    /// Neither its names nor its dates are looked at, only that the server holds its key. Nothing else is
    /// trusted, the platform's roots included. One that cannot be parsed is a [`BuildError::Tls`](crate::BuildError::Tls).
    pub fn trust_self_signed(mut self, der: impl Into<CertificateDer<'static>>) -> Self {
        match &mut self.trust {
            crate::tls::Trust::Pinned(certificates) => certificates.push(der.into()),
            other => *other = crate::tls::Trust::Pinned(vec![der.into()]),
        }
        self
    }

    /// Trusts whoever answers: for tests alone, because everyone on the way can read and change everything.
    pub fn danger_accept_any_certificate(mut self) -> Self {
        self.trust = crate::tls::Trust::Any;
        self
    }

    /// Uses this configuration. [`client_certificate`](Self::client_certificate) has no effect then, and the
    /// configuration's ALPN has none either: this client offers `http/1.1` and nothing else, whatever it has, and an
    /// `Http2Client` `h2` and `http/1.1`.
    pub fn tls_config(mut self, config: Arc<rustls::ClientConfig>) -> Self {
        self.trust = crate::tls::Trust::Config(config);
        self
    }

    /// Shows this certificate, with its chain, to a server that asks for one. A key that cannot be read, or that is not
    /// the certificate's, is a [`BuildError::Tls`](crate::BuildError::Tls).
    pub fn client_certificate(
        mut self,
        chain: impl IntoIterator<Item = CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
    ) -> Self {
        let chain = chain.into_iter().collect();
        self.identity = Some(crate::tls::Identity { chain, key });
        self
    }

    /// Asks for the server by this name in TLS, whatever host the URL has: the name goes into SNI, and the
    /// certificate must have it. An IP address is looked for among the certificate's addresses, and goes into no
    /// SNI (RFC 6066 §3). The `Host` header stays the URL's. Default the URL's host.
    pub fn server_name(mut self, name: impl Into<String>) -> Self {
        let name = name.into();
        match rustls::pki_types::ServerName::try_from(name.clone()) {
            Ok(name) => self.server_name = Some(name),
            Err(_) => {
                self.error.get_or_insert(BuildError::InvalidServerName(name));
            }
        }
        self
    }

    /// Uses this configuration for TLS with a [proxy](Self::proxy); ALPN is `http/1.1`, whatever it has. Default: the proxy is verified by
    /// the platform and the [roots](Self::add_root_certificate) that were added, or by nobody where
    /// [any certificate](Self::danger_accept_any_certificate) will do; pins, [`tls_config`](Self::tls_config) and
    /// the [client's certificate](Self::client_certificate) are for the server alone.
    pub fn proxy_tls_config(mut self, config: Arc<rustls::ClientConfig>) -> Self {
        self.proxy_tls_config = Some(config);
        self
    }
}
