//! Both caches, the flights, the clock and the figures: everything but the introspector.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use moka::Expiry;
use moka::notification::RemovalCause;
use moka::sync::{Cache, CacheBuilder};

use super::builder::CacheSettings;
use super::figures::{CacheStats, Figures};
use super::flight::{Answer, Flight, Flights, Predicate};
use super::freshness::{Limits, judge};
use super::key::{TokenKey, TokenKeys, UniformState};
use super::lately::Lately;
use crate::clock::{Clock, Timestamp};
use crate::introspect::{EndpointHandle, InactiveReason, IntrospectError, IntrospectErrorKind, Share, Verdict};
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
    /// The same answer as before, with another `refresh_at`: moka keeps it neither longer nor shorter for that.
    is_rewritten: bool,
}

impl Active {
    /// Not before it was asked for, either: then the clock was set back, and nobody knows how old it is.
    fn serves_at(&self, now: Timestamp) -> bool {
        (self.asked_at..self.deadline).contains(&now)
    }

    fn refreshed_at(self, refresh_at: Timestamp) -> Self {
        Self { refresh_at, is_rewritten: true, ..self }
    }
}

/// What is remembered of any other token.
#[derive(Clone)]
pub(super) struct Inactive {
    reason: InactiveReason,
    deadline: Timestamp,
}

/// For introspectors that have no bound of their own.
const QUESTION_TIMEOUT: Duration = Duration::from_secs(30);

/// How long after the last failure an outage counts as over.
const OUTAGE_LASTS: Duration = Duration::from_secs(30);

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
    /// Which tokens have the share of known ones.
    lately: Lately,
    /// When a question failed last, when a stale answer was served last, and until when the authority is known not to be
    /// asked: milliseconds, and the least number for never.
    failed_at: AtomicI64,
    stale_at: AtomicI64,
    left_alone_until: AtomicI64,
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
            move |entry: &Active, left: Option<Duration>| {
                let until = || limits.stale_until(&entry.token, entry.deadline).saturating_since(clock.now());
                left.filter(|_| entry.is_rewritten).unwrap_or_else(until)
            }
        };
        let inactive_kept_until = {
            let clock = Arc::clone(&clock);
            move |entry: &Inactive, _: Option<Duration>| entry.deadline.saturating_since(clock.now())
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
            question_timeout: settings.question_timeout.unwrap_or_else(|| {
                let endpoint = endpoint.as_ref().map(|endpoint| endpoint.deadline() + Duration::from_secs(1));
                endpoint.unwrap_or_default().max(QUESTION_TIMEOUT)
            }),
            name: settings.name,
            endpoint,
            keys: TokenKeys::random(),
            limits,
            lately: Lately::for_tokens(settings.max_capacity),
            failed_at: AtomicI64::new(i64::MIN),
            stale_at: AtomicI64::new(i64::MIN),
            left_alone_until: AtomicI64::new(i64::MIN),
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
            if !entry.serves_at(now) {
                let is_left_alone = now.as_unix_millis() < self.left_alone_until.load(Ordering::Relaxed);
                let verdict = is_left_alone.then(|| self.serve_on(&entry, now)).flatten()?;
                return Some(Known { verdict, refresh: false });
            }
            self.figures.hit(millis_since(entry.asked_at, now));
            return Some(Known { verdict: Verdict::Active(entry.token), refresh: now >= entry.refresh_at });
        }
        let entry = self.inactive.get(&key)?;
        (self.clock.now() < entry.deadline).then(|| {
            self.figures.inactive_hit();
            Known { verdict: Verdict::Inactive(entry.reason), refresh: false }
        })
    }

    /// Whether the token was active when it was last asked about, as far as that is remembered.
    pub(super) fn share_of(&self, key: TokenKey) -> Share {
        if self.lately.contains(key) { Share::Known } else { Share::Stranger }
    }

    /// The last answer for an active token, if it may serve on because the authority failed with `error`.
    pub(super) fn instead_of(&self, error: &IntrospectError, key: TokenKey) -> Option<Verdict> {
        let now = self.clock.now();
        // When an outage ends, all whose answers served on are to be asked about at once, and not all can be.
        let is_aftermath = error.is_overloaded() && is_within(OUTAGE_LASTS, &self.failed_at, now);
        if !error.is_failure_of_the_authority() && !is_aftermath {
            return None;
        }
        let entry = self.active.get(&key)?;
        if entry.serves_at(now) {
            // Another question was answered meanwhile.
            self.figures.used(now.saturating_since(entry.asked_at));
            return Some(Verdict::Active(entry.token));
        }
        self.serve_on(&entry, now)
    }

    fn serve_on(&self, entry: &Active, now: Timestamp) -> Option<Verdict> {
        let until = self.limits.stale_until(&entry.token, entry.deadline);
        if !(entry.asked_at..until).contains(&now) || now < entry.deadline {
            return None;
        }
        self.figures.stale_served(now.saturating_since(entry.asked_at));
        if !is_within(OUTAGE_LASTS, &self.stale_at, now) {
            tracing::warn!(
                cache = self.name,
                "the authority fails; answers it gave before serve on (`stale_if_error`)"
            );
        }
        self.stale_at.store(now.as_unix_millis(), Ordering::Relaxed);
        Some(Verdict::Active(entry.token.stale()))
    }

    /// Learns that a question failed.
    pub(super) fn failed(&self, error: &IntrospectError, share: Share) {
        if !error.is_failure_of_the_authority() {
            return;
        }
        let now = self.clock.now();
        self.failed_at.store(now.as_unix_millis(), Ordering::Relaxed);
        if let (Share::Known, IntrospectErrorKind::CircuitOpen, Some(left)) = (share, error.kind(), error.retry_after())
        {
            // Until then the answer is the same for all tokens in use, and need not be asked for.
            self.left_alone_until.store((now + left).as_unix_millis(), Ordering::Relaxed);
        }
    }

    /// Whether a verdict asked for then may still be used now.
    pub(super) fn serves(&self, verdict: &Verdict, asked_at: Timestamp, now: Timestamp) -> bool {
        now < self.limits.deadline(verdict, asked_at, now)
    }

    /// Starts to ask again about a token in use, unless that is under way already.
    pub(super) fn refresh(&self, key: TokenKey) -> Option<Flight> {
        self.flights.refresh(key, || {
            let now = self.clock.now();
            let is_due = |entry: &Active| entry.serves_at(now) && now >= entry.refresh_at;
            let Some(entry) = self.active.get(&key).filter(is_due) else { return false };
            // So that the hits until the answer comes do not even look at the flights.
            self.active.insert(key, entry.refreshed_at(NEVER));
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
    }

    /// Publishes the figures that are looked at rather than counted.
    pub(super) fn look_at(&self) {
        self.figures.look_at(self.gauges());
    }

    fn remember_verdict(&self, key: TokenKey, verdict: &Verdict, asked_at: Timestamp) {
        let now = self.clock.now();
        let deadline = self.limits.deadline(verdict, asked_at, now);
        match judge(verdict.clone(), now) {
            Verdict::Active(token) => {
                self.inactive.invalidate(&key);
                self.lately.add(key);
                // One that came too late to serve may still serve on in an outage.
                if now < self.limits.stale_until(&token, deadline) {
                    let refresh_at = self.limits.refresh_at(&token, asked_at, deadline, key.chance());
                    let refresh_at = refresh_at.unwrap_or(NEVER);
                    let asked_at = asked_at.min(now);
                    self.active.insert(key, Active { token, asked_at, refresh_at, deadline, is_rewritten: false });
                } else {
                    self.active.invalidate(&key);
                }
            }
            Verdict::Inactive(reason) => {
                self.active.invalidate(&key);
                self.lately.remove(key);
                if now < deadline {
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
        if entry.serves_at(now) {
            let pause = (entry.deadline.saturating_since(now) / 4).max(Duration::from_secs(1));
            self.active.insert(key, entry.refreshed_at(now + pause));
        }
    }

    pub(super) fn forget(&self, key: TokenKey) {
        self.flights.invalidate(key, || {
            self.lately.remove(key);
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

fn is_within(time: Duration, of: &AtomicI64, now: Timestamp) -> bool {
    let moment = Timestamp::from_unix_millis(of.load(Ordering::Relaxed));
    (moment..moment + time).contains(&now)
}

fn millis_since(earlier: Timestamp, now: Timestamp) -> u64 {
    u64::try_from(now.as_unix_millis().saturating_sub(earlier.as_unix_millis())).unwrap_or(0)
}

/// `time_left` tells moka when to evict an entry: when it is of no more use. It gets the time that is left of the entry in whose
/// place it comes, if there is one. Reads leave that moment where it is.
fn entries<T: Clone + Send + Sync + 'static>(
    name: &str,
    capacity: u64,
    time_left: impl Fn(&T, Option<Duration>) -> Duration + Send + Sync + 'static,
) -> CacheBuilder<TokenKey, T, Cache<TokenKey, T>> {
    Cache::builder().name(name).max_capacity(capacity).expire_after(AtDeadline(time_left))
}

struct AtDeadline<F>(F);

impl<T, F: Fn(&T, Option<Duration>) -> Duration> Expiry<TokenKey, T> for AtDeadline<F> {
    fn expire_after_create(&self, _: &TokenKey, entry: &T, _: Instant) -> Option<Duration> {
        Some((self.0)(entry, None).min(EVICTION_HORIZON))
    }

    fn expire_after_update(&self, _: &TokenKey, entry: &T, _: Instant, left: Option<Duration>) -> Option<Duration> {
        Some((self.0)(entry, left).min(EVICTION_HORIZON))
    }
}
