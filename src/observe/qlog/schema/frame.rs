//! The frames of a packet.

use serde::Serialize;
use wsmux_proto::{self as proto, Dir};

use super::{ErrorCode, Uint};

/// A close's reason is cut after this many bytes. In JSON, each of these bytes may take six bytes.
pub(in crate::observe::qlog) const MAX_REASON: usize = 1024;

/// A frame and its size in bytes. The schema dropped the size after draft-02, but qvis still uses
/// it to draw frames.
#[derive(Debug, Serialize)]
pub(in crate::observe::qlog) struct SizedFrame {
    #[serde(flatten)]
    pub(in crate::observe::qlog) frame: Frame,
    pub(in crate::observe::qlog) frame_size: usize,
    /// How many equal frames this entry stands for. The schema combines only PADDING frames, into
    /// one frame with their total length. But it allows additional fields, such as this one.
    #[serde(skip_serializing_if = "is_one")]
    pub(in crate::observe::qlog) count: u64,
}

impl SizedFrame {
    /// Adds an equal frame that follows.
    pub(in crate::observe::qlog) fn add(&mut self, other: &Self) {
        self.frame_size += other.frame_size;
        self.count += other.count;
    }

    /// Adds to this entry a frame that cannot have an entry of its own. `kind` is the type of the
    /// first frame in this entry.
    pub(in crate::observe::qlog) fn add_other(&mut self, other: &Self, kind: proto::VarInt) {
        self.add(other);
        if !matches!(self.frame, Frame::Unknown { .. }) {
            self.frame = Frame::Unknown { raw_frame_type: Uint(kind.into_inner()) };
        }
    }
}

fn is_one(count: &u64) -> bool {
    *count == 1
}

#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(in crate::observe::qlog) enum StreamType {
    Bidirectional,
    Unidirectional,
}

impl From<Dir> for StreamType {
    fn from(dir: Dir) -> Self {
        match dir {
            Dir::Bi => Self::Bidirectional,
            Dir::Uni => Self::Unidirectional,
        }
    }
}

#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(in crate::observe::qlog) enum ErrorSpace {
    Transport,
    Application,
}

/// A frame of QUIC, or a frame of QMux where the schema allows extensions.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "frame_type", rename_all = "snake_case")]
pub(in crate::observe::qlog) enum Frame {
    Padding {
        payload_length: usize,
    },
    ResetStream {
        stream_id: Uint,
        error_code: Uint,
        final_size: Uint,
    },
    ResetStreamAt {
        stream_id: Uint,
        error_code: Uint,
        final_size: Uint,
        reliable_size: Uint,
    },
    StopSending {
        stream_id: Uint,
        error_code: Uint,
    },
    Stream {
        stream_id: Uint,
        offset: Uint,
        length: usize,
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        fin: bool,
    },
    MaxData {
        maximum: Uint,
    },
    MaxStreamData {
        stream_id: Uint,
        maximum: Uint,
    },
    MaxStreams {
        stream_type: StreamType,
        maximum: Uint,
    },
    DataBlocked {
        limit: Uint,
    },
    StreamDataBlocked {
        stream_id: Uint,
        limit: Uint,
    },
    StreamsBlocked {
        stream_type: StreamType,
        limit: Uint,
    },
    ConnectionClose {
        error_space: ErrorSpace,
        error_code: ErrorCode,
        error_code_value: Uint,
        reason: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        trigger_frame_type: Option<Uint>,
    },
    /// RFC 9221's frame, which version 0.3 of the schema does not have.
    Datagram {
        length: usize,
    },
    /// Several frames, the first of which has this type.
    Unknown {
        raw_frame_type: Uint,
    },
    QxTransportParameters,
    /// The frame GOING_AWAY, which only wsmux has.
    WsmuxGoingAway,
    QxPing {
        sequence_number: Uint,
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        response: bool,
    },
    /// This frame and the next frame belong to wsmux's resumption.
    SessionAck {
        received: Uint,
    },
    SessionResumed {
        received: Uint,
    },
}

impl Frame {
    pub(in crate::observe::qlog) fn of_session(frame: proto::SessionFrame) -> Self {
        match frame {
            proto::SessionFrame::Ack { received, .. } => {
                Self::SessionAck { received: Uint(received) }
            }
            proto::SessionFrame::Resumed { received, .. } => {
                Self::SessionResumed { received: Uint(received) }
            }
            _ => Self::Unknown { raw_frame_type: Uint(0) },
        }
    }

    /// Converts a frame. Returns `None` for a frame that the QMux wire does not have.
    pub(in crate::observe::qlog) fn new(frame: &proto::Frame) -> Option<Self> {
        let stream = |id: &proto::StreamId| Uint(id.into_inner());
        let number = |number: &proto::VarInt| Uint(number.into_inner());
        Some(match frame {
            proto::Frame::Padding(count) => Self::Padding { payload_length: *count },
            proto::Frame::TransportParameters(_) => Self::QxTransportParameters,
            proto::Frame::Ping(sequence) => {
                Self::QxPing { sequence_number: number(sequence), response: false }
            }
            proto::Frame::Pong(sequence) => {
                Self::QxPing { sequence_number: number(sequence), response: true }
            }
            proto::Frame::Stream { id, offset, data, fin } => Self::Stream {
                stream_id: stream(id),
                offset: Uint((*offset)?),
                length: data.len(),
                fin: *fin,
            },
            proto::Frame::ResetStream { id, code, final_size, reliable_size } => {
                let (stream_id, error_code) = (stream(id), number(code));
                let final_size = Uint((*final_size)?);
                match *reliable_size {
                    0 => Self::ResetStream { stream_id, error_code, final_size },
                    size => {
                        let reliable_size = Uint(size);
                        Self::ResetStreamAt { stream_id, error_code, final_size, reliable_size }
                    }
                }
            }
            proto::Frame::StopSending { id, code } => {
                Self::StopSending { stream_id: stream(id), error_code: number(code) }
            }
            proto::Frame::MaxData(maximum) => Self::MaxData { maximum: Uint(*maximum) },
            proto::Frame::MaxStreamData { id, credit: proto::Credit::Total(maximum) } => {
                Self::MaxStreamData { stream_id: stream(id), maximum: Uint(*maximum) }
            }
            proto::Frame::MaxStreams { dir, count } => {
                Self::MaxStreams { stream_type: (*dir).into(), maximum: Uint(*count) }
            }
            proto::Frame::DataBlocked(limit) => Self::DataBlocked { limit: Uint(*limit) },
            proto::Frame::StreamDataBlocked { id, limit } => {
                Self::StreamDataBlocked { stream_id: stream(id), limit: Uint(*limit) }
            }
            proto::Frame::StreamsBlocked { dir, limit } => {
                Self::StreamsBlocked { stream_type: (*dir).into(), limit: Uint(*limit) }
            }
            proto::Frame::Datagram(data) => Self::Datagram { length: data.len() },
            proto::Frame::GoingAway => Self::WsmuxGoingAway,
            proto::Frame::ConnectionClose(close) => Self::close(close)?,
            _ => return None,
        })
    }

    fn close(close: &proto::Close) -> Option<Self> {
        Some(match close {
            proto::Close::Transport { code, frame, reason } => Self::ConnectionClose {
                error_space: ErrorSpace::Transport,
                error_code: (*code).into(),
                error_code_value: Uint(code.into_inner()),
                reason: self::reason(reason),
                trigger_frame_type: (frame.into_inner() != 0).then(|| Uint(frame.into_inner())),
            },
            proto::Close::Application { code, reason } => Self::ConnectionClose {
                error_space: ErrorSpace::Application,
                error_code: ErrorCode::application(*code),
                error_code_value: Uint(code.into_inner()),
                reason: self::reason(reason),
                trigger_frame_type: None,
            },
            _ => return None,
        })
    }
}

/// Converts the reason of a close to text, and cuts it to [`MAX_REASON`] bytes. A reason is UTF-8
/// by convention.
pub(in crate::observe::qlog) fn reason(bytes: &[u8]) -> String {
    // A few more bytes than fit are converted, so that the last character that fits is complete.
    let bytes = &bytes[..bytes.len().min(MAX_REASON + 3)];
    let mut text = String::from_utf8_lossy(bytes).into_owned();
    text.truncate(text.floor_char_boundary(MAX_REASON));
    text
}
