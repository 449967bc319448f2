//! Bytes that wait: a queue of chunks in which large ones are shared and small ones gathered.
//!
//! What is bounded is memory, not payload: a `Bytes` keeps alive all of the allocation that it was
//! cut from, and costs something of its own. So each chunk is at least half of what it was cut from
//! whenever something is added to the queue, and what costs more than it carries is copied. Each
//! byte is copied a constant number of times at most, whatever the sizes and the order of what is
//! written and read.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

/// Chunks shorter than this are copied to the end of the queue. A shared slice keeps alive the
/// whole message that it was cut from, and each slice costs a descriptor: a peer that sends single
/// bytes in large messages would hold a multiple of its credit.
const GATHER_BELOW: usize = 4 * 1024;

/// A slice that is less than this part of its message is copied as well, for the same reason.
const SHARE_AT_LEAST_ONE_IN: usize = 2;

/// What a shared chunk costs at most besides its bytes: a place in the queue, which may have twice
/// as many, and the header of its block; and the same for the two blocks of few bytes that may have
/// been gathered before it. A chunk that exceeds half of its message by this much covers that cost
/// (SPEC §10).
const CHUNK_OVERHEAD: usize = 384;

/// The least that is allocated to gather small chunks in, once there is more than one: an allocator
/// has blocks of this size at hand.
const GATHER_CAPACITY: usize = 512;

/// The most that is allocated to gather chunks in before they are known to come.
const MAX_GATHER_CAPACITY: usize = 64 * 1024;

/// A block to gather in is this part of what was gathered in a row and waits: at most that much may
/// stay unused.
const GATHER_ONE_IN: usize = 4;

/// A queue that has more places than this gives back half of them when only a quarter is in use.
const SPARE_PLACES: usize = 16;

/// What is left of a chunk that is being read is copied out once it is less than this part of what
/// it was cut from, even if nothing is added: a smaller part would let a last byte keep a message,
/// a larger one would cost copies.
const SETTLE_BELOW_ONE_IN: usize = 8;

/// Bytes, and the size of what they were cut from.
#[derive(Debug, Default)]
struct Chunk {
    bytes: Bytes,
    block_len: u32,
}

/// A first-in-first-out queue of bytes.
///
/// Right after bytes were added, the memory that it keeps alive is at most one block of
/// [`GATHER_CAPACITY`] and
///
/// - four times its bytes, where they came in messages that may keep a block of twice their size;
/// - one and a half times its bytes, where they were cut from nothing larger.
///
/// Taking bytes off does not raise it.
#[derive(Debug, Default)]
pub(super) struct Buffer {
    /// The front, if it is a chunk. Most queues are no longer than that, and need no memory for
    /// more.
    first: Bytes,
    /// The size of what `first` was cut from.
    block_len: u32,
    /// How many of the last bytes were gathered in a row, some of which may have been taken since.
    gathered: u32,
    /// Chunks after the first, and none without it.
    #[expect(clippy::box_collection, reason = "of thousands of streams few have any")]
    rest: Option<Box<VecDeque<Chunk>>>,
    /// What was gathered; it comes after all chunks.
    tail: BytesMut,
    len: usize,
}

/// Saturates at 4 GiB.
fn small(size: usize) -> u32 {
    u32::try_from(size).unwrap_or(u32::MAX)
}

/// Whether this many bytes are less than one in `one_in` of what they were cut from.
fn is_less(len: usize, one_in: usize, block_len: u32) -> bool {
    len.saturating_mul(one_in) < block_len as usize
}

impl Buffer {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// How many bytes the queue counts for: as many as it has, or half of what its front keeps
    /// alive if that is more.
    pub(super) fn charged(&self) -> usize {
        self.len - self.first.len() + self.first.len().max(self.block_len as usize / 2)
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
        // Growing would move what is there; a new block does not. The first of a row may be the
        // only one, and is as large as it has to be.
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

    /// Appends a chunk that was cut from something of `block_len` bytes.
    pub(super) fn push_chunk(&mut self, data: Bytes, block_len: usize) {
        let worth = data.len().saturating_mul(SHARE_AT_LEAST_ONE_IN);
        // C-70
        let shared = match self.is_empty() {
            true => worth >= block_len,
            false => {
                let overhead = CHUNK_OVERHEAD / SHARE_AT_LEAST_ONE_IN;
                data.len() >= GATHER_BELOW && worth >= block_len.saturating_add(overhead)
            }
        };
        if !shared {
            return self.push_slice(&data);
        }
        self.release_block(SHARE_AT_LEAST_ONE_IN);
        self.seal();
        self.gathered = 0;
        self.len += data.len();
        self.enqueue(data, small(block_len));
    }

    fn enqueue(&mut self, bytes: Bytes, block_len: u32) {
        if self.first.is_empty() {
            (self.first, self.block_len) = (bytes, block_len);
        } else {
            self.rest.get_or_insert_default().push_back(Chunk { bytes, block_len });
        }
    }

    /// Takes up to `max` bytes off the front, in one piece; empty only when the queue is, or `max`
    /// is 0.
    pub(super) fn pop(&mut self, max: usize) -> Bytes {
        if self.first.is_empty() {
            self.seal();
        }
        let taken = if self.first.len() <= max {
            let next = self.rest.as_mut().and_then(|rest| rest.pop_front());
            let next = next.unwrap_or_default();
            self.block_len = next.block_len;
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
        if self.block_len as usize >= GATHER_BELOW {
            self.release_block(SETTLE_BELOW_ONE_IN);
        }
    }

    /// Copies the front out of what it was cut from, if it is less than one in `one_in` of that.
    fn release_block(&mut self, one_in: usize) {
        if is_less(self.first.len(), one_in, self.block_len) {
            self.first = Bytes::copy_from_slice(&self.first);
            self.block_len = small(self.first.len());
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
                block_len: std::mem::take(&mut self.block_len),
            });
            self.len -= last.bytes.len();
            if self.len < len {
                last.bytes.truncate(len - self.len);
                if is_less(last.bytes.len(), SHARE_AT_LEAST_ONE_IN, last.block_len) {
                    last.bytes = Bytes::copy_from_slice(&last.bytes);
                    last.block_len = small(last.bytes.len());
                }
                self.len = len;
                self.enqueue(last.bytes, last.block_len);
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
        let block_len = small(capacity.max(bytes.len()));
        self.enqueue(bytes, block_len);
    }
}

#[cfg(test)]
mod tests;
