//! Where reads look.

use std::mem;
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use hashbrown::HashTable;
use hashbrown::hash_table::Entry as Place;

use super::key::TokenKey;

/// So many that reading is hardly ever in the way of writing, and that a part is copied quickly when it grows.
const PARTS: usize = 64;

/// What can be remembered: something small that leads to the rest, its key included, which the table does not repeat.
pub(super) trait Entry: Clone + Send + Sync + 'static {
    fn key(&self) -> TokenKey;

    /// The number it was inserted under.
    fn number(&self) -> u64;
}

/// A table in parts, each behind a lock of its own.
///
/// The locks are held for as long as it takes to find an entry, look at it and copy it: nothing else is called under them, and
/// nothing that was taken out is dropped.
pub(super) struct Index<T>([Part<T>; PARTS]);

/// In a line of the processor's cache of its own: whoever reads one part writes to its lock.
#[repr(align(64))]
struct Part<T>(RwLock<HashTable<T>>);

impl<T> Part<T> {
    /// Nothing that runs under this lock leaves the table half changed.
    fn read(&self) -> RwLockReadGuard<'_, HashTable<T>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, HashTable<T>> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Default for Index<T> {
    fn default() -> Self {
        Self(std::array::from_fn(|_| Part(RwLock::new(HashTable::new()))))
    }
}

impl<T: Entry> Index<T> {
    /// The entry, and what `look` makes of it. It looks before the entry is copied: counting another copy has the processor wait for
    /// memory, and what is looked at is fetched meanwhile.
    pub(super) fn get<R>(&self, key: TokenKey, look: impl FnOnce(&T) -> R) -> Option<(R, T)> {
        let table = self.part(key).read();
        let entry = table.find(key.hash(), |present| present.key() == key)?;
        let seen = look(entry);
        Some((seen, entry.clone()))
    }

    pub(super) fn insert(&self, entry: T) {
        let key = entry.key();
        let mut table = self.part(key).write();
        let replaced = match table.entry(key.hash(), |present| present.key() == key, |present| present.key().hash()) {
            Place::Occupied(mut place) => Some(mem::replace(place.get_mut(), entry)),
            Place::Vacant(place) => {
                place.insert(entry);
                None
            }
        };
        drop(table);
        drop(replaced);
    }

    pub(super) fn remove(&self, key: TokenKey) {
        self.remove_if(key, |_| true);
    }

    /// Leaves another entry in the same place alone.
    pub(super) fn remove_number(&self, key: TokenKey, number: u64) {
        self.remove_if(key, |present| present.number() == number);
    }

    fn remove_if(&self, key: TokenKey, is_meant: impl Fn(&T) -> bool) {
        let mut table = self.part(key).write();
        let place = table.find_entry(key.hash(), |present| present.key() == key && is_meant(present));
        let removed = place.ok().map(|place| place.remove().0);
        drop(table);
        drop(removed);
    }

    pub(super) fn clear(&self) {
        for part in &self.0 {
            let all = mem::take(&mut *part.write());
            drop(all);
        }
    }

    pub(super) fn keys_where(&self, predicate: impl Fn(&T) -> bool) -> Vec<TokenKey> {
        let mut keys = Vec::new();
        for part in &self.0 {
            let entries: Vec<T> = part.read().iter().cloned().collect();
            keys.extend(entries.iter().filter(|entry| predicate(entry)).map(Entry::key));
        }
        keys
    }

    pub(super) fn len(&self) -> usize {
        self.0.iter().map(|part| part.read().len()).sum()
    }

    fn part(&self, key: TokenKey) -> &Part<T> {
        // A remainder of the length is an index within it.
        &self.0[key.part() % PARTS]
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{Arc, Weak};

    use super::super::key::TokenKeys;
    use super::*;
    use crate::token::BearerToken;

    fn keys(count: usize) -> Vec<TokenKey> {
        let keys = TokenKeys::random();
        (0..count).map(|n| keys.of(&BearerToken::parse(format!("token-{n}")).unwrap())).collect()
    }

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
        index.0.iter().all(|part| part.0.try_write().is_ok())
    }

    #[test]
    fn nothing_of_anybody_elses_runs_under_a_lock() {
        let (index, keys, dropped) = (Arc::<Index<Watcher>>::default(), keys(200), Arc::<AtomicUsize>::default());
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
        assert_eq!(dropped_by(&|| index.remove(keys[1])), 1);
        assert_eq!(dropped_by(&|| index.remove_number(keys[2], 7)), 1);
        assert_eq!(dropped_by(&|| index.remove_number(keys[0], 7)), 0, "another entry");
        assert_eq!(index.keys_where(|_| is_free(&index)).len(), 198, "judged under a lock");
        assert_eq!(dropped_by(&|| index.clear()), 198);
    }

    #[test]
    fn keys_are_spread_over_the_parts_and_not_taken_for_each_other() {
        let (index, keys) = (Index::<Watcher>::default(), keys(20_000));
        let (present, strangers) = keys.split_at(10_000);
        let entry = |key, number| Watcher { index: Weak::new(), dropped: Arc::default(), key, number };
        (0..).zip(present).for_each(|(number, key)| index.insert(entry(*key, number)));
        // 156 on average; 14 standard deviations are allowed.
        assert!(index.0.iter().all(|part| part.read().len() < 330));
        strangers.iter().for_each(|key| index.remove(*key));
        assert_eq!(index.len(), 10_000);
        let number = |key: &TokenKey| index.get(*key, |_| ()).map(|(_, entry)| entry.number);
        assert!((0..).zip(present).all(|(n, key)| number(key) == Some(n)));
        assert!(strangers.iter().all(|key| number(key).is_none()));
    }
}
