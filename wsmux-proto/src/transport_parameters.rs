//! Transport parameters: the limits that each end declares (RFC 9000 §18, draft-ietf-quic-qmux-02).

use std::time::Duration;

use super::wire::MIN_MAX_RECORD_SIZE;

/// The limits that an end declares for its peer. The fields whose names begin with `initial` apply
/// until a frame of the declaring end raises them. To create a value, start from the [`Default`]
/// and change its fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct TransportParameters {
    /// How long the connection may be silent, in whole milliseconds. Zero means that the connection
    /// may be silent for ever.
    pub max_idle_timeout: Duration,
    /// How many bytes the peer may send on all streams together.
    pub initial_max_data: u64,
    /// How many bytes the peer may send on a bidirectional stream that the declaring end opens.
    pub initial_max_stream_data_bidi_local: u64,
    /// How many bytes the peer may send on a bidirectional stream that the peer opens.
    pub initial_max_stream_data_bidi_remote: u64,
    /// How many bytes the peer may send on a unidirectional stream.
    pub initial_max_stream_data_uni: u64,
    /// How many bidirectional streams the peer may open in all.
    pub initial_max_streams_bidi: u64,
    /// How many unidirectional streams the peer may open in all.
    pub initial_max_streams_uni: u64,
    /// The size of the largest DATAGRAM frame, in bytes, including its type and length. 0 means
    /// that the peer may send no datagrams (RFC 9221 §3).
    pub max_datagram_frame_size: u64,
    /// The size of the largest record, in bytes. Each record is one message.
    pub max_record_size: u64,
    /// Whether the end supports RESET_STREAM_AT (draft-ietf-quic-reliable-stream-reset §3).
    pub reset_stream_at: bool,
    /// Whether the end knows the frame GOING_AWAY. This is a parameter of wsmux (SPEC.md §13).
    pub going_away: bool,
}

/// The default value of each parameter, which applies if an end does not send the parameter (RFC
/// 9000 §18.2).
impl Default for TransportParameters {
    fn default() -> Self {
        Self {
            max_idle_timeout: Duration::ZERO,
            initial_max_data: 0,
            initial_max_stream_data_bidi_local: 0,
            initial_max_stream_data_bidi_remote: 0,
            initial_max_stream_data_uni: 0,
            initial_max_streams_bidi: 0,
            initial_max_streams_uni: 0,
            max_datagram_frame_size: 0,
            max_record_size: MIN_MAX_RECORD_SIZE,
            reset_stream_at: false,
            going_away: false,
        }
    }
}
