//! What the WebSocket below a connection may lack.

/// What a WebSocket does for its owner besides carrying messages. By default everything; that of a web page neither
/// of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SocketCapabilities {
    /// It sends pings, and tells of the peer's pings and pongs.
    pub pings: bool,
    /// It sends a Close with any code; else with 1000 and with 3000 to 4999 alone.
    pub all_close_codes: bool,
}

impl Default for SocketCapabilities {
    fn default() -> Self {
        Self { pings: true, all_close_codes: true }
    }
}
