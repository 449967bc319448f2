//! The life of a stream: how it opens, and how its halves end. After that, nothing of the stream
//! may remain.

use crate::support::*;
use wsmux_proto::{Config, Dir, Event, Frame, Read, ReadError, SendEnd, Wire, WriteError};

fn pair(wire: Wire) -> Pair {
    Pair::new(wire, &Config::default())
}

/// [C-13] Bytes that have arrived MUST be readable in order, until they are read, discarded by a
/// reset, or discarded by our own stop.
/// [C-21] After a FIN we MUST NOT send anything on that half except a reset. After a reset we MUST
/// NOT send data on it.
/// [C-25] Before a half sends its FIN, it MUST send every byte that it accepted from the
/// application.
#[test]
fn a_finished_stream_gives_every_byte_and_then_a_clean_end() {
    for wire in WIRES {
        let mut pair = pair(wire);
        let id = pair.open_bi(CLIENT);
        assert_eq!(pair.client.write(id, b"hello"), 5);
        pair.client.finish(id);
        assert_eq!(pair.client.conn.send_stream(pair.now, id).poll_end(), SendEnd::Open);
        pair.drive();
        assert_eq!(pair.server.read(id), (b"hello".to_vec(), End::Fin));
        assert_eq!(pair.server.read(id), (vec![], End::Closed), "the end is told once");
        assert!(pair.client.take_events().contains(&Event::Ended { id }));
        assert_eq!(pair.client.conn.send_stream(pair.now, id).poll_end(), SendEnd::Finished);
        assert!(matches!(
            pair.client.conn.send_stream(pair.now, id).write(b"more"),
            Err(WriteError::ClosedStream)
        ));
        // The other direction of the stream still works.
        assert_eq!(pair.transfer(SERVER, id, b"answer"), b"answer");
    }
}

/// [C-14] A reset that arrives in state Recv MUST discard what has not been read and report the
/// code to the reader.
/// [C-21] After a FIN we MUST NOT send anything on that half except a reset. After a reset we MUST
/// NOT send data on it.
#[test]
fn a_reset_tells_the_reader_its_code_and_discards_what_was_not_read() {
    for wire in WIRES {
        let mut pair = pair(wire);
        let id = pair.open_bi(CLIENT);
        pair.client.write(id, b"never read");
        pair.drive();
        pair.client.conn.send_stream(pair.now, id).reset(code(77)).unwrap();
        pair.drive();
        assert_eq!(pair.server.read(id), (vec![], End::Reset(77)));
        assert_eq!(pair.client.conn.close_reason().map(|_| ()), None);
        // On js-ws a reset is answered. The answer must not affect the half in the other direction.
        assert_eq!(pair.transfer(SERVER, id, b"still here"), b"still here");
    }
}

#[test]
fn a_reader_that_found_nothing_is_told_once_of_whatever_comes() {
    for wire in WIRES {
        for what in ["data", "the end", "a reset", "a reset, and nothing else was asked for"] {
            let mut pair = pair(wire);
            let id = pair.open_bi(CLIENT);
            // The application has not tried to read yet, so no event reports the data.
            pair.client.write(id, b"first");
            pair.drive();
            assert!(!pair.server.take_events().contains(&Event::Readable { id }), "{wire:?}");
            assert_eq!(pair.server.read(id), (b"first".to_vec(), End::Open));
            if what.ends_with("asked for") {
                assert_eq!(pair.server.conn.recv_stream(pair.now, id).poll_reset().unwrap(), None);
            }
            match what {
                "data" => {
                    pair.client.write(id, b"second");
                    pair.drive();
                    pair.client.write(id, b"third");
                }
                "the end" => pair.client.finish(id),
                _ => pair.client.conn.send_stream(pair.now, id).reset(code(1)).unwrap(),
            }
            pair.drive();
            let events = pair.server.take_events().into_iter();
            let told = events.filter(|event| *event == Event::Readable { id }).count();
            assert_eq!(told, 1, "{wire:?}: {what}");
        }
    }
}

/// [C-22] A request to stop that reaches a sending half in state Ready or Send MUST be answered at
/// once by a reset with the same code.
#[test]
fn a_stop_ends_the_writer_with_its_code_and_is_answered_by_a_reset() {
    for wire in WIRES {
        let mut pair = pair(wire);
        let id = pair.open_bi(CLIENT);
        pair.client.write(id, &pattern(1, 0, 100_000));
        pair.server.conn.recv_stream(pair.now, id).stop(code(9)).unwrap();
        pair.drive();
        assert!(matches!(
            pair.client.conn.send_stream(pair.now, id).write(b"more"),
            Err(WriteError::Stopped(stopped)) if stopped == code(9)
        ));
        assert_eq!(
            pair.client.conn.send_stream(pair.now, id).poll_end(),
            SendEnd::Stopped(code(9))
        );
        assert!(matches!(
            pair.server.conn.recv_stream(pair.now, id).read(1),
            Err(ReadError::ClosedStream)
        ));
        let resets = pair.client.take_sent();
        let answered = resets.iter().any(|item| match item {
            Item::Message(message) => scripted_peer::decode(wire, message.clone()).iter().any(
                |frame| matches!(frame, Frame::ResetStream { code: answer, .. } if *answer == code(9)),
            ),
            _ => false,
        });
        assert!(answered, "RESET_STREAM with the code of the STOP_SENDING (RFC 9000 §3.5)");
        pair.client.release(id);
        pair.server.release(id);
        pair.drive();
        assert_eq!((pair.client.live_streams(), pair.server.live_streams()), (0, 0));
    }
}

/// What an application can call to end a half of a stream.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Act {
    Finish,
    Reset,
    Stop,
    Drop,
}

const ACTS: [Act; 4] = [Act::Finish, Act::Reset, Act::Stop, Act::Drop];

fn act(end: &mut Endpoint, id: wsmux_proto::StreamId, act: Act) {
    match act {
        Act::Finish => drop(end.conn.send_stream(end.now, id).finish()),
        Act::Reset => drop(end.conn.send_stream(end.now, id).reset(code(1))),
        Act::Stop => drop(end.conn.recv_stream(end.now, id).stop(code(2))),
        Act::Drop => end.release(id),
    }
}

/// [C-4] A stream MUST be freed as soon as both its halves are terminal, and not before.
/// [C-23] A request to stop that reaches a sending half in a terminal state MUST be ignored.
/// [C-54] When all streams have ended and been read, every table and queue MUST be empty again.
#[test]
fn finish_reset_stop_and_drop_in_any_order_leave_nothing_behind() {
    // Each end makes two of these calls, before or after it has received the effect of the other
    // end's first call.
    for (wire, data) in WIRES.into_iter().flat_map(|wire| [(wire, false), (wire, true)]) {
        for script in 0..4usize.pow(4) * 4 {
            let acts: Vec<_> = (0..4).map(|nth| ACTS[script / 4usize.pow(nth) % 4]).collect();
            let (drive_between, seen) = (script / 256 % 2 == 0, script / 512 == 0);
            let mut pair = pair(wire);
            let what = format!("{wire:?} {acts:?} data {data} driven {drive_between} seen {seen}");
            let id = pair.client.open(Dir::Bi);
            if data {
                pair.client.write(id, &pattern(0, 0, 2_000));
            }
            if seen {
                pair.client.conn.send_stream(pair.now, id).announce();
                pair.drive();
                assert_eq!(pair.server.accept(Dir::Bi), id);
                if data {
                    pair.server.write(id, &pattern(1, 0, 2_000));
                }
            }
            act(&mut pair.client, id, acts[0]);
            if drive_between {
                pair.drive();
            }
            if seen {
                act(&mut pair.server, id, acts[1]);
            }
            act(&mut pair.client, id, acts[2]);
            pair.drive();
            if !seen {
                assert_eq!(pair.server.conn.accept(Dir::Bi), Some(id), "{what}");
                act(&mut pair.server, id, acts[1]);
            }
            act(&mut pair.server, id, acts[3]);
            pair.drive();
            pair.client.release(id);
            pair.server.release(id);
            pair.drive();
            for end in [&pair.client, &pair.server] {
                assert!(end.conn.close_reason().is_none(), "{what}: {:?}", end.conn.close_reason());
                assert_eq!(end.live_streams(), 0, "{what}: {:?}", end.conn.side());
                assert_eq!(end.conn.stats(Time::EPOCH).send_buffered, 0, "{what}");
            }
        }
    }
}

/// [C-10] A sending half that the application drops unfinished MUST be reset, never finished.
#[test]
fn dropping_a_sender_resets_and_never_finishes() {
    for wire in WIRES {
        for len in [0, 1, 5_000] {
            let mut pair = pair(wire);
            let id = pair.open_bi(CLIENT);
            pair.client.write(id, &pattern(0, 0, len));
            pair.client.conn.send_stream(pair.now, id).release();
            pair.drive();
            assert_eq!(pair.server.read(id).1, End::Reset(0), "{wire:?} after {len} bytes");
        }
    }
}

/// [C-25] Before a half sends its FIN, it MUST send every byte that it accepted from the
/// application.
#[test]
fn dropping_a_finished_sender_changes_nothing() {
    for wire in WIRES {
        let mut pair = pair(wire);
        let id = pair.open_bi(CLIENT);
        pair.client.write(id, b"all of it");
        pair.client.finish(id);
        pair.client.conn.send_stream(pair.now, id).release();
        pair.drive();
        assert_eq!(pair.server.read(id), (b"all of it".to_vec(), End::Fin));
    }
}

/// [C-11] A receiving half that the application drops before its end is known MUST be stopped.
#[test]
fn dropping_a_receiver_stops() {
    for wire in WIRES {
        let mut pair = pair(wire);
        let id = pair.open_bi(CLIENT);
        pair.server.conn.recv_stream(pair.now, id).release();
        pair.drive();
        assert_eq!(
            pair.client.conn.send_stream(pair.now, id).poll_end(),
            SendEnd::Stopped(code(0))
        );
    }
}

/// [C-12] If the application opens a stream and drops it before any frame of the stream was sent, a
/// reset MUST still report the stream to the peer. So the stream leaves the peer's count of open
/// streams.
/// [J-12] The first message on a stream that we open MUST be an Ack with our receive window, sent
/// at once.
#[test]
fn a_stream_opened_and_dropped_before_anything_left_is_told_by_a_reset() {
    for wire in WIRES {
        let mut pair = pair(wire);
        let id = pair.client.open(Dir::Bi);
        pair.client.release(id);
        pair.drive();
        assert!(pair.server.conn.close_reason().is_none(), "{:?}", pair.server.conn.close_reason());
        assert_eq!(pair.server.accept(Dir::Bi), id);
        assert_eq!(pair.server.read(id), (vec![], End::Reset(0)));
    }
}

/// [C-4] A stream MUST be freed as soon as both its halves are terminal, and not before.
#[test]
fn a_finished_stream_that_is_stopped_while_its_bytes_wait_is_freed() {
    for wire in WIRES {
        let mut pair = Pair::new(wire, Config::default().stream_receive_window(100));
        let id = pair.open_bi(CLIENT);
        pair.client.write(id, &pattern(0, 0, 1_000));
        pair.client.finish(id);
        pair.client.release(id);
        pair.drive();
        assert_eq!(pair.client.live_streams(), 1, "900 bytes wait for credit");
        pair.server.release(id);
        pair.drive();
        assert_eq!((pair.client.live_streams(), pair.server.live_streams()), (0, 0), "{wire:?}");
    }
}

/// [C-5] When a stream of the peer is opened, every stream of the same type with a lower id MUST be
/// opened too, unless it was opened before. The application accepts all these streams in the order
/// of their ids. js-ws is exempt (J-10).
/// A frame of any type that Q-35 lists MUST open the peer's stream that it names, if that
/// stream is within the limit and not open yet.
#[test]
fn a_frame_opens_all_lower_streams_of_its_kind_in_order() {
    let mut peer = ScriptedPeer::new(Wire::QMux, SERVER, &Config::default());
    for (dir, make) in [(Dir::Bi, bidi as fn(_, _) -> _), (Dir::Uni, uni)] {
        peer.send(&[stream(make(CLIENT, 3), 0, b"x", false)]);
        let accepted: Vec<_> = std::iter::from_fn(|| peer.conn.accept(dir)).collect();
        assert_eq!(accepted, (0..4).map(|index| make(CLIENT, index)).collect::<Vec<_>>());
    }
    assert_eq!(peer.conn.stats(Time::EPOCH).live_streams, 8);
}

/// [C-3] To find out whether an id was used before, we MUST use a high-water mark for each type and
/// the table of live streams, never a set that grows.
/// [J-10] Ids that the peer skips MUST NOT be opened; they count as ended.
/// [J-11] A message for an id that is at or below the high-water mark MUST be dropped if its stream
/// is not live.
#[test]
fn ids_that_a_js_ws_peer_skips_are_never_opened() {
    let mut peer = ScriptedPeer::new(Wire::JsWs, SERVER, &Config::default());
    peer.send(&[ack(bidi(CLIENT, 3), 1_000), ack(bidi(CLIENT, 1), 1_000)]);
    peer.assert_open("a message for a skipped id is late");
    assert_eq!(peer.conn.accept(Dir::Bi), Some(bidi(CLIENT, 3)));
    assert_eq!(peer.conn.accept(Dir::Bi), None);
    assert_eq!(peer.conn.stats(Time::EPOCH).live_streams, 1);
}

/// [C-2] An id MUST NOT be used twice in one connection.
/// [C-3] To find out whether an id was used before, we MUST use a high-water mark for each type and
/// the table of live streams, never a set that grows.
/// [C-8] A frame for a stream that has been freed MUST be ignored, and MUST NOT bring the stream
/// back.
/// [J-11] A message for an id that is at or below the high-water mark MUST be dropped if its stream
/// is not live.
#[test]
fn late_frames_for_an_ended_stream_are_ignored_and_do_not_reopen_it() {
    let id = bidi(CLIENT, 0);
    let late = [
        (Wire::QMux, stream(id, 0, b"data", true)),
        (Wire::QMux, stream(id, 4, b"far", false)),
        (Wire::QMux, reset(id, 1, 5)),
        (Wire::QMux, stop(id, 1)),
        (Wire::QMux, max_stream_data(id, 1 << 20)),
        (Wire::QMux, Frame::StreamDataBlocked { id, limit: 1 }),
        (Wire::JsWs, ack(id, 1_024)),
        (Wire::JsWs, data(id, b"data")),
        (Wire::JsWs, close_read(id)),
        (Wire::JsWs, Frame::FinReceived { id }),
        (Wire::JsWs, error_read(id, 1)),
        (Wire::JsWs, stop(id, 1)),
    ];
    for (wire, frame) in late {
        let mut peer = ScriptedPeer::new(wire, SERVER, &Config::default());
        match wire {
            Wire::QMux => peer.send(&[stream(id, 0, b"", true)]),
            _ => peer.send(&[ack(id, 1_024), close_read(id)]),
        }
        assert_eq!(peer.conn.accept(Dir::Bi), Some(id));
        assert_eq!(peer.conn.recv_stream(peer.now, id).read(1).unwrap(), Read::Finished);
        peer.conn.send_stream(peer.now, id).finish().unwrap();
        peer.said();
        assert_eq!(peer.conn.stats(Time::EPOCH).live_streams, 0);
        peer.events();
        peer.send(std::slice::from_ref(&frame));
        peer.assert_open(&format!("{frame:?}"));
        assert_eq!(peer.said(), [], "{frame:?}");
        assert_eq!(peer.events(), [], "{frame:?}");
        assert_eq!(peer.conn.stats(Time::EPOCH).live_streams, 0, "{frame:?}");
        assert_eq!(peer.conn.accept(Dir::Bi), None, "{frame:?}");
    }
}

/// [C-9] If a stream is reset before the application has accepted it, the application MUST still be
/// able to accept the stream. Until the application accepts it, the stream counts towards the
/// stream limit.
#[test]
fn a_stream_reset_before_it_was_accepted_is_still_delivered() {
    for wire in WIRES {
        let mut pair = pair(wire);
        let id = pair.open_bi(CLIENT);
        let second = pair.client.open(Dir::Bi);
        pair.client.conn.send_stream(pair.now, second).reset(code(3)).unwrap();
        pair.client.conn.recv_stream(pair.now, second).stop(code(4)).unwrap();
        pair.drive();
        assert_eq!(pair.server.live_streams(), 2, "it holds its place until it is taken");
        assert_eq!(pair.server.accept(Dir::Bi), second);
        assert_eq!(pair.server.read(second).1, End::Reset(3));
        pair.release_both(id);
        pair.release_both(second);
        assert_eq!((pair.client.live_streams(), pair.server.live_streams()), (0, 0));
    }
}

/// [C-1] Ids of one type MUST be given out in order, without a gap.
/// [C-4] A stream MUST be freed as soon as both its halves are terminal, and not before.
/// [C-54] When all streams have ended and been read, every table and queue MUST be empty again.
#[test]
fn ten_thousand_streams_in_turn_leave_nothing_behind() {
    for wire in WIRES {
        let mut pair = pair(wire);
        pair.client.record = false;
        pair.server.record = false;
        let size = |end: &Endpoint| format!("{:?}", end.conn).len();
        let (client, server) = (size(&pair.client), size(&pair.server));
        for nth in 0..10_000 {
            let id = pair.client.open(Dir::Bi);
            assert_eq!(id, bidi(CLIENT, nth), "in order, without a gap");
            pair.client.write(id, b"question");
            pair.client.finish(id);
            pair.drive();
            assert_eq!(pair.server.accept(Dir::Bi), id);
            assert_eq!(pair.server.read(id), (b"question".to_vec(), End::Fin));
            pair.server.write(id, b"answer");
            pair.server.finish(id);
            pair.drive();
            assert_eq!(pair.client.read(id), (b"answer".to_vec(), End::Fin), "{nth}");
            pair.client.take_events();
            pair.server.take_events();
        }
        pair.drive();
        assert_eq!((pair.client.live_streams(), pair.server.live_streams()), (0, 0));
        // A table or queue that kept an entry for each stream would show up in the debug output of
        // the engine.
        assert!(size(&pair.client) < client + 500, "{:?}", pair.client.conn);
        assert!(size(&pair.server) < server + 500, "{:?}", pair.server.conn);
    }
}
