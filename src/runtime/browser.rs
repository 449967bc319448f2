//! The browser's tasks and clocks, by the names that tokio has for them.

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

/// A browser counts a timer's milliseconds in 31 bits, and takes more of them for none.
const MAX_TIMER: u128 = i32::MAX as u128;

/// Starts a task that its handle can stop.
pub(crate) fn spawn_abortable(task: impl Future<Output = ()> + 'static) -> AbortHandle {
    let (task, handle) = abortable(task);
    spawn(async move {
        let _ = task.await;
    });
    handle
}

/// At least 0, less than 1.
pub(crate) fn random() -> f64 {
    js_sys::Math::random()
}

/// Lets the other tasks that are ready go first. What the browser has to do comes after all of them.
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

/// Waits until a moment. The browser's timer is set when it is first polled.
///
/// A hidden page's timers go off late: after a second, and after minutes in hiding once in a minute.
#[derive(Debug)]
pub(crate) struct Sleep {
    deadline: Instant,
    timer: Option<TimeoutFuture>,
}

pub(crate) fn sleep(duration: Duration) -> Sleep {
    let now = Instant::now();
    // Further away than the clock can tell, it does not matter how far.
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
            // Rounded up: else it would go off before the deadline, and again at once.
            let millis = left.as_nanos().div_ceil(1_000_000).min(MAX_TIMER) as u32;
            let timer = this.timer.get_or_insert_with(|| TimeoutFuture::new(millis));
            ready!(Pin::new(timer).poll(cx));
            this.timer = None;
        }
    }
}

/// Time ran out.
#[derive(Debug)]
pub(crate) struct Elapsed;

/// Gives up after `limit`.
pub(crate) async fn timeout<F: Future>(limit: Duration, future: F) -> Result<F::Output, Elapsed> {
    match select(std::pin::pin!(future), sleep(limit)).await {
        Either::Left((output, _)) => Ok(output),
        Either::Right(_) => Err(Elapsed),
    }
}
