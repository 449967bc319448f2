//! A client that dials again when its connection is lost.

mod event;

use std::{
    fmt,
    future::poll_fn,
    pin::{Pin, pin},
    sync::Arc,
    task::Poll,
    time::Duration,
};

use bytes::Bytes;
use futures_util::{StreamExt, stream::FuturesUnordered};
use tokio::sync::{broadcast, watch};
use wsmux_proto::{ApplicationClose, ConnectionError, InFlight, OpenError};

pub use self::event::{ReconnectError, ReconnectEvent, ReconnectEvents};
use super::WebSocketClient;
use crate::{
    connection::{SendStream, WebSocketConnection, WebSocketStream},
    error::{ConnectError, NO_CODE},
    runtime::{AbortHandle, Instant, MaybeSend, MaybeSync, random, sleep, spawn_abortable},
};

/// How many events may wait for a slow listener. A loss usually causes three events, so the queue
/// covers about the last 20 losses.
const EVENTS: usize = 64;

/// The longest `Retry-After` that is honoured. Maintenance usually takes minutes. A header that
/// asks for more than an hour is probably a mistake, or comes from a server that wants to get rid
/// of its clients. In neither case should the client stop for good.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(3600);

/// The longest pause before the first attempt after the peer's notice of a drain. The old
/// connection takes streams for three seconds after the notice, and the attempt itself needs a part
/// of these seconds.
const HANDOVER: Duration = Duration::from_secs(1);

/// How long a connection has to last for its attempt to count as a success.
///
/// A server whose backend is down may accept each connection and end it at once. Without this
/// condition, no attempt at that server would count as a failure, and the client would dial for
/// ever. The time equals the default of the longest pause, so the client dials that server about as
/// often as a server that does not answer. The time does not follow the setting for the pauses,
/// because a pause of 0 or of a day says nothing about how long a connection should last.
const LASTING: Duration = Duration::from_secs(30);

/// A client that keeps one connection to a server. It dials again when the connection is lost, or
/// when either end [drains](WebSocketConnection::drain) it. The client is cheap to clone.
///
/// If the server announces that it goes away (a drain or a
/// [shutdown](crate::WebSocketServer::shutdown)), no call fails. The client dials a new connection,
/// opens new streams there, and lets the streams of the old connection end.
///
/// If a connection is lost without such an announcement, the client does not hide the loss. Streams
/// that were open fail together with their connection, and nothing is sent again automatically.
/// [`ReconnectEvent::Lost`] says what was in flight. The application decides what to do about the
/// loss; see the manual's chapter on [reconnecting](crate::manual::reconnecting).
///
/// When the last clone is dropped, dialling stops and the client's handles to connections are
/// dropped.
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
/// let client = WebSocketClient::builder().build()?;
/// let (client, mut events) = ReconnectingClient::builder(client, url).start();
/// tokio::spawn(async move {
///     while let Some(event) = events.next().await {
///         println!("{event}");
///     }
/// });
/// // The stream is opened on the connection that the client has now.
/// let stream = client.open_bi().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct ReconnectingClient(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    state: watch::Receiver<ReconnectState>,
    // This sender is weak, so that the channel closes when the task ends. Then each listener sees
    // the end of the events.
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
    /// Returns a builder for a client that dials `url` with `client` each time.
    pub fn builder(client: WebSocketClient, url: impl Into<String>) -> ReconnectingClientBuilder {
        let url = url.into();
        Self::with_dialer(move || {
            let (client, url) = (client.clone(), url.clone());
            async move { client.connect(&url).await }
        })
    }

    /// Returns a builder for a client that calls `dial` for each attempt. Thus attempts can differ.
    /// For example, each attempt can use a fresh token, another address, or
    /// [`from_io`](WebSocketClient::from_io). `dial` should have a timeout, as
    /// [`connect`](WebSocketClient::connect) has. The function is dropped when the client is
    /// dropped.
    pub fn with_dialer<D, F>(dial: D) -> ReconnectingClientBuilder
    where
        D: Fn() -> F + MaybeSend + MaybeSync + 'static,
        F: Future<Output = Result<WebSocketConnection, ConnectError>> + MaybeSend + 'static,
    {
        ReconnectingClientBuilder::new(Box::new(move || Box::pin(dial())))
    }

    /// Opens a bidirectional stream on the current connection. If there is no connection, waits for
    /// the next connection. Also waits for the next connection if the current connection ends or is
    /// drained before the stream is opened.
    ///
    /// # Errors
    /// [`ReconnectError`], once the client has stopped dialling.
    ///
    /// # Cancel safety
    /// If the future is dropped, no stream is opened. Dialling goes on.
    pub async fn open_bi(&self) -> Result<WebSocketStream, ReconnectError> {
        loop {
            match self.connection().await?.open_bi().await {
                Ok(stream) => return Ok(stream),
                Err(OpenError::Unsupported) => return Err(ReconnectError::Unsupported),
                // The connection can open no more streams, so it is not returned again.
                Err(_) => {}
            }
        }
    }

    /// Opens a unidirectional stream. Apart from the kind of stream, this works as
    /// [`open_bi`](Self::open_bi) does.
    ///
    /// # Errors
    /// [`ReconnectError`]; it is [`Unsupported`](ReconnectError::Unsupported) on the js-ws wire.
    ///
    /// # Cancel safety
    /// The same as for [`open_bi`](Self::open_bi).
    pub async fn open_uni(&self) -> Result<SendStream, ReconnectError> {
        loop {
            match self.connection().await?.open_uni().await {
                Ok(stream) => return Ok(stream),
                Err(OpenError::Unsupported) => return Err(ReconnectError::Unsupported),
                Err(_) => {}
            }
        }
    }

    /// Returns the connection. If there is no connection, waits for the next connection. A
    /// connection that this end [drains](WebSocketConnection::drain) can open no streams, and is
    /// not returned. The returned connection may be lost at any later moment.
    ///
    /// # Errors
    /// [`ReconnectError`], once the client has stopped dialling.
    ///
    /// # Cancel safety
    /// Nothing is lost when the future is dropped. Dialling goes on.
    pub async fn connection(&self) -> Result<WebSocketConnection, ReconnectError> {
        let mut state = self.0.state.clone();
        loop {
            match &*state.borrow_and_update() {
                ReconnectState::Connected(connection) if !connection.is_spent() => {
                    return Ok(connection.clone());
                }
                // If the state is `Connected` here, its connection can open no more streams, but
                // the task has not yet changed the state to `Connecting`.
                ReconnectState::Connected(_) | ReconnectState::Connecting => {}
                ReconnectState::GaveUp(error) => return Err(error.clone()),
            }
            state.changed().await.map_err(|_| ReconnectError::Stopped)?;
        }
    }

    /// Returns the connection if there is one now.
    pub fn current(&self) -> Option<WebSocketConnection> {
        match &*self.0.state.borrow() {
            ReconnectState::Connected(connection) if !connection.is_spent() => {
                Some(connection.clone())
            }
            _ => None,
        }
    }

    /// Returns another listener, which receives the events that follow this call. If the client has
    /// already stopped dialling, the listener receives no events.
    pub fn events(&self) -> ReconnectEvents {
        let receiver = self.0.events.upgrade().map(|events| events.subscribe());
        ReconnectEvents { receiver }
    }
}

/// The future of an attempt.
trait Attempt: Future<Output = Result<WebSocketConnection, ConnectError>> + MaybeSend {}

impl<T> Attempt for T where T: Future<Output = Result<WebSocketConnection, ConnectError>> + MaybeSend
{}

/// A function that makes an attempt.
trait Dial: Fn() -> Pin<Box<dyn Attempt>> + MaybeSend + MaybeSync {}

impl<T: Fn() -> Pin<Box<dyn Attempt>> + MaybeSend + MaybeSync> Dial for T {}

/// A function that decides whether the client dials again after an error.
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
            // On average the client starts the first attempt a quarter of a second after a loss. A
            // short fault of the network is usually over by then.
            initial_delay: Duration::from_millis(500),
            // When a server is available again, its clients come back within half a minute. Their
            // attempts are spread over this time.
            max_delay: Duration::from_secs(30),
            max_attempts: None,
            retry_if: Box::new(ConnectError::is_retryable),
            reconnect_if: Box::new(|_: &ConnectionError| true),
        }
    }

    /// Sets the longest pause before the first attempt after a loss or a failure. The longest pause
    /// doubles with each further attempt, up to [`max_delay`](Self::max_delay). Default 500 ms.
    ///
    /// The actual pause is a random part of the longest pause ("full jitter"), so that the clients
    /// of a failed server do not come back at the same moment. If a server refuses with a
    /// `Retry-After`, the time in this header is added, up to an hour; see
    /// [`ConnectError::retry_after`]. If the initial delay is zero, the client pauses only for a
    /// `Retry-After`.
    pub fn initial_delay(mut self, delay: Duration) -> Self {
        self.initial_delay = delay;
        self
    }

    /// Sets the upper limit of the longest pause. Default 30 s. If this limit is below
    /// [`initial_delay`](Self::initial_delay), the limit already applies to the first pause.
    ///
    /// After a connection that has lasted for 30 s the pauses start again at
    /// [`initial_delay`](Self::initial_delay). A connection that ends sooner counts as a failure.
    /// Without this rule, the pauses would stay short if a server accepts each connection and ends
    /// it soon.
    pub fn max_delay(mut self, delay: Duration) -> Self {
        self.max_delay = delay;
        self
    }

    /// Sets how many attempts in a row may fail before the client gives up. With `None`, which is
    /// the default, there is no limit. The value 0 acts as 1.
    ///
    /// A connection that is lost within 30 s also counts as a failed attempt, unless this end
    /// closed it.
    pub fn max_attempts(mut self, attempts: Option<u32>) -> Self {
        self.max_attempts = attempts;
        self
    }

    /// Sets the function that decides whether to try again after a failed attempt. Default
    /// [`ConnectError::is_retryable`].
    pub fn retry_if(
        mut self,
        is_retryable: impl Fn(&ConnectError) -> bool + MaybeSend + MaybeSync + 'static,
    ) -> Self {
        self.retry_if = Box::new(is_retryable);
        self
    }

    /// Sets the function that decides whether to dial again after a connection has ended with the
    /// given error. By default the client always dials again. It dials again even if this end
    /// itself has [closed](WebSocketConnection::close) the connection, so closing is a way to get a
    /// new connection. It also dials again if the connection's driver has
    /// [panicked](crate::DriverLost::Panicked), because the panic ends only that connection.
    ///
    /// If a connection is [drained](WebSocketConnection::drain), the function is called when the
    /// drain begins. The function then gets the error with which the drain will end. If this end
    /// drains, the error is [`LocallyClosed`](ConnectionError::LocallyClosed). If the peer drains,
    /// the error is [`ApplicationClosed`](ConnectionError::ApplicationClosed) with code 0. If the
    /// function returns `false`, it is called again when the connection has ended.
    pub fn reconnect_if(
        mut self,
        dials_again: impl Fn(&ConnectionError) -> bool + MaybeSend + MaybeSync + 'static,
    ) -> Self {
        self.reconnect_if = Box::new(dials_again);
        self
    }

    /// Starts a task that dials. Call this method in the context of a tokio runtime, which then
    /// runs the task. In a web page, the browser runs the task. Returns the client and its first
    /// listener, which may be dropped.
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
        // Sending fails only if there is no listener.
        let _ = events.send(ReconnectEvent::GaveUp { error });
        drop(events);
        // These futures may hold the last handles to draining connections. Dropping the handles
        // would close the connections at once.
        while draining.next().await.is_some() {}
    }

    /// Dials until the client gives up, and returns the reason.
    async fn keep_connected(
        &self,
        state: &watch::Sender<ReconnectState>,
        events: &broadcast::Sender<ReconnectEvent>,
        draining: &mut Draining,
    ) -> ReconnectError {
        let tell = |event| drop(events.send(event));
        let (mut attempt, mut pauses) = (1_u32, 0_u32);
        // The old connection, if the peer drains it and there is no new connection yet.
        let mut replaced: Option<WebSocketConnection> = None;
        loop {
            let mut least = Duration::ZERO;
            let is_last = self.max_attempts.is_some_and(|most| attempt >= most);
            match beside(draining, events, (self.dial)()).await {
                Ok(connection) => {
                    // If the peer drains this connection, this end opens streams on it until there
                    // is a new connection.
                    connection.set_drain_with_peer(false);
                    // The state is set before the event is sent. So when a listener receives the
                    // event, it finds the connection.
                    state.send_replace(ReconnectState::Connected(connection.clone()));
                    // From now on this end opens no streams on the old connection, so the peer need
                    // not wait for more streams.
                    if let Some(old) = replaced.take() {
                        old.drain();
                    }
                    tell(ReconnectEvent::Connected { attempt });
                    let since = Instant::now();
                    beside(draining, events, connection.leaving()).await;
                    let lasted = since.elapsed() >= LASTING;
                    let by_peer = connection.is_peer_draining();
                    let is_own = if connection.close_reason().is_none()
                        && (self.reconnect_if)(&end_of_drain(by_peer))
                    {
                        draining.push(Box::pin(lost(connection.clone())));
                        if by_peer {
                            tell(ReconnectEvent::PeerDraining);
                            replaced = Some(connection);
                        } else {
                            state.send_replace(ReconnectState::Connecting);
                            tell(ReconnectEvent::Draining);
                        }
                        true
                    } else {
                        let end = beside(draining, events, lost(connection)).await;
                        state.send_replace(ReconnectState::Connecting);
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
            // A server may ask all its clients to wait until the same moment. The random part makes
            // them come back at different times.
            let longest = match &replaced {
                // The peer accepts streams on the old connection only for 3 s, so the pause must be
                // short.
                Some(_) => self.longest_delay(pauses).min(HANDOVER),
                None => self.longest_delay(pauses),
            };
            let delay = least.saturating_add(part(longest, random()));
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

/// Returns the error with which a drain ends.
fn end_of_drain(by_peer: bool) -> ConnectionError {
    let close = ApplicationClose { error_code: NO_CODE, reason: Bytes::new() };
    match by_peer {
        true => ConnectionError::ApplicationClosed(close),
        false => ConnectionError::LocallyClosed,
    }
}

/// Waits for the end of a connection, and holds a handle to it until it has ended.
async fn lost(connection: WebSocketConnection) -> End {
    let error = connection.ended().await;
    End { error, in_flight: connection.in_flight() }
}

/// A future that waits for the end of a connection that drains.
trait Ends: Future<Output = End> + MaybeSend {}

impl<T: Future<Output = End> + MaybeSend> Ends for T {}

/// The connections that drain and have not ended. When either end drains the current connection,
/// that connection is added.
type Draining = FuturesUnordered<Pin<Box<dyn Ends>>>;

/// Waits for `step`. If a draining connection ends during this wait, sends an event for it.
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

/// Returns the fraction `part` of the duration `whole`, and at most `whole`.
fn part(whole: Duration, part: f64) -> Duration {
    // Conversion to floating point may round the longest durations up to more than a `Duration` can
    // hold.
    Duration::try_from_secs_f64(whole.as_secs_f64() * part).unwrap_or(whole).min(whole)
}
