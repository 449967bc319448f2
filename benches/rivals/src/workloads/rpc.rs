//! Requests and answers, each pair on a stream of its own.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use tokio::task::JoinSet;

use super::crowd;
use crate::{
    backends::{Connection, Stream},
    meter::{Meter, percentiles},
    outcome::Metrics,
    peer::{ANSWER, CHUNK, FETCH, PAGE, SMALL, read_to_end},
};

/// The sizes of a request and its answer.
#[derive(Debug, Clone, Copy)]
pub enum Call {
    /// 64 bytes each
    Small,
    /// 4 KiB up, 64 KiB down
    Page,
}

impl Call {
    pub async fn make<C: Connection>(self, connection: &C) -> Result<()> {
        match self {
            Self::Small => small(connection).await,
            Self::Page => page(connection).await,
        }
    }
}

async fn small<C: Connection>(connection: &C) -> Result<()> {
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

async fn page<C: Connection>(connection: &C) -> Result<()> {
    static REQUEST: [u8; PAGE + 1] = {
        let mut request = [0x33; PAGE + 1];
        request[0] = FETCH;
        request
    };
    let mut stream = connection.open().await?;
    stream.write(&REQUEST).await?;
    stream.finish().await?;
    let len = stream.discard().await?;
    ensure!(len == CHUNK.len() as u64, "an answer of {len} bytes");
    Ok(())
}

pub async fn run<C: Connection>(
    connection: &C,
    meter: &Meter,
    call: Call,
    calls: u64,
    at_once: u64,
) -> Result<Metrics> {
    // Without a mux each call has a connection of its own. When the next call begins, the server
    // may still have the previous call's connection open. So twice as many sockets are reserved.
    crowd::reserve_all(2 * at_once)?;
    let watch = meter.start().await?;
    let mut tasks = JoinSet::new();
    for worker in 0..at_once {
        let connection = connection.clone();
        let mut left = calls / at_once + u64::from(worker < calls % at_once);
        let more = move || {
            let more = left > 0;
            left = left.saturating_sub(1);
            more
        };
        tasks.spawn(caller(connection, call, more));
    }
    let mut times = Vec::with_capacity(calls as usize);
    while let Some(done) = tasks.join_next().await {
        times.extend(done??);
    }
    let mut metrics = watch.stop().await?.of_calls(calls);
    metrics.extend(percentiles(times));
    Ok(metrics)
}

/// Makes one call after another until all calls have been made. Returns how long each call took.
pub async fn caller<C: Connection>(
    connection: C,
    call: Call,
    mut more: impl FnMut() -> bool,
) -> Result<Vec<Duration>> {
    let mut times = Vec::new();
    while more() {
        let start = Instant::now();
        call.make(&connection).await?;
        times.push(start.elapsed());
    }
    Ok(times)
}
