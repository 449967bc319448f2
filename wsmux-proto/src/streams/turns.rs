//! Which stream sends next: those that are ready, and those that the connection's credit blocks.

use slab::Slab;

use super::{Streams, scheduler::Ticket, table::Stream};

/// Whether an entry of a queue is still its stream's.
fn is_live(slab: &Slab<Stream>, key: usize, ticket: Ticket) -> bool {
    slab.get(key).is_some_and(|stream| stream.ticket == Some(ticket))
}

/// This many void entries are not worth a look through the queues.
pub(super) const SPARE_TICKETS: usize = 64;

impl Streams {
    /// Gives a stream a place in the schedule, if it has something to send and may.
    pub(super) fn schedule(&mut self, key: usize) {
        let Some(stream) = self.slab.get_mut(key) else { return };
        let Some(send) = &mut stream.send else { return };
        if stream.ticket.is_some() {
            return;
        }
        // C-29 (RFC 9000 §4.1), J-15
        if send.only_fin_left() || (send.buffered() > 0 && send.credit.left() > 0) {
            let ticket = self.tickets.next();
            stream.ticket = Some(ticket);
            self.ready.push(key, ticket, send.priority);
            self.forget_void_tickets();
        } else if send.buffered() > 0 && send.credit.is_blocked_unreported() {
            // A peer may forget what precedes the first STREAM frame (SPEC.md Q-34).
            let unseen = !self.caps.opens_with_grant()
                && send.is_unseen()
                && stream.id.initiator() == self.side;
            self.queue_control(key, |pending| {
                pending.announce |= unseen;
                pending.blocked = true;
            });
        }
    }

    /// Streams that were reset, or got another priority, leave their old entries in the queues.
    /// Where those are not popped (a busy stream of a higher priority, no credit of the connection,
    /// a socket that takes nothing) they would add up for ever.
    pub(super) fn forget_void_tickets(&mut self) {
        let most = 2 * self.slab.len() + SPARE_TICKETS;
        let slab = &self.slab;
        for queue in [&mut self.ready, &mut self.connection_blocked] {
            if queue.len() > most {
                queue.retain(|key, ticket| is_live(slab, key, ticket));
            }
        }
    }

    /// Takes the stream whose turn it is. Among streams of one priority, those that the
    /// connection's credit blocked have waited longest.
    pub(super) fn next_turn(&mut self) -> Option<(usize, Ticket)> {
        match !self.connection_blocked.is_empty()
            && self.connection.left() > 0
            && self.connection_blocked.next_priority() >= self.ready.next_priority()
        {
            true => self.connection_blocked.pop(),
            false => self.ready.pop(),
        }
    }

    /// The priority of the stream whose turn comes next; `None` when nothing can be sent.
    pub(super) fn next_priority(&self) -> Option<i32> {
        match self.connection_blocked.is_empty() || self.connection.left() == 0 {
            true => self.ready.next_priority(),
            false => self.ready.next_priority().max(self.connection_blocked.next_priority()),
        }
    }

    /// Whether a stream cannot use its turn only for lack of the connection's credit. If so,
    /// DATA_BLOCKED is sent, once for each limit.
    pub(super) fn note_connection_blocked(&mut self) {
        if self.connection.left() > 0 {
            return;
        }
        let slab = &self.slab;
        self.connection_blocked.forget_void_first(|key, ticket| is_live(slab, key, ticket));
        if self.connection_blocked.is_empty() {
            self.blocked_by_connection.stop(self.now);
            return;
        }
        self.blocked_by_connection.start(self.now);
        if self.caps.blocked_frames {
            self.data_blocked = self.connection.report_blocked().or(self.data_blocked);
        }
    }

    /// The stream has credit again, or nothing to send any more.
    pub(super) fn unblock(&mut self, key: usize) {
        if let Some(send) = self.slab.get_mut(key).and_then(|stream| stream.send.as_mut())
            && send.blocked.stop(self.now)
        {
            self.blocked_by_stream.stopped(self.now);
        }
    }
}
