//! The part of qlog 0.3 that is written here, as JSON (draft-ietf-quic-qlog-main-schema-05 and
//! draft-ietf-quic-qlog-quic-events-04). Fields have the drafts' names.

mod frame;

use std::net::IpAddr;

use serde::{Serialize, Serializer};
use wsmux_proto::{self as proto, TransportErrorCode, TransportParameters};

pub(super) use self::frame::{Frame, MAX_REASON, SizedFrame, reason};

/// A 64-bit number. A number that a double cannot represent is written as text, because many
/// readers have only doubles (main-schema §6.1.1, I-JSON).
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

/// The first record of a log.
#[derive(Debug, Serialize)]
pub(super) struct Header<'a> {
    // This field comes first, for readers that look only at the first bytes.
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

/// Any record after the first.
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

/// The codes of transport errors that only wsmux uses.
const OWN_CODES: [TransportErrorCode; 2] =
    [TransportErrorCode::EXCESSIVE_LOAD, TransportErrorCode::SESSION_REFUSED];

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
            // The schema does not know the codes that are wsmux's own.
            Some(name) if !OWN_CODES.contains(&code) => Self::Name(name.to_ascii_lowercase()),
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
    // Version 0.3 of the schema does not have the following fields.
    max_datagram_frame_size: Uint,
    max_record_size: Uint,
    reset_stream_at: bool,
    wsmux_going_away: bool,
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
            wsmux_going_away: parameters.going_away,
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

/// `wsmux:connection_suspended`. The schema has no event for a suspension, but it allows additional
/// events.
#[derive(Debug, Serialize)]
pub(super) struct ConnectionSuspended {}

/// `wsmux:connection_resumed`.
#[derive(Debug, Serialize)]
pub(super) struct ConnectionResumed {
    /// Milliseconds.
    pub(super) gap: f64,
    pub(super) resent_messages: Uint,
    pub(super) resent_bytes: Uint,
}

/// `generic:warning`.
#[derive(Debug, Serialize)]
pub(super) struct Warning<'a> {
    pub(super) message: &'a str,
}
