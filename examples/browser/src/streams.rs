//! The commands of a page. The page opens every stream, because the js-ws wire has no
//! unidirectional streams. The first line of a stream is the command:
//! | line | what follows |
//! |---|---|
//! | `send` | bytes to the page, until the page stops the stream |
//! | `receive <n>` | bytes from the page |
//! | `control` | the rate, in a line to the page; lines `stall <n>` and `resume <n>` from the page |

use std::{
    collections::HashMap,
    io,
    num::NonZero,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use tokio::{
    io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt, BufReader},
    sync::watch,
    time::interval,
};
use wsmux::{SendStream, WebSocketConnection, WebSocketStream};

/// The bytes of one write. A write is small compared with a second's data, so that a curve of four
/// points a second is smooth.
const CHUNK: Bytes = Bytes::from_static(&[0; 8 * 1024]);

/// How far a stream may fall behind its rate and still catch up, for example on a busy machine.
/// After a longer delay, such as a stall, the server does not send faster to make up for the lost
/// time.
const DEPTH: Duration = Duration::from_millis(250);

/// The longest command line in bytes. All commands are shorter.
const MAX_LINE: u64 = 64;

/// Whether each of this end's readers is stalled. The key is the number that the page gave to the
/// reader. A number has one byte, so there are at most 256.
type Stalled = Arc<Mutex<HashMap<u8, watch::Sender<bool>>>>;

/// Serves the page at the other end until it closes.
pub(crate) async fn serve(connection: WebSocketConnection, rate: NonZero<usize>) {
    let stalled = Stalled::default();
    while let Ok(stream) = connection.accept_bi().await {
        // A stream fails when the page is closed or stops the stream; both are normal.
        tokio::spawn(answer(stream, rate, stalled.clone()));
    }
}

async fn answer(stream: WebSocketStream, rate: NonZero<usize>, stalled: Stalled) -> io::Result<()> {
    let (mut send, recv) = stream.into_split();
    let mut recv = BufReader::new(recv);
    let mut request = String::new();
    (&mut recv).take(MAX_LINE).read_line(&mut request).await?;
    let words: Vec<_> = request.split_whitespace().collect();
    match *words {
        ["send"] => pour(send, rate).await,
        ["receive", number] => {
            send.finish()?;
            let reader = reader(&stalled, number)?.subscribe();
            // The reader keeps no sender of its channel. So when the page closes, the last sender
            // is dropped, which wakes a stalled reader.
            drop(stalled);
            drain(recv, reader).await
        }
        ["control"] => {
            send.write_all(format!("{rate}\n").as_bytes()).await?;
            obey(recv, &stalled).await
        }
        _ => Err(io::ErrorKind::InvalidInput.into()),
    }
}

/// Sends as long as the page reads. If the page stops reading, the stream's credit runs out, and no
/// other stream is affected.
async fn pour(mut send: SendStream, rate: NonZero<usize>) -> io::Result<()> {
    // This interval serves as a token bucket, in which each tick permits one chunk. After a delay,
    // the missed ticks come at once, so the stream catches up.
    let mut tokens = interval(Duration::from_secs_f64(CHUNK.len() as f64 / rate.get() as f64));
    loop {
        if tokens.tick().await.elapsed() > DEPTH {
            tokens.reset();
        }
        send.write_chunk(CHUNK).await?;
    }
}

/// Reads to the end of the stream, and pauses while `stalled` is true.
async fn drain(
    mut recv: impl AsyncBufRead + Unpin,
    mut stalled: watch::Receiver<bool>,
) -> io::Result<()> {
    while stalled.wait_for(|stalled| !stalled).await.is_ok() {
        match recv.fill_buf().await?.len() {
            0 => break,
            len => recv.consume(len),
        }
    }
    Ok(())
}

/// Stalls and resumes this end's readers as the page commands.
async fn obey(recv: impl AsyncBufRead + Unpin, stalled: &Stalled) -> io::Result<()> {
    let mut recv = recv.take(0);
    loop {
        recv.set_limit(MAX_LINE);
        let mut line = String::new();
        if recv.read_line(&mut line).await? == 0 {
            return Ok(());
        }
        let words: Vec<_> = line.split_whitespace().collect();
        match *words {
            ["stall", number] => reader(stalled, number)?.send_replace(true),
            ["resume", number] => reader(stalled, number)?.send_replace(false),
            _ => return Err(io::ErrorKind::InvalidInput.into()),
        };
    }
}

/// Returns the channel that says whether the reader with this number is stalled. The channel is
/// made on first use, because a command for a reader may arrive before the reader starts.
fn reader(stalled: &Stalled, number: &str) -> io::Result<watch::Sender<bool>> {
    let number = number.parse().map_err(|_| io::ErrorKind::InvalidInput)?;
    Ok(stalled.lock().unwrap_or_else(PoisonError::into_inner).entry(number).or_default().clone())
}
