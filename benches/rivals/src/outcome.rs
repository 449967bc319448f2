//! The result of a measurement.

use std::collections::BTreeMap;

use anyhow::Result;
use serde::{Deserialize, Serialize};

use crate::watchdog::Hangs;

/// Metrics, in the order in which a table shows them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    MibPerS,
    OpsPerS,
    /// Connections that were made, used for one call and closed.
    ConnectionsPerS,
    P50Us,
    P99Us,
    /// The ratio of the rate beside stalled streams to the rate without them.
    Ratio,
    CpuSPerGib,
    ClientCpuSPerGib,
    ServerCpuSPerGib,
    CpuSPer100k,
    ClientCpuSPer100k,
    ServerCpuSPer100k,
    /// The client's allocations for each call.
    ClientAllocations,
    ServerAllocations,
    BytesEach,
    /// The growth of resident memory from the process's start to its peak, both ends together.
    PeakMib,
}

impl Metric {
    pub fn unit(self) -> &'static str {
        match self {
            Self::MibPerS => "MiB/s",
            Self::OpsPerS => "ops/s",
            Self::ConnectionsPerS => "connections/s",
            Self::P50Us => "p50 µs",
            Self::P99Us => "p99 µs",
            Self::Ratio => "of alone",
            Self::CpuSPerGib => "CPU s/GiB",
            Self::ClientCpuSPerGib | Self::ClientCpuSPer100k => "client's",
            Self::ServerCpuSPerGib | Self::ServerCpuSPer100k => "server's",
            Self::CpuSPer100k => "CPU s/100k",
            Self::ClientAllocations => "client's allocs",
            Self::ServerAllocations => "server's allocs",
            Self::BytesEach => "bytes each",
            Self::PeakMib => "peak MiB",
        }
    }

    pub fn more_is_better(self) -> bool {
        matches!(self, Self::MibPerS | Self::OpsPerS | Self::ConnectionsPerS | Self::Ratio)
    }
}

pub type Metrics = BTreeMap<Metric, f64>;

/// The result that a child process prints, on a single line.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    Measured(Metrics),
    Hangs,
    Failed(String),
}

impl From<Result<Metrics>> for Outcome {
    fn from(result: Result<Metrics>) -> Self {
        match result {
            Ok(metrics) => Self::Measured(metrics),
            Err(error) if error.is::<Hangs>() => Self::Hangs,
            Err(error) => Self::Failed(format!("{error:#}")),
        }
    }
}
