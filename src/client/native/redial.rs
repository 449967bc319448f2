//! How a client opens a new socket for a connection that has lost its socket.

use std::{
    fmt,
    net::IpAddr,
    pin::Pin,
    sync::{Mutex, PoisonError},
};

use http::{HeaderMap, HeaderValue};

use super::{
    Opened, WebSocketClient,
    cookies::{add_cookies, cookies_of},
};
use crate::{
    connection::{ConnectionInfo, resume},
    error::ConnectError,
    handshake::client::Target,
};

/// Opens WebSockets to one server.
pub(in crate::client) trait Dialer:
    Clone + fmt::Debug + Send + Sync + 'static
{
    /// Opens a WebSocket. `cookies` are sent in addition to the client's headers.
    fn dial(
        self,
        cookies: Option<HeaderValue>,
    ) -> impl Future<Output = Result<Opened, ConnectError>> + Send;
}

/// Dials the server of one connection again.
#[derive(Debug)]
pub(super) struct Redial<D> {
    dialer: D,
    subprotocol: Option<String>,
    /// The newest cookies of the server, or of a load balancer before it. By these cookies the
    /// balancer finds the server that has the session.
    cookies: std::sync::Arc<Mutex<Option<HeaderValue>>>,
}

impl<D> Redial<D> {
    pub(super) fn new(dialer: D, first: &ConnectionInfo) -> Self {
        let cookies = first.response_headers().and_then(cookies_of);
        let subprotocol = first.subprotocol().map(str::to_owned);
        Self { dialer, subprotocol, cookies: std::sync::Arc::new(Mutex::new(cookies)) }
    }
}

impl<D: Dialer> resume::Redial for Redial<D> {
    fn dial(&self) -> Pin<Box<dyn resume::Dialling>> {
        let (dialer, subprotocol) = (self.dialer.clone(), self.subprotocol.clone());
        let newest = self.cookies.clone();
        let cookies = lock(&newest).clone();
        Box::pin(async move {
            let Opened { socket, info, .. } = dialer.dial(cookies).await?;
            if info.subprotocol() != subprotocol.as_deref() {
                let what = "the server selected another subprotocol than before";
                return Err(ConnectError::InvalidResponse(what.into()));
            }
            if let Some(cookies) = info.response_headers().and_then(cookies_of) {
                *lock(&newest) = Some(cookies);
            }
            Ok(socket)
        })
    }
}

fn lock(cookies: &Mutex<Option<HeaderValue>>) -> std::sync::MutexGuard<'_, Option<HeaderValue>> {
    cookies.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The dialer of a [`WebSocketClient`].
#[derive(Debug, Clone)]
pub(super) struct Redialer {
    pub(super) client: WebSocketClient,
    pub(super) target: Target,
}

impl Dialer for Redialer {
    async fn dial(self, cookies: Option<HeaderValue>) -> Result<Opened, ConnectError> {
        self.client.dial(&self.target, cookies).await
    }
}

impl WebSocketClient {
    /// Whether connections to this server can be resumed. R-23: the session's secret must not cross
    /// a network without TLS, unless the application permits it.
    pub(super) fn may_resume(&self, target: &Target) -> bool {
        target.tls || self.0.resume_without_tls || is_loopback(&target.host)
    }

    /// Returns the headers of a request, with these cookies.
    pub(in crate::client) fn headers(&self, cookies: Option<HeaderValue>) -> HeaderMap {
        let mut headers = self.0.headers.clone();
        if let Some(cookies) = cookies {
            add_cookies(&mut headers, &cookies);
        }
        headers
    }
}

/// Whether this is the name or an address of this machine. By RFC 6761 §6.3, `localhost` and all
/// names below it are.
fn is_loopback(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let name = host.trim_end_matches('.').to_ascii_lowercase();
    match host.parse::<IpAddr>() {
        Ok(address) => address.to_canonical().is_loopback(),
        Err(_) => name == "localhost" || name.ends_with(".localhost"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_known_by_name_and_by_address() {
        for host in ["localhost", "LocalHost.", "a.localhost", "127.1.2.3", "::1", "[::1]"] {
            assert!(is_loopback(host), "{host}");
        }
        for host in ["example.com", "localhost.example.com", "notlocalhost", "10.0.0.1", "::2"] {
            assert!(!is_loopback(host), "{host}");
        }
        assert!(is_loopback("::ffff:127.0.0.1"));
    }
}
