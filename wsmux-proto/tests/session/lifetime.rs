//! The states of a session: what happens without a socket, and with more than one socket.

use std::time::Duration;

use wsmux_proto::{
    ConnectionError, Dir, Incoming, ResumeRequest, SessionEvent, SessionState, Side,
    SocketCapabilities, SocketError, VarInt,
};

use crate::{
    negotiation::RESUME,
    net::{Item, Net, keys, resumable},
    support::*,
};

fn is_lost(net: &mut Net, side: Side) -> bool {
    matches!(
        net.end(side).session.engine().close_reason(),
        Some(ConnectionError::SocketLost(SocketError::Eof))
    )
}

/// When a connection that can be resumed and has not ended loses its WebSocket, it MUST be
/// suspended. While it is suspended, nothing is reported on its streams, and idle timeout,
/// keep-alive, liveness and write-stall timeout are stopped. With a new WebSocket these timers
/// start again. A connection that cannot be resumed ends when it loses its WebSocket.
#[test]
fn timers_stand_still_without_a_socket() {
    let mut config = resumable();
    config.resume_timeout(Some(secs(100_000))).max_idle_timeout(Some(secs(30)));
    let mut net = Net::new(&config);
    let id = net.client.session.engine_mut().open(Dir::Bi).unwrap().unwrap();
    while net.client.session.engine_mut().poll().is_some() {}
    // A keep-alive ping is lost with the socket.
    net.now += secs(10);
    net.fire();
    assert!(net.send_one(CLIENT) && net.send_one(SERVER));
    net.now += secs(19);
    net.cut();
    for side in [CLIENT, SERVER] {
        let end = net.end(side);
        assert_eq!(end.session.poll_event(), Some(SessionEvent::Suspended));
        assert_eq!(end.session.state(), SessionState::Suspended);
    }
    net.now += secs(50_000);
    net.fire();
    assert_eq!(net.client.session.engine_mut().poll(), None);
    let now = net.now;
    net.client.session.engine_mut().send_stream(now, id).write(b"later").unwrap();
    assert!(!net.client.session.wants_transmit());
    net.dial();
    for (from, to) in [(SERVER, CLIENT), (CLIENT, SERVER), (SERVER, CLIENT)] {
        net.send_one(from);
        net.deliver_one(to);
        if net.end(to).session.state() == SessionState::Live {
            assert_eq!(net.end(to).session.poll_timeout(), Some(net.now + secs(20)));
        }
    }
    net.assert_live();
    net.settle();
    assert_eq!(net.server.session.engine_mut().accept(Dir::Bi), Some(id));
    for side in [CLIENT, SERVER] {
        let Some(SessionEvent::Resumed { gap, .. }) = net.end(side).session.poll_event() else {
            panic!("no event");
        };
        assert_eq!(gap, secs(50_000));
        assert_eq!(net.end(side).session.session_stats().longest_gap, gap);
    }
    // Both ends answered a ping on the new socket. The lost ping was answered only after the gap,
    // so its answer gives no round-trip time.
    assert_eq!(net.client.session.engine().rtt(), Some(Duration::ZERO));
    // The timers run again.
    net.client.in_flight.clear();
    let start = net.now;
    while net.client.session.state() == SessionState::Live {
        net.now = net.client.session.poll_timeout().expect("a timer");
        net.client.session.handle_timeout(net.now);
        while net.send_one(CLIENT) {}
    }
    assert_eq!(net.client.session.state(), SessionState::Suspended);
    assert_eq!(net.now - start, secs(20));
}

#[test]
fn an_answer_to_a_ping_before_the_gap_gives_no_round_trip_time() {
    let mut net = Net::new(&resumable());
    let rtt = net.server.session.engine().rtt();
    net.now += secs(10);
    net.server.session.handle_timeout(net.now);
    // The ping arrives, but its answer is lost.
    assert!(net.send_one(SERVER) && net.deliver_one(CLIENT) && net.send_one(CLIENT));
    net.cut();
    net.now += secs(20);
    net.dial();
    // The client sends its request, receives the answer, and then sends its answer to the ping
    // again. The server has not sent a new ping.
    assert!(net.send_one(SERVER) && net.send_one(CLIENT) && net.deliver_one(SERVER));
    assert!(net.send_one(SERVER) && net.deliver_one(CLIENT) && net.deliver_one(CLIENT));
    assert!(net.send_one(CLIENT) && net.deliver_one(SERVER));
    assert_eq!(net.client.session.session_stats().resent_messages, 1);
    assert_eq!(net.server.session.engine().rtt(), rtt);
    net.settle();
    net.assert_live();
}

/// A connection can be resumed only if both ends have sent `wsmux_session`. An end can resume
/// the connection once it has processed the other end's `wsmux_session`. Both ends MUST wait for a
/// new WebSocket no longer than the shorter of the two timeouts.
/// If no WebSocket has resumed the connection when the timeout of R-4 is over, it MUST end
/// with the error that suspended it. A WebSocket on which nothing new arrives MUST NOT restart that
/// timeout. Two things are new: a counted message that has not arrived before, and a
/// SESSION_ACK with a higher count than before.
#[test]
fn without_a_new_socket_the_connection_ends_after_the_shorter_timeout() {
    let mut short = resumable();
    short.resume_timeout(Some(ms(4_999) + Duration::from_micros(1)));
    for (client, server) in [(resumable(), short.clone()), (short, resumable())] {
        let mut net = Net::unconnected(&client, &server);
        net.settle();
        net.cut();
        for attempt in 0..4 {
            net.now += secs(1);
            net.dial();
            if attempt == 2 {
                // Only the server's parameters arrive.
                net.send_one(SERVER);
                net.deliver_one(CLIENT);
            }
            net.cut();
        }
        net.now += ms(999);
        net.fire();
        assert_eq!(net.client.session.state(), SessionState::Suspended);
        assert_eq!(net.server.session.state(), SessionState::Suspended);
        assert_eq!(net.client.session.poll_timeout(), Some(net.now + ms(1)));
        net.now += ms(1);
        net.fire();
        for side in [CLIENT, SERVER] {
            assert!(is_lost(&mut net, side) && net.end(side).session.is_closed());
            assert_eq!(net.end(side).session.poll_timeout(), None);
        }
    }
}

#[test]
fn a_socket_on_which_nothing_happens_is_given_up() {
    let mut config = resumable();
    config.handshake_timeout(secs(10));
    let mut net = Net::new(&config);
    net.cut();
    net.dial();
    let link = net.client.link;
    net.send_one(CLIENT);
    assert_eq!(net.client.session.poll_timeout(), Some(net.now + secs(10)));
    assert!(net.client.session.is_current(link));
    net.now += secs(10);
    net.client.session.handle_timeout(net.now);
    assert_eq!(net.client.session.state(), SessionState::Suspended);
    assert!(!net.client.session.is_current(link));
    net.dial();
    net.settle();
    net.assert_live();
}

#[test]
fn a_new_socket_that_takes_only_tiny_messages_takes_the_smallest_packet() {
    let mut net = Net::new(&resumable());
    net.caps = net.caps.max_message(1);
    net.cut();
    net.dial();
    net.settle();
    let id = net.client.session.engine_mut().open(Dir::Uni).unwrap().unwrap();
    let now = net.now;
    net.client.session.engine_mut().send_stream(now, id).write(&[7; 2_000]).unwrap();
    net.settle();
    let longest = net.client.log.iter().map(bytes::Bytes::len).max();
    assert!(longest.is_some_and(|len| (1_100..=1_200).contains(&len)), "{longest:?}");
    assert_eq!(net.server.session.engine_mut().accept(Dir::Uni), Some(id));
}

#[test]
fn a_suspended_session_knows_the_name_of_its_next_socket() {
    let mut net = Net::new(&resumable());
    let first = net.client.session.link();
    net.cut();
    for _ in 0..3 {
        let next = net.client.session.link();
        assert_ne!(next, first);
        net.dial();
        assert_eq!(net.client.link, next);
        net.cut_client();
    }
}

/// The newer WebSocket MUST win: an accepted request ends the use of the older WebSocket,
/// even if the older WebSocket still works. Nothing that arrives from the older WebSocket later has
/// an effect.
#[test]
fn an_older_socket_has_no_effect_any_more() {
    let mut net = Net::new(&resumable());
    let old = [net.client.link, net.server.link];
    let id = net.client.session.engine_mut().open(Dir::Bi).unwrap().unwrap();
    let now = net.now;
    net.client.session.engine_mut().send_stream(now, id).write(b"on the old one").unwrap();
    net.send_one(CLIENT);
    let late = net.client.in_flight.pop_front().expect("a message");
    // Neither end has noticed that the old socket is lost.
    net.dial();
    net.settle();
    net.assert_live();
    assert_eq!(net.server.session.session_stats().resumptions, 1);
    for (side, link) in [CLIENT, SERVER].into_iter().zip(old) {
        let Item::Message(message) = late.clone() else { panic!("no message") };
        let session = &mut net.end(side).session;
        assert!(!session.is_current(link));
        let (before, timeout) = (session.engine().stats(now), session.poll_timeout());
        session.handle(now, link, Incoming::Message(message));
        session.handle(now, link, Incoming::Text);
        session.handle_progress(now, link);
        session.handle_socket_full(now, link);
        session.handle_socket_end(now, link, SocketError::Eof);
        let mut out = wsmux_proto::MessageBuf::new();
        assert!(session.poll_transmit(now, link, &mut out).is_none());
        assert_eq!((session.engine().stats(now), session.poll_timeout()), (before, timeout));
    }
    net.assert_live();
    // The message came once, on the new socket.
    assert_eq!(net.server.session.engine_mut().accept(Dir::Bi), Some(id));
    let mut recv = net.server.session.engine_mut().recv_stream(now, id);
    let data = recv.read(100).unwrap();
    assert_eq!(data, wsmux_proto::Read::Data("on the old one".into()));
    assert_eq!(recv.read(100).unwrap(), wsmux_proto::Read::Blocked);
}

/// If a connection is closed while it has no WebSocket, it MUST be over for the application
/// at once.
#[test]
fn a_close_without_a_socket_is_over_at_once() {
    for (is_resuming, side) in [(false, CLIENT), (true, CLIENT), (false, SERVER)] {
        let mut net = Net::new(&resumable());
        net.cut();
        if is_resuming {
            net.dial();
        }
        let now = net.now;
        let session = &mut net.end(side).session;
        assert!(!session.is_closed());
        session.engine_mut().close(now, VarInt::default(), "".into());
        assert!(session.is_closed() && !session.wants_transmit());
        assert_eq!(session.state(), SessionState::Ended);
        // The peer may still come back and learn of the close. It has as much time for this as it
        // would have had without the close.
        assert!(session.lingers());
        assert_eq!(session.linger_deadline(), Some(now + secs(60)));
        session.handle_timeout(now + secs(60));
        assert!(session.is_closed() && !session.lingers());
        assert_eq!((session.poll_timeout(), session.linger_deadline()), (None, None));
        assert!(
            session
                .resume(now + secs(60), SocketCapabilities::new(), Duration::from_secs(10))
                .is_none()
        );
    }
}

#[test]
fn giving_up_ends_a_connection_only_without_a_socket() {
    for is_resuming in [false, true] {
        let mut net = Net::new(&resumable());
        let now = net.now;
        net.client.session.give_up(now);
        net.assert_live();
        assert_eq!(net.client.session.suspension_deadline(), None);
        net.cut();
        if is_resuming {
            net.dial();
        }
        for side in [CLIENT, SERVER] {
            assert_eq!(net.end(side).session.suspension_deadline(), Some(now + secs(60)));
            net.end(side).session.give_up(now);
            assert_eq!(net.end(side).session.suspension_deadline(), None);
            assert!(is_lost(&mut net, side) && net.end(side).session.is_closed());
            assert_eq!(net.end(side).session.poll_timeout(), None);
            // A second call of `give_up` changes nothing.
            net.end(side).session.give_up(now);
        }
        assert!(
            net.client
                .session
                .resume(now, SocketCapabilities::new(), Duration::from_secs(10))
                .is_none()
        );
    }
}

#[test]
fn the_deadline_of_a_drain_holds_without_a_socket() {
    let mut net = Net::new(&resumable());
    let id = net.client.session.engine_mut().open(Dir::Bi).unwrap().unwrap();
    let now = net.now;
    net.client.session.engine_mut().send_stream(now, id).write(b"x").unwrap();
    net.client.session.engine_mut().drain(now, Some(now + secs(3)));
    net.cut();
    assert_eq!(net.client.session.poll_timeout(), Some(now + secs(3)));
    net.client.session.handle_timeout(now + secs(3));
    assert!(net.client.session.is_closed());
    let reason = net.client.session.engine().close_reason();
    assert!(matches!(reason, Some(ConnectionError::LocallyClosed)), "{reason:?}");
}

#[test]
fn a_drain_that_lost_its_socket_still_sends_everything() {
    let mut net = Net::new(&resumable());
    let id = net.client.session.engine_mut().open(Dir::Uni).unwrap().unwrap();
    let now = net.now;
    let mut send = net.client.session.engine_mut().send_stream(now, id);
    send.write(b"all of it").unwrap();
    send.finish().unwrap();
    net.client.session.engine_mut().drain(now, None);
    net.send_one(CLIENT);
    net.cut();
    net.dial();
    net.settle();
    assert_eq!(net.server.session.engine_mut().accept(Dir::Uni), Some(id));
    let mut recv = net.server.session.engine_mut().recv_stream(now, id);
    assert_eq!(recv.read(100).unwrap(), wsmux_proto::Read::Data("all of it".into()));
    assert_eq!(recv.read(100).unwrap(), wsmux_proto::Read::Finished);
}

#[test]
fn a_close_ends_both_ends_as_before() {
    let mut net = Net::new(&resumable());
    let now = net.now;
    net.client.session.engine_mut().close(now, VarInt::from_u32(7), "bye".into());
    net.settle();
    for side in [CLIENT, SERVER] {
        assert!(net.end(side).session.is_closed(), "{side:?}");
    }
    let reason = net.server.session.engine().close_reason();
    assert!(matches!(reason, Some(ConnectionError::ApplicationClosed(_))), "{reason:?}");
}

#[test]
fn a_close_right_after_the_resumption_still_says_why() {
    let mut net = Net::new(&resumable());
    net.cut();
    net.dial();
    net.send_one(SERVER);
    net.send_one(CLIENT);
    net.deliver_one(SERVER);
    let now = net.now;
    net.server.session.engine_mut().close(now, VarInt::from_u32(7), "bye".into());
    net.settle();
    let reason = net.client.session.engine().close_reason();
    assert!(matches!(reason, Some(ConnectionError::ApplicationClosed(_))), "{reason:?}");
}

/// To resume, the client's first message MUST consist of QX_TRANSPORT_PARAMETERS with
/// `wsmux_resume` as the only parameter. The count in `wsmux_resume` is the number of counted
/// messages that the client has received. A server MUST refuse a message that contains
/// `wsmux_resume` and anything else.
#[test]
fn a_request_is_the_only_parameter_of_the_first_message() {
    let mut net = Net::new(&resumable());
    let stats = net.client.session.engine().stats(net.now);
    // The first message contained the parameters.
    let received = stats.messages_received - 1;
    net.cut();
    net.dial();
    net.send_one(CLIENT);
    let Some(Item::Message(request)) = net.client.in_flight.front() else { panic!("no request") };
    let parsed = ResumeRequest::from_first_message(request).expect("a request");
    assert_eq!(parsed.id(), keys(0).id());
    let proof = &request[request.len() - 32..];
    let value = [&[0; 16], &varints(&[1, received])[..], proof].concat();
    assert_eq!(request[..], parameters_frame(&[raw_parameter(RESUME, &value)]));
    // The first message of a new connection is not a request to resume.
    let first = net.client.log.first().expect("a message");
    assert_eq!(ResumeRequest::from_first_message(first), None);
}

#[test]
fn a_loss_before_both_ends_know_each_other_ends_the_connection() {
    let mut net = Net::unconnected(&resumable(), &resumable());
    net.send_one(CLIENT);
    net.send_one(SERVER);
    net.deliver_one(CLIENT);
    assert_eq!(net.client.session.state(), SessionState::Live);
    net.cut();
    assert_eq!(net.client.session.state(), SessionState::Suspended);
    assert!(is_lost(&mut net, SERVER));
    // The server does not know the session, and says so.
    net.dial();
    net.settle();
    assert!(is_lost(&mut net, CLIENT) && net.client.session.is_closed());
    assert_eq!(net.client.session.poll_event(), Some(SessionEvent::Suspended));
    assert_eq!(net.client.session.poll_event(), Some(SessionEvent::Refused));
}
