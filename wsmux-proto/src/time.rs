//! Points in time, as distinct from lengths of time.

use std::{
    ops::{Add, AddAssign, Sub},
    time::Duration,
};

/// A point in time, stored as its distance from an epoch.
///
/// The caller chooses an epoch for each connection, and passes the current time to the calls that
/// depend on it. So the engine needs no clock, and a test can use any time that it likes.
///
/// Arithmetic saturates and never panics. A sum that is later than [`MAX`](Self::MAX) becomes
/// `MAX`. The time from a later point to an earlier one is zero.
///
/// ```
/// use std::time::Duration;
/// use wsmux_proto::Time;
///
/// let start = Time::EPOCH + Duration::from_secs(3);
/// let later = start + Duration::from_secs(2);
/// assert_eq!(later - start, Duration::from_secs(2));
/// assert_eq!(start - later, Duration::ZERO);
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(Duration);

impl Time {
    /// The moment from which times are counted.
    pub const EPOCH: Self = Self(Duration::ZERO);

    /// The last point in time that can be expressed.
    pub const MAX: Self = Self(Duration::MAX);

    /// Returns the point in time that is this long after the epoch.
    pub const fn from_epoch(distance: Duration) -> Self {
        Self(distance)
    }

    /// Returns how long after the epoch this point in time is.
    pub const fn since_epoch(self) -> Duration {
        self.0
    }

    /// Returns the point that is `length` later, or `None` if that point cannot be expressed. A
    /// deadline that cannot be expressed never passes (C-81).
    pub const fn checked_add(self, length: Duration) -> Option<Self> {
        match self.0.checked_add(length) {
            Some(distance) => Some(Self(distance)),
            None => None,
        }
    }

    /// Returns the point that is `length` earlier, or the epoch if that point would be before the
    /// epoch.
    #[must_use]
    pub const fn saturating_sub(self, length: Duration) -> Self {
        Self(self.0.saturating_sub(length))
    }

    /// Returns the time from `earlier` to this point, or zero if `earlier` is later than this
    /// point.
    pub const fn saturating_duration_since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }

    /// Returns the time from `earlier` to this point, or `None` if `earlier` is later than this
    /// point.
    pub const fn checked_duration_since(self, earlier: Self) -> Option<Duration> {
        self.0.checked_sub(earlier.0)
    }
}

impl Add<Duration> for Time {
    type Output = Self;

    fn add(self, length: Duration) -> Self {
        Self(self.0.saturating_add(length))
    }
}

impl AddAssign<Duration> for Time {
    fn add_assign(&mut self, length: Duration) {
        *self = *self + length;
    }
}

impl Sub for Time {
    type Output = Duration;

    fn sub(self, earlier: Self) -> Duration {
        self.saturating_duration_since(earlier)
    }
}
