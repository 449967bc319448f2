//! What a peer must not do on the QMux wire. For each violation, the tests list the bytes, the
//! transport error, and the WebSocket code.

use crate::support::*;
use bytes::Bytes;
use wsmux_proto::{
    Config, ConnectionError, Dir, Frame, Incoming, Side, StreamId, TransportErrorCode, Wire,
};

const PROTOCOL: TransportErrorCode = TransportErrorCode::PROTOCOL_VIOLATION;
const ENCODING: TransportErrorCode = TransportErrorCode::FRAME_ENCODING_ERROR;
const STATE: TransportErrorCode = TransportErrorCode::STREAM_STATE_ERROR;
const LIMIT: TransportErrorCode = TransportErrorCode::STREAM_LIMIT_ERROR;
const FINAL_SIZE: TransportErrorCode = TransportErrorCode::FINAL_SIZE_ERROR;
const FLOW_CONTROL: TransportErrorCode = TransportErrorCode::FLOW_CONTROL_ERROR;

const MAX: u64 = (1 << 62) - 1;

fn config() -> Config {
    let mut config = Config::default();
    config
        .stream_receive_window(1_000)
        .max_concurrent_bidi_streams(4)
        .max_concurrent_uni_streams(4);
    config
}

/// Returns a server that has opened its bidirectional stream 0 and its unidirectional stream 0.
fn server() -> ScriptedPeer {
    let mut peer = ScriptedPeer::new(Wire::QMux, SERVER, &config());
    for dir in [Dir::Bi, Dir::Uni] {
        let id = peer.conn.open(dir).unwrap().unwrap();
        peer.conn.send_stream(peer.now, id).announce();
    }
    peer.said();
    peer
}

fn bytes(frame: Frame) -> Vec<u8> {
    encode(Wire::QMux, &frame, false)
}

const fn id(initiator: Side, dir: Dir, index: u64) -> u64 {
    StreamId::new(initiator, dir, index).into_inner()
}

/// Asserts that each message closes the connection of `server()` with this code, both by itself and
/// after a valid frame.
fn assert_each_is(code: TransportErrorCode, messages: &[(&str, Vec<u8>)]) {
    for (what, message) in messages {
        let mut peer = server();
        peer.send_bytes(message.clone());
        peer.assert_violation(what, code, 1002);
        let mut peer = server();
        let before = bytes(stream(uni(CLIENT, 0), 0, b"before", false));
        peer.send_bytes([&before[..], message].concat());
        let what = format!("{what}, behind a good frame");
        peer.assert_violation(&what, code, 1002);
        let read = peer.conn.recv_stream(peer.now, uni(CLIENT, 0)).read(10).unwrap();
        assert_eq!(read.data().unwrap(), "before", "{what}: it has taken effect (Q-12)");
    }
}

/// Returns the frames that only the sending end of a stream may send.
fn frames_of_a_sender(id: u64) -> [(&'static str, Vec<u8>); 4] {
    [
        ("STREAM", varints(&[0x0a, id, 0])),
        ("RESET_STREAM", varints(&[0x04, id, 0, 0])),
        ("RESET_STREAM_AT", varints(&[0x24, id, 0, 0, 0])),
        ("STREAM_DATA_BLOCKED", varints(&[0x15, id, 0])),
    ]
}

/// [C-6] If a frame belongs to a direction that its stream lacks, we MUST close with
/// STREAM_STATE_ERROR. On a stream where only we send, these frames are STREAM, RESET_STREAM,
/// RESET_STREAM_AT and STREAM_DATA_BLOCKED. On a stream where only the peer sends, they are
/// STOP_SENDING and MAX_STREAM_DATA.
#[test]
fn a_frame_in_a_direction_that_the_stream_lacks() {
    let (own, other) = (id(SERVER, Dir::Uni, 0), id(CLIENT, Dir::Uni, 0));
    let above = id(CLIENT, Dir::Uni, 1_000);
    assert_each_is(
        STATE,
        &[
            ("STOP_SENDING", varints(&[0x05, other, 0])),
            ("MAX_STREAM_DATA", varints(&[0x11, other, 5])),
            ("STOP_SENDING, and above the limit", varints(&[0x05, above, 0])),
            ("MAX_STREAM_DATA, and above the limit", varints(&[0x11, above, 5])),
        ],
    );
    assert_each_is(STATE, &frames_of_a_sender(own));
}

/// [C-7] If a frame of any type names a stream that only we may open and that we have not opened,
/// we MUST close with STREAM_STATE_ERROR.
#[test]
fn a_frame_for_a_stream_of_ours_that_was_never_opened() {
    for dir in [Dir::Bi, Dir::Uni] {
        let own = id(SERVER, dir, 1);
        assert_each_is(
            STATE,
            &[
                ("STOP_SENDING", varints(&[0x05, own, 0])),
                ("MAX_STREAM_DATA", varints(&[0x11, own, 5])),
            ],
        );
        assert_each_is(STATE, &frames_of_a_sender(own));
    }
}

/// If a frame breaks several rules, the first of them in this order MUST determine the
/// error: encoding, direction and creation (C-6, C-7), stream limit, final size
/// credit (C-27), order of data.
/// On a frame for a peer's stream above the limit that we have advertised, we MUST close
/// with STREAM_LIMIT_ERROR, whatever the frame's type: STREAM, RESET_STREAM, RESET_STREAM_AT,
/// STREAM_DATA_BLOCKED, STOP_SENDING, MAX_STREAM_DATA.
#[test]
fn a_frame_on_a_stream_above_our_limit() {
    for (dir, index) in [(Dir::Bi, 4), (Dir::Uni, 4), (Dir::Bi, (1 << 60) - 1)] {
        let above = id(CLIENT, dir, index);
        assert_each_is(LIMIT, &frames_of_a_sender(above));
        // If a frame violates both limits, the stream limit is checked before the credit.
        let past_the_credit = varints(&[0x04, above, 0, MAX]);
        assert_each_is(LIMIT, &[("RESET_STREAM past the credit", past_the_credit)]);
    }
}

/// If a STREAM frame with data does not begin directly after the last byte received, we MUST
/// close with PROTOCOL_VIOLATION.
/// The offset of an empty STREAM frame MUST obey the rule of Q-27 as well.
/// If a frame breaks several rules, the first of them in this order MUST determine the
/// error: encoding, direction and creation (C-6, C-7), stream limit, final size
/// credit (C-27), order of data.
#[test]
fn stream_data_with_a_gap_or_an_overlap() {
    let id = bidi(CLIENT, 0);
    let first = stream(id, 0, &[0; 100], false);
    for (what, then) in [
        ("gap", stream(id, 101, b"x", false)),
        ("overlap", stream(id, 99, b"x", false)),
        ("again", stream(id, 0, &[0; 100], false)),
        ("empty, ahead", stream(id, 101, b"", false)),
        ("empty, behind", stream(id, 99, b"", false)),
        ("gap and end", stream(id, 200, b"", true)),
    ] {
        assert_each_is(PROTOCOL, &[(what, [bytes(first.clone()), bytes(then)].concat())]);
    }
    assert_each_is(PROTOCOL, &[("gap before anything", bytes(stream(id, 1, b"x", false)))]);
}

/// We MUST close with FINAL_SIZE_ERROR if one of these arrives on a live stream: a STREAM
/// frame or reset that changes a known final size, data past the final size, or a final size below
/// the number of bytes received. The halves that C-55 describes are exempt.
/// If a frame breaks several rules, the first of them in this order MUST determine the
/// error: encoding, direction and creation (C-6, C-7), stream limit, final size
/// credit (C-27), order of data.
#[test]
fn a_final_size_that_does_not_hold() {
    let id = bidi(CLIENT, 0);
    for (what, frames) in [
        ("data behind FIN", [stream(id, 0, b"hello", true), stream(id, 5, b"x", false)]),
        ("a later FIN", [stream(id, 0, b"hello", true), stream(id, 5, b"x", true)]),
        ("FIN below what came", [stream(id, 0, b"hello", false), stream(id, 4, b"", true)]),
        ("an earlier FIN", [stream(id, 0, b"hello", true), stream(id, 4, b"", true)]),
        ("reset below what came", [stream(id, 0, b"hello", false), reset(id, 0, 4)]),
        ("reset above FIN", [stream(id, 0, b"hello", true), reset(id, 0, 6)]),
        ("reset below FIN", [stream(id, 0, b"hello", true), reset(id, 0, 4)]),
        ("another reset", [reset(id, 0, 7), reset(id, 0, 8)]),
        ("a smaller reset", [reset(id, 0, 7), reset(id, 0, 6)]),
        ("data behind a reset", [reset(id, 0, 0), stream(id, 0, b"x", false)]),
        // The data exceeds the credit as well, but the final size is checked first.
        ("far behind FIN", [stream(id, 0, b"hello", true), stream(id, 5_000, b"x", false)]),
    ] {
        let message = frames.map(bytes).concat();
        assert_each_is(FINAL_SIZE, &[(what, message)]);
    }
}

/// [C-16] Data for a receiving half that the application has stopped MUST be discarded on arrival,
/// but MUST still count towards stream credit, connection credit and the final size.
/// [C-17] A receiving half that the application has stopped MUST be kept until its FIN or reset has
/// arrived.
#[test]
fn the_final_size_of_a_stopped_stream_still_counts() {
    let id = bidi(CLIENT, 0);
    for (what, frame, code) in [
        ("below what came", reset(id, 0, 4), FINAL_SIZE),
        ("past the credit", reset(id, 0, 1_001), FLOW_CONTROL),
        ("gap", stream(id, 6, b"x", false), PROTOCOL),
    ] {
        let mut peer = server();
        peer.send(&[stream(id, 0, b"hello", false)]);
        peer.conn.recv_stream(peer.now, id).stop(code_of(7)).unwrap();
        peer.said();
        peer.send(&[frame]);
        peer.assert_violation(what, code, 1002);
    }
}

/// [C-55] If we have stopped a receiving half, and the peer has then reset this half, everything
/// that the peer sends for this half later MUST be ignored, as for a freed stream (C-8). It is
/// ignored even while the other half of the stream is live.
#[test]
fn frames_after_an_answering_reset_are_ignored_and_the_other_half_works() {
    let id = bidi(CLIENT, 0);
    let mut peer = server();
    peer.send(&[stream(id, 0, b"hello", false)]);
    let before = peer.conn.stats(Time::EPOCH).live_streams;
    peer.conn.recv_stream(peer.now, id).stop(code_of(7)).unwrap();
    peer.said();
    // `@moq/qmux` does this: after the reset it sends the rest of its write and the FIN.
    peer.send(&[reset(id, 7, 5), stream(id, 5, b" world", false), stream(id, 11, b"", true)]);
    peer.send(&[reset(id, 7, 11), stream(id, 5_000, b"far past the credit", false)]);
    peer.assert_open("the half is over at both ends");
    assert_eq!(peer.frames(), []);
    peer.conn.send_stream(peer.now, id).write(b"still here").unwrap();
    peer.conn.send_stream(peer.now, id).finish().unwrap();
    assert_eq!(peer.frames(), [stream(id, 0, b"still here", true)]);
    peer.conn.send_stream(peer.now, id).release();
    peer.conn.recv_stream(peer.now, id).release();
    assert_eq!(peer.conn.stats(Time::EPOCH).live_streams, before - 1);
}

fn code_of(value: u64) -> wsmux_proto::VarInt {
    code(value)
}

/// [C-27] On stream bytes above the credit that we granted, we MUST close with FLOW_CONTROL_ERROR.
/// We never drop such bytes silently.
/// If a frame breaks several rules, the first of them in this order MUST determine the
/// error: encoding, direction and creation (C-6, C-7), stream limit, final size
/// credit (C-27), order of data.
/// On a RESET_STREAM or RESET_STREAM_AT whose final size passes the stream's credit, we MUST
/// close with FLOW_CONTROL_ERROR.
#[test]
fn data_or_a_final_size_past_the_credit() {
    let id = bidi(CLIENT, 0);
    let own = bidi(SERVER, 0);
    assert_each_is(
        FLOW_CONTROL,
        &[
            ("STREAM", bytes(stream(id, 0, &[0; 1_001], false))),
            ("STREAM with FIN", bytes(stream(id, 0, &[0; 1_001], true))),
            ("STREAM on ours", bytes(stream(own, 0, &[0; 1_001], false))),
            // There is a gap before this data too, but the credit is checked before the order
            //
            ("STREAM far ahead", bytes(stream(id, 1_000, b"x", false))),
            ("RESET_STREAM", bytes(reset(id, 0, 1_001))),
            ("RESET_STREAM_AT", bytes(reset_at(id, 0, 1_001, 0))),
            ("RESET_STREAM, as far as it goes", bytes(reset(id, 0, MAX))),
        ],
    );
}

/// If two resets of the same half have different codes, and at least one of these resets is
/// a RESET_STREAM_AT, we MUST close with STREAM_STATE_ERROR.
#[test]
fn another_code_or_more_bytes_in_a_later_reset() {
    let id = bidi(CLIENT, 0);
    let data = stream(id, 0, b"hello", false);
    for (what, first, second) in [
        ("at, at", reset_at(id, 1, 5, 3), reset_at(id, 2, 5, 3)),
        ("at, plain", reset_at(id, 1, 5, 3), reset(id, 2, 5)),
        ("plain, at", reset(id, 1, 5), reset_at(id, 2, 5, 3)),
    ] {
        let message = [data.clone(), first, second].map(bytes).concat();
        assert_each_is(STATE, &[(what, message)]);
    }
    let mut peer = server();
    peer.send(&[data, reset(id, 1, 5), reset(id, 2, 5)]);
    peer.assert_open("two plain resets: RFC 9000 §3.2 leaves it open, the first holds");
}

/// On a message that ends within a frame we MUST close with FRAME_ENCODING_ERROR.
/// On a frame type that this page does not list we MUST close with FRAME_ENCODING_ERROR.
/// On a prohibited frame type (0x01-0x03, 0x06, 0x07, 0x18-0x1b, 0x1e) we MUST close with
/// FRAME_ENCODING_ERROR.
/// On a STREAM frame whose offset plus length passes 2^62-1 we MUST close with
/// FRAME_ENCODING_ERROR.
/// On a MAX_STREAMS or STREAMS_BLOCKED above 2^60 we MUST close with FRAME_ENCODING_ERROR.
/// On a reliable size above the final size we MUST close with FRAME_ENCODING_ERROR.
#[test]
fn malformed_unknown_and_forbidden_frames() {
    for kind in [
        0x01,
        0x02,
        0x03,
        0x06,
        0x07,
        0x18,
        0x19,
        0x1a,
        0x1b,
        0x1e,
        0x1f,
        0x20,
        0x23,
        0x25,
        0x2f,
        0x32,
        0x3f,
        0x40,
        0x4000,
        0x3f51_5330_0d0a_0d0b,
        QX_PING - 1,
        QX_PING + 2,
        MAX,
    ] {
        let mut message = varints(&[kind]);
        message.extend_from_slice(&[0; 16]);
        let what = format!("type {kind:#x}");
        assert_each_is(ENCODING, &[(&what, message.clone())]);
        let mut peer = server();
        peer.send_bytes(message);
        assert_eq!(peer.assert_violation(&what, ENCODING, 1002), kind, "the frame at fault (Q-61)");
    }
    let id = id(CLIENT, Dir::Bi, 0);
    assert_each_is(
        ENCODING,
        &[
            ("data past 2^62-1", [varints(&[0x0e, id, MAX, 1]), vec![0]].concat()),
            ("MAX_STREAMS past 2^60", varints(&[0x12, (1 << 60) + 1])),
            ("MAX_STREAMS uni past 2^60", varints(&[0x13, MAX])),
            ("STREAMS_BLOCKED past 2^60", varints(&[0x16, (1 << 60) + 1])),
            ("STREAMS_BLOCKED uni past 2^60", varints(&[0x17, MAX])),
            ("reliable past final size", varints(&[0x24, id, 0, 5, 6])),
            ("STREAM shorter than it says", varints(&[0x0a, id, 3, 0, 0])),
            ("DATAGRAM shorter than it says", varints(&[0x31, 3, 0, 0])),
            ("a close shorter than it says", varints(&[0x1d, 0, 3, 0, 0])),
            ("a length past all memory", varints(&[0x0a, id, MAX])),
        ],
    );
}

/// Every frame MUST lie within one message.
/// On a message that ends within a frame we MUST close with FRAME_ENCODING_ERROR.
#[test]
fn a_message_that_ends_in_the_middle_of_a_frame() {
    let bi = bidi(CLIENT, 0);
    for frame in [
        stream(bi, 5, b"hello", false),
        reset(bi, 1 << 20, 1 << 20),
        reset_at(bi, 1, 1, 1),
        stop(bi, 1 << 40),
        Frame::MaxData(1 << 40),
        max_stream_data(bi, 1 << 40),
        Frame::MaxStreams { dir: Dir::Bi, count: 1 << 40 },
        Frame::MaxStreams { dir: Dir::Uni, count: 1 << 40 },
        Frame::DataBlocked(1 << 40),
        Frame::StreamDataBlocked { id: bi, limit: 9 },
        Frame::StreamsBlocked { dir: Dir::Uni, limit: 1 << 40 },
        Frame::Datagram(Bytes::from_static(b"datagram")),
        Frame::Ping(code(0)),
        application_close(1, "reason"),
        transport_close(PROTOCOL, "reason"),
    ] {
        let whole = bytes(frame);
        for cut in 1..whole.len() {
            let mut peer = server();
            peer.send_bytes(whole[..cut].to_vec());
            peer.assert_violation(&format!("{:x?}", &whole[..cut]), ENCODING, 1002);
        }
    }
}

/// On a frame type in a longer encoding than it needs we MUST close with PROTOCOL_VIOLATION.
/// Varints other than the frame type MUST be accepted in every length.
#[test]
fn a_frame_type_that_is_longer_than_it_needs_to_be() {
    assert_each_is(
        PROTOCOL,
        &[
            ("PADDING in 2", vec![0x40, 0x00]),
            ("MAX_DATA in 2", vec![0x40, 0x10, 0]),
            ("MAX_DATA in 4", vec![0x80, 0, 0, 0x10, 0]),
            ("MAX_DATA in 8", vec![0xc0, 0, 0, 0, 0, 0, 0, 0x10, 0]),
            ("unknown in 2", vec![0x40, 0x3e]),
        ],
    );
    let mut peer = server();
    peer.send_bytes(vec![0x10, 0xc0, 0, 0, 0, 0, 0, 0, 5, 0x05, 0x40, 0x00, 0x80, 0, 0, 1]);
    peer.assert_open("other integers may be of any length");
}

/// On a DATAGRAM frame that is longer than we advertised, or on any DATAGRAM frame if we
/// advertised no size, we MUST close with PROTOCOL_VIOLATION.
/// If the number of a QX_PING request is not larger than the number of the request before
/// it, we MUST close with PROTOCOL_VIOLATION. Q-73 is the exception: on `qmux-01` an equal number
/// is allowed.
/// If a QX_PING response arrives whose number is above the largest number that we sent, we
/// MUST close with PROTOCOL_VIOLATION. If we have sent no request, we MUST close with
/// PROTOCOL_VIOLATION on any response.
#[test]
fn datagrams_and_pings_against_the_rules() {
    let datagram = |len| bytes(Frame::Datagram(vec![0; len].into()));
    let limit = 1_000;
    for (kind, over) in [(0x30, 1), (0x31, 3)] {
        let mut config = config();
        config.datagram_receive_buffer_size(limit);
        for excess in [0, 1] {
            let mut peer = ScriptedPeer::new(Wire::QMux, SERVER, &config);
            let payload = vec![0; limit - over + excess];
            let frame = Frame::Datagram(payload.into());
            peer.send_bytes(encode(Wire::QMux, &frame, kind == 0x30));
            match excess {
                0 => peer.assert_open("a frame as long as was allowed"),
                _ => drop(peer.assert_violation("a byte more", PROTOCOL, 1002)),
            }
        }
    }
    let mut none = config();
    none.datagram_receive_buffer_size(0);
    let mut peer = ScriptedPeer::new(Wire::QMux, SERVER, &none);
    peer.send_bytes(datagram(0));
    peer.assert_violation("none are wanted", PROTOCOL, 1002);
    let ping = |number| varints(&[QX_PING, number]);
    assert_each_is(
        PROTOCOL,
        &[
            ("the same ping twice", [ping(3), ping(3)].concat()),
            ("a ping that falls", [ping(3), ping(2)].concat()),
            ("an answer to nothing", varints(&[QX_PING + 1, 1])),
            ("an answer to nothing, far off", varints(&[QX_PING + 1, MAX])),
        ],
    );
}

/// [W-2] On a text message we MUST close with PROTOCOL_VIOLATION and WebSocket code 1002, on either
/// wire.
/// [W-7] On a message above the limit we MUST close with FRAME_ENCODING_ERROR and WebSocket code
/// 1009.
/// [W-25] The reason of a Close frame for a transport error MUST start with the error's name as §1
/// lists it.
#[test]
fn messages_that_are_none() {
    let mut peer = server();
    peer.conn.handle(peer.now, Incoming::Text);
    assert!(matches!(peer.conn.close_reason(), Some(ConnectionError::TextMessage)));
    peer.assert_violation("a text message", PROTOCOL, 1002);

    let limit = server().conn.max_inbound_message() as usize;
    let mut peer = server();
    peer.send_bytes(vec![0; limit]);
    peer.assert_open("as large as was allowed");
    peer.send_bytes(vec![0; limit + 1]);
    peer.assert_violation("a byte more", ENCODING, 1009);
    let mut peer = server();
    peer.conn.handle(peer.now, Incoming::TooLarge);
    peer.assert_violation("as the socket finds it", ENCODING, 1009);
}

/// CONNECTION_CLOSE 0x1c MUST contain the type of the frame that caused the error, or 0 if
/// no frame caused it.
#[test]
fn the_close_names_the_type_of_the_frame_at_fault() {
    let bi = bidi(CLIENT, 0);
    for (message, kind) in [
        (bytes(stream(bi, 0, &[0; 1_001], true)), 0x0b),
        (encode(Wire::QMux, &stream(bi, 5, b"", false), true), 0x0c),
        (bytes(reset(bi, 0, 2_000)), 0x04),
        (varints(&[0x24, bi.into_inner(), 0, 2_000, 0]), 0x24),
        (bytes(stop(bidi(SERVER, 9), 0)), 0x05),
        (varints(&[QX_PING + 1, 7]), QX_PING + 1),
        (parameters_frame(&[]), QX_PARAMETERS),
    ] {
        let mut peer = server();
        peer.send_bytes([vec![0; 3], message].concat());
        let code = match peer.conn.close_reason() {
            Some(ConnectionError::TransportError(error)) => error.code,
            other => panic!("{other:?}"),
        };
        assert_eq!(peer.assert_violation(&format!("{kind:#x}"), code, 1002), kind);
    }
}
