//! The growth budget that all streams of a connection share.

use wsmux_proto::Config;

use super::{INITIAL, KIB, MIB, is_ping, path};
use crate::support::*;

/// Opens a hundred streams, each of which could use much more than its small window.
fn a_hundred(budget: u64) -> Bulk {
    let mut config = Config::default();
    config.stream_receive_window(16 * KIB).window_growth_budget(budget);
    let mut bulk = Bulk::new(path(100, 1_000), &config);
    for _ in 0..100 {
        bulk.open(Reader::AtOnce);
    }
    bulk
}

/// [C-57] The windows of a connection together MUST NOT grow by more than the connection's growth
/// budget. The window of one stream MUST NOT grow by more than half of the budget that the growth
/// of the other windows leaves. Every stream keeps the window that it began with. When this end no
/// longer has to store arriving data of a stream, the growth of the stream's window returns to the
/// budget, except for the part that unread data occupies.
#[test]
fn a_hundred_streams_keep_their_windows_and_grow_within_the_budget() {
    for budget in [0, 100, 64 * KIB, MIB, 64 * MIB] {
        let mut bulk = a_hundred(budget);
        for _ in 0..30 {
            bulk.run(ms(100));
            let windows: Vec<_> = (0..100).map(|nth| bulk.window(nth)).collect();
            assert!(windows.iter().all(|&window| window >= 16 * KIB), "{windows:?}");
            let growth: u64 = windows.iter().map(|window| window - 16 * KIB).sum();
            assert_eq!(growth, bulk.growth());
            assert!(growth <= budget, "{growth} of {budget}");
        }
        // A window never grows by less than an eighth of itself, so a small part of the budget may
        // remain unused.
        assert!(budget < 16 * KIB || bulk.growth() > budget.min(16 * MIB) / 2, "{}", bulk.growth());
        let brought: u64 = (0..100).map(|nth| bulk.flows[nth].read).sum();
        assert!(brought > 100 * 16 * KIB * 20, "all of them flow: {brought}");
    }
}

/// [C-57] The windows of a connection together MUST NOT grow by more than the connection's growth
/// budget. The window of one stream MUST NOT grow by more than half of the budget that the growth
/// of the other windows leaves. Every stream keeps the window that it began with. When this end no
/// longer has to store arriving data of a stream, the growth of the stream's window returns to the
/// budget, except for the part that unread data occupies.
#[test]
fn a_stream_that_comes_late_finds_something_left_of_the_budget() {
    let mut config = Config::default();
    config.window_growth_budget(8 * MIB);
    let mut bulk = Bulk::new(path(200, 1_000), &config);
    let mut grown = Vec::new();
    for _ in 0..3 {
        let flow = bulk.open(Reader::AtOnce);
        bulk.run(secs(5));
        grown.push(bulk.window(flow) - INITIAL);
    }
    // Each stream may grow by half of what the other streams leave. The growth can end earlier,
    // because a window does not grow by less than an eighth of itself.
    assert!(grown[0] <= 4 * MIB && grown[0] > 3 * MIB, "{grown:?}");
    assert!(grown[1] <= 3 * MIB && grown[1] > MIB, "{grown:?}");
    assert!(grown[2] > MIB / 2, "{grown:?}");
    assert!(bulk.growth() <= 8 * MIB);
}

/// [C-57] The windows of a connection together MUST NOT grow by more than the connection's growth
/// budget. The window of one stream MUST NOT grow by more than half of the budget that the growth
/// of the other windows leaves. Every stream keeps the window that it began with. When this end no
/// longer has to store arriving data of a stream, the growth of the stream's window returns to the
/// budget, except for the part that unread data occupies.
/// [C-54] When all streams have ended and been read, every table and queue MUST be empty again.
#[test]
fn the_budget_has_back_what_a_stream_held_when_the_stream_ends() {
    type End = fn(&mut Bulk, usize);
    let ends: [(&str, End); 4] = [
        ("finished and read", |bulk, nth| bulk.pair.client.finish(bulk.flows[nth].id)),
        ("reset", |bulk, nth| {
            let id = bulk.flows[nth].id;
            bulk.pair.client.conn.send_stream(bulk.pair.now, id).reset(code(1)).unwrap();
        }),
        ("stopped", |bulk, nth| {
            let id = bulk.flows[nth].id;
            bulk.pair.server.conn.recv_stream(bulk.pair.now, id).stop(code(1)).unwrap();
        }),
        ("dropped", |bulk, nth| {
            bulk.pair.server.conn.recv_stream(bulk.pair.now, bulk.flows[nth].id).release()
        }),
    ];
    let mut bulk = Bulk::new(path(100, 500), &Config::default());
    for (how, end) in ends {
        let flow = bulk.open(Reader::AtOnce);
        bulk.run(secs(2));
        assert!(bulk.growth() > 4 * MIB, "{how}: {}", bulk.growth());
        end(&mut bulk, flow);
        bulk.run(secs(1));
        assert_eq!(bulk.growth(), 0, "{how}");
    }
    // After its end, a stream keeps the part of its share that unread bytes occupy.
    let flow = bulk.open(Reader::AtOnce);
    bulk.run(secs(2));
    bulk.flows[flow].reader = Reader::Never;
    bulk.run(secs(1));
    let before = bulk.growth();
    bulk.pair.client.finish(bulk.flows[flow].id);
    bulk.run(secs(1));
    assert!(bulk.growth() <= before && bulk.growth() > before / 2, "{}", bulk.growth());
    bulk.flows[flow].reader = Reader::AtOnce;
    bulk.run(secs(1));
    assert_eq!(bulk.growth(), 0);
    // When the connection ends, the share is returned as soon as the application drops the stream.
    let flow = bulk.open(Reader::AtOnce);
    bulk.run(secs(2));
    assert!(bulk.growth() > 0);
    bulk.pair.cut();
    bulk.pair.server.release(bulk.flows[flow].id);
    assert_eq!(bulk.growth(), 0);
}

/// [C-57] The windows of a connection together MUST NOT grow by more than the connection's growth
/// budget. The window of one stream MUST NOT grow by more than half of the budget that the growth
/// of the other windows leaves. Every stream keeps the window that it began with. When this end no
/// longer has to store arriving data of a stream, the growth of the stream's window returns to the
/// budget, except for the part that unread data occupies.
#[test]
fn without_a_budget_no_window_grows_and_nobody_asks() {
    for config in [
        Config::default().window_growth_budget(0),
        Config::default().max_stream_receive_window(0),
        Config::default().max_stream_receive_window(INITIAL),
    ] {
        let mut bulk = Bulk::new(path(200, 1_000), config);
        let flow = bulk.open(Reader::AtOnce);
        bulk.run(secs(3));
        assert_eq!((bulk.window(flow), bulk.growth()), (INITIAL, 0));
        assert_eq!(bulk.server_said(is_ping), 0);
    }
    let mut bulk =
        Bulk::new(path(200, 1_000), Config::default().max_stream_receive_window(3 * MIB));
    let flow = bulk.open(Reader::AtOnce);
    bulk.run(secs(5));
    assert!((2 * MIB..=3 * MIB).contains(&bulk.window(flow)), "{}", bulk.window(flow));
}
