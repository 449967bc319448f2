//! Bytes that wait: a queue of chunks in which large ones are shared and small ones gathered.
//!
//! What is bounded is memory, not payload: a `Bytes` keeps alive all of the allocation that it was cut from, and
//! has a price of its own. So each chunk is at least half of what it was cut from whenever something is added to
//! the queue, and what costs more than it carries is copied. Each byte is copied a constant number of times at
//! most, whatever the sizes and the order of what is written and read.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

/// Chunks shorter than this are copied to the end of the queue. A shared slice keeps alive the whole message
/// that it was cut from, and each slice costs a descriptor: a peer that sends single bytes in large
/// messages would hold a multiple of its credit.
const GATHER_BELOW: usize = 4 * 1024;

/// A slice that is less than this part of its message is copied as well, for the same reason.
const SHARE_AT_LEAST_ONE_IN: usize = 2;

/// What a shared chunk costs at most besides its bytes: a place in the queue, which may have twice as many, and the
/// header of its block; and the same for the two blocks of few bytes that may have been gathered before it. A chunk
/// that is so much more than half of its message pays for that (SPEC §10).
const CHUNK_OVERHEAD: usize = 384;

/// The least that is allocated to gather small chunks in, once there is more than one: an allocator has blocks
/// of this size at hand.
const GATHER_CAPACITY: usize = 512;

/// The most that is allocated to gather chunks in before they are known to come.
const MAX_GATHER_CAPACITY: usize = 64 * 1024;

/// A block to gather in is this part of what was gathered in a row and waits: so much may be in vain.
const GATHER_ONE_IN: usize = 4;

/// A queue that has more places than this gives back half of them when only a quarter is in use.
const SPARE_PLACES: usize = 16;

/// What is left of a chunk that is being read is copied out once it is less than this part of what it was cut from,
/// though nothing is added: less often and a last byte keeps a message, more often and reading costs copies.
const SETTLE_BELOW_ONE_IN: usize = 8;

/// Bytes, and the size of what they were cut from.
#[derive(Debug, Default)]
struct Chunk {
    bytes: Bytes,
    whole: u32,
}

/// A first-in-first-out queue of bytes.
///
/// Right after bytes were added the queue keeps alive at most twice the messages that its bytes are at least half of:
/// so four times its bytes, where a message may keep a block of twice its size, and one and a half times its bytes
/// where none was cut from anything larger; and one block of [`GATHER_CAPACITY`]. Taking bytes off never makes it more.
#[derive(Debug, Default)]
pub(super) struct Buffer {
    /// The front, if it is a chunk. Most queues are no longer than that, and need no memory for more.
    first: Bytes,
    /// The size of what `first` was cut from.
    whole: u32,
    /// How many of the last bytes were gathered in a row, some of which may have been taken since.
    gathered: u32,
    /// Chunks behind the first, and none without it.
    #[expect(clippy::box_collection, reason = "of thousands of streams few have any")]
    rest: Option<Box<VecDeque<Chunk>>>,
    /// Behind all chunks: what was gathered.
    tail: BytesMut,
    len: usize,
}

/// Sizes past 4 GiB are as large as any.
fn small(size: usize) -> u32 {
    u32::try_from(size).unwrap_or(u32::MAX)
}

/// Whether so many bytes are a smaller part of what they were cut from than one in `one_in`.
fn is_less(len: usize, one_in: usize, whole: u32) -> bool {
    len.saturating_mul(one_in) < whole as usize
}

impl Buffer {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// How many bytes the queue counts for: as many as it has, or half of what its front keeps alive if that is
    /// more.
    pub(super) fn charged(&self) -> usize {
        self.len - self.first.len() + self.first.len().max(self.whole as usize / 2)
    }

    /// Appends a copy.
    pub(super) fn push_slice(&mut self, data: &[u8]) {
        if data.is_empty() {
            return;
        }
        self.release_block(SHARE_AT_LEAST_ONE_IN);
        let room = self.tail.capacity() - self.tail.len();
        let (fitting, more) = data.split_at(room.min(data.len()));
        self.tail.extend_from_slice(fitting);
        self.len += fitting.len();
        self.gathered = self.gathered.saturating_add(small(fitting.len()));
        if more.is_empty() {
            return;
        }
        // Growing would move what is there; a new block does not. The first of a row may be the only one, and is
        // as large as it has to be.
        self.seal();
        let wanted = match self.len.min(self.gathered as usize) {
            0 => 0,
            row => (row / GATHER_ONE_IN).clamp(GATHER_CAPACITY, MAX_GATHER_CAPACITY),
        };
        self.tail = BytesMut::with_capacity(wanted.max(more.len()));
        self.tail.extend_from_slice(more);
        self.len += more.len();
        self.gathered = self.gathered.saturating_add(small(more.len()));
    }

    /// Appends a chunk that was cut from something of `whole` bytes.
    pub(super) fn push_chunk(&mut self, data: Bytes, whole: usize) {
        let worth = data.len().saturating_mul(SHARE_AT_LEAST_ONE_IN);
        let shared = match self.is_empty() {
            true => worth >= whole,
            false => {
                let overhead = CHUNK_OVERHEAD / SHARE_AT_LEAST_ONE_IN;
                data.len() >= GATHER_BELOW && worth >= whole.saturating_add(overhead)
            }
        };
        if !shared {
            return self.push_slice(&data);
        }
        self.release_block(SHARE_AT_LEAST_ONE_IN);
        self.seal();
        self.gathered = 0;
        self.len += data.len();
        self.enqueue(data, small(whole));
    }

    fn enqueue(&mut self, bytes: Bytes, whole: u32) {
        if self.first.is_empty() {
            (self.first, self.whole) = (bytes, whole);
        } else {
            self.rest.get_or_insert_default().push_back(Chunk { bytes, whole });
        }
    }

    /// Takes up to `max` bytes off the front, in one piece; empty only when the queue is, or `max` is 0.
    pub(super) fn pop(&mut self, max: usize) -> Bytes {
        if self.first.is_empty() {
            self.seal();
        }
        let taken = if self.first.len() <= max {
            let next = self.rest.as_mut().and_then(|rest| rest.pop_front());
            let next = next.unwrap_or_default();
            self.whole = next.whole;
            std::mem::replace(&mut self.first, next.bytes)
        } else {
            self.first.split_to(max)
        };
        self.len -= taken.len();
        if self.len == 0 {
            // An idle stream holds no memory.
            (self.rest, self.gathered) = (None, 0);
        } else {
            self.give_back_places();
        }
        taken
    }

    /// Copies what is left of the front out of what it was cut from, if it is a small part of that.
    pub(super) fn settle(&mut self) {
        if self.whole as usize >= GATHER_BELOW {
            self.release_block(SETTLE_BELOW_ONE_IN);
        }
    }

    /// Copies the front out of what it was cut from, if it is less than one in `one_in` of that.
    fn release_block(&mut self, one_in: usize) {
        if is_less(self.first.len(), one_in, self.whole) {
            self.first = Bytes::copy_from_slice(&self.first);
            self.whole = small(self.first.len());
        }
    }

    /// A burst leaves a long queue with few chunks in it.
    fn give_back_places(&mut self) {
        if let Some(rest) = &mut self.rest
            && rest.capacity() > SPARE_PLACES
            && rest.len() < rest.capacity() / 4
        {
            rest.shrink_to(rest.capacity() / 2);
        }
    }

    /// Forgets all but the first `len` bytes.
    pub(super) fn truncate(&mut self, len: usize) {
        if len == 0 {
            self.clear();
        }
        self.seal();
        while self.len > len {
            let last = self.rest.as_mut().and_then(|rest| rest.pop_back());
            let mut last = last.unwrap_or_else(|| Chunk {
                bytes: std::mem::take(&mut self.first),
                whole: std::mem::take(&mut self.whole),
            });
            self.len -= last.bytes.len();
            if self.len < len {
                last.bytes.truncate(len - self.len);
                if is_less(last.bytes.len(), SHARE_AT_LEAST_ONE_IN, last.whole) {
                    last.bytes = Bytes::copy_from_slice(&last.bytes);
                    last.whole = small(last.bytes.len());
                }
                self.len = len;
                self.enqueue(last.bytes, last.whole);
            }
            self.give_back_places();
        }
    }

    /// Forgets all, and gives the memory back.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Ends the block that is gathered in. It stays as it is if most of it was used.
    fn seal(&mut self) {
        if self.tail.is_empty() {
            return;
        }
        let tail = std::mem::take(&mut self.tail);
        let capacity = tail.capacity();
        let wasted = capacity - tail.len();
        let bytes = match wasted > capacity / 4 && !self.first.is_empty() {
            true => Bytes::copy_from_slice(&tail),
            false => tail.freeze(),
        };
        let whole = small(capacity.max(bytes.len()));
        self.enqueue(bytes, whole);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Buffer {
        fn chunks(&self) -> usize {
            self.rest.as_ref().map_or(0, |rest| rest.len())
        }
    }

    fn drain(buffer: &mut Buffer, max: usize) -> Vec<u8> {
        let mut out = Vec::new();
        while !buffer.is_empty() {
            let piece = buffer.pop(max);
            assert!(!piece.is_empty() && piece.len() <= max);
            out.extend_from_slice(&piece);
        }
        assert!(buffer.pop(max).is_empty());
        out
    }

    fn mixed() -> (Buffer, Vec<u8>) {
        let mut buffer = Buffer::default();
        let mut expected = Vec::new();
        for size in [1, 10_000, 3, 3, 900, 5_000, 70_000, 1] {
            let data: Vec<u8> = (0..size).map(|i| (i * 7 + size) as u8).collect();
            expected.extend_from_slice(&data);
            match size % 2 {
                0 => buffer.push_chunk(data.into(), size),
                _ => buffer.push_slice(&data),
            }
            assert_eq!(buffer.len(), expected.len());
        }
        (buffer, expected)
    }

    #[test]
    fn bytes_come_out_in_order_whatever_the_sizes() {
        for max in [1_000_000, 1_021, 65_536] {
            let (mut buffer, expected) = mixed();
            assert_eq!(drain(&mut buffer, max), expected);
        }
    }

    #[test]
    fn truncation_keeps_exactly_the_front() {
        for len in [0, 1, 10_001, 10_004, 15_000, 85_909, 1_000_000] {
            let (mut buffer, expected) = mixed();
            buffer.truncate(len);
            assert_eq!(drain(&mut buffer, 4_096), expected[..len.min(expected.len())]);
        }
    }

    #[test]
    fn single_bytes_out_of_large_messages_do_not_keep_the_messages_alive() {
        let mut buffer = Buffer::default();
        for _ in 0..10_000 {
            let message = Bytes::from(vec![0; 64 * 1024]);
            buffer.push_chunk(message.slice(..1), message.len());
            assert!(message.is_unique(), "the message can go");
        }
        assert!(buffer.chunks() <= 16, "gathered, not queued one by one");
    }

    #[test]
    fn of_small_chunks_only_the_first_is_shared_and_only_if_it_is_most_of_its_message() {
        let mut buffer = Buffer::default();
        let message = Bytes::from(vec![0; 64]);
        buffer.push_chunk(message.slice(..40), message.len());
        assert!(!message.is_unique(), "shared");
        for _ in 0..10_000 {
            let message = Bytes::from(vec![0; 64]);
            buffer.push_chunk(message.clone(), message.len());
            assert!(message.is_unique(), "gathered");
        }
        assert!(buffer.chunks() <= 40, "{}", buffer.chunks());
    }

    /// Counts what a queue holds of the heap.
    #[derive(Default)]
    struct Heap(i64);

    impl Heap {
        fn of<T>(&mut self, f: impl FnOnce() -> T) -> T {
            let mut output = None;
            self.0 += allocation_counter::measure(|| output = Some(f())).bytes_current;
            output.expect("it was called")
        }
    }

    /// What a queue may hold besides a multiple of its bytes: a short block to gather in, and some places.
    const SLACK: f64 = 2048.0;

    /// A chunk of `len` bytes out of a message that is `spare` longer, as the socket brings it: a block that may be
    /// twice the message, where that makes sense.
    fn arrives(buffer: &mut Buffer, len: usize, spare: usize) {
        let whole = len + spare;
        let mut block = BytesMut::with_capacity(2 * whole);
        block.resize(whole, 7);
        let mut message = block.split_to(whole).freeze();
        drop(block);
        buffer.push_chunk(message.split_to(len), whole);
    }

    /// Each pattern is repeated until 4 MiB wait, and then more; after each step the queue holds at most the multiple.
    fn holds_at_most(times: f64, mut step: impl FnMut(usize, &mut Buffer)) {
        let (mut heap, mut buffer) = (Heap::default(), Buffer::default());
        for round in 0.. {
            heap.of(|| step(round, &mut buffer));
            let most = times * buffer.len() as f64 + SLACK;
            assert!(heap.0 as f64 <= most, "{} for {} in round {round}", heap.0, buffer.len());
            if buffer.len() > 4 << 20 || round == 100_000 {
                break;
            }
        }
        heap.of(|| drop(buffer));
        assert_eq!(heap.0, 0);
    }

    #[test]
    fn one_byte_and_then_a_chunk_costs_little_more_than_both() {
        holds_at_most(1.1, |_, buffer| {
            buffer.push_slice(b"x");
            buffer.push_chunk(vec![7; 4096].into(), 4096);
        });
        holds_at_most(1.1, |_, buffer| {
            buffer.push_slice(b"x");
            buffer.push_slice(b"x");
            buffer.push_chunk(vec![7; 4096].into(), 4096);
        });
    }

    #[test]
    fn whatever_is_written_costs_one_and_a_half_times_its_bytes() {
        for seed in 1..200 {
            let mut random = Random(seed);
            holds_at_most(1.5, |_, buffer| {
                let len = random.size();
                match random.below(2) {
                    0 => buffer.push_slice(&vec![7; len]),
                    _ => buffer.push_chunk(vec![7; len].into(), len),
                }
            });
        }
    }

    #[test]
    fn whatever_arrives_costs_four_times_its_bytes() {
        for (len, spare) in [(4096, 0), (4096, 3904), (4096, 4096), (5000, 4808), (300, 200)] {
            holds_at_most(4.0, |_, buffer| arrives(buffer, len, spare));
            holds_at_most(4.0, |round, buffer| {
                arrives(buffer, if round % 2 == 0 { 1 } else { len }, spare);
            });
            holds_at_most(4.0, |round, buffer| {
                arrives(buffer, if round % 3 < 2 { 1 } else { len }, spare);
            });
        }
        for seed in 1..200 {
            let mut random = Random(seed);
            holds_at_most(4.0, |_, buffer| {
                let len = random.size();
                let spare = random.below(len + len / 4);
                arrives(buffer, len, spare);
            });
        }
    }

    #[test]
    fn what_is_left_of_a_chunk_keeps_no_more_than_a_multiple_of_itself() {
        // As a reader takes it, all but the last byte of each.
        let (mut heap, mut buffer) = (Heap::default(), Buffer::default());
        for len in (1..64).map(|kib| kib * 1024) {
            heap.of(|| arrives(&mut buffer, len, 0));
            heap.of(|| {
                while buffer.len() > 1 {
                    let half = (buffer.len() / 2).max(1);
                    drop(buffer.pop(half));
                    buffer.settle();
                }
            });
            // Of a smaller one it would not be worth the copy.
            assert!(heap.0 as usize <= 2 * GATHER_BELOW + 100, "{} for one byte", heap.0);
        }
        // And as a writer's socket takes it, when there is more to write.
        holds_at_most(1.5, |_, buffer| {
            let most = buffer.len().saturating_sub(1);
            drop(buffer.pop(most.min(100_000)));
            buffer.push_chunk(vec![7; 100_001].into(), 100_001);
        });
    }

    #[test]
    fn a_queue_that_was_long_gives_its_places_back() {
        let (mut heap, mut buffer) = (Heap::default(), Buffer::default());
        heap.of(|| (0..10_000).for_each(|_| buffer.push_chunk(vec![7; 4096].into(), 4096)));
        heap.of(|| {
            while buffer.len() > 8192 {
                drop(buffer.pop(usize::MAX));
            }
        });
        assert!(heap.0 as usize <= 8192 + 64 * SPARE_PLACES, "{}", heap.0);
        heap.of(|| (0..10_000).for_each(|_| buffer.push_chunk(vec![7; 4096].into(), 4096)));
        heap.of(|| buffer.truncate(4000));
        assert!(heap.0 as usize <= 8192 + 64 * SPARE_PLACES, "{}", heap.0);
        heap.of(|| buffer.truncate(10));
        assert!(heap.0 as usize <= 64 * SPARE_PLACES, "{} for ten bytes", heap.0);
    }

    #[test]
    fn a_byte_is_copied_a_constant_number_of_times() {
        for seed in 1..20 {
            let (mut random, mut buffer) = (Random(seed), Buffer::default());
            let mut bytes = 0;
            let allocated = allocation_counter::measure(|| {
                while bytes < 8 << 20 {
                    let len = random.size();
                    bytes += len as u64;
                    buffer.push_slice(&vec![7; len]);
                    let most = random.below(buffer.len() + 1);
                    drop(buffer.pop(most));
                    buffer.settle();
                }
            });
            // Of these one is the test's own.
            assert!(allocated.bytes_total <= 4 * bytes, "{} for {bytes}", allocated.bytes_total);
        }
    }

    /// Numbers that are the same in each run.
    struct Random(u64);

    impl Random {
        fn below(&mut self, end: usize) -> usize {
            // xorshift64* (Marsaglia, Vigna).
            self.0 ^= self.0 >> 12;
            self.0 ^= self.0 << 25;
            self.0 ^= self.0 >> 27;
            (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % end.max(1)
        }

        /// As often small as large, at every scale, and often where a rule changes.
        fn size(&mut self) -> usize {
            match self.below(4) {
                0 => [1, 2, 511, 512, 513, 4095, 4096, 4097][self.below(8)],
                _ => 1 + (self.below(65_536) >> self.below(16)),
            }
        }
    }
}
