//! Time: when a silent connection ends, what keeps a connection alive, and to which of the two ends
//! a delay is attributed.

use std::time::Duration;

use crate::support::*;
use wsmux_proto::{
    Config, ConnectionError, Dir, Frame, Incoming, SocketCapabilities, Timeout, Wire,
};

/// Returns a configuration without the pings that window growth needs. The module `windows` tests
/// the pings that window growth needs.
fn config(idle: Option<u64>, keep_alive: Option<u64>) -> Config {
    let mut config = Config::default();
    config.window_growth_budget(0);
    config.max_idle_timeout(idle.map(secs)).keep_alive_interval(keep_alive.map(secs));
    config
}

fn timed_out(conn: &wsmux_proto::Connection) -> Option<Timeout> {
    match conn.close_reason()? {
        ConnectionError::TimedOut(timeout) => Some(*timeout),
        other => panic!("{other}"),
    }
}

/// Handles each timer when it is due, up to `until`, like a driver that is never delayed. Returns
/// everything that was sent in this time.
fn wait(peer: &mut ScriptedPeer, until: Duration) -> Vec<Said> {
    let mut said = peer.said();
    for fired in 0.. {
        let Some(timeout) = peer.conn.poll_timeout().filter(|&timeout| timeout <= at(until)) else {
            break;
        };
        assert!(fired < 10_000, "a timer that is due again as soon as it was handled: {timeout:?}");
        peer.now = peer.now.max(timeout);
        peer.conn.handle_timeout(peer.now);
        said.extend(peer.said());
        if peer.conn.close_reason().is_some() {
            break;
        }
    }
    peer.now = peer.now.max(at(until));
    said
}

/// [C-42] The idle timer MUST restart with each message received and each message handed completely
/// to the transport.
/// On an idle or liveness timeout we MUST NOT send any frame, only the WebSocket Close.
#[test]
fn a_silent_connection_ends_by_the_idle_timeout_with_a_websocket_close() {
    for wire in WIRES {
        let mut peer = ScriptedPeer::new(wire, SERVER, &config(Some(30), None));
        assert_eq!(wait(&mut peer, secs(30) - ms(1)), []);
        peer.assert_open("not yet");
        let said = wait(&mut peer, secs(30));
        assert!(matches!(said[..], [Said::Close { code: 1001, .. }]), "{said:?} (Q-66)");
        assert_eq!(timed_out(&peer.conn), Some(Timeout::Idle));
    }
}

/// [C-42] The idle timer MUST restart with each message received and each message handed completely
/// to the transport.
#[test]
fn what_comes_and_what_goes_both_restart_the_idle_timer() {
    let id = bidi(CLIENT, 0);
    for wire in WIRES {
        let mut peer = ScriptedPeer::new(wire, SERVER, &config(Some(30), None));
        wait(&mut peer, secs(20));
        match wire {
            Wire::QMux => peer.send(&[stream(id, 0, b"", false)]),
            _ => peer.send(&[ack(id, 1 << 20)]),
        }
        assert!(wait(&mut peer, secs(49)).len() <= 1, "a message came at 20");
        peer.assert_open("a message came at 20");
        peer.conn.send_stream(peer.now, id).write(b"x").unwrap();
        assert_eq!(peer.said().len(), 1);
        wait(&mut peer, secs(78));
        peer.assert_open("a message left at 49");
        wait(&mut peer, secs(79));
        assert_eq!(timed_out(&peer.conn), Some(Timeout::Idle));
    }
}

#[test]
fn the_shorter_of_both_idle_timeouts_holds_and_zero_is_none() {
    for (ours, theirs, expected) in [
        (Some(30), 20, Some(20)),
        (Some(20), 30, Some(20)),
        (None, 20, Some(20)),
        (Some(20), 0, Some(20)),
        (None, 0, None),
    ] {
        let parameters =
            scripted_peer::generous_but(|limits| limits.max_idle_timeout = secs(theirs));
        let peer =
            ScriptedPeer::with_parameters(Wire::QMux, CLIENT, &config(ours, None), parameters);
        assert_eq!(peer.conn.poll_timeout(), expected.map(secs).map(at), "{ours:?} and {theirs}");
    }
}

#[test]
fn a_timeout_too_large_for_any_clock_is_no_panic() {
    let mut peer = ScriptedPeer::fresh(Wire::QMux, CLIENT, &config(None, Some(10)));
    peer.said();
    peer.send_bytes(parameters_frame(&[parameter(1, (1 << 62) - 1)]));
    peer.assert_open("2^62 - 1 milliseconds");
    assert_eq!(wait(&mut peer, secs(11)).len(), 1, "and pings go out");
}

/// [C-43] On QMux, WebSocket pings and pongs MUST NOT restart the idle timer. On js-ws they do.
#[test]
fn websocket_pings_restart_the_idle_timer_on_js_ws_alone() {
    for wire in WIRES {
        let mut peer = ScriptedPeer::new(wire, SERVER, &config(Some(30), None));
        for second in [20, 40] {
            wait(&mut peer, secs(second));
            peer.conn.handle(peer.now, Incoming::Ping);
            peer.conn.handle(peer.now, Incoming::Pong(b"unasked".to_vec().into()));
        }
        wait(&mut peer, secs(69));
        match wire {
            Wire::QMux => assert_eq!(timed_out(&peer.conn), Some(Timeout::Idle)),
            _ => peer.assert_open("a ping at 40"),
        }
    }
}

/// [C-44] When nothing has been received for the keep-alive interval, or for a third of the
/// effective idle timeout if that is shorter, a ping MUST be sent: QX_PING on QMux, WebSocket ping
/// on js-ws.
#[test]
fn keep_alive_keeps_an_idle_pair_alive() {
    for wire in WIRES {
        // The pings of one end keep both ends alive.
        for configs in [
            [config(Some(30), Some(10)), config(Some(30), None)],
            [config(Some(30), Some(1_000)), config(Some(30), Some(1_000))],
            [config(Some(3), Some(1)), config(Some(30), Some(10))],
        ] {
            let [client, server] = configs;
            let mut pair = Pair::unconnected(wire, client, server);
            pair.latency = ms(100);
            pair.pass(secs(600));
            for end in [&pair.client, &pair.server] {
                assert!(end.conn.close_reason().is_none(), "{:?}", end.conn.close_reason());
            }
            assert_eq!(pair.client.conn.rtt(), Some(ms(200)));
            let sent = pair.client.sent.len() + pair.server.sent.len();
            assert!(sent < 2_500, "{sent} messages in 600 s");
        }
    }
}

/// [C-43] On QMux, WebSocket pings and pongs MUST NOT restart the idle timer. On js-ws they do.
/// [C-44] When nothing has been received for the keep-alive interval, or for a third of the
/// effective idle timeout if that is shorter, a ping MUST be sent: QX_PING on QMux, WebSocket ping
/// on js-ws.
#[test]
fn keep_alive_keeps_a_connection_that_receives_only_websocket_pings() {
    // A proxy's pings prove only that the proxy is alive. On QMux a proxy's pings do not restart
    // the idle timer (C-43). So a proxy's pings must not suppress our own pings, which do restart
    // the timer.
    let mut peer = ScriptedPeer::new(Wire::QMux, SERVER, &config(Some(30), Some(10)));
    for second in (5..300).step_by(5) {
        for said in wait(&mut peer, secs(second)) {
            let Said::Frames(frames) = said else { panic!("{said:?} at {second}") };
            for frame in frames {
                let Frame::Ping(number) = frame else { panic!("{frame:?}") };
                peer.send(&[Frame::Pong(number)]);
            }
        }
        peer.assert_open(&format!("at {second}"));
        peer.conn.handle(peer.now, Incoming::Ping);
    }
}

/// [W-10] An unsolicited pong MUST be ignored.
#[test]
fn a_websocket_pong_is_no_answer_to_a_qx_ping() {
    let mut peer = ScriptedPeer::new(Wire::QMux, SERVER, &config(Some(30), Some(10)));
    let said = wait(&mut peer, secs(10));
    assert_eq!(said, [Said::Frames(vec![Frame::Ping(code(0))])]);
    peer.conn.handle(at(secs(10)), Incoming::Pong(0u64.to_be_bytes().to_vec().into()));
    assert_eq!(peer.conn.rtt(), None, "nobody asked for it (W-10)");
}

/// [C-45] If a ping is unanswered, and nothing at all has arrived for as long as the effective idle
/// timeout, the connection MUST time out. This also holds if this end has sent messages in that
/// time, which restart the idle timer (C-42). If there is no effective idle timeout, three
/// keep-alive intervals take its place.
#[test]
fn a_peer_that_is_gone_is_noticed_though_we_go_on_sending() {
    for wire in WIRES {
        let mut pair = Pair::new(wire, &config(Some(30), Some(10)));
        let id = pair.open_bi(CLIENT);
        pair.client.black_hole = true;
        pair.server.black_hole = true;
        let start = pair.now;
        while pair.client.conn.close_reason().is_none() {
            // Each write restarts the idle timer. So the idle timer alone would keep a dead
            // connection alive for ever.
            pair.client.conn.send_stream(pair.now, id).write(b"into the void").unwrap();
            pair.pass(secs(1));
            assert!(
                pair.now - start <= secs(41),
                "{wire:?}: an idle timeout after the ping at most"
            );
        }
        assert_eq!(timed_out(&pair.client.conn), Some(Timeout::KeepAlive));
        assert!(pair.now - start >= secs(29), "and not before the peer had its time");
    }
}

#[test]
fn a_peer_that_only_listens_is_not_taken_for_dead() {
    for wire in WIRES {
        let mut pair = Pair::new(wire, &config(Some(30), Some(10)));
        let id = pair.open_bi(CLIENT);
        pair.latency = secs(1);
        for _ in 0..300 {
            pair.client.conn.send_stream(pair.now, id).write(b"x").unwrap();
            pair.pass(secs(1));
        }
        assert!(pair.client.conn.close_reason().is_none());
    }
}

/// [W-23] The handshake timeout MUST cover everything from the first byte of the connection to its
/// readiness: TLS, HTTP upgrade, and on QMux the peer's transport parameters.
#[test]
fn a_peer_that_never_sends_its_parameters_is_given_up() {
    for idle in [None, Some(30)] {
        let mut peer = ScriptedPeer::fresh(Wire::QMux, CLIENT, &config(idle, Some(1)));
        assert!(matches!(wait(&mut peer, secs(10) - ms(1))[..], [Said::Frames(_)]), "parameters");
        let said = wait(&mut peer, secs(10));
        assert!(matches!(said[..], [Said::Close { code: 1001, .. }]), "{said:?}");
        assert_eq!(timed_out(&peer.conn), Some(Timeout::Handshake));
    }
    let peer = ScriptedPeer::fresh(Wire::JsWs, CLIENT, &config(None, None));
    assert_eq!(peer.conn.poll_timeout(), None, "js-ws awaits nothing");
    let peer = ScriptedPeer::new(Wire::QMux, CLIENT, &config(None, None));
    assert_eq!(peer.conn.poll_timeout(), None, "they came");
}

/// [C-46] Messages that the socket can already deliver MUST be processed before a timer that is due
/// is allowed to end the connection.
#[test]
fn our_own_stall_is_not_blamed_on_the_peer() {
    for wire in WIRES {
        for keep_alive in [None, Some(10)] {
            // The machine sleeps for an hour. When the machine wakes, the peer's message is still
            // in the socket.
            let mut peer = ScriptedPeer::new(wire, SERVER, &config(Some(30), keep_alive));
            wait(&mut peer, secs(5));
            peer.now = at(secs(3_600));
            peer.conn.handle_timeout(peer.now);
            peer.assert_open("we slept, not the peer");
            assert!(peer.conn.poll_timeout() > Some(peer.now), "and it gets a little time");
            // The peer is alive at first, and its message is processed. After that the peer sends
            // nothing, and the engine gives up the peer.
            match peer.said().pop() {
                Some(Said::Frames(frames)) => {
                    let [Frame::Ping(number)] = frames[..] else { panic!("{frames:?}") };
                    peer.send(&[Frame::Pong(number)]);
                }
                Some(Said::Ping(payload)) => {
                    peer.conn.handle(peer.now, Incoming::Pong(payload.to_vec().into()))
                }
                other => {
                    assert_eq!((other, keep_alive), (None, None));
                    peer.send(&[match wire {
                        Wire::QMux => Frame::Padding(1),
                        _ => ack(bidi(CLIENT, 0), 1),
                    }]);
                }
            }
            peer.said();
            wait(&mut peer, secs(3_609));
            peer.assert_open("it lives");
            wait(&mut peer, secs(3_700));
            assert!(timed_out(&peer.conn).is_some(), "and then no more");
        }
    }
}

#[test]
fn a_dead_peer_is_given_up_soon_after_our_own_stall() {
    for wire in WIRES {
        let mut peer = ScriptedPeer::new(wire, SERVER, &config(Some(30), Some(10)));
        peer.now = at(secs(3_600));
        peer.conn.handle_timeout(peer.now);
        wait(&mut peer, secs(3_640));
        assert!(timed_out(&peer.conn).is_some());
    }
}

/// Handles timers up to 100,000 times. Each time, it handles them `late` after the deadline, and
/// then calls `act`. Stops when the connection ends. Returns how often it handled timers.
fn look_late(peer: &mut ScriptedPeer, late: Duration, act: impl Fn(&mut ScriptedPeer)) -> u32 {
    for looks in 0..100_000 {
        if peer.conn.close_reason().is_some() {
            return looks;
        }
        let due = peer.conn.poll_timeout().expect("something is due");
        peer.now = peer.now.max(due) + late;
        peer.conn.handle_timeout(peer.now);
        peer.said();
        act(peer);
    }
    100_000
}

/// [C-80] If this end notices a second or more late that the peer has been silent for too long
/// (C-42, C-45), it MUST wait longer before the connection times out: for a second, or for the
/// timeout if the timeout is shorter. If keep-alive is on and no ping is unanswered, this end MUST
/// then send a ping. This end waits longer in this way only once, until the next message arrives.
#[test]
fn timers_that_are_always_late_do_not_keep_a_dead_peer() {
    for wire in WIRES {
        for keep_alive in [None, Some(10)] {
            for late in [secs(1), secs(5)] {
                let mut peer = ScriptedPeer::new(wire, SERVER, &config(Some(30), keep_alive));
                let looks = look_late(&mut peer, late, |_| {});
                assert!(timed_out(&peer.conn).is_some(), "{wire:?}: {looks} looks without an end");
                assert!(peer.now < at(secs(60)), "{wire:?}: only after {:?}", peer.now);
            }
        }
    }
}

/// [C-80] If this end notices a second or more late that the peer has been silent for too long
/// (C-42, C-45), it MUST wait longer before the connection times out: for a second, or for the
/// timeout if the timeout is shorter. If keep-alive is on and no ping is unanswered, this end MUST
/// then send a ping. This end waits longer in this way only once, until the next message arrives.
#[test]
fn neither_our_own_sends_nor_a_proxys_pings_put_off_late_deadlines_again() {
    let id = bidi(CLIENT, 0);
    for wire in WIRES {
        let mut peer = ScriptedPeer::new(wire, SERVER, &config(Some(30), Some(10)));
        match wire {
            Wire::QMux => peer.send(&[stream(id, 0, b"", false)]),
            _ => peer.send(&[ack(id, 1 << 20)]),
        }
        look_late(&mut peer, secs(1), |peer| {
            let _ = peer.conn.send_stream(peer.now, id).write(b"into the void");
            peer.said();
        });
        assert!(timed_out(&peer.conn).is_some(), "{wire:?}");
        assert!(peer.now < at(secs(60)), "{wire:?}: only after {:?}", peer.now);
    }
    let mut peer = ScriptedPeer::new(Wire::QMux, SERVER, &config(Some(30), Some(10)));
    look_late(&mut peer, secs(1), |peer| peer.conn.handle(peer.now, Incoming::Ping));
    assert_eq!(timed_out(&peer.conn), Some(Timeout::Idle));
    assert!(peer.now < at(secs(60)), "only after {:?}", peer.now);
}

/// A laptop is suspended for an hour, a process is stopped for 40 s, or all timers are late.
/// However often such a stall happens, this end never gives up a peer that answers.
#[test]
fn a_live_peer_survives_any_number_of_our_own_stalls() {
    for wire in WIRES {
        for (keep_alive, stall) in
            [(Some(10), 3_600), (Some(10), 40), (Some(1_000), 40), (Some(10), 1)]
        {
            let mut peer = ScriptedPeer::new(wire, SERVER, &config(Some(30), keep_alive));
            for round in 0..1_000 {
                peer.now = peer.now.max(peer.conn.poll_timeout().unwrap()) + secs(stall);
                peer.conn.handle_timeout(peer.now);
                peer.assert_open(&format!("{wire:?}, {stall} s, round {round}"));
                for said in peer.said() {
                    match said {
                        Said::Ping(payload) => {
                            peer.now += ms(200);
                            peer.conn.handle(peer.now, Incoming::Pong(payload.to_vec().into()));
                        }
                        Said::Frames(frames) => {
                            let [Frame::Ping(number)] = frames[..] else { panic!("{frames:?}") };
                            peer.now += ms(200);
                            peer.send(&[Frame::Pong(number)]);
                        }
                        Said::Close { .. } => panic!("{wire:?}, {stall} s, round {round}"),
                    }
                }
            }
        }
    }
}

/// Our QX_PING requests MUST have strictly increasing sequence numbers.
/// A QX_PING request MUST be answered by a response with the same number. If several
/// requests wait, only the request with the largest number is answered.
#[test]
fn only_the_newest_of_several_pings_is_answered_and_ours_rise() {
    let mut peer = ScriptedPeer::new(Wire::QMux, SERVER, &config(Some(30), Some(10)));
    peer.send(&[Frame::Ping(code(0)), Frame::Ping(code(5))]);
    peer.send(&[Frame::Ping(code(6))]);
    assert_eq!(peer.frames(), [Frame::Pong(code(6))]);
    let mut last = None;
    for round in 1..5 {
        for said in wait(&mut peer, secs(10 * round)) {
            let Said::Frames(frames) = said else { panic!("{said:?}") };
            let [Frame::Ping(number)] = frames[..] else { panic!("{frames:?}") };
            assert!(last < Some(number), "they rise");
            last = Some(number);
            peer.send(&[Frame::Pong(number)]);
        }
    }
    assert!(last.is_some());
}

#[test]
fn a_connection_without_timeout_waits_for_ever_yet_finds_a_dead_peer() {
    for wire in WIRES {
        let parameters =
            scripted_peer::generous_but(|limits| limits.max_idle_timeout = Duration::ZERO);
        let silent = config(None, None);
        let peer = ScriptedPeer::with_parameters(wire, CLIENT, &silent, parameters);
        assert_eq!(peer.conn.poll_timeout(), None);
        let mut peer =
            ScriptedPeer::with_parameters(wire, CLIENT, &config(None, Some(10)), parameters);
        wait(&mut peer, secs(60));
        assert_eq!(timed_out(&peer.conn), Some(Timeout::KeepAlive));
    }
}

/// The capabilities of a web page's WebSocket.
const PAGE: SocketCapabilities = SocketCapabilities::new().pings(false).all_close_codes(false);

/// [C-47] Where the platform has no ping for the wire (js-ws in a web page), keep-alive, idle
/// timeout and liveness MUST NOT run.
#[test]
fn a_page_on_js_ws_neither_breaks_silence_nor_ends_for_it() {
    let mut peer = ScriptedPeer::new(Wire::JsWs, CLIENT, &config(Some(30), Some(10)));
    peer.conn.set_socket_capabilities(PAGE);
    // A stream that waits for its peer does not end the connection either.
    let id = peer.conn.open(Dir::Bi).unwrap().unwrap();
    peer.conn.send_stream(peer.now, id).write(b"no credit yet").unwrap();
    assert_eq!(wait(&mut peer, secs(1)).len(), 1, "the stream's Ack");
    assert_eq!(wait(&mut peer, secs(1_000_000)), []);
    peer.assert_open("nobody can tell");
    assert_eq!(peer.conn.poll_timeout(), None);
}

/// On QMux pings are frames, so a page needs no WebSocket pings.
#[test]
fn a_page_on_qmux_pings_and_times_out_as_any_other_end() {
    let mut peer = ScriptedPeer::new(Wire::QMux, CLIENT, &config(Some(30), Some(10)));
    peer.conn.set_socket_capabilities(PAGE);
    let said = wait(&mut peer, secs(60));
    let [Said::Frames(ping), Said::Close { code: 4999, .. }] = &said[..] else {
        panic!("{said:?}")
    };
    assert!(matches!(ping[..], [Frame::Ping(_)]), "{ping:?}");
    assert_eq!(timed_out(&peer.conn), Some(Timeout::KeepAlive));
}

/// The peer's idle timeout determines how often this end pings, and the answers to these pings are
/// not charged to a budget. So this end itself has to limit the number of its pings.
#[test]
fn a_peers_idle_timeout_of_a_millisecond_makes_no_flood_of_pings() {
    let parameters = scripted_peer::generous_but(|limits| limits.max_idle_timeout = ms(1));
    let mut peer =
        ScriptedPeer::with_parameters(Wire::QMux, SERVER, &Config::default(), parameters);
    // The peer answers the ping that was sent with our parameters.
    peer.send(&[Frame::Pong(code(0))]);
    let (mut timers, mut pings) = (0, 0);
    while peer.now < at(secs(10)) {
        for said in peer.said() {
            let Said::Frames(frames) = said else { panic!("{said:?}, {timers} timers") };
            for frame in frames {
                if let Frame::Ping(number) = frame {
                    pings += 1;
                    peer.send(&[Frame::Pong(number)]);
                }
            }
        }
        peer.now = peer.conn.poll_timeout().unwrap().max(peer.now);
        peer.conn.handle_timeout(peer.now);
        timers += 1;
    }
    let useless = peer.conn.stats(peer.now).useless_received;
    assert!(pings < 2_000, "{timers} timers and {pings} pings in 10 s; charged: {useless}");
}

/// Both ends have a short idle timeout and nothing to send.
#[test]
fn two_ends_with_a_short_idle_timeout_do_not_ping_each_other_to_death() {
    let mut config = Config::default();
    config.max_idle_timeout(Some(ms(24)));
    let mut pair = Pair::new(Wire::QMux, &config);
    pair.pass(secs(120));
    for end in [&pair.client, &pair.server] {
        assert!(end.conn.is_established(), "at {:?}: {:?}", pair.now, end.conn.close_reason());
    }
}
