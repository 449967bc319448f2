//! Tasks that became ready together, and are woken in parts.
//!
//! Both ends of a connection should work at the same time. Suppose that 64 callers wait for their
//! answers, and that all answers arrive in one message. If the driver woke all callers at once, all
//! of them would run before the driver, which would then send 64 requests in one message. The peer
//! would be idle until this message arrives. The peer would answer all requests in one message, and
//! this end would be idle until the answers arrive. If the driver wakes the callers in parts, and
//! sends after each part, the peer works on one part while this end works on the next.

use std::{collections::VecDeque, task::Waker};

use super::wakeups::{Wakeups, each, in_drop};

/// The size of a part is the number of waiting tasks divided by this number. With several parts,
/// both ends have work while other messages are on their way in both directions.
const PARTS: usize = 4;

/// A part has at least this many tasks. Each part costs both ends a message with its system calls,
/// which take as long as the work of about five calls. With parts of 8 tasks, 64 callers completed
/// a fifth fewer calls.
const MIN_PART: usize = 16;

/// Wakers of ready tasks, in the order in which they will be woken. Dropping this value wakes all
/// of them.
#[derive(Debug, Default)]
pub(super) struct Backlog(VecDeque<Waker>);

impl Backlog {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Wakes the tasks of `wakeups` at once if they are few and no other tasks wait in the backlog.
    /// Otherwise adds these tasks to the backlog. Returns how many tasks were woken.
    pub(super) fn wake_or_keep(&mut self, wakeups: &mut Wakeups) -> usize {
        let mut woken = wakeups.count();
        if woken > MIN_PART || !self.is_empty() {
            woken = 0;
            self.0.extend(wakeups.drain());
        }
        wakeups.notify();
        woken
    }

    /// Wakes the next part of the tasks. Returns how many tasks were woken.
    #[inline]
    pub(super) fn wake_part(&mut self) -> usize {
        // Usually the backlog is empty.
        if self.is_empty() {
            return 0;
        }
        // A part must grow with the backlog. A task that polls many streams has a waker for each
        // stream, and may register all these wakers again each time that it is woken. If each round
        // woke fewer tasks than it added, the backlog would grow without limit.
        self.wake((self.0.len() / PARTS).max(MIN_PART))
    }

    /// Frees memory that no waker uses.
    pub(super) fn release_memory(&mut self) {
        self.0.shrink_to_fit();
    }

    /// Wakes all tasks.
    pub(super) fn wake_all(&mut self) {
        self.wake(self.0.len());
    }

    fn wake(&mut self, most: usize) -> usize {
        let count = most.min(self.0.len());
        each(self.0.drain(..count), Waker::wake);
        count
    }
}

impl Drop for Backlog {
    fn drop(&mut self) {
        in_drop(|| self.wake_all());
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{Arc, Mutex},
        task::Wake,
    };

    use super::*;

    /// A task that writes its number down when it is woken.
    struct Task(usize, Arc<Mutex<Vec<usize>>>);

    impl Wake for Task {
        fn wake(self: Arc<Self>) {
            self.1.lock().unwrap().push(self.0);
            assert_ne!(self.0, PANICS, "this task panics when it is woken");
        }
    }

    const PANICS: usize = 1_000_000;

    fn ready(numbers: impl IntoIterator<Item = usize>, woken: &Arc<Mutex<Vec<usize>>>) -> Wakeups {
        let mut wakeups = Wakeups::default();
        let wakers = numbers.into_iter().map(|n| Arc::new(Task(n, woken.clone())).into());
        wakeups.wake(wakers);
        wakeups
    }

    #[test]
    fn few_tasks_are_woken_at_once() {
        let woken = Arc::default();
        let mut backlog = Backlog::default();
        assert_eq!(backlog.wake_or_keep(&mut ready(0..MIN_PART, &woken)), MIN_PART);
        assert!(backlog.is_empty());
        assert_eq!(woken.lock().unwrap().len(), MIN_PART);
    }

    #[test]
    fn many_tasks_are_woken_in_parts_and_in_order() {
        let woken = Arc::default();
        let mut backlog = Backlog::default();
        assert_eq!(backlog.wake_or_keep(&mut ready(0..100, &woken)), 0);
        assert_eq!(backlog.wake_part(), 25);
        // A task that becomes ready later is woken after the others.
        assert_eq!(backlog.wake_or_keep(&mut ready([100], &woken)), 0);
        while !backlog.is_empty() {
            let part = backlog.wake_part();
            assert!((1..=25).contains(&part), "{part}");
        }
        assert_eq!(*woken.lock().unwrap(), (0..=100).collect::<Vec<_>>());
        assert_eq!(backlog.wake_part(), 0);
    }

    #[test]
    fn wakers_that_are_registered_again_each_round_do_not_pile_up() {
        let woken = Arc::default();
        let mut backlog = Backlog::default();
        for _ in 0..1_000 {
            backlog.wake_or_keep(&mut ready(0..200, &woken));
            backlog.wake_part();
            assert!(backlog.0.len() <= 200 * (PARTS - 1), "{} wakers", backlog.0.len());
        }
    }

    #[test]
    fn a_dropped_backlog_wakes_its_tasks() {
        let woken = Arc::default();
        let mut backlog = Backlog::default();
        backlog.wake_or_keep(&mut ready(0..100, &woken));
        drop(backlog);
        assert_eq!(woken.lock().unwrap().len(), 100);
    }

    #[test]
    fn a_waker_that_panics_does_not_keep_others_from_being_woken() {
        let woken = Arc::default();
        let mut backlog = Backlog::default();
        backlog.wake_or_keep(&mut ready((0..10).chain([PANICS]).chain(11..100), &woken));
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let _ = backlog.wake_part();
        }));
        assert!(panicked.is_err());
        drop(backlog);
        assert_eq!(woken.lock().unwrap().len(), 100);
    }
}
