//! The queue of refusals of streams that the peer has opened. A refusal stays in the queue until it
//! has been sent.
//!
//! A refusal has one frame for each half of the stream. A stream that has waited counts as waiting
//! until all frames of its refusal have been sent. Invariant: `waited` is the number of refusals in
//! the queue whose streams count as waiting.

use std::collections::VecDeque;

use super::table::SPARE_STREAMS;
use crate::{Dir, Frame, StreamId, VarInt};

/// The code with which this end refuses a stream. The application never sees a refused stream, so
/// it cannot choose the code.
pub(super) const REFUSED: VarInt = VarInt::from_u32(0);

#[derive(Debug, Default)]
pub(super) struct Refusals {
    queue: VecDeque<Refusal>,
    waited: u64,
}

impl Refusals {
    /// Refuses a stream that never waited.
    pub(super) fn refuse(&mut self, id: StreamId) {
        let (stop, reset) = (REFUSED, REFUSED);
        self.queue.push_back(Refusal { id, stop, reset, stop_sent: false, waited: false });
    }

    /// Refuses a stream that has waited. STOP_SENDING carries the code `stop`, and RESET_STREAM
    /// carries the code `reset`.
    pub(super) fn refuse_waiting(&mut self, id: StreamId, stop: VarInt, reset: VarInt) {
        self.waited += 1;
        self.queue.push_back(Refusal { id, stop, reset, stop_sent: false, waited: true });
    }

    /// Returns how many refusals are queued for streams that never waited.
    pub(super) fn immediate(&self) -> usize {
        let waited = usize::try_from(self.waited).unwrap_or(usize::MAX);
        self.queue.len().saturating_sub(waited)
    }

    /// Returns how many refusals are queued for streams that still count as waiting.
    pub(super) fn waited(&self) -> u64 {
        self.waited
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Returns the next frame. The caller must then send that frame, because it is no longer
    /// queued.
    #[inline]
    pub(super) fn next_frame(&mut self) -> Option<Frame> {
        if self.queue.is_empty() { None } else { self.take_frame() }
    }

    fn take_frame(&mut self) -> Option<Frame> {
        let refusal = self.queue.pop_front()?;
        let Refusal { id, stop, reset, stop_sent, waited } = refusal;
        // On a unidirectional stream this end has no half to reset.
        if !stop_sent && id.dir() == Dir::Bi {
            self.queue.push_front(Refusal { stop_sent: true, ..refusal });
        } else {
            self.waited -= u64::from(waited);
        }
        if self.queue.is_empty() && self.queue.capacity() > SPARE_STREAMS {
            // After a burst of refusals their memory is returned.
            self.queue.shrink_to_fit();
        }
        Some(match stop_sent {
            true => Frame::ResetStream { id, code: reset, final_size: None, reliable_size: 0 },
            false => Frame::StopSending { id, code: stop },
        })
    }
}

#[derive(Debug, Clone, Copy)]
struct Refusal {
    id: StreamId,
    /// The code for STOP_SENDING.
    stop: VarInt,
    /// The code for RESET_STREAM.
    reset: VarInt,
    /// Whether STOP_SENDING has been sent, so that only RESET_STREAM is left to be sent.
    stop_sent: bool,
    /// Whether the stream has waited, and still counts as waiting.
    waited: bool,
}
