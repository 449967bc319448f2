//! qlog 0.3 as JSON: of draft-ietf-quic-qlog-main-schema-05 and draft-ietf-quic-qlog-quic-events-04 what is
//! written here. Fields have the drafts' names.

use std::{borrow::Cow, net::IpAddr};

use serde::{Serialize, Serializer};

use crate::proto::{self, Dir, TransportErrorCode, TransportParameters};

/// A number of 64 bits: as text where a reader that has only doubles would take it for another one
/// (main-schema §6.1.1, I-JSON).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Uint(pub(super) u64);

const MAX_SAFE_INTEGER: u64 = (1 << 53) - 1;

impl Serialize for Uint {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            number @ ..=MAX_SAFE_INTEGER => serializer.serialize_u64(number),
            number => serializer.collect_str(&number),
        }
    }
}

/// The first record.
#[derive(Debug, Serialize)]
pub(super) struct Header<'a> {
    // In the first place, for readers that look at the first bytes alone.
    pub(super) qlog_version: &'static str,
    pub(super) qlog_format: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) title: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) description: Option<&'a str>,
    pub(super) trace: Trace<'a>,
}

#[derive(Debug, Serialize)]
pub(super) struct Trace<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) title: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) description: Option<&'a str>,
    pub(super) common_fields: CommonFields,
    pub(super) vantage_point: VantagePoint,
}

#[derive(Debug, Serialize)]
pub(super) struct CommonFields {
    pub(super) protocol_type: [&'static str; 1],
    pub(super) group_id: String,
    pub(super) time_format: &'static str,
    /// Milliseconds since 1970.
    pub(super) reference_time: f64,
}

#[derive(Debug, Serialize)]
pub(super) struct VantagePoint {
    pub(super) name: &'static str,
    #[serde(rename = "type")]
    pub(super) kind: &'static str,
}

/// Any other record.
#[derive(Debug, Serialize)]
pub(super) struct Event<D> {
    /// Milliseconds since the connection began.
    pub(super) time: f64,
    pub(super) name: &'static str,
    pub(super) data: D,
}

/// `connectivity:connection_started`.
#[derive(Debug, Serialize)]
pub(super) struct ConnectionStarted {
    pub(super) ip_version: &'static str,
    pub(super) src_ip: IpAddr,
    pub(super) dst_ip: IpAddr,
    pub(super) protocol: &'static str,
    pub(super) src_port: u16,
    pub(super) dst_port: u16,
}

/// `connectivity:connection_closed`.
#[derive(Debug, Default, Serialize)]
pub(super) struct ConnectionClosed {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) owner: Option<Owner>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) connection_code: Option<ErrorCode>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) application_code: Option<ErrorCode>,
    pub(super) reason: String,
    pub(super) trigger: &'static str,
}

#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Owner {
    Local,
    Remote,
}

/// An error's name in the schema, or its number.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub(super) enum ErrorCode {
    Name(String),
    Number(Uint),
}

impl ErrorCode {
    pub(super) fn application(code: proto::VarInt) -> Self {
        Self::Number(Uint(code.into_inner()))
    }
}

impl From<TransportErrorCode> for ErrorCode {
    fn from(code: TransportErrorCode) -> Self {
        match code.name() {
            // The schema has not heard of wsmux's own.
            Some(name) if code != TransportErrorCode::EXCESSIVE_LOAD => {
                Self::Name(name.to_ascii_lowercase())
            }
            _ => Self::Number(Uint(code.into_inner())),
        }
    }
}

/// `transport:parameters_set`.
#[derive(Debug, Serialize)]
pub(super) struct ParametersSet {
    pub(super) owner: Owner,
    /// Milliseconds.
    max_idle_timeout: Uint,
    initial_max_data: Uint,
    initial_max_stream_data_bidi_local: Uint,
    initial_max_stream_data_bidi_remote: Uint,
    initial_max_stream_data_uni: Uint,
    initial_max_streams_bidi: Uint,
    initial_max_streams_uni: Uint,
    // Those that follow are not in 0.3.
    max_datagram_frame_size: Uint,
    max_record_size: Uint,
    reset_stream_at: bool,
}

impl ParametersSet {
    pub(super) fn new(owner: Owner, parameters: &TransportParameters) -> Self {
        let idle = u64::try_from(parameters.max_idle_timeout.as_millis()).unwrap_or(u64::MAX);
        Self {
            owner,
            max_idle_timeout: Uint(idle),
            initial_max_data: Uint(parameters.initial_max_data),
            initial_max_stream_data_bidi_local: Uint(parameters.initial_max_stream_data_bidi_local),
            initial_max_stream_data_bidi_remote: Uint(
                parameters.initial_max_stream_data_bidi_remote,
            ),
            initial_max_stream_data_uni: Uint(parameters.initial_max_stream_data_uni),
            initial_max_streams_bidi: Uint(parameters.initial_max_streams_bidi),
            initial_max_streams_uni: Uint(parameters.initial_max_streams_uni),
            max_datagram_frame_size: Uint(parameters.max_datagram_frame_size),
            max_record_size: Uint(parameters.max_record_size),
            reset_stream_at: parameters.reset_stream_at,
        }
    }
}

/// `transport:packet_sent` and `transport:packet_received`.
#[derive(Debug, Serialize)]
pub(super) struct Packet {
    pub(super) header: PacketHeader,
    pub(super) frames: Vec<SizedFrame>,
    pub(super) raw: RawInfo,
}

#[derive(Debug, Serialize)]
pub(super) struct PacketHeader {
    pub(super) packet_type: &'static str,
    pub(super) packet_number: u64,
}

#[derive(Debug, Serialize)]
pub(super) struct RawInfo {
    pub(super) length: usize,
}

/// `recovery:metrics_updated`.
#[derive(Debug, Serialize)]
pub(super) struct MetricsUpdated {
    /// Milliseconds.
    pub(super) smoothed_rtt: f64,
}

/// `generic:warning`.
#[derive(Debug, Serialize)]
pub(super) struct Warning<'a> {
    pub(super) message: &'a str,
}

/// A frame, and how many bytes it had. The schema dropped that field after draft-02; qvis still draws by it.
#[derive(Debug, Serialize)]
pub(super) struct SizedFrame {
    #[serde(flatten)]
    pub(super) frame: Frame,
    pub(super) frame_size: usize,
    /// How many equal ones this is. The schema folds PADDING alone, into its length; it lets fields be added.
    #[serde(skip_serializing_if = "is_one")]
    pub(super) count: u64,
}

impl SizedFrame {
    /// An equal one follows.
    pub(super) fn add(&mut self, other: &Self) {
        self.frame_size += other.frame_size;
        self.count += other.count;
    }

    /// Another one follows, of this type, and there is no entry left for it.
    pub(super) fn add_other(&mut self, other: &Self, kind: proto::VarInt) {
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
pub(super) enum StreamType {
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
pub(super) enum ErrorSpace {
    Transport,
    Application,
}

/// A frame of QUIC's, or of QMux's in the place where the schema lets others extend it.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "frame_type", rename_all = "snake_case")]
pub(super) enum Frame {
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
    /// RFC 9221's, which 0.3 has not.
    Datagram {
        length: usize,
    },
    /// Several, beginning with one of this type.
    Unknown {
        raw_frame_type: Uint,
    },
    QxTransportParameters,
    QxPing {
        sequence_number: Uint,
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        response: bool,
    },
}

impl Frame {
    /// `None` for what only another wire than QMux can say.
    pub(super) fn new(frame: &proto::Frame) -> Option<Self> {
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
            proto::Frame::ConnectionClose(close) => Self::close(close),
            proto::Frame::FinReceived { .. }
            | proto::Frame::MaxStreamData { credit: proto::Credit::More(_), .. } => return None,
        })
    }

    fn close(close: &proto::Close) -> Self {
        match close {
            proto::Close::Transport { code, frame, reason } => Self::ConnectionClose {
                error_space: ErrorSpace::Transport,
                error_code: (*code).into(),
                error_code_value: Uint(code.into_inner()),
                reason: text(reason).into_owned(),
                trigger_frame_type: (frame.into_inner() != 0).then(|| Uint(frame.into_inner())),
            },
            proto::Close::Application { code, reason } => Self::ConnectionClose {
                error_space: ErrorSpace::Application,
                error_code: ErrorCode::application(*code),
                error_code_value: Uint(code.into_inner()),
                reason: text(reason).into_owned(),
                trigger_frame_type: None,
            },
        }
    }
}

/// Words of the peer's, UTF-8 by custom.
pub(super) fn text(bytes: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}
