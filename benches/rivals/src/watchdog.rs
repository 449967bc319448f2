//! Tells a workload that hangs from one that is slow.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use anyhow::Result;
use tokio::time::{MissedTickBehavior, interval};

/// Many times what the slowest takes between two chunks.
const TICK: Duration = Duration::from_millis(100);

/// The process runs one workload, and this is how far it is.
static STEPS: AtomicU64 = AtomicU64::new(0);

/// Nothing has moved for as long as we had patience.
#[derive(Debug, thiserror::Error)]
#[error("hangs")]
pub struct Hangs;

/// Something has moved.
pub fn progress() {
    STEPS.fetch_add(1, Ordering::Relaxed);
}

/// Waits until nothing has moved for so long.
pub async fn quiet(time: Duration) {
    let mut ticks = interval(TICK);
    // Ticks are counted, and not the time: a machine that stood still moves nothing either.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let enough = time.as_millis() / TICK.as_millis();
    let (mut seen, mut still) = (None, 0);
    loop {
        ticks.tick().await;
        let steps = STEPS.load(Ordering::Relaxed);
        still = if seen.replace(steps) == Some(steps) { still + 1 } else { 0 };
        if still >= enough {
            return;
        }
    }
}

/// Gives `work` up when nothing moves for longer than `patience`.
pub async fn watch<T>(patience: Duration, work: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::select! {
        done = work => done,
        () = quiet(patience) => Err(Hangs.into()),
    }
}
