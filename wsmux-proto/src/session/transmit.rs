//! What a session that can be resumed sends: its request or its answer, messages that it sends
//! again, new messages, and acknowledgements.

use super::{
    resumption::{Phase, Resumption},
    wire,
};
use crate::{Connection, MessageBuf, Outgoing, Time};

impl Resumption {
    pub(super) fn poll_transmit<'a>(
        &mut self,
        engine: &mut Connection,
        now: Time,
        out: &'a mut MessageBuf,
    ) -> Option<Outgoing<'a>> {
        let has_ended = engine.close_reason().is_some();
        let may_replay = self.may_replay(engine);
        match &mut self.phase {
            Phase::Live { answer: None } if has_ended && !may_replay => {
                engine.poll_transmit(now, out)
            }
            Phase::Live { answer } => {
                // The answer is sent even before a close, because the client does not accept
                // a close before the answer.
                if let Some(answer) = answer.take() {
                    answer.encode(out);
                } else if self.replay.next(out) {
                    self.add_acknowledgement(now, out);
                } else {
                    return self.poll_new(engine, now, out);
                }
                // A replay that makes progress is not a write stall of the engine, because the
                // engine can send after the replay (C-78).
                engine.on_socket_room(now);
                engine.on_foreign_message_sent(now, out.len());
                Some(Outgoing::Message(out))
            }
            Phase::Suspended(_) | Phase::Over => None,
            Phase::Resuming { request, only_to_close, .. } => {
                let request = request.take().filter(|_| !has_ended || *only_to_close)?;
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
                        // `poll_transmit` has to be called once, to report to the engine that it
                        // cannot send.
                        true => engine.wants_socket_full(),
                        false => engine.wants_transmit(),
                    }
            }
            Phase::Suspended(_) | Phase::Over => false,
            Phase::Resuming { request, only_to_close, .. } => {
                request.is_some() && (!has_ended || *only_to_close)
            }
        }
    }

    /// Whether the socket carries data and the session itself has something to send on it. That can
    /// be its answer, a message that is sent again, or an acknowledgement.
    pub(super) fn has_something_to_send(&self, engine: &Connection) -> bool {
        let Phase::Live { answer } = &self.phase else { return false };
        let is_due = self.received.is_due() && engine.close_reason().is_none();
        answer.is_some() || self.may_replay(engine) || is_due
    }

    /// Whether a message has to be sent again now. A close of this end is sent after all messages
    /// that have to be sent again.
    fn may_replay(&self, engine: &Connection) -> bool {
        let is_closing = engine.is_closed_locally() && engine.has_close_to_send();
        self.replay.has_next() && (engine.close_reason().is_none() || is_closing)
    }

    /// Returns the next item that was not sent before.
    fn poll_new<'a>(
        &mut self,
        engine: &mut Connection,
        now: Time,
        out: &'a mut MessageBuf,
    ) -> Option<Outgoing<'a>> {
        //
        if self.replay.is_full() {
            match engine.wants_transmit() {
                true => engine.handle_socket_full(now),
                false => engine.on_socket_room(now),
            }
        } else {
            // The message with the parameters is not counted. It is sent once, before all counted
            // messages.
            let is_counted = engine.parameters_sent();
            match engine.poll_transmit(now, out) {
                None => {}
                Some(Outgoing::Ping(payload)) => return Some(Outgoing::Ping(payload)),
                Some(Outgoing::Close { code, reason }) => {
                    return Some(Outgoing::Close { code, reason });
                }
                Some(Outgoing::Flush) => return Some(Outgoing::Flush),
                Some(Outgoing::Message(_)) => {
                    // Messages that the engine sends after the end of the connection are never sent
                    // again, so they are not kept.
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

    /// Puts a SESSION_ACK in front of a message, if enough was received since the last SESSION_ACK.
    fn add_acknowledgement(&mut self, now: Time, out: &mut MessageBuf) {
        if self.received.is_worth_sending(now) {
            let count = self.received.acknowledge();
            out.prepend_frame(|out| wire::put_ack(count, out));
        }
    }
}
