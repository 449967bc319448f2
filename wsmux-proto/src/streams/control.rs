//! Control frames of streams: what each of them contains when it is sent.

use bytes::Bytes;

use super::{
    Streams,
    control_queue::{ControlFrame, Next},
    limits::MaxStreamsDue,
    recv::RecvState,
    table::Key,
};
use crate::{Dir, Frame, MessageBuf, Time, VarInt, event::Events};

/// The length of the longest control frame: a RESET_STREAM_AT whose four numbers take 8 bytes each.
const MAX_CONTROL_FRAME: usize = 1 + 4 * 8;

impl Streams {
    /// Queues a control frame of a stream.
    pub(super) fn queue_control(&mut self, key: Key, frame: ControlFrame) {
        let Some(stream) = self.table.get_mut(key) else { return };
        self.control.add(key, &mut stream.pending, frame);
    }

    /// Queues the answer to the peer's reset of a stream. The answer repeats the `code` of the
    /// reset.
    pub(super) fn answer_reset(&mut self, key: Key, code: VarInt) {
        let Some(stream) = self.table.get_mut(key) else { return };
        self.control.answer_reset(key, &mut stream.pending, code);
    }

    /// Appends control frames, as long as the message stays within `max` bytes.
    pub(crate) fn write_control(
        &mut self,
        now: Time,
        out: &mut MessageBuf,
        max: usize,
        events: &mut Events,
    ) {
        let one = !self.caps.messages.are_records();
        while out.len() + MAX_CONTROL_FRAME <= max && (out.is_empty() || !one) {
            if let Some(frame) = self.control.refusals.next_frame() {
                self.encode_control(&frame, out);
                continue;
            }
            let Some(Next { key, frame, is_last }) = self.control.next(&mut self.table) else {
                break;
            };
            if let Some(frame) = self.control_frame(now, key, frame) {
                self.encode_control(&frame, out);
            }
            // The stream is freed here and not in the next call. Otherwise the engine would report
            // that it still has something to send on a stream that has ended.
            if is_last {
                self.note_end(key, events);
                self.maybe_free(key);
            }
        }
        for dir in Dir::ALL {
            if out.len() + 2 * MAX_CONTROL_FRAME <= max {
                self.write_stream_limits(dir, out);
            }
        }
        if out.len() + MAX_CONTROL_FRAME <= max
            && let Some(limit) = self.control.take_data_blocked()
        {
            self.wire.encode(&Frame::DataBlocked(limit), out);
        }
    }

    fn encode_control(&mut self, frame: &Frame, out: &mut MessageBuf) {
        self.budgets.control_sent();
        self.wire.encode(frame, out);
    }

    fn write_stream_limits(&mut self, dir: Dir, out: &mut MessageBuf) {
        let due = match self.limits.max_streams_due(dir) {
            MaxStreamsDue::No => false,
            MaxStreamsDue::WithOthers => {
                !out.is_empty() || self.scheduler.has_next(self.connection.left() > 0)
            }
            MaxStreamsDue::Now => true,
        };
        if due {
            let count = self.limits.advertise(dir);
            self.wire.encode(&Frame::MaxStreams { dir, count }, out);
        }
        if let Some(limit) = self.limits.take_blocked_to_report(dir) {
            self.wire.encode(&Frame::StreamsBlocked { dir, limit }, out);
        }
    }

    /// Builds a control frame from the present values of the stream. Returns `None` if the frame
    /// has become pointless since it was queued.
    fn control_frame(&mut self, now: Time, key: Key, frame: ControlFrame) -> Option<Frame> {
        match frame {
            ControlFrame::Credit => self.credit_frame(now, key),
            ControlFrame::Blocked => self.blocked_frame(now, key),
            ControlFrame::Announce => {
                let stream = self.table.get_mut(key)?;
                let send = stream.send.as_mut().filter(|send| send.is_unseen())?;
                send.announced = true;
                let data = Bytes::new();
                Some(Frame::Stream { id: stream.id, offset: Some(0), data, fin: false })
            }
            ControlFrame::Stop => {
                let stream = self.table.get(key)?;
                match stream.recv.as_ref()?.state() {
                    RecvState::Stopped { code } => Some(Frame::StopSending { id: stream.id, code }),
                    // The peer's half has ended since the frame was queued, so there is nothing to
                    // stop.
                    _ => None,
                }
            }
            ControlFrame::Reset => {
                let stream = self.table.get_mut(key)?;
                let send = stream.send.as_mut()?;
                let (code, reliable_size) = send.take_reset()?;
                // C-24 (RFC 9000 §4.5)
                let final_size = Some(send.credit.used());
                Some(Frame::ResetStream { id: stream.id, code, final_size, reliable_size })
            }
            ControlFrame::ResetAnswer => {
                let stream = self.table.get(key)?;
                Some(Frame::StopSending { id: stream.id, code: stream.pending.reset_answer() })
            }
            ControlFrame::FinReceived => Some(Frame::FinReceived { id: self.table.get(key)?.id }),
        }
    }

    fn credit_frame(&mut self, now: Time, key: Key) -> Option<Frame> {
        let stream = self.table.get_mut(key)?;
        let id = stream.id;
        // Some wires open a stream with a grant. On these wires, the first message of this end on
        // each stream that it opens must be a grant, even if the application has already dropped
        // the receiving half. If another message came first, the peer would ignore it or close the
        // connection.
        let local = id.initiator() == self.side;
        let opens = self.caps.opens_with_grant() && local;
        // J-38: the peer forgets a stream once both halves have ended. If a grant arrives after
        // that, the peer mistakes the grant for the beginning of a new stream. Once this end's half
        // has ended, the end of the peer's half may be on its way. In that case a grant is sent
        // only if the peer has used up its credit, because a peer without credit probably waits for
        // more. SPEC.md §7.7 describes the one case in which the peer does not wait for credit.
        let sent = stream.send.as_ref().is_none_or(|send| send.is_done());
        let revives = self.caps.end.grants_revive() && !local && sent;
        let recv = stream
            .recv
            .as_mut()
            .filter(|recv| recv.wants_credit() || (opens && recv.credit.nothing_granted()))
            .filter(|recv| recv.credit.is_used_up() || !revives)?;
        self.auto_tune.tune(&mut recv.credit, now);
        let credit = recv.credit.grant(self.caps.grants.are_relative())?;
        Some(Frame::MaxStreamData { id, credit })
    }

    fn blocked_frame(&mut self, now: Time, key: Key) -> Option<Frame> {
        let stream = self.table.get_mut(key)?;
        let send = stream.send.as_mut().filter(|send| send.buffered() > 0)?;
        let limit = send.credit.report_blocked()?;
        if send.blocked.start(now) {
            self.stats.blocked_by_stream.started(now);
        }
        self.caps.blocked_frames.then_some(Frame::StreamDataBlocked { id: stream.id, limit })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Side, StreamId, Wire, frame::Credit};

    #[test]
    fn no_control_frame_needs_more_room_than_is_kept_for_it() {
        let id = StreamId::new(Side::Server, Dir::Uni, StreamId::MAX_COUNT - 1);
        let (code, most) = (VarInt::MAX, VarInt::MAX.into_inner());
        let reset = |reliable_size| {
            let final_size = Some(most);
            Frame::ResetStream { id, code, final_size, reliable_size }
        };
        let on_both = [
            Frame::StopSending { id, code },
            Frame::Stream { id, offset: Some(0), data: Bytes::new(), fin: false },
            reset(0),
        ];
        let on_qmux = [
            reset(most),
            Frame::MaxStreamData { id, credit: Credit::Total(most) },
            Frame::MaxStreams { dir: Dir::Uni, count: StreamId::MAX_COUNT },
            Frame::StreamsBlocked { dir: Dir::Uni, limit: StreamId::MAX_COUNT },
            Frame::StreamDataBlocked { id, limit: most },
            Frame::DataBlocked(most),
        ];
        let on_js_ws = [
            Frame::MaxStreamData { id, credit: Credit::More(u32::MAX.into()) },
            Frame::FinReceived { id },
        ];
        let size = |wire: Wire, frame: &Frame| {
            let mut out = MessageBuf::new();
            wire.encode(frame, &mut out);
            out.len()
        };
        let qmux = on_both.iter().chain(&on_qmux).map(|frame| size(Wire::QMux, frame));
        let js_ws = on_both.iter().chain(&on_js_ws).map(|frame| size(Wire::JsWs, frame));
        assert_eq!(qmux.max(), Some(MAX_CONTROL_FRAME));
        assert!(js_ws.max() <= Some(MAX_CONTROL_FRAME));
    }
}
