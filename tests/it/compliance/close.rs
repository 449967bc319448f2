//! SPEC.md §3.3, §6.9 and §8.5: how a connection ends, and how its end is reported.

use wsmux::{
    Config,
    proto::{
        ConnectionError, Culprit, Dir, Frame, Incoming, SocketError, Timeout, TransportErrorCode,
        Wire,
    },
};

use super::*;

fn config() -> Config {
    let mut config = Config::default();
    config.max_idle_timeout(Some(secs(30))).keep_alive_interval(None).window_growth_budget(0);
    config
}

fn peer(wire: Wire) -> ScriptedPeer {
    ScriptedPeer::new(wire, SERVER, &config())
}

/// Fires all timers until the connection ends, and returns what was sent.
fn wait(peer: &mut ScriptedPeer) -> Vec<Said> {
    let mut said = peer.said();
    for fired in 0.. {
        if peer.conn.close_reason().is_some() {
            break;
        }
        assert!(fired < 1_000, "a timer that changes nothing");
        peer.now = peer.conn.poll_timeout().expect("a timer");
        peer.conn.handle_timeout(peer.now);
        said.extend(peer.said());
    }
    said
}

/// [W-24] Our Close frame MUST have the code that the table of §3.3 gives.
/// [W-25] The reason of a Close frame for a transport error MUST start with the error's name as §1
/// lists it.
#[test]
fn each_end_has_its_code_and_each_transport_error_its_name() {
    type End = fn(&mut ScriptedPeer);
    let ends: [(&str, End, u16, &str); 6] = [
        ("text", |peer| peer.conn.handle(peer.now, Incoming::Text), 1002, "PROTOCOL_VIOLATION"),
        (
            "too large",
            |peer| peer.conn.handle(peer.now, Incoming::TooLarge),
            1009,
            "FRAME_ENCODING_ERROR",
        ),
        (
            "no WebSocket",
            |peer| peer.conn.handle(peer.now, Incoming::ProtocolError("why".into())),
            1002,
            "PROTOCOL_VIOLATION",
        ),
        (
            "out of turn",
            |peer| match peer.wire {
                Wire::QMux => peer.send(&[Frame::TransportParameters(scripted_peer::generous())]),
                _ => peer.send_bytes(vec![]),
            },
            1002,
            "PROTOCOL_VIOLATION",
        ),
        ("no frame", |peer| peer.send_bytes(vec![0x1f, 0xff]), 1002, "FRAME_ENCODING_ERROR"),
        (
            "not ours",
            |peer| match peer.wire {
                Wire::QMux => peer.send(&[stop(bidi(SERVER, 0), 0)]),
                _ => peer.send(&[ack(bidi(SERVER, 0), 0)]),
            },
            1002,
            "STREAM_STATE_ERROR",
        ),
    ];
    for wire in WIRES {
        for (what, end, code, name) in ends {
            let mut peer = peer(wire);
            end(&mut peer);
            let said = peer.said();
            match said.last() {
                Some(Said::Close { code: told, reason }) => {
                    assert_eq!(*told, code, "{wire:?} {what}");
                    assert!(reason.starts_with(name), "{wire:?} {what}: {reason}");
                }
                other => panic!("{wire:?} {what}: {other:?}"),
            }
        }
        for keep_alive in [None, Some(secs(10))] {
            let mut config = config();
            config.keep_alive_interval(keep_alive);
            let mut peer = ScriptedPeer::new(wire, SERVER, &config);
            let said = wait(&mut peer);
            assert!(matches!(said.last(), Some(Said::Close { code: 1001, .. })), "{said:?}");
        }
    }
    let mut peer = ScriptedPeer::fresh(Wire::QMux, SERVER, &config());
    let said = wait(&mut peer);
    assert!(matches!(said.last(), Some(Said::Close { code: 1001, .. })), "{said:?}");
}

/// [W-26] The reason of a Close frame MUST be valid UTF-8 of at most 123 bytes. A longer reason is
/// cut at a character's boundary.
#[test]
fn a_reason_is_cut_to_123_bytes_at_any_place_and_on_either_wire() {
    for wire in WIRES {
        for (before, character) in [(0, "x"), (0, "é"), (1, "€"), (2, "€"), (0, "𝄞"), (3, "𝄞")]
        {
            let reason = "-".repeat(before) + &character.repeat(200);
            let mut peer = peer(wire);
            peer.conn.close(peer.now, code(1), reason.clone().into());
            let Some(Said::Close { reason: told, .. }) = peer.said().pop() else {
                panic!("no Close")
            };
            assert!(told.len() <= 123 && told.len() + character.len() > 123, "{}", told.len());
            assert!(reason.starts_with(&told));
        }
        let exact = "x".repeat(123);
        let mut peer = peer(wire);
        peer.conn.close(peer.now, code(1), exact.clone().into());
        assert_eq!(peer.said().pop(), Some(Said::Close { code: 4001, reason: exact }));
    }
}

/// [W-28] A peer's Close frame MUST be answered with a Close frame, unless ours was sent before.
/// [W-11] We MUST NOT send a message before the WebSocket handshake is complete, nor after our
/// Close frame.
#[test]
fn a_close_is_said_once_and_nothing_after_it() {
    for wire in WIRES {
        for ours_first in [false, true] {
            let (mut peer, id) = with_stream(wire, &config());
            if ours_first {
                peer.conn.send_stream(peer.now, id).write(b"too late").unwrap();
                peer.conn.close(peer.now, code(0), "".into());
                assert!(matches!(peer.said().last(), Some(Said::Close { .. })));
                peer.conn
                    .handle(peer.now, Incoming::Close { code: Some(1000), reason: String::new() });
            } else {
                peer.conn
                    .handle(peer.now, Incoming::Close { code: Some(1000), reason: String::new() });
                let said = peer.said();
                assert!(matches!(said[..], [Said::Close { .. }]), "{wire:?}: {said:?}");
            }
            // Nothing is sent after the Close, whatever arrives and whatever the application calls.
            peer.send(&[some(wire, id, 0, b"late")]);
            peer.conn.handle(peer.now, Incoming::Text);
            peer.conn.handle(peer.now, Incoming::Ping);
            peer.conn.close(peer.now, code(3), "again".into());
            peer.conn.send_stream(peer.now, id).release();
            peer.conn.recv_stream(peer.now, id).release();
            peer.conn.handle_timeout(at(secs(100)));
            assert_eq!(peer.said(), [], "{wire:?} ours first {ours_first}");
        }
    }
}

/// [W-10] An unsolicited pong MUST be ignored.
#[test]
fn a_pong_out_of_nowhere_changes_nothing() {
    for wire in WIRES {
        let mut peer = peer(wire);
        peer.said();
        peer.events();
        for payload in [&[][..], b"x", &[0; 8], &[0xff; 125]] {
            peer.conn.handle(peer.now, Incoming::Pong(payload.to_vec().into()));
        }
        peer.assert_open("nobody asked");
        assert_eq!((peer.said(), peer.events()), (vec![], vec![]));
        assert_eq!(peer.conn.rtt(), None);
    }
}

/// On a local close we MUST send one CONNECTION_CLOSE (0x1d for an application's code, 0x1c
/// for a transport error) as the last frame, and then a WebSocket Close.
/// CONNECTION_CLOSE 0x1c MUST contain the type of the frame that caused the error, or 0 if
/// no frame caused it.
#[test]
fn a_close_is_these_bytes() {
    let (mut peer, id) = with_stream(Wire::QMux, &config());
    peer.conn.send_stream(peer.now, id).write(b"not sent").unwrap();
    peer.conn.close(peer.now, code(5), "bye".into());
    assert_eq!(peer.said_bytes().unwrap()[..], *b"\x1d\x05\x03bye");
    assert_eq!(peer.said(), [Said::Close { code: 4005, reason: "bye".to_owned() }]);

    let (mut peer, _) = with_stream(Wire::QMux, &config());
    peer.conn.handle(peer.now, Incoming::Text);
    assert_eq!(peer.said_bytes().unwrap()[..3], [0x1c, 0x0a, 0], "no frame is at fault");
    let (mut peer, _) = with_stream(Wire::QMux, &config());
    peer.send_bytes(vec![0x05, 0x01, 0]);
    assert_eq!(peer.said_bytes().unwrap()[..3], [0x1c, 0x05, 0x05], "STOP_SENDING is");
}

/// On an idle or liveness timeout we MUST NOT send any frame, only the WebSocket Close.
#[test]
fn a_timeout_says_nothing_but_the_close() {
    for (keep_alive, timeout) in [(None, Timeout::Idle), (Some(secs(10)), Timeout::KeepAlive)] {
        let mut config = config();
        config.keep_alive_interval(keep_alive);
        let mut peer = ScriptedPeer::new(Wire::QMux, SERVER, &config);
        let said = wait(&mut peer);
        let pings = usize::from(keep_alive.is_some());
        assert_eq!(said[..pings], [Said::Frames(vec![Frame::Ping(code(0))])][..pings]);
        assert!(matches!(said[pings..], [Said::Close { code: 1001, .. }]), "{said:?}");
        assert!(matches!(
            peer.conn.close_reason(), Some(ConnectionError::TimedOut(told)) if *told == timeout
        ));
    }
}

/// [C-48] `close` MUST take effect at once: all streams fail, unsent data is dropped, and the close
/// is sent.
#[test]
fn a_close_overtakes_all_that_waits_for_a_socket_that_takes_nothing() {
    for wire in WIRES {
        let (mut peer, id) = with_stream(wire, &config());
        // The test takes no message from the connection, as if the socket were full.
        peer.conn.send_stream(peer.now, id).write(&[0; 200_000]).unwrap();
        peer.conn.send_stream(peer.now, id).finish().unwrap();
        if wire == Wire::QMux {
            peer.conn.send_datagram("waits".into()).unwrap();
        }
        let reset = peer.conn.open(Dir::Bi).unwrap().unwrap();
        peer.conn.send_stream(peer.now, reset).reset(code(1)).unwrap();
        peer.conn.close(peer.now, code(0), "".into());
        assert!(peer.conn.send_stream(peer.now, id).write(b"x").is_err());
        assert!(peer.conn.recv_stream(peer.now, id).read(1).is_err());
        let said = peer.said();
        let close = Said::Close { code: 1000, reason: String::new() };
        let frame = Said::Frames(vec![application_close(0, "")]);
        match wire {
            Wire::QMux => assert_eq!(said, [frame, close]),
            _ => assert_eq!(said, [close]),
        }
        assert_eq!(peer.conn.stats(wsmux_proto::Time::EPOCH).send_buffered, 0);
    }
}

/// [C-49] A drain MUST first send every byte that a write has accepted, and the FIN of every stream
/// that was finished. Then it MUST close with application error code 0.
#[test]
fn a_drain_waits_for_credit_and_for_every_byte() {
    for wire in WIRES {
        let mut config = config();
        config.stream_receive_window(100);
        let mut pair = Pair::new(wire, &config);
        let id = pair.open_bi(CLIENT);
        let sent = pattern(1, 0, 1_000);
        pair.client.write(id, &sent);
        pair.client.finish(id);
        pair.server.finish(id);
        pair.client.conn.drain(pair.now, None);
        pair.client.release(id);
        pair.drive();
        assert!(pair.client.conn.close_reason().is_none(), "900 bytes wait for credit");
        let mut read = Vec::new();
        let end = loop {
            let (more, end) = pair.server.read(id);
            assert!(!more.is_empty() || end != End::Open, "stuck after {}", read.len());
            read.extend(more);
            pair.drive();
            if end != End::Open {
                break end;
            }
        };
        assert!((read == sent) && end == End::Fin, "{wire:?}: {} bytes, {end:?}", read.len());
        pair.server.release(id);
        pair.drive();
        match pair.server.conn.close_reason() {
            Some(ConnectionError::ApplicationClosed(close)) => {
                assert_eq!(close.error_code, code(0), "{wire:?}");
            }
            other => panic!("{wire:?}: {other:?}"),
        }
    }
}

/// [C-50] After our WebSocket Close we MUST keep reading, and discard what we read, until the
/// peer's Close arrives or the close wait is over. Then the underlying stream ends by the rules of
/// §3.4.
#[test]
fn what_comes_behind_our_close_is_discarded() {
    for wire in WIRES {
        let (mut peer, id) = with_stream(wire, &config());
        peer.conn.close(peer.now, code(0), "".into());
        peer.said();
        for offset in 0..100 {
            peer.send(&[some(wire, id, offset, b"x")]);
        }
        peer.send_bytes(vec![0xff; 10]);
        peer.conn.handle(peer.now, Incoming::Text);
        assert!(!peer.conn.is_closed());
        assert!(peer.conn.recv_stream(peer.now, id).read(9).is_err(), "{wire:?}: nothing to read");
        assert!(matches!(peer.conn.close_reason(), Some(ConnectionError::LocallyClosed)));
        peer.conn.handle(peer.now, Incoming::Close { code: Some(1000), reason: String::new() });
        assert!(peer.conn.is_closed());
    }
}

/// [C-51] Every handle MUST report the first cause of the end. Later causes change nothing.
/// [C-52] The report MUST tell who ended the connection (local, peer, transport, timeout), and give
/// the code and the reason unchanged.
#[test]
fn of_two_causes_the_first_is_told_and_by_whom() {
    type Cause = fn(&mut ScriptedPeer);
    for wire in WIRES {
        let causes: [(Culprit, Cause); 5] = [
            (Culprit::Local, |peer| peer.conn.close(peer.now, code(3), "ours".into())),
            (Culprit::Peer, |peer| match peer.wire {
                Wire::QMux => peer.send(&[application_close(4, "theirs")]),
                _ => peer.conn.handle(
                    peer.now,
                    Incoming::Close { code: Some(4004), reason: "theirs".into() },
                ),
            }),
            (Culprit::Peer, |peer| peer.send_bytes(vec![0xff])),
            (Culprit::Network, |peer| peer.conn.handle_socket_end(peer.now, SocketError::Eof)),
            (Culprit::Timeout, |peer| drop(wait(peer))),
        ];
        for (nth, (culprit, first)) in causes.into_iter().enumerate() {
            for (other, second) in causes {
                let (mut peer, id) = with_stream(wire, &config());
                first(&mut peer);
                let told = format!("{:?}", peer.conn.close_reason());
                peer.events();
                if other != Culprit::Timeout {
                    second(&mut peer);
                }
                let reason = peer.conn.close_reason().expect("it has ended");
                assert_eq!(reason.culprit(), culprit, "{wire:?} {nth}: {told}");
                assert_eq!(format!("{:?}", Some(reason)), told, "{wire:?}: then {other:?}");
                assert_eq!(peer.events(), [], "it is told once");
                let on_the_stream = format!("{:?}", peer.conn.recv_stream(peer.now, id).read(1));
                let inner = told.trim_start_matches("Some(").trim_end_matches(')');
                assert!(on_the_stream.contains(inner), "{on_the_stream} and {told}");
            }
        }
    }
    let mut peer = peer(Wire::QMux);
    peer.send(&[transport_close(TransportErrorCode::FLOW_CONTROL_ERROR, "too much")]);
    match peer.conn.close_reason() {
        Some(ConnectionError::ConnectionClosed(close)) => {
            assert_eq!(close.error_code, TransportErrorCode::FLOW_CONTROL_ERROR);
            assert_eq!(&close.reason[..], b"too much");
        }
        other => panic!("{other:?}"),
    }
}

/// [J-37] A Close whose code J-36 does not list, or that has no code, MUST be reported as a
/// transport close by the peer, with the WebSocket's code and reason.
#[test]
fn a_close_of_no_application_is_told_with_its_code() {
    for (websocket, told) in [
        (None, "1005"),
        (Some(1001), "1001"),
        (Some(1008), "1008"),
        (Some(1011), "1011"),
        (Some(2999), "2999"),
        (Some(5000), "5000"),
    ] {
        let mut peer = peer(Wire::JsWs);
        peer.conn.handle(peer.now, Incoming::Close { code: websocket, reason: "because".into() });
        match peer.conn.close_reason() {
            Some(ConnectionError::ConnectionClosed(close)) => {
                let reason = String::from_utf8_lossy(&close.reason);
                assert!(reason.contains(told) && reason.ends_with("because"), "{reason}");
            }
            other => panic!("{websocket:?}: {other:?}"),
        }
    }
}
