//! A tree by number, for whatever is to be found, or taken in order, without a hash.
//!
//! All trees are one tree to the compiler, whatever they hold: from a number to a place, where the value is. The code
//! of a `BTreeMap` is more than 5 kB of a page's download for each type of value, and there would be five.

use std::collections::BTreeMap;

use slab::Slab;

/// For so few values no memory is given back.
const SPARE: usize = 64;

/// Values at places that stay theirs until they are taken, or moved together.
///
/// Its memory is bounded by what it holds: four places for each value, and a constant, if its owner asks
/// [`Places::are_sparse`] when values were taken. As long as none are, it is one and a half for each, and two and a half
/// while it grows.
#[derive(Debug)]
pub(super) struct Places<V>(Slab<V>);

impl<V> Default for Places<V> {
    fn default() -> Self {
        Self(Slab::new())
    }
}

impl<V> Places<V> {
    pub(super) fn get(&self, place: usize) -> Option<&V> {
        self.0.get(place)
    }

    pub(super) fn get_mut(&mut self, place: usize) -> Option<&mut V> {
        self.0.get_mut(place)
    }

    /// Returns where it is from now on.
    pub(super) fn put(&mut self, value: V) -> usize {
        let len = self.0.len();
        if len == self.0.capacity() {
            self.0.reserve_exact(len / 2 + 4);
        }
        self.0.insert(value)
    }

    pub(super) fn take(&mut self, place: usize) -> Option<V> {
        self.0.try_remove(place)
    }

    pub(super) fn into_values(self) -> impl Iterator<Item = V> {
        self.0.into_iter().map(|(_, value)| value)
    }

    /// Whether there is much more memory than values, so that they are to be moved together. The more there are, the
    /// more of them have been taken since the last time: what that costs is a constant for each.
    pub(super) fn are_sparse(&self) -> bool {
        self.0.capacity() > 4 * (self.0.len() + SPARE)
    }

    /// Moves the values together, and has their places changed with them.
    pub(super) fn move_together<'a>(&mut self, places: impl Iterator<Item = &'a mut usize>) {
        let mut together = Slab::with_capacity(self.0.len());
        for place in places {
            if let Some(value) = self.0.try_remove(*place) {
                *place = together.insert(value);
            }
        }
        self.0 = together;
    }
}

/// Values by number: O(log n) for everything but [`Tree::values_mut`]. Its memory is bounded by what it holds, four places for each value,
/// and a constant.
#[derive(Debug)]
pub struct Tree<V> {
    places: BTreeMap<u64, usize>,
    values: Places<V>,
}

impl<V> Default for Tree<V> {
    fn default() -> Self {
        Self { places: BTreeMap::new(), values: Places::default() }
    }
}

impl<V> Tree<V> {
    /// How many values there are.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Whether there is a value of this number.
    pub fn contains(&self, number: u64) -> bool {
        self.places.contains_key(&number)
    }

    /// The value of this number, to be changed.
    pub fn get_mut(&mut self, number: u64) -> Option<&mut V> {
        self.values.get_mut(*self.places.get(&number)?)
    }

    /// Returns what was there before.
    pub fn insert(&mut self, number: u64, value: V) -> Option<V> {
        let before = self.places.insert(number, self.values.put(value))?;
        self.values.take(before)
    }

    /// Takes the value of this number out.
    pub fn remove(&mut self, number: u64) -> Option<V> {
        let place = self.places.remove(&number)?;
        self.take(place)
    }

    /// Takes the value of the lowest number.
    pub fn pop_first(&mut self) -> Option<(u64, V)> {
        let (number, place) = self.places.pop_first()?;
        self.take(place).map(|value| (number, value))
    }

    /// All values, in no order.
    pub fn values_mut(&mut self) -> impl Iterator<Item = &mut V> {
        self.values.0.iter_mut().map(|(_, value)| value)
    }

    fn take(&mut self, place: usize) -> Option<V> {
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
        // 7 has no divisor in common with the count.
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
        // The last is at the last place.
        (0..COUNT - 1).for_each(|number| assert_eq!(tree.remove(number), Some(number)));
        assert!(tree.values.0.capacity() <= 4 * (SPARE + 1));
        assert_eq!(tree.pop_first(), Some((COUNT - 1, COUNT - 1)));
    }
}
