//! Measures how much memory idle streams and idle connections need, at both ends together.

use anyhow::{Context, Result};

use super::{crowd, greet, rpc::Call};
use crate::{
    backends::{Connection, Rival},
    outcome::{Metric, Metrics},
    peer::HOLD,
};

/// Returns the process's resident memory, in bytes.
pub fn resident() -> Result<f64> {
    let stats = memory_stats::memory_stats().context("the process's memory")?;
    Ok(stats.physical_mem as f64)
}

/// Returns how much memory grows while the objects are made, divided by their number.
async fn growth<T>(made: impl Future<Output = Result<Vec<Vec<T>>>>) -> Result<Metrics> {
    let before = resident()?;
    let kept = made.await?;
    let bytes = resident()? - before;
    let count: usize = kept.iter().map(Vec::len).sum();
    Ok(Metrics::from([(Metric::BytesEach, bytes / count as f64)]))
}

pub async fn streams<C: Connection>(connection: &C, mux: bool, count: u64) -> Result<Metrics> {
    let count = if mux { count } else { crowd::reserve(count)? };
    let connection = connection.clone();
    let one = move || {
        let connection = connection.clone();
        async move { greet(&connection, HOLD).await }
    };
    growth(crowd::make(count, one)).await
}

/// Measures connections that are idle after one exchange. With a mux, this exchange is one request
/// and its answer. Without a mux, it is one byte in each direction.
pub async fn connections<R: Rival>(rival: &'static R, count: u64) -> Result<Metrics> {
    let count = crowd::reserve(count)?;
    let one = move || async move {
        let connection = rival.connect().await?;
        let stream = if R::MUX {
            Call::Small.make(&connection).await?;
            None
        } else {
            Some(greet(&connection, HOLD).await?)
        };
        anyhow::Ok((connection, stream))
    };
    growth(crowd::make(count, one)).await
}
