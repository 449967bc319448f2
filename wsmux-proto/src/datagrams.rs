//! Datagrams (RFC 9221): two bounded queues that shed the oldest.

use std::collections::VecDeque;

use bytes::Bytes;

use super::{Event, event::Events};

/// What a queued datagram costs besides its bytes, so that empty ones are bounded too: a place in a queue that has up
/// to 8 / 3 as many as are in use, the header of a block that is shared, and what an allocator adds to a block.
const OVERHEAD: usize = 4 * size_of::<Bytes>();

/// A queue with fewer places is not made shorter.
const SPARE_PLACES: usize = 16;

/// Datagrams whose cost, bytes and [`OVERHEAD`], is at most `limit` together; one alone may cost more.
#[derive(Debug, Default)]
struct Queue {
    datagrams: VecDeque<Bytes>,
    cost: usize,
    limit: usize,
}

impl Queue {
    fn new(limit: usize) -> Self {
        Self { limit, ..Self::default() }
    }

    fn fits(&self, datagram: &Bytes) -> bool {
        self.cost + datagram.len() + OVERHEAD <= self.limit
    }

    /// What is taken of the [`room`](Self::room) by a datagram, of which one alone always fits.
    fn takes(&self, datagram: &Bytes) -> usize {
        (datagram.len() + OVERHEAD).min(self.limit.max(1))
    }

    fn room(&self) -> usize {
        match self.datagrams.is_empty() {
            true => self.limit.max(1),
            false => self.limit.saturating_sub(self.cost),
        }
    }

    /// Appends, and returns how many older ones had to go.
    fn push(&mut self, datagram: Bytes) -> u64 {
        let mut dropped = 0;
        // Q-55 (QMux "Forward Progress and Flow Control")
        while !self.fits(&datagram) && self.pop().is_some() {
            dropped += 1;
        }
        self.cost += datagram.len() + OVERHEAD;
        self.datagrams.push_back(datagram);
        dropped
    }

    fn pop(&mut self) -> Option<Bytes> {
        let datagram = self.datagrams.pop_front()?;
        self.cost -= datagram.len() + OVERHEAD;
        // A burst leaves a long queue. Half of it goes when three of eight places are in use, so that less is moved
        // than was taken.
        let places = self.datagrams.capacity();
        if places > SPARE_PLACES && self.datagrams.len() <= places / 8 * 3 {
            self.datagrams.shrink_to(places / 2);
        }
        Some(datagram)
    }
}

/// Both directions' datagrams.
#[derive(Debug)]
pub(super) struct Datagrams {
    incoming: Queue,
    outgoing: Queue,
    reader_waits: bool,
    writer_waits: bool,
    /// Datagrams that came and were dropped for newer ones.
    pub(super) dropped_incoming: u64,
    /// Datagrams that were to be sent and were dropped for newer ones.
    pub(super) dropped_outgoing: u64,
}

impl Datagrams {
    pub(super) fn new(receive_buffer: usize, send_buffer: usize) -> Self {
        Self {
            incoming: Queue::new(receive_buffer),
            outgoing: Queue::new(send_buffer),
            reader_waits: false,
            writer_waits: false,
            dropped_incoming: 0,
            dropped_outgoing: 0,
        }
    }

    /// A datagram came. Says whether there was room for it.
    pub(super) fn receive(&mut self, datagram: &[u8], events: &mut Events) -> bool {
        // A slice would keep alive the message that it was cut from, and that message's block. The
        // queue would then hold more than its bound. If the application echoed the datagram, so
        // would the outgoing queue (C-71).
        let datagram = Bytes::copy_from_slice(datagram);
        let dropped = self.incoming.push(datagram);
        self.dropped_incoming += dropped;
        if std::mem::take(&mut self.reader_waits) {
            events.push(Event::DatagramReceived);
        }
        dropped == 0
    }

    pub(super) fn read(&mut self) -> Option<Bytes> {
        let datagram = self.incoming.pop();
        self.reader_waits |= datagram.is_none();
        datagram
    }

    /// How many there are to read.
    pub(super) fn readable(&self) -> u64 {
        self.incoming.datagrams.len() as u64
    }

    /// A reader waits for another than those that have come.
    pub(super) fn want_another(&mut self) {
        self.reader_waits = true;
    }

    /// Whether a datagram would be taken without an older one being dropped.
    pub(super) fn has_room(&self, datagram: &Bytes) -> bool {
        self.outgoing.takes(datagram) <= self.outgoing.room()
    }

    /// How much of the room a datagram would take.
    pub(super) fn cost_to_send(&self, datagram: &Bytes) -> u64 {
        self.outgoing.takes(datagram) as u64
    }

    pub(super) fn room_to_send(&self) -> u64 {
        self.outgoing.room() as u64
    }

    /// A sender waits for more room than there is.
    pub(super) fn want_room(&mut self) {
        self.writer_waits = true;
    }

    pub(super) fn send(&mut self, datagram: Bytes) {
        self.dropped_outgoing += self.outgoing.push(datagram);
    }

    /// The next to send, if its payload is of at most `max` bytes.
    pub(super) fn next(&mut self, max: usize, events: &mut Events) -> Option<Bytes> {
        self.outgoing.datagrams.front().filter(|datagram| datagram.len() <= max)?;
        if std::mem::take(&mut self.writer_waits) {
            events.push(Event::DatagramsUnblocked);
        }
        self.outgoing.pop()
    }

    pub(super) fn has_something_to_send(&self) -> bool {
        !self.outgoing.datagrams.is_empty()
    }
}
