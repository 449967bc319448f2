//! What the handles and the driver of one connection share: the engine, and who waits for what.

use std::{
    fmt,
    future::poll_fn,
    ops::{Deref, DerefMut},
    sync::{Arc, OnceLock, PoisonError, atomic::Ordering},
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::Bytes;

use super::{ConnectionInfo, waiters::Waiters, wakeups::Wakeups};
use crate::{
    error::StoppedError,
    observe::trace,
    proto::{Connection, ConnectionError, Dir, Event, SendEnd, StreamId, StreamMap, Time, VarInt},
    runtime::{
        Instant,
        sync::{AtomicUsize, Mutex, MutexGuard},
    },
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
    pub(crate) span: trace::Span,
    /// How many handles there are; the driver is none.
    handles: AtomicUsize,
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
/// A waker is another's code, and may be the last owner of a task that holds handles of this connection, whose drop
/// locks: none is woken or dropped while the lock is held. So whoever takes one out of here puts it into `wakeups`,
/// which [`Locked`] carries out after it has unlocked.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) engine: Connection,
    /// What is to be woken and let go of once the lock is free.
    wakeups: Wakeups,
    /// The driver, while it sleeps.
    driver: Option<Waker>,
    /// The socket takes nothing: nobody but the socket need wake the driver for something to send.
    socket_is_full: bool,
    /// The latest time that the engine was told.
    latest: Time,
    readers: StreamWakers,
    writers: StreamWakers,
    ends: StreamMap<Box<EndWaiters>>,
    queues: Queues,
    pub(crate) finished: bool,
    /// What the socket last said of its path.
    pub(crate) socket_rtt: Option<Duration>,
    /// Dropped when the connection has ended and its socket is gone.
    pub(crate) kept: Option<Kept>,
}

/// The wakers of those who wait for one thing each of a stream, until its handle is dropped. An entry stays when its
/// waker is taken: a stream that is waited for is waited for again.
#[derive(Debug, Default)]
struct StreamWakers(StreamMap<Option<Waker>>);

impl StreamWakers {
    /// Returns the waker that it replaces.
    fn set(&mut self, id: StreamId, waker: &Waker) -> Option<Waker> {
        match self.0.get_mut(id) {
            Some(place) => place.replace(waker.clone()),
            None => self.0.insert(id, Some(waker.clone())).flatten(),
        }
    }

    fn take(&mut self, id: StreamId) -> Option<Waker> {
        self.0.get_mut(id)?.take()
    }

    fn remove(&mut self, id: StreamId) -> Option<Waker> {
        self.0.remove(id).flatten()
    }

    fn drain(&mut self) -> impl Iterator<Item = Waker> {
        self.0.drain().flatten()
    }
}

/// Those who wait for what is of no stream that is open.
#[derive(Debug, Default)]
struct Queues {
    established: Waiters,
    finished: Waiters,
    openers: [Waiters; 2],
    acceptors: [Waiters; 2],
    datagram_readers: Waiters,
    datagram_senders: Waiters,
}

/// What can be waited for.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Queue {
    /// The connection is established, or has ended.
    Established,
    /// The driver is done.
    Finished,
    /// A stream can be opened.
    Openers(Dir),
    /// There is a stream to accept.
    Acceptors(Dir),
    /// There is a datagram to read.
    DatagramReaders,
    /// There is room for a datagram.
    DatagramSenders,
    /// A sending half has ended.
    End(StreamId),
}

/// The lock, held. What was put into the state's `wakeups` under it is woken and dropped right after it was released,
/// whichever way that is: nobody can forget it.
pub(crate) struct Locked<'a> {
    // The order of these two is what this type is for: fields are dropped from the first to the last.
    state: MutexGuard<'a, State>,
    carried: Option<Wakeups>,
}

impl Locked<'_> {
    /// Releases the lock, and leaves what is to be woken to the caller, in `wakeups`, which it has carried out and
    /// whose memory is used again.
    pub(crate) fn unlock_into(mut self, wakeups: &mut Wakeups) {
        debug_assert!(wakeups.is_empty(), "somebody was not woken");
        if !self.state.wakeups.is_empty() {
            std::mem::swap(&mut self.state.wakeups, wakeups);
        }
    }
}

impl Drop for Locked<'_> {
    #[inline]
    fn drop(&mut self) {
        if !self.state.wakeups.is_empty() {
            // C-87
            self.carried = Some(self.state.wakeups.take());
        }
    }
}

impl Deref for Locked<'_> {
    type Target = State;

    fn deref(&self) -> &State {
        &self.state
    }
}

impl DerefMut for Locked<'_> {
    fn deref_mut(&mut self) -> &mut State {
        &mut self.state
    }
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
            #[cfg(not(feature = "tracing"))]
            span: trace::Span(),
            state: Mutex::new(State {
                engine,
                wakeups: Wakeups::default(),
                driver: None,
                socket_is_full: false,
                latest: Time::EPOCH,
                readers: StreamWakers::default(),
                writers: StreamWakers::default(),
                ends: StreamMap::default(),
                queues: Queues::default(),
                finished: false,
                socket_rtt: None,
                kept: None,
            }),
            epoch,
            info,
            handles: AtomicUsize::new(0),
        })
    }

    /// The engine and the waiters. A panic elsewhere under the lock would be a bug of ours; what it guards is
    /// never left half changed by one.
    #[inline]
    pub(crate) fn lock(&self) -> Locked<'_> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        Locked { state, carried: None }
    }

    pub(crate) fn now(&self) -> Time {
        Time::from_epoch(self.epoch.elapsed())
    }

    /// The moment that the engine calls `at`; `None` when it is further away than a clock can tell.
    pub(crate) fn instant(&self, at: Time) -> Option<Instant> {
        let instant = self.epoch.checked_add(at.since_epoch())?;
        // tokio's timer rounds up, and panics where it cannot.
        instant.checked_add(Duration::from_secs(1)).map(|_| instant)
    }

    /// Passes the engine's news on to those who wait, once the lock is free. Says for how many there was some.
    pub(crate) fn dispatch(&self, state: &mut State) -> usize {
        let before = state.wakeups.count();
        while let Some(event) = state.engine.poll() {
            match event {
                Event::Established => {
                    trace::event!(self.span, DEBUG, "connection.established");
                    state.wake_all_of(Queue::Established);
                    for dir in Dir::ALL {
                        state.wake_next(Queue::Openers(dir));
                    }
                }
                Event::Opened { dir } => state.wake_next(Queue::Acceptors(dir)),
                Event::Available { dir } => state.wake_next(Queue::Openers(dir)),
                Event::Readable { id } => state.wakeups.wake(state.readers.take(id)),
                Event::Writable { id } => state.wakeups.wake(state.writers.take(id)),
                Event::Ended { id } => state.tell_end(id),
                Event::DatagramReceived => state.wake_next(Queue::DatagramReaders),
                Event::DatagramsUnblocked => state.wake_next(Queue::DatagramSenders),
                Event::Closed => {
                    #[cfg(feature = "tracing")]
                    if let Some(error) = state.engine.close_reason() {
                        trace::closed(&self.span, error);
                    }
                    state.wake_all();
                }
                // The engine and this layer are released together: there is no other event.
                _ => {}
            }
        }
        state.wakeups.count() - before
    }

    /// Ends the connection once its streams have ended, or after `timeout`.
    pub(crate) fn shut_down(&self, timeout: Option<Duration>) {
        let mut state = self.lock();
        let now = state.time(self.now());
        // A timeout past what a clock can tell is none.
        let deadline = timeout.and_then(|timeout| now.checked_add(timeout));
        state.engine.shutdown(now, deadline);
        trace::event!(self.span, DEBUG, "connection.draining");
        // Those who wait to open a stream learn that they wait in vain.
        for dir in Dir::ALL {
            state.wake_all_of(Queue::Openers(dir));
        }
        // A client that dials again listens there, too.
        state.wake_all_of(Queue::Established);
        self.dispatch(&mut state);
        state.wake_driver_now();
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
        let mut state = self.lock();
        let now = state.time(self.now());
        state.engine.close(now, code, reason);
        self.dispatch(&mut state);
        state.wake_driver_now();
    }
}

impl State {
    /// The engine's time, which never goes back: `seen` on the clock, unless somebody has looked since and was
    /// faster to lock.
    pub(crate) fn time(&mut self, seen: Time) -> Time {
        self.latest = self.latest.max(seen);
        self.latest
    }

    /// A stream's sending half, at the latest time that the engine was given.
    pub(crate) fn send_stream(&mut self, id: StreamId) -> crate::proto::SendStream<'_> {
        self.engine.send_stream(self.latest, id)
    }

    /// A stream's receiving half, at the latest time that the engine was given.
    pub(crate) fn recv_stream(&mut self, id: StreamId) -> crate::proto::RecvStream<'_> {
        self.engine.recv_stream(self.latest, id)
    }

    /// Lets the driver send what there is to send, and pass on what there is to say.
    pub(crate) fn wake_driver(&mut self) {
        // It is awake, and looks for itself before it sleeps.
        if self.driver.is_none() {
            return;
        }
        let wanted = match self.socket_is_full {
            false => self.engine.wants_transmit(),
            // Only to see for how long that lasts.
            true => self.engine.wants_socket_full(),
        };
        if wanted || self.engine.has_events() {
            self.wake_driver_now();
        }
    }

    /// Between this and the wake the lock is free, and others find no driver to wake. They need not: who has taken its
    /// waker wakes it, and the driver then sees what they have changed. One that was awake meanwhile, and sleeps again,
    /// is woken once too often.
    fn wake_driver_now(&mut self) {
        self.wakeups.wake_driver(self.driver.take());
    }

    /// The driver is gone.
    pub(crate) fn finish(&mut self) {
        self.finished = true;
        self.wakeups.let_go(self.driver.take());
        self.wake_all_of(Queue::Finished);
        // Some may be left where something has panicked.
        self.wake_all();
    }

    /// The driver goes to sleep, unless there is something that it could send.
    pub(crate) fn driver_sleeps(&mut self, waker: &Waker, socket_is_full: bool) -> bool {
        if self.engine.wants_transmit() && !socket_is_full {
            return false;
        }
        self.socket_is_full = socket_is_full;
        replace(&mut self.driver, waker, &mut self.wakeups);
        true
    }

    /// The reader of a stream waits.
    pub(crate) fn wait_to_read(&mut self, id: StreamId, cx: &Context<'_>) {
        self.wakeups.let_go(self.readers.set(id, cx.waker()));
    }

    /// The writer of a stream waits.
    pub(crate) fn wait_to_write(&mut self, id: StreamId, cx: &Context<'_>) {
        self.wakeups.let_go(self.writers.set(id, cx.waker()));
    }

    /// Nobody reads the stream any more.
    pub(crate) fn forget_reader(&mut self, id: StreamId) {
        self.wakeups.let_go(self.readers.remove(id));
    }

    /// Nobody writes to the stream any more.
    pub(crate) fn forget_writer(&mut self, id: StreamId) {
        self.wakeups.let_go(self.writers.remove(id));
    }

    /// The connection has ended, which everybody learns at once.
    fn wake_all(&mut self) {
        self.wakeups.wake(self.readers.drain());
        self.wakeups.wake(self.writers.drain());
        let ends: Vec<_> = self.ends.ids().collect();
        ends.into_iter().for_each(|id| self.tell_end(id));
        for queue in [Queue::Established, Queue::DatagramReaders, Queue::DatagramSenders] {
            self.wake_all_of(queue);
        }
        for dir in Dir::ALL {
            self.wake_all_of(Queue::Openers(dir));
            self.wake_all_of(Queue::Acceptors(dir));
        }
    }

    fn wake_all_of(&mut self, queue: Queue) {
        if let Some(waiters) = self.queues.of(queue, &mut self.ends) {
            waiters.wake(u64::MAX, self.wakeups.woken());
        }
    }

    /// How much there is of what those in `queue` take from each other; nothing of what all of them learn at once.
    fn there(&mut self, queue: Queue) -> u64 {
        match queue {
            Queue::Established | Queue::Finished | Queue::End(_) => 0,
            Queue::Openers(dir) => self.engine.openable(dir).unwrap_or(u64::MAX),
            // After the end there is nothing to wait for.
            _ if self.engine.close_reason().is_some() => u64::MAX,
            Queue::Acceptors(dir) => self.engine.acceptable(dir),
            Queue::DatagramReaders => self.engine.readable_datagrams(),
            Queue::DatagramSenders => self.engine.datagram_room(),
        }
    }

    /// Wakes as many in `queue` as there is something for. That some may wait on, the engine and the peer learn; to
    /// wake the driver for it is the caller's.
    fn wake_next(&mut self, queue: Queue) {
        let there = self.there(queue);
        let Some(waiters) = self.queues.of(queue, &mut self.ends) else { return };
        // C-88
        waiters.wake(there, self.wakeups.woken());
        match queue {
            Queue::Openers(dir) if there == 0 && !waiters.is_empty() => {
                self.engine.report_streams_blocked(dir);
            }
            _ if waiters.is_waiting() => self.want_more(queue),
            _ => {}
        }
    }

    /// Somebody waits in `queue`, so that there has to be an event for what comes, also where there is something, but
    /// set aside for others.
    fn want_more(&mut self, queue: Queue) {
        match queue {
            Queue::DatagramReaders => self.engine.want_datagram(),
            Queue::DatagramSenders => self.engine.want_datagram_room(),
            // There always is one.
            _ => {}
        }
    }

    /// What to wait with, in [`Queue::End`], for the end of a sending half whose handle is still there.
    pub(crate) fn watch_end(&mut self, id: StreamId) -> EndWatch {
        if let Some(outcome) = self.poll_end(id) {
            return Arc::new(outcome.into());
        }
        if let Some(end) = self.ends.get(id) {
            return end.watch.clone();
        }
        let end = Box::<EndWaiters>::default();
        let watch = end.watch.clone();
        self.ends.insert(id, end);
        watch
    }

    fn poll_end(&mut self, id: StreamId) -> Option<Outcome> {
        match (self.send_stream(id).poll_end(), self.end_of()) {
            (SendEnd::Finished, _) => Some(Ok(None)),
            (SendEnd::Stopped(code), _) => Some(Ok(Some(code))),
            (SendEnd::Reset, _) => Some(Err(StoppedError::ClosedStream)),
            (SendEnd::Open, Some(end)) => Some(Err(end.into())),
            _ => None,
        }
    }

    /// The engine has news of the end of a sending half.
    fn tell_end(&mut self, id: StreamId) {
        if let Some(outcome) = self.poll_end(id) {
            self.end_is(id, outcome);
        }
    }

    fn end_is(&mut self, id: StreamId, outcome: Outcome) {
        if let Some(mut end) = self.ends.remove(id) {
            // The first end holds.
            let _ = end.watch.set(outcome);
            end.waiters.wake(u64::MAX, self.wakeups.woken());
        }
    }

    /// The application here has reset a sending half, or let go of it unfinished.
    pub(crate) fn was_reset(&mut self, id: StreamId) {
        self.end_is(id, Err(StoppedError::ClosedStream));
    }

    pub(crate) fn end_of(&self) -> Option<ConnectionError> {
        self.engine.close_reason().cloned()
    }
}

/// What [`SendStream::stopped`](crate::SendStream::stopped) gives.
type Outcome = Result<Option<VarInt>, StoppedError>;

/// How a sending half ended, once it has. Told once: when somebody looks, the engine may have forgotten the half.
pub(crate) type EndWatch = Arc<OnceLock<Outcome>>;

/// Those who wait for the end of one sending half.
#[derive(Debug, Default)]
struct EndWaiters {
    watch: EndWatch,
    waiters: Waiters,
}

impl Queues {
    /// Those who wait in `queue`; `None` for the end of a half that has ended, for which nobody waits any more.
    fn of<'a>(
        &'a mut self,
        queue: Queue,
        ends: &'a mut StreamMap<Box<EndWaiters>>,
    ) -> Option<&'a mut Waiters> {
        Some(match queue {
            Queue::Established => &mut self.established,
            Queue::Finished => &mut self.finished,
            Queue::Openers(dir) => &mut self.openers[dir as usize],
            Queue::Acceptors(dir) => &mut self.acceptors[dir as usize],
            Queue::DatagramReaders => &mut self.datagram_readers,
            Queue::DatagramSenders => &mut self.datagram_senders,
            Queue::End(id) => return ends.get_mut(id).map(|end| &mut end.waiters),
        })
    }
}

/// `slot` holds this waker from now on.
fn replace(slot: &mut Option<Waker>, waker: &Waker, wakeups: &mut Wakeups) {
    if !slot.as_ref().is_some_and(|before| before.will_wake(waker)) {
        wakeups.let_go(slot.replace(waker.clone()));
    }
}

/// A place in a queue, given up when dropped: what was set aside for it then goes to the next.
pub(crate) struct QueuePosition<'a> {
    shared: &'a Shared,
    queue: Queue,
    ticket: Option<u64>,
    /// How much of it, which stays as it is.
    wants: u64,
}

impl<'a> QueuePosition<'a> {
    pub(crate) fn new(shared: &'a Shared, queue: Queue) -> Self {
        Self { shared, queue, ticket: None, wants: 1 }
    }

    /// Whether there is so much for it, and its turn has come. After the end of the connection always, and nobody has
    /// a turn: all of them are awake, and each finds something or learns of the end.
    pub(crate) fn may_take(&self, state: &mut State, wants: u64) -> bool {
        let there = state.there(self.queue);
        let waiters = state.queues.of(self.queue, &mut state.ends);
        let its_turn = waiters.is_some_and(|waiters| waiters.may_take(self.ticket, wants, there));
        its_turn || state.engine.close_reason().is_some()
    }

    /// Waits at the end of the queue, or stays where it is.
    pub(crate) fn wait(&mut self, state: &mut State, wants: u64, cx: &Context<'_>) {
        self.wants = wants;
        let waiters = state.queues.of(self.queue, &mut state.ends);
        debug_assert!(waiters.is_some(), "it has ended, and is still waited for");
        let Some(waiters) = waiters else { return };
        let before = waiters.wait(&mut self.ticket, wants, cx.waker());
        state.wakeups.let_go(before);
        state.want_more(self.queue);
    }

    /// Leaves the queue, with what it wanted or without.
    pub(crate) fn leave(&mut self, state: &mut State) {
        let Some(ticket) = self.ticket.take() else { return };
        // The place of one who waited for the end of a half is gone with that.
        let Some(waiters) = state.queues.of(self.queue, &mut state.ends) else { return };
        let own = waiters.leave(ticket, self.wants);
        state.wakeups.let_go(own);
        // The next waiter may have been blocked only by this one.
        state.wake_next(self.queue);
    }
}

impl Drop for QueuePosition<'_> {
    fn drop(&mut self) {
        if self.ticket.is_some() {
            let mut state = self.shared.lock();
            self.leave(&mut state);
            // The peer may have to be told of those who wait.
            state.wake_driver();
        }
    }
}

/// Waits in `queue` until `check` finds something, looking whenever there is news.
pub(crate) async fn wait_for<T>(
    shared: &Shared,
    queue: Queue,
    mut check: impl FnMut(&mut State) -> Option<T>,
) -> T {
    let mut position = QueuePosition::new(shared, queue);
    poll_fn(|cx| {
        // Looks and waits under one lock, so that nothing falls between the two.
        let mut state = shared.lock();
        match check(&mut state) {
            Some(found) => {
                position.leave(&mut state);
                Poll::Ready(found)
            }
            None => {
                position.wait(&mut state, 1, cx);
                Poll::Pending
            }
        }
    })
    .await
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

impl Deref for ConnectionRef {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}

#[cfg(test)]
mod tests;
