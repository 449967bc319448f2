//! Records which data has left the process. On some wires, the end of a stream is sent only after
//! the stream's data has left the process (SPEC.md J-16).
//!
//! Invariant: data with the current [`Mark`] may still be in a buffer of the socket, and data with
//! any other mark has left the process.

#[derive(Debug)]
pub(super) struct Flush {
    /// The number of flushes so far, plus one.
    current: Mark,
    wanted: bool,
}

impl Default for Flush {
    fn default() -> Self {
        Self { current: Mark(1), wanted: false }
    }
}

impl Flush {
    /// Returns the mark of data that is written now.
    pub(super) fn mark(&self) -> Mark {
        self.current
    }

    /// Whether data with this mark has left the process.
    pub(super) fn is_done(&self, mark: Mark) -> bool {
        mark != self.current
    }

    /// Requests a flush for the end of a stream, which waits for the flush.
    pub(super) fn request(&mut self) {
        self.wanted = true;
    }

    #[inline]
    pub(super) fn is_wanted(&self) -> bool {
        self.wanted
    }

    /// Returns whether a flush is wanted. If a flush is wanted, the caller must flush now. Data
    /// that is written after this call gets a new mark.
    pub(super) fn take(&mut self) -> bool {
        let wanted = std::mem::take(&mut self.wanted);
        self.current.0 += u64::from(wanted);
        wanted
    }
}

/// The mark of data, which is the number of the flush after which the data has left the process.
/// The default is the mark of data that needs no flush.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark(u64);
