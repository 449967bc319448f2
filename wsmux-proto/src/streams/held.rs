//! Counts the unsent bytes that the streams of a connection hold, and limits how many each stream
//! may hold (SPEC.md C-75, C-76).
//!
//! The *send window* bounds the sum of the unsent bytes. No stream holds more than half of what the
//! other streams leave free, so there is still room for streams that begin later. Bytes are
//! *uncovered* if their stream has no credit for them. Uncovered bytes wait for a reader that may
//! never continue. Therefore all uncovered bytes together take at most half of the window from
//! other streams. Covered bytes can always use the other half, because they are sent as soon as the
//! socket takes them.
//!
//! Invariant: `held` is the sum of what the buffers of all sending halves contain.

use std::collections::VecDeque;

use crate::StreamId;

/// How many bytes a stream may hold even if other streams have filled the window. So a stream can
/// always accept a small request or the head of a message. These bytes cost little, because the
/// state of a stream takes about as much memory.
pub(super) const ALWAYS: usize = 1024;

/// The bytes of one stream, or of all streams, that wait to be sent.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) bytes: usize,
    /// How many of these bytes have no stream credit.
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
    /// Bytes. The send window may accept only a part of them.
    Bytes,
    /// This many bytes, which are accepted all together or not at all.
    Whole(usize),
}

/// The send window of one connection.
#[derive(Debug)]
pub(crate) struct SendBudget {
    window: usize,
    /// The most bytes that one stream may hold.
    buffer: usize,
    /// While all streams together hold no more than this number of bytes, every stream may fill its
    /// buffer, and no other limit has to be computed. `None` if the window is too small for such a
    /// number.
    plenty: Option<usize>,
    held: Held,
    /// The streams that wait for room for a chunk, each with the length of its chunk. These streams
    /// have credit and hold no bytes. They are in the order in which they began to wait, and each
    /// stream occurs at most once. The entries of ended streams are dropped when there are many
    /// more entries than streams.
    waiting: VecDeque<(StreamId, usize)>,
}

impl SendBudget {
    pub(super) fn new(window: usize, buffer: usize) -> Self {
        let plenty = (window / 2).checked_sub(buffer.saturating_mul(2));
        Self { window, buffer, plenty, held: Held::default(), waiting: VecDeque::new() }
    }

    /// Returns how many bytes all streams together hold.
    pub(crate) fn bytes(&self) -> usize {
        self.held.bytes
    }

    /// Records that a stream now holds `after` and no longer `before`. Use [`sent`](Self::sent) if
    /// the stream has sent bytes.
    pub(super) fn change(&mut self, before: Held, after: Held) {
        let others = self.held.without(before);
        self.held = Held {
            bytes: others.bytes + after.bytes,
            uncovered: others.uncovered + after.uncovered,
        };
    }

    /// Adds bytes that a stream has accepted from the application. `uncovered` of these bytes have
    /// no credit.
    pub(super) fn taken(&mut self, bytes: usize, uncovered: usize) {
        self.held.bytes += bytes;
        self.held.uncovered += uncovered;
    }

    /// Removes bytes that a stream has sent. The sent bytes were covered and have used up their
    /// credit, so the number of uncovered bytes stays the same.
    pub(super) fn sent(&mut self, bytes: usize) {
        self.held.bytes -= bytes;
    }

    /// Removes all bytes and entries, because the connection has ended and no stream holds bytes
    /// any more.
    pub(super) fn clear(&mut self) {
        self.held = Held::default();
        self.waiting = VecDeque::new();
    }

    /// Returns how much of the window is free for a stream if the other streams hold `others`.
    /// Uncovered bytes reduce the result by at most half of the window.
    fn left(&self, others: Held) -> usize {
        self.window
            .saturating_sub(others.covered())
            .saturating_sub(others.uncovered.min(self.window / 2))
    }

    /// Returns how many bytes a stream may hold if it now holds `own` and has `credit` left.
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

    /// Adds a stream to the streams that wait for room for a chunk of `len` bytes. The stream holds
    /// no bytes. Returns `true` if there are many more entries than streams. The caller should then
    /// call [`forget_waiting`](Self::forget_waiting).
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

    /// Wakes waiting streams in order, until their chunks fill the room. If no covered bytes are
    /// held, wakes all waiting streams, because nothing will be sent that could wake them later.
    /// `wake` returns whether the stream was still waiting.
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
