//! SPEC.md §4 and §5: stream ids, the life of a stream, and its credit.

use wsmux::{
    Config,
    proto::{Dir, Frame, Read, ReadError, SendEnd, StreamId, TransportErrorCode, Wire},
};

use super::*;

/// [C-1] Ids of one type MUST be given out in order, without a gap.
/// [C-2] An id MUST NOT be used twice in one connection.
#[test]
fn ids_rise_by_one_whatever_becomes_of_the_streams() {
    for wire in WIRES {
        for side in [CLIENT, SERVER] {
            let mut peer = ScriptedPeer::new(wire, side, &Config::default());
            for index in 0..50 {
                for dir in [Dir::Bi, Dir::Uni] {
                    if wire == Wire::JsWs && dir == Dir::Uni {
                        continue;
                    }
                    let id = peer.conn.open(dir).unwrap().unwrap();
                    assert_eq!(id, StreamId::new(side, dir, index));
                    // Some streams stay open, and some end before the next stream is opened.
                    if index % 3 > 0 {
                        peer.conn.send_stream(peer.now, id).reset(code(1)).unwrap();
                        if dir == Dir::Bi {
                            peer.conn.recv_stream(peer.now, id).stop(code(1)).unwrap();
                            peer.said();
                            peer.send(&[gives_up(wire, id, 1, 0)]);
                            peer.conn.recv_stream(peer.now, id).release();
                        }
                        peer.conn.send_stream(peer.now, id).release();
                        peer.said();
                    }
                }
            }
            peer.assert_open("nothing else happened");
            let kinds = if wire == Wire::QMux { 2 } else { 1 };
            assert_eq!(live(&peer), kinds * 17, "{wire:?}: a third of them stayed");
        }
    }
}

/// [C-4] A stream MUST be freed as soon as both its halves are terminal, and not before.
#[test]
fn a_stream_lives_until_its_last_half_is_terminal() {
    for wire in WIRES {
        for (ours_resets, theirs_resets) in
            [(false, false), (false, true), (true, false), (true, true)]
        {
            for ours_first in [true, false] {
                let (mut peer, id) = with_stream(wire, &Config::default());
                let what = format!("{wire:?} {ours_resets} {theirs_resets} {ours_first}");
                let ours = |peer: &mut ScriptedPeer| {
                    peer.conn.send_stream(peer.now, id).write(b"hello").unwrap();
                    match ours_resets {
                        true => peer.conn.send_stream(peer.now, id).reset(code(1)).unwrap(),
                        false => peer.conn.send_stream(peer.now, id).finish().unwrap(),
                    }
                    assert_eq!(live(peer), 1, "{what}: our end has not left");
                    peer.said();
                };
                let theirs = |peer: &mut ScriptedPeer| {
                    peer.send(&[some(wire, id, 0, b"hello")]);
                    peer.send(&[match theirs_resets {
                        true => gives_up(wire, id, 7, 5),
                        false => fin(wire, id, 5),
                    }]);
                    assert_eq!(live(peer), 1, "{what}: nobody has read the end");
                    let mut recv = peer.conn.recv_stream(peer.now, id);
                    if theirs_resets {
                        assert!(matches!(recv.read(9), Err(ReadError::Reset(_))));
                    } else {
                        assert_eq!(recv.read(9).unwrap().data().unwrap(), "hello");
                        assert_eq!(recv.read(9).unwrap(), Read::Finished);
                    }
                    peer.said();
                };
                if ours_first {
                    ours(&mut peer);
                    assert_eq!(live(&peer), 1, "{what}: the other half lives");
                    theirs(&mut peer);
                } else {
                    theirs(&mut peer);
                    assert_eq!(live(&peer), 1, "{what}: the other half lives");
                    ours(&mut peer);
                }
                assert_eq!(live(&peer), 0, "{what}: both are terminal");
            }
        }
    }
}

/// [C-13] Bytes that have arrived MUST be readable in order, until they are read, discarded by a
/// reset, or discarded by our own stop.
#[test]
fn what_arrived_in_pieces_is_read_in_order_in_other_pieces() {
    for wire in WIRES {
        let (mut peer, id) = with_stream(wire, &Config::default());
        let sent = pattern(4, 0, 10_000);
        let (mut at, mut read) = (0, Vec::new());
        for len in [1, 2, 700, 7, 4_000, 90, 5_200] {
            peer.send(&[some(wire, id, at as u64, &sent[at..at + len])]);
            at += len;
            let part =
                peer.conn.recv_stream(peer.now, id).read(len / 2 + 1).unwrap().data().unwrap();
            read.extend_from_slice(&part);
        }
        assert_eq!(at, sent.len());
        while let Read::Data(part) = peer.conn.recv_stream(peer.now, id).read(999).unwrap() {
            read.extend_from_slice(&part);
        }
        assert!(read == sent, "{wire:?}");
    }
}

/// [C-14] A reset that arrives in state Recv MUST discard what has not been read and report the
/// code to the reader.
#[test]
fn a_reset_takes_what_was_not_read() {
    for wire in WIRES {
        let (mut peer, id) = with_stream(wire, &Config::default());
        peer.send(&[some(wire, id, 0, b"read"), some(wire, id, 4, b"not read")]);
        assert_eq!(peer.conn.recv_stream(peer.now, id).read(4).unwrap().data().unwrap(), "read");
        peer.send(&[gives_up(wire, id, (1 << 62) - 1, 12)]);
        let end = peer.conn.recv_stream(peer.now, id).read(9);
        assert!(
            matches!(end, Err(ReadError::Reset(told)) if told == code((1 << 62) - 1)),
            "{wire:?}: {end:?}"
        );
    }
}

/// [C-15] A reset that follows the FIN MUST NOT discard anything: the reader gets all bytes and a
/// clean end. The final size of the reset is still checked.
#[test]
fn the_final_size_of_a_reset_behind_the_fin_is_checked() {
    for size in [4, 6] {
        let (mut peer, id) = with_stream(Wire::QMux, &Config::default());
        peer.send(&[stream(id, 0, b"hello", true), reset(id, 0, size)]);
        peer.assert_violation("another size", TransportErrorCode::FINAL_SIZE_ERROR, 1002);
    }
}

/// [C-17] A receiving half that the application has stopped MUST be kept until its FIN or reset has
/// arrived.
#[test]
fn a_stopped_half_waits_for_the_peers_end() {
    for wire in WIRES {
        for resets in [false, true] {
            let (mut peer, id) = with_stream(wire, &Config::default());
            peer.conn.recv_stream(peer.now, id).stop(code(5)).unwrap();
            peer.conn.send_stream(peer.now, id).finish().unwrap();
            peer.conn.recv_stream(peer.now, id).release();
            peer.conn.send_stream(peer.now, id).release();
            peer.said();
            assert_eq!(live(&peer), 1, "{wire:?}: its end is still to come");
            peer.send(&[some(wire, id, 0, b"late")]);
            assert_eq!(live(&peer), 1, "{wire:?}: data is no end");
            peer.send(&[match resets {
                true => gives_up(wire, id, 5, 4),
                false => fin(wire, id, 4),
            }]);
            assert_eq!(live(&peer), 0, "{wire:?}");
            peer.assert_open("all in order");
        }
    }
}

/// [C-20] Credit MUST NOT be granted to a half after its FIN or reset has arrived, or after the
/// application has stopped it.
#[test]
fn a_grant_that_was_due_is_not_sent_once_the_reader_has_stopped() {
    for wire in WIRES {
        let mut config = Config::default();
        config.stream_receive_window(1_000);
        let (mut peer, id) = with_stream(wire, &config);
        peer.send(&[some(wire, id, 0, &[0; 1_000])]);
        peer.conn.recv_stream(peer.now, id).read(1_000).unwrap();
        // The grant has not been sent yet when the application stops the half.
        peer.conn.recv_stream(peer.now, id).stop(code(1)).unwrap();
        assert_eq!(peer.frames(), [stop(id, 1)], "{wire:?}");
    }
}

/// [C-21] After a FIN we MUST NOT send anything on that half except a reset. After a reset we MUST
/// NOT send data on it.
#[test]
fn nothing_is_sent_behind_an_end() {
    let parameters =
        scripted_peer::generous_but(|limits| limits.initial_max_stream_data_bidi_remote = 100);
    // The FIN has been sent.
    let mut peer = client(parameters);
    let id = peer.conn.open(Dir::Bi).unwrap().unwrap();
    peer.conn.send_stream(peer.now, id).write(b"all").unwrap();
    peer.conn.send_stream(peer.now, id).finish().unwrap();
    assert_eq!(peer.frames(), [stream(id, 0, b"all", true)]);
    assert!(peer.conn.send_stream(peer.now, id).write(b"more").is_err());
    let _ = peer.conn.send_stream(peer.now, id).finish();
    let _ = peer.conn.send_stream(peer.now, id).reset(code(1));
    peer.conn.send_stream(peer.now, id).announce();
    peer.send(&[max_stream_data(id, 1 << 20)]);
    let resets = |frame: &Frame| matches!(frame, Frame::ResetStream { final_size: Some(3), .. });
    assert!(peer.frames().iter().all(resets));

    // This end has reset the half while some of its data was unsent. Then the peer grants credit
    // for that data.
    for finished in [false, true] {
        let mut peer = client(parameters);
        let id = peer.conn.open(Dir::Bi).unwrap().unwrap();
        peer.conn.send_stream(peer.now, id).write(&[0; 1_000]).unwrap();
        if finished {
            peer.conn.send_stream(peer.now, id).finish().unwrap();
        }
        peer.said();
        peer.conn.send_stream(peer.now, id).reset(code(1)).unwrap();
        assert_eq!(peer.frames(), [reset(id, 1, 100)]);
        peer.send(&[max_stream_data(id, 1 << 20)]);
        assert!(peer.conn.send_stream(peer.now, id).write(b"more").is_err());
        peer.conn.send_stream(peer.now, id).announce();
        peer.send(&[stop(id, 9)]);
        assert_eq!(peer.frames(), [], "finished {finished}");
    }
}

/// [C-22] A request to stop that reaches a sending half in state Ready or Send MUST be answered at
/// once by a reset with the same code.
#[test]
fn a_stop_is_answered_in_ready_and_in_send_also_without_credit() {
    for wire in WIRES {
        for (written, finished) in [(0, false), (5, false), (5, true), (2 << 20, false)] {
            let mut peer = ScriptedPeer::new(wire, SERVER, &Config::default());
            let id = bidi(CLIENT, 0);
            peer.send(&[match wire {
                Wire::QMux => stream(id, 0, b"", false),
                _ => ack(id, 5),
            }]);
            peer.said();
            let written = peer.conn.send_stream(peer.now, id).write(&vec![0; written]).unwrap();
            if written > 5 {
                peer.said();
            } else if finished {
                // The data and the FIN have not been sent when the request to stop arrives. The
                // library could also send the data and the FIN first (RFC 9000 §3.5).
                peer.conn.send_stream(peer.now, id).finish().unwrap();
            }
            let left = written as u64 - peer.conn.stats(wsmux_proto::Time::EPOCH).send_buffered;
            peer.send(&[stop(id, 1 << 40)]);
            assert_eq!(
                peer.frames(),
                [gives_up(wire, id, 1 << 40, left)],
                "{wire:?} after {written} bytes"
            );
        }
    }
}

/// [C-23] A request to stop that reaches a sending half in a terminal state MUST be ignored.
#[test]
fn a_stop_behind_our_end_is_ignored() {
    for wire in WIRES {
        for resets in [false, true] {
            let (mut peer, id) = with_stream(wire, &Config::default());
            peer.conn.send_stream(peer.now, id).write(b"all").unwrap();
            match resets {
                true => peer.conn.send_stream(peer.now, id).reset(code(1)).unwrap(),
                false => peer.conn.send_stream(peer.now, id).finish().unwrap(),
            }
            peer.said();
            peer.events();
            peer.send(&[stop(id, 9)]);
            peer.assert_open("late");
            assert_eq!(peer.frames(), [], "{wire:?}: no answer");
            let end = peer.conn.send_stream(peer.now, id).poll_end();
            assert!(!matches!(end, SendEnd::Stopped(_)), "{wire:?}: {end:?}");
        }
    }
}

/// [C-25] Before a half sends its FIN, it MUST send every byte that it accepted from the
/// application.
/// [C-26] We MUST NOT send more stream bytes than the peer has granted to the stream, not even for
/// a moment.
#[test]
fn with_credit_for_one_byte_at_a_time_the_fin_goes_with_the_last() {
    for wire in WIRES {
        let parameters =
            scripted_peer::generous_but(|limits| limits.initial_max_stream_data_bidi_local = 0);
        let mut peer = ScriptedPeer::with_parameters(wire, SERVER, &Config::default(), parameters);
        let id = bidi(CLIENT, 0);
        peer.send(&[match wire {
            Wire::QMux => stream(id, 0, b"", false),
            _ => ack(id, 0),
        }]);
        peer.said();
        let sent = pattern(2, 0, 50);
        peer.conn.send_stream(peer.now, id).write(&sent).unwrap();
        peer.conn.send_stream(peer.now, id).finish().unwrap();
        let (mut came, mut ended) = (Vec::new(), false);
        for granted in 0..=sent.len() {
            if granted > 0 {
                peer.send(&[match wire {
                    Wire::QMux => max_stream_data(id, granted as u64),
                    _ => ack(id, 1),
                }]);
            }
            for frame in peer.frames() {
                if let Frame::Stream { data, fin, .. } = frame {
                    assert!(!ended, "{wire:?}: behind the end");
                    came.extend_from_slice(&data);
                    ended = fin;
                }
            }
            assert_eq!(came, sent[..granted], "{wire:?}");
            assert_eq!(ended, granted == sent.len(), "{wire:?} after {granted}");
        }
    }
}

/// [C-28] Unread data in one stream MUST NOT reduce the number of bytes that another stream may
/// still receive.
#[test]
fn every_stream_takes_its_whole_window_while_all_others_are_full() {
    for wire in WIRES {
        let mut config = Config::default();
        config.stream_receive_window(10_000).max_concurrent_bidi_streams(50);
        let mut peer = ScriptedPeer::new(wire, SERVER, &config);
        for index in 0..50 {
            let id = bidi(CLIENT, index);
            peer.send(&[open(wire, id)]);
            // On js-ws the peer has credit only once it has received our grant.
            peer.said();
            peer.send(&[some(wire, id, 0, &[index as u8; 10_000])]);
            peer.assert_open(&format!("{wire:?} stream {index}"));
        }
        for index in (0..50).rev() {
            let read = peer.conn.recv_stream(peer.now, bidi(CLIENT, index)).read(20_000).unwrap();
            assert_eq!(read.data().unwrap()[0], index as u8);
        }
    }
}
