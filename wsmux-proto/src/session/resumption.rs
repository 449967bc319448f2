//! The states of a session that both ends can resume.
//!
//! ```text
//!            the socket ends                 resume() of a client
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
//! `resume` and `accept_resume` also lead from `Live` and from `Resuming` to their result, because
//! the newer socket wins.

use std::time::Duration;

use bytes::Bytes;

use super::{
    Link, ResumeError, ResumeRequest, SessionEvent, SessionId, SessionKeys, SessionState,
    SessionStats,
    keys::Prover,
    received::Received,
    replay::Replay,
    wire::{self, Answer, FirstMessage, Offer},
};
use crate::{
    Connection, Frame, Incoming, MessageBuf, Outgoing, Side, SocketCapabilities, SocketError, Time,
    TransportErrorCode, Wire, frame::Close,
};

/// What makes a session resumable, from the moment when both ends have offered it.
#[derive(Debug)]
pub(super) struct Resumption {
    keys: SessionKeys,
    /// How long the session waits for a new socket. It is the shorter time of the two ends.
    timeout: Duration,
    replay: Replay,
    received: Received,
    /// The number of a client's last attempt to resume, or of the last one that a server accepted.
    attempt: u64,
    phase: Phase,
    event: Option<SessionEvent>,
    stats: SessionStats,
}

#[derive(Debug)]
enum Phase {
    /// The socket carries data.
    Live {
        /// The answer that a server has to send first on a new socket.
        answer: Option<Answer>,
    },
    Suspended(Gap),
    /// A client has a new socket, and waits for the server's answer.
    Resuming {
        gap: Gap,
        /// When the session gives up this socket; `None` for a time that [`Time`] cannot express.
        deadline: Option<Time>,
        socket: SocketCapabilities,
        /// The request, until it is sent.
        request: Option<ResumeRequest>,
        /// Whether the server's parameters have arrived.
        parameters_received: bool,
    },
}

/// A time without a socket that carries data.
#[derive(Debug, Clone)]
struct Gap {
    since: Time,
    /// When the connection ends; `None` for a time that [`Time`] cannot express.
    deadline: Option<Time>,
    /// The error with which it ends.
    error: SocketError,
}

/// What a client makes of a message that arrives before the server's answer.
enum Reply {
    Wait,
    Answer(Answer),
    /// The server cannot resume the session.
    Refused,
    /// The socket is of no use. Another one may be.
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
            attempt: 0,
            phase: Phase::Live { answer: None },
            event: None,
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
        }
    }

    pub(super) fn suspension_deadline(&self) -> Option<Time> {
        match &self.phase {
            Phase::Live { .. } => None,
            Phase::Suspended(gap) | Phase::Resuming { gap, .. } => gap.deadline,
        }
    }

    pub(super) fn stats(&self) -> SessionStats {
        SessionStats { replay_held: self.replay.cost(), ..self.stats }
    }

    pub(super) fn take_event(&mut self) -> Option<SessionEvent> {
        self.event.take()
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
            (Phase::Live { .. }, other) => engine.handle(now, other),
            (Phase::Suspended(_), _) => {}
            (Phase::Resuming { .. }, other) => match self.reply(engine.wire(), other) {
                Reply::Wait => {}
                Reply::Answer(answer) => self.on_answer(engine, now, answer),
                Reply::Refused => self.refuse(engine, now),
                Reply::Failed => self.give_up(link),
            },
        }
    }

    /// Suspends the session because its socket has ended, or because a newer one replaces it.
    pub(super) fn suspend(
        &mut self,
        engine: &mut Connection,
        link: &mut Link,
        now: Time,
        error: SocketError,
    ) {
        match &self.phase {
            // R-16
            Phase::Live { .. } if engine.parameters_sent() => {
                let deadline = now.checked_add(self.timeout);
                engine.suspend(now);
                self.phase = Phase::Suspended(Gap { since: now, deadline, error });
                self.event = Some(SessionEvent::Suspended);
                link.0 += 1;
            }
            // The peer does not have this end's parameters.
            Phase::Live { .. } => engine.handle_socket_end(now, error),
            Phase::Suspended(_) => {}
            Phase::Resuming { .. } => self.give_up(link),
        }
    }

    pub(super) fn handle_timeout(&mut self, engine: &mut Connection, link: &mut Link, now: Time) {
        let is_over = |deadline: Option<Time>| deadline.is_some_and(|deadline| deadline <= now);
        match &self.phase {
            Phase::Live { .. } => {
                self.received.on_timeout(now);
                engine.handle_timeout_of_session(now, self.has_something_to_send(engine));
                // R-22
                if engine.close_reason().is_none() && self.replay.is_stalled(now) {
                    engine.fail_by_stall(now);
                }
                return;
            }
            // R-17
            Phase::Suspended(gap) | Phase::Resuming { gap, .. } if is_over(gap.deadline) => {
                self.end(engine, now);
            }
            Phase::Resuming { deadline, .. } if is_over(*deadline) => self.give_up(link),
            Phase::Suspended(_) | Phase::Resuming { .. } => {}
        }
        engine.handle_suspended_timeout(now);
    }

    pub(super) fn poll_timeout(&self, engine: &Connection) -> Option<Time> {
        let deadlines = match &self.phase {
            Phase::Live { .. } if engine.close_reason().is_some() => [None, engine.poll_timeout()],
            Phase::Live { .. } => {
                let local = [self.received.deadline(), self.replay.deadline()];
                [local.into_iter().flatten().min(), engine.poll_timeout()]
            }
            Phase::Suspended(_) | Phase::Resuming { .. } if engine.close_reason().is_some() => {
                [None; 2]
            }
            Phase::Suspended(gap) => [gap.deadline, engine.poll_suspended_timeout()],
            Phase::Resuming { gap, deadline, .. } => {
                let without = engine.poll_suspended_timeout();
                [gap.deadline.into_iter().chain(*deadline).min(), without]
            }
        };
        deadlines.into_iter().flatten().min()
    }

    pub(super) fn poll_transmit<'a>(
        &mut self,
        engine: &mut Connection,
        now: Time,
        out: &'a mut MessageBuf,
    ) -> Option<Outgoing<'a>> {
        let has_ended = engine.close_reason().is_some();
        match &mut self.phase {
            Phase::Live { answer: None } if has_ended => engine.poll_transmit(now, out),
            Phase::Live { answer } => {
                // R-14. The answer precedes even a close, which the client would not believe.
                if let Some(answer) = answer.take() {
                    answer.encode(out);
                } else if self.replay.next(now, out) {
                    self.add_acknowledgement(now, out);
                } else {
                    return self.poll_new(engine, now, out);
                }
                // The engine gets its turn after this, so a steady replay is no stall (C-78).
                engine.on_socket_room(now);
                engine.on_foreign_message_sent(now, out.len());
                Some(Outgoing::Message(out))
            }
            Phase::Suspended(_) => None,
            Phase::Resuming { request, .. } => {
                let request = request.take().filter(|_| !has_ended)?;
                request.encode(engine.version(), out);
                engine.on_foreign_message_sent(now, out.len());
                Some(Outgoing::Message(out))
            }
        }
    }

    pub(super) fn wants_transmit(&self, engine: &Connection) -> bool {
        let has_ended = engine.close_reason().is_some();
        match &self.phase {
            Phase::Live { .. } => {
                self.has_something_to_send(engine)
                    || match self.replay.is_full() && !has_ended {
                        // The engine has to learn once that it cannot send.
                        true => engine.wants_socket_full(),
                        false => engine.wants_transmit(),
                    }
            }
            Phase::Suspended(_) => false,
            Phase::Resuming { request, .. } => request.is_some() && !has_ended,
        }
    }

    /// Whether the session itself has something to send on a socket that carries data: its answer,
    /// a message that is sent again, or an acknowledgement.
    pub(super) fn has_something_to_send(&self, engine: &Connection) -> bool {
        let Phase::Live { answer } = &self.phase else { return false };
        let may_send = engine.close_reason().is_none();
        answer.is_some() || may_send && (self.replay.has_next() || self.received.is_due())
    }

    /// Begins to resume a client's session on a new socket.
    pub(super) fn resume(
        &mut self,
        engine: &mut Connection,
        link: &mut Link,
        now: Time,
        socket: SocketCapabilities,
    ) {
        // R-18
        self.suspend(engine, link, now, SocketError::Eof);
        let Phase::Suspended(gap) = &self.phase else { return };
        // R-11
        self.attempt += 1;
        self.phase = Phase::Resuming {
            gap: gap.clone(),
            deadline: now.checked_add(engine.config().get_handshake_timeout()),
            socket,
            request: Some(ResumeRequest::new(&self.keys, self.attempt, self.received.count())),
            parameters_received: false,
        };
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
        // Without this end's parameters the client has no keys.
        if *id != self.keys.id() || !engine.parameters_sent() {
            return Err(ResumeError::UnknownSession);
        }
        // The proof covers the other numbers, so nothing is said about them to a peer without one.
        if !self.keys.verify(Prover::Client, *attempt, *received, proof) {
            return Err(ResumeError::BadProof);
        }
        // R-11
        if *attempt <= self.attempt {
            return Err(ResumeError::Replayed);
        }
        // R-9
        if !self.replay.acknowledge(now, *received) {
            return Err(ResumeError::BadCount);
        }
        self.attempt = *attempt;
        // R-18
        self.suspend(engine, link, now, SocketError::Eof);
        let answer = Answer::new(&self.keys, *attempt, self.received.acknowledge());
        self.go_on(engine, now, socket, Some(answer));
        Ok(())
    }

    /// Ends a connection without a socket that carries data, with the error that suspended it.
    pub(super) fn end(&self, engine: &mut Connection, now: Time) {
        match &self.phase {
            Phase::Live { .. } => {}
            Phase::Suspended(gap) | Phase::Resuming { gap, .. } => {
                engine.handle_socket_end(now, gap.error.clone());
            }
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
                if message.is_empty() {
                    return engine.on_foreign_message(now, len);
                }
            }
            Err(error) => return engine.fail_by(now, error),
        }
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
        // The server's parameters come first, unless its socket could not take them in time.
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
        // R-9, R-14
        if !is_proven || !self.replay.acknowledge(now, received) {
            return self.refuse(engine, now);
        }
        // The request contained the count.
        self.received.acknowledge();
        if let Phase::Resuming { socket, .. } = self.phase {
            self.go_on(engine, now, socket, None);
        }
    }

    /// Returns to the phase `Live`. The peer's count has been applied to the replay buffer.
    fn go_on(
        &mut self,
        engine: &mut Connection,
        now: Time,
        socket: SocketCapabilities,
        answer: Option<Answer>,
    ) {
        let since = match &self.phase {
            Phase::Live { .. } => now,
            Phase::Suspended(gap) | Phase::Resuming { gap, .. } => gap.since,
        };
        let gap = now - since;
        // R-19
        let (resent_messages, resent_bytes) = self.replay.rewind();
        self.stats.resumptions += 1;
        self.stats.resent_messages += resent_messages;
        self.stats.resent_bytes += resent_bytes;
        self.stats.longest_gap = self.stats.longest_gap.max(gap);
        self.event = Some(SessionEvent::Resumed { gap, resent_messages, resent_bytes });
        self.phase = Phase::Live { answer };
        engine.resume(now, socket);
    }

    /// Gives up a client's new socket. The session waits for another one, until the deadline that
    /// it had before.
    fn give_up(&mut self, link: &mut Link) {
        if let Phase::Resuming { gap, .. } = &self.phase {
            self.phase = Phase::Suspended(gap.clone());
            link.0 += 1;
        }
    }

    /// Ends a client's connection because the server cannot resume it.
    fn refuse(&mut self, engine: &mut Connection, now: Time) {
        if matches!(self.phase, Phase::Resuming { .. }) {
            self.end(engine, now);
            self.event = Some(SessionEvent::Refused);
        }
    }

    /// Returns something that was not sent before.
    fn poll_new<'a>(
        &mut self,
        engine: &mut Connection,
        now: Time,
        out: &'a mut MessageBuf,
    ) -> Option<Outgoing<'a>> {
        // R-21
        if self.replay.is_full() {
            match engine.wants_transmit() {
                true => engine.handle_socket_full(now),
                false => engine.on_socket_room(now),
            }
        } else {
            // The parameters are sent once, before everything that is counted.
            let is_counted = engine.parameters_sent();
            match engine.poll_transmit(now, out) {
                None => {}
                Some(Outgoing::Ping(payload)) => return Some(Outgoing::Ping(payload)),
                Some(Outgoing::Close { code, reason }) => {
                    return Some(Outgoing::Close { code, reason });
                }
                Some(Outgoing::Flush) => return Some(Outgoing::Flush),
                Some(Outgoing::Message(_)) => {
                    // What the engine sends after its end is not sent again.
                    if is_counted && engine.close_reason().is_none() {
                        self.replay.push(now, out);
                        self.add_acknowledgement(now, out);
                    }
                    return Some(Outgoing::Message(out));
                }
            }
        }
        if !self.received.is_due() || engine.close_reason().is_some() {
            return None;
        }
        out.clear();
        self.add_acknowledgement(now, out);
        engine.on_foreign_message_sent(now, out.len());
        Some(Outgoing::Message(out))
    }

    /// Puts a SESSION_ACK in front of a message, if it is worth its bytes.
    fn add_acknowledgement(&mut self, now: Time, out: &mut MessageBuf) {
        if self.received.is_worth_sending(now) {
            let count = self.received.acknowledge();
            out.prepend_frame(|out| wire::put_ack(count, out));
        }
    }
}
