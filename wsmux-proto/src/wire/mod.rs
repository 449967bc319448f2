//! A wire: how frames are written into messages, and what can be said on it at all.

mod jsws;
mod qmux;
mod version;

use bytes::Bytes;

pub use self::version::QMuxVersion;
use super::{
    Dir, Frame, MessageBuf, StreamId, TransportError, VarInt, frame::Close,
    transport_error::violation, transport_parameters::TransportParameters,
};

/// The largest record that a peer may send before it has said what it takes itself, and the least that
/// any peer takes (draft-ietf-quic-qmux-02 §max_record_size): with its length prefix it fills a TLS record.
pub(crate) const MIN_MAX_RECORD_SIZE: u64 = 16_382;

/// Which language the two ends speak over the WebSocket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Wire {
    /// QUIC's frames over a reliable transport (draft-ietf-quic-qmux-02), one record in one message.
    QMux,
    /// The language of npm's `@matrixai/ws`.
    JsWs,
}

/// What a wire can say; the engine asks this and never which wire it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Capabilities {
    /// Each end begins with its transport parameters.
    pub parameters: bool,
    /// Streams that carry data one way exist.
    pub unidirectional: bool,
    /// Datagrams exist.
    pub datagrams: bool,
    /// The number of streams is granted, and opening one opens all before it. Without this a stream too
    /// many waits for its place, or is refused, on its own.
    pub stream_limits: bool,
    /// Data needs credit of the connection besides its stream's.
    pub connection_credit: bool,
    /// A stream begins, from each end, with a grant of credit, and has none before that.
    pub opens_with_credit: bool,
    /// Credit is granted as an increment.
    pub relative_credit: bool,
    /// A message may carry all the credit of its stream, so that the largest message follows from the window:
    /// no window grows past its first size, or a peer could send messages without end.
    pub window_bounds_message: bool,
    /// The two `BLOCKED` kinds of frame exist.
    pub blocked_frames: bool,
    /// The end of a stream travels in the frame of its last bytes.
    pub fin_with_data: bool,
    /// The end of a stream has to leave the process apart from the data before it: `@matrixai/ws` loses the
    /// data of a stream whose end comes in the same TLS record.
    pub fin_after_flush: bool,
    /// A peer forgets a stream of its own once both halves have ended where it is, and takes a grant that
    /// comes after that for the begin of a new stream.
    pub grants_revive: bool,
    /// The end of a stream is acknowledged by a frame.
    pub answers_ends: bool,
    /// An empty message is valid and has no effect.
    pub empty_messages: bool,
    /// A message can hold more than one frame.
    pub many_frames_per_message: bool,
    /// A frame carries the end of the connection; without this only the WebSocket's Close does.
    pub close_frame: bool,
    /// Pings are frames; without this the WebSocket's own.
    pub ping_frames: bool,
}

/// The fixed part of a stream frame that is about to be written.
pub(crate) struct StreamHeader {
    pub(crate) id: StreamId,
    pub(crate) offset: u64,
    pub(crate) len: usize,
    pub(crate) fin: bool,
    /// Nothing follows in this message, so the length can be left out.
    pub(crate) last: bool,
}

impl Wire {
    /// What this wire can say.
    pub const fn capabilities(self) -> Capabilities {
        match self {
            Self::QMux => qmux::CAPABILITIES,
            Self::JsWs => jsws::CAPABILITIES,
        }
    }

    /// Appends a frame that is not of stream data.
    pub(crate) fn encode(self, frame: &Frame, out: &mut MessageBuf) {
        out.begin_frame();
        match self {
            Self::QMux => qmux::encode(frame, out),
            Self::JsWs => jsws::encode(frame, out),
        }
    }

    /// Appends our transport parameters, on a wire that has them.
    pub(crate) fn encode_parameters(
        self,
        parameters: &TransportParameters,
        version: QMuxVersion,
        out: &mut MessageBuf,
    ) {
        out.begin_frame();
        qmux::encode_parameters(parameters, version, out);
    }

    /// How many bytes the header of a stream frame takes, its length field included.
    pub(crate) fn stream_header_size(self, id: StreamId, offset: u64, len: usize) -> usize {
        match self {
            Self::QMux => qmux::stream_header_size(id, offset, len),
            Self::JsWs => jsws::stream_header_size(id),
        }
    }

    /// Appends the header of a stream frame; its data is for the caller to append.
    pub(crate) fn encode_stream_header(self, header: &StreamHeader, out: &mut MessageBuf) {
        out.begin_frame();
        match self {
            Self::QMux => qmux::encode_stream_header(header, out),
            Self::JsWs => jsws::encode_stream_header(header, out),
        }
    }

    /// The type of the frame that a message begins with, on a wire whose close names it.
    pub fn frame_type(self, message: &[u8]) -> Option<VarInt> {
        match self {
            Self::QMux => VarInt::decode(&mut &message[..]),
            Self::JsWs => None,
        }
    }

    /// Takes the next frame off a message; `None` at its end.
    ///
    /// # Errors
    /// The violation, when the rest of the message is not a frame of this wire.
    pub fn decode(self, message: &mut Bytes) -> Result<Option<Frame>, TransportError> {
        match self {
            Self::QMux => qmux::decode(message),
            Self::JsWs => jsws::decode(message),
        }
    }

    /// The largest message that a peer may send to an end with these settings.
    pub(crate) fn max_inbound_message(
        self,
        max_record_size: u64,
        stream_receive_window: u64,
    ) -> u64 {
        match self {
            Self::QMux => max_record_size,
            // One Data message may spend all the credit there is; id and type come before it.
            // The others may be longer than a small window (J-30).
            Self::JsWs => {
                stream_receive_window.saturating_add(jsws::MAX_HEADER).max(jsws::MAX_CONTROL)
            }
        }
    }
}

/// A whole number off the front of `input`, or the error that says what was cut short.
fn take_varint(input: &mut Bytes) -> Result<VarInt, TransportError> {
    VarInt::decode(input).ok_or_else(|| violation::frame_encoding("frame is cut short"))
}

/// `len` bytes off the front of `input`, shared and not copied.
fn take_bytes(input: &mut Bytes, len: VarInt) -> Result<Bytes, TransportError> {
    match usize::try_from(len.into_inner()) {
        Ok(len) if len <= input.len() => Ok(input.split_to(len)),
        // Q-2 (QMux "QMux Records"; RFC 9000 §12.4), Q-5 (QMux "QMux Records")
        _ => Err(violation::frame_encoding("frame is cut short")),
    }
}
