//! What the WebSocket below a connection may lack.

/// What a WebSocket does for its owner besides carrying messages. By default everything; that of a web page neither
/// of these.
///
/// ```
/// use wsmux_proto::SocketCapabilities;
///
/// const OF_A_PAGE: SocketCapabilities =
///     SocketCapabilities::new().pings(false).all_close_codes(false);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct SocketCapabilities {
    /// It sends pings, and tells of the peer's pings and pongs.
    pub pings: bool,
    /// It sends a Close with any code; else with 1000 and with 3000 to 4999 alone.
    pub all_close_codes: bool,
}

impl SocketCapabilities {
    /// Everything; what is missing is then said.
    #[must_use]
    pub const fn new() -> Self {
        Self { pings: true, all_close_codes: true }
    }

    /// Sets [`pings`](Self#structfield.pings).
    #[must_use]
    pub const fn pings(mut self, pings: bool) -> Self {
        self.pings = pings;
        self
    }

    /// Sets [`all_close_codes`](Self#structfield.all_close_codes).
    #[must_use]
    pub const fn all_close_codes(mut self, all: bool) -> Self {
        self.all_close_codes = all;
        self
    }
}

impl Default for SocketCapabilities {
    fn default() -> Self {
        Self::new()
    }
}
