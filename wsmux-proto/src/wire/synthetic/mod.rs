//! A wire for tests, which can have any capabilities. The codec of this wire panics if the engine
//! sends a frame that the capabilities exclude. So the tests show that the engine depends on the
//! capabilities of a wire and on nothing else.

mod pair;
mod tests;

use bytes::{Buf, BufMut, Bytes};

use super::{
    Capabilities, Carrier, Close, Codec, Description, Dir, Frame, Grants, MessageBuf, Messages,
    Opening, Selection, StreamEnd, StreamHeader, StreamId, StreamLimit, TransportError,
    TransportParameters, VarInt, take_bytes, take_varint, violation,
};
use crate::{TransportErrorCode, frame::Credit};

const PARAMETERS: u8 = 0;
const PING: u8 = 1;
const PONG: u8 = 2;
const STREAM: u8 = 3;
/// A stream frame without a length, which is the last frame of its message.
const LAST_STREAM: u8 = 4;
const RESET: u8 = 5;
const STOP: u8 = 6;
const FIN_RECEIVED: u8 = 7;
const CONNECTION_CREDIT: u8 = 8;
const GRANT: u8 = 9;
const STREAM_LIMIT: u8 = 10;
const DATA_BLOCKED: u8 = 11;
const STREAM_DATA_BLOCKED: u8 = 12;
const STREAMS_BLOCKED: u8 = 13;
const DATAGRAM: u8 = 14;
const TRANSPORT_CLOSE: u8 = 15;
const APPLICATION_CLOSE: u8 = 16;

/// An upper bound for the size of a frame, not counting stream data.
const MAX_OVERHEAD: u64 = 2_048;

#[derive(Clone, Copy)]
pub(super) struct Synthetic(pub(super) Capabilities);

impl Synthetic {
    pub(super) const fn description(self) -> Description {
        Description {
            name: "synthetic",
            capabilities: self.0,
            selection: Selection::Subprotocols { versions: &["synthetic"] },
            quic_frames: false,
        }
    }

    /// Whether the capabilities allow this frame.
    fn allows(self, frame: &Frame) -> bool {
        let Self(caps) = self;
        match frame {
            Frame::TransportParameters(_) => caps.parameters(),
            Frame::Ping(_) | Frame::Pong(_) => caps.pings().is_frame(),
            Frame::Stream { id, data, fin, .. } => {
                let end = !fin || data.is_empty() || caps.end.is_with_data();
                end && self.has(*id)
            }
            Frame::ResetStream { id, .. } | Frame::StopSending { id, .. } => self.has(*id),
            Frame::FinReceived { id } => caps.end.is_acknowledged() && self.has(*id),
            Frame::MaxData(_) => caps.connection_credit(),
            Frame::MaxStreamData { id, credit } => {
                matches!(credit, Credit::More(_)) == caps.grants.are_relative() && self.has(*id)
            }
            Frame::MaxStreams { dir, .. } => {
                caps.stream_limits() && (*dir == Dir::Bi || caps.unidirectional())
            }
            Frame::DataBlocked(_) => caps.blocked_frames && caps.connection_credit(),
            Frame::StreamDataBlocked { id, .. } => caps.blocked_frames && self.has(*id),
            Frame::StreamsBlocked { .. } => caps.blocked_frames && caps.stream_limits(),
            Frame::Datagram(_) => caps.datagrams(),
            Frame::ConnectionClose(_) => caps.close.is_frame(),
            Frame::Padding(_) | Frame::GoingAway => false,
        }
    }

    fn has(self, id: StreamId) -> bool {
        id.dir() == Dir::Bi || self.0.unidirectional()
    }
}

impl Codec for Synthetic {
    fn encode(self, frame: &Frame, out: &mut MessageBuf) {
        assert!(self.allows(frame), "{:?} do not allow {frame:?}", self.0);
        match *frame {
            Frame::TransportParameters(ref parameters) => put_parameters(parameters, out),
            Frame::Ping(number) => put(out, PING, &[number.into_inner()]),
            Frame::Pong(number) => put(out, PONG, &[number.into_inner()]),
            Frame::Stream { id, offset, ref data, fin } => {
                let (offset, len) = (offset.unwrap_or(0), data.len());
                self.encode_stream_header(&StreamHeader { id, offset, len, fin, last: false }, out);
                out.put_chunk(data.clone());
            }
            Frame::ResetStream { id, code, final_size, reliable_size } => {
                let final_size = final_size.unwrap_or(0);
                let code = code.into_inner();
                put(out, RESET, &[id.into_inner(), code, final_size, reliable_size]);
            }
            Frame::StopSending { id, code } => {
                put(out, STOP, &[id.into_inner(), code.into_inner()]);
            }
            Frame::FinReceived { id } => put(out, FIN_RECEIVED, &[id.into_inner()]),
            Frame::MaxData(total) => put(out, CONNECTION_CREDIT, &[total]),
            Frame::MaxStreamData { id, credit: Credit::Total(bytes) | Credit::More(bytes) } => {
                put(out, GRANT, &[id.into_inner(), bytes]);
            }
            Frame::MaxStreams { dir, count } => put(out, STREAM_LIMIT, &[dir as u64, count]),
            Frame::DataBlocked(limit) => put(out, DATA_BLOCKED, &[limit]),
            Frame::StreamDataBlocked { id, limit } => {
                put(out, STREAM_DATA_BLOCKED, &[id.into_inner(), limit]);
            }
            Frame::StreamsBlocked { dir, limit } => {
                put(out, STREAMS_BLOCKED, &[dir as u64, limit]);
            }
            Frame::Datagram(ref data) => put_with_bytes(out, DATAGRAM, &[], data),
            Frame::ConnectionClose(Close::Transport { code, frame, ref reason }) => {
                let fields = [code.into_inner(), frame.into_inner()];
                put_with_bytes(out, TRANSPORT_CLOSE, &fields, reason);
            }
            Frame::ConnectionClose(Close::Application { code, ref reason }) => {
                put_with_bytes(out, APPLICATION_CLOSE, &[code.into_inner()], reason);
            }
            Frame::Padding(_) | Frame::GoingAway => unreachable!("the capabilities exclude it"),
        }
    }

    fn stream_header_size(self, id: StreamId, offset: u64, len: Option<usize>) -> usize {
        let id = VarInt::saturating(id.into_inner()).size();
        let len = len.map_or(0, |len| VarInt::saturating(len as u64).size());
        1 + id + VarInt::saturating(offset).size() + 1 + len
    }

    fn encode_stream_header(self, header: &StreamHeader, out: &mut MessageBuf) {
        let &StreamHeader { id, offset, len, fin, last } = header;
        assert!(!fin || len == 0 || self.0.end.is_with_data(), "an end with {len} bytes");
        let fields = [id.into_inner(), offset, fin.into(), len as u64];
        match last {
            true => put(out, LAST_STREAM, &fields[..3]),
            false => put(out, STREAM, &fields),
        }
    }

    fn decode(self, message: &mut Bytes) -> Result<Option<Frame>, TransportError> {
        let Ok(kind) = message.try_get_u8() else { return Ok(None) };
        let frame = decode_body(self.0, kind, message)?;
        if !self.allows(&frame) {
            return Err(violation::frame_encoding("a frame that this wire does not have"));
        }
        if !self.0.messages.are_records() && !message.is_empty() {
            return Err(violation::frame_encoding("more than one frame"));
        }
        Ok(Some(frame))
    }

    fn max_inbound_message(self, max_record_size: u64, stream_receive_window: u64) -> u64 {
        match self.0.messages.are_bounded_by_window() {
            true => stream_receive_window + MAX_OVERHEAD,
            false => max_record_size,
        }
    }
}

/// Returns every possible combination of capabilities.
pub(crate) fn all() -> Vec<Capabilities> {
    let bools = [false, true];
    let carriers = [Carrier::Frame, Carrier::WebSocket];
    let openings = [
        Opening::FirstFrame { unidirectional: false },
        Opening::FirstFrame { unidirectional: true },
        Opening::Grant { limit: StreamLimit::Advertised },
        Opening::Grant { limit: StreamLimit::Local },
    ];
    let mut messages = vec![Messages::Single];
    for opening in openings {
        for (connection_credit, datagrams) in product(bools, bools) {
            messages.extend(carriers.map(|pings| Messages::Records {
                opening,
                connection_credit,
                datagrams,
                pings,
            }));
        }
    }
    let mut ends = vec![StreamEnd::WithData];
    for (after_flush, acknowledged) in product(bools, bools) {
        ends.extend(bools.map(|grants_revive| StreamEnd::OwnFrame {
            after_flush,
            acknowledged,
            grants_revive,
        }));
    }
    let mut all = Vec::new();
    for (messages, end) in product(messages, ends) {
        for (grants, close) in product([Grants::Total, Grants::Increment], carriers) {
            all.extend(bools.map(|blocked_frames| Capabilities {
                messages,
                grants,
                end,
                close,
                blocked_frames,
            }));
        }
    }
    all
}

fn product<A: Copy, B: Copy>(
    left: impl IntoIterator<Item = A>,
    right: impl IntoIterator<Item = B> + Clone,
) -> impl Iterator<Item = (A, B)> {
    left.into_iter().flat_map(move |a| right.clone().into_iter().map(move |b| (a, b)))
}

fn put(out: &mut MessageBuf, kind: u8, fields: &[u64]) {
    out.put(|out| {
        out.put_u8(kind);
        fields.iter().for_each(|&field| VarInt::saturating(field).encode(out));
    });
}

fn put_with_bytes(out: &mut MessageBuf, kind: u8, fields: &[u64], bytes: &Bytes) {
    put(out, kind, fields);
    out.put(|out| VarInt::saturating(bytes.len() as u64).encode(out));
    out.put_chunk(bytes.clone());
}

fn put_parameters(parameters: &TransportParameters, out: &mut MessageBuf) {
    let fields = [
        parameters.max_idle_timeout.as_millis() as u64,
        parameters.initial_max_data,
        parameters.initial_max_stream_data_bidi_local,
        parameters.initial_max_stream_data_bidi_remote,
        parameters.initial_max_stream_data_uni,
        parameters.initial_max_streams_bidi,
        parameters.initial_max_streams_uni,
        parameters.max_datagram_frame_size,
        parameters.max_record_size,
        parameters.reset_stream_at.into(),
    ];
    put(out, PARAMETERS, &fields);
}

fn decode_body(caps: Capabilities, kind: u8, input: &mut Bytes) -> Result<Frame, TransportError> {
    let mut next = || take_varint(input);
    let frame = match kind {
        PARAMETERS => {
            let mut fields = [0; 10];
            for field in &mut fields {
                *field = next()?.into_inner();
            }
            Frame::TransportParameters(TransportParameters {
                max_idle_timeout: std::time::Duration::from_millis(fields[0]),
                initial_max_data: fields[1],
                initial_max_stream_data_bidi_local: fields[2],
                initial_max_stream_data_bidi_remote: fields[3],
                initial_max_stream_data_uni: fields[4],
                initial_max_streams_bidi: fields[5],
                initial_max_streams_uni: fields[6],
                max_datagram_frame_size: fields[7],
                max_record_size: fields[8],
                reset_stream_at: fields[9] == 1,
                going_away: false,
            })
        }
        PING => Frame::Ping(next()?),
        PONG => Frame::Pong(next()?),
        STREAM | LAST_STREAM => {
            let id = StreamId::from_wire(next()?);
            let (offset, fin) = (Some(next()?.into_inner()), next()?.into_inner() == 1);
            let data = match kind {
                STREAM => {
                    let len = next()?;
                    take_bytes(input, len)?
                }
                _ => std::mem::take(input),
            };
            Frame::Stream { id, offset, data, fin }
        }
        RESET => Frame::ResetStream {
            id: StreamId::from_wire(next()?),
            code: next()?,
            final_size: Some(next()?.into_inner()),
            reliable_size: next()?.into_inner(),
        },
        STOP => Frame::StopSending { id: StreamId::from_wire(next()?), code: next()? },
        FIN_RECEIVED => Frame::FinReceived { id: StreamId::from_wire(next()?) },
        CONNECTION_CREDIT => Frame::MaxData(next()?.into_inner()),
        GRANT => {
            let (id, bytes) = (StreamId::from_wire(next()?), next()?.into_inner());
            let credit = match caps.grants {
                Grants::Total => Credit::Total(bytes),
                Grants::Increment => Credit::More(bytes),
            };
            Frame::MaxStreamData { id, credit }
        }
        STREAM_LIMIT => {
            let dir = Dir::ALL[next()?.into_inner() as usize & 1];
            Frame::MaxStreams { dir, count: next()?.into_inner() }
        }
        DATA_BLOCKED => Frame::DataBlocked(next()?.into_inner()),
        STREAM_DATA_BLOCKED => Frame::StreamDataBlocked {
            id: StreamId::from_wire(next()?),
            limit: next()?.into_inner(),
        },
        STREAMS_BLOCKED => {
            let dir = Dir::ALL[next()?.into_inner() as usize & 1];
            Frame::StreamsBlocked { dir, limit: next()?.into_inner() }
        }
        DATAGRAM => {
            let len = next()?;
            Frame::Datagram(take_bytes(input, len)?)
        }
        TRANSPORT_CLOSE => {
            let code = TransportErrorCode::from_wire(next()?);
            let (frame, len) = (next()?, next()?);
            let reason = take_bytes(input, len)?;
            Frame::ConnectionClose(Close::Transport { code, frame, reason })
        }
        APPLICATION_CLOSE => {
            let (code, len) = (next()?, next()?);
            let reason = take_bytes(input, len)?;
            Frame::ConnectionClose(Close::Application { code, reason })
        }
        _ => return Err(violation::frame_encoding("no frame of this wire")),
    };
    Ok(frame)
}
