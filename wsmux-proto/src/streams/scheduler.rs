//! Which stream sends next.
//!
//! Streams of a higher priority send first, and streams of the same priority take turns. If a
//! stream has its turn but the connection has no credit, the stream waits for that credit in a
//! second queue. When there is credit again, the stream comes before the ready streams of its
//! priority, because it has waited longer.
//!
//! Invariant: a stream is in at most one of the two queues, and at most once. The stream's
//! [`Scheduling`] names this queue. A stream that leaves a queue before its turn leaves a *void*
//! entry behind, and the scheduler recognizes that entry by its ticket. A queue that contains no
//! streams has no void entries either. The number of void entries in both queues together is at
//! most the number of streams in them plus [`SPARE_TICKETS`]. So neither the cost of a turn nor the
//! memory grows, however often streams are reset or get another priority (C-85).

use std::num::NonZeroU64;

use super::{
    priority_queue::PriorityQueue,
    table::{Key, Table},
};

/// The queues are searched for void entries only when there are more void entries than this.
pub(super) const SPARE_TICKETS: usize = 64;

#[derive(Debug, Default)]
pub(super) struct Scheduler {
    /// Streams that can use their turn, as far as the scheduler knows.
    ready: Queue,
    /// Streams that had their turn, but could not use it because the connection had no credit.
    connection_blocked: Queue,
    /// How many tickets were issued so far.
    tickets: u64,
}

impl Scheduler {
    /// Adds a stream after the others of its priority, unless it is already in a queue.
    #[inline]
    pub(super) fn enqueue(&mut self, key: Key, stream: &mut Scheduling) {
        self.push(key, stream, WaitsFor::Turn);
    }

    /// Adds a stream that could not use its turn to the streams that wait for credit of the
    /// connection.
    pub(super) fn park_for_connection(&mut self, key: Key, stream: &mut Scheduling) {
        self.push(key, stream, WaitsFor::ConnectionCredit);
    }

    #[inline]
    fn push(&mut self, key: Key, stream: &mut Scheduling, waits_for: WaitsFor) {
        if stream.entry.is_none() {
            self.tickets += 1;
            let ticket = Ticket::new(self.tickets, waits_for);
            stream.entry = Some(ticket);
            self.queue_mut(waits_for).push(key, ticket, stream.priority);
        }
    }

    /// Removes the stream whose turn it is from its queue, and returns it.
    pub(super) fn next(&mut self, table: &mut Table, connection_has_credit: bool) -> Option<Key> {
        loop {
            let waits_for = match connection_has_credit
                && !self.connection_blocked.is_empty()
                && self.connection_blocked.next_priority() >= self.ready.next_priority()
            {
                true => WaitsFor::ConnectionCredit,
                false => WaitsFor::Turn,
            };
            let (key, ticket) = self.queue_mut(waits_for).entries.pop()?;
            if let Some(stream) = scheduling_mut(table, key)
                && stream.entry == Some(ticket)
            {
                self.leave(stream);
                self.forget_void(table);
                return Some(key);
            }
        }
    }

    /// Whether [`next`](Self::next) would return a stream.
    #[inline]
    pub(super) fn has_next(&self, connection_has_credit: bool) -> bool {
        !self.ready.is_empty() || (connection_has_credit && self.has_connection_blocked())
    }

    /// Returns the priority of the stream whose turn comes next. The result may be too high while a
    /// void entry is at the front.
    pub(super) fn next_priority(&self, connection_has_credit: bool) -> Option<i32> {
        match connection_has_credit {
            true => self.ready.next_priority().max(self.connection_blocked.next_priority()),
            false => self.ready.next_priority(),
        }
    }

    /// Whether a stream waits for credit of the connection.
    #[inline]
    pub(super) fn has_connection_blocked(&self) -> bool {
        !self.connection_blocked.is_empty()
    }

    /// Removes a stream from its queue, because it has nothing left to send.
    pub(super) fn cancel(&mut self, table: &mut Table, key: Key) {
        if let Some(stream) = scheduling_mut(table, key) {
            self.leave(stream);
            self.forget_void(table);
        }
    }

    /// Sets the priority. If the stream is in a queue, it leaves that queue and enters the `ready`
    /// queue, after the others of its new priority.
    pub(super) fn set_priority(&mut self, table: &mut Table, key: Key, priority: i32) {
        let Some(stream) = scheduling_mut(table, key) else { return };
        if std::mem::replace(&mut stream.priority, priority) == priority {
            return;
        }
        if self.leave(stream) {
            self.enqueue(key, stream);
            self.forget_void(table);
        }
    }

    #[inline]
    fn queue_mut(&mut self, waits_for: WaitsFor) -> &mut Queue {
        match waits_for {
            WaitsFor::Turn => &mut self.ready,
            WaitsFor::ConnectionCredit => &mut self.connection_blocked,
        }
    }

    /// Records that a stream leaves its queue. The stream's entry becomes void, or has already been
    /// removed. Returns whether the stream was in a queue.
    #[inline]
    fn leave(&mut self, stream: &mut Scheduling) -> bool {
        let Some(ticket) = stream.entry.take() else { return false };
        self.queue_mut(ticket.waits_for()).leave();
        true
    }

    /// Returns how many entries the queues have looked at.
    #[cfg(test)]
    pub(super) fn visited(&self) -> u64 {
        self.ready.entries.visited + self.connection_blocked.entries.visited
    }

    /// Returns how many entries there are, including void entries.
    pub(super) fn entries(&self) -> usize {
        self.ready.entries.len() + self.connection_blocked.entries.len()
    }

    /// Drops void entries if there are too many. The cost of dropping them is no more than the cost
    /// of adding them was.
    #[inline]
    fn forget_void(&mut self, table: &Table) {
        let most = 2 * (self.ready.live + self.connection_blocked.live) + SPARE_TICKETS;
        if self.entries() > most {
            self.ready.forget_void(table);
            self.connection_blocked.forget_void(table);
        }
    }
}

/// What the scheduler knows about a stream. This value is stored in the stream to save a lookup,
/// but only the scheduler changes it.
#[derive(Debug, Default)]
pub(super) struct Scheduling {
    priority: i32,
    entry: Option<Ticket>,
}

impl Scheduling {
    /// Returns the priority, which is 0 at first. Streams of a higher priority send first.
    pub(super) fn priority(&self) -> i32 {
        self.priority
    }

    /// Whether the stream is in a queue.
    pub(super) fn is_waiting(&self) -> bool {
        self.entry.is_some()
    }
}

/// One of the two queues.
#[derive(Debug, Default)]
struct Queue {
    entries: PriorityQueue<(Key, Ticket)>,
    /// How many entries are not void.
    live: usize,
}

impl Queue {
    #[inline]
    fn push(&mut self, key: Key, ticket: Ticket, priority: i32) {
        self.live += 1;
        self.entries.push((key, ticket), priority);
    }

    /// Records that an entry has become void, or was removed.
    #[inline]
    fn leave(&mut self) {
        self.live -= 1;
        if self.live == 0 && !self.entries.is_empty() {
            self.entries.clear();
        }
    }

    #[inline]
    fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn next_priority(&self) -> Option<i32> {
        self.entries.next_priority()
    }

    fn forget_void(&mut self, table: &Table) {
        self.entries.retain(|&(key, ticket)| {
            let stream = table.get(key).and_then(|stream| stream.send.as_ref());
            stream.is_some_and(|send| send.scheduling.entry == Some(ticket))
        });
    }
}

/// What a stream in a queue waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum WaitsFor {
    /// The stream waits for its turn.
    Turn,
    /// The stream waits for credit of the connection, and after that for its turn.
    ConnectionCredit,
}

/// Identifies an entry. The lowest bit says in which of the two queues the entry is. The other bits
/// are a number that no other entry has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Ticket(NonZeroU64);

impl Ticket {
    /// Creates the ticket with this number, which is at least 1.
    #[inline]
    fn new(number: u64, waits_for: WaitsFor) -> Self {
        let bit = match waits_for {
            WaitsFor::Turn => 0,
            WaitsFor::ConnectionCredit => 1,
        };
        Self(NonZeroU64::MIN.saturating_add((number << 1 | bit) - 1))
    }

    #[inline]
    fn waits_for(self) -> WaitsFor {
        match self.0.get() & 1 {
            0 => WaitsFor::Turn,
            _ => WaitsFor::ConnectionCredit,
        }
    }
}

#[inline]
fn scheduling_mut(table: &mut Table, key: Key) -> Option<&mut Scheduling> {
    Some(&mut table.get_mut(key)?.send.as_mut()?.scheduling)
}
