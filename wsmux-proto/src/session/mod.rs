//! A connection that outlives its socket: the session layer between the engine and its sockets.
//!
//! For the engine, this layer is the transport, so the engine counts a message as sent once this
//! layer has taken it. The layer counts the messages in both directions, and keeps each sent
//! message until the peer acknowledges it. On a new socket, the layer sends again the messages that
//! the peer has not received. So resumption needs no special rules for streams, credit, FINs and
//! resets. SPEC.md §12 defines the messages that this layer adds.
//!
//! - `resumption`: the states of a session that both ends can resume; `transmit`: what it sends;
//!   `timeouts`: its deadlines
//! - `replay`: the messages that the peer has not acknowledged; `received`: when to acknowledge the
//!   peer's messages
//! - `wire`: the private parameters and frames; `keys`: the proofs in these parameters and frames

mod keys;
mod received;
mod replay;
mod resumption;
mod timeouts;
mod transmit;
mod wire;

use std::time::Duration;

pub use self::{
    keys::{SessionId, SessionKeys},
    wire::{ResumeRequest, SessionFrame},
};
use self::{resumption::Resumption, wire::FirstMessage};
use crate::{
    Connection, ConnectionError, Incoming, MessageBuf, Outgoing, Side, SocketCapabilities,
    SocketError, Time, Wire, transport_error::violation,
};

/// A [`Connection`] that may get new sockets.
///
/// The clients and servers of `wsmux` put each of their connections on the QMux wire into a
/// session.
///
/// For a driver, a session has the same kinds of methods as a [`Connection`], with the same rules.
/// Each call about a socket names the socket by its [`Link`]. Late reports of a driver about an
/// older socket have no effect.
///
/// If both ends [turn resumption on](crate::Config::resume_timeout), the loss of the socket only
/// suspends the connection. The connection is also suspended if the peer is silent, or if a proxy
/// closes the socket. Then the client dials again, calls [`resume`](Self::resume), and lets the new
/// socket send and receive. The server finds the session by the [`ResumeRequest`] in the first
/// message on the new socket, and calls [`accept_resume`](Self::accept_resume). If the server does
/// not find the session, or if the call fails, the server passes the message to the session that it
/// created for the new socket. That session refuses the request. While there is no socket, the idle
/// timeout, keep-alive and the write-stall timeout do not run.
///
/// If resumption is off at this end, the session adds nothing to the connection, and adds no byte
/// to the connection's messages. If resumption is off only at the peer, the session adds only the
/// offer in this end's transport parameters.
#[derive(Debug)]
pub struct Session {
    engine: Connection,
    layer: Layer,
    link: Link,
}

/// The name of one of a session's sockets. The default is the name of the session's first socket.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Link(u64);

/// Whether the session can be resumed.
#[derive(Debug)]
enum Layer {
    /// The session ends with its socket, because this end or its peer has not offered resumption.
    Off,
    /// This end offers resumption, and the peer's parameters have not arrived yet.
    Offered(Box<wire::Offer>),
    /// Both ends have offered resumption.
    On(Box<Resumption>),
}

/// Whether a session has a socket, and what the session can do without a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SessionState {
    /// The session has a socket. If it loses the socket, it ends.
    Fixed,
    /// The session has a socket. If it loses the socket, it is suspended.
    Live,
    /// The session has no socket, and waits for one.
    Suspended,
    /// The session has a new socket, and waits for the server's answer.
    Resuming,
    /// The connection has ended. The closing handshake may still be going on, or the session may
    /// [linger](Session::lingers).
    Ended,
}

/// What happened to a session. [`Session::poll_event`] returns it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SessionEvent {
    /// The session has lost its socket, or has given the socket up for a new socket.
    Suspended,
    /// The session goes on with a new socket.
    #[non_exhaustive]
    Resumed {
        /// How long the session was suspended.
        gap: Duration,
        /// How many messages are sent again.
        resent_messages: u64,
        /// The length of these messages in bytes.
        resent_bytes: u64,
    },
    /// The server cannot resume the session, so the connection has ended. The error of the
    /// connection is the error that suspended the session.
    Refused,
}

/// Statistics of a session. Each number covers the time since the connection began, unless its
/// documentation says otherwise.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SessionStats {
    /// How often the session was resumed.
    pub resumptions: u64,
    /// How many messages were sent again, or have to be sent again.
    pub resent_messages: u64,
    /// The bytes of all messages that were sent again, or have to be sent again.
    pub resent_bytes: u64,
    /// The longest time for which the session was suspended before it was resumed.
    pub longest_gap: Duration,
    /// The present cost of the messages that the peer has not acknowledged, in the units of
    /// [`Config::replay_budget`](crate::Config::replay_budget).
    pub replay_held: u64,
}

/// A session cannot be resumed as the client requests. The session has not changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ResumeError {
    /// The session was never resumable, belongs to a client, has another id, or has not sent its
    /// keys.
    #[error("this session cannot be resumed")]
    UnknownSession,
    /// The connection has ended.
    #[error("the connection has ended")]
    Ended,
    /// The proof is wrong.
    #[error("the proof is wrong")]
    BadProof,
    /// The number of the request is not higher than the number of an earlier request.
    #[error("the request was used before")]
    Replayed,
    /// The client claims to have received a number of messages that it cannot have received.
    #[error("the count of received messages is impossible")]
    BadCount,
}

impl Session {
    /// Creates a session for a new connection, before any other call on the connection. A server
    /// that lets its clients resume passes fresh random `keys`. A client passes no keys, because
    /// the server sends them to it.
    ///
    /// The session can be resumed only on the QMux wire, and only if
    /// [`Config::resume_timeout`](crate::Config::resume_timeout) is set at both ends.
    pub fn new(mut engine: Connection, keys: Option<SessionKeys>) -> Self {
        let keys = keys.filter(|_| engine.side() == Side::Server);
        let is_possible =
            engine.wire() == Wire::QMux && (engine.side() == Side::Client || keys.is_some());
        let offer = wire::Offer::of(engine.config(), keys).filter(|_| is_possible);
        let layer = match offer {
            None => Layer::Off,
            //
            Some(offer) => {
                engine.set_private_parameters(offer.encode());
                Layer::Offered(Box::new(offer))
            }
        };
        Self { engine, layer, link: Link::default() }
    }

    /// Returns the connection, for the application's calls.
    #[inline]
    pub fn engine(&self) -> &Connection {
        &self.engine
    }

    /// Returns the connection, for the application's calls. If the session has a method of the same
    /// name, call the session's method.
    #[inline]
    pub fn engine_mut(&mut self) -> &mut Connection {
        &mut self.engine
    }

    /// Returns the name of the socket that the session uses. While the session is
    /// [suspended](SessionState::Suspended), returns the name that its next socket will have.
    #[inline]
    pub fn link(&self) -> Link {
        self.link
    }

    /// Whether [`link`](Self::link) returns this name. If it returns another name, the session no
    /// longer uses the socket with this name, and the caller has to drop that socket without a
    /// Close.
    #[inline]
    pub fn is_current(&self, link: Link) -> bool {
        link == self.link
    }

    /// Returns the state of the session.
    pub fn state(&self) -> SessionState {
        match &self.layer {
            _ if self.engine.close_reason().is_some() => SessionState::Ended,
            Layer::Off | Layer::Offered(_) => SessionState::Fixed,
            Layer::On(resumption) => resumption.state(),
        }
    }

    /// If the connection is [suspended](SessionState::Suspended) or
    /// [resuming](SessionState::Resuming), returns when it ends if it is not resumed before.
    /// Returns `None` in all other states, and if [`Time`] cannot express this time. If the peer's
    /// silence has suspended the connection, the wait for a new socket is counted from the start of
    /// the silence.
    pub fn suspension_deadline(&self) -> Option<Time> {
        match &self.layer {
            Layer::On(resumption) if self.engine.close_reason().is_none() => {
                resumption.suspension_deadline()
            }
            _ => None,
        }
    }

    /// Whether the session has a socket that carries data. The result is `true` until the first
    /// loss of a socket, and from each resumption until the next loss. The end of the connection
    /// does not change the result.
    #[inline]
    pub fn has_socket(&self) -> bool {
        match &self.layer {
            Layer::On(resumption) => resumption.state() == SessionState::Live,
            Layer::Off | Layer::Offered(_) => true,
        }
    }

    /// Returns the id by which the session can be resumed, or `None` if it cannot be resumed.
    pub fn id(&self) -> Option<SessionId> {
        match &self.layer {
            Layer::On(resumption) => Some(resumption.id()),
            Layer::Off | Layer::Offered(_) => None,
        }
    }

    /// Returns the session's statistics.
    pub fn session_stats(&self) -> SessionStats {
        match &self.layer {
            Layer::On(resumption) => resumption.stats(),
            Layer::Off | Layer::Offered(_) => SessionStats::default(),
        }
    }

    /// Returns the oldest event that no earlier call has returned. Only the two newest events are
    /// kept.
    #[inline]
    pub fn poll_event(&mut self) -> Option<SessionEvent> {
        match &mut self.layer {
            Layer::On(resumption) => resumption.take_event(),
            Layer::Off | Layer::Offered(_) => None,
        }
    }

    /// Handles what has arrived from a socket.
    #[inline]
    pub fn handle(&mut self, now: Time, link: Link, incoming: Incoming) {
        //
        if !self.is_current(link) {
            return;
        }
        match &mut self.layer {
            Layer::Off => self.engine.handle(now, incoming),
            Layer::Offered(_) => self.handle_offered(now, incoming),
            Layer::On(resumption) => {
                resumption.handle(&mut self.engine, &mut self.link, now, incoming);
            }
        }
    }

    /// Records that bytes of an incomplete message have arrived.
    #[inline]
    pub fn handle_progress(&mut self, now: Time, link: Link) {
        if self.is_current(link) && self.has_socket() {
            self.engine.handle_progress(now);
        }
    }

    /// Records that a socket has ended. The session is suspended if it can be resumed. Otherwise
    /// the connection ends.
    pub fn handle_socket_end(&mut self, now: Time, link: Link, error: SocketError) {
        if !self.is_current(link) {
            return;
        }
        match &mut self.layer {
            Layer::On(resumption) => {
                let error = ConnectionError::SocketLost(error);
                resumption.suspend(&mut self.engine, &mut self.link, now, error);
            }
            Layer::Off | Layer::Offered(_) => self.engine.handle_socket_end(now, error),
        }
    }

    /// Handles the deadlines that have passed. Call this at the time that
    /// [`poll_timeout`](Self::poll_timeout) returns.
    pub fn handle_timeout(&mut self, now: Time) {
        match &mut self.layer {
            Layer::On(resumption) => {
                resumption.handle_timeout(&mut self.engine, &mut self.link, now);
            }
            Layer::Off | Layer::Offered(_) => self.engine.handle_timeout(now),
        }
    }

    /// Returns when to call [`handle_timeout`](Self::handle_timeout); `None` means never.
    #[inline]
    pub fn poll_timeout(&self) -> Option<Time> {
        match &self.layer {
            Layer::On(resumption) => resumption.poll_timeout(&self.engine),
            Layer::Off | Layer::Offered(_) => self.engine.poll_timeout(),
        }
    }

    /// Returns the next item to send on this socket. Returns `None` if there is nothing to send, or
    /// if the unacknowledged messages use up the replay budget.
    ///
    /// Call this only when the socket can take an item.
    #[inline]
    pub fn poll_transmit<'a>(
        &mut self,
        now: Time,
        link: Link,
        out: &'a mut MessageBuf,
    ) -> Option<Outgoing<'a>> {
        if !self.is_current(link) {
            return None;
        }
        match &mut self.layer {
            Layer::On(resumption) => resumption.poll_transmit(&mut self.engine, now, out),
            Layer::Off | Layer::Offered(_) => self.engine.poll_transmit(now, out),
        }
    }

    /// Whether [`poll_transmit`](Self::poll_transmit) has to be called for the current socket. The
    /// call may still return nothing.
    #[inline]
    pub fn wants_transmit(&self) -> bool {
        match &self.layer {
            Layer::On(resumption) => resumption.wants_transmit(&self.engine),
            Layer::Off | Layer::Offered(_) => self.engine.wants_transmit(),
        }
    }

    /// Records that the socket is full, as [`Connection`]'s method with the same name does.
    #[inline]
    pub fn handle_socket_full(&mut self, now: Time, link: Link) {
        if self.is_current(link) && self.has_socket() {
            let wants = self.has_something_to_send() || self.engine.wants_transmit();
            self.engine.on_socket_full(now, wants);
        }
    }

    /// Whether [`handle_socket_full`](Self::handle_socket_full) has to be called if the socket is
    /// full.
    #[inline]
    pub fn wants_socket_full(&self) -> bool {
        let wants = self.has_something_to_send() || self.engine.wants_transmit();
        wants && self.has_socket() && self.engine.may_report_socket_full()
    }

    /// Whether the session no longer needs a socket. The result is `true` once the closing
    /// handshake is over, and also if the connection ended without a socket. The session may still
    /// [linger](Self::lingers).
    #[inline]
    pub fn is_closed(&self) -> bool {
        match &self.layer {
            Layer::On(resumption) => resumption.is_closed(&self.engine),
            Layer::Off | Layer::Offered(_) => self.engine.is_closed(),
        }
    }

    /// Whether this end has closed the connection, but has no socket that carries data. The peer
    /// then may not know of the close. Until [`linger_deadline`](Self::linger_deadline), the
    /// session can still be resumed. A resumed session only sends again what the peer has not
    /// received, and then sends the close. A server keeps a lingering session where it keeps
    /// suspended sessions. A client may dial again.
    pub fn lingers(&self) -> bool {
        matches!(&self.layer, Layer::On(resumption) if resumption.lingers(&self.engine))
    }

    /// Returns the time until which the session [lingers](Self::lingers). Returns `None` if it does
    /// not linger, and for a time that [`Time`] cannot express. Call
    /// [`handle_timeout`](Self::handle_timeout) at the returned time.
    pub fn linger_deadline(&self) -> Option<Time> {
        match &self.layer {
            Layer::On(resumption) if resumption.lingers(&self.engine) => {
                resumption.suspension_deadline()
            }
            _ => None,
        }
    }

    /// Begins to resume a client's session on a new socket, which has just opened with the same
    /// version of QMux. The session gives the new socket up if the server has not answered within
    /// `limit`. Returns the name of the new socket, or `None` if the session cannot be resumed. If
    /// the session still has an older socket, it gives that socket up. A session that
    /// [lingers](Self::lingers) can also be resumed.
    pub fn resume(
        &mut self,
        now: Time,
        socket: SocketCapabilities,
        limit: Duration,
    ) -> Option<Link> {
        let Layer::On(resumption) = &mut self.layer else { return None };
        if self.engine.side() != Side::Client || !resumption.may_go_on(&self.engine) {
            return None;
        }
        let resumed = resumption.resume(&mut self.engine, &mut self.link, now, socket, limit);
        resumed.then_some(self.link)
    }

    /// Resumes a server's session on a new socket, on which this request has arrived. Returns the
    /// name of the new socket. If the session still has an older socket, it gives that socket up. A
    /// session that [lingers](Self::lingers) can also be resumed.
    ///
    /// # Errors
    /// [`ResumeError`].
    pub fn accept_resume(
        &mut self,
        now: Time,
        socket: SocketCapabilities,
        request: &ResumeRequest,
    ) -> Result<Link, ResumeError> {
        let Layer::On(resumption) = &mut self.layer else {
            return Err(ResumeError::UnknownSession);
        };
        if self.engine.side() != Side::Server {
            return Err(ResumeError::UnknownSession);
        }
        if !resumption.may_go_on(&self.engine) {
            return Err(ResumeError::Ended);
        }
        resumption.accept(&mut self.engine, &mut self.link, now, socket, request)?;
        Ok(self.link)
    }

    /// If the connection is [suspended](SessionState::Suspended) or
    /// [resuming](SessionState::Resuming), ends it at once, with the error that suspended it. A
    /// client calls this if it cannot dial again, for example because the server rejects its
    /// credentials. In any other state this has no effect.
    pub fn give_up(&mut self, now: Time) {
        if let Layer::On(resumption) = &mut self.layer {
            resumption.end(&mut self.engine, now);
        }
    }

    /// Handles what arrives before the peer's parameters have been processed.
    fn handle_offered(&mut self, now: Time, incoming: Incoming) {
        let Incoming::Message(message) = &incoming else {
            return self.engine.handle(now, incoming);
        };
        let first = match FirstMessage::decode(message, !self.engine.side()) {
            Ok(first) => first,
            Err(error) => return self.engine.fail_by(now, error),
        };
        //
        if first.request.is_some() {
            let error = violation::session_refused("the session is unknown");
            return self.engine.fail_by(now, error);
        }
        self.engine.handle(now, incoming);
        if !self.engine.parameters_received() {
            return;
        }
        let Layer::Offered(local) = std::mem::replace(&mut self.layer, Layer::Off) else { return };
        let timeout = self.engine.config().write_stall_timeout;
        let resumption = first.offer.and_then(|peer| Resumption::new(*local, peer, timeout));
        if let Some(resumption) = resumption {
            self.engine.set_resumable(resumption.timeout, wire::MAX_ACK);
            self.layer = Layer::On(Box::new(resumption));
        }
    }

    /// Whether the session itself, and not the engine, has something to send.
    #[inline]
    fn has_something_to_send(&self) -> bool {
        match &self.layer {
            Layer::On(resumption) => resumption.has_something_to_send(&self.engine),
            Layer::Off | Layer::Offered(_) => false,
        }
    }
}
