//! A client that dials again.

use std::{
    fmt,
    future::poll_fn,
    pin::{Pin, pin},
    sync::Arc,
    task::Poll,
    time::Duration,
};

use futures_util::{StreamExt, stream::FuturesUnordered};
use tokio::sync::{broadcast, watch};

use super::WebSocketClient;
use crate::{
    connection::WebSocketConnection,
    error::ConnectError,
    proto::{ConnectionError, InFlight},
    runtime::{AbortHandle, Instant, MaybeSend, MaybeSync, random, sleep, spawn_abortable},
};

/// Events that wait for a slow listener; a loss is three of them, so these are the last twenty.
const EVENTS: usize = 64;

/// The longest `Retry-After` that is honoured. Maintenance is announced for minutes; beyond an hour it is more likely a
/// mistake, or a server that wants its clients gone, and none of that should silence them for good.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(3600);

/// How long a connection has to last for its attempt to count as a success. A server that accepts and goes away at once,
/// as one that crashes or has lost what is behind it does, is otherwise dialled for ever: no attempt would fail. As long
/// as the longest pause by default, so that a server that just fails to last is dialled about as often as one that just
/// fails to answer; and no part of a setting, for neither a pause of 0 nor one of a day says what lasts.
const LASTING: Duration = Duration::from_secs(30);

/// A client that keeps one connection to a server, and dials again when it is lost, or when it is
/// [drained](WebSocketConnection::drain). Cheap to clone.
///
/// It hands out connections, and hides no loss: a stream that was open fails with its connection, and nothing is
/// sent again by itself. What was under way is told by [`ReconnectEvent::Lost`]; what to do about it is the
/// application's, see the manual's chapter on [reconnecting](crate::manual::reconnecting).
///
/// When the last clone is dropped, dialling stops, and its handles of connections are dropped.
///
/// ```
/// use wsmux::{ReconnectingClient, WebSocketClient, WebSocketServer};
///
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let server = WebSocketServer::builder().bind("127.0.0.1:0").await?;
/// # let url = format!("ws://{}/", server.local_addr()?);
/// # tokio::spawn(async move {
/// #     while let Some(connecting) = server.accept().await {
/// #         if let Ok(connection) = connecting.await {
/// #             tokio::spawn(async move { connection.closed().await });
/// #         }
/// #     }
/// # });
/// let (client, mut events) = ReconnectingClient::builder(WebSocketClient::builder().build()?, url).start();
/// tokio::spawn(async move {
///     while let Some(event) = events.next().await {
///         println!("{event}");
///     }
/// });
/// // Of each use anew: the connection of a moment ago may be gone.
/// let stream = client.connection().await?.open_bi().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct ReconnectingClient(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    state: watch::Receiver<ReconnectState>,
    // A sender would keep the listeners waiting when nobody dials any more.
    events: broadcast::WeakSender<ReconnectEvent>,
    task: AbortHandle,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[derive(Debug, Clone)]
enum ReconnectState {
    Connecting,
    Connected(WebSocketConnection),
    GaveUp(ReconnectError),
}

impl ReconnectingClient {
    /// What to set before dialling starts. Each time, `client` dials `url` with the same settings.
    pub fn builder(client: WebSocketClient, url: impl Into<String>) -> ReconnectingClientBuilder {
        let url = url.into();
        Self::with_dialer(move || {
            let (client, url) = (client.clone(), url.clone());
            async move { client.connect(&url).await }
        })
    }

    /// The settings of a client that calls `dial` for each attempt. Attempts can so differ: a fresh
    /// token, another address, or [`from_io`](WebSocketClient::from_io). `dial` should have a
    /// timeout, as [`connect`](WebSocketClient::connect) has. It is dropped when the client is.
    pub fn with_dialer<D, F>(dial: D) -> ReconnectingClientBuilder
    where
        D: Fn() -> F + MaybeSend + MaybeSync + 'static,
        F: Future<Output = Result<WebSocketConnection, ConnectError>> + MaybeSend + 'static,
    {
        ReconnectingClientBuilder::new(Box::new(move || Box::pin(dial())))
    }

    /// The connection; while there is none, waits for the next one. One that is
    /// [draining](WebSocketConnection::drain) opens no streams, and counts as none. It may be lost at any moment
    /// after, as every connection may.
    ///
    /// # Errors
    /// [`ReconnectError`], once there will be none any more.
    ///
    /// # Cancel safety
    /// Nothing is lost when the future is dropped; dialling goes on.
    pub async fn connection(&self) -> Result<WebSocketConnection, ReconnectError> {
        let mut state = self.0.state.clone();
        loop {
            match &*state.borrow_and_update() {
                ReconnectState::Connected(connection) if !connection.is_spent() => {
                    return Ok(connection.clone());
                }
                // The task has yet to learn that the connection is spent.
                ReconnectState::Connected(_) | ReconnectState::Connecting => {}
                ReconnectState::GaveUp(error) => return Err(error.clone()),
            }
            state.changed().await.map_err(|_| ReconnectError::Stopped)?;
        }
    }

    /// The connection, if there is one now.
    pub fn current(&self) -> Option<WebSocketConnection> {
        match &*self.0.state.borrow() {
            ReconnectState::Connected(connection) if !connection.is_spent() => {
                Some(connection.clone())
            }
            _ => None,
        }
    }

    /// What happens from now on, for one more listener. It has no event where dialling has ended already.
    pub fn events(&self) -> ReconnectEvents {
        let receiver = self.0.events.upgrade().map(|events| events.subscribe());
        ReconnectEvents { receiver }
    }
}

/// There is no connection, and there will be none. Cheap to clone.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum ReconnectError {
    /// The last attempt that was allowed failed, or one failed in a way that is final; this is how.
    #[error("gave up connecting: {0}")]
    Connect(#[source] ConnectError),
    /// The connection was lost in a way after which it was not to be dialled again, or it was that of the last attempt
    /// that was allowed and did not last.
    #[error("connection lost: {0}")]
    Lost(#[source] ConnectionError),
    /// Nobody dials: the runtime ends, or a function that was given to the builder has panicked.
    #[error("reconnecting has stopped")]
    Stopped,
}

/// What happened to a [`ReconnectingClient`].
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum ReconnectEvent {
    /// There is a connection.
    Connected {
        /// Which attempt it was, since the start or the last connection that lasted; the first is 1.
        attempt: u32,
    },
    /// This end [drains the connection](WebSocketConnection::drain): its streams go on, and the next connection
    /// is dialled for new ones. [`Lost`](Self::Lost) follows at its end, which may be after the next one has
    /// [`Connected`](Self::Connected).
    Draining,
    /// The connection has ended, whichever side ended it.
    Lost {
        /// Why.
        error: ConnectionError,
        /// What was under way at that moment.
        in_flight: InFlight,
    },
    /// The next attempt is made after a pause.
    Waiting {
        /// Which attempt it will be.
        attempt: u32,
        /// The pause.
        delay: Duration,
    },
    /// An attempt failed.
    Failed {
        /// Which one it was.
        attempt: u32,
        /// Why.
        error: ConnectError,
    },
    /// There will be no further attempt.
    GaveUp {
        /// Why.
        error: ReconnectError,
    },
    /// The listener was slow, and has missed so many events.
    Missed {
        /// How many.
        count: u64,
    },
}

impl fmt::Display for ReconnectEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connected { attempt } => write!(f, "connected at attempt {attempt}"),
            Self::Draining => f.write_str("draining, and connecting for new streams"),
            Self::Lost { error, in_flight: InFlight { streams, unsent_bytes, .. } } => write!(
                f,
                "{error}; {} streams cut off, {unsent_bytes} bytes not sent",
                streams.len()
            ),
            Self::Waiting { attempt, delay } => write!(f, "attempt {attempt} in {delay:?}"),
            Self::Failed { attempt, error } => write!(f, "attempt {attempt} failed: {error}"),
            Self::GaveUp { error } => error.fmt(f),
            Self::Missed { count } => write!(f, "{count} events missed"),
        }
    }
}

/// What happens to a [`ReconnectingClient`], in order. At most 64 events wait for a listener; of more, the oldest
/// go, and are told as [`ReconnectEvent::Missed`].
#[derive(Debug)]
pub struct ReconnectEvents {
    receiver: Option<broadcast::Receiver<ReconnectEvent>>,
}

impl ReconnectEvents {
    /// The next event; `None` when there will be none: the client has given up, or is gone.
    ///
    /// # Cancel safety
    /// No event is lost when the future is dropped.
    pub async fn next(&mut self) -> Option<ReconnectEvent> {
        match self.receiver.as_mut()?.recv().await {
            Ok(event) => Some(event),
            Err(broadcast::error::RecvError::Lagged(count)) => {
                Some(ReconnectEvent::Missed { count })
            }
            Err(broadcast::error::RecvError::Closed) => None,
        }
    }
}

/// An attempt.
trait Attempt: Future<Output = Result<WebSocketConnection, ConnectError>> + MaybeSend {}

impl<T> Attempt for T where T: Future<Output = Result<WebSocketConnection, ConnectError>> + MaybeSend
{}

/// What makes an attempt.
trait Dial: Fn() -> Pin<Box<dyn Attempt>> + MaybeSend + MaybeSync {}

impl<T: Fn() -> Pin<Box<dyn Attempt>> + MaybeSend + MaybeSync> Dial for T {}

/// Whether to go on after an error.
trait Rule<E>: Fn(&E) -> bool + MaybeSend + MaybeSync {}

impl<E, T: Fn(&E) -> bool + MaybeSend + MaybeSync> Rule<E> for T {}

/// Sets up a [`ReconnectingClient`].
#[must_use]
pub struct ReconnectingClientBuilder {
    dial: Box<dyn Dial>,
    initial_delay: Duration,
    max_delay: Duration,
    max_attempts: Option<u32>,
    retry_if: Box<dyn Rule<ConnectError>>,
    reconnect_if: Box<dyn Rule<ConnectionError>>,
}

impl fmt::Debug for ReconnectingClientBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReconnectingClientBuilder")
            .field("initial_delay", &self.initial_delay)
            .field("max_delay", &self.max_delay)
            .field("max_attempts", &self.max_attempts)
            .finish_non_exhaustive()
    }
}

impl ReconnectingClientBuilder {
    fn new(dial: Box<dyn Dial>) -> Self {
        Self {
            dial,
            // A hiccup is over after a quarter of a second, on average.
            initial_delay: Duration::from_millis(500),
            // A server that is back has its clients within half a minute, spread over all of it.
            max_delay: Duration::from_secs(30),
            max_attempts: None,
            retry_if: Box::new(ConnectError::is_retryable),
            reconnect_if: Box::new(|_: &ConnectionError| true),
        }
    }

    /// The longest pause before the first attempt after a loss or a failure; it doubles with each further one. The
    /// pause itself is taken at random between 0 and this ("full jitter"), lest all clients of a server that went
    /// away come back at the same moment. Where a server refuses with a `Retry-After`, the pause comes on top of that,
    /// up to an hour: see [`ConnectError::retry_after`]. Default 500 ms.
    pub fn initial_delay(mut self, delay: Duration) -> Self {
        self.initial_delay = delay;
        self
    }

    /// What the longest pause grows to. After a connection that has lasted for 30 s it starts again at the
    /// [first](Self::initial_delay); one that is spent sooner counts as a failure, so that a server that accepts and
    /// goes away is left in peace. Default 30 s.
    pub fn max_delay(mut self, delay: Duration) -> Self {
        self.max_delay = delay;
        self
    }

    /// How many attempts may fail one after the other before it gives up; at least 1, `None` for ever. A connection that
    /// is lost within 30 s is a failed attempt too, unless this end closed it. Default `None`.
    pub fn max_attempts(mut self, attempts: impl Into<Option<u32>>) -> Self {
        self.max_attempts = attempts.into();
        self
    }

    /// Whether to try again after this error of an attempt. Default [`ConnectError::is_retryable`].
    pub fn retry_if(
        mut self,
        is_retryable: impl Fn(&ConnectError) -> bool + MaybeSend + MaybeSync + 'static,
    ) -> Self {
        self.retry_if = Box::new(is_retryable);
        self
    }

    /// Whether to dial again after a connection has ended like this. Default always: also after this end's own
    /// [`close`](WebSocketConnection::close), which is the way to have a new one, and after a
    /// [panic](crate::DriverLost::Panicked) of its driver, which ends that connection alone. For a connection that
    /// is [drained](WebSocketConnection::drain) it is asked when that begins, with
    /// [`LocallyClosed`](ConnectionError::LocallyClosed); only after a no is it asked again, at the connection's end.
    pub fn reconnect_if(
        mut self,
        dials_again: impl Fn(&ConnectionError) -> bool + MaybeSend + MaybeSync + 'static,
    ) -> Self {
        self.reconnect_if = Box::new(dials_again);
        self
    }

    /// Starts dialling, in a task of the tokio runtime in which this is to be called, or of the page. With the client
    /// comes all that happens to it; who does not care drops the events.
    pub fn start(self) -> (ReconnectingClient, ReconnectEvents) {
        let (tell_state, state) = watch::channel(ReconnectState::Connecting);
        let (tell, receiver) = broadcast::channel(EVENTS);
        let events = tell.downgrade();
        let task = spawn_abortable(self.run(tell_state, tell));
        let client = ReconnectingClient(Arc::new(Inner { state, events, task }));
        (client, ReconnectEvents { receiver: Some(receiver) })
    }

    async fn run(
        self,
        state: watch::Sender<ReconnectState>,
        events: broadcast::Sender<ReconnectEvent>,
    ) {
        let mut draining = Draining::new();
        let error = self.keep_connected(&state, &events, &mut draining).await;
        state.send_replace(ReconnectState::GaveUp(error.clone()));
        // Without a listener nobody misses an event.
        let _ = events.send(ReconnectEvent::GaveUp { error });
        drop(events);
        // With the last handle they would be cut off.
        while draining.next().await.is_some() {}
    }

    /// Dials until it gives up; this is why.
    async fn keep_connected(
        &self,
        state: &watch::Sender<ReconnectState>,
        events: &broadcast::Sender<ReconnectEvent>,
        draining: &mut Draining,
    ) -> ReconnectError {
        let tell = |event| drop(events.send(event));
        let (mut attempt, mut pauses) = (1_u32, 0_u32);
        loop {
            let mut least = Duration::ZERO;
            let is_last = self.max_attempts.is_some_and(|most| attempt >= most);
            match beside(draining, events, (self.dial)()).await {
                Ok(connection) => {
                    // Before the event: its listeners find the connection.
                    state.send_replace(ReconnectState::Connected(connection.clone()));
                    tell(ReconnectEvent::Connected { attempt });
                    let since = Instant::now();
                    beside(draining, events, connection.spent()).await;
                    let lasted = since.elapsed() >= LASTING;
                    state.send_replace(ReconnectState::Connecting);
                    let is_replaced = connection.close_reason().is_none()
                        && (self.reconnect_if)(&ConnectionError::LocallyClosed);
                    let is_own = if is_replaced {
                        tell(ReconnectEvent::Draining);
                        draining.push(Box::pin(lost(connection)));
                        true
                    } else {
                        let end = beside(draining, events, lost(connection)).await;
                        tell(end.clone().into());
                        let End { error, .. } = end;
                        let is_own = matches!(error, ConnectionError::LocallyClosed);
                        let is_over = is_last && !is_own && !lasted;
                        if is_over || !(self.reconnect_if)(&error) {
                            return ReconnectError::Lost(error);
                        }
                        is_own
                    };
                    if lasted {
                        pauses = 0;
                    }
                    attempt = if lasted || is_own { 1 } else { attempt.saturating_add(1) };
                }
                Err(error) => {
                    tell(ReconnectEvent::Failed { attempt, error: error.clone() });
                    if is_last || !(self.retry_if)(&error) {
                        return ReconnectError::Connect(error);
                    }
                    attempt = attempt.saturating_add(1);
                    least = error.retry_after().unwrap_or_default().min(MAX_RETRY_AFTER);
                }
            }
            // Clients that were asked to wait for the same moment do not come back at the same moment.
            let delay = least.saturating_add(part(self.longest_delay(pauses), random()));
            pauses = pauses.saturating_add(1);
            tell(ReconnectEvent::Waiting { attempt, delay });
            beside(draining, events, sleep(delay)).await;
        }
    }

    fn longest_delay(&self, pauses: u32) -> Duration {
        let factor = 1_u32.checked_shl(pauses).unwrap_or(u32::MAX);
        self.initial_delay.saturating_mul(factor).min(self.max_delay)
    }
}

/// How a connection ended.
#[derive(Clone)]
struct End {
    error: ConnectionError,
    in_flight: InFlight,
}

impl From<End> for ReconnectEvent {
    fn from(End { error, in_flight }: End) -> Self {
        Self::Lost { error, in_flight }
    }
}

/// Waits for the end of a connection, and keeps it open until then.
async fn lost(connection: WebSocketConnection) -> End {
    let error = connection.ended().await;
    End { error, in_flight: connection.in_flight() }
}

/// The end of a connection that drains.
trait Ends: Future<Output = End> + MaybeSend {}

impl<T: Future<Output = End> + MaybeSend> Ends for T {}

/// The connections that drain and have not ended: at most one for each time that the application here has
/// drained the connection it was handed.
type Draining = FuturesUnordered<Pin<Box<dyn Ends>>>;

/// Waits for `step`, and tells meanwhile how connections that drain have ended.
async fn beside<T>(
    draining: &mut Draining,
    events: &broadcast::Sender<ReconnectEvent>,
    step: impl Future<Output = T>,
) -> T {
    let mut step = pin!(step);
    poll_fn(|cx| {
        while let Poll::Ready(Some(end)) = draining.poll_next_unpin(cx) {
            let _ = events.send(end.into());
        }
        step.as_mut().poll(cx)
    })
    .await
}

/// A part of a duration, at most the whole.
fn part(whole: Duration, part: f64) -> Duration {
    // The longest of all are rounded up on their way through floating point, past what a duration can say.
    Duration::try_from_secs_f64(whole.as_secs_f64() * part).unwrap_or(whole).min(whole)
}
