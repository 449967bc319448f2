//! Violations of the WebSocket protocol after a valid request.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use wsmux::{AcceptError, Config, WebSocketServer};

use super::{GOOD, Server};

#[tokio::test]
async fn what_comes_instead_of_parameters_ends_the_connection_with_a_reason() {
    let mut server = Server::strict().await;
    for frames in [
        &b"\x81\x81\0\0\0\0x"[..],
        b"\x82\x81\0\0\0\0\x01",
        b"\x82\x01x",
        b"\x88\x80\0\0\0\0",
        b"\xff\xff\xff\xff",
    ] {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(&[GOOD.as_bytes(), frames].concat()).await.unwrap();
        let outcome = server.outcome().await;
        assert!(matches!(outcome, Err(AcceptError::Connection(_))), "{outcome:?}");
        server.still_serves().await;
    }
}

/// Sends these frames from a client that has behaved correctly before. Returns the code and the
/// reason of the server's Close.
async fn close_for(server: &mut Server, frames: &[u8]) -> (u16, String) {
    // An empty list of transport parameters, in a frame with a mask of zeros.
    const HELLO: &[u8] = b"\x82\x89\0\0\0\0\xff\x51\x53\x30\x0d\x0a\x0d\x0a\0";
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(&[GOOD.as_bytes(), HELLO].concat()).await.unwrap();
    let connection = server.outcome().await.unwrap();
    stream.write_all(frames).await.unwrap();
    let mut heard = Vec::new();
    let ended = timeout(Duration::from_secs(30), connection.closed()).await;
    assert!(ended.is_ok(), "{:?}", connection.stats());
    // The server then ends the stream. The Close is the server's last frame, and is shorter than
    // 126 bytes.
    timeout(Duration::from_secs(30), stream.read_to_end(&mut heard)).await.unwrap().unwrap();
    let at = heard.windows(2).rposition(|pair| pair[0] == 0x88 && pair[1] < 126);
    let close = &heard[at.expect("a Close") + 2..];
    let (code, reason) = close.split_first_chunk().unwrap();
    (u16::from_be_bytes(*code), String::from_utf8(reason.to_vec()).unwrap())
}

/// Returns a client's frame with a mask of zeros.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let len = u16::try_from(payload.len()).unwrap();
    let long = [254, len.to_be_bytes()[0], len.to_be_bytes()[1]];
    let len = if len < 126 { vec![0x80 | len as u8] } else { long.to_vec() };
    [&[first], &len[..], &[0; 4], payload].concat()
}

/// [W-7] On a message above the limit we MUST close with FRAME_ENCODING_ERROR and WebSocket code
/// 1009.
/// [W-24] Our Close frame MUST have the code that the table of §3.3 gives.
/// [W-25] The reason of a Close frame for a transport error MUST start with the error's name as §1
/// lists it.
/// [W-30] If the WebSocket layer is our own, and a message has more than 1000 empty continuation
/// frames, we MUST close with PROTOCOL_VIOLATION and WebSocket code 1002.
#[tokio::test]
async fn each_violation_of_the_websocket_is_closed_on_with_a_code_and_a_reason() {
    let announced = |len: u64| [&[0x82, 0xff][..], &len.to_be_bytes(), &[0; 4]].concat();
    let empty = |count: usize| [frame(0x02, b""), frame(0x00, b"").repeat(count)].concat();
    let mut config = Config::default();
    // The bad client never answers the Close, so each case waits for the close timeout. This
    // timeout is short, but must be long enough for the Close to be sent.
    config.close_timeout(Duration::from_millis(500));
    let mut server = Server::new(WebSocketServer::builder().config(config)).await;
    for (what, frames, code, name) in [
        ("no mask", b"\x82\x01x".to_vec(), 1002, "PROTOCOL_VIOLATION"),
        ("a ping without a mask", b"\x89\0".to_vec(), 1002, "PROTOCOL_VIOLATION"),
        ("reserved bit 1", frame(0xc2, b"x"), 1002, "PROTOCOL_VIOLATION"),
        ("reserved bit 2", frame(0xa2, b"x"), 1002, "PROTOCOL_VIOLATION"),
        ("reserved bit 3", frame(0x92, b"x"), 1002, "PROTOCOL_VIOLATION"),
        ("reserved opcode 3", frame(0x83, b"x"), 1002, "PROTOCOL_VIOLATION"),
        ("reserved opcode 15", frame(0x8f, b""), 1002, "PROTOCOL_VIOLATION"),
        ("a ping in fragments", frame(0x09, b"x"), 1002, "PROTOCOL_VIOLATION"),
        ("a close in fragments", frame(0x08, b"\x03\xe8"), 1002, "PROTOCOL_VIOLATION"),
        ("a ping of 126 bytes", frame(0x89, &[0; 126]), 1002, "PROTOCOL_VIOLATION"),
        ("half a close code", frame(0x88, b"\x03"), 1002, "PROTOCOL_VIOLATION"),
        ("close code 999", frame(0x88, b"\x03\xe7"), 1002, "PROTOCOL_VIOLATION"),
        ("close code 1005", frame(0x88, b"\x03\xed"), 1002, "PROTOCOL_VIOLATION"),
        ("close code 5000", frame(0x88, b"\x13\x88"), 1002, "PROTOCOL_VIOLATION"),
        ("a reason of no text", frame(0x88, b"\x03\xe8\xff"), 1002, "PROTOCOL_VIOLATION"),
        ("continuation of nothing", frame(0x80, b"x"), 1002, "PROTOCOL_VIOLATION"),
        (
            "a message in a message",
            [frame(0x02, b"x"), frame(0x82, b"x")].concat(),
            1002,
            "PROTOCOL_VIOLATION",
        ),
        ("text", frame(0x81, b"x"), 1002, "PROTOCOL_VIOLATION"),
        ("1001 empty fragments", empty(1_001), 1002, "PROTOCOL_VIOLATION"),
        ("a byte above the limit", announced((64 << 10) + 1), 1009, "FRAME_ENCODING_ERROR"),
        ("2^63 - 1 bytes", announced((1 << 63) - 1), 1009, "FRAME_ENCODING_ERROR"),
        ("2^63 bytes", announced(1 << 63), 1002, "PROTOCOL_VIOLATION"),
        // 1000 empty fragments are allowed, so the error comes only from the text message after
        // them.
        (
            "1000 empty fragments",
            [empty(999), frame(0x80, b""), frame(0x81, b"x")].concat(),
            1002,
            "PROTOCOL_VIOLATION: text message",
        ),
    ] {
        let (told, reason) = close_for(&mut server, &frames).await;
        assert_eq!(told, code, "{what}: {reason}");
        assert!(reason.starts_with(name), "{what}: {reason}");
        server.still_serves().await;
    }
}
