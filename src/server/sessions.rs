//! The registry of a server's connections that clients can resume. While a connection in the
//! registry has no socket, it counts against [`SuspendedLimits`].

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use wsmux_proto::SessionId;

use crate::connection::{
    ConnectionInfo,
    arrival::{Registered, Sessions},
    shared::{Kept, Shared},
};

/// The builder's limits on connections without a socket. `None` stands for no limit.
#[derive(Debug, Clone, Copy)]
pub(super) struct SuspendedLimits {
    pub(super) connections: Option<usize>,
    /// The limit on the bytes that all connections without a socket keep together. A connection
    /// keeps these bytes in order to send them again.
    pub(super) bytes: Option<u64>,
}

impl Default for SuspendedLimits {
    fn default() -> Self {
        Self {
            // When a proxy restarts, its clients come back within seconds. The connections of
            // 10,000 idle clients take less memory than the limit on bytes allows.
            connections: Some(10_000),
            // This is enough for eight connections, each with a full replay budget.
            bytes: Some(256 * 1024 * 1024),
        }
    }
}

/// An acceptor's connections that clients can resume. The registry does not keep these connections
/// open.
#[derive(Debug)]
pub(super) struct SessionRegistry {
    limits: SuspendedLimits,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    /// The ids are random, but a client knows the ids of its own sessions. So the map needs a hash
    /// with a secret, such as the standard library's.
    connections: HashMap<SessionId, Weak<Shared>>,
    /// The connections without a socket, in the order in which they lost their sockets.
    suspended: BTreeMap<u64, (SessionId, u64)>,
    next: u64,
    /// How many bytes the connections in `suspended` keep.
    bytes: u64,
}

impl SessionRegistry {
    pub(super) fn new(limits: SuspendedLimits) -> Self {
        Self { limits, state: Arc::default() }
    }
}

impl Sessions for SessionRegistry {
    fn register(&self, id: SessionId, connection: &Arc<Shared>) -> Box<dyn Registered> {
        lock(&self.state).connections.insert(id, Arc::downgrade(connection));
        Box::new(Entry { id, limits: self.limits, state: self.state.clone() })
    }

    fn find(&self, id: SessionId, info: &ConnectionInfo) -> Option<Arc<Shared>> {
        let connection = lock(&self.state).connections.get(&id)?.upgrade()?;
        connection.info.is_same_client(info).then_some(connection)
    }
}

/// A connection in the registry. Dropping the entry removes the connection.
#[derive(Debug)]
struct Entry {
    id: SessionId,
    limits: SuspendedLimits,
    state: Arc<Mutex<State>>,
}

impl Registered for Entry {
    fn suspend(&self, cost: u64) -> Kept {
        let mut state = lock(&self.state);
        let number = state.next;
        state.next += 1;
        state.bytes += cost;
        state.suspended.insert(number, (self.id, cost));
        let mut given_up = Vec::new();
        while let Some(number) = state.excess(self.limits) {
            let Some((id, cost)) = state.suspended.remove(&number) else { break };
            state.bytes -= cost;
            given_up.extend(state.connections.get(&id).and_then(Weak::upgrade));
        }
        drop(state);
        // `give_up` locks the connection, so the registry's lock was released above.
        given_up.iter().for_each(|connection| connection.give_up());
        Box::new(Suspended { number, state: self.state.clone() })
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        lock(&self.state).connections.remove(&self.id);
    }
}

/// Counts one connection as a connection without a socket, until this value is dropped.
#[derive(Debug)]
struct Suspended {
    number: u64,
    state: Arc<Mutex<State>>,
}

impl Drop for Suspended {
    fn drop(&mut self) {
        let mut state = lock(&self.state);
        if let Some((_, cost)) = state.suspended.remove(&self.number) {
            state.bytes -= cost;
        }
    }
}

impl State {
    /// If a limit is exceeded, returns the number of the connection that has to end.
    fn excess(&self, limits: SuspendedLimits) -> Option<u64> {
        let mut oldest_first = self.suspended.iter();
        if limits.connections.is_some_and(|most| self.suspended.len() > most) {
            return oldest_first.next().map(|(number, _)| *number);
        }
        // The connection that keeps the most bytes has to end. So a client whose connections keep
        // many bytes cannot end the connections of other clients. If several connections keep the
        // most bytes, the connection among them that has waited longest ends.
        let is_exceeded = limits.bytes.is_some_and(|most| self.bytes > most);
        let largest = oldest_first.rev().max_by_key(|(_, (_, cost))| *cost);
        largest.map(|(number, _)| *number).filter(|_| is_exceeded)
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn registry(connections: Option<usize>, bytes: Option<u64>) -> SessionRegistry {
        SessionRegistry::new(SuspendedLimits { connections, bytes })
    }

    /// Suspends connections with these costs, one after another.
    fn suspend(registry: &SessionRegistry, costs: &[u64]) -> Vec<Kept> {
        let entry = |id| Entry { id, limits: registry.limits, state: registry.state.clone() };
        let suspend = |(nth, cost): (usize, &u64)| entry(SessionId([nth as u8; 16])).suspend(*cost);
        costs.iter().enumerate().map(suspend).collect()
    }

    /// Returns the costs of the suspended connections, the oldest first.
    fn costs(registry: &SessionRegistry) -> Vec<u64> {
        let state = lock(&registry.state);
        let costs: Vec<u64> = state.suspended.values().map(|(_, cost)| *cost).collect();
        assert_eq!(costs.iter().sum::<u64>(), state.bytes);
        costs
    }

    #[test]
    fn the_oldest_connection_ends_if_there_are_too_many() {
        let registry = registry(Some(3), None);
        let _kept = suspend(&registry, &[9, 1, 2, 3, 8]);
        assert_eq!(costs(&registry), [2, 3, 8]);
    }

    #[test]
    fn the_largest_connection_ends_if_all_keep_too_many_bytes() {
        let registry = registry(None, Some(20));
        let _kept = suspend(&registry, &[5, 9, 6]);
        assert_eq!(costs(&registry), [5, 9, 6], "the limit is not exceeded");
        let _more = suspend(&registry, &[9]);
        assert_eq!(costs(&registry), [5, 6, 9], "of two that are equal, the older ends");
        let _largest = suspend(&registry, &[30]);
        assert_eq!(costs(&registry), [5, 6, 9], "the newest may be the largest");
    }

    #[test]
    fn a_connection_that_is_resumed_counts_no_longer() {
        let registry = registry(Some(2), Some(20));
        let mut kept = suspend(&registry, &[10, 7]);
        drop(kept.remove(0));
        assert_eq!(costs(&registry), [7]);
        let _more = suspend(&registry, &[12]);
        assert_eq!(costs(&registry), [7, 12]);
        // Both limits are exceeded, so the oldest ends, and then the largest.
        let newest = suspend(&registry, &[13]);
        assert_eq!(costs(&registry), [12]);
        // The driver of a connection that ended drops what counted it.
        drop(newest);
        assert_eq!(costs(&registry), [12]);
    }

    #[test]
    fn without_limits_all_connections_stay() {
        let registry = registry(None, None);
        let _kept = suspend(&registry, &[u64::MAX / 4, 1, u64::MAX / 4]);
        assert_eq!(costs(&registry).len(), 3);
    }
}
