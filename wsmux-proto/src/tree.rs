//! An ordered map from numbers to values. It uses no hash function.
//!
//! All maps use one type of `BTreeMap`, which maps a number to the index of a value. So the code of
//! this `BTreeMap` is compiled only once. If each type of value had its own type of `BTreeMap`,
//! each of the five types would add more than 5 kB to the WebAssembly module.

use std::{collections::BTreeMap, num::NonZeroUsize};

use slab::Slab;

/// [`Places::are_sparse`] adds this constant to the number of values. So a small collection never
/// counts as sparse, and keeps its memory.
const SPARE: usize = 64;

/// The place of a value in a collection. An `Option<Place>` takes no more memory than a `usize`,
/// which matters because there is a place for each stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place(NonZeroUsize);

impl Place {
    /// Returns the place with this index. An index is always below `usize::MAX`, so no two indices
    /// have the same place.
    #[inline]
    pub(super) fn new(index: usize) -> Self {
        Self(NonZeroUsize::MIN.saturating_add(index))
    }

    #[inline]
    pub(super) fn index(self) -> usize {
        self.0.get() - 1
    }
}

/// A collection of values. The place of a value is its index in the slab. A value keeps its place
/// until the value is taken, or until all values are moved together.
///
/// The owner should call [`Places::are_sparse`] after it has taken values, and move the values
/// together when the call returns `true`. If the owner does so, the slab has memory for at most
/// four times as many values as it holds, plus a constant. If no value has been taken, the slab has
/// memory for at most one and a half times as many values. While the slab grows, its old memory
/// exists as well, so the factor is two and a half.
#[derive(Debug)]
pub(super) struct Places<V>(Slab<V>);

impl<V> Default for Places<V> {
    fn default() -> Self {
        Self(Slab::new())
    }
}

impl<V> Places<V> {
    pub(super) fn get(&self, place: Place) -> Option<&V> {
        self.0.get(place.index())
    }

    pub(super) fn get_mut(&mut self, place: Place) -> Option<&mut V> {
        self.0.get_mut(place.index())
    }

    /// Adds a value, and returns its place.
    pub(super) fn put(&mut self, value: V) -> Place {
        let len = self.0.len();
        if len == self.0.capacity() {
            self.0.reserve_exact(len / 2 + 1);
        }
        Place::new(self.0.insert(value))
    }

    pub(super) fn take(&mut self, place: Place) -> Option<V> {
        self.0.try_remove(place.index())
    }

    pub(super) fn into_values(self) -> impl Iterator<Item = V> {
        self.0.into_iter().map(|(_, value)| value)
    }

    /// Whether so few places are in use that the values should be moved together. If so, the number
    /// of values that have to be moved is at most the number of values that were taken since the
    /// last move. So the cost of moving is at most a constant for each value that was taken.
    pub(super) fn are_sparse(&self) -> bool {
        self.0.capacity() > 4 * (self.0.len() + SPARE)
    }

    /// Moves the values together, and updates `places`, which must be the places of all values.
    pub(super) fn move_together<'a>(&mut self, places: impl Iterator<Item = &'a mut Place>) {
        let mut together = Slab::with_capacity(self.0.len());
        for place in places {
            if let Some(value) = self.0.try_remove(place.index()) {
                *place = Place::new(together.insert(value));
            }
        }
        self.0 = together;
    }
}

/// Values by number. Every method takes O(log n) time, except [`Tree::values_mut`]. A tree has
/// memory for at most four times as many values as it holds, plus a constant.
///
/// A connection has a dozen trees that usually stay empty. A tree that never had a value takes only
/// the memory of a pointer.
#[derive(Debug)]
pub struct Tree<V>(Option<Box<Nodes<V>>>);

const _: () = assert!(size_of::<Tree<[u64; 8]>>() == size_of::<usize>());

#[derive(Debug)]
struct Nodes<V> {
    places: BTreeMap<u64, Place>,
    values: Places<V>,
}

impl<V> Default for Tree<V> {
    fn default() -> Self {
        Self(None)
    }
}

impl<V> Default for Nodes<V> {
    fn default() -> Self {
        Self { places: BTreeMap::new(), values: Places::default() }
    }
}

impl<V> Tree<V> {
    /// Returns how many values there are.
    pub fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |nodes| nodes.places.len())
    }

    /// Whether there are no values.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether there is a value with this number.
    pub fn contains(&self, number: u64) -> bool {
        self.0.as_ref().is_some_and(|nodes| nodes.places.contains_key(&number))
    }

    /// Returns the value with this number, so that it can be changed.
    pub fn get_mut(&mut self, number: u64) -> Option<&mut V> {
        let nodes = self.0.as_mut()?;
        nodes.values.get_mut(*nodes.places.get(&number)?)
    }

    /// Sets the value with this number. Returns the value that had this number before.
    pub fn insert(&mut self, number: u64, value: V) -> Option<V> {
        let nodes = self.0.get_or_insert_default();
        let before = nodes.places.insert(number, nodes.values.put(value))?;
        nodes.values.take(before)
    }

    /// Removes the value with this number, and returns it.
    pub fn remove(&mut self, number: u64) -> Option<V> {
        let nodes = self.0.as_mut()?;
        let place = nodes.places.remove(&number)?;
        nodes.take(place)
    }

    /// Removes the value with the lowest number, and returns the number and the value.
    pub fn pop_first(&mut self) -> Option<(u64, V)> {
        let nodes = self.0.as_mut()?;
        let (number, place) = nodes.places.pop_first()?;
        nodes.take(place).map(|value| (number, value))
    }

    /// Returns all values, in no particular order.
    pub fn values_mut(&mut self) -> impl Iterator<Item = &mut V> {
        self.0.iter_mut().flat_map(|nodes| nodes.values.0.iter_mut()).map(|(_, value)| value)
    }
}

impl<V> Nodes<V> {
    fn take(&mut self, place: Place) -> Option<V> {
        let value = self.values.take(place);
        if self.values.are_sparse() {
            self.values.move_together(self.places.values_mut());
        }
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COUNT: u64 = if cfg!(miri) { 1_000 } else { 20_000 };

    #[test]
    fn values_are_taken_by_number_whatever_their_order() {
        let mut tree = Tree::default();
        // 7 and the count have no common divisor, so each number occurs once.
        for number in (0..COUNT).map(|nth| nth * 7 % COUNT) {
            assert_eq!(tree.insert(number, number), None);
        }
        assert_eq!(tree.insert(3, 33), Some(3));
        assert_eq!(tree.get_mut(3), Some(&mut 33));
        assert!((0..COUNT).step_by(2).all(|number| tree.remove(number) == Some(number)));
        assert!(!tree.contains(0) && tree.contains(1) && tree.remove(0).is_none());
        assert_eq!(tree.pop_first(), Some((1, 1)));
        assert_eq!(tree.pop_first(), Some((3, 33)));
        assert_eq!(tree.len() as u64, COUNT / 2 - 2);
        assert!((5..COUNT).step_by(2).all(|number| tree.pop_first() == Some((number, number))));
        assert!(tree.is_empty());
    }

    #[test]
    fn a_tree_gives_the_memory_of_what_was_taken_back() {
        let mut tree = Tree::default();
        (0..COUNT).for_each(|number| assert_eq!(tree.insert(number, number), None));
        // The last value stays in the tree. This value is at the last place, so memory can be
        // returned only if the value is moved.
        (0..COUNT - 1).for_each(|number| assert_eq!(tree.remove(number), Some(number)));
        let nodes = tree.0.as_ref().unwrap();
        assert!(nodes.values.0.capacity() <= 4 * (SPARE + 1));
        assert_eq!(tree.pop_first(), Some((COUNT - 1, COUNT - 1)));
    }
}
