//! Requests and answers that are forged, replayed or impossible.

use std::time::Duration;

use bytes::Bytes;
use wsmux_proto::{
    Config, ConnectionError, Frame, Link, ResumeError, ResumeRequest, SessionEvent, SessionId,
    SessionState, SocketCapabilities, SocketError, TransportErrorCode, Wire,
};

use crate::{
    negotiation::RESUME,
    net::{Item, Net, hand_over, resumable, session, transmit},
    support::*,
};

const SESSION_RESUMED: u64 = 0x2bcb_da4e_a5da_429d;

/// Returns a suspended pair. Each end has sent a message that was not received.
fn suspended() -> Net {
    let mut net = Net::new(&resumable());
    for side in [CLIENT, SERVER] {
        let now = net.now;
        let conn = net.end(side).session.engine_mut();
        let id = conn.open(wsmux_proto::Dir::Uni).unwrap().unwrap();
        for _ in 0..2 {
            let conn = net.end(side).session.engine_mut();
            conn.send_stream(now, id).write(&[7; 100]).unwrap();
            net.send_one(side);
        }
        net.deliver_one(!side);
    }
    net.cut();
    net
}

/// Lets the client dial, and returns its request.
fn request(net: &mut Net) -> Bytes {
    net.dial();
    net.send_one(CLIENT);
    match net.client.in_flight.pop_back() {
        Some(Item::Message(request)) => request,
        other => panic!("{other:?}"),
    }
}

fn accept(net: &mut Net, request: &Bytes) -> Result<Link, ResumeError> {
    let request = ResumeRequest::from_first_message(request).expect("a request");
    net.server.session.accept_resume(net.now, SocketCapabilities::new(), &request)
}

/// Returns the client's request after `change` has changed some of its bytes. The client made the
/// proof in the request before the change.
fn forged(net: &mut Net, change: impl FnOnce(&mut Vec<u8>)) -> Bytes {
    let message = request(net);
    let mut value = message[message.len() - (16 + 2 + 32)..].to_vec();
    change(&mut value);
    parameters_frame(&[raw_parameter(RESUME, &value)]).into()
}

/// The attempt number in a request MUST be higher than in every earlier request of the
/// session. A server MUST refuse a request if its attempt number is not higher than in the last
/// request that the server accepted.
#[test]
fn a_request_is_accepted_once() {
    let mut net = suspended();
    let first = request(&mut net);
    let second = request(&mut net);
    assert!(accept(&mut net, &second).is_ok());
    // The request that was accepted is sent again, and then an older request that has not been
    // used.
    for old in [&second, &first] {
        assert_eq!(accept(&mut net, old), Err(ResumeError::Replayed));
        net.server.session.handle_socket_end(net.now, net.server.session.link(), SocketError::Eof);
        assert_eq!(accept(&mut net, old), Err(ResumeError::Replayed));
    }
    let third = request(&mut net);
    assert!(accept(&mut net, &third).is_ok());
}

/// Proofs MUST be compared in constant time.
/// If a server offers resumption but cannot resume the session that `wsmux_resume` names, it
/// MUST close the connection of the new WebSocket with SESSION_REFUSED. The session that the
/// request names does not change. A client whose request is answered by SESSION_REFUSED, or by
/// transport parameters without `wsmux_session`, MUST end the connection at once, with the error
/// that suspended it.
#[test]
fn whatever_is_changed_in_a_request_it_is_refused() {
    type Change = fn(&mut Vec<u8>);
    let changes: [(Change, ResumeError); 5] = [
        (|value| value[15] ^= 1, ResumeError::UnknownSession),
        (|value| value[16] += 1, ResumeError::BadProof),
        (|value| value[17] += 1, ResumeError::BadProof),
        (|value| value[18] ^= 1, ResumeError::BadProof),
        (|value| value[49] ^= 0x80, ResumeError::BadProof),
    ];
    for (change, expected) in changes {
        let mut net = suspended();
        let forged = forged(&mut net, change);
        let before = net.server.session.session_stats();
        assert_eq!(accept(&mut net, &forged), Err(expected));
        assert_eq!(net.server.session.state(), SessionState::Suspended);
        assert_eq!(net.server.session.session_stats(), before);
        // The server makes a session for the new socket, and this session refuses the request.
        net.client.in_flight.push_back(Item::Message(forged));
        net.deliver_one(SERVER);
        net.settle();
        assert_refused(&net);
    }
}

fn assert_refused(net: &Net) {
    assert!(net.client.session.is_closed());
    assert!(matches!(
        net.client.session.engine().close_reason(),
        Some(ConnectionError::SocketLost(SocketError::Eof))
    ));
}

/// If a server offers resumption but cannot resume the session that `wsmux_resume` names, it
/// MUST close the connection of the new WebSocket with SESSION_REFUSED. The session that the
/// request names does not change. A client whose request is answered by SESSION_REFUSED, or by
/// transport parameters without `wsmux_session`, MUST end the connection at once, with the error
/// that suspended it.
#[test]
fn a_server_that_does_not_know_the_session_says_so_at_once() {
    // The first node offers resumption, but has no such session. The second node does not offer
    // resumption.
    for config in [resumable(), Config::default()] {
        let mut net = suspended();
        let request = request(&mut net);
        let mut node = session(&config, SERVER, 9);
        let link = Link::default();
        let hello = transmit(&mut node, net.now, link).expect("parameters");
        hand_over(&mut node, net.now, link, Item::Message(request));
        hand_over(&mut net.client.session, net.now, net.client.link, hello);
        while let Some(item) = transmit(&mut node, net.now, link) {
            if let Item::Message(message) = &item
                && net.client.session.engine().close_reason().is_none()
            {
                let frames = scripted_peer::decode(Wire::QMux, message.clone());
                let [Frame::ConnectionClose(wsmux_proto::Close::Transport { code, .. })] =
                    &frames[..]
                else {
                    panic!("{frames:?}")
                };
                assert_eq!(*code, TransportErrorCode::SESSION_REFUSED);
            }
            hand_over(&mut net.client.session, net.now, net.client.link, item);
        }
        assert_refused(&net);
        assert_eq!(net.client.session.poll_event(), Some(SessionEvent::Suspended));
        assert_eq!(net.client.session.poll_event(), Some(SessionEvent::Refused));
    }
}

/// Returns a server's session and its client's request. The session has lost its socket after the
/// client has received `extra` messages. All sessions that this function makes have the same keys.
fn request_with_count(extra: usize) -> (Net, Bytes) {
    let mut net = Net::new(&resumable());
    let now = net.now;
    let conn = net.server.session.engine_mut();
    let id = conn.open(wsmux_proto::Dir::Uni).unwrap().unwrap();
    for _ in 0..extra {
        let conn = net.server.session.engine_mut();
        conn.send_stream(now, id).write(&[7; 100]).unwrap();
        net.settle();
    }
    net.cut();
    let request = request(&mut net);
    (net, request)
}

/// A count MUST be refused in two cases: it is below an earlier count of the same sender, or
/// above the number of counted messages that were sent to this sender. A server refuses a count as
/// R-15 says. A client refuses a count by ending the connection.
#[test]
fn a_count_that_cannot_be_is_refused_in_spite_of_a_valid_proof() {
    // Both sessions have the same keys, so a proof from one session is valid for the other session.
    let (_, of_many) = request_with_count(5);
    let (_, of_few) = request_with_count(1);
    let (mut few, _) = request_with_count(1);
    assert_eq!(accept(&mut few, &of_many), Err(ResumeError::BadCount));
    assert_eq!(few.server.session.state(), SessionState::Suspended);
    let (mut many, of_many) = request_with_count(5);
    assert!(accept(&mut many, &of_many).is_ok());
    let mut many_later = {
        let mut net = Net::new(&resumable());
        let id = net.server.session.engine_mut().open(wsmux_proto::Dir::Uni).unwrap().unwrap();
        for _ in 0..5 {
            let now = net.now;
            let conn = net.server.session.engine_mut();
            conn.send_stream(now, id).write(&[7; 100]).unwrap();
            net.settle();
        }
        // The client acknowledges all this data.
        net.pass(secs(2));
        net.cut();
        net
    };
    assert_eq!(accept(&mut many_later, &of_few), Err(ResumeError::BadCount));
    assert_eq!(many_later.server.session.state(), SessionState::Suspended);
}

/// Returns a client that waits for an answer, and the valid answer.
fn client_and_answer() -> (Net, Bytes) {
    let mut net = suspended();
    net.dial();
    net.send_one(SERVER);
    net.deliver_one(CLIENT);
    net.send_one(CLIENT);
    net.deliver_one(SERVER);
    net.send_one(SERVER);
    match net.server.in_flight.pop_front() {
        Some(Item::Message(answer)) => (net, answer),
        other => panic!("{other:?}"),
    }
}

/// To accept a request, the server MUST first send a message that consists of
/// SESSION_RESUMED, with the number of counted messages that the server has received. The proof in
/// SESSION_RESUMED is made for the attempt that the request names. The client MUST NOT continue
/// without a valid proof.
#[test]
fn a_client_goes_on_only_with_the_answer_to_its_own_request() {
    let (mut net, answer) = client_and_answer();
    let received = net.server.session.engine().stats(net.now).messages_received - 1;
    let head = varints(&[SESSION_RESUMED, received]);
    assert_eq!((answer.len(), &answer[..head.len()]), (head.len() + 32, &head[..]));
    hand_over(&mut net.client.session, net.now, net.client.link, Item::Message(answer));
    net.settle();
    net.assert_live();

    for byte in [8, 9, 40] {
        let (mut net, answer) = client_and_answer();
        let mut forged = answer.to_vec();
        forged[byte] ^= 1;
        hand_over(&mut net.client.session, net.now, net.client.link, Item::Message(forged.into()));
        assert_refused(&net);
    }
    // Here the client gets the answer to an earlier attempt.
    let (mut net, answer) = client_and_answer();
    net.dial();
    net.send_one(SERVER);
    net.deliver_one(CLIENT);
    hand_over(&mut net.client.session, net.now, net.client.link, Item::Message(answer));
    assert_refused(&net);
}

#[test]
fn a_socket_that_says_anything_else_is_given_up() {
    let strange = [
        Item::Message(varints(&[SESSION_RESUMED, 1]).into()),
        Item::Message(vec![0; 40].into()),
        Item::Message(encode(Wire::QMux, &application_close(0, "going away"), false).into()),
        Item::Message(vec![0xff; 3].into()),
        Item::Close(1001),
    ];
    for item in strange {
        for after_parameters in [false, true] {
            let mut net = suspended();
            net.dial();
            if after_parameters {
                net.send_one(SERVER);
                net.deliver_one(CLIENT);
            }
            hand_over(&mut net.client.session, net.now, net.client.link, item.clone());
            assert_eq!(net.client.session.state(), SessionState::Suspended, "{item:?}");
            net.dial();
            net.settle();
            net.assert_live();
        }
    }
}

#[test]
fn a_first_message_of_any_bytes_is_no_request_and_no_panic() {
    let mut net = suspended();
    let request = request(&mut net);
    for end in 0..request.len() {
        assert_eq!(ResumeRequest::from_first_message(&request.slice(..end)), None);
    }
    for at in 0..request.len() {
        let mut changed = request.to_vec();
        changed[at] ^= 0xff;
        let _ = ResumeRequest::from_first_message(&changed.into());
    }
    assert_eq!(
        ResumeRequest::from_first_message(&request).map(|request| request.id()),
        Some(SessionId([0; 16]))
    );
}

/// To resume, the client's first message MUST consist of QX_TRANSPORT_PARAMETERS with
/// `wsmux_resume` as the only parameter. The count in `wsmux_resume` is the number of counted
/// messages that the client has received. A server MUST refuse a message that contains
/// `wsmux_resume` and anything else.
/// If a server offers resumption but cannot resume the session that `wsmux_resume` names, it
/// MUST close the connection of the new WebSocket with SESSION_REFUSED. The session that the
/// request names does not change. A client whose request is answered by SESSION_REFUSED, or by
/// transport parameters without `wsmux_session`, MUST end the connection at once, with the error
/// that suspended it.
#[test]
fn a_request_with_anything_else_in_its_message_is_refused() {
    let mut net = suspended();
    let message = request(&mut net);
    let value = &message[message.len() - (16 + 2 + 32)..];
    let resume = raw_parameter(RESUME, value);
    let other = raw_parameter(4, &[1]);
    assert_eq!(message, parameters_frame(std::slice::from_ref(&resume)));
    let messages = [
        parameters_frame(&[resume.clone(), other.clone()]),
        parameters_frame(&[other, resume]),
        [&message[..], &[0]].concat(),
        [&message[..], &parameters_frame(&[])].concat(),
    ];
    for message in messages {
        let message = Bytes::from(message);
        assert_eq!(ResumeRequest::from_first_message(&message), None);
        let mut fresh = session(&resumable(), SERVER, 9);
        hand_over(&mut fresh, net.now, Link::default(), Item::Message(message));
        let Some(ConnectionError::TransportError(error)) = fresh.engine().close_reason() else {
            panic!("not refused");
        };
        assert_eq!(error.code, TransportErrorCode::SESSION_REFUSED);
    }
    assert!(accept(&mut net, &message).is_ok());
}

#[test]
fn only_a_server_accepts_and_only_a_client_asks() {
    let mut net = suspended();
    let message = request(&mut net);
    let request = ResumeRequest::from_first_message(&message).expect("a request");
    let caps = SocketCapabilities::new();
    let error = net.client.session.accept_resume(net.now, caps, &request);
    assert_eq!(error, Err(ResumeError::UnknownSession));
    assert_eq!(net.server.session.resume(net.now, caps, Duration::from_secs(10)), None);
    let mut fresh = session(&resumable(), SERVER, 0);
    assert_eq!(fresh.accept_resume(net.now, caps, &request), Err(ResumeError::UnknownSession));
    net.server.session.give_up(net.now);
    assert_eq!(accept(&mut net, &message), Err(ResumeError::Ended));
}

#[test]
fn a_session_whose_keys_were_never_sent_is_not_changed_by_a_request() {
    let mut config = resumable();
    config.window_growth_budget(0);
    let mut net = Net::new(&config);
    net.cut();
    // Another session with the same keys makes a valid proof.
    let request = request(&mut net);
    let mut net = Net::unconnected(&config, &config);
    net.send_one(CLIENT);
    net.deliver_one(SERVER);
    assert_eq!(accept(&mut net, &request), Err(ResumeError::UnknownSession));
    net.settle();
    net.assert_live();
}

/// [C-33] Input from the peer MUST NOT cause a panic.
#[test]
fn any_changed_byte_ends_the_session_or_leaves_it_usable() {
    // Each case returns a waiting session, and the message that it receives next.
    type Case = fn() -> (Net, Bytes);
    let cases: [Case; 3] = [
        || {
            let mut net = suspended();
            net.dial();
            net.send_one(SERVER);
            let Some(Item::Message(hello)) = net.server.in_flight.pop_front() else { panic!() };
            (net, hello)
        },
        client_and_answer,
        || {
            let (mut net, answer) = client_and_answer();
            hand_over(&mut net.client.session, net.now, net.client.link, Item::Message(answer));
            net.send_one(SERVER);
            let Some(Item::Message(again)) = net.server.in_flight.pop_front() else { panic!() };
            (net, again)
        },
    ];
    for case in cases {
        let len = case().1.len();
        for at in 0..len {
            for bit in [0x01, 0x40, 0x80, 0xff] {
                let (mut net, message) = case();
                let mut changed = message.to_vec();
                changed[at] ^= bit;
                let item = Item::Message(changed.into());
                hand_over(&mut net.client.session, net.now, net.client.link, item);
                let state = net.client.session.state();
                if state == SessionState::Suspended {
                    net.dial();
                    net.settle();
                    net.assert_live();
                }
                while transmit(&mut net.client.session, net.now, net.client.link).is_some() {}
                let _ = net.client.session.poll_timeout();
            }
        }
    }
}
