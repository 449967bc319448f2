//! A map by stream id that uses no hash function.
//!
//! On the js-ws wire a peer can choose the ids. A fast hash function needs a secret, because
//! otherwise the peer can choose ids that collide. The engine uses no randomness, so it has no
//! secret. But peers normally use the ids of one kind in order. So the map has a window that moves
//! along with the ids. The window has a *place* for each id in a range. Nearly all live streams are
//! in the window, and the few streams with ids below the window are in a tree. No choice of ids
//! makes the window or the tree slow.

use std::collections::{BTreeMap, VecDeque};

use super::StreamId;
use super::tree::{Place, Places};

/// If `n` places of the window contain a key, the window has at most `PLACES_FOR_EACH * n + SPARE`
/// places. Because of this bound, an insertion or a removal adds and removes only a constant number
/// of places on average, in any order of operations.
const PLACES_FOR_EACH: usize = 4;

/// A stream stays in the window while its index is at most this far below the newest index, even if
/// all streams between the two have ended. Usually no more streams than this are open at once.
const SPARE: usize = 64;

/// A map from stream ids to keys. A lookup is O(1) for the newest ids and O(log n) for older ones.
///
/// The memory is at most `PLACES_FOR_EACH` places for each key, plus a constant. If there were more
/// keys at an earlier time, the memory may be four times this bound.
#[derive(Debug, Default)]
pub(crate) struct StreamKeys {
    /// The keys, by the kind of their streams. The kind is the two low bits of an id. Most
    /// connections use one or two of the four kinds.
    lanes: [Option<Box<Lane>>; 4],
}

/// The keys of the streams of one kind, by the index of the stream.
#[derive(Debug, Default)]
struct Lane {
    /// The index of the stream to which the first place of the window belongs.
    base: u64,
    window: VecDeque<Option<Place>>,
    /// How many places of the window contain a key.
    taken: usize,
    /// The keys of all streams whose indexes are below `base`.
    older: BTreeMap<u64, Place>,
    /// How many places were added to the window or removed from it.
    #[cfg(test)]
    steps: u64,
}

fn lane(id: StreamId) -> usize {
    (id.into_inner() & 3) as usize
}

impl StreamKeys {
    pub(crate) fn get(&self, id: StreamId) -> Option<Place> {
        self.lanes[lane(id)].as_ref()?.get(id.index())
    }

    /// Sets the key of the stream `id`. Returns the key that the stream had before.
    pub(crate) fn insert(&mut self, id: StreamId, key: Place) -> Option<Place> {
        self.lanes[lane(id)].get_or_insert_default().insert(id.index(), key)
    }

    pub(crate) fn remove(&mut self, id: StreamId) -> Option<Place> {
        self.lanes[lane(id)].as_mut()?.remove(id.index())
    }

    fn iter_mut(&mut self) -> impl Iterator<Item = (StreamId, &mut Place)> {
        let lanes = self.lanes.iter_mut().enumerate();
        lanes.flat_map(|(kind, lane)| {
            let id = move |(index, key)| (StreamId::of_kind(kind as u64, index), key);
            lane.iter_mut().flat_map(|lane| lane.iter_mut()).map(id)
        })
    }
}

/// Values by stream id, for the async layer. Its calls cost as much time as those of `StreamKeys`,
/// and its memory has the same bound.
#[derive(Debug)]
pub struct StreamMap<V> {
    keys: StreamKeys,
    values: Places<V>,
}

impl<V> Default for StreamMap<V> {
    fn default() -> Self {
        Self { keys: StreamKeys::default(), values: Places::default() }
    }
}

impl<V> StreamMap<V> {
    /// Returns the value of the stream `id`.
    pub fn get(&self, id: StreamId) -> Option<&V> {
        self.values.get(self.keys.get(id)?)
    }

    /// Returns the value of the stream `id`, so that it can be changed.
    pub fn get_mut(&mut self, id: StreamId) -> Option<&mut V> {
        self.values.get_mut(self.keys.get(id)?)
    }

    /// Sets the value of the stream `id`. Returns the value that the stream had before.
    pub fn insert(&mut self, id: StreamId, value: V) -> Option<V> {
        let before = self.keys.insert(id, self.values.put(value))?;
        self.values.take(before)
    }

    /// Removes the value of the stream `id`, and returns it.
    pub fn remove(&mut self, id: StreamId) -> Option<V> {
        let value = self.values.take(self.keys.remove(id)?);
        if self.values.are_sparse() {
            self.values.move_together(self.keys.iter_mut().map(|(_, place)| place));
        }
        value
    }

    /// Removes all values, and returns them.
    pub fn drain(&mut self) -> impl Iterator<Item = V> {
        self.keys = StreamKeys::default();
        std::mem::take(&mut self.values).into_values()
    }

    /// Returns the ids of all streams that have a value.
    pub fn ids(&mut self) -> impl Iterator<Item = StreamId> {
        self.keys.iter_mut().map(|(id, _)| id)
    }
}

impl Lane {
    /// Returns the position of the place for an index in the window. The window may be too short to
    /// contain this position. Returns `None` for an index below the window.
    fn place(&self, index: u64) -> Option<usize> {
        usize::try_from(index.checked_sub(self.base)?).ok()
    }

    fn get(&self, index: u64) -> Option<Place> {
        match index >= self.base {
            true => *self.window.get(self.place(index)?)?,
            false => self.older.get(&index).copied(),
        }
    }

    fn insert(&mut self, index: u64, key: Place) -> Option<Place> {
        if self.taken == 0 && self.older.is_empty() {
            self.window.clear();
        } else if index < self.base {
            return self.older.insert(index, key);
        }
        self.reach(index);
        // `reach` has made the window long enough for this place.
        let place = self.place(index).and_then(|place| self.window.get_mut(place))?;
        let before = place.replace(key);
        self.taken += usize::from(before.is_none());
        before
    }

    /// Makes the window long enough for an index, or moves the window to the index.
    fn reach(&mut self, index: u64) {
        let most = |taken: usize| ((taken + 1) * PLACES_FOR_EACH + SPARE) as u64;
        while !self.window.is_empty() && index.saturating_sub(self.base) >= most(self.taken) {
            self.leave_first();
        }
        if self.window.is_empty() {
            self.base = index;
        }
        while index >= self.base + self.window.len() as u64 {
            self.window.push_back(None);
            self.step();
        }
    }

    /// Removes the first place of the window. If it contains a key, the key is moved to the tree.
    fn leave_first(&mut self) {
        if let Some(Some(key)) = self.window.pop_front() {
            self.taken -= 1;
            self.older.insert(self.base, key);
        }
        self.base += 1;
        self.step();
    }

    fn remove(&mut self, index: u64) -> Option<Place> {
        if index < self.base {
            return self.older.remove(&index);
        }
        let place = self.place(index)?;
        let key = self.window.get_mut(place)?.take()?;
        self.taken -= 1;
        let mut most = self.taken * PLACES_FOR_EACH + SPARE;
        while self.window.len() > most {
            self.leave_first();
            most = self.taken * PLACES_FOR_EACH + SPARE;
        }
        if self.window.capacity() > 4 * most {
            // After a burst of streams the window has a large capacity. Most of this memory is
            // given back, but twice the needed capacity is kept. With less, the memory could be
            // freed and allocated again and again.
            self.window.shrink_to(2 * most);
        }
        Some(key)
    }

    fn iter_mut(&mut self) -> impl Iterator<Item = (u64, &mut Place)> {
        let window = self.window.iter_mut().zip(self.base..);
        let window = window.filter_map(|(key, index)| key.as_mut().map(|key| (index, key)));
        self.older.iter_mut().map(|(index, key)| (*index, key)).chain(window)
    }

    fn step(&mut self) {
        #[cfg(test)]
        {
            self.steps += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Dir, Side};

    /// How many streams a measurement opens. Under Miri there are fewer, because Miri is a thousand
    /// times slower.
    const COUNT: u64 = if cfg!(miri) { 400 } else { 20_000 };
    /// How many rounds a comparison has.
    const ROUNDS: usize = if cfg!(miri) { 4 } else { 400 };

    fn id(index: u64) -> StreamId {
        StreamId::new(Side::Client, Dir::Bi, index)
    }

    impl StreamKeys {
        fn steps(&self) -> u64 {
            self.lanes.iter().flatten().map(|lane| lane.steps).sum()
        }

        fn len(&self) -> usize {
            self.lanes.iter().flatten().map(|lane| lane.taken + lane.older.len()).sum()
        }

        fn places(&self) -> usize {
            self.lanes.iter().flatten().map(|lane| lane.window.len()).sum()
        }
    }

    /// Opens streams with rising ids, as a peer does, and ends some of them. Returns the average
    /// number of steps per stream.
    fn steps_for_each(gap: impl Fn(u64) -> u64, ends: impl Fn(u64) -> Option<u64>) -> u64 {
        let (mut map, mut index, mut ids) = (StreamKeys::default(), 0, Vec::new());
        for nth in 0..COUNT {
            index += 1 + gap(nth);
            ids.push(index);
            assert_eq!(map.insert(id(index), Place::new(nth as usize)), None);
            if let Some(nth) = ends(nth) {
                map.remove(id(ids[nth as usize]));
            }
            assert!(map.places() <= map.len() * PLACES_FOR_EACH + SPARE + PLACES_FOR_EACH);
        }
        map.steps() / COUNT
    }

    /// [C-85] On average, the cost of a frame, a call or an event MUST NOT grow faster than the
    /// logarithm of the number of streams. The number includes streams that wait (J-31). The rule
    /// holds for all ids that a peer may choose. Events that concern all streams, such as the
    /// connection's end, are exempt.
    #[test]
    fn no_choice_of_ids_makes_a_stream_cost_more_than_a_constant() {
        let never = |_| None;
        assert_eq!(steps_for_each(|_| 0, never), 1, "in order");
        for shift in 0..46 {
            let steps = steps_for_each(|_| (1 << shift) - 1, never);
            assert!(steps <= 2 * (SPARE + PLACES_FOR_EACH) as u64, "2^{shift} apart: {steps}");
        }
        let far = |nth| if nth % 2 == 0 { 0 } else { 3 * nth };
        assert!(steps_for_each(far, never) <= 20, "ever further apart");
        // Many streams stay, while the stream with the highest id comes and goes.
        let comes_and_goes = |nth: u64| nth.checked_sub(COUNT / 2).map(|_| nth);
        assert!(steps_for_each(far, comes_and_goes) <= 20, "one that comes and goes");
        let oldest = |nth: u64| nth.checked_sub(COUNT / 4);
        assert!(steps_for_each(|nth| nth % 7, oldest) <= 20, "a queue");
        assert!(steps_for_each(|nth| nth % 200, |nth| Some(nth / 2)) <= 200, "half of them");
    }

    #[test]
    fn many_streams_that_end_leave_no_memory() {
        let mut map = StreamMap::default();
        (0..COUNT).for_each(|index| assert_eq!(map.insert(id(index), index), None));
        // All streams end, except the last one.
        (0..COUNT - 1).for_each(|index| assert_eq!(map.remove(id(index)), Some(index)));
        assert!(!map.values.are_sparse() && map.get(id(COUNT - 1)) == Some(&(COUNT - 1)));
        let lane = map.keys.lanes[0].as_ref().unwrap();
        assert!(lane.window.capacity() <= 4 * (SPARE + PLACES_FOR_EACH) && lane.older.is_empty());
        assert!(lane.steps <= 2 * COUNT, "{}", lane.steps);
    }

    /// Whatever is done with the map, it contains the same values as a `BTreeMap`.
    #[test]
    fn it_holds_what_a_tree_holds() {
        let mut seed = 1_u64;
        // The high bits of these numbers are as good as random (Knuth's MMIX).
        let mut random = |below: u64| {
            seed = seed
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (seed >> 33) % below
        };
        for _ in 0..ROUNDS {
            let (mut map, mut tree) = (StreamMap::default(), BTreeMap::new());
            let (span, stride) = (1 + random(400), 1 + random(100));
            for nth in 0..400 {
                let id = StreamId::of_kind(random(4), (nth / 4 + random(span)) * stride);
                match random(4) {
                    0 => assert_eq!(map.remove(id), tree.remove(&id)),
                    1 => assert_eq!(map.get(id), tree.get(&id)),
                    _ => assert_eq!(map.insert(id, nth), tree.insert(id, nth)),
                }
                assert_eq!(map.keys.len(), tree.len());
            }
            assert!(tree.iter().all(|(id, nth)| map.get(*id) == Some(nth)));
            let mut ids: Vec<_> = map.ids().collect();
            ids.sort_unstable();
            assert!(ids.iter().eq(tree.keys()));
            let mut values: Vec<_> = map.drain().collect();
            values.sort_unstable();
            let mut expected: Vec<_> = tree.into_values().collect();
            expected.sort_unstable();
            assert_eq!(values, expected);
        }
    }
}
