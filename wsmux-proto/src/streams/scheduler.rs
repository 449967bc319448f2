//! Whose turn it is: strictly by priority, in turns among equals.

use std::collections::VecDeque;

use super::tree::Tree;

/// Proof that a stream stands in the queue; an entry whose ticket its stream no longer holds is
/// void.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ticket(u64);

/// Gives out tickets; no two are the same.
#[derive(Debug, Default)]
pub(super) struct Tickets(u64);

impl Tickets {
    pub(super) fn next(&mut self) -> Ticket {
        self.0 += 1;
        Ticket(self.0)
    }
}

/// Entries for which an empty queue keeps memory: as many streams as usually send at once.
const MAX_SPARE: usize = 64;

type Queue = VecDeque<(usize, Ticket)>;

#[derive(Debug)]
struct Level {
    priority: i32,
    queue: Queue,
}

/// Streams that wait for their turn.
///
/// Holds at most one live entry per stream; a void one (of a stream that was reset or moved) goes
/// when its turn comes, or when there are more of them than streams: the owner of the queue sees to
/// that with [`Schedule::len`] and [`Schedule::retain`].
#[derive(Debug, Default)]
pub(super) struct Schedule {
    /// The highest priority of all. As long as all streams have the same, nothing else is touched.
    top: Option<Level>,
    /// The others by rank; none is empty. An application may give each stream a priority of its
    /// own.
    lower: Tree<Level>,
    /// A queue that ran empty, for the next level: with one stream at a time there is one for each
    /// message.
    spare: Queue,
    /// How many entries the levels hold together.
    len: usize,
    /// Entries that were added, taken, or checked for being void.
    #[cfg(test)]
    pub(super) visited: u64,
}

/// The higher the priority, the lower the number.
fn rank(priority: i32) -> u64 {
    u64::from(i32::MAX.abs_diff(priority))
}

impl Schedule {
    /// Puts a stream at the end of its level's queue.
    pub(super) fn push(&mut self, key: usize, ticket: Ticket, priority: i32) {
        self.visit(1);
        self.len += 1;
        match &mut self.top {
            Some(top) if top.priority == priority => top.queue.push_back((key, ticket)),
            Some(top) if top.priority > priority => {
                if let Some(level) = self.lower.get_mut(rank(priority)) {
                    return level.queue.push_back((key, ticket));
                }
                let mut queue = std::mem::take(&mut self.spare);
                queue.push_back((key, ticket));
                self.lower.insert(rank(priority), Level { priority, queue });
            }
            top => {
                let mut queue = std::mem::take(&mut self.spare);
                queue.push_back((key, ticket));
                if let Some(level) = top.replace(Level { priority, queue }) {
                    self.lower.insert(rank(level.priority), level);
                }
            }
        }
    }

    /// Takes the stream whose turn it is.
    pub(super) fn pop(&mut self) -> Option<(usize, Ticket)> {
        let top = self.top.as_mut()?;
        let entry = top.queue.pop_front();
        let is_empty = top.queue.is_empty();
        self.len -= usize::from(entry.is_some());
        if is_empty {
            self.next_level();
        }
        self.visit(1);
        entry
    }

    /// The highest level is empty.
    fn next_level(&mut self) {
        // Mostly there is no other.
        let next = match self.lower.is_empty() {
            true => None,
            false => self.lower.pop_first().map(|(_, level)| level),
        };
        if let Some(Level { queue, .. }) = std::mem::replace(&mut self.top, next)
            && queue.capacity() <= MAX_SPARE
        {
            self.spare = queue;
        }
    }

    /// Forgets void entries until the next one is live, or there is none.
    pub(super) fn forget_void_first(&mut self, live: impl Fn(usize, Ticket) -> bool) {
        while let Some(&(key, ticket)) = self.top.as_ref().and_then(|top| top.queue.front())
            && !live(key, ticket)
        {
            self.pop();
        }
    }

    /// How many entries there are, void ones included.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Forgets the entries that are void.
    pub(super) fn retain(&mut self, mut live: impl FnMut(usize, Ticket) -> bool) {
        self.visit(self.len as u64);
        self.len = 0;
        let mut empty = Vec::new();
        for Level { priority, queue } in self.lower.values_mut().chain(&mut self.top) {
            queue.retain(|&(key, ticket)| live(key, ticket));
            self.len += queue.len();
            if queue.is_empty() {
                empty.push(rank(*priority));
            }
        }
        for rank in empty {
            // The highest is not there.
            self.lower.remove(rank);
        }
        if self.top.as_ref().is_some_and(|top| top.queue.is_empty()) {
            self.next_level();
        }
    }

    /// Whether no other stream waits for its turn.
    pub(super) fn is_empty(&self) -> bool {
        self.top.is_none()
    }

    /// The priority of the stream whose turn comes next.
    pub(super) fn next_priority(&self) -> Option<i32> {
        self.top.as_ref().map(|top| top.priority)
    }

    pub(super) fn clear(&mut self) {
        self.top = None;
        self.lower = Tree::default();
        self.len = 0;
    }

    #[inline]
    fn visit(&mut self, _entries: u64) {
        #[cfg(test)]
        {
            self.visited += _entries;
        }
    }
}
