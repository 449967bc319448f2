//! The server's side. The byte after [`SHOW`](crate::peer::SHOW) is one of the commands below.
//!
//! Client and server are in one process, so they can also communicate through the statics of this
//! file. That works even after the connection has ended. Some commands first *greet*: they send one
//! byte, which shows that the command runs.

use std::sync::LazyLock;

use anyhow::{Result, bail};
use tokio::sync::{Semaphore, watch};

use crate::{
    backends::Stream,
    peer::{CHUNK, read_exact},
};

/// Greet, read to the end and report how the stream ended.
pub const WATCH: u8 = b'w';
/// Greet, wait for [`open_gate`], and then do the same as [`WATCH`].
pub const WATCH_LATER: u8 = b'l';
/// Greet, and call [`open_gate`] when the stream has ended in any way.
pub const SENTINEL: u8 = b's';
/// Drop the stream at once.
pub const DROP: u8 = b'd';
/// Finish this direction, and then drop the stream.
pub const FINISH_AND_DROP: u8 = b'f';
/// Wait for [`open_gate`], and then drop the stream unread.
pub const DROP_LATER: u8 = b'u';
/// Read [`READ_FIRST`] bytes, and then no more.
pub const READ_AND_STALL: u8 = b'r';
/// Greet, and send back single bytes.
pub const ECHO: u8 = b'e';

/// The number of bytes that [`READ_AND_STALL`] reads.
const READ_FIRST: usize = 8 * 1024 * 1024;

/// How a stream ended for its reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// The stream was finished after this many bytes.
    End(u64),
    Error,
}

static GATE: Semaphore = Semaphore::const_new(0);
static ENDED: LazyLock<watch::Sender<Option<Ended>>> = LazyLock::new(|| watch::Sender::new(None));
static ACCEPTING: LazyLock<watch::Sender<bool>> = LazyLock::new(|| watch::Sender::new(true));

/// Opens the gate, so that the commands that wait for it continue.
pub fn open_gate() {
    GATE.add_permits(Semaphore::MAX_PERMITS / 2);
}

/// Makes servers stop accepting, after at most one further stream.
pub fn stop_accepting() {
    ACCEPTING.send_replace(false);
}

/// Waits until a server may accept its next stream.
pub async fn accepting() {
    let _ = ACCEPTING.subscribe().wait_for(|accepting| *accepting).await;
}

/// Waits until the reader of a [`WATCH`] or [`WATCH_LATER`] stream has seen the end of the stream.
pub async fn ended() -> Option<Ended> {
    *ENDED.subscribe().wait_for(Option::is_some).await.ok()?
}

/// Serves one stream whose first byte has been read.
pub async fn serve<S: Stream>(mut stream: S) -> Result<()> {
    let mut command = [0];
    read_exact(&mut stream, &mut command).await?;
    match command[0] {
        WATCH => {
            greet(&mut stream).await?;
            report(&mut stream).await;
            // The stream is kept. If it were dropped, it would end, and the client would see that
            // end.
            Box::leak(Box::new(stream));
        }
        WATCH_LATER => {
            greet(&mut stream).await?;
            pass_gate().await;
            report(&mut stream).await;
            Box::leak(Box::new(stream));
        }
        SENTINEL => {
            greet(&mut stream).await?;
            let mut buffer = [0; 64];
            while stream.read(&mut buffer).await.is_ok_and(|len| len > 0) {}
            open_gate();
        }
        READ_AND_STALL => {
            let mut buffer = vec![0; CHUNK.len()];
            for _ in 0..READ_FIRST / CHUNK.len() {
                read_exact(&mut stream, &mut buffer).await?;
            }
            Box::leak(Box::new(stream));
        }
        DROP => drop(stream),
        FINISH_AND_DROP => stream.finish().await?,
        DROP_LATER => {
            pass_gate().await;
            drop(stream);
        }
        ECHO => {
            greet(&mut stream).await?;
            let mut byte = [0];
            while stream.read(&mut byte).await? > 0 {
                stream.write(&byte).await?;
                stream.flush().await?;
            }
        }
        other => bail!("unknown command {other}"),
    }
    Ok(())
}

async fn greet<S: Stream>(stream: &mut S) -> Result<()> {
    stream.write(b"!").await?;
    stream.flush().await
}

async fn pass_gate() {
    // The semaphore is never closed, so this does not fail.
    let _ = GATE.acquire().await.map(|permit| permit.forget());
}

async fn report<S: Stream>(stream: &mut S) {
    let mut buffer = vec![0; CHUNK.len()];
    let mut count = 0;
    let ended = loop {
        match stream.read(&mut buffer).await {
            Ok(0) => break Ended::End(count),
            Ok(len) => count += len as u64,
            Err(_) => break Ended::Error,
        }
    };
    ENDED.send_replace(Some(ended));
}
