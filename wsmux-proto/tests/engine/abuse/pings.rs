//! QMux and WebSocket pings and pongs.

use super::*;

/// [C-60] When a peer has spent more than a budget holds, we MUST close with EXCESSIVE_LOAD and a
/// reason that names the budget.
/// [W-10] An unsolicited pong MUST be ignored.
/// A QX_PING request MUST be answered by a response with the same number. If several
/// requests wait, only the request with the largest number is answered.
#[test]
fn a_flood_of_pings_or_pongs_of_either_kind_ends_the_connection() {
    let most =
        flood(peer(Wire::QMux), "pings", |peer, count| peer.send(&[Frame::Ping(code(count))]));
    assert_eq!(most, 1_000);
    for wire in WIRES {
        let most = flood(peer(wire), "pings", |peer, _| peer.conn.handle(peer.now, Incoming::Ping));
        assert_eq!(most, 1_000, "{wire:?}");
        for payload in [&b"unasked"[..], &[0; 8]] {
            let most = flood(peer(wire), "pings", |peer, _| {
                peer.conn.handle(peer.now, Incoming::Pong(payload.to_vec().into()))
            });
            assert_eq!(most, 1_000, "{wire:?}");
        }
    }
    // Each connection begins with a ping of ours. The peer answers this one ping again and again.
    let most = flood(peer(Wire::QMux), "pings", |peer, _| peer.send(&[Frame::Pong(code(0))]));
    assert_eq!(most, 1_001);
}

/// [C-61] We MUST NOT close a connection because of useless work if the budget of this work is
/// replenished faster than the work spends it, however long the work continues. This rule holds for
/// a budget that time replenishes, and for a budget that useful work replenishes at any speed.
#[test]
fn a_ping_beside_each_message_or_each_ten_milliseconds_is_let_pass() {
    let id = bidi(CLIENT, 0);
    honest(peer(Wire::QMux), |peer, count| {
        peer.send(&[Frame::Ping(code(count)), stream(id, count, b"x", false)]);
    });
    for wire in WIRES {
        honest(peer(wire), |peer, count| {
            peer.now = at(ms(10 * count));
            peer.conn.handle(peer.now, Incoming::Ping);
        });
    }
}
