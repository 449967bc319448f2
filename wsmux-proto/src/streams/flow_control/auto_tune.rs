//! Windows that fit the path: from the time that a round trip takes, and from what a reader takes
//! in that time.
//!
//! A stream is as fast as its window per round trip, and needs no more of it than its path and its
//! reader can use: bandwidth times round-trip time. Both are measured, and a window only ever
//! grows: credit that was granted cannot be taken back (RFC 9000 §4.1), so a smaller window would
//! promise memory that is not free.

use std::time::Duration;

use super::credit::RecvCredit;
use crate::{Capabilities, Config, Time};

/// A window is this many times what a round trip delivers, as with TCP's receivers. A stream that
/// its window holds back so doubles it in each round trip; one that its link holds back keeps a
/// round trip to spare for grants that are late.
const HEADROOM: u64 = 2;

/// A window grows by at least this part of itself: less is the noise of the measurement.
const LEAST_STEP_ONE_IN: u64 = 8;

/// No stream holds more of the budget than this part of what the others have left. The first
/// streams would else take all of it, and keep it as long as they live.
const SHARE_ONE_IN: u64 = 2;

/// The span that is being measured must not promise more than this many times what the one before
/// it brought: twice the growth that the one before may have caused. A burst at the speed of
/// memory, from a peer that works in turns with this end, does not pass for the rate of its path.
const CONFIRMATION: u64 = 2 * HEADROOM;

/// A stream is measured once so much of its first window has come: a grant is not due before twice
/// of it.
const MEASURED_FROM_ONE_IN: u64 = 8;

/// When nothing has come for so long, nothing stands in a queue on the way either. Longer than any
/// round trip.
const SILENCE: Duration = Duration::from_secs(1);

/// What the streams of a connection know of their path together, and what they may hold.
#[derive(Debug)]
pub(in crate::streams) struct AutoTune {
    initial_window: u64,
    max_window: u64,
    /// What all windows together may grow by.
    budget: u64,
    /// What they have grown by.
    used: u64,
    /// The path's round-trip time by pings. The least one, for most of them come behind data that
    /// stands in a queue: if the time in there counted, a larger window would make the queue longer
    /// and thereby itself larger, without end.
    ping: Option<Duration>,
    /// The least time from a grant to the first byte that it allowed. It holds a whole round trip,
    /// so that no peer can make its path look longer than it is by answering pings late.
    grant_rtt: Option<Duration>,
    /// The last ping left into silence, and no data has come since.
    undisturbed: bool,
    /// A ping is to leave with what is being written.
    sample_wanted: bool,
}

/// What is being measured on one stream.
#[derive(Debug)]
pub(in crate::streams) struct Measure {
    /// Where the current span began.
    begin: Mark,
    /// What the span before it brought for each round trip.
    before: u64,
    /// A grant that left then, and the limit that it raised.
    grant: Option<(Time, u64)>,
}

#[derive(Debug, Clone, Copy)]
struct Mark {
    at: Time,
    received: u64,
    consumed: u64,
}

impl Mark {
    /// What a round trip of `rtt` brings, by what has come and was read from here to another mark.
    fn per_rtt(&self, here: Mark, rtt: Duration) -> u64 {
        // Neither what came and was not read counts, nor what was read and had come long before.
        let delivered = (here.received - self.received).min(here.consumed - self.consumed);
        // A round trip brings at least what came in a part of it.
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

    /// What the windows have grown by, all together.
    pub(in crate::streams) fn used(&self) -> u64 {
        self.used
    }

    /// A window is smaller, or no more.
    pub(in crate::streams) fn give_back(&mut self, bytes: u64) {
        self.used -= bytes;
    }

    pub(in crate::streams) fn is_sample_wanted(&self) -> bool {
        self.sample_wanted
    }

    /// Whether a ping is to be sent now. Says so once for each ping that is wanted.
    pub(in crate::streams) fn take_sample_wanted(&mut self) -> bool {
        std::mem::take(&mut self.sample_wanted)
    }

    /// Whether a window may ever grow, so that the path is worth a ping before there is anything on
    /// it.
    pub(in crate::streams) fn is_on(&self) -> bool {
        self.budget > 0 && self.max_window > self.initial_window
    }

    /// A ping leaves, after nothing has come for so long.
    pub(in crate::streams) fn on_ping_sent(&mut self, silence: Duration) {
        self.undisturbed = silence >= SILENCE;
    }

    /// The last ping was answered after `sample`. If there was silence before and no data came in
    /// between, none stood in its way: then this is the path as it is now, even if it was shorter
    /// before.
    pub(in crate::streams) fn on_ping_answered(&mut self, sample: Duration) {
        if self.undisturbed {
            (self.ping, self.grant_rtt) = (Some(sample), None);
        } else {
            self.ping = Some(self.ping.map_or(sample, |least| least.min(sample)));
        }
    }

    /// Bytes have come on a stream that had received `before`.
    pub(in crate::streams) fn on_received(
        &mut self,
        credit: &mut RecvCredit,
        before: u64,
        now: Time,
    ) {
        let received = credit.received();
        self.undisturbed &= received == before;
        // What a window's worth of credit brings comes in one piece: a span that begins with its
        // first byte holds all of it.
        let here = Mark { at: now, received: before, consumed: credit.consumed() };
        let Some(measure) = &mut credit.measure else {
            if received >= self.initial_window / MEASURED_FROM_ONE_IN && self.is_on() {
                credit.measure = Some(Box::new(Measure { begin: here, before: 0, grant: None }));
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

    /// By how much a window may grow, if that is worth a step.
    fn room(&self, credit: &RecvCredit) -> Option<u64> {
        // C-57
        let share = (self.budget - self.used + credit.growth()) / SHARE_ONE_IN;
        let room = share.saturating_sub(credit.growth());
        let room = room.min(self.max_window.saturating_sub(credit.window()));
        (room >= least_step(credit)).then_some(room)
    }

    /// By how much a window is to grow: its reader takes more than half of it in a round trip.
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

    /// A grant is about to leave: the moment for a window to grow.
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
            // Each step rests on a time of its own (C-59).
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

    /// [C-58] The round-trip time that growth rests on MUST be the smaller of two: the least time
    /// of a ping, and the least time from a grant to the first byte that it allowed. Both are reset
    /// by a ping that is sent after a second without anything received, and answered before any
    /// stream data. Without an answered ping no window grows.
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
