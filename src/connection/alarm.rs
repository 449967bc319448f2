//! The timer of a connection's driver.

use std::{future::Future, pin::Pin, task::Context, time::Duration};

use wsmux_proto::Time;

use crate::runtime::{Instant, Sleep, sleep};

/// The engine's next deadline, on the runtime's clock.
pub(super) struct Alarm {
    timer: Pin<Box<Sleep>>,
    /// The time to which the timer is set. It is never later than the deadline.
    armed: Option<Time>,
}

impl Alarm {
    pub(super) fn new() -> Self {
        // This time is never used, because `rings` sets the timer before it first polls the timer.
        Self { timer: Box::pin(sleep(Duration::ZERO)), armed: None }
    }

    /// Whether the alarm rings. It may ring before the deadline `next`, because the timer stays as
    /// it is when the deadline moves to a later time. Nearly every message moves the deadline, and
    /// checking the engine once more costs less than setting the timer for each message.
    pub(super) fn rings(
        &mut self,
        next: Option<Time>,
        instant: impl FnOnce(Time) -> Option<Instant>,
        cx: &mut Context<'_>,
    ) -> bool {
        let Some(next) = next else {
            self.armed = None;
            return false;
        };
        if self.armed.is_none_or(|armed| next < armed) {
            let Some(instant) = instant(next) else { return false };
            self.timer.as_mut().reset(instant);
            self.armed = Some(next);
        }
        let rings = self.timer.as_mut().poll(cx).is_ready();
        if rings {
            self.armed = None;
        }
        rings
    }
}
