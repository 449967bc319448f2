//! Connections that live for one call.

use std::time::Instant;

use anyhow::Result;

use super::{Bench, crowd, rpc::Call};
use crate::{
    backends::{Connection, Rival},
    meter::percentiles,
    outcome::Metrics,
};

/// Measures operations, each of which connects, makes one call and closes the connection.
pub async fn run<R: Rival>(bench: &Bench<R>, count: u64) -> Result<Metrics> {
    let rival = bench.rival;
    let one = move || async move {
        let start = Instant::now();
        let connection = rival.connect().await?;
        Call::Small.make(&connection).await?;
        connection.close();
        Ok(start.elapsed())
    };
    // A closed connection may keep its socket for a while. So sockets are reserved for all
    // connections, and not only for the connections that are open at once.
    crowd::reserve(count)?;
    let watch = bench.meter.start().await?;
    let times = crowd::make(count, one).await?.concat();
    let mut metrics = watch.stop().await?.of_calls(count);
    metrics.extend(percentiles(times));
    Ok(metrics)
}
