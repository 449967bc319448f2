//! Connects a TCP connection with its stream.

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

/// How many bytes are read from TCP at once.
const READ: usize = 32 * 1024;

/// The pause after `accept` has failed, which usually means that no file descriptors are left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How long to keep reading and discarding bytes of a TCP peer after the stream was stopped, so
/// that this TCP peer can read what was sent to it. If the socket were closed with unread bytes,
/// the system would reset the TCP connection, and data that has not been delivered yet would be
/// lost. nginx calls this `lingering_timeout`.
const LINGER: Duration = Duration::from_secs(5);

/// Accepts TCP connections, of which at most `max` are open at once. Calls `open` for each TCP
/// connection, and connects the TCP connection with the stream that `open` returns. If `open` takes
/// longer than `wait`, the TCP connection is reset.
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
                    // This makes the other end connect to the target now, before the TCP client has
                    // sent anything, because in many protocols the server speaks first.
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
        // The other end has stopped the stream, so nobody needs a connection to the target.
        _ = gone => return,
    };
    match connected {
        Ok(Ok(tcp)) => relay(tcp, stream).await,
        Ok(Err(error)) => eprintln!("{target}: {error}"),
        Err(_) => eprintln!("{target}: connecting timed out"),
    }
}

/// Carries bytes both ways until both directions have ended. When a TCP FIN arrives, the stream is
/// finished, and when a TCP reset arrives, the stream is reset. In the same way, the end of the
/// stream becomes a TCP FIN, and a reset of the stream becomes a TCP reset.
///
/// This function does not use `copy_bidirectional`, which notices a stop of the stream only at its
/// next write. `copy_bidirectional` then abandons the other direction as well, with the data in
/// flight there. So if a server answered an upload early and did not read the rest of it, the
/// answer would be lost.
async fn relay(mut tcp: TcpStream, mut stream: WebSocketStream) {
    // With Nagle's algorithm, a small request or answer would have to wait for the acknowledgement
    // of the previous one.
    let _ = tcp.set_nodelay(true);
    // Without TCP keep-alive, the stream of a TCP peer that has vanished would stay open for ever.
    // ssh also turns TCP keep-alive on.
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
    // When the stream is dropped here, a half that has not ended is reset or stopped; the data of a
    // finished half is still sent.
}

/// Carries bytes in both directions until both have ended or one has failed.
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
    // While the upload waits for credit, it does not read from TCP and would not notice a TCP
    // reset. So `reset` waits for a TCP reset at the same time.
    tokio::select! {
        uploaded = upload => uploaded,
        error = reset(write) => Err(error),
    }
}

/// Waits until the TCP connection has failed. Reads and writes may notice the failure much later,
/// because they happen only when the stream has credit or data.
async fn reset(write: &tcp::WriteHalf<'_>) -> io::Error {
    match write.ready(Interest::ERROR).await {
        Ok(_) => io::ErrorKind::ConnectionReset.into(),
        Err(error) => error,
    }
}

enum Upload {
    Finished,
    /// The peer has stopped the stream, so the peer reads no more of the upload. Data that the peer
    /// has sent is still carried to TCP.
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
            // The WebSocket is lost, which a read from TCP would not notice.
            Err(error) => Err(io::Error::other(error)),
        },
        copied = copy => match copied {
            Ok(()) => Ok(Upload::Finished),
            // A write may notice the stop before `stopped` does.
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

/// Makes the TCP connection end with a reset, so that its data does not look complete.
fn reset_on_drop(tcp: &TcpStream) {
    let _ = tcp.set_zero_linger();
}
