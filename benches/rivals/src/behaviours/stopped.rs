//! Readers that stop reading.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::{Result, ensure};
use bytes::Bytes;
use tokio::task::JoinSet;

use super::{Seen, in_time, server::READ_AND_STALL};
use crate::{
    backends::{Connection, Stream},
    peer::{CHUNK, COUNT, SHOW, STALL, read_exact, write_bulk},
    watchdog,
};

/// Streams count as full if they accept nothing for this long.
const FULL: Duration = Duration::from_millis(300);
/// How many bytes are sent to see whether another stream works.
const PROBE: u64 = 1024 * 1024;

/// Streams whose writers wait.
pub struct Full {
    /// Dropping this ends the writers.
    writers: JoinSet<Result<()>>,
    /// The bytes that all streams have accepted together.
    accepted: u64,
}

/// Returns how many bytes the streams of this many stopped readers accept together.
pub async fn taken<C: Connection>(connection: &C, count: usize) -> Result<Seen> {
    Ok(Seen::Accepts(fill(connection, count, &[STALL]).await?.accepted))
}

/// Returns whether a stream works while this many readers of other streams have stopped.
pub async fn others<C: Connection>(connection: &C, count: usize) -> Result<Seen> {
    let full = fill(connection, count, &[STALL]).await?;
    let seen = probe(connection).await;
    drop(full.writers);
    Ok(seen)
}

/// Returns whether a stream works while this many readers of other streams have stopped. These
/// readers read much before they stop, so their windows have grown.
pub async fn later<C: Connection>(connection: &C, count: usize) -> Result<Seen> {
    let full = fill(connection, count, &[SHOW, READ_AND_STALL]).await?;
    let seen = probe(connection).await;
    drop(full.writers);
    Ok(seen)
}

/// Opens streams with a command, and writes to them until every writer waits.
pub async fn fill<C: Connection>(connection: &C, count: usize, command: &[u8]) -> Result<Full> {
    let mut writers = JoinSet::new();
    let accepted = Arc::new(AtomicU64::new(0));
    for _ in 0..count {
        let open = async {
            let mut stream = connection.open().await?;
            stream.write(command).await?;
            stream.flush().await?;
            anyhow::Ok(stream)
        };
        // If the earlier streams have stopped the whole connection, not even opening a stream
        // works.
        let Some(stream) = in_time(open).await else { break };
        let mut stream = stream?;
        watchdog::progress();
        let accepted = accepted.clone();
        writers.spawn(async move {
            let chunk = Bytes::from_static(&CHUNK);
            loop {
                stream.write_chunk(chunk.clone()).await?;
                accepted.fetch_add(chunk.len() as u64, Ordering::Relaxed);
                watchdog::progress();
            }
        });
    }
    watchdog::quiet(FULL).await;
    ensure!(writers.try_join_next().is_none(), "a stalled stream takes no more");
    Ok(Full { writers, accepted: accepted.load(Ordering::Relaxed) })
}

impl Full {
    /// Waits until every writer has ended, but only for a limited time.
    pub async fn writers_ended(&mut self) {
        in_time(async { while self.writers.join_next().await.is_some() {} }).await;
    }
}

/// Returns whether a new stream of the connection works.
pub async fn probe<C: Connection>(connection: &C) -> Seen {
    let work = async {
        let mut stream = connection.open().await?;
        stream.write(&[COUNT]).await?;
        write_bulk(&mut stream, PROBE).await?;
        stream.finish().await?;
        let mut count = [0; 8];
        read_exact(&mut stream, &mut count).await?;
        ensure!(u64::from_be_bytes(count) == PROBE, "bytes are missing");
        Ok(())
    };
    match in_time(work).await {
        Some(Ok(())) => Seen::OwnStreamOnly,
        Some(Err(_)) => Seen::ConnectionEnds,
        None => Seen::AllStreamsStop,
    }
}
