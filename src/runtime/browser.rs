//! The browser's tasks and clocks, under tokio's names.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

pub(crate) use futures_util::future::AbortHandle;
use futures_util::future::{Either, abortable, select};
use gloo_timers::future::TimeoutFuture;
pub(crate) use wasm_bindgen_futures::spawn_local as spawn;
pub(crate) use web_time::Instant;

/// The longest timer in milliseconds. A browser stores the time in 31 bits, and treats a larger
/// number as zero.
const MAX_TIMER: u128 = i32::MAX as u128;

/// Spawns a task that can be aborted through its handle.
pub(crate) fn spawn_abortable(task: impl Future<Output = ()> + 'static) -> AbortHandle {
    let (task, handle) = abortable(task);
    spawn(async move {
        let _ = task.await;
    });
    handle
}

/// A random number that is at least 0 and less than 1.
pub(crate) fn random() -> f64 {
    js_sys::Math::random()
}

/// Lets the other ready tasks run first. It does not let the browser do its own work, which waits
/// until no task is ready.
pub(crate) async fn yield_now() {
    let mut yielded = false;
    std::future::poll_fn(|cx| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// Waits until a point in time. The browser's timer is set at the first poll.
///
/// In a hidden page, timers fire late: up to a second late at first, and after some minutes only
/// once a minute.
#[derive(Debug)]
pub(crate) struct Sleep {
    deadline: Instant,
    timer: Option<TimeoutFuture>,
}

pub(crate) fn sleep(duration: Duration) -> Sleep {
    let now = Instant::now();
    // If the clock cannot represent the deadline, any distant deadline is good enough.
    let deadline = now.checked_add(duration).unwrap_or(now + Duration::from_secs(1 << 31));
    Sleep { deadline, timer: None }
}

impl Sleep {
    pub(crate) fn reset(self: Pin<&mut Self>, deadline: Instant) {
        let this = self.get_mut();
        (this.deadline, this.timer) = (deadline, None);
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        loop {
            let left = this.deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                this.timer = None;
                return Poll::Ready(());
            }
            // The time is rounded up. Otherwise the timer would fire before the deadline, and would
            // have to be set again for zero milliseconds.
            let millis = left.as_nanos().div_ceil(1_000_000).min(MAX_TIMER) as u32;
            let timer = this.timer.get_or_insert_with(|| TimeoutFuture::new(millis));
            ready!(Pin::new(timer).poll(cx));
            this.timer = None;
        }
    }
}

/// The time limit has passed.
#[derive(Debug)]
pub(crate) struct Elapsed;

/// Waits for a future, at most for `limit`.
pub(crate) async fn timeout<F: Future>(limit: Duration, future: F) -> Result<F::Output, Elapsed> {
    match select(std::pin::pin!(future), sleep(limit)).await {
        Either::Left((output, _)) => Ok(output),
        Either::Right(_) => Err(Elapsed),
    }
}
