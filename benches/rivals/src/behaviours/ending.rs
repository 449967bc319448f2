//! Streams and connections that end early.

use anyhow::{Result, bail};
use bytes::Bytes;

use super::{
    Seen, greet, in_time, open,
    relay::Relay,
    server::{self, ECHO, Ended, SENTINEL, WATCH, WATCH_LATER},
    unread::echo,
};
use crate::{
    backends::{Connection, Stream},
    peer::{CHUNK, write_bulk},
    watchdog,
};

/// How many bytes are written before a close. The initial credit of every backend permits this many
/// bytes.
const SENT: u64 = 128 * 1024;
/// A writer that has written this many bytes counts as a writer that never has to stop.
const ENDLESS: u64 = 256 * 1024 * 1024;
/// How many round trips are made on another stream before data that was written earlier is sure to
/// have arrived. If a sender sent all data in the order of the writes, one round trip would be
/// enough.
const ROUND_TRIPS: usize = 50;

/// Drops a stream after some data, and returns what the reader sees.
pub async fn dropped_sender<C: Connection>(connection: &C) -> Result<Seen> {
    let mut stream = greet(connection, WATCH).await?;
    write_bulk(&mut stream, SENT).await?;
    stream.flush().await?;
    drop(stream);
    Ok(at_reader(None).await)
}

/// Writes without end to a stream that the server drops, and returns what the writer sees.
pub async fn dropped_receiver<C: Connection>(connection: &C, command: u8) -> Result<Seen> {
    let mut stream = open(connection, command).await?;
    let writing = async {
        let mut sent = 0;
        while sent < ENDLESS {
            stream.write_chunk(Bytes::from_static(&CHUNK)).await?;
            sent += CHUNK.len() as u64;
            watchdog::progress();
        }
        anyhow::Ok(())
    };
    Ok(match watchdog::watch(super::NEVER, writing).await {
        Ok(()) => Seen::AcceptsAll,
        Err(error) if error.is::<watchdog::Hangs>() => Seen::Waits,
        Err(_) => Seen::Error,
    })
}

/// Writes, finishes and closes without a pause, and returns what the reader sees.
pub async fn close_finished<C: Connection>(connection: C) -> Result<Seen> {
    let _sentinel = greet(&connection, SENTINEL).await?;
    let mut stream = greet(&connection, WATCH_LATER).await?;
    write_bulk(&mut stream, SENT).await?;
    stream.finish().await?;
    connection.close();
    Ok(at_reader(Some(SENT)).await)
}

/// Does the same as [`close_finished`], but with the kind of close that first sends all written
/// data.
pub async fn drain_finished<C: Connection>(connection: C) -> Result<Seen> {
    if !C::DRAINS {
        return Ok(Seen::NoOtherClose);
    }
    let mut stream = greet(&connection, WATCH).await?;
    write_bulk(&mut stream, SENT).await?;
    stream.finish().await?;
    tokio::spawn(connection.drain());
    Ok(at_reader(Some(SENT)).await)
}

/// Writes to a stream, closes the connection without finishing the stream, and returns what the
/// reader sees.
pub async fn close_unfinished<C: Connection>(connection: C) -> Result<Seen> {
    let _sentinel = greet(&connection, SENTINEL).await?;
    let mut stream = greet(&connection, WATCH_LATER).await?;
    write_bulk(&mut stream, SENT).await?;
    arrive(&connection).await?;
    connection.close();
    Ok(at_reader(None).await)
}

/// Closes the connection after all data of a finished stream has arrived. The reader begins to read
/// only after the close.
pub async fn close_unread<C: Connection>(connection: C) -> Result<Seen> {
    let _sentinel = greet(&connection, SENTINEL).await?;
    let mut stream = greet(&connection, WATCH_LATER).await?;
    write_bulk(&mut stream, SENT).await?;
    stream.finish().await?;
    arrive(&connection).await?;
    connection.close();
    Ok(at_reader(Some(SENT)).await)
}

/// Cuts the connection while a stream is unfinished, and returns what the reader sees.
pub async fn cut<C: Connection>(connection: C, relay: Relay) -> Result<Seen> {
    let _sentinel = greet(&connection, SENTINEL).await?;
    let mut stream = greet(&connection, WATCH_LATER).await?;
    write_bulk(&mut stream, SENT).await?;
    arrive(&connection).await?;
    relay.cut();
    Ok(at_reader(None).await)
}

/// Waits until all data that was written earlier has arrived.
async fn arrive<C: Connection>(connection: &C) -> Result<()> {
    let mut stream = greet(connection, ECHO).await?;
    for _ in 0..ROUND_TRIPS {
        echo(&mut stream).await?;
    }
    let Some(ended) = in_time(stream.finish()).await else { bail!("a finish that waits") };
    ended
}

/// Returns what the server's reader saw of a stream. `whole` is the number of bytes after which the
/// stream was finished, or `None` if it was not finished.
async fn at_reader(whole: Option<u64>) -> Seen {
    match in_time(server::ended()).await {
        Some(Some(Ended::End(count))) if Some(count) == whole => Seen::Complete,
        Some(Some(Ended::End(_))) => Seen::LooksComplete,
        Some(Some(Ended::Error)) => Seen::Error,
        Some(None) | None => Seen::Waits,
    }
}
