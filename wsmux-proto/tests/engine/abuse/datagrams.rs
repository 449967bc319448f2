//! Empty datagrams.

use bytes::Bytes;

use super::*;

/// [C-60] When a peer has spent more than a budget holds, we MUST close with EXCESSIVE_LOAD and a
/// reason that names the budget.
#[test]
fn a_flood_of_empty_datagrams_ends_the_connection() {
    let message = Bytes::from([0x31, 0].repeat(512));
    let most = flood(peer(Wire::QMux), "frames without effect", |peer, _| {
        peer.send_bytes(message.clone())
    });
    assert!(most < 40, "{most} messages of 512 datagrams");
}
