//! The messages that this end has sent and that the peer may not have received.

use std::{collections::VecDeque, ops::Range, time::Duration};

use bytes::Bytes;

use super::received::NEGLIGIBLE;
use crate::{MessageBuf, Time, message::Piece, write_stall::WriteStall};

/// How many bytes a message costs in addition to its length. This number covers the message's
/// entries in the queues (SPEC.md §12).
pub(super) const MESSAGE_COST: u64 = 64;

/// A queue with at most this many bytes of memory never gives memory back.
const SPARE: usize = 4 * 1024;

/// A larger queue gives memory back when its length stays below this fraction of its memory from one
/// acknowledgement to the next. It keeps twice the memory that it used meanwhile. So a queue that
/// is filled again before each acknowledgement is not reallocated. The reallocations took 5 % of
/// the processor time of 64 concurrent calls.
const SHRINK_BELOW: usize = 8;

/// The messages that were sent and not acknowledged, in order. Long chunks are kept by reference.
/// All other bytes are copied into one queue, so that keeping a message usually allocates nothing.
///
/// All messages together cost at most the replay budget plus the cost of one message, because the
/// last message may exceed the budget.
#[derive(Debug)]
pub(super) struct Replay {
    messages: VecDeque<Kept>,
    pieces: VecDeque<KeptPiece>,
    inline: VecDeque<u8>,
    /// How many messages were acknowledged. This is also the number of the first message in the
    /// queue.
    acknowledged: u64,
    /// The position of the next message that has to be sent again. If this is the end of the queue,
    /// nothing has to be sent again.
    next: Position,
    /// The cost of all messages in the queue.
    cost: u64,
    budget: u64,
    /// The timer for the peer's next acknowledgement. It runs while there is a socket and the peer
    /// has to acknowledge something.
    stall: WriteStall,
    /// Whether the timer has expired since the peer last acknowledged something.
    has_stalled: bool,
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
    /// A piece of this length. Its bytes were copied.
    Inline(u32),
    Chunk(Bytes),
}

/// A period in which the peer has acknowledged nothing for too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stall {
    /// This is the first stall since the peer last acknowledged something.
    First,
    Again,
}

/// An index into each of the three queues, counted from the front of the queue.
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
    /// `timeout` is how long the peer may acknowledge nothing; `None` means for ever.
    pub(super) fn new(budget: u64, timeout: Option<Duration>) -> Self {
        Self {
            messages: VecDeque::new(),
            pieces: VecDeque::new(),
            inline: VecDeque::new(),
            acknowledged: 0,
            next: Position::default(),
            cost: 0,
            budget,
            stall: WriteStall::new(timeout),
            has_stalled: false,
        }
    }

    /// Returns how many messages were acknowledged.
    pub(super) fn acknowledged(&self) -> u64 {
        self.acknowledged
    }

    /// Whether everything that was sent has been acknowledged.
    pub(super) fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// Forgets all messages, because they cannot be sent any more.
    pub(super) fn clear(&mut self) {
        self.messages = VecDeque::new();
        self.pieces = VecDeque::new();
        self.inline = VecDeque::new();
        (self.next, self.cost) = (Position::default(), 0);
    }

    /// Returns what the kept messages cost.
    pub(super) fn cost(&self) -> u64 {
        self.cost
    }

    /// Whether nothing new may be sent before the peer acknowledges something.
    pub(super) fn is_full(&self) -> bool {
        self.cost >= self.budget
    }

    /// Returns the time at which the peer will have acknowledged nothing for too long. Without a
    /// socket the result has no meaning.
    pub(super) fn deadline(&self) -> Option<Time> {
        self.stall.deadline()
    }

    /// Returns a stall if the peer has acknowledged nothing for too long. The timer then starts
    /// again.
    pub(super) fn check_stall(&mut self, now: Time) -> Option<Stall> {
        if !self.stall.is_over(now) {
            return None;
        }
        self.stall.stop();
        self.watch(now);
        Some(match std::mem::replace(&mut self.has_stalled, true) {
            false => Stall::First,
            true => Stall::Again,
        })
    }

    /// Gives back the memory of empty queues. Call this now and then: after the last message of a
    /// burst, no further acknowledgement arrives that would give the memory back.
    pub(super) fn release_if_empty(&mut self) {
        if self.is_empty() {
            release_spare(&mut self.messages, 0);
            release_spare(&mut self.pieces, 0);
            release_spare(&mut self.inline, 0);
        }
    }

    /// Records that there is no socket, so the peer cannot acknowledge anything.
    pub(super) fn suspend(&mut self, now: Time) {
        self.stall.pause(now);
    }

    /// Keeps a message that is sent for the first time. Call this only when no message has to be
    /// sent again.
    pub(super) fn push(&mut self, now: Time, message: &MessageBuf) {
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
        self.watch(now);
    }

    /// Drops the messages that the peer has received. These are the first `received` messages of
    /// all that were sent. Returns `false`, and drops nothing, if the count is below an earlier
    /// count or above the number of messages that were sent.
    pub(super) fn acknowledge(&mut self, now: Time, received: u64) -> bool {
        let Some(newly) = received.checked_sub(self.acknowledged) else { return false };
        if newly > self.messages.len() as u64 {
            return false;
        }
        self.acknowledged = received;
        let used = (self.messages.len(), self.pieces.len(), self.inline.len());
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
        release_spare(&mut self.messages, used.0);
        release_spare(&mut self.pieces, used.1);
        release_spare(&mut self.inline, used.2);
        if newly > 0 {
            self.stall.stop();
            self.has_stalled = false;
            self.watch(now);
        }
        true
    }

    /// Starts to send all kept messages again, on a new socket. Returns their number and their
    /// length in bytes. The time within which the peer has to acknowledge a message is not
    /// extended.
    pub(super) fn rewind(&mut self, now: Time) -> (u64, u64) {
        self.next = Position::default();
        self.watch(now);
        (self.messages.len() as u64, self.bytes())
    }

    /// Whether a message has to be sent again.
    pub(super) fn has_next(&self) -> bool {
        self.next.message < self.messages.len()
    }

    /// Writes to `out` the next message that has to be sent again. Returns `false` if there is no
    /// such message.
    pub(super) fn next(&mut self, out: &mut MessageBuf) -> bool {
        let Some(message) = self.messages.get(self.next.message) else { return false };
        out.clear();
        for piece in self.pieces.range(self.next.piece..).take(message.pieces as usize) {
            match piece {
                KeptPiece::Inline(len) => {
                    let end = self.next.inline + *len as usize;
                    out.put(|out| put_range(&self.inline, self.next.inline..end, out));
                    self.next.inline = end;
                }
                KeptPiece::Chunk(chunk) => out.put_chunk(chunk.clone()),
            }
        }
        self.next.message += 1;
        self.next.piece += message.pieces as usize;
        true
    }

    /// Returns the length of the kept messages in bytes.
    fn bytes(&self) -> u64 {
        self.cost - self.messages.len() as u64 * MESSAGE_COST
    }

    /// Starts the timer for an acknowledgement if the peer has to send one, and stops the
    /// timer otherwise. A timer that is running already is not restarted.
    fn watch(&mut self, now: Time) {
        //
        if self.bytes() > NEGLIGIBLE {
            self.stall.start(now);
        } else {
            self.stall.stop();
        }
    }
}

/// Gives back memory of a queue that had at most `used` elements for some time.
fn release_spare<T>(queue: &mut VecDeque<T>, used: usize) {
    let capacity = queue.capacity();
    if capacity * size_of::<T>() > SPARE && used < capacity / SHRINK_BELOW {
        queue.shrink_to(2 * used);
    }
}

/// Appends a range of a queue to `out`.
fn put_range(queue: &VecDeque<u8>, range: Range<usize>, out: &mut Vec<u8>) {
    let (front, back) = queue.as_slices();
    let split = front.len();
    out.extend_from_slice(&front[range.start.min(split)..range.end.min(split)]);
    out.extend_from_slice(
        &back[range.start.saturating_sub(split)..range.end.saturating_sub(split)],
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Time = Time::EPOCH;

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
            let mut replay = Replay::new(1 << 20, None);
            for number in 0..sent {
                replay.push(NOW, &message(number));
            }
            assert!(!replay.has_next() && replay.acknowledge(NOW, received));
            // A replay may be interrupted, and messages may be acknowledged before the next replay
            // begins.
            for (again, acknowledged) in [(2, 0), (1, 2), (u64::MAX, 0)] {
                let first = replay.acknowledged;
                let (count, bytes) = replay.rewind(NOW);
                let lengths = (first..sent).map(|number| message(number).len() as u64);
                assert_eq!((count, bytes), (sent - first, lengths.sum()));
                let mut out = MessageBuf::new();
                for number in (first..sent).take(again.min(sent) as usize) {
                    assert!(replay.next(&mut out));
                    assert_eq!(out.to_bytes(), message(number).to_bytes());
                }
                assert!(replay.acknowledge(NOW, sent.min(first + acknowledged)));
            }
            let mut out = MessageBuf::new();
            assert!(!replay.has_next() && !replay.next(&mut out));
            assert!(replay.acknowledge(NOW, sent));
            assert_eq!((replay.cost, replay.inline.len(), replay.pieces.len()), (0, 0, 0));
        }
    }

    #[test]
    fn an_impossible_count_changes_nothing() {
        let mut replay = Replay::new(1 << 20, None);
        (0..5).for_each(|number| replay.push(NOW, &message(number)));
        assert!(replay.acknowledge(NOW, 2));
        for impossible in [0, 1, 6, u64::MAX] {
            assert!(!replay.acknowledge(NOW, impossible));
        }
        assert_eq!(replay.rewind(NOW).0, 3);
    }

    #[test]
    fn an_acknowledgement_may_overtake_what_is_sent_again() {
        let mut replay = Replay::new(1 << 20, None);
        (0..9).for_each(|number| replay.push(NOW, &message(number)));
        replay.rewind(NOW);
        let mut out = MessageBuf::new();
        assert!(replay.next(&mut out) && replay.next(&mut out));
        assert!(replay.acknowledge(NOW, 7));
        for number in 7..9 {
            assert!(replay.next(&mut out));
            assert_eq!(out.to_bytes(), message(number).to_bytes());
        }
        assert!(!replay.next(&mut out));
    }

    fn capacity(replay: &Replay) -> usize {
        replay.messages.capacity() * size_of::<Kept>()
            + replay.pieces.capacity() * size_of::<KeptPiece>()
            + replay.inline.capacity()
    }

    #[test]
    fn queues_that_have_shrunk_give_back_their_memory() {
        let mut replay = Replay::new(1 << 30, None);
        (0..10_000).for_each(|number| replay.push(NOW, &message(number)));
        let full = capacity(&replay);
        assert!(full > 500_000, "{full}");
        // A few messages remain in the queue, and are sent again unchanged. The second
        // acknowledgement shows that the queue has stayed short.
        assert!(replay.acknowledge(NOW, 9_950) && capacity(&replay) == full);
        assert!(replay.acknowledge(NOW, 9_951));
        let rest = capacity(&replay);
        assert!(rest <= full / 50, "{rest} of {full}");
        replay.rewind(NOW);
        let mut out = MessageBuf::new();
        for number in 9_951..10_000 {
            assert!(replay.next(&mut out));
            assert_eq!(out.to_bytes(), message(number).to_bytes());
        }
    }

    #[test]
    fn empty_queues_give_back_their_memory_without_another_acknowledgement() {
        let mut replay = Replay::new(1 << 30, None);
        (0..10_000).for_each(|number| replay.push(NOW, &message(number)));
        let full = capacity(&replay);
        assert!(replay.acknowledge(NOW, 9_999));
        replay.release_if_empty();
        assert_eq!(capacity(&replay), full);
        assert!(replay.acknowledge(NOW, 10_000));
        replay.release_if_empty();
        assert!(capacity(&replay) <= 3 * SPARE);
    }

    #[test]
    fn queues_that_are_filled_again_and_again_are_not_allocated_again() {
        for unacknowledged in [0, 1, 1_000] {
            let mut replay = Replay::new(1 << 30, None);
            let mut sent = 0;
            let mut capacities = Vec::new();
            for _ in 0..20 {
                while sent - replay.acknowledged() < 4_000 {
                    replay.push(NOW, &message(sent));
                    sent += 1;
                }
                capacities.push(capacity(&replay));
                assert!(replay.acknowledge(NOW, sent - unacknowledged));
                capacities.push(capacity(&replay));
            }
            assert!(capacities.iter().all(|&now| now == capacities[0]), "{capacities:?}");
        }
    }

    #[test]
    fn a_message_that_wraps_around_in_the_queue_comes_again_unchanged() {
        let mut replay = Replay::new(1 << 20, None);
        let (mut sent, mut wrapped) = (0, 0);
        let mut out = MessageBuf::new();
        for _ in 0..200 {
            replay.push(NOW, &message(sent));
            sent += 1;
            assert!(replay.acknowledge(NOW, sent.saturating_sub(5)));
            let (first, split) = (replay.acknowledged(), replay.inline.as_slices().0.len());
            replay.rewind(NOW);
            for number in first..sent {
                let start = replay.next.inline;
                assert!(replay.next(&mut out));
                assert_eq!(out.to_bytes(), message(number).to_bytes());
                wrapped += usize::from((start + 1..replay.next.inline).contains(&split));
            }
        }
        assert!(wrapped > 0, "no message wraps around");
    }
}
