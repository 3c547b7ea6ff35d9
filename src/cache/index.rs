//! Where reads look.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::key::{TokenKey, UniformState};

/// So many that reading is hardly ever in the way of writing, and that a part is copied quickly when it grows.
const PARTS: usize = 64;

/// What can be remembered: something small that leads to the rest.
pub(super) trait Entry: Clone + Send + Sync + 'static {
    /// The number it was inserted under.
    fn number(&self) -> u64;
}

/// A table in parts, each behind a lock of its own.
///
/// The locks are held for as long as it takes to find an entry and copy it: nothing else is called under them, and nothing
/// that was taken out is dropped.
pub(super) struct Index<T>([Part<T>; PARTS]);

type Table<T> = HashMap<TokenKey, T, UniformState>;

/// In a line of the processor's cache of its own: whoever reads one part writes to its lock.
#[repr(align(64))]
struct Part<T>(RwLock<Table<T>>);

impl<T> Part<T> {
    /// Nothing that runs under this lock leaves the table half changed.
    fn read(&self) -> RwLockReadGuard<'_, Table<T>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Table<T>> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Default for Index<T> {
    fn default() -> Self {
        Self(std::array::from_fn(|_| Part(RwLock::default())))
    }
}

impl<T: Entry> Index<T> {
    pub(super) fn get(&self, key: TokenKey) -> Option<T> {
        self.part(key).read().get(&key).cloned()
    }

    pub(super) fn insert(&self, key: TokenKey, entry: T) {
        let replaced = self.part(key).write().insert(key, entry);
        drop(replaced);
    }

    pub(super) fn remove(&self, key: TokenKey) {
        let removed = self.part(key).write().remove(&key);
        drop(removed);
    }

    /// Leaves another entry in the same place alone.
    pub(super) fn remove_number(&self, key: TokenKey, number: u64) {
        let mut table = self.part(key).write();
        let is_meant = table.get(&key).is_some_and(|present| present.number() == number);
        let removed = if is_meant { table.remove(&key) } else { None };
        drop(table);
        drop(removed);
    }

    pub(super) fn clear(&self) {
        for part in &self.0 {
            let all = std::mem::take(&mut *part.write());
            drop(all);
        }
    }

    pub(super) fn keys_where(&self, predicate: impl Fn(&T) -> bool) -> Vec<TokenKey> {
        let mut keys = Vec::new();
        for part in &self.0 {
            let entries: Vec<(TokenKey, T)> = part.read().iter().map(|(key, entry)| (*key, entry.clone())).collect();
            keys.extend(entries.iter().filter(|(_, entry)| predicate(entry)).map(|(key, _)| key));
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
        number: u64,
    }

    impl Entry for Watcher {
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
        let entry = |number| Watcher { index: Arc::downgrade(&index), dropped: Arc::clone(&dropped), number };
        let dropped_by = |change: &dyn Fn()| {
            let before = dropped.load(Ordering::Relaxed);
            change();
            dropped.load(Ordering::Relaxed) - before
        };
        for _ in 0..2 {
            keys.iter().for_each(|key| index.insert(*key, entry(7)));
        }
        assert_eq!(dropped_by(&|| index.insert(keys[0], entry(8))), 1);
        assert_eq!(dropped_by(&|| index.remove(keys[1])), 1);
        assert_eq!(dropped_by(&|| index.remove_number(keys[2], 7)), 1);
        assert_eq!(dropped_by(&|| index.remove_number(keys[0], 7)), 0, "another entry");
        assert_eq!(index.keys_where(|_| is_free(&index)).len(), 198, "judged under a lock");
        assert_eq!(dropped_by(&|| index.clear()), 198);
    }

    #[test]
    fn keys_are_spread_over_the_parts() {
        let (index, keys) = (Index::<Watcher>::default(), keys(10_000));
        let entry = |number| Watcher { index: Weak::new(), dropped: Arc::default(), number };
        (0..).zip(&keys).for_each(|(number, key)| index.insert(*key, entry(number)));
        assert_eq!(index.len(), 10_000);
        // 156 on average; 14 standard deviations are allowed.
        assert!(index.0.iter().all(|part| part.read().len() < 330));
        assert!((0..).zip(&keys).all(|(number, key)| index.get(*key).is_some_and(|entry| entry.number == number)));
    }
}
