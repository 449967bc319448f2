//! How many streams of each kind each side may have open (RFC 9000 §4.6).
//!
//! Invariant: a stream counts in `opened` from the moment that its id is used, in `live` while it
//! is in the table, and in `closed` after it has left the table. On a wire with stream limits,
//! neither `limit` nor `advertised` ever decreases, and `advertised` is at most `limit`.

use crate::{
    Capabilities, Config, Dir, Side, StreamId, TransportError, transport_error::violation,
};

#[derive(Debug)]
pub(super) struct Limits {
    side: Side,
    caps: Capabilities,
    /// The counts, by the side that opens the stream and by the direction of the stream.
    counts: [[Count; 2]; 2],
    /// How many streams of each kind the peer may have open at once.
    max_concurrent: [u64; 2],
    /// How many streams of each kind this end may have open at once, whatever the peer allows.
    max_local: u64,
}

impl Limits {
    pub(super) fn new(config: &Config, side: Side, caps: Capabilities) -> Self {
        let max_concurrent =
            [config.max_concurrent_bidi_streams, config.max_concurrent_uni_streams];
        let max_local = config.max_local_streams;
        let mut limits = Self { side, caps, counts: Default::default(), max_concurrent, max_local };
        for dir in Dir::ALL {
            let max = max_concurrent[dir as usize];
            let count = limits.remote_mut(dir);
            (count.limit, count.advertised) = (max, max);
        }
        if !caps.stream_limits() {
            limits.local_mut(Dir::Bi).limit = StreamId::MAX_COUNT;
        }
        limits
    }

    fn of(&self, id: StreamId) -> &Count {
        &self.counts[id.initiator() as usize][id.dir() as usize]
    }

    fn of_mut(&mut self, id: StreamId) -> &mut Count {
        &mut self.counts[id.initiator() as usize][id.dir() as usize]
    }

    fn local(&self, dir: Dir) -> &Count {
        &self.counts[self.side as usize][dir as usize]
    }

    fn local_mut(&mut self, dir: Dir) -> &mut Count {
        &mut self.counts[self.side as usize][dir as usize]
    }

    fn remote(&self, dir: Dir) -> &Count {
        &self.counts[!self.side as usize][dir as usize]
    }

    fn remote_mut(&mut self, dir: Dir) -> &mut Count {
        &mut self.counts[!self.side as usize][dir as usize]
    }

    /// Whether the stream was ever opened, even if it has ended since.
    #[inline]
    pub(super) fn was_opened(&self, id: StreamId) -> bool {
        id.index() < self.of(id).opened
    }

    /// Counts a stream that was opened and is now put into the table.
    pub(super) fn on_begin(&mut self, id: StreamId) {
        self.of_mut(id).live += 1;
    }

    /// Counts a stream that has left the table. If `grants` is set and the peer had opened the
    /// stream, the peer may open one more stream.
    pub(super) fn on_end(&mut self, id: StreamId, grants: bool) {
        let local = id.initiator() == self.side;
        let count = self.of_mut(id);
        count.live -= 1;
        count.closed += 1;
        if local {
            count.available |= count.capped;
        } else if grants {
            // Q-40 (RFC 9000 §4.6)
            self.grant_streams(id.dir());
        }
    }

    /// Returns how many streams this end has opened, how many the peer has opened, and how many
    /// streams of both ends have ended.
    pub(super) fn totals(&self) -> (u64, u64, u64) {
        let sum = |side, of: fn(&Count) -> u64| -> u64 {
            self.counts[side as usize].iter().map(of).sum()
        };
        let closed = sum(self.side, |count| count.closed) + sum(!self.side, |count| count.closed);
        (sum(self.side, |count| count.opened), sum(!self.side, |count| count.opened), closed)
    }
}

/// Streams that this end opens.
impl Limits {
    /// Returns how many more streams the peer's limit and the local limit allow.
    pub(super) fn openable(&self, dir: Dir) -> u64 {
        let count = self.local(dir);
        // Q-37 (RFC 9000 §4.6)
        self.max_local.saturating_sub(count.live).min(count.limit - count.opened)
    }

    /// Records that the application waits to open a stream. If the local limit is the reason,
    /// [`take_available`](Self::take_available) reports from now on when streams have ended.
    pub(super) fn note_waiting(&mut self, dir: Dir) {
        let max_local = self.max_local;
        let count = self.local_mut(dir);
        count.capped |= max_local <= count.live;
    }

    /// Opens the next stream. The caller must check first that [`openable`](Self::openable) allows
    /// another stream.
    pub(super) fn open_local(&mut self, dir: Dir) -> StreamId {
        let side = self.side;
        let count = self.local_mut(dir);
        debug_assert!(count.opened < count.limit);
        // C-1, C-2 (RFC 9000 §2.1)
        let id = StreamId::new(side, dir, count.opened);
        count.opened += 1;
        id
    }

    /// Returns the last stream of this kind that this end has opened.
    pub(super) fn newest_local(&self, dir: Dir) -> Option<StreamId> {
        let index = self.local(dir).opened.checked_sub(1)?;
        Some(StreamId::new(self.side, dir, index))
    }

    /// Sets how many streams the peer allows this end to open in all. A limit that is not higher
    /// than before is ignored. Returns whether the limit has risen.
    pub(super) fn raise_local(&mut self, dir: Dir, limit: u64) -> bool {
        let count = self.local_mut(dir);
        let rose = limit > count.limit;
        if rose {
            count.limit = limit;
            count.to_report = None;
        }
        rose
    }

    /// Records that the application waits to open a stream. If the peer's limit is the reason,
    /// queues a STREAMS_BLOCKED frame, once for each value of that limit. Returns whether the frame
    /// was queued.
    pub(super) fn report_blocked(&mut self, dir: Dir) -> bool {
        self.note_waiting(dir);
        let blocked_frames = self.caps.blocked_frames;
        let count = self.local_mut(dir);
        let is_reported = count.reported == Some(count.limit);
        // If the peer's limit allows more streams, the caller waits because of the local limit,
        // which the peer cannot raise (C-77).
        if !blocked_frames || is_reported || count.opened < count.limit {
            return false;
        }
        (count.reported, count.to_report) = (Some(count.limit), Some(count.limit));
        true
    }

    /// Whether a STREAMS_BLOCKED frame is queued.
    #[inline]
    pub(super) fn has_blocked_to_report(&self) -> bool {
        Dir::ALL.into_iter().any(|dir| self.local(dir).to_report.is_some())
    }

    /// Returns the limit that a STREAMS_BLOCKED frame has to report. The caller must then send that
    /// frame, because it is no longer queued.
    pub(super) fn take_blocked_to_report(&mut self, dir: Dir) -> Option<u64> {
        self.local_mut(dir).to_report.take()
    }

    /// Whether [`take_available`](Self::take_available) would return a kind of stream.
    #[inline]
    pub(super) fn has_available(&self) -> bool {
        Dir::ALL.into_iter().any(|dir| self.local(dir).available)
    }

    /// Returns a kind of stream for which the local limit may have room again. This limit had kept
    /// the application from opening a stream of this kind, and a stream of this kind has ended
    /// since then. The same kind is returned again only after another stream of this kind has
    /// ended.
    pub(super) fn take_available(&mut self) -> Option<Dir> {
        let dir = Dir::ALL.into_iter().find(|&dir| self.local(dir).available)?;
        self.local_mut(dir).available = false;
        Some(dir)
    }
}

/// Streams that the peer opens.
impl Limits {
    /// Records that the peer opens a stream. On a wire with stream limits, this also opens all
    /// lower streams of its kind that are not open yet. Returns the lowest index among the streams
    /// that this call opens.
    pub(super) fn open_remote(&mut self, id: StreamId) -> Result<u64, TransportError> {
        let stream_limits = self.caps.stream_limits();
        let count = self.of_mut(id);
        let first = match stream_limits {
            // Q-35 (RFC 9000 §4.6)
            true if id.index() >= count.advertised => {
                let limit = count.advertised;
                return Err(violation::stream_limit(format!("{id} where the limit is {limit}")));
            }
            // Opening a stream also opens all streams of its kind with lower ids (C-5, RFC 9000
            // §3.2).
            true => count.opened,
            // J-10
            false => id.index(),
        };
        count.opened = id.index() + 1;
        Ok(first)
    }

    /// Whether the peer has as many streams open as it may have.
    pub(super) fn is_full(&self, dir: Dir) -> bool {
        let count = self.remote(dir);
        count.live >= count.limit
    }

    /// Records that the peer waits to open more streams than `limit` allows. If this end can
    /// already advertise a higher limit, MAX_STREAMS is due at once. Otherwise MAX_STREAMS is due
    /// when the peer's next stream ends, because the limit rises then.
    pub(super) fn on_blocked(&mut self, dir: Dir, limit: u64) {
        let count = self.remote_mut(dir);
        count.wanted |= limit >= count.advertised;
    }

    /// Returns whether MAX_STREAMS has to be sent, and whether it can wait for other frames. On a
    /// wire without MAX_STREAMS the result is always [`MaxStreamsDue::No`]. The result is not
    /// stored, because it also depends on the number of streams that the peer has opened.
    #[inline]
    pub(super) fn max_streams_due(&self, dir: Dir) -> MaxStreamsDue {
        let count = self.remote(dir);
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

    /// Returns the limit for a MAX_STREAMS frame. The caller must then send that frame, because the
    /// limit counts as advertised.
    pub(super) fn advertise(&mut self, dir: Dir) -> u64 {
        let count = self.remote_mut(dir);
        (count.advertised, count.wanted) = (count.limit, false);
        count.limit
    }

    /// Sets how many streams of a kind the peer may have open at once. A lower number takes effect
    /// only as streams end, because a limit that was advertised is never lowered.
    pub(super) fn set_max_concurrent(&mut self, dir: Dir, max: u64) {
        self.max_concurrent[dir as usize] = max;
        self.grant_streams(dir);
    }

    /// Raises the peer's limit to the number of streams that have ended plus the number that may be
    /// open at once.
    fn grant_streams(&mut self, dir: Dir) {
        let max = self.max_concurrent[dir as usize];
        let stream_limits = self.caps.stream_limits();
        let count = self.remote_mut(dir);
        count.limit = match stream_limits {
            true => count.limit.max((count.closed + max).min(StreamId::MAX_COUNT)),
            // The peer does not know this limit, so it can also be lowered.
            false => max,
        };
    }
}

/// Whether MAX_STREAMS has to be sent, and whether it can wait for other frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum MaxStreamsDue {
    No,
    /// The frame waits for a message that is sent for another reason, and joins that message.
    WithOthers,
    Now,
}

/// How many streams one side may open in one direction, and how many it has opened.
#[derive(Debug, Default, Clone, Copy)]
struct Count {
    /// The index after the highest index that was opened. Streams with lower indexes were opened
    /// before, or were skipped on a wire where a peer may skip ids (J-10).
    opened: u64,
    /// How many streams may be opened in all. For streams that the peer opens on a wire without
    /// stream limits, this field says instead how many may be open at once.
    limit: u64,
    /// The limit that the peer knows. It is used only for streams that the peer opens.
    advertised: u64,
    /// Whether the peer has reported that it waits for more streams than `advertised` allows.
    wanted: bool,
    /// How many streams are open now.
    live: u64,
    /// How many streams were open and have ended.
    closed: u64,
    /// The limit for which a STREAMS_BLOCKED frame was last queued.
    reported: Option<u64>,
    /// The limit that the queued STREAMS_BLOCKED frame has to report.
    to_report: Option<u64>,
    /// Whether this end's own limit has kept the application from opening a stream. If so, an event
    /// reports the end of each stream from then on, even when the limit is no longer reached,
    /// because the engine cannot know whether tasks of the application still wait.
    capped: bool,
    /// Whether a stream has ended since `capped` was set, and no event has reported the end yet.
    available: bool,
}
