//! Tests of the socket with tungstenite at the other end, and with bytes written by hand.

mod agree;
mod autobahn;
mod chopped;
mod differential;
mod echo;
mod wstest;

use std::future::poll_fn;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Message,
        protocol::{
            CloseFrame, Role, WebSocketConfig,
            frame::{
                Frame,
                coding::{Data, OpCode},
            },
        },
    },
};
use wsmux_proto::MessageBuf;

use super::*;

const LIMIT: u64 = 1 << 20;
const SIDES: [Side; 2] = [Side::Client, Side::Server];

/// Returns our socket on `side`, and tungstenite at the other end of a pipe of `capacity` bytes.
async fn pair(
    side: Side,
    capacity: usize,
) -> (FramedSocket<DuplexStream>, WebSocketStream<DuplexStream>) {
    let (ours, theirs) = duplex(capacity);
    let role = if side == Side::Client { Role::Server } else { Role::Client };
    let config = WebSocketConfig::default().max_message_size(None).max_frame_size(None);
    let theirs = WebSocketStream::from_raw_socket(theirs, role, Some(config)).await;
    (FramedSocket::new(ours, &[], side, LIMIT), theirs)
}

async fn recv(socket: &mut FramedSocket<DuplexStream>) -> Result<Incoming, SocketError> {
    poll_fn(|cx| {
        let _ = socket.poll_flush(cx);
        socket.poll_recv(cx)
    })
    .await
}

async fn send(socket: &mut FramedSocket<DuplexStream>, item: Outgoing<'_>) {
    poll_fn(|cx| socket.poll_ready(cx)).await.unwrap();
    socket.start_send(item).unwrap();
}

async fn flush(socket: &mut FramedSocket<DuplexStream>) {
    poll_fn(|cx| socket.poll_flush(cx)).await.unwrap();
}

fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i * 31 + len) as u8).collect()
}

const SIZES: [usize; 12] = [0, 1, 2, 125, 126, 127, 511, 512, 65_535, 65_536, 65_537, 300_000];

#[tokio::test]
async fn messages_of_every_size_reach_tungstenite_as_they_are() {
    for side in SIDES {
        for capacity in [7, 4_096, 1 << 20] {
            let (mut ours, mut theirs) = pair(side, capacity).await;
            let sizes = if capacity == 7 { &SIZES[..8] } else { &SIZES[..] };
            let sender = async {
                for &size in sizes {
                    let mut message = MessageBuf::new();
                    // The message is sent in pieces, so that the mask has to continue from one
                    // piece to the next.
                    for piece in pattern(size).chunks(513) {
                        message.put_chunk(Bytes::copy_from_slice(piece));
                    }
                    send(&mut ours, Outgoing::Message(&message)).await;
                }
                flush(&mut ours).await;
            };
            let receiver = async {
                for &size in sizes {
                    let message = theirs.next().await.unwrap().unwrap();
                    assert_eq!(message, Message::Binary(pattern(size).into()), "{side:?} {size}");
                }
            };
            tokio::join!(sender, receiver);
        }
    }
}

#[tokio::test]
async fn messages_of_every_size_come_from_tungstenite_as_they_are() {
    for side in SIDES {
        for capacity in [7, 4_096, 1 << 20] {
            let (mut ours, mut theirs) = pair(side, capacity).await;
            let sizes = if capacity == 7 { &SIZES[..8] } else { &SIZES[..] };
            let sender = async {
                for &size in sizes {
                    theirs.send(Message::Binary(pattern(size).into())).await.unwrap();
                }
            };
            let receiver = async {
                for &size in sizes {
                    let message = recv(&mut ours).await.unwrap();
                    assert_eq!(message, Incoming::Message(pattern(size).into()), "{side:?} {size}");
                }
            };
            tokio::join!(sender, receiver);
        }
    }
}

#[tokio::test]
async fn a_message_in_pieces_is_one_message_with_pings_between() {
    for side in SIDES {
        let (mut ours, mut theirs) = pair(side, 1 << 20).await;
        let frame = |data: &'static [u8], opcode, fin| {
            Message::Frame(Frame::message(Bytes::from_static(data), OpCode::Data(opcode), fin))
        };
        theirs.send(frame(b"one ", Data::Binary, false)).await.unwrap();
        theirs.send(Message::Ping(Bytes::from_static(b"first"))).await.unwrap();
        theirs.send(frame(b"", Data::Continue, false)).await.unwrap();
        theirs.send(Message::Ping(Bytes::from_static(b"second"))).await.unwrap();
        theirs.send(frame(b"message", Data::Continue, true)).await.unwrap();
        assert_eq!(recv(&mut ours).await.unwrap(), Incoming::Ping);
        assert_eq!(recv(&mut ours).await.unwrap(), Incoming::Ping);
        let message = Incoming::Message(Bytes::from_static(b"one message"));
        assert_eq!(recv(&mut ours).await.unwrap(), message);
        flush(&mut ours).await;
        let pong = theirs.next().await.unwrap().unwrap();
        assert!(
            matches!(&pong, Message::Pong(payload) if payload == "first" || payload == "second")
        );
    }
}

#[tokio::test]
async fn a_message_in_very_many_pieces_is_put_together_in_place() {
    const PIECES: usize = 50_000;
    let (ours, mut theirs) = duplex(1 << 20);
    let mut ours = FramedSocket::new(ours, &[], Side::Client, LIMIT);
    let mut bytes = vec![0x02, 0x01, b'0'];
    for piece in 1..PIECES {
        let fin = if piece + 1 == PIECES { 0x80 } else { 0 };
        bytes.extend([fin, 0x01, b'0' + (piece % 10) as u8]);
    }
    theirs.write_all(&bytes).await.unwrap();
    let Incoming::Message(message) = recv(&mut ours).await.unwrap() else { panic!("no message") };
    assert_eq!(message.len(), PIECES);
    assert!(message.iter().enumerate().all(|(at, &byte)| byte == b'0' + (at % 10) as u8));
}

/// [W-9] More than one pong MUST NOT wait to be sent. If a new ping arrives while a pong waits, the
/// pong gets the payload of the new ping.
#[tokio::test]
async fn of_many_pings_to_one_that_does_not_read_the_newest_is_answered() {
    let (mut ours, mut theirs) = pair(Side::Server, 64).await;
    for number in 0..1_000u32 {
        // The pipe holds a few pings; nobody reads the pongs.
        let ping = theirs.send(Message::Ping(Bytes::copy_from_slice(&number.to_be_bytes())));
        let received = recv(&mut ours);
        let (sent, received) = tokio::join!(ping, received);
        sent.unwrap();
        assert_eq!(received.unwrap(), Incoming::Ping);
        assert!(ours.writer_len() < 256, "pongs do not add up");
    }
    let flushed = flush(&mut ours);
    let answers = async {
        let mut answers = 0;
        loop {
            answers += 1;
            match theirs.next().await.unwrap().unwrap() {
                Message::Pong(payload) if payload[..] == 999u32.to_be_bytes() => return answers,
                Message::Pong(_) => {}
                other => panic!("{other:?}"),
            }
        }
    };
    let bound = std::time::Duration::from_secs(30);
    let both = async { tokio::join!(flushed, answers) };
    let (_, answers) = tokio::time::timeout(bound, both).await.expect("the newest is answered");
    assert!(answers < 100, "{answers} pongs waited");
}

/// [W-8] While the connection is open, a WebSocket ping MUST be answered with a pong that carries
/// the ping's payload.
#[tokio::test]
async fn a_flush_is_not_over_while_a_pong_waits_behind_a_message() {
    let (mut ours, mut theirs) = pair(Side::Server, 1 << 20).await;
    let mut message = MessageBuf::new();
    message.put_chunk(pattern(70_000).into());
    theirs.send(Message::Ping(Bytes::from_static(b"ping"))).await.unwrap();
    // The message is already waiting when the ping is read.
    send(&mut ours, Outgoing::Message(&message)).await;
    let read = poll_fn(|cx| ours.poll_recv(cx)).await.unwrap();
    assert_eq!(read, Incoming::Ping);
    flush(&mut ours).await;
    assert!(theirs.next().await.unwrap().unwrap().is_binary());
    let pong = futures_util::FutureExt::now_or_never(theirs.next());
    let pong = pong.expect("it has left").unwrap().unwrap();
    assert_eq!(pong, Message::Pong(Bytes::from_static(b"ping")));
}

/// [W-28] A peer's Close frame MUST be answered with a Close frame, unless ours was sent before.
#[tokio::test]
async fn a_close_of_either_end_is_answered_and_the_stream_ends() {
    for side in SIDES {
        for ours_first in [true, false] {
            let (mut ours, mut theirs) = pair(side, 1 << 20).await;
            let theirs = async move {
                if !ours_first {
                    let frame = CloseFrame { code: 4_042.into(), reason: "bye".into() };
                    theirs.close(Some(frame)).await.unwrap();
                }
                let mut said = None;
                while let Some(Ok(message)) = theirs.next().await {
                    said = Some(message);
                }
                said
            };
            let ours = async move {
                if ours_first {
                    let close = Outgoing::Close { code: 4_042, reason: "bye".into() };
                    send(&mut ours, close).await;
                }
                match recv(&mut ours).await.unwrap() {
                    Incoming::Close { code, .. } => assert_eq!(code, Some(4_042)),
                    other => panic!("{other:?}"),
                }
                // The server ends its direction of the stream, and the client waits for that end.
                assert!(matches!(recv(&mut ours).await, Err(SocketError::Eof)), "{side:?}");
            };
            let (said, ()) = tokio::time::timeout(std::time::Duration::from_secs(10), async {
                tokio::join!(theirs, ours)
            })
            .await
            .unwrap();
            assert!(
                matches!(said, Some(Message::Close(Some(frame))) if u16::from(frame.code) == 4_042)
            );
        }
    }
}

/// [W-11] We MUST NOT send a message before the WebSocket handshake is complete, nor after our
/// Close frame.
/// [W-28] A peer's Close frame MUST be answered with a Close frame, unless ours was sent before.
#[tokio::test]
async fn nothing_follows_our_close_whatever_comes_and_is_asked_for() {
    let (ours, mut theirs) = duplex(1 << 20);
    let mut ours = FramedSocket::new(ours, &[], Side::Server, LIMIT);
    send(&mut ours, Outgoing::Close { code: 1_000, reason: "bye".into() }).await;
    let mut message = MessageBuf::new();
    message.put_chunk(Bytes::from_static(b"late"));
    send(&mut ours, Outgoing::Message(&message)).await;
    send(&mut ours, Outgoing::Ping([0; 8])).await;
    theirs.write_all(b"\x89\x84\0\0\0\0ping\x88\x82\0\0\0\0\x03\xe8").await.unwrap();
    assert_eq!(recv(&mut ours).await.unwrap(), Incoming::Ping);
    assert!(matches!(recv(&mut ours).await.unwrap(), Incoming::Close { .. }));
    send(&mut ours, Outgoing::Close { code: 4_000, reason: "again".into() }).await;
    flush(&mut ours).await;
    drop(ours);
    let mut said = Vec::new();
    theirs.read_to_end(&mut said).await.unwrap();
    assert_eq!(said, b"\x88\x05\x03\xe8bye");
}

/// Returns the item that our client reads from a server's bytes.
async fn understand(bytes: &[u8]) -> Result<Incoming, SocketError> {
    let (ours, mut theirs) = duplex(1 << 20);
    let mut ours = FramedSocket::new(ours, &[], Side::Client, 1_000);
    theirs.write_all(bytes).await.unwrap();
    recv(&mut ours).await
}

#[tokio::test]
async fn bytes_that_are_not_websocket_are_a_protocol_error() {
    for bytes in [
        &b"HTTP/1.1 200 OK\r\n\r\n"[..],
        &[0x82, 0x80, 0, 0, 0, 0],
        &[0x80, 0x00],
        &[0x02, 0x01, 0x00, 0x82, 0x00],
        &[0x88, 0x01, 0x03],
        &[0x88, 0x02, 0x03, 0xed],
        &[0x88, 0x03, 0x03, 0xe8, 0xff],
    ] {
        let incoming = understand(bytes).await;
        assert!(matches!(incoming, Ok(Incoming::ProtocolError(_))), "{bytes:x?}: {incoming:?}");
    }
}

#[tokio::test]
async fn a_text_message_is_text_whatever_it_says() {
    assert_eq!(understand(&[0x81, 0x02, 0xff, 0xff]).await.unwrap(), Incoming::Text);
    assert_eq!(understand(&[0x01, 0x00]).await.unwrap(), Incoming::Text);
}

/// [W-6] The size limit of inbound messages MUST be enforced on the sum of a message's fragments
/// while they arrive, not on the complete message afterwards.
#[tokio::test]
async fn a_message_is_too_large_by_its_header_or_by_the_sum_of_its_fragments() {
    assert_eq!(understand(&[0x82, 0x7e, 0x03, 0xe9]).await.unwrap(), Incoming::TooLarge);
    let huge = [0x82, 0x7f, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
    assert_eq!(understand(&huge).await.unwrap(), Incoming::TooLarge);
    let mut pieces = [&[0x02, 0x7e, 0x02, 0x00][..], &[0; 512]].concat();
    pieces.extend([0x00, 0x7e, 0x01, 0xe9]);
    assert_eq!(understand(&pieces).await.unwrap(), Incoming::TooLarge);
}

/// [W-29] If the TCP or TLS stream ends without a Close frame, the end MUST be reported as a lost
/// transport, never as a close by the peer.
#[tokio::test]
async fn a_stream_that_ends_in_a_message_is_an_end_and_no_message() {
    let (ours, mut theirs) = duplex(1 << 20);
    let mut ours = FramedSocket::new(ours, &[], Side::Client, 1_000);
    theirs.write_all(&[0x82, 0x05, b'h', b'a', b'l']).await.unwrap();
    drop(theirs);
    assert!(matches!(recv(&mut ours).await, Err(SocketError::Eof)));
}

#[tokio::test]
async fn after_a_protocol_error_sending_continues_and_input_is_discarded() {
    let (ours, mut theirs) = duplex(1 << 10);
    let mut ours = FramedSocket::new(ours, &[], Side::Server, 1_000);
    theirs.write_all(b"garbage").await.unwrap();
    assert!(matches!(recv(&mut ours).await, Ok(Incoming::ProtocolError(_))));
    send(&mut ours, Outgoing::Close { code: 1002, reason: String::new() }).await;
    let (mut reading, mut writing) = tokio::io::split(theirs);
    let peer = async {
        writing.write_all(&[0; 100_000]).await.unwrap();
        let mut said = Vec::new();
        reading.read_to_end(&mut said).await.unwrap();
        writing.shutdown().await.unwrap();
        said
    };
    let (said, end) = tokio::join!(peer, recv(&mut ours));
    assert_eq!(said, [0x88, 0x02, 0x03, 0xea]);
    assert!(matches!(end, Err(SocketError::Eof)));
}

#[tokio::test]
async fn what_came_behind_the_handshake_is_read_first() {
    let (ours, _theirs) = duplex(16);
    let mut ours = FramedSocket::new(ours, &[0x82, 0x01, b'x'], Side::Client, 1_000);
    assert_eq!(recv(&mut ours).await.unwrap(), Incoming::Message(Bytes::from_static(b"x")));
}

#[tokio::test]
async fn a_small_message_does_not_keep_the_block_alive_that_it_came_in() {
    let (mut ours, mut theirs) = pair(Side::Server, 1 << 20).await;
    let sender = async {
        // The first messages make the reads grow to whole blocks.
        for size in [300_000; 8].into_iter().chain([4_096, 65_536, 4_096, 30_000, 65_536]) {
            theirs.feed(Message::Binary(pattern(size).into())).await.unwrap();
        }
        theirs.flush().await.unwrap();
    };
    let mut messages = Vec::new();
    let receiver = async {
        for _ in 0..13 {
            match recv(&mut ours).await.unwrap() {
                Incoming::Message(message) => messages.push(message),
                other => panic!("{other:?}"),
            }
        }
    };
    tokio::join!(sender, receiver);
    drop(ours);
    for message in messages.split_off(8) {
        let len = message.len();
        // A message either is alone in its block, or shares the block with messages of similar
        // size.
        if let Ok(alone) = message.try_into_mut() {
            assert!(alone.capacity() <= 2 * len, "{len} bytes keep {}", alone.capacity());
        } else {
            assert!(len >= 30_000, "{len} bytes share a block");
        }
    }
}

#[tokio::test]
async fn a_socket_at_rest_holds_no_large_buffer() {
    let (mut ours, mut theirs) = pair(Side::Server, 1 << 20).await;
    for _ in 0..40 {
        theirs.send(Message::Binary(pattern(300_000).into())).await.unwrap();
        recv(&mut ours).await.unwrap();
    }
    ours.release_buffers();
    poll_fn(|cx| {
        assert!(ours.poll_recv(cx).is_pending());
        Poll::Ready(())
    })
    .await;
    assert!(ours.reader.held() + ours.writer.held() <= 4 * 1024);
    theirs.send(Message::Binary(pattern(300_000).into())).await.unwrap();
    assert_eq!(recv(&mut ours).await.unwrap(), Incoming::Message(pattern(300_000).into()));
}

impl<S> FramedSocket<S> {
    fn writer_len(&self) -> usize {
        self.writer.held()
    }
}

/// The sizes of the frames with which a socket on `side` sends two messages of its largest size.
async fn largest_frames(side: Side) -> Vec<usize> {
    let (ours, mut theirs) = duplex(4 * PACKET);
    let mut socket = FramedSocket::new(ours, &[], side, LIMIT);
    let mut message = MessageBuf::new();
    message.put_chunk(vec![7; socket.capabilities().max_message].into());
    for _ in 0..2 {
        send(&mut socket, Outgoing::Message(&message)).await;
    }
    flush(&mut socket).await;
    drop(socket);
    let mut sent = Vec::new();
    theirs.read_to_end(&mut sent).await.unwrap();
    let mut sizes = Vec::new();
    while let Ok(frame::Parsed::Header(header, len)) = frame::Header::parse(&sent, side) {
        let size = len + header.len as usize;
        sizes.push(size);
        sent.drain(..size);
    }
    sizes
}

#[tokio::test]
async fn a_message_of_the_largest_size_fills_a_packet() {
    for side in SIDES {
        assert_eq!(largest_frames(side).await, [PACKET; 2], "{side:?}");
    }
}
