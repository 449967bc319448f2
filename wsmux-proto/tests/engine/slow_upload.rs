//! A slow path with large buffers below the engine. The answer to a ping comes late. Until then,
//! only the room that becomes free in the socket shows that the path still carries data.

use std::time::Duration;

use crate::support::*;
use wsmux_proto::{Config, ConnectionError, Dir, Frame, Incoming, Side, StreamId, Timeout, Wire};

/// The path's rate in bytes a second.
const RATE: u64 = 8_000;
/// How many bytes the socket and the network can hold. At `RATE`, they take 32 s to send.
const DEPTH: usize = 256 * 1024;
const IDLE: Duration = secs(30);

/// A client that uploads over a path with this rate and depth. The direction back to the client is
/// fast.
struct Upload {
    pair: Pair,
    id: StreamId,
    /// How many bytes the application has not written yet.
    left: usize,
    read: usize,
}

impl Upload {
    fn new(wire: Wire) -> Self {
        Self::with_config(wire, &Config::default())
    }

    fn with_config(wire: Wire, config: &Config) -> Self {
        let mut pair = Pair::new(wire, config);
        for end in [&mut pair.client, &mut pair.server] {
            end.record = false;
        }
        let id = pair.open_bi(CLIENT);
        pair.latency = ms(20);
        (pair.client.rate, pair.client.capacity) = (Some(RATE), Some(DEPTH));
        Self { pair, id, left: usize::MAX, read: 0 }
    }

    fn step(&mut self) {
        let mut send = self.pair.client.conn.send_stream(self.pair.now, self.id);
        while self.left > 0 {
            let piece = self.left.min(16 * 1024);
            match send.write(&[7; 16 * 1024][..piece]) {
                Ok(0) | Err(_) => break,
                Ok(taken) => self.left -= taken,
            }
        }
        self.pair.tick(ms(10));
        self.read += self.pair.server.read(self.id).0.len();
        self.pair.client.take_events();
        self.pair.server.take_events();
    }

    fn run(&mut self, time: Duration) {
        let until = self.pair.now + time;
        while self.pair.now < until {
            self.step();
        }
    }

    fn reason(&mut self, side: Side) -> Option<ConnectionError> {
        self.pair.end(side).conn.close_reason().cloned()
    }

    fn assert_open(&mut self) {
        for side in [CLIENT, SERVER] {
            let (now, reason) = (self.pair.now, self.reason(side));
            assert!(reason.is_none(), "{:?}, {side:?} at {now:?}: {reason:?}", self.pair.wire);
        }
    }
}

/// [C-90] When a full socket accepts bytes again, two timers MUST restart: the idle timer (C-42),
/// and the wait for the answer to a ping (C-45).
#[test]
fn a_slow_upload_through_a_deep_buffer_lives() {
    for wire in WIRES {
        let mut upload = Upload::new(wire);
        for _ in 0..300 {
            upload.run(secs(1));
            upload.assert_open();
        }
        let least = (300 - 1) * RATE as usize - DEPTH;
        assert!(upload.read > least, "{wire:?}: {} bytes arrived", upload.read);
    }
}

/// [C-91] The effective idle timeout MUST be at least three times the newest round-trip time of a
/// ping. But this rule MUST NOT make the timeout longer than three times the smaller of the two
/// declared timeouts.
#[test]
fn the_last_bytes_of_a_slow_upload_have_their_time() {
    for wire in WIRES {
        // The upload may end at any time after a ping was sent, so the test tries several moments
        // for its end.
        for end in (60..=100).step_by(4) {
            let mut upload = Upload::new(wire);
            upload.run(secs(end));
            upload.left = 0;
            upload.run(secs(100));
            upload.assert_open();
        }
    }
}

/// [C-45] If a ping is unanswered, and nothing at all has arrived for as long as the effective idle
/// timeout, the connection MUST time out. This also holds if this end has sent messages in that
/// time, which restart the idle timer (C-42). If there is no effective idle timeout, three
/// keep-alive intervals take its place.
/// [C-91] The effective idle timeout MUST be at least three times the newest round-trip time of a
/// ping. But this rule MUST NOT make the timeout longer than three times the smaller of the two
/// declared timeouts.
#[test]
fn an_upload_into_a_black_hole_is_given_up_in_time() {
    for wire in WIRES {
        for (begins, most) in [(5, IDLE), (150, 3 * IDLE)] {
            let mut upload = Upload::new(wire);
            upload.run(secs(begins));
            upload.pair.client.black_hole = true;
            upload.pair.server.black_hole = true;
            let start = upload.pair.now;
            while upload.reason(CLIENT).is_none() {
                assert!(upload.pair.now <= start + most + secs(1), "{wire:?}, {begins}: it lives");
                upload.step();
            }
            let reason = upload.reason(CLIENT);
            let silent = |timeout: &Timeout| matches!(timeout, Timeout::Idle | Timeout::KeepAlive);
            let timed_out =
                matches!(&reason, Some(ConnectionError::TimedOut(timeout)) if silent(timeout));
            let stalled = matches!(reason, Some(ConnectionError::TimedOut(Timeout::WriteStall)));
            assert!(timed_out || stalled && begins == 150, "{wire:?}, {begins}: {reason:?}");
        }
    }
}

/// Makes the peer answer a ping after `seconds`, and send nothing after that. Returns how long the
/// connection then lasts.
fn silence_after_round_trip(wire: Wire, seconds: u64) -> Duration {
    let mut config = Config::default();
    config.window_growth_budget(0);
    let mut peer = ScriptedPeer::new(wire, CLIENT, &config);
    peer.now = at(secs(10));
    peer.conn.handle_timeout(peer.now);
    let ping = peer.said_next();
    for _ in 0..seconds {
        // The peer sends something that is no answer to a ping, so the connection stays open.
        peer.now += secs(1);
        match wire {
            Wire::QMux => peer.send(&[Frame::Padding(1)]),
            _ => peer.conn.handle(peer.now, Incoming::Ping),
        }
    }
    match ping {
        Some(Said::Frames(frames)) => {
            let [Frame::Ping(number)] = frames[..] else { panic!("{frames:?}") };
            peer.send(&[Frame::Pong(number)]);
        }
        Some(Said::Ping(payload)) => {
            peer.conn.handle(peer.now, Incoming::Pong(payload.to_vec().into()))
        }
        other => panic!("{other:?}"),
    }
    let answered = peer.now;
    while peer.conn.close_reason().is_none() {
        peer.now = peer.now.max(peer.conn.poll_timeout().expect("something is due"));
        peer.conn.handle_timeout(peer.now);
        peer.said();
    }
    peer.now - answered
}

/// [C-91] The effective idle timeout MUST be at least three times the newest round-trip time of a
/// ping. But this rule MUST NOT make the timeout longer than three times the smaller of the two
/// declared timeouts.
#[test]
fn the_idle_timeout_is_three_round_trips_and_no_longer_than_its_triple() {
    for wire in WIRES {
        for (round_trip, silence) in [(1, 30), (10, 30), (11, 33), (25, 75), (30, 90), (300, 90)] {
            let ended = silence_after_round_trip(wire, round_trip);
            assert_eq!(ended, secs(silence), "{wire:?}, {round_trip}");
        }
    }
}

/// Runs a client that has more to send than any window allows. The peer's TCP acknowledges
/// `acknowledged` more messages and then stops, because its application does not read. If `talks`
/// is true, the peer still sends messages of its own. Returns how long after the last acknowledged
/// message the connection ended, and by which timeout.
fn unread(wire: Wire, acknowledged: u64, talks: bool) -> (Duration, Timeout) {
    let mut config = Config::default();
    config.window_growth_budget(0);
    let mut peer = ScriptedPeer::new(wire, CLIENT, &config);
    let id = peer.conn.open(Dir::Bi).unwrap().unwrap();
    if wire == Wire::JsWs {
        peer.send(&[ack(id, 1 << 30)]);
    }
    let mut last = peer.now;
    for second in 0..1_000 {
        let _ = peer.conn.send_stream(peer.now, id).write(&[7; 100_000]);
        if second < acknowledged {
            peer.said_next().expect("there is always more");
            last = peer.now;
        }
        peer.conn.handle_socket_full(peer.now);
        peer.now += secs(1);
        match wire {
            _ if !talks => {}
            Wire::QMux => peer.send(&[Frame::Padding(1)]),
            _ => peer.conn.handle(peer.now, Incoming::Ping),
        }
        if peer.conn.poll_timeout().is_some_and(|timeout| timeout <= peer.now) {
            peer.conn.handle_timeout(peer.now);
        }
        if let Some(reason) = peer.conn.close_reason() {
            let ConnectionError::TimedOut(timeout) = reason else { panic!("{reason}") };
            return (peer.now - last, *timeout);
        }
    }
    panic!("{wire:?}: it lives for ever");
}

/// [C-78] If there is something to send, and the socket takes no message for the write-stall
/// timeout, the connection MUST time out, whatever arrives meanwhile.
#[test]
fn a_peer_whose_kernel_acknowledges_for_nobody_is_given_up() {
    for wire in WIRES {
        for acknowledged in [1, 40, 200] {
            let (after, timeout) = unread(wire, acknowledged, true);
            assert_eq!((after, timeout), (secs(60), Timeout::WriteStall), "{wire:?}");
            // If the peer also sends nothing, the connection ends sooner.
            let (after, timeout) = unread(wire, acknowledged, false);
            assert!(matches!(timeout, Timeout::Idle | Timeout::KeepAlive), "{wire:?}: {timeout:?}");
            assert!(after <= secs(31), "{wire:?}: {after:?}");
        }
    }
}
