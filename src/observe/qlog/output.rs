//! Carries records from a connection's task to a writer that may be slow, and bounds how many may
//! wait.

use tokio::runtime::Handle;

use super::writer::Queue;

/// The most bytes that are allocated for one log. A busy connection produces this many in a few
/// hundred milliseconds.
pub(super) const MAX_HELD: usize = 4 * 1024 * 1024;

/// How many bytes of records are collected before they are passed to the writer.
pub(super) const CHUNK: usize = 32 * 1024;

/// The part of [`MAX_HELD`] that is kept free for the current chunk. The longest record is that of
/// a packet: it has some 250 KiB, and may be appended to almost a whole [`CHUNK`]. A buffer that
/// grows may be twice as large as its content, and while the content is copied, the old buffer
/// still exists. The frame entries of the record that is being written need memory, too.
const HEADROOM: usize = 1280 * 1024;

/// The destination of a log's chunks. It never waits.
#[derive(Debug)]
pub(super) struct Output {
    /// The runtime of the connection, which does not end before the log is written.
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

    /// Whether so many bytes wait that no further event may be added.
    pub(super) fn is_full(&self) -> bool {
        self.queue.bytes() > MAX_HELD - HEADROOM || self.queue.is_backlog_full()
    }

    pub(super) fn push(&self, chunk: Vec<u8>) {
        if !chunk.is_empty() {
            self.queue.push(chunk);
        }
    }

    /// Ends the log: the writer is flushed and dropped.
    pub(super) fn end(&self) {
        // If the runtime has ended, it drops the task at once, and the drop waits until the log is
        // written.
        self.runtime.spawn(self.queue.end().wait());
    }
}
