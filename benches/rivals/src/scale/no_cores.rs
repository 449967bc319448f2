//! Replaces the measurement of cores on systems other than Linux. These systems do not spread the
//! connections of a port over the port's listeners.

use std::time::Duration;

use anyhow::{Result, bail};

use crate::outcome::Metrics;

/// How the servers are placed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Servers {
    PerCore,
    MultiThread,
}

/// Returns no core, so that there are no points to measure.
pub fn available() -> u64 {
    0
}

pub fn measure(_: Servers, _: usize, _: Duration) -> Result<Metrics> {
    bail!("the factor of cores needs Linux")
}
