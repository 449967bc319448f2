//! Measures, with a paused clock, when our connection ends its direction of the stream below the
//! WebSocket. The peer is a WebSocket of tungstenite's, which the test drives step by step.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use futures_util::{SinkExt, StreamExt};
use tokio::{
    io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf, duplex},
    time::{Instant, sleep, timeout},
};
use tokio_tungstenite::{
    WebSocketStream, accept_async, client_async,
    tungstenite::{Message, protocol::Role},
};
use wsmux::{
    Config, ConnectionError, Side, WebSocketClient, WebSocketConnection, WebSocketServer, Wire,
};

/// The default of `Config::close_timeout`.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(3);
const SIDES: [Side; 2] = [Side::Client, Side::Server];

/// A stream that records whether its write direction was ended.
struct Witness {
    io: DuplexStream,
    ended: Ended,
}

#[derive(Debug, Clone, Default)]
struct Ended(Arc<AtomicBool>);

impl Ended {
    fn get(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

impl AsyncRead for Witness {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl AsyncWrite for Witness {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        assert!(!self.ended.get(), "nothing is written after the end");
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        assert!(!self.ended.0.swap(true, Ordering::SeqCst), "it is ended once");
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

type Peer = WebSocketStream<DuplexStream>;

/// Returns a connection of ours that uses our own WebSocket layer, the connection's peer, and a
/// record of whether the connection has ended its direction of the stream.
async fn framed(side: Side, capacity: usize) -> (WebSocketConnection, Peer, Ended) {
    let (io, theirs) = duplex(capacity);
    let ended = Ended::default();
    let io = Witness { io, ended: ended.clone() };
    let (ours, theirs) = match side {
        Side::Client => {
            let client = WebSocketClient::builder().wire(Wire::JsWs).build().unwrap();
            let ours = async { client.from_io("ws://localhost/", io).await.unwrap() };
            tokio::join!(ours, async { accept_async(theirs).await.unwrap() })
        }
        Side::Server => {
            let server = WebSocketServer::builder().wires([Wire::JsWs]).build().unwrap();
            let ours = async { server.from_io(io).await.unwrap() };
            let theirs = async { client_async("ws://localhost/", theirs).await.unwrap().0 };
            tokio::join!(ours, theirs)
        }
    };
    (ours, theirs, ended)
}

/// Returns the same as [`framed`], but our connection uses a WebSocket of tungstenite.
async fn of_tungstenite(side: Side, capacity: usize) -> (WebSocketConnection, Peer, Ended) {
    let (io, theirs) = duplex(capacity);
    let ended = Ended::default();
    let io = Witness { io, ended: ended.clone() };
    let [ours, peers] = match side {
        Side::Client => [Role::Client, Role::Server],
        Side::Server => [Role::Server, Role::Client],
    };
    let config = Config::default();
    let settings = Some(WebSocketConnection::websocket_config(&config, Wire::JsWs));
    let websocket = WebSocketStream::from_raw_socket(io, ours, settings).await;
    let ours = WebSocketConnection::from_websocket(websocket, side, Wire::JsWs, config).await;
    let theirs = WebSocketStream::from_raw_socket(theirs, peers, None).await;
    (ours.unwrap(), theirs, ended)
}

async fn both(side: Side, capacity: usize) -> [(WebSocketConnection, Peer, Ended); 2] {
    [framed(side, capacity).await, of_tungstenite(side, capacity).await]
}

/// Reads up to our Close, and answers it.
async fn answer_close(peer: &mut Peer) {
    while !matches!(peer.next().await.unwrap().unwrap(), Message::Close(_)) {}
    let _ = peer.flush().await;
}

/// Waits until all tasks are idle.
async fn quiet() {
    sleep(Duration::from_millis(1)).await;
}

/// [W-57] Once both Closes have been sent, a server MUST end its direction at once. A client MUST
/// first wait until the server has ended its direction, for at most the rest of the close wait.
/// Then the client MUST end its own direction.
#[tokio::test(start_paused = true)]
async fn a_client_waits_for_the_server_to_end_first_and_ends_in_time() {
    for (connection, mut peer, ended) in both(Side::Client, 4096).await {
        connection.close(0u32.into(), b"");
        let closed = connection.closed();
        let start = Instant::now();
        answer_close(&mut peer).await;
        let mut closed = std::pin::pin!(closed);
        let early = timeout(CLOSE_TIMEOUT - Duration::from_millis(100), closed.as_mut()).await;
        assert!(early.is_err() && !ended.get(), "a server may yet be sending");
        closed.await;
        assert!(ended.get());
        assert_eq!(start.elapsed().as_millis() / 10, CLOSE_TIMEOUT.as_millis() / 10);
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_ends_as_soon_as_the_server_has() {
    for (connection, mut peer, ended) in both(Side::Client, 4096).await {
        connection.close(0u32.into(), b"");
        let start = Instant::now();
        answer_close(&mut peer).await;
        // Everything that the server still sends is discarded.
        let mut io = peer.into_inner();
        tokio::io::AsyncWriteExt::write_all(&mut io, &[0; 1000]).await.unwrap();
        tokio::io::AsyncWriteExt::shutdown(&mut io).await.unwrap();
        connection.closed().await;
        assert!(ended.get());
        assert_eq!(start.elapsed(), Duration::ZERO);
    }
}

/// [W-58] After a server has ended its direction, it MUST read and discard until the client has
/// ended its direction too, or until the close wait is over. The server drops the underlying stream
/// only after that.
#[tokio::test(start_paused = true)]
async fn a_server_ends_at_once_and_waits_for_the_client_to_end_too() {
    for (connection, mut peer, ended) in both(Side::Server, 4096).await {
        let start = Instant::now();
        connection.close(0u32.into(), b"");
        answer_close(&mut peer).await;
        let mut closed = std::pin::pin!(connection.closed());
        assert!(timeout(Duration::from_millis(1), closed.as_mut()).await.is_err());
        assert!(ended.get(), "it ends first");
        let late = timeout(Duration::from_secs(2), closed.as_mut()).await;
        assert!(late.is_err(), "what the client has sent may be on its way");
        drop(peer);
        closed.await;
        assert!(start.elapsed() < CLOSE_TIMEOUT);
    }
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_never_ends_holds_a_connection_for_the_close_timeout() {
    for side in SIDES {
        for (connection, mut peer, ended) in both(side, 4096).await {
            let start = Instant::now();
            peer.send(Message::Close(None)).await.unwrap();
            connection.closed().await;
            assert!(ended.get(), "{side:?}");
            assert_eq!(start.elapsed().as_millis() / 10, CLOSE_TIMEOUT.as_millis() / 10);
        }
    }
}

/// [W-55] Once both Closes have been sent, or the wait for the peer's Close is over, we MUST end
/// our direction of the underlying stream. We end it by a close_notify under TLS, by END_STREAM on
/// HTTP/2, and by a FIN on TCP.
#[tokio::test(start_paused = true)]
async fn a_close_that_is_never_answered_is_followed_by_the_end() {
    for side in SIDES {
        for (connection, peer, ended) in both(side, 4096).await {
            connection.close(0u32.into(), b"");
            connection.closed().await;
            assert!(ended.get(), "{side:?}");
            drop(peer);
        }
    }
}

/// [W-56] An endpoint that has not sent its Close in full MUST NOT end its direction by a
/// close_notify or END_STREAM.
#[tokio::test(start_paused = true)]
async fn a_close_that_cannot_leave_is_not_followed_by_an_end() {
    for side in SIDES {
        for (connection, peer, ended) in both(side, 128).await {
            // The peer reads nothing.
            let streams: Vec<_> =
                (0..50).map(|_| connection.try_open_bi().unwrap().unwrap()).collect();
            quiet().await;
            connection.close(0u32.into(), b"");
            connection.closed().await;
            assert!(!ended.get(), "{side:?}: it would look like the end of all that was sent");
            drop((peer, streams));
        }
    }
}

/// If the peer vanishes, we do not end our direction cleanly. So the peer sees that the stream was
/// cut off.
#[tokio::test(start_paused = true)]
async fn a_peer_that_is_gone_without_a_close_is_not_followed_by_an_end() {
    for side in SIDES {
        for (connection, peer, ended) in both(side, 4096).await {
            drop(peer);
            connection.closed().await;
            assert!(!ended.get(), "{side:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_violation_is_answered_by_a_close_and_then_by_the_end() {
    for side in SIDES {
        for (connection, mut peer, ended) in both(side, 4096).await {
            peer.send(Message::Text("hello".into())).await.unwrap();
            answer_close(&mut peer).await;
            drop(peer);
            connection.closed().await;
            assert!(ended.get(), "{side:?}");
        }
    }
}

/// After the runtime has ended, nothing drives the socket to its end any more. Tasks that wait for
/// the socket's end must not wait for ever.
#[test]
fn a_runtime_that_ends_meanwhile_keeps_nobody_who_waits() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .unwrap();
    let (connection, peer) = runtime.block_on(async {
        let (connection, mut peer, _) = framed(Side::Client, 4096).await;
        connection.close(0u32.into(), b"");
        answer_close(&mut peer).await;
        (connection, peer)
    });
    let waiting = std::thread::spawn(move || {
        let another = tokio::runtime::Builder::new_current_thread().build().unwrap();
        another.block_on(connection.closed())
    });
    drop(runtime);
    let end = waiting.join().unwrap();
    assert!(matches!(end, ConnectionError::LocallyClosed), "{end:?}");
    drop(peer);
}
