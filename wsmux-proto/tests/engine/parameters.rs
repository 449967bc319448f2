//! Transport parameters of QMux. They come first and only once, and an error in them ends the
//! connection.

use crate::support::*;
use wsmux_proto::{Config, Frame, Side, TransportErrorCode, Wire};

const PROTOCOL: TransportErrorCode = TransportErrorCode::PROTOCOL_VIOLATION;
const PARAMETER: TransportErrorCode = TransportErrorCode::TRANSPORT_PARAMETER_ERROR;

const MAX: u64 = (1 << 62) - 1;

fn config() -> Config {
    Config::default()
}

fn bytes(frame: Frame) -> Vec<u8> {
    encode(Wire::QMux, &frame, false)
}

/// QX_TRANSPORT_PARAMETERS MUST be the first frame we send. The frame is sent at once when
/// the socket is open, without waiting for the peer's frame.
/// Even a connection that is closed at once MUST send its parameters before
/// CONNECTION_CLOSE.
/// If the peer's first frame is not QX_TRANSPORT_PARAMETERS, even if it is PADDING or
/// CONNECTION_CLOSE, we MUST close with PROTOCOL_VIOLATION.
/// On a second QX_TRANSPORT_PARAMETERS we MUST close with PROTOCOL_VIOLATION.
#[test]
fn parameters_that_do_not_come_first_or_come_twice() {
    let parameters = || parameters_frame(&[]);
    for (what, message) in [
        ("STREAM", bytes(stream(bidi(CLIENT, 0), 0, b"early", false))),
        ("PADDING", [vec![0], parameters()].concat()),
        ("CONNECTION_CLOSE", bytes(application_close(0, ""))),
        ("QX_PING", varints(&[QX_PING, 0])),
        ("twice", [parameters(), parameters()].concat()),
    ] {
        let mut peer = ScriptedPeer::fresh(Wire::QMux, SERVER, &config());
        let [Said::Frames(first)] = &peer.said()[..] else { panic!("{what}") };
        assert!(matches!(first[..], [Frame::TransportParameters(_), ..]), "ours do not wait");
        peer.send_bytes(message);
        peer.assert_violation(what, PROTOCOL, 1002);
    }
    let mut peer = ScriptedPeer::new(Wire::QMux, SERVER, &config());
    peer.send_bytes(parameters());
    peer.assert_violation("later", PROTOCOL, 1002);
    // Whatever the peer sends, our parameters are sent first.
    let mut peer = ScriptedPeer::fresh(Wire::QMux, CLIENT, &config());
    peer.send_bytes(vec![0]);
    let said = peer.said();
    let [Said::Frames(first), Said::Frames(_), Said::Close { .. }] = &said[..] else {
        panic!("{said:?}")
    };
    assert!(matches!(first[..], [Frame::TransportParameters(_)]));
}

/// We MUST close with TRANSPORT_PARAMETER_ERROR in two cases. First, the length of a
/// parameter is greater than the number of bytes that follow. Second, a parameter whose value is
/// defined as one varint contains anything other than exactly one varint.
/// If a parameter of the table in §6.2 appears twice, we MUST close with
/// TRANSPORT_PARAMETER_ERROR. Unknown parameters may repeat, because we do not remember them.
/// On a prohibited parameter (0x00, 0x02, 0x03, 0x0a-0x10) we MUST close with
/// TRANSPORT_PARAMETER_ERROR.
/// An unknown parameter MUST be ignored, whatever its value.
/// On a `max_record_size` below 16382 we MUST close with TRANSPORT_PARAMETER_ERROR.
/// On an `initial_max_streams_bidi` or `initial_max_streams_uni` above 2^60 we MUST close
/// with TRANSPORT_PARAMETER_ERROR.
/// On a `reset_stream_at` whose value is not empty we MUST close with
/// TRANSPORT_PARAMETER_ERROR.
/// [G-2] On a `wsmux_going_away` whose value is not empty we MUST close with
/// TRANSPORT_PARAMETER_ERROR.
#[test]
fn parameters_that_are_malformed_forbidden_or_out_of_range() {
    let one = |parameter: Vec<u8>| vec![parameter];
    let mut bad = vec![
        ("twice".to_owned(), vec![parameter(0x04, 1), parameter(0x04, 1)]),
        ("no integer".to_owned(), one(raw_parameter(0x04, &[]))),
        ("half an integer".to_owned(), one(raw_parameter(0x04, &[0x40]))),
        ("more than an integer".to_owned(), one(raw_parameter(0x04, &[1, 1]))),
        ("shorter than it says".to_owned(), one(vec![0x04, 5, 0])),
        ("an id alone".to_owned(), one(vec![0x04])),
        ("streams past 2^60".to_owned(), one(parameter(0x08, (1 << 60) + 1))),
        ("streams past 2^60".to_owned(), one(parameter(0x09, MAX))),
        ("a small record".to_owned(), one(parameter(MAX_RECORD_SIZE, 16_381))),
        ("reset_stream_at of a value".to_owned(), one(raw_parameter(0x1d, &[0]))),
        ("going_away of a value".to_owned(), one(raw_parameter(GOING_AWAY_PARAMETER, &[0]))),
    ];
    for id in [0x00, 0x02, 0x03, 0x0a, 0x0b, 0x0c, 0x0d, 0x0e, 0x0f, 0x10] {
        bad.push((format!("forbidden {id:#x}"), one(parameter(id, 3))));
    }
    for (what, parameters) in bad {
        let mut peer = ScriptedPeer::fresh(Wire::QMux, CLIENT, &config());
        peer.said();
        peer.send_bytes(parameters_frame(&parameters));
        assert_eq!(peer.assert_violation(&what, PARAMETER, 1002), QX_PARAMETERS);
    }
    let unknown = |count| (0..count).map(|nth| raw_parameter(27 + 31 * nth, &[0xff; 3])).collect();
    let mut twice: Vec<_> = unknown(3);
    twice.extend(unknown(3));
    for (what, parameters) in
        [("a thousand unknown ones", unknown(1_000)), ("an unknown one twice", twice)]
    {
        let mut peer = ScriptedPeer::fresh(Wire::QMux, CLIENT, &config());
        peer.send_bytes(parameters_frame(&parameters));
        peer.assert_open(what);
    }
}

/// Until the peer's parameters have been processed, we MUST NOT send anything but our own
/// parameters, QX_PING and CONNECTION_CLOSE.
/// We MUST NOT send a parameter twice. We MUST send only parameters that are in the table of
/// §6.2 or in the table of §12.1.
#[test]
fn each_end_tells_what_its_configuration_says_and_no_parameter_twice() {
    let mut config = Config::default();
    config
        .stream_receive_window(12_345)
        .max_concurrent_bidi_streams(7)
        .max_concurrent_uni_streams(8)
        .max_idle_timeout(Some(ms(1_500)))
        .max_record_size(20_000)
        .datagram_receive_buffer_size(0);
    for side in [Side::Client, Side::Server] {
        let mut peer = ScriptedPeer::fresh(Wire::QMux, side, &config);
        // Compares the engine's encoding with the tests' own encoding. The engine must encode the
        // same ids in the same order, in the shortest form, and nothing more.
        let expected = parameters_frame(&[
            parameter(0x01, 1_500),
            parameter(0x04, MAX),
            parameter(0x05, 12_345),
            parameter(0x06, 12_345),
            parameter(0x07, 12_345),
            parameter(0x08, 7),
            parameter(0x09, 8),
            parameter(MAX_RECORD_SIZE, 20_000),
            raw_parameter(0x1d, &[]),
            raw_parameter(GOING_AWAY_PARAMETER, &[]),
        ]);
        // The parameters are followed by the ping that measures the idle path (C-59).
        let ping = varints(&[QX_PING, 0]);
        assert_eq!(peer.said_bytes().unwrap(), [expected, ping].concat());
        assert_eq!(peer.said(), [], "and nothing before the peer's have come (Q-17)");
        assert!(peer.conn.open(wsmux_proto::Dir::Bi).unwrap().is_none());
    }
}

/// The `max_datagram_frame_size` that we advertise MUST NOT be above our `max_record_size`.
#[test]
fn no_larger_datagram_is_invited_than_a_message_may_be() {
    for buffer in [1, 1_000, 16_382, 20_000, 1 << 20] {
        let mut config = Config::default();
        config.max_record_size(16_382).datagram_receive_buffer_size(buffer);
        let mut peer = ScriptedPeer::fresh(Wire::QMux, Side::Server, &config);
        let said = peer.frames();
        let [Frame::TransportParameters(parameters), ..] = &said[..] else { panic!("{said:?}") };
        assert!(parameters.max_datagram_frame_size > 0, "it takes some");
        assert!(parameters.max_datagram_frame_size <= 16_382);
    }
}
