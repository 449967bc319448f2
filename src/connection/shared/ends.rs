//! Stores how sending halves have ended. Futures that wait for the end of a half read its outcome
//! here.

use std::sync::{Arc, OnceLock};

use wsmux_proto::{StreamId, StreamMap, VarInt};

use crate::{
    connection::{waiters::Waiters, wakeups::Wakeups},
    error::StoppedError,
};

/// The result of [`SendStream::stopped`](crate::SendStream::stopped).
pub(super) type Outcome = Result<Option<VarInt>, StoppedError>;

/// The place where the outcome of a sending half is stored. It is empty until the half has ended. A
/// waiting task reads the outcome here, because the engine may have forgotten the half before the
/// task runs.
pub(crate) type EndWatch = Arc<OnceLock<Outcome>>;

/// The sending halves that are watched and have not ended. There is at most one entry for each
/// sending half that the engine knows, so the limits on streams also bound the entries.
#[derive(Debug, Default)]
pub(super) struct Ends(StreamMap<Box<End>>);

#[derive(Debug, Default)]
struct End {
    watch: EndWatch,
    waiters: Waiters,
}

impl Ends {
    /// Returns the watch of a half that has not ended. If the half has no watch, creates the watch.
    pub(super) fn watch(&mut self, id: StreamId) -> EndWatch {
        if let Some(end) = self.0.get(id) {
            return end.watch.clone();
        }
        let end = Box::<End>::default();
        let watch = end.watch.clone();
        self.0.insert(id, end);
        watch
    }

    /// Stores the outcome in the half's watch, and wakes the tasks that wait for it. Only the first
    /// outcome counts, because this call removes the half's entry.
    pub(super) fn set(&mut self, id: StreamId, outcome: Outcome, wakeups: &mut Wakeups) {
        if let Some(mut end) = self.0.remove(id) {
            let _ = end.watch.set(outcome);
            end.waiters.wake(u64::MAX, wakeups.list());
        }
    }

    /// Returns the tasks that wait for the half's end. Returns `None` if the half has ended, or if
    /// no task watches it.
    pub(super) fn waiters(&mut self, id: StreamId) -> Option<&mut Waiters> {
        self.0.get_mut(id).map(|end| &mut end.waiters)
    }

    pub(super) fn ids(&mut self) -> Vec<StreamId> {
        self.0.ids().collect()
    }
}
