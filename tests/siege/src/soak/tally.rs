//! Counts of what was done in an interval.

use std::{
    fmt,
    sync::atomic::{AtomicU64, Ordering},
};

#[derive(Debug, Default)]
pub struct Tally {
    pub connections: AtomicU64,
    /// How many streams had the expected outcome.
    pub streams: AtomicU64,
    /// How many streams failed because their connection was ending.
    pub lost: AtomicU64,
    /// How many bytes were checked.
    pub bytes: AtomicU64,
    pub datagrams: AtomicU64,
    /// How often a connection went on with a new socket.
    pub resumptions: AtomicU64,
    /// How many futures were dropped before they were ready.
    pub dropped: AtomicU64,
}

pub fn count(counter: &AtomicU64, by: u64) {
    counter.fetch_add(by, Ordering::Relaxed);
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        write!(
            f,
            "{} connections, {} streams and {} lost with theirs, {} MiB, {} datagrams, \
             {} resumptions, {} futures dropped",
            get(&self.connections),
            get(&self.streams),
            get(&self.lost),
            get(&self.bytes) >> 20,
            get(&self.datagrams),
            get(&self.resumptions),
            get(&self.dropped),
        )
    }
}
