//! The end of a connection, and whether it has come.

use bytes::Bytes;

use super::{
    Connection,
    close_frames::CloseFrames,
    state::{Closing, State},
};
use crate::{ConnectionError, DriverLost, Event, Time, VarInt};

impl Connection {
    pub(super) fn is_open(&self) -> bool {
        matches!(self.state, State::Handshake | State::Established)
    }

    /// The connection ends for `error`; the frames that the peer needs to know are sent.
    pub(super) fn fail(&mut self, error: ConnectionError) {
        if self.end.is_none() {
            self.finish(error);
        }
    }

    pub(super) fn finish(&mut self, error: ConnectionError) {
        let frames = CloseFrames::of(&error);
        self.finish_with(error, frames);
    }

    pub(super) fn finish_with(&mut self, error: ConnectionError, frames: Option<CloseFrames>) {
        // C-51
        if self.end.is_some() {
            return;
        }
        self.state = match frames {
            Some(frames) => State::Closing(Closing::Frame(frames)),
            None => State::Closed,
        };
        self.close_deadline = self.now.checked_add(self.config.close_timeout);
        self.blocked_by_socket.stop(self.now);
        // C-52
        self.end = Some(error);
        self.streams.on_connection_end(self.now);
        self.events.push(Event::Closed);
    }

    /// Ends the connection now, with the application's code and reason (RFC 9000 §10.2). What has
    /// not been sent is lost; what has come stays readable.
    pub fn close(&mut self, now: Time, code: VarInt, reason: Bytes) {
        self.now = now;
        let frames = CloseFrames::application(code, reason);
        // C-48 (RFC 9000 §10.2)
        self.finish_with(ConnectionError::LocallyClosed, Some(frames));
    }

    /// Ends the connection without a word, if it has not ended: its driver is gone.
    pub fn abandon(&mut self, now: Time, lost: DriverLost) {
        self.now = now;
        self.finish(ConnectionError::DriverLost(lost));
        self.state = State::Closed;
    }

    /// Ends the connection once its streams have ended, by then with code 0. Until then neither end
    /// opens streams: here [`open`](Self::open) fails, and those of the peer that come all the same
    /// are refused with code 0. Streams that came before can be accepted, and data flows as before.
    ///
    /// Past `deadline` the connection is closed whatever its streams do.
    pub fn shutdown(&mut self, now: Time, deadline: Option<Time>) {
        self.now = now;
        match self.state {
            State::Handshake => self.close(now, VarInt::default(), Bytes::new()),
            State::Established => {
                self.streams.drain();
                let earlier = [self.drain_deadline, deadline].into_iter().flatten().min();
                self.drain_deadline = earlier;
            }
            State::Closing(_) | State::Closed => {}
        }
    }

    /// Whether [`shutdown`](Self::shutdown) waits for the streams: this end opens none any more.
    pub fn is_draining(&self) -> bool {
        self.end.is_none() && self.streams.is_draining()
    }

    /// Whether a shutdown has nothing left to wait for.
    pub(super) fn is_drained(&self) -> bool {
        self.streams.is_drained() && !self.datagrams.has_something_to_send()
    }

    /// Why the connection has ended; `None` while it has not.
    pub fn close_reason(&self) -> Option<&ConnectionError> {
        self.end.as_ref()
    }

    /// When a close stops waiting for the peer; `None` while there is none.
    pub fn close_deadline(&self) -> Option<Time> {
        self.close_deadline
    }

    /// Whether all has been said on both sides, or the wait for the peer is over: the socket can
    /// go.
    pub fn is_closed(&self) -> bool {
        matches!(self.state, State::Closed)
    }

    /// Whether the peer's transport parameters have come, though the connection may have ended
    /// since. On a wire that has none, always.
    pub fn parameters_received(&self) -> bool {
        self.parameters_received
    }

    /// Whether the peer's limits are known and the connection has not ended.
    pub fn is_established(&self) -> bool {
        matches!(self.state, State::Established)
    }
}
