//! A queue with priorities. Entries of the highest priority come first, and entries of equal
//! priority come in the order in which they were added.

use std::collections::VecDeque;

use super::tree::Tree;

/// The number of entries for which an empty queue keeps memory. Usually no more streams than this
/// send at once.
const MAX_SPARE: usize = 64;

/// Entries that wait for their turn.
///
/// The entries of one priority form a level. Invariant: no level is empty, and every level in
/// `lower` has a lower priority than `top`. So the queue is empty if and only if there is no `top`.
/// The cost of each call is O(log n) in the number of levels, and O(1) while all entries have the
/// same priority.
#[derive(Debug)]
pub(super) struct PriorityQueue<T> {
    /// The level of the highest priority. If all entries have the same priority, there is no other
    /// level.
    top: Option<Level<T>>,
    /// The other levels, by rank. There may be many, because an application may give each stream a
    /// priority of its own.
    lower: Tree<Level<T>>,
    /// When a level becomes empty, its memory is kept here for the next new level. Otherwise a
    /// connection with one stream at a time would allocate memory for each message.
    spare: VecDeque<T>,
    /// How many entries all levels together contain.
    len: usize,
    /// How many entries were added, removed or looked at.
    #[cfg(test)]
    pub(super) visited: u64,
}

impl<T> Default for PriorityQueue<T> {
    fn default() -> Self {
        Self {
            top: None,
            lower: Tree::default(),
            spare: VecDeque::new(),
            len: 0,
            #[cfg(test)]
            visited: 0,
        }
    }
}

impl<T> PriorityQueue<T> {
    /// Adds an entry after the other entries of the same priority.
    pub(super) fn push(&mut self, entry: T, priority: i32) {
        self.visit(1);
        self.len += 1;
        match &mut self.top {
            Some(top) if top.priority == priority => top.queue.push_back(entry),
            Some(top) if top.priority > priority => {
                if let Some(level) = self.lower.get_mut(rank(priority)) {
                    return level.queue.push_back(entry);
                }
                let mut queue = std::mem::take(&mut self.spare);
                queue.push_back(entry);
                self.lower.insert(rank(priority), Level { priority, queue });
            }
            top => {
                let mut queue = std::mem::take(&mut self.spare);
                queue.push_back(entry);
                if let Some(level) = top.replace(Level { priority, queue }) {
                    self.lower.insert(rank(level.priority), level);
                }
            }
        }
    }

    /// Removes the entry whose turn it is, and returns it.
    pub(super) fn pop(&mut self) -> Option<T> {
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

    /// Replaces the highest level, which has become empty, by the next level.
    fn next_level(&mut self) {
        // Usually there is no other level, and this check is cheaper than a search in the tree.
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

    /// Returns how many entries there are.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Drops the entries for which `keep` returns `false`. Looks at every entry.
    pub(super) fn retain(&mut self, mut keep: impl FnMut(&T) -> bool) {
        self.visit(self.len as u64);
        self.len = 0;
        let mut empty = Vec::new();
        for Level { priority, queue } in self.lower.values_mut().chain(&mut self.top) {
            queue.retain(&mut keep);
            self.len += queue.len();
            if queue.is_empty() {
                empty.push(rank(*priority));
            }
        }
        for rank in empty {
            // If the empty level is `top`, its rank is not in `lower`, and the call does nothing.
            self.lower.remove(rank);
        }
        if self.top.as_ref().is_some_and(|top| top.queue.is_empty()) {
            self.next_level();
        }
    }

    /// Whether there are no entries.
    pub(super) fn is_empty(&self) -> bool {
        self.top.is_none()
    }

    /// Returns the priority of the entry whose turn comes next.
    pub(super) fn next_priority(&self) -> Option<i32> {
        self.top.as_ref().map(|top| top.priority)
    }

    pub(super) fn clear(&mut self) {
        if let Some(top) = &mut self.top {
            top.queue.clear();
        }
        self.lower = Tree::default();
        self.next_level();
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

/// The entries of one priority.
#[derive(Debug)]
struct Level<T> {
    priority: i32,
    queue: VecDeque<T>,
}

/// Returns the key of a level in `lower`. A higher priority has a lower key.
fn rank(priority: i32) -> u64 {
    u64::from(i32::MAX.abs_diff(priority))
}
