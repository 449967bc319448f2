//! The state that a connection's lock guards.

use std::{
    sync::Arc,
    task::{Context, Waker},
    time::Duration,
};

use wsmux_proto::{
    Connection, ConnectionError, Dir, Event, RecvStream, SendEnd, SendStream, StreamId, Time,
};

use super::{
    Kept,
    ends::{EndWatch, Outcome},
    queues::{Queue, Queues},
    stream_wakers::StreamWakers,
};
use crate::{connection::wakeups::Wakeups, error::StoppedError, observe::trace};

/// What the lock guards.
///
/// A waker is foreign code. It may also be the last owner of a task that holds handles of this
/// connection, and dropping a handle locks. Therefore no waker is woken or dropped while the lock
/// is held (C-87): a waker that is taken out of the state goes into `wakeups`, which
/// [`Locked`](super::Locked) wakes and drops after it has unlocked.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) engine: Connection,
    /// What to wake and drop once the lock is released.
    wakeups: Wakeups,
    /// `None` while the driver runs, or has been woken.
    driver: Option<SleepingDriver>,
    /// The latest time that was passed to the engine.
    latest: Time,
    readers: StreamWakers,
    writers: StreamWakers,
    queues: Queues,
    /// The driver is gone.
    finished: bool,
    /// The latest round-trip time that the socket has measured.
    pub(crate) socket_rtt: Option<Duration>,
    /// Dropped when the connection has ended and its socket is gone.
    pub(crate) kept: Option<Kept>,
}

#[derive(Debug)]
struct SleepingDriver {
    waker: Waker,
    /// The socket accepts no message, and wakes the driver when it does again. Until then the
    /// driver need not be woken to send.
    socket_is_full: bool,
}

impl State {
    pub(super) fn new(engine: Connection) -> Self {
        Self {
            engine,
            wakeups: Wakeups::default(),
            driver: None,
            latest: Time::EPOCH,
            readers: StreamWakers::default(),
            writers: StreamWakers::default(),
            queues: Queues::default(),
            finished: false,
            socket_rtt: None,
            kept: None,
        }
    }

    /// Converts a reading of the clock to the engine's time, which never goes back: another task
    /// may have read the clock later and locked earlier.
    pub(crate) fn time(&mut self, reading: Time) -> Time {
        self.latest = self.latest.max(reading);
        self.latest
    }

    /// A stream's sending half, for calls at the latest time that the engine has seen.
    pub(crate) fn send_stream(&mut self, id: StreamId) -> SendStream<'_> {
        self.engine.send_stream(self.latest, id)
    }

    /// A stream's receiving half, for calls at the latest time that the engine has seen.
    pub(crate) fn recv_stream(&mut self, id: StreamId) -> RecvStream<'_> {
        self.engine.recv_stream(self.latest, id)
    }

    /// Why the connection has ended; `None` while it has not.
    pub(crate) fn close_reason(&self) -> Option<ConnectionError> {
        self.engine.close_reason().cloned()
    }

    /// Whether the driver, and with it the socket, is gone.
    pub(crate) fn is_finished(&self) -> bool {
        self.finished
    }

    /// Handles the engine's events. Returns how many tasks will be woken for them.
    #[cfg_attr(not(feature = "tracing"), expect(unused_variables))]
    pub(super) fn dispatch(&mut self, span: &trace::Span) -> usize {
        let before = self.wakeups.count();
        while let Some(event) = self.engine.poll() {
            match event {
                Event::Established => {
                    trace::event!(span, DEBUG, "connection.established");
                    self.wake_all_of(Queue::Established);
                    for dir in Dir::ALL {
                        self.wake_next(Queue::Openers(dir));
                    }
                }
                Event::Opened { dir } => self.wake_next(Queue::Acceptors(dir)),
                Event::Available { dir } => self.wake_next(Queue::Openers(dir)),
                Event::Readable { id } => self.wakeups.wake(self.readers.take(id)),
                Event::Writable { id } => self.wakeups.wake(self.writers.take(id)),
                Event::Ended { id } => self.update_end(id),
                Event::DatagramReceived => self.wake_next(Queue::DatagramReaders),
                Event::DatagramsUnblocked => self.wake_next(Queue::DatagramSenders),
                Event::Closed => {
                    #[cfg(feature = "tracing")]
                    if let Some(error) = self.engine.close_reason() {
                        trace::closed(span, error);
                    }
                    self.wake_all();
                }
                // `Event` is non-exhaustive. The engine is released together with this crate, so
                // there is no other event.
                _ => {}
            }
        }
        self.wakeups.count() - before
    }

    /// Wakes the driver if it sleeps and has something to do: messages to send, or events of the
    /// engine to dispatch.
    pub(crate) fn wake_driver(&mut self) {
        let Some(driver) = &self.driver else { return };
        let wanted = match driver.socket_is_full {
            false => self.engine.wants_transmit(),
            // The driver reports to the engine that data now waits for the socket, and the engine
            // measures for how long.
            true => self.engine.wants_socket_full(),
        };
        if wanted || self.engine.has_events() {
            self.wake_driver_now();
        }
    }

    /// Wakes the driver if it sleeps.
    ///
    /// The wake-up follows after the lock is released. Meanwhile other tasks find no driver to
    /// wake, and need not: the driver will run after the wake-up, and see their changes. If it has
    /// run and sleeps again before the wake-up arrives, it runs once more than necessary.
    pub(super) fn wake_driver_now(&mut self) {
        self.wakeups.wake_driver(self.driver.take().map(|driver| driver.waker));
    }

    /// The driver is about to sleep. Returns `false`, and stores nothing, if there is something
    /// that it could send.
    pub(crate) fn driver_sleeps(&mut self, waker: &Waker, socket_is_full: bool) -> bool {
        if self.engine.wants_transmit() && !socket_is_full {
            return false;
        }
        match &mut self.driver {
            Some(driver) if driver.waker.will_wake(waker) => driver.socket_is_full = socket_is_full,
            driver => {
                let before =
                    driver.replace(SleepingDriver { waker: waker.clone(), socket_is_full });
                self.wakeups.drop_later(before.map(|before| before.waker));
            }
        }
        true
    }

    /// The driver is gone.
    pub(crate) fn finish(&mut self) {
        self.finished = true;
        self.wakeups.drop_later(self.driver.take().map(|driver| driver.waker));
        self.wake_all_of(Queue::Finished);
        // The engine's `Closed` event has woken these tasks, unless something panicked.
        self.wake_all();
    }

    /// Registers the task that waits to read a stream.
    pub(crate) fn wait_to_read(&mut self, id: StreamId, cx: &Context<'_>) {
        self.wakeups.drop_later(self.readers.set(id, cx.waker()));
    }

    /// Registers the task that waits to write to a stream.
    pub(crate) fn wait_to_write(&mut self, id: StreamId, cx: &Context<'_>) {
        self.wakeups.drop_later(self.writers.set(id, cx.waker()));
    }

    /// The stream's receiving handle is gone.
    pub(crate) fn forget_reader(&mut self, id: StreamId) {
        self.wakeups.drop_later(self.readers.remove(id));
    }

    /// The stream is not written to any more.
    pub(crate) fn forget_writer(&mut self, id: StreamId) {
        self.wakeups.drop_later(self.writers.remove(id));
    }

    /// Starts to watch for the end of a sending half whose handle still exists. [`Queue::End`]
    /// wakes when the watch is set.
    pub(crate) fn watch_end(&mut self, id: StreamId) -> EndWatch {
        match self.poll_end(id) {
            Some(outcome) => Arc::new(outcome.into()),
            None => self.queues.ends.watch(id),
        }
    }

    /// The application has reset a sending half, or dropped its handle without finishing it.
    pub(crate) fn was_reset(&mut self, id: StreamId) {
        self.queues.ends.set(id, Err(StoppedError::ClosedStream), &mut self.wakeups);
    }

    /// Wakes the tasks to which it matters that no more streams can be opened.
    pub(super) fn wake_openers(&mut self) {
        for dir in Dir::ALL {
            self.wake_all_of(Queue::Openers(dir));
        }
        // A reconnecting client waits here to learn when it has to dial again.
        self.wake_all_of(Queue::Established);
    }

    pub(super) fn may_take(&mut self, queue: Queue, ticket: Option<u64>, wants: u64) -> bool {
        let available = self.available(queue);
        let waiters = self.queues.get_mut(queue);
        waiters.is_some_and(|waiters| waiters.may_take(ticket, wants, available))
            || self.engine.close_reason().is_some()
    }

    pub(super) fn wait_in(
        &mut self,
        queue: Queue,
        ticket: &mut Option<u64>,
        wants: u64,
        cx: &Context<'_>,
    ) {
        let waiters = self.queues.get_mut(queue);
        debug_assert!(waiters.is_some(), "the half has ended, and a task still waits for it");
        let Some(waiters) = waiters else { return };
        self.wakeups.drop_later(waiters.wait(ticket, wants, cx.waker()));
        self.request_event(queue);
    }

    pub(super) fn leave(&mut self, queue: Queue, ticket: u64, wants: u64) {
        // The queue of a sending half's end is gone once the half has ended.
        let Some(waiters) = self.queues.get_mut(queue) else { return };
        self.wakeups.drop_later(waiters.leave(ticket, wants));
        // This task may have been all that the next one waited for.
        self.wake_next(queue);
    }

    /// Whether wakers were collected under the lock.
    #[inline]
    pub(super) fn has_wakeups(&self) -> bool {
        !self.wakeups.is_empty()
    }

    /// Takes the wakers that were collected under the lock.
    pub(super) fn take_wakeups(&mut self) -> Wakeups {
        self.wakeups.take()
    }

    /// Moves the wakers that were collected under the lock to `into`, which must be empty.
    pub(super) fn swap_wakeups(&mut self, into: &mut Wakeups) {
        debug_assert!(into.is_empty(), "wakers that were not woken");
        if !self.wakeups.is_empty() {
            std::mem::swap(&mut self.wakeups, into);
        }
    }

    /// The connection has ended: wakes everything that waits, except for [`Queue::Finished`].
    fn wake_all(&mut self) {
        self.wakeups.wake(self.readers.drain());
        self.wakeups.wake(self.writers.drain());
        self.queues.ends.ids().into_iter().for_each(|id| self.update_end(id));
        for queue in [Queue::Established, Queue::DatagramReaders, Queue::DatagramSenders] {
            self.wake_all_of(queue);
        }
        for dir in Dir::ALL {
            self.wake_all_of(Queue::Openers(dir));
            self.wake_all_of(Queue::Acceptors(dir));
        }
    }

    fn wake_all_of(&mut self, queue: Queue) {
        if let Some(waiters) = self.queues.get_mut(queue) {
            waiters.wake(u64::MAX, self.wakeups.list());
        }
    }

    /// How much there is for the tasks in `queue` to share. 0 if `queue` is for an event that all
    /// of its tasks learn of at once.
    fn available(&self, queue: Queue) -> u64 {
        match queue {
            Queue::Established | Queue::Finished | Queue::End(_) => 0,
            Queue::Openers(dir) => self.engine.openable(dir).unwrap_or(u64::MAX),
            // After the end no task waits.
            _ if self.engine.close_reason().is_some() => u64::MAX,
            Queue::Acceptors(dir) => self.engine.acceptable(dir),
            Queue::DatagramReaders => self.engine.readable_datagrams(),
            Queue::DatagramSenders => self.engine.datagram_room(),
        }
    }

    /// Wakes as many tasks in `queue` as there is something for. If tasks have to wait on, the
    /// engine learns of it, and may have a frame for the peer: the caller must wake the driver.
    fn wake_next(&mut self, queue: Queue) {
        let available = self.available(queue);
        let Some(waiters) = self.queues.get_mut(queue) else { return };
        // C-88
        waiters.wake(available, self.wakeups.list());
        match queue {
            Queue::Openers(dir) if available == 0 && !waiters.is_empty() => {
                self.engine.report_streams_blocked(dir);
            }
            _ if waiters.is_waiting() => self.request_event(queue),
            _ => {}
        }
    }

    /// Asks the engine for an event when there is more for `queue`. A task may wait although there
    /// is something: it may be reserved for other tasks, or be too little.
    fn request_event(&mut self, queue: Queue) {
        match queue {
            Queue::DatagramReaders => self.engine.want_datagram(),
            Queue::DatagramSenders => self.engine.want_datagram_room(),
            // The engine emits the other events unasked.
            _ => {}
        }
    }

    /// Stores how a sending half has ended, if it has.
    fn update_end(&mut self, id: StreamId) {
        if let Some(outcome) = self.poll_end(id) {
            self.queues.ends.set(id, outcome, &mut self.wakeups);
        }
    }

    fn poll_end(&mut self, id: StreamId) -> Option<Outcome> {
        match (self.send_stream(id).poll_end(), self.close_reason()) {
            (SendEnd::Finished, _) => Some(Ok(None)),
            (SendEnd::Stopped(code), _) => Some(Ok(Some(code))),
            (SendEnd::Reset, _) => Some(Err(StoppedError::ClosedStream)),
            (SendEnd::Open, Some(end)) => Some(Err(end.into())),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests;
