//! What the handles and the driver of one connection share: the engine, and who waits for what.

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, OnceLock, PoisonError, atomic::Ordering},
    task::Waker,
    time::Duration,
};

use bytes::Bytes;
use tokio::sync::Notify;

use crate::{
    ConnectionInfo, Dir, StoppedError, StreamId, VarInt,
    openers::Openers,
    proto::{Connection, ConnectionError, Event, SendEnd, stream_map::StreamMap},
    runtime::Instant,
    sync::{AtomicUsize, Mutex, MutexGuard},
    trace,
};

/// One per connection, behind an `Arc` that the driver and every handle hold.
pub(crate) struct Shared {
    state: Mutex<State>,
    /// What the engine's times are counted from.
    epoch: Instant,
    pub(crate) info: ConnectionInfo,
    /// The connection's number in this process, for whoever reads its logs.
    #[cfg(feature = "qlog")]
    pub(crate) id: u64,
    /// What is recorded of the connection belongs to it.
    #[cfg(feature = "tracing")]
    pub(crate) span: tracing::Span,
    /// How many handles there are; the driver is none.
    handles: AtomicUsize,
    pub(crate) established: Notify,
    /// A stream to accept, of each kind.
    pub(crate) opened: [Notify; 2],
    pub(crate) datagram_received: Notify,
    pub(crate) datagrams_unblocked: Notify,
    /// The driver is done.
    pub(crate) finished: Notify,
}

/// Without the state, where there is what streams have written and not read yet.
impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shared = f.debug_struct("Shared");
        #[cfg(feature = "qlog")]
        shared.field("id", &self.id);
        shared.field("info", &self.info).field("handles", &self.handles).finish_non_exhaustive()
    }
}

/// What the lock guards.
///
/// A waker may be the last owner of a task that holds handles of this connection, whose drop locks: no waker
/// is dropped while the lock is held.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) engine: Connection,
    /// The driver, while it sleeps.
    driver: Option<Waker>,
    /// The socket takes nothing: nobody but the socket need wake the driver for something to send.
    socket_is_full: bool,
    /// The latest time that the engine was told.
    latest: Duration,
    pub(crate) readers: StreamMap<Waker>,
    pub(crate) writers: StreamMap<Waker>,
    pub(crate) ends: StreamMap<Arc<EndWatch>>,
    pub(crate) openers: [Openers; 2],
    pub(crate) finished: bool,
    /// What the socket last said of its path.
    pub(crate) socket_rtt: Option<Duration>,
    /// Dropped when the connection has ended and its socket is gone.
    pub(crate) kept: Option<Kept>,
}

/// Something that lives as long as a connection.
pub(crate) type Kept = Box<dyn fmt::Debug + Send>;

impl Shared {
    pub(crate) fn new(engine: Connection, epoch: Instant, info: ConnectionInfo) -> Arc<Self> {
        #[cfg(any(feature = "tracing", feature = "qlog"))]
        let id = trace::next_connection_id();
        Arc::new(Self {
            #[cfg(feature = "qlog")]
            id,
            #[cfg(feature = "tracing")]
            span: trace::connection_span(id, &engine, &info),
            state: Mutex::new(State {
                engine,
                driver: None,
                socket_is_full: false,
                latest: Duration::ZERO,
                readers: StreamMap::default(),
                writers: StreamMap::default(),
                ends: StreamMap::default(),
                openers: Default::default(),
                finished: false,
                socket_rtt: None,
                kept: None,
            }),
            epoch,
            info,
            handles: AtomicUsize::new(0),
            established: Notify::new(),
            opened: Default::default(),
            datagram_received: Notify::new(),
            datagrams_unblocked: Notify::new(),
            finished: Notify::new(),
        })
    }

    /// The engine and the waiters. A panic elsewhere under the lock would be a bug of ours; what it guards is
    /// never left half changed by one.
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn now(&self) -> Duration {
        self.epoch.elapsed()
    }

    /// The moment that the engine calls `at`; `None` when it is further away than a clock can tell.
    pub(crate) fn instant(&self, at: Duration) -> Option<Instant> {
        let instant = self.epoch.checked_add(at)?;
        // tokio's timer rounds up, and panics where it cannot.
        instant.checked_add(Duration::from_secs(1)).map(|_| instant)
    }

    /// Passes the engine's news on: to `wakers`, for after the lock is gone, and to whoever waits here. Says for
    /// how many there was some.
    pub(crate) fn dispatch(&self, state: &mut State, wakers: &mut Vec<Waker>) -> usize {
        let (before, mut others) = (wakers.len(), 0);
        while let Some(event) = state.engine.poll() {
            match event {
                Event::Established => {
                    trace::event!(self, DEBUG, "connection.established");
                    self.established.notify_waiters();
                    for dir in [Dir::Bi, Dir::Uni] {
                        state.wake_openers(dir, wakers);
                    }
                }
                Event::Opened { dir } => {
                    others += 1;
                    self.opened[dir as usize].notify_waiters();
                }
                Event::Available { dir } => state.wake_openers(dir, wakers),
                Event::Readable { id } => wakers.extend(state.readers.remove(&id)),
                Event::Writable { id } => wakers.extend(state.writers.remove(&id)),
                Event::Ended { id } => state.tell_end(id),
                Event::DatagramReceived => self.datagram_received.notify_waiters(),
                Event::DatagramsUnblocked => self.datagrams_unblocked.notify_waiters(),
                Event::Closed => {
                    #[cfg(feature = "tracing")]
                    if let Some(error) = state.engine.close_reason() {
                        trace::closed(self, error);
                    }
                    self.wake_all(state, wakers);
                }
            }
        }
        wakers.len() - before + others
    }

    /// The connection has ended, which everybody learns at once.
    pub(crate) fn wake_all(&self, state: &mut State, wakers: &mut Vec<Waker>) {
        wakers.extend(state.readers.drain());
        wakers.extend(state.writers.drain());
        let ends: Vec<_> = state.ends.ids().collect();
        ends.into_iter().for_each(|id| state.tell_end(id));
        for openers in &mut state.openers {
            openers.wake(u64::MAX, wakers);
        }
        let everybody = [&self.established, &self.datagram_received, &self.datagrams_unblocked];
        everybody.into_iter().chain(&self.opened).for_each(Notify::notify_waiters);
    }

    /// Ends the connection once its streams have ended, or after `timeout`.
    pub(crate) fn shut_down(&self, timeout: Option<Duration>) {
        let mut wakers = Vec::new();
        let mut state = self.lock();
        let now = state.time(self.now());
        // A timeout past what a clock can tell is none.
        let deadline = timeout.and_then(|timeout| now.checked_add(timeout));
        state.engine.shutdown(now, deadline);
        trace::event!(self, DEBUG, "connection.draining");
        // Those who wait to open a stream learn that they wait in vain.
        for openers in &mut state.openers {
            openers.wake(u64::MAX, &mut wakers);
        }
        // A client that dials again listens there, too.
        self.established.notify_waiters();
        self.dispatch(&mut state, &mut wakers);
        wakers.extend(state.driver.take());
        drop(state);
        wake(wakers.into_iter());
    }

    /// Keeps this for as long as the connection lives, which may be over already.
    #[cfg(not(target_family = "wasm"))]
    pub(crate) fn keep(&self, kept: Kept) {
        let mut state = self.lock();
        // Its drop may lock, as that of a waker.
        let dropped = match state.finished {
            true => Some(kept),
            false => state.kept.replace(kept),
        };
        drop(state);
        drop(dropped);
    }

    /// Ends the connection, and tells everybody here at once.
    pub(crate) fn close(&self, code: VarInt, reason: Bytes) {
        let mut wakers = Vec::new();
        let mut state = self.lock();
        let now = state.time(self.now());
        state.engine.close(now, code, reason);
        self.dispatch(&mut state, &mut wakers);
        wakers.extend(state.driver.take());
        drop(state);
        wake(wakers.into_iter());
    }
}

/// Wakes all of them, even when that of one panics: those after it would wait in vain.
pub(crate) fn wake(wakers: impl Iterator<Item = Waker>) {
    struct Rest<I: Iterator<Item = Waker>>(I);

    impl<I: Iterator<Item = Waker>> Drop for Rest<I> {
        fn drop(&mut self) {
            for waker in &mut self.0 {
                let _ = catch_unwind(AssertUnwindSafe(|| waker.wake()));
            }
        }
    }

    let mut rest = Rest(wakers);
    for waker in &mut rest.0 {
        waker.wake();
    }
}

impl State {
    /// The engine's time, which never goes back: `seen` on the clock, unless somebody has looked since and was
    /// faster to lock.
    pub(crate) fn time(&mut self, seen: Duration) -> Duration {
        self.latest = self.latest.max(seen);
        self.latest
    }

    /// Lets the driver send what there is to send, and pass on what there is to say.
    pub(crate) fn wake_driver(&mut self) {
        let wanted = match self.socket_is_full {
            false => self.engine.wants_transmit(),
            // Only to see for how long that lasts.
            true => self.engine.wants_socket_full(),
        };
        if (wanted || self.engine.has_events())
            && let Some(driver) = self.driver.take()
        {
            driver.wake();
        }
    }

    /// The driver goes to sleep, unless there is something that it could send.
    pub(crate) fn driver_sleeps(&mut self, waker: &Waker, socket_is_full: bool) -> bool {
        if self.engine.wants_transmit() && !socket_is_full {
            return false;
        }
        self.socket_is_full = socket_is_full;
        self.driver = Some(waker.clone());
        true
    }

    /// What to wait with for the end of a sending half whose handle is still there.
    pub(crate) fn watch_end(&mut self, id: StreamId) -> Arc<EndWatch> {
        match self.poll_end(id) {
            Some(outcome) => Arc::new(EndWatch { outcome: outcome.into(), ..EndWatch::default() }),
            None => {
                let end = self.ends.get(&id).cloned().unwrap_or_default();
                self.ends.insert(id, end.clone());
                end
            }
        }
    }

    fn poll_end(&mut self, id: StreamId) -> Option<Outcome> {
        match (self.engine.send_stream(id).poll_end(), self.end_of()) {
            (SendEnd::Finished, _) => Some(Ok(None)),
            (SendEnd::Stopped(code), _) => Some(Ok(Some(code))),
            (SendEnd::Reset, _) => Some(Err(StoppedError::ClosedStream)),
            (SendEnd::Open, Some(end)) => Some(Err(end.into())),
            (SendEnd::Open, None) => None,
        }
    }

    /// The engine has news of the end of a sending half.
    fn tell_end(&mut self, id: StreamId) {
        if let Some(outcome) = self.poll_end(id)
            && let Some(end) = self.ends.remove(&id)
        {
            end.tell(outcome);
        }
    }

    /// The application here has reset a sending half, or let go of it unfinished.
    pub(crate) fn was_reset(&mut self, id: StreamId) {
        if let Some(end) = self.ends.remove(&id) {
            end.tell(Err(StoppedError::ClosedStream));
        }
    }

    /// Wakes as many of those who wait to open a stream as can. If that is nobody, the peer is told; waking
    /// the driver for it is the caller's.
    pub(crate) fn wake_openers(&mut self, dir: Dir, wakers: &mut Vec<Waker>) {
        let openable = self.engine.openable(dir).unwrap_or(u64::MAX);
        let openers = &mut self.openers[dir as usize];
        openers.wake(openable, wakers);
        if openable == 0 && !openers.is_empty() {
            self.engine.report_streams_blocked(dir);
        }
    }

    pub(crate) fn end_of(&self) -> Option<ConnectionError> {
        self.engine.close_reason().cloned()
    }
}

/// What [`SendStream::stopped`](crate::SendStream::stopped) gives.
type Outcome = Result<Option<VarInt>, StoppedError>;

/// Those who wait for the end of one sending half.
#[derive(Debug, Default)]
pub(crate) struct EndWatch {
    pub(crate) news: Notify,
    /// Told once: when somebody looks, the engine may have forgotten the half.
    outcome: OnceLock<Outcome>,
}

impl EndWatch {
    fn tell(&self, outcome: Outcome) {
        // The first end holds.
        let _ = self.outcome.set(outcome);
        self.news.notify_waiters();
    }

    pub(crate) fn outcome(&self) -> Option<Outcome> {
        self.outcome.get().cloned()
    }
}

/// A handle's share of the connection. When the last one goes, the connection is closed with code 0.
#[derive(Debug)]
pub(crate) struct ConnectionRef(Arc<Shared>);

impl ConnectionRef {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        shared.handles.fetch_add(1, Ordering::Relaxed);
        Self(shared)
    }

    /// What it refers to, for whoever is no handle.
    #[cfg(not(target_family = "wasm"))]
    pub(crate) fn without_handle(&self) -> Arc<Shared> {
        self.0.clone()
    }
}

impl Clone for ConnectionRef {
    fn clone(&self) -> Self {
        Self::new(self.0.clone())
    }
}

impl Drop for ConnectionRef {
    fn drop(&mut self) {
        // As in `Arc`: whoever is last must see what the others did before.
        if self.0.handles.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.close(crate::error::NO_CODE, Bytes::new());
        }
    }
}

impl std::ops::Deref for ConnectionRef {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}
