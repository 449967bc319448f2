//! Streams of the peer that wait until another stream has ended. Streams wait only on a wire that
//! cannot advertise a limit on streams. On such a wire, a peer may open more streams than the limit
//! allows (SPEC.md §7.5).
//!
//! The peer cannot send data on a stream of this wire before this end's first grant. So a waiting
//! stream takes no more memory than its entry in this module. When fewer streams are open than the
//! limit allows, the first waiting stream is opened as if the peer had opened it at this moment.
//! The frames that the peer has already sent for the stream take effect at the same moment.
//!
//! Invariant: a waiting stream counts as opened, and is neither in the table nor refused.

use super::{Streams, flow_control::SendCredit, ingress::StreamData, refusals::REFUSED};
use crate::{
    Dir, Event, StreamId, Time, TransportError, VarInt, budget::UselessWork, event::Events,
    frame::Credit, transport_error::violation, tree::Tree,
};

/// What the peer has sent about a waiting stream (J-41).
#[derive(Debug, Default)]
pub(super) struct Waiting {
    /// How much credit the peer has granted in all; `None` before the peer's first grant.
    credit: Option<u64>,
    halves: Halves,
}

// While the table of waiting streams grows, it needs as much memory for each stream as two and a
// half values of this type. The stream's node in the tree takes another 40 bytes. The sum is below
// 128 bytes, which SPEC.md §10 allows for each stream.
const _: () = assert!(size_of::<Waiting>() <= 32);

/// What the peer has done with the halves of a waiting stream. The peer has sent no byte, because
/// it had no credit. If the peer has given up both halves, one by a reset and the other by a stop,
/// the stream is removed and no longer waits.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Halves {
    #[default]
    Open,
    Fin,
    Reset(VarInt),
    /// The peer has stopped this end's half with `code`.
    Stopped {
        code: VarInt,
        /// Whether the peer's half has ended as well.
        fin: bool,
    },
}

/// The waiting streams, at most `max`. If a stream was refused after it had waited, it counts
/// towards `max` until its refusal has been sent. The peer opens streams of one kind in the order
/// of their ids, so the order of ids is the order of arrival. The streams are kept in a tree rather
/// than a hash table, because a tree returns memory when streams leave, and because no choice of
/// ids makes it slow.
#[derive(Debug)]
pub(super) struct WaitingRoom {
    max: u64,
    /// For each kind of stream, the waiting streams by index.
    streams: [Tree<Waiting>; 2],
}

impl WaitingRoom {
    pub(super) fn new(max: u64) -> Self {
        Self { max, streams: Default::default() }
    }

    pub(super) fn len(&self) -> usize {
        self.streams.iter().map(Tree::len).sum()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.streams.iter().all(Tree::is_empty)
    }

    pub(super) fn contains(&self, id: StreamId) -> bool {
        self.streams[id.dir() as usize].contains(id.index())
    }

    fn get_mut(&mut self, id: StreamId) -> Option<&mut Waiting> {
        self.streams[id.dir() as usize].get_mut(id.index())
    }

    /// Whether one more stream may wait. The `refused` streams are streams that have waited and
    /// still count as waiting.
    fn has_room(&self, refused: u64) -> bool {
        (self.len() as u64).saturating_add(refused) < self.max
    }

    /// Forgets all waiting streams, because the connection has ended.
    pub(super) fn clear(&mut self) {
        self.streams = Default::default();
    }
}

impl Streams {
    /// Returns a kind of stream whose limit is not reached and of which at least one stream waits.
    fn admissible(&self) -> Option<Dir> {
        // This function is called twice for each message, so it is fast in the usual case, in which
        // no stream waits.
        if self.waiting.is_empty() {
            return None;
        }
        Dir::ALL.into_iter().find(|&dir| {
            !self.waiting.streams[dir as usize].is_empty() && !self.limits.is_full(dir)
        })
    }

    /// Whether `admit` would open a stream.
    pub(crate) fn can_admit(&self) -> bool {
        !self.waiting.is_empty() && self.admissible().is_some()
    }

    /// Opens waiting streams until a limit is reached or none is left (J-40).
    #[inline]
    pub(crate) fn admit(&mut self, now: Time, events: &mut Events) -> Result<(), TransportError> {
        if self.waiting.is_empty() { Ok(()) } else { self.admit_waiting(now, events) }
    }

    fn admit_waiting(&mut self, now: Time, events: &mut Events) -> Result<(), TransportError> {
        while let Some(dir) = self.admissible() {
            // The budget was already checked when the peer opened the stream. Without a second
            // check here, a peer could evade the budget by opening streams in advance.
            self.budgets.check(UselessWork::Cancelled, now)?;
            let Some((index, waited)) = self.waiting.streams[dir as usize].pop_first() else {
                break;
            };
            let id = StreamId::new(!self.side, dir, index);
            let key = self.insert_remote(id);
            events.push(Event::Opened { dir });
            if let Some(credit) = waited.credit
                && let Some(send) = self.table[key].send.as_mut()
            {
                send.credit.add(Credit::Total(credit))?;
            }
            if let Halves::Fin | Halves::Stopped { fin: true, .. } = waited.halves {
                let fin = StreamData { fin: true, ..StreamData::default() };
                self.on_stream_frame(now, id, fin, events)?;
            }
            match waited.halves {
                Halves::Open | Halves::Fin => {}
                Halves::Reset(code) => self.on_reset(now, id, code, None, 0, events)?,
                Halves::Stopped { code, .. } => self.on_stop_sending(now, id, code, events)?,
            }
        }
        Ok(())
    }

    /// Whether a new stream has to wait, because the limit is reached or because others are waiting
    /// already.
    pub(super) fn must_wait(&self, dir: Dir) -> bool {
        self.limits.is_full(dir) || !self.waiting.streams[dir as usize].is_empty()
    }

    /// Adds a new stream to the waiting streams, if there is room for one more. Returns whether the
    /// stream was added (J-43).
    pub(super) fn let_wait(&mut self, id: StreamId) -> bool {
        let has_room = self.waiting.has_room(self.control.refusals.waited());
        if has_room {
            self.waiting.streams[id.dir() as usize].insert(id.index(), Waiting::default());
        }
        has_room
    }

    pub(super) fn on_grant_to_waiting(
        &mut self,
        now: Time,
        id: StreamId,
        credit: Credit,
    ) -> Result<(), TransportError> {
        let Some(waiting) = self.waiting.get_mut(id) else { return Ok(()) };
        let mut granted = SendCredit::new(waiting.credit.unwrap_or(0));
        granted.add(credit)?;
        // The first grant opens the stream, so it is not useless.
        match waiting.credit.replace(granted.left()) {
            None => Ok(()),
            Some(_) => self.consume(now, UselessWork::Grant),
        }
    }

    pub(super) fn on_data_of_waiting(
        &mut self,
        now: Time,
        id: StreamId,
        bytes: usize,
        fin: bool,
    ) -> Result<(), TransportError> {
        let Some(waiting) = self.waiting.get_mut(id) else { return Ok(()) };
        match (&mut waiting.halves, bytes) {
            (halves @ Halves::Open, 0) if fin => {
                *halves = Halves::Fin;
                Ok(())
            }
            (Halves::Stopped { fin: ended @ false, .. }, 0) if fin => {
                *ended = true;
                Ok(())
            }
            (_, 0) => self.consume(now, UselessWork::Empty),
            (Halves::Open | Halves::Stopped { fin: false, .. }, _) => {
                Err(violation::flow_control("bytes on a stream without credit"))
            }
            _ => Err(violation::final_size("data after the end of a stream")),
        }
    }

    pub(super) fn on_reset_of_waiting(
        &mut self,
        now: Time,
        id: StreamId,
        code: VarInt,
    ) -> Result<(), TransportError> {
        let Some(waiting) = self.waiting.get_mut(id) else { return Ok(()) };
        match waiting.halves {
            Halves::Open => {
                waiting.halves = Halves::Reset(code);
                Ok(())
            }
            Halves::Stopped { code: reset, fin: false } => {
                self.refuse_abandoned(now, id, code, reset)
            }
            Halves::Fin | Halves::Reset(_) | Halves::Stopped { fin: true, .. } => {
                self.consume(now, UselessWork::Empty)
            }
        }
    }

    pub(super) fn on_stop_of_waiting(
        &mut self,
        now: Time,
        id: StreamId,
        code: VarInt,
    ) -> Result<(), TransportError> {
        let Some(waiting) = self.waiting.get_mut(id) else { return Ok(()) };
        let fin = match waiting.halves {
            Halves::Open => false,
            Halves::Fin => true,
            Halves::Reset(stop) => return self.refuse_abandoned(now, id, stop, code),
            Halves::Stopped { .. } => return self.consume(now, UselessWork::Late),
        };
        waiting.halves = Halves::Stopped { code, fin };
        Ok(())
    }

    /// Refuses a stream that the peer has both reset and stopped: it is never opened (J-42). Such a
    /// stream causes as much work as any other refused stream, so it is charged in the same way.
    fn refuse_abandoned(
        &mut self,
        now: Time,
        id: StreamId,
        stop: VarInt,
        reset: VarInt,
    ) -> Result<(), TransportError> {
        self.waiting.streams[id.dir() as usize].remove(id.index());
        self.control.refusals.refuse_waiting(id, stop, reset);
        self.consume(now, UselessWork::Refused)
    }

    /// Refuses all waiting streams (J-44).
    pub(super) fn refuse_waiting(&mut self) {
        for dir in Dir::ALL {
            while let Some((index, _)) = self.waiting.streams[dir as usize].pop_first() {
                self.stats.refused += 1;
                let id = StreamId::new(!self.side, dir, index);
                self.control.refusals.refuse_waiting(id, REFUSED, REFUSED);
            }
        }
    }
}
