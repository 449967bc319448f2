//! What the engine tells the application.

use std::collections::VecDeque;

use super::{Dir, StreamId};

/// News for the application. Each is told once; those of a stream only to an application that waits for
/// them, so that there are never more than a few per stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// The peer's limits are known: streams can be opened.
    Established,
    /// The peer has opened a stream, or several: [`accept`](super::Connection::accept) has them.
    Opened {
        /// Of this kind.
        dir: Dir,
    },
    /// More streams may be opened than before.
    Available {
        /// Of this kind.
        dir: Dir,
    },
    /// A reader that found nothing can try again.
    Readable {
        /// The stream.
        id: StreamId,
    },
    /// A writer that found no room can try again.
    Writable {
        /// The stream.
        id: StreamId,
    },
    /// The sending half has ended: its end has left, or the peer has stopped it.
    Ended {
        /// The stream.
        id: StreamId,
    },
    /// A datagram has come.
    DatagramReceived,
    /// There is room for datagrams again.
    DatagramsUnblocked,
    /// The connection has ended; [`close_reason`](super::Connection::close_reason) says why.
    Closed,
}

/// The queue of events.
#[derive(Debug, Default)]
pub(super) struct Events(VecDeque<Event>);

impl Events {
    pub(super) fn push(&mut self, event: Event) {
        // Those that are of no stream can repeat at the peer's will, and one of each says it all.
        let repeats = matches!(event, Event::Opened { .. } | Event::Available { .. });
        if !(repeats && self.0.contains(&event)) {
            self.0.push_back(event);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn pop(&mut self) -> Option<Event> {
        self.0.pop_front()
    }
}
