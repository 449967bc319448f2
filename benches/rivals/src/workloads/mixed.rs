//! Bulk, callers and idle streams on one connection at once.

use std::time::{Duration, Instant};

use anyhow::Result;
use tokio::task::JoinSet;

use super::{
    bulk::Load,
    crowd,
    rpc::{Call, caller},
};
use crate::{
    backends::Connection,
    meter::percentiles,
    outcome::{Metric, Metrics},
    peer::HOLD,
};

pub const CALLERS: u64 = 64;

pub async fn run<C: Connection>(connection: &C, idle: u64, time: Duration) -> Result<Metrics> {
    crowd::reserve_all(idle)?;
    let _idle = crowd::on_one(connection, idle, HOLD).await?;
    let load = Load::start(connection);
    let start = Instant::now();
    let mut tasks = JoinSet::new();
    for _ in 0..CALLERS {
        let more = move || start.elapsed() < time;
        tasks.spawn(caller(connection.clone(), Call::Small, more));
    }
    let mut times = Vec::new();
    while let Some(done) = tasks.join_next().await {
        times.extend(done??);
    }
    let per_second = times.len() as f64 / start.elapsed().as_secs_f64();
    let mut metrics = percentiles(times);
    metrics.insert(Metric::OpsPerS, per_second);
    metrics.insert(Metric::MibPerS, load.stop().await?);
    Ok(metrics)
}
