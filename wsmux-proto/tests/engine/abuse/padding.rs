//! Padding frames.

use super::*;

/// [C-60] When a peer has spent more than a budget holds, we MUST close with EXCESSIVE_LOAD and a
/// reason that names the budget.
#[test]
fn a_flood_of_padding_ends_the_connection() {
    let most = flood(peer(Wire::QMux), "padding", |peer, _| peer.send(&[Frame::Padding(65_536)]));
    assert_eq!(most, 1_024, "64 MiB");
}

/// [C-61] We MUST NOT close a connection because of useless work if the budget of this work is
/// replenished faster than the work spends it, however long the work continues. This rule holds for
/// a budget that time replenishes, and for a budget that useful work replenishes at any speed.
#[test]
fn traffic_that_is_shaped_by_padding_is_let_pass() {
    let id = bidi(CLIENT, 0);
    // The peer pads each message to almost the greatest length, and no time passes between
    // messages.
    let mut shaped = peer(Wire::QMux);
    for count in 0..1_100 {
        shaped.send(&[stream(id, count, b"x", false), Frame::Padding(65_000)]);
        shaped.assert_open("shaped");
    }
    // The peer sends nothing but padding, at 16 MiB a second. The budget is refilled at the same
    // rate.
    let mut cover = peer(Wire::QMux);
    for count in 0..1_100 {
        cover.now = at(Duration::from_micros(3_907 * count));
        cover.send(&[Frame::Padding(65_536)]);
        cover.assert_open("cover traffic");
    }
}
