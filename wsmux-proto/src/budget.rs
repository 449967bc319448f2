//! Budgets for the useless work that a peer can make this end do. Each kind of useless work has a
//! budget of its own (SPEC.md §8.6).
//!
//! Useless work consumes its budget. Useful work replenishes the budget, because an attacker gains
//! nothing by useful work. Time replenishes the budget, too, but only at a rate at which useless
//! work is harmless. So useful work never exhausts a budget, however fast it is, and slow useless
//! work never exhausts a budget, however long it lasts. A peer may also do useless work in
//! proportion to its useful work. Such useless work costs the peer as much as it costs this end.
//!
//! The budgets do not count work that is already limited by other rules. Credit bounds stream data,
//! and the stream limit bounds how many streams are opened (C-40). If the peer does not read,
//! control frames do not pile up at this end, because this end keeps them as state and not in a
//! queue (C-32).

use std::{borrow::Cow, time::Duration};

use super::{TransportError, transport_error::violation};
use crate::Time;

/// The largest number of stream refusals that may wait to be sent. Refusals wait if the peer opens
/// streams and does not read. Each refusal is two frames, so all refusals together take some KiB. A
/// budget alone could not limit the refusals that wait, because time replenishes a budget even
/// while the peer reads nothing.
pub(super) const MAX_REFUSALS: usize = 1_024;

/// A kind of useless work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum UselessWork {
    /// A bidirectional stream that the peer opened and then cancelled. The peer cancels a stream if
    /// it resets or stops the stream before the application has read from the stream or answered
    /// it.
    Cancelled,
    /// A stream that the peer opened above a limit that the peer cannot know. Either this end had
    /// to refuse the stream, or the peer cancelled the stream while the stream waited to be opened
    /// at this end.
    Refused,
    /// A frame that grants credit or streams: MAX_DATA, MAX_STREAM_DATA or MAX_STREAMS.
    Grant,
    /// A frame that reports that the peer is blocked: DATA_BLOCKED, STREAM_DATA_BLOCKED or
    /// STREAMS_BLOCKED.
    Blocked,
    /// A WebSocket ping, a ping frame of the wire, or a pong that answers no ping.
    Ping,
    /// A frame that changes nothing about a live stream. An empty record and an empty datagram
    /// count here, too.
    Empty,
    /// A frame about a stream that has ended, or about a half of a stream that has ended.
    Late,
    /// A byte of padding.
    Padding,
}

/// How much of one kind of useless work is allowed.
struct Budget {
    name: &'static str,
    /// How much is allowed at once.
    burst: u64,
    /// How much more is allowed at once for each stream. Here the number of streams is the largest
    /// number of streams that were ever open at once.
    for_each_stream: u64,
    /// How much is replenished each second.
    per_second: u64,
    /// Computes how much the useful work has replenished in total.
    earned: fn(&UsefulWork) -> u64,
}

/// The burst and the rate per second for frames that honest peers send rarely, or together with
/// useful frames. This end processes the burst in twenty milliseconds. If the peer sends
/// frames at this rate all the time, they use two thousandths of a core.
const RARE: (u64, u64) = (1_000, 100);

/// The burst and the rate per second for frames that were useful when the peer sent them, and that
/// became useless while they were on a long path. If the peer sends frames at this rate all the
/// time, they use two hundredths of a core.
const IN_FLIGHT: (u64, u64) = (10_000, 1_000);

/// How many late frames the peer may send for each frame that this end sends. For example, after
/// this end has sent the end of a stream, two late frames may arrive: the answer of a js-ws peer,
/// and a grant that the peer sent earlier.
const ANSWERS: u64 = 2;

/// By how many cancelled streams each served stream replenishes the budget. A connection on which
/// four of five streams are cancelled is still useful. For example, a client may send a new search
/// for each letter that the user types, and cancel the previous search. Or it may send a request to
/// several servers and use only the first answer.
const CANCELLED_FOR_EACH_SERVED: u64 = 4;

/// How many useless frames of one kind are allowed for each stream, in addition to the burst. A
/// peer may send a frame about every stream at the same moment, and soon after that another frame
/// about every stream. This happens when the windows of all streams have changed, when the
/// application has used up the credit of all streams, or when closing a page stops or resets all
/// streams. These frames cost little, because they take less memory than the state of the streams.
const FOR_EACH_STREAM: u64 = 2;

/// The burst of cancelled streams, as a multiple of the number of streams that may be open. A
/// client may cancel all streams that it has open, and may open and cancel the same number again
/// before this end has freed the first ones. A factor of two is enough for such a client. A factor
/// of ten leaves a margin.
const CANCELLED_BURST_IN_LIMITS: u64 = 10;

/// The smallest burst of cancelled streams, for connections whose limit on streams is low. A burst
/// of this size is harmless.
const MIN_CANCELLED_BURST: u64 = 1_000;

/// How many bytes of padding the peer may send for each useful frame. Peers that shape their
/// traffic pad each message to the same size. That size is at most the usual limit on the size of a
/// message.
const PADDING_BESIDE_A_FRAME: u64 = 64 * 1024;

/// The burst and the rate of padding, in bytes. A peer may send padding all the time to hide when
/// it sends other frames. The rate allows 128 Mbit/s of padding. The burst is what a peer on the
/// same machine can send in half a second. Padding is cheap, because finding the end of the padding
/// costs less than unmasking the message.
const PADDING_BURST: u64 = 64 * 1024 * 1024;
const PADDING_PER_SECOND: u64 = 16 * 1024 * 1024;

/// The peer may send one grant for this many bytes of stream data that this end sends. On the js-ws
/// wire the peer may send one grant for each byte, because js-ws peers send a grant after every
/// read, even after a read of a single byte.
const BYTES_FOR_A_GRANT: u64 = 64;

/// The largest number of parts in which an implementation renews a window. wsmux renews a quarter
/// at a time (C-38), and other implementations renew an eighth. If the peer has declared a small
/// window, its grants are small as well, and this end cannot make them larger. So the peer may send
/// one grant for each part of a small window. The peer gains nothing by declaring a small window.
/// It receives little data, and each part of the window costs both ends one frame. To send one part
/// of the window, this end looks at no other stream (C-85). The peer could cause the same work with
/// the same number of stream frames of a single byte each, and no budget counts such stream frames.
/// If this end can send a frame that is longer than the declared window, the true window must be
/// larger. So the bytes of such a long frame allow no more grants than the same number of bytes on
/// a stream with a large window.
const PARTS_OF_A_WINDOW: u64 = 8;

/// The burst and the rate per second for grants. A peer whose reader takes one byte at a time sends
/// a grant after each read. No honest reader exceeds this rate, which uses a hundredth of a core.
const GRANTS: (u64, u64) = (10_000, 10_000);

impl UselessWork {
    const COUNT: usize = Self::Padding as usize + 1;

    fn budget(self) -> Budget {
        let budget = |name, (burst, per_second), earned| {
            let for_each_stream = match self {
                Self::Grant | Self::Blocked | Self::Empty | Self::Late => FOR_EACH_STREAM,
                _ => 0,
            };
            Budget { name, burst, for_each_stream, per_second, earned }
        };
        match self {
            // The burst and the rate for cancelled streams follow from the settings of the
            // connection.
            Self::Cancelled => budget("cancelled streams", (0, 0), |work| {
                work.served.saturating_mul(CANCELLED_FOR_EACH_SERVED)
            }),
            // A refusal makes this end send frames, so frames that this end sends do not count as
            // useful here.
            Self::Refused => budget("refused streams", IN_FLIGHT, |work| work.received),
            Self::Grant => {
                budget("grants", GRANTS, |work| work.grants + work.grant_bytes / BYTES_FOR_A_GRANT)
            }
            // An honest peer sends one such frame for each limit that it reaches. This end has sent
            // a frame to advertise that limit, and the peer has sent frames to reach it. So the
            // frames of both ends count.
            Self::Blocked => budget("blocked frames", RARE, |work| work.received + work.sent),
            // The rate allows more pings than a keep-alive needs, because some peers measure the
            // round-trip time with each message.
            Self::Ping => budget("pings", RARE, |work| work.received + work.sent),
            Self::Empty => budget("frames without effect", RARE, |work| work.received + work.sent),
            Self::Late => budget("frames of ended streams", IN_FLIGHT, |work| {
                work.received + work.sent * ANSWERS
            }),
            Self::Padding => budget("padding", (PADDING_BURST, PADDING_PER_SECOND), |work| {
                (work.received + work.sent).saturating_mul(PADDING_BESIDE_A_FRAME)
            }),
        }
    }
}

/// The useful work of a connection so far. The counts never decrease.
#[derive(Debug, Default)]
struct UsefulWork {
    /// Received frames that brought bytes or the end of a stream, plus streams that either end
    /// opened.
    received: u64,
    /// Frames that this end has sent about streams.
    sent: u64,
    /// Streams of the peer that were answered, or read to their end.
    served: u64,
    /// How many grants the peer may send because streams were opened and frames were sent.
    grants: u64,
    /// Bytes of stream data that this end has sent. On a stream with a small window each byte
    /// counts several times, because the peer's grants are smaller on such a stream.
    grant_bytes: u64,
}

/// How much of one budget has been consumed.
#[derive(Debug, Default, Clone, Copy)]
struct Account {
    consumed: u64,
    /// How much the useful work had replenished in total when `consumed` was last reduced.
    earned: u64,
    /// When time last replenished the budget. Everything that was replenished until then has been
    /// subtracted from `consumed`.
    replenished_at: Time,
}

/// All budgets of a connection.
#[derive(Debug)]
pub(super) struct Budgets {
    accounts: [Account; UselessWork::COUNT],
    work: UsefulWork,
    most_streams: u64,
    cancelled_burst: u64,
    waiting: u64,
    /// `None` lets the peer cancel any number of streams.
    cancelled_per_second: Option<u64>,
    /// Whether the peer sends a grant after each read, rather than for each part of a window.
    grants_by_read: bool,
    /// How many frames and streams were charged to any of the budgets.
    pub(super) useless: u64,
}

impl Budgets {
    pub(super) fn new(cancelled_per_second: Option<u64>, grants_by_read: bool, now: Time) -> Self {
        Self {
            accounts: [Account { replenished_at: now, ..Account::default() }; UselessWork::COUNT],
            work: UsefulWork::default(),
            most_streams: 0,
            cancelled_burst: MIN_CANCELLED_BURST,
            waiting: 0,
            cancelled_per_second,
            grants_by_read,
            useless: 0,
        }
    }

    /// Records that the peer may have `count` streams open at once. A later call with a lower count
    /// changes nothing.
    pub(super) fn allow_streams(&mut self, count: u64) {
        let burst = count.saturating_mul(CANCELLED_BURST_IN_LIMITS);
        self.cancelled_burst = self.cancelled_burst.max(burst);
    }

    /// Records that `count` streams of the peer may wait until they can be opened. The peer may
    /// cancel all of them at once.
    pub(super) fn allow_waiting(&mut self, count: u64) {
        self.waiting = count;
    }

    /// Counts a frame of the peer that brought something new.
    pub(super) fn useful_frame(&mut self) {
        self.work.received += 1;
    }

    /// Counts a stream that either end has opened. `open` is the number of streams that are open
    /// now. The peer may immediately send a grant for the new stream.
    pub(super) fn stream_opened(&mut self, open: usize) {
        self.work.received += 1;
        self.work.grants += 1;
        self.most_streams = self.most_streams.max(open as u64);
    }

    /// Counts a stream of the peer that has ended, and that was answered or read to its end.
    pub(super) fn stream_served(&mut self) {
        self.work.served += 1;
    }

    /// Counts a bidirectional stream that has ended because the peer cancelled it before the
    /// application read or answered it. The budget is checked when the peer opens the next stream.
    /// Unidirectional streams do not count. If the application has read nothing from such a stream,
    /// it has only accepted the stream. Accepting such a stream costs no more than accepting an
    /// empty stream, and an empty stream counts as useful work.
    pub(super) fn stream_cancelled(&mut self) {
        self.deduct(UselessWork::Cancelled, 1);
    }

    /// Counts a control frame that this end has sent about a stream.
    pub(super) fn control_sent(&mut self) {
        self.work.sent += 1;
    }

    /// Counts a stream frame that this end has sent. `bytes` is the length of its data. `cut` says
    /// whether the frame is shorter because credit was lacking. `window` is the window that the
    /// peer has declared for the stream, or 0 if the peer has declared no window.
    pub(super) fn data_sent(&mut self, bytes: usize, cut: bool, window: u64) {
        let bytes = bytes as u64;
        self.work.sent += 1;
        // C-63
        self.work.grants += match self.grants_by_read {
            true => bytes,
            false => u64::from(!cut),
        };
        // C-86
        let is_small = (1..BYTES_FOR_A_GRANT * PARTS_OF_A_WINDOW).contains(&window);
        self.work.grant_bytes += match is_small && bytes <= window {
            true => bytes * BYTES_FOR_A_GRANT / (window / PARTS_OF_A_WINDOW).max(1),
            // The usual case needs no division.
            false => bytes,
        };
    }

    fn deduct(&mut self, kind: UselessWork, amount: u64) {
        self.useless += 1;
        let consumed = &mut self.accounts[kind as usize].consumed;
        *consumed = consumed.saturating_add(amount);
    }

    /// Charges useless work that the peer has caused. Fails if the budget for this work is
    /// exhausted.
    pub(super) fn consume(
        &mut self,
        kind: UselessWork,
        amount: u64,
        now: Time,
    ) -> Result<(), TransportError> {
        self.deduct(kind, amount);
        self.check(kind, now)
    }

    /// Fails if the budget for this kind of work is exhausted.
    pub(super) fn check(&mut self, kind: UselessWork, now: Time) -> Result<(), TransportError> {
        let budget = kind.budget();
        let (burst, per_second) = match kind {
            UselessWork::Cancelled => match self.cancelled_per_second {
                Some(per_second) => (self.cancelled_burst, per_second),
                // C-64
                None => return Ok(()),
            },
            UselessWork::Refused => (budget.burst.max(self.waiting), budget.per_second),
            _ => (budget.burst + budget.for_each_stream * self.most_streams, budget.per_second),
        };
        let account = &mut self.accounts[kind as usize];
        // The amount that has been replenished is rarely needed, so it is computed only if
        // `consumed` is above the burst.
        if account.consumed <= burst
            || account.replenish(&budget, per_second, &self.work, now) <= burst
        {
            return Ok(());
        }
        // C-60 (QMux "Denial of Service"; RFC 9113 §10.5)
        Err(violation::excessive_load(exhausted(&budget)))
    }
}

impl Account {
    /// Subtracts from `consumed` what has been replenished since the last call. Returns what is
    /// left.
    #[cold]
    fn replenish(&mut self, budget: &Budget, per_second: u64, work: &UsefulWork, now: Time) -> u64 {
        let earned = (budget.earned)(work);
        let by_work = earned.saturating_sub(self.earned);
        self.earned = earned;
        let elapsed = (now - self.replenished_at).as_nanos();
        let by_time = elapsed.saturating_mul(u128::from(per_second)) / NANOS_PER_SECOND;
        // Time that has not yet earned a whole unit is counted in a later call.
        if let Some(nanos) = (by_time * NANOS_PER_SECOND).checked_div(u128::from(per_second)) {
            let counted = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
            self.replenished_at += counted;
        }
        let by_time = u64::try_from(by_time).unwrap_or(u64::MAX);
        // C-61
        self.consumed = self.consumed.saturating_sub(by_work.saturating_add(by_time));
        self.consumed
    }
}

const NANOS_PER_SECOND: u128 = 1_000_000_000;

fn exhausted(budget: &Budget) -> Cow<'static, str> {
    format!("too much useless work: {}", budget.name).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const YEARS: Time = Time::from_epoch(Duration::from_secs(1 << 30));

    fn ms(milliseconds: u64) -> Time {
        Time::from_epoch(Duration::from_millis(milliseconds))
    }

    /// Returns how many units of useless work can be charged until the budget is exhausted.
    fn burst(budgets: &mut Budgets, kind: UselessWork, now: Time) -> u64 {
        (0..).take_while(|_| budgets.consume(kind, 1, now).is_ok()).count() as u64
    }

    #[test]
    fn at_the_rate_a_budget_lasts_for_ever_and_above_it_does_not() {
        for (gap, lasts) in [(10, true), (9, false)] {
            let mut budgets = Budgets::new(None, false, Time::EPOCH);
            let count = 20_000;
            let charged = (0..count)
                .take_while(|n| budgets.consume(UselessWork::Ping, 1, ms(n * gap)).is_ok());
            assert_eq!(charged.count() as u64 == count, lasts, "a ping each {gap} ms");
        }
    }

    #[test]
    fn a_long_silence_is_worth_one_burst_and_not_more() {
        let mut budgets = Budgets::new(None, false, Time::EPOCH);
        assert_eq!(burst(&mut budgets, UselessWork::Ping, ms(0)), RARE.0);
        let again = burst(&mut budgets, UselessWork::Ping, YEARS);
        assert!((RARE.0..=2 * RARE.0).contains(&again), "{again}");
        let again = burst(&mut budgets, UselessWork::Ping, YEARS);
        assert!(again <= 1, "{again}");
    }

    #[test]
    fn what_useful_work_earned_is_spent_once() {
        let mut budgets = Budgets::new(None, false, Time::EPOCH);
        assert_eq!(burst(&mut budgets, UselessWork::Ping, ms(0)), RARE.0);
        (0..500).for_each(|_| budgets.useful_frame());
        let again = burst(&mut budgets, UselessWork::Ping, ms(0));
        assert!((498..=500).contains(&again), "{again}");
        // The same useful work replenishes each budget. So the budget for blocked frames has been
        // replenished as much as the budget for pings.
        assert_eq!(burst(&mut budgets, UselessWork::Blocked, ms(0)), RARE.0 + 500);
    }

    #[test]
    fn a_clock_that_began_long_ago_gives_no_more_than_one_that_begins_now() {
        let mut budgets = Budgets::new(None, false, YEARS);
        assert_eq!(burst(&mut budgets, UselessWork::Ping, YEARS), RARE.0);
    }

    #[test]
    fn each_stream_may_have_two_useless_frames_with_no_useful_one_between() {
        let mut budgets = Budgets::new(None, false, Time::EPOCH);
        (1..=100_000).for_each(|open| budgets.stream_opened(open));
        (0..100_000).for_each(|_| budgets.useful_frame());
        for kind in
            [UselessWork::Grant, UselessWork::Blocked, UselessWork::Empty, UselessWork::Late]
        {
            // More than two useless frames for each stream are allowed here, because the useful
            // work above has added to the budget.
            let said = burst(&mut budgets, kind, Time::EPOCH);
            assert!(said >= 200_000, "{kind:?}: {said}");
        }
        assert!(burst(&mut budgets, UselessWork::Ping, Time::EPOCH) < 4_000, "not about streams");
    }

    #[test]
    fn grants_come_back_for_each_64_bytes_however_they_were_cut() {
        let mut budgets = Budgets::new(None, false, Time::EPOCH);
        assert_eq!(burst(&mut budgets, UselessWork::Grant, Time::EPOCH), GRANTS.0);
        (0..128).for_each(|_| budgets.data_sent(63, true, 0));
        let again = burst(&mut budgets, UselessWork::Grant, Time::EPOCH);
        assert!((125..=126).contains(&again), "{again}");
    }

    #[test]
    fn grants_come_back_for_each_eighth_of_a_window_that_is_declared_small() {
        let back = |window, bytes, frames| {
            let mut budgets = Budgets::new(None, false, Time::EPOCH);
            assert_eq!(burst(&mut budgets, UselessWork::Grant, Time::EPOCH), GRANTS.0);
            (0..frames).for_each(|_| budgets.data_sent(bytes, true, window));
            burst(&mut budgets, UselessWork::Grant, Time::EPOCH)
        };
        for (window, bytes, expected) in [(1, 1, 640), (7, 1, 640), (16, 4, 1280), (100, 12, 640)] {
            let back = back(window, bytes, 640);
            assert!((expected - 1..=expected).contains(&back), "{window}: {back}");
        }
        // Each byte counts once if the peer has declared no window, or a window of about 512 bytes
        // or more.
        for window in [511, 0, 512, 1 << 20] {
            assert!((9..=10).contains(&back(window, 1, 640)), "{window}: {}", back(window, 1, 640));
        }
        assert!(back(100, 1, 640) <= 50);
        // The frame is longer than the declared window, so only its number of bytes counts.
        assert!(back(1, 64, 640) <= 640);
    }

    #[test]
    fn the_reason_names_the_budget() {
        let mut budgets = Budgets::new(Some(0), false, Time::EPOCH);
        for (kind, name) in
            [(UselessWork::Cancelled, "cancelled streams"), (UselessWork::Grant, "grants")]
        {
            let error = (0..).find_map(|_| budgets.consume(kind, 1, ms(0)).err()).unwrap();
            assert!(error.reason.contains(name), "{error}");
        }
    }
}
