//! A queue of bytes. It shares large chunks, and copies small chunks into common blocks.
//!
//! The queue limits the memory that it keeps allocated, and not only the number of its bytes. A
//! `Bytes` keeps alive the whole allocation that it is a slice of, and also costs some memory
//! itself. Invariant: right after bytes were added, each shared chunk is at least half of its
//! allocation. Chunks whose overhead would exceed their content have been copied. Each byte is
//! copied at most a constant number of times, for any sizes and any order of writes and reads.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

/// A chunk that is shorter than this number is copied to the end of the queue. A shared slice keeps
/// its whole message alive, and takes a slot of the queue. So without the copy, a peer that sends
/// single bytes in large messages could make this end use many times as much memory as the credit
/// allows.
const GATHER_BELOW: usize = 4 * 1024;

/// A slice is also copied if its length is less than the length of its message divided by this
/// number. The reason is the same as for [`GATHER_BELOW`].
const SHARE_AT_LEAST_ONE_IN: usize = 2;

/// The most memory that a shared chunk costs in addition to its bytes. The chunk needs two slots of
/// the queue, because half of the slots may be empty, and it needs the header of its block. Up to
/// two blocks with a few gathered bytes may precede the chunk, and each of them costs as much. The
/// memory of the queue may be four times its bytes (SPEC.md §10). So these costs stay within this
/// bound if the chunk is longer than half of its message by at least a quarter of this number.
const CHUNK_OVERHEAD: usize = 384;

/// The smallest capacity of a block for small chunks. If several such blocks follow each other,
/// only the first block may be smaller. Allocators usually have free blocks of this size.
const GATHER_CAPACITY: usize = 512;

/// The largest capacity of a block for small chunks, unless a single piece of data needs more.
const MAX_GATHER_CAPACITY: usize = 64 * 1024;

/// A new block for small chunks is as large as the bytes that were gathered in a row and are still
/// in the queue, divided by this number. So the unused part of the block is at most a quarter of
/// those bytes.
const GATHER_ONE_IN: usize = 4;

/// A queue with more slots than this number gives back half of its slots when less than a quarter
/// of them is in use.
const SPARE_PLACES: usize = 16;

/// The rest of a chunk that was read in part is copied if it is shorter than the allocation divided
/// by this number. This happens even if nothing is added to the queue. With a larger number, fewer
/// bytes could keep an allocation alive. With a smaller number, there would be more copies.
const SETTLE_BELOW_ONE_IN: usize = 8;

/// Bytes, and the size of the allocation that they are a slice of.
#[derive(Debug, Default)]
struct Chunk {
    bytes: Bytes,
    block_len: u32,
}

/// A first-in-first-out queue of bytes.
///
/// Right after bytes were added, the memory that the queue keeps alive is at most one block of
/// [`GATHER_CAPACITY`] plus
///
/// - four times its bytes, if the bytes came in messages whose blocks may be twice as large as the
///   messages;
/// - one and a half times its bytes, if no chunk is a slice of a larger allocation.
///
/// Removing bytes does not increase this memory.
#[derive(Debug, Default)]
pub(super) struct Buffer {
    /// The first chunk. It is empty if all bytes are in the tail of `more`. Most queues contain
    /// only this chunk.
    first: Bytes,
    /// The size of the allocation of `first`.
    block_len: u32,
    /// How many bytes were gathered in a row after the last shared chunk. The reader may already
    /// have removed some of these bytes.
    gathered: u32,
    /// The bytes after the first chunk. They are boxed to save memory, because only a few of
    /// thousands of streams have more than one chunk.
    more: Option<Box<More>>,
}

/// The bytes after the first chunk.
#[derive(Debug, Default)]
struct More {
    /// The chunks after the first chunk. This queue is empty if there is no first chunk.
    rest: VecDeque<Chunk>,
    /// The small chunks at the end, copied together. All shared chunks come before them.
    tail: BytesMut,
    /// How many bytes `rest` and `tail` contain together.
    len: usize,
}

/// Converts a size. Sizes above 4 GiB saturate.
fn small(size: usize) -> u32 {
    u32::try_from(size).unwrap_or(u32::MAX)
}

/// Whether `len` bytes are less than their allocation divided by `one_in`.
fn is_less(len: usize, one_in: usize, block_len: u32) -> bool {
    len.saturating_mul(one_in) < block_len as usize
}

impl More {
    fn extend_tail(&mut self, data: &[u8]) {
        self.tail.extend_from_slice(data);
        self.len += data.len();
    }

    fn pop_front(&mut self) -> Option<Chunk> {
        let chunk = self.rest.pop_front()?;
        self.len -= chunk.bytes.len();
        Some(chunk)
    }

    fn pop_back(&mut self) -> Option<Chunk> {
        let chunk = self.rest.pop_back()?;
        self.len -= chunk.bytes.len();
        Some(chunk)
    }
}

impl Buffer {
    pub(super) fn len(&self) -> usize {
        self.first.len() + self.more.as_ref().map_or(0, |more| more.len)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns how many bytes of the receive window the queue takes up. This number is the length
    /// of the queue, except that the first chunk counts for at least half of its allocation.
    pub(super) fn charged(&self) -> usize {
        self.len() + (self.block_len as usize / 2).saturating_sub(self.first.len())
    }

    /// Appends a copy of `data`.
    pub(super) fn push_slice(&mut self, data: &[u8]) {
        if data.is_empty() {
            return;
        }
        if self.is_empty() {
            // Often these bytes are taken before more bytes follow, so their block is only as large
            // as necessary.
            (self.first, self.block_len) = (Bytes::copy_from_slice(data), small(data.len()));
            self.gathered = self.block_len;
            return;
        }
        self.release_block(SHARE_AT_LEAST_ONE_IN);
        let after = self.more.get_or_insert_default();
        let room = after.tail.capacity() - after.tail.len();
        let (fitting, more) = data.split_at(room.min(data.len()));
        after.extend_tail(fitting);
        self.gathered = self.gathered.saturating_add(small(fitting.len()));
        if more.is_empty() {
            return;
        }
        // A new block is allocated, because growing the old block would move its bytes. The first
        // block after a shared chunk may remain the only block, so it is only as large as
        // necessary.
        self.seal();
        let wanted = match self.len().min(self.gathered as usize) {
            0 => 0,
            row => (row / GATHER_ONE_IN).clamp(GATHER_CAPACITY, MAX_GATHER_CAPACITY),
        };
        let after = self.more.get_or_insert_default();
        after.tail = BytesMut::with_capacity(wanted.max(more.len()));
        after.extend_tail(more);
        self.gathered = self.gathered.saturating_add(small(more.len()));
    }

    /// Appends a chunk that is a slice of an allocation of `block_len` bytes.
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
        self.enqueue(data, small(block_len));
    }

    fn enqueue(&mut self, bytes: Bytes, block_len: u32) {
        if self.first.is_empty() {
            (self.first, self.block_len) = (bytes, block_len);
        } else {
            let more = self.more.get_or_insert_default();
            more.len += bytes.len();
            more.rest.push_back(Chunk { bytes, block_len });
        }
    }

    /// Removes up to `max` bytes from the front, in one piece, and returns them. Returns no bytes
    /// only if the queue is empty or `max` is 0.
    pub(super) fn pop(&mut self, max: usize) -> Bytes {
        if self.first.is_empty() {
            self.seal();
        }
        let taken = if self.first.len() <= max {
            let next = self.more.as_mut().and_then(|more| more.pop_front());
            let next = next.unwrap_or_default();
            self.block_len = next.block_len;
            std::mem::replace(&mut self.first, next.bytes)
        } else {
            self.first.split_to(max)
        };
        if self.is_empty() {
            // The queue of an idle stream holds no memory.
            (self.more, self.gathered) = (None, 0);
        } else {
            self.give_back_places();
        }
        taken
    }

    /// Copies the rest of the first chunk, if it is only a small part of its allocation.
    pub(super) fn settle(&mut self) {
        if self.block_len as usize >= GATHER_BELOW {
            self.release_block(SETTLE_BELOW_ONE_IN);
        }
    }

    /// Copies the first chunk if it is shorter than its allocation divided by `one_in`.
    fn release_block(&mut self, one_in: usize) {
        if is_less(self.first.len(), one_in, self.block_len) {
            self.first = Bytes::copy_from_slice(&self.first);
            self.block_len = small(self.first.len());
        }
    }

    /// Gives back memory after a burst, if the queue has many slots and few chunks.
    fn give_back_places(&mut self) {
        if let Some(More { rest, .. }) = self.more.as_deref_mut()
            && rest.capacity() > SPARE_PLACES
            && rest.len() < rest.capacity() / 4
        {
            rest.shrink_to(rest.capacity() / 2);
        }
    }

    /// Drops all bytes except the first `len`.
    pub(super) fn truncate(&mut self, len: usize) {
        if len == 0 {
            self.clear();
        }
        self.seal();
        while self.len() > len {
            let last = self.more.as_mut().and_then(|more| more.pop_back());
            let mut last = last.unwrap_or_else(|| Chunk {
                bytes: std::mem::take(&mut self.first),
                block_len: std::mem::take(&mut self.block_len),
            });
            let left = self.len();
            if left < len {
                last.bytes.truncate(len - left);
                if is_less(last.bytes.len(), SHARE_AT_LEAST_ONE_IN, last.block_len) {
                    last.bytes = Bytes::copy_from_slice(&last.bytes);
                    last.block_len = small(last.bytes.len());
                }
                self.enqueue(last.bytes, last.block_len);
            }
            self.give_back_places();
        }
    }

    /// Drops all bytes, and gives back the memory.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Appends the block for small chunks to the queue. If more than a quarter of the block is
    /// unused, its bytes are copied into a smaller block, unless these bytes are the first bytes of
    /// the queue.
    fn seal(&mut self) {
        let Some(more) = self.more.as_mut().filter(|more| !more.tail.is_empty()) else { return };
        let tail = std::mem::take(&mut more.tail);
        more.len -= tail.len();
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
