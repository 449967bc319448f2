//! The one task of a connection. It carries messages between the socket and the engine, and knows
//! no protocol.

use std::{
    future::Future,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use super::{
    shared::{Shared, State},
    wakeups::Wakeups,
};
use crate::{
    proto::{DriverLost, MessageBuf, SocketError, Time, Transmit},
    runtime::{Instant, Sleep, sleep, yield_now},
    socket::{Incoming, Outgoing, Socket},
};

/// How many items are taken from the socket before the engine is locked, and how many messages are
/// sent before the socket is read again. Small messages then share the cost of a round.
const BATCH: usize = 16;

/// A batch ends with the message that brings it to this many bytes, so one large message is a
/// batch. Received data wakes its readers, but they run only after this task yields, and the peer
/// gets credit only after they have read. Batches of 16 large messages, which are megabytes, used
/// up the peer's window every time and made the two cores take turns. An urgent message also waits
/// for one round.
const BATCH_BYTES: usize = 32 * 1024;

/// Rounds without a wakeup after which other tasks of the runtime get their turn.
const ROUNDS: usize = 8;

/// Asking the operating system for its round-trip time is a system call, so it is done at most this
/// often.
const ASK_SOCKET_EVERY: Duration = Duration::from_secs(1);

/// Whether a direction of the socket can continue at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Progress {
    /// There may be more to do.
    More,
    /// Everything is done.
    Idle,
    /// The socket has to wake this task.
    Blocked,
}

pub(crate) struct Driver<S> {
    shared: Arc<Shared>,
    socket: S,
    message: MessageBuf,
    batch: Vec<Incoming>,
    /// Empty, except between the release of the lock and the calls of the wakers.
    wakeups: Wakeups,
    /// The number of waiting tasks that were woken in this round.
    woken: usize,
    alarm: Alarm,
    /// Whether the engine may have something to send in this round.
    wants: bool,
    /// The engine's time in this round. The clock is read once per round.
    now: Time,
    /// When the socket was last asked for its round-trip time.
    asked: Option<Time>,
    /// The engine sends nothing until a flush has completed.
    flushing: bool,
    /// Why reading has ended.
    read_end: Option<SocketError>,
    /// Why writing has failed. Received data is still read before the connection ends with this
    /// error.
    write_end: Option<SocketError>,
    /// The socket's last count of received bytes.
    bytes_received: u64,
    /// Whether it is being polled. If it is dropped in that state, it has panicked.
    polled: bool,
    /// The connection has ended, and only the socket's stream remains to be ended.
    ending: bool,
    #[cfg(feature = "tracing")]
    refused: crate::observe::trace::RefusedStreams,
    /// Declared before the last field, so that the log records how the connection ended before
    /// waiting tasks are woken.
    #[cfg(feature = "qlog")]
    qlog: Option<crate::observe::qlog::Log>,
    /// The last field, so that it is dropped after the socket.
    _finish: Finish,
}

impl<S> std::fmt::Debug for Driver<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Driver").finish_non_exhaustive()
    }
}

impl<S: Socket + Unpin> Driver<S> {
    pub(crate) fn new(shared: Arc<Shared>, socket: S) -> Self {
        Self {
            _finish: Finish(shared.clone()),
            shared,
            socket,
            message: MessageBuf::new(),
            batch: Vec::new(),
            wakeups: Wakeups::default(),
            woken: 0,
            alarm: Alarm::new(),
            wants: true,
            now: Time::EPOCH,
            asked: None,
            flushing: false,
            read_end: None,
            write_end: None,
            bytes_received: 0,
            polled: false,
            ending: false,
            #[cfg(feature = "tracing")]
            refused: Default::default(),
            #[cfg(feature = "qlog")]
            qlog: None,
        }
    }

    /// Logs the messages that pass through the socket.
    #[cfg(feature = "qlog")]
    pub(crate) fn with_qlog(mut self, qlog: Option<crate::observe::qlog::Log>) -> Self {
        self.qlog = qlog;
        self
    }

    /// Hands received items to the engine.
    fn receive(&mut self, cx: &mut Context<'_>) -> Progress {
        if self.read_end.is_some() {
            return Progress::Blocked;
        }
        let mut progress = Progress::More;
        let mut bytes = 0;
        while self.batch.len() < BATCH && bytes < BATCH_BYTES {
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
                state.engine.handle_progress(now);
            }
            return progress;
        }
        #[cfg(feature = "qlog")]
        if let Some(qlog) = &mut self.qlog {
            qlog.received(self.now, &self.batch);
        }
        let mut state = self.shared.lock();
        let now = state.time(self.now);
        for item in self.batch.drain(..) {
            let engine = &mut state.engine;
            match item {
                Incoming::Message(message) => engine.handle_message(now, message),
                Incoming::Text => engine.handle_text(now),
                Incoming::TooLarge => engine.handle_oversized(now),
                Incoming::ProtocolError(reason) => engine.handle_garbage(now, &reason),
                Incoming::Ping => engine.handle_ping(now),
                Incoming::Pong(payload) => engine.handle_pong(now, &payload),
                Incoming::Close { code, reason } => engine.handle_close(now, code, &reason),
            }
        }
        if let Some(error) = &self.read_end {
            let error = self.write_end.as_ref().unwrap_or(error);
            state.engine.handle_socket_end(now, error.clone());
        }
        self.woken += self.shared.dispatch(&mut state);
        #[cfg(feature = "qlog")]
        if let Some(qlog) = &mut self.qlog {
            qlog.rtt(now, state.engine.rtt());
        }
        #[cfg(feature = "tracing")]
        if let Some(total) = self.refused.news(&state.engine) {
            crate::observe::trace::event!(self.shared.span, DEBUG, "stream.refused", total = total);
        }
        self.wants = state.engine.wants_transmit();
        state.unlock_into(&mut self.wakeups);
        self.wakeups.notify();
        progress
    }

    /// Sends the engine's messages while the socket accepts them.
    fn transmit(&mut self, cx: &mut Context<'_>) -> Result<Progress, SocketError> {
        if self.flushing && self.socket.poll_flush(cx)?.is_pending() {
            return Ok(Progress::Blocked);
        }
        self.flushing = false;
        let (mut messages, mut bytes) = (0, 0);
        let mut blocked = false;
        while self.wants && messages < BATCH && bytes < BATCH_BYTES {
            // C-36 (QMux "Implementation Considerations")
            if self.socket.poll_ready(cx)?.is_pending() {
                blocked = true;
                break;
            }
            let mut state = self.shared.lock();
            let now = state.time(self.now);
            let transmit = state.engine.poll_transmit(now, &mut self.message);
            self.woken += self.shared.dispatch(&mut state);
            self.wants = state.engine.wants_transmit();
            state.unlock_into(&mut self.wakeups);
            self.wakeups.notify();
            messages += 1;
            bytes += self.message.len();
            #[cfg(feature = "qlog")]
            if let (Some(qlog), Some(Transmit::Message)) = (&mut self.qlog, &transmit) {
                qlog.sent(self.now, self.message.to_bytes());
            }
            let item = match transmit {
                None => break,
                Some(Transmit::Flush) => {
                    if self.socket.poll_flush(cx)?.is_ready() {
                        continue;
                    }
                    self.flushing = true;
                    blocked = true;
                    break;
                }
                Some(Transmit::Message) => Outgoing::Message(&self.message),
                Some(Transmit::Ping(payload)) => Outgoing::Ping(payload),
                Some(Transmit::Close { code, reason }) => Outgoing::Close { code, reason },
                // The engine is newer than this driver.
                Some(_) => return Err(io::Error::from(io::ErrorKind::Unsupported).into()),
            };
            self.socket.start_send(item)?;
            // A sent message must not keep the application's chunks allocated until the next
            // message.
            self.message.clear();
        }
        // If the flush cannot complete, it wakes this task; there may be room for more messages
        // before that.
        let _ = self.socket.poll_flush(cx)?;
        Ok(match (blocked, self.wants) {
            (true, _) => Progress::Blocked,
            (false, true) => Progress::More,
            (false, false) => Progress::Idle,
        })
    }

    fn send(&mut self, cx: &mut Context<'_>) -> Progress {
        if self.write_end.is_some() {
            return Progress::Blocked;
        }
        self.transmit(cx).unwrap_or_else(|error| {
            self.write_end = Some(error);
            Progress::Blocked
        })
    }

    /// Asks the socket for its round-trip time, but not too often.
    fn ask_socket(&mut self) -> Option<Duration> {
        if self.asked.is_some_and(|asked| self.now - asked < ASK_SOCKET_EVERY) {
            return None;
        }
        self.asked = Some(self.now);
        self.socket.rtt()
    }

    /// Whether the socket is of no more use. After its write side has failed, it is read until all
    /// received data has been `read_out`, or until the connection ends for another reason, because
    /// no close can be sent any more.
    fn is_done(&self, state: &mut State, now: Time, read_out: bool) -> bool {
        if state.engine.is_closed() {
            return true;
        }
        if let Some(error) = &self.write_end
            && (read_out || state.engine.close_reason().is_some())
        {
            state.engine.handle_socket_end(now, error.clone());
        }
        state.engine.is_closed()
    }

    /// Runs rounds until the task has to wait for the socket, or has to yield to other tasks.
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
                Next::Sleep => return Poll::Pending,
                Next::Round if self.woken == 0 => {}
                Next::Round => break,
            }
        }
        // Runs again after the tasks that it has just woken, on the same core. A task that wakes
        // itself makes the runtime wake another worker for it, which costs more than a message.
        let _ = pin!(yield_now()).poll(cx);
        Poll::Pending
    }

    /// Reads, sends, and handles whatever is due. Sets `woken` to the number of tasks that it woke.
    fn round(&mut self, cx: &mut Context<'_>) -> Next {
        let wrote_in_vain = self.write_end.is_some();
        self.now = self.shared.now();
        (self.woken, self.wants) = (0, true);
        // C-30 (QMux "Forward Progress and Flow Control")
        let received = self.receive(cx);
        let sent = self.send(cx);
        let socket_rtt = self.ask_socket();

        let mut state = self.shared.lock();
        let now = state.time(self.now);
        state.socket_rtt = socket_rtt.or(state.socket_rtt);
        // The application's own calls may have caused wakeups.
        self.woken += self.shared.dispatch(&mut state);
        if sent == Progress::Blocked {
            state.engine.handle_socket_full(now);
        }
        // This comes after reading from the socket: a peer is not silent if a message of its is
        // waiting there (C-46).
        let next = state.engine.poll_timeout();
        let rang = self.alarm.rings(next, |next| self.shared.instant(next), cx);
        let due = rang && next.is_some_and(|next| next <= now);
        if due {
            state.engine.handle_timeout(now);
            self.woken += self.shared.dispatch(&mut state);
        }
        // Data that arrived before the write failed may still be unread, so the socket is read once
        // more after the failure.
        let read_out = wrote_in_vain && received == Progress::Blocked;
        let done = self.is_done(&mut state, now, read_out);
        if done {
            // Waiting tasks are woken before the socket is shut down, because that may take long.
            self.woken += self.shared.dispatch(&mut state);
        }
        let failed_now = self.write_end.is_some() && !read_out;
        // Several woken tasks may all have something to send. If this task runs after them, their
        // data goes out together. If it slept, the first of them would wake it, and it would run
        // before the others.
        let company = self.woken > 1;
        let more =
            company || rang || failed_now || received == Progress::More || sent == Progress::More;
        let next = if done {
            Next::End
        } else if !more && state.driver_sleeps(cx.waker(), sent == Progress::Blocked) {
            Next::Sleep
        } else {
            Next::Round
        };
        state.unlock_into(&mut self.wakeups);
        self.wakeups.notify();
        if due {
            // A timeout is usually due in silence, when the buffers are not needed. This is done
            // outside the lock, because the socket may be the application's own.
            self.socket.release_buffers();
            (self.message, self.batch) = Default::default();
        }
        next
    }
}

impl<S: Socket + Unpin> Driver<S> {
    /// Ends the byte stream below, within the rest of the close timeout. If waiting for the peer's
    /// Close has used up that time, the end of its stream is not waited for.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let is_late = self.is_late(cx);
        if !is_late && self.poll_read_out(cx).is_pending() {
            return Poll::Pending;
        }
        // W-55, W-58: ends our direction, within the close wait.
        match self.socket.poll_shutdown(cx) {
            Poll::Pending if !is_late => Poll::Pending,
            _ => Poll::Ready(()),
        }
    }

    /// Whether the close timeout has expired.
    fn is_late(&mut self, cx: &mut Context<'_>) -> bool {
        let deadline = self.shared.lock().engine.close_deadline();
        loop {
            if deadline.is_some_and(|deadline| deadline <= self.shared.now()) {
                return true;
            }
            // The alarm may go off early, at an earlier deadline that it was set to.
            if !self.alarm.rings(deadline, |deadline| self.shared.instant(deadline), cx) {
                return false;
            }
        }
    }

    /// Sends our Close, and discards received data until the peer has ended its stream too.
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

impl<S: Socket + Unpin> Future for Driver<S> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        this.polled = true;
        let polled = this.rounds(cx);
        this.polled = false;
        polled
    }
}

impl<S> Drop for Driver<S> {
    fn drop(&mut self) {
        // Does not ask whether the thread panics: a runtime may be dropped during a panic of its
        // owner (C-82).
        let lost = if self.polled { DriverLost::Panicked } else { DriverLost::Dropped };
        let mut state = self.shared.lock();
        let now = state.time(self.shared.now());
        // Does nothing if the connection has ended. `Finish` wakes the waiting tasks.
        unless_it_panics(|| state.engine.abandon(now, lost));
    }
}

/// What to do after a round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    Round,
    Sleep,
    End,
}

/// The engine's next deadline, on the runtime's clock.
struct Alarm {
    timer: Pin<Box<Sleep>>,
    armed: Option<Time>,
}

impl Alarm {
    fn new() -> Self {
        // The timer is reset before its first poll.
        Self { timer: Box::pin(sleep(Duration::ZERO)), armed: None }
    }

    /// Whether the deadline may have passed. It may say so too early: deadlines mostly move later,
    /// and asking the engine costs less than setting the timer again for each message.
    fn rings(
        &mut self,
        next: Option<Time>,
        instant: impl FnOnce(Time) -> Option<Instant>,
        cx: &mut Context<'_>,
    ) -> bool {
        let Some(next) = next else {
            self.armed = None;
            return false;
        };
        if self.armed.is_none_or(|armed| next < armed) {
            let Some(instant) = instant(next) else { return false };
            self.timer.as_mut().reset(instant);
            self.armed = Some(next);
        }
        let rings = self.timer.as_mut().poll(cx).is_ready();
        if rings {
            self.armed = None;
        }
        rings
    }
}

/// Wakes all waiting tasks when the driver ends, even by a panic or with its runtime.
struct Finish(Arc<Shared>);

impl Drop for Finish {
    fn drop(&mut self) {
        let mut wakeups = Wakeups::default();
        let mut state = self.0.lock();
        unless_it_panics(|| self.0.dispatch(&mut state));
        unless_it_panics(|| state.finish());
        let kept = state.kept.take();
        state.unlock_into(&mut wakeups);
        unless_it_panics(|| drop(kept));
        unless_it_panics(|| wakeups.notify());
    }
}

/// Wakers and the values kept for the application run the application's code. This may run during a
/// panic, and a second panic would abort the process if it escaped.
fn unless_it_panics<T>(step: impl FnOnce() -> T) {
    let _ = catch_unwind(AssertUnwindSafe(step));
}
