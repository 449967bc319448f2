//! The wakers of the tasks that read or write streams.

use std::task::Waker;

use wsmux_proto::{StreamId, StreamMap};

/// The wakers of all tasks that wait to read, or of all tasks that wait to write. Each stream has
/// at most one waker here. The entry of a stream stays even without a waker, because a task that
/// has waited for a stream usually waits again. The entry is removed when the stream is no longer
/// used, at the latest when the stream's handle is dropped.
///
/// An entry without a waker contains [`Waker::noop`], because the map would need more memory for an
/// `Option`.
#[derive(Debug, Default)]
pub(super) struct StreamWakers(StreamMap<Waker>);

/// Returns the waker, or `None` for [`Waker::noop`].
fn some(waker: Waker) -> Option<Waker> {
    (!waker.will_wake(Waker::noop())).then_some(waker)
}

impl StreamWakers {
    /// Stores a clone of `waker`, and returns the waker that it replaces. The caller must drop the
    /// returned waker after releasing the lock. If the stored waker wakes the same task, the stored
    /// waker stays, and `waker` is not cloned.
    #[must_use = "a waker is not dropped under the lock"]
    pub(super) fn set(&mut self, id: StreamId, waker: &Waker) -> Option<Waker> {
        match self.0.get_mut(id) {
            Some(before) if before.will_wake(waker) => None,
            Some(slot) => some(std::mem::replace(slot, waker.clone())),
            None => self.0.insert(id, waker.clone()),
        }
    }

    #[must_use = "a waker is not dropped under the lock"]
    pub(super) fn take(&mut self, id: StreamId) -> Option<Waker> {
        some(std::mem::replace(self.0.get_mut(id)?, Waker::noop().clone()))
    }

    #[must_use = "a waker is not dropped under the lock"]
    pub(super) fn remove(&mut self, id: StreamId) -> Option<Waker> {
        self.0.remove(id).and_then(some)
    }

    pub(super) fn drain(&mut self) -> impl Iterator<Item = Waker> {
        self.0.drain().filter_map(some)
    }
}
