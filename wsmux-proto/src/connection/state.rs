//! Where a connection is in its life.
//!
//! ```text
//!      new, on QMux                                new, on js-ws
//!           |                                            |
//!           v        the peer's parameters               v
//!       Handshake -----------------------------> Established { drain }
//!           |                                            |
//!           |       close(), the peer's close, an error, |
//!           |      a timeout, or all streams have ended  |
//!           |                  after drain()             |
//!           +---------------------+----------------------+
//!                                 v
//!   Ended { step }:   Frame --> WebSocket --> AwaitPeer --> Closed
//! ```
//!
//! Some events skip steps of the end:
//!
//! - The peer's WebSocket Close leads from `Frame` to `WebSocket`, because our Close is the answer.
//! - The deadline, the end of the socket and the end of the driver lead from any step to `Closed`.

use super::close_frames::CloseFrames;
use crate::{ConnectionError, Time, frame::Close};

/// Where a connection is in its life.
#[derive(Debug)]
pub(super) enum State {
    /// The peer's transport parameters have not arrived. Only our own are sent.
    Handshake,
    /// The peer's limits are known, and data flows.
    Established {
        /// Set when the connection is to close after its last stream. Then neither end opens
        /// streams. The draining state of RFC 9000 §10.2 is another one, which follows the end.
        drain: Option<Drain>,
    },
    /// The connection has ended. The closing handshake may still be going on.
    Ended(End),
}

impl State {
    /// The connection's end, if it has ended.
    pub(super) fn end(&self) -> Option<&End> {
        match self {
            Self::Handshake | Self::Established { .. } => None,
            Self::Ended(end) => Some(end),
        }
    }

    /// Why the connection has ended, if it has.
    pub(super) fn error(&self) -> Option<&ConnectionError> {
        self.end().map(|end| &end.error)
    }

    /// The wait for the last streams, if the connection drains.
    pub(super) fn drain(&self) -> Option<&Drain> {
        match self {
            Self::Established { drain } => drain.as_ref(),
            Self::Handshake | Self::Ended(_) => None,
        }
    }

    /// Skips the rest of the closing handshake. Without effect if the connection has not ended.
    pub(super) fn close(&mut self) {
        if let Self::Ended(end) = self {
            end.step = Closing::Closed;
        }
    }
}

/// The wait for the last streams.
#[derive(Debug, Default)]
pub(super) struct Drain {
    /// When to close even if streams are open.
    pub(super) deadline: Option<Time>,
    /// Everything that was sent has been flushed (C-49).
    pub(super) flushed: bool,
}

/// Why a connection has ended, and how far its closing handshake has come.
#[derive(Debug)]
pub(super) struct End {
    /// Why it has ended.
    pub(super) error: ConnectionError,
    /// When the closing handshake stops waiting for the peer; `None` for a time that [`Time`]
    /// cannot express (C-81).
    pub(super) deadline: Option<Time>,
    /// Whether the connection was established before it ended.
    pub(super) was_established: bool,
    pub(super) step: Closing,
}

impl End {
    /// Goes on from `Frame` to `WebSocket`. Returns the frame; `None` in another step, or if there
    /// is no frame.
    pub(super) fn take_frame(&mut self) -> Option<Close> {
        let Closing::Frame(frames) = &mut self.step else { return None };
        let (frame, code) = (frames.frame.take(), frames.code);
        let reason = std::mem::take(&mut frames.reason);
        self.step = Closing::WebSocket { code, reason };
        frame
    }
}

/// What comes next in the closing handshake.
#[derive(Debug)]
pub(super) enum Closing {
    /// To send CONNECTION_CLOSE, if the wire has that frame.
    Frame(CloseFrames),
    /// To send the WebSocket's Close.
    WebSocket { code: u16, reason: String },
    /// To receive the peer's Close, until the deadline. Other messages are ignored.
    AwaitPeer,
    /// Nothing. The socket can be dropped.
    Closed,
}
