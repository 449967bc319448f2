//! Tells a workload that hangs from one that is slow.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use anyhow::Result;
use tokio::time::{interval, sleep};

/// Long beside any pause of the scheduler's or of Nagle's, short beside the patience of a reader.
const PATIENCE: Duration = Duration::from_secs(3);

/// The process runs one workload, and this is how far it is.
static STEPS: AtomicU64 = AtomicU64::new(0);

/// Nothing has moved for three seconds.
#[derive(Debug, thiserror::Error)]
#[error("hangs")]
pub struct Hangs;

/// Something has moved.
pub fn progress() {
    STEPS.fetch_add(1, Ordering::Relaxed);
}

/// Gives `work` up when it makes no progress.
pub async fn watch<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    let watch = async {
        let mut seen = STEPS.load(Ordering::Relaxed);
        loop {
            sleep(PATIENCE).await;
            let steps = STEPS.load(Ordering::Relaxed);
            if steps == seen {
                return Hangs;
            }
            seen = steps;
        }
    };
    tokio::select! {
        done = work => done,
        hangs = watch => Err(hangs.into()),
    }
}

/// Waits until nothing moves any more.
pub async fn quiet() {
    // Many times what the slowest takes between two chunks.
    let mut ticks = interval(Duration::from_millis(100));
    let mut seen = None;
    loop {
        ticks.tick().await;
        let steps = STEPS.load(Ordering::Relaxed);
        if seen.replace(steps) == Some(steps) {
            return;
        }
    }
}
