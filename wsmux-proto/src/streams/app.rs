//! The application's calls that concern all streams: opening streams, accepting streams, and
//! limiting how many the peer may open.

use super::{Phase, Streams};
use crate::{Dir, OpenError, StreamId};

impl Streams {
    /// Opens a stream. Returns `Ok(None)` if the peer's limit or the local limit is reached.
    pub(crate) fn open(&mut self, dir: Dir) -> Result<Option<StreamId>, OpenError> {
        if self.openable(dir)? == 0 {
            self.limits.note_waiting(dir);
            return Ok(None);
        }
        let id = self.limits.open_local(dir);
        self.insert(id);
        Ok(Some(id))
    }

    /// Returns how many more streams the peer's limit and the local limit allow now.
    pub(crate) fn openable(&self, dir: Dir) -> Result<u64, OpenError> {
        if dir == Dir::Uni && !self.caps.unidirectional() {
            // J-34
            return Err(OpenError::Unsupported);
        }
        if matches!(self.phase, Phase::Leaving | Phase::Draining) {
            return Err(OpenError::Draining);
        }
        Ok(self.limits.openable(dir))
    }

    /// Whether [`take_available`](Self::take_available) would return a kind of stream.
    pub(crate) fn has_available(&self) -> bool {
        self.limits.has_available()
    }

    /// Returns a kind of stream for which the local limit may have room again. This limit had kept
    /// the application from opening a stream of this kind, and a stream of this kind has ended
    /// since then. The same kind is returned again only after another stream of this kind has
    /// ended.
    pub(crate) fn take_available(&mut self) -> Option<Dir> {
        self.limits.take_available()
    }

    /// Records that the application waits to open a stream. If the peer's limit is the reason,
    /// queues STREAMS_BLOCKED, once for each value of that limit (RFC 9000 §4.6). Returns whether
    /// the frame was queued.
    pub(crate) fn report_streams_blocked(&mut self, dir: Dir) -> bool {
        self.phase == Phase::Open && self.limits.report_blocked(dir)
    }

    /// Sets how many streams of a kind the peer may have open at once. A lower number takes effect
    /// only as streams end, because a limit that was advertised is never lowered.
    pub(crate) fn set_max_concurrent(&mut self, dir: Dir, max: u64) {
        self.budgets.allow_streams(max);
        self.limits.set_max_concurrent(dir, max);
    }

    /// Returns how many streams this end has opened, how many the peer has opened, and how many
    /// streams of both ends have ended.
    pub(crate) fn totals(&self) -> (u64, u64, u64) {
        self.limits.totals()
    }

    /// Accepts the oldest stream of the peer that the application has not accepted.
    pub(crate) fn accept(&mut self, dir: Dir) -> Option<StreamId> {
        self.unaccepted[dir as usize].pop_front()
    }

    pub(crate) fn acceptable(&self, dir: Dir) -> u64 {
        self.unaccepted[dir as usize].len() as u64
    }
}
