//! The task of a connection. It drives one socket after another, and waits in between.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use wsmux_proto::{DriverLost, Link, Side};

use super::{
    alarm::Alarm,
    arrival::Registered,
    finish::{Finish, finish},
    resume::{Drive, NewSocket, Redial, Resume, redial},
    shared::{Kept, Shared, State},
};
use crate::runtime::{Instant, MaybeSend};

/// A socket that was lost sooner than this was not healthy, so the client pauses before it dials
/// again.
const LASTING: Duration = Duration::from_secs(1);

/// The logs of a connection and its entry in the server's registry. Each driver of the connection
/// passes them to the next driver.
#[derive(Debug, Default)]
pub(super) struct Records {
    #[cfg(feature = "tracing")]
    pub(super) refused: crate::observe::trace::RefusedStreams,
    #[cfg(feature = "qlog")]
    pub(super) qlog: Option<crate::observe::qlog::Log>,
    /// The connection's entry in the registry of a server.
    pub(super) registered: Option<Box<dyn Registered>>,
}

impl Records {
    /// Records what has happened to the sockets.
    #[cfg_attr(not(feature = "qlog"), expect(unused_variables, clippy::unused_self))]
    fn log_session(&mut self, shared: &Shared) {
        #[cfg(feature = "qlog")]
        if let Some(qlog) = &mut self.qlog {
            let mut state = shared.lock();
            let now = state.time(shared.now());
            qlog.session(now, &state.events);
        }
    }

    /// Completes the log of a connection that has ended.
    fn end_log(&mut self) {
        #[cfg(feature = "qlog")]
        drop(self.qlog.take());
    }
}

/// The task of a connection.
pub(super) struct Task {
    shared: Arc<Shared>,
    stage: Stage,
    /// Dials a new socket for a client.
    redial: Option<Arc<dyn Redial>>,
    /// How often the connection had been resumed when it last lost a socket; `None` before the
    /// first loss.
    resumptions: Option<u64>,
    /// How many new sockets were lost before they resumed the connection. The count begins when the
    /// connection last had a socket that carried data.
    failures: u32,
    /// Whether the task is being polled. If the task is dropped while this is set, something in the
    /// task has panicked.
    polled: bool,
    /// This is the last field, so that waiting tasks are woken after the socket and the log were
    /// dropped. So the log contains the connection's end before these tasks run.
    _finish: Finish,
}

enum Stage {
    /// The driver of a socket, and the time at which it was made.
    Driving(Drive, Instant),
    Waiting(Box<Wait>),
}

/// The state of a task that has no socket and waits for a new socket.
struct Wait {
    alarm: Alarm,
    records: Records,
    redial: Option<Pin<Box<dyn Redialling>>>,
    /// Counts the connection among those without a socket, as long as this value exists.
    _suspended: Option<Kept>,
}

/// A future that finds a client's new socket.
trait Redialling: Future<Output = Option<(Link, NewSocket)>> + MaybeSend {}

impl<T: Future<Output = Option<(Link, NewSocket)>> + MaybeSend> Redialling for T {}

impl Task {
    pub(super) fn new(
        shared: Arc<Shared>,
        socket: NewSocket,
        records: Records,
        resume: Resume,
    ) -> Self {
        let (redial, arrival) = match resume {
            Resume::Never => (None, None),
            Resume::Redial(redial) => (Some(redial), None),
            #[cfg(not(target_family = "wasm"))]
            Resume::Accept(sessions) => (None, Some(super::arrival::Arrival(sessions))),
        };
        let drive = socket.drive(shared.clone(), Link::default(), records, arrival);
        Self {
            _finish: Finish(shared.clone()),
            shared,
            stage: Stage::Driving(drive, Instant::now()),
            redial,
            resumptions: None,
            failures: 0,
            polled: false,
        }
    }

    fn run(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            self.stage = match &mut self.stage {
                Stage::Driving(drive, since) => {
                    let mut records = ready!(drive.as_mut().poll(cx));
                    let lasted = since.elapsed() >= LASTING;
                    records.log_session(&self.shared);
                    match self.wait(records, lasted) {
                        Some(wait) => Stage::Waiting(wait),
                        None => return Poll::Ready(()),
                    }
                }
                Stage::Waiting(wait) => match ready!(wait.poll(&self.shared, cx)) {
                    Some((link, socket)) => {
                        let mut records = std::mem::take(&mut wait.records);
                        // On a server, the session is resumed before the task gets the socket, so
                        // the event is recorded here.
                        records.log_session(&self.shared);
                        let drive = socket.drive(self.shared.clone(), link, records, None);
                        Stage::Driving(drive, Instant::now())
                    }
                    None => return Poll::Ready(()),
                },
            };
        }
    }

    /// Begins to wait for a new socket. `lasted` says whether the lost socket had lasted for
    /// [`LASTING`]. Returns `None` if the connection needs no new socket.
    fn wait(&mut self, mut records: Records, lasted: bool) -> Option<Box<Wait>> {
        let mut state = self.shared.lock();
        if is_over(&state) {
            return None;
        }
        if state.session.is_closed() {
            // For the application the connection is over, even if the task still needs a socket to
            // tell the peer.
            drop(state);
            records.end_log();
            finish(&self.shared);
            state = self.shared.lock();
        }
        let stats = state.session.session_stats();
        // A connection without a socket gives up its slot, because slots count only connections
        // with a socket. If a newer socket has replaced the lost socket, the connection keeps its
        // slot.
        let is_replaced = state.session.has_socket();
        let slot = if is_replaced { None } else { state.slot.take() };
        drop(state);
        drop(slot);
        let before = self.resumptions.replace(stats.resumptions);
        self.failures = match before == self.resumptions {
            true => self.failures.saturating_add(1),
            // Something on the network path may cut each new socket at once, so a socket that did
            // not last counts as a failure.
            false => u32::from(!lasted),
        };
        let redial = self.redial.clone().map(|dialer| -> Pin<Box<dyn Redialling>> {
            Box::pin(redial(self.shared.clone(), dialer, self.failures))
        });
        let entry = records.registered.as_ref().filter(|_| !is_replaced);
        let suspended = entry.map(|entry| entry.suspend(stats.replay_held));
        Some(Box::new(Wait { alarm: Alarm::new(), records, redial, _suspended: suspended }))
    }
}

/// Whether the connection has ended and no longer needs a socket, not even to tell the peer of the
/// end.
fn is_over(state: &State) -> bool {
    // A client dials once more only if some of its last bytes could otherwise be lost.
    let lingers = state.session.lingers()
        && (state.engine().side() == Side::Server || state.session.session_stats().replay_held > 0);
    state.session.is_closed() && !lingers
}

impl Wait {
    /// Waits for a new socket. Returns `None` if the connection has ended.
    fn poll(&mut self, shared: &Shared, cx: &mut Context<'_>) -> Poll<Option<(Link, NewSocket)>> {
        loop {
            let mut state = shared.lock();
            let now = state.time(shared.now());
            shared.dispatch(&mut state);
            if is_over(&state) {
                return Poll::Ready(None);
            }
            if state.session.is_closed() && !state.is_finished() {
                // for the application the connection is over at once, without a wait for the
                // peer.
                drop(state);
                self.records.end_log();
                finish(shared);
                continue;
            }
            #[cfg(not(target_family = "wasm"))]
            if let Some((link, socket)) = state.next_socket.take() {
                if state.session.is_current(link) {
                    return Poll::Ready(Some((link, socket)));
                }
                // The socket's code may be the application's own, so it is dropped without the
                // lock.
                drop(state);
                drop(socket);
                continue;
            }
            let next = state.session.poll_timeout();
            if self.alarm.rings(next, |next| shared.instant(next), cx) {
                if next.is_some_and(|next| next <= now) {
                    state.session.handle_timeout(now);
                }
                continue;
            }
            state.task_waits(cx.waker());
            drop(state);
            match self.redial.as_mut().map(|redial| redial.as_mut().poll(cx)) {
                None | Some(Poll::Pending) => return Poll::Pending,
                Some(Poll::Ready(None)) => self.redial = None,
                Some(Poll::Ready(Some(found))) => return Poll::Ready(Some(found)),
            }
        }
    }
}

impl Future for Task {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        this.polled = true;
        let polled = this.run(cx);
        this.polled = false;
        polled
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        // `thread::panicking` would be wrong here, because a panic of other code in this thread may
        // drop the runtime, and this task with it (C-82).
        let lost = if self.polled { DriverLost::Panicked } else { DriverLost::Dropped };
        self.shared.abandon(lost);
    }
}
