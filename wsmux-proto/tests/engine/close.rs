//! How a connection ends: which codes are sent, how received codes are reported, and when the
//! socket can be dropped.

use crate::support::*;
use wsmux_proto::{
    Close, Config, ConnectionError, Dir, Frame, Incoming, OpenError, SocketCapabilities,
    SocketError, TransportErrorCode, Wire,
};

fn peer(wire: Wire) -> ScriptedPeer {
    ScriptedPeer::new(wire, SERVER, &Config::default())
}

/// [J-35] A close MUST be a WebSocket Close with the code of §3.3 and the reason. No other message
/// announces the close.
/// An application error code MUST be carried in full, up to 2^62-1.
/// On a local close we MUST send one CONNECTION_CLOSE (0x1d for an application's code, 0x1c
/// for a transport error) as the last frame, and then a WebSocket Close.
/// [W-24] Our Close frame MUST have the code that the table of §3.3 gives.
#[test]
fn an_applications_code_becomes_the_websockets_by_the_table() {
    for wire in WIRES {
        for (value, websocket) in [
            (0, 1000),
            (1, 4001),
            (998, 4998),
            (999, 4999),
            (1_000, 4999),
            (2_999, 4999),
            (3_000, 3000),
            (3_999, 3999),
            (4_000, 4999),
            ((1 << 62) - 1, 4999),
        ] {
            let mut peer = peer(wire);
            peer.conn.close(peer.now, code(value), "so long".into());
            let mut said = peer.said();
            let reason = "so long".to_owned();
            assert_eq!(said.pop(), Some(Said::Close { code: websocket, reason }));
            let frames = [Said::Frames(vec![application_close(value, "so long")])];
            let expected = if wire == Wire::QMux { &frames[..] } else { &[] };
            assert_eq!(said, expected, "the whole code is in the frame, where there is one");
        }
    }
}

/// [W-27] Where the platform forbids a code, 4999 MUST be sent in its place, with the same reason.
/// A web page may send only 1000 and 3000 to 4999.
#[test]
fn a_page_sends_no_code_that_its_browser_forbids() {
    let page = SocketCapabilities::new().pings(false).all_close_codes(false);
    for wire in WIRES {
        for (value, websocket) in [(0, 1000), (42, 4042), (3_100, 3100), (1 << 40, 4999)] {
            let mut peer = peer(wire);
            peer.conn.set_socket_capabilities(page);
            peer.conn.close(peer.now, code(value), "so long".into());
            let reason = "so long".to_owned();
            assert_eq!(peer.said().pop(), Some(Said::Close { code: websocket, reason }));
        }
        // On other platforms the two errors below are sent as 1002 and 1009.
        let errors: [fn(&mut ScriptedPeer); 2] = [
            |peer| peer.conn.handle(peer.now, Incoming::Text),
            |peer| peer.conn.handle(peer.now, Incoming::TooLarge),
        ];
        for error in errors {
            let (mut anywhere, mut in_page) = (peer(wire), peer(wire));
            in_page.conn.set_socket_capabilities(page);
            error(&mut anywhere);
            error(&mut in_page);
            let Some(Said::Close { reason, .. }) = anywhere.said().pop() else {
                panic!("no Close")
            };
            assert!(!reason.is_empty());
            assert_eq!(in_page.said().pop(), Some(Said::Close { code: 4999, reason }));
        }
    }
}

/// A reason that would make CONNECTION_CLOSE longer than the peer's `max_record_size` MUST
/// be cut at a character's boundary.
/// [W-26] The reason of a Close frame MUST be valid UTF-8 of at most 123 bytes. A longer reason is
/// cut at a character's boundary.
#[test]
fn a_long_reason_is_cut_between_characters() {
    let mut peer = peer(Wire::QMux);
    peer.conn.close(peer.now, code(1), "€".repeat(40_000).into());
    let said = peer.said();
    let [Said::Frames(frames), Said::Close { reason, .. }] = &said[..] else { panic!("{said:?}") };
    assert_eq!(*reason, "€".repeat(41));
    let [Frame::ConnectionClose(Close::Application { reason, .. })] = &frames[..] else {
        panic!("{frames:?}")
    };
    assert!(reason.len() < 16_000 && std::str::from_utf8(reason).is_ok());
}

/// A reason that is not valid UTF-8 MUST NOT cause an error. The bytes that cannot be
/// decoded are replaced.
#[test]
fn a_reason_that_is_no_utf_8_is_no_error() {
    let mut peer = peer(Wire::QMux);
    peer.conn.close(peer.now, code(1), vec![0xff, b'x'].into());
    assert!(matches!(&peer.said()[..], [_, Said::Close { reason, .. }] if reason.ends_with('x')));
    let mut peer = self::peer(Wire::QMux);
    peer.send_bytes([&[0x1d, 1, 2][..], &[0xff, b'x']].concat());
    assert!(matches!(peer.conn.close_reason(), Some(ConnectionError::ApplicationClosed(_))));
}

/// [J-36] The code of a Close MUST be reported as an application error code: 1000 and 4000 are
/// reported as 0. A code from 3000 to 3999 is reported as it is. A code from 4001 to 4999 is
/// reported as the code minus 4000.
/// [J-37] A Close whose code J-36 does not list, or that has no code, MUST be reported as a
/// transport close by the peer, with the WebSocket's code and reason.
/// [W-28] A peer's Close frame MUST be answered with a Close frame, unless ours was sent before.
#[test]
fn a_peers_websocket_close_on_js_ws_is_its_applications_word() {
    for (websocket, value) in [(1000, 0), (4000, 0), (4001, 1), (4999, 999), (3000, 3000)] {
        let mut peer = peer(Wire::JsWs);
        peer.conn.handle(peer.now, Incoming::Close { code: Some(websocket), reason: "bye".into() });
        match peer.conn.close_reason() {
            Some(ConnectionError::ApplicationClosed(close)) => {
                assert_eq!((close.error_code, &close.reason[..]), (code(value), &b"bye"[..]));
            }
            other => panic!("{websocket}: {other:?}"),
        }
        assert!(matches!(peer.said()[..], [Said::Close { code: 1000, .. }]), "answered (W-28)");
    }
    for websocket in [None, Some(1001), Some(1002), Some(1006), Some(1011), Some(2999), Some(5000)]
    {
        closed_by_websocket(Wire::JsWs, websocket);
    }
}

/// Returns a peer that has closed only the WebSocket. Asserts that the engine reports a transport
/// close without a QUIC code. Asserts that the reason of this close contains the WebSocket's code
/// and reason.
fn closed_by_websocket(wire: Wire, code: Option<u16>) -> ScriptedPeer {
    let mut peer = peer(wire);
    peer.conn.handle(peer.now, Incoming::Close { code, reason: "bye".into() });
    let expected = format!("WebSocket close {}: bye", code.unwrap_or(1005));
    let reason = peer.conn.close_reason();
    assert!(
        matches!(reason, Some(ConnectionError::ConnectionClosed(close)) if close.reason == expected),
        "{code:?}: {reason:?}"
    );
    peer
}

/// A WebSocket Close without CONNECTION_CLOSE MUST be reported as a transport close by the
/// peer, with the WebSocket's code in the reason, and never as an application's close.
#[test]
fn a_websocket_close_without_a_frame_is_no_applications_word_on_qmux() {
    for websocket in [None, Some(1000), Some(1001), Some(1002), Some(3000), Some(4042)] {
        let mut peer = closed_by_websocket(Wire::QMux, websocket);
        assert!(matches!(peer.said()[..], [Said::Close { code: 1000, .. }]), "no frame (Q-63)");
    }
}

/// After the peer's CONNECTION_CLOSE we MUST NOT send any further frame; we send a WebSocket
/// Close.
#[test]
fn a_connection_close_is_answered_by_the_websockets_close_alone() {
    for frame in [
        application_close(1 << 40, "bye"),
        transport_close(TransportErrorCode::FLOW_CONTROL_ERROR, "too much"),
    ] {
        let mut peer = peer(Wire::QMux);
        peer.send(std::slice::from_ref(&frame));
        match (&frame, peer.conn.close_reason()) {
            (
                Frame::ConnectionClose(Close::Application { code, reason }),
                Some(ConnectionError::ApplicationClosed(close)),
            ) => assert_eq!((*code, reason), (close.error_code, &close.reason)),
            (
                Frame::ConnectionClose(Close::Transport { code, reason, .. }),
                Some(ConnectionError::ConnectionClosed(close)),
            ) => assert_eq!((*code, reason), (close.error_code, &close.reason)),
            (frame, reason) => panic!("{frame:?} became {reason:?}"),
        }
        assert!(matches!(peer.said()[..], [Said::Close { code: 1000, .. }]));
        peer.conn.handle(peer.now, Incoming::Close { code: Some(4042), reason: String::new() });
        assert_eq!(peer.said(), []);
    }
}

/// [C-48] `close` MUST take effect at once: all streams fail, unsent data is dropped, and the close
/// is sent.
#[test]
fn a_close_takes_effect_at_once_and_data_not_sent_is_dropped() {
    for wire in WIRES {
        let mut pair = Pair::new(wire, &Config::default());
        let id = pair.open_bi(CLIENT);
        pair.client.take_sent();
        pair.client.write(id, &pattern(0, 0, 50_000));
        pair.client.conn.close(pair.now, code(5), "now".into());
        assert!(matches!(pair.client.conn.open(Dir::Bi), Err(OpenError::ConnectionLost(_))));
        pair.drive();
        assert_eq!(pair.server.read(id), (vec![], End::Lost));
        let sent = pair.client.take_sent();
        let frames = if wire == Wire::QMux { 1 } else { 0 };
        assert_eq!(sent.len(), frames + 1, "{sent:?}");
        let reason = pair.server.conn.close_reason();
        assert!(
            matches!(reason, Some(ConnectionError::ApplicationClosed(close)) if close.error_code == code(5)),
            "{wire:?}: {reason:?}"
        );
    }
}

/// [C-50] After our WebSocket Close we MUST keep reading, and discard what we read, until the
/// peer's Close arrives or the close wait is over. Then the underlying stream ends by the rules of
/// §3.4.
#[test]
fn the_socket_can_go_once_both_have_closed() {
    for wire in WIRES {
        let mut peer = peer(wire);
        peer.conn.close(peer.now, code(0), "".into());
        assert!(!peer.conn.is_closed(), "nothing has been said yet");
        peer.said();
        assert!(!peer.conn.is_closed(), "the peer's Close is awaited");
        peer.send_bytes(vec![0xff; 3]);
        assert!(!peer.conn.is_closed(), "what comes meanwhile is not looked at");
        peer.conn.handle(peer.now, Incoming::Close { code: Some(1000), reason: String::new() });
        assert!(peer.conn.is_closed(), "{wire:?}: said on both sides");
        assert_eq!(peer.conn.poll_timeout(), None);
    }
}

/// [C-50] After our WebSocket Close we MUST keep reading, and discard what we read, until the
/// peer's Close arrives or the close wait is over. Then the underlying stream ends by the rules of
/// §3.4.
#[test]
fn the_wait_for_the_peers_close_ends_by_the_timeout_or_with_the_socket() {
    for wire in WIRES {
        let mut peer = peer(wire);
        peer.now = at(secs(5));
        peer.conn.close(peer.now, code(0), "".into());
        peer.said();
        assert_eq!(peer.conn.poll_timeout(), Some(at(secs(8))), "{wire:?}");
        peer.conn.handle_timeout(at(secs(8) - ms(1)));
        assert!(!peer.conn.is_closed());
        peer.conn.handle_timeout(at(secs(8)));
        assert!(peer.conn.is_closed());

        let mut peer = self::peer(wire);
        peer.conn.close(peer.now, code(0), "".into());
        peer.conn.handle_socket_end(peer.now, SocketError::Eof);
        assert!(peer.conn.is_closed());
        assert!(matches!(peer.conn.close_reason(), Some(ConnectionError::LocallyClosed)));
        assert_eq!(peer.said(), [], "nobody is left to hear it");
    }
}

/// [W-29] If the TCP or TLS stream ends without a Close frame, the end MUST be reported as a lost
/// transport, never as a close by the peer.
#[test]
fn an_end_without_a_close_is_a_lost_transport() {
    for wire in WIRES {
        let mut peer = peer(wire);
        peer.conn.handle_socket_end(peer.now, SocketError::Eof);
        assert!(matches!(
            peer.conn.close_reason(),
            Some(ConnectionError::SocketLost(SocketError::Eof))
        ));
        assert!(peer.conn.is_closed());
        assert_eq!(peer.said(), []);
    }
}

/// [C-51] Every handle MUST report the first cause of the end. Later causes change nothing.
/// [W-11] We MUST NOT send a message before the WebSocket handshake is complete, nor after our
/// Close frame.
#[test]
fn two_that_close_at_the_same_time_both_come_to_an_end() {
    for wire in WIRES {
        let mut pair = Pair::new(wire, &Config::default());
        pair.latency = ms(50);
        pair.client.conn.close(pair.now, code(1), "".into());
        pair.server.conn.close(pair.now, code(2), "".into());
        pair.drive();
        for end in [&pair.client, &pair.server] {
            assert!(matches!(end.conn.close_reason(), Some(ConnectionError::LocallyClosed)));
            assert!(end.conn.is_closed());
        }
    }
}

/// When the connection ends, one stream has a reset that has not been sent yet. On another stream
/// we have stopped the peer's half, and the peer's half has not ended. So both streams are reported
/// as in flight.
#[test]
fn what_the_peer_was_never_told_is_in_flight() {
    let mut peer = ScriptedPeer::new(Wire::QMux, SERVER, &Config::default());
    let (sent, got) = (uni(SERVER, 0), uni(CLIENT, 0));
    assert_eq!(peer.conn.open(Dir::Uni).unwrap(), Some(sent));
    peer.conn.send_stream(peer.now, sent).write(b"x").unwrap();
    peer.send(&[stream(got, 0, b"x", false)]);
    peer.said();
    peer.conn.send_stream(peer.now, sent).reset(code(1)).unwrap();
    peer.conn.recv_stream(peer.now, got).stop(code(1)).unwrap();
    peer.conn.handle_socket_end(peer.now, SocketError::Eof);
    assert_eq!(peer.conn.in_flight().streams, [got, sent]);
}
