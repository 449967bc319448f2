//! QUIC's frames, with one QMux record in each WebSocket message (RFC 9000 §19,
//! draft-ietf-quic-qmux-02).

mod transport_parameters;

use bytes::{Buf, BufMut, Bytes};

use super::{
    Capabilities, Carrier, Close, Codec, Description, Dir, Frame, Grants, MessageBuf, Messages,
    Opening, QMuxVersion, Selection, StreamEnd, StreamHeader, StreamId, TransportError, VarInt,
    take_bytes, take_varint, version, violation,
};
use crate::{TransportErrorCode, TransportParameters, frame::Credit};

const PADDING: u64 = 0x00;
const RESET_STREAM: u64 = 0x04;
const STOP_SENDING: u64 = 0x05;
const STREAM: u64 = 0x08;
const STREAM_END: u64 = 0x0f;
const STREAM_FIN: u64 = 0x01;
const STREAM_LEN: u64 = 0x02;
const STREAM_OFF: u64 = 0x04;
const MAX_DATA: u64 = 0x10;
const MAX_STREAM_DATA: u64 = 0x11;
const MAX_STREAMS_BIDI: u64 = 0x12;
const MAX_STREAMS_UNI: u64 = 0x13;
const DATA_BLOCKED: u64 = 0x14;
const STREAM_DATA_BLOCKED: u64 = 0x15;
const STREAMS_BLOCKED_BIDI: u64 = 0x16;
const STREAMS_BLOCKED_UNI: u64 = 0x17;
const CONNECTION_CLOSE: u64 = 0x1c;
const APPLICATION_CLOSE: u64 = 0x1d;
const RESET_STREAM_AT: u64 = 0x24;
const DATAGRAM: u64 = 0x30;
const DATAGRAM_LEN: u64 = 0x31;
/// The type of the private frame GOING_AWAY. It follows from the text `wsmux GOING_AWAY frame`
/// (SPEC.md §13).
const GOING_AWAY: u64 = 0x0ecf_1a24_2550_fc83;
const QX_PING_REQUEST: u64 = 0x348c_6752_9ef8_c7bd;
const QX_PING_RESPONSE: u64 = 0x348c_6752_9ef8_c7be;

#[derive(Clone, Copy)]
pub(super) struct QMux;

impl QMux {
    pub(super) const fn description(self) -> Description {
        Description {
            name: "qmux",
            capabilities: Capabilities {
                messages: Messages::Records {
                    opening: Opening::FirstFrame { unidirectional: true },
                    connection_credit: true,
                    datagrams: true,
                    pings: Carrier::Frame,
                },
                grants: Grants::Total,
                end: StreamEnd::WithData,
                close: Carrier::Frame,
                blocked_frames: true,
            },
            selection: Selection::Subprotocols { versions: &version::NAMES },
            quic_frames: true,
        }
    }
}

impl Codec for QMux {
    fn encode(self, frame: &Frame, out: &mut MessageBuf) {
        // Q-8 (QMux "QUIC Frames")
        match frame {
            Frame::Padding(count) => {
                out.put(|out| out.put_bytes(PADDING as u8, *count));
            }
            Frame::TransportParameters(params) => {
                self.encode_parameters(params, QMuxVersion::NEWEST, &[], out)
            }
            Frame::Ping(sequence) => put(out, QX_PING_REQUEST, &[sequence.into_inner()]),
            Frame::Pong(sequence) => put(out, QX_PING_RESPONSE, &[sequence.into_inner()]),
            Frame::Stream { id, offset, data, fin } => {
                let (id, offset, len) = (*id, offset.unwrap_or(0), data.len());
                self.encode_stream_header(
                    &StreamHeader { id, offset, len, fin: *fin, last: false },
                    out,
                );
                out.put_chunk(data.clone());
            }
            Frame::ResetStream { id, code, final_size, reliable_size } => {
                let fields =
                    [id.into_inner(), code.into_inner(), final_size.unwrap_or(0), *reliable_size];
                match reliable_size {
                    0 => put(out, RESET_STREAM, &fields[..3]),
                    _ => put(out, RESET_STREAM_AT, &fields),
                }
            }
            Frame::StopSending { id, code } => {
                put(out, STOP_SENDING, &[id.into_inner(), code.into_inner()]);
            }
            Frame::MaxData(total) => put(out, MAX_DATA, &[*total]),
            Frame::MaxStreamData { id, credit: Credit::Total(total) } => {
                put(out, MAX_STREAM_DATA, &[id.into_inner(), *total]);
            }
            Frame::MaxStreams { dir, count } => {
                put(out, streams_frame(*dir, MAX_STREAMS_BIDI, MAX_STREAMS_UNI), &[*count]);
            }
            Frame::DataBlocked(limit) => put(out, DATA_BLOCKED, &[*limit]),
            Frame::StreamDataBlocked { id, limit } => {
                put(out, STREAM_DATA_BLOCKED, &[id.into_inner(), *limit]);
            }
            Frame::StreamsBlocked { dir, limit } => {
                put(out, streams_frame(*dir, STREAMS_BLOCKED_BIDI, STREAMS_BLOCKED_UNI), &[*limit]);
            }
            Frame::Datagram(data) => {
                put(out, DATAGRAM_LEN, &[]);
                put_with_length(out, data);
            }
            Frame::GoingAway => put(out, GOING_AWAY, &[]),
            Frame::ConnectionClose(Close::Transport { code, frame, reason }) => {
                put(out, CONNECTION_CLOSE, &[code.into_inner(), frame.into_inner()]);
                put_with_length(out, reason);
            }
            Frame::ConnectionClose(Close::Application { code, reason }) => {
                // Q-48 (RFC 9000 §20.2)
                put(out, APPLICATION_CLOSE, &[code.into_inner()]);
                put_with_length(out, reason);
            }
            // The capabilities exclude both of these frames.
            Frame::FinReceived { .. } | Frame::MaxStreamData { .. } => {
                debug_assert!(false, "the QMux wire cannot say {frame:?}");
            }
        }
    }

    fn encode_parameters(
        self,
        parameters: &TransportParameters,
        version: QMuxVersion,
        private: &[u8],
        out: &mut MessageBuf,
    ) {
        let mut body = Vec::new();
        transport_parameters::encode(parameters, &mut body);
        body.extend_from_slice(private);
        put(out, version.parameters, &[]);
        put_with_length(out, &body.into());
    }

    fn stream_header_size(self, id: StreamId, offset: u64, len: Option<usize>) -> usize {
        let offset = if offset == 0 { 0 } else { VarInt::saturating(offset).size() };
        let len = len.map_or(0, |len| VarInt::saturating(len as u64).size());
        1 + VarInt::saturating(id.into_inner()).size() + offset + len
    }

    fn encode_stream_header(self, header: &StreamHeader, out: &mut MessageBuf) {
        let mut kind = STREAM;
        if header.offset > 0 {
            kind |= STREAM_OFF;
        }
        if !header.last {
            kind |= STREAM_LEN;
        }
        if header.fin {
            kind |= STREAM_FIN;
        }
        out.put(|out| {
            out.put_u8(kind as u8);
            VarInt::saturating(header.id.into_inner()).encode(out);
            if header.offset > 0 {
                VarInt::saturating(header.offset).encode(out);
            }
            if !header.last {
                VarInt::saturating(header.len as u64).encode(out);
            }
        });
    }

    fn decode(self, message: &mut Bytes) -> Result<Option<Frame>, TransportError> {
        if message.is_empty() {
            return Ok(None);
        }
        // Each byte of padding is a frame (RFC 9000 §19.1). A run of such frames is decoded as one
        // frame.
        let padding = message.iter().take_while(|&&byte| u64::from(byte) == PADDING).count();
        if padding > 0 {
            message.advance(padding);
            return Ok(Some(Frame::Padding(padding)));
        }
        let before = message.len();
        let kind = take_varint(message)?;
        // Q-10 (RFC 9000 §12.4)
        if before - message.len() != kind.size() {
            return Err(violation::protocol("frame type is not encoded in the fewest bytes"));
        }
        decode_body(kind.into_inner(), message).map(Some)
    }

    fn frame_type(self, message: &[u8]) -> Option<VarInt> {
        VarInt::decode(&mut &message[..])
    }

    fn max_inbound_message(self, max_record_size: u64, _stream_receive_window: u64) -> u64 {
        max_record_size
    }
}

fn put(out: &mut MessageBuf, kind: u64, fields: &[u64]) {
    out.put(|out| {
        // Q-9 (RFC 9000 §12.4)
        VarInt::saturating(kind).encode(out);
        fields.iter().for_each(|&field| VarInt::saturating(field).encode(out));
    });
}

fn put_with_length(out: &mut MessageBuf, bytes: &Bytes) {
    out.put(|out| VarInt::saturating(bytes.len() as u64).encode(out));
    out.put_chunk(bytes.clone());
}

const fn streams_frame(dir: Dir, bidi: u64, uni: u64) -> u64 {
    match dir {
        Dir::Bi => bidi,
        Dir::Uni => uni,
    }
}

fn decode_body(kind: u64, input: &mut Bytes) -> Result<Frame, TransportError> {
    Ok(match kind {
        RESET_STREAM | RESET_STREAM_AT => {
            let id = StreamId::from_wire(take_varint(input)?);
            let code = take_varint(input)?;
            let final_size = take_varint(input)?.into_inner();
            let reliable_size = match kind {
                RESET_STREAM => 0,
                _ => take_varint(input)?.into_inner(),
            };
            // Q-42 (RSA "RESET_STREAM_AT Frame")
            if reliable_size > final_size {
                return Err(violation::frame_encoding("reliable size is past the final size"));
            }
            Frame::ResetStream { id, code, final_size: Some(final_size), reliable_size }
        }
        STOP_SENDING => Frame::StopSending {
            id: StreamId::from_wire(take_varint(input)?),
            code: take_varint(input)?,
        },
        STREAM..=STREAM_END => decode_stream(kind, input)?,
        MAX_DATA => Frame::MaxData(take_varint(input)?.into_inner()),
        MAX_STREAM_DATA => Frame::MaxStreamData {
            id: StreamId::from_wire(take_varint(input)?),
            credit: Credit::Total(take_varint(input)?.into_inner()),
        },
        MAX_STREAMS_BIDI => Frame::MaxStreams { dir: Dir::Bi, count: take_count(input)? },
        MAX_STREAMS_UNI => Frame::MaxStreams { dir: Dir::Uni, count: take_count(input)? },
        DATA_BLOCKED => Frame::DataBlocked(take_varint(input)?.into_inner()),
        STREAM_DATA_BLOCKED => Frame::StreamDataBlocked {
            id: StreamId::from_wire(take_varint(input)?),
            limit: take_varint(input)?.into_inner(),
        },
        STREAMS_BLOCKED_BIDI => Frame::StreamsBlocked { dir: Dir::Bi, limit: take_count(input)? },
        STREAMS_BLOCKED_UNI => Frame::StreamsBlocked { dir: Dir::Uni, limit: take_count(input)? },
        CONNECTION_CLOSE => {
            let code = TransportErrorCode::from_wire(take_varint(input)?);
            let frame = take_varint(input)?;
            let len = take_varint(input)?;
            Frame::ConnectionClose(Close::Transport {
                code,
                frame,
                reason: take_bytes(input, len)?,
            })
        }
        APPLICATION_CLOSE => {
            let code = take_varint(input)?;
            let len = take_varint(input)?;
            Frame::ConnectionClose(Close::Application { code, reason: take_bytes(input, len)? })
        }
        DATAGRAM => Frame::Datagram(std::mem::take(input)),
        DATAGRAM_LEN => {
            let len = take_varint(input)?;
            Frame::Datagram(take_bytes(input, len)?)
        }
        QX_PING_REQUEST => Frame::Ping(take_varint(input)?),
        QX_PING_RESPONSE => Frame::Pong(take_varint(input)?),
        GOING_AWAY => Frame::GoingAway,
        // The engine checks that this is the type of the agreed version.
        kind if QMuxVersion::ALL.iter().any(|version| version.parameters == kind) => {
            let len = take_varint(input)?;
            Frame::TransportParameters(transport_parameters::decode(take_bytes(input, len)?)?)
        }
        // Q-6 (RFC 9000 §12.4), Q-7 (QMux "QUIC Frames")
        _ => return Err(violation::frame_encoding("frame is unknown or forbidden on this wire")),
    })
}

fn decode_stream(kind: u64, input: &mut Bytes) -> Result<Frame, TransportError> {
    let id = StreamId::from_wire(take_varint(input)?);
    let offset = if kind & STREAM_OFF != 0 { take_varint(input)?.into_inner() } else { 0 };
    let data = if kind & STREAM_LEN != 0 {
        let len = take_varint(input)?;
        take_bytes(input, len)?
    } else {
        std::mem::take(input)
    };
    // Q-29 (RFC 9000 §19.8)
    if offset + data.len() as u64 > VarInt::MAX.into_inner() {
        return Err(violation::frame_encoding("stream data ends past 2^62 - 1"));
    }
    Ok(Frame::Stream { id, offset: Some(offset), data, fin: kind & STREAM_FIN != 0 })
}

/// Reads a number of streams, which is at most 2^60 (Q-38, RFC 9000 §4.6, §19.11, §19.14).
fn take_count(input: &mut Bytes) -> Result<u64, TransportError> {
    let count = take_varint(input)?.into_inner();
    if count > StreamId::MAX_COUNT {
        return Err(violation::frame_encoding("number of streams is past 2^60"));
    }
    Ok(count)
}

#[cfg(test)]
mod tests {
    use sha2::{Digest, Sha256};

    use super::*;

    #[test]
    fn the_private_values_are_the_hashes_that_the_specification_says() {
        for (value, input) in [
            (transport_parameters::GOING_AWAY, "wsmux GOING_AWAY parameter"),
            (GOING_AWAY, "wsmux GOING_AWAY frame"),
        ] {
            let hash = Sha256::digest(input);
            let start = u64::from_be_bytes(*hash.first_chunk().expect("32 bytes"));
            assert_eq!(value, start & VarInt::MAX.into_inner(), "{input}");
            assert_ne!(value % 31, 27, "reserved (RFC 9000 §18.1)");
        }
    }
}
