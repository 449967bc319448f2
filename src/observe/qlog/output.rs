//! The way from a connection's task to a writer that may be slow, and how much may wait on it.

use tokio::runtime::Handle;

use super::writer::Queue;

/// Allocated bytes that a log has, at most: what a busy connection writes in some hundred milliseconds.
pub(super) const MAX_HELD: usize = 4 * 1024 * 1024;

/// Bytes of records that are gathered before they are handed to the writer.
pub(super) const CHUNK: usize = 32 * 1024;

/// What is kept free of [`MAX_HELD`] for the chunk that is being made. The longest record is one of a packet, some
/// 250 KiB after almost a [`CHUNK`]; a block that grows is up to twice as large as what is in it, while it is copied
/// the one before it is there as well, and so are the entries that are being written.
const HEADROOM: usize = 1280 * 1024;

/// Where a log's chunks go. Never waits.
#[derive(Debug)]
pub(super) struct Output {
    /// It does not end before the log is written.
    runtime: Handle,
    queue: Queue,
}

impl Output {
    pub(super) fn new(queue: Queue, runtime: Handle) -> Self {
        Self { runtime, queue }
    }

    pub(super) fn has_failed(&self) -> bool {
        self.queue.has_failed()
    }

    /// Whether so much waits that no more should come.
    pub(super) fn is_full(&self) -> bool {
        self.queue.bytes() > MAX_HELD - HEADROOM || self.queue.is_backlog_full()
    }

    pub(super) fn push(&self, chunk: Vec<u8>) {
        if !chunk.is_empty() {
            self.queue.push(chunk);
        }
    }

    /// Nothing follows: the writer is flushed, and dropped.
    pub(super) fn end(&self) {
        // A runtime that has ended drops it at once.
        self.runtime.spawn(self.queue.end().wait());
    }
}
