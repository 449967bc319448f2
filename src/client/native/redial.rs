//! How a client opens a new socket for a connection that has lost its socket.

use std::{
    borrow::Cow,
    fmt,
    pin::Pin,
    sync::{Mutex, PoisonError},
};

use http::{HeaderMap, HeaderValue};

use super::{
    WebSocketClient,
    cookies::{add_cookies, cookies_of, merge},
};
use crate::{
    client::{is_loopback, opened::Opened},
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
    /// The newest cookies of the server, or of a load balancer in front of it. With these cookies
    /// the balancer finds the server that has the session.
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
            let opened = dialer.dial(cookies).await?;
            let cookies = opened.info.response_headers().and_then(cookies_of);
            let socket = opened.resume(subprotocol.as_deref())?;
            if let Some(cookies) = cookies {
                let mut newest = lock(&newest);
                *newest = Some(merge(newest.take(), cookies));
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
    /// Whether connections to this server may be resumed. R-23: the session's secret must not cross
    /// a network without TLS, unless the application permits it. A loopback name may lead to
    /// another machine, by its resolution or through a proxy, so the remote address is checked as
    /// well.
    pub(super) fn may_resume(&self, target: &Target, info: &ConnectionInfo) -> bool {
        let to_loopback =
            info.remote_address().is_some_and(|to| to.ip().to_canonical().is_loopback());
        self.0.connection.config.get_resume_timeout().is_some()
            && (target.tls
                || self.0.resume_without_tls
                || (to_loopback && is_loopback(&target.host)))
    }

    /// Returns the headers of a request, and adds `cookies` to them.
    pub(in crate::client) fn headers(&self, cookies: Option<HeaderValue>) -> Cow<'_, HeaderMap> {
        let mut headers = Cow::Borrowed(&self.0.headers);
        if let Some(cookies) = cookies {
            add_cookies(headers.to_mut(), &cookies);
        }
        headers
    }
}
