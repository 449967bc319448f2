//! The locks and the task that the handles and the driver share. Under `cfg(shuttle)`, which only
//! tests/interleavings sets, they come from shuttle, whose scheduler tries many interleavings.

#[cfg(all(not(shuttle), target_family = "wasm"))]
pub(crate) use super::spawn;
#[cfg(shuttle)]
pub(crate) use shuttle::sync::{Mutex, MutexGuard, atomic::AtomicUsize};
#[cfg(not(shuttle))]
pub(crate) use std::sync::{Mutex, MutexGuard, atomic::AtomicUsize};
#[cfg(all(not(shuttle), not(target_family = "wasm")))]
pub(crate) use tokio::spawn;

/// Spawns a task that must complete; otherwise shuttle reports a deadlock. A task whose handle has
/// been dropped need not complete.
#[cfg(shuttle)]
pub(crate) fn spawn(task: impl Future<Output = ()> + Send + 'static) {
    std::mem::forget(shuttle::future::spawn(task));
}
