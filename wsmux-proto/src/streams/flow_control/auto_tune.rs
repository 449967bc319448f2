//! Receive windows that grow to fit the path and the reader.
//!
//! A stream can deliver at most one window in each round trip. So a window needs to be as large as
//! the number of bytes that the path carries and the reader reads in one round-trip time. Both the
//! time and the bytes are measured. The bytes are measured in *spans* of at least one round-trip
//! time each (SPEC.md §8.3). The measurement never makes a window smaller, because credit that was
//! granted cannot be revoked (RFC 9000 §4.1).
//!
//! Invariant: the growth of all windows together is at most `budget`.

use std::time::Duration;

use super::credit::RecvCredit;
use crate::{Capabilities, Config, Time};

/// A window grows to this many times the bytes that a round trip delivers, as the windows of TCP
/// receivers do. So if the window limits the stream, the window doubles in each round trip. If the
/// path limits the stream, the window lasts for one more round trip when grants arrive late.
const HEADROOM: u64 = 2;

/// A window grows by at least its size divided by this number. A smaller step could be caused by
/// noise in the measurement.
const LEAST_STEP_ONE_IN: u64 = 8;

/// One stream may take at most the part of the budget that the other streams leave, divided by this
/// number. Without this rule the first streams would take the whole budget, and keep it as long as
/// they live.
const SHARE_ONE_IN: u64 = 2;

/// A window grows at most to the number of bytes that the previous span delivered in a round trip,
/// times this number. This is twice the window that the previous span alone would justify. Without
/// this bound, a single burst would be mistaken for the rate of the path, because a burst may come
/// out of a buffer at any speed.
const CONFIRMATION: u64 = 2 * HEADROOM;

/// The measurement of a stream begins when an eighth of its initial window has been received. With
/// the default window, the first grant is due when twice this amount has been read. So the
/// measurement begins before the first grant.
const MEASURED_FROM_ONE_IN: u64 = 8;

/// If nothing was received for this long, the queues on the path are empty, because this time is
/// longer than any round trip.
const SILENCE: Duration = Duration::from_secs(1);

/// What a connection knows about its path, and how much its windows have grown.
#[derive(Debug)]
pub(in crate::streams) struct AutoTune {
    initial_window: u64,
    max_window: u64,
    /// By how many bytes all windows together may grow.
    budget: u64,
    /// By how many bytes all windows together have grown.
    used: u64,
    /// The least round-trip time of a ping. Most pings wait behind data in a queue on the path. If
    /// that wait counted, a larger window would make the queue longer, and a longer queue would
    /// make the window larger, without end.
    ping: Option<Duration>,
    /// The least time from a grant to the first byte that the grant allowed. This time is at least
    /// one round trip. The smaller of this time and `ping` counts as the round-trip time, so a peer
    /// cannot make the path seem longer by answering pings late.
    grant_rtt: Option<Duration>,
    /// Whether the last ping was sent after a silence, and no data was received since then.
    undisturbed: bool,
    /// Whether a ping has to be sent with the message that is being written.
    sample_wanted: bool,
}

/// The measurement of one stream.
#[derive(Debug)]
pub(in crate::streams) struct Measure {
    /// By how many bytes the window has grown. These bytes count against the growth budget of the
    /// connection. The number is stored with the measurement, because only a window that is
    /// measured grows.
    pub(super) growth: u64,
    /// The point at which the current span began.
    begin: Mark,
    /// How many bytes the previous span delivered per round trip.
    before: u64,
    /// The time when a grant was sent, and the limit before this grant. A byte beyond that limit
    /// shows that the grant has arrived.
    grant: Option<(Time, u64)>,
}

/// A moment, and how many bytes the stream had received and the application had read by then.
#[derive(Debug, Clone, Copy)]
struct Mark {
    at: Time,
    received: u64,
    consumed: u64,
}

impl Mark {
    /// Returns how many bytes a round trip of `rtt` delivers, measured from this mark to `here`.
    fn per_rtt(&self, here: Mark, rtt: Duration) -> u64 {
        // Only bytes that were both received and read in this span count.
        let delivered = (here.received - self.received).min(here.consumed - self.consumed);
        // If the span is shorter than a round trip, the number is not scaled up, so the result is a
        // lower bound.
        let span = (here.at - self.at).max(rtt).as_nanos().max(1);
        let brought = u128::from(delivered).saturating_mul(rtt.as_nanos()) / span;
        u64::try_from(brought).unwrap_or(u64::MAX)
    }
}

impl AutoTune {
    pub(in crate::streams) fn new(config: &Config, caps: &Capabilities) -> Self {
        Self {
            initial_window: config.stream_receive_window,
            max_window: config.max_stream_receive_window,
            // J-39
            budget: if caps.messages.are_bounded_by_window() {
                0
            } else {
                config.window_growth_budget
            },
            used: 0,
            ping: None,
            grant_rtt: None,
            undisturbed: false,
            sample_wanted: false,
        }
    }

    /// Returns by how many bytes all windows together have grown.
    pub(in crate::streams) fn used(&self) -> u64 {
        self.used
    }

    /// Returns bytes to the budget, because a window no longer needs them.
    pub(in crate::streams) fn give_back(&mut self, bytes: u64) {
        self.used -= bytes;
    }

    pub(in crate::streams) fn is_sample_wanted(&self) -> bool {
        self.sample_wanted
    }

    /// Whether a ping has to be sent now. For each ping that is wanted, only one call returns
    /// `true`.
    pub(in crate::streams) fn take_sample_wanted(&mut self) -> bool {
        std::mem::take(&mut self.sample_wanted)
    }

    /// Whether a window may ever grow. If it may, the path is measured from the start.
    pub(in crate::streams) fn is_on(&self) -> bool {
        self.budget > 0 && self.max_window > self.initial_window
    }

    /// Records that a ping is sent now. `silence` is the time for which nothing has been received.
    pub(in crate::streams) fn on_ping_sent(&mut self, silence: Duration) {
        self.undisturbed = silence >= SILENCE;
    }

    /// Records that the last ping was answered after the time `sample`. If there was a silence
    /// before the ping and no data was received since, no queue has delayed the ping. In that case
    /// the sample replaces the times that were measured before, even if they were shorter.
    pub(in crate::streams) fn on_ping_answered(&mut self, sample: Duration) {
        if self.undisturbed {
            (self.ping, self.grant_rtt) = (Some(sample), None);
        } else {
            self.ping = Some(self.ping.map_or(sample, |least| least.min(sample)));
        }
    }

    /// Measures bytes that were received on a stream. `before` is the number of bytes that the
    /// stream had received before these bytes.
    pub(in crate::streams) fn on_received(
        &mut self,
        credit: &mut RecvCredit,
        before: u64,
        now: Time,
    ) {
        let received = credit.received();
        self.undisturbed &= received == before;
        // The bytes that one grant allows arrive together. The new span begins before the first of
        // these bytes, so it contains all of them.
        let here = Mark { at: now, received: before, consumed: credit.consumed() };
        let Some(measure) = &mut credit.measure else {
            if received >= self.initial_window / MEASURED_FROM_ONE_IN && self.is_on() {
                credit.measure =
                    Some(Box::new(Measure { growth: 0, begin: here, before: 0, grant: None }));
            }
            return;
        };
        if let Some((at, _)) = measure.grant.take_if(|&mut (_, limit)| limit < received) {
            let sample = now - at;
            self.grant_rtt = Some(self.grant_rtt.map_or(sample, |least| least.min(sample)));
        }
        if let Some(rtt) = self.rtt()
            && now - measure.begin.at >= rtt
        {
            measure.before = measure.begin.per_rtt(here, rtt);
            measure.begin = here;
        }
    }

    fn rtt(&self) -> Option<Duration> {
        // C-58
        self.ping.map(|ping| self.grant_rtt.map_or(ping, |least| least.min(ping)))
    }

    /// Returns by how much a window may grow. Returns `None` if the growth would be less than the
    /// smallest step.
    fn room(&self, credit: &RecvCredit) -> Option<u64> {
        // C-57
        let share = (self.budget - self.used + credit.growth()) / SHARE_ONE_IN;
        let room = share.saturating_sub(credit.growth());
        let room = room.min(self.max_window.saturating_sub(credit.window()));
        (room >= least_step(credit)).then_some(room)
    }

    /// Returns by how much a window should grow now, or `None` if it should not grow. A window
    /// grows only if its reader reads more than half of it in a round trip.
    pub(in crate::streams) fn growth_due(&self, credit: &RecvCredit, now: Time) -> Option<u64> {
        let Measure { begin, before, .. } = **credit.measure.as_ref()?;
        let least = credit.window() + least_step(credit);
        if CONFIRMATION.saturating_mul(before) < least {
            return None;
        }
        let (rtt, room) = (self.rtt()?, self.room(credit)?);
        let here = Mark { at: now, received: credit.received(), consumed: credit.consumed() };
        // C-56
        let wanted = HEADROOM
            .saturating_mul(begin.per_rtt(here, rtt))
            .min(CONFIRMATION.saturating_mul(before));
        (wanted >= least).then(|| room.min(wanted - credit.window()))
    }

    /// Lets the window grow if growth is due. The caller has to call this before each grant.
    pub(in crate::streams) fn tune(&mut self, credit: &mut RecvCredit, now: Time) {
        if self.room(credit).is_none() {
            return;
        }
        let limit = credit.granted();
        let Some(measure) = &mut credit.measure else { return };
        measure.grant.get_or_insert((now, limit));
        if let Some(growth) = self.growth_due(credit, now) {
            credit.grow(growth);
            self.used += growth;
            // The next step needs a round-trip time that is measured after this step (C-59).
            self.sample_wanted = true;
        }
    }
}

fn least_step(credit: &RecvCredit) -> u64 {
    (credit.window() / LEAST_STEP_ONE_IN).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Wire;

    /// [C-58] The round-trip time on which growth is based MUST be the smaller of two times: the
    /// least time of a ping, and the least time from a grant to the first byte that this grant
    /// allowed. A ping resets both times if two conditions hold. First, nothing was received for a
    /// second before the ping was sent. Second, no stream data arrives before the ping's answer.
    /// Without an answered ping no window grows.
    #[test]
    fn a_longer_time_counts_only_after_a_silence_and_before_any_data() {
        let ms = Duration::from_millis;
        let mut auto_tune = AutoTune::new(&Config::default(), &Wire::QMux.capabilities());
        let mut answered = |silence, data: bool, sample| {
            auto_tune.on_ping_sent(silence);
            if data {
                let mut credit = RecvCredit::new(100, 100);
                credit.receive_to(1);
                auto_tune.on_received(&mut credit, 0, Time::EPOCH);
            }
            auto_tune.on_ping_answered(sample);
            auto_tune.rtt().expect("there is one")
        };
        assert_eq!(answered(ms(0), false, ms(5)), ms(5));
        assert_eq!(answered(ms(20), false, ms(50)), ms(5), "a peer that was busy is no long path");
        assert_eq!(answered(ms(20), true, ms(4)), ms(4));
        assert_eq!(answered(SILENCE, true, ms(50)), ms(4), "behind data");
        assert_eq!(answered(SILENCE, false, ms(50)), ms(50));
        assert_eq!(answered(ms(20), false, ms(60)), ms(50));
    }
}
