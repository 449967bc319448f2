use std::{future::poll_fn, pin::pin, time::Duration};

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio_tungstenite::tungstenite::protocol::Role;
use wsmux_proto::MessageBuf;

use super::*;

const LIMIT: u64 = 1000;

/// A frame as a client sends it, masked with zeroes.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match u16::try_from(payload.len()) {
        Ok(len) if len < 126 => frame.push(0x80 | len as u8),
        Ok(len) => {
            frame.push(0x80 | 126);
            frame.extend(len.to_be_bytes());
        }
        Err(_) => {
            frame.push(0x80 | 127);
            frame.extend((payload.len() as u64).to_be_bytes());
        }
    }
    frame.extend([0; 4]);
    frame.extend(payload);
    frame
}

const BINARY: u8 = 0x82;
const TEXT: u8 = 0x81;
const CLOSE: u8 = 0x88;
const PING: u8 = 0x89;
const PONG: u8 = 0x8a;

/// A server's socket, and the client's end of its byte stream.
async fn server(pipe: usize) -> (TungsteniteSocket<DuplexStream>, DuplexStream) {
    let (near, far) = duplex(pipe);
    let config = TungsteniteSocket::config(LIMIT);
    let websocket = WebSocketStream::from_raw_socket(near, Role::Server, Some(config)).await;
    (TungsteniteSocket::new(websocket), far)
}

async fn recv(
    socket: &mut TungsteniteSocket<impl AsyncRead + AsyncWrite + Unpin + Send + 'static>,
) -> Result<Incoming, SocketError> {
    poll_fn(|cx| socket.poll_recv(cx)).await
}

async fn flush(socket: &mut TungsteniteSocket<DuplexStream>) {
    poll_fn(|cx| socket.poll_flush(cx)).await.unwrap();
}

fn message(len: usize) -> MessageBuf {
    let mut message = MessageBuf::new();
    message.put_chunk(vec![7; len].into());
    message
}

async fn is_pending<T>(future: impl Future<Output = T>) -> bool {
    let mut future = pin!(future);
    poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx).is_pending())).await
}

#[tokio::test]
async fn every_kind_of_frame_has_its_item() {
    let (mut socket, mut far) = server(1 << 16).await;
    for bytes in [
        frame(BINARY, b"binary"),
        frame(TEXT, b"text"),
        frame(PING, b"ping"),
        frame(PONG, b"pong"),
        [frame(0x02, b"in "), frame(0x80, b"parts")].concat(),
        frame(CLOSE, b"\x0f\xa0reason"),
    ] {
        far.write_all(&bytes).await.unwrap();
    }
    for expected in [
        Incoming::Message(Bytes::from_static(b"binary")),
        Incoming::Text,
        Incoming::Ping,
        Incoming::Pong(Bytes::from_static(b"pong")),
        Incoming::Message(Bytes::from_static(b"in parts")),
        Incoming::Close { code: Some(4000), reason: "reason".into() },
    ] {
        assert_eq!(recv(&mut socket).await.unwrap(), expected);
    }
}

#[tokio::test]
async fn text_that_is_not_utf_8_is_text() {
    let (mut socket, mut far) = server(1 << 16).await;
    far.write_all(&frame(TEXT, b"\xff")).await.unwrap();
    assert_eq!(recv(&mut socket).await.unwrap(), Incoming::Text);
}

/// A single frame that is too large is detected by its header. Fragments that are too large
/// together are detected by the sum of their sizes.
///
/// [W-6] The size limit of inbound messages MUST be enforced on the sum of a message's fragments
/// while they arrive, not on the complete message afterwards.
#[tokio::test]
async fn a_message_above_the_limit_is_told_before_it_is_complete() {
    let too_much = [0; LIMIT as usize + 1];
    let header_alone = frame(BINARY, &too_much)[..8].to_vec();
    let mut fragments = frame(0x02, &too_much[..600]);
    fragments.extend(frame(0x00, &too_much[600..]));
    for bytes in [header_alone, fragments] {
        let (mut socket, mut far) = server(1 << 16).await;
        far.write_all(&bytes).await.unwrap();
        assert_eq!(recv(&mut socket).await.unwrap(), Incoming::TooLarge);
    }
    let (mut socket, mut far) = server(1 << 16).await;
    far.write_all(&frame(BINARY, &too_much[1..])).await.unwrap();
    assert!(matches!(recv(&mut socket).await.unwrap(), Incoming::Message(_)));
}

#[tokio::test]
async fn what_is_not_websocket_is_told_and_sending_goes_on() {
    let mut unmasked = frame(BINARY, b"x");
    unmasked[1] &= 0x7f;
    for bytes in [
        unmasked,
        frame(0xc2, b"reserved bit"),
        frame(0x83, b"reserved opcode"),
        frame(0x80, b"nothing to continue"),
        frame(0x09, b"fragmented ping"),
        frame(PING, &[0; 126]),
        frame(CLOSE, b"1"),
    ] {
        let (mut socket, mut far) = server(1 << 16).await;
        far.write_all(&bytes).await.unwrap();
        let error = recv(&mut socket).await.unwrap();
        assert!(matches!(error, Incoming::ProtocolError(_)), "{error:?} for {bytes:?}");
        assert!(is_pending(recv(&mut socket)).await);

        poll_fn(|cx| socket.poll_ready(cx)).await.unwrap();
        socket.start_send(Outgoing::Message(&message(3))).unwrap();
        poll_fn(|cx| socket.poll_ready(cx)).await.unwrap();
        socket.start_send(Outgoing::Close { code: 1002, reason: "no".into() }).unwrap();
        flush(&mut socket).await;
        // The rest of the message is discarded, and our direction of the stream is ended once our
        // Close has been sent.
        far.write_all(&[0; 5000]).await.unwrap();
        assert!(is_pending(recv(&mut socket)).await);
        let mut sent = Vec::new();
        far.read_to_end(&mut sent).await.unwrap();
        assert_eq!(sent, b"\x82\x03\x07\x07\x07\x88\x04\x03\xeano");
        drop(far);
        assert!(matches!(recv(&mut socket).await, Err(SocketError::Eof)));
    }
}

#[tokio::test]
async fn a_writer_that_cannot_write_does_not_stop_the_reader() {
    let (mut socket, mut far) = server(64).await;
    poll_fn(|cx| socket.poll_ready(cx)).await.unwrap();
    socket.start_send(Outgoing::Message(&message(1000))).unwrap();
    assert!(is_pending(poll_fn(|cx| socket.poll_flush(cx))).await);
    // Pongs wait after the message, because nobody reads.
    for _ in 0..100 {
        far.write_all(&frame(PING, b"ping")).await.unwrap();
        assert_eq!(recv(&mut socket).await.unwrap(), Incoming::Ping);
        far.write_all(&frame(BINARY, b"data")).await.unwrap();
        assert_eq!(recv(&mut socket).await.unwrap(), Incoming::Message("data".into()));
    }
}

#[tokio::test]
async fn output_for_a_peer_that_does_not_read_is_bounded_and_a_close_leaves() {
    for messages in [false, true] {
        let (mut socket, mut far) = server(1 << 10).await;
        let mut taken = 0;
        while messages && !is_pending(poll_fn(|cx| socket.poll_ready(cx))).await {
            socket.start_send(Outgoing::Message(&message(1 << 16))).unwrap();
            taken += 1 << 16;
        }
        assert!(taken <= WRITE_BUFFER + (1 << 16), "{taken}");
        // These pings cause far more pongs than there is room for.
        let pings = frame(PING, &[1; 125]).repeat(7);
        for _ in 0..1000 {
            far.write_all(&pings).await.unwrap();
            for _ in 0..7 {
                assert_eq!(recv(&mut socket).await.unwrap(), Incoming::Ping);
            }
        }
        let reader = tokio::spawn(async move {
            let mut sent = Vec::new();
            far.read_to_end(&mut sent).await.unwrap();
            sent
        });
        poll_fn(|cx| socket.poll_ready(cx)).await.unwrap();
        socket.start_send(Outgoing::Close { code: 1000, reason: String::new() }).unwrap();
        flush(&mut socket).await;
        drop(socket);
        let sent = reader.await.unwrap();
        assert!(sent.ends_with(b"\x88\x02\x03\xe8"));
        assert!(sent.len() < 2 * (WRITE_BUFFER + WRITE_SLACK), "{}", sent.len());
    }
}

/// [W-8] While the connection is open, a WebSocket ping MUST be answered with a pong that carries
/// the ping's payload.
#[tokio::test]
async fn a_pong_leaves_with_the_flush_though_nothing_else_is_sent() {
    let (mut socket, mut far) = server(1 << 16).await;
    far.write_all(&frame(PING, b"ping")).await.unwrap();
    assert_eq!(recv(&mut socket).await.unwrap(), Incoming::Ping);
    flush(&mut socket).await;
    let mut pong = [0; 6];
    far.read_exact(&mut pong).await.unwrap();
    assert_eq!(&pong, b"\x8a\x04ping");
}

/// Also checks the order of RFC 6455 §7.1.1.
///
/// [W-28] A peer's Close frame MUST be answered with a Close frame, unless ours was sent before.
#[tokio::test]
async fn a_server_answers_a_close_and_ends_the_stream() {
    let (mut socket, mut far) = server(1 << 16).await;
    far.write_all(&frame(CLOSE, b"\x03\xe8")).await.unwrap();
    assert!(matches!(recv(&mut socket).await.unwrap(), Incoming::Close { code: Some(1000), .. }));
    // The peer's Close has already been answered. So neither our own Close nor a later message is
    // sent.
    socket.start_send(Outgoing::Close { code: 1000, reason: String::new() }).unwrap();
    socket.start_send(Outgoing::Message(&message(3))).unwrap();
    flush(&mut socket).await;
    assert!(is_pending(recv(&mut socket)).await);
    let mut sent = Vec::new();
    far.read_to_end(&mut sent).await.unwrap();
    assert_eq!(sent, b"\x88\x02\x03\xe8");
    far.write_all(&frame(BINARY, b"after the Close")).await.unwrap();
    drop(far);
    assert!(matches!(recv(&mut socket).await, Err(SocketError::Eof)));
}

/// The stream in this test holds back written bytes until it is flushed, as a TLS session does.
#[tokio::test]
async fn an_answer_to_a_close_is_flushed() {
    let (near, mut far) = duplex(1 << 16);
    let near = tokio::io::BufStream::new(near);
    let websocket = WebSocketStream::from_raw_socket(near, Role::Server, None).await;
    let mut socket = TungsteniteSocket::new(websocket);
    far.write_all(&frame(CLOSE, b"\x03\xe8")).await.unwrap();
    assert!(matches!(recv(&mut socket).await.unwrap(), Incoming::Close { .. }));
    poll_fn(|cx| socket.poll_flush(cx)).await.unwrap();
    let mut sent = [0; 4];
    let read = far.read_exact(&mut sent);
    tokio::time::timeout(Duration::from_secs(1), read).await.unwrap().unwrap();
    assert_eq!(&sent, b"\x88\x02\x03\xe8");
}

/// [W-29] If the TCP or TLS stream ends without a Close frame, the end MUST be reported as a lost
/// transport, never as a close by the peer.
#[tokio::test]
async fn a_stream_that_ends_without_a_close_is_an_eof() {
    for bytes in [vec![], frame(BINARY, b"cut")[..4].to_vec()] {
        let (mut socket, mut far) = server(1 << 16).await;
        far.write_all(&bytes).await.unwrap();
        drop(far);
        assert!(matches!(recv(&mut socket).await, Err(SocketError::Eof)));
    }
}

/// One task polls all three methods in each of its rounds. An event in either direction must wake
/// the task.
#[tokio::test]
async fn a_task_that_waits_for_both_directions_is_woken_by_either() {
    let (mut socket, far) = server(64).await;
    let (mut far_read, mut far_write) = tokio::io::split(far);
    let (seen, mut received) = tokio::sync::mpsc::unbounded_channel();
    let task = tokio::spawn(poll_fn(move |cx| {
        while let Poll::Ready(item) = socket.poll_recv(cx) {
            match item {
                Ok(item) => seen.send(Some(item)).unwrap(),
                Err(_) => return Poll::Ready(()),
            }
        }
        if socket.unflushed == 0 && socket.poll_ready(cx).is_ready() {
            socket.start_send(Outgoing::Message(&message(1000))).unwrap();
        }
        if socket.poll_flush(cx).is_ready() {
            seen.send(None).unwrap();
            // A nonzero `unflushed` keeps this task from sending a second message.
            socket.unflushed = 1;
        }
        Poll::Pending
    }));
    let second = Duration::from_secs(1);
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_millis(5)).await;
        far_write.write_all(&frame(BINARY, b"read me")).await.unwrap();
        let item = tokio::time::timeout(second, received.recv()).await.unwrap().unwrap();
        assert_eq!(item, Some(Incoming::Message("read me".into())));
    }
    let mut sent = [0; 1004];
    tokio::time::timeout(second, far_read.read_exact(&mut sent)).await.unwrap().unwrap();
    assert_eq!(tokio::time::timeout(second, received.recv()).await.unwrap().unwrap(), None);
    drop((far_read, far_write));
    tokio::time::timeout(second, task).await.unwrap().unwrap();
}

/// [C-72] A message that is smaller than half of the block that it was read into MUST be copied out
/// of that block.
#[tokio::test]
async fn no_message_keeps_the_block_of_a_larger_one() {
    let (near, mut far) = duplex(4 << 20);
    let config = TungsteniteSocket::config(1 << 20);
    let websocket = WebSocketStream::from_raw_socket(near, Role::Server, Some(config)).await;
    let mut socket = TungsteniteSocket::new(websocket);
    // The largest message comes first, and the others are read into the buffer that was allocated
    // for it.
    let sizes = [1 << 20, 33 * 1024, 40 * 1024, 100, 500 * 1024];
    let mut kept = Vec::new();
    for size in sizes {
        far.write_all(&frame(BINARY, &vec![7; size])).await.unwrap();
        let Ok(Incoming::Message(message)) = recv(&mut socket).await else {
            panic!("no message of {size}")
        };
        assert_eq!(message.len(), size);
        kept.push(message);
    }
    assert!(kept.iter().all(Bytes::is_unique));
}
