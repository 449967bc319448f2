//! A close or a drain, and a socket that is lost before the peer has answered.

use std::time::Duration;

use wsmux_proto::{
    ConnectionError, Dir, ReadError, ResumeError, SessionEvent, SessionState, Side,
    SocketCapabilities, StreamId, VarInt,
};

use crate::{
    net::{Net, resumable},
    support::*,
};

const CODE: u32 = 7;

/// How many messages the closing end has sent.
const MESSAGES: u64 = 4;

/// Returns two sessions. One end has sent all of a stream, and nothing of it has arrived.
fn with_stream(side: Side) -> (Net, StreamId) {
    let mut net = Net::new(&resumable());
    let now = net.now;
    let id = net.end(side).session.engine_mut().open(Dir::Uni).unwrap().unwrap();
    for number in 0..MESSAGES {
        let mut send = net.end(side).session.engine_mut().send_stream(now, id);
        send.write(&[number as u8; 100]).unwrap();
        if number == MESSAGES - 1 {
            send.finish().unwrap();
        }
        assert!(net.send_one(side));
    }
    (net, id)
}

fn close(net: &mut Net, side: Side) {
    let now = net.now;
    net.end(side).session.engine_mut().close(now, VarInt::from_u32(CODE), "bye".into());
}

/// Checks that an end has received the whole stream, and then the close.
fn assert_complete(net: &mut Net, side: Side, id: StreamId, code: u32) {
    let now = net.now;
    assert_eq!(net.end(side).session.engine_mut().accept(Dir::Uni), Some(id));
    let mut recv = net.end(side).session.engine_mut().recv_stream(now, id);
    let mut received = 0;
    while let Ok(wsmux_proto::Read::Data(bytes)) = recv.read(1_000) {
        received += bytes.len() as u64;
    }
    assert_eq!(received, MESSAGES * 100);
    let reason = net.end(side).session.engine().close_reason();
    let Some(ConnectionError::ApplicationClosed(close)) = reason else { panic!("{reason:?}") };
    assert_eq!(close.error_code, VarInt::from_u32(code));
    for side in [CLIENT, SERVER] {
        let session = &net.end(side).session;
        assert!(session.is_closed() && !session.lingers(), "{side:?}");
        assert_eq!(session.poll_timeout(), None);
    }
}

/// The order of the close and the loss of the socket.
#[derive(Debug, Clone, Copy)]
enum Order {
    LossThenClose,
    CloseThenLoss,
    /// Everything was sent before the loss, including the Close.
    CloseSentThenLoss,
    /// No end notices the loss. The peer does not answer.
    NoAnswer,
    /// The socket is lost again while everything is sent again.
    LossDuringResumption,
    /// The connection is closed while everything is sent again.
    CloseDuringResumption,
    /// The peer's new socket arrives before this end has noticed the loss.
    PeerIsFaster,
}

/// This rule applies if this end has closed the connection, by a call or by a drain, and the
/// peer's Close has not arrived when the WebSocket is lost or the close wait is over. The
/// connection can still be resumed, for no longer than the timeout of R-4 after the loss. On the
/// new WebSocket this end MUST send only what R-19 demands, then CONNECTION_CLOSE, and then a
/// Close.
#[test]
fn a_close_reaches_the_peer_after_everything_that_was_sent_before() {
    use Order::*;
    for side in [CLIENT, SERVER] {
        for order in [
            LossThenClose,
            CloseThenLoss,
            CloseSentThenLoss,
            NoAnswer,
            LossDuringResumption,
            CloseDuringResumption,
            PeerIsFaster,
        ] {
            let (mut net, id) = with_stream(side);
            match order {
                LossThenClose => {
                    net.cut();
                    close(&mut net, side);
                }
                CloseThenLoss => {
                    close(&mut net, side);
                    net.cut();
                }
                CloseSentThenLoss | PeerIsFaster => {
                    close(&mut net, side);
                    while net.send_one(side) {}
                    match order {
                        PeerIsFaster if side == SERVER => net.cut_client(),
                        _ => net.cut(),
                    }
                }
                NoAnswer => {
                    close(&mut net, side);
                    while net.send_one(side) {}
                    net.now += secs(3);
                    let now = net.now;
                    net.end(side).session.handle_timeout(now);
                    net.cut();
                }
                LossDuringResumption => {
                    close(&mut net, side);
                    net.cut();
                    net.dial();
                    assert!(net.send_one(SERVER) && net.send_one(CLIENT));
                    assert!(net.deliver_one(SERVER) && net.deliver_one(CLIENT));
                    assert!(net.send_one(SERVER) && net.deliver_one(CLIENT));
                    for _ in 0..2 {
                        net.send_one(side);
                    }
                    net.cut();
                }
                CloseDuringResumption => {
                    net.cut();
                    net.dial();
                    assert!(net.send_one(SERVER) && net.send_one(CLIENT));
                    assert!(net.deliver_one(SERVER) && net.deliver_one(CLIENT));
                    assert!(net.send_one(SERVER) && net.deliver_one(CLIENT));
                    net.send_one(side);
                    close(&mut net, side);
                    net.settle();
                    assert_complete(&mut net, !side, id, CODE);
                    continue;
                }
            }
            let session = &net.end(side).session;
            assert!(matches!(order, PeerIsFaster) && side == SERVER || session.is_closed());
            net.now += secs(10);
            net.dial();
            assert!(side == SERVER || !net.client.session.is_closed(), "{order:?}");
            net.settle();
            assert_complete(&mut net, !side, id, CODE);
        }
    }
}

/// This rule applies if this end has closed the connection, by a call or by a drain, and the
/// peer's Close has not arrived when the WebSocket is lost or the close wait is over. The
/// connection can still be resumed, for no longer than the timeout of R-4 after the loss. On the
/// new WebSocket this end MUST send only what R-19 demands, then CONNECTION_CLOSE, and then a
/// Close.
#[test]
fn a_closed_session_waits_for_its_peer_no_longer_than_for_a_socket() {
    let (mut net, _) = with_stream(SERVER);
    close(&mut net, SERVER);
    let lost = net.now;
    net.cut();
    // Neither requests nor sockets on which nothing arrives make the server wait longer.
    for _ in 0..5 {
        net.now += secs(10);
        net.dial();
        assert!(net.send_one(CLIENT) && net.deliver_one(SERVER));
        assert!(net.fresh.is_none() && net.send_one(SERVER));
        assert!(!net.server.session.lingers() && !net.server.session.is_closed());
        net.cut();
        assert!(net.server.session.lingers() && net.server.session.is_closed());
        assert_eq!(net.server.session.linger_deadline(), Some(lost + secs(60)));
        assert_eq!(net.server.session.poll_timeout(), Some(lost + secs(60)));
    }
    assert_eq!(net.server.session.poll_event(), None);
    net.now = lost + secs(60);
    net.server.session.handle_timeout(net.now);
    assert!(!net.server.session.lingers());
    assert_eq!(net.server.session.poll_timeout(), None);
    assert_eq!(net.server.session.session_stats().replay_held, 0);
    // Here a new socket comes, and the server sends everything again. The session still ends at the
    // same time as without a new socket.
    let (mut net, _) = with_stream(SERVER);
    close(&mut net, SERVER);
    net.cut();
    net.now += secs(59);
    net.dial();
    assert!(net.send_one(CLIENT) && net.deliver_one(SERVER));
    while net.send_one(SERVER) {}
    net.now += secs(1);
    net.server.session.handle_timeout(net.now);
    assert!(net.server.session.is_closed());
    while net.server.session.poll_timeout().is_some() {
        net.server.session.handle_timeout(net.now);
    }
    assert!(!net.server.session.lingers());
}

#[test]
fn a_session_lingers_only_after_a_close_of_its_own() {
    // Here the peer has answered the close, so no session lingers.
    let mut net = Net::new(&resumable());
    close(&mut net, SERVER);
    net.settle();
    net.cut();
    assert!(!net.server.session.lingers() && !net.client.session.lingers());
    // Here an error has ended the session, so it does not linger.
    let mut net = Net::new(&resumable());
    let (now, link) = (net.now, net.server.link);
    net.server.session.handle(now, link, wsmux_proto::Incoming::Text);
    net.cut();
    assert!(net.server.session.is_closed() && !net.server.session.lingers());
    assert_eq!(net.server.session.poll_timeout(), None);
    net.dial();
    net.settle();
    assert_eq!(net.client.session.poll_event(), Some(SessionEvent::Suspended));
    assert_eq!(net.client.session.poll_event(), Some(SessionEvent::Refused));
    // Here the application gives up the session while it lingers.
    let mut net = Net::new(&resumable());
    net.cut();
    close(&mut net, SERVER);
    assert!(net.server.session.lingers());
    let now = net.now;
    net.server.session.give_up(now);
    assert!(!net.server.session.lingers());
}

#[test]
fn a_client_that_only_closes_is_refused_in_silence() {
    let (mut net, _) = with_stream(CLIENT);
    close(&mut net, CLIENT);
    net.cut();
    let now = net.now;
    net.server.session.give_up(now);
    net.client.session.poll_event();
    net.dial();
    net.settle();
    assert!(net.client.session.is_closed() && !net.client.session.lingers());
    assert_eq!(net.client.session.poll_event(), None);
    assert_eq!(net.client.session.state(), SessionState::Ended);
    assert!(
        net.client
            .session
            .resume(now, SocketCapabilities::new(), Duration::from_secs(10))
            .is_none()
    );
}

#[test]
fn a_drain_whose_last_bytes_are_lost_sends_them_again() {
    for side in [CLIENT, SERVER] {
        let (mut net, id) = with_stream(side);
        let now = net.now;
        net.end(side).session.engine_mut().drain(now, None);
        while net.send_one(side) {}
        // The peer does not answer, so this end stops waiting for the peer's GOING_AWAY after 5 s.
        net.now += secs(5);
        let now = net.now;
        net.end(side).session.handle_timeout(now);
        while net.send_one(side) {}
        assert_eq!(net.end(side).session.state(), SessionState::Ended);
        net.cut();
        assert!(net.end(side).session.lingers());
        net.dial();
        net.settle();
        assert_complete(&mut net, !side, id, 0);
    }
}

/// This rule applies to a drain of a suspended connection, once all streams have ended. If
/// the peer has acknowledged everything, the drain MUST end the connection. Otherwise the drain
/// waits for a new WebSocket.
#[test]
fn a_drain_without_a_socket_ends_when_nothing_is_left_to_wait_for() {
    let mut net = Net::new(&resumable());
    // This data is long enough that the peer acknowledges all of it.
    let id = net.server.session.engine_mut().open(Dir::Uni).unwrap().unwrap();
    let now = net.now;
    net.server.session.engine_mut().send_stream(now, id).write(&[1; 100]).unwrap();
    net.settle();
    net.pass(secs(2));
    assert_eq!(net.server.session.session_stats().replay_held, 0);
    net.cut();
    let now = net.now;
    net.server.session.engine_mut().drain(now, None);
    assert_eq!(net.server.session.poll_timeout(), Some(now + secs(60)), "a stream is open");
    net.server.session.engine_mut().send_stream(now, id).reset(code(1)).unwrap();
    net.server.session.engine_mut().send_stream(now, id).release();
    // The drain still waits, because the peer has to learn of the reset.
    assert_eq!(net.server.session.poll_timeout(), Some(now + secs(60)));
    net.dial();
    net.settle();
    for side in [CLIENT, SERVER] {
        assert!(net.end(side).session.is_closed(), "{side:?}");
    }
    assert_eq!(net.client.session.engine_mut().accept(Dir::Uni), Some(id));
    let read = net.client.session.engine_mut().recv_stream(now, id).read(1_000);
    assert!(matches!(read, Err(ReadError::Reset(_)) | Ok(_)), "{read:?}");

    // Here nothing is open, and everything was acknowledged. So the drain ends the session at once.
    let mut quiet = resumable();
    quiet.window_growth_budget(0);
    let mut net = Net::new(&quiet);
    net.cut();
    let now = net.now;
    net.server.session.engine_mut().drain(now, None);
    assert!(net.server.session.poll_timeout().is_some_and(|timeout| timeout <= now));
    net.server.session.handle_timeout(now);
    assert!(net.server.session.is_closed() && net.server.session.lingers());
    assert!(matches!(
        net.server.session.engine().close_reason(),
        Some(ConnectionError::LocallyClosed)
    ));

    // Here the last bytes may not have arrived. So the drain waits for a new socket.
    let (mut net, _) = with_stream(SERVER);
    net.cut();
    let now = net.now;
    net.server.session.engine_mut().drain(now, None);
    assert_eq!(net.server.session.poll_timeout(), Some(now + secs(60)));
    net.server.session.handle_timeout(now);
    assert!(!net.server.session.is_closed());
}

#[test]
fn a_request_for_a_session_that_lingers_needs_a_proof_as_well() {
    let (mut net, _) = with_stream(SERVER);
    close(&mut net, SERVER);
    net.cut();
    let requests = [0, 1].map(|_| {
        net.dial();
        net.send_one(CLIENT);
        match net.client.in_flight.pop_back() {
            Some(crate::net::Item::Message(message)) => {
                wsmux_proto::ResumeRequest::from_first_message(&message).expect("a request")
            }
            other => panic!("{other:?}"),
        }
    });
    let caps = SocketCapabilities::new();
    let [first, second] = requests;
    assert!(net.server.session.accept_resume(net.now, caps, &second).is_ok());
    let again = net.server.session.accept_resume(net.now, caps, &first);
    assert_eq!(again, Err(ResumeError::Replayed));
}
