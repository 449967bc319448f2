//! The memory of a whole connection over a byte stream: the blocks for reading, the messages, the
//! queues, and the bytes to be written.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use allocation_counter::measure;
use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use wsmux::{
    Config, ConnectionInfo, MemoryUse, WebSocketConnection, WebSocketServer,
    proto::{Credit, Frame, Wire},
    socket::memory_pair,
};

use super::{
    PATTERNS, Sizes,
    support::{CLIENT, WIRES, bidi, encode, scripted_peer::generous},
};

const WINDOW: u64 = 128 * 1024;
const STREAMS: u64 = 3;
/// The number of rounds of a test. Each round polls all tasks, and after the last round no task has
/// anything left to do.
const ROUNDS: usize = 500;

/// A peer whose bytes were prepared in advance, in parts. After a part, the peer waits until it
/// receives something, and then sends the next part. The peer accepts `takes` bytes and no more.
struct Script {
    parts: Arc<Vec<Vec<u8>>>,
    part: usize,
    at: usize,
    heard: bool,
    /// One read returns at most this many bytes.
    piece: usize,
    takes: usize,
    reader: Option<Waker>,
}

impl AsyncRead for Script {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let parts = self.parts.clone();
        if self.at == parts[self.part].len() && self.heard && self.part + 1 < parts.len() {
            (self.part, self.at, self.heard) = (self.part + 1, 0, false);
        }
        let rest = &parts[self.part][self.at..];
        let len = rest.len().min(self.piece).min(out.remaining());
        if len == 0 {
            self.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        out.put_slice(&rest[..len]);
        self.at += len;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Script {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        let taken = data.len().min(self.takes);
        if taken == 0 {
            return Poll::Pending;
        }
        self.takes -= taken;
        self.heard = true;
        self.reader.take().into_iter().for_each(Waker::wake);
        Poll::Ready(Ok(taken))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Returns a client's frame, with a mask of zeros.
fn frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    // The length has its shortest form (RFC 6455 §5.2).
    let (len, bytes) = (payload.len(), payload.len().to_be_bytes());
    let mut frame = vec![opcode];
    match len {
        0..=125 => frame.push(0x80 | bytes[7]),
        126..=0xffff => frame.extend([&[0xfe], &bytes[6..]].concat()),
        _ => frame.extend([&[0xff], &bytes[..]].concat()),
    }
    frame.extend([0; 4]);
    frame.extend(payload);
    frame
}

fn message(wire: Wire, frame_of_wire: &Frame) -> Vec<u8> {
    frame(0x82, &encode(wire, frame_of_wire, false))
}

fn request(wire: Wire) -> Vec<u8> {
    let offer = if wire == Wire::QMux { "Sec-WebSocket-Protocol: qmux-02\r\n" } else { "" };
    format!(
        "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{offer}\r\n"
    )
    .into()
}

/// Returns the bytes with which a peer opens streams. On each of these streams, the server has
/// `credit` bytes of credit.
fn opening(wire: Wire, credit: u64) -> Vec<u8> {
    let mut opening = Vec::new();
    match wire {
        Wire::QMux => {
            let mut parameters = generous();
            parameters.initial_max_stream_data_bidi_local = credit;
            opening.extend(message(wire, &Frame::TransportParameters(parameters)));
            for nth in 0..STREAMS {
                let (id, offset) = (bidi(CLIENT, nth), Some(0));
                let empty = Frame::Stream { id, offset, data: Default::default(), fin: false };
                opening.extend(message(wire, &empty));
            }
        }
        _ => {
            for nth in 0..STREAMS {
                let credit = Credit::More(credit);
                let ack = Frame::MaxStreamData { id: bidi(CLIENT, nth), credit };
                opening.extend(message(wire, &ack));
            }
        }
    }
    opening
}

fn config() -> Config {
    let mut config = Config::default();
    config
        .stream_receive_window(WINDOW)
        .window_growth_budget(0)
        .send_buffer(WINDOW as usize)
        .max_concurrent_bidi_streams(STREAMS)
        .max_concurrent_uni_streams(0);
    config
}

/// Returns the largest number of bytes that a server's connection holds while the peer sends these
/// parts and `application` runs.
fn most<F: Future<Output = ()>>(
    (wire, config): (Wire, &Config),
    (parts, piece, takes): (Vec<Vec<u8>>, usize, usize),
    application: impl FnOnce(WebSocketConnection) -> F,
) -> u64 {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let acceptor = WebSocketServer::builder().config(config.clone()).wires([wire]);
    let acceptor = acceptor.build().unwrap();
    let parts = Arc::new(parts);
    let script = Script { parts, part: 0, at: 0, heard: false, piece, takes, reader: None };
    let info = measure(|| {
        runtime.block_on(async {
            let connection = acceptor.from_io(script).await.unwrap();
            application(connection.clone()).await;
            for _ in 0..ROUNDS {
                tokio::task::yield_now().await;
            }
            assert!(connection.close_reason().is_none(), "{:?}", connection.close_reason());
        });
    });
    info.bytes_max
}

/// Reads `bytes` bytes of each stream, in pieces of at most `piece` bytes, and keeps the streams.
async fn read(connection: WebSocketConnection, (piece, bytes): (usize, usize)) {
    for _ in 0..STREAMS {
        let mut stream = connection.accept_bi().await.unwrap();
        tokio::spawn(async move {
            let mut left = bytes;
            while left > 0 {
                let chunk = stream.recv().read_chunk(piece.min(left)).await.unwrap().unwrap();
                left -= chunk.len();
            }
            std::future::pending::<()>().await;
        });
    }
}

/// [C-53] The memory that is allocated for a connection MUST NOT exceed the formula of §10 at any
/// time.
/// [C-72] A message that is smaller than half of the block that it was read into MUST be copied out
/// of that block.
#[test]
fn a_connection_that_is_not_read_holds_no_more_memory_than_the_formula() {
    let config = config();
    for wire in WIRES {
        let bound = config.memory_bound(wire, &MemoryUse::default()).total();
        for pattern in PATTERNS {
            for reads in [(1, 0), (1_000, WINDOW as usize / 4)] {
                let (mut sizes, mut data) = (Sizes::new(pattern), Vec::new());
                let mut sent = [0; STREAMS as usize];
                for round in 0.. {
                    let nth = round % STREAMS as usize;
                    let (len, offset) = (sizes.next(), sent[nth]);
                    sent[nth] += len as u64;
                    if sent[nth] > WINDOW || data.len() > 1 << 20 {
                        break;
                    }
                    let offset = (wire == Wire::QMux).then_some(offset);
                    let (id, bytes) = (bidi(CLIENT, nth as u64), vec![7; len].into());
                    let frame = Frame::Stream { id, offset, data: bytes, fin: false };
                    data.extend(message(wire, &frame));
                }
                for piece in [1_460, 1 << 20] {
                    let parts = vec![request(wire), opening(wire, 0), data.clone()];
                    let held = most((wire, &config), (parts, piece, usize::MAX), |connection| {
                        read(connection, reads)
                    });
                    assert!(held <= bound, "{wire:?} {pattern:?} {reads:?}: {held} of {bound}");
                }
            }
        }
    }
}

/// Data that the socket does not accept stays in the streams' buffers.
#[test]
fn a_connection_that_cannot_send_holds_no_more_memory_than_the_formula() {
    const LARGEST_CHUNK: usize = 16 * 1024;
    let config = config();
    for wire in WIRES {
        let application = MemoryUse { largest_chunk: LARGEST_CHUNK as u64, ..MemoryUse::default() };
        let bound = config.memory_bound(wire, &application).total();
        for pattern in PATTERNS {
            for takes in [2_000, 100_000] {
                let parts = vec![request(wire), opening(wire, 1 << 30)];
                let held = most((wire, &config), (parts, 1 << 20, takes), async |connection| {
                    for nth in 0..STREAMS {
                        let mut stream = connection.accept_bi().await.unwrap();
                        let mut sizes = Sizes::new(pattern);
                        tokio::spawn(async move {
                            for round in nth.. {
                                let data = vec![7; sizes.next().min(LARGEST_CHUNK)];
                                let send = stream.send();
                                match data.len() >= 4096 || round % 4 == 0 {
                                    true => send.write_chunk(data.into()).await.unwrap(),
                                    false => send.write_all(&data).await.unwrap(),
                                }
                            }
                        });
                    }
                });
                assert!(held <= bound, "{wire:?} {pattern:?} {takes}: {held} of {bound}");
            }
        }
    }
}

/// [C-73] A message that comes in fragments MUST NOT hold more memory than twice the size of the
/// largest message.
#[test]
fn a_message_in_fragments_is_held_twice_at_most() {
    let mut config = config();
    config.stream_receive_window(4 << 20);
    let bound = config.memory_bound(Wire::JsWs, &MemoryUse::default());
    let largest = 4 << 20;
    let held = |fragments: &[usize]| {
        let mut parts = vec![request(Wire::JsWs), Vec::new()];
        for (nth, &len) in fragments.iter().enumerate() {
            parts[1].extend(frame(if nth == 0 { 0x02 } else { 0x00 }, &vec![0; len]));
        }
        // The last byte of the message is not sent.
        parts[1].pop();
        most((Wire::JsWs, &config), (parts, 1 << 20, usize::MAX), |_| std::future::ready(()))
    };
    let most = bound.socket + bound.head + bound.state;
    for first in [1, largest / 4, largest / 2, largest - 100_000, largest - 1] {
        let held = held(&[first, largest - first]);
        assert!(held <= most, "{first}: {held} of {most}");
    }
    // In both cases the buffer has to grow when it already holds most of the message, and must not
    // double its size. In the first case, a single byte makes the buffer grow.
    let first = largest / 10 * 9;
    for fragments in [&[first, 1, largest - first - 1][..], &[largest / 7; 6]] {
        let held = held(fragments);
        assert!(held <= most, "{fragments:?}: {held} of {most}");
    }
}

/// A connection with nothing to send keeps no memory for messages that it has sent.
#[test]
fn a_chunk_that_was_sent_is_let_go_of() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        for wire in WIRES {
            let (left, right) = memory_pair(1 << 20);
            let connection = |socket, side| {
                let info = ConnectionInfo::default();
                WebSocketConnection::from_socket(socket, side, wire, Config::default(), info)
            };
            let (client, server) = (connection(left, CLIENT), connection(right, !CLIENT));
            client.established().await.unwrap();
            let chunk = Bytes::from(vec![7; 40_000]);
            let mut stream = client.open_bi().await.unwrap();
            stream.send().write_chunk(chunk.clone()).await.unwrap();
            let mut receiver = server.accept_bi().await.unwrap();
            receiver.recv().read_exact(&mut [0; 40_000]).await.unwrap();
            assert!(chunk.is_unique(), "{wire:?}");
        }
    });
}
