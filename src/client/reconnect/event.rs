//! What a reconnecting client reports, and its error.

use std::{fmt, time::Duration};

use tokio::sync::broadcast;
use wsmux_proto::{ConnectionError, InFlight};

use crate::error::ConnectError;

/// There is no connection, and the client has stopped dialling. Cheap to clone.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum ReconnectError {
    /// The last allowed attempt failed, or an attempt failed in a way that is final. The error says
    /// how.
    #[error("gave up connecting: {0}")]
    Connect(#[source] ConnectError),
    /// The connection was lost, and the settings say not to dial again after this error. Or the
    /// connection of the last allowed attempt did not last.
    #[error("connection lost: {0}")]
    Lost(#[source] ConnectionError),
    /// The task that dials is gone: the runtime is ending, or a function that was given to the
    /// builder has panicked.
    #[error("reconnecting has stopped")]
    Stopped,
}

/// What happened to a [`ReconnectingClient`](crate::ReconnectingClient).
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum ReconnectEvent {
    /// The client has a connection.
    Connected {
        /// The number of the attempt since the start, or since the last connection that lasted. The
        /// first is 1.
        attempt: u32,
    },
    /// This end [drains the connection](crate::WebSocketConnection::drain). Its streams go
    /// on, and the client dials the next connection for new ones. [`Lost`](Self::Lost) follows at
    /// its end, possibly after the next connection is [`Connected`](Self::Connected).
    Draining,
    /// The connection has ended. Either end may have ended it.
    Lost {
        /// Why.
        error: ConnectionError,
        /// What was in flight at that moment.
        in_flight: InFlight,
    },
    /// The client pauses before the next attempt.
    Waiting {
        /// The number of that attempt.
        attempt: u32,
        /// The length of the pause.
        delay: Duration,
    },
    /// An attempt failed.
    Failed {
        /// The number of the attempt.
        attempt: u32,
        /// Why.
        error: ConnectError,
    },
    /// The client has stopped dialling.
    GaveUp {
        /// Why.
        error: ReconnectError,
    },
    /// The listener was slow and has missed events.
    Missed {
        /// The number of missed events.
        count: u64,
    },
}

impl fmt::Display for ReconnectEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connected { attempt } => write!(f, "connected at attempt {attempt}"),
            Self::Draining => f.write_str("draining, and connecting for new streams"),
            Self::Lost { error, in_flight: InFlight { streams, unsent_bytes, .. } } => write!(
                f,
                "{error}; {} streams cut off, {unsent_bytes} bytes not sent",
                streams.len()
            ),
            Self::Waiting { attempt, delay } => write!(f, "attempt {attempt} in {delay:?}"),
            Self::Failed { attempt, error } => write!(f, "attempt {attempt} failed: {error}"),
            Self::GaveUp { error } => error.fmt(f),
            Self::Missed { count } => write!(f, "{count} events missed"),
        }
    }
}

/// The events of a [`ReconnectingClient`](crate::ReconnectingClient), in order. At most 64 events
/// wait for a listener. If there are more, the oldest are dropped, and [`ReconnectEvent::Missed`]
/// says how many.
#[derive(Debug)]
pub struct ReconnectEvents {
    pub(super) receiver: Option<broadcast::Receiver<ReconnectEvent>>,
}

impl ReconnectEvents {
    /// Waits for the next event. `None` once there will be no more, because the client has given up
    /// or was dropped.
    ///
    /// # Cancel safety
    /// No event is lost when the future is dropped.
    pub async fn next(&mut self) -> Option<ReconnectEvent> {
        match self.receiver.as_mut()?.recv().await {
            Ok(event) => Some(event),
            Err(broadcast::error::RecvError::Lagged(count)) => {
                Some(ReconnectEvent::Missed { count })
            }
            Err(broadcast::error::RecvError::Closed) => None,
        }
    }
}
