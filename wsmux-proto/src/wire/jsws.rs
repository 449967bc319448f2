//! The protocol of `@matrixai/ws`: one stream message in each WebSocket message (SPEC.md, "js-ws").

use bytes::{Buf, BufMut, Bytes};

use super::{
    Capabilities, Carrier, Codec, Description, Dir, Frame, Grants, MessageBuf, Messages, Selection,
    StreamEnd, StreamHeader, TransportError, VarInt,
};
use crate::{Side, StreamId, frame::Credit, transport_error::violation};

/// The longest header: an id of up to 8 bytes, and a type of 2 bytes.
const MAX_HEADER: u64 = 10;

/// The longest Error message: a header, one byte, and a code of up to 8 bytes.
const MAX_CONTROL: u64 = MAX_HEADER + 1 + 8;

const DATA: u16 = 0;
const ACK: u16 = 1;
const ERROR: u16 = 2;
const CLOSE: u16 = 3;

/// The last byte of Close messages, and the byte before the code in Error messages. This byte names
/// a half of the stream from the point of view of the message's receiver. `READ` is its receiving
/// half, and `WRITE` is its sending half.
const READ: u8 = 0;
const WRITE: u8 = 1;

#[derive(Clone, Copy)]
pub(super) struct JsWs;

impl JsWs {
    pub(super) const fn description(self) -> Description {
        Description {
            name: "js-ws",
            capabilities: Capabilities {
                // J-1
                messages: Messages::Single,
                grants: Grants::Increment,
                end: StreamEnd::OwnFrame {
                    after_flush: true,
                    acknowledged: true,
                    grants_revive: true,
                },
                close: Carrier::WebSocket,
                blocked_frames: false,
            },
            selection: Selection::NoSubprotocol,
            quic_frames: false,
        }
    }
}

impl Codec for JsWs {
    fn encode(self, frame: &Frame, out: &mut MessageBuf) {
        match *frame {
            // The sum of the grants fits into a u32, because Config limits the window to the
            // largest u32.
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
            // The capabilities exclude these frames. There is no wildcard, so the compiler reports
            // a new frame that is missing here.
            Frame::Padding(_)
            | Frame::TransportParameters(_)
            | Frame::Ping(_)
            | Frame::Pong(_)
            | Frame::MaxStreamData { credit: Credit::Total(_), .. }
            | Frame::MaxData(_)
            | Frame::MaxStreams { .. }
            | Frame::DataBlocked(_)
            | Frame::StreamDataBlocked { .. }
            | Frame::StreamsBlocked { .. }
            | Frame::Datagram(_)
            | Frame::GoingAway
            | Frame::ConnectionClose(_) => {
                debug_assert!(false, "the js-ws wire cannot say {frame:?}");
            }
        }
    }

    fn stream_header_size(self, id: StreamId, _offset: u64, _len: Option<usize>) -> usize {
        wire_id(id).size() + size_of::<u16>()
    }

    fn encode_stream_header(self, header: &StreamHeader, out: &mut MessageBuf) {
        if header.fin {
            put(out, header.id, CLOSE, |out| out.put_u8(READ));
        } else {
            put(out, header.id, DATA, |_| {});
        }
    }

    fn decode(self, message: &mut Bytes) -> Result<Option<Frame>, TransportError> {
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

    fn max_inbound_message(self, _max_record_size: u64, stream_receive_window: u64) -> u64 {
        // A Data message may use up all credit of its stream. If the window is small, messages of
        // other types may be longer (J-30).
        stream_receive_window.saturating_add(MAX_HEADER).max(MAX_CONTROL)
    }
}

/// Returns the id as it is encoded on this wire. The lowest bit says which end is the initiator.
/// There is no bit for the direction, because all streams are bidirectional (J-7).
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
