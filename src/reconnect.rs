//! A client that dials again.

use std::{fmt, pin::Pin, sync::Arc, time::Duration};

use tokio::sync::{broadcast, watch};

use crate::{
    ConnectError, ConnectionError, InFlight, WebSocketClient, WebSocketConnection,
    runtime::{AbortHandle, Instant, MaybeSend, MaybeSync, random, sleep, spawn_abortable},
};

/// Events that wait for a slow listener; a loss is three of them, so these are the last twenty.
const EVENTS: usize = 64;

/// The longest `Retry-After` that is honoured. Maintenance is announced for minutes; beyond an hour it is more likely a
/// mistake, or a server that wants its clients gone, and none of that should silence them for good.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(3600);

/// A client that keeps one connection to a server, and dials again when it is lost. Cheap to clone.
///
/// It hands out connections, and hides no loss: a stream that was open fails with its connection, and nothing is
/// sent again by itself. What was under way is told by [`ReconnectEvent::Lost`]; what to do about it is the
/// application's, see the manual's chapter on [reconnecting](crate::manual::reconnecting).
///
/// When the last clone is dropped, dialling stops, and its handle of the connection is dropped.
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
    state: watch::Receiver<State>,
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
enum State {
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

    /// What to set before dialling starts, where each attempt is to be made in its own way: with a fresh token, to
    /// another address, over [`from_io`](WebSocketClient::from_io). `dial` should have a timeout, as
    /// [`connect`](WebSocketClient::connect) has. It is dropped when the client is.
    pub fn with_dialer<D, F>(dial: D) -> ReconnectingClientBuilder
    where
        D: Fn() -> F + MaybeSend + MaybeSync + 'static,
        F: Future<Output = Result<WebSocketConnection, ConnectError>> + MaybeSend + 'static,
    {
        ReconnectingClientBuilder::new(Box::new(move || Box::pin(dial())))
    }

    /// The connection; while there is none, waits for the next one. It may be lost at any moment after, as every
    /// connection may.
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
                State::Connected(connection) if connection.close_reason().is_none() => {
                    return Ok(connection.clone());
                }
                // Of a connection that has ended, who dials has yet to learn.
                State::Connected(_) | State::Connecting => {}
                State::GaveUp(error) => return Err(error.clone()),
            }
            state.changed().await.map_err(|_| ReconnectError::Stopped)?;
        }
    }

    /// The connection, if there is one now.
    pub fn current(&self) -> Option<WebSocketConnection> {
        match &*self.0.state.borrow() {
            State::Connected(connection) if connection.close_reason().is_none() => {
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
    /// The connection was lost in a way after which it was not to be dialled again.
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
        /// Which attempt it was, since the start or the last connection; the first is 1.
        attempt: u32,
    },
    /// The connection has ended, whoever ended it.
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

    /// What the longest pause grows to. A connection that has lasted for longer than this lets it begin anew; one
    /// that is lost sooner counts as a failure, so that a server that accepts and goes away is left in peace.
    /// Default 30 s.
    pub fn max_delay(mut self, delay: Duration) -> Self {
        self.max_delay = delay;
        self
    }

    /// How many attempts may fail one after the other before it gives up; at least 1, `None` for ever. Default
    /// `None`.
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
    /// [panic](crate::DriverLost::Panicked) of its driver, which ends that connection alone.
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
        let (tell_state, state) = watch::channel(State::Connecting);
        let (tell, receiver) = broadcast::channel(EVENTS);
        let events = tell.downgrade();
        let task = spawn_abortable(self.run(tell_state, tell));
        let client = ReconnectingClient(Arc::new(Inner { state, events, task }));
        (client, ReconnectEvents { receiver: Some(receiver) })
    }

    async fn run(self, state: watch::Sender<State>, events: broadcast::Sender<ReconnectEvent>) {
        // Without a listener nobody misses an event.
        let tell = |event| drop(events.send(event));
        let give_up = |error: ReconnectError| {
            state.send_replace(State::GaveUp(error.clone()));
            tell(ReconnectEvent::GaveUp { error });
        };
        let (mut attempt, mut failures) = (1, 0);
        loop {
            let mut least = Duration::ZERO;
            match (self.dial)().await {
                Ok(connection) => {
                    // Whoever hears of it finds it.
                    state.send_replace(State::Connected(connection.clone()));
                    tell(ReconnectEvent::Connected { attempt });
                    let since = Instant::now();
                    let error = connection.ended().await;
                    state.send_replace(State::Connecting);
                    let in_flight = connection.in_flight();
                    tell(ReconnectEvent::Lost { error: error.clone(), in_flight });
                    if !(self.reconnect_if)(&error) {
                        return give_up(ReconnectError::Lost(error));
                    }
                    if since.elapsed() > self.max_delay {
                        failures = 0;
                    }
                    attempt = 1;
                }
                Err(error) => {
                    tell(ReconnectEvent::Failed { attempt, error: error.clone() });
                    let is_last = self.max_attempts.is_some_and(|most| attempt >= most);
                    if is_last || !(self.retry_if)(&error) {
                        return give_up(ReconnectError::Connect(error));
                    }
                    attempt = attempt.saturating_add(1);
                    least = error.retry_after().unwrap_or_default().min(MAX_RETRY_AFTER);
                }
            }
            // Clients that were asked to wait for the same moment do not come back at the same moment.
            let delay = least.saturating_add(part(self.longest_delay(failures), random()));
            failures = failures.saturating_add(1);
            tell(ReconnectEvent::Waiting { attempt, delay });
            sleep(delay).await;
        }
    }

    fn longest_delay(&self, failures: u32) -> Duration {
        let factor = 1_u32.checked_shl(failures).unwrap_or(u32::MAX);
        self.initial_delay.saturating_mul(factor).min(self.max_delay)
    }
}

/// A part of a duration, at most the whole.
fn part(whole: Duration, part: f64) -> Duration {
    // The longest of all are rounded up on their way through floating point, past what a duration can say.
    Duration::try_from_secs_f64(whole.as_secs_f64() * part).unwrap_or(whole).min(whole)
}
