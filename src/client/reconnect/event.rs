//! The events that a reconnecting client reports, and its error.

use std::{fmt, time::Duration};

use tokio::sync::broadcast;
use wsmux_proto::{ConnectionError, InFlight};

use crate::error::ConnectError;

/// The error of a client that has no connection and has stopped dialling. It is cheap to clone.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum ReconnectError {
    /// The last allowed attempt failed, or an attempt failed with an error after which the client
    /// does not try again.
    #[error("gave up connecting: {0}")]
    Connect(#[source] ConnectError),
    /// The connection was lost, and the client does not dial again. Either
    /// [`reconnect_if`](crate::ReconnectingClientBuilder::reconnect_if) does not allow it after
    /// this error, or the connection came from the last allowed attempt and was lost within 30 s.
    #[error("connection lost: {0}")]
    Lost(#[source] ConnectionError),
    /// The js-ws wire has no unidirectional streams, so no connection of this client can open such
    /// a stream.
    #[error("the wire does not support this kind of stream")]
    Unsupported,
    /// The task that dials is gone, because the runtime is ending, or because a function that was
    /// given to the builder has panicked.
    #[error("reconnecting has stopped")]
    Stopped,
}

/// What happened to a [`ReconnectingClient`](crate::ReconnectingClient).
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum ReconnectEvent {
    /// The client has a connection.
    Connected {
        /// The number of the attempt. The first attempt is number 1. The numbers start again at 1
        /// after a connection if it has lasted for 30 s, if this end has closed it, or if either
        /// end has drained it.
        attempt: u32,
    },
    /// This end [drains the connection](crate::WebSocketConnection::drain). The streams of the
    /// connection go on, and the client dials the next connection for new streams.
    /// [`Lost`](Self::Lost) follows when the drained connection has ended, possibly after the next
    /// connection is [`Connected`](Self::Connected).
    Draining,
    /// The peer [drains the connection](crate::WebSocketConnection::drain), for example because the
    /// server [shuts down](crate::WebSocketServer::shutdown). The client dials the next connection.
    /// Until the next connection exists, the client hands out the old connection, for 3 s at most.
    /// When the next connection is [`Connected`](Self::Connected), the client drains the old
    /// connection. [`Lost`](Self::Lost) follows when the old connection has ended.
    PeerDraining,
    /// The connection has ended. Either end may have ended it.
    Lost {
        /// The reason.
        error: ConnectionError,
        /// What was in flight when the connection ended.
        in_flight: InFlight,
    },
    /// The client pauses before the next attempt.
    Waiting {
        /// The number of the next attempt.
        attempt: u32,
        /// The length of the pause.
        delay: Duration,
    },
    /// An attempt failed.
    Failed {
        /// The number of the attempt.
        attempt: u32,
        /// The reason.
        error: ConnectError,
    },
    /// The client has stopped dialling.
    GaveUp {
        /// The reason.
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
            Self::PeerDraining => f.write_str("the peer drains, connecting for new streams"),
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
    /// Waits for the next event. Returns `None` once there will be no more events, because the
    /// client has given up or was dropped.
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
