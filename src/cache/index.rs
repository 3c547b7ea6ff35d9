//! Where reads look.

use std::mem;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, TryLockError};

use hashbrown::HashTable;
use hashbrown::hash_table::Entry as Place;

use super::key::TokenKey;

/// So many that reading is hardly ever in the way of writing.
const FEWEST_PARTS: u64 = 64;
const MOST_PARTS: u64 = 1_024;
/// So few that a part grows in less than a millisecond: then each of its entries is looked up in memory for its key.
const ENTRIES_IN_A_PART: u64 = 4_096;

/// What can be remembered. It is small, or a pointer, and its key is in it: the table holds nothing else.
pub(super) trait Entry: Clone + Send + Sync + 'static {
    fn key(&self) -> TokenKey;

    /// The number it was inserted under.
    fn number(&self) -> u64;

    /// As how many entries it counts, one at least.
    fn weight(&self) -> u32 {
        1
    }
}

/// A table in parts, each behind a lock of its own.
///
/// Nothing of anybody else's runs under these locks, and nothing that was taken out is dropped under them. They are
/// held to find an entry, look at it and copy it; to copy all entries of a part; and to let a part grow.
pub(super) struct Index<T> {
    /// A power of two of them.
    parts: Box<[Part<T>]>,
    length: AtomicUsize,
    #[cfg(test)]
    waits: AtomicUsize,
}

/// In a line of the processor's cache of its own, since whoever reads a part writes to its lock. Not in a pair of
/// lines: that two cores want neighbours is rare.
#[repr(align(64))]
struct Part<T>(RwLock<HashTable<T>>);

/// What was seen of an entry, and the entry.
pub(super) struct Sight<R, T> {
    pub(super) seen: R,
    pub(super) entry: T,
    /// Somebody was changing this part of the table, so the look came later than it was called for.
    pub(super) has_waited: bool,
}

impl<T: Entry> Index<T> {
    pub(super) fn for_entries(capacity: u64) -> Self {
        let parts = (capacity / ENTRIES_IN_A_PART).clamp(FEWEST_PARTS, MOST_PARTS).next_power_of_two();
        Self {
            parts: (0..parts).map(|_| Part(RwLock::new(HashTable::new()))).collect(),
            length: AtomicUsize::new(0),
            #[cfg(test)]
            waits: AtomicUsize::new(0),
        }
    }

    /// Looks before it copies: counting another copy has the processor wait for memory, and what is looked at is
    /// fetched meanwhile.
    pub(super) fn look<R>(&self, key: TokenKey, look: impl FnOnce(&T) -> R) -> Option<Sight<R, T>> {
        let (table, has_waited) = self.read(self.part(key));
        let entry = table.find(key.low(), |present| present.key() == key)?;
        let seen = look(entry);
        Some(Sight { seen, entry: entry.clone(), has_waited })
    }

    pub(super) fn insert(&self, entry: T) {
        let key = entry.key();
        let mut table = self.part(key).write();
        let replaced = match table.entry(key.low(), |present| present.key() == key, |present| present.key().low()) {
            Place::Occupied(mut place) => Some(mem::replace(place.get_mut(), entry)),
            Place::Vacant(place) => {
                place.insert(entry);
                self.length.fetch_add(1, Ordering::Relaxed);
                None
            }
        };
        drop(table);
        drop(replaced);
    }

    /// Whether there was one.
    pub(super) fn remove(&self, key: TokenKey) -> bool {
        self.remove_if(key, |_| true)
    }

    /// Leaves another entry in the same place alone.
    pub(super) fn remove_number(&self, key: TokenKey, number: u64) {
        self.remove_if(key, |present| present.number() == number);
    }

    fn remove_if(&self, key: TokenKey, is_meant: impl Fn(&T) -> bool) -> bool {
        let mut table = self.part(key).write();
        let place = table.find_entry(key.low(), |present| present.key() == key && is_meant(present));
        let removed = place.ok().map(|place| place.remove().0);
        drop(table);
        self.length.fetch_sub(usize::from(removed.is_some()), Ordering::Relaxed);
        removed.is_some()
    }

    /// Takes everything out. To free it takes a while; that is left to whoever gets it.
    #[must_use]
    pub(super) fn clear(&self) -> Vec<HashTable<T>> {
        let taken: Vec<_> = self.parts.iter().map(|part| mem::take(&mut *part.write())).collect();
        self.length.fetch_sub(taken.iter().map(HashTable::len).sum(), Ordering::Relaxed);
        taken
    }

    pub(super) fn keys_where(&self, predicate: impl Fn(&T) -> bool) -> Vec<TokenKey> {
        let mut keys = Vec::new();
        self.for_each(|entry| {
            if predicate(entry) {
                keys.push(entry.key());
            }
        });
        keys
    }

    /// Nothing is locked while `act` runs.
    pub(super) fn for_each(&self, mut act: impl FnMut(&T)) {
        for part in &self.parts {
            let entries: Vec<T> = self.read(part).0.iter().cloned().collect();
            entries.iter().for_each(&mut act);
        }
    }

    pub(super) fn len(&self) -> usize {
        self.length.load(Ordering::Relaxed)
    }

    fn part(&self, key: TokenKey) -> &Part<T> {
        // A mask of the length, a power of two, is an index within it.
        #[allow(clippy::cast_possible_truncation)] // any part of the half is as good as all of it
        &self.parts[key.high() as usize & (self.parts.len() - 1)]
    }

    /// Whether it had to wait is told too.
    fn read<'part>(&self, part: &'part Part<T>) -> (RwLockReadGuard<'part, HashTable<T>>, bool) {
        match part.0.try_read() {
            Ok(table) => (table, false),
            Err(TryLockError::Poisoned(poisoned)) => (poisoned.into_inner(), false),
            Err(TryLockError::WouldBlock) => {
                #[cfg(test)]
                self.waits.fetch_add(1, Ordering::Relaxed);
                (part.0.read().unwrap_or_else(PoisonError::into_inner), true)
            }
        }
    }
}

impl<T> Part<T> {
    /// Nothing that runs under a lock leaves the table half changed, so a panic elsewhere does not spoil it.
    fn write(&self) -> RwLockWriteGuard<'_, HashTable<T>> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
impl<T: Entry> Index<T> {
    /// Runs `meanwhile` once the reader that is started waits for this key's part of the table.
    pub(super) fn keep_a_reader_waiting(&self, key: TokenKey, start: impl FnOnce(), meanwhile: impl FnOnce()) {
        const LOOKS: usize = 5_000_000;
        let waited_before = self.waits.load(Ordering::Relaxed);
        let waits = || {
            std::thread::yield_now();
            self.waits.load(Ordering::Relaxed) > waited_before
        };
        let table = self.part(key).write();
        start();
        assert!((0..LOOKS).any(|_| waits()), "the reader does not wait for the lock");
        meanwhile();
        drop(table);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{Arc, Weak};

    use super::super::key::keys;
    use super::*;

    /// Looks when it is dropped whether the index can be written to.
    #[derive(Clone)]
    struct Watcher {
        index: Weak<Index<Watcher>>,
        dropped: Arc<AtomicUsize>,
        key: TokenKey,
        number: u64,
    }

    impl Entry for Watcher {
        fn key(&self) -> TokenKey {
            self.key
        }

        fn number(&self) -> u64 {
            self.number
        }
    }

    impl Drop for Watcher {
        fn drop(&mut self) {
            if let Some(index) = self.index.upgrade() {
                assert!(is_free(&index), "dropped under a lock");
                self.dropped.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    fn is_free(index: &Index<Watcher>) -> bool {
        index.parts.iter().all(|part| part.0.try_write().is_ok())
    }

    #[test]
    fn nothing_of_anybody_elses_runs_under_a_lock() {
        let (index, keys, dropped) =
            (Arc::new(Index::<Watcher>::for_entries(0)), keys(200), Arc::<AtomicUsize>::default());
        let entry = |key, number| Watcher { index: Arc::downgrade(&index), dropped: Arc::clone(&dropped), key, number };
        let dropped_by = |change: &dyn Fn()| {
            let before = dropped.load(Ordering::Relaxed);
            change();
            dropped.load(Ordering::Relaxed) - before
        };
        for _ in 0..2 {
            keys.iter().for_each(|key| index.insert(entry(*key, 7)));
        }
        assert_eq!(dropped_by(&|| index.insert(entry(keys[0], 8))), 1);
        assert_eq!(dropped_by(&|| assert!(index.remove(keys[1]))), 1);
        assert_eq!(dropped_by(&|| index.remove_number(keys[2], 7)), 1);
        assert_eq!(dropped_by(&|| index.remove_number(keys[0], 7)), 0, "another entry");
        assert_eq!(index.keys_where(|_| is_free(&index)).len(), 198, "judged under a lock");
        assert_eq!(dropped_by(&|| drop(index.clear())), 198);
    }

    #[test]
    fn keys_are_spread_over_the_parts_and_not_taken_for_each_other() {
        let (index, keys) = (Index::<Watcher>::for_entries(0), keys(20_000));
        let (present, strangers) = keys.split_at(10_000);
        let entry = |key, number| Watcher { index: Weak::new(), dropped: Arc::default(), key, number };
        (0..).zip(present).for_each(|(number, key)| index.insert(entry(*key, number)));
        // 156 on average; 14 standard deviations are allowed.
        assert!(index.parts.iter().all(|part| index.read(part).0.len() < 330));
        assert!(!strangers.iter().any(|key| index.remove(*key)));
        assert_eq!(index.len(), 10_000);
        let number = |key: &TokenKey| index.look(*key, |_| ()).map(|sight| sight.entry.number);
        assert!((0..).zip(present).all(|(n, key)| number(key) == Some(n)));
        assert!(strangers.iter().all(|key| number(key).is_none()));
    }

    #[test]
    fn there_are_more_parts_for_more_entries_within_bounds() {
        for (capacity, parts) in [(0, 64), (10_000, 64), (1_000_000, 256), (u64::MAX, 1_024)] {
            assert_eq!(Index::<Watcher>::for_entries(capacity).parts.len(), parts, "{capacity}");
        }
    }
}
