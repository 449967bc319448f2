//! Tasks, clocks and random numbers, from tokio and the system.

pub(crate) use tokio::{
    task::{AbortHandle, yield_now},
    time::{Instant, Sleep, sleep},
};

/// Spawns a task that can be aborted through its handle.
pub(crate) fn spawn_abortable(task: impl Future<Output = ()> + Send + 'static) -> AbortHandle {
    tokio::spawn(task).abort_handle()
}

/// A random number that is at least 0 and less than 1.
pub(crate) fn random() -> f64 {
    rand::random()
}
