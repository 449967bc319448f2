//! What the cost may depend on, and the points at which each factor is measured.

use clap::ValueEnum;
use serde::Serialize;

use super::cores::Servers;
use crate::outcome::Metric;

/// What changes from point to point, while everything else stays the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Factor {
    /// Idle connections; the calls use one other connection
    IdleConnections,
    /// Connections over which the calls are spread
    BusyConnections,
    /// Idle streams of the connection that the calls use
    IdleStreams,
    /// The size of each write of a stream that sends as fast as it can
    Writes,
    /// The size of a message and of its echo
    Messages,
    /// Cores, with a current-thread runtime and a listener for each
    PerCore,
    /// Cores, with one multi-thread runtime and one listener
    MultiThread,
}

impl Factor {
    pub fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }

    pub fn about(self) -> String {
        let value = self.to_possible_value();
        value.and_then(|value| value.get_help().map(ToString::to_string)).unwrap_or_default()
    }

    /// Returns the label of the horizontal axis, which says what the number of a point counts.
    pub fn axis(self) -> &'static str {
        match self {
            Self::IdleConnections => "idle connections",
            Self::BusyConnections => "connections",
            Self::IdleStreams => "idle streams",
            Self::Writes => "bytes per write",
            Self::Messages => "bytes per message",
            Self::PerCore | Self::MultiThread => "cores",
        }
    }

    /// The metrics whose curves are shown.
    pub fn metrics(self) -> &'static [Metric] {
        match self {
            Self::IdleConnections | Self::IdleStreams => {
                &[Metric::OpsPerS, Metric::CpuSPer100k, Metric::BytesEach]
            }
            Self::BusyConnections => &[Metric::OpsPerS, Metric::CpuSPer100k],
            Self::Writes => &[Metric::MibPerS, Metric::CpuSPerGib],
            Self::Messages => &[Metric::P50Us],
            Self::PerCore | Self::MultiThread => {
                &[Metric::OpsPerS, Metric::ConnectionsPerS, Metric::CpuSPer100k]
            }
        }
    }

    /// Returns the points, in ascending order.
    pub fn points(self, quick: bool) -> Vec<u64> {
        let (all, few): (Vec<u64>, usize) = match self {
            Self::IdleConnections | Self::BusyConnections => {
                (vec![10, 30, 100, 300, 1_000, 3_000, 10_000], 3)
            }
            Self::IdleStreams => (vec![10, 100, 1_000, 10_000, 30_000, 100_000], 3),
            Self::Writes => (powers(16, 4, 1 << 20), 3),
            Self::Messages => (powers(1, 4, 1 << 20), 3),
            Self::PerCore | Self::MultiThread => (powers(1, 2, super::cores::available()), 2),
        };
        let count = if quick { few } else { all.len() };
        all.into_iter().take(count).collect()
    }

    /// Returns how many pairs of sockets a point needs, or `None` if all points need the same
    /// number.
    pub fn sockets(self, at: u64) -> Option<u64> {
        matches!(self, Self::IdleConnections | Self::BusyConnections).then_some(at)
    }

    /// Returns how the servers are placed, or `None` if the factor does not concern the servers.
    pub fn servers(self) -> Option<Servers> {
        match self {
            Self::PerCore => Some(Servers::PerCore),
            Self::MultiThread => Some(Servers::MultiThread),
            _ => None,
        }
    }
}

/// Returns a metric's name in a formula, such as `calls/s ~ cores^0.90`.
pub fn quantity(metric: Metric) -> &'static str {
    match metric {
        Metric::OpsPerS => "calls/s",
        Metric::CpuSPer100k => "CPU per call",
        Metric::CpuSPerGib => "CPU per byte",
        Metric::BytesEach => "memory of each",
        Metric::P50Us => "round trip, p50",
        _ => metric.unit(),
    }
}

fn powers(first: u64, base: u64, last: u64) -> Vec<u64> {
    std::iter::successors(Some(first), |&point| Some(point * base))
        .take_while(|&point| point <= last)
        .collect()
}
