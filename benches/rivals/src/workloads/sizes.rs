//! How much work each workload does.

use std::time::Duration;

use clap::ValueEnum;
use serde::Serialize;

use super::{GIB, MIB};
use crate::path::Path;

/// How long the workloads run on a long path. This is long enough for a window to grow, and for a
/// hundred round trips of the longest path (200 ms).
const ON_A_LONG_PATH: Duration = Duration::from_secs(20);

/// How much work each workload does, which is the same for every backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Size {
    /// A little work, only to see that everything runs
    Quick,
    /// Enough work for a run of some minutes
    Default,
    /// Enough work to produce figures that can be quoted
    Full,
}

#[derive(Debug)]
pub struct Sizes {
    pub bulk: u64,
    pub each_of_100: u64,
    pub each_of_duplex: u64,
    pub small_writes: u64,
    pub calls_1000: u64,
    pub calls_64: u64,
    pub calls_1: u64,
    pub pages: u64,
    pub rounds: u64,
    /// The fixed time for which `sustained`, `loaded` and `mixed` run.
    pub loaded: Duration,
    pub stalled: u64,
    pub stalled_turns: usize,
    /// After this long without progress, a workload with stalled streams counts as hanging.
    pub patience: Duration,
    pub connections: u64,
    pub bursts: u64,
    pub churned: u64,
    pub subscribers: u64,
    pub events: u64,
    /// The idle streams of `mixed`.
    pub idle_of_mixed: u64,
    pub idle_streams: u64,
    pub idle_connections: u64,
}

impl Size {
    pub fn sizes(self, path: Option<Path>) -> Sizes {
        let mut sizes = self.sizes_of_loopback();
        if path.is_some() {
            sizes.loaded = ON_A_LONG_PATH;
        }
        sizes
    }

    fn sizes_of_loopback(self) -> Sizes {
        match self {
            Self::Quick => Sizes {
                bulk: 16 * MIB,
                each_of_100: 128 * 1024,
                each_of_duplex: 8 * MIB,
                small_writes: 2_000,
                calls_1000: 1_000,
                calls_64: 200,
                calls_1: 50,
                pages: 128,
                rounds: 200,
                loaded: Duration::from_millis(50),
                stalled: 4 * MIB,
                stalled_turns: 1,
                patience: Duration::from_secs(1),
                connections: 32,
                bursts: 2,
                churned: 32,
                subscribers: 32,
                events: 4,
                idle_of_mixed: 32,
                idle_streams: 256,
                idle_connections: 64,
            },
            Self::Default => Sizes {
                bulk: 512 * MIB,
                each_of_100: 5 * MIB,
                each_of_duplex: 256 * MIB,
                small_writes: 200_000,
                calls_1000: 40_000,
                calls_64: 20_000,
                calls_1: 3_000,
                pages: 10_000,
                rounds: 10_000,
                loaded: Duration::from_secs(1),
                stalled: 64 * MIB,
                stalled_turns: 3,
                patience: Duration::from_secs(3),
                connections: 1_000,
                bursts: 10,
                churned: 2_000,
                subscribers: 1_000,
                events: 50,
                idle_of_mixed: 1_000,
                idle_streams: 10_000,
                idle_connections: 5_000,
            },
            Self::Full => Sizes {
                bulk: GIB,
                each_of_100: 10 * MIB,
                each_of_duplex: 512 * MIB,
                small_writes: 1_000_000,
                calls_1000: 100_000,
                calls_64: 50_000,
                calls_1: 10_000,
                pages: 20_000,
                rounds: 50_000,
                loaded: Duration::from_secs(5),
                stalled: 256 * MIB,
                stalled_turns: 3,
                patience: Duration::from_secs(3),
                connections: 1_000,
                bursts: 50,
                churned: 5_000,
                subscribers: 1_000,
                events: 200,
                idle_of_mixed: 1_000,
                idle_streams: 10_000,
                idle_connections: 5_000,
            },
        }
    }
}
