//! What a connection has done.

/// Counts since the connection began.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConnectionStats {
    /// Messages handed to the socket.
    pub messages_sent: u64,
    /// Their bytes, without the WebSocket's framing.
    pub bytes_sent: u64,
    /// Messages from the socket.
    pub messages_received: u64,
    /// Their bytes, without the WebSocket's framing.
    pub bytes_received: u64,
    /// Streams that exist now: open, or ended and not yet let go of by the application.
    pub live_streams: u64,
    /// Streams of the peer's that were refused at this end's limit, on a wire without stream limits.
    pub streams_refused: u64,
    /// Bytes that wait in send buffers.
    pub send_buffered: u64,
    /// Datagrams that came and were dropped because the application did not read them.
    pub datagrams_dropped_incoming: u64,
    /// Datagrams that were dropped because the socket did not take them.
    pub datagrams_dropped_outgoing: u64,
}
