//! Which control frames of streams have to be sent, and in which order.
//!
//! Refusals are sent first. After them come the streams, in the order in which they entered the
//! queue. All frames of a stream are sent before the frames of the next stream. The queue records
//! only which frames are due, and does not contain the frames themselves. So the queue stays small,
//! however many frames a peer causes this end to send (C-32).
//!
//! Invariant, until the connection ends: a stream whose [`PendingControl`] contains a frame is in
//! the queue exactly once, and no other stream is in the queue.

use std::collections::VecDeque;

use super::{
    refusals::Refusals,
    table::{Key, Table},
};
use crate::VarInt;

#[derive(Debug, Default)]
pub(super) struct ControlQueue {
    /// The refusals that have to be sent, for streams that were never in the table.
    pub(super) refusals: Refusals,
    streams: VecDeque<Key>,
    /// The limit that DATA_BLOCKED has to report; `None` if that frame is not due.
    data_blocked: Option<u64>,
}

impl ControlQueue {
    /// Queues a frame of a stream, unless that frame is queued already.
    #[inline]
    pub(super) fn add(&mut self, key: Key, pending: &mut PendingControl, frame: ControlFrame) {
        if pending.is_empty() {
            self.streams.push_back(key);
        }
        pending.frames |= frame.bit();
    }

    /// Queues the answer to the peer's reset of a stream. The answer repeats the `code` of the
    /// reset.
    pub(super) fn answer_reset(&mut self, key: Key, pending: &mut PendingControl, code: VarInt) {
        pending.reset_answer = code;
        self.add(key, pending, ControlFrame::ResetAnswer);
    }

    /// Removes the next frame from the queue, and returns it.
    #[inline]
    pub(super) fn next(&mut self, table: &mut Table) -> Option<Next> {
        while let Some(&key) = self.streams.front() {
            let pending = table.get_mut(key).map(|stream| &mut stream.pending);
            let next = pending.and_then(|pending| {
                let frame = pending.take_first()?;
                Some(Next { key, frame, is_last: pending.is_empty() })
            });
            if next.as_ref().is_none_or(|next| next.is_last) {
                self.streams.pop_front();
            }
            if next.is_some() {
                return next;
            }
        }
        None
    }

    /// Whether neither a refusal nor a frame of a stream is queued.
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.streams.is_empty() && self.refusals.is_empty()
    }

    /// Queues a DATA_BLOCKED frame that reports this limit.
    pub(super) fn report_data_blocked(&mut self, limit: u64) {
        self.data_blocked = Some(limit);
    }

    #[inline]
    pub(super) fn has_data_blocked(&self) -> bool {
        self.data_blocked.is_some()
    }

    /// Returns the limit that a DATA_BLOCKED frame has to report. The caller must then send that
    /// frame, because it is no longer queued.
    pub(super) fn take_data_blocked(&mut self) -> Option<u64> {
        self.data_blocked.take()
    }

    /// Drops all frames of streams, because the connection has ended and none of them will be sent.
    pub(super) fn clear(&mut self) {
        self.streams.clear();
        self.refusals = Refusals::default();
    }
}

/// The frame that has to be sent next.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Next {
    pub(super) key: Key,
    pub(super) frame: ControlFrame,
    /// Whether this was the last queued frame of the stream.
    pub(super) is_last: bool,
}

/// A control frame of a stream. The order of the variants is the order in which the frames of one
/// stream are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum ControlFrame {
    /// MAX_STREAM_DATA.
    Credit,
    /// An empty STREAM frame that announces the stream to the peer.
    Announce,
    /// STOP_SENDING.
    Stop,
    /// RESET_STREAM or RESET_STREAM_AT.
    Reset,
    /// The STOP_SENDING that answers a reset. It is used only on a wire where resets are answered.
    ResetAnswer,
    /// The frame that answers the end of a stream. It is used only on a wire where ends are
    /// answered.
    FinReceived,
    /// STREAM_DATA_BLOCKED.
    Blocked,
}

impl ControlFrame {
    const IN_ORDER: [Self; 7] = [
        Self::Credit,
        Self::Announce,
        Self::Stop,
        Self::Reset,
        Self::ResetAnswer,
        Self::FinReceived,
        Self::Blocked,
    ];

    fn bit(self) -> u8 {
        1 << self as u8
    }
}

/// Which control frames of a stream have to be sent. The stream stores this value, but only the
/// queue changes it.
#[derive(Debug, Default)]
pub(super) struct PendingControl {
    /// The bits of the queued frames.
    frames: u8,
    /// The code that [`ControlFrame::ResetAnswer`] carries.
    reset_answer: VarInt,
}

impl PendingControl {
    pub(super) fn is_empty(&self) -> bool {
        self.frames == 0
    }

    pub(super) fn reset_answer(&self) -> VarInt {
        self.reset_answer
    }

    /// Removes the first frame, and returns it.
    fn take_first(&mut self) -> Option<ControlFrame> {
        let first = *ControlFrame::IN_ORDER.get(self.frames.trailing_zeros() as usize)?;
        self.frames &= !first.bit();
        Some(first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `take_first` finds a frame by its bit, so `ControlFrame::IN_ORDER` has to be in the order of
    /// the bits.
    #[test]
    fn the_frames_of_a_stream_are_taken_in_the_order_of_their_declaration() {
        let all = u8::MAX >> (u8::BITS as usize - ControlFrame::IN_ORDER.len());
        let mut pending = PendingControl { frames: all, ..PendingControl::default() };
        let taken: Vec<_> = std::iter::from_fn(|| pending.take_first()).collect();
        assert_eq!(taken, ControlFrame::IN_ORDER);
        assert!(taken.iter().enumerate().all(|(nth, frame)| frame.bit() == 1 << nth));
        assert!(pending.is_empty());
    }
}
