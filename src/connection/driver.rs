//! The driver: the part of a connection's task that moves messages between one socket and the
//! engine. The driver knows no rules of the protocol.

use std::{
    future::{Future, poll_fn},
    pin::pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use wsmux_proto::{DriverLost, Link, MessageBuf, SocketError, Time};

use super::{
    alarm::Alarm,
    arrival::{Arrival, Move},
    backlog::Backlog,
    shared::{Shared, State},
    task::Records,
    wakeups::Wakeups,
};
use crate::{
    runtime::yield_now,
    socket::{Incoming, Outgoing, Socket},
};

/// The largest number of items in a batch. A batch of received items is handled under one lock of
/// the engine. After a batch of sent items the socket is read again. Small messages are cheaper in
/// batches.
const BATCH: usize = 16;

/// A batch of received items also ends once it has this many bytes, so a large message ends its
/// batch. The tasks that read streams run only after this task yields, and the peer gets credit
/// only after they have read. A batch of 16 large messages could use up the peer's credit. Then the
/// peer would wait while this end works, and this end would wait while the peer works.
const RECEIVED_BYTES: usize = 32 * 1024;

/// When messages are sent, a batch also ends once it has this many bytes. Two messages of the
/// largest size make a batch, and the socket writes both in one system call. A batch of three
/// messages would hardly lower the cost of a byte, and an urgent message would have to wait longer.
const SENT_BYTES: usize = 64 * 1024;

/// After this many rounds in a row, the driver yields to other tasks. The driver yields earlier if
/// a round has woken a task.
const ROUNDS: usize = 8;

/// How long the driver waits before it asks the socket about its path again. The questions cost
/// three system calls.
const PATH_INTERVAL: Duration = Duration::from_millis(250);

/// How far one direction of the socket got in a round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Progress {
    /// There may be more to do at once.
    More,
    /// Nothing is left to do.
    Idle,
    /// This direction waits until the socket wakes this task.
    Blocked,
}

pub(super) struct Driver<S> {
    /// This field must be dropped before `records`, so that a panic of the driver is still logged.
    polled: Polled,
    shared: Arc<Shared>,
    socket: S,
    message: MessageBuf,
    batch: Vec<Incoming>,
    /// The wakers to call after the lock is released. At other times the list is empty. It is a
    /// field so that its memory is reused.
    wakeups: Wakeups,
    /// The ready tasks that are woken in a later round.
    backlog: Backlog,
    /// How many tasks were woken in this round.
    woken: usize,
    alarm: Alarm,
    /// Whether the engine may have something to send in this round.
    wants: bool,
    /// The engine's time in this round. The clock is read once per round.
    now: Time,
    /// When the socket was last asked about its path.
    asked: Option<Time>,
    /// Whether a flush that the engine has requested is still in progress. No further message is
    /// sent until this flush is complete.
    flushing: bool,
    /// The error with which reading has ended.
    read_end: Option<SocketError>,
    /// The error with which writing has failed. The error ends the connection only after everything
    /// that the socket has received has been read.
    write_end: Option<SocketError>,
    /// How many bytes the socket had received when it was last asked.
    bytes_received: u64,
    /// Whether the connection has ended and the stream below the socket is being shut down.
    ending: bool,
    /// Identifies the socket in the connection's session.
    link: Link,
    records: Records,
    /// On a server, checks whether the first message asks for an earlier connection. `None` after
    /// the first message.
    arrival: Option<Arrival>,
    /// The earlier connection to which the socket belongs.
    moved: Option<Move>,
}

impl<S: Socket + Unpin> Driver<S> {
    /// `received` contains the items that were read from the socket before this driver existed.
    pub(super) fn new(
        shared: Arc<Shared>,
        socket: S,
        received: Vec<Incoming>,
        link: Link,
        records: Records,
    ) -> Self {
        Self {
            polled: Polled { shared: shared.clone(), now: false },
            shared,
            socket,
            message: MessageBuf::new(),
            batch: received,
            wakeups: Wakeups::default(),
            backlog: Backlog::default(),
            woken: 0,
            alarm: Alarm::new(),
            wants: true,
            now: Time::EPOCH,
            asked: None,
            flushing: false,
            read_end: None,
            write_end: None,
            bytes_received: 0,
            ending: false,
            link,
            records,
            arrival: None,
            moved: None,
        }
    }

    /// Lets `arrival` check the first message.
    pub(super) fn with_arrival(mut self, arrival: Option<Arrival>) -> Self {
        self.arrival = arrival;
        self
    }

    /// Drives the socket until the connection has ended or no longer uses the socket.
    // The future of an `async fn` would contain the driver twice: as an argument, and as a local
    // variable.
    #[expect(clippy::manual_async_fn)]
    pub(super) fn run(mut self) -> impl Future<Output = Records> {
        async move {
            poll_fn(|cx| {
                self.polled.now = true;
                let polled = self.rounds(cx);
                self.polled.now = false;
                polled
            })
            .await;
            if let Some(moved) = self.moved.take() {
                moved.complete(self.socket, self.batch);
            }
            self.records
        }
    }

    /// Receives a batch of items, and passes it to the engine.
    fn receive(&mut self, cx: &mut Context<'_>) -> Progress {
        if self.read_end.is_some() {
            return Progress::Blocked;
        }
        let mut progress = Progress::More;
        let mut bytes = 0;
        while self.batch.len() < BATCH && bytes < RECEIVED_BYTES {
            match self.socket.poll_recv(cx) {
                Poll::Ready(Ok(item)) => {
                    if let Incoming::Message(message) = &item {
                        bytes += message.len();
                    }
                    self.batch.push(item);
                }
                Poll::Ready(Err(error)) => {
                    self.read_end = Some(error);
                    break;
                }
                Poll::Pending => {
                    progress = Progress::Blocked;
                    break;
                }
            }
        }
        let received = self.socket.bytes_received();
        let more_came = std::mem::replace(&mut self.bytes_received, received) != received;
        if self.batch.is_empty() && self.read_end.is_none() {
            if more_came {
                let mut state = self.shared.lock();
                let now = state.time(self.now);
                state.session.handle_progress(now, self.link);
            }
            return progress;
        }
        if self.arrival.is_some() && self.find_earlier() {
            return Progress::Blocked;
        }
        #[cfg(feature = "qlog")]
        if let Some(qlog) = &mut self.records.qlog {
            qlog.received(self.now, &self.batch);
        }
        let mut state = self.shared.lock();
        let now = state.time(self.now);
        for item in self.batch.drain(..) {
            state.session.handle(now, self.link, item);
        }
        if let Some(error) = &self.read_end {
            let error = self.write_end.as_ref().unwrap_or(error);
            state.session.handle_socket_end(now, self.link, error.clone());
        }
        self.shared.dispatch(&mut state);
        #[cfg(feature = "qlog")]
        if let Some(qlog) = &mut self.records.qlog {
            qlog.rtt(now, state.engine().rtt());
            qlog.session(now, &state.events);
        }
        #[cfg(feature = "tracing")]
        if let Some(total) = self.records.refused.increase(state.engine()) {
            crate::observe::trace::event!(self.shared.span, DEBUG, "stream.refused", total = total);
        }
        self.wants = state.session.wants_transmit();
        if state.engine().parameters_received()
            && let Some(Arrival(sessions)) = self.arrival.take()
        {
            // From now on the client may resume this connection.
            let id = state.session.id();
            self.records.registered = id.map(|id| sessions.register(id, &self.shared));
        }
        state.unlock_into(&mut self.wakeups);
        self.woken += self.backlog.wake_or_keep(&mut self.wakeups);
        progress
    }

    /// Sends a batch of the engine's messages, as long as the socket accepts them.
    fn transmit(&mut self, cx: &mut Context<'_>) -> Result<Progress, SocketError> {
        if self.flushing && self.socket.poll_flush(cx)?.is_pending() {
            return Ok(Progress::Blocked);
        }
        self.flushing = false;
        let (mut messages, mut bytes) = (0, 0);
        let mut blocked = false;
        while self.wants && messages < BATCH && bytes < SENT_BYTES {
            // C-36 (QMux "Implementation Considerations"): the engine chooses a stream only when
            // the socket can take a message.
            if self.socket.poll_ready(cx)?.is_pending() {
                blocked = true;
                break;
            }
            let mut state = self.shared.lock();
            let now = state.time(self.now);
            let item = state.session.poll_transmit(now, self.link, &mut self.message);
            self.woken += self.shared.dispatch(&mut state);
            self.wants = state.session.wants_transmit();
            state.unlock_into(&mut self.wakeups);
            self.wakeups.notify();
            messages += 1;
            match item {
                None => break,
                Some(Outgoing::Flush) => {
                    if self.socket.poll_flush(cx)?.is_ready() {
                        continue;
                    }
                    self.flushing = true;
                    blocked = true;
                    break;
                }
                Some(item) => {
                    if let Outgoing::Message(message) = &item {
                        bytes += message.len();
                        #[cfg(feature = "qlog")]
                        if let Some(qlog) = &mut self.records.qlog {
                            qlog.sent(self.now, message.to_bytes());
                        }
                    }
                    self.socket.start_send(item)?;
                }
            }
            // The message shares memory with the application's chunks. If the message were not
            // cleared, the chunks would stay allocated until the next message.
            self.message.clear();
        }
        // If the flush is pending, the socket wakes this task when the flush can go on. Meanwhile
        // the driver may send more messages. It waits only for a flush that the engine has
        // requested (`flushing`).
        let _ = self.socket.poll_flush(cx)?;
        Ok(match (blocked, self.wants) {
            (true, _) => Progress::Blocked,
            (false, true) => Progress::More,
            (false, false) => Progress::Idle,
        })
    }

    /// Checks the first message on a server's socket. Returns whether the socket belongs to an
    /// earlier connection.
    fn find_earlier(&mut self) -> bool {
        if self.read_end.is_some() || self.shared.lock().close_reason().is_some() {
            // The socket has ended, or this end has closed it.
            return false;
        }
        let is_message = |item: &Incoming| matches!(item, Incoming::Message(_));
        let Some(first) = self.batch.iter().position(is_message) else { return false };
        let Some(arrival) = &self.arrival else { return false };
        let capabilities = self.socket.capabilities();
        self.moved = arrival.find(&self.batch[first], capabilities, &self.shared.info);
        if let Some(Move { to, .. }) = &self.moved {
            self.batch.drain(..=first);
            self.shared.move_to(to);
        }
        self.moved.is_some()
    }

    /// Calls [`transmit`](Self::transmit), and stores a failure in `write_end`.
    fn send(&mut self, cx: &mut Context<'_>) -> Progress {
        if self.write_end.is_some() {
            return Progress::Blocked;
        }
        self.transmit(cx).unwrap_or_else(|error| {
            self.write_end = Some(error);
            Progress::Blocked
        })
    }

    /// Asks the socket for its round-trip time and its send quantum, if the last request was
    /// [`PATH_INTERVAL`] ago or longer.
    fn path(&mut self) -> (Option<Duration>, Option<usize>) {
        if self.asked.is_some_and(|asked| self.now - asked < PATH_INTERVAL) {
            return (None, None);
        }
        self.asked = Some(self.now);
        (self.socket.rtt(), self.socket.send_quantum())
    }

    /// Whether the connection is closed and no longer needs the socket. `read_out` says whether
    /// everything that the socket has received has been read. If a write has failed, this method
    /// ends the connection once `read_out` is true. If the connection is already closing, this
    /// method does not wait for `read_out`, because the Close cannot be sent anyway.
    fn is_done(&self, state: &mut State, now: Time, read_out: bool) -> bool {
        if state.session.is_closed() {
            return true;
        }
        if let Some(error) = &self.write_end
            && (read_out || state.engine().close_reason().is_some())
        {
            state.session.handle_socket_end(now, self.link, error.clone());
        }
        state.session.is_closed()
    }

    /// Runs rounds until there is nothing to do or other tasks should run.
    fn rounds(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.ending {
            return self.poll_end(cx);
        }
        for _ in 0..ROUNDS {
            match self.round(cx) {
                Next::End => {
                    self.ending = true;
                    return self.poll_end(cx);
                }
                Next::Lost => return Poll::Ready(()),
                Next::Sleep => return Poll::Pending,
                Next::Round if self.woken == 0 => {}
                Next::Round => break,
            }
        }
        if !self.backlog.is_empty() {
            // The tasks in the backlog wait until the driver wakes them. The tasks that the driver
            // has already woken may run for a long time. So the driver puts itself into the
            // runtime's queue, where an idle worker can find it.
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        // After this yield, the driver runs again after the tasks that it has just woken, and on
        // the same core. If the driver called its own waker, the runtime would wake another worker
        // to run the driver. Waking a worker costs more than handling a message.
        let _ = pin!(yield_now()).poll(cx);
        Poll::Pending
    }

    /// Receives one batch, sends one batch, and handles the timers. Counts the woken tasks in
    /// `woken`.
    fn round(&mut self, cx: &mut Context<'_>) -> Next {
        let write_had_failed = self.write_end.is_some();
        self.now = self.shared.now();
        (self.woken, self.wants) = (0, true);
        // C-30 (QMux "Forward Progress and Flow Control"): reading does not wait for writing.
        let received = self.receive(cx);
        if self.moved.is_some() {
            return Next::Lost;
        }
        let sent = self.send(cx);
        // The data that the tasks of one part of the backlog have written is sent before the next
        // part is woken.
        self.woken += self.backlog.wake_part();
        let (socket_rtt, send_quantum) = self.path();

        let mut state = self.shared.lock();
        let now = state.time(self.now);
        state.socket_rtt = socket_rtt.or(state.socket_rtt);
        if let Some(bytes) = send_quantum
            && state.session.is_current(self.link)
        {
            state.engine_mut().set_send_quantum(bytes);
        }
        // Events are dispatched in every round, even if nothing was received, because calls of the
        // application may also have caused events.
        self.woken += self.shared.dispatch(&mut state);
        if sent == Progress::Blocked {
            state.session.handle_socket_full(now, self.link);
        }
        // The timers are handled after the socket was read, because a peer is not silent if a
        // message from it is waiting in the socket (C-46).
        let next = state.session.poll_timeout();
        let rang = self.alarm.rings(next, |next| self.shared.instant(next), cx);
        let due = rang && next.is_some_and(|next| next <= now);
        // Only a deadline of the engine shows that the connection is silent. The session's
        // deadlines for its acknowledgements do not show this.
        let is_quiet = due && state.engine().poll_timeout().is_some_and(|at| at <= now);
        if due {
            state.session.handle_timeout(now);
            self.woken += self.shared.dispatch(&mut state);
        }
        // The socket counts as read to its end only if a round that began after the failed write
        // finds the socket empty.
        let read_out = write_had_failed && received == Progress::Blocked;
        let done = self.is_done(&mut state, now, read_out);
        if done {
            // Waiting tasks learn of the end before the socket is shut down, because the shutdown
            // may take long.
            self.woken += self.shared.dispatch(&mut state);
        }
        let failed_now = self.write_end.is_some() && !read_out;
        // If several tasks were woken, all of them may have something to send. The driver yields in
        // this case, so that it runs after these tasks and sends everything together. If the driver
        // slept, the first of these tasks would wake the driver, and the driver would run before
        // the other tasks.
        let woke_several = self.woken > 1;
        let more = woke_several
            || !self.backlog.is_empty()
            || rang
            || failed_now
            || received == Progress::More
            || sent == Progress::More;
        let is_used = state.session.is_current(self.link);
        let next = if !is_used || (done && !state.session.has_socket()) {
            // There are two cases. The session has lost this socket, or has a newer socket.
            // Or the connection was closed before it could go on over this socket.
            Next::Lost
        } else if done {
            Next::End
        } else if !more && state.driver_sleeps(cx.waker(), sent == Progress::Blocked) {
            Next::Sleep
        } else {
            Next::Round
        };
        state.unlock_into(&mut self.wakeups);
        self.wakeups.notify();
        if matches!(next, Next::End | Next::Lost) {
            self.backlog.wake_all();
        }
        if is_quiet {
            // When a deadline of the engine is reached, the connection has usually been silent for
            // some seconds, so its buffers are released. The lock is released first, because the
            // socket's code may be the application's own.
            self.socket.release_buffers();
            (self.message, self.batch) = Default::default();
            self.backlog.release_memory();
        }
        next
    }
}

impl<S: Socket + Unpin> Driver<S> {
    /// Shuts down the stream below the socket, in the time that is left of the close timeout. The
    /// close timeout covers both the wait for the peer's Close and the wait for the peer's FIN.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let is_late = self.is_late(cx);
        if !is_late && self.poll_read_out(cx).is_pending() {
            return Poll::Pending;
        }
        // W-55, W-58: this ends our direction of the stream, within the close timeout.
        match self.socket.poll_shutdown(cx) {
            Poll::Pending if !is_late => Poll::Pending,
            _ => Poll::Ready(()),
        }
    }

    /// Whether the close timeout has expired.
    fn is_late(&mut self, cx: &mut Context<'_>) -> bool {
        let deadline = self.shared.lock().session.engine().close_deadline();
        loop {
            if deadline.is_some_and(|deadline| deadline <= self.shared.now()) {
                return true;
            }
            // The alarm may still be set to an earlier deadline, and then it rings early. So the
            // time is checked again.
            if !self.alarm.rings(deadline, |deadline| self.shared.instant(deadline), cx) {
                return false;
            }
        }
    }

    /// Flushes our Close, and discards everything that arrives until the peer has ended its
    /// direction.
    fn poll_read_out(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.write_end.is_none()
            && let Poll::Ready(Err(error)) = self.socket.poll_flush(cx)
        {
            self.write_end = Some(error);
        }
        for _ in 0..BATCH {
            if self.read_end.is_some() || self.write_end.is_some() {
                return Poll::Ready(());
            }
            match self.socket.poll_recv(cx) {
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(error)) => self.read_end = Some(error),
                Poll::Pending => return Poll::Pending,
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

/// Whether the driver is being polled. If this value is dropped while the driver is being polled,
/// the driver has panicked.
struct Polled {
    shared: Arc<Shared>,
    now: bool,
}

impl Drop for Polled {
    fn drop(&mut self) {
        if self.now {
            self.shared.abandon(DriverLost::Panicked);
        }
    }
}

/// What to do after a round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    Round,
    Sleep,
    /// The connection has ended, and the socket has to be shut down.
    End,
    /// The connection no longer uses this socket, which is dropped without a shutdown.
    Lost,
}
