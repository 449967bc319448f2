//! Wires: how frames are encoded in messages, what each wire can express, and how a wire is chosen.
//!
//! To add a wire, add one file, and one line in the invocation of `wires!` below.

mod capabilities;
mod jsws;
mod qmux;
#[cfg(test)]
mod synthetic;
mod version;

use bytes::Bytes;

pub use self::{
    capabilities::{Capabilities, Carrier, Grants, Messages, Opening, StreamEnd, StreamLimit},
    version::QMuxVersion,
};
use super::{
    Dir, Frame, MessageBuf, StreamId, TransportError, VarInt, frame::Close,
    transport_error::violation, transport_parameters::TransportParameters,
};

/// The default of `max_record_size`, and the lowest value that an end may declare
/// (draft-ietf-quic-qmux-02 §max_record_size). Together with its length prefix, a record of this
/// size fills a TLS record.
pub(crate) const MIN_MAX_RECORD_SIZE: u64 = 16_382;

/// Declares [`Wire`] with a variant for each wire, and `with_codec!`, which calls the wire's codec.
/// Such a call compiles to a `match` on the variant, so it can be inlined.
///
/// The variant after the semicolon is for tests. Each value of the variant's field makes a
/// different wire.
macro_rules! wires {
    (
        ($d:tt)
        $($(#[$doc:meta])* $name:ident => $codec:expr,)+;
        $(#[$test:meta])* $test_name:ident($field:ty) => $test_codec:expr,
    ) => {
        /// The protocol that the two ends use over the WebSocket.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Wire {
            $($(#[$doc])* $name,)+
            #[cfg(test)]
            $(#[$test])*
            $test_name($field),
        }

        impl Wire {
            /// All wires.
            pub const ALL: &[Self] = &[$(Self::$name),+];
        }

        macro_rules! with_codec {
            ($d wire:expr, $d bound:ident => $d call:expr) => {
                match $d wire {
                    $(Wire::$name => {
                        let $d bound = $codec;
                        $d call
                    })+
                    #[cfg(test)]
                    Wire::$test_name(field) => {
                        let $d bound = $test_codec(field);
                        $d call
                    }
                }
            };
        }
    };
}

wires! {
    ($)
    /// QUIC's frames over a reliable transport (draft-ietf-quic-qmux-02), with one record in each
    /// message.
    QMux => qmux::QMux,
    /// The protocol of npm's `@matrixai/ws`.
    JsWs => jsws::JsWs,
    ;
    /// A wire that can have any capabilities.
    Synthetic(Capabilities) => synthetic::Synthetic,
}

/// Everything about a wire except its encoding.
struct Description {
    name: &'static str,
    capabilities: Capabilities,
    selection: Selection,
    quic_frames: bool,
}

/// The encoding of a wire.
///
/// `encode` is called only with frames that the wire's capabilities allow. A control frame must
/// take at most 33 bytes, and a ping at most 16. The frame of a datagram must be at most 5 bytes
/// longer than its payload.
trait Codec: Copy {
    fn encode(self, frame: &Frame, out: &mut MessageBuf);

    /// `version` and `private` matter only to QMux.
    fn encode_parameters(
        self,
        parameters: &TransportParameters,
        _version: QMuxVersion,
        _private: &[u8],
        out: &mut MessageBuf,
    ) {
        self.encode(&Frame::TransportParameters(*parameters), out);
    }

    fn stream_header_size(self, id: StreamId, offset: u64, len: Option<usize>) -> usize;

    fn encode_stream_header(self, header: &StreamHeader, out: &mut MessageBuf);

    fn decode(self, message: &mut Bytes) -> Result<Option<Frame>, TransportError>;

    fn frame_type(self, _message: &[u8]) -> Option<VarInt> {
        None
    }

    fn max_inbound_message(self, max_record_size: u64, stream_receive_window: u64) -> u64;
}

/// How the opening handshake of the WebSocket chooses a wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Selection {
    /// The subprotocol on which the two ends agree chooses the wire.
    #[non_exhaustive]
    Subprotocols {
        /// The names of the wire's versions, the most preferred one first. The subprotocol has one
        /// of three forms. It is such a name, or such a name followed by a dot and the
        /// application's protocol, or only the application's protocol.
        versions: &'static [&'static str],
    },
    /// The wire is chosen if the client offers no subprotocol.
    NoSubprotocol,
}

/// The fixed part of a stream frame that is about to be written.
pub(crate) struct StreamHeader {
    pub(crate) id: StreamId,
    pub(crate) offset: u64,
    pub(crate) len: usize,
    pub(crate) fin: bool,
    /// Whether this is the last frame of its message, so that the length can be omitted.
    pub(crate) last: bool,
}

impl Wire {
    /// Returns a short name for settings and logs, such as `qmux`.
    pub const fn name(self) -> &'static str {
        self.description().name
    }

    /// Returns what this wire can express.
    pub const fn capabilities(self) -> Capabilities {
        self.description().capabilities
    }

    /// Returns how the opening handshake chooses this wire.
    pub const fn selection(self) -> Selection {
        self.description().selection
    }

    /// Whether the wire's frames are QUIC's, so that a qlog can describe them.
    pub const fn has_quic_frames(self) -> bool {
        self.description().quic_frames
    }

    /// Returns the type of the first frame in a message. If that frame is at fault, the close frame
    /// names its type. Returns `None` on a wire whose close frame names no frame type.
    pub fn frame_type(self, message: &[u8]) -> Option<VarInt> {
        with_codec!(self, codec => codec.frame_type(message))
    }

    /// Removes the next frame from a message, and returns it; `None` at the end of the message.
    ///
    /// # Errors
    /// A [`TransportError`] if the rest of the message is not a frame of this wire.
    pub fn decode(self, message: &mut Bytes) -> Result<Option<Frame>, TransportError> {
        with_codec!(self, codec => codec.decode(message))
    }

    /// Appends a frame that contains no stream data.
    pub(crate) fn encode(self, frame: &Frame, out: &mut MessageBuf) {
        out.begin_frame();
        with_codec!(self, codec => codec.encode(frame, out));
    }

    /// Appends this end's transport parameters, on a wire that has them. `private` contains further
    /// encoded parameters, which the engine does not know.
    pub(crate) fn encode_parameters(
        self,
        parameters: &TransportParameters,
        version: QMuxVersion,
        private: &[u8],
        out: &mut MessageBuf,
    ) {
        out.begin_frame();
        with_codec!(self, codec => codec.encode_parameters(parameters, version, private, out));
    }

    /// Returns how many bytes the header of a stream frame takes. If `len` is `None`, the frame is
    /// the [last](StreamHeader::last) frame of its message.
    pub(crate) fn stream_header_size(self, id: StreamId, offset: u64, len: Option<usize>) -> usize {
        with_codec!(self, codec => codec.stream_header_size(id, offset, len))
    }

    /// Appends the header of a stream frame. The caller appends the data.
    pub(crate) fn encode_stream_header(self, header: &StreamHeader, out: &mut MessageBuf) {
        out.begin_frame();
        with_codec!(self, codec => codec.encode_stream_header(header, out));
    }

    /// Returns the size of the largest message, in bytes, that a peer may send to an end with these
    /// settings.
    pub(crate) fn max_inbound_message(
        self,
        max_record_size: u64,
        stream_receive_window: u64,
    ) -> u64 {
        with_codec!(self, codec => {
            codec.max_inbound_message(max_record_size, stream_receive_window)
        })
    }

    const fn description(self) -> Description {
        with_codec!(self, codec => codec.description())
    }
}

/// Removes a varint from the front of `input`, and returns it.
fn take_varint(input: &mut Bytes) -> Result<VarInt, TransportError> {
    VarInt::decode(input).ok_or_else(|| violation::frame_encoding("frame is cut short"))
}

/// Removes `len` bytes from the front of `input`, and returns them without copying them.
fn take_bytes(input: &mut Bytes, len: VarInt) -> Result<Bytes, TransportError> {
    match usize::try_from(len.into_inner()) {
        Ok(len) if len <= input.len() => Ok(input.split_to(len)),
        // Q-2 (QMux "QMux Records"; RFC 9000 §12.4), Q-5 (QMux "QMux Records")
        _ => Err(violation::frame_encoding("frame is cut short")),
    }
}
