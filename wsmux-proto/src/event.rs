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

/// The queue of events. Of those that are of no stream it holds one of each kind at most, however often they repeat;
/// of a stream, one for each call of the application that waits for it.
#[derive(Debug, Default)]
pub(super) struct Events {
    queue: VecDeque<Event>,
    /// Which of those that may repeat are in the queue: a bit for each.
    queued: u8,
}

impl Events {
    pub(super) fn push(&mut self, event: Event) {
        // A peer can make them repeat, and one is enough.
        let bit = bit(event);
        if self.queued & bit == 0 {
            self.queued |= bit;
            self.queue.push_back(event);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    pub(super) fn pop(&mut self) -> Option<Event> {
        let event = self.queue.pop_front()?;
        self.queued &= !bit(event);
        Some(event)
    }
}

/// The bit of an event that is of no stream; none for the others, of which each counts.
fn bit(event: Event) -> u8 {
    match event {
        Event::Opened { dir } => 1 << dir as u8,
        Event::Available { dir } => 4 << dir as u8,
        Event::DatagramReceived => 1 << 4,
        Event::DatagramsUnblocked => 1 << 5,
        Event::Established => 1 << 6,
        Event::Closed => 1 << 7,
        Event::Readable { .. } | Event::Writable { .. } | Event::Ended { .. } => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Side;

    #[test]
    fn what_is_of_no_stream_is_there_once_and_again_after_it_was_taken() {
        let mut events = Events::default();
        let readable = Event::Readable { id: StreamId::new(Side::Client, Dir::Bi, 0) };
        for _ in 0..3 {
            for event in [
                Event::Opened { dir: Dir::Bi },
                readable,
                Event::Opened { dir: Dir::Uni },
                Event::Available { dir: Dir::Bi },
                Event::Available { dir: Dir::Uni },
                Event::DatagramReceived,
                Event::DatagramsUnblocked,
            ] {
                events.push(event);
            }
        }
        assert_eq!(events.pop(), Some(Event::Opened { dir: Dir::Bi }));
        events.push(Event::Opened { dir: Dir::Bi });
        let left: Vec<_> = std::iter::from_fn(|| events.pop()).collect();
        assert_eq!(left.len(), 9, "{left:?}");
        assert_eq!(left.iter().filter(|&&event| event == readable).count(), 3);
        assert_eq!(left.last(), Some(&Event::Opened { dir: Dir::Bi }));
        assert_eq!(events.queued, 0);
    }
}
