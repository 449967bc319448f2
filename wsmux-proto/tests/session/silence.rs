//! Sockets that are still open but carry nothing, and sockets that a proxy closes.

use std::time::Duration;

use wsmux_proto::{
    Config, ConnectionError, Dir, Incoming, SessionState, Side, SocketError, Time, Timeout,
};

use crate::{
    net::{Net, resumable},
    support::*,
};

/// Lets one end handle its timers until its state changes. Nothing reaches the other end meanwhile.
/// Returns the time of the change.
fn alone(net: &mut Net, side: Side) -> Time {
    let before = net.end(side).session.state();
    for _ in 0..1_000 {
        let due = net.end(side).session.poll_timeout().expect("a timer");
        net.now = net.now.max(due);
        let now = net.now;
        net.end(side).session.handle_timeout(now);
        while net.send_one(side) {}
        net.end(side).in_flight.clear();
        if net.end(side).session.state() != before {
            return now;
        }
    }
    panic!("it stays in the state {before:?}");
}

fn reason(net: &mut Net, side: Side) -> Option<ConnectionError> {
    net.end(side).session.engine().close_reason().cloned()
}

/// While a ping is unanswered, the idle timeout and C-45 MUST suspend a connection that can
/// be resumed, and not end it. The connection MUST be suspended after two thirds of the effective
/// idle timeout. But if the timeout of R-4 is shorter than the remaining third, the connection MUST
/// be suspended later: at the moment when the remaining part of the effective idle timeout is as
/// long as the timeout of R-4.
/// If silence has suspended a connection, the connection MUST end when the longer of two
/// times has passed since the silence began. The two times are the effective idle timeout and the
/// timeout of R-4.
#[test]
fn a_peer_that_is_gone_is_reported_no_later_than_by_the_idle_timeout() {
    for (resume, suspended, ended) in [(1, 29, 30), (5, 25, 30), (12, 20, 30), (30, 20, 30)] {
        assert_silence(resume, suspended, ended);
    }
    // Here the application has set a resume timeout that is longer than the idle timeout.
    assert_silence(60, 20, 60);
    assert_silence(3_600, 20, 3_600);
}

fn assert_silence(resume: u64, suspended: u64, ended: u64) {
    for side in [CLIENT, SERVER] {
        let mut config = Config::default();
        config.resume_timeout(Some(secs(resume)));
        let mut net = Net::new(&config);
        let start = net.now;
        assert_eq!(alone(&mut net, side) - start, secs(suspended), "{resume}");
        assert_eq!(net.end(side).session.state(), SessionState::Suspended);
        assert_eq!(net.end(side).session.suspension_deadline(), Some(start + secs(ended)));
        assert_eq!(alone(&mut net, side) - start, secs(ended), "{resume}");
        let reason = reason(&mut net, side);
        assert!(
            matches!(reason, Some(ConnectionError::TimedOut(Timeout::KeepAlive))),
            "{reason:?}"
        );
        assert!(net.end(side).session.is_closed());
    }
}

#[test]
fn a_connection_goes_on_after_silence() {
    let mut net = Net::new(&resumable());
    let id = net.client.session.engine_mut().open(Dir::Uni).unwrap().unwrap();
    let now = net.now;
    net.client.session.engine_mut().send_stream(now, id).write(b"lost at first").unwrap();
    alone(&mut net, CLIENT);
    net.dial();
    net.settle();
    net.assert_live();
    assert_eq!(net.server.session.engine_mut().accept(Dir::Uni), Some(id));
    let now = net.now;
    let read = net.server.session.engine_mut().recv_stream(now, id).read(100);
    assert_eq!(read.unwrap(), wsmux_proto::Read::Data("lost at first".into()));
}

/// While a ping is unanswered, the idle timeout and C-45 MUST suspend a connection that can
/// be resumed, and not end it. The connection MUST be suspended after two thirds of the effective
/// idle timeout. But if the timeout of R-4 is shorter than the remaining third, the connection MUST
/// be suspended later: at the moment when the remaining part of the effective idle timeout is as
/// long as the timeout of R-4.
#[test]
fn the_pings_of_a_proxy_do_not_keep_a_silent_peer() {
    let mut net = Net::new(&resumable());
    let start = net.now;
    while net.client.session.state() == SessionState::Live {
        net.now += secs(1);
        let (now, link) = (net.now, net.client.link);
        net.client.session.handle(now, link, Incoming::Ping);
        net.client.session.handle_timeout(now);
        while net.send_one(CLIENT) {}
    }
    // The ping that was sent after 10 s restarted the idle timer (C-42).
    assert_eq!(net.now - start, secs(30));
    assert_eq!(net.client.session.state(), SessionState::Suspended);
}

#[test]
fn an_end_that_has_slept_asks_before_it_gives_up_its_socket() {
    let mut net = Net::new(&resumable());
    net.now += secs(3_600);
    net.client.session.handle_timeout(net.now);
    net.settle();
    net.assert_live();
    assert_eq!(net.client.session.session_stats().resumptions, 0);
    // If there is no answer, a little time remains for a new socket.
    net.now += secs(3_600);
    let woken = net.now;
    assert_eq!(alone(&mut net, CLIENT) - woken, secs(1));
    assert_eq!(net.client.session.state(), SessionState::Suspended);
    let left = net.client.session.suspension_deadline().expect("a deadline") - net.now;
    assert!(left >= secs(9), "{left:?}");
}

/// If no ping is unanswered, the idle timeout MUST end the connection at a client, and MUST
/// suspend it at a server.
#[test]
fn a_client_does_not_dial_for_a_connection_that_nobody_uses() {
    let mut config = resumable();
    config.keep_alive_interval(None).window_growth_budget(0);
    let idle = |reason| matches!(reason, Some(ConnectionError::TimedOut(Timeout::Idle)));
    let mut net = Net::new(&config);
    let start = net.now;
    assert_eq!(alone(&mut net, CLIENT) - start, secs(30));
    assert!(idle(reason(&mut net, CLIENT)));
    net.now = start;
    assert_eq!(alone(&mut net, SERVER) - start, secs(30));
    assert_eq!(net.server.session.state(), SessionState::Suspended);
    assert_eq!(alone(&mut net, SERVER) - start, secs(60));
    assert!(idle(reason(&mut net, SERVER)));
}

/// On a connection that can be resumed and has not ended, three events MUST count as the
/// loss of the WebSocket: a Close that no CONNECTION_CLOSE preceded, a violation of RFC 6455, and
/// the write-stall timeout (C-78).
#[test]
fn a_proxy_that_closes_or_fails_only_suspends_the_connection() {
    let close = || Incoming::Close { code: Some(1001), reason: "reload".into() };
    let violation = || Incoming::ProtocolError("bad opcode".into());
    for side in [CLIENT, SERVER] {
        for incoming in [close as fn() -> Incoming, violation] {
            let mut net = Net::new(&resumable());
            let (now, link) = (net.now, net.end(side).link);
            let session = &mut net.end(side).session;
            session.handle(now, link, incoming());
            assert_eq!(session.state(), SessionState::Suspended);
            assert!(!session.is_current(link) && !session.wants_transmit());
            assert_eq!(session.suspension_deadline(), Some(now + secs(60)));
            net.dial();
            net.settle();
            net.assert_live();
            // If no new socket comes, the connection ends with the proxy's Close as its reason.
            let link = net.end(side).link;
            net.end(side).session.handle(now, link, incoming());
            net.now += secs(60);
            net.fire();
            let reason = reason(&mut net, side);
            assert!(
                matches!(
                    reason,
                    Some(
                        ConnectionError::ConnectionClosed(_)
                            | ConnectionError::WebSocketProtocol(_)
                    )
                ),
                "{reason:?}"
            );
            assert!(net.end(side).session.is_closed());
        }
        // A connection that cannot be resumed ends when the Close arrives.
        let mut net = Net::unconnected(&resumable(), &Config::default());
        net.settle();
        let (now, link) = (net.now, net.end(side).link);
        net.end(side).session.handle(now, link, close());
        assert!(reason(&mut net, side).is_some() && net.end(side).session.wants_transmit());
    }
}

/// If no WebSocket has resumed the connection when the timeout of R-4 is over, it MUST end
/// with the error that suspended it. A WebSocket on which nothing new arrives MUST NOT restart that
/// timeout. Two things are new: a counted message that has not arrived before, and a
/// SESSION_ACK with a higher count than before.
#[test]
fn requests_alone_do_not_keep_a_session() {
    // Either the socket ends before the next request, or the next request replaces the socket.
    for is_cut in [true, false] {
        for sends in [false, true] {
            let mut config = resumable();
            // At the loss everything has been acknowledged, so the first request brings nothing new
            // either.
            config.max_idle_timeout(None).keep_alive_interval(None).window_growth_budget(0);
            let mut net = Net::new(&config);
            let mut accepted = 0;
            for _ in 0..20 {
                if is_cut || accepted == 0 {
                    net.cut();
                }
                net.now += secs(10);
                // The client is hostile and never gives up.
                let due = net.server.session.poll_timeout();
                if due.is_some_and(|due| due <= net.now) {
                    net.server.session.handle_timeout(net.now);
                }
                if net.server.session.engine().close_reason().is_some() {
                    break;
                }
                net.dial();
                assert!(net.send_one(CLIENT) && net.deliver_one(SERVER));
                if net.fresh.is_some() {
                    break;
                }
                accepted += 1;
                if sends {
                    while net.send_one(SERVER) && net.deliver_one(CLIENT) {}
                    while net.send_one(CLIENT) && net.deliver_one(SERVER) {}
                }
            }
            match sends {
                true => assert_eq!(accepted, 20),
                false => {
                    assert_eq!(accepted, 5, "{is_cut}");
                    let reason = reason(&mut net, SERVER);
                    assert!(
                        matches!(reason, Some(ConnectionError::SocketLost(SocketError::Eof))),
                        "{reason:?}"
                    );
                }
            }
        }
    }
}

/// On a connection that can be resumed and has not ended, three events MUST count as the
/// loss of the WebSocket: a Close that no CONNECTION_CLOSE preceded, a violation of RFC 6455, and
/// the write-stall timeout (C-78).
#[test]
fn a_socket_that_takes_nothing_is_given_up_for_another_one() {
    let mut config = resumable();
    config.max_idle_timeout(None).keep_alive_interval(None).window_growth_budget(0);
    let mut net = Net::new(&config);
    let id = net.client.session.engine_mut().open(Dir::Uni).unwrap().unwrap();
    let now = net.now;
    net.client.session.engine_mut().send_stream(now, id).write(b"x").unwrap();
    net.capacity = 0;
    assert!(!net.send_one(CLIENT));
    net.now += Duration::from_secs(60);
    net.client.session.handle_timeout(net.now);
    assert_eq!(net.client.session.state(), SessionState::Suspended);
    net.capacity = usize::MAX;
    net.dial();
    net.settle();
    net.assert_live();
    assert_eq!(net.server.session.engine_mut().accept(Dir::Uni), Some(id));
}
