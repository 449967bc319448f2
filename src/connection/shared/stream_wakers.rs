//! The wakers of the tasks that read or write streams.

use std::task::Waker;

use wsmux_proto::{StreamId, StreamMap};

/// One waker for each stream, for one kind of wait. An entry lives until the stream's handle is
/// dropped, also while it has no waker: a task that has waited for a stream mostly waits again.
#[derive(Debug, Default)]
pub(super) struct StreamWakers(StreamMap<Option<Waker>>);

impl StreamWakers {
    /// Stores `waker`, and returns a replaced one, which the caller must drop without the lock. A
    /// stored waker of the same task stays, and `waker` is not cloned.
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
