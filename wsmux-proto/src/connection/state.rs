//! Where a connection is in its life.

use super::close_frames::CloseFrames;

/// Where a connection is in its life.
#[derive(Debug)]
pub(super) enum State {
    /// The peer's parameters are awaited; nothing that depends on them is sent.
    Handshake,
    /// Streams flow.
    Established,
    /// It has ended, and the frames that say so are being sent.
    Closing(Closing),
    /// Nothing more is sent or awaited; the socket can go.
    Closed,
}

/// Which of the frames that end the connection comes next.
#[derive(Debug)]
pub(super) enum Closing {
    /// The frame.
    Frame(CloseFrames),
    /// The WebSocket's Close.
    WebSocket { code: u16, reason: String },
    /// The peer's Close, or until the deadline: what comes is not looked at.
    AwaitPeer,
}
