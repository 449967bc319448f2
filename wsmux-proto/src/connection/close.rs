//! The end of a connection, and whether it has come.

use bytes::Bytes;

use super::{
    Connection,
    close_frames::CloseFrames,
    state::{Closing, End, State},
};
use crate::{ConnectionError, DriverLost, Event, Time, VarInt};

impl Connection {
    pub(super) fn is_open(&self) -> bool {
        self.state.end().is_none()
    }

    /// Ends the connection for `error`, if it has not ended. What is sent follows from the error.
    pub(super) fn fail(&mut self, now: Time, error: ConnectionError) {
        if self.is_open() {
            let frames = CloseFrames::of(&error);
            self.end(now, error, frames);
        }
    }

    /// Ends the connection, if it has not ended, and sends these frames; without any, the socket is
    /// not used any more.
    pub(super) fn end(&mut self, now: Time, error: ConnectionError, frames: Option<CloseFrames>) {
        // C-51
        if !self.is_open() {
            return;
        }
        // C-52
        self.state = State::Ended(End {
            error,
            deadline: now.checked_add(self.config.close_timeout),
            was_established: self.is_established(),
            step: frames.map_or(Closing::Closed, Closing::Frame),
        });
        self.blocked_by_socket.stop(now);
        self.streams.now = now;
        self.streams.on_connection_end();
        self.events.push(Event::Closed);
    }

    /// Ends the connection now, with the application's code and reason (RFC 9000 §10.2). What has
    /// not been sent is lost; what has come stays readable.
    pub fn close(&mut self, now: Time, code: VarInt, reason: Bytes) {
        let frames = CloseFrames::application(code, reason);
        // C-48 (RFC 9000 §10.2)
        self.end(now, ConnectionError::LocallyClosed, Some(frames));
    }

    /// Ends the connection without a word, if it has not ended: its driver is gone.
    pub fn abandon(&mut self, now: Time, lost: DriverLost) {
        self.fail(now, ConnectionError::DriverLost(lost));
        self.state.close();
    }

    /// Ends the connection once its streams have ended, by then with code 0. Until then neither end
    /// opens streams: here [`open`](Self::open) fails, and those of the peer that come all the same
    /// are refused with code 0. Streams that came before can be accepted, and data flows as before.
    ///
    /// Past `deadline` the connection is closed whatever its streams do.
    pub fn drain(&mut self, now: Time, deadline: Option<Time>) {
        match &mut self.state {
            State::Handshake => self.close(now, VarInt::default(), Bytes::new()),
            State::Established { drain } => {
                let drain = drain.get_or_insert_default();
                drain.deadline = [drain.deadline, deadline].into_iter().flatten().min();
                self.streams.drain();
            }
            State::Ended(_) => {}
        }
    }

    /// Whether [`drain`](Self::drain) waits for the streams: this end opens none any more.
    pub fn is_draining(&self) -> bool {
        self.state.drain().is_some()
    }

    /// Whether a shutdown has nothing left to wait for.
    pub(super) fn is_drained(&self) -> bool {
        self.is_draining() && self.streams.is_drained() && !self.datagrams.has_something_to_send()
    }

    /// Why the connection has ended; `None` while it has not.
    pub fn close_reason(&self) -> Option<&ConnectionError> {
        self.state.error()
    }

    /// When a close stops waiting for the peer; `None` while there is none.
    pub fn close_deadline(&self) -> Option<Time> {
        self.state.end()?.deadline
    }

    /// Whether all has been said on both sides, or the wait for the peer is over: the socket can
    /// go.
    pub fn is_closed(&self) -> bool {
        matches!(self.state, State::Ended(End { step: Closing::Closed, .. }))
    }

    /// Whether the peer's transport parameters have come, though the connection may have ended
    /// since. On a wire that has none, always.
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
