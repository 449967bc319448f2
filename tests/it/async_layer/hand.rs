//! Futures that a test polls by hand.

use std::{
    future::Future,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
};

/// A waker that counts how often it was woken.
#[derive(Debug, Default)]
pub(crate) struct Wakes(AtomicUsize);

impl Wakes {
    pub(crate) fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// A future together with a waker that counts how often it was woken.
pub(crate) struct Hand<'a, T> {
    future: Pin<Box<dyn Future<Output = T> + 'a>>,
    wakes: Arc<Wakes>,
}

impl<'a, T> Hand<'a, T> {
    pub(crate) fn new(future: impl Future<Output = T> + 'a) -> Self {
        Self { future: Box::pin(future), wakes: Arc::default() }
    }

    /// Polls the future once, and asserts that it has to wait.
    pub(crate) fn waiting(future: impl Future<Output = T> + 'a) -> Self {
        let mut hand = Self::new(future);
        assert!(hand.poll().is_pending(), "it has nothing to wait for");
        hand
    }

    pub(crate) fn poll(&mut self) -> Poll<T> {
        self.poll_with(&Waker::from(self.wakes.clone()))
    }

    /// Polls the future with `waker`. The wakes of this waker are not counted.
    pub(crate) fn poll_with(&mut self, waker: &Waker) -> Poll<T> {
        self.future.as_mut().poll(&mut Context::from_waker(waker))
    }

    pub(crate) fn wakes(&self) -> usize {
        self.wakes.count()
    }

    /// Returns the waker. After this `Hand` is dropped, the waker's reference count is 2 while a
    /// clone is registered elsewhere, and 1 otherwise.
    pub(crate) fn waker(&self) -> Arc<Wakes> {
        self.wakes.clone()
    }

    #[track_caller]
    pub(crate) fn ready(&mut self) -> T {
        match self.poll() {
            Poll::Ready(output) => output,
            Poll::Pending => panic!("it still waits"),
        }
    }
}

/// Polls `future` at most `polls` times, lets all other tasks run in between, and then drops it.
/// Returns the output of `future`, if `future` has completed.
pub(crate) async fn give_up_after<F: Future>(polls: usize, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    for _ in 0..polls {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return Some(output);
        }
        tokio::task::yield_now().await;
    }
    None
}

/// Generates numbers without a visible pattern. The numbers are the same in each run.
pub(crate) struct Dice(pub(crate) u32);

impl Dice {
    pub(crate) fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (self.0 >> 8) as usize % end
    }
}
