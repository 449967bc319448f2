//! The guard of a connection's lock. It wakes tasks after it has released the lock.

use std::ops::{Deref, DerefMut};

use super::State;
use crate::{connection::wakeups::Wakeups, runtime::sync::MutexGuard};

/// The guard of a connection's lock. When it is dropped, it first releases the lock, and then wakes
/// and drops the wakers that were collected under the lock.
pub(crate) struct Locked<'a> {
    // Fields are dropped in the order of their declaration, so the lock is released before the
    // wakers are dropped.
    state: MutexGuard<'a, State>,
    wakeups: Option<Wakeups>,
}

impl<'a> Locked<'a> {
    #[inline]
    pub(super) fn new(state: MutexGuard<'a, State>) -> Self {
        Self { state, wakeups: None }
    }

    /// Releases the lock and moves the wakers to `wakeups`. The caller has to call the wakers in
    /// `wakeups`. `wakeups` must be empty before the call. Its memory is reused.
    pub(crate) fn unlock_into(mut self, wakeups: &mut Wakeups) {
        self.state.swap_wakeups(wakeups);
    }
}

impl Drop for Locked<'_> {
    #[inline]
    fn drop(&mut self) {
        // Usually there are no wakers. Then nothing is moved.
        if self.state.has_wakeups() {
            // C-87: `wakeups` is dropped after `state`, and so without the lock.
            self.wakeups = Some(self.state.take_wakeups());
        }
    }
}

impl Deref for Locked<'_> {
    type Target = State;

    fn deref(&self) -> &State {
        &self.state
    }
}

impl DerefMut for Locked<'_> {
    fn deref_mut(&mut self) -> &mut State {
        &mut self.state
    }
}
