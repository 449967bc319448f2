//! The one task of a connection: it carries messages between socket and engine, and knows no protocol.

use std::{
    future::Future,
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
    proto::{DriverLost, MessageBuf, SocketError, Time},
    runtime::{Instant, Sleep, sleep, yield_now},
    socket::{Incoming, Outgoing, Socket},
};

/// Items taken from the socket before the engine is locked, and messages sent before the socket is read
/// again: so many small ones cost little more than one.
const BATCH: usize = 16;

/// A batch ends with the message that brings it to this length, so one large message is a batch.
/// Received data wakes its readers, but they run only after this task yields, and the peer gets
/// credit only after they have read. With batches of 16 large messages, which are megabytes, the
/// peer ran out of window each time, and the two cores worked in turns. Urgent messages wait for a
/// round, too.
const BATCH_BYTES: usize = 32 * 1024;

/// Rounds in which nobody was woken, before other tasks of the runtime get their turn.
const ROUNDS: usize = 8;

/// A question to the operating system is a system call: once a second is often enough.
const ASK_SOCKET_EVERY: Duration = Duration::from_secs(1);

/// Whether a direction of the socket could go on at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Progress {
    /// There may be more to do.
    More,
    /// Everything is done.
    Idle,
    /// The socket has to wake us.
    Blocked,
}

pub(crate) struct Driver<S> {
    shared: Arc<Shared>,
    socket: S,
    message: MessageBuf,
    batch: Vec<Incoming>,
    /// Empty, but for the time between the lock and the wakers.
    wakeups: Wakeups,
    /// For how many there was news in this round.
    woken: usize,
    alarm: Alarm,
    /// Whether the engine may have something to send in this round.
    wants: bool,
    /// The engine's time in this round: one look at the clock serves all of it.
    now: Time,
    /// When the socket was last asked for its round-trip time.
    asked: Option<Time>,
    /// The engine wants nothing sent before a flush is done.
    flushing: bool,
    /// Reading has ended, and how.
    read_end: Option<SocketError>,
    /// Writing has failed. What can still be read is, before the connection ends for it.
    write_end: Option<SocketError>,
    /// What the socket last said of the bytes that have come.
    bytes_received: u64,
    /// It is being polled. When it is dropped then, something in it has panicked.
    polled: bool,
    /// The connection has ended: what is left is to end the socket's stream.
    ending: bool,
    #[cfg(feature = "tracing")]
    refused: crate::observe::trace::RefusedStreams,
    /// Before the last: the log says how the connection ended before others are told.
    #[cfg(feature = "qlog")]
    qlog: Option<crate::observe::qlog::Log>,
    /// The last field: it is dropped when the socket is gone.
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

    /// Writes what passes through the socket to this log.
    #[cfg(feature = "qlog")]
    pub(crate) fn with_qlog(mut self, qlog: Option<crate::observe::qlog::Log>) -> Self {
        self.qlog = qlog;
        self
    }

    /// Hands what has come to the engine.
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
            state.engine.handle(now, item);
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

    /// Lets the engine's messages out, while the socket takes them.
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
            let item = state.engine.poll_transmit(now, &mut self.message);
            self.woken += self.shared.dispatch(&mut state);
            self.wants = state.engine.wants_transmit();
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
                        if let Some(qlog) = &mut self.qlog {
                            qlog.sent(self.now, message.to_bytes());
                        }
                    }
                    self.socket.start_send(item)?;
                }
            }
            // What was sent keeps no chunk of the application's alive until the next message.
            self.message.clear();
        }
        // A flush that cannot finish wakes us by itself, and there may be more room before.
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

    /// What the socket says of its path, now and then.
    fn ask_socket(&mut self) -> Option<Duration> {
        if self.asked.is_some_and(|asked| self.now - asked < ASK_SOCKET_EVERY) {
            return None;
        }
        self.asked = Some(self.now);
        self.socket.rtt()
    }

    /// Whether the socket is of no more use. Once its write side has failed, that is when all that had come
    /// has been `read_out`, or when the connection has ended otherwise, which cannot be said any more.
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

    /// Round after round, until the socket has to wake it or others have to have their turn.
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
        // Behind those whom it has just woken, and on the same core: a task that wakes itself has the runtime
        // wake another worker for it, which costs more than a message.
        let _ = pin!(yield_now()).poll(cx);
        Poll::Pending
    }

    /// Lets both directions go on, and everything else that is due. Whom it woke is in `woken`.
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
        // What the application's own calls have made known.
        self.woken += self.shared.dispatch(&mut state);
        if sent == Progress::Blocked {
            state.engine.handle_socket_full(now);
        }
        // After the socket was read: a peer is not silent while its message waits (C-46).
        let next = state.engine.poll_timeout();
        let rang = self.alarm.rings(next, |next| self.shared.instant(next), cx);
        let due = rang && next.is_some_and(|next| next <= now);
        if due {
            state.engine.handle_timeout(now);
            self.woken += self.shared.dispatch(&mut state);
        }
        // What came before the write failed is read after it has: once more, then.
        let read_out = wrote_in_vain && received == Progress::Blocked;
        let done = self.is_done(&mut state, now, read_out);
        if done {
            // Those who wait learn of the end before the socket is shut down, which may take long.
            self.woken += self.shared.dispatch(&mut state);
        }
        let failed_now = self.write_end.is_some() && !read_out;
        // Several who were woken may all have something to send: behind them it goes out together. Asleep, this
        // task would be woken by the first of them, and run before the others.
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
            // A deadline is mostly reached in silence. The socket may be an application's own: not under the lock.
            self.socket.release_buffers();
            (self.message, self.batch) = Default::default();
        }
        next
    }
}

impl<S: Socket + Unpin> Driver<S> {
    /// Ends the stream below, for which there is what is left of the close timeout: who has waited so long for
    /// the peer's Close waits no longer for its FIN.
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

    /// Whether the close timeout is over.
    fn is_late(&mut self, cx: &mut Context<'_>) -> bool {
        let deadline = self.shared.lock().engine.close_deadline();
        loop {
            if deadline.is_some_and(|deadline| deadline <= self.shared.now()) {
                return true;
            }
            // It may ring early, for what it was set to before.
            if !self.alarm.rings(deadline, |deadline| self.shared.instant(deadline), cx) {
                return false;
            }
        }
    }

    /// Lets our Close out, and throws away what comes until the peer has ended its stream, too.
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
        // Not whether the thread panics: a runtime may be dropped while its owner does (C-82).
        let lost = if self.polled { DriverLost::Panicked } else { DriverLost::Dropped };
        let mut state = self.shared.lock();
        let now = state.time(self.shared.now());
        // Nothing, if the connection has ended. Those who wait are told by `Finish`.
        unless_it_panics(|| state.engine.abandon(now, lost));
    }
}

/// What comes after a round.
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
        // It is armed before it is looked at.
        Self { timer: Box::pin(sleep(Duration::ZERO)), armed: None }
    }

    /// Whether it rings. It may be early: deadlines mostly move away, and a look at the engine costs less than
    /// setting the clock for each message.
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

/// Wakes everybody when the driver ends, even by a panic or with its runtime.
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

/// Wakers, and what is kept for the application, are the application's. This may run because something has panicked
/// already, and then a second panic that left it would abort the process.
fn unless_it_panics<T>(step: impl FnOnce() -> T) {
    let _ = catch_unwind(AssertUnwindSafe(step));
}
