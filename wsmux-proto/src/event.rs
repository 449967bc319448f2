//! The events that the engine gives to the application.

use std::collections::VecDeque;

use super::{Dir, StreamId};

/// What [`Connection::poll`](super::Connection::poll) returns: something that has happened, or
/// something that the application can do now. An event does not say how much can be done. After an
/// event, the application therefore repeats the call that the event is about, until the call finds
/// nothing more to do.
///
/// [`Readable`](Self::Readable), [`Writable`](Self::Writable) and [`Ended`](Self::Ended) are
/// reported only after a call on the stream has found nothing to do, and each such call leads to at
/// most one event. Of the other events, the queue never holds two equal ones. So the length of the
/// queue is bounded, even if the application does not poll.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// Streams can be opened within the peer's limits, because its transport parameters have
    /// arrived. On a wire without transport parameters this is the first event.
    Established,
    /// The peer has opened at least one stream. [`accept`](super::Connection::accept) returns it.
    Opened {
        /// The kind of the streams.
        dir: Dir,
    },
    /// [`open`](super::Connection::open) can open more streams than before. Either the peer has
    /// raised its limit (RFC 9000 §4.6), or one of this end's streams has ended after the local
    /// limit was reached.
    Available {
        /// The kind of the streams.
        dir: Dir,
    },
    /// There is data, the end or a reset to read. This event is reported only after a read has
    /// returned [`Read::Blocked`](super::Read::Blocked).
    Readable {
        /// The stream.
        id: StreamId,
    },
    /// There is room to write, or a write would fail because the peer has stopped the stream. This
    /// event is reported only after a call has found no room.
    Writable {
        /// The stream.
        id: StreamId,
    },
    /// The sending half has ended: its FIN or its reset was sent, or the peer has stopped the half.
    /// This event is reported only after a call has returned
    /// [`SendEnd::Open`](super::SendEnd::Open).
    Ended {
        /// The stream.
        id: StreamId,
    },
    /// A datagram has arrived. [`read_datagram`](super::Connection::read_datagram) returns it.
    DatagramReceived,
    /// There is more room for datagrams to send. This event is reported only after a call of
    /// [`want_datagram_room`](super::Connection::want_datagram_room).
    DatagramsUnblocked,
    /// The peer drains the connection (GOING_AWAY). The peer opens no more streams, and the
    /// connection ends once all streams have ended.
    PeerDraining,
    /// This end opens no more streams, because the peer drains the connection; see
    /// [`set_drain_with_peer`](super::Connection::set_drain_with_peer).
    Draining,
    /// The connection has ended. [`close_reason`](super::Connection::close_reason) returns the
    /// reason. Data that was received before can still be read.
    Closed,
}

/// The queue of events. Its length is bounded. For each kind of event that belongs to no stream,
/// the queue holds at most one event. For each call of the application that waits on a stream, the
/// queue also holds at most one event.
#[derive(Debug, Default)]
pub(super) struct Events {
    queue: VecDeque<Event>,
    /// One bit for each kind of event that belongs to no stream. The bit is set while such an event
    /// is in the queue.
    queued: u16,
}

impl Events {
    pub(super) fn push(&mut self, event: Event) {
        // A peer can cause an event that belongs to no stream any number of times. So such an event
        // is queued only if the queue contains no equal event.
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

/// Returns the bit of an event that belongs to no stream; 0 for an event of a stream.
fn bit(event: Event) -> u16 {
    match event {
        Event::Opened { dir } => 1 << dir as u8,
        Event::Available { dir } => 4 << dir as u8,
        Event::DatagramReceived => 1 << 4,
        Event::DatagramsUnblocked => 1 << 5,
        Event::Established => 1 << 6,
        Event::Closed => 1 << 7,
        Event::PeerDraining => 1 << 8,
        Event::Draining => 1 << 9,
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
