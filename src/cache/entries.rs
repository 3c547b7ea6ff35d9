//! What is remembered, by fingerprint.
//!
//! Each entry stands in two places. An *index* is what reads look at: a table that leads straight to the entry, and what has been
//! taken out of it is gone at once. *moka* decides which entries stay: it knows the capacity, when each is of no more use, and
//! how often each is read. What holds them together:
//!
//! 1. An entry goes into the index first and to moka second, and moka tells of every entry that it lets go. So nothing is in the
//!    index that moka does not count, and memory stays within the capacity.
//! 2. Entries are numbered. What moka says may come late, when another entry has taken the place: it takes out only the one that it
//!    is about.
//! 3. moka hears of one read in [`READS_PER_SAMPLE`], and hardly of any until it is half full: that is enough to tell which
//!    tokens are hot, and a fraction of the cost.
//!
//! Whoever inserts and removes holds the lock of the flights, so the two places change in the same order.

use std::cell::Cell;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use moka::Expiry;
use moka::notification::RemovalCause;
use moka::sync::Cache;

use super::index::{Entry, Index, Sight};
use super::key::{TokenKey, UniformState};

/// The longest moka is told to keep an entry. It refuses much more, and the injected clock judges every read anyway.
const EVICTION_HORIZON: Duration = Duration::from_secs(365 * 24 * 60 * 60);

const READS_PER_SAMPLE: u64 = 16;

/// As long as there is room for all, moka hears of a read only to look whether an entry is over.
const READS_PER_LOOK: u64 = 256;

pub(super) struct Entries<T> {
    index: Arc<Index<T>>,
    keeper: Cache<TokenKey, Kept, UniformState>,
    inserted: AtomicU64,
    capacity: u64,
}

/// What moka knows of an entry.
#[derive(Clone)]
struct Kept {
    number: u64,
    lasts: Duration,
}

impl<T: Entry> Entries<T> {
    /// `evicted` is called for each entry for which there was no room. It must not panic: moka would let entries go silently from
    /// then on, and the index would keep them.
    pub(super) fn new(name: &str, capacity: u64, evicted: impl Fn() + Send + Sync + 'static) -> Self {
        let index = Arc::new(Index::<T>::for_entries(capacity));
        let let_go = {
            let index = Arc::clone(&index);
            move |key: Arc<TokenKey>, kept: Kept, cause| {
                index.remove_number(*key, kept.number);
                if cause == RemovalCause::Size {
                    evicted();
                }
            }
        };
        let keeper = Cache::builder()
            .name(name)
            .max_capacity(capacity)
            // Its tables start small then, and not with what suits thousands of entries.
            .initial_capacity(0)
            .expire_after(AtItsEnd)
            .eviction_listener(let_go)
            .build_with_hasher(UniformState::default());
        Self { index, keeper, inserted: AtomicU64::new(0), capacity }
    }

    /// Now and then, tells moka that the entry is about to be read. moka may take its time to tidy up then: whoever judges by a
    /// clock looks at it after this.
    pub(super) fn tell_of_read(&self, key: TokenKey) {
        let drawn = draw();
        if is_one_in(READS_PER_SAMPLE, drawn) && (is_one_in(READS_PER_LOOK, drawn) || self.is_crowded()) {
            self.keeper.get(&key);
        }
    }

    /// Until it is half full moka itself counts no reads.
    fn is_crowded(&self) -> bool {
        self.keeper.entry_count() > self.capacity / 2
    }

    /// It may have to wait until a change is made: whoever judges by a clock looks at it after this.
    pub(super) fn get(&self, key: TokenKey) -> Option<T> {
        self.look(key, |_| ()).map(|sight| sight.entry)
    }

    /// The entry, and what `look` makes of it, which must be little: a part of the index is locked meanwhile.
    pub(super) fn look<R>(&self, key: TokenKey, look: impl FnOnce(&T) -> R) -> Option<Sight<R, T>> {
        self.index.look(key, look)
    }

    /// Remembers what `entry` makes of its number, in place of whatever had its key, for at most as long as it `lasts`.
    pub(super) fn insert(&self, lasts: Duration, entry: impl FnOnce(u64) -> T) {
        if self.capacity == 0 {
            // moka takes nothing then, and lets nothing go.
            return;
        }
        let number = self.inserted.fetch_add(1, Ordering::Relaxed);
        let entry = entry(number);
        let key = entry.key();
        self.index.insert(entry);
        self.keeper.insert(key, Kept { number, lasts: lasts.min(EVICTION_HORIZON) });
    }

    pub(super) fn remove(&self, key: TokenKey) {
        self.index.remove(key);
        self.keeper.invalidate(&key);
    }

    /// Forgets everything. What it was is given back, since to free it takes a while.
    #[must_use]
    pub(super) fn clear(&self) -> impl Sized {
        let taken = self.index.clear();
        self.keeper.invalidate_all();
        taken
    }

    /// The keys of all entries of which `predicate` is true.
    pub(super) fn keys_where(&self, predicate: impl Fn(&T) -> bool) -> Vec<TokenKey> {
        self.index.keys_where(predicate)
    }

    /// Lets go what has no room or is of no more use. moka does so by itself, a little later.
    pub(super) fn tidy(&self) {
        self.keeper.run_pending_tasks();
    }

    pub(super) fn len(&self) -> u64 {
        self.index.len() as u64
    }
}

#[cfg(test)]
impl<T: Entry> Entries<T> {
    /// Runs `meanwhile` once the reader that is started waits for this entry.
    pub(super) fn keep_a_reader_waiting(&self, key: TokenKey, start: impl FnOnce(), meanwhile: impl FnOnce()) {
        self.index.keep_a_reader_waiting(key, start, meanwhile);
    }
}

/// A number for each read of each thread, in no pattern that the order of tokens could be in step with.
fn draw() -> u64 {
    thread_local! {
        static STATE: Cell<u64> = const { Cell::new(0) };
    }
    // A linear congruential generator, of which the upper bits are the random ones.
    let state = match STATE.get() {
        0 => seed(),
        state => state,
    };
    let next = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    STATE.set(next);
    next
}

/// True for one in `reads` of the numbers drawn. What is one in 256 is one in 16 too, so one number serves for both.
fn is_one_in(reads: u64, drawn: u64) -> bool {
    drawn < u64::MAX / reads
}

/// Another for each thread, or those that read only once would all be told the same.
#[cold]
fn seed() -> u64 {
    RandomState::new().hash_one(())
}

struct AtItsEnd;

impl Expiry<TokenKey, Kept> for AtItsEnd {
    fn expire_after_create(&self, _: &TokenKey, kept: &Kept, _: Instant) -> Option<Duration> {
        Some(kept.lasts)
    }

    fn expire_after_update(&self, _: &TokenKey, kept: &Kept, _: Instant, _: Option<Duration>) -> Option<Duration> {
        Some(kept.lasts)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::sync::Mutex;

    use super::super::key::keys;
    use super::*;

    const LONG: Duration = Duration::from_secs(3_600);

    #[derive(Clone)]
    struct Numbered {
        entry: usize,
        key: TokenKey,
        number: u64,
    }

    impl Entry for Numbered {
        fn key(&self) -> TokenKey {
            self.key
        }

        fn number(&self) -> u64 {
            self.number
        }
    }

    fn insert(entries: &Entries<Numbered>, key: TokenKey, entry: usize, lasts: Duration) {
        entries.insert(lasts, |number| Numbered { entry, key, number });
    }

    fn with_capacity(capacity: u64) -> Entries<Numbered> {
        Entries::new("test", capacity, || ())
    }

    fn present(entries: &Entries<Numbered>, key: TokenKey) -> Option<usize> {
        entries.tell_of_read(key);
        entries.get(key).map(|present| present.entry)
    }

    /// Both places hold the same entries. moka does not show those that are over, though it has them for a moment longer.
    fn agree(entries: &Entries<Numbered>) {
        entries.tidy();
        let index: HashSet<TokenKey, UniformState> = entries.keys_where(|_| true).into_iter().collect();
        let kept: HashSet<TokenKey, UniformState> = entries.keeper.iter().map(|(key, _)| *key).collect();
        assert!(kept.is_subset(&index), "moka keeps what is not in the index");
        assert_eq!((index.len() as u64, entries.len()), (entries.keeper.entry_count(), entries.keeper.entry_count()));
    }

    #[test]
    fn what_was_removed_is_gone_at_once() {
        let (entries, keys) = (with_capacity(10), keys(3));
        keys.iter().enumerate().for_each(|(n, key)| insert(&entries, *key, n, LONG));
        entries.remove(keys[1]);
        assert_eq!(keys.iter().map(|key| present(&entries, *key)).collect::<Vec<_>>(), [Some(0), None, Some(2)]);
        drop(entries.clear());
        assert!(keys.iter().all(|key| present(&entries, *key).is_none()));
        insert(&entries, keys[0], 7, LONG);
        agree(&entries);
        assert_eq!(present(&entries, keys[0]), Some(7), "the clearing is no concern of what came after it");
    }

    #[test]
    fn what_has_no_room_leaves_the_index_too() {
        let evicted = Arc::new(AtomicU64::new(0));
        let entries = Entries::new("test", 10, {
            let evicted = Arc::clone(&evicted);
            move || {
                evicted.fetch_add(1, Ordering::Relaxed);
            }
        });
        for (n, key) in keys(1_005).into_iter().enumerate() {
            insert(&entries, key, n, LONG);
            agree(&entries);
            assert_eq!(entries.len(), (n as u64 + 1).min(10), "{n}");
        }
        assert_eq!(evicted.load(Ordering::Relaxed), 995);
    }

    #[test]
    fn what_lasts_longer_than_moka_can_count_is_remembered() {
        let (entries, keys) = (with_capacity(10), keys(1));
        insert(&entries, keys[0], 0, Duration::MAX);
        agree(&entries);
        assert_eq!(present(&entries, keys[0]), Some(0));
    }

    #[test]
    fn what_lasts_for_months_is_kept_for_months() {
        const MONTHS: Duration = Duration::from_secs(200 * 24 * 60 * 60);
        let (entries, keys) = (with_capacity(10), keys(1));
        insert(&entries, keys[0], 0, MONTHS);
        assert_eq!(entries.keeper.get(&keys[0]).map(|kept| kept.lasts), Some(MONTHS));
    }

    #[test]
    fn an_entry_in_the_place_of_another_has_a_time_of_its_own() {
        let (entries, keys) = (with_capacity(10), keys(1));
        let is_kept_after = |lasts| {
            insert(&entries, keys[0], 0, lasts);
            entries.keeper.contains_key(&keys[0])
        };
        assert!(is_kept_after(LONG) && is_kept_after(LONG));
        assert!(!is_kept_after(Duration::ZERO));
        assert!(is_kept_after(LONG));
    }

    #[test]
    fn the_end_of_an_entry_is_not_the_end_of_the_one_that_took_its_place() {
        let (entries, keys) = (with_capacity(10), keys(1));
        insert(&entries, keys[0], 0, Duration::ZERO);
        insert(&entries, keys[0], 1, LONG);
        agree(&entries);
        assert_eq!(present(&entries, keys[0]), Some(1));
    }

    #[test]
    fn without_room_nothing_is_remembered() {
        let (entries, keys) = (with_capacity(0), keys(1));
        insert(&entries, keys[0], 0, LONG);
        assert_eq!((present(&entries, keys[0]), entries.len()), (None, 0));
    }

    #[test]
    fn what_is_read_often_gets_room_and_keeps_it() {
        let (entries, keys) = (with_capacity(100), keys(10_000));
        let (hot, passing) = keys.split_at(20);
        passing[..100].iter().enumerate().for_each(|(n, key)| insert(&entries, *key, n, LONG));
        entries.tidy();
        let ask_again = |key: &TokenKey, n| {
            if present(&entries, *key).is_none() {
                insert(&entries, *key, n, LONG);
            }
        };
        for n in 0..1_000 {
            hot.iter().for_each(|key| ask_again(key, n));
            entries.tidy();
        }
        assert!(hot.iter().all(|key| present(&entries, *key).is_some()), "it had to make room for them");
        passing.iter().enumerate().for_each(|(n, key)| ask_again(key, n));
        entries.tidy();
        assert!(hot.iter().all(|key| present(&entries, *key).is_some()), "it made room for others");
    }

    #[test]
    fn a_hundred_reads_are_enough_to_keep_a_place() {
        let (entries, keys) = (with_capacity(100), keys(2_100));
        let (first, passing) = keys.split_at(100);
        first.iter().enumerate().for_each(|(n, key)| insert(&entries, *key, n, LONG));
        entries.tidy();
        // The first of them to go, were it not for these reads.
        let read = &first[..20];
        for _ in 0..100 {
            read.iter().for_each(|key| entries.tell_of_read(*key));
            entries.tidy();
        }
        for (n, key) in passing.iter().enumerate() {
            entries.tell_of_read(*key);
            insert(&entries, *key, n, LONG);
            entries.tidy();
        }
        // One in 600 is never sampled.
        let kept = read.iter().filter(|key| entries.get(**key).is_some()).count();
        assert!(kept >= 16, "{kept}");
    }

    #[test]
    fn one_read_in_sixteen_is_a_sample() {
        let samples = (0..160_000).filter(|_| is_one_in(READS_PER_SAMPLE, draw())).count();
        assert!((9_500..10_500).contains(&samples), "{samples}");
    }

    #[test]
    fn threads_that_read_only_once_are_sampled_too() {
        let is_sampled = || std::thread::spawn(|| is_one_in(READS_PER_SAMPLE, draw())).join().unwrap();
        let samples = (0..800).filter(|_| is_sampled()).count();
        assert!((10..150).contains(&samples), "{samples}");
    }

    #[test]
    fn however_many_change_them_the_index_and_moka_agree() {
        let (entries, keys, lock) = (with_capacity(50), keys(200), Mutex::new(()));
        std::thread::scope(|scope| {
            for seed in 1..=4_u64 {
                let (entries, keys, lock) = (&entries, &keys, &lock);
                scope.spawn(move || {
                    let mut random = seed;
                    for n in 0..20_000 {
                        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(seed);
                        let key = keys[usize::try_from(random >> 33).unwrap() % keys.len()];
                        if random >> 61 == 0 {
                            entries.tidy();
                        }
                        let _changing = lock.lock().unwrap();
                        match random << 4 >> 60 {
                            0 => entries.remove(key),
                            1 if n % 100 == 0 => drop(entries.clear()),
                            2 => insert(entries, key, n, Duration::ZERO),
                            3..8 => insert(entries, key, n, LONG),
                            _ => drop(present(entries, key)),
                        }
                    }
                });
            }
        });
        agree(&entries);
        assert!(entries.len() <= 50);
    }
}
