//! The events of a connection as a whole, for applications that show the state of the connection.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use wsmux_proto::SessionEvent;

use super::{
    WebSocketConnection,
    shared::{Queue, Shared, State, wait_for},
};

/// How many events a connection keeps for its listeners. Each loss of a socket causes two events,
/// so this is enough even for a listener that seldom runs.
const KEPT: usize = 16;

/// What happened to a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConnectionEvent {
    /// The connection has lost its socket, and waits for a new one. Streams stay open. Reads and
    /// writes wait, as if the network were slow.
    Suspended,
    /// The connection goes on over a new socket. Nothing on its streams was lost or repeated.
    #[non_exhaustive]
    Resumed {
        /// How long the connection was suspended.
        gap: Duration,
        /// How many messages this end sends again on the new socket.
        resent_messages: u64,
        /// The length of these messages in bytes.
        resent_bytes: u64,
    },
    /// The peer [drains](WebSocketConnection::drain) the connection. The peer opens no more
    /// streams, and the connection ends once all streams have ended. By default this end opens no
    /// more streams either; see [`set_drain_with_peer`](WebSocketConnection::set_drain_with_peer).
    PeerDraining,
}

/// The events of a connection, from the moment when [`WebSocketConnection::events`] was called.
/// This value does not keep the connection open.
#[derive(Debug, Clone)]
pub struct ConnectionEvents {
    shared: Arc<Shared>,
    /// The number of the next event.
    next: u64,
}

impl WebSocketConnection {
    /// Returns a listener, which receives the events that follow this call. Several listeners may
    /// exist at once, and each listener receives all events.
    pub fn events(&self) -> ConnectionEvents {
        let next = self.0.lock().events.next();
        ConnectionEvents { shared: self.shared(), next }
    }
}

impl ConnectionEvents {
    /// Waits for the next event. Returns `None` once the connection has ended and all events were
    /// returned. If the listener falls behind by more than 16 events, it misses the oldest.
    ///
    /// # Cancel safety
    /// Dropping the future loses no event.
    pub async fn next(&mut self) -> Option<ConnectionEvent> {
        let next = self.next;
        let check = |state: &mut State| match state.events.get(next) {
            Some((number, event)) => Some(Some((number, event))),
            None => state.close_reason().map(|_| None),
        };
        let (number, event) = wait_for(&self.shared, Queue::Events, check).await?;
        self.next = number + 1;
        Some(event)
    }
}

/// The newest events of a connection.
#[derive(Debug, Default)]
pub(crate) struct EventLog {
    /// The number of the first event in `events`.
    first: u64,
    events: VecDeque<ConnectionEvent>,
}

impl EventLog {
    pub(super) fn push(&mut self, event: ConnectionEvent) {
        if self.events.len() == KEPT {
            self.events.pop_front();
            self.first += 1;
        }
        self.events.push_back(event);
    }

    /// Returns the number of the next event.
    fn next(&self) -> u64 {
        self.first + self.events.len() as u64
    }

    /// Returns the first event whose number is `number` or above, and the number of this event.
    pub(crate) fn get(&self, number: u64) -> Option<(u64, ConnectionEvent)> {
        let number = number.max(self.first);
        let index = usize::try_from(number - self.first).ok()?;
        self.events.get(index).map(|event| (number, *event))
    }
}

impl ConnectionEvent {
    /// Converts an event of a session into an event for the application. Returns `None` for a
    /// refusal, because the end of the connection reports the refusal to the application.
    pub(super) fn of_session(event: &SessionEvent) -> Option<Self> {
        match *event {
            SessionEvent::Suspended => Some(Self::Suspended),
            SessionEvent::Resumed { gap, resent_messages, resent_bytes, .. } => {
                Some(Self::Resumed { gap, resent_messages, resent_bytes })
            }
            _ => None,
        }
    }
}
