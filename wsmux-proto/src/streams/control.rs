//! Control frames of streams: which are to be sent, and in which order.

use super::{
    SPARE_STREAMS, Streams, limits::MaxStreamsDue, recv::RecvState, table::Key, waiting::Refusal,
};
use crate::{Dir, Frame, MessageBuf, VarInt, event::Events};

/// The most bytes that a control frame takes.
const MAX_CONTROL_FRAME: usize = 1 + 4 * 8;

/// Which control frames of a stream are to be sent. State and not a queue of frames: what a peer
/// makes this end say costs no memory of its own (C-32).
#[derive(Debug, Default)]
pub(super) struct PendingControl {
    /// The stream stands in `Streams::control_queue`.
    pub(super) queued: bool,
    pub(super) reset: bool,
    pub(super) stop: bool,
    pub(super) credit: bool,
    pub(super) fin_received: bool,
    pub(super) blocked: bool,
    /// The STOP_SENDING that answers a reset, where the wire wants one.
    pub(super) reset_answer: Option<VarInt>,
    /// An empty STREAM frame that shows the stream to the peer.
    pub(super) announce: bool,
}

impl PendingControl {
    /// Whether no frame is left to be sent.
    pub(super) fn is_empty(&self) -> bool {
        let Self { queued: _, reset, stop, credit, fin_received, blocked, reset_answer, announce } =
            self;
        let flags = [reset, stop, credit, fin_received, blocked, announce];
        reset_answer.is_none() && !flags.into_iter().any(|&flag| flag)
    }
}

impl Streams {
    /// Notes a control frame of a stream that is to be sent.
    pub(super) fn queue_control(&mut self, key: Key, set: impl FnOnce(&mut PendingControl)) {
        let Some(stream) = self.table.get_mut(key) else { return };
        set(&mut stream.pending);
        if !stream.pending.queued {
            stream.pending.queued = true;
            self.control_queue.push_back(key);
        }
    }

    /// Appends control frames while the message stays within `max` bytes.
    pub(crate) fn write_control(&mut self, out: &mut MessageBuf, max: usize, events: &mut Events) {
        let one = !self.caps.many_frames_per_message;
        while out.len() + MAX_CONTROL_FRAME <= max && (out.is_empty() || !one) {
            if let Some(refusal) = self.refusals.pop_front() {
                self.write_refusal(refusal, out);
                continue;
            }
            let Some(&key) = self.control_queue.front() else { break };
            self.write_pending(key, out);
            // Now, and not at the next look: a stream that has ended must not count as something to
            // send.
            if self.table.get(key).is_none_or(|stream| stream.pending.is_empty()) {
                self.control_queue.pop_front();
                if let Some(stream) = self.table.get_mut(key) {
                    stream.pending.queued = false;
                }
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
            && let Some(limit) = self.data_blocked.take()
        {
            self.wire.encode(&Frame::DataBlocked(limit), out);
        }
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

    /// One of the two frames that refuse a stream: neither half will be served.
    fn write_refusal(&mut self, refusal: Refusal, out: &mut MessageBuf) {
        let Refusal { id, stop, reset, stop_sent, waited } = refusal;
        let frame = if stop_sent {
            Frame::ResetStream { id, code: reset, final_size: None, reliable_size: 0 }
        } else {
            Frame::StopSending { id, code: stop }
        };
        // A unidirectional one has no half of ours to reset.
        if !stop_sent && id.dir() == Dir::Bi {
            self.refusals.push_front(Refusal { stop_sent: true, ..refusal });
        } else if waited {
            self.waiting.answered();
        }
        if self.refusals.is_empty() && self.refusals.capacity() > SPARE_STREAMS {
            // After a burst of refusals their memory goes back.
            self.refusals.shrink_to_fit();
        }
        self.budgets.control_sent();
        self.wire.encode(&frame, out);
    }

    /// Writes the next control frame of a stream, unless it has become pointless meanwhile.
    fn write_pending(&mut self, key: Key, out: &mut MessageBuf) {
        let Some(stream) = self.table.get_mut(key) else { return };
        let id = stream.id;
        let pending = &mut stream.pending;
        let frame = if std::mem::take(&mut pending.credit) {
            // Where a grant is what opens a stream, ours begins with one even if its reader has
            // gone already: the peer drops or punishes any other first message.
            let local = id.initiator() == self.side;
            let opens = self.caps.opens_with_credit && local;
            // J-38: a grant may cross the peer's end of the stream, and after ours that is the last
            // which the peer remembers. One that waits for credit has not ended, but for one that
            // came out even.
            let sent = stream.send.as_ref().is_none_or(|send| send.is_done());
            let revives = self.caps.grants_revive && !local && sent;
            let recv = stream
                .recv
                .as_mut()
                .filter(|recv| recv.wants_credit() || (opens && recv.credit.nothing_granted()))
                .filter(|recv| recv.credit.is_used_up() || !revives);
            recv.and_then(|recv| {
                self.auto_tune.tune(&mut recv.credit, self.now);
                recv.credit.grant(self.caps.relative_credit)
            })
            .map(|credit| Frame::MaxStreamData { id, credit })
        } else if std::mem::take(&mut pending.announce) {
            stream.send.as_mut().filter(|send| send.is_unseen()).map(|send| {
                send.announced = true;
                Frame::Stream { id, offset: Some(0), data: Default::default(), fin: false }
            })
        } else if std::mem::take(&mut pending.stop) {
            match stream.recv.as_ref().map(|recv| recv.state()) {
                Some(RecvState::Stopped { code }) => Some(Frame::StopSending { id, code }),
                // The stream has ended meanwhile.
                _ => None,
            }
        } else if std::mem::take(&mut pending.reset) {
            stream.send.as_mut().and_then(|send| {
                let (code, reliable_size) = send.take_reset()?;
                // C-24 (RFC 9000 §4.5)
                let final_size = Some(send.credit.used());
                Some(Frame::ResetStream { id, code, final_size, reliable_size })
            })
        } else if let Some(code) = pending.reset_answer.take() {
            Some(Frame::StopSending { id, code })
        } else if std::mem::take(&mut pending.fin_received) {
            Some(Frame::FinReceived { id })
        } else if std::mem::take(&mut pending.blocked) {
            let send = stream.send.as_mut().filter(|send| send.buffered() > 0);
            let limit = send.and_then(|send| {
                let limit = send.credit.report_blocked()?;
                if send.blocked.start(self.now) {
                    self.blocked_by_stream.started(self.now);
                }
                Some(limit)
            });
            limit
                .filter(|_| self.caps.blocked_frames)
                .map(|limit| Frame::StreamDataBlocked { id, limit })
        } else {
            None
        };
        if let Some(frame) = frame {
            self.budgets.control_sent();
            self.wire.encode(&frame, out);
        }
    }
}
