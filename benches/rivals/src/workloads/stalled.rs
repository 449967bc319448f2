//! Measures a bulk transfer on a connection that also has streams that nobody reads.

use std::time::Duration;

use anyhow::{Result, ensure};
use bytes::Bytes;
use tokio::task::JoinSet;

use super::{Bench, Sizes, bulk, median, open, rpc::Call};
use crate::{
    backends::{Connection, Rival, Stream},
    outcome::{Metric, Metrics},
    peer::{CHUNK, STALL},
    watchdog,
};

/// Streams count as full if they accept nothing for this long.
const FULL: Duration = Duration::from_millis(100);

/// Measures bulk alternately on a connection with stalled streams and on a connection without. So a
/// change of the machine's speed affects both measurements alike.
pub async fn run<R: Rival>(bench: &Bench<R>, count: usize, sizes: &Sizes) -> Result<Metrics> {
    let alone = bench.rival.connect().await?;
    Call::Small.make(&alone).await?;
    let rate = async |connection: &R::Connection| {
        let metrics = bulk::up(connection, &bench.meter, sizes.stalled).await?;
        anyhow::Ok(metrics[&Metric::MibPerS])
    };
    let work = async {
        let _writers = stall(&bench.connection, count).await?;
        let (mut rates, mut ratios) = (Vec::new(), Vec::new());
        for turn in 0..sizes.stalled_turns {
            let (with, without) = if turn % 2 == 0 {
                let without = rate(&alone).await?;
                (rate(&bench.connection).await?, without)
            } else {
                (rate(&bench.connection).await?, rate(&alone).await?)
            };
            rates.push(with);
            ratios.push(with / without);
        }
        Ok(Metrics::from([(Metric::MibPerS, median(rates)), (Metric::Ratio, median(ratios))]))
    };
    watchdog::watch(sizes.patience, work).await
}

/// Opens streams that nobody reads, and fills them until the writer of each stream waits.
async fn stall<C: Connection>(connection: &C, count: usize) -> Result<JoinSet<Result<()>>> {
    let mut writers = JoinSet::new();
    for _ in 0..count {
        let mut stream = open(connection, STALL).await?;
        stream.flush().await?;
        watchdog::progress();
        writers.spawn(async move {
            let chunk = Bytes::from_static(&CHUNK);
            loop {
                stream.write_chunk(chunk.clone()).await?;
                watchdog::progress();
            }
        });
    }
    watchdog::quiet(FULL).await;
    ensure!(writers.try_join_next().is_none(), "a stalled stream takes no more");
    Ok(writers)
}
