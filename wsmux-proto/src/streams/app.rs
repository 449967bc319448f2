//! What the application asks of all streams together: opening and accepting.

use super::Streams;
use crate::{Dir, OpenError, StreamId};

impl Streams {
    /// Opens a stream; `Ok(None)` at the peer's limit or at the local one.
    pub(crate) fn open(&mut self, dir: Dir) -> Result<Option<StreamId>, OpenError> {
        if self.openable(dir)? == 0 {
            return Ok(None);
        }
        let side = self.side;
        let count = self.counts.get_mut(side, dir);
        // C-1, C-2 (RFC 9000 §2.1)
        let id = StreamId::new(side, dir, count.opened);
        count.opened += 1;
        self.insert(id);
        Ok(Some(id))
    }

    /// How many more streams the peer's limit and the local one allow.
    pub(crate) fn openable(&mut self, dir: Dir) -> Result<u64, OpenError> {
        if dir == Dir::Uni && !self.caps.unidirectional() {
            // J-34
            return Err(OpenError::Unsupported);
        }
        if self.draining {
            return Err(OpenError::Draining);
        }
        let (side, max_local) = (self.side, self.max_local);
        let count = self.counts.get_mut(side, dir);
        let local_left = max_local.saturating_sub(count.live);
        count.capped |= local_left == 0;
        // Q-37 (RFC 9000 §4.6)
        Ok(local_left.min(count.limit - count.opened))
    }

    /// Whether local streams have ended, after the local limit had kept others from being opened.
    pub(crate) fn has_available(&self) -> bool {
        self.available != [false; 2]
    }

    /// The next kind for which that is so, once.
    pub(crate) fn take_available(&mut self) -> Option<Dir> {
        if !self.has_available() {
            return None;
        }
        let dir = Dir::ALL.into_iter().find(|&dir| self.available[dir as usize])?;
        self.available[dir as usize] = false;
        Some(dir)
    }

    /// An application waits at the limit: STREAMS_BLOCKED is sent, once for each limit (RFC 9000
    /// §4.6).
    pub(crate) fn report_streams_blocked(&mut self, dir: Dir) -> bool {
        let side = self.side;
        let count = self.counts.get_mut(side, dir);
        let (limit, news) = (count.limit, count.reported != Some(count.limit));
        // If the peer allows more, the caller waits at the local limit, which the peer cannot raise
        // (C-77).
        if !self.caps.blocked_frames || !news || count.opened < limit {
            return false;
        }
        count.reported = Some(limit);
        self.streams_blocked[dir as usize] = Some(limit);
        true
    }

    /// The oldest stream of the peer's that the application has not taken.
    pub(crate) fn accept(&mut self, dir: Dir) -> Option<StreamId> {
        self.unaccepted[dir as usize].pop_front()
    }

    pub(crate) fn acceptable(&self, dir: Dir) -> u64 {
        self.unaccepted[dir as usize].len() as u64
    }
}
