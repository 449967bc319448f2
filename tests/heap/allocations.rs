//! How often memory is allocated for a message, once all buffers have grown to their final size.

use wsmux_testing::engines;

use std::{
    cell::Cell,
    task::{Context, Waker},
};

use allocation_counter::measure;
use bytes::Bytes;
use engines::{Engines, NOW, read, shared};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use wsmux::{
    Config, ConnectionInfo, Side, WebSocketConnection, WebSocketServer, Wire,
    proto::{Incoming, MessageBuf},
    socket::memory_pair,
};

const WIRES: [Wire; 2] = [Wire::QMux, Wire::JsWs];
const WARM_UP: usize = 100;
const CHUNKS: usize = 1_000;

/// The length of a chunk that fills one message, except for the headers.
const ONE_MESSAGE: usize = 65_500;
/// The memory socket makes most of these allocations, because it copies each message into one block.
/// The rest are made for the messages that carry grants.
const ALLOCATIONS_BETWEEN_TASKS_FOR_1000_OF_ONE_MESSAGE: u64 = 1_250;

/// The length of a chunk that takes two messages, of which the second has only a few bytes.
const TWO_MESSAGES: usize = 64 * 1024;
const ALLOCATIONS_TO_RECEIVE_1000_OF_TWO_MESSAGES: u64 = 2_000;
const ALLOCATIONS_BETWEEN_TASKS_FOR_1000_OF_TWO_MESSAGES: u64 = 4_250;

/// The most that may be allocated for a message of which only the header and one byte have arrived.
/// This memory is enough for a block to read into, and for the Close and its reason. Each header
/// announces a length that is far larger than this limit.
const MAX_FOR_AN_ANNOUNCED_MESSAGE: u64 = 8 * 1024;

/// Counts the allocations on this thread.
#[derive(Default)]
struct Count(Cell<u64>);

impl Count {
    fn of<T>(&self, f: impl FnOnce() -> T) -> T {
        let mut output = None;
        let info = measure(|| output = Some(f()));
        self.0.set(self.0.get() + info.count_total);
        output.expect("it was called")
    }
}

/// Sends chunks from one engine to another, and returns how often each engine allocated. The memory
/// of messages does not count, because it belongs to the socket. The memory of chunks does not
/// count, because it belongs to the application.
fn between_engines(wire: Wire, len: usize) -> (u64, u64) {
    let mut engines = Engines::new(wire, &Config::default());
    let id = engines.open();
    let Engines { client, server, .. } = &mut engines;
    let (chunk, mut out) = (shared(len), MessageBuf::new());
    let (mut sent, mut received) = (Count::default(), Count::default());
    for round in 0..WARM_UP + CHUNKS {
        if round == WARM_UP {
            (sent, received) = (Count::default(), Count::default());
        }
        let chunk = chunk.clone();
        sent.of(|| client.send_stream(NOW, id).append_chunk(chunk)).unwrap();
        while sent.of(|| client.poll_transmit(NOW, &mut out)).is_some() {
            let message = Bytes::from_owner(out.to_bytes());
            received.of(|| server.handle(NOW, Incoming::Message(message)));
            while received.of(|| server.poll()).is_some() {}
        }
        assert_eq!(received.of(|| read(server, id)), len);
        while received.of(|| server.poll_transmit(NOW, &mut out)).is_some() {
            let message = Bytes::from_owner(out.to_bytes());
            sent.of(|| client.handle(NOW, Incoming::Message(message)));
            while sent.of(|| client.poll()).is_some() {}
        }
    }
    (sent.0.get(), received.0.get())
}

/// Sends chunks between two connections in memory, and returns the number of allocations of both
/// connections together. The number includes the allocations of the memory socket, which copies
/// each message into one block.
fn between_tasks(wire: Wire, len: usize) -> u64 {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let (left, right) = memory_pair(256 * 1024);
    let (mut sending, mut receiving) = runtime.block_on(async {
        let connection = |socket, side| {
            let info = ConnectionInfo::default();
            WebSocketConnection::from_socket(socket, side, wire, Config::default(), info)
        };
        let (client, server) = (connection(left, Side::Client), connection(right, Side::Server));
        client.established().await.unwrap();
        let mut sending = client.open_bi().await.unwrap();
        sending.send().announce();
        (sending, server.accept_bi().await.unwrap())
    });
    let chunk = shared(len);
    let mut transfer = |chunks| {
        runtime.block_on(async {
            for _ in 0..chunks {
                sending.send().write_chunk(chunk.clone()).await.unwrap();
                let mut left = len;
                while left > 0 {
                    left -= receiving.recv().read_chunk(usize::MAX).await.unwrap().unwrap().len();
                }
            }
        });
    };
    transfer(WARM_UP);
    let count = Count::default();
    count.of(|| transfer(CHUNKS));
    count.0.get()
}

/// Sends to a connection a frame header that declares `len` bytes, and then only one of these
/// bytes. Returns the largest amount of memory that the connection holds during this time. If the
/// connection closes, also returns the code of the close.
fn announced(wire: Wire, len: u64) -> (u64, Option<u16>) {
    const REQUEST: &str = "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let mut acceptor = WebSocketServer::builder();
    let (mut request, mut hello) = (REQUEST.to_owned(), Vec::new());
    match wire {
        Wire::QMux => {
            request.push_str("Sec-WebSocket-Protocol: qmux-02\r\n");
            // An empty list of transport parameters, in a frame with a mask of zeros.
            hello.extend(b"\x82\x89\0\0\0\0\xff\x51\x53\x30\x0d\x0a\x0d\x0a\0");
        }
        _ => acceptor = acceptor.wires([Wire::JsWs]),
    }
    request.push_str("\r\n");
    let acceptor = acceptor.build().unwrap();
    let (near, mut far) = tokio::io::duplex(64 * 1024);
    let far = &mut far;
    let _connection = runtime.block_on(async {
        far.write_all(&[request.as_bytes(), &hello].concat()).await.unwrap();
        let connection = acceptor.from_io(near).await.unwrap();
        // Reads the first message that the connection sends.
        tokio::task::yield_now().await;
        assert!(far.read(&mut [0; 4096]).await.unwrap() > 0);
        connection
    });
    let frame = [&[0x82, 0xff][..], &len.to_be_bytes(), &[0; 4], &[1]].concat();
    let mut answer = [0; 4096];
    let mut read = 0;
    let info = measure(|| {
        runtime.block_on(async {
            far.write_all(&frame).await.unwrap();
            for _ in 0..100 {
                tokio::task::yield_now().await;
            }
            let mut answer = tokio::io::ReadBuf::new(&mut answer);
            let poll = std::future::poll_fn(|cx| {
                std::task::Poll::Ready(std::pin::Pin::new(&mut *far).poll_read(cx, &mut answer))
            });
            if poll.await.is_ready() {
                read = answer.filled().len();
            }
        });
    });
    // The Close is the last frame, and contains a code and a reason.
    let close = answer[..read].windows(4).rev().find(|bytes| bytes[0] == 0x88 && bytes[1] < 126);
    (info.bytes_max, close.map(|close| u16::from_be_bytes([close[2], close[3]])))
}

#[test]
fn nothing_is_allocated_for_a_message_that_is_only_announced() {
    for (wire, limit) in [(Wire::QMux, 64 << 10), (Wire::JsWs, (1 << 20) + 10)] {
        for (len, code) in [
            (limit, None),
            (limit + 1, Some(1009)),
            (1 << 40, Some(1009)),
            ((1 << 63) - 1, Some(1009)),
            (1 << 63, Some(1002)),
        ] {
            let (bytes, closed) = announced(wire, len);
            assert_eq!(closed, code, "{wire:?} {len}");
            assert!(bytes < MAX_FOR_AN_ANNOUNCED_MESSAGE, "{wire:?} {len}: {bytes}");
        }
    }
}

#[test]
fn an_engine_allocates_nothing_for_a_chunk_of_one_message() {
    for wire in WIRES {
        let (sent, received) = between_engines(wire, ONE_MESSAGE);
        assert_eq!((sent, received), (0, 0), "{wire:?}");
    }
}

#[test]
fn an_engine_allocates_once_at_most_for_each_message_of_a_chunk() {
    for wire in WIRES {
        let (sent, received) = between_engines(wire, TWO_MESSAGES);
        assert_eq!(sent, 0, "{wire:?}");
        assert!(received <= ALLOCATIONS_TO_RECEIVE_1000_OF_TWO_MESSAGES, "{wire:?}: {received}");
    }
}

#[test]
fn two_connections_allocate_little_for_a_chunk() {
    for wire in WIRES {
        let one = between_tasks(wire, ONE_MESSAGE);
        assert!(one <= ALLOCATIONS_BETWEEN_TASKS_FOR_1000_OF_ONE_MESSAGE, "{wire:?}: {one}");
        let two = between_tasks(wire, TWO_MESSAGES);
        assert!(two <= ALLOCATIONS_BETWEEN_TASKS_FOR_1000_OF_TWO_MESSAGES, "{wire:?}: {two}");
    }
}

#[tokio::test]
async fn only_the_first_that_waits_allocates_and_once() {
    /// Polls the future once, asserts that it has to wait, and drops it. Returns the number of
    /// allocations.
    fn wait<F: Future>(future: F) -> u64 {
        let mut future = std::pin::pin!(Some(future));
        let counted = measure(|| {
            let mut cx = Context::from_waker(Waker::noop());
            let waiting = future.as_mut().as_pin_mut().expect("it is there");
            assert!(waiting.poll(&mut cx).is_pending(), "it has nothing to wait for");
            future.set(None);
        });
        counted.count_total
    }

    /// The first wait in a queue allocates the queue, and later waits allocate nothing.
    const ONCE: [u64; 2] = [1, 0];

    for wire in WIRES {
        let config = Config::default();
        let (left, _right) = memory_pair(64 * 1024);
        let info = ConnectionInfo::default();
        let connection = WebSocketConnection::from_socket(left, Side::Client, wire, config, info);
        assert_eq!([wait(connection.accept_bi()), wait(connection.accept_bi())], ONCE, "{wire:?}");
        assert_eq!(
            [wait(connection.accept_uni()), wait(connection.accept_uni())],
            ONCE,
            "{wire:?}"
        );
        assert_eq!(
            [wait(connection.read_datagram()), wait(connection.read_datagram())],
            ONCE,
            "{wire:?}"
        );
        assert_eq!([wait(connection.closed()), wait(connection.closed())], ONCE, "{wire:?}");
        if wire == Wire::QMux {
            assert_eq!(
                [wait(connection.established()), wait(connection.established())],
                ONCE,
                "{wire:?}"
            );
            assert_eq!([wait(connection.open_bi()), wait(connection.open_bi())], ONCE, "{wire:?}");
        }
    }
}

/// [J-43] The number of streams that wait MUST NOT exceed a setting. A stream that is refused by
/// J-42 or J-44 counts as waiting until its answer has been sent. A new stream that would exceed
/// the setting is refused as J-31 describes.
#[test]
fn a_stream_that_waits_takes_less_than_128_bytes() {
    const WAITING: u32 = 10_000;
    let message = |index: u32, kind: u16, payload: &[u8]| {
        let id = (1 << 31 | index << 1).to_be_bytes();
        Bytes::from([&id[..], &kind.to_be_bytes(), payload].concat())
    };
    let mut config = Config::default();
    config.max_concurrent_bidi_streams(0).max_waiting_streams(WAITING.into());
    let (mut server, mut out) =
        (wsmux::proto::Connection::new(config, Side::Server, Wire::JsWs, NOW), MessageBuf::new());
    let opened = measure(|| {
        for index in 0..WAITING {
            server.handle(NOW, Incoming::Message(message(index, 1, &[0, 16, 0, 0])));
        }
    });
    assert_eq!(server.stats(NOW).waiting_streams, u64::from(WAITING));
    assert!(opened.bytes_current < 128 * i64::from(WAITING), "{}", opened.bytes_current);
    // Every second stream is cancelled. No answer is sent yet, because `poll_transmit` is not
    // called, so the cancelled streams still count as waiting streams.
    let cancelled = measure(|| {
        for index in (0..WAITING).step_by(2) {
            server.handle(NOW, Incoming::Message(message(index, 2, &[0, 7])));
            server.handle(NOW, Incoming::Message(message(index, 2, &[1, 7])));
        }
    });
    let held = opened.bytes_current + cancelled.bytes_current;
    assert!(held < 128 * i64::from(WAITING), "{held}");
    let told = measure(|| {
        while server.poll_transmit(NOW, &mut out).is_some() {}
        for index in (1..WAITING).step_by(2) {
            server.handle(NOW, Incoming::Message(message(index, 2, &[0, 7])));
            server.handle(NOW, Incoming::Message(message(index, 2, &[1, 7])));
        }
        while server.poll_transmit(NOW, &mut out).is_some() {}
    });
    assert_eq!(server.stats(NOW).waiting_streams, 0);
    let left = held + told.bytes_current;
    assert!(left < 8 * 1024, "{left}");
}
