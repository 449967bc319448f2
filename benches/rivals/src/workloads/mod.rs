//! The workloads. Each workload counts every byte, and fails if a byte is missing.

pub mod bulk;
mod churn;
mod conns;
pub mod crowd;
mod fanout;
mod idle;
mod mixed;
mod pingpong;
pub mod rpc;
mod sizes;
mod small;
mod stalled;

use anyhow::{Result, ensure};
use clap::ValueEnum;
use serde::Serialize;

use crate::{
    backends::{Connection, Rival, Stream},
    meter::Meter,
    outcome::{Metric, Metrics},
    peer::{SUBSCRIBE, read_exact},
};
use rpc::Call;

pub use idle::resident;
pub use sizes::{Size, Sizes};

const MIB: u64 = 1024 * 1024;
const GIB: u64 = 1024 * MIB;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Workload {
    /// One stream up
    Bulk1,
    /// One stream down
    Bulk1down,
    /// 100 streams up at once
    Bulk100,
    /// One stream up for some seconds
    Sustained,
    /// One stream up and one down at once
    Duplex,
    /// One stream, writes of 32 bytes
    Small,
    /// Requests of 64 bytes, a stream each, 1,000 at once
    Rpc1000,
    /// Requests of 64 bytes, a stream each, 64 at once
    Rpc64,
    /// Requests of 64 bytes, a stream each, one after another
    Rpc1,
    /// Requests of 4 KiB with answers of 64 KiB, a stream each, 64 at once
    Rpc4k,
    /// Round trips of 64 bytes on one stream
    Pingpong,
    /// Ping-pong on one stream while another sends bulk
    Loaded,
    /// Bulk, 64 callers and 1,000 idle streams at once
    Mixed,
    /// Bulk beside one stream that nobody reads
    Stalled1,
    /// Bulk beside 8 streams that nobody reads
    Stalled8,
    /// Bulk beside 32 streams that nobody reads
    Stalled32,
    /// 1,000 connections, each with bursts of 16 messages that are echoed
    Conns,
    /// Connections for one call each, 32 at once
    Churn,
    /// Events of 1 KiB, each to 1,000 streams of one connection
    Fanout,
    /// Events of 1 KiB, each to 1,000 connections
    Fanoutconns,
    /// 10,000 open streams, memory of both ends
    Idle10k,
    /// 5,000 open connections, memory of both ends
    Idleconns,
}

impl Workload {
    pub fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }

    pub fn about(self) -> String {
        let value = self.to_possible_value();
        value.and_then(|value| value.get_help().map(ToString::to_string)).unwrap_or_default()
    }

    /// The metric that decides which backend is best.
    pub fn headline(self) -> Metric {
        match self {
            Self::Bulk1 | Self::Bulk1down | Self::Bulk100 | Self::Sustained => Metric::MibPerS,
            Self::Duplex | Self::Small => Metric::MibPerS,
            Self::Rpc1000 | Self::Rpc64 | Self::Rpc4k | Self::Pingpong => Metric::OpsPerS,
            Self::Mixed | Self::Conns | Self::Churn => Metric::OpsPerS,
            Self::Fanout | Self::Fanoutconns => Metric::OpsPerS,
            Self::Rpc1 => Metric::P50Us,
            Self::Loaded => Metric::P99Us,
            Self::Stalled1 | Self::Stalled8 | Self::Stalled32 => Metric::Ratio,
            Self::Idle10k | Self::Idleconns => Metric::BytesEach,
        }
    }

    /// Whether the tables compare the backends by this metric. Of the rates and times of calls,
    /// only the headline metric is compared, because the best backend by one percentile may not be
    /// the best backend by another percentile.
    pub fn compares(self, metric: Metric) -> bool {
        match metric {
            Metric::P50Us | Metric::P99Us | Metric::OpsPerS => metric == self.headline(),
            Metric::MibPerS | Metric::BytesEach => true,
            // Only the processor time of both ends together is compared, because one end may leave
            // work to the other.
            Metric::CpuSPerGib | Metric::CpuSPer100k => true,
            // The ratio is not compared with other backends, because it is itself a comparison.
            _ => false,
        }
    }

    /// Returns the workloads that make sense over loopback, which are all except `sustained`.
    pub fn loopback() -> Vec<Self> {
        let all = Self::value_variants().iter().copied();
        all.filter(|workload| *workload != Self::Sustained).collect()
    }

    /// Returns the workloads of a quick run. A workload is left out if it differs from another
    /// workload only in a number.
    pub fn quick() -> Vec<Self> {
        let others = [Self::Rpc1000, Self::Rpc1, Self::Stalled1, Self::Stalled32];
        Self::loopback().into_iter().filter(|workload| !others.contains(workload)).collect()
    }

    /// Returns how many streams the workload keeps open on one connection, if that is more than the
    /// usual default limits permit.
    pub fn streams(self, sizes: &Sizes) -> Option<u64> {
        match self {
            Self::Rpc1000 => Some(1_000),
            Self::Mixed => Some(sizes.idle_of_mixed + mixed::CALLERS + 1),
            Self::Fanout => Some(sizes.subscribers),
            Self::Idle10k => Some(sizes.idle_streams),
            _ => None,
        }
    }
}

/// What a workload needs in order to run.
#[derive(Debug)]
pub struct Bench<R: Rival> {
    rival: &'static R,
    connection: R::Connection,
    meter: Meter,
}

pub async fn run<R: Rival>(
    rival: R,
    meter: Meter,
    workload: Workload,
    sizes: &Sizes,
) -> Result<Metrics> {
    // The rival is never dropped, because it serves until the process ends.
    let rival: &'static R = Box::leak(Box::new(rival));
    let connection = rival.connect().await?;
    // One call is made before the clock starts, so that whatever happens only once on a connection
    // is not measured.
    Call::Small.make(&connection).await?;
    let bench = Bench { rival, connection, meter };
    let (connection, meter) = (&bench.connection, &bench.meter);
    match workload {
        Workload::Bulk1 => bulk::up(connection, meter, sizes.bulk).await,
        Workload::Bulk1down => bulk::down(connection, meter, sizes.bulk).await,
        Workload::Bulk100 => bulk::many(connection, meter, 100, sizes.each_of_100).await,
        Workload::Duplex => bulk::duplex(connection, meter, sizes.each_of_duplex).await,
        Workload::Sustained => bulk::sustained(connection, sizes.loaded).await,
        Workload::Small => small::run(connection, meter, sizes.small_writes).await,
        Workload::Rpc1000 => {
            rpc::run(connection, meter, Call::Small, sizes.calls_1000, 1_000).await
        }
        Workload::Rpc64 => rpc::run(connection, meter, Call::Small, sizes.calls_64, 64).await,
        Workload::Rpc1 => rpc::run(connection, meter, Call::Small, sizes.calls_1, 1).await,
        Workload::Rpc4k => rpc::run(connection, meter, Call::Page, sizes.pages, 64).await,
        Workload::Pingpong => pingpong::alone(connection, meter, sizes.rounds).await,
        Workload::Loaded => pingpong::loaded(connection, sizes.loaded).await,
        Workload::Mixed => mixed::run(connection, sizes.idle_of_mixed, sizes.loaded).await,
        Workload::Stalled1 => stalled::run(&bench, 1, sizes).await,
        Workload::Stalled8 => stalled::run(&bench, 8, sizes).await,
        Workload::Stalled32 => stalled::run(&bench, 32, sizes).await,
        Workload::Conns => conns::run(&bench, sizes.connections, sizes.bursts).await,
        Workload::Churn => churn::run(&bench, sizes.churned).await,
        Workload::Fanout => {
            crowd::reserve_all(sizes.subscribers)?;
            let subscribers = crowd::on_one(connection, sizes.subscribers, SUBSCRIBE).await?;
            fanout::run(&bench, subscribers, sizes.events).await
        }
        Workload::Fanoutconns => {
            crowd::reserve_all(sizes.subscribers)?;
            let subscribers = crowd::on_many(rival, sizes.subscribers, SUBSCRIBE).await?;
            fanout::run(&bench, subscribers, sizes.events).await
        }
        Workload::Idle10k => idle::streams(connection, R::MUX, sizes.idle_streams).await,
        Workload::Idleconns => idle::connections(rival, sizes.idle_connections).await,
    }
}

/// Opens a stream with a command.
pub async fn open<C: Connection>(connection: &C, command: u8) -> Result<C::Stream> {
    let mut stream = connection.open().await?;
    stream.write(&[command]).await?;
    Ok(stream)
}

/// Opens a stream with a command, and waits until the server has sent the command back.
pub async fn greet<C: Connection>(connection: &C, command: u8) -> Result<C::Stream> {
    let mut stream = open(connection, command).await?;
    stream.flush().await?;
    let mut answer = [0];
    read_exact(&mut stream, &mut answer).await?;
    ensure!(answer == [command], "a wrong answer");
    Ok(stream)
}

pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
