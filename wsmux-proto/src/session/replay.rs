//! What this end has sent and the peer may not have received.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::{MessageBuf, message::Piece};

/// How much a message counts in addition to its length, in bytes. It covers the message's places in
/// the queues (SPEC.md §12).
pub(super) const MESSAGE_COST: u64 = 64;

/// A queue that is empty and has more room than this, in bytes, gives back its memory.
const SPARE: usize = 4 * 1024;

/// The messages that were sent and not acknowledged, in order. Long chunks are kept by reference.
/// All other bytes are copied into one queue, so that keeping a message usually allocates nothing.
///
/// Its bound is the replay budget and one message, because a message may exhaust the budget.
#[derive(Debug)]
pub(super) struct Replay {
    messages: VecDeque<Kept>,
    pieces: VecDeque<KeptPiece>,
    inline: VecDeque<u8>,
    /// How many messages were acknowledged. The first one in the queue has this number.
    acknowledged: u64,
    /// The next message to send again. At the end of the queue, nothing has to be sent again.
    next: Position,
    /// What the messages in the queue cost together.
    cost: u64,
    budget: u64,
}

/// A message in the queue.
#[derive(Debug, Clone, Copy)]
struct Kept {
    len: u32,
    pieces: u32,
    inline: u32,
}

#[derive(Debug)]
enum KeptPiece {
    /// This many of the copied bytes.
    Inline(u32),
    Chunk(Bytes),
}

/// A place in the three queues, counted from their fronts.
#[derive(Debug, Clone, Copy, Default)]
struct Position {
    message: usize,
    piece: usize,
    inline: usize,
}

impl Kept {
    fn cost(self) -> u64 {
        u64::from(self.len) + MESSAGE_COST
    }
}

impl Replay {
    pub(super) fn new(budget: u64) -> Self {
        Self {
            messages: VecDeque::new(),
            pieces: VecDeque::new(),
            inline: VecDeque::new(),
            acknowledged: 0,
            next: Position::default(),
            cost: 0,
            budget,
        }
    }

    /// Returns how many messages were acknowledged.
    pub(super) fn acknowledged(&self) -> u64 {
        self.acknowledged
    }

    /// Returns what the kept messages cost.
    pub(super) fn cost(&self) -> u64 {
        self.cost
    }

    /// Whether nothing new may be sent before the peer acknowledges something.
    pub(super) fn is_full(&self) -> bool {
        self.cost >= self.budget
    }

    /// Keeps a message that is sent for the first time. Nothing may be left to send again.
    pub(super) fn push(&mut self, message: &MessageBuf) {
        let mut kept = Kept { len: message.len() as u32, pieces: 0, inline: 0 };
        for piece in message.pieces() {
            kept.pieces += 1;
            self.pieces.push_back(match piece {
                Piece::Inline(bytes) => {
                    self.inline.extend(bytes);
                    kept.inline += bytes.len() as u32;
                    KeptPiece::Inline(bytes.len() as u32)
                }
                Piece::Chunk(chunk) => KeptPiece::Chunk(chunk.clone()),
            });
        }
        self.cost += kept.cost();
        self.messages.push_back(kept);
        self.next.message += 1;
        self.next.piece += kept.pieces as usize;
        self.next.inline += kept.inline as usize;
    }

    /// Drops the messages that the peer has received: the first `received` of all that were sent.
    /// Returns `false`, and drops nothing, if the count is below an earlier one or above the number
    /// of messages that were sent.
    pub(super) fn acknowledge(&mut self, received: u64) -> bool {
        let Some(newly) = received.checked_sub(self.acknowledged) else { return false };
        if newly > self.messages.len() as u64 {
            return false;
        }
        self.acknowledged = received;
        let (mut pieces, mut inline) = (0, 0);
        for message in self.messages.drain(..newly as usize) {
            self.cost -= message.cost();
            pieces += message.pieces as usize;
            inline += message.inline as usize;
        }
        self.pieces.drain(..pieces);
        self.inline.drain(..inline);
        // The peer may acknowledge messages that this end has yet to send again.
        let next = &mut self.next;
        next.message = next.message.saturating_sub(newly as usize);
        next.piece = next.piece.saturating_sub(pieces);
        next.inline = next.inline.saturating_sub(inline);
        if self.messages.is_empty() {
            self.release_spare();
        }
        true
    }

    /// Starts to send all kept messages again. Returns their number and their length in bytes.
    pub(super) fn rewind(&mut self) -> (u64, u64) {
        self.next = Position::default();
        let count = self.messages.len() as u64;
        (count, self.cost - count * MESSAGE_COST)
    }

    /// Whether a message has to be sent again.
    pub(super) fn has_next(&self) -> bool {
        self.next.message < self.messages.len()
    }

    /// Writes the next message that has to be sent again to `out`. Returns whether there is one.
    pub(super) fn next(&mut self, out: &mut MessageBuf) -> bool {
        let Some(message) = self.messages.get(self.next.message) else { return false };
        out.clear();
        for piece in self.pieces.range(self.next.piece..).take(message.pieces as usize) {
            match piece {
                KeptPiece::Inline(len) => {
                    let end = self.next.inline + *len as usize;
                    out.put(|out| out.extend(self.inline.range(self.next.inline..end)));
                    self.next.inline = end;
                }
                KeptPiece::Chunk(chunk) => out.put_chunk(chunk.clone()),
            }
        }
        self.next.message += 1;
        self.next.piece += message.pieces as usize;
        true
    }

    fn release_spare(&mut self) {
        if self.inline.capacity() > SPARE {
            self.inline = VecDeque::new();
        }
        if self.pieces.capacity() * size_of::<KeptPiece>() > SPARE {
            self.pieces = VecDeque::new();
        }
        if self.messages.capacity() * size_of::<Kept>() > SPARE {
            self.messages = VecDeque::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(number: u64) -> MessageBuf {
        let mut buf = MessageBuf::new();
        buf.put(|out| out.extend_from_slice(&number.to_be_bytes()));
        buf.put_chunk(vec![number as u8; 100 * (1 + number as usize % 9)].into());
        buf.put_chunk(Bytes::from(format!("end {number}")));
        buf
    }

    #[test]
    fn what_is_not_acknowledged_comes_again_in_order_and_unchanged() {
        for (sent, received) in [(0, 0), (1, 0), (9, 4), (40, 39), (40, 40)] {
            let mut replay = Replay::new(1 << 20);
            for number in 0..sent {
                replay.push(&message(number));
            }
            assert!(!replay.has_next() && replay.acknowledge(received));
            // It may be interrupted, and acknowledged meanwhile.
            for (again, acknowledged) in [(2, 0), (1, 2), (u64::MAX, 0)] {
                let first = replay.acknowledged;
                let (count, bytes) = replay.rewind();
                let lengths = (first..sent).map(|number| message(number).len() as u64);
                assert_eq!((count, bytes), (sent - first, lengths.sum()));
                let mut out = MessageBuf::new();
                for number in (first..sent).take(again.min(sent) as usize) {
                    assert!(replay.next(&mut out));
                    assert_eq!(out.to_bytes(), message(number).to_bytes());
                }
                assert!(replay.acknowledge(sent.min(first + acknowledged)));
            }
            let mut out = MessageBuf::new();
            assert!(!replay.has_next() && !replay.next(&mut out));
            assert!(replay.acknowledge(sent));
            assert_eq!((replay.cost, replay.inline.len(), replay.pieces.len()), (0, 0, 0));
        }
    }

    #[test]
    fn an_impossible_count_changes_nothing() {
        let mut replay = Replay::new(1 << 20);
        (0..5).for_each(|number| replay.push(&message(number)));
        assert!(replay.acknowledge(2));
        for impossible in [0, 1, 6, u64::MAX] {
            assert!(!replay.acknowledge(impossible));
        }
        assert_eq!(replay.rewind().0, 3);
    }

    #[test]
    fn an_acknowledgement_may_overtake_what_is_sent_again() {
        let mut replay = Replay::new(1 << 20);
        (0..9).for_each(|number| replay.push(&message(number)));
        replay.rewind();
        let mut out = MessageBuf::new();
        assert!(replay.next(&mut out) && replay.next(&mut out));
        assert!(replay.acknowledge(7));
        for number in 7..9 {
            assert!(replay.next(&mut out));
            assert_eq!(out.to_bytes(), message(number).to_bytes());
        }
        assert!(!replay.next(&mut out));
    }
}
