//! The other end: each stream's first byte is a command.

use anyhow::{Result, bail};
use bytes::Bytes;

use crate::backends::Stream;

/// Count the bytes that arrive; at the end send the count.
pub const COUNT: u8 = b'c';
/// Send back what arrives, as it arrives.
pub const ECHO: u8 = b'e';
/// Read a request to its end, and answer with as much.
pub const ANSWER: u8 = b'a';
/// Send as many bytes as the next eight bytes say.
pub const SOURCE: u8 = b's';
/// Answer with one byte, and keep the stream for ever.
pub const HOLD: u8 = b'h';
/// Never read, and keep the stream for ever.
pub const STALL: u8 = b't';

/// The length of requests, answers and pings.
pub const SMALL: usize = 64;

/// What bulk streams are made of.
pub static CHUNK: [u8; 64 * 1024] = [0x5a; 64 * 1024];

/// Serves one stream. If something fails here, the client misses bytes and reports it.
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
            let mut buffer = [0; SMALL];
            loop {
                let len = stream.read(&mut buffer).await?;
                if len == 0 {
                    break;
                }
                stream.write(&buffer[..len]).await?;
                stream.flush().await?;
            }
        }
        ANSWER => {
            let mut request = [0; SMALL];
            let len = read_to_end(&mut stream, &mut request).await?;
            stream.write(&request[..len]).await?;
        }
        SOURCE => {
            let mut count = [0; 8];
            read_exact(&mut stream, &mut count).await?;
            write_bulk(&mut stream, u64::from_be_bytes(count)).await?;
        }
        HOLD => {
            stream.write(&[HOLD]).await?;
            stream.flush().await?;
            // Kept without the task, whose size the backend does not determine.
            Box::leak(Box::new(stream));
            return Ok(());
        }
        STALL => {
            Box::leak(Box::new(stream));
            return Ok(());
        }
        other => bail!("unknown command {other}"),
    }
    stream.finish().await
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

/// Fails at an end before the buffer is full.
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

/// Returns how many bytes there were. Fails if there are more than the buffer holds.
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
