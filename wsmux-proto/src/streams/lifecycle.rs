//! How a stream begins, and when it is freed.

use super::{
    Phase, Streams,
    control_queue::ControlFrame,
    flow_control::RecvCredit,
    held::Held,
    recv::{Recv, WasRead},
    send::{EndWatch, Send},
    table::{Key, Stream},
};
use crate::{Dir, StreamId};

impl Streams {
    /// Adds a stream. The kind and the initiator of the stream determine which halves it has.
    pub(super) fn insert(&mut self, id: StreamId) -> Key {
        let local = id.initiator() == self.side;
        let (sends, receives) = match id.dir() {
            Dir::Bi => (true, true),
            Dir::Uni => (local, !local),
        };
        let window = self.stream_receive_window;
        let send = sends.then(|| Send::new(self.declared.send_limit(id)));
        let recv = receives.then(|| {
            let granted =
                if self.caps.opens_with_grant() { 0 } else { self.declared.receive_limit(id) };
            Recv::new(RecvCredit::new(window, granted))
        });
        let key = self.table.insert(Stream::new(id, send, recv));
        self.limits.on_begin(id);
        self.budgets.stream_opened(self.table.len());
        // If the window has become larger than the declared window, the difference is granted at
        // once. On a local stream the grant has to wait until the first STREAM frame has been sent
        // (SPEC.md Q-34).
        let grown =
            !local && self.table[key].recv.as_ref().is_some_and(|recv| recv.credit.grant_is_due());
        // J-12, J-13
        if self.caps.opens_with_grant() || grown {
            self.queue_control(key, ControlFrame::Credit);
        }
        key
    }

    /// Frees a stream if its halves have ended, the application has released both of them, and no
    /// frame of the stream is left to be sent.
    pub(super) fn maybe_free(&mut self, key: Key) {
        let Some(stream) = self.table.get_mut(key) else { return };
        if let Some(recv) = &mut stream.recv {
            self.auto_tune.give_back(recv.release_growth());
        }
        let all_sent = stream.pending.is_empty()
            && stream.send.as_ref().is_none_or(Send::is_done)
            && stream.recv.as_ref().is_none_or(Recv::is_done);
        // If a caller waits for the end of the sending half, the stream is kept until the caller
        // has asked how the half ended.
        let watch = stream.send.as_ref().map(|send| send.end_watch).unwrap_or_default();
        let over = match watch {
            EndWatch::Nobody => all_sent || self.phase == Phase::Ended,
            EndWatch::Waiting => all_sent,
            EndWatch::Notified => false,
        };
        let released = stream.send_released && stream.recv_released;
        // C-4 (RFC 9000 §3.4)
        if !(released && over) {
            // If this end has nothing left to send or to read, the stream waits only for the peer.
            let is_ours_to_end = !released
                || !stream.pending.is_empty()
                || stream.send.as_ref().is_some_and(|send| !send.is_done());
            if !is_ours_to_end {
                self.table.set_lingering(key);
            }
            return;
        }
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
        debug_assert!(!stream.send.as_ref().is_some_and(|send| send.scheduling.is_waiting()));
        self.table.remove(key);
        // C-40. During a drain of this end, the peer goes on opening streams until it has found
        // another server (G-4).
        let may_open_more = matches!(self.phase, Phase::Open | Phase::Leaving);
        self.limits.on_end(id, may_open_more);
    }
}
