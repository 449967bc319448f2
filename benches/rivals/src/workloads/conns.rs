//! Many connections, each with bursts of small messages that the server echoes.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use tokio::task::JoinSet;

use super::{Bench, crowd};
use crate::{
    backends::{Rival, Stream},
    meter::percentiles,
    outcome::Metrics,
    peer::{CHUNK, ECHO, SMALL, read_exact},
};

/// The number of messages in a burst.
const BURST: usize = 16;

/// Runs the workload. Here a call is one message. The percentiles describe the time that a burst
/// takes.
pub async fn run<R: Rival>(bench: &Bench<R>, count: u64, bursts: u64) -> Result<Metrics> {
    crowd::reserve_all(count)?;
    let members = crowd::on_many(bench.rival, count, ECHO).await?;
    let watch = bench.meter.start().await?;
    let mut tasks = JoinSet::new();
    for mut member in members {
        tasks.spawn(async move {
            let mut times = Vec::with_capacity(bursts as usize);
            for _ in 0..bursts {
                times.push(burst(&mut member.stream).await?);
            }
            // The connection is kept until all tasks are done, so that closing is not measured.
            anyhow::Ok((times, member))
        });
    }
    let (mut times, mut members) = (Vec::new(), Vec::new());
    while let Some(done) = tasks.join_next().await {
        let (of_one, member) = done??;
        times.extend(of_one);
        members.push(member);
    }
    let mut metrics = watch.stop().await?.of_calls(count * bursts * BURST as u64);
    metrics.extend(percentiles(times));
    Ok(metrics)
}

async fn burst<S: Stream>(stream: &mut S) -> Result<Duration> {
    let start = Instant::now();
    for _ in 0..BURST {
        stream.write(&CHUNK[..SMALL]).await?;
    }
    stream.flush().await?;
    let mut answer = [0; BURST * SMALL];
    read_exact(stream, &mut answer).await?;
    let time = start.elapsed();
    ensure!(answer == CHUNK[..BURST * SMALL], "a wrong answer");
    Ok(time)
}
