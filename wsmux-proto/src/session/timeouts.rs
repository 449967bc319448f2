//! The deadlines of a session that can be resumed, and when silence suspends it.

use super::{
    Link,
    replay::Stall,
    resumption::{Gap, Phase, Resumption},
};
use crate::{Connection, ConnectionError, Side, Time, Timeout};

impl Resumption {
    pub(super) fn handle_timeout(&mut self, engine: &mut Connection, link: &mut Link, now: Time) {
        match &self.phase {
            Phase::Live { .. } => return self.handle_live_timeout(engine, link, now),
            //
            Phase::Suspended(gap) | Phase::Resuming { gap, .. } if is_over(gap.deadline, now) => {
                self.end(engine, now);
            }
            Phase::Resuming { deadline, .. } if is_over(*deadline, now) => self.give_up(link),
            Phase::Suspended(_) | Phase::Resuming { .. } | Phase::Over => {}
        }
        engine.handle_suspended_timeout(now);
        if self.has_drained(engine) {
            engine.close_drained(now);
        }
    }

    fn handle_live_timeout(&mut self, engine: &mut Connection, link: &mut Link, now: Time) {
        self.received.on_timeout(now);
        // An idle connection has a deadline for each keep-alive interval.
        self.replay.release_if_empty();
        let is_closing = engine.is_closed_locally() && !engine.is_closed();
        let expired = engine.check_timeouts(now, self.has_something_to_send(engine));
        if engine.close_reason().is_some() {
            // The peer has not answered the close.
            if is_closing && engine.is_closed() && engine.parameters_sent() {
                let deadline = self.limit(now.checked_add(self.timeout));
                let error = ConnectionError::LocallyClosed;
                self.begin_gap(engine, link, Gap { since: now, deadline, error });
            }
            return;
        }
        // An expired timeout and a stall of the replay buffer often have the same cause, so
        // only one of them is handled.
        match (expired, self.replay.check_stall(now)) {
            (_, Some(Stall::Again)) => engine.fail_by_timeout(now, Timeout::WriteStall),
            (Some(timeout), _) => self.on_timeout(engine, link, now, timeout),
            (None, Some(Stall::First)) => self.on_timeout(engine, link, now, Timeout::WriteStall),
            (None, None) => {}
        }
    }

    /// Whether a drain without a socket is complete, so that the connection has nothing left to
    /// wait for.
    fn has_drained(&self, engine: &Connection) -> bool {
        //
        let is_suspended = matches!(self.phase, Phase::Suspended(_));
        is_suspended && engine.is_drained_without_socket() && self.replay.is_empty()
    }

    pub(super) fn poll_timeout(&self, engine: &Connection) -> Option<Time> {
        let deadlines = match &self.phase {
            Phase::Live { .. } if engine.close_reason().is_some() => [None, engine.poll_timeout()],
            Phase::Live { .. } => {
                let local = [self.received.deadline(), self.replay.deadline()];
                [local.into_iter().flatten().min(), engine.poll_timeout()]
            }
            Phase::Suspended(gap) if engine.is_closed_locally() => [gap.deadline, None],
            Phase::Resuming { gap, deadline, .. } if engine.is_closed_locally() => {
                [gap.deadline, *deadline]
            }
            Phase::Suspended(_) | Phase::Resuming { .. } if engine.close_reason().is_some() => {
                [None; 2]
            }
            Phase::Over => [None; 2],
            // The drain is complete, so the connection can be closed at once.
            Phase::Suspended(gap) if self.has_drained(engine) => [Some(gap.since), None],
            Phase::Suspended(gap) => [gap.deadline, engine.poll_suspended_timeout()],
            Phase::Resuming { gap, deadline, .. } => {
                let without = engine.poll_suspended_timeout();
                [gap.deadline.into_iter().chain(*deadline).min(), without]
            }
        };
        deadlines.into_iter().flatten().min()
    }

    /// Suspends or ends a session whose socket carries nothing any more.
    fn on_timeout(
        &mut self,
        engine: &mut Connection,
        link: &mut Link,
        now: Time,
        timeout: Timeout,
    ) {
        // `is_unused` means that nobody uses the connection, and that this end has not pinged
        // to find out whether the connection works. In this case a client does not wait for a new
        // socket. A server waits, because its client may have pinged, and may have noticed the loss
        // of the socket earlier than the server.
        let is_unused = timeout == Timeout::Idle && !engine.awaits_pong();
        let after_loss = now.checked_add(self.timeout);
        let deadline = self.limit(engine.silence_deadline(timeout).or(after_loss));
        if is_unused && engine.side() == Side::Client
            || is_over(deadline, now)
            || !engine.parameters_sent()
        {
            engine.fail_by_timeout(now, timeout);
        } else {
            let error = ConnectionError::TimedOut(timeout);
            self.begin_gap(engine, link, Gap { since: now, deadline, error });
        }
    }
}

/// Whether a deadline has passed.
pub(super) fn is_over(deadline: Option<Time>, now: Time) -> bool {
    deadline.is_some_and(|deadline| deadline <= now)
}
