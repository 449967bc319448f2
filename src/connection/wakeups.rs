//! What is woken and dropped after a lock was released, and never under it.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    task::Waker,
};

/// Wakers that were taken out from under a connection's lock, to be woken or dropped without it. Dropping this does
/// so: nobody is forgotten. At most one for each that waited.
#[derive(Debug, Default)]
pub(crate) struct Wakeups {
    /// The driver, for which each write would otherwise need a vector.
    driver: Option<Waker>,
    others: Vec<Waker>,
    /// Nobody waits with this any more.
    let_go: Option<Waker>,
}

impl Wakeups {
    pub(crate) fn wake(&mut self, wakers: impl IntoIterator<Item = Waker>) {
        self.others.extend(wakers);
    }

    /// Where to put those who are to be woken.
    pub(crate) fn woken(&mut self) -> &mut Vec<Waker> {
        &mut self.others
    }

    pub(crate) fn wake_driver(&mut self, driver: Option<Waker>) {
        if let Some(driver) = driver {
            self.others.extend(self.driver.replace(driver));
        }
    }

    /// Has it dropped, and not woken. Nothing that is done under one lock gives up more than one; if it did, the one
    /// before would be woken in vain, which does no harm.
    pub(crate) fn let_go(&mut self, waker: Option<Waker>) {
        if let Some(waker) = waker {
            self.others.extend(self.let_go.replace(waker));
        }
    }

    /// How many are to be woken, the driver not counted.
    pub(crate) fn count(&self) -> usize {
        self.others.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.driver.is_none() && self.others.is_empty() && self.let_go.is_none()
    }

    /// Takes over what is in `from`, and leaves the memory of what is empty there.
    pub(crate) fn take_from(&mut self, from: &mut Self) {
        debug_assert!(self.is_empty());
        self.driver = from.driver.take();
        self.let_go = from.let_go.take();
        if !from.others.is_empty() {
            self.others = std::mem::take(&mut from.others);
        }
    }

    /// Wakes and drops them. The memory is kept.
    pub(crate) fn notify(&mut self) {
        if self.is_empty() {
            return;
        }
        let Self { driver, others, let_go } = self;
        let woken = driver.take().into_iter().chain(others.drain(..)).map(|waker| (waker, true));
        // Last: nobody waits for that.
        let all = woken.chain(let_go.take().map(|waker| (waker, false)));
        each(all, |(waker, is_woken)| match is_woken {
            true => waker.wake(),
            false => drop(waker),
        });
    }
}

impl Drop for Wakeups {
    fn drop(&mut self) {
        match std::thread::panicking() {
            // A second panic that left this would abort the process.
            true => drop(catch_unwind(AssertUnwindSafe(|| self.notify()))),
            false => self.notify(),
        }
    }
}

/// Does `step` to each, even when it panics with one: those after it would wait in vain.
fn each<I: Iterator>(items: I, step: impl Fn(I::Item)) {
    struct Rest<I: Iterator, F: Fn(I::Item)>(I, F);

    impl<I: Iterator, F: Fn(I::Item)> Drop for Rest<I, F> {
        fn drop(&mut self) {
            for item in &mut self.0 {
                let _ = catch_unwind(AssertUnwindSafe(|| (self.1)(item)));
            }
        }
    }

    let mut rest = Rest(items, step);
    for item in rest.0.by_ref() {
        (rest.1)(item);
    }
}
