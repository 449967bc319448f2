//! The frame GOING_AWAY, which announces a drain, and a socket that is lost during the drain.

use wsmux_proto::{Connection, Dir, SessionState, Time};

use crate::{
    net::{Net, resumable},
    support::*,
};

fn drain(net: &mut Net) {
    let now = net.now;
    net.server.session.engine_mut().drain(now, None);
}

fn timeout(net: &mut Net, now: Time) {
    net.now = now;
    net.server.session.handle_timeout(now);
}

fn serves(conn: &mut Connection, now: Time) -> bool {
    let Some(id) = conn.accept(Dir::Uni) else { return false };
    conn.recv_stream(now, id).release();
    true
}

/// [G-4] An end that drains waits for the peer's GOING_AWAY for up to 5 s. While it waits, it MUST
/// accept the streams that the peer opens, and MUST NOT close the connection because all streams
/// have ended. The 5 s begin when this end sends its own GOING_AWAY, and begin again with each new
/// WebSocket (§12.3). After the wait, new streams are refused with code 0.
#[test]
fn a_notice_that_was_lost_is_sent_again_and_waited_for_anew() {
    let mut net = Net::new(&resumable());
    net.client.session.engine_mut().set_drain_with_peer(false);
    drain(&mut net);
    assert!(net.send_one(SERVER));
    net.cut();
    // The loss lasts longer than the wait for an answer. The client has opened a stream meanwhile.
    let now = net.now;
    let id = net.client.session.engine_mut().open(Dir::Uni).unwrap().unwrap();
    let mut send = net.client.session.engine_mut().send_stream(now, id);
    send.write(b"x").unwrap();
    send.finish().unwrap();
    timeout(&mut net, now + secs(10));
    assert_eq!(net.server.session.state(), SessionState::Suspended);
    net.dial();
    net.settle();
    assert!(net.client.session.engine().is_peer_draining());
    let now = net.now;
    assert!(serves(net.server.session.engine_mut(), now));
    assert_eq!(net.server.session.engine().stats(now).streams_refused, 0);
    net.settle();
    assert_eq!(net.server.session.state(), SessionState::Live, "the client may open more");
    net.client.session.engine_mut().drain(now, None);
    net.settle();
    assert_eq!(net.server.session.state(), SessionState::Ended);
}

/// This rule applies to a drain of a suspended connection, once all streams have ended. If
/// the peer has acknowledged everything, the drain MUST end the connection. Otherwise the drain
/// waits for a new WebSocket.
#[test]
fn a_suspended_drain_waits_for_the_answer_and_no_longer() {
    let mut net = Net::new(&resumable());
    net.client.session.engine_mut().set_drain_with_peer(false);
    let sent_at = net.now;
    let id = net.server.session.engine_mut().open(Dir::Uni).unwrap().unwrap();
    let mut send = net.server.session.engine_mut().send_stream(sent_at, id);
    // This data is long enough that the client acknowledges all of it.
    send.write(&[1; 100]).unwrap();
    send.finish().unwrap();
    net.server.session.engine_mut().send_stream(sent_at, id).release();
    drain(&mut net);
    net.settle();
    net.pass(secs(2));
    assert_eq!(net.server.session.session_stats().replay_held, 0);
    net.cut();
    assert_eq!(net.server.session.poll_timeout(), Some(sent_at + secs(5)));
    timeout(&mut net, sent_at + (secs(5) - ms(1)));
    assert_eq!(net.server.session.state(), SessionState::Suspended);
    timeout(&mut net, sent_at + secs(5));
    let timeout_now = net.server.session.poll_timeout().expect("the drain is over");
    timeout(&mut net, timeout_now.max(sent_at + secs(5)));
    assert_eq!(net.server.session.state(), SessionState::Ended);
}
