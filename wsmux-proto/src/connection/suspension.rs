//! What a [`Session`](crate::Session) needs of the engine so that a connection can outlive its
//! socket. The engine itself does not know that its socket was replaced.

use std::fmt;

use bytes::Bytes;

use super::Connection;
use crate::{
    Config, ConnectionError, QMuxVersion, SocketCapabilities, Time, Timeout, TransportError,
};

/// Encoded transport parameters that the engine does not know. They may contain the secret of a
/// session, so `Debug` shows nothing of them.
#[derive(Default)]
pub(super) struct PrivateParameters(Bytes);

impl PrivateParameters {
    /// Returns the parameters, and forgets them.
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

    /// Sets the transport parameters that are sent after the engine's own. They are encoded.
    pub(crate) fn set_private_parameters(&mut self, parameters: Bytes) {
        self.private_parameters = PrivateParameters(parameters);
    }

    /// Whether this end's transport parameters have been sent.
    pub(crate) fn parameters_sent(&self) -> bool {
        self.parameters_sent
    }

    /// Makes every message that the engine writes this much shorter than the peer and the socket
    /// allow. Call this once.
    pub(crate) fn reserve_in_messages(&mut self, bytes: usize) {
        self.max_message = self.max_message.saturating_sub(bytes);
        self.reserved = bytes;
    }

    /// Ends the connection because the peer has violated the protocol.
    pub(crate) fn fail_by(&mut self, now: Time, error: TransportError) {
        self.fail(now, error.into());
    }

    /// Ends the connection because the peer or the socket has accepted nothing for the write-stall
    /// timeout.
    pub(crate) fn fail_by_stall(&mut self, now: Time) {
        self.fail(now, ConnectionError::TimedOut(Timeout::WriteStall));
    }

    /// Records that a message arrived that was not for the engine.
    pub(crate) fn on_foreign_message(&mut self, now: Time, len: usize) {
        self.on_message(now, len);
    }

    /// Records that a message was sent that the engine did not write, or not for the first time.
    /// This does not end a stall of the engine: call [`on_socket_room`](Self::on_socket_room) if
    /// the message shows that the engine can send as well.
    pub(crate) fn on_foreign_message_sent(&mut self, now: Time, len: usize) {
        self.timers.on_sent(now);
        self.counters.messages_sent += 1;
        self.counters.bytes_sent += len as u64;
    }

    /// Records that the socket has room, which ends a stall.
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

    /// Whether a full socket has to be reported if there is something to send.
    pub(crate) fn may_report_socket_full(&self) -> bool {
        self.write_stall.is_stopped() && self.is_open()
    }

    /// Stops the measurements that make no sense without a socket.
    pub(crate) fn suspend(&mut self, now: Time) {
        self.blocked_by_socket.stop(now);
        self.write_stall.stop();
    }

    /// Restarts the timers for a new socket.
    pub(crate) fn resume(&mut self, now: Time, socket: SocketCapabilities) {
        self.set_socket_capabilities(socket);
        self.timers.on_new_socket(now);
    }

    /// Returns the only deadline of the engine that applies without a socket: the one of
    /// [`drain`](Self::drain).
    pub(crate) fn poll_suspended_timeout(&self) -> Option<Time> {
        self.drain_deadline()
    }

    /// Handles the deadline of [`poll_suspended_timeout`](Self::poll_suspended_timeout).
    pub(crate) fn handle_suspended_timeout(&mut self, now: Time) {
        if self.drain_deadline().is_some_and(|deadline| deadline <= now) {
            self.end_drain(now);
        }
    }
}
