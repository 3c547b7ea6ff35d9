//! Control and figures for the application.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::flight::Predicate;
use super::store::Store;
use crate::token::{AccessToken, BearerToken};

/// Controls and observes a [`Cached`](super::Cached). Made by [`Cached::handle`](super::Cached::handle); clones act on the
/// same cache.
///
/// Each `invalidate` also covers questions under way: their answers may predate the change that made you call it, so they
/// are neither remembered nor handed out, and the question is asked anew. A request that arrives after `invalidate` has
/// returned gets an answer that was asked for after it was called. Requests let through before are not called back.
///
/// ```
/// use tower_introspection::{BearerToken, Cached, introspect_fn};
/// # let introspector = introspect_fn(|_| async {
/// #     Ok(tower_introspection::Verdict::Inactive(tower_introspection::InactiveReason::Unknown)) });
///
/// let cached = Cached::new(introspector);
/// let cache = cached.handle();
/// cache.invalidate(&BearerToken::parse("25poPXCPOw43s0hJBn6tQYnUb5KF")?);
/// cache.invalidate_where(|token| token.client_id() == Some("weather-app"));
/// assert_eq!(cache.stats().hits, 0);
/// # Ok::<(), tower_introspection::MalformedToken>(())
/// ```
#[derive(Clone)]
pub struct CacheHandle(Arc<Store>);

impl CacheHandle {
    pub(super) fn new(store: Arc<Store>) -> Self {
        Self(store)
    }

    /// Forgets what is known of `token`, active or not.
    pub fn invalidate(&self, token: &BearerToken<'_>) {
        let key = self.0.key_of(token);
        // Flights first: one that landed before this has put its answer into the caches, where it is removed next.
        self.0.flights.invalidate(key);
        self.0.active.invalidate(&key);
        self.0.inactive.invalidate(&key);
    }

    /// Forgets everything.
    pub fn invalidate_all(&self) {
        self.0.flights.invalidate_all();
        self.0.active.invalidate_all();
        self.0.inactive.invalidate_all();
    }

    /// Forgets all active tokens of which `predicate` is true, such as all of one client or one app, and returns how many.
    /// A question under way is asked anew if its answer is such a token.
    ///
    /// It walks the whole cache. With hundreds of thousands of entries, call it where blocking is allowed.
    pub fn invalidate_where(&self, predicate: impl Fn(&AccessToken) -> bool + Send + Sync + 'static) -> usize {
        let predicate: Predicate = Arc::new(predicate);
        self.0.flights.invalidate_where(&predicate);
        let mut forgotten = 0;
        for (key, entry) in &self.0.active {
            if predicate(&entry.fact) {
                self.0.active.invalidate(&*key);
                forgotten += 1;
            }
        }
        forgotten
    }

    /// The figures of this cache since it was made.
    #[must_use]
    pub fn stats(&self) -> CacheStats {
        // moka counts entries when it gets round to it; ask it to, so that the figures are of this moment.
        self.0.active.run_pending_tasks();
        self.0.inactive.run_pending_tasks();
        let counters = &self.0.counters;
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        CacheStats {
            hits: read(&counters.hits),
            inactive_hits: read(&counters.inactive_hits),
            misses: read(&counters.misses),
            coalesced: read(&counters.coalesced),
            questions: read(&counters.questions),
            failures: read(&counters.failures),
            overloaded: read(&counters.overloaded),
            entries: self.0.active.entry_count(),
            inactive_entries: self.0.inactive.entry_count(),
        }
    }
}

impl fmt::Debug for CacheHandle {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.debug_tuple("CacheHandle").field(&self.stats()).finish()
    }
}

/// The figures of a cache. All but the entries count from the moment it was made and never go down.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CacheStats {
    /// Requests answered from memory: active.
    pub hits: u64,
    /// Requests answered from memory: inactive.
    pub inactive_hits: u64,
    /// Requests that started a question.
    pub misses: u64,
    /// Requests that joined a question already under way.
    pub coalesced: u64,
    /// Questions put to the introspector.
    pub questions: u64,
    /// Questions that failed.
    pub failures: u64,
    /// Requests turned away because [`max_questions`](super::CachedBuilder::max_questions) were under way.
    pub overloaded: u64,
    /// Active tokens remembered now.
    pub entries: u64,
    /// Inactive tokens remembered now.
    pub inactive_entries: u64,
}

#[derive(Default)]
pub(super) struct Counters {
    hits: AtomicU64,
    inactive_hits: AtomicU64,
    misses: AtomicU64,
    coalesced: AtomicU64,
    questions: AtomicU64,
    failures: AtomicU64,
    overloaded: AtomicU64,
}

macro_rules! counters {
    ($($name:ident => $counter:ident),* $(,)?) => {
        impl Counters {$(
            pub(super) fn $name(&self) {
                self.$counter.fetch_add(1, Ordering::Relaxed);
            }
        )*}
    };
}

counters! {
    hit => hits,
    inactive_hit => inactive_hits,
    miss => misses,
    coalesced => coalesced,
    question => questions,
    failure => failures,
    overloaded => overloaded,
}
