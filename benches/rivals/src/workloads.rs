//! The workloads. Each counts every byte and fails when one is missing.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use bytes::Bytes;
use clap::ValueEnum;
use nix::sys::resource::{UsageWho, getrusage};
use serde::Serialize;
use tokio::task::JoinSet;

use crate::{
    backends::{Connection, Rival, Stream},
    memory,
    outcome::{Metric, Metrics},
    peer::{ANSWER, CHUNK, COUNT, ECHO, SMALL, SOURCE, STALL, read_exact, read_to_end, write_bulk},
    watchdog,
};

const MIB: u64 = 1024 * 1024;
const GIB: u64 = 1024 * MIB;
/// Streams that accept nothing for this long are full.
const FULL: Duration = Duration::from_millis(100);

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Workload {
    /// One stream up
    Bulk1,
    /// One stream down
    Bulk1down,
    /// 100 streams up at once
    Bulk100,
    /// One stream, writes of 32 bytes
    Small,
    /// Requests of 64 bytes, a stream each, 64 at once
    Rpc64,
    /// Requests of 64 bytes, a stream each, one after another
    Rpc1,
    /// Round trips of 64 bytes on one stream
    Pingpong,
    /// Ping-pong on one stream while another sends bulk
    Loaded,
    /// Bulk beside one stream that nobody reads
    Stalled1,
    /// Bulk beside 8 streams that nobody reads
    Stalled8,
    /// Bulk beside 32 streams that nobody reads
    Stalled32,
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
            Self::Bulk1 | Self::Bulk1down | Self::Bulk100 | Self::Small => Metric::MibPerS,
            Self::Rpc64 | Self::Pingpong => Metric::OpsPerS,
            Self::Rpc1 => Metric::P50Us,
            Self::Loaded => Metric::P99Us,
            Self::Stalled1 | Self::Stalled8 | Self::Stalled32 => Metric::Ratio,
            Self::Idle10k | Self::Idleconns => Metric::BytesEach,
        }
    }

    /// Whether this metric is compared with the other backends': the best by one percentile may not
    /// be the best by another.
    pub fn compares(self, metric: Metric) -> bool {
        match metric {
            Metric::P50Us | Metric::P99Us | Metric::OpsPerS => metric == self.headline(),
            // That one is a comparison.
            Metric::Ratio => false,
            _ => true,
        }
    }
}

/// How much of each workload: the same for every backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Size {
    /// To see it run
    Quick,
    /// For a run of some minutes
    Default,
    /// To quote
    Full,
}

pub struct Sizes {
    bulk: u64,
    each_of_100: u64,
    small_writes: u64,
    calls_64: u64,
    calls_1: u64,
    rounds: u64,
    loaded: Duration,
    stalled: u64,
    stalled_turns: usize,
    /// After this long without progress, a workload counts as hanging.
    patience: Duration,
    pub idle_streams: u64,
    idle_connections: u64,
}

impl Size {
    pub fn sizes(self) -> Sizes {
        match self {
            Self::Quick => Sizes {
                bulk: 16 * MIB,
                each_of_100: 128 * 1024,
                small_writes: 2_000,
                calls_64: 200,
                calls_1: 50,
                rounds: 200,
                loaded: Duration::from_millis(50),
                stalled: 4 * MIB,
                stalled_turns: 1,
                patience: Duration::from_secs(1),
                idle_streams: 256,
                idle_connections: 64,
            },
            Self::Default => Sizes {
                bulk: 512 * MIB,
                each_of_100: 5 * MIB,
                small_writes: 200_000,
                calls_64: 20_000,
                calls_1: 3_000,
                rounds: 10_000,
                loaded: Duration::from_secs(1),
                stalled: 64 * MIB,
                stalled_turns: 3,
                patience: Duration::from_secs(3),
                idle_streams: 10_000,
                idle_connections: 5_000,
            },
            Self::Full => Sizes {
                bulk: GIB,
                each_of_100: 10 * MIB,
                small_writes: 1_000_000,
                calls_64: 50_000,
                calls_1: 10_000,
                rounds: 50_000,
                loaded: Duration::from_secs(5),
                stalled: 256 * MIB,
                stalled_turns: 3,
                patience: Duration::from_secs(3),
                idle_streams: 10_000,
                idle_connections: 5_000,
            },
        }
    }
}

pub async fn run<R: Rival>(rival: R, workload: Workload, sizes: &Sizes) -> Result<Metrics> {
    // It serves until the process ends.
    let rival: &'static R = Box::leak(Box::new(rival));
    let connection = rival.connect().await?;
    // Everything that happens only once on a connection happens before the clock starts.
    call(&connection).await?;
    match workload {
        Workload::Bulk1 => bulk_and_cpu(&connection, sizes.bulk).await,
        Workload::Bulk1down => rate(bulk_down(&connection, sizes.bulk).await?),
        Workload::Bulk100 => rate(many(&connection, 100, sizes.each_of_100).await?),
        Workload::Small => rate(small(&connection, sizes.small_writes).await?),
        Workload::Rpc64 => rpc(&connection, sizes.calls_64, 64).await,
        Workload::Rpc1 => rpc(&connection, sizes.calls_1, 1).await,
        Workload::Pingpong => pingpong(&connection, sizes.rounds).await,
        Workload::Loaded => loaded(&connection, sizes.loaded).await,
        Workload::Stalled1 => stalled(rival, connection, 1, sizes).await,
        Workload::Stalled8 => stalled(rival, connection, 8, sizes).await,
        Workload::Stalled32 => stalled(rival, connection, 32, sizes).await,
        Workload::Idle10k => memory::idle_streams(&connection, R::MUX, sizes.idle_streams).await,
        Workload::Idleconns => memory::idle_connections(rival, sizes.idle_connections).await,
    }
}

fn rate(mib_per_s: f64) -> Result<Metrics> {
    Ok(Metrics::from([(Metric::MibPerS, mib_per_s)]))
}

fn mib_per_s(bytes: u64, since: Instant) -> f64 {
    bytes as f64 / MIB as f64 / since.elapsed().as_secs_f64()
}

async fn open<C: Connection>(connection: &C, command: u8) -> Result<C::Stream> {
    let mut stream = connection.open().await?;
    stream.write(&[command]).await?;
    Ok(stream)
}

/// Finishes a counting stream and checks the count.
async fn expect_count<S: Stream>(stream: &mut S, sent: u64) -> Result<()> {
    stream.finish().await?;
    let mut answer = [0; 8];
    let len = read_to_end(stream, &mut answer).await?;
    ensure!(len == answer.len(), "a count of {len} bytes");
    let count = u64::from_be_bytes(answer);
    ensure!(count == sent, "{sent} bytes were sent and {count} arrived");
    Ok(())
}

async fn bulk<C: Connection>(connection: &C, bytes: u64) -> Result<f64> {
    let mut stream = open(connection, COUNT).await?;
    let start = Instant::now();
    write_bulk(&mut stream, bytes).await?;
    expect_count(&mut stream, bytes).await?;
    Ok(mib_per_s(bytes, start))
}

/// Processor seconds that this process, with both ends, has used.
fn cpu() -> Result<f64> {
    let usage = getrusage(UsageWho::RUSAGE_SELF)?;
    let seconds =
        |time: nix::sys::time::TimeVal| time.tv_sec() as f64 + time.tv_usec() as f64 / 1_000_000.0;
    Ok(seconds(usage.user_time()) + seconds(usage.system_time()))
}

async fn bulk_and_cpu<C: Connection>(connection: &C, bytes: u64) -> Result<Metrics> {
    let before = cpu()?;
    let rate = bulk(connection, bytes).await?;
    let per_gib = (cpu()? - before) * GIB as f64 / bytes as f64;
    Ok(Metrics::from([(Metric::MibPerS, rate), (Metric::CpuSPerGib, per_gib)]))
}

async fn bulk_down<C: Connection>(connection: &C, bytes: u64) -> Result<f64> {
    let mut stream = open(connection, SOURCE).await?;
    let start = Instant::now();
    stream.write(&bytes.to_be_bytes()).await?;
    stream.finish().await?;
    let count = stream.discard().await?;
    ensure!(count == bytes, "{bytes} bytes were asked for and {count} came");
    Ok(mib_per_s(bytes, start))
}

async fn many<C: Connection>(connection: &C, streams: u64, each: u64) -> Result<f64> {
    let start = Instant::now();
    let mut tasks = JoinSet::new();
    for _ in 0..streams {
        let connection = connection.clone();
        tasks.spawn(async move { bulk(&connection, each).await });
    }
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    Ok(mib_per_s(streams * each, start))
}

async fn small<C: Connection>(connection: &C, writes: u64) -> Result<f64> {
    const LEN: usize = 32;
    let mut stream = open(connection, COUNT).await?;
    let start = Instant::now();
    for _ in 0..writes {
        stream.write(&CHUNK[..LEN]).await?;
    }
    let bytes = writes * LEN as u64;
    expect_count(&mut stream, bytes).await?;
    Ok(mib_per_s(bytes, start))
}

/// One request and its answer, on a stream of their own.
pub async fn call<C: Connection>(connection: &C) -> Result<()> {
    let mut request = [0x33; SMALL + 1];
    request[0] = ANSWER;
    let mut stream = connection.open().await?;
    stream.write(&request).await?;
    stream.finish().await?;
    let mut answer = [0; SMALL];
    let len = read_to_end(&mut stream, &mut answer).await?;
    ensure!(len == SMALL && answer == request[1..], "a wrong answer of {len} bytes");
    Ok(())
}

async fn rpc<C: Connection>(connection: &C, calls: u64, at_once: u64) -> Result<Metrics> {
    let start = Instant::now();
    let mut tasks = JoinSet::new();
    for worker in 0..at_once {
        let connection = connection.clone();
        let share = calls / at_once + u64::from(worker < calls % at_once);
        tasks.spawn(async move {
            let mut times = Vec::with_capacity(share as usize);
            for _ in 0..share {
                let start = Instant::now();
                call(&connection).await?;
                times.push(start.elapsed());
            }
            anyhow::Ok(times)
        });
    }
    let mut times = Vec::new();
    while let Some(done) = tasks.join_next().await {
        times.extend(done??);
    }
    Ok(per_second(times, start))
}

async fn ping<S: Stream>(stream: &mut S) -> Result<Duration> {
    let mut answer = [0; SMALL];
    let start = Instant::now();
    stream.write(&CHUNK[..SMALL]).await?;
    stream.flush().await?;
    read_exact(stream, &mut answer).await?;
    let time = start.elapsed();
    ensure!(answer == CHUNK[..SMALL], "a wrong answer");
    Ok(time)
}

async fn pingpong<C: Connection>(connection: &C, rounds: u64) -> Result<Metrics> {
    let mut stream = open(connection, ECHO).await?;
    let start = Instant::now();
    let mut times = Vec::with_capacity(rounds as usize);
    for _ in 0..rounds {
        times.push(ping(&mut stream).await?);
    }
    Ok(per_second(times, start))
}

async fn loaded<C: Connection>(connection: &C, time: Duration) -> Result<Metrics> {
    let stop = Arc::new(AtomicBool::new(false));
    let load = tokio::spawn({
        let (connection, stop) = (connection.clone(), stop.clone());
        async move {
            let mut stream = open(&connection, COUNT).await?;
            let (start, mut sent) = (Instant::now(), 0);
            while !stop.load(Ordering::Relaxed) {
                write_bulk(&mut stream, CHUNK.len() as u64).await?;
                sent += CHUNK.len() as u64;
            }
            expect_count(&mut stream, sent).await?;
            anyhow::Ok(mib_per_s(sent, start))
        }
    });
    let mut stream = open(connection, ECHO).await?;
    let (start, mut times) = (Instant::now(), Vec::new());
    while start.elapsed() < time {
        times.push(ping(&mut stream).await?);
    }
    stop.store(true, Ordering::Relaxed);
    let mut metrics = percentiles(times);
    metrics.insert(Metric::MibPerS, load.await??);
    Ok(metrics)
}

/// Bulk on a connection with stalled streams and on one without, in turn, so that a machine that drifts
/// favours neither.
async fn stalled<R: Rival>(
    rival: &R,
    connection: R::Connection,
    count: usize,
    sizes: &Sizes,
) -> Result<Metrics> {
    let alone = rival.connect().await?;
    call(&alone).await?;
    let work = async {
        let _writers = stall(&connection, count).await?;
        let (mut rates, mut ratios) = (Vec::new(), Vec::new());
        for turn in 0..sizes.stalled_turns {
            let (with, without) = if turn % 2 == 0 {
                let without = bulk(&alone, sizes.stalled).await?;
                (bulk(&connection, sizes.stalled).await?, without)
            } else {
                (bulk(&connection, sizes.stalled).await?, bulk(&alone, sizes.stalled).await?)
            };
            rates.push(with);
            ratios.push(with / without);
        }
        Ok(Metrics::from([(Metric::MibPerS, median(rates)), (Metric::Ratio, median(ratios))]))
    };
    watchdog::watch(sizes.patience, work).await
}

/// Streams that nobody reads, full, each with a writer that waits.
async fn stall<C: Connection>(connection: &C, count: usize) -> Result<JoinSet<Result<()>>> {
    let mut writers = JoinSet::new();
    for _ in 0..count {
        let mut stream = open(connection, STALL).await?;
        stream.flush().await?;
        watchdog::progress();
        writers.spawn(async move {
            let chunk = Bytes::from_static(&CHUNK);
            loop {
                stream.write_chunk(chunk.clone()).await?;
                watchdog::progress();
            }
        });
    }
    watchdog::quiet(FULL).await;
    ensure!(writers.try_join_next().is_none(), "a stalled stream takes no more");
    Ok(writers)
}

pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn per_second(times: Vec<Duration>, start: Instant) -> Metrics {
    let count = times.len() as f64;
    let per_second = count / start.elapsed().as_secs_f64();
    let mut metrics = percentiles(times);
    metrics.insert(Metric::OpsPerS, per_second);
    metrics
}

fn percentiles(mut times: Vec<Duration>) -> Metrics {
    times.sort();
    let at = |part: f64| times[((times.len() - 1) as f64 * part) as usize].as_secs_f64() * 1e6;
    Metrics::from([(Metric::P50Us, at(0.5)), (Metric::P99Us, at(0.99))])
}
