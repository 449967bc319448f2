//! The connections that a server has accepted, and how they all end.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use bytes::Bytes;
use slab::Slab;
use tokio::{
    sync::watch,
    time::{Instant, timeout_at},
};

use super::limits::Place;
use crate::{VarInt, WebSocketConnection, shared::Shared};

/// What became of a server's connections when it [shut down](crate::WebSocketServer::shutdown).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct ShutdownReport {
    /// Connections that ended before the timeout: their streams had ended, or the network or the peer ended them.
    pub drained: usize,
    /// Connections that were still open at the timeout, and were closed.
    pub closed: usize,
}

/// The connections of a server that have not ended. It holds none of them open.
#[derive(Debug)]
pub(super) struct Registry {
    state: Mutex<State>,
    /// How many connections there are.
    live: watch::Sender<usize>,
    draining: watch::Sender<bool>,
}

#[derive(Debug, Default)]
struct State {
    connections: Slab<Weak<Shared>>,
    draining: bool,
}

impl Registry {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::default(),
            live: watch::Sender::new(0),
            draining: watch::Sender::new(false),
        })
    }

    /// Keeps an eye on a connection until it has ended, and its place until then. One that comes after the
    /// shutdown began is drained at once.
    pub(super) fn add(self: &Arc<Self>, connection: &WebSocketConnection, place: Place) {
        let shared = connection.shared();
        let mut state = self.lock();
        let key = state.connections.insert(Arc::downgrade(&shared));
        self.live.send_replace(state.connections.len());
        let draining = state.draining;
        drop(state);
        shared.keep(Box::new(Entry { key, registry: self.clone(), _place: place }));
        if draining {
            shared.shut_down(None);
        }
    }

    pub(super) fn live(&self) -> usize {
        *self.live.borrow()
    }

    /// Waits until the shutdown begins.
    pub(super) async fn draining(&self) {
        let mut draining = self.draining.subscribe();
        // The sender is in `self`.
        let _ = draining.wait_for(|draining| *draining).await;
    }

    /// Drains all connections and those to come, and closes what is left after `timeout`.
    pub(super) async fn shut_down(
        &self,
        timeout: Duration,
        code: VarInt,
        reason: Bytes,
    ) -> ShutdownReport {
        // Past what a clock can tell there is no deadline.
        let deadline = Instant::now().checked_add(timeout);
        let before = self.live();
        self.drain();
        let mut live = self.live.subscribe();
        let gone = live.wait_for(|live| *live == 0);
        let drained = match deadline {
            Some(deadline) => timeout_at(deadline, gone).await.is_ok(),
            None => gone.await.is_ok(),
        };
        if drained {
            return ShutdownReport { drained: before, closed: 0 };
        }
        let mut rest = all(&self.lock());
        // Those whose closing handshake is under way have drained.
        rest.retain(|connection| connection.lock().end_of().is_none());
        let closed = rest.len();
        rest.iter().for_each(|connection| connection.close(code, reason.clone()));
        // What keeps them from being dropped would keep their places.
        drop(rest);
        // Each is given no longer than its close timeout by its driver.
        let _ = live.wait_for(|live| *live == 0).await;
        ShutdownReport { drained: before.saturating_sub(closed), closed }
    }

    /// Begins to drain all connections, and those to come.
    fn drain(&self) {
        let mut state = self.lock();
        state.draining = true;
        let connections = all(&state);
        drop(state);
        self.draining.send_replace(true);
        connections.iter().for_each(|connection| connection.shut_down(None));
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn all(state: &State) -> Vec<Arc<Shared>> {
    state.connections.iter().filter_map(|(_, connection)| connection.upgrade()).collect()
}

/// A connection in the registry, until it is dropped.
#[derive(Debug)]
struct Entry {
    key: usize,
    registry: Arc<Registry>,
    _place: Place,
}

impl Drop for Entry {
    fn drop(&mut self) {
        let mut state = self.registry.lock();
        state.connections.try_remove(self.key);
        self.registry.live.send_replace(state.connections.len());
    }
}
