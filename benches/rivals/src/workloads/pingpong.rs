//! Round trips on one stream, alone and while another stream sends bulk data.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::{bulk::Load, greet};
use crate::{
    backends::{Connection, Stream},
    meter::{Meter, percentiles},
    outcome::{Metric, Metrics},
    peer::{CHUNK, ECHO, SMALL, read_exact},
};

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

pub async fn alone<C: Connection>(connection: &C, meter: &Meter, rounds: u64) -> Result<Metrics> {
    let mut stream = greet(connection, ECHO).await?;
    let mut times = Vec::with_capacity(rounds as usize);
    let watch = meter.start().await?;
    for _ in 0..rounds {
        times.push(ping(&mut stream).await?);
    }
    let mut metrics = watch.stop().await?.of_calls(rounds);
    metrics.extend(percentiles(times));
    Ok(metrics)
}

pub async fn loaded<C: Connection>(connection: &C, time: Duration) -> Result<Metrics> {
    let load = Load::start(connection);
    let mut stream = greet(connection, ECHO).await?;
    let (start, mut times) = (Instant::now(), Vec::new());
    while start.elapsed() < time {
        times.push(ping(&mut stream).await?);
    }
    let mut metrics = percentiles(times);
    metrics.insert(Metric::MibPerS, load.stop().await?);
    Ok(metrics)
}
