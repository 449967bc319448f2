//! The registry of a server's connections, and their shutdown.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use bytes::Bytes;
use slab::Slab;
use tokio::{
    sync::watch,
    time::{Instant, timeout, timeout_at},
};
use wsmux_proto::VarInt;

use super::limits::Permit;
use crate::connection::{WebSocketConnection, shared::Shared};

/// How long a shutdown waits for the handshakes in progress. Such a handshake stops early and sends
/// its answer, which takes less than this time. The wait has a limit because a handshake never ends
/// if its future is no longer polled.
const HANDSHAKES_END: Duration = Duration::from_secs(5);

/// How a server's connections ended when it [shut down](crate::WebSocketServer::shutdown).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct ShutdownReport {
    /// The number of connections that ended before the timeout, either because all their streams
    /// had ended or because the peer or the network ended them.
    pub drained: usize,
    /// The number of connections that were open when the timeout expired, and were therefore
    /// closed.
    pub closed: usize,
}

/// The connections of a server that have not ended. The registry does not keep them open.
#[derive(Debug)]
pub(super) struct Registry {
    state: Mutex<RegistryState>,
    /// The number of connections.
    live: watch::Sender<usize>,
    /// The number of handshakes that have begun and not ended. A handshake begins when its future
    /// is first polled.
    handshakes: watch::Sender<usize>,
    draining: watch::Sender<bool>,
}

#[derive(Debug, Default)]
struct RegistryState {
    connections: Slab<Weak<Shared>>,
    draining: bool,
    /// The code and reason for closing connections that are added after the deadline of a shutdown.
    /// Before the deadline, this field is `None`.
    closing: Option<(VarInt, Bytes)>,
}

impl Registry {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::default(),
            live: watch::Sender::new(0),
            handshakes: watch::Sender::new(0),
            draining: watch::Sender::new(false),
        })
    }

    /// Registers a connection until it ends. The connection keeps its slot as long as it has a
    /// socket. If the shutdown has begun, the connection drains at once.
    pub(super) fn add(self: &Arc<Self>, connection: &WebSocketConnection, permit: Permit) {
        let shared = connection.shared();
        let mut state = self.lock();
        let key = state.connections.insert(Arc::downgrade(&shared));
        let (draining, closing) = (state.draining, state.closing.clone());
        drop(state);
        self.live.send_modify(|live| *live += 1);
        shared.keep(Box::new(Entry { key, registry: self.clone() }));
        shared.hold_slot(Box::new(permit));
        if let Some((code, reason)) = closing {
            shared.close(code, reason);
        } else if draining {
            shared.drain(None);
        }
    }

    /// Counts a handshake until the returned value is dropped.
    pub(super) fn handshake(self: &Arc<Self>) -> Handshake {
        self.handshakes.send_modify(|count| *count += 1);
        Handshake(self.clone())
    }

    /// Waits until there are no connections, and no handshakes that may become connections.
    async fn gone(&self) {
        let (mut handshakes, mut live) = (self.handshakes.subscribe(), self.live.subscribe());
        // Waiting cannot fail, because the senders are in `self`.
        let _ = timeout(HANDSHAKES_END, handshakes.wait_for(|count| *count == 0)).await;
        let _ = live.wait_for(|live| *live == 0).await;
    }

    pub(super) fn live(&self) -> usize {
        *self.live.borrow()
    }

    /// Waits until the shutdown begins.
    pub(super) async fn draining(&self) {
        let mut draining = self.draining.subscribe();
        // Waiting cannot fail, because the sender is in `self`.
        let _ = draining.wait_for(|draining| *draining).await;
    }

    /// Drains all connections, including those that are added later, and closes those that remain
    /// after `limit`.
    pub(super) async fn shut_down(
        &self,
        limit: Duration,
        code: VarInt,
        reason: Bytes,
    ) -> ShutdownReport {
        // If the limit is beyond the range of the clock, there is no deadline.
        let deadline = Instant::now().checked_add(limit);
        let before = self.live();
        self.drain();
        let drained = match deadline {
            Some(deadline) => timeout_at(deadline, self.gone()).await.is_ok(),
            None => {
                self.gone().await;
                true
            }
        };
        if drained {
            return ShutdownReport { drained: before, closed: 0 };
        }
        let mut rest = {
            let mut state = self.lock();
            state.closing = Some((code, reason.clone()));
            all(&state)
        };
        // Connections whose closing handshake is under way count as drained.
        rest.retain(|connection| connection.lock().close_reason().is_none());
        let closed = rest.len();
        rest.iter().for_each(|connection| connection.close(code, reason.clone()));
        // The references in `rest` keep the connections and their slots alive, so `rest` is dropped
        // before the wait.
        drop(rest);
        // Each connection's driver limits this wait to the close timeout.
        self.gone().await;
        ShutdownReport { drained: before.saturating_sub(closed), closed }
    }

    /// Begins to drain all connections, including those that are added later.
    fn drain(&self) {
        let mut state = self.lock();
        state.draining = true;
        let connections = all(&state);
        drop(state);
        self.draining.send_replace(true);
        connections.iter().for_each(|connection| connection.drain(None));
    }

    fn lock(&self) -> MutexGuard<'_, RegistryState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn all(state: &RegistryState) -> Vec<Arc<Shared>> {
    state.connections.iter().filter_map(|(_, connection)| connection.upgrade()).collect()
}

/// A handshake in the registry. Dropping this value removes the handshake.
#[derive(Debug)]
pub(super) struct Handshake(Arc<Registry>);

impl Drop for Handshake {
    fn drop(&mut self) {
        self.0.handshakes.send_modify(|count| *count -= 1);
    }
}

/// A connection in the registry. Dropping the entry removes the connection.
#[derive(Debug)]
struct Entry {
    key: usize,
    registry: Arc<Registry>,
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.registry.lock().connections.try_remove(self.key);
        self.registry.live.send_modify(|live| *live -= 1);
    }
}

#[cfg(test)]
mod tests {
    use std::{
        future::Future,
        pin::pin,
        sync::atomic::{AtomicUsize, Ordering},
        task::{Context, Wake, Waker},
    };

    use super::*;
    use crate::{
        server::limits::{Limits, Slots},
        socket::memory_pair,
    };
    use wsmux_proto::{Side, Wire};

    /// A waker that checks, when it is woken, that the registry is not locked.
    struct Looks(Arc<Registry>, AtomicUsize);

    impl Wake for Looks {
        fn wake(self: Arc<Self>) {
            assert!(self.0.state.try_lock().is_ok(), "woken under the lock");
            self.1.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[tokio::test]
    async fn a_connection_that_has_ended_before_it_is_registered_keeps_no_slot() {
        let limits = Limits { connections: Some(1), ..Limits::default() };
        let (registry, slots) = (Registry::new(), Slots::new(limits));
        let (permit, _) = slots.take(slots.reserve().await, None).expect("no limit");
        let (left, _) = memory_pair(1024);
        let connection = WebSocketConnection::builder().build(left, Side::Server, Wire::QMux);
        connection.closed().await;
        registry.add(&connection, permit);
        assert_eq!(registry.live(), 0);
        // A slot is free although the connection's handle still exists.
        let mut next = pin!(slots.reserve());
        assert!(next.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready());
        drop(connection);
    }

    #[tokio::test]
    async fn those_who_wait_are_woken_without_the_lock() {
        let (registry, slots) = (Registry::new(), Slots::new(Limits::default()));
        let looks = Arc::new(Looks(registry.clone(), AtomicUsize::new(0)));
        let waker = looks.clone().into();
        let mut live = registry.live.subscribe();
        for nth in 1..=2 {
            live.borrow_and_update();
            let mut changed = pin!(live.changed());
            assert!(changed.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
            match nth {
                1 => {
                    let (permit, _) = slots.take(slots.reserve().await, None).expect("no limit");
                    let (left, _) = memory_pair(1024);
                    let connection =
                        WebSocketConnection::builder().build(left, Side::Server, Wire::QMux);
                    registry.add(&connection, permit);
                    assert_eq!(registry.live(), 1);
                }
                _ => {
                    // The connection's handle and socket have been dropped.
                    registry.gone().await;
                    assert_eq!(registry.live(), 0);
                }
            }
            assert_eq!(looks.1.load(Ordering::Relaxed), nth);
        }
    }
}
