//! Messages from the peer that we have to answer.

use super::*;

/// This is the attack known as MadeYouReset, CVE-2025-8671.
///
/// [C-60] When a peer has spent more than a budget holds, we MUST close with EXCESSIVE_LOAD and a
/// reason that names the budget.
/// [J-31] If our stream limit is reached and no more streams may wait, a new stream MUST be
/// refused. We refuse it by both Error(Read, code) and Error(Write, code), and send no Ack for it.
/// The connection and its other streams continue.
#[test]
fn a_flood_of_refused_streams_ends_the_connection_of_one_that_reads() {
    let mut config = Config::default();
    config.max_concurrent_bidi_streams(0).max_waiting_streams(0);
    let most =
        flood(ScriptedPeer::new(Wire::JsWs, SERVER, &config), "refused streams", |peer, index| {
            peer.send(&[ack(bidi(CLIENT, index), 1)])
        });
    assert_eq!(most, 10_000);
}

/// [C-61] We MUST NOT close a connection because of useless work if the budget of this work is
/// replenished faster than the work spends it, however long the work continues. This rule holds for
/// a budget that time replenishes, and for a budget that useful work replenishes at any speed.
/// [J-31] If our stream limit is reached and no more streams may wait, a new stream MUST be
/// refused. We refuse it by both Error(Read, code) and Error(Write, code), and send no Ack for it.
/// The connection and its other streams continue.
/// [J-32] The peer's answers to a refusal MUST be dropped.
#[test]
fn a_client_that_opens_one_stream_too_many_each_time_goes_on() {
    let mut config = Config::default();
    config.max_concurrent_bidi_streams(1).max_waiting_streams(0);
    honest(ScriptedPeer::new(Wire::JsWs, SERVER, &config), |peer, index| {
        let (served, refused) = (bidi(CLIENT, 2 * index), bidi(CLIENT, 2 * index + 1));
        peer.send(&[ack(served, 1 << 16), ack(refused, 1 << 16)]);
        peer.said();
        // The peer answers both messages of the refusal, as `@matrixai/ws` does.
        peer.send(&[stop(refused, 0), error_read(refused, 0)]);
        peer.send(&[data(served, b"?"), close_read(served)]);
        accept(peer, served);
        answer(peer, served);
        peer.send(&[Frame::FinReceived { id: served }]);
    });
}

/// [C-32] An answer that a peer demands MUST be held in one of two ways until we can send it.
/// Either the answer is part of the state of its stream or connection, which holds at most one
/// answer of each kind. Or the answer is in a queue with a bound. So a peer that does not read
/// cannot make our memory grow.
/// [C-60] When a peer has spent more than a budget holds, we MUST close with EXCESSIVE_LOAD and a
/// reason that names the budget.
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
        peer.conn.handle(peer.now, Incoming::Ping);
        if peer.conn.close_reason().is_some() {
            break;
        }
        let now = format!("{:?}", peer.conn).len();
        // We may keep one reset for each stream, and the state of each stream.
        assert!(now < before + 100 * 200, "{before} bytes became {now} after {round}");
    }
    // Of these frames, only the pings of both kinds and the blocked frames can exceed a budget in
    // 900 rounds.
    peer.assert_violation("a flood", TransportErrorCode::EXCESSIVE_LOAD, 1002);
}
