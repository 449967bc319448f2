//! The table of all streams that exist.
//!
//! Invariant: each stream has one [`Key`], and its id leads to that key until the stream is
//! removed. After that the key can belong to another stream. So any part that stores keys must
//! either drop a key when its stream is removed, or be able to recognize that the key now belongs
//! to another stream.

use std::ops::{Index, IndexMut};

use slab::Slab;

use super::{control_queue::PendingControl, recv::Recv, send::Send};
use crate::{StreamId, stream_map::StreamKeys, tree::Place};

/// Memory for this many streams is kept even if there are no streams.
pub(super) const SPARE_STREAMS: usize = 64;

#[derive(Debug, Default)]
pub(super) struct Table {
    slab: Slab<Stream>,
    keys: StreamKeys,
    /// How many streams linger: see [`Table::set_lingering`].
    lingering: usize,
}

impl Table {
    /// Returns the key of the stream with this id.
    #[inline]
    pub(super) fn key(&self, id: StreamId) -> Option<Key> {
        self.keys.get(id).map(|place| Key(place.index()))
    }

    #[inline]
    pub(super) fn get(&self, key: Key) -> Option<&Stream> {
        self.slab.get(key.0)
    }

    #[inline]
    pub(super) fn get_mut(&mut self, key: Key) -> Option<&mut Stream> {
        self.slab.get_mut(key.0)
    }

    /// Returns the stream with this id.
    #[inline]
    pub(super) fn find(&self, id: StreamId) -> Option<&Stream> {
        self.get(self.key(id)?)
    }

    #[inline]
    pub(super) fn find_mut(&mut self, id: StreamId) -> Option<&mut Stream> {
        self.get_mut(self.key(id)?)
    }

    pub(super) fn insert(&mut self, stream: Stream) -> Key {
        let id = stream.id;
        let len = self.slab.len();
        if len == self.slab.capacity() {
            // Without this call, the vector would begin with memory for four streams. Most
            // connections of a server have only one stream at a time.
            self.slab.reserve_exact(len / 2 + 1);
        }
        let key = self.slab.insert(stream);
        self.keys.insert(id, Place::new(key));
        Key(key)
    }

    pub(super) fn remove(&mut self, key: Key) {
        let Some(stream) = self.slab.try_remove(key.0) else { return };
        // C-54
        self.keys.remove(stream.id);
        self.lingering -= usize::from(stream.lingers);
        if self.slab.is_empty() && self.slab.capacity() > SPARE_STREAMS {
            // After a burst of streams their memory is returned.
            self.slab.shrink_to_fit();
        }
    }

    /// Marks a stream as lingering. A stream lingers if the application has released it, all frames
    /// of this end for it have been sent, and the peer has not ended the peer's half.
    pub(super) fn set_lingering(&mut self, key: Key) {
        let Some(stream) = self.slab.get_mut(key.0) else { return };
        self.lingering += usize::from(!std::mem::replace(&mut stream.lingers, true));
    }

    /// Whether every stream lingers.
    pub(super) fn all_linger(&self) -> bool {
        self.slab.len() == self.lingering
    }

    pub(super) fn len(&self) -> usize {
        self.slab.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Stream> {
        self.slab.iter().map(|(_, stream)| stream)
    }

    /// Returns the keys of all streams, for a loop that changes the table.
    pub(super) fn keys(&self) -> Vec<Key> {
        self.slab.iter().map(|(key, _)| Key(key)).collect()
    }
}

impl Index<Key> for Table {
    type Output = Stream;

    #[inline]
    fn index(&self, key: Key) -> &Stream {
        &self.slab[key.0]
    }
}

impl IndexMut<Key> for Table {
    #[inline]
    fn index_mut(&mut self, key: Key) -> &mut Stream {
        &mut self.slab[key.0]
    }
}

#[derive(Debug)]
pub(super) struct Stream {
    pub(super) id: StreamId,
    pub(super) send: Option<Send>,
    pub(super) recv: Option<Recv>,
    pub(super) pending: PendingControl,
    /// Whether the application no longer uses the sending half: it has released the half, or the
    /// FIN has been sent.
    pub(super) send_released: bool,
    /// Whether the application no longer uses the receiving half: it has released the half, or has
    /// read its end.
    pub(super) recv_released: bool,
    /// Whether the peer reset its half, or stopped this end's half, before anything useful was sent
    /// on this end's half (C-62).
    pub(super) abandoned_by_peer: bool,
    /// Whether the stream lingers. Only the table changes this: see [`Table::set_lingering`].
    lingers: bool,
}

// There may be tens of thousands of idle streams. So a part that only some streams need is
// allocated when it is needed.
#[cfg(target_pointer_width = "64")]
const _: () = assert!(size_of::<Stream>() <= 288);

impl Stream {
    pub(super) fn new(id: StreamId, send: Option<Send>, recv: Option<Recv>) -> Self {
        let (send_released, recv_released) = (send.is_none(), recv.is_none());
        Self {
            id,
            send,
            recv,
            pending: PendingControl::default(),
            send_released,
            recv_released,
            abandoned_by_peer: false,
            lingers: false,
        }
    }
}

/// The position of a stream in the table. Only the table creates keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Key(usize);
