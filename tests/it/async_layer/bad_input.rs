//! Peers that violate the WebSocket protocol or break the TCP stream below it. Each violation ends
//! only the connection on which it occurs, and both ends see the cause.

use std::time::Duration;

use ::bytes::Bytes;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use wsmux::{
    Config, ConnectionError, Dir, ReadError, Side, SocketError, StreamId, TransportErrorCode,
    WebSocketConnection, Wire,
    proto::{Close, Frame},
};

use super::{
    bytes::{expected, read_expected, write_expected},
    pair::{WIRES, connection, tcp, tcp_streams, websocket},
    raw::{decode, hello, opening_data},
};

const TEXT: u8 = 0x1;
const BINARY: u8 = 0x2;
const CONTINUATION: u8 = 0x0;
const CLOSE: u8 = 0x8;
const PING: u8 = 0x9;
const FIN: u8 = 0x80;

const SIDES: [Side; 2] = [Side::Client, Side::Server];

/// One end of a WebSocket whose frames are written by hand.
struct Peer {
    stream: TcpStream,
    side: Side,
    wire: Wire,
}

impl Peer {
    /// Returns a frame's first byte and its length, and for a client also a mask of zeros.
    fn header(&self, first: u8, len: u64) -> Vec<u8> {
        let mask = if self.side == Side::Client { 0x80 } else { 0 };
        let mut out = vec![first];
        match len {
            0..=125 => out.push(mask | len as u8),
            126..=0xffff => {
                out.push(mask | 126);
                out.extend_from_slice(&(len as u16).to_be_bytes());
            }
            _ => {
                out.push(mask | 127);
                out.extend_from_slice(&len.to_be_bytes());
            }
        }
        if mask > 0 {
            out.extend_from_slice(&[0; 4]);
        }
        out
    }

    async fn bytes(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.expect("it is sent");
    }

    async fn frame(&mut self, first: u8, payload: &[u8]) {
        let mut frame = self.header(first, payload.len() as u64);
        frame.extend_from_slice(payload);
        self.bytes(&frame).await;
    }

    /// Reads the next frame, and returns its first byte and its payload.
    async fn next(&mut self) -> (u8, Bytes) {
        let mut start = [0; 2];
        self.stream.read_exact(&mut start).await.expect("a frame");
        let len = match start[1] & 0x7f {
            126 => u64::from(self.stream.read_u16().await.unwrap()),
            127 => self.stream.read_u64().await.unwrap(),
            len => u64::from(len),
        };
        let mut mask = [0; 4];
        if start[1] & 0x80 > 0 {
            self.stream.read_exact(&mut mask).await.unwrap();
        }
        let mut payload = vec![0; usize::try_from(len).unwrap()];
        self.stream.read_exact(&mut payload).await.expect("its payload");
        payload.iter_mut().zip(mask.iter().cycle()).for_each(|(byte, mask)| *byte ^= mask);
        (start[0], payload.into())
    }

    /// Reads until the WebSocket Close. Returns the frames before the Close, and the Close's code.
    /// If this peer is the client, asserts that only the end of the stream follows the Close.
    async fn until_close(mut self) -> (Vec<Frame>, u16) {
        let mut frames = Vec::new();
        loop {
            let (first, payload) = self.next().await;
            match first {
                0x82 => frames.extend(decode(self.wire, payload)),
                0x88 => {
                    // This peer answers the Close. The server ends TCP first (RFC 6455 §7.1.1), so
                    // a client waits for that end.
                    let code = u16::from_be_bytes([payload[0], payload[1]]);
                    self.frame(FIN | CLOSE, &payload[..2]).await;
                    if self.side == Side::Client {
                        assert_eq!(self.stream.read(&mut [0]).await.unwrap(), 0);
                    }
                    return (frames, code);
                }
                other => panic!("a frame {other:#x}"),
            }
        }
    }
}

/// Returns a connection of ours and its raw peer, which is on side `side`.
async fn scene(side: Side, wire: Wire) -> (Peer, WebSocketConnection) {
    scene_with(side, wire, &Config::default()).await
}

async fn scene_with(side: Side, wire: Wire, config: &Config) -> (Peer, WebSocketConnection) {
    let (peer, ours) = tcp_streams().await;
    let ours = websocket(ours, !side, wire, config).await;
    let ours = connection(ours, !side, wire, config);
    let mut peer = Peer { stream: peer, side, wire };
    if let Some(hello) = hello(side, wire) {
        peer.frame(FIN | BINARY, &hello).await;
    }
    ours.established().await.unwrap();
    (peer, ours)
}

/// Checks the peer's frames after an error on the wire. On QMux they contain a CONNECTION_CLOSE
/// with `code`. On js-ws, only the WebSocket Close reports the error.
fn assert_told(frames: &[Frame], wire: Wire, code: TransportErrorCode, text: &str) {
    let told = frames.iter().find_map(|frame| match frame {
        Frame::ConnectionClose(Close::Transport { code, .. }) => Some(*code),
        _ => None,
    });
    assert_eq!(told, (wire == Wire::QMux).then_some(code), "{text}: {frames:?}");
}

async fn ends(connection: &WebSocketConnection) -> ConnectionError {
    tokio::time::timeout(Duration::from_secs(2), connection.closed())
        .await
        .expect("it ends when both have said so, without the close timeout")
}

/// Runs a bad peer beside a good connection, and checks that the good connection still works.
async fn beside_a_good_one<T>(wire: Wire, bad: impl Future<Output = T>) -> T {
    let (client, server) = tcp(wire, &Config::default()).await;
    let mut stream = client.open_bi().await.unwrap();
    write_expected(stream.send(), 4, 100_000).await;
    let mut accepted = server.accept_bi().await.unwrap();
    let outcome = bad.await;
    stream.send().finish().unwrap();
    assert_eq!(read_expected(accepted.recv(), 4).await, 100_000);
    assert!(client.close_reason().is_none() && server.close_reason().is_none());
    outcome
}

/// [W-2] On a text message we MUST close with PROTOCOL_VIOLATION and WebSocket code 1002, on either
/// wire.
#[tokio::test]
async fn a_text_message_ends_its_connection_with_1002() {
    for wire in WIRES {
        for side in SIDES {
            let (mut peer, ours) = scene(side, wire).await;
            let (frames, code) = beside_a_good_one(wire, async {
                peer.frame(FIN | TEXT, b"hello").await;
                peer.until_close().await
            })
            .await;
            assert_eq!(code, 1002, "{wire:?}");
            assert_told(&frames, wire, TransportErrorCode::PROTOCOL_VIOLATION, "text");
            let reason = ends(&ours).await;
            assert!(matches!(reason, ConnectionError::TextMessage), "{reason:?}");
        }
    }
}

/// [W-7] On a message above the limit we MUST close with FRAME_ENCODING_ERROR and WebSocket code
/// 1009.
#[tokio::test]
async fn a_message_beyond_the_limit_ends_its_connection_with_1009_unread() {
    for wire in WIRES {
        let limit = match wire {
            Wire::QMux => 64 * 1024,
            _ => 1024 * 1024 + 10,
        };
        for announced in [limit + 1, 1 << 40, 1 << 62, (1 << 63) - 1] {
            for side in SIDES {
                let (mut peer, ours) = scene(side, wire).await;
                let (frames, code) = beside_a_good_one(wire, async {
                    let header = peer.header(FIN | BINARY, announced);
                    peer.bytes(&header).await;
                    peer.until_close().await
                })
                .await;
                let text = format!("{wire:?} {announced}");
                assert_eq!(code, 1009, "{text}");
                assert_told(&frames, wire, TransportErrorCode::FRAME_ENCODING_ERROR, &text);
                let reason = ends(&ours).await;
                assert!(
                    matches!(reason, ConnectionError::MessageTooLarge { limit: told } if told == limit),
                    "{text}: {reason:?}"
                );
            }
        }
    }
}

/// [W-6] The size limit of inbound messages MUST be enforced on the sum of a message's fragments
/// while they arrive, not on the complete message afterwards.
#[tokio::test]
async fn the_limit_holds_for_the_sum_of_fragments_and_is_itself_allowed() {
    let (mut peer, ours) = scene(Side::Client, Wire::QMux).await;
    // The message is padding, and is exactly as long as the limit.
    peer.frame(BINARY, &[0; 40_000]).await;
    peer.frame(FIN | CONTINUATION, &[0; 64 * 1024 - 40_000]).await;
    let stream = StreamId::new(Side::Client, Dir::Bi, 0);
    for message in opening_data(Wire::QMux, stream, b"after it") {
        peer.frame(FIN | BINARY, &message).await;
    }
    let mut stream = ours.accept_bi().await.unwrap();
    assert_eq!(stream.recv().read_chunk(100).await.unwrap().unwrap(), "after it");
    peer.frame(BINARY, &[0; 40_000]).await;
    peer.frame(CONTINUATION, &[0; 64 * 1024 - 40_000 + 1]).await;
    assert_eq!(peer.until_close().await.1, 1009);
    assert!(matches!(ends(&ours).await, ConnectionError::MessageTooLarge { .. }));
}

#[tokio::test]
async fn what_is_not_websocket_ends_its_connection_with_1002() {
    let too_long = [&[FIN | PING, 0xfe, 0, 126, 0, 0, 0, 0], &[0; 126][..]].concat();
    let garbage: [(&str, &[u8]); 10] = [
        ("an HTTP request", b"GET / HTTP/1.1\r\nHost: example\r\n\r\n"),
        ("a reserved opcode", &[0x83, 0x80, 0, 0, 0, 0]),
        ("a reserved bit", &[0xc2, 0x80, 0, 0, 0, 0]),
        ("a ping in fragments", &[PING, 0x80, 0, 0, 0, 0]),
        ("a continuation of nothing", &[FIN | CONTINUATION, 0x80, 0, 0, 0, 0]),
        ("a client's frame without a mask", &[FIN | BINARY, 3, 1, 2, 3]),
        ("a client's ping without a mask", &[FIN | PING, 0]),
        ("a close in fragments", &[CLOSE, 0x82, 0, 0, 0, 0, 3, 0xe8]),
        ("a ping of 126 bytes", &too_long),
        ("half a close code", &[FIN | CLOSE, 0x81, 0, 0, 0, 0, 3]),
    ];
    for wire in WIRES {
        for (name, bytes) in garbage {
            let (mut peer, ours) = scene(Side::Client, wire).await;
            let (frames, code) = beside_a_good_one(wire, async {
                peer.bytes(bytes).await;
                peer.until_close().await
            })
            .await;
            assert_eq!(code, 1002, "{name}");
            assert_told(&frames, wire, TransportErrorCode::PROTOCOL_VIOLATION, name);
            let reason = ends(&ours).await;
            assert!(matches!(reason, ConnectionError::WebSocketProtocol(_)), "{name}: {reason:?}");
        }
    }
}

#[tokio::test]
async fn a_client_ends_the_connection_to_a_server_that_masks() {
    for wire in WIRES {
        let (mut peer, ours) = scene(Side::Server, wire).await;
        peer.bytes(&[FIN | BINARY, 0x81, 0, 0, 0, 0, 0]).await;
        assert_eq!(peer.until_close().await.1, 1002);
        let reason = ends(&ours).await;
        assert!(matches!(reason, ConnectionError::WebSocketProtocol(_)), "{reason:?}");
    }
}

/// [W-29] If the TCP or TLS stream ends without a Close frame, the end MUST be reported as a lost
/// transport, never as a close by the peer.
/// [C-19] A receiving half whose FIN has not arrived when the connection ends MUST end in an error,
/// never in a clean end.
#[tokio::test]
async fn a_peer_that_is_gone_in_the_middle_of_a_message_has_sent_none_of_it() {
    for wire in WIRES {
        for side in SIDES {
            let stream = StreamId::new(side, Dir::Bi, 0);
            for kept in [0, 1, 5, 20, 1_000] {
                let (mut peer, ours) = scene(side, wire).await;
                let mut messages = opening_data(wire, stream, &expected(0, 0, 5_000));
                let last = messages.pop().unwrap();
                for message in messages {
                    peer.frame(FIN | BINARY, &message).await;
                    // Wait for our grant. Before the grant the peer has no credit.
                    peer.next().await;
                }
                let mut frame = peer.header(FIN | BINARY, last.len() as u64);
                frame.extend_from_slice(&last);
                if wire == Wire::QMux {
                    // An empty STREAM frame opens the stream.
                    let shown = opening_data(wire, stream, b"");
                    peer.frame(FIN | BINARY, &shown[0]).await;
                }
                beside_a_good_one(wire, peer.bytes(&frame[..kept])).await;
                drop(peer);
                let reason = ends(&ours).await;
                let text = format!("{wire:?} {kept}: {reason:?}");
                // If a socket is closed while it holds unread data, the operating system sends a
                // reset. The peer may not have read everything here, so we see either an end or a
                // reset.
                match &reason {
                    ConnectionError::SocketLost(SocketError::Eof) => {}
                    ConnectionError::SocketLost(SocketError::Io(error)) => {
                        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "{text}");
                    }
                    _ => panic!("{text}"),
                }
                let mut accepted = ours.accept_bi().await.expect("what came before");
                let read = accepted.recv().read_chunk(10_000).await;
                assert!(matches!(read, Err(ReadError::ConnectionLost(_))), "{text}: {read:?}");
            }
        }
    }
}

/// [C-42] The idle timer MUST restart with each message received and each message handed completely
/// to the transport.
#[tokio::test]
async fn a_message_that_trickles_is_no_sign_of_life() {
    let mut config = Config::default();
    config.max_idle_timeout(Some(Duration::from_millis(300)));
    for wire in WIRES {
        let (mut peer, ours) = scene_with(Side::Client, wire, &config).await;
        let header = peer.header(FIN | BINARY, 60_000);
        peer.bytes(&header).await;
        let trickle = async {
            // The peer sends single bytes until our end closes the connection.
            while peer.stream.write_all(&[0]).await.is_ok() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            std::future::pending().await
        };
        let reason = tokio::select! {
            () = trickle => unreachable!("it has no end"),
            reason = tokio::time::timeout(Duration::from_secs(60), ours.closed()) => reason,
        };
        let reason = reason.expect("it ends although bytes come");
        assert!(matches!(reason, ConnectionError::TimedOut(_)), "{wire:?}: {reason:?}");
    }
}

#[tokio::test]
async fn a_peer_that_ends_its_tcp_in_order_in_mid_message_is_an_eof() {
    for wire in WIRES {
        let (mut peer, ours) = scene(Side::Client, wire).await;
        let header = peer.header(FIN | BINARY, 1_000);
        peer.bytes(&header).await;
        peer.bytes(&[0; 999]).await;
        peer.stream.shutdown().await.unwrap();
        let reason = ends(&ours).await;
        assert!(
            matches!(reason, ConnectionError::SocketLost(SocketError::Eof)),
            "{wire:?}: {reason:?}"
        );
    }
}

/// [W-8] While the connection is open, a WebSocket ping MUST be answered with a pong that carries
/// the ping's payload.
#[tokio::test]
async fn pings_and_fragments_that_are_in_order_do_no_harm() {
    for wire in WIRES {
        let (mut peer, ours) = scene(Side::Client, wire).await;
        if wire == Wire::QMux {
            // Read our parameters.
            peer.next().await;
        }
        peer.frame(FIN | PING, b"are you there").await;
        assert_eq!(peer.next().await, (0x8a, Bytes::from("are you there")));
        let stream = StreamId::new(Side::Client, Dir::Bi, 0);
        for message in opening_data(wire, stream, b"in single bytes") {
            let (last, rest) = message.split_last().unwrap();
            for (number, byte) in rest.iter().enumerate() {
                let first = if number == 0 { BINARY } else { CONTINUATION };
                peer.frame(first, &[*byte]).await;
                peer.frame(FIN | PING, b"").await;
                while peer.next().await.0 != 0x8a {}
            }
            peer.frame(FIN | CONTINUATION, &[*last]).await;
            if wire == Wire::JsWs && ours.stats().live_streams == 0 {
                peer.next().await;
            }
        }
        let mut accepted = ours.accept_bi().await.unwrap();
        assert_eq!(accepted.recv().read_chunk(100).await.unwrap().unwrap(), "in single bytes");
        assert!(ours.close_reason().is_none(), "{wire:?}");
    }
}
