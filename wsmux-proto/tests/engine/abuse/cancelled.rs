//! Streams that the peer cancels before the application has served them.

use super::*;
use wsmux_proto::Read;

/// This is the attack known as rapid reset, CVE-2023-44487.
///
/// [C-60] When a peer has spent more than a budget holds, we MUST close with EXCESSIVE_LOAD and a
/// reason that names the budget.
/// [C-62] When a bidirectional stream that the peer opened is over, it MUST count as cancelled if
/// two conditions hold. First, nothing of the stream was read, not even its end. Second, the peer
/// reset the stream, or stopped our half, before anything was sent on our half. A stream of either
/// kind that the peer opened MUST count as served in two cases. First, something was sent on our
/// half, and the peer had neither reset the stream nor stopped our half before. Second, the end of
/// the stream and at least one byte of the stream were read. All other streams of the peer count
/// neither as cancelled nor as served. A stream that we opened MUST NOT count as cancelled or as
/// served.
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

/// [C-62] When a bidirectional stream that the peer opened is over, it MUST count as cancelled if
/// two conditions hold. First, nothing of the stream was read, not even its end. Second, the peer
/// reset the stream, or stopped our half, before anything was sent on our half. A stream of either
/// kind that the peer opened MUST count as served in two cases. First, something was sent on our
/// half, and the peer had neither reset the stream nor stopped our half before. Second, the end of
/// the stream and at least one byte of the stream were read. All other streams of the peer count
/// neither as cancelled nor as served. A stream that we opened MUST NOT count as cancelled or as
/// served.
#[test]
fn a_reset_request_is_cancelled_although_an_application_answers_it() {
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

/// [C-61] We MUST NOT close a connection because of useless work if the budget of this work is
/// replenished faster than the work spends it, however long the work continues. This rule holds for
/// a budget that time replenishes, and for a budget that useful work replenishes at any speed.
/// [C-62] When a bidirectional stream that the peer opened is over, it MUST count as cancelled if
/// two conditions hold. First, nothing of the stream was read, not even its end. Second, the peer
/// reset the stream, or stopped our half, before anything was sent on our half. A stream of either
/// kind that the peer opened MUST count as served in two cases. First, something was sent on our
/// half, and the peer had neither reset the stream nor stopped our half before. Second, the end of
/// the stream and at least one byte of the stream were read. All other streams of the peer count
/// neither as cancelled nor as served. A stream that we opened MUST NOT count as cancelled or as
/// served.
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

/// [C-61] We MUST NOT close a connection because of useless work if the budget of this work is
/// replenished faster than the work spends it, however long the work continues. This rule holds for
/// a budget that time replenishes, and for a budget that useful work replenishes at any speed.
/// [C-62] When a bidirectional stream that the peer opened is over, it MUST count as cancelled if
/// two conditions hold. First, nothing of the stream was read, not even its end. Second, the peer
/// reset the stream, or stopped our half, before anything was sent on our half. A stream of either
/// kind that the peer opened MUST count as served in two cases. First, something was sent on our
/// half, and the peer had neither reset the stream nor stopped our half before. Second, the end of
/// the stream and at least one byte of the stream were read. All other streams of the peer count
/// neither as cancelled nor as served. A stream that we opened MUST NOT count as cancelled or as
/// served.
#[test]
fn a_client_that_only_cancels_a_hundred_calls_a_second_goes_on() {
    honest(peer(Wire::QMux), |peer, index| {
        peer.now = at(ms(10 * index));
        cancelled_call(peer, index, index % 2 == 0);
    });
}

/// [C-62] When a bidirectional stream that the peer opened is over, it MUST count as cancelled if
/// two conditions hold. First, nothing of the stream was read, not even its end. Second, the peer
/// reset the stream, or stopped our half, before anything was sent on our half. A stream of either
/// kind that the peer opened MUST count as served in two cases. First, something was sent on our
/// half, and the peer had neither reset the stream nor stopped our half before. Second, the end of
/// the stream and at least one byte of the stream were read. All other streams of the peer count
/// neither as cancelled nor as served. A stream that we opened MUST NOT count as cancelled or as
/// served.
#[test]
fn a_stream_that_was_read_or_answered_is_not_cancelled_however_it_ends() {
    let read = honest(peer(Wire::QMux), |peer, index| {
        let id = bidi(CLIENT, index);
        peer.send(&[stream(id, 0, b"upload", false)]);
        accept(peer, id);
        peer.conn.recv_stream(peer.now, id).read(100).unwrap();
        peer.send(&[reset(id, 8, 6)]);
        let_go(peer, id);
    });
    assert_eq!(useless(&read), 0);
    let answered = honest(peer(Wire::QMux), |peer, index| {
        let id = request(peer, index);
        accept(peer, id);
        peer.conn.send_stream(peer.now, id).write(b"an event").unwrap();
        peer.said();
        peer.send(&[stop(id, 8)]);
        let_go(peer, id);
    });
    assert_eq!(useless(&answered), 0, "a subscription that was ended");
}

/// The peer uploads on its half and stops ours. On js-ws, which has no unidirectional streams, this
/// is the only way to use a stream in one direction.
///
/// [C-62] When a bidirectional stream that the peer opened is over, it MUST count as cancelled if
/// two conditions hold. First, nothing of the stream was read, not even its end. Second, the peer
/// reset the stream, or stopped our half, before anything was sent on our half. A stream of either
/// kind that the peer opened MUST count as served in two cases. First, something was sent on our
/// half, and the peer had neither reset the stream nor stopped our half before. Second, the end of
/// the stream and at least one byte of the stream were read. All other streams of the peer count
/// neither as cancelled nor as served. A stream that we opened MUST NOT count as cancelled or as
/// served.
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
            while let Ok(Read::Data(_)) = peer.conn.recv_stream(peer.now, id).read(100) {}
            let_go(peer, id);
        });
        assert_eq!(useless(&uploads), acks(wire), "{wire:?}");
    }
}

/// The backend of the application hangs, so the peer cancels every call at its deadline.
///
/// [C-62] When a bidirectional stream that the peer opened is over, it MUST count as cancelled if
/// two conditions hold. First, nothing of the stream was read, not even its end. Second, the peer
/// reset the stream, or stopped our half, before anything was sent on our half. A stream of either
/// kind that the peer opened MUST count as served in two cases. First, something was sent on our
/// half, and the peer had neither reset the stream nor stopped our half before. Second, the end of
/// the stream and at least one byte of the stream were read. All other streams of the peer count
/// neither as cancelled nor as served. A stream that we opened MUST NOT count as cancelled or as
/// served.
#[test]
fn calls_that_were_read_and_run_into_their_deadlines_are_let_pass() {
    for wire in WIRES {
        let calls = honest(peer(wire), |peer, index| {
            let id = request(peer, index);
            accept(peer, id);
            peer.conn.recv_stream(peer.now, id).read(100).unwrap();
            peer.send(&[stop(id, 8)]);
            let_go(peer, id);
        });
        assert_eq!(useless(&calls), acks(wire), "{wire:?}");
    }
}

/// Each served stream would refill the budget of cancelled streams by four, but none of these
/// streams counts as served.
///
/// [C-62] When a bidirectional stream that the peer opened is over, it MUST count as cancelled if
/// two conditions hold. First, nothing of the stream was read, not even its end. Second, the peer
/// reset the stream, or stopped our half, before anything was sent on our half. A stream of either
/// kind that the peer opened MUST count as served in two cases. First, something was sent on our
/// half, and the peer had neither reset the stream nor stopped our half before. Second, the end of
/// the stream and at least one byte of the stream were read. All other streams of the peer count
/// neither as cancelled nor as served. A stream that we opened MUST NOT count as cancelled or as
/// served.
#[test]
fn what_was_read_in_part_or_dropped_unread_makes_good_for_nothing() {
    let most = flood(peer(Wire::QMux), "cancelled streams", |peer, index| {
        let id = bidi(CLIENT, index);
        match index % 3 {
            0 => {
                peer.send(&[stream(id, 0, b"x", false)]);
                // The stream that exceeded the budget has ended the connection and cannot be
                // accepted.
                if peer.conn.close_reason().is_none() {
                    accept(peer, id);
                    peer.conn.recv_stream(peer.now, id).read(100).unwrap();
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

/// [C-62] When a bidirectional stream that the peer opened is over, it MUST count as cancelled if
/// two conditions hold. First, nothing of the stream was read, not even its end. Second, the peer
/// reset the stream, or stopped our half, before anything was sent on our half. A stream of either
/// kind that the peer opened MUST count as served in two cases. First, something was sent on our
/// half, and the peer had neither reset the stream nor stopped our half before. Second, the end of
/// the stream and at least one byte of the stream were read. All other streams of the peer count
/// neither as cancelled nor as served. A stream that we opened MUST NOT count as cancelled or as
/// served.
#[test]
fn streams_of_our_own_may_be_stopped_unserved() {
    let own = honest(peer(Wire::QMux), |peer, _| {
        let id = peer.conn.open(Dir::Uni).unwrap().unwrap();
        peer.conn.send_stream(peer.now, id).announce();
        peer.said();
        peer.send(&[stop(id, 0)]);
        peer.conn.send_stream(peer.now, id).release();
    });
    assert_eq!(useless(&own), 0, "how many there are is our application's affair");
}

/// [C-62] When a bidirectional stream that the peer opened is over, it MUST count as cancelled if
/// two conditions hold. First, nothing of the stream was read, not even its end. Second, the peer
/// reset the stream, or stopped our half, before anything was sent on our half. A stream of either
/// kind that the peer opened MUST count as served in two cases. First, something was sent on our
/// half, and the peer had neither reset the stream nor stopped our half before. Second, the end of
/// the stream and at least one byte of the stream were read. All other streams of the peer count
/// neither as cancelled nor as served. A stream that we opened MUST NOT count as cancelled or as
/// served.
/// [C-64] The number of streams that may be cancelled each second MUST be a setting that can be
/// turned off.
#[test]
fn cancelled_streams_have_a_setting_and_a_burst_by_the_stream_limit() {
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
