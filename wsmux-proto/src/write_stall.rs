//! The timer that limits two times: how long the socket may stay full while there is something to
//! send (SPEC.md C-78), and how long the peer of a session may acknowledge nothing (SPEC.md R-22).

use std::time::Duration;

use crate::Time;

/// If this end notices a deadline later than this, it was not running at the deadline. Its task
/// stalled, its machine was suspended, or its page was in the background. Meanwhile the socket may
/// have had room, and this end did not notice it.
const LOCAL_STALL: Duration = Duration::from_secs(1);

/// A timer for the write-stall timeout. A connection has one such timer, which runs while the
/// socket is full and there is something to send. A session has another such timer, which runs
/// while the peer has to acknowledge something.
#[derive(Debug)]
pub(super) struct WriteStall {
    timeout: Option<Duration>,
    /// When the timer was started; `None` while it is stopped.
    since: Option<Time>,
    /// How long the timer ran before it was paused.
    elapsed: Duration,
    /// Whether this end has already noticed a deadline of this stall too late, so that the timer
    /// was restarted. If so, the next deadline ends the connection, even if this end notices that
    /// deadline too late again. Otherwise an end that is always late would never give up a peer
    /// that does not read.
    forgiven: bool,
}

impl WriteStall {
    pub(super) fn new(timeout: Option<Duration>) -> Self {
        Self { timeout, since: None, elapsed: Duration::ZERO, forgiven: false }
    }

    /// Whether there is a timeout and the timer is stopped.
    pub(super) fn is_stopped(&self) -> bool {
        self.timeout.is_some() && self.since.is_none()
    }

    /// Starts the timer. Does nothing if the timer is running.
    pub(super) fn start(&mut self, now: Time) {
        self.since.get_or_insert(now);
    }

    /// Stops the timer because the peer has made progress, or because there is nothing to wait for.
    pub(super) fn stop(&mut self) {
        (self.since, self.elapsed, self.forgiven) = (None, Duration::ZERO, false);
    }

    /// Stops the timer for now. When it is started again, it continues from the time that has
    /// elapsed so far.
    pub(super) fn pause(&mut self, now: Time) {
        if let Some(since) = self.since.take() {
            self.elapsed += now - since;
        }
    }

    /// Returns when the timeout expires. Returns `None` if the timer is stopped, or if [`Time`]
    /// cannot express the time.
    pub(super) fn deadline(&self) -> Option<Time> {
        self.since?.checked_add(self.timeout?.saturating_sub(self.elapsed))
    }

    /// Whether the timeout has expired. If this end notices the deadline too late for the first
    /// time in this stall, this method restarts the timer and returns `false`.
    pub(super) fn is_over(&mut self, now: Time) -> bool {
        let Some(late) = self.deadline().and_then(|deadline| now.checked_duration_since(deadline))
        else {
            return false;
        };
        if late < LOCAL_STALL || self.forgiven {
            return true;
        }
        (self.since, self.elapsed, self.forgiven) = (Some(now), Duration::ZERO, true);
        false
    }
}
