//! Received bytes can be read. Written bytes arrive, or both ends get an error. The end of each
//! connection is reported with its cause.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use ::bytes::Bytes;
use wsmux::{
    Config, ConnectionError, Dir, ReadError, Side, SocketError, StreamId, Timeout,
    TransportErrorCode, VarInt, WebSocketConnection, WebSocketStream, Wire, WriteError,
    proto::{Close, Frame},
    socket::{Incoming, Outgoing, Socket, memory_pair},
};

use super::{
    bytes::{expected, read_expected, write_expected},
    hand::Hand,
    pair::{WIRES, config, connection, memory, over, quiet, soon},
    raw::{RawPeer, opening_data},
};

fn code(value: u32) -> VarInt {
    VarInt::from_u32(value)
}

/// Opens a stream at the client and writes `count` bytes. Some of these bytes may still be in
/// flight when this function returns.
async fn sent(client: &WebSocketConnection, seed: usize, count: usize) -> WebSocketStream {
    let mut stream = client.open_bi().await.unwrap();
    stream.send().announce();
    write_expected(stream.send(), seed, count).await;
    stream
}

/// Reads all bytes until the stream reports an error.
async fn read_until_error(stream: &mut WebSocketStream, seed: usize) -> (usize, ReadError) {
    let mut at = 0;
    loop {
        match soon(stream.recv().read_chunk(10_000)).await {
            Ok(Some(chunk)) => {
                assert_eq!(chunk, expected(seed, at, chunk.len()));
                at += chunk.len();
            }
            Ok(None) => panic!("an end that looks complete after {at} bytes"),
            Err(error) => return (at, error),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum End {
    PeerCloses,
    PeerVanishes,
    SocketBreaks,
    ThisEndCloses,
}

#[tokio::test(start_paused = true)]
async fn bytes_received_before_the_end_are_read_after_it_on_any_stream() {
    use End::*;
    for wire in WIRES {
        for end in [PeerCloses, PeerVanishes, SocketBreaks, ThisEndCloses] {
            let (left, right) = memory_pair(64 * 1024);
            let breaking = Breaking::new(right);
            let broken = breaking.broken.clone();
            let (client, server) = over((left, breaking), wire, &Config::default()).await;
            let first = sent(&client, 1, 100_000).await;
            let mut accepted = server.accept_bi().await.unwrap();
            let mut second = sent(&client, 2, 200_000).await;
            second.send().finish().unwrap();
            let third = sent(&client, 3, 0).await;
            quiet().await;
            match end {
                PeerCloses => client.close(code(5), b"bye"),
                ThisEndCloses => server.close(code(5), b"bye"),
                SocketBreaks => broken.store(true, Ordering::Relaxed),
                PeerVanishes => drop((client.clone(), first, second, third)),
            }
            if end == PeerVanishes {
                drop(client);
            } else if end == SocketBreaks {
                client.close(code(0), b"");
            }
            let reason = soon(server.closed()).await;
            let text = format!("{wire:?} {end:?} {reason:?}");
            match end {
                PeerCloses => assert!(
                    matches!(&reason, ConnectionError::ApplicationClosed(close)
                        if close.error_code == code(5) && close.reason == "bye"),
                    "{text}"
                ),
                PeerVanishes => assert!(
                    matches!(&reason, ConnectionError::ApplicationClosed(close)
                        if close.error_code == code(0)),
                    "{text}"
                ),
                SocketBreaks => {
                    assert!(
                        matches!(reason, ConnectionError::SocketLost(SocketError::Io(_))),
                        "{text}"
                    );
                }
                ThisEndCloses => {
                    assert!(matches!(reason, ConnectionError::LocallyClosed), "{text}");
                }
            }
            let lost = |error: ReadError| matches!(error, ReadError::ConnectionLost(_));
            // The first stream was not finished. So the reader gets all its bytes, and then the
            // error of the connection.
            let (got, error) = read_until_error(&mut accepted, 1).await;
            assert!(got == 100_000 && lost(error), "{text}");
            let mut accepted = soon(server.accept_bi()).await.unwrap();
            assert_eq!(read_expected(accepted.recv(), 2).await, 200_000, "{text}");
            let mut accepted = soon(server.accept_bi()).await.unwrap();
            let (got, error) = read_until_error(&mut accepted, 3).await;
            assert!(got == 0 && lost(error), "{text}");
            let write = accepted.send().write(b"too late").await;
            assert!(matches!(write, Err(WriteError::ConnectionLost(_))), "{text}");
            assert!(soon(server.accept_bi()).await.is_err(), "{text}");
            assert!(soon(server.open_bi()).await.is_err(), "{text}");
        }
    }
}

/// A socket that a test can make fail.
struct Breaking<S> {
    socket: S,
    broken: Arc<AtomicBool>,
    dropped: Arc<AtomicBool>,
}

impl<S> Breaking<S> {
    fn new(socket: S) -> Self {
        Self { socket, broken: Arc::default(), dropped: Arc::default() }
    }

    fn check(&self) -> Result<(), SocketError> {
        match self.broken.load(Ordering::Relaxed) {
            true => Err(std::io::Error::from(std::io::ErrorKind::ConnectionReset).into()),
            false => Ok(()),
        }
    }
}

impl<S> Drop for Breaking<S> {
    fn drop(&mut self) {
        self.dropped.store(true, Ordering::Relaxed);
    }
}

impl<S: Socket + Unpin> Socket for Breaking<S> {
    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Result<Incoming, SocketError>> {
        self.check()?;
        let came = self.socket.poll_recv(cx);
        self.check()?;
        came
    }

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SocketError>> {
        self.check()?;
        self.socket.poll_ready(cx)
    }

    fn start_send(&mut self, item: Outgoing<'_>) -> Result<(), SocketError> {
        self.socket.start_send(item)
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SocketError>> {
        self.check()?;
        self.socket.poll_flush(cx)
    }
}

#[tokio::test(start_paused = true)]
async fn a_peer_beyond_its_credit_is_told_so_and_what_it_had_sent_is_read() {
    for wire in WIRES {
        let (left, right) = memory_pair(64 * 1024);
        let mut peer = RawPeer::new(left, Side::Client, wire);
        let config = config(|config| {
            config.stream_receive_window(1_000);
        });
        let server = connection(right, Side::Server, wire, &config);
        let [first, second] = [0, 1].map(|index| StreamId::new(Side::Client, Dir::Bi, index));
        for message in opening_data(wire, first, &expected(0, 0, 1_000)) {
            peer.send(message);
            quiet().await;
        }
        assert!(server.close_reason().is_none(), "{wire:?}: the whole credit can be used");
        for message in opening_data(wire, second, &expected(0, 0, 1_001)) {
            peer.send(message);
            quiet().await;
        }
        let (frames, close) = soon(peer.until_close()).await;
        assert_eq!(close, Some(1002), "{wire:?}");
        if wire == Wire::QMux {
            assert!(
                matches!(frames.last(), Some(Frame::ConnectionClose(Close::Transport { code, .. }))
                    if *code == TransportErrorCode::FLOW_CONTROL_ERROR),
                "{frames:?}"
            );
        }
        assert!(matches!(
            server.close_reason(),
            Some(ConnectionError::TransportError(error))
                if error.code == TransportErrorCode::FLOW_CONTROL_ERROR
        ));
        let mut stream = server.accept_bi().await.unwrap();
        assert_eq!(read_until_error(&mut stream, 0).await.0, 1_000, "{wire:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_dropped_sender_resets_its_stream_and_a_finished_one_delivers_all() {
    for wire in WIRES {
        let (client, server) = memory(wire, &Config::default()).await;
        drop(sent(&client, 1, 1_000).await);
        let mut stream = server.accept_bi().await.unwrap();
        let (_, error) = read_until_error(&mut stream, 1).await;
        assert!(matches!(error, ReadError::Reset(zero) if zero == code(0)), "{wire:?}");
        drop(stream);
        // These bytes exceed the window and the buffers, so most of them are sent after the drop.
        let finished = async {
            let mut stream = sent(&client, 2, 3_000_000).await;
            stream.send().finish().unwrap();
        };
        let (_, mut stream) = tokio::join!(finished, async {
            let mut stream = server.accept_bi().await.unwrap();
            assert_eq!(read_expected(stream.recv(), 2).await, 3_000_000, "{wire:?}");
            stream
        });
        // The receiving half was dropped unread, so it was stopped.
        quiet().await;
        let write = stream.send().write(b"x").await;
        assert!(matches!(write, Err(WriteError::Stopped(zero)) if zero == code(0)), "{wire:?}");
        drop(stream);
        quiet().await;
        assert_eq!((client.stats().live_streams, server.stats().live_streams), (0, 0), "{wire:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_dropped_receiver_stops_its_stream_and_wakes_a_waiting_writer() {
    for wire in WIRES {
        let (client, server) = memory(wire, &Config::default()).await;
        let (mut send, _recv) = sent(&client, 1, 1_500_000).await.into_split();
        let stream = server.accept_bi().await.unwrap();
        quiet().await;
        let data = vec![0; 1_000_000];
        let mut writer = Hand::waiting(send.write_all(&data));
        let (_back, recv) = stream.into_split();
        drop(recv);
        quiet().await;
        assert_eq!(writer.wakes(), 1, "{wire:?}");
        assert!(matches!(writer.ready(), Err(WriteError::Stopped(zero)) if zero == code(0)));
        assert_eq!(client.stats().send_buffered, 0, "{wire:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_last_handle_closes_with_code_0() {
    for wire in WIRES {
        let (client, server) = memory(wire, &Config::default()).await;
        let (send, recv) = client.open_bi().await.unwrap().into_split();
        let stopped = send.stopped();
        drop((client.clone(), send, client));
        quiet().await;
        assert!(server.close_reason().is_none(), "{wire:?}: there are handles yet");
        drop(stopped);
        drop(recv);
        let reason = soon(server.closed()).await;
        let ConnectionError::ApplicationClosed(close) = reason else { panic!("{reason:?}") };
        assert_eq!((close.error_code, close.reason), (code(0), Bytes::new()), "{wire:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_close_brings_code_and_reason_and_two_at_once_end_both_ends() {
    for wire in WIRES {
        let (client, server) = memory(wire, &Config::default()).await;
        client.close(code(77), b"no more");
        assert!(matches!(client.close_reason(), Some(ConnectionError::LocallyClosed)));
        let reason = soon(server.closed()).await;
        let ConnectionError::ApplicationClosed(close) = reason else { panic!("{reason:?}") };
        assert_eq!((close.error_code, &close.reason[..]), (code(77), &b"no more"[..]), "{wire:?}");
        assert!(matches!(soon(client.closed()).await, ConnectionError::LocallyClosed));

        let (client, server) = memory(wire, &Config::default()).await;
        client.close(code(1), b"one");
        server.close(code(2), b"two");
        assert!(matches!(soon(client.closed()).await, ConnectionError::LocallyClosed), "{wire:?}");
        assert!(matches!(soon(server.closed()).await, ConnectionError::LocallyClosed), "{wire:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_close_that_the_peer_does_not_answer_ends_in_time() {
    for wire in WIRES {
        for deaf in [false, true] {
            let (left, right) = memory_pair(1_024);
            let stall = left.stall();
            let _peer = RawPeer::new(right, Side::Server, wire);
            let client = connection(left, Side::Client, wire, &Config::default());
            client.established().await.unwrap();
            quiet().await;
            stall.pause_writes(deaf);
            let begin = tokio::time::Instant::now();
            client.close(code(1), b"");
            client.closed().await;
            let taken = begin.elapsed();
            let wait = Duration::from_secs(3);
            assert!((wait..wait + Duration::from_millis(10)).contains(&taken), "{taken:?}");
        }
    }
}

/// A peer that never stops sending.
struct Flood;

impl Socket for Flood {
    fn poll_recv(&mut self, _: &mut Context<'_>) -> Poll<Result<Incoming, SocketError>> {
        Poll::Ready(Ok(Incoming::Ping))
    }

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), SocketError>> {
        Poll::Ready(Ok(()))
    }

    fn start_send(&mut self, _: Outgoing<'_>) -> Result<(), SocketError> {
        Ok(())
    }

    fn poll_flush(&mut self, _: &mut Context<'_>) -> Poll<Result<(), SocketError>> {
        Poll::Ready(Ok(()))
    }
}

/// Lets the connection's task run a few times while other tasks are always ready. The number of
/// runs is small, so that the flood of pings stays within the budget for pings.
async fn some_turns() {
    for _ in 0..4 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_never_stops_sending_outlasts_no_handshake_and_no_close() {
    let client = connection(Flood, Side::Client, Wire::QMux, &Config::default());
    some_turns().await;
    tokio::time::advance(Duration::from_secs(11)).await;
    some_turns().await;
    let reason = client.close_reason();
    assert!(
        matches!(reason, Some(ConnectionError::TimedOut(Timeout::Handshake))),
        "the handshake: {reason:?}"
    );
    for wire in WIRES {
        let client = connection(Flood, Side::Client, wire, &Config::default());
        some_turns().await;
        client.close(code(1), b"");
        some_turns().await;
        let mut closed = Hand::waiting(client.closed());
        tokio::time::advance(Duration::from_secs(4)).await;
        some_turns().await;
        assert!(closed.poll().is_ready(), "the close, {wire:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_end_is_told_when_the_socket_is_gone_and_not_before() {
    struct Looks(Arc<AtomicBool>, AtomicBool);
    impl std::task::Wake for Looks {
        fn wake(self: Arc<Self>) {
            self.1.store(self.0.load(Ordering::Relaxed), Ordering::Relaxed);
        }
    }
    for wire in WIRES {
        let (left, right) = memory_pair(64 * 1024);
        let left = Breaking::new(left);
        let looks = Arc::new(Looks(left.dropped.clone(), AtomicBool::new(false)));
        let (client, _server) = over((left, right), wire, &Config::default()).await;
        client.close(code(0), b"");
        let waker = looks.clone().into();
        let mut closed = Box::pin(client.closed());
        assert!(closed.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        quiet().await;
        assert!(looks.1.load(Ordering::Relaxed), "{wire:?}: the socket was there yet");
        assert!(closed.as_mut().poll(&mut Context::from_waker(&waker)).is_ready());
    }
}
