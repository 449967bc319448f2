//! Frames that have no effect.

use super::*;

/// [C-60] When a peer has spent more than a budget holds, we MUST close with EXCESSIVE_LOAD and a
/// reason that names the budget.
/// An empty STREAM frame without FIN MUST open its stream if the stream is not open yet, and
/// has no other effect.
/// If a FIN is repeated with the same final size and without data, the repeated FIN MUST be
/// ignored.
/// [J-6] On a stream that is open, an empty Data message from the peer MUST be accepted without
/// effect.
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

/// [C-61] We MUST NOT close a connection because of useless work if the budget of this work is
/// replenished faster than the work spends it, however long the work continues. This rule holds for
/// a budget that time replenishes, and for a budget that useful work replenishes at any speed.
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

/// [C-61] We MUST NOT close a connection because of useless work if the budget of this work is
/// replenished faster than the work spends it, however long the work continues. This rule holds for
/// a budget that time replenishes, and for a budget that useful work replenishes at any speed.
#[test]
fn an_empty_frame_beside_each_byte_is_let_pass() {
    let id = bidi(CLIENT, 0);
    honest(peer(Wire::QMux), |peer, count| {
        peer.send(&[stream(id, count, b"x", false), stream(id, count + 1, b"", false)]);
    });
}

/// [C-61] We MUST NOT close a connection because of useless work if the budget of this work is
/// replenished faster than the work spends it, however long the work continues. This rule holds for
/// a budget that time replenishes, and for a budget that useful work replenishes at any speed.
#[test]
fn a_chat_of_a_byte_each_second_goes_on_for_ever() {
    let id = bidi(CLIENT, 0);
    let mut peer = peer(Wire::QMux);
    // Every second the peer also sends a ping of each kind, padding, a grant and an empty STREAM
    // frame. Each of these kinds of frames has a budget, and time also refills each budget every
    // second. So a peer that can go on for `MANY` seconds can go on for ever.
    for second in 0..MANY {
        peer.now = at(secs(second));
        peer.send(&[
            Frame::Ping(code(second)),
            Frame::Padding(1_000),
            max_stream_data(id, (1 << 30) + second),
            stream(id, second, b"x", false),
            stream(id, second + 1, b"", false),
        ]);
        peer.conn.handle(peer.now, Incoming::Ping);
        if second == 0 {
            accept(&mut peer, id);
        }
        peer.conn.recv_stream(peer.now, id).read(1).unwrap();
        peer.said();
        peer.events();
        peer.assert_open(&format!("second {second}"));
    }
}
