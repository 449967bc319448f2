//! What the engine tells the application.

use std::collections::VecDeque;

use super::{Dir, StreamId};

/// What [`Connection::poll`](super::Connection::poll) returns: something that the application can
/// do now, or that has happened. It says nothing about how much: the application asks the stream or
/// the connection, and asks again until it finds nothing.
///
/// Each occurrence gives one event. [`Readable`](Self::Readable), [`Writable`](Self::Writable) and
/// [`Ended`](Self::Ended) come only if a call on the stream found nothing before. The other events
/// are queued once at most. So a peer cannot fill the queue of an application that does not poll.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// The peer's transport parameters have come: streams can be opened, as far as its limits
    /// allow. On a wire without parameters it is the first event.
    Established,
    /// The peer has opened one stream or more: [`accept`](super::Connection::accept) returns them.
    Opened {
        /// Of this kind.
        dir: Dir,
    },
    /// [`open`](super::Connection::open) can open more streams than before: the peer has raised its
    /// limit (RFC 9000 §4.6), or a stream of this end has ended at the local limit.
    Available {
        /// Of this kind.
        dir: Dir,
    },
    /// A read that found nothing ([`Read::Blocked`](super::Read::Blocked)) would find data, the end
    /// or a reset now.
    Readable {
        /// The stream.
        id: StreamId,
    },
    /// A write that found no room has room now, or fails because the peer has stopped the stream.
    Writable {
        /// The stream.
        id: StreamId,
    },
    /// The sending half has ended: its FIN or its reset has been sent, or the peer has stopped it.
    /// Follows [`SendEnd::Open`](super::SendEnd::Open).
    Ended {
        /// The stream.
        id: StreamId,
    },
    /// [`read_datagram`](super::Connection::read_datagram) returns a datagram again.
    DatagramReceived,
    /// A datagram that did not fit can be sent without another one being dropped.
    DatagramsUnblocked,
    /// The connection has ended; [`close_reason`](super::Connection::close_reason) says why. What
    /// had come before stays readable.
    Closed,
}

/// The queue of events. Of those that are of no stream it holds one of each kind at most, however
/// often they repeat; of a stream, one for each call of the application that waits for it.
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
