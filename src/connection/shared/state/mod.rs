//! The state that a connection's lock guards.

use std::{
    sync::{Arc, Weak},
    task::{Context, Waker},
    time::Duration,
};

use wsmux_proto::{
    Connection, ConnectionError, Dir, Event, RecvStream, SendEnd, SendStream, Session, StreamId,
    Time,
};

#[cfg(not(target_family = "wasm"))]
use wsmux_proto::Link;

use super::{
    Kept, Shared,
    ends::{EndWatch, Outcome},
    queues::{Queue, Queues},
    stream_wakers::StreamWakers,
};
#[cfg(not(target_family = "wasm"))]
use crate::connection::resume::NewSocket;
use crate::{
    connection::{
        events::{ConnectionEvent, EventLog},
        wakeups::Wakeups,
    },
    error::StoppedError,
    observe::trace,
};

/// The state of a connection, which its lock guards.
///
/// Waking or dropping a waker runs foreign code. The waker may be the last owner of a task that
/// holds handles to this connection, and dropping a handle takes the lock. Therefore no waker is
/// woken or dropped while the lock is held (C-87): a waker that is taken out of the state goes into
/// `wakeups`, and [`Locked`](super::Locked) wakes or drops it after releasing the lock.
#[derive(Debug)]
pub(crate) struct State {
    /// The engine, inside the session, which can move the engine to a new socket.
    pub(crate) session: Session,
    /// The wakers to wake or drop once the lock is released.
    wakeups: Wakeups,
    /// The waker of the driver while the driver sleeps. `None` while the driver runs, and after it
    /// was woken.
    driver: Option<SleepingDriver>,
    /// The latest time that was passed to the engine.
    latest: Time,
    readers: StreamWakers,
    writers: StreamWakers,
    queues: Queues,
    /// Whether the driver is gone.
    finished: bool,
    /// Whether the task of the connection is gone. After the connection has finished, its task may
    /// still have to tell the peer.
    pub(crate) is_gone: bool,
    /// The latest round-trip time that the socket has measured.
    pub(crate) socket_rtt: Option<Duration>,
    /// A value that a server keeps here until the connection has ended and its socket is gone.
    pub(crate) kept: Option<Kept>,
    /// This value counts the connection among the server's connections with a socket.
    pub(crate) slot: Option<Kept>,
    /// The earlier connection to which the socket of this connection has moved.
    pub(crate) moved_to: Option<Weak<Shared>>,
    /// A new socket for a server's connection. The task of the connection will find the socket
    /// here.
    #[cfg(not(target_family = "wasm"))]
    pub(crate) next_socket: Option<(Link, NewSocket)>,
    pub(crate) events: EventLog,
}

#[derive(Debug)]
struct SleepingDriver {
    waker: Waker,
    /// Whether the socket accepts no messages at present. The socket wakes the driver when it
    /// accepts messages again. Until that time, the driver need not be woken to send.
    socket_is_full: bool,
}

impl State {
    pub(super) fn new(session: Session) -> Self {
        Self {
            session,
            wakeups: Wakeups::default(),
            driver: None,
            latest: Time::EPOCH,
            readers: StreamWakers::default(),
            writers: StreamWakers::default(),
            queues: Queues::default(),
            finished: false,
            is_gone: false,
            socket_rtt: None,
            kept: None,
            slot: None,
            moved_to: None,
            #[cfg(not(target_family = "wasm"))]
            next_socket: None,
            events: EventLog::default(),
        }
    }

    pub(crate) fn engine(&self) -> &Connection {
        self.session.engine()
    }

    pub(crate) fn engine_mut(&mut self) -> &mut Connection {
        self.session.engine_mut()
    }

    /// Converts a reading of the clock to the engine's time, which must never go back. The reading
    /// may be older than the latest reading, because another task may have read the clock later but
    /// taken the lock earlier.
    pub(crate) fn time(&mut self, reading: Time) -> Time {
        self.latest = self.latest.max(reading);
        self.latest
    }

    /// Returns a stream's sending half. Calls on the half use the latest time that was passed to
    /// the engine.
    pub(crate) fn send_stream(&mut self, id: StreamId) -> SendStream<'_> {
        let now = self.latest;
        self.engine_mut().send_stream(now, id)
    }

    /// Returns a stream's receiving half. Calls on the half use the latest time that was passed to
    /// the engine.
    pub(crate) fn recv_stream(&mut self, id: StreamId) -> RecvStream<'_> {
        let now = self.latest;
        self.engine_mut().recv_stream(now, id)
    }

    /// Returns why the connection has ended, or `None` while it has not.
    pub(crate) fn close_reason(&self) -> Option<ConnectionError> {
        self.engine().close_reason().cloned()
    }

    /// Whether the driver, and with it the socket, is gone.
    pub(crate) fn is_finished(&self) -> bool {
        self.finished
    }

    /// Handles the engine's events. Returns how many tasks these events will wake.
    pub(super) fn dispatch(&mut self, span: &trace::Span) -> usize {
        let before = self.wakeups.count();
        while let Some(event) = self.session.poll_event() {
            trace::session_event(span, &event);
            if let Some(event) = ConnectionEvent::of_session(&event) {
                self.events.push(event);
                self.wake_all_of(Queue::Events);
            }
        }
        while let Some(event) = self.engine_mut().poll() {
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
                Event::PeerDraining => {
                    trace::event!(span, DEBUG, "connection.peer_draining");
                    self.events.push(ConnectionEvent::PeerDraining);
                    self.wake_all_of(Queue::Events);
                    // A reconnecting client waits in this queue to learn when it has to dial again.
                    self.wake_all_of(Queue::Established);
                }
                Event::Draining => self.wake_openers(),
                Event::Closed => {
                    #[cfg(feature = "tracing")]
                    if let Some(error) = self.engine().close_reason()
                        && self.moved_to.is_none()
                    {
                        trace::closed(span, error);
                    }
                    self.wake_all();
                }
                // `Event` is non-exhaustive. The engine and this crate always have the same
                // version, so there is no other event.
                _ => {}
            }
        }
        self.wakeups.count() - before
    }

    /// Wakes the driver if it sleeps and has something to do: send messages, or dispatch the
    /// engine's events.
    pub(crate) fn wake_driver(&mut self) {
        let Some(driver) = &self.driver else { return };
        let wanted = match driver.socket_is_full {
            false => self.session.wants_transmit(),
            // The driver has to report to the engine that data now waits for the socket, because
            // the engine measures how long the data waits.
            true => self.session.wants_socket_full(),
        };
        if wanted || self.engine().has_events() {
            self.wake_driver_now();
        }
    }

    /// Wakes the driver if it sleeps.
    ///
    /// The waker is called after the lock is released. Until the waker is called, other tasks find
    /// no driver to wake. These tasks need not wake the driver, because it runs after the wake-up
    /// and will see their changes. If the driver runs for another reason and sleeps again before
    /// the wake-up arrives, it runs once more than necessary.
    pub(crate) fn wake_driver_now(&mut self) {
        self.wakeups.wake_driver(self.driver.take().map(|driver| driver.waker));
    }

    /// Records that the driver is about to sleep, and stores its waker. If there is something that
    /// the driver could send, this stores nothing and returns `false`.
    pub(crate) fn driver_sleeps(&mut self, waker: &Waker, socket_is_full: bool) -> bool {
        if self.session.wants_transmit() && !socket_is_full {
            return false;
        }
        self.store_driver(waker, socket_is_full);
        true
    }

    /// Records that the task waits for a new socket, and stores its waker.
    pub(crate) fn task_waits(&mut self, waker: &Waker) {
        self.store_driver(waker, false);
    }

    fn store_driver(&mut self, waker: &Waker, socket_is_full: bool) {
        match &mut self.driver {
            Some(driver) if driver.waker.will_wake(waker) => driver.socket_is_full = socket_is_full,
            driver => {
                let before =
                    driver.replace(SleepingDriver { waker: waker.clone(), socket_is_full });
                self.wakeups.drop_later(before.map(|before| before.waker));
            }
        }
    }

    /// Records that the driver is gone, and wakes all waiting tasks.
    pub(crate) fn finish(&mut self) {
        self.finished = true;
        self.wakeups.drop_later(self.driver.take().map(|driver| driver.waker));
        self.wake_all_of(Queue::Finished);
        // Usually the engine's `Closed` event has already woken these tasks. After a panic they may
        // still be waiting.
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

    /// Forgets the waker of the stream's reader, whose handle is gone.
    pub(crate) fn forget_reader(&mut self, id: StreamId) {
        self.wakeups.drop_later(self.readers.remove(id));
    }

    /// Forgets the waker of the stream's writer, because the stream is no longer written to.
    pub(crate) fn forget_writer(&mut self, id: StreamId) {
        self.wakeups.drop_later(self.writers.remove(id));
    }

    /// Starts to watch for the end of a sending half whose handle still exists. When the half ends,
    /// its outcome is stored in the watch, and the tasks in its [`Queue::End`] are woken.
    pub(crate) fn watch_end(&mut self, id: StreamId) -> EndWatch {
        match self.poll_end(id) {
            Some(outcome) => Arc::new(outcome.into()),
            None => self.queues.ends.watch(id),
        }
    }

    /// Records that the application has reset a sending half, or has dropped the half's handle
    /// without finishing the half.
    pub(crate) fn was_reset(&mut self, id: StreamId) {
        self.queues.ends.set(id, Err(StoppedError::ClosedStream), &mut self.wakeups);
    }

    /// Wakes the tasks that have to learn that no more streams can be opened.
    pub(super) fn wake_openers(&mut self) {
        for dir in Dir::ALL {
            self.wake_all_of(Queue::Openers(dir));
        }
        // A reconnecting client waits in this queue to learn when it has to dial again.
        self.wake_all_of(Queue::Established);
    }

    pub(super) fn may_take(&mut self, queue: Queue, ticket: Option<u64>, wants: u64) -> bool {
        let available = self.available(queue);
        let waiters = self.queues.get_mut(queue);
        waiters.is_some_and(|waiters| waiters.may_take(ticket, wants, available))
            || self.engine().close_reason().is_some()
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
        // The queue may no longer exist. A queue of tasks that wait for the end of a sending half
        // is removed when the half ends.
        let Some(waiters) = self.queues.get_mut(queue) else { return };
        self.wakeups.drop_later(waiters.leave(ticket, wants));
        // The task that leaves may have had a reservation. Or the task may have been the first in
        // the queue, and may have wanted more than was available. In both cases there may now be
        // enough for the next task.
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

    /// Wakes all waiting tasks because the connection has ended, except for those in
    /// [`Queue::Finished`].
    fn wake_all(&mut self) {
        self.wakeups.wake(self.readers.drain());
        self.wakeups.wake(self.writers.drain());
        self.queues.ends.ids().into_iter().for_each(|id| self.update_end(id));
        let of_all = [Queue::Established, Queue::Events];
        for queue in of_all.into_iter().chain([Queue::DatagramReaders, Queue::DatagramSenders]) {
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

    /// Returns how much is available for all tasks in `queue` together. Returns 0 if `queue` is for
    /// an event that concerns all of its tasks at once, because only `wake_all_of` wakes these
    /// tasks.
    fn available(&self, queue: Queue) -> u64 {
        match queue {
            Queue::Established | Queue::Events | Queue::Finished | Queue::End(_) => 0,
            Queue::Openers(dir) => self.engine().openable(dir).unwrap_or(u64::MAX),
            // Once the connection has ended, no call has to wait in the queues below, so all of
            // their tasks are woken.
            _ if self.engine().close_reason().is_some() => u64::MAX,
            Queue::Acceptors(dir) => self.engine().acceptable(dir),
            Queue::DatagramReaders => self.engine().readable_datagrams(),
            Queue::DatagramSenders => self.engine().datagram_room(),
        }
    }

    /// Wakes the first tasks in `queue`, as long as enough is available for them. If tasks have to
    /// go on waiting, this reports the waiting to the engine. The engine may then have a frame to
    /// send to the peer, so the caller must wake the driver.
    fn wake_next(&mut self, queue: Queue) {
        let available = self.available(queue);
        let Some(waiters) = self.queues.get_mut(queue) else { return };
        // C-88: a task is woken only if enough is available for it.
        waiters.wake(available, self.wakeups.list());
        match queue {
            Queue::Openers(dir) if available == 0 && !waiters.is_empty() => {
                self.engine_mut().report_streams_blocked(dir);
            }
            _ if waiters.is_waiting() => self.request_event(queue),
            _ => {}
        }
    }

    /// Asks the engine to emit an event when more becomes available for `queue`. This is also
    /// needed if an amount is available now, because the amount may be reserved for other tasks or
    /// be smaller than a task wants.
    fn request_event(&mut self, queue: Queue) {
        match queue {
            Queue::DatagramReaders => self.engine_mut().want_datagram(),
            Queue::DatagramSenders => self.engine_mut().want_datagram_room(),
            // The engine emits the events of the other queues without being asked.
            _ => {}
        }
    }

    /// If a sending half has ended, stores its outcome.
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
