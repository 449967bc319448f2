//! The messages that this end has received, and when it acknowledges them.

use std::time::Duration;

use super::replay::MESSAGE_COST;
use crate::Time;

/// A message is acknowledged no later than this time after its arrival.
const DELAY: Duration = Duration::from_secs(1);

/// Once the oldest unacknowledged message is this old, the next message that is sent for another
/// reason also carries an acknowledgement.
const RIDE_AFTER: Duration = Duration::from_millis(250);

/// Once the messages that were not acknowledged cost this much, any message that is sent anyway
/// carries an acknowledgement. So the peer of a busy connection keeps few bytes, which stay in the
/// fastest cache of its processor. An acknowledgement takes at most 16 bytes.
const RIDE_ABOVE: u64 = 16 * 1024;

/// An acknowledgement is due when the unacknowledged messages cost the peer this much, even if a
/// quarter of the peer's budget is more. A peer that keeps fewer bytes reuses the same memory again
/// and again, so this memory stays in the cache of its processor.
const LARGEST_STEP: u64 = 512 * 1024;

/// If at most this many bytes wait to be acknowledged, no acknowledgement is sent for them alone.
/// Otherwise an idle connection would acknowledge each ping, and each answer to a ping.
pub(super) const NEGLIGIBLE: u64 = 64;

/// Counts the received messages, and the messages that this end has yet to acknowledge.
#[derive(Debug)]
pub(super) struct Received {
    count: u64,
    /// The cost of the unacknowledged messages, as the peer counts it.
    cost: u64,
    /// The length of the unacknowledged messages in bytes.
    bytes: u64,
    /// When the first of the unacknowledged messages arrived.
    since: Option<Time>,
    /// An acknowledgement is due when the unacknowledged messages cost this much.
    step: u64,
    /// Whether an acknowledgement has to be sent even if nothing else is.
    due: bool,
}

impl Received {
    /// `peer_budget` is the replay budget that the peer has declared, in bytes.
    pub(super) fn new(peer_budget: u64) -> Self {
        let step = (peer_budget / 4).min(LARGEST_STEP);
        Self { count: 0, cost: 0, bytes: 0, since: None, step, due: false }
    }

    /// Returns how many messages have been received.
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// Counts a message.
    pub(super) fn on_message(&mut self, now: Time, len: usize) {
        self.count += 1;
        self.bytes += len as u64;
        self.cost += len as u64 + MESSAGE_COST;
        self.since.get_or_insert(now);
        //
        self.due |= self.cost >= self.step;
    }

    /// Whether an acknowledgement has to be sent even if nothing else is.
    pub(super) fn is_due(&self) -> bool {
        self.due
    }

    /// Whether a message that is sent anyway should carry an acknowledgement.
    pub(super) fn is_worth_sending(&self, now: Time) -> bool {
        self.due
            || self.cost >= RIDE_ABOVE.min(self.step / 2)
            || self.since.is_some_and(|since| now - since >= RIDE_AFTER)
    }

    /// Returns when an acknowledgement becomes due. Returns `None` if it is due already, or if at
    /// most [`NEGLIGIBLE`] bytes are unacknowledged.
    pub(super) fn deadline(&self) -> Option<Time> {
        let waits = !self.due && self.bytes > NEGLIGIBLE;
        self.since.filter(|_| waits)?.checked_add(DELAY)
    }

    /// Handles the deadline.
    pub(super) fn on_timeout(&mut self, now: Time) {
        self.due |= self.deadline().is_some_and(|deadline| deadline <= now);
    }

    /// Returns the number of received messages, and counts all of them as acknowledged.
    pub(super) fn acknowledge(&mut self) -> u64 {
        (self.cost, self.bytes, self.since, self.due) = (0, 0, None, false);
        self.count
    }
}
