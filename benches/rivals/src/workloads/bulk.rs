//! Workloads that transfer much data: on one stream, on a hundred streams, and in both directions.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use tokio::{
    task::{JoinHandle, JoinSet},
    time::sleep,
};

use super::{MIB, open};
use crate::{
    backends::{Connection, Stream},
    meter::Meter,
    outcome::{Metric, Metrics},
    peer::{CHUNK, COUNT, SOURCE, read_to_end, write_bulk},
};

/// Finishes a stream on which the server counts the bytes, and checks the count.
pub async fn expect_count<S: Stream>(stream: &mut S, sent: u64) -> Result<()> {
    stream.finish().await?;
    let mut answer = [0; 8];
    let len = read_to_end(stream, &mut answer).await?;
    ensure!(len == answer.len(), "a count of {len} bytes");
    let count = u64::from_be_bytes(answer);
    ensure!(count == sent, "{sent} bytes were sent and {count} arrived");
    Ok(())
}

async fn send<S: Stream>(stream: &mut S, bytes: u64) -> Result<()> {
    write_bulk(stream, bytes).await?;
    expect_count(stream, bytes).await
}

async fn receive<S: Stream>(stream: &mut S, bytes: u64) -> Result<()> {
    stream.write(&bytes.to_be_bytes()).await?;
    stream.finish().await?;
    let count = stream.discard().await?;
    ensure!(count == bytes, "{bytes} bytes were requested and {count} arrived");
    Ok(())
}

pub async fn up<C: Connection>(connection: &C, meter: &Meter, bytes: u64) -> Result<Metrics> {
    let mut stream = open(connection, COUNT).await?;
    let watch = meter.start().await?;
    send(&mut stream, bytes).await?;
    Ok(watch.stop().await?.of_bytes(bytes))
}

pub async fn down<C: Connection>(connection: &C, meter: &Meter, bytes: u64) -> Result<Metrics> {
    let mut stream = open(connection, SOURCE).await?;
    let watch = meter.start().await?;
    receive(&mut stream, bytes).await?;
    Ok(watch.stop().await?.of_bytes(bytes))
}

pub async fn many<C: Connection>(
    connection: &C,
    meter: &Meter,
    streams: u64,
    each: u64,
) -> Result<Metrics> {
    let watch = meter.start().await?;
    let mut tasks = JoinSet::new();
    for _ in 0..streams {
        let connection = connection.clone();
        tasks.spawn(async move { send(&mut open(&connection, COUNT).await?, each).await });
    }
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    Ok(watch.stop().await?.of_bytes(streams * each))
}

/// Measures the rate of both directions together.
pub async fn duplex<C: Connection>(connection: &C, meter: &Meter, each: u64) -> Result<Metrics> {
    let mut up = open(connection, COUNT).await?;
    let mut down = open(connection, SOURCE).await?;
    let watch = meter.start().await?;
    let up = tokio::spawn(async move { send(&mut up, each).await });
    receive(&mut down, each).await?;
    up.await??;
    Ok(watch.stop().await?.of_bytes(2 * each))
}

/// Sends for a fixed time. A fixed amount of data would take too long on a slow path, and too
/// little time on a fast path.
pub async fn sustained<C: Connection>(connection: &C, time: Duration) -> Result<Metrics> {
    let load = Load::start(connection);
    sleep(time).await;
    Ok(Metrics::from([(Metric::MibPerS, load.stop().await?)]))
}

/// A stream that sends bulk data to the server in the background.
#[derive(Debug)]
pub struct Load {
    stop: Arc<AtomicBool>,
    task: JoinHandle<Result<f64>>,
}

impl Load {
    pub fn start<C: Connection>(connection: &C) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (connection, stopped) = (connection.clone(), stop.clone());
        let task = tokio::spawn(async move {
            let mut stream = open(&connection, COUNT).await?;
            let (start, mut sent) = (Instant::now(), 0);
            while !stopped.load(Ordering::Relaxed) {
                write_bulk(&mut stream, CHUNK.len() as u64).await?;
                sent += CHUNK.len() as u64;
            }
            expect_count(&mut stream, sent).await?;
            Ok(sent as f64 / MIB as f64 / start.elapsed().as_secs_f64())
        });
        Self { stop, task }
    }

    /// Stops the stream and returns its rate, in MiB/s.
    pub async fn stop(self) -> Result<f64> {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await?
    }
}
