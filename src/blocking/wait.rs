//! How a thread waits for a future.
//!
//! This module does not use tokio's `Handle::block_on`. That function panics on a thread of a
//! runtime, and would require each stream to store a runtime's handle. The connection's futures do
//! not need a runtime to be polled.

use std::{
    io,
    pin::pin,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Wake, Waker},
    time::{Duration, Instant},
};

use tokio::task::coop::unconstrained;

use super::WaitError;

/// Wakes the waiting thread. It does not use `thread::park`, because a thread has only one token,
/// which other code on the same thread may consume.
#[derive(Debug, Default)]
struct Parker {
    woken: Mutex<bool>,
    changed: Condvar,
}

impl Parker {
    fn lock(&self) -> MutexGuard<'_, bool> {
        self.woken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Blocks the thread until it is woken or `deadline` has passed.
    fn park(&self, deadline: Option<Instant>) {
        let mut woken = self.lock();
        while !*woken {
            let Some(deadline) = deadline else {
                woken = self.changed.wait(woken).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            let waited = self.changed.wait_timeout(woken, left);
            woken = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        *woken = false;
    }
}

impl Wake for Parker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        *self.lock() = true;
        self.changed.notify_one();
    }
}

/// Waits for `future` without a limit.
pub(super) fn wait<F: Future>(future: F) -> F::Output {
    // tokio gives each task a budget. When the budget is used up, tokio's futures stay pending
    // until the task has yielded. If this thread is running a task, that task cannot yield while it
    // is blocked here, so the budget must not apply to this future.
    let mut future = pin!(unconstrained(future));
    let parker = Arc::new(Parker::default());
    let waker = Waker::from(parker.clone());
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return output;
        }
        parker.park(None);
    }
}

/// Waits for `future` and drops it when `limit` has passed. A limit of zero polls once.
pub(super) fn wait_at_most<F: Future>(limit: Duration, future: F) -> Option<F::Output> {
    let Some(deadline) = Instant::now().checked_add(limit) else {
        return Some(wait(future));
    };
    let mut future = pin!(unconstrained(future));
    let parker = Arc::new(Parker::default());
    let waker = Waker::from(parker.clone());
    loop {
        // The clock is read before the poll. So the last poll finds everything that happened before
        // the deadline, and endless wakes cannot extend the wait.
        let now = Instant::now();
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return Some(output);
        }
        if now >= deadline {
            return None;
        }
        parker.park(Some(deadline));
    }
}

/// Waits for a fallible future, for at most `limit` if there is a limit.
pub(super) fn try_wait<T, E>(
    limit: Option<Duration>,
    future: impl Future<Output = Result<T, E>>,
) -> Result<T, WaitError<E>> {
    let result = match limit {
        Some(limit) => wait_at_most(limit, future).ok_or(WaitError::TimedOut)?,
        None => wait(future),
    };
    result.map_err(WaitError::Failed)
}

/// Checks a stream's timeout. Zero is refused, because to some people it means "no timeout", and to
/// others "do not wait".
pub(super) fn checked_limit(limit: Option<Duration>) -> io::Result<Option<Duration>> {
    match limit {
        Some(Duration::ZERO) => {
            Err(io::Error::new(io::ErrorKind::InvalidInput, "the timeout is zero"))
        }
        limit => Ok(limit),
    }
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, thread};

    use super::*;

    #[test]
    fn a_wake_before_the_wait_is_not_lost() {
        let mut polls = 0;
        let polled = wait(poll_fn(|cx| {
            polls += 1;
            cx.waker().wake_by_ref();
            if polls < 3 { Poll::Pending } else { Poll::Ready(polls) }
        }));
        assert_eq!(polled, 3);
    }

    #[test]
    fn a_wake_survives_whoever_takes_the_threads_own_token() {
        let mut helper = None;
        wait(poll_fn(|cx| {
            if helper.is_some() {
                return Poll::Ready(());
            }
            let (waker, waiting) = (cx.waker().clone(), thread::current());
            helper = Some(());
            let waking = thread::spawn(move || {
                waker.wake();
                waiting.unpark();
            });
            waking.join().unwrap();
            thread::park();
            Poll::Pending
        }));
    }

    #[test]
    fn wakes_without_end_do_not_outlast_a_deadline() {
        let limit = Duration::from_millis(20);
        let waited = wait_at_most(
            limit,
            poll_fn(|cx| {
                cx.waker().wake_by_ref();
                Poll::<()>::Pending
            }),
        );
        assert_eq!(waited, None);
    }

    #[test]
    fn what_is_there_already_is_found_without_any_time() {
        assert_eq!(wait_at_most(Duration::ZERO, async { 1 }), Some(1));
        assert_eq!(wait_at_most(Duration::ZERO, std::future::pending::<()>()), None);
    }
}
