//! Extreme durations and clocks: no duration that the application or the peer sets is too long for
//! the engine.

use std::time::Duration;

use bytes::Bytes;
use proptest::{collection::vec, prelude::*, sample::select, test_runner::RngSeed};
use wsmux_proto::{Config, Connection, Dir, Frame, Incoming, Wire};

use crate::support::*;

const NANOSECOND: Duration = Duration::from_nanos(1);

/// The durations at which arithmetic is most likely to go wrong.
const EXTREMES: [Duration; 9] = [
    Duration::ZERO,
    NANOSECOND,
    Duration::from_millis(1),
    Duration::from_secs(30),
    Duration::from_secs(u32::MAX as u64),
    Duration::from_millis(u64::MAX),
    Duration::from_secs(u64::MAX / 3),
    Duration::MAX.saturating_sub(Duration::from_secs(1)),
    Duration::MAX,
];

/// Values of the peer's `max_idle_timeout` in milliseconds: the extreme values and a usual value.
const OF_PEER: [u64; 4] = [0, 1, 30_000, (1 << 62) - 1];

fn extreme() -> impl Strategy<Value = Duration> {
    select(&EXTREMES[..])
}

fn optional() -> impl Strategy<Value = Option<Duration>> {
    proptest::option::of(extreme())
}

/// One step of a test case. No step moves the clock back.
#[derive(Debug, Clone)]
enum Step {
    /// Moves the clock forward by this much, or to its end if that is sooner.
    Later(Duration),
    /// Moves the clock to the next deadline, and then forward by this duration.
    Deadline(Duration),
    Padding,
    Ping,
    Pong,
    Answer,
    Data,
    Write,
    Full,
    Drain(Option<Duration>),
    Close,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => extreme().prop_map(Step::Later),
        6 => extreme().prop_map(Step::Deadline),
        2 => Just(Step::Padding),
        2 => Just(Step::Ping),
        2 => Just(Step::Pong),
        4 => Just(Step::Answer),
        2 => Just(Step::Data),
        2 => Just(Step::Write),
        2 => Just(Step::Full),
        1 => optional().prop_map(Step::Drain),
        1 => Just(Step::Close),
    ]
}

fn apply(peer: &mut ScriptedPeer, step: &Step, pings: &mut Vec<Said>) {
    let id = bidi(CLIENT, 0);
    let is_qmux = peer.wire == Wire::QMux;
    match step {
        Step::Later(by) => peer.now += *by,
        Step::Deadline(by) => {
            let due = peer.conn.poll_timeout().map_or(peer.now, |due| due + *by);
            peer.now = peer.now.max(due);
        }
        Step::Padding if is_qmux => peer.send(&[Frame::Padding(1)]),
        Step::Padding => peer.send(&[ack(id, 1)]),
        Step::Ping => peer.conn.handle(peer.now, Incoming::Ping),
        Step::Pong => peer.conn.handle(peer.now, Incoming::Pong(b"unasked".to_vec().into())),
        Step::Answer => match pings.pop() {
            Some(Said::Ping(payload)) => {
                peer.conn.handle(peer.now, Incoming::Pong(payload.to_vec().into()))
            }
            Some(Said::Frames(frames)) => {
                for frame in frames {
                    if let Frame::Ping(number) = frame {
                        peer.send(&[Frame::Pong(number)]);
                    }
                }
            }
            _ => {}
        },
        Step::Data if is_qmux => {
            peer.send(&[stream(id, 0, b"data", false)]);
            let _ = peer.conn.recv_stream(peer.now, id).read(usize::MAX);
        }
        Step::Data => {}
        Step::Write => {
            while let Ok(Some(id)) = peer.conn.open(Dir::Bi)
                && id.index() < 3
            {
                let _ = peer.conn.send_stream(peer.now, id).write(&[0; 1_000]);
            }
        }
        Step::Full => peer.conn.handle_socket_full(peer.now),
        Step::Drain(timeout) => {
            let deadline = timeout.and_then(|timeout| peer.now.checked_add(timeout));
            peer.conn.drain(peer.now, deadline);
        }
        Step::Close => peer.conn.close(peer.now, code(7), Bytes::new()),
    }
    // At the end of the clock, up to three deadlines can be due at the same time: for a ping, for
    // the timeout after the ping, and for a close. So the timers are handled three times. If a
    // deadline were still due after that, a driver would spin.
    for _ in 0..3 {
        peer.conn.handle_timeout(peer.now);
        let pinged = |said: &Said| !matches!(said, Said::Close { .. });
        pings.extend(peer.said().into_iter().filter(pinged));
    }
    let _ = (peer.conn.stats(peer.now), peer.conn.rtt());
    peer.events();
    let due = peer.conn.poll_timeout();
    assert!(due.is_none_or(|due| due > peer.now), "{due:?} is past at {:?}", peer.now);
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(0x5eed),
        ..ProptestConfig::default()
    })]

    /// [C-81] A duration that the application or the peer sets MUST NOT cause a panic, however long
    /// the duration is. If no clock can reach a deadline, there is no deadline.
    #[test]
    fn no_duration_and_no_clock_panics_the_engine(
        js_ws in any::<bool>(),
        server in any::<bool>(),
        growth in any::<bool>(),
        [idle, keep_alive] in [optional(), optional()],
        [handshake, close, start] in [extreme(), extreme(), extreme()],
        cancelled in select(&[None, Some(0), Some(1), Some(u64::MAX)][..]),
        of_peer in select(&OF_PEER[..]),
        established in prop_oneof![1 => Just(false), 4 => Just(true)],
        steps in vec(step(), 1..40),
    ) {
        let mut config = Config::default();
        config.max_idle_timeout(idle).keep_alive_interval(keep_alive).handshake_timeout(handshake);
        config.close_timeout(close).cancelled_streams_per_second(cancelled);
        if !growth {
            config.window_growth_budget(0);
        }
        let wire = if js_ws { Wire::JsWs } else { Wire::QMux };
        let side = if server { SERVER } else { CLIENT };
        let mut peer = ScriptedPeer::fresh(wire, side, &config);
        peer.now = at(start);
        let mut said = peer.said();
        if wire == Wire::QMux && established {
            peer.send_bytes(parameters_frame(&[
                parameter(1, of_peer), parameter(4, 1 << 40), parameter(6, 1 << 20), parameter(8, 9),
            ]));
        }
        for step in &steps {
            apply(&mut peer, step, &mut said);
        }
    }
}

/// [C-81] A duration that the application or the peer sets MUST NOT cause a panic, however long the
/// duration is. If no clock can reach a deadline, there is no deadline.
#[test]
fn a_time_that_no_clock_reaches_means_never() {
    let set = |config: &mut Config, index| {
        let longest = Duration::MAX;
        match index {
            0 => config.max_idle_timeout(Some(longest)).keep_alive_interval(None),
            1 => config.max_idle_timeout(None).keep_alive_interval(Some(longest)),
            2 => config.max_idle_timeout(Some(longest)).keep_alive_interval(Some(longest)),
            _ => config.max_idle_timeout(None).keep_alive_interval(None),
        };
        config.handshake_timeout(longest).close_timeout(longest).window_growth_budget(0);
    };
    for wire in WIRES {
        for index in 0..4 {
            let mut config = Config::default();
            set(&mut config, index);
            let mut peer = ScriptedPeer::fresh(wire, SERVER, &config);
            peer.now = at(NANOSECOND);
            peer.said();
            if wire == Wire::QMux {
                peer.send_bytes(parameters_frame(&[parameter(1, 0)]));
            } else {
                peer.send(&[ack(bidi(CLIENT, 0), 1)]);
            }
            // If `index` is 2, the keep-alive ping is due after a third of the idle timeout. A
            // clock can reach this time, so only this case has a deadline.
            let asks = index == 2;
            assert_eq!(peer.conn.poll_timeout().is_some(), asks, "{wire:?}, {index}");
            peer.conn.close(peer.now, code(0), Bytes::new());
            assert!(matches!(peer.said()[..], [.., Said::Close { .. }]), "{wire:?}");
            assert_eq!(peer.conn.poll_timeout(), None, "the close waits for the peer alone");
            peer.conn.handle_timeout(at(secs(1 << 40)));
            assert!(!peer.conn.is_closed(), "{wire:?}");
            peer.conn.handle(peer.now, Incoming::Close { code: Some(1000), reason: String::new() });
            assert!(peer.conn.is_closed(), "{wire:?}");
        }
    }
}

/// [C-81] A duration that the application or the peer sets MUST NOT cause a panic, however long the
/// duration is. If no clock can reach a deadline, there is no deadline.
#[test]
fn a_handshake_without_a_deadline_is_still_a_handshake() {
    let mut config = Config::default();
    config.handshake_timeout(Duration::MAX).max_idle_timeout(None);
    config.keep_alive_interval(Some(secs(10))).window_growth_budget(0);
    let mut peer = ScriptedPeer::fresh(Wire::QMux, CLIENT, &config);
    peer.now = at(secs(1));
    assert_eq!(peer.said().len(), 1, "its parameters");
    // The connection was created at time zero, so the clock can just reach a deadline of
    // `Duration::MAX`.
    let due = peer.conn.poll_timeout();
    assert!(due.is_none_or(|due| due == at(Duration::MAX)), "{due:?}: the peer has not begun");
}

/// [C-81] A duration that the application or the peer sets MUST NOT cause a panic, however long the
/// duration is. If no clock can reach a deadline, there is no deadline.
#[test]
fn a_connection_may_begin_at_any_time() {
    for wire in WIRES {
        for (start, timeout) in EXTREMES.into_iter().flat_map(|a| EXTREMES.map(|b| (a, b))) {
            let mut config = Config::default();
            config.handshake_timeout(timeout).close_timeout(timeout);
            config.max_idle_timeout(Some(timeout)).keep_alive_interval(Some(timeout));
            let mut connection = Connection::new(config, CLIENT, wire, at(start));
            assert!(connection.poll_timeout().is_none_or(|due| due >= at(start)));
            connection.close(at(Duration::MAX), code(0), Bytes::new());
            assert!(connection.poll_timeout().is_none_or(|due| due == at(Duration::MAX)));
        }
    }
}

/// Rounding one nanosecond down would give zero, which means "no timeout" on the wire.
#[test]
fn the_shortest_idle_timeout_is_still_one_on_the_wire() {
    let mut config = Config::default();
    config.max_idle_timeout(Some(NANOSECOND)).window_growth_budget(0);
    let mut peer = ScriptedPeer::fresh(Wire::QMux, CLIENT, &config);
    let [Frame::TransportParameters(parameters)] = peer.frames()[..] else { panic!() };
    assert_eq!(parameters.max_idle_timeout, ms(1));
}
