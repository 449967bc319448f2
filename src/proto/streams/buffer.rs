//! Bytes that wait: a queue of chunks in which large ones are shared and small ones gathered.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

/// Chunks shorter than this are copied to the end of the queue. A shared slice keeps alive the whole message
/// that it was cut from, and each slice costs a descriptor: a peer that sends single bytes in large
/// messages would hold a multiple of its credit.
const GATHER_BELOW: usize = 4 * 1024;

/// A slice that is less than this part of its message is copied as well, for the same reason.
const SHARE_AT_LEAST_ONE_IN: usize = 2;

/// The least that is allocated to gather small chunks in, once there is more than one: an allocator has blocks
/// of this size at hand.
const GATHER_CAPACITY: usize = 512;

/// The most that is allocated to gather chunks in before they are known to come.
const MAX_GATHER_CAPACITY: usize = 64 * 1024;

/// A first-in-first-out queue of bytes.
#[derive(Debug, Default)]
pub(super) struct Buffer {
    /// The front, if it is a chunk. Most queues are no longer than that, and need no memory for more.
    first: Bytes,
    /// Chunks behind the first, and none without it.
    #[expect(clippy::box_collection, reason = "of thousands of streams few have any")]
    rest: Option<Box<VecDeque<Bytes>>>,
    /// Behind all chunks: what was gathered.
    tail: BytesMut,
    len: usize,
}

impl Buffer {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Appends a copy.
    pub(super) fn push_slice(&mut self, data: &[u8]) {
        let room = self.tail.capacity() - self.tail.len();
        if room < data.len() {
            // Growing would move what is there; a new block does not.
            self.seal();
            // The first may be the only one, and a block that is full is handed on as it is.
            let wanted = match self.len {
                0 => 0,
                len => (2 * len).clamp(GATHER_CAPACITY, MAX_GATHER_CAPACITY),
            };
            self.tail = BytesMut::with_capacity(wanted.max(data.len()));
        }
        self.tail.extend_from_slice(data);
        self.len += data.len();
    }

    /// Appends a chunk that was cut from something of `whole` bytes.
    pub(super) fn push_chunk(&mut self, data: Bytes, whole: usize) {
        let small = data.len() < GATHER_BELOW && !self.is_empty();
        if small || data.len().saturating_mul(SHARE_AT_LEAST_ONE_IN) < whole {
            self.push_slice(&data);
        } else {
            self.seal();
            self.len += data.len();
            self.enqueue(data);
        }
    }

    fn enqueue(&mut self, chunk: Bytes) {
        if self.first.is_empty() {
            self.first = chunk;
        } else {
            self.rest.get_or_insert_default().push_back(chunk);
        }
    }

    /// Takes up to `max` bytes off the front, in one piece; empty only when the queue is, or `max` is 0.
    pub(super) fn pop(&mut self, max: usize) -> Bytes {
        if self.first.is_empty() {
            self.seal();
        }
        let taken = if self.first.len() <= max {
            let next = self.rest.as_mut().and_then(|rest| rest.pop_front());
            std::mem::replace(&mut self.first, next.unwrap_or_default())
        } else {
            self.first.split_to(max)
        };
        self.len -= taken.len();
        if self.len == 0 {
            // An idle stream holds no memory.
            self.rest = None;
        }
        taken
    }

    /// Forgets all but the first `len` bytes.
    pub(super) fn truncate(&mut self, len: usize) {
        if len == 0 {
            self.clear();
        }
        self.seal();
        while self.len > len {
            let last = self.rest.as_mut().and_then(|rest| rest.pop_back());
            let mut last = last.unwrap_or_else(|| std::mem::take(&mut self.first));
            self.len -= last.len();
            if self.len < len {
                last.truncate(len - self.len);
                self.len = len;
                self.enqueue(last);
            }
        }
    }

    /// Forgets all, and gives the memory back.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    fn seal(&mut self) {
        if !self.tail.is_empty() {
            let gathered = std::mem::take(&mut self.tail).freeze();
            self.enqueue(gathered);
        }
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
        assert!(buffer.chunks() <= 16);
    }
}
