//! How a connection ends: by an error, by a close, or by draining.

use bytes::Bytes;

use super::{
    Connection,
    close_frames::CloseFrames,
    state::{Closing, End, State},
};
use crate::{ConnectionError, DriverLost, Event, Time, VarInt};

impl Connection {
    /// Whether the connection is open, which means that it has not ended.
    pub(super) fn is_open(&self) -> bool {
        self.state.end().is_none()
    }

    /// Ends the connection because of `error`, unless the connection has already ended. The error
    /// determines what is sent.
    pub(super) fn fail(&mut self, now: Time, error: ConnectionError) {
        if self.is_open() {
            let frames = CloseFrames::of(&error);
            self.end(now, error, frames);
        }
    }

    /// Ends the connection, unless it has ended. If `frames` is `None`, nothing is sent and the
    /// closing handshake is skipped.
    pub(super) fn end(&mut self, now: Time, error: ConnectionError, frames: Option<CloseFrames>) {
        // C-51
        if !self.is_open() {
            return;
        }
        let is_local = matches!(error, ConnectionError::LocallyClosed);
        // C-52
        self.state = State::Ended(Box::new(End {
            error,
            deadline: now.checked_add(self.config.close_timeout),
            was_established: self.is_established(),
            again: frames
                .as_ref()
                .filter(|_| self.is_resumable && is_local)
                .map(|frames| Box::new(frames.clone())),
            step: frames.map_or(Closing::Closed, Closing::Frame),
        }));
        self.blocked_by_socket.stop(now);
        self.streams.on_connection_end(now);
        self.events.push(Event::Closed);
    }

    /// Closes the connection at once, with the application's code and reason (RFC 9000 §10.2).
    /// Unsent data is lost. Received data can still be read. Has no effect if the connection has
    /// ended.
    pub fn close(&mut self, now: Time, code: VarInt, reason: Bytes) {
        let frames = CloseFrames::application(code, reason);
        // C-48 (RFC 9000 §10.2)
        self.end(now, ConnectionError::LocallyClosed, Some(frames));
    }

    /// Ends the connection without sending anything, because its driver is gone.
    pub fn abandon(&mut self, now: Time, lost: DriverLost) {
        self.fail(now, ConnectionError::DriverLost(lost));
        self.state.close();
    }

    /// Closes the connection with code 0 once all its streams have ended. Until then
    /// [`open`](Self::open) fails. Streams that the peer opened before this call can still be
    /// accepted, and data flows as before.
    ///
    /// If the peer supports GOING_AWAY (SPEC.md §13), this end sends this notice. After the notice,
    /// new streams of the peer are accepted until the peer has answered, or for 5 s at most. From
    /// then on new streams of the peer are refused with code 0. If the peer does not support
    /// GOING_AWAY, its new streams are refused at once. The connection is not closed as long as new
    /// streams are accepted.
    ///
    /// At `deadline` the connection is closed even if streams are still open. If this method is
    /// called several times, the earliest deadline applies. During the handshake there are no
    /// streams, so the connection is closed at once.
    pub fn drain(&mut self, now: Time, deadline: Option<Time>) {
        match &mut self.state {
            State::Handshake => self.close(now, VarInt::default(), Bytes::new()),
            State::Established { drain } => {
                let drain = drain.get_or_insert_default();
                drain.deadline = [drain.deadline, deadline].into_iter().flatten().min();
                self.going_away.drain(&mut self.streams);
            }
            State::Ended(_) => {}
        }
    }

    /// Whether [`drain`](Self::drain) was called and the connection has not ended.
    pub fn is_draining(&self) -> bool {
        self.state.drain().is_some()
    }

    /// Whether the connection is draining and has nothing left to wait for.
    pub(super) fn is_drained(&self) -> bool {
        self.is_draining() && self.streams.is_drained() && !self.datagrams.has_something_to_send()
    }

    /// Returns why the connection has ended; `None` if it has not.
    pub fn close_reason(&self) -> Option<&ConnectionError> {
        self.state.error()
    }

    /// Returns when the closing handshake stops waiting for the peer; `None` if the connection has
    /// not ended, or if [`Time`] cannot express the deadline.
    pub fn close_deadline(&self) -> Option<Time> {
        self.state.end()?.deadline
    }

    /// Whether the closing handshake is over: both ends have closed, the deadline has passed, or
    /// the socket has ended. If it is over, the socket can be dropped.
    pub fn is_closed(&self) -> bool {
        self.state.end().is_some_and(|end| matches!(end.step, Closing::Closed))
    }

    /// Whether the peer's transport parameters have arrived. This stays true after the connection
    /// has ended. On a wire without transport parameters it is always true.
    pub fn parameters_received(&self) -> bool {
        match &self.state {
            State::Handshake => false,
            State::Established { .. } => true,
            State::Ended(end) => end.was_established,
        }
    }

    /// Whether the peer's limits are known and the connection has not ended.
    pub fn is_established(&self) -> bool {
        matches!(self.state, State::Established { .. })
    }
}
