//! Frames that say that the peer is blocked by one of our limits.

use super::*;

/// [C-60] When a peer has spent more than a budget holds, we MUST close with EXCESSIVE_LOAD and a
/// reason that names the budget.
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

/// [C-60] When a peer has spent more than a budget holds, we MUST close with EXCESSIVE_LOAD and a
/// reason that names the budget.
#[test]
fn datagrams_that_nobody_reads_make_good_for_nothing() {
    let datagram = || Frame::Datagram(vec![0; 10_000].into());
    let mut peer = peer(Wire::QMux);
    // This loop fills our queue of unread datagrams, which holds fewer than 200 of this size. So
    // each datagram of the flood below displaces an older one.
    for _ in 0..200 {
        peer.send(&[datagram()]);
    }
    let most = flood(peer, "blocked frames", |peer, _| {
        peer.send(&[datagram(), Frame::DataBlocked(5)]);
    });
    assert!((1_000..1_030).contains(&most), "{most}");
}

/// An honest peer can behave like this. If it sends on very many streams, and our application reads
/// all of them equally slowly, all these streams run out of credit at the same moment.
///
/// [C-61] We MUST NOT close a connection because of useless work if the budget of this work is
/// replenished faster than the work spends it, however long the work continues. This rule holds for
/// a budget that time replenishes, and for a budget that useful work replenishes at any speed.
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

/// [C-61] We MUST NOT close a connection because of useless work if the budget of this work is
/// replenished faster than the work spends it, however long the work continues. This rule holds for
/// a budget that time replenishes, and for a budget that useful work replenishes at any speed.
#[test]
fn a_peer_that_says_blocked_at_each_limit_goes_on_at_any_speed() {
    let mut config = Config::default();
    config.stream_receive_window(8).window_growth_budget(0);
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
        peer.conn.recv_stream(peer.now, id).read(8).unwrap();
    });
}
