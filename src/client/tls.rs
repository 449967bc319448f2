//! A client's TLS handshake.

use std::{io, sync::Arc};

use rustls::{ClientConfig, pki_types::ServerName};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::OnceCell,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::ConnectError;
use crate::tls::{Identity, Trust, client_config};

/// A configuration made when it is first needed, for the platform's roots have to be read.
#[derive(Debug)]
pub(super) struct LazyConfig {
    trust: Trust,
    identity: Option<Arc<Identity>>,
    made: OnceCell<Arc<ClientConfig>>,
}

impl LazyConfig {
    pub(super) fn new(trust: Trust, identity: Option<Identity>) -> Self {
        Self { trust, identity: identity.map(Arc::new), made: OnceCell::new() }
    }

    async fn get(&self) -> Result<&Arc<ClientConfig>, ConnectError> {
        let failed = |error| ConnectError::Tls(Arc::new(error));
        let make = || async {
            let (trust, identity) = (self.trust.clone(), self.identity.clone());
            // The platform's roots may be hundreds of files.
            tokio::task::spawn_blocking(move || client_config(trust, identity.as_deref()))
                .await
                .map_err(|error| failed(io::Error::other(error)))?
                .map_err(|error| failed(io::Error::other(error)))
        };
        self.made.get_or_try_init(make).await
    }
}

/// The name that goes into SNI, and that the certificate is to have. An address is looked for among the
/// certificate's addresses, and SNI has no place for it (RFC 6066 §3).
pub(super) fn server_name(host: &str) -> Result<ServerName<'static>, ConnectError> {
    ServerName::try_from(host.to_owned())
        .map_err(|error| ConnectError::InvalidUrl(error.to_string()))
}

/// With the configuration's ALPN, or with another.
pub(super) async fn connect<S: AsyncRead + AsyncWrite + Unpin>(
    config: &LazyConfig,
    alpn: Option<&[&[u8]]>,
    name: ServerName<'static>,
    io: S,
) -> Result<TlsStream<S>, ConnectError> {
    let connector = TlsConnector::from(config.get().await?.clone());
    let connected = match alpn {
        Some(alpn) => {
            let alpn = alpn.iter().map(|name| name.to_vec()).collect();
            connector.with_alpn(alpn).connect(name, io).await
        }
        None => connector.connect(name, io).await,
    };
    connected.map_err(|error| ConnectError::Tls(error.into()))
}
