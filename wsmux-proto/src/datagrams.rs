//! Datagrams (RFC 9221): two bounded queues that drop the oldest datagram when they are full.

use std::collections::VecDeque;

use bytes::Bytes;

use super::{Event, event::Events};

/// The estimated cost of a queued datagram in addition to its bytes. Because of this cost, the
/// number of empty datagrams is bounded too. The cost has three parts: the datagram's entries in
/// the queue, the header of the shared block that contains the datagram's bytes, and the overhead
/// of the allocator for this block. The queue may have allocated up to 8 / 3 entries for each
/// datagram.
const OVERHEAD: usize = 4 * size_of::<Bytes>();

/// The capacity that a queue always keeps when it shrinks.
const SPARE_CAPACITY: usize = 16;

/// A queue of datagrams. Together the datagrams cost at most `limit`. The cost of a datagram is its
/// length plus [`OVERHEAD`]. If the queue holds a single datagram, that datagram may cost more.
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

    /// Returns the cost of a datagram, for a comparison with [`room`](Self::room). The result is
    /// never above the room of an empty queue, because a single datagram always fits.
    fn cost_of(&self, datagram: &Bytes) -> usize {
        (datagram.len() + OVERHEAD).min(self.limit.max(1))
    }

    /// Returns the cost that can be added without dropping a datagram.
    fn room(&self) -> usize {
        match self.datagrams.is_empty() {
            true => self.limit.max(1),
            false => self.limit.saturating_sub(self.cost),
        }
    }

    /// Appends a datagram. Returns how many older datagrams were dropped to make room for the new
    /// one.
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
        // After a burst the queue has a large capacity. The capacity is halved when at most three
        // eighths of it are in use. So, on average, the queue moves only a constant number of
        // datagrams to smaller buffers for each datagram that it pops.
        let capacity = self.datagrams.capacity();
        if capacity > SPARE_CAPACITY && self.datagrams.len() <= capacity / 8 * 3 {
            self.datagrams.shrink_to(capacity / 2);
        }
        Some(datagram)
    }
}

/// The datagrams of both directions.
#[derive(Debug)]
pub(super) struct Datagrams {
    incoming: Queue,
    outgoing: Queue,
    /// Whether the application waits for a datagram to arrive.
    reader_waits: bool,
    /// Whether the application waits for room in `outgoing`.
    writer_waits: bool,
    /// How many received datagrams were dropped to make room for newer datagrams.
    pub(super) dropped_incoming: u64,
    /// How many unsent datagrams were dropped to make room for newer datagrams.
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

    /// Queues a received datagram. Returns `false` if older datagrams had to be dropped to make
    /// room.
    pub(super) fn receive(&mut self, datagram: &[u8], events: &mut Events) -> bool {
        // The datagram is copied, because a slice would keep its whole message in memory. The queue
        // would then use more memory than its limit allows. If the application sent the slice back,
        // the outgoing queue would do so as well (C-71).
        let datagram = Bytes::copy_from_slice(datagram);
        let dropped = self.incoming.push(datagram);
        self.dropped_incoming += dropped;
        if std::mem::take(&mut self.reader_waits) {
            events.push(Event::DatagramReceived);
        }
        dropped == 0
    }

    /// Takes the oldest datagram. If there is no datagram, records that the reader waits.
    pub(super) fn read(&mut self) -> Option<Bytes> {
        let datagram = self.incoming.pop();
        self.reader_waits |= datagram.is_none();
        datagram
    }

    /// Returns how many datagrams can be read.
    pub(super) fn readable(&self) -> u64 {
        self.incoming.datagrams.len() as u64
    }

    /// Records that a reader waits until a datagram arrives.
    pub(super) fn want_another(&mut self) {
        self.reader_waits = true;
    }

    /// Whether a datagram could be queued without dropping an older datagram.
    pub(super) fn has_room(&self, datagram: &Bytes) -> bool {
        self.outgoing.cost_of(datagram) <= self.outgoing.room()
    }

    /// Returns how much of the room a datagram would use.
    pub(super) fn cost_to_send(&self, datagram: &Bytes) -> u64 {
        self.outgoing.cost_of(datagram) as u64
    }

    /// Returns how much can be queued without dropping a datagram.
    pub(super) fn room_to_send(&self) -> u64 {
        self.outgoing.room() as u64
    }

    /// Records that a sender waits for more room.
    pub(super) fn want_room(&mut self) {
        self.writer_waits = true;
    }

    /// Queues a datagram, and drops older datagrams if necessary.
    pub(super) fn send(&mut self, datagram: Bytes) {
        self.dropped_outgoing += self.outgoing.push(datagram);
    }

    /// Takes the next datagram to send, if it has at most `max` bytes.
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
