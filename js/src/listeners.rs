//! Lets several tasks wait for one half of a stream.

use std::{
    mem,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Wake, Waker},
};

/// The tasks that wait for one half: at most one that reads or writes, and one that watches for the
/// half's end. The connection keeps only one waker for each half. This type is that waker, and
/// wakes all of these tasks. The tasks are also woken when this end stops or resets the half.
#[derive(Debug, Default)]
pub(crate) struct Listeners(Mutex<Vec<Waker>>);

impl Listeners {
    /// Adds the task of `cx`, which is woken once.
    pub(crate) fn add(&self, cx: &Context<'_>) {
        let mut wakers = self.lock();
        if !wakers.iter().any(|waker| waker.will_wake(cx.waker())) {
            wakers.push(cx.waker().clone());
        }
    }

    /// Wakes all waiting tasks.
    pub(crate) fn tell(&self) {
        let wakers = mem::take(&mut *self.lock());
        wakers.into_iter().for_each(Waker::wake);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Waker>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wake for Listeners {
    fn wake(self: Arc<Self>) {
        self.tell();
    }
}
