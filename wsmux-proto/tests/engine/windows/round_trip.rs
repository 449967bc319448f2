//! The round-trip time on which window growth is based, and the pings that measure it.

use std::time::Duration;

use wsmux_proto::{Config, Credit, Frame, Read, Wire};

use super::{INITIAL, KIB, MBIT, is_ping, path};
use crate::support::*;

/// [C-58] The round-trip time on which growth is based MUST be the smaller of two times: the least
/// time of a ping, and the least time from a grant to the first byte that this grant allowed. A
/// ping resets both times if two conditions hold. First, nothing was received for a second before
/// the ping was sent. Second, no stream data arrives before the ping's answer. Without an answered
/// ping no window grows.
#[test]
fn a_queue_on_the_way_does_not_make_a_window_grow() {
    // A buffer in front of a slow link holds 64 MiB, so data that is sent into a full buffer
    // arrives almost a minute late.
    let path = Path { rtt: ms(20), rate: 10 * MBIT, queue: 64 << 20 };
    let mut bulk = Bulk::new(path, &Config::default());
    let flow = bulk.open(Reader::AtOnce);
    for _ in 0..6 {
        bulk.run(secs(20));
        assert_eq!(bulk.window(flow), INITIAL, "a queue is no reason for a longer one");
    }
}

/// [C-58] The round-trip time on which growth is based MUST be the smaller of two times: the least
/// time of a ping, and the least time from a grant to the first byte that this grant allowed. A
/// ping resets both times if two conditions hold. First, nothing was received for a second before
/// the ping was sent. Second, no stream data arrives before the ping's answer. Without an answered
/// ping no window grows.
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

/// [C-58] The round-trip time on which growth is based MUST be the smaller of two times: the least
/// time of a ping, and the least time from a grant to the first byte that this grant allowed. A
/// ping resets both times if two conditions hold. First, nothing was received for a second before
/// the ping was sent. Second, no stream data arrives before the ping's answer. Without an answered
/// ping no window grows.
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

/// A client that is written by hand and runs once per millisecond. In each run, the client
/// processes the new grants, and sends as many bytes as the grants allow, but at most `bound`. It
/// sends the messages of a run without a pause.
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
        // The first ping was sent with our parameters.
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

    /// The engine's application reads all bytes. The client records the grants and pings that it
    /// gets.
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

/// [C-58] The round-trip time on which growth is based MUST be the smaller of two times: the least
/// time of a ping, and the least time from a grant to the first byte that this grant allowed. A
/// ping resets both times if two conditions hold. First, nothing was received for a second before
/// the ping was sent. Second, no stream data arrives before the ping's answer. Without an answered
/// ping no window grows.
/// [C-59] To measure for window growth, an endpoint MUST send a ping only on two occasions: in the
/// message of its transport parameters, if windows may grow, and with each step of growth. It MUST
/// NOT send such a ping while another ping is unanswered.
#[test]
fn late_or_missing_pongs_make_no_window_grow_without_need() {
    let mut peer = ByHand::new(4 * KIB);
    peer.run(5_000);
    assert_eq!((peer.window(), peer.pings.len()), (ByHand::WINDOW, 1), "never");
    for _ in 0..3 {
        // The answer comes late, but the time from a grant to the first byte that it allowed shows
        // that the path is shorter. When the grant arrived, at most three quarters of the window
        // were still unused. So the engine assumes that the path holds at most three quarters of a
        // window.
        peer.answer();
        peer.run(3_000);
        let window = peer.window();
        let most = (ByHand::WINDOW + 16 * KIB) * 3 / 2;
        assert!(window <= most, "{window} for one that is late");
    }
}

/// [C-56] A window MUST NOT grow past any of four bounds: twice what the present span brings, four
/// times what the previous span brought, `max_stream_receive_window`, and the budget (C-57). A
/// window MUST NOT grow by less than an eighth of itself. If the bounds allow the window to grow by
/// an eighth of itself, it MUST grow, with a grant, as soon as the bytes are read.
#[test]
fn a_burst_at_the_speed_of_memory_does_not_pass_for_the_rate_of_the_path() {
    // Two ends on one machine run in turns. A whole window arrives at once, and then nothing
    // arrives for longer than a round trip.
    let mut peer = ByHand::new(u64::MAX);
    peer.peer.now += Duration::from_micros(100);
    peer.answer();
    peer.run(1_000);
    assert!(peer.sent > 400 * ByHand::WINDOW, "{}", peer.sent);
    assert_eq!(peer.window(), ByHand::WINDOW);
}

/// [C-59] To measure for window growth, an endpoint MUST send a ping only on two occasions: in the
/// message of its transport parameters, if windows may grow, and with each step of growth. It MUST
/// NOT send such a ping while another ping is unanswered.
#[test]
fn window_pings_are_few_and_an_unused_connection_sends_only_one() {
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
