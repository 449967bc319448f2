//! Tasks, clocks and random numbers, from tokio and the system.

pub(crate) use tokio::{
    task::{AbortHandle, yield_now},
    time::{Instant, Sleep, sleep},
};

/// Starts a task that its handle can stop.
pub(crate) fn spawn_abortable(task: impl Future<Output = ()> + Send + 'static) -> AbortHandle {
    tokio::spawn(task).abort_handle()
}

/// At least 0, less than 1.
pub(crate) fn random() -> f64 {
    rand::random()
}
