//! Connections that live for one call.

use std::time::Instant;

use anyhow::Result;

use super::{Bench, crowd, rpc::Call};
use crate::{
    backends::{Connection, Rival},
    meter::percentiles,
    outcome::Metrics,
};

/// An operation is all of it: to connect, to call and to close.
pub async fn run<R: Rival>(bench: &Bench<R>, count: u64) -> Result<Metrics> {
    let rival = bench.rival;
    let one = move || async move {
        let start = Instant::now();
        let connection = rival.connect().await?;
        Call::Small.make(&connection).await?;
        connection.close();
        Ok(start.elapsed())
    };
    // What is closed may hold its socket for a while.
    crowd::reserve(count)?;
    let watch = bench.meter.start().await?;
    let times = crowd::make(count, one).await?.concat();
    let mut metrics = watch.stop().await?.of_calls(count);
    metrics.extend(percentiles(times));
    Ok(metrics)
}
