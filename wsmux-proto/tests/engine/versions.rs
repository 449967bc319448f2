//! The binding to WebSocket, and the differences between the versions of QMux.

use bytes::Bytes;
use wsmux_proto::{Config, Dir, Frame, QMuxVersion, Read, Side, TransportErrorCode, Wire};

use crate::support::*;

fn server(subprotocol: &str) -> ScriptedPeer {
    let mut peer = ScriptedPeer::fresh(Wire::QMux, Side::Server, &Config::default());
    peer.conn.set_qmux_version(QMuxVersion::of_subprotocol(subprotocol));
    peer
}

fn hello(peer: &mut ScriptedPeer) {
    peer.send(&[Frame::TransportParameters(scripted_peer::generous())]);
    peer.said();
    peer.assert_open("the handshake");
}

/// An empty message MUST be accepted without effect, even before the transport parameters.
/// The message is charged to the budget of frames without effect (§8.6).
#[test]
fn an_empty_message_has_no_effect() {
    let mut peer = server("qmux-02");
    peer.send_bytes(Bytes::new());
    hello(&mut peer);
    for _ in 0..100 {
        peer.send_bytes(Bytes::new());
    }
    let id = bidi(CLIENT, 0);
    peer.send(&[stream(id, 0, b"one", false)]);
    peer.send_bytes(Bytes::new());
    peer.send(&[stream(id, 3, b"two", true)]);
    assert_eq!(peer.conn.accept(Dir::Bi), Some(id));
    let mut read = Vec::new();
    while let Ok(Read::Data(bytes)) = peer.conn.recv_stream(peer.now, id).read(10) {
        read.extend_from_slice(&bytes);
    }
    assert_eq!(read, b"onetwo");
    assert_eq!(peer.frames(), []);
    assert_eq!(peer.conn.stats(peer.now).useless_received, 102);
}

/// An empty message MUST be accepted without effect, even before the transport parameters.
/// The message is charged to the budget of frames without effect (§8.6).
/// [C-60] When a peer has spent more than a budget holds, we MUST close with EXCESSIVE_LOAD and a
/// reason that names the budget.
#[test]
fn a_flood_of_empty_messages_ends_the_connection() {
    for established in [false, true] {
        let mut peer = server("qmux-02");
        match established {
            true => hello(&mut peer),
            false => drop(peer.said()),
        }
        let accepted = (0..5_000).take_while(|_| {
            peer.send_bytes(Bytes::new());
            peer.conn.close_reason().is_none()
        });
        assert_eq!(accepted.count(), 1_000);
        peer.assert_violation("a flood", TransportErrorCode::EXCESSIVE_LOAD, 1002);
    }
}

/// If the number of a QX_PING request is not larger than the number of the request before
/// it, we MUST close with PROTOCOL_VIOLATION. Q-73 is the exception: on `qmux-01` an equal number
/// is allowed.
/// Where `qmux-01` is spoken, a QX_PING request with the same number as the request before
/// MUST be answered.
#[test]
fn equal_ping_numbers_are_an_error_of_their_version() {
    for (subprotocol, equal_is_valid) in
        [("qmux-02", false), ("qmux-02.a", false), ("qmux-01.a", true), ("moqt-18", true)]
    {
        let mut peer = server(subprotocol);
        hello(&mut peer);
        peer.send(&[Frame::Ping(code(3))]);
        assert_eq!(peer.frames(), [Frame::Pong(code(3))]);
        peer.send(&[Frame::Ping(code(3))]);
        if !equal_is_valid {
            peer.assert_violation(subprotocol, TransportErrorCode::PROTOCOL_VIOLATION, 1002);
            continue;
        }
        assert_eq!(peer.frames(), [Frame::Pong(code(3))]);
        peer.send(&[Frame::Ping(code(2))]);
        peer.assert_violation(subprotocol, TransportErrorCode::PROTOCOL_VIOLATION, 1002);
    }
}

/// We MUST NOT send an empty message.
#[test]
fn no_message_of_ours_is_empty() {
    let mut pair = Pair::new(Wire::QMux, &Config::default());
    let id = pair.open_bi(CLIENT);
    pair.client.write(id, b"");
    pair.client.finish(id);
    pair.drive();
    pair.release_both(id);
    pair.pass(secs(60));
    for item in [pair.client.take_sent(), pair.server.take_sent()].concat() {
        assert!(!matches!(item, Item::Message(message) if message.is_empty()));
    }
    // If there is nothing to send, the engine sends no message.
    let mut out = wsmux_proto::MessageBuf::new();
    assert!(pair.client.conn.poll_transmit(pair.now, &mut out).is_none());
}
