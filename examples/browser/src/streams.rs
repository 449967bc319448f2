//! What a page may ask for. It opens every stream, for the js-ws wire has none that go one way, and the first
//! line says what the stream is for:
//!
//! | line | what follows |
//! |---|---|
//! | `send` | bytes to the page, until it wants no more |
//! | `receive <n>` | bytes from the page |
//! | `control` | the rate to the page, in a line; lines `stall <n>` and `resume <n>` from it |

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

/// Small against a second's worth, so that a curve of four points a second is smooth.
const CHUNK: Bytes = Bytes::from_static(&[0; 8 * 1024]);

/// What a busy machine may make up for; a stream that stood still has its window for that.
const DEPTH: Duration = Duration::from_millis(250);

/// Longer than any request.
const MAX_LINE: u64 = 64;

/// Whether the readers here are stalled, by the number that the page gave them: at most 256.
type Stalled = Arc<Mutex<HashMap<u8, watch::Sender<bool>>>>;

/// Serves the page on the other end until it goes away.
pub(crate) async fn serve(connection: WebSocketConnection, rate: NonZero<usize>) {
    let stalled = Stalled::default();
    while let Ok(stream) = connection.accept_bi().await {
        // It fails when the page goes away or wants no more of the stream, and both are its right.
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
            // One that is stalled when the page goes away is told so by the end of them all.
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

/// Sends for as long as the page reads. When it does not, credit runs out, and nobody else notices.
async fn pour(mut send: SendStream, rate: NonZero<usize>) -> io::Result<()> {
    // A bucket of tokens, one for each chunk: what is late is made up for.
    let mut tokens = interval(Duration::from_secs_f64(CHUNK.len() as f64 / rate.get() as f64));
    loop {
        if tokens.tick().await.elapsed() > DEPTH {
            tokens.reset();
        }
        send.write_chunk(CHUNK).await?;
    }
}

/// Reads to the end, but for the time in which it is stalled.
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

/// Does what the page says of its readers here.
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

/// Of the reader with this number, which may come later than what is said of it.
fn reader(stalled: &Stalled, number: &str) -> io::Result<watch::Sender<bool>> {
    let number = number.parse().map_err(|_| io::ErrorKind::InvalidInput)?;
    Ok(stalled.lock().unwrap_or_else(PoisonError::into_inner).entry(number).or_default().clone())
}
