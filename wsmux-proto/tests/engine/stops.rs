//! How a stopped half is reported when the stream or the connection ends right after the request to
//! stop.

use crate::support::*;
use wsmux_proto::{Config, Dir, Event, Incoming, SendEnd, Wire, WriteError};

/// The peer's request to stop and the end of the connection arrive together. The stopped half must
/// not be reported as finished.
#[test]
fn a_stop_just_before_the_end_is_not_reported_as_finished() {
    for wire in WIRES {
        let mut peer = ScriptedPeer::new(wire, CLIENT, &Config::default());
        let id = peer.conn.open(Dir::Bi).unwrap().unwrap();
        peer.said();
        // On js-ws the peer answers the opening of the stream, but grants almost no credit.
        match wire {
            Wire::QMux => {}
            _ => peer.send(&[ack(id, 1)]),
        }
        peer.conn.send_stream(peer.now, id).write(&[0; 100_000]).unwrap();
        peer.conn.send_stream(peer.now, id).finish().unwrap();
        assert_eq!(peer.conn.send_stream(peer.now, id).poll_end(), SendEnd::Open);
        // Both handles are dropped, but the application still waits for the stream's end.
        peer.conn.send_stream(peer.now, id).release();
        peer.conn.recv_stream(peer.now, id).release();
        peer.events();
        peer.send(&[stop(id, 7)]);
        match wire {
            Wire::QMux => peer.send(&[application_close(1, "")]),
            _ => peer
                .conn
                .handle(peer.now, Incoming::Close { code: Some(1000), reason: String::new() }),
        }
        assert!(peer.events().contains(&Event::Ended { id }));
        let end = peer.conn.send_stream(peer.now, id).poll_end();
        assert_ne!(end, SendEnd::Finished, "{wire:?}: not one byte left");
    }
}

/// In this test the connection does not end, and the application makes its calls in the order that
/// `Connection` documents.
#[test]
fn a_stop_is_not_reported_as_finished_once_its_answer_has_left() {
    let mut peer = ScriptedPeer::new(Wire::QMux, CLIENT, &Config::default());
    let id = peer.conn.open(Dir::Uni).unwrap().unwrap();
    peer.conn.send_stream(peer.now, id).write(&[0; 100_000]).unwrap();
    peer.conn.send_stream(peer.now, id).finish().unwrap();
    assert_eq!(peer.conn.send_stream(peer.now, id).poll_end(), SendEnd::Open);
    peer.conn.send_stream(peer.now, id).release();
    peer.send(&[stop(id, 7)]);
    peer.said();
    assert!(peer.events().contains(&Event::Ended { id }));
    assert_eq!(peer.conn.send_stream(peer.now, id).poll_end(), SendEnd::Stopped(code(7)));
}

/// The peer stops a stream that has a pending write, and then closes the connection. The write
/// reports the stop, because the stop came first.
#[test]
fn a_write_learns_of_the_stop_that_came_before_the_end() {
    let mut peer = ScriptedPeer::new(Wire::QMux, SERVER, &Config::default());
    let id = peer.conn.open(Dir::Uni).unwrap().unwrap();
    peer.conn.send_stream(peer.now, id).write(b"x").unwrap();
    peer.said();
    peer.send(&[stop(id, 7), application_close(0, "")]);
    let error = peer.conn.send_stream(peer.now, id).write(b"x").unwrap_err();
    assert!(matches!(error, WriteError::Stopped(_)), "{error}");
}
