//! Distinguishes a workload that hangs from a workload that is slow.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use anyhow::Result;
use tokio::time::{Interval, MissedTickBehavior, interval};

/// The unit in which waiting time is counted. It is many times longer than the slowest backend's
/// pause between two chunks.
const TICK: Duration = Duration::from_millis(100);

/// The progress of the one workload that the process runs.
static STEPS: AtomicU64 = AtomicU64::new(0);

/// The error of a workload that made no progress for too long.
#[derive(Debug, thiserror::Error)]
#[error("hangs")]
pub struct Hangs;

/// Records progress.
pub fn progress() {
    STEPS.fetch_add(1, Ordering::Relaxed);
}

/// Returns a clock that counts only time in which this process runs, because no progress can be
/// expected while the process or its machine is stopped.
fn ticks() -> Interval {
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

fn count(time: Duration) -> u128 {
    time.as_millis() / TICK.as_millis()
}

/// Waits until this process has been running for this long.
pub async fn running(time: Duration) {
    let mut ticks = ticks();
    for _ in 0..count(time) {
        ticks.tick().await;
    }
}

/// Waits until there was no progress for this long.
pub async fn quiet(time: Duration) {
    let mut ticks = ticks();
    let (mut seen, mut still) = (None, 0);
    while still < count(time) {
        ticks.tick().await;
        let steps = STEPS.load(Ordering::Relaxed);
        still = if seen.replace(steps) == Some(steps) { still + 1 } else { 0 };
    }
}

/// Runs `work`, and abandons it if it makes no progress for longer than `patience`.
pub async fn watch<T>(patience: Duration, work: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::select! {
        done = work => done,
        () = quiet(patience) => Err(Hangs.into()),
    }
}
