//! The server's end of the workloads. The first byte of each stream is a command to the server. The
//! constants below are these commands.

use std::sync::LazyLock;

use anyhow::{Result, bail, ensure};
use bytes::{Bytes, BytesMut};
use tokio::sync::broadcast;

use crate::{backends::Stream, behaviours};

/// Count the bytes that arrive, and send the count when the stream ends.
pub const COUNT: u8 = b'c';
/// Answer with the command, then send back each piece of data when it arrives.
pub const ECHO: u8 = b'e';
/// Do the same as [`ECHO`], but read up to 64 KiB at a time, because the messages may be long.
pub const MIRROR: u8 = b'm';
/// Read a request to its end, and answer with the same bytes.
pub const ANSWER: u8 = b'a';
/// Read a request of [`PAGE`] bytes to its end, and answer with a [`CHUNK`].
pub const FETCH: u8 = b'f';
/// Send data. The next eight bytes say how many bytes to send.
pub const SOURCE: u8 = b's';
/// Answer with the command, then send each event that is published.
pub const SUBSCRIBE: u8 = b'u';
/// Publish the bytes that arrive, as events of [`EVENT`] bytes.
pub const PUBLISH: u8 = b'p';
/// Answer with the command, and keep the stream for ever.
pub const HOLD: u8 = b'h';
/// Never read, and keep the stream for ever.
pub const STALL: u8 = b't';
/// Do what the next byte says, in order to show a behaviour: see [`behaviours::server`].
pub const SHOW: u8 = b'b';

/// The length of requests, answers and pings.
pub const SMALL: usize = 64;

/// The length of the larger requests.
pub const PAGE: usize = 4 * 1024;
/// The length of an event.
pub const EVENT: usize = 1024;

/// Bulk streams consist of copies of this chunk.
pub static CHUNK: [u8; 64 * 1024] = [0x5a; 64 * 1024];

/// The events that were published and not yet sent. Only one event is published at a time, so the
/// channel has more room than it needs.
static EVENTS: LazyLock<broadcast::Sender<Bytes>> = LazyLock::new(|| broadcast::channel(4).0);

/// Serves one stream. Errors are ignored here, because the client notices missing bytes and reports
/// them.
pub async fn serve<S: Stream>(stream: S) {
    let _ = serve_stream(stream).await;
}

async fn serve_stream<S: Stream>(mut stream: S) -> Result<()> {
    let mut command = [0];
    read_exact(&mut stream, &mut command).await?;
    match command[0] {
        COUNT => {
            let count = stream.discard().await?;
            stream.write(&count.to_be_bytes()).await?;
        }
        ECHO => {
            greet(&mut stream, ECHO).await?;
            echo(&mut stream, &mut [0; SMALL]).await?;
        }
        MIRROR => {
            greet(&mut stream, MIRROR).await?;
            echo(&mut stream, &mut vec![0; CHUNK.len()]).await?;
        }
        ANSWER => {
            let mut request = [0; SMALL];
            let len = read_to_end(&mut stream, &mut request).await?;
            stream.write(&request[..len]).await?;
        }
        FETCH => {
            let len = stream.discard().await?;
            ensure!(len == PAGE as u64, "a request of {len} bytes");
            stream.write_chunk(Bytes::from_static(&CHUNK)).await?;
        }
        SUBSCRIBE => {
            let mut events = EVENTS.subscribe();
            greet(&mut stream, SUBSCRIBE).await?;
            loop {
                stream.write_chunk(events.recv().await?).await?;
                stream.flush().await?;
            }
        }
        PUBLISH => loop {
            let mut event = BytesMut::zeroed(EVENT);
            read_exact(&mut stream, &mut event).await?;
            EVENTS.send(event.freeze())?;
        },
        SOURCE => {
            let mut count = [0; 8];
            read_exact(&mut stream, &mut count).await?;
            write_bulk(&mut stream, u64::from_be_bytes(count)).await?;
        }
        HOLD => {
            greet(&mut stream, HOLD).await?;
            // The stream stays open after its task has ended. If the task went on, its memory would
            // count as memory of the backend.
            Box::leak(Box::new(stream));
            return Ok(());
        }
        STALL => {
            Box::leak(Box::new(stream));
            return Ok(());
        }
        SHOW => return behaviours::server::serve(stream).await,
        other => bail!("unknown command {other}"),
    }
    stream.finish().await
}

async fn greet<S: Stream>(stream: &mut S, command: u8) -> Result<()> {
    stream.write(&[command]).await?;
    stream.flush().await
}

/// Sends back what arrives, until the stream ends. Each read takes at most as many bytes as the
/// buffer can hold.
async fn echo<S: Stream>(stream: &mut S, buffer: &mut [u8]) -> Result<()> {
    loop {
        let len = stream.read(buffer).await?;
        if len == 0 {
            return Ok(());
        }
        stream.write(&buffer[..len]).await?;
        stream.flush().await?;
    }
}

/// Writes this many bytes in chunks of 64 KiB.
pub async fn write_bulk<S: Stream>(stream: &mut S, bytes: u64) -> Result<()> {
    let chunk = Bytes::from_static(&CHUNK);
    let mut left = bytes;
    while left > 0 {
        let len = left.min(chunk.len() as u64);
        stream.write_chunk(chunk.slice(..len as usize)).await?;
        crate::watchdog::progress();
        left -= len;
    }
    Ok(())
}

/// Fills the buffer. Fails if the stream ends before the buffer is full.
pub async fn read_exact<S: Stream>(stream: &mut S, buf: &mut [u8]) -> Result<()> {
    let mut read = 0;
    while read < buf.len() {
        match stream.read(&mut buf[read..]).await? {
            0 => bail!("the stream ended after {read} of {} bytes", buf.len()),
            len => read += len,
        }
    }
    Ok(())
}

/// Reads to the end, and returns how many bytes there were. Fails if they do not fit into the
/// buffer.
pub async fn read_to_end<S: Stream>(stream: &mut S, buf: &mut [u8]) -> Result<usize> {
    let mut read = 0;
    loop {
        let mut beyond = [0];
        let room = if read < buf.len() { &mut buf[read..] } else { &mut beyond[..] };
        match stream.read(room).await? {
            0 => return Ok(read),
            _ if read == buf.len() => bail!("more than {read} bytes"),
            len => read += len,
        }
    }
}
