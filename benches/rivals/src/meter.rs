//! Measures what the timed part of a workload costs: time, processor time and allocations.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::{
    sys::resource::{Usage, UsageWho, getrusage},
    time::{ClockId, clock_gettime},
};
use tokio::sync::{mpsc, oneshot};

use crate::{
    allocations,
    outcome::{Metric, Metrics},
};

const MIB: f64 = 1024.0 * 1024.0;
const GIB: f64 = 1024.0 * MIB;
/// The number of calls for which the tables show the processor time.
const CALLS: f64 = 100_000.0;

/// The processor time and the allocations of one end since it started.
#[derive(Debug, Clone, Copy)]
pub struct Used {
    cpu: Duration,
    allocations: u64,
}

impl Used {
    /// Returns the resources that the calling thread has used. One of the two ends runs on this
    /// thread.
    fn by_this_thread() -> Result<Self> {
        Ok(Self {
            cpu: clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)?.into(),
            allocations: allocations::of_this_thread(),
        })
    }

    fn since(self, before: Self) -> Self {
        Self {
            cpu: self.cpu.saturating_sub(before.cpu),
            allocations: self.allocations - before.allocations,
        }
    }
}

type Requests = mpsc::Receiver<oneshot::Sender<Result<Used>>>;

/// Reads the processor time and the allocations of the ends.
#[derive(Debug, Clone)]
pub enum Meter {
    /// Each end is a thread, and the client's thread asks the server's thread for its readings.
    Threads(mpsc::Sender<oneshot::Sender<Result<Used>>>),
    /// The ends share their threads, so only the processor time of both ends together is known.
    Process,
}

/// The processor time of both ends together, and the use of each end if it is known.
#[derive(Debug, Clone, Copy)]
struct Reading {
    cpu: Duration,
    ends: Option<(Used, Used)>,
}

/// Runs on the server's thread, and answers the client's thread when it asks for readings.
pub async fn serve_readings(mut requests: Requests) {
    while let Some(request) = requests.recv().await {
        let _ = request.send(Used::by_this_thread());
    }
    // The client has ended and the process is about to end, so there is nothing left to do.
    std::future::pending().await
}

impl Meter {
    pub fn threads() -> (Self, Requests) {
        let (requests, served) = mpsc::channel(1);
        (Self::Threads(requests), served)
    }

    /// Begins the timed part. This must be called on the client's end.
    pub async fn start(&self) -> Result<Stopwatch> {
        Ok(Stopwatch { meter: self.clone(), before: self.read().await?, start: Instant::now() })
    }

    async fn read(&self) -> Result<Reading> {
        let Self::Threads(requests) = self else {
            return Ok(Reading { cpu: cpu_of(&getrusage(UsageWho::RUSAGE_SELF)?), ends: None });
        };
        let (request, answer) = oneshot::channel();
        requests.send(request).await.context("the server's thread has ended")?;
        let server = answer.await.context("the server's thread has ended")??;
        let client = Used::by_this_thread()?;
        Ok(Reading { cpu: client.cpu + server.cpu, ends: Some((client, server)) })
    }
}

fn cpu_of(usage: &Usage) -> Duration {
    let of = |time: nix::sys::time::TimeVal| {
        Duration::new(time.tv_sec() as u64, time.tv_usec() as u32 * 1_000)
    };
    of(usage.user_time()) + of(usage.system_time())
}

/// Returns the largest amount of memory that was resident so far, in bytes.
pub fn peak() -> Result<f64> {
    // Linux counts in KiB, and Apple's systems count in bytes.
    let unit = if cfg!(target_vendor = "apple") { 1.0 } else { 1024.0 };
    Ok(getrusage(UsageWho::RUSAGE_SELF)?.max_rss() as f64 * unit)
}

/// The clock that runs during the timed part.
#[derive(Debug)]
pub struct Stopwatch {
    meter: Meter,
    before: Reading,
    start: Instant,
}

impl Stopwatch {
    pub fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    /// Ends the timed part. This must be called on the client's end, after the last byte was
    /// counted.
    pub async fn stop(self) -> Result<Cost> {
        let elapsed = self.elapsed();
        let after = self.meter.read().await?;
        let cpu = after.cpu.saturating_sub(self.before.cpu);
        let ends = after.ends.zip(self.before.ends);
        let ends = ends.map(|(after, before)| (after.0.since(before.0), after.1.since(before.1)));
        Ok(Cost { elapsed, spent: Reading { cpu, ends } })
    }
}

/// How long the timed part took, and what the two ends used during it.
#[derive(Debug)]
pub struct Cost {
    elapsed: Duration,
    spent: Reading,
}

impl Cost {
    /// Returns the rate at which this many bytes were carried, and the processor time per GiB.
    pub fn of_bytes(&self, bytes: u64) -> Metrics {
        let per_gib = |cpu: Duration| cpu.as_secs_f64() * GIB / bytes as f64;
        let mut metrics = Metrics::from([
            (Metric::MibPerS, bytes as f64 / MIB / self.elapsed.as_secs_f64()),
            (Metric::CpuSPerGib, per_gib(self.spent.cpu)),
        ]);
        if let Some((client, server)) = self.spent.ends {
            metrics.insert(Metric::ClientCpuSPerGib, per_gib(client.cpu));
            metrics.insert(Metric::ServerCpuSPerGib, per_gib(server.cpu));
        }
        metrics
    }

    /// Returns how many calls were made per second, the processor time per 100,000 calls, and the
    /// allocations per call. `calls` is the number of calls.
    pub fn of_calls(&self, calls: u64) -> Metrics {
        let calls = calls as f64;
        let per_100k = |cpu: Duration| cpu.as_secs_f64() * CALLS / calls;
        let mut metrics = Metrics::from([
            (Metric::OpsPerS, calls / self.elapsed.as_secs_f64()),
            (Metric::CpuSPer100k, per_100k(self.spent.cpu)),
        ]);
        if let Some((client, server)) = self.spent.ends {
            metrics.extend([
                (Metric::ClientCpuSPer100k, per_100k(client.cpu)),
                (Metric::ServerCpuSPer100k, per_100k(server.cpu)),
                (Metric::ClientAllocations, client.allocations as f64 / calls),
                (Metric::ServerAllocations, server.allocations as f64 / calls),
            ]);
        }
        metrics
    }
}

/// Returns the median and the 99th percentile of the times of single calls.
pub fn percentiles(mut times: Vec<Duration>) -> Metrics {
    times.sort();
    let at = |part: f64| times[((times.len() - 1) as f64 * part) as usize].as_secs_f64() * 1e6;
    Metrics::from([(Metric::P50Us, at(0.5)), (Metric::P99Us, at(0.99))])
}
