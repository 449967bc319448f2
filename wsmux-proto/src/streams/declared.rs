//! What each end has declared about new streams in its transport parameters.
//!
//! Invariant: until the peer's parameters have been received, every limit in `peer` is zero.

use crate::{Capabilities, Config, Dir, Side, StreamId, transport_parameters::TransportParameters};

#[derive(Debug)]
pub(super) struct Declared {
    side: Side,
    /// Whether a stream begins with a grant. If so, the first credit comes in that grant, and the
    /// peer's parameters give no credit.
    opens_with_grant: bool,
    local: TransportParameters,
    peer: TransportParameters,
}

impl Declared {
    pub(super) fn new(config: &Config, side: Side, caps: &Capabilities) -> Self {
        Self {
            side,
            opens_with_grant: caps.opens_with_grant(),
            local: config.parameters(),
            peer: TransportParameters::default(),
        }
    }

    pub(super) fn set_peer(&mut self, peer: TransportParameters) {
        self.peer = peer;
    }

    /// Whether the peer supports RESET_STREAM_AT.
    pub(super) fn peer_takes_reset_at(&self) -> bool {
        self.peer.reset_stream_at
    }

    /// Returns the credit that the peer gives to a new stream.
    pub(super) fn send_limit(&self, id: StreamId) -> u64 {
        match (id.dir(), id.initiator() == self.side) {
            _ if self.opens_with_grant => 0,
            (Dir::Uni, _) => self.peer.initial_max_stream_data_uni,
            (Dir::Bi, true) => self.peer.initial_max_stream_data_bidi_remote,
            (Dir::Bi, false) => self.peer.initial_max_stream_data_bidi_local,
        }
    }

    /// Returns the credit that this end gives to a new stream.
    pub(super) fn receive_limit(&self, id: StreamId) -> u64 {
        match (id.dir(), id.initiator() == self.side) {
            (Dir::Uni, _) => self.local.initial_max_stream_data_uni,
            (Dir::Bi, true) => self.local.initial_max_stream_data_bidi_local,
            (Dir::Bi, false) => self.local.initial_max_stream_data_bidi_remote,
        }
    }

    /// Returns the window that the peer declares for a stream. If the peer also declares credit of
    /// the connection, returns the smaller of the window and this credit. Returns 0 if the wire
    /// opens a stream with a grant, because then the peer declares no window.
    pub(super) fn peer_window(&self, id: StreamId) -> u64 {
        match (self.send_limit(id), self.peer.initial_max_data) {
            (stream, 0) => stream,
            (stream, all) => stream.min(all),
        }
    }
}
