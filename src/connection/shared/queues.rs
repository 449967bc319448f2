//! The queues in which tasks wait for their turn, and the position of a task in its queue.

use std::{
    future::poll_fn,
    task::{Context, Poll},
};

use wsmux_proto::{Dir, StreamId};

use super::{Shared, State, ends::Ends};
use crate::connection::waiters::Waiters;

/// The conditions for which a task can wait, apart from reading from a stream or writing to it.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Queue {
    /// The connection is established, or has ended, or either end drains it.
    Established,
    /// There is an event for the listeners.
    Events,
    /// The driver is gone.
    Finished,
    /// A stream can be opened.
    Openers(Dir),
    /// There is a stream to accept.
    Acceptors(Dir),
    /// There is a datagram to read.
    DatagramReaders,
    /// There is room for a datagram.
    DatagramSenders,
    /// A sending half has ended.
    End(StreamId),
}

/// The waiting tasks of each [`Queue`].
#[derive(Debug, Default)]
pub(super) struct Queues {
    established: Waiters,
    events: Waiters,
    finished: Waiters,
    openers: [Waiters; 2],
    acceptors: [Waiters; 2],
    datagram_readers: Waiters,
    datagram_senders: Waiters,
    pub(super) ends: Ends,
}

impl Queues {
    /// Returns the tasks in `queue`. Returns `None` for [`Queue::End`] if that half of the stream
    /// has already ended, because then there is nothing to wait for.
    pub(super) fn get_mut(&mut self, queue: Queue) -> Option<&mut Waiters> {
        Some(match queue {
            Queue::Established => &mut self.established,
            Queue::Events => &mut self.events,
            Queue::Finished => &mut self.finished,
            Queue::Openers(dir) => &mut self.openers[dir as usize],
            Queue::Acceptors(dir) => &mut self.acceptors[dir as usize],
            Queue::DatagramReaders => &mut self.datagram_readers,
            Queue::DatagramSenders => &mut self.datagram_senders,
            Queue::End(id) => return self.ends.waiters(id),
        })
    }
}

/// A future's position in a queue. When this value is dropped, the future leaves the queue, and the
/// amount that was reserved for the future goes to the next task.
pub(crate) struct QueuePosition<'a> {
    shared: &'a Shared,
    queue: Queue,
    /// `None` while the future has no position.
    ticket: Option<u64>,
    /// The amount for which the future waits. The amount does not change while the ticket is set.
    wants: u64,
}

impl<'a> QueuePosition<'a> {
    pub(crate) fn new(shared: &'a Shared, queue: Queue) -> Self {
        Self { shared, queue, ticket: None, wants: 1 }
    }

    /// Whether the future's turn has come and the amount that it `wants` is available. Once the
    /// connection has ended, the result is always `true`. From then on the order does not matter,
    /// because every task is awake. Each task finds either something to take or the reason for the
    /// end.
    pub(crate) fn may_take(&self, state: &mut State, wants: u64) -> bool {
        state.may_take(self.queue, self.ticket, wants)
    }

    /// Waits at the present position, or at the end of the queue if there is no position yet.
    pub(crate) fn wait(&mut self, state: &mut State, wants: u64, cx: &Context<'_>) {
        self.wants = wants;
        state.wait_in(self.queue, &mut self.ticket, wants, cx);
    }

    /// Leaves the queue, whether the future took what it wanted or not.
    pub(crate) fn leave(&mut self, state: &mut State) {
        if let Some(ticket) = self.ticket.take() {
            state.leave(self.queue, ticket, self.wants);
        }
    }
}

impl Drop for QueuePosition<'_> {
    fn drop(&mut self) {
        if self.ticket.is_some() {
            let mut state = self.shared.lock();
            self.leave(&mut state);
            // Other tasks may still wait to open a stream. Then the driver may have to send a
            // STREAMS_BLOCKED frame.
            state.wake_driver();
        }
    }
}

/// Waits in `queue` until `check` returns a value. `check` is called first and at every wake-up.
pub(crate) async fn wait_for<T>(
    shared: &Shared,
    queue: Queue,
    mut check: impl FnMut(&mut State) -> Option<T>,
) -> T {
    let mut position = QueuePosition::new(shared, queue);
    poll_fn(|cx| {
        // The task checks and starts to wait under one lock, so that it misses no event in between.
        let mut state = shared.lock();
        match check(&mut state) {
            Some(found) => {
                position.leave(&mut state);
                Poll::Ready(found)
            }
            None => {
                position.wait(&mut state, 1, cx);
                Poll::Pending
            }
        }
    })
    .await
}
