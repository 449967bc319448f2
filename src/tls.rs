//! The TLS configurations of clients and servers. The configurations that this module makes always
//! use the aws-lc-rs provider, whatever the process-wide default is.

use std::sync::Arc;

use bytes::Bytes;
use rustls::{
    CertificateError, ClientConfig, CommonState, DigitallySignedStruct, RootCertStore,
    ServerConfig, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime},
    server::{ParsedCertificate, WebPkiClientVerifier, danger::ClientCertVerifier},
    sign::CertifiedKey,
};

use crate::error::BuildError;

/// The only ALPN name of the configurations that this module makes. A WebSocket is opened by an
/// upgrade of HTTP/1.1. If HTTP/2 were offered as well, a server that speaks HTTP/2 would select
/// it.
const ALPN: &[u8] = b"http/1.1";

const NO_ROOTS_ON_ANDROID: &str = "Android takes no further roots";

fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

/// This end's certificate chain, which begins with this end's own certificate, and the key of that
/// certificate.
#[derive(Debug)]
pub(crate) struct Identity {
    pub(crate) chain: Vec<CertificateDer<'static>>,
    pub(crate) key: PrivateKeyDer<'static>,
}

/// The servers that a client trusts.
#[derive(Debug, Clone)]
pub(crate) enum Trust {
    /// Servers whose certificate chain leads to one of the platform's roots, or to one of the roots
    /// listed here.
    Roots(Vec<CertificateDer<'static>>),
    /// Servers that present one of these certificates and hold the certificate's key.
    Pinned(Vec<CertificateDer<'static>>),
    /// All servers, no matter what certificate they present.
    Any,
    /// Servers that this configuration accepts.
    Config(Arc<ClientConfig>),
}

impl Default for Trust {
    fn default() -> Self {
        Self::Roots(Vec::new())
    }
}

/// Makes a client's TLS configuration. On platforms that keep their roots in files, this function
/// reads the files.
pub(crate) fn client_config(
    trust: Trust,
    identity: Option<&Identity>,
) -> Result<Arc<ClientConfig>, rustls::Error> {
    let provider = provider();
    let verifier: Arc<dyn ServerCertVerifier> = match trust {
        Trust::Config(config) => return Ok(config),
        Trust::Roots(roots) => Arc::new(platform(roots, provider.clone())?),
        Trust::Pinned(certificates) => {
            Arc::new(Fixed { certificates: Some(certificates), provider: provider.clone() })
        }
        Trust::Any => Arc::new(Fixed { certificates: None, provider: provider.clone() }),
    };
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        // The platform's verifier is safe. The other verifiers are used only if the application has
        // called `trust_self_signed` or `danger_accept_any_certificate`.
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let mut config = match identity {
        Some(Identity { chain, key }) => {
            builder.with_client_auth_cert(chain.clone(), key.clone_key())?
        }
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![ALPN.to_vec()];
    Ok(Arc::new(config))
}

/// Checks a client's settings as far as possible without the platform's roots. Thus an invalid
/// setting is reported when the client is built, and not each time it connects.
pub(crate) fn check_client(trust: &Trust, identity: Option<&Identity>) -> Result<(), BuildError> {
    let failed = |error: rustls::Error| BuildError::Tls(error.to_string());
    match trust {
        Trust::Config(_) => return Ok(()),
        Trust::Roots(roots) => {
            if cfg!(target_os = "android") && !roots.is_empty() {
                return Err(BuildError::Tls(NO_ROOTS_ON_ANDROID.into()));
            }
            let mut store = RootCertStore::empty();
            roots.iter().try_for_each(|root| store.add(root.clone())).map_err(failed)?;
        }
        Trust::Pinned(certificates) => {
            for certificate in certificates {
                ParsedCertificate::try_from(certificate).map_err(failed)?;
            }
        }
        Trust::Any => {}
    }
    if let Some(Identity { chain, key }) = identity {
        CertifiedKey::from_der(chain.clone(), key.clone_key(), &provider()).map_err(failed)?;
    }
    Ok(())
}

fn platform(
    roots: Vec<CertificateDer<'static>>,
    provider: Arc<CryptoProvider>,
) -> Result<rustls_platform_verifier::Verifier, rustls::Error> {
    #[cfg(not(target_os = "android"))]
    return rustls_platform_verifier::Verifier::new_with_extra_roots(roots, provider);
    #[cfg(target_os = "android")]
    match roots.is_empty() {
        true => rustls_platform_verifier::Verifier::new(provider),
        false => Err(rustls::Error::General(NO_ROOTS_ON_ANDROID.into())),
    }
}

/// The ALPN name of HTTP/2.
const HTTP2: &[u8] = b"h2";

/// Adapts an application's server configuration to a listener that speaks HTTP/1.1 alone.
///
/// A configuration that is shared with an HTTP server prefers `h2`, and a client that offers both
/// names would get HTTP/2. Therefore `h2` is removed. Other names stay, such as `acme-tls/1` (RFC
/// 8737), which is used to order certificates. A list without `http/1.1` is an error, because TLS
/// would refuse every client that offers only `http/1.1` (RFC 7301 §3.2). Browsers are such clients
/// when they open a WebSocket.
pub(crate) fn http1_only(config: Arc<ServerConfig>) -> Result<Arc<ServerConfig>, BuildError> {
    let offered = &config.alpn_protocols;
    // W-61 (RFC 7301 §3.2): a list without `http/1.1` is refused.
    if !offered.is_empty() && !offered.iter().any(|name| name == ALPN) {
        let what =
            "a WebSocket server speaks http/1.1, which the configuration's ALPN does not have";
        return Err(BuildError::Tls(what.into()));
    }
    if !offered.iter().any(|name| name == HTTP2) {
        return Ok(config);
    }
    let mut config = ServerConfig::clone(&config);
    // W-61: `h2` is never selected.
    config.alpn_protocols.retain(|name| name != HTTP2);
    Ok(Arc::new(config))
}

/// The client certificates that a server accepts.
#[derive(Debug, Clone)]
pub(crate) struct ClientAuth {
    pub(crate) roots: Vec<CertificateDer<'static>>,
    /// Whether clients without a certificate are refused.
    pub(crate) required: bool,
}

/// Makes a server's TLS configuration with one certificate.
pub(crate) fn server_config(
    identity: &Identity,
    clients: Option<&ClientAuth>,
) -> Result<Arc<ServerConfig>, BuildError> {
    let failed = |error: rustls::Error| BuildError::Tls(error.to_string());
    let builder = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(failed)?;
    let builder = match clients {
        Some(clients) => builder.with_client_cert_verifier(client_verifier(clients)?),
        None => builder.with_no_client_auth(),
    };
    let mut config = builder
        .with_single_cert(identity.chain.clone(), identity.key.clone_key())
        .map_err(failed)?;
    config.alpn_protocols = vec![ALPN.to_vec()];
    Ok(Arc::new(config))
}

fn client_verifier(clients: &ClientAuth) -> Result<Arc<dyn ClientCertVerifier>, BuildError> {
    let mut roots = RootCertStore::empty();
    for root in &clients.roots {
        roots.add(root.clone()).map_err(|error| BuildError::Tls(error.to_string()))?;
    }
    let builder = WebPkiClientVerifier::builder_with_provider(roots.into(), provider());
    let builder = if clients.required { builder } else { builder.allow_unauthenticated() };
    builder.build().map_err(|error| BuildError::Tls(error.to_string()))
}

/// Returns the certificate chain that the peer presented.
pub(crate) fn peer_certificates(session: &CommonState) -> Option<Arc<[Bytes]>> {
    let certificates = session.peer_certificates()?;
    Some(certificates.iter().map(|der| Bytes::copy_from_slice(der)).collect())
}

/// A verifier that trusts exactly `certificates`, or any certificate if there is no list. In both
/// cases it checks that the peer holds the certificate's key.
#[derive(Debug)]
struct Fixed {
    certificates: Option<Vec<CertificateDer<'static>>>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Fixed {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        match &self.certificates {
            Some(certificates) if !certificates.contains(end_entity) => {
                Err(CertificateError::ApplicationVerificationFailure.into())
            }
            _ => Ok(ServerCertVerified::assertion()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
