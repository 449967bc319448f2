//! Frames for streams that have already ended.

use super::*;

/// Returns a peer whose stream 0 has been opened and has ended.
fn with_ended_stream() -> (ScriptedPeer, StreamId) {
    let mut peer = peer(Wire::QMux);
    let id = request(&mut peer, 0);
    accept(&mut peer, id);
    answer(&mut peer, id);
    (peer, id)
}

/// [C-8] A frame for a stream that has been freed MUST be ignored, and MUST NOT bring the stream
/// back.
/// [C-60] When a peer has spent more than a budget holds, we MUST close with EXCESSIVE_LOAD and a
/// reason that names the budget.
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

/// C-55 says that these frames are ignored, but they are still charged to the budget.
///
/// [C-60] When a peer has spent more than a budget holds, we MUST close with EXCESSIVE_LOAD and a
/// reason that names the budget.
#[test]
fn a_flood_behind_a_reset_that_answers_a_stop_ends_the_connection() {
    let id = bidi(CLIENT, 0);
    let mut peer = peer(Wire::QMux);
    peer.send(&[stream(id, 0, b"x", false)]);
    accept(&mut peer, id);
    peer.conn.recv_stream(peer.now, id).stop(code(0)).unwrap();
    peer.said();
    peer.send(&[reset(id, 0, 1)]);
    flood(peer, "frames of ended streams", |peer, _| peer.send(&[stream(id, 1, b"x", false)]));
}

/// [C-61] We MUST NOT close a connection because of useless work if the budget of this work is
/// replenished faster than the work spends it, however long the work continues. This rule holds for
/// a budget that time replenishes, and for a budget that useful work replenishes at any speed.
#[test]
fn a_grant_and_a_stop_that_cross_the_end_of_each_stream_are_let_pass() {
    honest(peer(Wire::QMux), |peer, index| {
        let id = request(peer, index);
        accept(peer, id);
        answer(peer, id);
        peer.send(&[max_stream_data(id, 1 << 31), stop(id, 0)]);
    });
}
