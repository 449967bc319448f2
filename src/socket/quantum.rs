//! How much a socket sends at once on a slow path.

use std::time::Duration;

/// The send quantum is what the path carries in this time. BBR sends as much at once
/// (draft-ietf-ccwg-bbr, "Send Quantum").
const TIME: Duration = Duration::from_millis(1);

/// The smallest send quantum: almost three packets of Ethernet. Messages of a smaller size would
/// cost more than they would gain.
const MIN: usize = 4 * 1024;

/// How many samples in a row have to agree. The driver takes four samples a second. While TCP still
/// searches for the rate of the path, the samples differ, and TCP must not run out of data then. BBR
/// does not end its search while it has too little to send.
const SAMPLES: usize = 8;

/// The newest estimates of the rate of a path.
///
/// The congestion window divided by the round-trip time is about the rate of the path, or twice the
/// rate with BBR, whose window is twice as large. If the application sends little, the window is
/// small and the estimate too low. As soon as more is sent, the window grows, so the samples differ,
/// and nothing is limited until they agree again.
#[derive(Debug)]
pub(super) struct Quantum {
    /// The most that is sent at once, which is also the initial value.
    max: usize,
    /// The newest samples, as send quanta.
    samples: [usize; SAMPLES],
    /// The sample that is replaced next.
    oldest: usize,
}

impl Quantum {
    pub(super) fn new(max: usize) -> Self {
        Self { max, samples: [max; SAMPLES], oldest: 0 }
    }

    /// Adds a sample: TCP's congestion window in bytes, and its round-trip time. Returns the send
    /// quantum in bytes.
    pub(super) fn update(&mut self, window: u64, rtt: Duration) -> usize {
        let bytes = u128::from(window) * TIME.as_nanos() / rtt.as_nanos().max(1);
        let sample = usize::try_from(bytes).unwrap_or(usize::MAX).clamp(MIN, self.max);
        self.samples[self.oldest] = sample;
        self.oldest = (self.oldest + 1) % SAMPLES;
        let low = self.samples.into_iter().min().unwrap_or(self.max);
        let high = self.samples.into_iter().max().unwrap_or(self.max);
        if high <= low + low / 2 { high } else { self.max }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: usize = 64 * 1024;
    const RTT: Duration = Duration::from_millis(20);

    /// Returns the send quantum after each of these windows, in kilobytes.
    fn quanta(windows: impl IntoIterator<Item = u64>) -> Vec<usize> {
        let mut quantum = Quantum::new(MAX);
        windows.into_iter().map(|window| quantum.update(window * 1_000, RTT)).collect()
    }

    #[test]
    fn on_a_slow_path_that_is_known_little_is_sent_at_once() {
        // 100 Mbit/s at a round trip of 20 ms.
        let quanta = quanta([250; 2 * SAMPLES]);
        assert!(quanta[..SAMPLES - 1].iter().all(|quantum| *quantum == MAX), "{quanta:?}");
        assert!(quanta[SAMPLES..].iter().all(|quantum| *quantum == 12_500), "{quanta:?}");
    }

    #[test]
    fn nothing_is_limited_while_the_rate_of_the_path_grows() {
        let growing = (0..20).map(|nth| 14 * 3_u64.pow(nth / 2));
        assert!(quanta(growing).iter().all(|quantum| *quantum == MAX));
        // The application has sent little, and now sends much.
        let quanta = quanta([14; SAMPLES].into_iter().chain([28]));
        assert_eq!(quanta[SAMPLES - 1..], [MIN, MIN], "both are less than the minimum");
        let grown = super::tests::quanta([100; SAMPLES].into_iter().chain([200]));
        assert_eq!(grown[SAMPLES - 1..], [5_000, MAX]);
    }

    #[test]
    fn on_a_fast_path_nothing_is_limited() {
        let mut quantum = Quantum::new(MAX);
        for _ in 0..2 * SAMPLES {
            assert_eq!(quantum.update(655_360, Duration::from_micros(30)), MAX);
            assert_eq!(quantum.update(u64::MAX, Duration::ZERO), MAX);
        }
    }
}
