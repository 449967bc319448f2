//! Wakers that were taken out of a locked state. They are woken or dropped after the lock is
//! released.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    task::Waker,
};

/// Wakers that were collected under a connection's lock, to be woken or dropped after the lock is
/// released. Dropping this value wakes the tasks, so that no task is forgotten. This value holds at
/// most one waker for each task that waited.
#[derive(Debug, Default)]
pub(crate) struct Wakeups {
    /// The driver's waker. It has a field of its own, because most writes wake only the driver and
    /// then allocate no vector.
    driver: Option<Waker>,
    others: Vec<Waker>,
    /// A waker that is dropped and not woken, because its task no longer uses it.
    dropped: Option<Waker>,
    /// Whether any other field contains a waker. This has a field of its own, because it is checked
    /// after every use of the lock and the check has to be quick.
    any: bool,
}

impl Wakeups {
    pub(crate) fn wake(&mut self, wakers: impl IntoIterator<Item = Waker>) {
        self.others.extend(wakers);
        self.any |= !self.others.is_empty();
    }

    /// Returns the list to which the wakers of tasks other than the driver are added.
    pub(crate) fn list(&mut self) -> &mut Vec<Waker> {
        self.any = true;
        &mut self.others
    }

    pub(crate) fn wake_driver(&mut self, driver: Option<Waker>) {
        if let Some(driver) = driver {
            self.any = true;
            self.others.extend(self.driver.replace(driver));
        }
    }

    /// Stores a waker to be dropped later without waking it. Each use of the lock stores at most
    /// one such waker. If a use of the lock stored two such wakers, the first of them would be
    /// woken for nothing, which is harmless.
    pub(crate) fn drop_later(&mut self, waker: Option<Waker>) {
        if let Some(waker) = waker {
            self.any = true;
            self.others.extend(self.dropped.replace(waker));
        }
    }

    /// Returns how many wakers will be woken, not counting the driver's.
    pub(crate) fn count(&self) -> usize {
        self.others.len()
    }

    /// Takes out the wakers of tasks other than the driver, in order.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = Waker> {
        self.others.drain(..)
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        !self.any
    }

    /// Takes all wakers out. If the list is empty, its memory stays here.
    pub(crate) fn take(&mut self) -> Self {
        let others = match self.others.is_empty() {
            true => Vec::new(),
            false => std::mem::take(&mut self.others),
        };
        let any = std::mem::take(&mut self.any);
        Self { driver: self.driver.take(), others, dropped: self.dropped.take(), any }
    }

    /// Wakes and drops all stored wakers, and keeps the memory of the list.
    pub(crate) fn notify(&mut self) {
        if !std::mem::take(&mut self.any) {
            return;
        }
        let Self { driver, others, dropped, .. } = self;
        // Usually there is only one waker. If it panics, no other waker is left that would be
        // forgotten.
        match (&mut *driver, others.len(), &mut *dropped) {
            (Some(_), 0, None) => return driver.take().into_iter().for_each(Waker::wake),
            (None, 1, None) => return others.pop().into_iter().for_each(Waker::wake),
            (None, 0, Some(_)) => return drop(dropped.take()),
            _ => {}
        }
        let woken = driver.take().into_iter().chain(others.drain(..)).map(|waker| (waker, true));
        // The waker that is only dropped comes last, because no task waits for the drop.
        let all = woken.chain(dropped.take().map(|waker| (waker, false)));
        each(all, |(waker, is_woken)| match is_woken {
            true => waker.wake(),
            false => drop(waker),
        });
    }
}

impl Drop for Wakeups {
    fn drop(&mut self) {
        if !self.is_empty() {
            in_drop(|| self.notify());
        }
    }
}

/// Wakes tasks in a drop. If the drop is part of a panic, a panic of a waker is discarded, because
/// a second panic that leaves the drop would abort the process.
pub(super) fn in_drop(wake: impl FnOnce()) {
    match std::thread::panicking() {
        true => drop(catch_unwind(AssertUnwindSafe(wake))),
        false => wake(),
    }
}

/// Calls `step` with each item. If a call panics, `step` is still called with the remaining items,
/// because their tasks would otherwise never be woken.
pub(super) fn each<I: Iterator>(items: I, step: impl Fn(I::Item)) {
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
