//! Credit: how much the peer may send, and how much it allows this end to send (RFC 9000 §4).

use super::auto_tune::Measure;
use crate::{TransportError, frame::Credit, transport_error::violation};

/// A grant is sent when the peer has used one part in this many of its window. An earlier grant
/// costs frames, and a later one stalls the sender on a long path.
const GRANT_AT_ONE_IN: u64 = 4;

/// A grant is sent at the latest when the peer has used this many bytes, even of a larger window.
/// At a gigabit per second that is one grant every 8 ms, which costs nothing. Larger grants would
/// make the sender send in bursts.
const GRANT_AT_MOST: u64 = 1024 * 1024;

/// The credit that this end gives to the peer on one stream.
///
/// The invariant: `consumed` <= `received` <= `granted`, and none of them ever falls.
#[derive(Debug)]
pub(in crate::streams) struct RecvCredit {
    /// How many bytes the peer may be ahead of the reader, without growth.
    initial_window: u64,
    /// By how many bytes the window has grown. They count against the connection's budget.
    growth: u64,
    /// How many bytes the peer may send in all.
    granted: u64,
    /// How many bytes were received in all.
    received: u64,
    /// How many bytes the application has read, or were dropped, in all.
    consumed: u64,
    /// `None` for a stream on which little was received, to save memory: there may be thousands.
    pub(in crate::streams) measure: Option<Box<Measure>>,
}

impl RecvCredit {
    /// `granted` is the credit that the peer knows of: the declared window, or 0 where a stream
    /// begins with a grant.
    pub(in crate::streams) fn new(window: u64, granted: u64) -> Self {
        Self { initial_window: window, growth: 0, granted, received: 0, consumed: 0, measure: None }
    }

    /// How many bytes the peer may be ahead of the reader.
    pub(in crate::streams) fn window(&self) -> u64 {
        self.initial_window + self.growth
    }

    pub(in crate::streams) fn growth(&self) -> u64 {
        self.growth
    }

    pub(in crate::streams) fn grow(&mut self, bytes: u64) {
        self.growth += bytes;
    }

    /// Sets the window without growth. A larger window replaces growth. Returns how much growth it
    /// has replaced.
    pub(in crate::streams) fn set_initial_window(&mut self, window: u64) -> u64 {
        let more = window.saturating_sub(self.initial_window);
        self.initial_window = window;
        self.release_growth(self.growth.saturating_sub(more))
    }

    /// No more credit is granted, and the window contains only `unread` bytes any more. Returns how
    /// much of its growth is not needed.
    pub(in crate::streams) fn end(&mut self, unread: u64) -> u64 {
        self.release_growth(unread.saturating_sub(self.initial_window))
    }

    fn release_growth(&mut self, keep: u64) -> u64 {
        let free = self.growth.saturating_sub(keep);
        self.growth -= free;
        free
    }

    /// How many bytes the peer may send in all.
    pub(in crate::streams) fn granted(&self) -> u64 {
        self.granted
    }

    pub(in crate::streams) fn received(&self) -> u64 {
        self.received
    }

    pub(in crate::streams) fn consumed(&self) -> u64 {
        self.consumed
    }

    /// Checks that the peer may send bytes up to the offset `end`.
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

    /// Counts bytes up to the offset `end` as received.
    pub(in crate::streams) fn receive_to(&mut self, end: u64) {
        self.received = self.received.max(end);
    }

    pub(in crate::streams) fn consume(&mut self, bytes: u64) {
        self.consumed += bytes;
        debug_assert!(self.consumed <= self.received);
    }

    /// Whether the peer has had no credit so far.
    pub(in crate::streams) fn nothing_granted(&self) -> bool {
        self.granted == 0
    }

    /// How many bytes the peer may still send.
    pub(in crate::streams) fn left(&self) -> u64 {
        self.granted - self.received
    }

    /// Whether the peer has used all of its credit.
    pub(in crate::streams) fn is_used_up(&self) -> bool {
        self.received == self.granted
    }

    /// Whether a grant is worth a frame.
    pub(in crate::streams) fn grant_is_due(&self) -> bool {
        let behind = (self.consumed + self.window()).saturating_sub(self.granted);
        // C-38
        behind > 0 && behind >= (self.window() / GRANT_AT_ONE_IN).min(GRANT_AT_MOST)
    }

    /// The grant that gives the peer its whole window again; `None` if it has that.
    pub(in crate::streams) fn grant(&mut self, relative: bool) -> Option<Credit> {
        // J-28
        let total = self.consumed + self.window();
        // C-41 (RFC 9000 §4.1)
        let more = total.checked_sub(self.granted).filter(|&more| more > 0)?;
        self.granted = total;
        Some(if relative { Credit::More(more) } else { Credit::Total(total) })
    }
}

/// The credit that the peer gives to this end, for one stream or for the connection.
///
/// The invariant: `used` <= `limit`, and neither ever falls.
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

    /// Adds credit, and returns whether the limit has risen. A lower total than before is ignored,
    /// because it is out of date (RFC 9000 §4.1).
    pub(in crate::streams) fn add(&mut self, credit: Credit) -> Result<bool, TransportError> {
        let limit = match credit {
            Credit::Total(total) => total,
            Credit::More(more) => {
                // On the only wire with increments, what is left has to fit into 32 bits (J-27).
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
