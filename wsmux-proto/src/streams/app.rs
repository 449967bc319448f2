//! The application's calls that concern all streams: opening and accepting.

use super::{Phase, Streams};
use crate::{Dir, OpenError, StreamId};

impl Streams {
    /// Opens a stream. Returns `Ok(None)` at the peer's limit or at the local one.
    pub(crate) fn open(&mut self, dir: Dir) -> Result<Option<StreamId>, OpenError> {
        if self.openable(dir)? == 0 {
            self.limits.note_waiting(dir);
            return Ok(None);
        }
        let id = self.limits.open_local(dir);
        self.insert(id);
        Ok(Some(id))
    }

    /// How many more streams the peer's limit and the local one allow now.
    pub(crate) fn openable(&self, dir: Dir) -> Result<u64, OpenError> {
        if dir == Dir::Uni && !self.caps.unidirectional() {
            // J-34
            return Err(OpenError::Unsupported);
        }
        if self.phase == Phase::Draining {
            return Err(OpenError::Draining);
        }
        Ok(self.limits.openable(dir))
    }

    /// Whether local streams have ended, after the local limit had kept others from being opened.
    pub(crate) fn has_available(&self) -> bool {
        self.limits.has_available()
    }

    /// The next kind of stream for which that is so. Returns each kind once.
    pub(crate) fn take_available(&mut self) -> Option<Dir> {
        self.limits.take_available()
    }

    /// An application waits at the limit: STREAMS_BLOCKED is sent, once for each limit (RFC 9000
    /// §4.6). Says whether it is.
    pub(crate) fn report_streams_blocked(&mut self, dir: Dir) -> bool {
        self.phase == Phase::Open && self.limits.report_blocked(dir)
    }

    /// The peer may have this many streams of a kind open at once. Fewer than before takes effect
    /// as streams end: what was granted is not taken back.
    pub(crate) fn set_max_concurrent(&mut self, dir: Dir, max: u64) {
        self.budgets.allow_streams(max);
        self.limits.set_max_concurrent(dir, max);
    }

    /// How many streams this end has opened, how many the peer, and how many of all have ended.
    pub(crate) fn totals(&self) -> (u64, u64, u64) {
        self.limits.totals()
    }

    /// The oldest stream of the peer that the application has not accepted.
    pub(crate) fn accept(&mut self, dir: Dir) -> Option<StreamId> {
        self.unaccepted[dir as usize].pop_front()
    }

    pub(crate) fn acceptable(&self, dir: Dir) -> u64 {
        self.unaccepted[dir as usize].len() as u64
    }
}
