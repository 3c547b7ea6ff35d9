//! Both caches, the flights, the clock and the figures: everything but the introspector.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use moka::Expiry;
use moka::notification::RemovalCause;
use moka::sync::{Cache, CacheBuilder};

use super::CacheSettings;
use super::figures::{CacheStats, Figures};
use super::flight::{Answer, Flight, Flights, Predicate};
use super::freshness::{Limits, judge};
use super::key::{TokenKey, TokenKeys, UniformState};
use crate::clock::{Clock, Timestamp};
use crate::introspect::{EndpointHandle, InactiveReason, Share, Verdict};
use crate::metrics::Gauges;
use crate::token::{AccessToken, BearerToken};

/// The longest moka is told to keep an entry. It refuses much more, and the injected clock judges every read anyway.
const EVICTION_HORIZON: Duration = Duration::from_secs(365 * 24 * 60 * 60);

type Entries<T> = Cache<TokenKey, T, UniformState>;

/// What is remembered of an active token.
#[derive(Clone)]
pub(super) struct Active {
    token: AccessToken,
    asked_at: Timestamp,
    /// From when on a hit has it asked for again. The far future if it is not, or is already.
    refresh_at: Timestamp,
    /// The first moment at which it no longer serves. A hit never moves it.
    deadline: Timestamp,
}

/// What is remembered of any other token.
#[derive(Clone)]
pub(super) struct Inactive {
    reason: InactiveReason,
    deadline: Timestamp,
}

const NEVER: Timestamp = Timestamp::from_unix_millis(i64::MAX);

pub(super) struct Store {
    active: Entries<Active>,
    inactive: Entries<Inactive>,
    pub(super) flights: Arc<Flights>,
    pub(super) figures: Arc<Figures>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) question_timeout: Duration,
    pub(super) name: String,
    pub(super) endpoint: Option<EndpointHandle>,
    keys: TokenKeys,
    limits: Limits,
    /// A stale answer was served since the authority answered last.
    outage: AtomicBool,
}

/// An answer at hand.
pub(super) struct Known {
    pub(super) verdict: Verdict,
    /// It serves, and should be asked for again.
    pub(super) refresh: bool,
}

impl Store {
    pub(super) fn new(settings: CacheSettings, endpoint: Option<EndpointHandle>) -> Self {
        let figures = Arc::new(Figures::new(&settings.name));
        let (limits, clock) = (settings.limits, settings.clock);
        let kept_until = {
            let clock = Arc::clone(&clock);
            move |entry: &Active| limits.stale_until(&entry.token, entry.deadline).saturating_since(clock.now())
        };
        let inactive_kept_until = {
            let clock = Arc::clone(&clock);
            move |entry: &Inactive| entry.deadline.saturating_since(clock.now())
        };
        let active = entries("active access tokens", settings.max_capacity, kept_until).eviction_listener({
            let figures = Arc::clone(&figures);
            move |_, _, cause| {
                if cause == RemovalCause::Size {
                    figures.evicted();
                }
            }
        });
        let inactive = entries("inactive access tokens", settings.inactive_capacity, inactive_kept_until);
        Self {
            active: active.build_with_hasher(UniformState::default()),
            inactive: inactive.build_with_hasher(UniformState::default()),
            flights: Flights::new(settings.max_questions),
            figures,
            clock,
            question_timeout: settings.question_timeout,
            name: settings.name,
            endpoint,
            keys: TokenKeys::random(),
            limits,
            outage: AtomicBool::new(false),
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
    pub(super) fn known(&self, key: TokenKey) -> Option<Known> {
        if let Some(entry) = self.active.get(&key) {
            let now = self.clock.now();
            return (now < entry.deadline).then(|| {
                self.figures.hit(millis_since(entry.asked_at, now));
                Known { verdict: Verdict::Active(entry.token), refresh: now >= entry.refresh_at }
            });
        }
        let entry = self.inactive.get(&key)?;
        (self.clock.now() < entry.deadline).then(|| {
            self.figures.inactive_hit();
            Known { verdict: Verdict::Inactive(entry.reason), refresh: false }
        })
    }

    /// Whether the token was active when it was last asked about, as far as that is remembered.
    pub(super) fn share_of(&self, key: TokenKey) -> Share {
        if self.active.contains_key(&key) { Share::Known } else { Share::Stranger }
    }

    /// The last answer for an active token, if it may serve on because the authority fails.
    pub(super) fn stale(&self, key: TokenKey) -> Option<Verdict> {
        let entry = self.active.get(&key)?;
        let now = self.clock.now();
        if now < entry.deadline {
            // Another question was answered meanwhile.
            self.figures.used(now.saturating_since(entry.asked_at));
            return Some(Verdict::Active(entry.token));
        }
        if now >= self.limits.stale_until(&entry.token, entry.deadline) {
            return None;
        }
        self.figures.stale_served(now.saturating_since(entry.asked_at));
        if !self.outage.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                cache = self.name,
                "the authority fails; answers it gave before serve on (`stale_if_error`)"
            );
        }
        Some(Verdict::Active(entry.token.stale()))
    }

    /// Whether a verdict asked for then may still be used now.
    pub(super) fn serves(&self, verdict: &Verdict, asked_at: Timestamp, now: Timestamp) -> bool {
        now < self.limits.deadline(verdict, asked_at, now)
    }

    /// Starts to ask again about a token in use, unless that is under way already.
    pub(super) fn refresh(&self, key: TokenKey) -> Option<Flight> {
        self.flights.refresh(key, || {
            let due = |entry: &Active| (entry.refresh_at..entry.deadline).contains(&self.clock.now());
            let Some(entry) = self.active.get(&key).filter(due) else { return false };
            // So that the hits until the answer comes do not even look at the flights.
            self.active.insert(key, Active { refresh_at: NEVER, ..entry });
            true
        })
    }

    /// Keeps a verdict as long as it may serve, in place of whatever was known. A failure changes nothing, but that a refresh
    /// is tried again later. Runs while the slot of `key` is locked, as all that changes entries does.
    pub(super) fn remember(&self, key: TokenKey, answer: &Answer, asked_at: Timestamp) {
        match answer {
            Ok(verdict) => self.remember_verdict(key, verdict, asked_at),
            Err(_) => self.refresh_later(key),
        }
        self.figures.look_at(self.gauges());
    }

    fn remember_verdict(&self, key: TokenKey, verdict: &Verdict, asked_at: Timestamp) {
        if self.outage.swap(false, Ordering::Relaxed) {
            tracing::info!(cache = self.name, "the authority answers again");
        }
        let now = self.clock.now();
        let deadline = self.limits.deadline(verdict, asked_at, now);
        let serves = now < deadline;
        match judge(verdict.clone(), now) {
            Verdict::Active(token) => {
                self.inactive.invalidate(&key);
                if serves {
                    let refresh_at = self.limits.refresh_at(&token, asked_at, deadline, key.chance());
                    let refresh_at = refresh_at.unwrap_or(NEVER);
                    self.active.insert(key, Active { token, asked_at: asked_at.min(now), refresh_at, deadline });
                } else {
                    self.active.invalidate(&key);
                }
            }
            Verdict::Inactive(reason) => {
                self.active.invalidate(&key);
                if serves {
                    self.inactive.insert(key, Inactive { reason, deadline });
                } else {
                    self.inactive.invalidate(&key);
                }
            }
        }
    }

    /// After a refresh failed the next one is due when a quarter of the time left has passed, and not within a second.
    fn refresh_later(&self, key: TokenKey) {
        let Some(entry) = self.active.get(&key) else { return };
        let now = self.clock.now();
        if now < entry.deadline {
            let pause = (entry.deadline.saturating_since(now) / 4).max(Duration::from_secs(1));
            self.active.insert(key, Active { refresh_at: now + pause, ..entry });
        }
    }

    pub(super) fn forget(&self, key: TokenKey) {
        self.flights.invalidate(key, || {
            self.active.invalidate(&key);
            self.inactive.invalidate(&key);
        });
    }

    pub(super) fn forget_all(&self) {
        self.flights.invalidate_all(|| {
            self.active.invalidate_all();
            self.inactive.invalidate_all();
        });
    }

    pub(super) fn forget_where(&self, predicate: &Predicate) -> usize {
        self.flights.invalidate_where(predicate);
        let mut forgotten = 0;
        for (key, entry) in &self.active {
            if predicate(&entry.token) {
                // One at a time, so that requests that miss do not wait for the whole walk.
                self.flights.forget(|| self.active.invalidate(&*key));
                forgotten += 1;
            }
        }
        forgotten
    }

    pub(super) fn stats(&self) -> CacheStats {
        // moka counts entries when it gets round to it; ask it to, so that the figures are of this moment.
        self.active.run_pending_tasks();
        self.inactive.run_pending_tasks();
        self.figures.stats(self.gauges(), self.flights.under_way())
    }

    fn gauges(&self) -> Gauges {
        Gauges {
            entries: self.active.entry_count(),
            inactive_entries: self.inactive.entry_count(),
            endpoint: self.endpoint.as_ref().map(EndpointHandle::stats),
        }
    }
}

fn millis_since(earlier: Timestamp, now: Timestamp) -> u64 {
    u64::try_from(now.as_unix_millis().saturating_sub(earlier.as_unix_millis())).unwrap_or(0)
}

/// `time_left` tells moka when to evict an entry: when it is of no more use. Reads leave that moment where it is.
fn entries<T: Clone + Send + Sync + 'static>(
    name: &str,
    capacity: u64,
    time_left: impl Fn(&T) -> Duration + Send + Sync + 'static,
) -> CacheBuilder<TokenKey, T, Cache<TokenKey, T>> {
    Cache::builder().name(name).max_capacity(capacity).expire_after(AtDeadline(time_left))
}

struct AtDeadline<F>(F);

impl<T, F: Fn(&T) -> Duration> Expiry<TokenKey, T> for AtDeadline<F> {
    fn expire_after_create(&self, _: &TokenKey, entry: &T, _: Instant) -> Option<Duration> {
        Some((self.0)(entry).min(EVICTION_HORIZON))
    }

    fn expire_after_update(&self, _: &TokenKey, entry: &T, _: Instant, _: Option<Duration>) -> Option<Duration> {
        Some((self.0)(entry).min(EVICTION_HORIZON))
    }
}
