//! What a peer makes us do in vain has a budget for each kind; beside each, an honest peer that meets none.

use std::time::Duration;

use crate::support::*;
use wsmux_proto::{
    Config, ConnectionError, Dir, Frame, StreamId, TransportErrorCode, TransportParameters, Wire,
};

/// Past every budget's burst.
const MANY: u64 = 12_000;

fn peer(wire: Wire) -> ScriptedPeer {
    ScriptedPeer::new(wire, SERVER, &Config::default())
}

/// The peer does this again and again in no time, and reads all answers. Gives how often it could, and asserts
/// that the connection then closed for this budget.
fn flood(
    mut peer: ScriptedPeer,
    budget: &str,
    mut again: impl FnMut(&mut ScriptedPeer, u64),
) -> u64 {
    for count in 0..10 * MANY {
        again(&mut peer, count);
        if let Some(ConnectionError::TransportError(error)) = peer.conn.close_reason() {
            assert!(error.reason.ends_with(budget), "{error}");
            peer.assert_violation(budget, TransportErrorCode::EXCESSIVE_LOAD, 1002);
            return count;
        }
        peer.said();
        peer.events();
    }
    panic!("{budget}: nothing stops it");
}

/// The same of a peer that the connection survives.
fn honest(mut peer: ScriptedPeer, mut again: impl FnMut(&mut ScriptedPeer, u64)) -> ScriptedPeer {
    for count in 0..MANY {
        again(&mut peer, count);
        peer.said();
        peer.events();
        peer.assert_open(&format!("after {count}"));
    }
    peer
}

fn useless(peer: &ScriptedPeer) -> u64 {
    peer.conn.stats(Duration::ZERO).useless_received
}

/// What is charged of an honest peer's streams: on js-ws each begins with a grant.
fn acks(wire: Wire) -> u64 {
    if wire == Wire::JsWs { MANY } else { 0 }
}

/// A request: one byte, and its end.
fn request(peer: &mut ScriptedPeer, index: u64) -> StreamId {
    let id = bidi(CLIENT, index);
    match peer.wire {
        Wire::QMux => peer.send(&[stream(id, 0, b"?", true)]),
        _ => {
            peer.send(&[ack(id, 1 << 16)]);
            // What it is told if this was one too many is for `flood` to see.
            if peer.conn.close_reason().is_none() {
                peer.said();
                peer.send(&[data(id, b"?"), close_read(id)]);
            }
        }
    }
    id
}

fn accept(peer: &mut ScriptedPeer, id: StreamId) {
    assert_eq!(peer.conn.accept(id.dir()), Some(id));
}

/// The application reads the request, and answers with a byte.
fn answer(peer: &mut ScriptedPeer, id: StreamId) {
    while let Ok(Some(Some(_))) = peer.conn.recv_stream(id).read(100) {}
    peer.conn.send_stream(id).write(b"!").unwrap();
    peer.conn.send_stream(id).finish().unwrap();
    peer.said();
}

/// The application gives up what the peer has given up.
fn let_go(peer: &mut ScriptedPeer, id: StreamId) {
    peer.conn.send_stream(id).release();
    peer.conn.recv_stream(id).release();
}

/// The application of many an example: it takes no notice of the error, and says that it is done.
fn answer_all_the_same(peer: &mut ScriptedPeer, id: StreamId) {
    let _ = peer.conn.recv_stream(id).read(100);
    let _ = peer.conn.send_stream(id).write(b"an error");
    let _ = peer.conn.send_stream(id).finish();
    let_go(peer, id);
}

/// The peer gives up a request that it has just made: whole, or before its end.
fn cancelled_call(peer: &mut ScriptedPeer, index: u64, whole: bool) {
    let id = bidi(CLIENT, index);
    if whole {
        request(peer, index);
        peer.send(&[stop(id, 8)]);
    } else if peer.wire == Wire::QMux {
        peer.send(&[stream(id, 0, b"?", false), reset(id, 8, 1), stop(id, 8)]);
    } else {
        peer.send(&[ack(id, 1 << 16), error_read(id, 8), stop(id, 8)]);
    }
    // The one too many is not there to be accepted.
    if peer.conn.close_reason().is_none() {
        accept(peer, id);
        let_go(peer, id);
    }
}

// ---- streams cancelled before they were served ----

/// Rapid reset, CVE-2023-44487.
///
/// [C-60] When a peer has spent more than a budget holds, we MUST close with EXCESSIVE_LOAD and a reason that names
/// the budget.
/// [C-62] A bidirectional stream that the peer opened MUST count as cancelled when it is over, the peer reset it or
/// stopped ours before anything was sent on it, and nothing of it was read, not even its end; any stream that the peer
/// opened MUST count as served when something was sent on it before that, or a byte of it was read, and its end; else
/// as neither. A stream that we opened MUST NOT count.
#[test]
fn a_flood_of_requests_that_are_cancelled_at_once_ends_the_connection() {
    for wire in WIRES {
        for whole in [false, true] {
            let most = flood(peer(wire), "cancelled streams", |peer, index| {
                cancelled_call(peer, index, whole);
            });
            assert_eq!(most, 1_001, "{wire:?}: each stream counts once, when the next is opened");
        }
    }
}

/// [C-62] A bidirectional stream that the peer opened MUST count as cancelled when it is over, the peer reset it or
/// stopped ours before anything was sent on it, and nothing of it was read, not even its end; any stream that the peer
/// opened MUST count as served when something was sent on it before that, or a byte of it was read, and its end; else
/// as neither. A stream that we opened MUST NOT count.
#[test]
fn a_request_that_is_reset_is_cancelled_although_an_application_answers_it() {
    for wire in WIRES {
        let most = flood(peer(wire), "cancelled streams", |peer, index| {
            let id = bidi(CLIENT, index);
            match wire {
                Wire::QMux => peer.send(&[stream(id, 0, b"?", false), reset(id, 8, 1)]),
                _ => peer.send(&[ack(id, 1 << 16), error_read(id, 8)]),
            }
            if peer.conn.close_reason().is_none() {
                accept(peer, id);
                answer_all_the_same(peer, id);
                peer.said();
                if wire == Wire::JsWs {
                    peer.send(&[Frame::FinReceived { id }]);
                }
            }
        });
        assert_eq!(most, 1_001, "{wire:?}");
    }
}

/// [C-61] A peer whose useless work of each kind stays below what comes back MUST NOT be closed for it, however
/// long it goes on: by time alone, or by useful work alone at any speed.
/// [C-62] A bidirectional stream that the peer opened MUST count as cancelled when it is over, the peer reset it or
/// stopped ours before anything was sent on it, and nothing of it was read, not even its end; any stream that the peer
/// opened MUST count as served when something was sent on it before that, or a byte of it was read, and its end; else
/// as neither. A stream that we opened MUST NOT count.
#[test]
fn a_client_that_cancels_four_of_five_calls_goes_on_at_any_speed() {
    for wire in WIRES {
        honest(peer(wire), |peer, index| match index % 5 {
            0 => {
                let id = request(peer, index);
                accept(peer, id);
                answer(peer, id);
            }
            call => cancelled_call(peer, index, call % 2 == 0),
        });
    }
}

/// [C-61] A peer whose useless work of each kind stays below what comes back MUST NOT be closed for it, however
/// long it goes on: by time alone, or by useful work alone at any speed.
/// [C-62] A bidirectional stream that the peer opened MUST count as cancelled when it is over, the peer reset it or
/// stopped ours before anything was sent on it, and nothing of it was read, not even its end; any stream that the peer
/// opened MUST count as served when something was sent on it before that, or a byte of it was read, and its end; else
/// as neither. A stream that we opened MUST NOT count.
#[test]
fn a_client_that_cancels_a_hundred_calls_a_second_and_nothing_else_goes_on_for_ever() {
    honest(peer(Wire::QMux), |peer, index| {
        peer.now = ms(10 * index);
        cancelled_call(peer, index, index % 2 == 0);
    });
}

/// [C-62] A bidirectional stream that the peer opened MUST count as cancelled when it is over, the peer reset it or
/// stopped ours before anything was sent on it, and nothing of it was read, not even its end; any stream that the peer
/// opened MUST count as served when something was sent on it before that, or a byte of it was read, and its end; else
/// as neither. A stream that we opened MUST NOT count.
#[test]
fn a_stream_that_was_read_or_answered_is_not_cancelled_however_it_ends() {
    let read = honest(peer(Wire::QMux), |peer, index| {
        let id = bidi(CLIENT, index);
        peer.send(&[stream(id, 0, b"upload", false)]);
        accept(peer, id);
        peer.conn.recv_stream(id).read(100).unwrap();
        peer.send(&[reset(id, 8, 6)]);
        let_go(peer, id);
    });
    assert_eq!(useless(&read), 0);
    let answered = honest(peer(Wire::QMux), |peer, index| {
        let id = request(peer, index);
        accept(peer, id);
        peer.conn.send_stream(id).write(b"an event").unwrap();
        peer.said();
        peer.send(&[stop(id, 8)]);
        let_go(peer, id);
    });
    assert_eq!(useless(&answered), 0, "a subscription that was ended");
}

/// On js-ws there is no other way to use a stream in one direction only.
///
/// [C-62] A bidirectional stream that the peer opened MUST count as cancelled when it is over, the peer reset it or
/// stopped ours before anything was sent on it, and nothing of it was read, not even its end; any stream that the peer
/// opened MUST count as served when something was sent on it before that, or a byte of it was read, and its end; else
/// as neither. A stream that we opened MUST NOT count.
#[test]
fn uploads_whose_answers_nobody_wants_are_let_pass() {
    for wire in WIRES {
        let uploads = honest(peer(wire), |peer, index| {
            let id = bidi(CLIENT, index);
            match wire {
                Wire::QMux => peer.send(&[stop(id, 0), stream(id, 0, b"upload", true)]),
                _ => {
                    peer.send(&[ack(id, 1 << 16), stop(id, 0)]);
                    peer.said();
                    peer.send(&[data(id, b"upload"), close_read(id)]);
                }
            }
            accept(peer, id);
            while let Ok(Some(Some(_))) = peer.conn.recv_stream(id).read(100) {}
            let_go(peer, id);
        });
        assert_eq!(useless(&uploads), acks(wire), "{wire:?}");
    }
}

/// A backend stands still, and every call on it runs into its deadline.
///
/// [C-62] A bidirectional stream that the peer opened MUST count as cancelled when it is over, the peer reset it or
/// stopped ours before anything was sent on it, and nothing of it was read, not even its end; any stream that the peer
/// opened MUST count as served when something was sent on it before that, or a byte of it was read, and its end; else
/// as neither. A stream that we opened MUST NOT count.
#[test]
fn calls_that_were_read_and_run_into_their_deadlines_are_let_pass() {
    for wire in WIRES {
        let calls = honest(peer(wire), |peer, index| {
            let id = request(peer, index);
            accept(peer, id);
            peer.conn.recv_stream(id).read(100).unwrap();
            peer.send(&[stop(id, 8)]);
            let_go(peer, id);
        });
        assert_eq!(useless(&calls), acks(wire), "{wire:?}");
    }
}

/// Each is taken from what it was to be worth: four more that are cancelled at once.
///
/// [C-62] A bidirectional stream that the peer opened MUST count as cancelled when it is over, the peer reset it or
/// stopped ours before anything was sent on it, and nothing of it was read, not even its end; any stream that the peer
/// opened MUST count as served when something was sent on it before that, or a byte of it was read, and its end; else
/// as neither. A stream that we opened MUST NOT count.
#[test]
fn what_was_read_in_part_or_dropped_unread_makes_good_for_nothing() {
    let most = flood(peer(Wire::QMux), "cancelled streams", |peer, index| {
        let id = bidi(CLIENT, index);
        match index % 3 {
            0 => {
                peer.send(&[stream(id, 0, b"x", false)]);
                // The one too many is not there.
                if peer.conn.close_reason().is_none() {
                    accept(peer, id);
                    peer.conn.recv_stream(id).read(100).unwrap();
                    peer.send(&[reset(id, 8, 1)]);
                    let_go(peer, id);
                }
            }
            1 => {
                peer.send(&[stream(id, 0, b"", true)]);
                accept(peer, id);
                let_go(peer, id);
            }
            _ => cancelled_call(peer, index, false),
        }
    });
    assert_eq!(most, 3_003);
}

/// [C-62] A bidirectional stream that the peer opened MUST count as cancelled when it is over, the peer reset it or
/// stopped ours before anything was sent on it, and nothing of it was read, not even its end; any stream that the peer
/// opened MUST count as served when something was sent on it before that, or a byte of it was read, and its end; else
/// as neither. A stream that we opened MUST NOT count.
#[test]
fn streams_of_our_own_may_be_stopped_unserved() {
    let own = honest(peer(Wire::QMux), |peer, _| {
        let id = peer.conn.open(Dir::Uni).unwrap().unwrap();
        peer.conn.send_stream(id).announce();
        peer.said();
        peer.send(&[stop(id, 0)]);
        peer.conn.send_stream(id).release();
    });
    assert_eq!(useless(&own), 0, "how many there are is our application's affair");
}

/// [C-62] A bidirectional stream that the peer opened MUST count as cancelled when it is over, the peer reset it or
/// stopped ours before anything was sent on it, and nothing of it was read, not even its end; any stream that the peer
/// opened MUST count as served when something was sent on it before that, or a byte of it was read, and its end; else
/// as neither. A stream that we opened MUST NOT count.
/// [C-64] The number of streams that may be cancelled each second MUST be a setting that can be turned off.
#[test]
fn the_limit_on_cancelled_streams_is_a_setting_and_its_burst_follows_the_stream_limit() {
    let mut config = Config::default();
    config.cancelled_streams_per_second(None);
    honest(ScriptedPeer::new(Wire::QMux, SERVER, &config), |peer, index| {
        cancelled_call(peer, index, false);
    });
    let mut config = Config::default();
    config.cancelled_streams_per_second(Some(0)).max_concurrent_bidi_streams(300);
    let most = flood(
        ScriptedPeer::new(Wire::QMux, SERVER, &config),
        "cancelled streams",
        |peer, index| cancelled_call(peer, index, false),
    );
    assert_eq!(most, 3_001);
    let mut raised = peer(Wire::QMux);
    raised.conn.set_max_concurrent(Dir::Bi, 200);
    let most = flood(raised, "cancelled streams", |peer, index| cancelled_call(peer, index, false));
    assert_eq!(most, 2_001);
}

// ---- what the peer makes us send ----

/// MadeYouReset, CVE-2025-8671.
///
/// [C-60] When a peer has spent more than a budget holds, we MUST close with EXCESSIVE_LOAD and a reason that names
/// the budget.
/// [J-31] A new stream for which there is neither a place in our stream limit nor room to wait MUST be refused by
/// Error(Read, code) and Error(Write, code), both, without an Ack of ours; the connection and its streams go on.
#[test]
fn a_flood_of_streams_that_must_be_refused_ends_the_connection_although_the_peer_reads() {
    let mut config = Config::default();
    config.max_concurrent_bidi_streams(0).max_waiting_streams(0);
    let most =
        flood(ScriptedPeer::new(Wire::JsWs, SERVER, &config), "refused streams", |peer, index| {
            peer.send(&[ack(bidi(CLIENT, index), 1)])
        });
    assert_eq!(most, 10_000);
}

/// [C-61] A peer whose useless work of each kind stays below what comes back MUST NOT be closed for it, however
/// long it goes on: by time alone, or by useful work alone at any speed.
/// [J-31] A new stream for which there is neither a place in our stream limit nor room to wait MUST be refused by
/// Error(Read, code) and Error(Write, code), both, without an Ack of ours; the connection and its streams go on.
/// [J-32] The peer's answers to a refusal MUST be dropped.
#[test]
fn a_client_that_opens_one_stream_too_many_each_time_goes_on() {
    let mut config = Config::default();
    config.max_concurrent_bidi_streams(1).max_waiting_streams(0);
    honest(ScriptedPeer::new(Wire::JsWs, SERVER, &config), |peer, index| {
        let (served, refused) = (bidi(CLIENT, 2 * index), bidi(CLIENT, 2 * index + 1));
        peer.send(&[ack(served, 1 << 16), ack(refused, 1 << 16)]);
        peer.said();
        // As the real endpoint does, it answers each half of the refusal.
        peer.send(&[stop(refused, 0), error_read(refused, 0)]);
        peer.send(&[data(served, b"?"), close_read(served)]);
        accept(peer, served);
        answer(peer, served);
        peer.send(&[Frame::FinReceived { id: served }]);
    });
}

/// [C-32] Every answer that a peer can demand of us MUST be held as state of its stream or connection, at most one
/// of a kind, or in a queue with a bound; a peer that does not read cannot make it grow.
/// [C-60] When a peer has spent more than a budget holds, we MUST close with EXCESSIVE_LOAD and a reason that names
/// the budget.
#[test]
fn a_peer_that_floods_us_and_reads_nothing_makes_nothing_grow() {
    let mut peer = peer(Wire::QMux);
    for index in 0..100 {
        peer.send(&[stream(bidi(CLIENT, index), 0, b"x", false)]);
    }
    let before = format!("{:?}", peer.conn).len();
    for round in 0..900 {
        let id = bidi(CLIENT, round % 100);
        peer.send(&[
            Frame::Ping(code(round)),
            stop(id, 0),
            reset(id, 0, 1),
            max_stream_data(id, (1 << 31) + round),
            Frame::MaxData((1 << 41) + round),
            Frame::StreamsBlocked { dir: Dir::Bi, limit: 100 },
            Frame::StreamDataBlocked { id, limit: 1 },
        ]);
        peer.conn.handle_ping(peer.now);
        if peer.conn.close_reason().is_some() {
            break;
        }
        let now = format!("{:?}", peer.conn).len();
        // One reset for each stream, and the streams' states.
        assert!(now < before + 100 * 200, "{before} bytes became {now} after {round}");
    }
    // Each of these kinds alone is below its budget, but for the two pings and the blocked frames.
    peer.assert_violation("a flood", TransportErrorCode::EXCESSIVE_LOAD, 1002);
}

// ---- frames that change nothing ----

/// [C-60] When a peer has spent more than a budget holds, we MUST close with EXCESSIVE_LOAD and a reason that names
/// the budget.
/// An empty STREAM frame without FIN MUST open the stream, and is otherwise without effect.
/// A FIN repeated at the same final size, with no data, MUST be ignored.
/// [J-6] An empty Data message from the peer MUST be accepted without effect, on a stream that is open.
#[test]
fn a_flood_of_frames_without_effect_ends_the_connection() {
    let id = bidi(CLIENT, 0);
    let kinds: [(Wire, &[Frame], Frame); 4] = [
        (Wire::QMux, &[stream(id, 0, b"", false)], stream(id, 0, b"", false)),
        (Wire::QMux, &[stream(id, 0, b"", true)], stream(id, 0, b"", true)),
        (Wire::QMux, &[reset(id, 0, 0)], reset(id, 0, 0)),
        (Wire::JsWs, &[ack(id, 1)], data(id, b"")),
    ];
    for (wire, first, again) in kinds {
        let mut peer = peer(wire);
        peer.send(first);
        let most = flood(peer, "frames without effect", |peer, _| {
            peer.send(std::slice::from_ref(&again));
        });
        assert!((1_000..1_010).contains(&most), "{wire:?} {again:?}: {most}");
    }
}

/// [C-61] A peer whose useless work of each kind stays below what comes back MUST NOT be closed for it, however
/// long it goes on: by time alone, or by useful work alone at any speed.
#[test]
fn a_peer_that_writes_single_bytes_one_by_one_does_nothing_useless() {
    for wire in WIRES {
        let id = bidi(CLIENT, 0);
        let mut peer = peer(wire);
        if wire == Wire::JsWs {
            peer.send(&[ack(id, 1)]);
            peer.said();
        }
        let opening = useless(&peer);
        let peer = honest(peer, |peer, count| match peer.wire {
            Wire::QMux => peer.send(&[stream(id, count, b"x", false)]),
            _ => peer.send(&[data(id, b"x")]),
        });
        assert_eq!(useless(&peer), opening, "{wire:?}");
    }
}

/// [C-61] A peer whose useless work of each kind stays below what comes back MUST NOT be closed for it, however
/// long it goes on: by time alone, or by useful work alone at any speed.
#[test]
fn an_empty_frame_beside_each_byte_is_let_pass() {
    let id = bidi(CLIENT, 0);
    honest(peer(Wire::QMux), |peer, count| {
        peer.send(&[stream(id, count, b"x", false), stream(id, count + 1, b"", false)]);
    });
}

/// [C-61] A peer whose useless work of each kind stays below what comes back MUST NOT be closed for it, however
/// long it goes on: by time alone, or by useful work alone at any speed.
#[test]
fn a_chat_of_a_byte_each_second_goes_on_for_ever() {
    let id = bidi(CLIENT, 0);
    let mut peer = peer(Wire::QMux);
    // Hours, and each second what a peer may say besides. By then a day or a year makes no difference.
    for second in 0..MANY {
        peer.now = secs(second);
        peer.send(&[
            Frame::Ping(code(second)),
            Frame::Padding(1_000),
            max_stream_data(id, (1 << 30) + second),
            stream(id, second, b"x", false),
            stream(id, second + 1, b"", false),
        ]);
        peer.conn.handle_ping(peer.now);
        if second == 0 {
            accept(&mut peer, id);
        }
        peer.conn.recv_stream(id).read(1).unwrap();
        peer.said();
        peer.events();
        peer.assert_open(&format!("second {second}"));
    }
}

// ---- frames of streams that are no more ----

/// A peer whose stream 0 has come and gone.
fn with_ended_stream() -> (ScriptedPeer, StreamId) {
    let mut peer = peer(Wire::QMux);
    let id = request(&mut peer, 0);
    accept(&mut peer, id);
    answer(&mut peer, id);
    (peer, id)
}

/// [C-8] A frame for a stream that has been freed MUST be ignored, and MUST NOT bring the stream back.
/// [C-60] When a peer has spent more than a budget holds, we MUST close with EXCESSIVE_LOAD and a reason that names
/// the budget.
#[test]
fn a_flood_of_frames_for_an_ended_stream_ends_the_connection() {
    let (_, id) = with_ended_stream();
    for frame in [
        stream(id, 9, b"late", false),
        reset(id, 0, 9),
        stop(id, 0),
        max_stream_data(id, 9),
        Frame::StreamDataBlocked { id, limit: 9 },
    ] {
        let (peer, _) = with_ended_stream();
        let most = flood(peer, "frames of ended streams", |peer, _| {
            peer.send(std::slice::from_ref(&frame));
        });
        assert!((10_000..10_020).contains(&most), "{frame:?}: {most}");
    }
}

/// The ignored frames of C-55.
///
/// [C-60] When a peer has spent more than a budget holds, we MUST close with EXCESSIVE_LOAD and a reason that names
/// the budget.
#[test]
fn a_flood_behind_a_reset_that_answers_a_stop_ends_the_connection() {
    let id = bidi(CLIENT, 0);
    let mut peer = peer(Wire::QMux);
    peer.send(&[stream(id, 0, b"x", false)]);
    accept(&mut peer, id);
    peer.conn.recv_stream(id).stop(code(0)).unwrap();
    peer.said();
    peer.send(&[reset(id, 0, 1)]);
    flood(peer, "frames of ended streams", |peer, _| peer.send(&[stream(id, 1, b"x", false)]));
}

/// [C-61] A peer whose useless work of each kind stays below what comes back MUST NOT be closed for it, however
/// long it goes on: by time alone, or by useful work alone at any speed.
#[test]
fn a_grant_and_a_stop_that_cross_the_end_of_each_stream_are_let_pass() {
    honest(peer(Wire::QMux), |peer, index| {
        let id = request(peer, index);
        accept(peer, id);
        answer(peer, id);
        peer.send(&[max_stream_data(id, 1 << 31), stop(id, 0)]);
    });
}

// ---- grants ----

/// A peer for which an endless amount waits on a stream of ours without credit.
fn with_waiting_data() -> (ScriptedPeer, StreamId) {
    let parameters =
        TransportParameters { initial_max_stream_data_uni: 0, ..scripted_peer::generous() };
    let mut peer =
        ScriptedPeer::with_parameters(Wire::QMux, SERVER, &Config::default(), parameters);
    let id = peer.conn.open(Dir::Uni).unwrap().unwrap();
    peer.conn.send_stream(id).append_chunk(vec![0; 1 << 20].into()).unwrap();
    peer.said();
    (peer, id)
}

/// [C-60] When a peer has spent more than a budget holds, we MUST close with EXCESSIVE_LOAD and a reason that names
/// the budget.
/// [C-63] Grants MUST come back by the stream data that we sent: 1 for each frame that was not cut short by a credit,
/// and 1 for each 64 bytes, or for each eighth of the window that the peer declared where that is less and the frame
/// fits it; on js-ws 1 for each byte; and 1 for each stream that is opened.
#[test]
fn a_flood_of_grants_of_one_byte_ends_the_connection_although_each_is_used() {
    let (peer, id) = with_waiting_data();
    let most = flood(peer, "grants", |peer, count| peer.send(&[max_stream_data(id, count + 1)]));
    // One for each 64 of them comes back.
    assert!((10_100..10_200).contains(&most), "{most}");
}

/// [C-60] When a peer has spent more than a budget holds, we MUST close with EXCESSIVE_LOAD and a reason that names
/// the budget.
/// [C-63] Grants MUST come back by the stream data that we sent: 1 for each frame that was not cut short by a credit,
/// and 1 for each 64 bytes, or for each eighth of the window that the peer declared where that is less and the frame
/// fits it; on js-ws 1 for each byte; and 1 for each stream that is opened.
/// A MAX_STREAMS, MAX_STREAM_DATA or MAX_DATA that does not raise its limit MUST be ignored.
#[test]
fn a_flood_of_grants_that_nobody_uses_ends_the_connection() {
    let id = bidi(CLIENT, 0);
    type Grant = fn(StreamId, u64) -> Frame;
    let grants: [Grant; 4] = [
        |id, count| max_stream_data(id, (1 << 31) + (count << 20)),
        |id, _| max_stream_data(id, 1),
        |_, count| Frame::MaxData((1 << 41) + count),
        |_, count| Frame::MaxStreams { dir: Dir::Uni, count: (1 << 21) + count },
    ];
    for grant in grants {
        let mut peer = peer(Wire::QMux);
        peer.send(&[stream(id, 0, b"x", false)]);
        flood(peer, "grants", |peer, count| peer.send(&[grant(id, count)]));
    }
    let mut peer = peer(Wire::JsWs);
    peer.send(&[ack(id, 1)]);
    flood(peer, "grants", |peer, _| peer.send(&[ack(id, 1)]));
}

/// [C-61] A peer whose useless work of each kind stays below what comes back MUST NOT be closed for it, however
/// long it goes on: by time alone, or by useful work alone at any speed.
/// [C-63] Grants MUST come back by the stream data that we sent: 1 for each frame that was not cut short by a credit,
/// and 1 for each 64 bytes, or for each eighth of the window that the peer declared where that is less and the frame
/// fits it; on js-ws 1 for each byte; and 1 for each stream that is opened.
#[test]
fn a_grant_for_every_64_bytes_that_were_sent_is_let_pass() {
    let (peer, id) = with_waiting_data();
    let block = 1 << 16;
    honest(peer, |peer, count| {
        let mut send = peer.conn.send_stream(id);
        if send.room().unwrap() > 0 {
            send.append_chunk(vec![0; block].into()).unwrap();
        }
        peer.send(&[max_stream_data(id, 64 * (count + 1))]);
    });
}

/// [C-61] A peer whose useless work of each kind stays below what comes back MUST NOT be closed for it, however
/// long it goes on: by time alone, or by useful work alone at any speed.
/// [C-63] Grants MUST come back by the stream data that we sent: 1 for each frame that was not cut short by a credit,
/// and 1 for each 64 bytes, or for each eighth of the window that the peer declared where that is less and the frame
/// fits it; on js-ws 1 for each byte; and 1 for each stream that is opened.
#[test]
fn a_js_ws_reader_that_gives_back_each_byte_that_it_reads_is_let_pass() {
    let mut peer = peer(Wire::JsWs);
    let id = peer.conn.open(Dir::Bi).unwrap().unwrap();
    peer.send(&[ack(id, MANY)]);
    peer.conn.send_stream(id).append_chunk(vec![0; 2 * MANY as usize].into()).unwrap();
    // The first window goes out in one message; from then on each byte that is read brings one more.
    peer.said();
    honest(peer, |peer, _| peer.send(&[ack(id, 1)]));
}

/// [C-38] A stream's credit MUST be renewed when the application has read a quarter of its window since the last
/// grant, or 1 MiB if that is less (at least one byte), or when its window is to grow (C-56), and not for each
/// read.
/// [C-61] A peer whose useless work of each kind stays below what comes back MUST NOT be closed for it, however
/// long it goes on: by time alone, or by useful work alone at any speed.
#[test]
fn a_reader_of_single_bytes_with_a_window_of_a_few_kib_meets_no_budget() {
    for wire in WIRES {
        let mut config = Config::default();
        config.stream_window(4_096).window_growth_budget(0);
        let mut pair = Pair::new(wire, &config);
        let id = pair.open_bi(CLIENT);
        let mut left = 60_000;
        while left > 0 {
            pair.client.write(id, &[0; 10_000]);
            pair.drive();
            loop {
                let (data, _) = pair.server.read_up_to(id, 1);
                if data.is_empty() {
                    break;
                }
                left -= 1;
                pair.step();
            }
        }
        for end in [&pair.client, &pair.server] {
            assert!(end.conn.close_reason().is_none(), "{wire:?}");
        }
    }
}

// ---- blocked frames ----

/// [C-60] When a peer has spent more than a budget holds, we MUST close with EXCESSIVE_LOAD and a reason that names
/// the budget.
#[test]
fn a_flood_of_blocked_frames_ends_the_connection() {
    let id = bidi(CLIENT, 0);
    for frame in [
        Frame::DataBlocked(5),
        Frame::StreamDataBlocked { id, limit: 1 },
        Frame::StreamsBlocked { dir: Dir::Bi, limit: 3 },
        Frame::StreamsBlocked { dir: Dir::Uni, limit: 100 },
    ] {
        let most = flood(peer(Wire::QMux), "blocked frames", |peer, _| {
            peer.send(std::slice::from_ref(&frame));
        });
        assert!((1_000..1_010).contains(&most), "{frame:?}: {most}");
    }
}

/// [C-60] When a peer has spent more than a budget holds, we MUST close with EXCESSIVE_LOAD and a reason that names
/// the budget.
#[test]
fn datagrams_that_nobody_reads_make_good_for_nothing() {
    let datagram = || Frame::Datagram(vec![0; 10_000].into());
    let mut peer = peer(Wire::QMux);
    // Past what is kept of those that nobody reads.
    for _ in 0..200 {
        peer.send(&[datagram()]);
    }
    let most = flood(peer, "blocked frames", |peer, _| {
        peer.send(&[datagram(), Frame::DataBlocked(5)]);
    });
    assert!((1_000..1_030).contains(&most), "{most}");
}

/// A server ticks, and of many readers that stand still each has just as much credit as all others.
///
/// [C-61] A peer whose useless work of each kind stays below what comes back MUST NOT be closed for it, however
/// long it goes on: by time alone, or by useful work alone at any speed.
#[test]
fn a_word_of_each_of_very_many_streams_at_once_is_let_pass() {
    let mut config = Config::default();
    config.max_concurrent_bidi_streams(20_000);
    let mut peer = ScriptedPeer::new(Wire::QMux, SERVER, &config);
    let ids: Vec<_> = (0..20_000).map(|index| bidi(CLIENT, index)).collect();
    for id in &ids {
        peer.send(&[stream(*id, 0, b"x", false)]);
    }
    for id in &ids {
        peer.send(&[Frame::StreamDataBlocked { id: *id, limit: 1 }]);
        peer.send(&[max_stream_data(*id, (1 << 31) + 1)]);
    }
    peer.said();
    peer.assert_open("after a word of each");
}

/// [C-61] A peer whose useless work of each kind stays below what comes back MUST NOT be closed for it, however
/// long it goes on: by time alone, or by useful work alone at any speed.
#[test]
fn a_peer_that_says_blocked_at_each_limit_goes_on_at_any_speed() {
    let mut config = Config::default();
    config.stream_window(8).window_growth_budget(0);
    let id = bidi(CLIENT, 0);
    honest(ScriptedPeer::new(Wire::QMux, SERVER, &config), |peer, count| {
        let offset = 8 * count;
        peer.send(&[
            stream(id, offset, &[0; 8], false),
            Frame::StreamDataBlocked { id, limit: offset + 8 },
        ]);
        if count == 0 {
            accept(peer, id);
        }
        peer.conn.recv_stream(id).read(8).unwrap();
    });
}

// ---- pings ----

/// [C-60] When a peer has spent more than a budget holds, we MUST close with EXCESSIVE_LOAD and a reason that names
/// the budget.
/// [W-10] A pong that nobody asked for MUST be ignored.
/// A request MUST be answered by a response with its number; of several that wait, only the largest is
/// answered.
#[test]
fn a_flood_of_pings_or_pongs_of_either_kind_ends_the_connection() {
    let most =
        flood(peer(Wire::QMux), "pings", |peer, count| peer.send(&[Frame::Ping(code(count))]));
    assert_eq!(most, 1_000);
    for wire in WIRES {
        let most = flood(peer(wire), "pings", |peer, _| peer.conn.handle_ping(peer.now));
        assert_eq!(most, 1_000, "{wire:?}");
        for payload in [&b"unasked"[..], &[0; 8]] {
            let most =
                flood(peer(wire), "pings", |peer, _| peer.conn.handle_pong(peer.now, payload));
            assert_eq!(most, 1_000, "{wire:?}");
        }
    }
    // An answer, again and again, to the one ping that each connection begins with.
    let most = flood(peer(Wire::QMux), "pings", |peer, _| peer.send(&[Frame::Pong(code(0))]));
    assert_eq!(most, 1_001);
}

/// [C-61] A peer whose useless work of each kind stays below what comes back MUST NOT be closed for it, however
/// long it goes on: by time alone, or by useful work alone at any speed.
#[test]
fn a_ping_beside_each_message_or_each_ten_milliseconds_is_let_pass() {
    let id = bidi(CLIENT, 0);
    honest(peer(Wire::QMux), |peer, count| {
        peer.send(&[Frame::Ping(code(count)), stream(id, count, b"x", false)]);
    });
    for wire in WIRES {
        honest(peer(wire), |peer, count| {
            peer.now = ms(10 * count);
            peer.conn.handle_ping(peer.now);
        });
    }
}

// ---- padding ----

/// [C-60] When a peer has spent more than a budget holds, we MUST close with EXCESSIVE_LOAD and a reason that names
/// the budget.
#[test]
fn a_flood_of_padding_ends_the_connection() {
    let most = flood(peer(Wire::QMux), "padding", |peer, _| peer.send(&[Frame::Padding(65_536)]));
    assert_eq!(most, 1_024, "64 MiB");
}

/// [C-61] A peer whose useless work of each kind stays below what comes back MUST NOT be closed for it, however
/// long it goes on: by time alone, or by useful work alone at any speed.
#[test]
fn traffic_that_is_shaped_by_padding_is_let_pass() {
    let id = bidi(CLIENT, 0);
    // Each message as long as the longest, at any speed.
    let mut shaped = peer(Wire::QMux);
    for count in 0..1_100 {
        shaped.send(&[stream(id, count, b"x", false), Frame::Padding(65_000)]);
        shaped.assert_open("shaped");
    }
    // And nothing but padding, at 128 Mbit/s.
    let mut cover = peer(Wire::QMux);
    for count in 0..1_100 {
        cover.now = Duration::from_micros(3_907 * count);
        cover.send(&[Frame::Padding(65_536)]);
        cover.assert_open("cover traffic");
    }
}
