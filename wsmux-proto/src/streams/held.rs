//! How many bytes the streams of a connection hold to be sent, and how many more each may take
//! (SPEC.md C-75, C-76).
//!
//! The *send window* bounds the sum. No stream takes more than half of what the others leave free,
//! so there is still room for streams that begin later. *Uncovered* bytes are those for which their
//! stream has no credit. They wait for a reader that may never continue, so together they take at
//! most half of the window from other streams. The other half is for covered bytes, which leave as
//! soon as the socket takes them.
//!
//! The invariant: what is held is the sum of what the buffers of all sending halves contain.

use std::collections::VecDeque;

use crate::StreamId;

/// How many bytes a stream may hold even if others have filled the window, so that a request, or
/// the head of a message, can be sent at once. A stream's own state takes about as much memory.
pub(super) const ALWAYS: usize = 1024;

/// Bytes that wait to be sent, of one stream or of all.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) bytes: usize,
    /// How many of them the credit of their stream does not cover.
    pub(super) uncovered: usize,
}

impl Held {
    fn covered(self) -> usize {
        self.bytes - self.uncovered
    }

    fn without(self, other: Self) -> Self {
        debug_assert!(self.bytes >= other.bytes && self.uncovered >= other.uncovered);
        Self {
            bytes: self.bytes.saturating_sub(other.bytes),
            uncovered: self.uncovered.saturating_sub(other.uncovered),
        }
    }
}

/// What a writer wants to write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Piece {
    /// Bytes that can be taken in part.
    Bytes,
    /// This many bytes, of which all are taken or none.
    Whole(usize),
}

/// The send window of one connection.
#[derive(Debug)]
pub(crate) struct SendBudget {
    window: usize,
    /// How many bytes one stream may hold at most.
    buffer: usize,
    /// While all streams together hold no more than this, every stream may fill its buffer. Then
    /// nothing else has to be computed.
    plenty: Option<usize>,
    held: Held,
    /// Streams that hold nothing, have credit, and wait for room for a chunk, and the length of
    /// that chunk; in the order in which they began to wait. Each stream is in it at most once.
    /// Entries of streams that have ended are dropped when they outnumber the streams.
    waiting: VecDeque<(StreamId, usize)>,
}

impl SendBudget {
    pub(super) fn new(window: usize, buffer: usize) -> Self {
        let plenty = (window / 2).checked_sub(buffer.saturating_mul(2));
        Self { window, buffer, plenty, held: Held::default(), waiting: VecDeque::new() }
    }

    /// How many bytes all streams hold.
    pub(crate) fn bytes(&self) -> usize {
        self.held.bytes
    }

    /// What a stream holds has changed from `before` to `after`, and not because it sent bytes.
    pub(super) fn change(&mut self, before: Held, after: Held) {
        let others = self.held.without(before);
        self.held = Held {
            bytes: others.bytes + after.bytes,
            uncovered: others.uncovered + after.uncovered,
        };
    }

    /// A stream has taken bytes, of which this many are uncovered.
    pub(super) fn taken(&mut self, bytes: usize, uncovered: usize) {
        self.held.bytes += bytes;
        self.held.uncovered += uncovered;
    }

    /// A stream has sent bytes. They were covered and used up as much credit, so as many bytes as
    /// before are uncovered.
    pub(super) fn sent(&mut self, bytes: usize) {
        self.held.bytes -= bytes;
    }

    /// The connection has ended, and no stream holds anything any more.
    pub(super) fn clear(&mut self) {
        self.held = Held::default();
        self.waiting = VecDeque::new();
    }

    /// How much of the window is free when others hold this. Uncovered bytes take at most half of
    /// it.
    fn left(&self, others: Held) -> usize {
        self.window
            .saturating_sub(others.covered())
            .saturating_sub(others.uncovered.min(self.window / 2))
    }

    /// How many bytes a stream may hold that now holds `own` and has this much credit left.
    pub(super) fn limit(&self, own: Held, credit: u64, piece: Piece) -> usize {
        if self.plenty.is_some_and(|plenty| self.held.bytes <= plenty) {
            return self.buffer;
        }
        let others = self.held.without(own);
        let uncovered = (self.window / 2).saturating_sub(others.uncovered) / 2;
        let credit = usize::try_from(credit).unwrap_or(usize::MAX);
        let limit = self.buffer.min(self.left(others) / 2).min(credit.saturating_add(uncovered));
        let least = self.buffer.min(ALWAYS);
        match piece {
            Piece::Whole(len) if len > least.saturating_sub(own.bytes) => limit,
            _ => limit.max(least),
        }
    }

    /// Lets a stream that holds nothing wait for room for a chunk of `len` bytes. Returns whether
    /// there are too many entries for this number of streams, so that
    /// [`forget_waiting`](Self::forget_waiting) is worth it.
    pub(super) fn wait(&mut self, id: StreamId, len: usize, streams: usize) -> bool {
        self.waiting.push_back((id, len));
        self.waiting.len() > 2 * streams + super::SPARE_TICKETS
    }

    pub(super) fn nobody_waits(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Drops the entries of streams that have ended.
    pub(super) fn forget_waiting(&mut self, mut live: impl FnMut(StreamId) -> bool) {
        self.waiting.retain(|&(id, _)| live(id));
    }

    /// Wakes streams that wait, in order, as long as there is room for their chunks. If no covered
    /// bytes are held, wakes all of them, because then nothing would wake them later. `wake`
    /// returns whether the stream still waited.
    pub(super) fn wake(&mut self, mut wake: impl FnMut(StreamId) -> bool) {
        let idle = self.held.covered() == 0;
        let mut left = self.left(self.held);
        while (idle || left > 0)
            && let Some((id, len)) = self.waiting.pop_front()
        {
            if wake(id) {
                left = left.saturating_sub(len);
            }
        }
    }
}
