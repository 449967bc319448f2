use super::*;

impl Buffer {
    fn chunks(&self) -> usize {
        self.more.as_ref().map_or(0, |more| more.rest.len())
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
fn of_small_chunks_only_a_first_that_is_most_of_its_message_is_shared() {
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

/// Measures how much heap memory a queue holds.
#[derive(Default)]
struct Heap(i64);

impl Heap {
    fn of<T>(&mut self, f: impl FnOnce() -> T) -> T {
        let mut output = None;
        self.0 += allocation_counter::measure(|| output = Some(f())).bytes_current;
        output.expect("it was called")
    }
}

/// The part of a queue's memory that does not depend on how many bytes are queued. This is enough
/// for one small block of copied bytes, and for a few empty slots of the `VecDeque`.
const SLACK: f64 = 2048.0;

/// Adds a chunk of `len` bytes from a message that is `spare` bytes longer. The block of the
/// message is twice as long as the message, which is the most that the socket permits.
fn arrives(buffer: &mut Buffer, len: usize, spare: usize) {
    let whole = len + spare;
    let mut block = BytesMut::with_capacity(2 * whole);
    block.resize(whole, 7);
    let mut message = block.split_to(whole).freeze();
    drop(block);
    buffer.push_chunk(message.split_to(len), whole);
}

/// Repeats a step until more than 4 MiB are in the queue, or 100,000 times. After each step, the
/// queue's memory must be at most the queued bytes multiplied by `times`, plus [`SLACK`].
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
    // A reader takes all bytes except the last byte of each chunk.
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
        // The rest of a smaller allocation is not copied, because a copy would save too little.
        assert!(heap.0 as usize <= 2 * GATHER_BELOW + 100, "{} for one byte", heap.0);
    }
    // A writer's socket takes all bytes except the last byte. After that, more bytes are written.
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
        // A fourth of the bound is for the vectors that the test itself allocates.
        assert!(allocated.bytes_total <= 4 * bytes, "{} for {bytes}", allocated.bytes_total);
    }
}

/// Pseudorandom numbers that are the same in each run.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        // xorshift64* (Marsaglia, Vigna).
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % end.max(1)
    }

    /// Returns a size. All orders of magnitude are about equally frequent. A quarter of the sizes
    /// are sizes at which a rule changes.
    fn size(&mut self) -> usize {
        match self.below(4) {
            0 => [1, 2, 511, 512, 513, 4095, 4096, 4097][self.below(8)],
            _ => 1 + (self.below(65_536) >> self.below(16)),
        }
    }
}
