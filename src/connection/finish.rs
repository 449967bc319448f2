//! What happens when the driver or the task of a connection is gone.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use super::{shared::Shared, wakeups::Wakeups};

/// Wakes all waiting tasks when the connection's task is dropped. The task is dropped when it has
/// ended, when it has panicked, or together with its runtime.
pub(super) struct Finish(pub(super) Arc<Shared>);

impl Drop for Finish {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.is_gone = true;
        let held = state.slot.take();
        #[cfg(not(target_family = "wasm"))]
        let held = (held, state.next_socket.take());
        drop(state);
        unless_it_panics(|| drop(held));
        finish(&self.0);
    }
}

/// Wakes all waiting tasks, because the connection has ended and has no socket.
pub(super) fn finish(shared: &Shared) {
    let mut wakeups = Wakeups::default();
    let mut state = shared.lock();
    unless_it_panics(|| shared.dispatch(&mut state));
    unless_it_panics(|| state.finish());
    let kept = state.kept.take();
    state.unlock_into(&mut wakeups);
    unless_it_panics(|| drop(kept));
    unless_it_panics(|| wakeups.notify());
}

/// Runs code of the application, such as wakers and drops, and discards a panic in it. This may run
/// in a drop that is part of a panic, where a second panic would abort the process.
pub(super) fn unless_it_panics<T>(step: impl FnOnce() -> T) {
    let _ = catch_unwind(AssertUnwindSafe(step));
}
