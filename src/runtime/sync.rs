//! The locks that the handles and the driver share, and the function that spawns the driver. Under
//! `cfg(shuttle)`, which only tests/interleavings sets, the locks and the function come from
//! shuttle, whose scheduler tries many interleavings.

#[cfg(all(not(shuttle), target_family = "wasm"))]
pub(crate) use super::spawn;
#[cfg(shuttle)]
pub(crate) use shuttle::sync::{Mutex, MutexGuard, atomic::AtomicUsize};
#[cfg(not(shuttle))]
pub(crate) use std::sync::{Mutex, MutexGuard, atomic::AtomicUsize};
#[cfg(all(not(shuttle), not(target_family = "wasm")))]
pub(crate) use tokio::spawn;

/// Spawns a task. If the task does not complete, shuttle reports a deadlock. The handle is
/// forgotten and not dropped, because shuttle does not report a task whose handle was dropped.
#[cfg(shuttle)]
pub(crate) fn spawn(task: impl Future<Output = ()> + Send + 'static) {
    std::mem::forget(shuttle::future::spawn(task));
}
