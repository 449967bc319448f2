//! When a window grows, and to what size.

use std::time::Duration;

use wsmux_proto::{Config, Dir, Wire};

use super::{INITIAL, KIB, MIB, is_ping, path};
use crate::support::*;

/// [C-56] A window MUST NOT grow past any of four bounds: twice what the present span brings, four
/// times what the previous span brought, `max_stream_receive_window`, and the budget (C-57). A
/// window MUST NOT grow by less than an eighth of itself. If the bounds allow the window to grow by
/// an eighth of itself, it MUST grow, with a grant, as soon as the bytes are read.
#[test]
fn one_stream_fills_a_gigabit_over_200_ms_within_two_seconds_by_default() {
    let path = path(200, 1_000);
    let mut bulk = Bulk::new(path, &Config::default());
    let flow = bulk.open(Reader::AtOnce);
    bulk.run(secs(2));
    let second = path.bytes_in(secs(1));
    for nth in 3..=5 {
        let brought = bulk.brings(flow, secs(1));
        assert!(brought >= second / 100 * 99, "{brought} of {second} in second {nth}");
    }
    // 25 MB are in flight, although the send buffer holds only half a mebibyte. So the window's
    // growth does not depend on the size of the send buffer.
    let (window, need) = (bulk.window(flow), path.bandwidth_delay());
    assert!(window >= need && window <= 32 * MIB, "{window}");
    let stats = bulk.pair.client.conn.stats(bulk.pair.now);
    assert_eq!(stats.blocked_by_connection_credit, Duration::ZERO);
    assert!(stats.send_buffered <= 512 * KIB + 64 * KIB, "{stats:?}");
}

/// [C-56] A window MUST NOT grow past any of four bounds: twice what the present span brings, four
/// times what the previous span brought, `max_stream_receive_window`, and the budget (C-57). A
/// window MUST NOT grow by less than an eighth of itself. If the bounds allow the window to grow by
/// an eighth of itself, it MUST grow, with a grant, as soon as the bytes are read.
#[test]
fn a_window_grows_to_twice_what_is_on_the_way_and_no_further() {
    for path in [path(100, 100), path(20, 1_000), path(300, 40), path(50, 400)] {
        let mut bulk = Bulk::new(path, &Config::default());
        let flow = bulk.open(Reader::AtOnce);
        bulk.run(secs(5));
        let brought = bulk.brings(flow, secs(5));
        let share = brought as f64 / path.bytes_in(secs(5)) as f64;
        let (window, on_the_way) = (bulk.window(flow), path.bandwidth_delay());
        assert!(share > 0.99, "{path:?}: {share} of the link");
        // Bytes that wait in the socket's buffer do not make the window grow. But one more message
        // may arrive during the measurement, so the bound includes a message.
        let most = 2 * (on_the_way + 64 * KIB);
        assert!(window >= on_the_way * 3 / 2, "{path:?}: {window}");
        assert!(window <= most, "{path:?}: {window} where {most} is enough");
        assert_eq!(bulk.growth(), window - INITIAL);
    }
}

/// [C-56] A window MUST NOT grow past any of four bounds: twice what the present span brings, four
/// times what the previous span brought, `max_stream_receive_window`, and the budget (C-57). A
/// window MUST NOT grow by less than an eighth of itself. If the bounds allow the window to grow by
/// an eighth of itself, it MUST grow, with a grant, as soon as the bytes are read.
/// [C-59] To measure for window growth, an endpoint MUST send a ping only on two occasions: in the
/// message of its transport parameters, if windows may grow, and with each step of growth. It MUST
/// NOT send such a ping while another ping is unanswered.
#[test]
fn no_window_grows_where_the_initial_one_is_enough() {
    for path in [path(1, 1_000), path(10, 400), path(40, 100)] {
        let mut bulk = Bulk::new(path, &Config::default());
        let flow = bulk.open(Reader::AtOnce);
        let brought = bulk.brings(flow, secs(3));
        assert!(brought > path.bytes_in(secs(3)) / 100 * 97, "{path:?}: {brought}");
        assert_eq!(bulk.window(flow), INITIAL, "{path:?}");
        assert_eq!(bulk.server_said(is_ping), 1, "{path:?}: the first is enough to know");
    }
}

/// [C-56] A window MUST NOT grow past any of four bounds: twice what the present span brings, four
/// times what the previous span brought, `max_stream_receive_window`, and the budget (C-57). A
/// window MUST NOT grow by less than an eighth of itself. If the bounds allow the window to grow by
/// an eighth of itself, it MUST grow, with a grant, as soon as the bytes are read.
#[test]
fn a_window_grows_for_no_reader_that_does_not_read() {
    let mut bulk = Bulk::new(path(200, 1_000), &Config::default());
    let reading = bulk.open(Reader::AtOnce);
    let standing = bulk.open(Reader::Never);
    bulk.run(secs(2));
    assert!(bulk.window(reading) > 8 * MIB, "the path is known, and long");
    assert_eq!(bulk.window(standing), INITIAL);
    // If the reader has stopped reading, and a full window of bytes waits to be read, the window
    // does not grow either.
    let id = bulk.flows[reading].id;
    bulk.flows[reading].reader = Reader::Never;
    bulk.run(secs(1));
    let window = bulk.window(reading);
    let stats = bulk.pair.server.conn.recv_stream(bulk.pair.now, id).stats().unwrap();
    assert!(stats.buffered > window / 2, "{stats:?}");
    bulk.run(secs(3));
    assert_eq!(bulk.window(reading), window);
}

/// [C-56] A window MUST NOT grow past any of four bounds: twice what the present span brings, four
/// times what the previous span brought, `max_stream_receive_window`, and the budget (C-57). A
/// window MUST NOT grow by less than an eighth of itself. If the bounds allow the window to grow by
/// an eighth of itself, it MUST grow, with a grant, as soon as the bytes are read.
#[test]
fn a_window_does_not_grow_past_what_its_reader_takes_in_two_round_trips() {
    let path = path(200, 1_000);
    for (period, bytes) in [(ms(10), 100_000), (ms(50), 250_000), (ms(1), 30_000)] {
        let mut bulk = Bulk::new(path, &Config::default());
        let flow = bulk.open(Reader::Every(period, bytes));
        bulk.run(secs(10));
        let per_rtt = (bytes as u128 * path.rtt.as_nanos() / period.as_nanos()) as u64;
        let most = INITIAL.max(2 * per_rtt + 2 * bytes as u64);
        let window = bulk.window(flow);
        assert!(window <= most, "{period:?}: {window} for {per_rtt} in a round trip");
        // The reader gets nearly as many bytes as it wants.
        let wanted = bytes as u128 * secs(5).as_nanos() / period.as_nanos();
        let brought = bulk.brings(flow, secs(5));
        assert!(u128::from(brought) > wanted / 100 * 90, "{period:?}: {brought} of {wanted}");
    }
    // A reader that takes everything, but only once a second, could use a larger window. But its
    // rate is limited by its own pauses, and not by the path. So the window does not grow.
    let mut bulk = Bulk::new(path, &Config::default());
    let flow = bulk.open(Reader::Every(secs(1), usize::MAX));
    bulk.run(secs(20));
    assert_eq!(bulk.window(flow), INITIAL);
}

/// [C-56] A window MUST NOT grow past any of four bounds: twice what the present span brings, four
/// times what the previous span brought, `max_stream_receive_window`, and the budget (C-57). A
/// window MUST NOT grow by less than an eighth of itself. If the bounds allow the window to grow by
/// an eighth of itself, it MUST grow, with a grant, as soon as the bytes are read.
#[test]
fn bytes_that_lay_unread_do_not_count_when_they_are_read_at_last() {
    let path = path(100, 200);
    let mut bulk = Bulk::new(path, &Config::default());
    let flow = bulk.open(Reader::AtOnce);
    bulk.run(secs(3));
    let window = bulk.window(flow);
    for _ in 0..10 {
        // The reader stops, reads at the speed of the link while its buffer stays full, and finally
        // catches up.
        for reader in [Reader::Never, Reader::Every(ms(1), 25_000), Reader::AtOnce] {
            bulk.flows[flow].reader = reader;
            bulk.run(ms(700));
        }
    }
    let most = path.bandwidth_delay() * 21 / 10;
    assert!(bulk.window(flow) <= most, "{} after {window}", bulk.window(flow));
}

/// [C-41] Credit that was granted MUST NOT be taken back when a window is made smaller. No window
/// becomes smaller by itself.
/// [C-57] The windows of a connection together MUST NOT grow by more than the connection's growth
/// budget. The window of one stream MUST NOT grow by more than half of the budget that the growth
/// of the other windows leaves. Every stream keeps the window that it began with. When this end no
/// longer has to store arriving data of a stream, the growth of the stream's window returns to the
/// budget, except for the part that unread data occupies.
#[test]
fn a_window_that_the_application_sets_takes_the_place_of_growth() {
    let mut bulk = Bulk::new(path(100, 500), &Config::default());
    let flow = bulk.open(Reader::AtOnce);
    bulk.run(secs(2));
    let window = bulk.window(flow);
    bulk.pair.server.conn.set_stream_receive_window(4 * MIB);
    assert_eq!((bulk.window(flow), bulk.growth()), (window, window - 4 * MIB));
    bulk.pair.server.conn.set_stream_receive_window(16 * MIB);
    assert_eq!((bulk.window(flow), bulk.growth()), (16 * MIB, 0));
    bulk.pair.server.conn.set_stream_receive_window(2 * MIB);
    assert_eq!((bulk.window(flow), bulk.growth()), (2 * MIB, 0));
    // The peer may use the credit that was granted before, and the stream goes on.
    bulk.run(secs(2));
    assert!(bulk.pair.client.conn.close_reason().is_none());
    assert!(bulk.growth() > 0);
}

/// [J-28] The sum of the credit we have granted on a stream and the bytes not yet read MUST NOT
/// exceed the stream's window.
/// [J-30] From the start of a connection, the limit on inbound messages MUST be the largest window
/// that the configuration permits plus 10 bytes. The limit MUST be at least 19 bytes.
/// [J-39] A window MUST NOT grow past the largest initial window that the configuration permits.
/// Windows do not grow by measurement on this wire, so C-56 does not apply.
#[test]
fn no_window_grows_on_js_ws_where_it_is_the_limit_of_a_message() {
    let mut pair = Pair::new(Wire::JsWs, &Config::default());
    pair.latency = ms(100);
    let id = pair.open_bi(CLIENT);
    let limit = pair.server.conn.max_inbound_message();
    pair.transfer(CLIENT, id, &vec![0; 16 << 20]);
    assert_eq!(pair.server.conn.recv_stream(pair.now, id).stats().unwrap().window, INITIAL);
    assert_eq!(pair.server.conn.max_inbound_message(), limit);
    assert!(pair.server.sent.iter().all(|item| matches!(item, Item::Message(_))), "no ping");
}

/// [C-38] A stream's credit MUST be renewed in two cases, and not for each read. First, the
/// application has read a quarter of the window since the last grant, or 1 MiB if that is less, but
/// at least one byte. Second, the window has to grow (C-56).
#[test]
fn credit_for_a_large_window_is_renewed_at_a_mebibyte() {
    let mut config = Config::default();
    config.stream_receive_window(32 * MIB).max_record_size(1 << 25);
    let mut peer = ScriptedPeer::new(Wire::QMux, SERVER, &config);
    let id = bidi(CLIENT, 0);
    peer.send(&[stream(id, 0, &vec![0; 4 << 20], false)]);
    assert_eq!(peer.conn.accept(Dir::Bi), Some(id));
    peer.said();
    peer.conn.recv_stream(peer.now, id).read((1 << 20) - 1).unwrap();
    assert_eq!(peer.frames(), []);
    peer.conn.recv_stream(peer.now, id).read(1).unwrap();
    assert_eq!(peer.frames(), [max_stream_data(id, 33 * MIB)]);
}
