//! Which connections can be resumed. For an end that does not offer resumption, nothing may change.

use std::time::Duration;

use bytes::Bytes;
use wsmux_proto::{
    Config, Connection, ConnectionError, Link, Session, SessionState, Side, SocketCapabilities,
    SocketError, Time, TransportErrorCode, Wire,
};

use crate::{
    net::{Item, Net, hand_over, keys, resumable, session, transmit},
    support::*,
};

pub const SESSION: u64 = 0x29ac_e57f_4e2d_b89d;
pub const RESUME: u64 = 0x19b7_d1ae_caaa_fe0c;

/// The value of `wsmux_session` of a server that has the keys `keys(0)`, a timeout of one minute,
/// and a replay budget of 32 MiB.
fn server_value() -> Vec<u8> {
    [&varints(&[60_000, 32 << 20])[..], &[0; 16], &[0xff; 32]].concat()
}

fn client_value() -> Vec<u8> {
    varints(&[60_000, 32 << 20])
}

fn first(session: &mut Session) -> Bytes {
    match transmit(session, Time::EPOCH, Link::default()) {
        Some(Item::Message(first)) => first,
        other => panic!("{other:?}"),
    }
}

/// Returns the body of the parameters in an end's first message.
fn body(mut first: Bytes) -> Bytes {
    let kind = first.split_to(8);
    assert_eq!(&kind[..], b"\xffQS0\r\n\r\n");
    let len = wsmux_proto::VarInt::decode(&mut first).expect("a length").into_inner();
    first.split_to(len as usize)
}

/// An end that offers resumption MUST send `wsmux_session` among its transport parameters. An
/// end that does not offer resumption MUST NOT send anything of this chapter.
/// A server that offers resumption MUST send an id and a secret that are new and random for
/// each connection. A client MUST NOT send either.
#[test]
fn an_offer_is_one_more_transport_parameter() {
    for (side, value) in [(CLIENT, client_value()), (SERVER, server_value())] {
        let plain = body(first(&mut session(&Config::default(), side, 0)));
        let offering = body(first(&mut session(&resumable(), side, 0)));
        let expected = [&plain[..], &raw_parameter(SESSION, &value)].concat();
        assert_eq!(offering, expected, "{side:?}");
    }
    // A client does not send keys, even if it has some.
    let engine = Connection::new(resumable(), CLIENT, Wire::QMux, Time::EPOCH);
    let mut client = Session::new(engine, Some(keys(0)));
    assert_eq!(first(&mut client), first(&mut session(&resumable(), CLIENT, 0)));
    // A server without keys does not offer resumption.
    let engine = Connection::new(resumable(), SERVER, Wire::QMux, Time::EPOCH);
    let mut server = Session::new(engine, None);
    assert_eq!(body(first(&mut server)), body(first(&mut session(&Config::default(), SERVER, 0))));
}

/// Lets two ends exchange streams, resets, datagrams and pings, and returns what each end sent.
fn conversation(client: &Config, server: &Config) -> (Net, [Vec<Bytes>; 2]) {
    let mut net = Net::unconnected(client, server);
    net.settle();
    for round in 0..40 {
        net.now += ms(300);
        for side in [CLIENT, SERVER] {
            let now = net.now;
            let conn = net.end(side).session.engine_mut();
            let id = conn.open(wsmux_proto::Dir::Bi).unwrap().unwrap();
            let data = pattern(round, 0, 700 * round as usize);
            conn.send_stream(now, id).write(&data).unwrap();
            conn.send_stream(now, id).finish().unwrap();
            conn.send_datagram(data[..round as usize].to_vec().into()).unwrap();
        }
        net.settle();
        for side in [CLIENT, SERVER] {
            let now = net.now;
            let conn = net.end(side).session.engine_mut();
            let id = conn.accept(wsmux_proto::Dir::Bi).unwrap();
            while let Ok(wsmux_proto::Read::Data(_)) = conn.recv_stream(now, id).read(1_000) {}
            conn.send_stream(now, id).reset(code(round)).unwrap();
            conn.recv_stream(now, id).release();
        }
        net.pass(ms(40));
    }
    net.pass(secs(30));
    let logs = [CLIENT, SERVER].map(|side| net.end(side).log.clone());
    (net, logs)
}

/// An end that offers resumption MUST send `wsmux_session` among its transport parameters. An
/// end that does not offer resumption MUST NOT send anything of this chapter.
#[test]
fn with_a_plain_peer_no_byte_differs_but_the_offer() {
    let plain = Config::default();
    let (_, expected) = conversation(&plain, &plain);
    for (client, server) in [(resumable(), plain.clone()), (plain, resumable())] {
        let (mut net, sent) = conversation(&client, &server);
        for (sent, expected) in sent.iter().zip(&expected) {
            assert_eq!(sent[1..], expected[1..]);
        }
        // The end of the socket also ends the connection.
        assert_eq!(net.client.session.state(), SessionState::Fixed);
        net.cut();
        for side in [CLIENT, SERVER] {
            let session = &mut net.end(side).session;
            assert_eq!((session.state(), session.is_closed()), (SessionState::Ended, true));
            assert_eq!((session.id(), session.poll_event()), (None, None));
            assert!(
                session
                    .resume(Time::EPOCH, SocketCapabilities::new(), Duration::from_secs(10))
                    .is_none()
            );
        }
    }
}

#[test]
fn a_session_without_an_offer_is_only_its_connection() {
    for wire in WIRES {
        let config = if wire == Wire::QMux { Config::default() } else { resumable() };
        let mut plain = Connection::new(config.clone(), CLIENT, wire, Time::EPOCH);
        let engine = Connection::new(config, CLIENT, wire, Time::EPOCH);
        let mut session = Session::new(engine, Some(keys(0)));
        let mut out = wsmux_proto::MessageBuf::new();
        let sent = plain.poll_transmit(Time::EPOCH, &mut out).is_some();
        let item = transmit(&mut session, Time::EPOCH, Link::default());
        assert_eq!(item, sent.then(|| Item::Message(out.to_bytes())));
        assert_eq!(session.poll_timeout(), plain.poll_timeout());
        session.handle_socket_end(Time::EPOCH, Link::default(), SocketError::Eof);
        assert!(session.is_closed());
    }
}

fn error_after(side: Side, config: &Config, parameters: &[Vec<u8>]) -> Option<TransportErrorCode> {
    let mut session = session(config, side, 0);
    let message = Item::Message(parameters_frame(parameters).into());
    hand_over(&mut session, Time::EPOCH, Link::default(), message);
    match session.engine().close_reason() {
        None => None,
        Some(ConnectionError::TransportError(error)) => Some(error.code),
        Some(other) => panic!("{other:?}"),
    }
}

/// If we offer resumption, we MUST close with TRANSPORT_PARAMETER_ERROR in three cases:
/// `wsmux_session` or `wsmux_resume` is malformed, one of them appears twice, or the replay budget
/// is below 65536. If we do not offer resumption, both parameters are unknown parameters.
/// Bytes after the fields of `wsmux_session` MUST be ignored.
#[test]
fn malformed_parameters_of_sessions_are_errors_where_they_are_known() {
    let of_client = |value: &[u8]| (SERVER, vec![raw_parameter(SESSION, value)]);
    let of_server = |value: &[u8]| (CLIENT, vec![raw_parameter(SESSION, value)]);
    let resume = |value: &[u8]| (SERVER, vec![raw_parameter(RESUME, value)]);
    let long = [&server_value()[..], &[0]].concat();
    let twice = vec![raw_parameter(SESSION, &client_value()); 2];
    let bad = [
        of_client(&[]),
        of_client(&varints(&[60_000])),
        of_client(&varints(&[60_000, 65_535])),
        of_server(&client_value()),
        of_server(&server_value()[1..]),
        resume(&[]),
        resume(&[0; 16 + 1 + 1 + 31]),
        resume(&[0; 16 + 1 + 1 + 33]),
        (SERVER, twice),
    ];
    for (side, parameters) in bad {
        let error = error_after(side, &resumable(), &parameters);
        let expected = Some(TransportErrorCode::TRANSPORT_PARAMETER_ERROR);
        assert_eq!(error, expected, "{side:?} {parameters:?}");
        assert_eq!(error_after(side, &Config::default(), &parameters), None);
    }
    // Bytes after the known fields are ignored.
    let longer = [of_client(&server_value()), of_server(&long)];
    for (side, parameters) in
        [of_client(&client_value()), of_server(&server_value())].into_iter().chain(longer)
    {
        assert_eq!(error_after(side, &resumable(), &parameters), None);
    }
}

#[test]
fn both_ends_know_the_session_by_the_id_of_the_server() {
    let net = Net::new(&resumable());
    assert_eq!(net.client.session.id(), Some(keys(0).id()));
    assert_eq!(net.server.session.id(), Some(keys(0).id()));
}
