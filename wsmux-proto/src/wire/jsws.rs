//! The language of `@matrixai/ws`: one stream message in each WebSocket message (SPEC.md, "js-ws").

use bytes::{Buf, BufMut, Bytes};

use super::{Capabilities, Dir, Frame, MessageBuf, StreamHeader, TransportError, VarInt};
use crate::{Side, StreamId, frame::Credit, transport_error::violation};

pub(super) const CAPABILITIES: Capabilities = Capabilities {
    parameters: false,
    unidirectional: false,
    datagrams: false,
    stream_limits: false,
    connection_credit: false,
    opens_with_credit: true,
    relative_credit: true,
    window_bounds_message: true,
    blocked_frames: false,
    fin_with_data: false,
    fin_after_flush: true,
    grants_revive: true,
    answers_ends: true,
    empty_messages: false,
    // J-1
    many_frames_per_message: false,
    close_frame: false,
    ping_frames: false,
};

/// An id of at most 8 bytes and a type of 2.
pub(super) const MAX_HEADER: u64 = 10;

/// An Error: a header, a byte, and a code of at most 8.
pub(super) const MAX_CONTROL: u64 = MAX_HEADER + 1 + 8;

const DATA: u16 = 0;
const ACK: u16 = 1;
const ERROR: u16 = 2;
const CLOSE: u16 = 3;

/// Which half of the receiver's a message ends.
const READ: u8 = 0;
const WRITE: u8 = 1;

/// The lowest bit says who opened the stream, and there is no other kind than bidirectional (J-7).
fn wire_id(id: StreamId) -> VarInt {
    VarInt::saturating(id.index() << 1 | id.initiator() as u64)
}

fn stream_id(id: VarInt) -> Result<StreamId, TransportError> {
    let id = id.into_inner();
    let initiator = if id & 1 == 0 { Side::Client } else { Side::Server };
    // J-8
    if id >> 1 >= StreamId::MAX_COUNT {
        return Err(violation::protocol("stream id is too large"));
    }
    Ok(StreamId::new(initiator, Dir::Bi, id >> 1))
}

fn put(out: &mut MessageBuf, id: StreamId, kind: u16, payload: impl FnOnce(&mut Vec<u8>)) {
    out.put(|out| {
        wire_id(id).encode(out);
        out.put_u16(kind);
        payload(out);
    });
}

pub(super) fn encode(frame: &Frame, out: &mut MessageBuf) {
    match *frame {
        // Several grants that a u32 cannot hold together never add up: windows are bounded by it.
        Frame::MaxStreamData { id, credit: Credit::More(more) } => {
            put(out, id, ACK, |out| out.put_u32(u32::try_from(more).unwrap_or(u32::MAX)));
        }
        Frame::ResetStream { id, code, .. } => put(out, id, ERROR, |out| {
            out.put_u8(READ);
            code.encode(out);
        }),
        Frame::StopSending { id, code } => put(out, id, ERROR, |out| {
            out.put_u8(WRITE);
            code.encode(out);
        }),
        Frame::FinReceived { id } => put(out, id, CLOSE, |out| out.put_u8(WRITE)),
        Frame::Stream { id, ref data, fin: false, .. } => {
            put(out, id, DATA, |out| out.put_slice(data));
        }
        Frame::Stream { id, fin: true, .. } => put(out, id, CLOSE, |out| out.put_u8(READ)),
        // The capabilities above keep the engine from asking for any other.
        _ => debug_assert!(false, "the js-ws wire cannot say {frame:?}"),
    }
}

pub(super) fn stream_header_size(id: StreamId) -> usize {
    wire_id(id).size() + size_of::<u16>()
}

pub(super) fn encode_stream_header(header: &StreamHeader, out: &mut MessageBuf) {
    if header.fin {
        put(out, header.id, CLOSE, |out| out.put_u8(READ));
    } else {
        put(out, header.id, DATA, |_| {});
    }
}

pub(super) fn decode(message: &mut Bytes) -> Result<Option<Frame>, TransportError> {
    if message.is_empty() {
        return Ok(None);
    }
    let cut_short = || violation::frame_encoding("message is cut short");
    let id = stream_id(VarInt::decode(message).ok_or_else(cut_short)?)?;
    let kind = message.try_get_u16().map_err(|_| cut_short())?;
    let frame = match kind {
        DATA => Frame::Stream { id, offset: None, data: std::mem::take(message), fin: false },
        ACK => {
            let more = message.try_get_u32().map_err(|_| cut_short())?;
            Frame::MaxStreamData { id, credit: Credit::More(more.into()) }
        }
        ERROR => {
            let half = message.try_get_u8().map_err(|_| cut_short())?;
            let code = VarInt::decode(message).ok_or_else(cut_short)?;
            match half {
                READ => Frame::ResetStream { id, code, final_size: None, reliable_size: 0 },
                WRITE => Frame::StopSending { id, code },
                _ => return Err(violation::frame_encoding("neither half of a stream")),
            }
        }
        CLOSE => match message.try_get_u8().map_err(|_| cut_short())? {
            READ => Frame::Stream { id, offset: None, data: Bytes::new(), fin: true },
            WRITE => Frame::FinReceived { id },
            _ => return Err(violation::frame_encoding("neither half of a stream")),
        },
        _ => return Err(violation::frame_encoding("unknown type of message")),
    };
    // J-2
    if !message.is_empty() {
        return Err(violation::frame_encoding("bytes behind the end of the message"));
    }
    Ok(Some(frame))
}
