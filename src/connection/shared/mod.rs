//! The state that the task and the handles of one connection share: the engine behind a lock, and
//! the wakers of all tasks that wait for the engine.

mod ends;
mod locked;
mod queues;
mod state;
mod stream_wakers;

use std::{
    fmt,
    ops::Deref,
    sync::{Arc, PoisonError, atomic::Ordering},
    time::Duration,
};

use bytes::Bytes;
#[cfg(not(target_family = "wasm"))]
use wsmux_proto::Link;
use wsmux_proto::{DriverLost, Session, Time, VarInt};

pub(crate) use self::{
    locked::Locked,
    queues::{Queue, QueuePosition, wait_for},
    state::State,
};
#[cfg(not(target_family = "wasm"))]
use super::resume::NewSocket;
use super::{ConnectionInfo, finish::unless_it_panics};
use crate::{
    observe::trace,
    runtime::{
        Instant,
        sync::{AtomicUsize, Mutex},
    },
};

/// The shared part of a connection. A connection has one shared part, in an `Arc` that the driver
/// and every handle hold.
pub(crate) struct Shared {
    state: Mutex<State>,
    /// Time zero of the engine's clock.
    epoch: Instant,
    pub(crate) info: ConnectionInfo,
    /// The connection's number in this process. The connection's logs contain this number.
    #[cfg(feature = "qlog")]
    pub(crate) id: u64,
    /// The span in which the connection's events are recorded.
    pub(crate) span: trace::Span,
    /// How many [`ConnectionRef`]s exist. The driver holds no `ConnectionRef`.
    handles: AtomicUsize,
}

/// The output leaves out the state, because the state contains the application's data.
impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shared = f.debug_struct("Shared");
        #[cfg(feature = "qlog")]
        shared.field("id", &self.id);
        shared.field("info", &self.info).field("handles", &self.handles).finish_non_exhaustive()
    }
}

/// A value that is kept until the connection has ended and its socket is gone.
pub(crate) type Kept = Box<dyn fmt::Debug + Send>;

impl Shared {
    pub(crate) fn new(session: Session, epoch: Instant, info: ConnectionInfo) -> Arc<Self> {
        #[cfg(any(feature = "tracing", feature = "qlog"))]
        let id = trace::next_connection_id();
        Arc::new(Self {
            #[cfg(feature = "qlog")]
            id,
            #[cfg(feature = "tracing")]
            span: trace::connection_span(id, session.engine(), &info),
            #[cfg(not(feature = "tracing"))]
            span: trace::Span(),
            state: Mutex::new(State::new(session)),
            epoch,
            info,
            handles: AtomicUsize::new(0),
        })
    }

    /// Locks the state. A poisoned lock is used like any other lock. A panic under the lock would
    /// be a bug, but it would not leave the state half changed.
    #[inline]
    pub(crate) fn lock(&self) -> Locked<'_> {
        Locked::new(self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Returns the time on the engine's clock. [`State::time`] makes it monotonic.
    pub(crate) fn now(&self) -> Time {
        Time::from_epoch(self.epoch.elapsed())
    }

    /// Converts a time of the engine to the runtime's clock. Returns `None` if that clock cannot
    /// represent the time.
    pub(crate) fn instant(&self, at: Time) -> Option<Instant> {
        let instant = self.epoch.checked_add(at.since_epoch())?;
        // The extra second is a margin, because tokio's timer rounds the time up, and panics if the
        // result is out of range.
        instant.checked_add(Duration::from_secs(1)).map(|_| instant)
    }

    /// Handles the engine's events. Returns the number of tasks that wait for these events. The
    /// tasks are woken after the lock is released.
    pub(crate) fn dispatch(&self, state: &mut State) -> usize {
        state.dispatch(&self.span)
    }

    /// Starts to drain the connection. The drain closes the connection once its streams have ended,
    /// or after `timeout`.
    pub(crate) fn drain(&self, timeout: Option<Duration>) {
        let mut state = self.lock();
        let now = state.time(self.now());
        // A deadline that the clock cannot represent is never reached.
        let deadline = timeout.and_then(|timeout| now.checked_add(timeout));
        state.engine_mut().drain(now, deadline);
        trace::event!(self.span, DEBUG, "connection.draining");
        state.wake_openers();
        self.dispatch(&mut state);
        state.wake_driver_now();
    }

    /// Keeps a value until the connection has ended and its socket is gone. If the socket is gone
    /// already, the value is dropped at once.
    #[cfg(not(target_family = "wasm"))]
    pub(crate) fn keep(&self, kept: Kept) {
        let mut state = self.lock();
        // Dropping the value may lock this connection, so it is dropped after the lock is released.
        let dropped = match state.is_finished() {
            true => Some(kept),
            false => state.kept.replace(kept),
        };
        drop(state);
        drop(dropped);
    }

    /// Keeps a value that counts this connection among the server's connections with a socket. The
    /// value is dropped when the connection has no socket. If the socket has moved to an earlier
    /// connection, the value moves to that connection, too.
    #[cfg(not(target_family = "wasm"))]
    pub(crate) fn hold_slot(&self, slot: Kept) {
        let mut state = self.lock();
        if let Some(moved_to) = &state.moved_to {
            let moved_to = moved_to.upgrade();
            drop(state);
            if let Some(to) = moved_to {
                to.hold_slot(slot);
            }
            return;
        }
        // As long as the task exists, it may have a socket, even if the connection is over.
        let dropped = match state.is_gone {
            true => Some(slot),
            false => state.slot.replace(slot),
        };
        drop(state);
        drop(dropped);
    }

    /// Ends the connection because its task is gone. This has no effect if the connection has
    /// ended. `Finish` wakes the waiting tasks.
    pub(super) fn abandon(&self, lost: DriverLost) {
        let mut state = self.lock();
        let now = state.time(self.now());
        unless_it_panics(|| state.engine_mut().abandon(now, lost));
    }

    /// Ends this connection because its socket belongs to an earlier connection.
    pub(super) fn move_to(&self, to: &Arc<Self>) {
        let mut state = self.lock();
        let now = state.time(self.now());
        state.moved_to = Some(Arc::downgrade(to));
        state.engine_mut().abandon(now, DriverLost::Dropped);
        self.dispatch(&mut state);
        let slot = state.slot.take();
        drop(state);
        #[cfg(not(target_family = "wasm"))]
        if let Some(slot) = slot {
            to.hold_slot(slot);
        }
        #[cfg(target_family = "wasm")]
        drop(slot);
    }

    /// Gives the connection a new socket.
    #[cfg(not(target_family = "wasm"))]
    pub(super) fn hand_over(&self, link: Link, socket: NewSocket) {
        let mut state = self.lock();
        // The session may already have a newer socket than this one, or may be over.
        let is_wanted = state.session.is_current(link) && state.session.has_socket();
        let dropped = match is_wanted && !state.is_gone {
            true => state.next_socket.replace((link, socket)),
            false => Some((link, socket)),
        };
        state.wake_driver_now();
        drop(state);
        drop(dropped);
    }

    /// Ends the connection if it has no socket.
    #[cfg(not(target_family = "wasm"))]
    pub(crate) fn give_up(&self) {
        let mut state = self.lock();
        let now = state.time(self.now());
        state.session.give_up(now);
        self.dispatch(&mut state);
        state.wake_driver_now();
    }

    /// Closes the connection. All waiting tasks of this end are woken and learn of the close.
    pub(crate) fn close(&self, code: VarInt, reason: Bytes) {
        let mut state = self.lock();
        let now = state.time(self.now());
        state.engine_mut().close(now, code, reason);
        self.dispatch(&mut state);
        state.wake_driver_now();
    }
}

/// A counted reference that each handle holds. When the last reference is dropped, the connection
/// is closed with code 0.
#[derive(Debug)]
pub(crate) struct ConnectionRef(Arc<Shared>);

impl ConnectionRef {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        shared.handles.fetch_add(1, Ordering::Relaxed);
        Self(shared)
    }

    /// Returns the shared part of the connection. The shared part is not a handle, so holding it
    /// does not keep the connection open.
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
        // `Arc` uses the same ordering when it counts down, because the thread that drops the last
        // handle must see what other threads did before they dropped their handles.
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
