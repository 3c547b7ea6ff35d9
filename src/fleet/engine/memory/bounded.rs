//! Entries under names, of which the oldest go when there are too many.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};

pub(super) struct Bounded<V> {
    most: usize,
    /// With the number under which `order` has the name.
    entries: HashMap<String, (u64, V)>,
    order: BTreeMap<u64, String>,
    next: u64,
}

impl<V> Bounded<V> {
    pub(super) fn new(most: usize) -> Self {
        Self { most, entries: HashMap::new(), order: BTreeMap::new(), next: 0 }
    }

    pub(super) fn get(&self, name: &str) -> Option<&V> {
        self.entries.get(name).map(|(_, value)| value)
    }

    pub(super) fn get_mut(&mut self, name: &str) -> Option<&mut V> {
        self.entries.get_mut(name).map(|(_, value)| value)
    }

    /// Makes it the newest, and returns what was there.
    pub(super) fn insert(&mut self, name: &str, value: V) -> Option<V> {
        let old = self.remove(name);
        self.get_or_insert_with(name, || value);
        old
    }

    pub(super) fn get_or_insert_with(&mut self, name: &str, make: impl FnOnce() -> V) -> &mut V {
        if self.entries.len() >= self.most
            && !self.entries.contains_key(name)
            && let Some((_, oldest)) = self.order.pop_first()
        {
            self.entries.remove(&oldest);
        }
        let (_, value) = match self.entries.entry(name.to_owned()) {
            Entry::Occupied(there) => there.into_mut(),
            Entry::Vacant(free) => {
                self.order.insert(self.next, name.to_owned());
                self.next += 1;
                free.insert((self.next - 1, make()))
            }
        };
        value
    }

    pub(super) fn remove(&mut self, name: &str) -> Option<V> {
        let (number, value) = self.entries.remove(name)?;
        self.order.remove(&number);
        Some(value)
    }

    pub(super) fn values(&self) -> impl Iterator<Item = &V> {
        self.order.values().filter_map(|name| self.get(name))
    }

    pub(super) fn retain(&mut self, mut keeps: impl FnMut(&V) -> bool) {
        self.entries.retain(|_, (_, value)| keeps(value));
        self.order.retain(|_, name| self.entries.contains_key(name));
    }
}

#[cfg(any(test, feature = "test-util"))]
impl<V> Bounded<V> {
    /// Oldest first.
    pub(super) fn names(&self) -> Vec<String> {
        self.order.values().cloned().collect()
    }

    pub(super) fn clear(&mut self) {
        self.entries.clear();
        self.order.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_goes_when_there_are_too_many_and_one_that_is_stored_again_is_the_newest() {
        let mut bounded = Bounded::new(2);
        for (name, value) in [("a", 1), ("b", 2), ("a", 3), ("c", 4)] {
            bounded.insert(name, value);
        }
        assert_eq!(bounded.names(), ["a", "c"]);
        assert_eq!((bounded.get("a"), bounded.get("b"), bounded.get("c")), (Some(&3), None, Some(&4)));
        assert_eq!(bounded.remove("a"), Some(3));
        bounded.insert("d", 5);
        bounded.retain(|&value| value != 4);
        bounded.insert("e", 6);
        assert_eq!(bounded.values().copied().collect::<Vec<_>>(), [5, 6]);
    }
}
