//! How many streams may be open, in each direction and on each side (RFC 9000 §4.6).

use super::Streams;
use crate::{Dir, Event, Side, StreamId, event::Events};

/// How many streams one side may open in one direction, and has.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Count {
    /// All below this index were opened.
    pub(super) opened: u64,
    pub(super) limit: u64,
    /// The limit that was sent to the peer, where it is the peer that opens.
    pub(super) advertised: u64,
    /// The peer has said that it waits for more than it knows of.
    pub(super) wanted: bool,
    /// How many are open now.
    pub(super) live: u64,
    /// How many there were, and are no more.
    pub(super) closed: u64,
    /// The limit that STREAMS_BLOCKED last reported.
    pub(super) reported: Option<u64>,
    /// This end's own limit on its streams has been reached once: from then on an event reports the
    /// end of each. The application may have waiters for longer than the limit is reached, and only
    /// it knows.
    pub(super) capped: bool,
}

/// A count's place: by who opens, and by direction.
#[derive(Debug, Default)]
pub(super) struct Counts([[Count; 2]; 2]);

impl Counts {
    pub(super) fn get_mut(&mut self, initiator: Side, dir: Dir) -> &mut Count {
        &mut self.0[initiator as usize][dir as usize]
    }

    pub(super) fn get(&self, initiator: Side, dir: Dir) -> &Count {
        &self.0[initiator as usize][dir as usize]
    }
}

/// Whether MAX_STREAMS is to be sent, and whether it can wait for company.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum MaxStreamsDue {
    No,
    WithOthers,
    Now,
}

impl Streams {
    pub(super) fn raise_local_limit(&mut self, dir: Dir, limit: u64, events: &mut Events) {
        let count = self.counts.get_mut(self.side, dir);
        if limit > count.limit {
            count.limit = limit;
            self.streams_blocked[dir as usize] = None;
            events.push(Event::Available { dir });
        }
    }

    /// One stream fewer; where the peer opened it, the peer may open another.
    pub(super) fn count_closed(&mut self, id: StreamId) {
        let local = id.initiator() == self.side;
        let count = self.counts.get_mut(id.initiator(), id.dir());
        count.live -= 1;
        count.closed += 1;
        if local {
            self.available[id.dir() as usize] |= count.capped;
        } else if !self.draining {
            // Q-40 (RFC 9000 §4.6)
            self.grant_streams(id.dir());
        }
    }

    /// What the peer may know of the limit on its streams, and does not; on a wire that has no
    /// words for it, nothing. It is computed each time, because the peer uses up what it knows by
    /// opening as well.
    #[inline]
    pub(super) fn max_streams_due(&self, dir: Dir) -> MaxStreamsDue {
        let count = self.counts.get(!self.side, dir);
        if !self.caps.stream_limits() || count.limit == count.advertised {
            return MaxStreamsDue::No;
        }
        let left = count.advertised.saturating_sub(count.opened);
        // C-39
        match count.wanted || left.saturating_mul(2) <= self.max_concurrent[dir as usize] {
            true => MaxStreamsDue::Now,
            false => MaxStreamsDue::WithOthers,
        }
    }

    /// The peer may have this many streams of a kind open at once. Fewer than before takes effect
    /// as streams end: what was granted is not taken back.
    pub(crate) fn set_max_concurrent(&mut self, dir: Dir, max: u64) {
        self.max_concurrent[dir as usize] = max;
        self.budgets.allow_streams(max);
        self.grant_streams(dir);
    }

    /// Raises the peer's limit to what may be open besides what has been closed.
    fn grant_streams(&mut self, dir: Dir) {
        let max = self.max_concurrent[dir as usize];
        let side = !self.side;
        let limits = self.caps.stream_limits();
        let count = self.counts.get_mut(side, dir);
        count.limit = match limits {
            true => count.limit.max((count.closed + max).min(StreamId::MAX_COUNT)),
            // Kept by this end alone, so it can fall as well.
            false => max,
        };
    }

    /// How many streams this end has opened, how many the peer, and how many of them are no more.
    pub(crate) fn totals(&self) -> (u64, u64, u64) {
        let sum = |side, of: fn(&Count) -> u64| -> u64 {
            Dir::ALL.iter().map(|&dir| of(self.counts.get(side, dir))).sum()
        };
        let closed = sum(self.side, |count| count.closed) + sum(!self.side, |count| count.closed);
        (sum(self.side, |count| count.opened), sum(!self.side, |count| count.opened), closed)
    }
}
