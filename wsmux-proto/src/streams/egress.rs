//! What streams send: whether there is anything, and data in turns.

use super::{
    Phase, Streams,
    control_queue::ControlFrame,
    held::Piece,
    limits::MaxStreamsDue,
    send::{Send, SendState},
    table::Key,
};
use crate::{Dir, Event, Frame, MessageBuf, event::Events, wire::StreamHeader};

/// What a stream may send before the next of its priority: a record of the usual size. Shorter
/// turns cost headers, longer ones latency.
const TURN: usize = 16 * 1024;

/// A message with less room than this left is full: a header and a few bytes are not worth a frame.
const MIN_ROOM: usize = 64;

impl Streams {
    /// Whether a call of `write_control` or `write_data` would write something.
    pub(crate) fn has_something_to_send(&self) -> bool {
        !self.control.is_empty()
            || self.can_admit()
            || self.scheduler.has_next(self.connection.left() > 0)
            || self.limits.max_streams_due(Dir::Bi) == MaxStreamsDue::Now
            || self.limits.max_streams_due(Dir::Uni) == MaxStreamsDue::Now
            || self.limits.has_blocked_to_report()
            || self.control.has_data_blocked()
    }

    /// Whether `admit`, `write_control`, `write_data` and `take_flush` would do nothing at all, and
    /// a shutdown does not wait either.
    pub(crate) fn are_quiet(&self) -> bool {
        self.control.is_empty()
            && !self.scheduler.has_next(true)
            && self.connection.left() > 0
            && self.send_budget.nobody_waits()
            && self.waiting.is_empty()
            && !self.flush.is_wanted()
            && self.phase != Phase::Draining
            && !self.auto_tune.is_sample_wanted()
            && !self.control.has_data_blocked()
            && !self.limits.has_blocked_to_report()
            && self.limits.max_streams_due(Dir::Bi) != MaxStreamsDue::Now
            && self.limits.max_streams_due(Dir::Uni) != MaxStreamsDue::Now
    }

    /// Appends the streams' data, each in its turn, while the message stays within `max` bytes.
    pub(crate) fn write_data(&mut self, out: &mut MessageBuf, max: usize, events: &mut Events) {
        let one = !self.caps.many_frames_per_message;
        // Until the flush is done no other stream's data goes first, because it would delay the end
        // again each time.
        let flush_first = self.flush.is_wanted();
        while !flush_first && out.len() + MIN_ROOM <= max && (out.is_empty() || !one) {
            let has_credit = self.connection.left() > 0;
            let Some(key) = self.scheduler.next(&mut self.table, has_credit) else { break };
            let next = self.scheduler.next_priority(has_credit);
            let Some(stream) = self.table.get_mut(key) else { continue };
            let Some(send) = &mut stream.send else { continue };
            if !has_credit && send.buffered() > 0 {
                self.scheduler.park_for_connection(key, &mut send.scheduling);
                continue;
            }
            // J-16
            if send.only_fin_left() && !self.flush.is_done(send.data_flush) {
                self.flush.request();
                self.schedule(key);
                break;
            }
            let alone = next != Some(send.scheduling.priority());
            // C-35 (QMux "Implementation Considerations")
            let turn = if alone { usize::MAX } else { TURN };
            let full = self.write_turn(key, turn, max, out);
            self.note_room(key, events);
            self.note_end(key, events);
            self.schedule(key);
            self.maybe_free(key);
            if full {
                break;
            }
        }
        if !self.send_budget.nobody_waits() {
            self.wake_waiting_for_budget(events);
        }
        self.note_connection_blocked();
        // Found out only now, after the control frames' turn: with nothing else to say it goes
        // alone, or the caller takes the silence for the end and does not come back.
        if out.is_empty()
            && let Some(limit) = self.control.take_data_blocked()
        {
            self.wire.encode(&Frame::DataBlocked(limit), out);
        }
    }

    /// Whether the socket is to be flushed before there is more to send.
    pub(crate) fn take_flush(&mut self) -> bool {
        self.flush.take()
    }

    /// One stream's frame: as much of its data as turn, credit and room allow. Says whether it is
    /// the message's last.
    fn write_turn(&mut self, key: Key, turn: usize, max: usize, out: &mut MessageBuf) -> bool {
        let Some(stream) = self.table.get_mut(key) else { return false };
        let id = stream.id;
        let Some(send) = &mut stream.send else { return false };
        // Q-26 (QMux "Ordering of STREAM Frames")
        let offset = send.credit.used();
        // C-26 (RFC 9000 §4.1), Q-50 (RFC 9000 §4.1)
        let credit = send.credit.left().min(self.connection.left());
        let wanted = send.buffered().min(turn).min(usize::try_from(credit).unwrap_or(usize::MAX));
        // C-37
        let room = max.saturating_sub(out.len());
        // A frame that fills the message, or that nothing will follow, needs no length of its own.
        let short = self.wire.stream_header_size(id, offset, 0)
            - usize::from(self.caps.many_frames_per_message);
        let others = self.scheduler.has_next(self.connection.left() > wanted as u64);
        let last = !others || wanted >= room.saturating_sub(short + 8);
        let header = if last { short } else { self.wire.stream_header_size(id, offset, wanted) };
        let len = wanted.min(room.saturating_sub(header));
        // C-25 (RFC 9000 §3.1)
        let finishing = send.state() == SendState::DataQueued && len == send.buffered();
        // J-5
        if len == 0 && !finishing {
            return false;
        }
        let fin = finishing && (self.caps.fin_with_data || len == 0);
        self.wire.encode_stream_header(&StreamHeader { id, offset, len, fin, last }, out);
        let mut left = len;
        while left > 0 {
            let chunk = send.pop(left);
            left -= chunk.len();
            out.put_chunk(chunk);
        }
        let cut = send.buffered() > 0 && credit == len as u64;
        // J-25
        send.credit.take(len as u64);
        //
        self.connection.take(len as u64);
        self.send_budget.sent(len);
        if self.caps.fin_after_flush && len > 0 {
            send.data_flush = self.flush.mark();
        }
        if fin {
            send.fin_sent();
        }
        if send.queue_reset_if_sent() {
            self.queue_control(key, ControlFrame::Reset);
        }
        self.budgets.data_sent(len, cut, self.declared.peer_window(id));
        last
    }

    /// Wakes a waiting writer: not for each byte, but when half of what the stream may hold is
    /// free.
    pub(super) fn note_room(&mut self, key: Key, events: &mut Events) {
        let Some(stream) = self.table.get_mut(key) else { return };
        let Some(send) = stream.send.as_mut().filter(|send| send.waiting_for_room) else { return };
        let held = send.held();
        let limit = self.send_budget.limit(held, send.credit.left(), Piece::Bytes);
        if held.bytes <= limit / 2 {
            send.waiting_for_room = false;
            events.push(Event::Writable { id: stream.id });
        }
    }

    /// Wakes writers that wait until others have sent. Each time that the others hold less, a
    /// message leaves: their bytes, or a reset.
    fn wake_waiting_for_budget(&mut self, events: &mut Events) {
        let Self { send_budget, table, .. } = self;
        send_budget.wake(|id| {
            let send = table.find_mut(id).and_then(|stream| stream.send.as_mut());
            let Some(send) = send else { return false };
            send.queued_for_room = false;
            let waits = std::mem::take(&mut send.waiting_for_room);
            if waits {
                events.push(Event::Writable { id });
            }
            waits
        });
    }

    /// Queues the event for a caller that waits until the FIN or the reset of the stream is sent.
    pub(super) fn note_end(&mut self, key: Key, events: &mut Events) {
        let Some(stream) = self.table.get_mut(key) else { return };
        let Some(send) = stream.send.as_mut().filter(|send: &&mut Send| send.is_done()) else {
            return;
        };
        if send.state() == SendState::DataSent {
            stream.send_released = true;
        }
        if send.end_watch.notify() {
            events.push(Event::Ended { id: stream.id });
        }
    }

    /// Gives a stream a place in the schedule, if it has something to send and may.
    pub(super) fn schedule(&mut self, key: Key) {
        let Some(stream) = self.table.get_mut(key) else { return };
        let Some(send) = &mut stream.send else { return };
        // C-29 (RFC 9000 §4.1), J-15
        if send.only_fin_left() || (send.buffered() > 0 && send.credit.left() > 0) {
            self.scheduler.enqueue(key, &mut send.scheduling);
        } else if send.buffered() > 0 && send.credit.is_blocked_unreported() {
            // A peer may forget what precedes the first STREAM frame (SPEC.md Q-34).
            let unseen =
                self.caps.blocked_frames && send.is_unseen() && stream.id.initiator() == self.side;
            if unseen {
                self.queue_control(key, ControlFrame::Announce);
            }
            self.queue_control(key, ControlFrame::Blocked);
        }
    }

    /// The stream has been reset.
    pub(super) fn cancel_turn(&mut self, key: Key) {
        self.scheduler.cancel(&mut self.table, key);
    }

    /// Whether a stream cannot use its turn only for lack of the connection's credit. If so,
    /// DATA_BLOCKED is sent, once for each limit.
    fn note_connection_blocked(&mut self) {
        if self.connection.left() > 0 {
            return;
        }
        if !self.scheduler.has_connection_blocked() {
            self.stats.blocked_by_connection.stop(self.now);
            return;
        }
        self.stats.blocked_by_connection.start(self.now);
        if self.caps.blocked_frames
            && let Some(limit) = self.connection.report_blocked()
        {
            self.control.report_data_blocked(limit);
        }
    }

    /// The stream has credit again, or nothing to send any more.
    pub(super) fn unblock(&mut self, key: Key) {
        if let Some(send) = self.table.get_mut(key).and_then(|stream| stream.send.as_mut())
            && send.blocked.stop(self.now)
        {
            self.stats.blocked_by_stream.stopped(self.now);
        }
    }
}
