//! Credit: how much the peer may send, and how much it allows this end to send (RFC 9000 §4).

use super::auto_tune::Measure;
use crate::{TransportError, frame::Credit, transport_error::violation};

/// A grant is sent when the application has read a part of the window since the last grant. The
/// size of this part is the window divided by this number. Granting earlier would cost more frames,
/// and granting later would stall the sender on a long path.
const GRANT_AT_ONE_IN: u64 = 4;

/// A grant is sent at the latest when the application has read this many bytes since the last
/// grant, however large the window is. At one gigabit per second this makes one grant every 8 ms,
/// which costs nothing noticeable. Larger grants would make the peer send in bursts.
const GRANT_AT_MOST: u64 = 1024 * 1024;

/// The credit that this end gives to the peer on one stream.
///
/// Invariant: `consumed` <= `received` <= `granted`, and none of them ever decreases.
#[derive(Debug)]
pub(in crate::streams) struct RecvCredit {
    /// The size of the window without its growth.
    initial_window: u64,
    /// How many bytes the peer may send in all.
    granted: u64,
    /// How many bytes were received in all.
    received: u64,
    /// How many bytes the application has read, or this end has dropped, in all.
    consumed: u64,
    /// The measurement by which the window grows. It is `None` until an eighth of the initial
    /// window has been received. The `None` saves memory, because there may be thousands of
    /// streams.
    pub(in crate::streams) measure: Option<Box<Measure>>,
}

impl RecvCredit {
    /// Creates the credit of a new stream. `granted` is the credit that the peer already knows of:
    /// the declared window, or 0 if the wire opens a stream with a grant.
    pub(in crate::streams) fn new(window: u64, granted: u64) -> Self {
        Self { initial_window: window, granted, received: 0, consumed: 0, measure: None }
    }

    /// Returns the window. It bounds the bytes that the peer has sent and the application has not
    /// read.
    pub(in crate::streams) fn window(&self) -> u64 {
        self.initial_window + self.growth()
    }

    pub(in crate::streams) fn growth(&self) -> u64 {
        self.measure.as_ref().map_or(0, |measure| measure.growth)
    }

    /// Lets the window grow. This has no effect on a window that is not measured.
    pub(in crate::streams) fn grow(&mut self, bytes: u64) {
        debug_assert!(self.measure.is_some());
        if let Some(measure) = &mut self.measure {
            measure.growth += bytes;
        }
    }

    /// Sets the initial window. If this makes the initial window larger, the additional bytes
    /// replace bytes of the window's growth. Returns how many bytes of growth were replaced and
    /// released.
    pub(in crate::streams) fn set_initial_window(&mut self, window: u64) -> u64 {
        let more = window.saturating_sub(self.initial_window);
        self.initial_window = window;
        self.release_growth(self.growth().saturating_sub(more))
    }

    /// Stops granting credit: from now on the window only has to cover the `unread` bytes. Returns
    /// how many bytes of the window's growth were released.
    pub(in crate::streams) fn end(&mut self, unread: u64) -> u64 {
        self.release_growth(unread.saturating_sub(self.initial_window))
    }

    fn release_growth(&mut self, keep: u64) -> u64 {
        let Some(measure) = &mut self.measure else { return 0 };
        let free = measure.growth.saturating_sub(keep);
        measure.growth -= free;
        free
    }

    /// Returns how many bytes the peer may send in all.
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

    /// Whether no credit has been granted to the peer so far.
    pub(in crate::streams) fn nothing_granted(&self) -> bool {
        self.granted == 0
    }

    /// Returns how many more bytes the peer may send.
    pub(in crate::streams) fn left(&self) -> u64 {
        self.granted - self.received
    }

    /// Whether the peer has used all of its credit.
    pub(in crate::streams) fn is_used_up(&self) -> bool {
        self.received == self.granted
    }

    /// Whether a grant would be large enough to be worth a frame.
    pub(in crate::streams) fn grant_is_due(&self) -> bool {
        let behind = (self.consumed + self.window()).saturating_sub(self.granted);
        // C-38
        behind > 0 && behind >= (self.window() / GRANT_AT_ONE_IN).min(GRANT_AT_MOST)
    }

    /// Returns the grant that lets the peer use its whole window again. Returns `None` if the peer
    /// already has credit for the whole window.
    pub(in crate::streams) fn grant(&mut self, relative: bool) -> Option<Credit> {
        // J-28
        let total = self.consumed + self.window();
        // C-41 (RFC 9000 §4.1)
        let more = total.checked_sub(self.granted).filter(|&more| more > 0)?;
        self.granted = total;
        Some(if relative { Credit::More(more) } else { Credit::Total(total) })
    }
}

/// The credit that the peer gives to this end, either for one stream or for the connection.
///
/// Invariant: `used` <= `limit`, and neither of the two ever decreases.
#[derive(Debug)]
pub(in crate::streams) struct SendCredit {
    limit: u64,
    used: u64,
    /// Whether a BLOCKED frame has reported the present limit.
    reported: bool,
}

impl SendCredit {
    pub(in crate::streams) fn new(limit: u64) -> Self {
        Self { limit, used: 0, reported: false }
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

    /// Adds credit. Returns whether the limit has risen. A total that is lower than the present
    /// limit is ignored, because it is out of date (RFC 9000 §4.1).
    pub(in crate::streams) fn add(&mut self, credit: Credit) -> Result<bool, TransportError> {
        let limit = match credit {
            Credit::Total(total) => total,
            Credit::More(more) => {
                // Only js-ws has grants that are increments, and on js-ws the remaining credit has
                // to fit into 32 bits (J-27).
                if self.left() + more > u64::from(u32::MAX) {
                    return Err(violation::flow_control("credit grows past 2^32 - 1"));
                }
                self.limit + more
            }
        };
        let rose = limit > self.limit;
        // Q-39 (RFC 9000 §4.1, §4.6)
        self.limit = self.limit.max(limit);
        self.reported &= !rose;
        Ok(rose)
    }

    /// Whether the limit is reached and no BLOCKED frame has reported it.
    pub(in crate::streams) fn is_blocked_unreported(&self) -> bool {
        self.left() == 0 && !self.reported
    }

    /// Returns the limit that a BLOCKED frame has to report. Each limit is returned only once.
    pub(in crate::streams) fn report_blocked(&mut self) -> Option<u64> {
        self.is_blocked_unreported().then(|| {
            self.reported = true;
            self.limit
        })
    }
}
