//! The workloads. Each workload counts every byte and fails if a byte is missing.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use clap::ValueEnum;
use tokio::{task::JoinSet, time::timeout};
use wsmux::{WebSocketConnection, WebSocketStream};

use super::peer::{ANSWER, CHUNK, COUNT, ECHO, SOURCE, STALL, write_bulk};
use crate::Failure;

/// The units and values of the results, in the order of the report.
pub(super) type Metrics = Vec<(&'static str, f64)>;

const MIB: u64 = 1024 * 1024;
/// The length of a request, an answer and a ping.
const SMALL: usize = 64;
/// A bulk transfer counts as hanging if it takes longer than this.
const HANG: Duration = Duration::from_secs(60);
/// A stream counts as full if it accepts nothing for this long.
const FULL: Duration = Duration::from_millis(50);

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Workload {
    /// One stream up, 1 GiB
    Bulk1,
    /// One stream down, 1 GiB
    Bulk1down,
    /// 100 streams at once, 10 MiB each
    Bulk100,
    /// One stream, 1,000,000 writes of 32 bytes
    Small,
    /// 50,000 requests of 64 bytes, a stream each, 64 at once
    Rpc64,
    /// 10,000 requests of 64 bytes, a stream each, one after another
    Rpc1,
    /// 50,000 rounds of 64 bytes on one stream
    Pingpong,
    /// Ping-pong on one stream while another sends bulk
    Loaded,
    /// 256 MiB beside one stream that nobody reads
    Stalled1,
    /// 256 MiB beside 8 streams that nobody reads
    Stalled8,
    /// 256 MiB beside 32 streams that nobody reads
    Stalled32,
}

pub(super) async fn run(
    workload: Workload,
    connection: &WebSocketConnection,
    other: &WebSocketConnection,
    quick: bool,
) -> Result<Metrics, Failure> {
    let part = if quick { 10 } else { 1 };
    match workload {
        Workload::Bulk1 => Ok(vec![("MiB/s", bulk(connection, 1024 * MIB / part).await?)]),
        Workload::Bulk1down => Ok(vec![("MiB/s", bulk_down(connection, 1024 * MIB / part).await?)]),
        Workload::Bulk100 => many(connection, 100, 10 * MIB / part).await,
        Workload::Small => small(connection, 1_000_000 / part).await,
        Workload::Rpc64 => rpc(connection, 50_000 / part, 64).await,
        Workload::Rpc1 => rpc(connection, 10_000 / part, 1).await,
        Workload::Pingpong => pingpong(connection, 50_000 / part).await,
        Workload::Loaded => loaded(connection, Duration::from_millis(5_000 / part)).await,
        Workload::Stalled1 => stalled(connection, other, 1, 256 * MIB / part).await,
        Workload::Stalled8 => stalled(connection, other, 8, 256 * MIB / part).await,
        Workload::Stalled32 => stalled(connection, other, 32, 256 * MIB / part).await,
    }
}

async fn open(connection: &WebSocketConnection, command: u8) -> Result<WebSocketStream, Failure> {
    let mut stream = connection.open_bi().await?;
    stream.send().write_all(&[command]).await?;
    Ok(stream)
}

fn rate(bytes: u64, since: Instant) -> f64 {
    bytes as f64 / MIB as f64 / since.elapsed().as_secs_f64()
}

/// Finishes a stream that was opened with `COUNT`, and checks the count that the server returns.
async fn expect_count(stream: &mut WebSocketStream, sent: u64) -> Result<(), Failure> {
    stream.send().finish()?;
    let answer = stream.recv().read_to_end(8).await?;
    let count = u64::from_be_bytes(answer.as_slice().try_into()?);
    if count != sent {
        return Err(format!("{sent} bytes were sent and {count} arrived").into());
    }
    Ok(())
}

async fn bulk(connection: &WebSocketConnection, bytes: u64) -> Result<f64, Failure> {
    let mut stream = open(connection, COUNT).await?;
    let start = Instant::now();
    write_bulk(stream.send(), bytes).await?;
    expect_count(&mut stream, bytes).await?;
    Ok(rate(bytes, start))
}

async fn bulk_down(connection: &WebSocketConnection, bytes: u64) -> Result<f64, Failure> {
    let mut stream = open(connection, SOURCE).await?;
    let start = Instant::now();
    stream.send().write_all(&bytes.to_be_bytes()).await?;
    stream.send().finish()?;
    let mut count = 0;
    while let Some(chunk) = stream.recv().read_chunk(usize::MAX).await? {
        count += chunk.len() as u64;
    }
    if count != bytes {
        return Err(format!("{bytes} bytes were asked for and {count} came").into());
    }
    Ok(rate(bytes, start))
}

async fn many(
    connection: &WebSocketConnection,
    streams: u64,
    each: u64,
) -> Result<Metrics, Failure> {
    let start = Instant::now();
    let mut tasks = JoinSet::new();
    for _ in 0..streams {
        let connection = connection.clone();
        tasks.spawn(async move { bulk(&connection, each).await.map(drop) });
    }
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    Ok(vec![("MiB/s", rate(streams * each, start))])
}

async fn small(connection: &WebSocketConnection, writes: u64) -> Result<Metrics, Failure> {
    const LEN: usize = 32;
    let mut stream = open(connection, COUNT).await?;
    let start = Instant::now();
    for _ in 0..writes {
        stream.send().write_all(&CHUNK[..LEN]).await?;
    }
    let bytes = writes * LEN as u64;
    expect_count(&mut stream, bytes).await?;
    Ok(vec![("MiB/s", rate(bytes, start))])
}

async fn call(connection: &WebSocketConnection) -> Result<(), Failure> {
    let mut request = [0; SMALL + 1];
    request[0] = ANSWER;
    let mut stream = connection.open_bi().await?;
    stream.send().write_all(&request).await?;
    stream.send().finish()?;
    let answer = stream.recv().read_to_end(SMALL).await?;
    if answer != request[1..] {
        return Err(format!("an answer of {} bytes", answer.len()).into());
    }
    Ok(())
}

async fn rpc(
    connection: &WebSocketConnection,
    calls: u64,
    at_once: u64,
) -> Result<Metrics, Failure> {
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
            Ok::<_, Failure>(times)
        });
    }
    let mut times = Vec::new();
    while let Some(done) = tasks.join_next().await {
        times.extend(done??);
    }
    let mut metrics = vec![("ops/s", calls as f64 / start.elapsed().as_secs_f64())];
    metrics.extend(percentiles(times));
    Ok(metrics)
}

async fn ping(stream: &mut WebSocketStream) -> Result<Duration, Failure> {
    let mut answer = [0; SMALL];
    let start = Instant::now();
    stream.send().write_all(&CHUNK[..SMALL]).await?;
    stream.recv().read_exact(&mut answer).await?;
    Ok(start.elapsed())
}

async fn pingpong(connection: &WebSocketConnection, rounds: u64) -> Result<Metrics, Failure> {
    let mut stream = open(connection, ECHO).await?;
    let start = Instant::now();
    let mut times = Vec::with_capacity(rounds as usize);
    for _ in 0..rounds {
        times.push(ping(&mut stream).await?);
    }
    let mut metrics = vec![("rounds/s", rounds as f64 / start.elapsed().as_secs_f64())];
    metrics.extend(percentiles(times));
    Ok(metrics)
}

async fn loaded(connection: &WebSocketConnection, time: Duration) -> Result<Metrics, Failure> {
    let stop = Arc::new(AtomicBool::new(false));
    let load = tokio::spawn({
        let (connection, stop) = (connection.clone(), stop.clone());
        async move {
            let mut stream = open(&connection, COUNT).await?;
            let (start, mut sent) = (Instant::now(), 0);
            while !stop.load(Ordering::Relaxed) {
                write_bulk(stream.send(), CHUNK.len() as u64).await?;
                sent += CHUNK.len() as u64;
            }
            expect_count(&mut stream, sent).await?;
            Ok::<_, Failure>(rate(sent, start))
        }
    });
    let mut stream = open(connection, ECHO).await?;
    let (start, mut times) = (Instant::now(), Vec::new());
    while start.elapsed() < time {
        times.push(ping(&mut stream).await?);
    }
    stop.store(true, Ordering::Relaxed);
    let mut metrics = vec![("MiB/s", load.await??)];
    metrics.extend(percentiles(times));
    Ok(metrics)
}

/// Sends bulk data alternately on a connection with stalled streams and on a connection without
/// stalled streams. So a change of the machine's speed affects both rates in the same way.
async fn stalled(
    connection: &WebSocketConnection,
    other: &WebSocketConnection,
    count: usize,
    bytes: u64,
) -> Result<Metrics, Failure> {
    // A single rate depends more on how the runtime places the tasks than on the 32 stalled
    // streams. So each connection is measured several times, and the result is the median.
    const TURNS: usize = 9;
    let mut streams = Vec::new();
    for _ in 0..count {
        let mut stream = open(connection, STALL).await?;
        fill(&mut stream).await?;
        streams.push(stream);
    }
    let (mut alone, mut beside) = (Vec::new(), Vec::new());
    for _ in 0..TURNS {
        alone.push(bulk(other, bytes).await?);
        let rate = timeout(HANG, bulk(connection, bytes)).await;
        beside.push(rate.map_err(|_| "the stalled streams stall the others")??);
    }
    let (alone, beside) = (median(alone), median(beside));
    Ok(vec![("MiB/s", beside), ("alone MiB/s", alone), ("ratio", beside / alone)])
}

/// Writes until neither the peer's window nor the send buffer takes more.
async fn fill(stream: &mut WebSocketStream) -> Result<(), Failure> {
    let written = AtomicU64::new(0);
    loop {
        match timeout(FULL, stream.send().write(&CHUNK)).await {
            Ok(len) => written.fetch_add(len? as u64, Ordering::Relaxed),
            Err(_) if written.into_inner() > 0 => return Ok(()),
            Err(_) => return Err("nothing can be written".into()),
        };
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn percentiles(mut times: Vec<Duration>) -> Metrics {
    times.sort();
    let at = |part: f64| times[((times.len() - 1) as f64 * part) as usize].as_secs_f64() * 1e6;
    vec![("p50 us", at(0.5)), ("p99 us", at(0.99))]
}
