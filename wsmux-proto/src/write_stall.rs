//! How long the socket may take nothing while there is something to send (SPEC.md C-78).

use std::time::Duration;

use crate::Time;

/// A deadline that is found this much too late was missed by this end (a stalled task, a suspended machine, a
/// page in the background): the socket may have had room that this end did not notice.
const OWN_STALL: Duration = Duration::from_secs(1);

/// The clock of one connection. It runs while the socket is full and there is something to send.
#[derive(Debug)]
pub(super) struct WriteStall {
    timeout: Option<Duration>,
    /// Since when the socket has taken nothing.
    since: Option<Time>,
    /// This end has missed the deadline once in this stall. A node that is always late would otherwise never get rid of
    /// such a peer.
    forgiven: bool,
}

impl WriteStall {
    pub(super) fn new(timeout: Option<Duration>) -> Self {
        Self { timeout, since: None, forgiven: false }
    }

    /// Whether the clock should run and does not.
    pub(super) fn stands(&self) -> bool {
        self.timeout.is_some() && self.since.is_none()
    }

    /// The socket takes nothing.
    pub(super) fn on_full(&mut self, now: Time) {
        self.since.get_or_insert(now);
    }

    /// The socket takes a message, or there is none to take.
    pub(super) fn on_taken(&mut self) {
        (self.since, self.forgiven) = (None, false);
    }

    /// When the peer has had its time; `None` while the clock stands, or for a time beyond what a clock can hold.
    pub(super) fn deadline(&self) -> Option<Time> {
        self.since?.checked_add(self.timeout?)
    }

    /// Whether the peer has had its time. The first deadline that this end missed itself restarts the clock.
    pub(super) fn is_over(&mut self, now: Time) -> bool {
        let Some(late) = self.deadline().and_then(|deadline| now.checked_duration_since(deadline))
        else {
            return false;
        };
        if late < OWN_STALL || self.forgiven {
            return true;
        }
        (self.since, self.forgiven) = (Some(now), true);
        false
    }
}
