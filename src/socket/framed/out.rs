//! The buffer for bytes that wait to be written.

/// Up to this size the buffer grows by doubling, and above it in steps of this size. So the buffer
/// has at most 256 KiB (SPEC §10). Two messages of the largest size and the rest of a third message
/// fit into 256 KiB. If the buffer always doubled, it could reach 384 KiB.
const GROW_AT_MOST: usize = 64 * 1024;

/// Bytes that wait to be written, in one piece. All of the memory is initialised, so that a payload
/// can be copied and masked in one pass without `unsafe`.
#[derive(Debug, Default)]
pub(super) struct OutBuffer {
    memory: Vec<u8>,
    /// Where the waiting bytes begin.
    start: usize,
    /// Where the waiting bytes end.
    end: usize,
}

impl OutBuffer {
    /// The number of waiting bytes.
    pub(super) fn len(&self) -> usize {
        self.end - self.start
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(super) fn as_slice(&self) -> &[u8] {
        &self.memory[self.start..self.end]
    }

    /// Returns room for `len` bytes after the waiting bytes. Bytes that the caller puts into the
    /// room count as waiting bytes only after a call of [`add`](Self::add).
    pub(super) fn reserve(&mut self, len: usize) -> &mut [u8] {
        let needed = self.end + len;
        if needed > self.memory.len() {
            let wanted = needed.next_power_of_two().min(needed.next_multiple_of(GROW_AT_MOST));
            self.memory.reserve_exact(wanted - self.memory.len());
            self.memory.resize(wanted, 0);
        }
        &mut self.memory[self.end..needed]
    }

    /// Adds the first `len` bytes of the room to the waiting bytes.
    pub(super) fn add(&mut self, len: usize) {
        self.end += len;
    }

    /// Removes the first `len` waiting bytes, which have been written.
    pub(super) fn remove(&mut self, len: usize) {
        self.start += len;
    }

    /// Moves the waiting bytes to the beginning of the memory. If more bytes wait than were written
    /// since the last move, the method does nothing, because the move would cost too much.
    pub(super) fn compact(&mut self) {
        if self.start >= self.len() {
            self.memory.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.len());
        }
    }

    /// The size of the memory.
    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.memory.capacity()
    }
}
