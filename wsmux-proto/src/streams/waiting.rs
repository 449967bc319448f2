//! Streams of the peer that wait for a place, on a wire on which a peer cannot learn the limit
//! (SPEC.md §7.5).
//!
//! On that wire the peer cannot send data on a stream before our first grant, so a stream that
//! waits costs no more memory than what is kept here. When a place is free, the stream is opened as
//! if the peer had opened it only then. What the peer sent about it in the meantime takes effect at
//! that moment.
//!
//! The invariant: a stream in the room counts as opened, and is neither in the table nor refused.

use super::{Streams, flow_control::SendCredit, ingress::StreamData, refusals::REFUSED};
use crate::{
    Dir, Event, StreamId, Time, TransportError, VarInt, budget::UselessWork, event::Events,
    frame::Credit, transport_error::violation, tree::Tree,
};

/// What the peer has sent about a stream that waits (J-41).
#[derive(Debug, Default)]
pub(super) struct Waiting {
    /// How much credit it has granted in all; `None` before its first grant.
    credit: Option<u64>,
    halves: Halves,
}

// While the room grows, there are two and a half places for each stream, and its node in the tree
// takes another 40 bytes. The sum is below the 128 bytes that SPEC.md §10 allows for each.
const _: () = assert!(size_of::<Waiting>() <= 32);

/// What the peer has done with the halves of a stream that waits. It had no credit, so it has sent
/// no byte. A stream whose two halves the peer has given up, by a reset and a stop, does not wait
/// any longer.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Halves {
    #[default]
    Open,
    Fin,
    Reset(VarInt),
    /// The peer has stopped our half, with this code.
    Stopped {
        code: VarInt,
        /// The peer's half has ended as well.
        fin: bool,
    },
}

/// The streams that wait. There are at most `max`, including those that were refused and whose
/// refusal has not been sent. Streams of one kind are opened in the order of their ids, so the
/// order of ids is the order of arrival. They are in a tree and not in a hash table, because a tree
/// returns memory when streams leave, and no choice of ids makes it slow.
#[derive(Debug)]
pub(super) struct WaitingRoom {
    max: u64,
    /// By index, of each kind.
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

    /// Whether there is room for one more, when this many refusals keep their places.
    fn has_room(&self, refused: u64) -> bool {
        (self.len() as u64).saturating_add(refused) < self.max
    }

    /// The connection has ended.
    pub(super) fn clear(&mut self) {
        self.streams = Default::default();
    }
}

impl Streams {
    /// A kind of which a stream waits and a place is free.
    fn admissible(&self) -> Option<Dir> {
        // This is asked twice for each message, and mostly no stream waits.
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

    /// Opens streams that wait, while there are places (J-40).
    #[inline]
    pub(crate) fn admit(&mut self, now: Time, events: &mut Events) -> Result<(), TransportError> {
        if self.waiting.is_empty() { Ok(()) } else { self.admit_waiting(now, events) }
    }

    fn admit_waiting(&mut self, now: Time, events: &mut Events) -> Result<(), TransportError> {
        while let Some(dir) = self.admissible() {
            // The same check as when the peer opens a stream. Otherwise a peer could evade the
            // budget by opening streams in advance.
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

    /// Whether a new stream has to wait, because there is no place or because others wait already.
    pub(super) fn must_wait(&self, dir: Dir) -> bool {
        self.limits.is_full(dir) || !self.waiting.streams[dir as usize].is_empty()
    }

    /// Lets a new stream wait if there is room, and returns whether there is (J-43).
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
        // The first grant is what opens the stream, so it is not useless.
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

    /// A stream that the peer has both reset and stopped is never opened (J-42). It causes as much
    /// work as a refused stream, so it is charged as one.
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

    /// Refuses all streams that wait (J-44).
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
