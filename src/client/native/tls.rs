//! A client's TLS handshake.

use std::{
    error::Error,
    io,
    sync::{Arc, Mutex, PoisonError},
};

use rustls::{ClientConfig, pki_types::ServerName};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::watch,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::{
    error::ConnectError,
    socket::ReadAhead,
    tls::{Identity, Trust, client_config},
};

/// The only ALPN name (RFC 7301) of a client that speaks HTTP/1.1. If the client also offered `h2`,
/// a server that speaks HTTP/2 would select `h2`.
pub(in crate::client) const HTTP1: &[u8] = b"http/1.1";

/// A configuration that is made when it is first needed, because making it reads the platform's
/// roots.
#[derive(Debug)]
pub(super) struct LazyConfig {
    trust: Trust,
    identity: Option<Arc<Identity>>,
    /// The result of the thread that makes the configuration. All callers share this thread. If a
    /// caller gives up, the thread goes on, and its result serves the next caller. If each caller
    /// started a thread of its own, callers with short timeouts would use up the runtime's threads
    /// and never get the roots.
    made: Mutex<Option<watch::Receiver<Option<Made>>>>,
}

type Made = Result<Arc<ClientConfig>, rustls::Error>;

impl LazyConfig {
    pub(super) fn new(trust: Trust, identity: Option<Identity>) -> Self {
        Self { trust, identity: identity.map(Arc::new), made: Mutex::default() }
    }

    /// Waits for the configuration. This method is cancel safe, because the thread goes on for the
    /// next caller.
    async fn get(&self) -> Result<Arc<ClientConfig>, ConnectError> {
        let failed = |error| ConnectError::Tls(Arc::new(io::Error::other(error)));
        let mut made = self.made();
        // If there is no result, the thread has panicked, or its runtime has ended.
        let made = made.wait_for(Option::is_some).await.map_err(|_| failed("no roots".into()))?;
        match &*made {
            Some(Ok(config)) => Ok(config.clone()),
            Some(Err(error)) => Err(failed(Box::<dyn Error + Send + Sync>::from(error.clone()))),
            None => Err(failed("no roots".into())),
        }
    }

    /// Returns the channel for the result of the thread. Starts the thread if it has not run yet,
    /// or if it has failed.
    fn made(&self) -> watch::Receiver<Option<Made>> {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(made) = &*made {
            // This line must come before the borrow. If the thread has ended by now, the borrow
            // sees its final result.
            let is_running = made.has_changed().is_ok();
            let is_of_use = made.borrow().as_ref().map_or(is_running, Result::is_ok);
            if is_of_use {
                return made.clone();
            }
        }
        let (tell, found) = watch::channel(None);
        let (trust, identity) = (self.trust.clone(), self.identity.clone());
        // This needs a thread for blocking calls, because the platform's roots may be hundreds of
        // files.
        tokio::task::spawn_blocking(move || {
            tell.send_replace(Some(client_config(trust, identity.as_deref())));
        });
        made.insert(found).clone()
    }
}

/// Returns the name for SNI and for checking the certificate. An IP address must be among the
/// certificate's addresses, and is not sent as SNI (RFC 6066 §3).
pub(super) fn server_name(host: &str) -> Result<ServerName<'static>, ConnectError> {
    ServerName::try_from(host.to_owned())
        .map_err(|error| ConnectError::InvalidUrl(error.to_string()))
}

/// Does the TLS handshake. Offers `alpn` instead of the configuration's ALPN, because only the
/// caller knows which protocols it can speak over TLS.
pub(super) async fn connect<S: AsyncRead + AsyncWrite + Unpin>(
    config: &LazyConfig,
    alpn: &[&[u8]],
    name: ServerName<'static>,
    io: S,
) -> Result<TlsStream<ReadAhead<S>>, ConnectError> {
    // W-60 (RFC 7301 §3.2): offers exactly the protocols that the caller speaks.
    let alpn = alpn.iter().map(|name| name.to_vec()).collect();
    let connector = TlsConnector::from(config.get().await?);
    connector
        .with_alpn(alpn)
        .connect(name, ReadAhead::new(io))
        .await
        .map_err(|error| ConnectError::Tls(error.into()))
}

#[cfg(test)]
mod tests {
    use std::{
        pin::pin,
        task::{Context, Waker},
    };

    use super::*;

    #[tokio::test]
    async fn what_a_caller_began_who_gave_up_serves_the_next() {
        let config = LazyConfig::new(Trust::Any, None);
        // The thread may already have finished.
        let _ = pin!(config.get()).poll(&mut Context::from_waker(Waker::noop()));
        let begun = config.made.lock().unwrap().clone().unwrap();
        let made = config.get().await.unwrap();
        assert!(config.made().same_channel(&begun), "it has begun again");
        assert!(Arc::ptr_eq(&made, &config.get().await.unwrap()));
    }

    #[tokio::test]
    async fn what_has_failed_is_tried_again_by_the_next() {
        let config = LazyConfig::new(Trust::Roots(vec![b"no certificate"[..].into()]), None);
        config.get().await.unwrap_err();
        let failed = config.made.lock().unwrap().clone().unwrap();
        config.get().await.unwrap_err();
        assert!(!config.made().same_channel(&failed));
    }
}
