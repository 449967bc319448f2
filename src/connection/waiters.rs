//! A queue of waiting tasks.

use std::task::Waker;

use wsmux_proto::Tree;

/// The tasks that wait for the same thing. The task that has waited longest is served first. Each
/// task wants an amount of what is available: one stream, one datagram, or room for some bytes.
///
/// A task that has to wait gets a ticket. [`wake`](Self::wake) removes tasks from the front of the
/// queue and wakes them. A woken task keeps its ticket, and the amount that the task wants is
/// *reserved* for it. The reservation ends when the task gives up the ticket, or waits again at its
/// old position. Thus a task is woken only if enough is available for it, and a later task never
/// takes what is reserved for an earlier task. There is one entry for each waiting future.
///
/// # No lost wake-ups
/// `wake` must be called whenever more has become available, and whenever a task has given up its
/// ticket. The call must come before the lock that guards the queue is released. It may come later
/// only if the caller is certain to take this lock again and to call `wake` then. As a result,
/// whenever the lock is free, the first task in the queue wants more than the part of the available
/// amount that is not reserved. Every task with a reservation is awake, and will take what it wants
/// or give up its ticket.
///
/// A queue takes memory from the first time that a task waits in it. Most queues of a connection are
/// never used.
#[derive(Debug, Default)]
pub(crate) struct Waiters(Option<Box<Entries>>);

/// The tasks of a queue, and the amounts that they want.
#[derive(Debug, Default)]
struct Entries {
    /// The ticket and entry of the first task in the queue. Both are stored in this field, because
    /// most queues have only one task, and this task then needs no allocation.
    first: Option<(u64, Waiter)>,
    /// The other tasks in the queue, by ticket.
    others: Tree<Waiter>,
    last_ticket: u64,
    /// The sum of the amounts that all tasks with a ticket want.
    wanted: u64,
    /// The part of `wanted` that is reserved for tasks that were woken.
    reserved: u64,
    /// How many entries of the queue were visited.
    #[cfg(test)]
    visited: u64,
}

/// A task in the queue.
#[derive(Debug)]
struct Waiter {
    waker: Waker,
    wants: u64,
}

impl Waiters {
    /// Whether the queue contains a task. A task in the queue waits and was not woken.
    pub(crate) fn is_waiting(&self) -> bool {
        self.0.as_ref().is_some_and(|entries| entries.first.is_some())
    }

    /// Whether no task has a ticket.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.as_ref().is_none_or(|entries| entries.wanted == 0)
    }

    /// Whether a task may now take the amount that it `wants`. If the task has a ticket, it may
    /// take the amount if it was woken and `available` is enough for the amount. If it has no
    /// ticket, `available` must be enough for this amount and for the amounts of all earlier tasks.
    pub(crate) fn may_take(&self, ticket: Option<u64>, wants: u64, available: u64) -> bool {
        match (&self.0, ticket) {
            (None, _) => wants <= available,
            (Some(entries), Some(ticket)) => wants <= available && !entries.waits(ticket),
            (Some(entries), None) => entries.wanted.saturating_add(wants) <= available,
        }
    }

    /// Joins the end of the queue and sets `ticket`. If `ticket` is set already, the task waits
    /// again at its old position, and it must want the same amount as before. Returns the waker
    /// that was replaced, if there was one.
    #[must_use = "a waker is not dropped under the lock"]
    pub(crate) fn wait(
        &mut self,
        ticket: &mut Option<u64>,
        wants: u64,
        waker: &Waker,
    ) -> Option<Waker> {
        self.0.get_or_insert_default().wait(ticket, wants, waker)
    }

    /// Removes tasks from the front of the queue as long as `available` is enough for them, and
    /// adds their wakers to `wakers`.
    pub(crate) fn wake(&mut self, available: u64, wakers: &mut Vec<Waker>) {
        if let Some(entries) = &mut self.0 {
            entries.wake(available, wakers);
        }
    }

    /// Gives up `ticket`. `wants` is the amount that its task wants. Returns the task's waker if
    /// the task was still in the queue.
    #[must_use = "a waker is not dropped under the lock"]
    pub(crate) fn leave(&mut self, ticket: u64, wants: u64) -> Option<Waker> {
        self.0.as_mut()?.leave(ticket, wants)
    }
}

impl Entries {
    fn waits(&self, ticket: u64) -> bool {
        let is_first = self.first.as_ref().is_some_and(|(first, _)| *first == ticket);
        is_first || self.others.contains(ticket)
    }

    fn wait(&mut self, ticket: &mut Option<u64>, wants: u64, waker: &Waker) -> Option<Waker> {
        self.visit();
        let place = *ticket.get_or_insert_with(|| {
            self.last_ticket += 1;
            self.wanted += wants;
            // For now the amount counts as reserved, as for a woken task. The code below subtracts
            // it again.
            self.reserved += wants;
            self.last_ticket
        });
        let waiting = match &mut self.first {
            Some((first, waiter)) if *first == place => Some(waiter),
            _ => self.others.get_mut(place),
        };
        if let Some(waiter) = waiting {
            let same = waiter.waker.will_wake(waker);
            return (!same).then(|| std::mem::replace(&mut waiter.waker, waker.clone()));
        }
        // Either the task is new, or it was woken, did not find enough, and returns to its old
        // position. `clone` is foreign code and may panic, so it comes before the counts change.
        let mut last = (place, Waiter { waker: waker.clone(), wants });
        self.reserved -= wants;
        match &mut self.first {
            None => self.first = Some(last),
            Some(first) => {
                if place < first.0 {
                    std::mem::swap(first, &mut last);
                }
                self.others.insert(last.0, last.1);
            }
        }
        None
    }

    fn wake(&mut self, available: u64, wakers: &mut Vec<Waker>) {
        while let Some(wants) = self.first.as_ref().map(|(_, waiter)| waiter.wants)
            && self.reserved.saturating_add(wants) <= available
        {
            self.visit();
            self.reserved += wants;
            wakers.extend(self.take_first());
        }
    }

    fn take_first(&mut self) -> Option<Waker> {
        let first = std::mem::replace(&mut self.first, self.others.pop_first());
        first.map(|(_, waiter)| waiter.waker)
    }

    fn leave(&mut self, ticket: u64, wants: u64) -> Option<Waker> {
        self.visit();
        self.wanted -= wants;
        let waker = match &self.first {
            Some((first, _)) if *first == ticket => self.take_first(),
            _ => self.others.remove(ticket).map(|waiter| waiter.waker),
        };
        if waker.is_none() {
            self.reserved -= wants;
        }
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
    struct Counter(AtomicUsize);

    impl Wake for Counter {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A queue, and the wake-ups and the ticket of each waiting task.
    struct Queue {
        queue: Waiters,
        waiters: Vec<(Arc<Counter>, Option<u64>)>,
    }

    impl Queue {
        fn new(count: usize) -> Self {
            let mut queue = Self { queue: Waiters::default(), waiters: Vec::new() };
            for nth in 0..count {
                assert!(!queue.queue.may_take(None, 1, 0));
                queue.waiters.push(Default::default());
                queue.wait(nth);
            }
            queue
        }

        fn wait(&mut self, nth: usize) {
            let (waiter, ticket) = &mut self.waiters[nth];
            assert!(self.queue.wait(ticket, 1, &waiter.clone().into()).is_none());
        }

        fn leave(&mut self, nth: usize) {
            drop(self.queue.leave(self.waiters[nth].1.unwrap(), 1));
        }

        fn wake(&mut self, there: u64) {
            let mut wakers = Vec::new();
            self.queue.wake(there, &mut wakers);
            wakers.into_iter().for_each(Waker::wake);
        }

        /// Returns the tasks that were woken since the last call.
        fn woken(&self) -> Vec<usize> {
            let waiters = self.waiters.iter().enumerate();
            let woken = waiters.filter(|(_, (waiter, _))| waiter.0.swap(0, Ordering::Relaxed) > 0);
            woken.map(|(nth, _)| nth).collect()
        }

        fn visited(&self) -> u64 {
            self.queue.0.as_ref().map_or(0, |entries| entries.visited)
        }

        fn may_take(&self, nth: usize, there: u64) -> bool {
            self.queue.may_take(self.waiters[nth].1, 1, there)
        }
    }

    /// [C-85] On average, the cost of a frame, a call or an event MUST NOT grow faster than the
    /// logarithm of the number of streams. The number includes streams that wait (J-31). The rule
    /// holds for all ids that a peer may choose. Events that concern all streams, such as the
    /// connection's end, are exempt.
    #[test]
    fn an_opener_costs_the_same_however_many_wait() {
        const COUNT: usize = 20_000;
        let mut queue = Queue::new(COUNT);
        for nth in 0..COUNT {
            // One stream can be opened. The woken task opens it and leaves the queue.
            queue.wake(1);
            assert!(queue.may_take(nth, 1));
            queue.leave(nth);
            queue.wake(0);
        }
        assert!(queue.queue.is_empty());
        assert!(queue.visited() <= 3 * COUNT as u64, "{}", queue.visited());
        // All tasks leave without having been woken. The last task leaves first.
        let mut queue = Queue::new(COUNT);
        (0..COUNT).rev().for_each(|nth| queue.leave(nth));
        assert!(queue.visited() <= 2 * COUNT as u64, "{}", queue.visited());
    }

    #[test]
    fn places_go_to_those_who_wait_in_their_order_and_one_to_each() {
        let mut queue = Queue::new(4);
        queue.wake(2);
        assert_eq!(queue.woken(), [0, 1]);
        assert!(queue.may_take(0, 2) && queue.may_take(1, 2) && !queue.may_take(2, 2));
        assert!(!queue.queue.may_take(None, 1, 4), "a newcomer is the fifth");
        assert!(queue.queue.may_take(None, 1, 5));
        // The second task runs before the first, takes what it wants and leaves.
        queue.leave(1);
        queue.wake(1);
        assert!(queue.woken().is_empty());
        assert!(queue.may_take(0, 1) && !queue.may_take(2, 1));
    }

    #[test]
    fn a_place_whose_opener_was_dropped_goes_to_the_next() {
        let mut queue = Queue::new(3);
        queue.wake(1);
        assert_eq!(queue.woken(), [0]);
        queue.leave(0);
        queue.wake(1);
        assert_eq!(queue.woken(), [1]);
        // Now a task that was not woken leaves. It had no reservation, so no reservation is
        // released.
        queue.leave(2);
        queue.wake(1);
        assert!(queue.woken().is_empty());
        assert!(queue.may_take(1, 1));
    }

    #[test]
    fn an_opener_that_was_woken_for_nothing_waits_where_it_stood() {
        let mut queue = Queue::new(2);
        queue.wake(1);
        assert_eq!(queue.woken(), [0]);
        // The limit was lowered after the task was woken.
        assert!(!queue.may_take(0, 0));
        queue.wait(0);
        queue.wake(1);
        assert_eq!(queue.woken(), [0]);
    }

    /// Adds tasks that want these amounts. Returns the ticket and the amount of each task.
    fn crowd(queue: &mut Waiters, wants: &[u64]) -> Vec<(Option<u64>, u64)> {
        let waits = |&wants: &u64| {
            let mut ticket = None;
            assert!(queue.wait(&mut ticket, wants, Waker::noop()).is_none());
            (ticket, wants)
        };
        wants.iter().map(waits).collect()
    }

    /// Returns the amounts that the tasks want, and what is reserved of them.
    fn amounts(queue: &Waiters) -> (u64, u64) {
        queue.0.as_ref().map_or((0, 0), |entries| (entries.wanted, entries.reserved))
    }

    fn wake(queue: &mut Waiters, there: u64) -> usize {
        let mut wakers = Vec::new();
        queue.wake(there, &mut wakers);
        wakers.len()
    }

    #[test]
    fn as_many_are_woken_as_there_is_enough_for_and_none_before_the_first() {
        let mut queue = Waiters::default();
        let crowd = crowd(&mut queue, &[5, 1, 4, 1]);
        assert_eq!(wake(&mut queue, 4), 0, "the second has to wait for the first");
        assert_eq!(wake(&mut queue, 9), 2);
        let may = |queue: &Waiters, nth: usize, there| {
            let (ticket, wants) = crowd[nth];
            queue.may_take(ticket, wants, there)
        };
        assert!(may(&queue, 0, 9) && may(&queue, 1, 9) && !may(&queue, 2, 9));
        assert!(!may(&queue, 0, 4), "less is available now");
        assert!(!queue.may_take(None, 1, 11) && queue.may_take(None, 1, 12));
        assert!(queue.leave(crowd[0].0.unwrap(), 5).is_none());
        assert_eq!(wake(&mut queue, 9 - 5), 0);
        assert_eq!(wake(&mut queue, 6), 2);
        for (ticket, wants) in &crowd[1..] {
            assert!(queue.leave(ticket.unwrap(), *wants).is_none());
        }
        assert!(queue.is_empty() && !queue.is_waiting());
        assert_eq!(amounts(&queue), (0, 0));
    }

    #[test]
    fn the_end_wakes_all_whatever_they_want() {
        let mut queue = Waiters::default();
        crowd(&mut queue, &[u64::MAX / 2, 7, u64::MAX / 4]);
        assert_eq!(wake(&mut queue, u64::MAX), 3);
        assert!(!queue.is_waiting() && !queue.is_empty());
    }

    #[test]
    fn in_whichever_order_they_come_and_go_nobody_is_forgotten() {
        /// A task with a ticket.
        struct One {
            ticket: Option<u64>,
            wants: u64,
            woken: Arc<Counter>,
        }

        let mut random: u64 = 7;
        let mut below = |end: u64| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (random >> 33) % end
        };
        for _ in 0..200 {
            let (mut queue, mut there) = (Waiters::default(), 0);
            let mut crowd: Vec<One> = Vec::new();
            for _ in 0..200 {
                let nth = below(crowd.len() as u64 + 1) as usize;
                match below(6) {
                    0 | 1 => {
                        let mut one =
                            One { ticket: None, wants: 1 + below(4), woken: Arc::default() };
                        if queue.may_take(None, one.wants, there) {
                            there -= one.wants;
                        } else {
                            let waker = one.woken.clone().into();
                            assert!(queue.wait(&mut one.ticket, one.wants, &waker).is_none());
                            crowd.push(one);
                        }
                    }
                    2 => there += below(8),
                    // A call without a ticket takes a part of the available amount, even if that
                    // part is reserved.
                    3 => there -= below(there + 1),
                    4 if nth < crowd.len() => {
                        let one = crowd.remove(nth);
                        drop(queue.leave(one.ticket.unwrap(), one.wants));
                    }
                    // The task is polled, either because it was woken or for another reason.
                    _ if nth < crowd.len() => {
                        let one = &mut crowd[nth];
                        if queue.may_take(one.ticket, one.wants, there) {
                            there -= one.wants;
                            drop(queue.leave(one.ticket.unwrap(), one.wants));
                            crowd.remove(nth);
                        } else {
                            one.woken.0.store(0, Ordering::Relaxed);
                            let waker = one.woken.clone().into();
                            drop(queue.wait(&mut one.ticket, one.wants, &waker));
                        }
                    }
                    _ => {}
                }
                let mut wakers = Vec::new();
                queue.wake(there, &mut wakers);
                wakers.into_iter().for_each(Waker::wake);
                // The tasks in `crowd` are in the order of their tickets.
                let is_awake = |one: &One| one.woken.0.load(Ordering::Relaxed) > 0;
                let wants = |one: &One| one.wants;
                let awake = crowd.iter().filter(|one| is_awake(one));
                let reserved = awake.map(wants).sum::<u64>();
                assert_eq!(amounts(&queue), (crowd.iter().map(wants).sum::<u64>(), reserved));
                if let Some(first) = crowd.iter().find(|one| !is_awake(one)) {
                    assert!(reserved + first.wants > there, "the first that waits has its turn");
                }
            }
        }
    }
}
