//! Sends the data of streams, which take turns, and determines whether there is anything to send.

use super::{
    Phase, Streams,
    control_queue::ControlFrame,
    held::Piece,
    limits::MaxStreamsDue,
    send::{Send, SendState},
    table::Key,
};
use crate::{Dir, Event, Frame, MessageBuf, Time, event::Events, wire::StreamHeader};

/// How many bytes a stream may send before the next stream of the same priority has its turn. One
/// TLS record holds about this many bytes. With a smaller number, more headers would be sent. With
/// a larger number, other streams would wait longer.
const TURN: usize = 16 * 1024;

/// A message with less room than this counts as full, because a frame with only a few bytes of data
/// is not worth its header.
const MIN_ROOM: usize = 64;

impl Streams {
    /// Whether there is a control frame or data to send, or a waiting stream to open.
    pub(crate) fn has_something_to_send(&self) -> bool {
        !self.control.is_empty()
            || self.can_admit()
            || self.scheduler.has_next(self.connection.left() > 0)
            || self.limits.max_streams_due(Dir::Bi) == MaxStreamsDue::Now
            || self.limits.max_streams_due(Dir::Uni) == MaxStreamsDue::Now
            || self.limits.has_blocked_to_report()
            || self.control.has_data_blocked()
    }

    /// Returns `true` only if the connection does not drain, and `admit`, `write_control`,
    /// `write_data` and `take_flush` would do nothing.
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

    /// Appends data of the streams, which take turns. The message stays within `max` bytes.
    pub(crate) fn write_data(
        &mut self,
        now: Time,
        out: &mut MessageBuf,
        max: usize,
        events: &mut Events,
    ) {
        let one = !self.caps.messages.are_records();
        // While the end of a stream waits for a flush, no other stream sends data. Otherwise the
        // data of the other streams would need a flush as well, and would delay the end again.
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
        self.note_connection_blocked(now);
        // The control frames of this message were written earlier, so DATA_BLOCKED normally goes
        // into the next message. If this message is empty, DATA_BLOCKED has to be written here,
        // because a caller that gets an empty message does not call again.
        if out.is_empty()
            && let Some(limit) = self.control.take_data_blocked()
        {
            self.wire.encode(&Frame::DataBlocked(limit), out);
        }
    }

    /// Returns whether the socket has to be flushed before anything else is sent. The result is
    /// `true` only once for each flush.
    pub(crate) fn take_flush(&mut self) -> bool {
        self.flush.take()
    }

    /// Writes a frame with as much of a stream's data as the turn, the credit and the room allow.
    /// Returns whether the message is full after this frame.
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
        // The last frame of a message needs no length field, so its header is shorter.
        let short = self.wire.stream_header_size(id, offset, None);
        let others = self.scheduler.has_next(self.connection.left() > wanted as u64);
        let last = !others || wanted >= room.saturating_sub(short + 8);
        let header =
            if last { short } else { self.wire.stream_header_size(id, offset, Some(wanted)) };
        let len = wanted.min(room.saturating_sub(header));
        // C-25 (RFC 9000 §3.1)
        let finishing = send.state() == SendState::DataQueued && len == send.buffered();
        // J-5
        if len == 0 && !finishing {
            return false;
        }
        let fin = finishing && (self.caps.end.is_with_data() || len == 0);
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
        if self.caps.end.is_after_flush() && len > 0 {
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

    /// Wakes the writer that waits for room on a stream, if the stream holds at most half of the
    /// bytes that it may hold.
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

    /// Wakes writers that wait for room in the send window. Room becomes free only when streams
    /// send bytes or are reset, and in both cases a message is written. So it is enough to call
    /// this function when a message is written.
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

    /// Wakes a caller that waits for the end of the sending half, if the FIN or the reset was sent.
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

    /// Schedules a stream if it has something to send and credit for it. If it has data but no
    /// credit, queues STREAM_DATA_BLOCKED.
    pub(super) fn schedule(&mut self, key: Key) {
        let Some(stream) = self.table.get_mut(key) else { return };
        let Some(send) = &mut stream.send else { return };
        // C-29 (RFC 9000 §4.1), J-15
        if send.only_fin_left() || (send.buffered() > 0 && send.credit.left() > 0) {
            self.scheduler.enqueue(key, &mut send.scheduling);
        } else if send.buffered() > 0 && send.credit.is_blocked_unreported() {
            // A peer may ignore frames that arrive before the first STREAM frame (SPEC.md Q-34), so
            // an empty STREAM frame is sent before them.
            let unseen = !self.caps.opens_with_grant()
                && send.is_unseen()
                && stream.id.initiator() == self.side;
            if unseen {
                self.queue_control(key, ControlFrame::Announce);
            }
            self.queue_control(key, ControlFrame::Blocked);
        }
    }

    /// Removes the stream from the queue of the scheduler, because it has nothing left to send.
    pub(super) fn cancel_turn(&mut self, key: Key) {
        self.scheduler.cancel(&mut self.table, key);
    }

    /// Queues DATA_BLOCKED if a stream waits only for credit of the connection. Queues it only once
    /// for each limit.
    fn note_connection_blocked(&mut self, now: Time) {
        if self.connection.left() > 0 {
            return;
        }
        if !self.scheduler.has_connection_blocked() {
            self.stats.blocked_by_connection.stop(now);
            return;
        }
        self.stats.blocked_by_connection.start(now);
        if self.caps.blocked_frames
            && let Some(limit) = self.connection.report_blocked()
        {
            self.control.report_data_blocked(limit);
        }
    }

    /// Stops the stopwatch of a stream that had no credit, because the stream has credit again or
    /// has nothing left to send.
    pub(super) fn unblock(&mut self, now: Time, key: Key) {
        if let Some(send) = self.table.get_mut(key).and_then(|stream| stream.send.as_mut())
            && send.blocked.stop(now)
        {
            self.stats.blocked_by_stream.stopped(now);
        }
    }
}
