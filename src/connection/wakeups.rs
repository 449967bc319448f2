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
    /// One of them is there, which is asked after each use of the lock.
    any: bool,
}

impl Wakeups {
    pub(crate) fn wake(&mut self, wakers: impl IntoIterator<Item = Waker>) {
        self.others.extend(wakers);
        self.any |= !self.others.is_empty();
    }

    /// Where to put those who are to be woken.
    pub(crate) fn woken(&mut self) -> &mut Vec<Waker> {
        self.any = true;
        &mut self.others
    }

    pub(crate) fn wake_driver(&mut self, driver: Option<Waker>) {
        if let Some(driver) = driver {
            self.any = true;
            self.others.extend(self.driver.replace(driver));
        }
    }

    /// Has it dropped, and not woken. Nothing that is done under one lock gives up more than one; if it did, the one
    /// before would be woken in vain, which does no harm.
    pub(crate) fn let_go(&mut self, waker: Option<Waker>) {
        if let Some(waker) = waker {
            self.any = true;
            self.others.extend(self.let_go.replace(waker));
        }
    }

    /// How many are to be woken, the driver not counted.
    pub(crate) fn count(&self) -> usize {
        self.others.len()
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        !self.any
    }

    /// What is in it, which leaves the memory of what is empty.
    pub(crate) fn take(&mut self) -> Self {
        let others = match self.others.is_empty() {
            true => Vec::new(),
            false => std::mem::take(&mut self.others),
        };
        let any = std::mem::take(&mut self.any);
        Self { driver: self.driver.take(), others, let_go: self.let_go.take(), any }
    }

    /// Wakes and drops them. The memory is kept.
    pub(crate) fn notify(&mut self) {
        if !std::mem::take(&mut self.any) {
            return;
        }
        let Self { driver, others, let_go, .. } = self;
        // The usual case is one waker. If it panics, there is no other left to wake.
        match (&mut *driver, others.len(), &mut *let_go) {
            (Some(_), 0, None) => return driver.take().into_iter().for_each(Waker::wake),
            (None, 1, None) => return others.pop().into_iter().for_each(Waker::wake),
            (None, 0, Some(_)) => return drop(let_go.take()),
            _ => {}
        }
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
        if self.is_empty() {
            return;
        }
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
