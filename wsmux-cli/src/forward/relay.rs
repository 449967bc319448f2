//! A TCP connection and its stream.

use std::{io, pin::pin, sync::Arc, time::Duration};

use socket2::SockRef;
use tokio::{
    io::{AsyncWriteExt, BufReader, Interest, copy, copy_buf, sink},
    net::{TcpListener, TcpStream, tcp},
    sync::Semaphore,
    time::{sleep, timeout},
};
use wsmux::{RecvStream, SendStream, WebSocketStream, WriteError};

use super::Target;
use crate::Failure;

/// Bytes to read from TCP at once.
const READ: usize = 32 * 1024;

/// The pause after an error of accept, which usually means that no file descriptors are left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How long to keep reading from a TCP peer whose bytes are not wanted, so that it can read the
/// end. If unread bytes were left, the system would reset the connection and drop data that it has
/// not delivered. nginx calls this `lingering_timeout`.
const LINGER: Duration = Duration::from_secs(5);

/// Accepts TCP connections, at most `max` at once. Each gets the stream that `open` opens within
/// `wait`.
pub(super) async fn accept<F>(
    listener: TcpListener,
    max: u32,
    wait: Duration,
    open: impl Fn() -> F,
) -> std::convert::Infallible
where
    F: Future<Output = Result<WebSocketStream, Failure>> + Send + 'static,
{
    let places = Arc::new(Semaphore::new(max as usize));
    loop {
        let place = places.clone().acquire_owned().await.expect("it is never closed");
        let tcp = match listener.accept().await {
            Ok((tcp, _)) => tcp,
            Err(error) => {
                eprintln!("accept: {error}");
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let stream = open();
        tokio::spawn(async move {
            let _place = place;
            match timeout(wait, stream).await {
                Ok(Ok(mut stream)) => {
                    // The other end connects now, because in many protocols the server speaks
                    // first.
                    stream.send().announce();
                    relay(tcp, stream).await;
                }
                Ok(Err(error)) => refuse(&tcp, &error.to_string()),
                Err(_) => refuse(&tcp, "no stream in time"),
            }
        });
    }
}

fn refuse(tcp: &TcpStream, reason: &str) {
    eprintln!("TCP connection refused: {reason}");
    reset_on_drop(tcp);
}

/// Connects a stream to the target. If that fails, dropping the stream resets it.
pub(super) async fn dial(stream: WebSocketStream, target: &Target, wait: Duration) {
    let mut stream = stream;
    let gone = stream.send().stopped();
    let connected = tokio::select! {
        connected = timeout(wait, TcpStream::connect(&target.0)) => connected,
        // Nobody is waiting for the target any more.
        _ = gone => return,
    };
    match connected {
        Ok(Ok(tcp)) => relay(tcp, stream).await,
        Ok(Err(error)) => eprintln!("{target}: {error}"),
        Err(_) => eprintln!("{target}: connecting timed out"),
    }
}

/// Carries bytes both ways until both directions have ended. A FIN becomes the end of the stream
/// and vice versa, and so does a reset.
///
/// It does not use `copy_bidirectional`, which learns only by writing that the peer has stopped the
/// stream. It then also abandons the other direction with its data in flight. That would lose a
/// server's early answer to an upload that the server does not read to the end.
async fn relay(mut tcp: TcpStream, mut stream: WebSocketStream) {
    // Requests and answers should not wait for each other's acknowledgements.
    let _ = tcp.set_nodelay(true);
    // Otherwise a TCP peer that vanished would hold its stream for ever. ssh does so too.
    let _ = SockRef::from(&tcp).set_keepalive(true);
    let (mut read, mut write) = tcp.split();
    let (send, recv) = stream.split();
    match both(&mut read, send, recv, &mut write).await {
        Ok(Upload::Finished) => {}
        Ok(Upload::Stopped) => {
            let _ = timeout(LINGER, copy(&mut read, &mut sink())).await;
        }
        Err(_) => reset_on_drop(&tcp),
    }
    // Dropping the stream resets and stops halves that have not ended; a finished half is still
    // sent.
}

/// Runs both directions, until both have ended or one has failed.
async fn both(
    read: &mut tcp::ReadHalf<'_>,
    send: &mut SendStream,
    recv: &mut RecvStream,
    write: &mut tcp::WriteHalf<'_>,
) -> io::Result<Upload> {
    let mut upload = pin!(upload(read, send));
    {
        let mut download = pin!(download(recv, write));
        tokio::select! {
            uploaded = &mut upload => {
                let uploaded = uploaded?;
                download.await?;
                return Ok(uploaded);
            }
            downloaded = &mut download => downloaded?,
        }
    }
    // The upload may be waiting for credit, and then it does not check TCP.
    tokio::select! {
        uploaded = upload => uploaded,
        error = reset(write) => Err(error),
    }
}

/// Waits until TCP has failed. A read or a write might not notice that for long.
async fn reset(write: &tcp::WriteHalf<'_>) -> io::Error {
    match write.ready(Interest::ERROR).await {
        Ok(_) => io::ErrorKind::ConnectionReset.into(),
        Err(error) => error,
    }
}

enum Upload {
    Finished,
    /// The peer reads no more. Data that it has sent is still carried.
    Stopped,
}

/// Carries bytes from TCP to the stream.
async fn upload(read: &mut tcp::ReadHalf<'_>, send: &mut SendStream) -> io::Result<Upload> {
    let stopped = send.stopped();
    let copy = async {
        copy_buf(&mut BufReader::with_capacity(READ, read), send).await?;
        send.shutdown().await
    };
    tokio::select! {
        end = stopped => match end {
            Ok(Some(_)) => Ok(Upload::Stopped),
            Ok(None) => Ok(Upload::Finished),
            // The WebSocket is lost, and a TCP read would not notice that.
            Err(error) => Err(io::Error::other(error)),
        },
        copied = copy => match copied {
            Ok(()) => Ok(Upload::Finished),
            // A write may notice the stop first.
            Err(error) if is_stopped(&error) => Ok(Upload::Stopped),
            Err(error) => Err(error),
        },
    }
}

fn is_stopped(error: &io::Error) -> bool {
    let error = error.get_ref().and_then(|error| error.downcast_ref());
    matches!(error, Some(WriteError::Stopped(_)))
}

/// Carries bytes from the stream to TCP.
async fn download(recv: &mut RecvStream, write: &mut tcp::WriteHalf<'_>) -> io::Result<()> {
    loop {
        let chunk = tokio::select! {
            chunk = recv.read_chunk(usize::MAX) => chunk?,
            error = reset(write) => return Err(error),
        };
        match chunk {
            Some(chunk) => write.write_all(&chunk).await?,
            None => return write.shutdown().await,
        }
    }
}

/// Makes the TCP connection end with a reset, and not with an end that looks complete.
fn reset_on_drop(tcp: &TcpStream) {
    let _ = tcp.set_zero_linger();
}
