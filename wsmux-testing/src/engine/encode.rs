//! Encodes the frames of both wires. The code is written from the specifications. It uses the types
//! of `wsmux-proto` and the encoding of integers there, but nothing else of that crate's codec. So
//! an error in that codec makes its encoding differ from the encoding here.

use wsmux_proto::{
    Close, Credit, Dir, Frame, Side, StreamId, TransportErrorCode, TransportParameters, VarInt,
    Wire,
};

pub const QX_PING: u64 = 0x348c_6752_9ef8_c7bd;
pub const QX_PARAMETERS: u64 = 0x3f51_5330_0d0a_0d0a;
pub const GOING_AWAY_PARAMETER: u64 = 0x3781_7bec_f01b_7cb4;
pub const GOING_AWAY: u64 = 0x0ecf_1a24_2550_fc83;
pub const MAX_RECORD_SIZE: u64 = 0x0571_c594_29cd_0845;

/// Encodes integers in their shortest form, one after the other.
pub fn varints(values: &[u64]) -> Vec<u8> {
    let mut out = Vec::new();
    for &value in values {
        VarInt::from_u64(value).expect("a value of 62 bits").encode(&mut out);
    }
    out
}

fn with_bytes(mut head: Vec<u8>, bytes: &[u8]) -> Vec<u8> {
    head.extend_from_slice(bytes);
    head
}

/// Encodes a transport parameter whose value is one integer.
pub fn parameter(id: u64, value: u64) -> Vec<u8> {
    raw_parameter(id, &varints(&[value]))
}

pub fn raw_parameter(id: u64, value: &[u8]) -> Vec<u8> {
    with_bytes(varints(&[id, value.len() as u64]), value)
}

/// Encodes a QX_TRANSPORT_PARAMETERS frame with these parameters.
pub fn parameters_frame(parameters: &[Vec<u8>]) -> Vec<u8> {
    let body = parameters.concat();
    with_bytes(varints(&[QX_PARAMETERS, body.len() as u64]), &body)
}

fn parameters(params: &TransportParameters) -> Vec<u8> {
    let defaults = TransportParameters::default();
    let mut list = Vec::new();
    let mut put = |id, value: u64, default: u64| {
        if value != default {
            list.push(parameter(id, value));
        }
    };
    put(0x01, params.max_idle_timeout.as_millis() as u64, 0);
    put(0x04, params.initial_max_data, 0);
    put(0x05, params.initial_max_stream_data_bidi_local, 0);
    put(0x06, params.initial_max_stream_data_bidi_remote, 0);
    put(0x07, params.initial_max_stream_data_uni, 0);
    put(0x08, params.initial_max_streams_bidi, 0);
    put(0x09, params.initial_max_streams_uni, 0);
    put(0x20, params.max_datagram_frame_size, 0);
    put(MAX_RECORD_SIZE, params.max_record_size, defaults.max_record_size);
    if params.reset_stream_at {
        list.push(raw_parameter(0x1d, &[]));
    }
    if params.going_away {
        list.push(raw_parameter(GOING_AWAY_PARAMETER, &[]));
    }
    parameters_frame(&list)
}

/// Encodes a frame as RFC 9000 §19, RFC 9221 and the two drafts say. A STREAM or DATAGRAM frame has
/// a length, unless it is the `last` of its message.
fn qmux(frame: &Frame, last: bool) -> Vec<u8> {
    match frame {
        Frame::Padding(count) => vec![0; *count],
        Frame::TransportParameters(params) => parameters(params),
        Frame::GoingAway => varints(&[GOING_AWAY]),
        Frame::Ping(number) => varints(&[QX_PING, number.into_inner()]),
        Frame::Pong(number) => varints(&[QX_PING + 1, number.into_inner()]),
        Frame::Stream { id, offset, data, fin } => {
            let offset = offset.expect("QMux has offsets");
            let mut head = vec![0x08 | u64::from(*fin), id.into_inner()];
            if offset > 0 {
                head[0] |= 0x04;
                head.push(offset);
            }
            if !last {
                head[0] |= 0x02;
                head.push(data.len() as u64);
            }
            with_bytes(varints(&head), data)
        }
        Frame::ResetStream { id, code, final_size, reliable_size } => {
            let kind = if *reliable_size > 0 { 0x24 } else { 0x04 };
            let final_size = final_size.expect("QMux has final sizes");
            let mut fields = vec![kind, id.into_inner(), code.into_inner(), final_size];
            fields.extend((*reliable_size > 0).then_some(*reliable_size));
            varints(&fields)
        }
        Frame::StopSending { id, code } => varints(&[0x05, id.into_inner(), code.into_inner()]),
        Frame::MaxData(total) => varints(&[0x10, *total]),
        Frame::MaxStreamData { id, credit: Credit::Total(total) } => {
            varints(&[0x11, id.into_inner(), *total])
        }
        Frame::MaxStreams { dir, count } => varints(&[0x12 + *dir as u64, *count]),
        Frame::DataBlocked(limit) => varints(&[0x14, *limit]),
        Frame::StreamDataBlocked { id, limit } => varints(&[0x15, id.into_inner(), *limit]),
        Frame::StreamsBlocked { dir, limit } => varints(&[0x16 + *dir as u64, *limit]),
        Frame::Datagram(data) if last => with_bytes(varints(&[0x30]), data),
        Frame::Datagram(data) => with_bytes(varints(&[0x31, data.len() as u64]), data),
        Frame::ConnectionClose(Close::Transport { code, frame, reason }) => with_bytes(
            varints(&[0x1c, code.into_inner(), frame.into_inner(), reason.len() as u64]),
            reason,
        ),
        Frame::ConnectionClose(Close::Application { code, reason }) => {
            with_bytes(varints(&[0x1d, code.into_inner(), reason.len() as u64]), reason)
        }
        other => panic!("QMux has no {other:?}"),
    }
}

/// Encodes a frame as the js-ws wire requires (SPEC.md §7).
fn jsws(frame: &Frame) -> Vec<u8> {
    let message = |id: &StreamId, kind: u8, payload: &[u8]| {
        assert_eq!(id.dir(), Dir::Bi, "js-ws has no other");
        let id = id.index() << 1 | id.initiator() as u64;
        [&varints(&[id])[..], &[0, kind], payload].concat()
    };
    match frame {
        Frame::Stream { id, data, fin: false, .. } => message(id, 0, data),
        Frame::Stream { id, data, fin: true, .. } => {
            assert!(data.is_empty(), "js-ws ends a stream in a message of its own");
            message(id, 3, &[0])
        }
        Frame::MaxStreamData { id, credit: Credit::More(more) } => {
            message(id, 1, &u32::try_from(*more).expect("32 bits").to_be_bytes())
        }
        Frame::ResetStream { id, code, .. } => {
            message(id, 2, &with_bytes(vec![0], &varints(&[code.into_inner()])))
        }
        Frame::StopSending { id, code } => {
            message(id, 2, &with_bytes(vec![1], &varints(&[code.into_inner()])))
        }
        Frame::FinReceived { id } => message(id, 3, &[1]),
        other => panic!("js-ws has no {other:?}"),
    }
}

/// Encodes one frame. The `last` frame of a message has no length field if the wire permits that.
pub fn encode(wire: Wire, frame: &Frame, last: bool) -> Vec<u8> {
    match wire {
        Wire::QMux => qmux(frame, last),
        _ => jsws(frame),
    }
}

// ---- short functions that make frames ----

pub fn bidi(initiator: Side, index: u64) -> StreamId {
    StreamId::new(initiator, Dir::Bi, index)
}

pub fn uni(initiator: Side, index: u64) -> StreamId {
    StreamId::new(initiator, Dir::Uni, index)
}

fn int(value: u64) -> VarInt {
    VarInt::from_u64(value).expect("a value of 62 bits")
}

/// A STREAM frame of QMux.
pub fn stream(id: StreamId, offset: u64, data: &[u8], fin: bool) -> Frame {
    Frame::Stream { id, offset: Some(offset), data: data.to_vec().into(), fin }
}

/// A Data message of js-ws.
pub fn data(id: StreamId, data: &[u8]) -> Frame {
    Frame::Stream { id, offset: None, data: data.to_vec().into(), fin: false }
}

/// A Close(Read) message of js-ws.
pub fn close_read(id: StreamId) -> Frame {
    Frame::Stream { id, offset: None, data: Default::default(), fin: true }
}

/// A RESET_STREAM frame of QMux.
pub fn reset(id: StreamId, code: u64, final_size: u64) -> Frame {
    reset_at(id, code, final_size, 0)
}

/// A RESET_STREAM_AT frame of QMux.
pub fn reset_at(id: StreamId, code: u64, final_size: u64, reliable_size: u64) -> Frame {
    Frame::ResetStream { id, code: int(code), final_size: Some(final_size), reliable_size }
}

/// An Error(Read) message of js-ws.
pub fn error_read(id: StreamId, code: u64) -> Frame {
    Frame::ResetStream { id, code: int(code), final_size: None, reliable_size: 0 }
}

/// A STOP_SENDING frame of QMux, or an Error(Write) message of js-ws.
pub fn stop(id: StreamId, code: u64) -> Frame {
    Frame::StopSending { id, code: int(code) }
}

/// A MAX_STREAM_DATA frame of QMux.
pub fn max_stream_data(id: StreamId, total: u64) -> Frame {
    Frame::MaxStreamData { id, credit: Credit::Total(total) }
}

/// An Ack message of js-ws.
pub fn ack(id: StreamId, more: u64) -> Frame {
    Frame::MaxStreamData { id, credit: Credit::More(more) }
}

pub fn transport_close(code: TransportErrorCode, reason: &str) -> Frame {
    Frame::ConnectionClose(Close::Transport {
        code,
        frame: VarInt::default(),
        reason: reason.to_owned().into(),
    })
}

pub fn application_close(code: u64, reason: &str) -> Frame {
    Frame::ConnectionClose(Close::Application { code: int(code), reason: reason.to_owned().into() })
}
