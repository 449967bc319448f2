//! Which streams there are: how each begins, and when it is freed.

use super::{
    Streams,
    control::PendingControl,
    flow_control::RecvCredit,
    held::Held,
    recv::{Recv, WasRead},
    scheduler::Ticket,
    send::{EndWatch, Send},
};
use crate::{Dir, StreamId};

#[derive(Debug)]
pub(super) struct Stream {
    pub(super) id: StreamId,
    pub(super) send: Option<Send>,
    pub(super) recv: Option<Recv>,
    pub(super) ticket: Option<Ticket>,
    pub(super) pending: PendingControl,
    /// The application has no further use for the half: it let go of it, or has learnt of its end.
    pub(super) send_released: bool,
    pub(super) recv_released: bool,
    /// The peer reset its half, or stopped ours, before anything useful was sent on ours (C-62).
    pub(super) abandoned_by_peer: bool,
    /// The application has let go of it, all our frames for it have left, and the peer has not
    /// ended its half.
    pub(super) lingers: bool,
}

/// Memory for this many streams is kept when there are none.
pub(super) const SPARE_STREAMS: usize = 64;

impl Streams {
    pub(super) fn get(&self, id: StreamId) -> Option<&Stream> {
        let key = self.keys.get(id)?;
        self.slab.get(key)
    }

    pub(super) fn get_mut(&mut self, id: StreamId) -> Option<&mut Stream> {
        let key = self.keys.get(id)?;
        self.slab.get_mut(key)
    }

    /// A stream with its halves as its kind and its opener give them.
    pub(super) fn insert(&mut self, id: StreamId) -> usize {
        let local = id.initiator() == self.side;
        let (sends, receives) = match id.dir() {
            Dir::Bi => (true, true),
            Dir::Uni => (local, !local),
        };
        let window = self.stream_receive_window;
        let stream = Stream {
            id,
            send: sends.then(|| Send::new(self.initial_send_limit(id))),
            recv: receives.then(|| {
                let granted =
                    if self.caps.opens_with_grant() { 0 } else { self.initial_recv_limit(id) };
                Recv::new(RecvCredit::new(window, granted))
            }),
            ticket: None,
            pending: PendingControl::default(),
            send_released: !sends,
            recv_released: !receives,
            abandoned_by_peer: false,
            lingers: false,
        };
        let key = self.slab.insert(stream);
        self.keys.insert(id, key);
        self.counts.get_mut(id.initiator(), id.dir()).live += 1;
        self.budgets.stream_opened(self.slab.len());
        // A window that is larger than was declared is granted at once. On a local stream no grant
        // may precede the first frame.
        let grown =
            !local && self.slab[key].recv.as_ref().is_some_and(|recv| recv.credit.grant_is_due());
        // J-12, J-13
        if self.caps.opens_with_grant() || grown {
            self.queue_control(key, |pending| pending.credit = true);
        }
        key
    }

    /// Frees a stream once its halves have ended, the application has released both, and no frame
    /// of it is left to be sent.
    pub(super) fn maybe_free(&mut self, key: usize) {
        let Some(stream) = self.slab.get_mut(key) else { return };
        if let Some(recv) = &mut stream.recv {
            self.auto_tune.give_back(recv.release_growth());
        }
        let all_sent = !stream.pending.queued
            && stream.send.as_ref().is_none_or(Send::is_done)
            && stream.recv.as_ref().is_none_or(Recv::is_done);
        // If somebody waits for the end, the stream stays until they have seen how it ended.
        let watch = stream.send.as_ref().map(|send| send.end_watch).unwrap_or_default();
        let over = match watch {
            EndWatch::Nobody => all_sent || self.ended,
            EndWatch::Waiting => all_sent,
            EndWatch::Notified => false,
        };
        let released = stream.send_released && stream.recv_released;
        // C-4 (RFC 9000 §3.4)
        if !(released && over) {
            // Only the peer's half is left.
            let is_ours_to_end = !released
                || stream.pending.queued
                || stream.send.as_ref().is_some_and(|send| !send.is_done());
            if !is_ours_to_end && !std::mem::replace(&mut stream.lingers, true) {
                self.lingering += 1;
            }
            return;
        }
        self.lingering -= usize::from(stream.lingers);
        let id = stream.id;
        if id.initiator() != self.side {
            let answered =
                !stream.abandoned_by_peer && stream.send.as_ref().is_some_and(Send::was_of_use);
            let read = stream.recv.as_ref().map(Recv::was_read).unwrap_or_default();
            if answered || read == WasRead::Whole {
                self.budgets.stream_served();
            } else if id.dir() == Dir::Bi && stream.abandoned_by_peer && read == WasRead::Nothing {
                self.budgets.stream_cancelled();
            }
        }
        let held = stream.send.as_ref().map(Send::held).unwrap_or_default();
        self.send_budget.change(held, Held::default());
        // C-54
        self.slab.remove(key);
        self.keys.remove(id);
        // C-40
        self.count_closed(id);
        if self.slab.is_empty() && self.slab.capacity() > SPARE_STREAMS {
            // After a burst of streams their memory goes back.
            self.slab.shrink_to_fit();
        }
    }
}
