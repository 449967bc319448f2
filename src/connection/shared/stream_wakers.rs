//! The wakers of the tasks that read or write streams.

use std::task::Waker;

use wsmux_proto::{StreamId, StreamMap};

/// The wakers of all tasks that wait to read, or of all tasks that wait to write. Each stream has
/// at most one waker here. The entry of a stream stays while it has no waker, because a task that
/// has waited for a stream usually waits again. The entry is removed when the stream is no longer
/// used, at the latest when the stream's handle is dropped.
#[derive(Debug, Default)]
pub(super) struct StreamWakers(StreamMap<Option<Waker>>);

impl StreamWakers {
    /// Stores `waker`, and returns the waker that it replaced, which the caller must drop after
    /// releasing the lock. If the stored waker wakes the same task, it stays, and `waker` is not
    /// cloned.
    #[must_use = "a waker is not dropped under the lock"]
    pub(super) fn set(&mut self, id: StreamId, waker: &Waker) -> Option<Waker> {
        match self.0.get_mut(id) {
            Some(Some(before)) if before.will_wake(waker) => None,
            Some(slot) => slot.replace(waker.clone()),
            None => self.0.insert(id, Some(waker.clone())).flatten(),
        }
    }

    #[must_use = "a waker is not dropped under the lock"]
    pub(super) fn take(&mut self, id: StreamId) -> Option<Waker> {
        self.0.get_mut(id)?.take()
    }

    #[must_use = "a waker is not dropped under the lock"]
    pub(super) fn remove(&mut self, id: StreamId) -> Option<Waker> {
        self.0.remove(id).flatten()
    }

    pub(super) fn drain(&mut self) -> impl Iterator<Item = Waker> {
        self.0.drain().flatten()
    }
}
