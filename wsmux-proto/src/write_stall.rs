//! How long the socket may stay full while there is something to send (SPEC.md C-78).

use std::time::Duration;

use crate::Time;

/// A deadline that is noticed this much too late was missed by this end: its task stalled, its
/// machine was suspended, or its page was in the background. Then the socket may have had room
/// without this end noticing it.
const LOCAL_STALL: Duration = Duration::from_secs(1);

/// The write-stall timer of one connection. It runs while the socket is full and there is something
/// to send.
#[derive(Debug)]
pub(super) struct WriteStall {
    timeout: Option<Duration>,
    /// When the timer was started; `None` while it is stopped.
    since: Option<Time>,
    /// This end has missed the deadline once in this stall. The second time counts, because
    /// otherwise an end that is always late would never give up a peer that does not read.
    forgiven: bool,
}

impl WriteStall {
    pub(super) fn new(timeout: Option<Duration>) -> Self {
        Self { timeout, since: None, forgiven: false }
    }

    /// Whether there is a timeout and the timer is stopped.
    pub(super) fn is_stopped(&self) -> bool {
        self.timeout.is_some() && self.since.is_none()
    }

    /// The socket is full: starts the timer, unless it is running.
    pub(super) fn on_full(&mut self, now: Time) {
        self.since.get_or_insert(now);
    }

    /// The socket has room, or there is nothing to send: stops the timer.
    pub(super) fn stop(&mut self) {
        (self.since, self.forgiven) = (None, false);
    }

    /// When the timeout is over; `None` while the timer is stopped, or for a time that [`Time`]
    /// cannot express.
    pub(super) fn deadline(&self) -> Option<Time> {
        self.since?.checked_add(self.timeout?)
    }

    /// Whether the timeout is over. The first deadline that this end misses in a stall restarts the
    /// timer instead.
    pub(super) fn is_over(&mut self, now: Time) -> bool {
        let Some(late) = self.deadline().and_then(|deadline| now.checked_duration_since(deadline))
        else {
            return false;
        };
        if late < LOCAL_STALL || self.forgiven {
            return true;
        }
        (self.since, self.forgiven) = (Some(now), true);
        false
    }
}
