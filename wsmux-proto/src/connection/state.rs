//! The states in the life of a connection.
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
//! In the state `Ended`, some events skip steps:
//!
//! - If the peer's WebSocket Close arrives in the step `Frame`, the step `WebSocket` follows
//!   without a frame, because this end answers with its own Close.
//! - The deadline, the end of the socket and the end of the driver lead from any step to `Closed`.

use super::close_frames::CloseFrames;
use crate::{ConnectionError, Time, frame::Close};

/// The state of a connection.
#[derive(Debug)]
pub(super) enum State {
    /// The peer's transport parameters have not arrived. This end sends only its own parameters.
    Handshake,
    /// The peer's limits are known, and data flows.
    Established {
        /// Set if the connection has to close after its last stream. In that case this end opens no
        /// more streams. It refuses the streams that the peer opens, either at once or after a
        /// notice (`going_away`). This is not the draining state of RFC 9000 §10.2, which follows
        /// the end of a connection.
        drain: Option<Drain>,
    },
    /// The connection has ended. The closing handshake may still be going on. The end is on the
    /// heap, because most connections spend most of their lives without it.
    Ended(Box<End>),
}

impl State {
    /// Returns the connection's end, if it has ended.
    pub(super) fn end(&self) -> Option<&End> {
        match self {
            Self::Handshake | Self::Established { .. } => None,
            Self::Ended(end) => Some(end),
        }
    }

    /// Returns why the connection has ended, if it has.
    pub(super) fn error(&self) -> Option<&ConnectionError> {
        self.end().map(|end| &end.error)
    }

    /// Returns the state of draining, if the connection is draining.
    pub(super) fn drain(&self) -> Option<&Drain> {
        match self {
            Self::Established { drain } => drain.as_ref(),
            Self::Handshake | Self::Ended(_) => None,
        }
    }

    /// Skips the rest of the closing handshake. Has no effect if the connection has not ended.
    pub(super) fn close(&mut self) {
        if let Self::Ended(end) = self {
            end.step = Closing::Closed;
        }
    }
}

/// The wait for the last streams of a connection that drains.
#[derive(Debug, Default)]
pub(super) struct Drain {
    /// The time at which the connection closes, even if streams are still open then.
    pub(super) deadline: Option<Time>,
    /// Whether everything that was sent has been flushed (C-49).
    pub(super) flushed: bool,
}

/// Why a connection has ended, and how far its closing handshake has come.
#[derive(Debug)]
pub(super) struct End {
    /// Why the connection has ended.
    pub(super) error: ConnectionError,
    /// When the closing handshake stops waiting for the peer. `None` if [`Time`] cannot express
    /// that time (C-81).
    pub(super) deadline: Option<Time>,
    /// Whether the connection was established before it ended.
    pub(super) was_established: bool,
    /// A copy of the close frames, for a new socket whose only purpose is to tell the peer that the
    /// connection has ended (R-27). `None` if the connection cannot be resumed, or was not closed
    /// by this end.
    pub(super) again: Option<Box<CloseFrames>>,
    pub(super) step: Closing,
}

impl End {
    /// Moves on from the step `Frame` to the step `WebSocket`. Returns the frame, if there is one.
    /// Does nothing in any other step.
    pub(super) fn take_frame(&mut self) -> Option<Close> {
        let Closing::Frame(frames) = &mut self.step else { return None };
        let (frame, code) = (frames.frame.take(), frames.code);
        let reason = std::mem::take(&mut frames.reason);
        self.step = Closing::WebSocket { code, reason };
        frame
    }
}

/// The next step of the closing handshake.
#[derive(Debug)]
pub(super) enum Closing {
    /// This end has to send CONNECTION_CLOSE, if the wire has that frame.
    Frame(CloseFrames),
    /// This end has to send the WebSocket's Close.
    WebSocket { code: u16, reason: String },
    /// This end waits for the peer's Close, until the deadline. It ignores other messages.
    AwaitPeer,
    /// Nothing is left to do. The socket can be dropped.
    Closed,
}
