//! WebSockets over HTTP/2 (RFC 8441): several connections to one server share a TCP connection.

mod dial;
mod session;
mod stream;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use http::HeaderValue;
use tokio::time::{Instant, timeout};

use self::{
    dial::Dialled,
    session::{Lease, RequestError, Session},
};
use super::{
    WebSocketClient,
    native::{ClientSettings, redial::Dialer},
    opened::Opened,
};
use crate::{
    connection::{ConnectionInfo, WebSocketConnection},
    error::ConnectError,
    handshake::{
        client::{self as handshake, Target},
        headers::{exact_headers, hide_secrets},
    },
    observe::trace,
};

/// How long the client remembers that a server has no WebSocket over HTTP/2. Asking again costs a
/// TCP connection and a TLS handshake. The answer is likely to change only when a new version of
/// the server is deployed.
const HTTP1_MEMORY: Duration = Duration::from_secs(300);

/// While the client remembers fewer servers than this, it removes none.
const MIN_PRUNED: usize = 64;

/// A client whose wsmux connections to one server share a TCP and TLS connection, if the server
/// offers WebSocket over HTTP/2 (RFC 8441). If the server does not offer it, each wsmux connection
/// has a TCP connection of its own. The client is cheap to clone, and clones share their TCP
/// connections.
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let client = wsmux::WebSocketClient::builder().protocol("chat").build()?;
/// let client = wsmux::Http2Client::new(client);
/// let one = client.connect("wss://example.com/chat").await?;
/// let two = client.connect("wss://example.com/chat?room=2").await?; // no second TCP connection
/// # Ok(())
/// # }
/// ```
///
/// A TCP connection lives as long as any [`WebSocketConnection`] over it. It carries at most as
/// many wsmux connections as the server's SETTINGS_MAX_CONCURRENT_STREAMS allows. When this limit
/// is reached, another TCP connection is opened. If a TCP connection is lost, all wsmux connections
/// over it are lost, too. The manual has a chapter on [costs and benefits](crate::manual::in_axum).
#[derive(Debug, Clone)]
pub struct Http2Client(Arc<Pool>);

#[derive(Debug)]
struct Pool {
    client: WebSocketClient,
    prior_knowledge: bool,
    origins: Mutex<Origins>,
}

/// The servers that the application has connected to. Each time the number of servers has doubled,
/// the servers that are no longer of use are removed. Thus adding a server costs a constant number
/// of checks on average.
#[derive(Debug, Default)]
struct Origins {
    routes: HashMap<Key, Arc<Origin>>,
    /// How many servers the last pruning kept.
    kept: usize,
}

impl Origins {
    fn get(&mut self, key: Key) -> Arc<Origin> {
        let is_full = self.routes.len() >= (2 * self.kept).max(MIN_PRUNED);
        if is_full && !self.routes.contains_key(&key) {
            let now = Instant::now();
            self.routes.retain(|_, origin| origin.is_of_use(now));
            self.kept = self.routes.len();
        }
        self.routes.entry(key).or_default().clone()
    }
}

/// The server that a TCP connection leads to.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Key {
    tls: bool,
    host: String,
    port: u16,
}

#[derive(Debug, Default)]
struct Origin {
    /// This lock is held by the caller that dials. The other callers wait for the lock and share
    /// the result of the dial.
    dialling: tokio::sync::Mutex<()>,
    routes: Mutex<RouteCache>,
}

#[derive(Debug, Default)]
struct RouteCache {
    sessions: Vec<Weak<Session>>,
    /// Until this time, the server counts as a server without WebSocket over HTTP/2.
    http1_until: Option<Instant>,
    /// The number of dials that have failed. A caller that waits for another caller's dial reads
    /// this number before and after the wait. If the number has grown, the other caller's dial has
    /// failed.
    failures: u64,
    /// The error of the last dial that has failed.
    failure: Option<ConnectError>,
}

impl Origin {
    fn routes(&self) -> MutexGuard<'_, RouteCache> {
        self.routes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a caller holds this entry, or the entry contains something that the next call needs.
    fn is_of_use(self: &Arc<Self>, now: Instant) -> bool {
        let routes = self.routes();
        Arc::strong_count(self) > 1
            || routes.sessions.iter().any(|session| session.strong_count() > 0)
            || routes.http1_until.is_some_and(|until| now < until)
    }

    fn http1(&self) {
        self.routes().http1_until = Some(Instant::now() + HTTP1_MEMORY);
    }
}

impl RouteCache {
    /// Returns a route that is already known, if there is one. The route uses an existing session
    /// other than `besides`, or HTTP/1.1.
    fn route(&mut self, besides: Option<&Arc<Session>>) -> Option<Route> {
        self.sessions.retain(|session| session.upgrade().is_some_and(|session| session.is_alive()));
        let mut sessions = self.sessions.iter().filter_map(Weak::upgrade);
        let lease = sessions.find_map(|session| match besides {
            Some(besides) if Arc::ptr_eq(besides, &session) => None,
            _ if session.is_in_doubt() => None,
            _ => Lease::new(&session),
        });
        let is_http1 = self.http1_until.is_some_and(|until| Instant::now() < until);
        lease.map(Route::Over).or(is_http1.then_some(Route::Http1))
    }
}

/// The ways to make a connection.
enum Route {
    Over(Lease),
    /// The stream has just been dialled and must be upgraded.
    Upgrade(Box<Dialled>),
    Http1,
}

impl Http2Client {
    /// Makes a client with the settings of `client`. It offers `h2` and `http/1.1` by ALPN, even if
    /// `client` has a TLS configuration of the application's own.
    pub fn new(client: WebSocketClient) -> Self {
        Self::with(client, false)
    }

    /// Makes a client as [`new`](Self::new) does, for servers that are known to speak HTTP/2
    /// without TLS. This client dials a `ws://` URL with HTTP/2 (RFC 9113 §3.3), and connecting
    /// fails if the server does not speak HTTP/2. A client made by `new` uses HTTP/1.1 for `ws://`,
    /// because only TLS can negotiate HTTP/2.
    pub fn with_prior_knowledge(client: WebSocketClient) -> Self {
        Self::with(client, true)
    }

    fn with(client: WebSocketClient, prior_knowledge: bool) -> Self {
        Self(Arc::new(Pool { client, prior_knowledge, origins: Mutex::default() }))
    }

    /// Connects to a `ws://` or `wss://` URL as [`WebSocketClient::connect`] does, over an existing
    /// HTTP/2 connection or a new one. If ALPN selects HTTP/1.1, the same TLS connection is
    /// upgraded. If the server speaks HTTP/2 but does not offer WebSocket over it, another TCP
    /// connection is opened for HTTP/1.1. In both cases, the client remembers that this server
    /// needs HTTP/1.1, and does not try HTTP/2 again for five minutes.
    ///
    /// Calls that are made at the same time share one attempt to reach the server. If that attempt
    /// fails, all of these calls fail. A call waits for another call's attempt for at most the sum
    /// of the connect timeout and the handshake timeout. The first connection takes one more round
    /// trip, because it waits for the server's SETTINGS, which say whether the server offers
    /// WebSocket.
    ///
    /// # Errors
    /// [`ConnectError`].
    ///
    /// # Cancel safety
    /// When the future is dropped, the attempt ends. Other connections over the same TCP connection
    /// go on. If the request was sent and not answered, the TCP connection may be dead. In this
    /// case, further calls dial a new TCP connection until the server has answered a PING on the
    /// old TCP connection.
    pub async fn connect(&self, url: &str) -> Result<WebSocketConnection, ConnectError> {
        let target = self.0.client.target(url)?;
        let failed = |error: &_| trace::connect_failed(error, &target.host, target.port);
        let last = Arc::default();
        let opened = self.0.open(&target, None, &last).await.inspect_err(failed)?;
        let dialer = Redialer { pool: self.0.clone(), target: target.clone(), last };
        self.0.client.connection(opened, &target, dialer).await.inspect_err(failed)
    }
}

/// How to reach the server of a connection again.
#[derive(Debug, Clone)]
struct Redialer {
    pool: Arc<Pool>,
    target: Target,
    last: LastSession,
}

/// The newest HTTP/2 session that has carried a socket of a wsmux connection. It is empty if no
/// session has carried a socket.
type LastSession = Arc<Mutex<Weak<Session>>>;

fn lock(last: &LastSession) -> MutexGuard<'_, Weak<Session>> {
    last.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Dialer for Redialer {
    async fn dial(self, cookies: Option<HeaderValue>) -> Result<Opened, ConnectError> {
        // The socket was lost, so the TCP connection below may be dead, even if other connections
        // over the TCP connection have not noticed.
        if let Some(session) = lock(&self.last).upgrade() {
            session.doubt();
        }
        self.pool.open(&self.target, cookies, &self.last).await
    }
}

impl Pool {
    async fn open(
        &self,
        target: &Target,
        cookies: Option<HeaderValue>,
        last: &LastSession,
    ) -> Result<Opened, ConnectError> {
        if !target.tls && !self.prior_knowledge {
            return self.client.dial(target, cookies).await;
        }
        let called = Instant::now();
        let origin = self.origin(target);
        // The session over which the server refused a stream without processing it.
        let mut refused = None;
        loop {
            let start = Instant::now();
            let lease = match self.route(&origin, target, refused.as_ref()).await? {
                Route::Over(lease) => lease,
                Route::Upgrade(dialled) => {
                    return dialled.upgrade(&self.client, target, cookies).await;
                }
                Route::Http1 => return self.client.dial(target, cookies).await,
            };
            // If this call has dialled the session, the handshake timeout counts from the start of
            // the session, because dialling had a time limit of its own.
            let start = lease.session().since().max(start);
            let session = lease.session().clone();
            match self.open_over(start, target, lease, cookies.clone()).await {
                // The loss of a session that existed before this call is not a failure. In this
                // case the loop takes another route. The loop ends at some point, because a lost
                // session is retired and is not tried again. If this call has dialled the session,
                // its loss is returned as an error.
                Err(RequestError::NotSent(_)) if session.since() < called => {}
                Err(RequestError::NotProcessed(_)) if refused.is_none() => refused = Some(session),
                Err(
                    RequestError::NotSent(error)
                    | RequestError::NotProcessed(error)
                    | RequestError::Failed(error),
                ) => return Err(error),
                Ok(opened) => {
                    *lock(last) = Arc::downgrade(&session);
                    return Ok(opened);
                }
            }
        }
    }

    fn origin(&self, target: &Target) -> Arc<Origin> {
        let mut origins = self.origins.lock().unwrap_or_else(PoisonError::into_inner);
        let host = target.host_in_zone().to_ascii_lowercase();
        let key = Key { tls: target.tls, host, port: target.port };
        origins.get(key)
    }

    async fn route(
        &self,
        origin: &Origin,
        target: &Target,
        besides: Option<&Arc<Session>>,
    ) -> Result<Route, ConnectError> {
        let before = {
            let mut routes = origin.routes();
            if let Some(route) = routes.route(besides) {
                return Ok(route);
            }
            routes.failures
        };
        // The caller that holds this lock may have stopped polling its future. Therefore the wait
        // for the lock is limited to the time that an attempt may take. After that time, this call
        // dials without the lock.
        let ClientSettings { connect_timeout, connection, .. } = &*self.client.0;
        let limit = connect_timeout.saturating_add(connection.config.get_handshake_timeout());
        let turn = timeout(limit, origin.dialling.lock()).await;
        {
            let mut routes = origin.routes();
            if let Some(route) = routes.route(besides) {
                return Ok(route);
            }
            // Without this check, every waiting caller would dial and fail in turn.
            if routes.failures > before
                && let Some(error) = &routes.failure
            {
                return Err(error.clone());
            }
        }
        let route = self.dial(origin, target).await;
        if let Err(error) = &route {
            let mut routes = origin.routes();
            routes.failures += 1;
            routes.failure = Some(error.clone());
        }
        drop(turn);
        route
    }

    async fn dial(&self, origin: &Origin, target: &Target) -> Result<Route, ConnectError> {
        let dialled = dial::dial(&self.client, target).await?;
        if !dialled.is_http2 {
            origin.http1();
            return Ok(Route::Upgrade(Box::new(dialled)));
        }
        let start = dialled.start;
        let session = self.client.in_time(start, dialled.session()).await?;
        if !session.offers_websocket() {
            origin.http1();
            return Ok(Route::Http1);
        }
        // The lease is taken before other callers see the session. Otherwise, if the server allows
        // only one stream, another caller could take that stream first.
        let lease = Lease::new(&session);
        origin.routes().sessions.push(Arc::downgrade(&session));
        lease.map(Route::Over).ok_or_else(|| {
            ConnectError::InvalidResponse("the server allows no HTTP/2 stream".into())
        })
    }

    async fn open_over(
        &self,
        start: Instant,
        target: &Target,
        lease: Lease,
        cookies: Option<HeaderValue>,
    ) -> Result<Opened, RequestError> {
        let negotiation = &self.client.0.negotiation;
        let headers = &self.client.headers(cookies);
        let mut info: ConnectionInfo = lease.session().info().clone();
        let request =
            target.request(&negotiation.offered(), headers).map_err(RequestError::Failed)?;
        let request =
            handshake::extended_connect(&request, target.tls).map_err(RequestError::Failed)?;
        let session = lease.session().clone();
        let answer = timeout(self.client.left(start), lease.ask(request.clone())).await;
        let answer = answer.unwrap_or_else(|_| {
            // The server may be slow, or the TCP connection may be dead. In both cases, the next
            // request uses another TCP connection.
            session.retire();
            Err(RequestError::Failed(ConnectError::HandshakeTimeout))
        })?;
        let opened = answer.open(self.client.left(start)).await;
        let (mut response, stream) = opened.map_err(RequestError::Failed)?;
        // The headers are copied, because those from h2 keep the whole received block alive.
        *response.headers_mut() = exact_headers(response.headers());
        hide_secrets(response.headers_mut());
        info.subprotocol =
            handshake::selected(response.headers(), negotiation).map_err(RequestError::Failed)?;
        info.request = Some(request.into());
        // RFC 8441 §5.1: HTTP/2 replaces only the handshake of RFC 6455. So a client's frames are
        // masked here, too.
        let opened = self.client.opened(start, response, stream, &[], info);
        opened.await.map_err(RequestError::Failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(port: u16) -> Key {
        Key { tls: true, host: "example.com".into(), port }
    }

    #[test]
    fn servers_are_looked_through_only_when_they_have_doubled() {
        let (mut origins, mut prunings, mut kept) = (Origins::default(), 0, 0);
        // First, the application stays connected to all servers.
        let held: Vec<_> = (0..10_000)
            .map(|port| {
                let origin = origins.get(key(port));
                prunings += u32::from(std::mem::replace(&mut kept, origins.kept) != origins.kept);
                origin
            })
            .collect();
        assert!(prunings <= 8, "{prunings} times");
        // After that, the application drops its connections.
        drop(held);
        for port in 10_000..30_000 {
            origins.get(key(port));
        }
        assert!(origins.routes.len() <= 2 * MIN_PRUNED, "{}", origins.routes.len());
    }
}
