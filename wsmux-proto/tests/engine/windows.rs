//! Windows that grow: to what the path and the reader can use, no further, and out of a budget.

use std::time::Duration;

use crate::support::*;
use wsmux_proto::{Config, Credit, Dir, Frame, Read, Wire};

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;
const MBIT: u64 = 1_000_000;

/// The window that each stream has in any case.
const INITIAL: u64 = MIB;

/// Of the socket: that it is smaller than what is on the way is the point of the send buffer's being small.
const SOCKET: usize = 256 * 1024;

fn is_ping(frame: &Frame) -> bool {
    matches!(frame, Frame::Ping(_))
}

fn path(rtt: u64, mbit: u64) -> Path {
    Path { rtt: ms(rtt), rate: mbit * MBIT, queue: SOCKET }
}

/// [C-56] A window MUST NOT grow past twice what the present span brings, past four times what the span before it
/// brought, past `max_stream_receive_window`, or by less than an eighth of itself; where these and the budget (C-57) allow
/// such a step, it MUST grow with a grant as soon as the bytes are read.
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
    // 25 MB are on the way, of which the send buffer held half a mebibyte: its size does not matter.
    let (window, need) = (bulk.window(flow), path.bandwidth_delay());
    assert!(window >= need && window <= 32 * MIB, "{window}");
    let stats = bulk.pair.client.conn.stats(bulk.pair.now);
    assert_eq!(stats.blocked_by_connection_credit, Duration::ZERO);
    assert!(stats.send_buffered <= 512 * KIB + 64 * KIB, "{stats:?}");
}

/// [C-56] A window MUST NOT grow past twice what the present span brings, past four times what the span before it
/// brought, past `max_stream_receive_window`, or by less than an eighth of itself; where these and the budget (C-57) allow
/// such a step, it MUST grow with a grant as soon as the bytes are read.
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
        // What stands in the socket does not count, but a message more may come in the measured time.
        let most = 2 * (on_the_way + 64 * KIB);
        assert!(window >= on_the_way * 3 / 2, "{path:?}: {window}");
        assert!(window <= most, "{path:?}: {window} where {most} is enough");
        assert_eq!(bulk.growth(), window - INITIAL);
    }
}

/// [C-56] A window MUST NOT grow past twice what the present span brings, past four times what the span before it
/// brought, past `max_stream_receive_window`, or by less than an eighth of itself; where these and the budget (C-57) allow
/// such a step, it MUST grow with a grant as soon as the bytes are read.
/// [C-59] To measure for window growth, an endpoint MUST send a ping only in the message of its
/// transport parameters, if windows may grow, and with each step of growth; never while one is
/// unanswered.
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

/// [C-56] A window MUST NOT grow past twice what the present span brings, past four times what the span before it
/// brought, past `max_stream_receive_window`, or by less than an eighth of itself; where these and the budget (C-57) allow
/// such a step, it MUST grow with a grant as soon as the bytes are read.
#[test]
fn a_window_grows_for_no_reader_that_does_not_read() {
    let mut bulk = Bulk::new(path(200, 1_000), &Config::default());
    let reading = bulk.open(Reader::AtOnce);
    let standing = bulk.open(Reader::Never);
    bulk.run(secs(2));
    assert!(bulk.window(reading) > 8 * MIB, "the path is known, and long");
    assert_eq!(bulk.window(standing), INITIAL);
    // Nor for one that has stopped reading, with a window of bytes before it.
    let id = bulk.flows[reading].id;
    bulk.flows[reading].reader = Reader::Never;
    bulk.run(secs(1));
    let window = bulk.window(reading);
    let stats = bulk.pair.server.conn.recv_stream(bulk.pair.now, id).stats().unwrap();
    assert!(stats.buffered > window / 2, "{stats:?}");
    bulk.run(secs(3));
    assert_eq!(bulk.window(reading), window);
}

/// [C-56] A window MUST NOT grow past twice what the present span brings, past four times what the span before it
/// brought, past `max_stream_receive_window`, or by less than an eighth of itself; where these and the budget (C-57) allow
/// such a step, it MUST grow with a grant as soon as the bytes are read.
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
        // And it gets what it wants.
        let wanted = bytes as u128 * secs(5).as_nanos() / period.as_nanos();
        let brought = bulk.brings(flow, secs(5));
        assert!(u128::from(brought) > wanted / 100 * 90, "{period:?}: {brought} of {wanted}");
    }
    // One that takes all there is, but seldom, is no faster for a larger window than it wants to be.
    let mut bulk = Bulk::new(path, &Config::default());
    let flow = bulk.open(Reader::Every(secs(1), usize::MAX));
    bulk.run(secs(20));
    assert_eq!(bulk.window(flow), INITIAL);
}

/// [C-56] A window MUST NOT grow past twice what the present span brings, past four times what the span before it
/// brought, past `max_stream_receive_window`, or by less than an eighth of itself; where these and the budget (C-57) allow
/// such a step, it MUST grow with a grant as soon as the bytes are read.
#[test]
fn bytes_that_lay_unread_do_not_count_when_they_are_read_at_last() {
    let path = path(100, 200);
    let mut bulk = Bulk::new(path, &Config::default());
    let flow = bulk.open(Reader::AtOnce);
    bulk.run(secs(3));
    let window = bulk.window(flow);
    for _ in 0..10 {
        // It stands still, goes on as fast as the link, with a full buffer before it, and then catches up.
        for reader in [Reader::Never, Reader::Every(ms(1), 25_000), Reader::AtOnce] {
            bulk.flows[flow].reader = reader;
            bulk.run(ms(700));
        }
    }
    let most = path.bandwidth_delay() * 21 / 10;
    assert!(bulk.window(flow) <= most, "{} after {window}", bulk.window(flow));
}

/// [C-58] The round-trip time that growth rests on MUST be the smaller of two: the least time of a
/// ping, and the least time from a grant to the first byte that it allowed. Both are reset by a
/// ping that is sent after a second without anything received, and answered before any stream data.
/// Without an answered ping no window grows.
#[test]
fn a_queue_on_the_way_does_not_make_a_window_grow() {
    // 64 MiB that stand in a buffer before a slow link: what is sent into it comes a minute late.
    let path = Path { rtt: ms(20), rate: 10 * MBIT, queue: 64 << 20 };
    let mut bulk = Bulk::new(path, &Config::default());
    let flow = bulk.open(Reader::AtOnce);
    for _ in 0..6 {
        bulk.run(secs(20));
        assert_eq!(bulk.window(flow), INITIAL, "a queue is no reason for a longer one");
    }
}

/// [C-58] The round-trip time that growth rests on MUST be the smaller of two: the least time of a
/// ping, and the least time from a grant to the first byte that it allowed. Both are reset by a
/// ping that is sent after a second without anything received, and answered before any stream data.
/// Without an answered ping no window grows.
#[test]
fn a_time_that_was_taken_before_a_queue_stood_is_not_lost_to_a_later_one() {
    let path = Path { rtt: ms(100), rate: 50 * MBIT, queue: 64 << 20 };
    let mut bulk = Bulk::new(path, &Config::default());
    let flow = bulk.open(Reader::AtOnce);
    bulk.run(secs(30));
    let most = 2 * (path.bandwidth_delay() + 64 * KIB);
    assert!(bulk.growth() > 0, "and a step of growth asks again");
    assert!(bulk.window(flow) <= most, "{} of {most}", bulk.window(flow));
}

/// [C-58] The round-trip time that growth rests on MUST be the smaller of two: the least time of a
/// ping, and the least time from a grant to the first byte that it allowed. Both are reset by a
/// ping that is sent after a second without anything received, and answered before any stream data.
/// Without an answered ping no window grows.
#[test]
fn a_path_that_has_become_longer_is_measured_anew_after_a_silence() {
    let mut bulk = Bulk::new(path(10, 500), &Config::default());
    let flow = bulk.open(Reader::AtOnce);
    bulk.run(secs(2));
    let short = bulk.window(flow);
    let id = bulk.flows.pop().expect("there is one").id;
    bulk.pair.client.conn.send_stream(bulk.pair.now, id).finish().unwrap();
    bulk.pair.drive();
    bulk.pair.server.read(id);
    bulk.pair.release_both(id);
    let long = path(100, 500);
    bulk.pair.latency = long.rtt / 2;
    bulk.pair.pass(secs(25));
    let flow = bulk.open(Reader::AtOnce);
    bulk.run(secs(3));
    let brought = bulk.brings(flow, secs(1));
    assert!(brought > long.bytes_in(secs(1)) / 100 * 99, "{brought}, window {short} before");
}

/// A client by hand, whose turn comes each millisecond: then it gets its grants, and sends what it may, up to a
/// bound, in messages that follow each other at the speed of memory.
struct ByHand {
    peer: ScriptedPeer,
    bound: u64,
    sent: u64,
    limit: u64,
    granted: u64,
    pings: Vec<Frame>,
}

impl ByHand {
    const WINDOW: u64 = 64 * KIB;

    fn new(bound: u64) -> Self {
        let mut config = Config::default();
        config.stream_receive_window(Self::WINDOW).keep_alive_interval(None);
        let peer = ScriptedPeer::new(Wire::QMux, SERVER, &config);
        // It came with our parameters.
        let pings = vec![Frame::Ping(code(0))];
        Self { peer, bound, sent: 0, limit: Self::WINDOW, granted: Self::WINDOW, pings }
    }

    fn run(&mut self, turns: u32) {
        let id = bidi(CLIENT, 0);
        let begin = self.peer.now;
        for turn in 1..=turns {
            self.peer.now = begin + ms(1) * turn;
            let mut left = (self.limit - self.sent).min(self.bound);
            self.limit = self.granted;
            while left > 0 {
                let len = left.min(4 * KIB);
                self.peer.send(&[stream(id, self.sent, &vec![0; len as usize], false)]);
                self.sent += len;
                left -= len;
                self.listen();
                self.peer.now += Duration::from_micros(1);
            }
        }
        self.peer.assert_open("it does nothing wrong");
    }

    /// The other end reads all there is, and says what it has to.
    fn listen(&mut self) {
        let id = bidi(CLIENT, 0);
        while let Read::Data(_) =
            self.peer.conn.recv_stream(self.peer.now, id).read(usize::MAX).unwrap()
        {}
        for frame in self.peer.frames() {
            match frame {
                Frame::MaxStreamData { credit: Credit::Total(total), .. } => self.granted = total,
                Frame::Ping(_) => self.pings.push(frame),
                other => panic!("{other:?}"),
            }
        }
        self.peer.events();
    }

    fn answer(&mut self) {
        for ping in std::mem::take(&mut self.pings) {
            let Frame::Ping(number) = ping else { panic!("{ping:?}") };
            self.peer.send(&[Frame::Pong(number)]);
        }
    }

    fn window(&mut self) -> u64 {
        self.peer.conn.recv_stream(self.peer.now, bidi(CLIENT, 0)).stats().unwrap().window
    }
}

/// [C-58] The round-trip time that growth rests on MUST be the smaller of two: the least time of a
/// ping, and the least time from a grant to the first byte that it allowed. Both are reset by a
/// ping that is sent after a second without anything received, and answered before any stream data.
/// Without an answered ping no window grows.
/// [C-59] To measure for window growth, an endpoint MUST send a ping only in the message of its
/// transport parameters, if windows may grow, and with each step of growth; never while one is
/// unanswered.
#[test]
fn a_peer_that_answers_pings_late_or_never_makes_no_window_grow_without_need() {
    let mut peer = ByHand::new(4 * KIB);
    peer.run(5_000);
    assert_eq!((peer.window(), peer.pings.len()), (ByHand::WINDOW, 1), "never");
    for _ in 0..3 {
        // The credit that it used in the meantime says that it is not as far away as that: three quarters of a
        // window, which were left when the next grant came, at the most.
        peer.answer();
        peer.run(3_000);
        let window = peer.window();
        let most = (ByHand::WINDOW + 16 * KIB) * 3 / 2;
        assert!(window <= most, "{window} for one that is late");
    }
}

/// [C-56] A window MUST NOT grow past twice what the present span brings, past four times what the span before it
/// brought, past `max_stream_receive_window`, or by less than an eighth of itself; where these and the budget (C-57) allow
/// such a step, it MUST grow with a grant as soon as the bytes are read.
#[test]
fn a_burst_at_the_speed_of_memory_does_not_pass_for_the_rate_of_the_path() {
    // Two ends on one machine that work in turns: all of a window comes at once, and then nothing for longer than
    // a round trip takes.
    let mut peer = ByHand::new(u64::MAX);
    peer.peer.now += Duration::from_micros(100);
    peer.answer();
    peer.run(1_000);
    assert!(peer.sent > 400 * ByHand::WINDOW, "{}", peer.sent);
    assert_eq!(peer.window(), ByHand::WINDOW);
}

/// [C-59] To measure for window growth, an endpoint MUST send a ping only in the message of its
/// transport parameters, if windows may grow, and with each step of growth; never while one is
/// unanswered.
#[test]
fn pings_for_windows_are_few_and_an_unused_connection_sends_none_but_the_first() {
    let path = path(200, 1_000);
    let mut bulk = Bulk::new(path, Config::default().keep_alive_interval(None));
    assert_eq!(bulk.server_said(is_ping), 1);
    let quiet = bulk.open(Reader::AtOnce);
    bulk.flows.remove(quiet);
    bulk.run(secs(20));
    assert_eq!(bulk.server_said(is_ping), 0);
    let rtt = bulk.pair.server.conn.rtt().expect("it was answered");
    assert!(rtt >= path.rtt && rtt < path.rtt + ms(1), "{rtt:?}");
    for _ in 0..10 {
        bulk.open(Reader::AtOnce);
    }
    bulk.run(secs(5));
    let pings = bulk.server_said(is_ping);
    assert!((1..=25).contains(&pings), "{pings} in 25 round trips, for 10 streams");
    bulk.run(secs(5));
    assert_eq!(bulk.server_said(is_ping), 0, "when nothing grows any more");
}

/// A hundred streams, each of which could use much more than its small window.
fn a_hundred(budget: u64) -> Bulk {
    let mut config = Config::default();
    config.stream_receive_window(16 * KIB).window_growth_budget(budget);
    let mut bulk = Bulk::new(path(100, 1_000), &config);
    for _ in 0..100 {
        bulk.open(Reader::AtOnce);
    }
    bulk
}

/// [C-57] The growth of all windows of a connection MUST NOT exceed its growth budget, nor that of
/// one stream half of what the others leave of it; every stream keeps the window that it began
/// with. A stream returns its share when it can receive no more, except for what is unread.
#[test]
fn a_hundred_streams_grow_within_the_budget_and_keep_their_initial_windows() {
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
        // A step smaller than an eighth of a window is none.
        assert!(budget < 16 * KIB || bulk.growth() > budget.min(16 * MIB) / 2, "{}", bulk.growth());
        let brought: u64 = (0..100).map(|nth| bulk.flows[nth].read).sum();
        assert!(brought > 100 * 16 * KIB * 20, "all of them flow: {brought}");
    }
}

/// [C-57] The growth of all windows of a connection MUST NOT exceed its growth budget, nor that of
/// one stream half of what the others leave of it; every stream keeps the window that it began
/// with. A stream returns its share when it can receive no more, except for what is unread.
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
    // Half of what the others have left; a last step that is too small is not taken.
    assert!(grown[0] <= 4 * MIB && grown[0] > 3 * MIB, "{grown:?}");
    assert!(grown[1] <= 3 * MIB && grown[1] > MIB, "{grown:?}");
    assert!(grown[2] > MIB / 2, "{grown:?}");
    assert!(bulk.growth() <= 8 * MIB);
}

/// [C-57] The growth of all windows of a connection MUST NOT exceed its growth budget, nor that of
/// one stream half of what the others leave of it; every stream keeps the window that it began
/// with. A stream returns its share when it can receive no more, except for what is unread.
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
    // What has come to its end and is not read is still held.
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
    // And when the connection ends, as soon as the application lets go.
    let flow = bulk.open(Reader::AtOnce);
    bulk.run(secs(2));
    assert!(bulk.growth() > 0);
    bulk.pair.cut();
    bulk.pair.server.release(bulk.flows[flow].id);
    assert_eq!(bulk.growth(), 0);
}

/// [C-57] The growth of all windows of a connection MUST NOT exceed its growth budget, nor that of
/// one stream half of what the others leave of it; every stream keeps the window that it began
/// with. A stream returns its share when it can receive no more, except for what is unread.
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

/// [J-28] The sum of the credit we have granted on a stream and the bytes not yet read MUST NOT exceed the stream's
/// window.
/// [J-30] The limit on inbound messages MUST be the largest window that the configuration permits plus 10 bytes, and at least 19,
/// from the start.
/// [J-39] A window MUST NOT grow past what the configuration permits a stream to begin with: C-56 does not hold on
/// this wire.
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

/// [C-41] Credit that was granted MUST NOT be taken back when a window is made smaller. No window becomes smaller
/// by itself.
/// [C-57] The growth of all windows of a connection MUST NOT exceed its growth budget, nor that of
/// one stream half of what the others leave of it; every stream keeps the window that it began
/// with. A stream returns its share when it can receive no more, except for what is unread.
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
    // What had been granted is used without fault, and the stream goes on.
    bulk.run(secs(2));
    assert!(bulk.pair.client.conn.close_reason().is_none());
    assert!(bulk.growth() > 0);
}

/// [C-38] A stream's credit MUST be renewed when the application has read a quarter of its window since the last
/// grant, or 1 MiB if that is less (at least one byte), or when its window is to grow (C-56), and not for each
/// read.
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
