//! What idle streams and idle connections cost in memory, at both ends together.

use anyhow::{Context, Result, ensure};
use tokio::task::JoinSet;

use crate::{
    backends::{Connection, Rival, Stream},
    outcome::{Metric, Metrics},
    peer::{self, HOLD},
    workloads::call,
};

/// Openers at once: enough that handshakes do not wait for each other.
const AT_ONCE: u64 = 32;
/// File descriptors for everything but the sockets that are counted.
const SPARE: u64 = 200;

/// The process's resident memory, in bytes.
fn resident() -> Result<f64> {
    let stats = memory_stats::memory_stats().context("the process's memory")?;
    Ok(stats.physical_mem as f64)
}

/// Raises the limit on file descriptors to what `sockets` pairs need, as far as the system permits;
/// returns how many pairs there can be.
fn reserve(sockets: u64) -> Result<u64> {
    let (_, hard) = rlimit::Resource::NOFILE.get()?;
    let wanted = 2 * sockets + SPARE;
    if wanted <= hard || rlimit::Resource::NOFILE.set(wanted, wanted).is_err() {
        rlimit::Resource::NOFILE.set(wanted.min(hard), hard)?;
    }
    let got = rlimit::Resource::NOFILE.get_soft()?;
    Ok(sockets.min(got.saturating_sub(SPARE) / 2))
}

/// A stream that both ends keep open after a byte each way.
async fn hold<C: Connection>(connection: &C) -> Result<C::Stream> {
    let mut stream = connection.open().await?;
    stream.write(&[HOLD]).await?;
    stream.flush().await?;
    let mut answer = [0];
    peer::read_exact(&mut stream, &mut answer).await?;
    ensure!(answer == [HOLD], "a wrong answer");
    crate::watchdog::progress();
    Ok(stream)
}

/// Makes `count` of something, some at once, and divides the growth of memory by it.
async fn growth<T, F>(count: u64, make: impl Fn() -> F) -> Result<Metrics>
where
    T: Send + 'static,
    F: Future<Output = Result<Vec<T>>> + Send + 'static,
{
    let before = resident()?;
    let mut tasks = JoinSet::new();
    for _ in 0..AT_ONCE {
        tasks.spawn(make());
    }
    let mut kept = Vec::new();
    while let Some(done) = tasks.join_next().await {
        kept.push(done??);
    }
    let made: usize = kept.iter().map(Vec::len).sum();
    ensure!(made as u64 == count, "{made} of {count} were made");
    Ok(Metrics::from([(Metric::BytesEach, (resident()? - before) / made as f64)]))
}

pub async fn idle_streams<C: Connection>(connection: &C, mux: bool, count: u64) -> Result<Metrics> {
    let count = if mux { count } else { reserve(count)? };
    let count = count / AT_ONCE * AT_ONCE;
    growth(count, || {
        let connection = connection.clone();
        async move {
            let mut kept = Vec::new();
            for _ in 0..count / AT_ONCE {
                kept.push(hold(&connection).await?);
            }
            Ok(kept)
        }
    })
    .await
}

/// Connections that have served one request each; without a mux, connections after a byte each way.
pub async fn idle_connections<R: Rival>(rival: &'static R, count: u64) -> Result<Metrics> {
    let count = reserve(count)? / AT_ONCE * AT_ONCE;
    growth(count, || async move {
        let mut kept = Vec::new();
        for _ in 0..count / AT_ONCE {
            let connection = rival.connect().await?;
            let stream = if R::MUX {
                call(&connection).await?;
                None
            } else {
                Some(hold(&connection).await?)
            };
            crate::watchdog::progress();
            kept.push((connection, stream));
        }
        Ok(kept)
    })
    .await
}
