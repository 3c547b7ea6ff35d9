//! Both caches, the flights, the clock and the counters: everything but the introspector.

use std::sync::Arc;
use std::time::{Duration, Instant};

use moka::Expiry;
use moka::sync::Cache;

use super::CacheSettings;
use super::flight::{Answer, Flights};
use super::freshness::{Limits, judge};
use super::handle::Counters;
use super::key::{TokenKey, TokenKeys, UniformState};
use crate::clock::{Clock, Timestamp};
use crate::introspect::{InactiveReason, Verdict};
use crate::token::{AccessToken, BearerToken};

/// The longest moka is told to keep an entry. It refuses much more, and the injected clock judges every read anyway.
const EVICTION_HORIZON: Duration = Duration::from_secs(365 * 24 * 60 * 60);

pub(super) type Entries<T> = Cache<TokenKey, Entry<T>, UniformState>;

/// What is remembered of a token, and the first moment at which it no longer serves. A hit never moves it.
#[derive(Clone)]
pub(super) struct Entry<T> {
    pub(super) fact: T,
    deadline: Timestamp,
}

pub(super) struct Store {
    pub(super) active: Entries<AccessToken>,
    pub(super) inactive: Entries<InactiveReason>,
    pub(super) flights: Arc<Flights>,
    pub(super) counters: Counters,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) question_timeout: Duration,
    keys: TokenKeys,
    limits: Limits,
}

impl Store {
    pub(super) fn new(settings: CacheSettings) -> Self {
        Self {
            active: entries("active access tokens", settings.max_capacity, &settings.clock),
            inactive: entries("inactive access tokens", settings.inactive_capacity, &settings.clock),
            flights: Flights::new(settings.max_questions),
            counters: Counters::default(),
            clock: settings.clock,
            question_timeout: settings.question_timeout,
            keys: TokenKeys::random(),
            limits: settings.limits,
        }
    }

    pub(super) fn key_of(&self, token: &BearerToken) -> TokenKey {
        self.keys.of(token)
    }

    pub(super) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// The answer at hand, judged at this moment. The deadline of an active entry is never later than the token's expiry,
    /// so it is all there is to judge.
    pub(super) fn known(&self, key: TokenKey) -> Option<Verdict> {
        if let Some(entry) = self.active.get(&key) {
            return (self.clock.now() < entry.deadline).then(|| {
                self.counters.hit();
                Verdict::Active(entry.fact)
            });
        }
        let entry = self.inactive.get(&key)?;
        (self.clock.now() < entry.deadline).then(|| {
            self.counters.inactive_hit();
            Verdict::Inactive(entry.fact)
        })
    }

    /// Whether a verdict asked for then may still be used now.
    pub(super) fn serves(&self, verdict: &Verdict, asked_at: Timestamp, now: Timestamp) -> bool {
        now < self.limits.deadline(verdict, asked_at, now)
    }

    /// Keeps a verdict as long as it may serve, in place of whatever was known. A failure changes nothing.
    pub(super) fn remember(&self, key: TokenKey, answer: &Answer, asked_at: Timestamp) {
        let Ok(verdict) = answer else { return };
        let now = self.clock.now();
        let deadline = self.limits.deadline(verdict, asked_at, now);
        let serves = now < deadline;
        match judge(verdict.clone(), now) {
            Verdict::Active(token) => {
                self.inactive.invalidate(&key);
                if serves {
                    self.active.insert(key, Entry { fact: token, deadline });
                } else {
                    self.active.invalidate(&key);
                }
            }
            Verdict::Inactive(reason) => {
                self.active.invalidate(&key);
                if serves {
                    self.inactive.insert(key, Entry { fact: reason, deadline });
                } else {
                    self.inactive.invalidate(&key);
                }
            }
        }
    }
}

fn entries<T: Clone + Send + Sync + 'static>(name: &str, capacity: u64, clock: &Arc<dyn Clock>) -> Entries<T> {
    Cache::builder()
        .name(name)
        .max_capacity(capacity)
        .expire_after(AtDeadline(Arc::clone(clock)))
        .build_with_hasher(UniformState::default())
}

/// Tells moka to evict an entry when it no longer serves. Reads leave that moment where it is.
struct AtDeadline(Arc<dyn Clock>);

impl AtDeadline {
    fn time_left<T>(&self, entry: &Entry<T>) -> Option<Duration> {
        Some(entry.deadline.saturating_since(self.0.now()).min(EVICTION_HORIZON))
    }
}

impl<T> Expiry<TokenKey, Entry<T>> for AtDeadline {
    fn expire_after_create(&self, _: &TokenKey, entry: &Entry<T>, _: Instant) -> Option<Duration> {
        self.time_left(entry)
    }

    fn expire_after_update(&self, _: &TokenKey, entry: &Entry<T>, _: Instant, _: Option<Duration>) -> Option<Duration> {
        self.time_left(entry)
    }
}
