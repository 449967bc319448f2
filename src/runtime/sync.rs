//! The locks, and the task, of what the handles and the driver share. Under `cfg(shuttle)`, which only
//! tests/interleavings sets, they are those of a scheduler that tries many orders of their steps.

#[cfg(all(not(shuttle), target_family = "wasm"))]
pub(crate) use super::spawn;
#[cfg(shuttle)]
pub(crate) use shuttle::sync::{Mutex, MutexGuard, atomic::AtomicUsize};
#[cfg(not(shuttle))]
pub(crate) use std::sync::{Mutex, MutexGuard, atomic::AtomicUsize};
#[cfg(all(not(shuttle), not(target_family = "wasm")))]
pub(crate) use tokio::spawn;

/// A task that has to come to its end, or shuttle calls it a deadlock: one whose handle is dropped need not.
#[cfg(shuttle)]
pub(crate) fn spawn(task: impl Future<Output = ()> + Send + 'static) {
    std::mem::forget(shuttle::future::spawn(task));
}
