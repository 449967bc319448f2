//! SPEC.md §6: the QMux wire.

use wsmux::{
    Config,
    proto::{
        Close, ConnectionError, Dir, Frame, OpenError, ReadError, ResetAtError, SendEnd,
        TransportErrorCode, Wire,
    },
};

use super::*;

const MAX: u64 = (1 << 62) - 1;
const PROTOCOL: TransportErrorCode = TransportErrorCode::PROTOCOL_VIOLATION;
const PARAMETER: TransportErrorCode = TransportErrorCode::TRANSPORT_PARAMETER_ERROR;

fn server() -> ScriptedPeer {
    ScriptedPeer::new(Wire::QMux, SERVER, &Config::default())
}

/// A message we send MUST NOT be longer than the peer's `max_record_size`. Until the peer's
/// parameters have arrived, the limit is 16382 bytes.
/// Even a connection that is closed at once MUST send its parameters before
/// CONNECTION_CLOSE.
/// Until the peer's parameters have been processed, we MUST NOT send anything but our own
/// parameters, QX_PING and CONNECTION_CLOSE.
/// A reason that would make CONNECTION_CLOSE longer than the peer's `max_record_size` MUST
/// be cut at a character's boundary.
#[test]
fn a_close_before_the_peers_parameters_comes_behind_ours_and_is_short() {
    for side in [CLIENT, SERVER] {
        let mut peer = ScriptedPeer::fresh(Wire::QMux, side, &Config::default());
        assert!(matches!(peer.conn.open(Dir::Bi), Ok(None)), "nothing is allowed yet");
        assert!(peer.conn.send_datagram("early".into()).is_err());
        peer.conn.close(peer.now, code(7), "€".repeat(40_000).into());
        let first = peer.said_bytes().expect("our parameters");
        let second = peer.said_bytes().expect("the close");
        assert!(first.len() <= 16_382 && second.len() <= 16_382, "{}", second.len());
        let first = scripted_peer::decode(Wire::QMux, first);
        assert!(matches!(first[0], Frame::TransportParameters(_)), "{first:?}");
        let rest = |frame: &Frame| matches!(frame, Frame::Ping(_));
        assert!(first[1..].iter().all(rest), "{first:?}");
        match &scripted_peer::decode(Wire::QMux, second)[..] {
            [Frame::ConnectionClose(Close::Application { reason, .. })] => {
                assert!(std::str::from_utf8(reason).is_ok() && reason.len() > 1_000);
            }
            frames => panic!("{frames:?}"),
        }
        assert!(matches!(peer.said()[..], [Said::Close { code: 4007, .. }]));
    }
}

/// QX_TRANSPORT_PARAMETERS MUST be the first frame we send. The frame is sent at once when
/// the socket is open, without waiting for the peer's frame.
/// We MUST NOT send a parameter twice. We MUST send only parameters that are in the table of
/// §6.2 or in the table of §12.1.
#[test]
fn the_parameters_of_the_defaults_are_those_of_the_table() {
    for side in [CLIENT, SERVER] {
        let mut peer = ScriptedPeer::fresh(Wire::QMux, side, &Config::default());
        assert!(peer.conn.wants_transmit(), "at once");
        let expected = parameters_frame(&[
            parameter(0x01, 30_000),
            parameter(0x04, MAX),
            parameter(0x05, 1 << 20),
            parameter(0x06, 1 << 20),
            parameter(0x07, 1 << 20),
            parameter(0x08, 100),
            parameter(0x09, 100),
            parameter(0x20, 65_536),
            parameter(MAX_RECORD_SIZE, 65_536),
            raw_parameter(0x1d, &[]),
            raw_parameter(GOING_AWAY_PARAMETER, &[]),
        ]);
        assert!(peer.said_bytes().unwrap().starts_with(&expected));
    }
}

/// The ids of SPEC.md's table, each with a valid value. Parameters with an empty value are left
/// out.
const TABLE: [(u64, u64); 9] = [
    (0x01, 30_000),
    (0x04, 5),
    (0x05, 5),
    (0x06, 5),
    (0x07, 5),
    (0x08, 5),
    (0x09, 5),
    (0x20, 5),
    (MAX_RECORD_SIZE, 16_382),
];

/// We MUST close with TRANSPORT_PARAMETER_ERROR in two cases. First, the length of a
/// parameter is greater than the number of bytes that follow. Second, a parameter whose value is
/// defined as one varint contains anything other than exactly one varint.
/// If a parameter of the table in §6.2 appears twice, we MUST close with
/// TRANSPORT_PARAMETER_ERROR. Unknown parameters may repeat, because we do not remember them.
#[test]
fn each_parameter_of_the_table_comes_once_as_one_integer() {
    for (id, value) in TABLE {
        let good = parameter(id, value);
        for (what, parameters) in [
            ("twice", vec![good.clone(), good.clone()]),
            ("twice, with others between", vec![good.clone(), parameter(99, 1), good.clone()]),
            ("empty", vec![raw_parameter(id, &[])]),
            ("a byte more", vec![raw_parameter(id, &[varints(&[value]), vec![0]].concat())]),
            ("a byte less", vec![raw_parameter(id, &[0xc0, 0, 0, 0, 0, 0, 0])]),
            ("past the end", vec![varints(&[id, 2]), vec![0]]),
        ] {
            let mut peer = ScriptedPeer::fresh(Wire::QMux, SERVER, &Config::default());
            peer.said();
            peer.send_bytes(parameters_frame(&parameters));
            peer.assert_violation(&format!("{id:#x} {what}"), PARAMETER, 1002);
        }
        let mut peer = ScriptedPeer::fresh(Wire::QMux, SERVER, &Config::default());
        peer.send_bytes(parameters_frame(&[good]));
        peer.assert_open(&format!("{id:#x} once"));
    }
    for id in [0x1d, GOING_AWAY_PARAMETER] {
        let twice = [raw_parameter(id, &[]), raw_parameter(id, &[])];
        let mut peer = ScriptedPeer::fresh(Wire::QMux, SERVER, &Config::default());
        peer.said();
        peer.send_bytes(parameters_frame(&twice));
        peer.assert_violation(&format!("{id:#x} twice"), PARAMETER, 1002);
    }
}

/// An unknown parameter MUST be ignored, whatever its value.
/// On a `max_record_size` below 16382 we MUST close with TRANSPORT_PARAMETER_ERROR.
/// On an `initial_max_streams_bidi` or `initial_max_streams_uni` above 2^60 we MUST close
/// with TRANSPORT_PARAMETER_ERROR.
#[test]
fn parameters_are_good_up_to_their_bounds() {
    let unknown = [0x11, 0x1c, 0x1e, 0x1f, 0x21, 0x2ab2, MAX];
    for value in [&[][..], &[0xff], &[0x40], &[0; 1_000]] {
        let unknown: Vec<_> = unknown.iter().map(|&id| raw_parameter(id, value)).collect();
        let mut peer = ScriptedPeer::fresh(Wire::QMux, CLIENT, &Config::default());
        peer.send_bytes(parameters_frame(&unknown));
        peer.assert_open("unknown ones");
    }
    for good in [
        parameter(MAX_RECORD_SIZE, 16_382),
        parameter(MAX_RECORD_SIZE, MAX),
        parameter(0x08, 1 << 60),
        parameter(0x09, 1 << 60),
    ] {
        let mut peer = ScriptedPeer::fresh(Wire::QMux, CLIENT, &Config::default());
        peer.send_bytes(parameters_frame(std::slice::from_ref(&good)));
        peer.assert_open(&format!("{good:x?}"));
    }
    for bad in [
        parameter(MAX_RECORD_SIZE, 16_381),
        parameter(MAX_RECORD_SIZE, 0),
        parameter(0x08, (1 << 60) + 1),
        parameter(0x09, (1 << 60) + 1),
    ] {
        let mut peer = ScriptedPeer::fresh(Wire::QMux, CLIENT, &Config::default());
        peer.said();
        peer.send_bytes(parameters_frame(std::slice::from_ref(&bad)));
        peer.assert_violation(&format!("{bad:x?}"), PARAMETER, 1002);
    }
}

/// Varints other than the frame type MUST be accepted in every length.
#[test]
fn every_integer_but_a_type_may_be_eight_bytes_long() {
    let long = |value: u64| (value | 3 << 62).to_be_bytes().to_vec();
    let id = bidi(CLIENT, 0);
    let n = id.into_inner();
    let frame = |kind: &[u64], fields: &[u64]| {
        [varints(kind), fields.iter().flat_map(|&field| long(field)).collect()].concat()
    };
    let mut peer = server();
    let close = frame(&[0x1d], &[7, 3]);
    peer.send_bytes(
        [
            [frame(&[0x0e], &[n, 0, 5]), b"hello".to_vec()].concat(),
            frame(&[0x10], &[1 << 41]),
            frame(&[0x11], &[n, 1 << 31]),
            frame(&[0x12], &[1 << 21]),
            frame(&[0x13], &[1 << 21]),
            frame(&[0x14], &[5]),
            frame(&[0x15], &[n, 5]),
            frame(&[0x16], &[5]),
            frame(&[0x17], &[5]),
            [frame(&[0x31], &[2]), b"hi".to_vec()].concat(),
            frame(&[QX_PING], &[9]),
            frame(&[0x24], &[n, 7, 5, 5]),
            frame(&[0x05], &[n, 8]),
        ]
        .concat(),
    );
    peer.assert_open("all of it is good");
    assert_eq!(peer.conn.recv_stream(peer.now, id).read(9).unwrap().data().unwrap(), "hello");
    assert!(
        matches!(peer.conn.recv_stream(peer.now, id).read(9), Err(ReadError::Reset(told)) if told == code(7))
    );
    assert_eq!(peer.conn.send_stream(peer.now, id).poll_end(), SendEnd::Stopped(code(8)));
    assert_eq!(peer.conn.read_datagram().unwrap(), "hi");
    assert!(peer.frames().contains(&Frame::Pong(code(9))));
    peer.send_bytes([close, b"bye".to_vec()].concat());
    assert!(matches!(
        peer.conn.close_reason(),
        Some(ConnectionError::ApplicationClosed(close)) if &close.reason[..] == b"bye"
    ));
}

/// If a frame breaks several rules, the first of them in this order MUST determine the
/// error: encoding, direction and creation (C-6, C-7), stream limit, final size
/// credit (C-27), order of data.
#[test]
fn of_several_faults_of_a_frame_the_first_rule_gives_the_error() {
    let mut config = Config::default();
    config
        .stream_receive_window(1_000)
        .max_concurrent_bidi_streams(4)
        .max_concurrent_uni_streams(4);
    let encoding = TransportErrorCode::FRAME_ENCODING_ERROR;
    let state = TransportErrorCode::STREAM_STATE_ERROR;
    let limit = TransportErrorCode::STREAM_LIMIT_ERROR;
    let final_size = TransportErrorCode::FINAL_SIZE_ERROR;
    let credit = TransportErrorCode::FLOW_CONTROL_ERROR;
    let ended = bidi(CLIENT, 0);
    let ours = uni(SERVER, 0).into_inner();
    let above = bidi(CLIENT, 4).into_inner();
    for (what, message, expected) in [
        ("encoding, direction", [varints(&[0x0e, ours, MAX, 1]), vec![0]].concat(), encoding),
        ("encoding, limit", [varints(&[0x0e, above, MAX, 1]), vec![0]].concat(), encoding),
        ("reliable size, limit", varints(&[0x24, above, 0, 5, 6]), encoding),
        ("direction, credit", [varints(&[0x0e, ours, 5_000, 1]), vec![0]].concat(), state),
        ("not open, credit", varints(&[0x04, bidi(SERVER, 0).into_inner(), 0, MAX]), state),
        ("limit, credit", varints(&[0x04, above, 0, MAX]), limit),
        ("limit, order", [varints(&[0x0e, above, 7, 1]), vec![0]].concat(), limit),
        (
            "final size, credit",
            encode(Wire::QMux, &stream(ended, 5, &[0; 999], false), false),
            final_size,
        ),
        (
            "final size, credit, of a reset",
            varints(&[0x04, ended.into_inner(), 0, 5_000]),
            final_size,
        ),
        (
            "final size, order",
            encode(Wire::QMux, &stream(ended, 9, b"x", false), false),
            final_size,
        ),
        (
            "credit, order",
            encode(Wire::QMux, &stream(bidi(CLIENT, 1), 1_000, b"x", false), false),
            credit,
        ),
        // The frame is valid except for its order, and reaches the last byte of the credit.
        ("order", encode(Wire::QMux, &stream(bidi(CLIENT, 1), 999, b"x", false), false), PROTOCOL),
        (
            "order of a FIN",
            encode(Wire::QMux, &stream(bidi(CLIENT, 1), 1_000, b"", true), false),
            PROTOCOL,
        ),
    ] {
        let mut peer = ScriptedPeer::new(Wire::QMux, SERVER, &config);
        peer.send(&[stream(ended, 0, b"hello", true)]);
        peer.said();
        peer.send_bytes(message);
        peer.assert_violation(what, expected, 1002);
    }
}

/// The first frame we send on a stream that we open MUST be a STREAM, RESET_STREAM or
/// RESET_STREAM_AT frame, never STOP_SENDING or MAX_STREAM_DATA.
#[test]
fn our_stream_begins_with_a_stream_frame_or_a_reset_in_any_case() {
    type Act = fn(&mut ScriptedPeer, wsmux::proto::StreamId);
    let acts: [(&str, Act); 6] = [
        ("stop", |peer, id| peer.conn.recv_stream(peer.now, id).stop(code(1)).unwrap()),
        ("drop the reader", |peer, id| peer.conn.recv_stream(peer.now, id).release()),
        ("drop both", |peer, id| {
            peer.conn.recv_stream(peer.now, id).release();
            peer.conn.send_stream(peer.now, id).release();
        }),
        ("reset and stop", |peer, id| {
            peer.conn.recv_stream(peer.now, id).stop(code(1)).unwrap();
            peer.conn.send_stream(peer.now, id).reset(code(1)).unwrap();
        }),
        ("write without credit", |peer, id| {
            peer.conn.send_stream(peer.now, id).write(b"x").unwrap();
        }),
        ("a larger window", |peer, id| {
            peer.conn.set_stream_receive_window(8 << 20);
            peer.conn.recv_stream(peer.now, id).stop(code(1)).unwrap();
        }),
    ];
    for (what, act) in acts {
        for credit in [0, 1_000] {
            let mut peer = client(scripted_peer::generous_but(|limits| {
                limits.initial_max_data = credit;
                limits.initial_max_stream_data_bidi_remote = credit;
            }));
            let id = peer.conn.open(Dir::Bi).unwrap().unwrap();
            act(&mut peer, id);
            let frames = peer.frames();
            assert!(
                matches!(frames[0], Frame::Stream { .. } | Frame::ResetStream { .. }),
                "{what}: {frames:?}"
            );
        }
    }
}

/// We MUST NOT open a stream above the peer's limit.
/// On a MAX_STREAMS or STREAMS_BLOCKED above 2^60 we MUST close with FRAME_ENCODING_ERROR.
#[test]
fn stream_limits_are_good_up_to_2_60_and_obeyed_to_the_stream() {
    let mut peer = client(scripted_peer::generous_but(|limits| {
        limits.initial_max_streams_bidi = 2;
        limits.initial_max_streams_uni = 0;
    }));
    let mut opened = [0; 2];
    for (bidi, uni) in [(2, 0), (2, 3), (5, 3), (1, 1)] {
        peer.send(&[
            Frame::MaxStreams { dir: Dir::Bi, count: bidi },
            Frame::MaxStreams { dir: Dir::Uni, count: uni },
        ]);
        for dir in [Dir::Bi, Dir::Uni] {
            while let Some(id) = peer.conn.open(dir).unwrap() {
                peer.conn.send_stream(peer.now, id).announce();
                opened[dir as usize] += 1;
            }
        }
        for frame in peer.frames() {
            if let Frame::Stream { id, .. } = frame {
                let limit = if id.dir() == Dir::Bi { bidi } else { uni };
                assert!(id.index() < limit, "{id} above {limit}");
            }
        }
    }
    assert_eq!(opened, [5, 3]);
    for dir in [Dir::Bi, Dir::Uni] {
        peer.send(&[
            Frame::MaxStreams { dir, count: 1 << 60 },
            Frame::StreamsBlocked { dir, limit: 1 << 60 },
        ]);
        peer.assert_open("2^60 streams are all there are");
        assert!(!matches!(peer.conn.open(dir), Err(OpenError::ConnectionLost(_))));
    }
}

/// On a reliable size above the number of bytes that have arrived, we MUST close with
/// PROTOCOL_VIOLATION. Bytes at or above the reliable size are discarded. After RESET_STREAM all
/// bytes are discarded.
#[test]
fn what_a_reset_promises_has_come_before_it() {
    for (came, reliable) in [(0, 1), (4, 5), (5, 9), (5, 100)] {
        let (mut peer, id) = with_stream(Wire::QMux, &Config::default());
        peer.send(&[stream(id, 0, &vec![0; came], false), reset_at(id, 3, 100, reliable)]);
        peer.assert_violation(&format!("{reliable} of {came}"), PROTOCOL, 1002);
    }
    // The same applies if the reset itself opens the stream.
    let mut peer = server();
    peer.send(&[reset_at(uni(CLIENT, 0), 3, 100, 1)]);
    peer.assert_violation("nothing has come", PROTOCOL, 1002);

    for (reset, kept) in [
        (reset_at(bidi(CLIENT, 0), 3, 100, 5), "hello"),
        (reset_at(bidi(CLIENT, 0), 3, 5, 4), "hell"),
        (reset_at(bidi(CLIENT, 0), 3, 100, 1), "h"),
        (reset(bidi(CLIENT, 0), 3, 100), ""),
    ] {
        let (mut peer, id) = with_stream(Wire::QMux, &Config::default());
        peer.send(&[stream(id, 0, b"hello", false), reset]);
        peer.assert_open("all that it promises is here");
        let mut recv = peer.conn.recv_stream(peer.now, id);
        if !kept.is_empty() {
            assert_eq!(recv.read(100).unwrap().data().unwrap(), kept);
        }
        assert!(matches!(recv.read(100), Err(ReadError::Reset(told)) if told == code(3)));
    }
}

/// We MUST NOT send RESET_STREAM_AT to a peer that did not advertise `reset_stream_at`. We
/// MUST NOT send RESET_STREAM_AT before all bytes below the reliable size have been sent.
#[test]
fn reset_stream_at_goes_after_the_bytes_to_a_peer_that_supports_it() {
    let limits = |reset_stream_at| {
        scripted_peer::generous_but(|limits| {
            limits.initial_max_stream_data_bidi_remote = 10;
            limits.reset_stream_at = reset_stream_at;
        })
    };
    let mut peer = client(limits(false));
    let id = peer.conn.open(Dir::Bi).unwrap().unwrap();
    peer.conn.send_stream(peer.now, id).write(&[1; 100]).unwrap();
    let refused = peer.conn.send_stream(peer.now, id).reset_at(code(7), 20);
    assert_eq!(refused, Err(ResetAtError::UnsupportedByPeer));
    let resets = |frame: &Frame| matches!(frame, Frame::ResetStream { .. });
    assert!(!peer.frames().iter().any(resets));

    for reliable in [1, 9, 10, 11, 20, 50, 100] {
        let mut peer = client(limits(true));
        let id = peer.conn.open(Dir::Bi).unwrap().unwrap();
        peer.conn.send_stream(peer.now, id).write(&[1; 100]).unwrap();
        peer.conn.send_stream(peer.now, id).reset_at(code(7), reliable).unwrap();
        let (mut sent, mut ended) = (0, false);
        for granted in 10..=120 {
            peer.send(&[max_stream_data(id, granted)]);
            for frame in peer.frames() {
                match frame {
                    Frame::Stream { offset, data, fin, .. } => {
                        assert!(!fin && !ended, "{reliable}: behind the reset");
                        assert_eq!(offset, Some(sent), "{reliable}: in order");
                        sent += data.len() as u64;
                    }
                    Frame::ResetStream { code: told, final_size, reliable_size, .. } => {
                        assert_eq!((told, reliable_size), (code(7), reliable));
                        assert_eq!(final_size, Some(sent), "{reliable}");
                        assert!(sent >= reliable && !ended, "{reliable}: {sent} were sent");
                        ended = true;
                    }
                    _ => {}
                }
            }
        }
        assert!(ended, "{reliable}");
    }
}

/// An application error code MUST be carried in full, up to 2^62-1.
#[test]
fn the_largest_code_goes_and_comes_whole() {
    let (mut peer, id) = with_stream(Wire::QMux, &Config::default());
    let own = peer.conn.open(Dir::Bi).unwrap().unwrap();
    peer.conn.send_stream(peer.now, own).reset(code(MAX)).unwrap();
    peer.conn.recv_stream(peer.now, id).stop(code(MAX)).unwrap();
    let said = peer.frames();
    assert!(said.contains(&reset(own, MAX, 0)) && said.contains(&stop(id, MAX)), "{said:?}");
    let other = bidi(CLIENT, 1);
    peer.send(&[stream(other, 0, b"", false), reset(other, MAX, 0), stop(other, MAX)]);
    assert!(
        matches!(peer.conn.recv_stream(peer.now, other).read(1), Err(ReadError::Reset(told)) if told == code(MAX))
    );
    assert_eq!(peer.conn.send_stream(peer.now, other).poll_end(), SendEnd::Stopped(code(MAX)));
    peer.send(&[application_close(MAX, "")]);
    match peer.conn.close_reason() {
        Some(ConnectionError::ApplicationClosed(close)) => {
            assert_eq!(close.error_code, code(MAX));
        }
        other => panic!("{other:?}"),
    }
}

/// As sender we MUST NOT send more bytes on all streams together than the peer's MAX_DATA
/// allows. A reset stream counts with its final size.
/// Connection credit MUST be spent only when bytes are put into a message, never when they
/// are buffered.
#[test]
fn connection_credit_is_used_to_the_byte_and_never_given_back() {
    let mut peer = client(scripted_peer::generous_but(|limits| limits.initial_max_data = 100));
    let hoards = peer.conn.open(Dir::Bi).unwrap().unwrap();
    let other = peer.conn.open(Dir::Bi).unwrap().unwrap();
    peer.conn.send_stream(peer.now, hoards).write(&[0; 60]).unwrap();
    assert_eq!(peer.frames()[0], stream(hoards, 0, &[0; 60], false));
    // Bytes that were buffered and then reset used no credit. Bytes that were sent used credit,
    // although their stream has ended.
    peer.conn.send_stream(peer.now, hoards).write(&[0; 1_000]).unwrap();
    peer.conn.send_stream(peer.now, hoards).reset(code(1)).unwrap();
    peer.conn.send_stream(peer.now, other).write(&[0; 1_000]).unwrap();
    let mut sent = 60;
    for total in [100, 101, 150, 150, 120, 151] {
        peer.send(&[Frame::MaxData(total)]);
        for frame in peer.frames() {
            match frame {
                Frame::Stream { data, .. } => sent += data.len(),
                Frame::ResetStream { final_size, .. } => assert_eq!(final_size, Some(60)),
                _ => {}
            }
        }
        assert_eq!(sent, [100, 101, 150, 151].into_iter().find(|&at| at >= sent).unwrap());
    }
    assert_eq!(sent, 151);
}

/// A QX_PING request MUST be answered by a response with the same number. If several
/// requests wait, only the request with the largest number is answered.
/// If the number of a QX_PING request is not larger than the number of the request before
/// it, we MUST close with PROTOCOL_VIOLATION. Q-73 is the exception: on `qmux-01` an equal number
/// is allowed.
#[test]
fn pings_are_answered_one_by_one_where_they_do_not_wait() {
    let mut peer = server();
    for number in [0, 1, 63, 64, 1 << 40, MAX] {
        peer.send(&[Frame::Ping(code(number))]);
        assert_eq!(peer.frames(), [Frame::Pong(code(number))]);
    }
    peer.send(&[Frame::Ping(code(MAX))]);
    peer.assert_violation("again", PROTOCOL, 1002);
}

/// If a QX_PING response arrives whose number is above the largest number that we sent, we
/// MUST close with PROTOCOL_VIOLATION. If we have sent no request, we MUST close with
/// PROTOCOL_VIOLATION on any response.
#[test]
fn an_answer_to_the_next_ping_comes_too_early() {
    let mut config = Config::default();
    config.window_growth_budget(0).keep_alive_interval(Some(secs(10)));
    let mut peer = ScriptedPeer::new(Wire::QMux, SERVER, &config);
    peer.now = at(secs(10));
    peer.conn.handle_timeout(peer.now);
    assert_eq!(peer.frames(), [Frame::Ping(code(0))]);
    peer.send(&[Frame::Pong(code(0)), Frame::Pong(code(0))]);
    peer.assert_open("the second says nothing new");
    peer.send(&[Frame::Pong(code(1))]);
    peer.assert_violation("number 1 was not sent", PROTOCOL, 1002);
}
