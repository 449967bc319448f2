//! Bytes that have arrived can be read, whatever arrives after them. If some bytes cannot arrive,
//! the reader gets an error and never a clean end.

use crate::support::*;
use wsmux_proto::{
    Config, ConnectionError, Culprit, Dir, Event, Frame, Incoming, Read, ReadError, SocketError,
    TransportErrorCode, Wire, WriteError,
};

/// Returns a pair whose client has sent data on two streams, of which only the first is finished.
/// The server has not read any of this data.
fn pair_with_unread(wire: Wire) -> (Pair, [wsmux_proto::StreamId; 2]) {
    let mut pair = Pair::new(wire, &Config::default());
    let ids = [pair.open_bi(CLIENT), pair.open_bi(CLIENT)];
    for id in ids {
        pair.client.write(id, &pattern(id.into_inner(), 0, 10_000));
    }
    pair.client.finish(ids[0]);
    pair.drive();
    (pair, ids)
}

fn assert_readable(pair: &mut Pair, ids: [wsmux_proto::StreamId; 2], what: &str) {
    let read = pair.server.read_up_to(ids[0], 4_000);
    assert_eq!(read, (pattern(ids[0].into_inner(), 0, 4_000), End::Open), "{what}");
    let read = pair.server.read(ids[0]);
    assert_eq!(read, (pattern(ids[0].into_inner(), 4_000, 6_000), End::Fin), "{what}");
    let read = pair.server.read(ids[1]);
    assert_eq!(read, (pattern(ids[1].into_inner(), 0, 10_000), End::Lost), "{what}");
    pair.server.release(ids[0]);
    pair.server.release(ids[1]);
    assert_eq!(pair.server.live_streams(), 0, "{what}");
}

/// [C-18] Bytes that arrived before the connection ended MUST stay readable after it has ended. The
/// reader gets the error only after these bytes.
/// [C-19] A receiving half whose FIN has not arrived when the connection ends MUST end in an error,
/// never in a clean end.
#[test]
fn what_came_before_the_connections_end_is_read_after_it() {
    for wire in WIRES {
        type Ending = fn(&mut Pair);
        let endings: [(&str, Ending); 6] = [
            ("the socket ends", |pair| pair.cut()),
            ("the peer closes", |pair| {
                pair.client.conn.close(pair.now, code(1), "bye".into());
                pair.drive();
            }),
            ("we close", |pair| pair.server.conn.close(pair.now, code(1), "bye".into())),
            ("the peer breaks the rules", |pair| {
                pair.server.conn.handle(pair.now, Incoming::Message(vec![0xff; 3].into()));
            }),
            ("a text message", |pair| pair.server.conn.handle(pair.now, Incoming::Text)),
            ("the peer dies", |pair| {
                pair.client.black_hole = true;
                pair.server.black_hole = true;
                while pair.server.conn.close_reason().is_none() {
                    pair.advance();
                    pair.drive();
                }
            }),
        ];
        for (what, end) in endings {
            let (mut pair, ids) = pair_with_unread(wire);
            end(&mut pair);
            assert!(pair.server.take_events().contains(&Event::Closed), "{what}");
            assert_readable(&mut pair, ids, &format!("{wire:?}: {what}"));
        }
    }
}

/// [C-18] Bytes that arrived before the connection ended MUST stay readable after it has ended. The
/// reader gets the error only after these bytes.
#[test]
fn streams_that_came_before_the_end_are_accepted_after_it() {
    for wire in WIRES {
        let mut pair = Pair::new(wire, &Config::default());
        let id = pair.client.open(Dir::Bi);
        pair.client.write(id, b"last words");
        pair.client.finish(id);
        pair.drive();
        pair.cut();
        assert_eq!(pair.server.accept(Dir::Bi), id);
        assert_eq!(pair.server.read(id), (b"last words".to_vec(), End::Fin));
        assert_eq!(pair.server.conn.accept(Dir::Bi), None);
    }
}

/// [C-19] A receiving half whose FIN has not arrived when the connection ends MUST end in an error,
/// never in a clean end.
#[test]
fn what_was_written_and_never_sent_is_an_error_at_both_ends() {
    for wire in WIRES {
        let mut pair = Pair::new(wire, &Config::default());
        let id = pair.open_bi(CLIENT);
        pair.client.stalled = true;
        pair.client.write(id, b"in the buffer");
        pair.client.finish(id);
        pair.drive();
        pair.cut();
        assert_eq!(pair.server.read(id), (vec![], End::Lost), "no clean end");
        assert!(matches!(
            pair.client.conn.send_stream(pair.now, id).write(b"more"),
            Err(WriteError::ConnectionLost(ConnectionError::SocketLost(SocketError::Eof)))
        ));
        assert!(matches!(
            pair.client.conn.send_stream(pair.now, id).finish(),
            Err(WriteError::ConnectionLost(_))
        ));
        pair.client.release(id);
        pair.server.release(id);
        assert_eq!((pair.client.live_streams(), pair.server.live_streams()), (0, 0));
    }
}

/// [C-54] When all streams have ended and been read, every table and queue MUST be empty again.
#[test]
fn handles_that_went_before_the_end_leave_nothing_after_it() {
    for wire in WIRES {
        let mut pair = Pair::new(wire, &Config::default());
        let ids: Vec<_> = (0..4).map(|_| pair.open_bi(CLIENT)).collect();
        pair.client.stalled = true;
        pair.server.stalled = true;
        for &id in &ids {
            pair.client.write(id, b"x");
        }
        pair.client.finish(ids[0]);
        pair.client.conn.send_stream(pair.now, ids[1]).reset(code(1)).unwrap();
        for &id in &ids {
            pair.client.release(id);
            pair.server.release(id);
        }
        assert_eq!(pair.client.live_streams(), 4, "the peer has been told nothing");
        pair.cut();
        assert_eq!((pair.client.live_streams(), pair.server.live_streams()), (0, 0), "{wire:?}");
    }
}

/// [C-15] A reset that follows the FIN MUST NOT discard anything: the reader gets all bytes and a
/// clean end. The final size of the reset is still checked.
#[test]
fn a_reset_behind_the_end_discards_nothing() {
    for (wire, late) in [
        (Wire::QMux, reset(bidi(CLIENT, 0), 9, 5)),
        (Wire::QMux, reset_at(bidi(CLIENT, 0), 9, 5, 2)),
        (Wire::JsWs, error_read(bidi(CLIENT, 0), 9)),
    ] {
        let mut peer = ScriptedPeer::new(wire, SERVER, &Config::default());
        let id = bidi(CLIENT, 0);
        match wire {
            Wire::QMux => peer.send(&[stream(id, 0, b"hello", true), late]),
            _ => {
                peer.send(&[ack(id, 9)]);
                peer.said();
                peer.send(&[data(id, b"hello"), close_read(id), late]);
            }
        }
        peer.assert_open("a late reset");
        let mut recv = peer.conn.recv_stream(peer.now, id);
        assert_eq!(recv.read(9).unwrap().data().unwrap(), "hello");
        assert_eq!(recv.read(9).unwrap(), Read::Finished, "a clean end (RFC 9000 §3.2)");
    }
}

/// After RESET_STREAM_AT the reader MUST get the bytes below the reliable size, and then the
/// reset.
#[test]
fn a_reset_with_a_reliable_size_keeps_the_bytes_below_it() {
    for (read_before, reliable, kept) in
        [(0, 3, "hel"), (0, 5, "hello"), (2, 3, "l"), (4, 3, ""), (0, 0, ""), (5, 5, "")]
    {
        let mut peer = ScriptedPeer::new(Wire::QMux, SERVER, &Config::default());
        let id = uni(CLIENT, 0);
        peer.send(&[stream(id, 0, b"hello", false)]);
        assert_eq!(peer.conn.accept(Dir::Uni), Some(id));
        peer.conn.recv_stream(peer.now, id).read(read_before).unwrap();
        peer.send(&[reset_at(id, 9, 5, reliable)]);
        let mut recv = peer.conn.recv_stream(peer.now, id);
        assert_eq!(recv.poll_reset().unwrap(), Some(code(9)), "known at once");
        if !kept.is_empty() {
            assert_eq!(recv.read(9).unwrap().data().unwrap(), kept);
        }
        assert!(matches!(recv.read(9), Err(ReadError::Reset(reset)) if reset == code(9)));
        assert_eq!(peer.conn.stats(Time::EPOCH).live_streams, 0);
    }
}

/// A later reset with a smaller reliable size MUST lower the reliable size (RESET_STREAM
/// lowers it to zero). A later reset with a larger reliable size MUST be ignored.
#[test]
fn a_later_reset_lowers_the_reliable_size_and_never_raises_it() {
    let id = uni(CLIENT, 0);
    for (second, kept) in
        [(reset_at(id, 9, 5, 2), "he"), (reset_at(id, 9, 5, 5), "hel"), (reset(id, 9, 5), "")]
    {
        let mut peer = ScriptedPeer::new(Wire::QMux, SERVER, &Config::default());
        peer.send(&[stream(id, 0, b"hello", false), reset_at(id, 9, 5, 3), second]);
        peer.assert_open("a second reset");
        let mut recv = peer.conn.recv_stream(peer.now, id);
        if !kept.is_empty() {
            assert_eq!(recv.read(9).unwrap().data().unwrap(), kept);
        }
        assert!(matches!(recv.read(9), Err(ReadError::Reset(_))));
    }
}

/// An empty STREAM frame without FIN MUST open its stream if the stream is not open yet, and
/// has no other effect.
/// If a FIN is repeated with the same final size and without data, the repeated FIN MUST be
/// ignored.
#[test]
fn empty_frames_and_a_repeated_end_change_nothing() {
    let id = bidi(CLIENT, 0);
    let mut peer = ScriptedPeer::new(Wire::QMux, SERVER, &Config::default());
    peer.send(&[stream(id, 0, b"", false), stream(id, 0, b"", false), stream(id, 0, b"hi", true)]);
    peer.send(&[stream(id, 2, b"", true), stream(id, 2, b"", false)]);
    peer.assert_open("at the final size");
    assert_eq!(peer.conn.recv_stream(peer.now, id).read(9).unwrap().data().unwrap(), "hi");
    assert_eq!(peer.conn.recv_stream(peer.now, id).read(9).unwrap(), Read::Finished);
    peer.send(&[stream(id, 2, b"", true), stream(id, 2, b"", false), reset(id, 1, 2)]);
    peer.assert_open("read, and not yet forgotten");
    let id = bidi(CLIENT, 1);
    peer.send(&[reset(id, 0, 0), stream(id, 0, b"", false), stream(id, 0, b"", true)]);
    peer.assert_open("behind a reset");
    assert!(matches!(peer.conn.recv_stream(peer.now, id).read(9), Err(ReadError::Reset(_))));
}

/// [C-51] Every handle MUST report the first cause of the end. Later causes change nothing.
/// [C-52] The report MUST tell who ended the connection (local, peer, transport, timeout), and give
/// the code and the reason unchanged.
#[test]
fn the_first_cause_is_the_one_that_is_told_and_by_whom() {
    let mut pair = Pair::new(Wire::QMux, &Config::default());
    pair.client.conn.close(pair.now, code(7), "first".into());
    pair.client.conn.close(pair.now, code(8), "second".into());
    pair.client.conn.handle(pair.now, Incoming::Text);
    pair.drive();
    pair.cut();
    assert!(matches!(pair.client.conn.close_reason(), Some(ConnectionError::LocallyClosed)));
    match pair.server.conn.close_reason() {
        Some(ConnectionError::ApplicationClosed(close)) => {
            assert_eq!((close.error_code, &close.reason[..]), (code(7), &b"first"[..]));
        }
        other => panic!("{other:?}"),
    }
    let closed = pair.server.take_events().into_iter().filter(|event| *event == Event::Closed);
    assert_eq!(closed.count(), 1);
    assert_eq!(pair.server.conn.close_reason().unwrap().culprit(), Culprit::Peer);
    assert_eq!(pair.client.conn.close_reason().unwrap().culprit(), Culprit::Local);
}

/// If a frame in a message causes an error, the frames before it in that message MUST take
/// effect all the same.
/// After the peer's CONNECTION_CLOSE we MUST NOT send any further frame; we send a WebSocket
/// Close.
/// Whatever follows a CONNECTION_CLOSE, in its message or later, MUST be discarded unread.
#[test]
fn what_follows_a_connection_close_in_its_message_is_not_looked_at() {
    let mut peer = ScriptedPeer::new(Wire::QMux, SERVER, &Config::default());
    let id = uni(CLIENT, 0);
    peer.send(&[
        stream(id, 0, b"before", false),
        transport_close(TransportErrorCode::NO_ERROR, "bye"),
        stream(id, 6, b"after", true),
        Frame::Ping(code(1)),
    ]);
    peer.send_bytes(vec![0xff]);
    assert!(matches!(peer.said()[..], [Said::Close { code: 1000, .. }]), "and no frame (Q-63)");
    let mut recv = peer.conn.recv_stream(peer.now, id);
    assert_eq!(recv.read(99).unwrap().data().unwrap(), "before");
    assert!(matches!(recv.read(99), Err(ReadError::ConnectionLost(_))));
}

/// [C-54] When all streams have ended and been read, every table and queue MUST be empty again.
#[test]
fn a_stream_with_a_waiter_is_forgotten_after_the_connections_end() {
    use wsmux_proto::SendEnd;
    for wire in WIRES {
        for (nth, finishes) in [false, true, false, false].into_iter().enumerate() {
            let mut pair = Pair::new(wire, &Config::default());
            let id = pair.open_bi(CLIENT);
            pair.client.stalled = true;
            pair.client.write(id, b"something");
            if finishes {
                pair.client.finish(id);
            }
            assert_eq!(pair.client.conn.send_stream(pair.now, id).poll_end(), SendEnd::Open);
            // In two of the cases the application resets the stream, and no longer waits for its
            // end. In the other cases the application calls `poll_end` again after the connection
            // has ended.
            match nth {
                2 => pair.client.conn.send_stream(pair.now, id).reset(code(1)).unwrap(),
                3 => drop(pair.client.conn.send_stream(pair.now, id).reset_at(code(1), 5)),
                _ => {}
            }
            pair.cut();
            if nth < 2 {
                assert_eq!(pair.client.conn.send_stream(pair.now, id).poll_end(), SendEnd::Open);
            }
            pair.client.release(id);
            assert_eq!(pair.client.live_streams(), 0, "{wire:?}, {nth}");
        }
    }
}
