//! Several tasks that wait for one half of a stream.

use std::{
    mem,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Wake, Waker},
};

/// The tasks that wait for news of one half: at most a read or a write, and a watch over its end. The connection
/// keeps one waker for each half, and this is it. It is woken here too, when this end gives the half up.
#[derive(Debug, Default)]
pub(crate) struct Listeners(Mutex<Vec<Waker>>);

impl Listeners {
    /// The task of `cx` waits, until it is told.
    pub(crate) fn add(&self, cx: &Context<'_>) {
        let mut wakers = self.lock();
        if !wakers.iter().any(|waker| waker.will_wake(cx.waker())) {
            wakers.push(cx.waker().clone());
        }
    }

    /// Lets all of them look again.
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
