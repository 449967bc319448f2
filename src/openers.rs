//! Who waits to open a stream.

use std::task::Waker;

use crate::proto::tree::Tree;

/// Those who wait to open a stream of one kind, in the order in which they came: a queue of those who wait, and a
/// number of those who were woken and have yet to open. Who was woken holds a place until it leaves, so that each
/// place wakes one, and nobody is passed over. Holds one entry for each future that waits.
#[derive(Debug, Default)]
pub(crate) struct Openers {
    waiting: Tree<Waker>,
    last_ticket: u64,
    /// Tickets that are held and do not wait.
    woken: u64,
    /// Entries that were looked at.
    #[cfg(test)]
    visited: u64,
}

impl Openers {
    /// Whether `ticket` was woken for one of `openable` places, or there is one more for a newcomer without one.
    pub(crate) fn may_open(&self, ticket: Option<u64>, openable: u64) -> bool {
        match ticket {
            Some(ticket) => openable > 0 && !self.waiting.contains(ticket),
            None => self.waiting.len() as u64 + self.woken < openable,
        }
    }

    /// Waits at the end of the queue, or stays where `ticket` is. Returns the waker that it waited with before.
    pub(crate) fn wait(&mut self, ticket: &mut Option<u64>, waker: &Waker) -> Option<Waker> {
        self.visit();
        let place = *ticket.get_or_insert_with(|| {
            self.last_ticket += 1;
            // As if it had been woken.
            self.woken += 1;
            self.last_ticket
        });
        let before = self.waiting.insert(place, waker.clone());
        // One that was woken and found no place waits again, where it stood.
        self.woken -= u64::from(before.is_none());
        before
    }

    /// Wakes those whose turn it is, with `openable` places.
    pub(crate) fn wake(&mut self, openable: u64, wakers: &mut Vec<Waker>) {
        while self.woken < openable
            && let Some((_, waker)) = self.waiting.pop_first()
        {
            self.visit();
            self.woken += 1;
            wakers.push(waker);
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.woken == 0
    }

    /// Gives the place up, and the waker that it waited with.
    pub(crate) fn leave(&mut self, ticket: u64) -> Option<Waker> {
        self.visit();
        let waker = self.waiting.remove(ticket);
        self.woken -= u64::from(waker.is_none());
        waker
    }

    fn visit(&mut self) {
        #[cfg(test)]
        {
            self.visited += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        sync::{
            Arc,
            atomic::{AtomicUsize, Ordering},
        },
        task::Wake,
    };

    /// Counts how often it is woken.
    #[derive(Default)]
    struct Waiter(AtomicUsize);

    impl Wake for Waiter {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// So many that wait, their tickets and whether they were woken.
    struct Queue {
        openers: Openers,
        waiters: Vec<(Arc<Waiter>, Option<u64>)>,
    }

    impl Queue {
        fn new(count: usize) -> Self {
            let mut queue = Self { openers: Openers::default(), waiters: Vec::new() };
            for nth in 0..count {
                assert!(!queue.openers.may_open(None, 0));
                queue.waiters.push(Default::default());
                queue.wait(nth);
            }
            queue
        }

        fn wait(&mut self, nth: usize) {
            let (waiter, ticket) = &mut self.waiters[nth];
            self.openers.wait(ticket, &waiter.clone().into());
        }

        fn leave(&mut self, nth: usize) {
            self.openers.leave(self.waiters[nth].1.unwrap());
        }

        fn wake(&mut self, openable: u64) {
            let mut wakers = Vec::new();
            self.openers.wake(openable, &mut wakers);
            wakers.into_iter().for_each(Waker::wake);
        }

        /// Who has been woken since the last look.
        fn woken(&self) -> Vec<usize> {
            let waiters = self.waiters.iter().enumerate();
            let woken = waiters.filter(|(_, (waiter, _))| waiter.0.swap(0, Ordering::Relaxed) > 0);
            woken.map(|(nth, _)| nth).collect()
        }

        fn may_open(&self, nth: usize, openable: u64) -> bool {
            self.openers.may_open(self.waiters[nth].1, openable)
        }
    }

    /// [C-85] What a frame, a call or an event costs MUST NOT grow with the number of streams that are open or wait,
    /// nor depend on the ids that a peer chooses, by more than a logarithm on average; what concerns all streams is
    /// exempt, such as the connection's end.
    #[test]
    fn an_opener_costs_the_same_however_many_wait() {
        const COUNT: usize = 20_000;
        let mut queue = Queue::new(COUNT);
        for nth in 0..COUNT {
            // A place comes free; who is woken takes it, and gives up its place in the queue.
            queue.wake(1);
            assert!(queue.may_open(nth, 1));
            queue.leave(nth);
            queue.wake(0);
        }
        assert!(queue.openers.is_empty());
        assert!(queue.openers.visited <= 3 * COUNT as u64, "{}", queue.openers.visited);
        // Those who lose patience, the last first.
        let mut queue = Queue::new(COUNT);
        (0..COUNT).rev().for_each(|nth| queue.leave(nth));
        assert!(queue.openers.visited <= 2 * COUNT as u64, "{}", queue.openers.visited);
    }

    #[test]
    fn places_go_to_those_who_wait_in_their_order_and_one_to_each() {
        let mut queue = Queue::new(4);
        queue.wake(2);
        assert_eq!(queue.woken(), [0, 1]);
        assert!(queue.may_open(0, 2) && queue.may_open(1, 2) && !queue.may_open(2, 2));
        assert!(!queue.openers.may_open(None, 4), "a newcomer is the fifth");
        assert!(queue.openers.may_open(None, 5));
        // The second is faster; its place is gone with it.
        queue.leave(1);
        queue.wake(1);
        assert!(queue.woken().is_empty());
        assert!(queue.may_open(0, 1) && !queue.may_open(2, 1));
    }

    #[test]
    fn a_place_whose_opener_was_dropped_goes_to_the_next() {
        let mut queue = Queue::new(3);
        queue.wake(1);
        assert_eq!(queue.woken(), [0]);
        queue.leave(0);
        queue.wake(1);
        assert_eq!(queue.woken(), [1]);
        // One that was not woken takes nobody's place with it.
        queue.leave(2);
        queue.wake(1);
        assert!(queue.woken().is_empty());
        assert!(queue.may_open(1, 1));
    }

    #[test]
    fn an_opener_that_was_woken_for_nothing_waits_where_it_stood() {
        let mut queue = Queue::new(2);
        queue.wake(1);
        assert_eq!(queue.woken(), [0]);
        // The limit fell.
        assert!(!queue.may_open(0, 0));
        queue.wait(0);
        queue.wake(1);
        assert_eq!(queue.woken(), [0]);
    }
}
