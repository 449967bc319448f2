//! Credit: how much a peer may send, and how much it lets this end send (RFC 9000 §4).

use super::auto_tune::Measure;
use crate::{TransportError, frame::Credit, transport_error::violation};

/// A grant is sent once the peer has less than the window by this part of it. Sooner costs frames,
/// later stalls the sender on a long path.
const GRANT_AT_ONE_IN: u64 = 4;

/// And by no more than this, however large the window: a grant for each 8 ms of a gigabit a second
/// costs nothing, and a sender that gets its credit in pieces that large sends in bursts.
const GRANT_AT_MOST: u64 = 1024 * 1024;

/// The receiver's account of one stream.
#[derive(Debug)]
pub(in crate::streams) struct RecvCredit {
    /// How far ahead of the reader the peer may be in any case.
    initial_window: u64,
    /// And how much further: what the window has grown by, out of the connection's budget.
    growth: u64,
    /// What the peer was allowed, in all.
    granted: u64,
    /// What has come, in all.
    received: u64,
    /// What the application has taken or nobody wants, in all.
    consumed: u64,
    /// None yet of a stream that has brought little: there are thousands of those.
    pub(in crate::streams) measure: Option<Box<Measure>>,
}

impl RecvCredit {
    /// `granted` is what the peer knows already: the window, or nothing where a stream begins with
    /// a grant.
    pub(in crate::streams) fn new(window: u64, granted: u64) -> Self {
        Self { initial_window: window, growth: 0, granted, received: 0, consumed: 0, measure: None }
    }

    /// How far ahead of the reader the peer may be.
    pub(in crate::streams) fn window(&self) -> u64 {
        self.initial_window + self.growth
    }

    pub(in crate::streams) fn growth(&self) -> u64 {
        self.growth
    }

    pub(in crate::streams) fn grow(&mut self, bytes: u64) {
        self.growth += bytes;
    }

    /// Sets what the window is without growth. A larger one takes the place of growth; returns of
    /// how much.
    pub(in crate::streams) fn set_initial_window(&mut self, window: u64) -> u64 {
        let more = window.saturating_sub(self.initial_window);
        self.initial_window = window;
        self.release_growth(self.growth.saturating_sub(more))
    }

    /// No more credit is granted, and `unread` bytes are all that the window still holds. Returns
    /// how much of its growth is free.
    pub(in crate::streams) fn end(&mut self, unread: u64) -> u64 {
        self.release_growth(unread.saturating_sub(self.initial_window))
    }

    fn release_growth(&mut self, keep: u64) -> u64 {
        let free = self.growth.saturating_sub(keep);
        self.growth -= free;
        free
    }

    /// What the peer was allowed, in all.
    pub(in crate::streams) fn granted(&self) -> u64 {
        self.granted
    }

    pub(in crate::streams) fn received(&self) -> u64 {
        self.received
    }

    pub(in crate::streams) fn consumed(&self) -> u64 {
        self.consumed
    }

    /// Whether the peer may send up to `end`.
    pub(in crate::streams) fn check(&self, end: u64) -> Result<(), TransportError> {
        // C-27 (RFC 9000 §4.1), J-26
        if end > self.granted {
            return Err(violation::flow_control(format!(
                "{end} bytes on a stream whose credit is {}",
                self.granted
            )));
        }
        Ok(())
    }

    /// Counts bytes up to `end` as received.
    pub(in crate::streams) fn receive_to(&mut self, end: u64) {
        self.received = self.received.max(end);
    }

    pub(in crate::streams) fn consume(&mut self, bytes: u64) {
        self.consumed += bytes;
        debug_assert!(self.consumed <= self.received);
    }

    /// Whether the peer has been allowed nothing yet.
    pub(in crate::streams) fn nothing_granted(&self) -> bool {
        self.granted == 0
    }

    /// What the peer may still send.
    pub(in crate::streams) fn left(&self) -> u64 {
        self.granted - self.received
    }

    /// Whether the peer has to wait for more.
    pub(in crate::streams) fn is_used_up(&self) -> bool {
        self.received == self.granted
    }

    /// Whether a grant is worth a frame.
    pub(in crate::streams) fn grant_is_due(&self) -> bool {
        let behind = (self.consumed + self.window()).saturating_sub(self.granted);
        // C-38
        behind > 0 && behind >= (self.window() / GRANT_AT_ONE_IN).min(GRANT_AT_MOST)
    }

    /// The grant that gives the peer its whole window again; `None` when it has it.
    pub(in crate::streams) fn grant(&mut self, relative: bool) -> Option<Credit> {
        // J-28
        let total = self.consumed + self.window();
        // C-41 (RFC 9000 §4.1)
        let more = total.checked_sub(self.granted).filter(|&more| more > 0)?;
        self.granted = total;
        Some(if relative { Credit::More(more) } else { Credit::Total(total) })
    }
}

/// The sender's account: of one stream, or of the whole connection.
#[derive(Debug)]
pub(in crate::streams) struct SendCredit {
    limit: u64,
    used: u64,
    /// The limit that a BLOCKED frame last reported.
    reported: Option<u64>,
}

impl SendCredit {
    pub(in crate::streams) fn new(limit: u64) -> Self {
        Self { limit, used: 0, reported: None }
    }

    pub(in crate::streams) fn used(&self) -> u64 {
        self.used
    }

    pub(in crate::streams) fn left(&self) -> u64 {
        self.limit - self.used
    }

    pub(in crate::streams) fn take(&mut self, bytes: u64) {
        debug_assert!(bytes <= self.left());
        self.used += bytes;
    }

    /// Whether the limit rose; a total that is lower than before is an old one (RFC 9000 §4.1).
    pub(in crate::streams) fn add(&mut self, credit: Credit) -> Result<bool, TransportError> {
        let limit = match credit {
            Credit::Total(total) => total,
            Credit::More(more) => {
                // The only wire with increments holds what is left in 32 bits (J-27).
                if self.left() + more > u64::from(u32::MAX) {
                    return Err(violation::flow_control("credit grows past 2^32 - 1"));
                }
                self.limit + more
            }
        };
        let rose = limit > self.limit;
        // Q-39 (RFC 9000 §4.1, §4.6)
        self.limit = self.limit.max(limit);
        Ok(rose)
    }

    /// Whether the limit is reached and no BLOCKED frame has reported it.
    pub(in crate::streams) fn is_blocked_unreported(&self) -> bool {
        self.left() == 0 && self.reported != Some(self.limit)
    }

    /// The limit that a BLOCKED frame is to report, once for each limit.
    pub(in crate::streams) fn report_blocked(&mut self) -> Option<u64> {
        self.is_blocked_unreported().then(|| {
            self.reported = Some(self.limit);
            self.limit
        })
    }
}
