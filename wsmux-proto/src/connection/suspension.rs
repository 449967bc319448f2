//! The engine's methods that let a [`Session`](crate::Session) continue a connection on a new
//! socket. The session decides when the connection loses its socket or gets a new one, and then
//! calls these methods.

use std::{fmt, time::Duration};

use bytes::Bytes;

use super::{
    Connection, close_frames,
    state::{Closing, End, State},
};
use crate::{
    Config, ConnectionError, QMuxVersion, SocketCapabilities, Time, Timeout, TransportError, VarInt,
};

/// Encoded transport parameters that the engine does not know. These parameters may contain the
/// secret of a session, so `Debug` does not show them.
#[derive(Default)]
pub(super) struct PrivateParameters(Bytes);

impl PrivateParameters {
    /// Removes the parameters, and returns them.
    pub(super) fn take(&mut self) -> Bytes {
        std::mem::take(&mut self.0)
    }
}

impl fmt::Debug for PrivateParameters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrivateParameters { .. }")
    }
}

impl Connection {
    pub(crate) fn config(&self) -> &Config {
        &self.config
    }

    pub(crate) fn version(&self) -> QMuxVersion {
        self.version
    }

    /// Sets encoded transport parameters, which are sent after the engine's own parameters.
    pub(crate) fn set_private_parameters(&mut self, parameters: Bytes) {
        self.private_parameters = PrivateParameters(parameters);
    }

    /// Whether this end's transport parameters have been sent.
    pub(crate) fn parameters_sent(&self) -> bool {
        self.parameters_sent
    }

    /// Records that a session can continue the connection on a new socket. After a loss, the
    /// session waits for a new socket for the time `timeout`. From now on, each message of the
    /// engine stays at least `reserved` bytes below the limits of the peer and of the socket. Call
    /// this once.
    pub(crate) fn set_resumable(&mut self, timeout: Duration, reserved: usize) {
        self.is_resumable = true;
        self.timers.set_resume_timeout(timeout);
        self.max_message = self.max_message.saturating_sub(reserved);
        self.reserved = reserved;
    }

    /// Ends the connection because the peer has violated the protocol.
    pub(crate) fn fail_by(&mut self, now: Time, error: TransportError) {
        self.fail(now, error.into());
    }

    /// Ends the connection because a timeout has expired.
    pub(crate) fn fail_by_timeout(&mut self, now: Time, timeout: Timeout) {
        self.fail(now, ConnectionError::TimedOut(timeout));
    }

    /// Ends the connection if it has not ended yet. Also ends the closing handshake, which cannot
    /// go on without a socket.
    pub(crate) fn end_without_socket(&mut self, now: Time, error: ConnectionError) {
        self.fail(now, error);
        self.state.close();
    }

    /// Whether a ping is unanswered or has yet to be sent.
    pub(crate) fn awaits_pong(&self) -> bool {
        self.timers.awaits_pong()
    }

    /// Returns when the connection will end if this timeout suspends it now. Returns `None` if the
    /// timeout does not measure the peer's silence, and for a time that [`Time`] cannot express.
    pub(crate) fn silence_deadline(&self, timeout: Timeout) -> Option<Time> {
        self.timers.silence_deadline(timeout)
    }

    /// Returns the error for a WebSocket Close that no CONNECTION_CLOSE preceded.
    pub(crate) fn error_of_websocket(&self, code: Option<u16>, reason: &str) -> ConnectionError {
        close_frames::error_of_websocket(code, reason, self.caps.close.is_frame())
    }

    /// Whether the application of this end, or a drain of this end, has closed the connection.
    pub(crate) fn is_closed_locally(&self) -> bool {
        matches!(self.close_reason(), Some(ConnectionError::LocallyClosed))
    }

    /// Whether CONNECTION_CLOSE has yet to be sent.
    pub(crate) fn has_close_to_send(&self) -> bool {
        matches!(self.state.end(), Some(End { step: Closing::Frame(_), .. }))
    }

    /// If this end has closed the connection, begins the closing handshake again on a new socket.
    /// The handshake may last until `deadline`.
    pub(crate) fn close_again(&mut self, deadline: Option<Time>) {
        if let State::Ended(end) = &mut self.state
            && let Some(frames) = &end.again
        {
            end.step = Closing::Frame(frames.as_ref().clone());
            end.deadline = deadline;
        }
    }

    /// Whether the connection drains and has nothing left to send or to wait for. Call this only
    /// while the connection has no socket. If GOING_AWAY has been sent, the connection waits for
    /// the peer's GOING_AWAY. If GOING_AWAY has not been sent, the connection does not wait for a
    /// socket that could carry it.
    pub(crate) fn is_drained_without_socket(&self) -> bool {
        self.is_draining()
            && self.streams.have_ended()
            && !self.datagrams.has_something_to_send()
            && self.going_away.suspended_deadline().is_none()
    }

    /// Closes the connection, because its drain is complete. Call this only when the peer has
    /// acknowledged everything.
    pub(crate) fn close_drained(&mut self, now: Time) {
        self.close(now, VarInt::default(), Bytes::new());
    }

    /// Records that a message for the session, and not for the engine, has arrived.
    pub(crate) fn on_foreign_message(&mut self, now: Time, len: usize) {
        self.on_message(now, len);
    }

    /// Records that the session has sent a message of its own, or has sent a message of the engine
    /// again. This call does not end a write stall of the engine. If the engine can send as well,
    /// also call [`on_socket_room`](Self::on_socket_room).
    pub(crate) fn on_foreign_message_sent(&mut self, now: Time, len: usize) {
        self.timers.on_sent(now);
        self.counters.messages_sent += 1;
        self.counters.bytes_sent += len as u64;
    }

    /// Records that the socket has room, which ends a write stall.
    pub(crate) fn on_socket_room(&mut self, now: Time) {
        self.blocked_by_socket.stop(now);
        self.write_stall.stop();
        self.timers.on_socket_room(now);
    }

    /// Records that the socket is full. `wants` says whether the engine or the session has
    /// something to send.
    pub(crate) fn on_socket_full(&mut self, now: Time, wants: bool) {
        self.timers.on_socket_full();
        if wants {
            self.blocked_by_socket.start(now);
            self.write_stall.start(now);
        }
    }

    /// Whether the driver has to report a full socket once there is something to send.
    pub(crate) fn may_report_socket_full(&self) -> bool {
        self.write_stall.is_stopped() && self.is_open()
    }

    /// Stops the measurements that need a socket.
    pub(crate) fn suspend(&mut self, now: Time) {
        self.blocked_by_socket.stop(now);
        self.write_stall.stop();
    }

    /// Restarts the timers for a new socket.
    pub(crate) fn resume(&mut self, now: Time, socket: SocketCapabilities) {
        self.set_socket_capabilities(socket);
        self.timers.on_new_socket(now);
        self.going_away.on_new_socket(now, &self.streams);
    }

    /// Returns the engine's next deadline while the connection has no socket. Only a
    /// [`drain`](Self::drain) sets such deadlines.
    pub(crate) fn poll_suspended_timeout(&self) -> Option<Time> {
        let notice = self.going_away.suspended_deadline().filter(|_| self.is_draining());
        self.drain_deadline().into_iter().chain(notice).min()
    }

    /// Handles the deadline that [`poll_suspended_timeout`](Self::poll_suspended_timeout) returns,
    /// if it has passed.
    pub(crate) fn handle_suspended_timeout(&mut self, now: Time) {
        self.going_away.on_suspended_timeout(now);
        if self.drain_deadline().is_some_and(|deadline| deadline <= now) {
            self.end_drain(now);
        }
    }
}
