//! What is remembered, by fingerprint.
//!
//! Each entry stands in two places. An *index* is what reads look at: a table that leads straight to the entry, and
//! what has been taken out of it is gone at once. *moka* decides which entries stay: it knows the capacity, when each
//! is of no more use, and how often each is read. What holds them together:
//!
//! 1. An entry goes into the index first and to moka second, and moka tells of every entry that it lets go. So nothing
//!    is in the index that moka does not count, and memory stays within the capacity.
//! 2. Entries are numbered. What moka says may come late, when another entry has taken the place: it takes out only the
//!    one that it is about.
//! 3. An entry counts as several if it is large (its *weight*), so that memory has a bound whatever authorities say of
//!    tokens. moka takes what is too much away after up to a few hundred insertions, or within a third of a second.
//! 4. moka hears of one read in [`READS_PER_SAMPLE`], of one answer in [`ANSWERS_PER_SAMPLE`] as of a read, and of
//!    hardly any until it is half full: that is enough to tell which tokens are hot, and a fraction of the cost.
//!
//! Whoever inserts and removes holds the lock of the flights, so the two places change in the same order.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use moka::Expiry;
use moka::notification::RemovalCause;
use moka::sync::Cache;

use super::index::{Entry, Index, Sight};
use super::key::{TokenKey, UniformState};
use crate::random::random;

/// The longest moka is told to keep an entry. It refuses much more, and the injected clock judges every read anyway.
const EVICTION_HORIZON: Duration = Duration::from_secs(365 * 24 * 60 * 60);

const READS_PER_SAMPLE: u64 = 16;

/// As long as there is room for all, moka hears of a read only to look whether an entry is over.
const READS_PER_LOOK: u64 = 256;

/// Of the answers that come into a crowded cache, moka hears of one in so many as if it were read before: it lets in
/// only what it has heard of more often than of what would have to go. Of fewer, and a token that has just come into
/// use is asked about for a long time before it is remembered; of more, and tokens that are used once push out others.
const ANSWERS_PER_SAMPLE: u64 = 4;

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
    /// In seconds, rounded up: the clock judges each read anyway, and there is one of these for each entry.
    lasts: u32,
    weight: u32,
}

impl Kept {
    fn lasts(&self) -> Duration {
        Duration::from_secs(self.lasts.into())
    }
}

fn whole_seconds(duration: Duration) -> u32 {
    let seconds = duration.as_secs().saturating_add(u64::from(duration.subsec_nanos() > 0));
    u32::try_from(seconds).unwrap_or(u32::MAX)
}

impl<T: Entry> Entries<T> {
    /// `capacity` is that of entries with a weight of one. `evicted` is called for each entry for which there was no
    /// room. It must not panic: moka would let entries go silently from then on, and the index would keep them.
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
            .weigher(|_, kept: &Kept| kept.weight)
            .eviction_listener(let_go)
            .build_with_hasher(UniformState::default());
        Self { index, keeper, inserted: AtomicU64::new(0), capacity }
    }

    /// Now and then, tells moka that the entry is about to be read. moka may take its time to tidy up then: whoever
    /// judges by a clock looks at it after this.
    pub(super) fn tell_of_read(&self, key: TokenKey) {
        let drawn = draw();
        if is_one_in(READS_PER_SAMPLE, drawn) && (is_one_in(READS_PER_LOOK, drawn) || self.is_crowded()) {
            self.keeper.get(&key);
        }
    }

    /// Until it is half full moka itself counts no reads.
    fn is_crowded(&self) -> bool {
        self.keeper.weighted_size() > self.capacity / 2
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
        // One that weighs more than there is room for would never be remembered.
        let weight = entry.weight().min(u32::try_from(self.capacity).unwrap_or(u32::MAX));
        self.index.insert(entry);
        if is_one_in(ANSWERS_PER_SAMPLE, draw()) && self.is_crowded() {
            self.keeper.get(&key);
        }
        self.keeper.insert(key, Kept { number, lasts: whole_seconds(lasts.min(EVICTION_HORIZON)), weight });
    }

    /// Whether there was one.
    pub(super) fn remove(&self, key: TokenKey) -> bool {
        let removed = self.index.remove(key);
        self.keeper.invalidate(&key);
        removed
    }

    /// Forgets everything. What it was is given back, since to free it takes a while.
    #[must_use]
    pub(super) fn clear(&self) -> impl Sized {
        let taken = self.index.clear();
        self.keeper.invalidate_all();
        taken
    }

    #[cfg(feature = "redis")]
    pub(super) fn for_each(&self, act: impl Fn(&T)) {
        self.index.for_each(act);
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
        // Another for each thread, or those that read only once would all be told the same.
        0 => random(),
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

struct AtItsEnd;

impl Expiry<TokenKey, Kept> for AtItsEnd {
    fn expire_after_create(&self, _: &TokenKey, kept: &Kept, _: Instant) -> Option<Duration> {
        Some(kept.lasts())
    }

    fn expire_after_update(&self, _: &TokenKey, kept: &Kept, _: Instant, _: Option<Duration>) -> Option<Duration> {
        Some(kept.lasts())
    }
}

#[cfg(test)]
mod tests;
