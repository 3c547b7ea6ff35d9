//! What a cache counts.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::error::{IntrospectError, IntrospectErrorKind};
use crate::histogram::{Histogram, Recorder, Unit};
use crate::introspect::{InactiveReason, Verdict};
use crate::metrics::{CacheMetrics, Gauges, Lookup, QuestionResult};
use crate::protection::EndpointStats;
use crate::striped::Striped;

/// The figures of a cache. Those that count do so from the moment it was made, and never go down.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CacheStats {
    /// Hits, which are requests answered from memory, that found an active token.
    pub hits: u64,
    /// Hits that found an inactive token.
    pub inactive_hits: u64,
    /// Misses, which are requests that started a question.
    pub misses: u64,
    /// Requests that waited for a question already under way, and started none.
    pub coalesced: u64,
    /// Requests turned away because [`max_flights`](super::CachedBuilder::max_flights) were under way.
    pub overloaded: u64,
    /// Requests answered with a stale answer because the authority failed.
    pub stale_served: u64,
    /// Questions put to the introspector, refreshes included.
    pub questions: u64,
    /// How many of them were answered: active.
    pub active_answers: u64,
    /// How many of them were answered: inactive.
    pub inactive_answers: u64,
    /// How many were inactive for which reason; reasons that did not occur are left out.
    pub inactive_by_reason: Vec<(InactiveReason, u64)>,
    /// How many of them failed.
    pub failures: u64,
    /// How many failed in which way; ways in which none did are left out.
    pub failures_by_kind: Vec<(IntrospectErrorKind, u64)>,
    /// Questions asked ahead of time, so that no request has to wait for them.
    pub refreshes: u64,
    /// How many of them failed, and changed nothing.
    pub failed_refreshes: u64,
    /// Questions under way now, those included that wait for their turn or a place.
    pub questions_under_way: usize,
    /// How long questions took: waiting, login and retries included, but without the questions that an open breaker or
    /// an overload kept from the authority.
    pub question_latency: Histogram,
    /// How old an active verdict was when the cache gave it, counted from when it was asked for: the revocation window
    /// as it really was. It is recorded before the policy of a route is judged, so requests that were then refused with
    /// 401 or 403 are in it.
    pub verdict_age: Histogram,
    /// Active tokens that were forgotten because there was no room for them.
    pub evictions: u64,
    /// Active tokens remembered now.
    pub entries: u64,
    /// Inactive tokens remembered now.
    pub inactive_entries: u64,
    /// The figures of the endpoint that is asked, if it keeps some.
    pub endpoint: Option<EndpointStats>,
    /// The figures of the [fleet](super::CachedBuilder::fleet) that the cache is in, if it is in one: of all caches of
    /// this process that are in it.
    #[cfg(feature = "redis")]
    pub fleet: Option<crate::fleet::FleetStats>,
}

/// The moving figures behind [`CacheStats`].
pub(super) struct Figures {
    inactive_hits: AtomicU64,
    misses: AtomicU64,
    coalesced: AtomicU64,
    overloaded: AtomicU64,
    stale_served: AtomicU64,
    active_answers: AtomicU64,
    inactive_answers: [AtomicU64; InactiveReason::ALL.len()],
    questions: AtomicU64,
    failures: [AtomicU64; IntrospectErrorKind::ALL.len()],
    refreshes: AtomicU64,
    failed_refreshes: AtomicU64,
    evictions: AtomicU64,
    latency: Recorder,
    /// One addition counts a hit and its age.
    hit_ages: Striped<Recorder>,
    other_ages: Recorder,
    metrics: CacheMetrics,
}

fn add_one(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl Figures {
    pub(super) fn new(cache: &str) -> Self {
        Self {
            inactive_hits: AtomicU64::default(),
            misses: AtomicU64::default(),
            coalesced: AtomicU64::default(),
            overloaded: AtomicU64::default(),
            stale_served: AtomicU64::default(),
            active_answers: AtomicU64::default(),
            inactive_answers: Default::default(),
            questions: AtomicU64::default(),
            failures: Default::default(),
            refreshes: AtomicU64::default(),
            failed_refreshes: AtomicU64::default(),
            evictions: AtomicU64::default(),
            latency: Recorder::default(),
            hit_ages: Striped::default(),
            other_ages: Recorder::default(),
            metrics: CacheMetrics::new(cache),
        }
    }

    pub(super) fn hit(&self, age_ms: u64) {
        self.hit_ages.own().record(age_ms);
        self.metrics.hit(age_ms);
    }

    pub(super) fn inactive_hit(&self) {
        add_one(&self.inactive_hits);
        self.metrics.lookup(Lookup::InactiveHit);
    }

    pub(super) fn miss(&self) {
        add_one(&self.misses);
        self.metrics.lookup(Lookup::Miss);
    }

    pub(super) fn coalesced(&self) {
        add_one(&self.coalesced);
        self.metrics.lookup(Lookup::Coalesced);
    }

    pub(super) fn overloaded(&self) {
        add_one(&self.overloaded);
        self.metrics.lookup(Lookup::Overloaded);
    }

    /// An active answer is used by a request that waited for it.
    pub(super) fn used(&self, age: Duration) {
        self.other_ages.record(millis(age));
        self.metrics.used(age);
    }

    pub(super) fn stale_served(&self, age: Duration) {
        add_one(&self.stale_served);
        self.metrics.lookup(Lookup::Stale);
        self.used(age);
    }

    pub(super) fn question(&self, is_refresh: bool) {
        add_one(&self.questions);
        if is_refresh {
            add_one(&self.refreshes);
        }
    }

    pub(super) fn answered(&self, answer: &Result<Verdict, IntrospectError>, latency: Duration, is_refresh: bool) {
        let latency = answer.as_ref().err().is_none_or(|error| !error.was_not_asked()).then_some(latency);
        if let Some(latency) = latency {
            self.latency.record(u64::try_from(latency.as_micros()).unwrap_or(u64::MAX));
        }
        let result = match answer {
            Ok(Verdict::Active(_)) => {
                add_one(&self.active_answers);
                QuestionResult::Active
            }
            Ok(Verdict::Inactive(reason)) => {
                // Each reason has a place of its own in the array.
                if let Some(counter) = self.inactive_answers.get(*reason as usize) {
                    add_one(counter);
                }
                QuestionResult::Inactive(*reason)
            }
            Err(error) => {
                // Each kind has a place of its own in the array.
                if let Some(counter) = self.failures.get(error.kind() as usize) {
                    add_one(counter);
                }
                if is_refresh {
                    add_one(&self.failed_refreshes);
                }
                QuestionResult::Failed(error.kind())
            }
        };
        self.metrics.answered(result, latency);
        if is_refresh {
            self.metrics.refreshed(answer.is_ok());
        }
    }

    /// Only counts: moka would never call again if code of a metrics recorder panicked here.
    pub(super) fn evicted(&self) {
        add_one(&self.evictions);
    }

    pub(super) fn evictions(&self) -> u64 {
        self.evictions.load(Ordering::Relaxed)
    }

    /// Publishes what is not counted but looked at.
    pub(super) fn publish(&self, gauges: &Gauges) {
        self.metrics.publish(gauges);
    }

    pub(super) fn stats(&self, gauges: Gauges, questions_under_way: usize) -> CacheStats {
        self.publish(&gauges);
        let Gauges { entries, inactive_entries, evictions, endpoint } = gauges;
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let none = Recorder::default().snapshot(Unit::Millisecond);
        let hit_ages = self.hit_ages.all().fold(none, |sum, ages| sum.and(&ages.snapshot(Unit::Millisecond)));
        let failures = IntrospectErrorKind::ALL.into_iter().zip(self.failures.iter().map(read));
        let failures_by_kind: Vec<_> = failures.filter(|(_, count)| *count > 0).collect();
        let inactive = InactiveReason::ALL.into_iter().zip(self.inactive_answers.iter().map(read));
        let inactive_by_reason: Vec<_> = inactive.filter(|(_, count)| *count > 0).collect();
        CacheStats {
            hits: hit_ages.count(),
            inactive_hits: read(&self.inactive_hits),
            misses: read(&self.misses),
            coalesced: read(&self.coalesced),
            overloaded: read(&self.overloaded),
            stale_served: read(&self.stale_served),
            questions: read(&self.questions),
            active_answers: read(&self.active_answers),
            inactive_answers: inactive_by_reason.iter().map(|(_, count)| count).sum(),
            inactive_by_reason,
            failures: failures_by_kind.iter().map(|(_, count)| count).sum(),
            failures_by_kind,
            refreshes: read(&self.refreshes),
            failed_refreshes: read(&self.failed_refreshes),
            questions_under_way,
            question_latency: self.latency.snapshot(Unit::Microsecond),
            verdict_age: hit_ages.and(&self.other_ages.snapshot(Unit::Millisecond)),
            evictions,
            entries,
            inactive_entries,
            endpoint,
            #[cfg(feature = "redis")]
            fleet: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_failure_is_counted_as_itself() {
        for kind in IntrospectErrorKind::ALL {
            let figures = Figures::new("test");
            figures.answered(&Err(IntrospectError::new(kind)), Duration::ZERO, false);
            let stats = figures.stats(Gauges { entries: 0, inactive_entries: 0, evictions: 0, endpoint: None }, 0);
            assert_eq!((stats.failures, stats.failures_by_kind), (1, vec![(kind, 1)]));
            let was_asked = !matches!(kind, IntrospectErrorKind::Overloaded | IntrospectErrorKind::CircuitOpen);
            assert_eq!(stats.question_latency.count(), u64::from(was_asked), "{kind:?}");
        }
    }

    #[test]
    fn each_reason_of_inactive_answers_is_counted_as_itself() {
        for reason in InactiveReason::ALL {
            let figures = Figures::new("test");
            figures.answered(&Ok(Verdict::Inactive(reason)), Duration::ZERO, false);
            let stats = figures.stats(Gauges { entries: 0, inactive_entries: 0, evictions: 0, endpoint: None }, 0);
            assert_eq!((stats.inactive_answers, stats.inactive_by_reason), (1, vec![(reason, 1)]));
        }
    }
}
