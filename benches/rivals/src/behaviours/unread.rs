//! Streams that are dropped unread, streams that nobody accepts, and streams above the limit.

use anyhow::{Result, ensure};

use super::{
    Seen, greet, in_time,
    server::{self, DROP_LATER, ECHO},
    stopped::{fill, probe},
};
use crate::{
    backends::{Connection, Stream},
    peer::{HOLD, SHOW, read_exact},
    watchdog,
};

/// The largest number of streams that a test tries to open.
const MANY: u64 = 2_000;

/// Returns whether another stream works after receivers were dropped with unread data.
pub async fn dropped<C: Connection>(connection: &C, count: usize) -> Result<Seen> {
    let mut full = fill(connection, count, &[SHOW, DROP_LATER]).await?;
    server::open_gate();
    full.writers_ended().await;
    Ok(probe(connection).await)
}

/// Returns whether an accepted stream works while other streams wait to be accepted.
pub async fn unaccepted<C: Connection>(connection: &C) -> Result<Seen> {
    let mut accepted = greet(connection, ECHO).await?;
    server::stop_accepting();
    let mut streams = Vec::new();
    for _ in 0..MANY {
        let open = async {
            let mut stream = connection.open().await?;
            stream.write(&[HOLD; 64]).await?;
            stream.flush().await?;
            anyhow::Ok(stream)
        };
        match in_time(open).await {
            Some(stream) => streams.push(stream?),
            None => break,
        }
    }
    Ok(match in_time(echo(&mut accepted)).await {
        Some(Ok(())) => Seen::OwnStreamOnly,
        Some(Err(_)) => Seen::ConnectionEnds,
        None => Seen::AllStreamsStop,
    })
}

/// Returns how many streams can be open at once, and what happens when the application opens one
/// more.
pub async fn limit<C: Connection>(connection: &C) -> Result<Seen> {
    let mut first = greet(connection, ECHO).await?;
    let mut streams = Vec::new();
    loop {
        let count = streams.len() as u64 + 1;
        if count == MANY {
            return Ok(Seen::NoLimit(MANY));
        }
        let open = async {
            let mut stream = connection.open().await?;
            stream.write(&[HOLD]).await?;
            stream.flush().await?;
            read_exact(&mut stream, &mut [0]).await?;
            anyhow::Ok(stream)
        };
        match in_time(open).await {
            Some(Ok(stream)) => streams.push(stream),
            None => return Ok(Seen::OpenWaits(count)),
            Some(Err(_)) => {
                return Ok(match in_time(echo(&mut first)).await {
                    Some(Ok(())) => Seen::OpenFails(count),
                    _ => Seen::OpenEndsConnection(count),
                });
            }
        }
        watchdog::progress();
    }
}

/// Makes one round trip on an [`ECHO`] stream.
pub async fn echo<S: Stream>(stream: &mut S) -> Result<()> {
    stream.write(b"?").await?;
    stream.flush().await?;
    let mut byte = [0];
    read_exact(stream, &mut byte).await?;
    ensure!(byte == *b"?", "a wrong answer");
    Ok(())
}
