//! Whose turn it is: strictly by priority, in turns among equals.

use std::collections::VecDeque;

/// Proof that a stream stands in the queue; an entry whose ticket its stream no longer holds is void.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ticket(u64);

/// Entries for which an empty queue keeps memory: as many streams as usually send at once.
const MAX_SPARE: usize = 64;

#[derive(Debug)]
struct Level {
    priority: i32,
    queue: VecDeque<(usize, Ticket)>,
}

/// The streams that have something to send and may.
///
/// Holds one live entry per stream; a void one (of a stream that was reset or moved) goes when its turn comes,
/// or when there are more of them than streams: whoever owns the queue sees to that with
/// [`Schedule::len`] and [`Schedule::retain`].
#[derive(Debug, Default)]
pub(super) struct Schedule {
    /// Highest priority first; none is empty.
    levels: Vec<Level>,
    /// A queue that ran empty, for the next level: with one stream at a time there is one for each message.
    spare: VecDeque<(usize, Ticket)>,
    /// How many entries the levels hold together.
    len: usize,
    last_ticket: u64,
}

impl Schedule {
    /// Puts a stream at the end of its level's queue.
    pub(super) fn push(&mut self, key: usize, priority: i32) -> Ticket {
        self.last_ticket += 1;
        self.len += 1;
        let ticket = Ticket(self.last_ticket);
        let at = self.levels.partition_point(|level| level.priority > priority);
        match self.levels.get_mut(at) {
            Some(level) if level.priority == priority => level.queue.push_back((key, ticket)),
            _ => {
                let mut queue = std::mem::take(&mut self.spare);
                queue.push_back((key, ticket));
                self.levels.insert(at, Level { priority, queue });
            }
        }
        ticket
    }

    /// Takes the stream whose turn it is.
    pub(super) fn pop(&mut self) -> Option<(usize, Ticket)> {
        let level = self.levels.first_mut()?;
        let entry = level.queue.pop_front();
        self.len -= usize::from(entry.is_some());
        if level.queue.is_empty() {
            let level = self.levels.remove(0);
            if level.queue.capacity() <= MAX_SPARE {
                self.spare = level.queue;
            }
        }
        entry
    }

    /// How many entries there are, void ones included.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Forgets the entries that are void.
    pub(super) fn retain(&mut self, mut live: impl FnMut(usize, Ticket) -> bool) {
        for level in &mut self.levels {
            level.queue.retain(|&(key, ticket)| live(key, ticket));
        }
        self.levels.retain(|level| !level.queue.is_empty());
        self.len = self.levels.iter().map(|level| level.queue.len()).sum();
    }

    /// Whether no other stream waits for its turn.
    pub(super) fn is_empty(&self) -> bool {
        self.levels.is_empty()
    }

    /// The priority of the stream whose turn comes next.
    pub(super) fn next_priority(&self) -> Option<i32> {
        self.levels.first().map(|level| level.priority)
    }

    pub(super) fn clear(&mut self) {
        self.levels.clear();
        self.len = 0;
    }
}
