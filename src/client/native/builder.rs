//! The settings of a client.

use std::{fmt, sync::Arc, time::Duration};

use http::{HeaderMap, HeaderName, HeaderValue, header};
#[cfg(feature = "tls")]
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use wsmux_proto::Wire;

#[cfg(feature = "tls")]
use super::tls::LazyConfig;
use super::{ClientSettings, ProxyServer, Verifier};
use crate::{
    client::{CONNECT_TIMEOUT, SocketOptions, VerifyServer, WebSocketClient},
    connection::{WebSocketConnection, WebSocketConnectionBuilder, info::HeaderNames},
    error::BuildError,
    handshake::{
        headers::add_header,
        host::is_host,
        negotiation::{Negotiation, Subprotocols},
        proxy::Proxy,
    },
    setters::shared_setters,
};

/// Sets up a [`WebSocketClient`].
#[must_use]
pub struct WebSocketClientBuilder {
    wire: Wire,
    subprotocols: Subprotocols,
    headers: HeaderMap,
    connection: WebSocketConnectionBuilder,
    connect_timeout: Duration,
    resume_without_tls: bool,
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
    /// The first invalid setting.
    error: Option<BuildError>,
}

/// The output leaves out the TLS settings, the values of headers, and the subprotocols. The output
/// for a client leaves out the same.
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
            connect_timeout: CONNECT_TIMEOUT,
            resume_without_tls: false,
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

    /// Sets the wire to speak. Default [`Wire::QMux`].
    ///
    /// On [`Wire::JsWs`] no subprotocol is offered, because a js-ws server would select any name
    /// that is offered. No other setting changes this.
    pub fn wire(mut self, wire: Wire) -> Self {
        self.wire = wire;
        self
    }

    shared_setters!(client);

    /// Adds a header to the request, such as `Authorization` or `Origin`. A `Host` header replaces
    /// the `Host` header that is made from the URL. If `Host` is set several times, the last one
    /// applies. The value of `Host` must be a host with an optional port.
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
            // W-45: a server would refuse any other value.
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

    /// Sets how long name resolution, TCP and the tunnel of a [proxy](Self::proxy) may take, for
    /// all addresses together. Every value is used as it is given. With zero, connecting always
    /// fails. A time beyond the range of the clock means no timeout. If a proxy refuses, the client
    /// may need up to one more second to end the TLS stream to the proxy. Default 10 s.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// Sets the options of the TCP sockets, including the sockets to a proxy. Default
    /// [`SocketOptions::default`].
    pub fn socket_options(mut self, options: SocketOptions) -> Self {
        self.socket_options = options;
        self
    }

    /// Connects through this HTTP proxy with a tunnel (CONNECT, RFC 9110 §9.3.6), for `ws://` and
    /// `wss://` alike. The URL is, for example, `http://proxy.example:3128`. If its scheme is
    /// `https`, the client speaks TLS to the proxy itself. By default no proxy is used, and no
    /// environment variable is read.
    ///
    /// Credentials in the URL, as in `http://user:password@proxy.example`, must be percent-encoded.
    /// They are sent with the first request as `Proxy-Authorization: Basic` (RFC 7617). Without TLS
    /// to the proxy they are sent unencrypted.
    ///
    /// The proxy resolves the server's name, so it learns the server's host and port. TLS with the
    /// server runs through the tunnel, so the proxy cannot read the data. An error before the
    /// tunnel is open is a [`ConnectError::Proxy`](crate::ConnectError::Proxy).
    ///
    /// The [`remote_address`](crate::ConnectionInfo::remote_address) of a connection through a
    /// proxy is the address of the proxy. [`from_io`](WebSocketClient::from_io) does not use the
    /// proxy.
    pub fn proxy(mut self, url: impl AsRef<str>) -> Self {
        match Proxy::parse(url.as_ref()) {
            Ok(proxy) => self.proxy = Some(proxy),
            Err(error) => {
                self.error.get_or_insert(error);
            }
        }
        self
    }

    /// Sets the application's own check of a server. The client passes each server's certificates
    /// and response to the check before the connection is returned. TLS verifies the server as
    /// well. If several checks are set, the last one applies.
    pub fn verify_server(mut self, verifier: impl VerifyServer) -> Self {
        self.verifier = Some(Verifier(Box::new(verifier)));
        self
    }

    /// Whether connections without TLS can be [resumed](crate::Config::resume_timeout), too. An
    /// observer of a connection without TLS learns the session's secret, and can take over the
    /// connection when its socket is lost. With `false`, which is the default, only connections
    /// with TLS and connections to a loopback address or to `localhost` can be resumed (SPEC.md
    /// §12).
    pub fn resume_without_tls(mut self, enabled: bool) -> Self {
        self.resume_without_tls = enabled;
        self
    }

    /// Makes the client.
    ///
    /// # Errors
    /// [`BuildError`] for the first invalid setting.
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
            // Pinned certificates and TLS configurations apply to the server, and not to the proxy.
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
            resume_without_tls: self.resume_without_tls,
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

/// The settings of TLS for `wss://`. By default, the server's certificate is checked by the
/// platform's verifier against the platform's roots. There are four kinds of settings that change
/// this: added roots, pinned certificates, accepting any certificate, and a configuration of your
/// own. Only the kind that was set last applies, because it replaces the other kinds. Several added
/// roots, or several pinned certificates, apply together.
#[cfg(feature = "tls")]
impl WebSocketClientBuilder {
    /// Trusts this root certificate (DER) in addition to the root certificates of the platform. A
    /// certificate that cannot be parsed is a [`BuildError::Tls`](crate::BuildError::Tls). On
    /// Android, where roots cannot be added, every certificate causes this error.
    pub fn add_root_certificate(mut self, der: impl Into<CertificateDer<'static>>) -> Self {
        match &mut self.trust {
            crate::tls::Trust::Roots(roots) => roots.push(der.into()),
            other => *other = crate::tls::Trust::Roots(vec![der.into()]),
        }
        self
    }

    /// Pins a server to this certificate (DER), for example to a self-signed certificate. The
    /// client does not check the certificate's names, dates and signature. It only checks that the
    /// server holds the certificate's key. Nothing else is trusted, not even the platform's roots.
    /// A certificate that cannot be parsed is a [`BuildError::Tls`](crate::BuildError::Tls).
    pub fn trust_self_signed(mut self, der: impl Into<CertificateDer<'static>>) -> Self {
        match &mut self.trust {
            crate::tls::Trust::Pinned(certificates) => certificates.push(der.into()),
            other => *other = crate::tls::Trust::Pinned(vec![der.into()]),
        }
        self
    }

    /// Trusts any certificate. Use this setting only in tests, because anyone on the path can read
    /// and change everything.
    pub fn danger_accept_any_certificate(mut self) -> Self {
        self.trust = crate::tls::Trust::Any;
        self
    }

    /// Uses this TLS configuration. If this is set,
    /// [`client_certificate`](Self::client_certificate) has no effect. The configuration's ALPN has
    /// no effect either: this client offers `http/1.1`, and an `Http2Client` offers `h2` and
    /// `http/1.1`.
    pub fn tls_config(mut self, config: Arc<rustls::ClientConfig>) -> Self {
        self.trust = crate::tls::Trust::Config(config);
        self
    }

    /// Presents this certificate and its chain to a server that asks for a certificate. A key that
    /// cannot be read, or that does not match the certificate, is a
    /// [`BuildError::Tls`](crate::BuildError::Tls).
    pub fn client_certificate(
        mut self,
        chain: impl IntoIterator<Item = CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
    ) -> Self {
        let chain = chain.into_iter().collect();
        self.identity = Some(crate::tls::Identity { chain, key });
        self
    }

    /// Sets the server's name in TLS. The name is sent as SNI, and the certificate must be valid
    /// for this name. An IP address must be among the certificate's addresses, and is not sent as
    /// SNI (RFC 6066 §3). The `Host` header is not changed. By default the name is the URL's host.
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

    /// Uses this configuration for TLS with a [proxy](Self::proxy). The configuration's ALPN is
    /// replaced by `http/1.1`.
    ///
    /// By default the proxy's certificate is verified against the platform's roots and the roots
    /// that were [added](Self::add_root_certificate). With
    /// [`danger_accept_any_certificate`](Self::danger_accept_any_certificate) it is not verified.
    /// Pinned certificates, [`tls_config`](Self::tls_config) and the [client's
    /// certificate](Self::client_certificate) apply to the server alone.
    pub fn proxy_tls_config(mut self, config: Arc<rustls::ClientConfig>) -> Self {
        self.proxy_tls_config = Some(config);
        self
    }
}
