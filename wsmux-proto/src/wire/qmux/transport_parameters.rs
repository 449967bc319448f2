//! QMux's encoding of the transport parameters (RFC 9000 §18, draft-ietf-quic-qmux-02 §Transport
//! Parameters).

use std::time::Duration;

use bytes::{Buf, BufMut, Bytes};

use crate::{
    StreamId, TransportError, TransportParameters, VarInt, transport_error::violation,
    wire::MIN_MAX_RECORD_SIZE,
};

const MAX_IDLE_TIMEOUT: u64 = 0x01;
const INITIAL_MAX_DATA: u64 = 0x04;
const INITIAL_MAX_STREAM_DATA_BIDI_LOCAL: u64 = 0x05;
const INITIAL_MAX_STREAM_DATA_BIDI_REMOTE: u64 = 0x06;
const INITIAL_MAX_STREAM_DATA_UNI: u64 = 0x07;
const INITIAL_MAX_STREAMS_BIDI: u64 = 0x08;
const INITIAL_MAX_STREAMS_UNI: u64 = 0x09;
const MAX_DATAGRAM_FRAME_SIZE: u64 = 0x20;
const MAX_RECORD_SIZE: u64 = 0x0571_c594_29cd_0845;
const RESET_STREAM_AT: u64 = 0x1d;
/// The id of the parameter `wsmux_going_away`, which only wsmux knows. The id follows from the text
/// `wsmux GOING_AWAY parameter` (SPEC.md §13).
pub(super) const GOING_AWAY: u64 = 0x3781_7bec_f01b_7cb4;

/// The parameters of RFC 9000 that concern QUIC's handshake, packets or paths. QMux has none of
/// these, and forbids the parameters.
const FORBIDDEN: [u64; 10] = [0x00, 0x02, 0x03, 0x0a, 0x0b, 0x0c, 0x0d, 0x0e, 0x0f, 0x10];

/// The parameters that QMux uses, and `wsmux_going_away`.
const KNOWN: [u64; 11] = [
    MAX_IDLE_TIMEOUT,
    INITIAL_MAX_DATA,
    INITIAL_MAX_STREAM_DATA_BIDI_LOCAL,
    INITIAL_MAX_STREAM_DATA_BIDI_REMOTE,
    INITIAL_MAX_STREAM_DATA_UNI,
    INITIAL_MAX_STREAMS_BIDI,
    INITIAL_MAX_STREAMS_UNI,
    MAX_DATAGRAM_FRAME_SIZE,
    MAX_RECORD_SIZE,
    RESET_STREAM_AT,
    GOING_AWAY,
];

pub(super) fn encode(params: &TransportParameters, out: &mut Vec<u8>) {
    let mut put = |id: u64, value: u64| {
        let value = VarInt::saturating(value);
        VarInt::saturating(id).encode(out);
        VarInt::from_u32(value.size() as u32).encode(out);
        value.encode(out);
    };
    let idle = u64::try_from(params.max_idle_timeout.as_millis()).unwrap_or(u64::MAX);
    // Q-25 (RFC 9000 §7.4; QMux "Permitted and Forbidden Transport Parameters")
    for (id, value, default) in [
        (MAX_IDLE_TIMEOUT, idle, 0),
        (INITIAL_MAX_DATA, params.initial_max_data, 0),
        (INITIAL_MAX_STREAM_DATA_BIDI_LOCAL, params.initial_max_stream_data_bidi_local, 0),
        (INITIAL_MAX_STREAM_DATA_BIDI_REMOTE, params.initial_max_stream_data_bidi_remote, 0),
        (INITIAL_MAX_STREAM_DATA_UNI, params.initial_max_stream_data_uni, 0),
        (INITIAL_MAX_STREAMS_BIDI, params.initial_max_streams_bidi, 0),
        (INITIAL_MAX_STREAMS_UNI, params.initial_max_streams_uni, 0),
        (MAX_DATAGRAM_FRAME_SIZE, params.max_datagram_frame_size, 0),
        (MAX_RECORD_SIZE, params.max_record_size, MIN_MAX_RECORD_SIZE),
    ] {
        if value != default {
            put(id, value);
        }
    }
    for (id, is_sent) in
        [(RESET_STREAM_AT, params.reset_stream_at), (GOING_AWAY, params.going_away)]
    {
        if is_sent {
            VarInt::saturating(id).encode(out);
            out.put_u8(0);
        }
    }
}

pub(super) fn decode(mut input: Bytes) -> Result<TransportParameters, TransportError> {
    let mut params = TransportParameters::default();
    // Only known parameters are recorded. So unknown parameters take no memory, however many the
    // peer sends.
    let mut seen = [false; KNOWN.len()];
    while input.has_remaining() {
        let (Some(id), Some(len)) = (VarInt::decode(&mut input), VarInt::decode(&mut input)) else {
            return Err(violation::transport_parameter("parameter is cut short"));
        };
        let id = id.into_inner();
        let len = usize::try_from(len.into_inner()).unwrap_or(usize::MAX);
        // Q-18 (RFC 9000 §7.4, §18)
        if len > input.len() {
            return Err(violation::transport_parameter("parameter is cut short"));
        }
        // Q-19 (RFC 9000 §7.4)
        if let Some(known) = KNOWN.iter().position(|&known| known == id)
            && std::mem::replace(&mut seen[known], true)
        {
            return Err(violation::transport_parameter(format!("parameter {id:#x} comes twice")));
        }
        set(&mut params, id, input.split_to(len))?;
    }
    validate(&params)?;
    Ok(params)
}

fn set(params: &mut TransportParameters, id: u64, mut value: Bytes) -> Result<(), TransportError> {
    let field = match id {
        MAX_IDLE_TIMEOUT => {
            params.max_idle_timeout = Duration::from_millis(whole_varint(id, &mut value)?);
            return Ok(());
        }
        INITIAL_MAX_DATA => &mut params.initial_max_data,
        INITIAL_MAX_STREAM_DATA_BIDI_LOCAL => &mut params.initial_max_stream_data_bidi_local,
        INITIAL_MAX_STREAM_DATA_BIDI_REMOTE => &mut params.initial_max_stream_data_bidi_remote,
        INITIAL_MAX_STREAM_DATA_UNI => &mut params.initial_max_stream_data_uni,
        INITIAL_MAX_STREAMS_BIDI => &mut params.initial_max_streams_bidi,
        INITIAL_MAX_STREAMS_UNI => &mut params.initial_max_streams_uni,
        MAX_DATAGRAM_FRAME_SIZE => &mut params.max_datagram_frame_size,
        MAX_RECORD_SIZE => &mut params.max_record_size,
        RESET_STREAM_AT if value.is_empty() => {
            params.reset_stream_at = true;
            return Ok(());
        }
        // Q-24 (RSA "Transport Parameter")
        RESET_STREAM_AT => {
            return Err(violation::transport_parameter("reset_stream_at carries a value"));
        }
        GOING_AWAY if value.is_empty() => {
            params.going_away = true;
            return Ok(());
        }
        // G-2
        GOING_AWAY => {
            return Err(violation::transport_parameter("wsmux_going_away carries a value"));
        }
        // Q-20 (QMux "Permitted and Forbidden Transport Parameters")
        id if FORBIDDEN.contains(&id) => {
            return Err(violation::transport_parameter(format!("parameter {id:#x} is forbidden")));
        }
        // Q-21 (RFC 9000 §7.4.2; QMux "Permitted and Forbidden Transport Parameters")
        _ => return Ok(()),
    };
    *field = whole_varint(id, &mut value)?;
    Ok(())
}

fn validate(params: &TransportParameters) -> Result<(), TransportError> {
    // Q-23 (RFC 9000 §4.6)
    if params.initial_max_streams_bidi > StreamId::MAX_COUNT
        || params.initial_max_streams_uni > StreamId::MAX_COUNT
    {
        return Err(violation::transport_parameter("initial_max_streams is past 2^60"));
    }
    // Q-22 (QMux "max_record_size Transport Parameter")
    if params.max_record_size < MIN_MAX_RECORD_SIZE {
        return Err(violation::transport_parameter("max_record_size is below 16382"));
    }
    Ok(())
}

fn whole_varint(id: u64, value: &mut Bytes) -> Result<u64, TransportError> {
    match VarInt::decode(value) {
        Some(number) if value.is_empty() => Ok(number.into_inner()),
        _ => Err(violation::transport_parameter(format!("parameter {id:#x} is not one integer"))),
    }
}
