//! The states of a session that both ends can resume.
//!
//! ```text
//!       a loss, or silence                   resume() of a client
//!   Live ---------------------> Suspended ------------------------> Resuming
//!     ^ ^                        |  |  ^                             |  |
//!     | |     accept_resume()    |  |  |     the new socket ends     |  |
//!     | +------ of a server -----+  |  +-----------------------------+  |
//!     |                             |                                   |
//!     |                             v  the resume timeout, a refusal    v
//!     |                     the connection ends                         |
//!     +------------------- the server's answer -------------------------+
//! ```
//!
//! `resume` may also be called in `Live` or in `Resuming`, and `accept_resume` in `Live`, with the
//! same result as in `Suspended`, because a newer socket replaces the older one.
//!
//! If this end has closed the connection, the session keeps its phase until the peer has answered
//! the close (R-27). If the peer does not answer in time, the session enters `Over`.

use std::time::Duration;

use bytes::Bytes;

use super::{
    Link, ResumeError, ResumeRequest, SessionEvent, SessionId, SessionKeys, SessionState,
    SessionStats,
    keys::Prover,
    received::Received,
    replay::Replay,
    timeouts::is_over,
    wire::{self, Answer, FirstMessage, Offer},
};
use crate::{
    Connection, ConnectionError, Frame, Incoming, Side, SocketCapabilities, SocketError, Time,
    TransportErrorCode, Wire, frame::Close,
};

/// The state of a session that can be resumed, from the moment when both ends have offered
/// resumption.
#[derive(Debug)]
pub(super) struct Resumption {
    pub(super) keys: SessionKeys,
    /// How long the session waits for a new socket: the shorter of the timeouts of the two ends.
    pub(super) timeout: Duration,
    pub(super) replay: Replay,
    pub(super) received: Received,
    /// The deadline of the last gap, or `None` if something new has arrived since that gap. While
    /// this deadline is set, it also limits a new gap, even if the new gap has begun later. If the
    /// connection has ended, the deadline stays set, because nothing new can arrive any more.
    last_deadline: Option<Time>,
    /// At a client, the number of its last attempt to resume. At a server, the number of the last
    /// attempt that the server accepted.
    pub(super) attempt: u64,
    pub(super) phase: Phase,
    /// The newest event, and the event before the newest. Two events happen at once if a client
    /// comes back before its server has noticed the loss of the socket.
    events: [Option<SessionEvent>; 2],
    stats: SessionStats,
}

#[derive(Debug)]
pub(super) enum Phase {
    /// The socket carries data.
    Live {
        /// The answer that a server has to send first on a new socket.
        answer: Option<Answer>,
    },
    Suspended(Gap),
    /// A client has a new socket, and waits for the server's answer.
    Resuming {
        gap: Gap,
        /// When the session gives up this socket. `None` if that is later than [`Time`] can
        /// express.
        deadline: Option<Time>,
        socket: SocketCapabilities,
        /// The request, until it is sent.
        request: Option<ResumeRequest>,
        /// Whether the server's parameters have arrived.
        parameters_received: bool,
        /// Whether the connection had ended before this attempt. If so, the socket is used only to
        /// send the close to the peer.
        only_to_close: bool,
    },
    /// The connection has ended, and the close can no longer be sent to the peer.
    Over,
}

/// A period in which no socket carries data.
#[derive(Debug, Clone)]
pub(super) struct Gap {
    pub(super) since: Time,
    /// When the connection ends. `None` if that is later than [`Time`] can express.
    pub(super) deadline: Option<Time>,
    /// The error with which the connection ends.
    pub(super) error: ConnectionError,
}

/// How a client interprets a message that arrives before the server's answer.
enum Reply {
    Wait,
    Answer(Answer),
    /// The server cannot resume the session.
    Refused,
    /// The socket is of no use, but another socket may be.
    Failed,
}

impl Resumption {
    /// Returns `None` if neither end has sent keys. `write_stall_timeout` is the local setting.
    pub(super) fn new(
        local: Offer,
        peer: Offer,
        write_stall_timeout: Option<Duration>,
    ) -> Option<Self> {
        Some(Self {
            keys: local.keys.or(peer.keys)?,
            // R-4
            timeout: local.timeout.min(peer.timeout),
            replay: Replay::new(local.budget, write_stall_timeout),
            received: Received::new(peer.budget),
            last_deadline: None,
            attempt: 0,
            phase: Phase::Live { answer: None },
            events: [None; 2],
            stats: SessionStats::default(),
        })
    }

    pub(super) fn id(&self) -> SessionId {
        self.keys.id()
    }

    pub(super) fn state(&self) -> SessionState {
        match &self.phase {
            Phase::Live { .. } => SessionState::Live,
            Phase::Suspended(_) => SessionState::Suspended,
            Phase::Resuming { .. } => SessionState::Resuming,
            Phase::Over => SessionState::Ended,
        }
    }

    pub(super) fn suspension_deadline(&self) -> Option<Time> {
        match &self.phase {
            Phase::Live { .. } | Phase::Over => None,
            Phase::Suspended(gap) | Phase::Resuming { gap, .. } => gap.deadline,
        }
    }

    pub(super) fn stats(&self) -> SessionStats {
        SessionStats { replay_held: self.replay.cost(), ..self.stats }
    }

    pub(super) fn take_event(&mut self) -> Option<SessionEvent> {
        let [newest, earlier] = &mut self.events;
        earlier.take().or_else(|| newest.take())
    }

    fn report(&mut self, event: SessionEvent) {
        self.events = [Some(event), self.events[0].take()];
    }

    /// Whether this end has closed the connection, but has no socket that carries data. A new
    /// socket could then still carry the close to the peer.
    pub(super) fn lingers(&self, engine: &Connection) -> bool {
        let has_no_socket = matches!(self.phase, Phase::Suspended(_) | Phase::Resuming { .. });
        engine.is_closed_locally() && has_no_socket
    }

    /// Whether the session can go on with a new socket.
    pub(super) fn may_go_on(&self, engine: &Connection) -> bool {
        let is_closing = engine.is_closed_locally() && !engine.is_closed();
        engine.close_reason().is_none() || is_closing || self.lingers(engine)
    }

    pub(super) fn is_closed(&self, engine: &Connection) -> bool {
        match &self.phase {
            Phase::Live { .. } => engine.is_closed(),
            Phase::Resuming { only_to_close: true, .. } => false,
            // R-20
            Phase::Suspended(_) | Phase::Resuming { .. } | Phase::Over => {
                engine.close_reason().is_some()
            }
        }
    }

    pub(super) fn handle(
        &mut self,
        engine: &mut Connection,
        link: &mut Link,
        now: Time,
        incoming: Incoming,
    ) {
        match (&self.phase, incoming) {
            (Phase::Live { .. }, Incoming::Message(message)) => {
                self.on_message(engine, now, message);
            }
            // R-26
            (Phase::Live { .. }, Incoming::Close { code, reason }) if self.is_open(engine) => {
                let error = engine.error_of_websocket(code, &reason);
                self.suspend(engine, link, now, error);
            }
            (Phase::Live { .. }, Incoming::ProtocolError(reason)) if self.is_open(engine) => {
                let error = ConnectionError::WebSocketProtocol(reason.into());
                self.suspend(engine, link, now, error);
            }
            (Phase::Live { .. }, other) => engine.handle(now, other),
            (Phase::Suspended(_) | Phase::Over, _) => {}
            (Phase::Resuming { .. }, other) => match self.reply(engine.wire(), other) {
                Reply::Wait => {}
                Reply::Answer(answer) => self.on_answer(engine, now, answer),
                Reply::Refused => self.refuse(engine, now),
                Reply::Failed => self.give_up(link),
            },
        }
    }

    /// Suspends the session because its socket has ended, or because a newer socket replaces that
    /// socket.
    pub(super) fn suspend(
        &mut self,
        engine: &mut Connection,
        link: &mut Link,
        now: Time,
        error: ConnectionError,
    ) {
        match &self.phase {
            Phase::Live { .. } => {
                let deadline = self.limit(now.checked_add(self.timeout));
                // If this end's parameters have not been sent, the peer cannot resume the session.
                let may_wait = !is_over(deadline, now) && engine.parameters_sent();
                match may_wait && self.may_go_on(engine) {
                    true => self.begin_gap(engine, link, Gap { since: now, deadline, error }),
                    false => engine.end_without_socket(now, error),
                }
            }
            Phase::Suspended(_) | Phase::Over => {}
            Phase::Resuming { .. } => self.give_up(link),
        }
    }

    fn is_open(&self, engine: &Connection) -> bool {
        engine.close_reason().is_none() && engine.parameters_sent()
    }

    /// Returns the earlier of two deadlines: `deadline`, and the deadline of the last gap.
    pub(super) fn limit(&self, deadline: Option<Time>) -> Option<Time> {
        // R-17
        [deadline, self.last_deadline].into_iter().flatten().min()
    }

    /// Begins to wait for a new socket.
    pub(super) fn begin_gap(&mut self, engine: &mut Connection, link: &mut Link, gap: Gap) {
        // R-16
        if engine.close_reason().is_none() {
            engine.suspend(gap.since);
            self.report(SessionEvent::Suspended);
        } else {
            engine.end_without_socket(gap.since, gap.error.clone());
        }
        self.replay.suspend(gap.since);
        self.phase = Phase::Suspended(gap);
        link.0 += 1;
    }

    /// Begins to resume a client's session on a new socket, and waits `within` for the answer.
    /// Returns `false` if the session has ended.
    pub(super) fn resume(
        &mut self,
        engine: &mut Connection,
        link: &mut Link,
        now: Time,
        socket: SocketCapabilities,
        within: Duration,
    ) -> bool {
        // R-18
        self.suspend(engine, link, now, ConnectionError::SocketLost(SocketError::Eof));
        let Phase::Suspended(gap) = &self.phase else { return false };
        // R-11
        self.attempt += 1;
        self.phase = Phase::Resuming {
            gap: gap.clone(),
            deadline: now.checked_add(within),
            socket,
            request: Some(ResumeRequest::new(&self.keys, self.attempt, self.received.count())),
            parameters_received: false,
            only_to_close: engine.close_reason().is_some(),
        };
        true
    }

    /// Resumes a server's session on a new socket.
    pub(super) fn accept(
        &mut self,
        engine: &mut Connection,
        link: &mut Link,
        now: Time,
        socket: SocketCapabilities,
        request: &ResumeRequest,
    ) -> Result<(), ResumeError> {
        let ResumeRequest { id, attempt, received, proof } = request;
        // If this end's parameters have not been sent, the client has no keys.
        if *id != self.keys.id() || !engine.parameters_sent() {
            return Err(ResumeError::UnknownSession);
        }
        // The proof is checked before the attempt and the count, because it covers both of them. So
        // a peer without a valid proof cannot learn which numbers would be accepted.
        if !self.keys.verify(Prover::Client, *attempt, *received, proof) {
            return Err(ResumeError::BadProof);
        }
        // R-11
        if *attempt <= self.attempt {
            return Err(ResumeError::Replayed);
        }
        // R-9
        let is_new = *received > self.replay.acknowledged();
        if !self.replay.acknowledge(now, *received) {
            return Err(ResumeError::BadCount);
        }
        self.attempt = *attempt;
        if is_new {
            self.on_progress(engine);
        }
        // R-18
        self.suspend(engine, link, now, ConnectionError::SocketLost(SocketError::Eof));
        if !matches!(self.phase, Phase::Suspended(_)) {
            return Err(ResumeError::Ended);
        }
        let answer = Answer::new(&self.keys, *attempt, self.received.acknowledge());
        self.go_on(engine, now, socket, Some(answer), is_new);
        Ok(())
    }

    /// Ends a suspended connection, with the error that suspended it.
    pub(super) fn end(&mut self, engine: &mut Connection, now: Time) {
        match &self.phase {
            Phase::Live { .. } | Phase::Over => {}
            Phase::Suspended(gap) | Phase::Resuming { gap, .. } => {
                engine.end_without_socket(now, gap.error.clone());
                self.phase = Phase::Over;
                self.replay.clear();
            }
        }
    }

    /// Records that something new has arrived, so a later gap has a deadline of its own.
    fn on_progress(&mut self, engine: &Connection) {
        // R-17
        if engine.close_reason().is_none() {
            self.last_deadline = None;
        }
    }

    /// Handles a message on a socket that carries data.
    fn on_message(&mut self, engine: &mut Connection, now: Time, mut message: Bytes) {
        let len = message.len();
        if engine.close_reason().is_some() || len as u64 > engine.max_inbound_message() {
            return engine.handle_rest(now, message, 0);
        }
        // R-5, R-6
        match wire::take_ack(&mut message) {
            Ok(None) => {}
            Ok(Some(count)) => {
                // R-8
                let is_new = count > self.replay.acknowledged();
                if !(is_new && self.replay.acknowledge(now, count)) {
                    return engine.fail_by(now, wire::bad_ack());
                }
                self.last_deadline = None;
                if message.is_empty() {
                    return engine.on_foreign_message(now, len);
                }
            }
            Err(error) => return engine.fail_by(now, error),
        }
        self.last_deadline = None;
        self.received.on_message(now, message.len());
        let skipped = len - message.len();
        engine.handle_rest(now, message, skipped);
    }

    /// Interprets what arrives on a client's new socket before the server's answer.
    fn reply(&mut self, wire: Wire, incoming: Incoming) -> Reply {
        let Phase::Resuming { parameters_received, .. } = &mut self.phase else {
            return Reply::Wait;
        };
        let mut message = match incoming {
            Incoming::Ping | Incoming::Pong(_) => return Reply::Wait,
            Incoming::Message(message) if message.is_empty() => return Reply::Wait,
            Incoming::Message(message) => message,
            _ => return Reply::Failed,
        };
        // The server's parameters arrive before the answer, unless the server's socket could not
        // take the parameters in time.
        if let Some(answer) = Answer::decode(message.clone()) {
            return Reply::Answer(answer);
        }
        if !std::mem::replace(parameters_received, true) {
            // R-15
            return match FirstMessage::decode(&message, Side::Server) {
                Ok(first) if first.offer.is_some() => Reply::Wait,
                Ok(_) if FirstMessage::is_valid(&message) => Reply::Refused,
                _ => Reply::Failed,
            };
        }
        match wire.decode(&mut message) {
            Ok(Some(Frame::ConnectionClose(Close::Transport { code, .. })))
                if code == TransportErrorCode::SESSION_REFUSED =>
            {
                Reply::Refused
            }
            _ => Reply::Failed,
        }
    }

    fn on_answer(&mut self, engine: &mut Connection, now: Time, answer: Answer) {
        let Answer { received, proof } = answer;
        let is_proven = self.keys.verify(Prover::Server, self.attempt, received, &proof);
        let is_new = received > self.replay.acknowledged();
        // R-9, R-14
        if !is_proven || !self.replay.acknowledge(now, received) {
            return self.refuse(engine, now);
        }
        // The request has already reported how many messages this end has received, so they count
        // as acknowledged.
        self.received.acknowledge();
        if let Phase::Resuming { socket, .. } = self.phase {
            self.go_on(engine, now, socket, None, is_new);
        }
    }

    /// Returns to the phase `Live`. The caller has applied the peer's count to the replay buffer.
    /// `is_new` says whether this count was higher than before.
    fn go_on(
        &mut self,
        engine: &mut Connection,
        now: Time,
        socket: SocketCapabilities,
        answer: Option<Answer>,
        is_new: bool,
    ) {
        let (Phase::Suspended(gap) | Phase::Resuming { gap, .. }) = &self.phase else { return };
        self.last_deadline = gap.deadline;
        let gap = now - gap.since;
        if is_new {
            self.on_progress(engine);
        }
        // R-19
        let (resent_messages, resent_bytes) = self.replay.rewind(now);
        self.stats.resumptions += 1;
        self.stats.resent_messages += resent_messages;
        self.stats.resent_bytes += resent_bytes;
        self.stats.longest_gap = self.stats.longest_gap.max(gap);
        self.phase = Phase::Live { answer };
        engine.resume(now, socket);
        if engine.close_reason().is_none() {
            self.report(SessionEvent::Resumed { gap, resent_messages, resent_bytes });
        } else {
            // R-27
            engine.close_again(self.last_deadline);
        }
    }

    /// Gives up a client's new socket. The session waits for another socket, until the same
    /// deadline as before.
    pub(super) fn give_up(&mut self, link: &mut Link) {
        if let Phase::Resuming { gap, .. } = &self.phase {
            self.phase = Phase::Suspended(gap.clone());
            link.0 += 1;
        }
    }

    /// Ends a client's connection because the server cannot resume it.
    fn refuse(&mut self, engine: &mut Connection, now: Time) {
        if matches!(self.phase, Phase::Resuming { .. }) {
            if engine.close_reason().is_none() {
                self.report(SessionEvent::Refused);
            }
            self.end(engine, now);
        }
    }
}
