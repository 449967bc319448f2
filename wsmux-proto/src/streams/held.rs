//! What the streams of a connection hold to be sent, and how much more each may take (SPEC.md C-75,
//! C-76).
//!
//! The *send window* bounds the sum. No stream takes more than half of what the others leave of it,
//! so those that come later find room too. Bytes that their stream's credit does not cover wait for
//! a reader that may stand still for ever, so they may take no more than half of the window from
//! the others: the other half is for bytes that leave as soon as the socket takes them, and it
//! comes back as fast.

use std::collections::VecDeque;

use crate::StreamId;

/// What a stream may hold whatever the others do: a request, or the head of a message, leaves at
/// once although others have filled the window. It is about the size of a stream's own state, so
/// what it adds to the bound is of that order.
pub(super) const ALWAYS: usize = 1024;

/// Bytes that wait to be sent, of one stream or of all.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) bytes: usize,
    /// Those of them for which their stream has no credit.
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

/// What a writer has to give.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Piece {
    /// Bytes that can be taken in part.
    Bytes,
    /// This many, which are taken together.
    Whole(usize),
}

/// The account of one connection.
#[derive(Debug)]
pub(crate) struct SendBudget {
    window: usize,
    /// What one stream may hold at most.
    buffer: usize,
    /// While no more than this is held, every stream may fill its buffer, and nothing else has to
    /// be computed.
    plenty: Option<usize>,
    held: Held,
    /// Streams that hold nothing, have credit, and wait to take a chunk of a certain length, in
    /// order. Each stands in it at most once; those of streams that have ended go when there are
    /// more of them than streams.
    waiting: VecDeque<(StreamId, usize)>,
}

impl SendBudget {
    pub(super) fn new(window: usize, buffer: usize) -> Self {
        let plenty = (window / 2).checked_sub(buffer.saturating_mul(2));
        Self { window, buffer, plenty, held: Held::default(), waiting: VecDeque::new() }
    }

    /// What all streams hold.
    pub(crate) fn bytes(&self) -> usize {
        self.held.bytes
    }

    /// What a stream holds has changed, other than by sending.
    pub(super) fn change(&mut self, before: Held, after: Held) {
        let others = self.held.without(before);
        self.held = Held {
            bytes: others.bytes + after.bytes,
            uncovered: others.uncovered + after.uncovered,
        };
    }

    /// A stream has taken bytes, which left this many more uncovered.
    pub(super) fn taken(&mut self, bytes: usize, uncovered: usize) {
        self.held.bytes += bytes;
        self.held.uncovered += uncovered;
    }

    /// A stream has sent bytes. They were covered, and used up as much credit, so the others are as
    /// before.
    pub(super) fn sent(&mut self, bytes: usize) {
        self.held.bytes -= bytes;
    }

    /// The connection has ended, and nothing is held any more.
    pub(super) fn clear(&mut self) {
        self.held = Held::default();
        self.waiting = VecDeque::new();
    }

    /// What is left when others hold this. Of the bytes that no credit covers, at most half of the
    /// window counts.
    fn left(&self, others: Held) -> usize {
        self.window
            .saturating_sub(others.covered())
            .saturating_sub(others.uncovered.min(self.window / 2))
    }

    /// How much a stream that holds `own` may hold in all, with this much credit left.
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

    /// A stream that holds nothing waits to take a chunk. Says whether there are more entries than
    /// `streams` account for.
    pub(super) fn wait(&mut self, id: StreamId, len: usize, streams: usize) -> bool {
        self.waiting.push_back((id, len));
        self.waiting.len() > 2 * streams + super::SPARE_TICKETS
    }

    pub(super) fn nobody_waits(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Forgets the entries of streams that have ended.
    pub(super) fn forget_waiting(&mut self, mut live: impl FnMut(StreamId) -> bool) {
        self.waiting.retain(|&(id, _)| live(id));
    }

    /// Wakes those that wait, in order, as long as there is room for what they have to give; and
    /// all of them once nothing is held that could leave, because then nothing would wake them
    /// later. `wake` says whether the stream waited still.
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
