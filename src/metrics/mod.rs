//! What is published through the [`metrics`](https://docs.rs/metrics) facade (feature `metrics`). Without the feature
//! everything here does nothing, so that whoever counts carries no `cfg`.
//!
//! The handles are made at the first event, so a recorder that is installed before anything is asked is found. The
//! check at start-up and `stats()` are events, too.

#[cfg(feature = "redis")]
mod fleet;
#[cfg(feature = "signals")]
mod signals;

use crate::error::IntrospectErrorKind;
use crate::introspect::InactiveReason;

#[cfg(feature = "redis")]
pub(crate) use fleet::FleetMetrics;
#[cfg(feature = "metrics")]
pub(crate) use published::{CacheMetrics, LayerMetrics};
#[cfg(feature = "signals")]
pub(crate) use signals::SignalsMetrics;
#[cfg(not(feature = "metrics"))]
pub(crate) use silent::{CacheMetrics, LayerMetrics};

/// How a request fared in a cache.
#[derive(Clone, Copy)]
pub(crate) enum Lookup {
    InactiveHit,
    Miss,
    Coalesced,
    Overloaded,
    Stale,
}

/// How a question ended.
#[cfg_attr(not(feature = "metrics"), allow(dead_code))] // it is for a label
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum QuestionResult {
    Active,
    Inactive(InactiveReason),
    Failed(IntrospectErrorKind),
}

/// What is looked at rather than counted.
pub(crate) struct Gauges {
    pub(crate) entries: u64,
    pub(crate) inactive_entries: u64,
    pub(crate) evictions: u64,
    pub(crate) endpoint: Option<crate::protection::EndpointStats>,
}

#[cfg(feature = "metrics")]
mod published {
    use std::sync::OnceLock;
    use std::time::Duration;

    use metrics::{
        Counter, Gauge, Histogram, SharedString, Unit, counter, describe_counter, describe_gauge, describe_histogram,
        gauge, histogram,
    };

    use super::{Gauges, Lookup, QuestionResult};
    use crate::error::IntrospectErrorKind;
    use crate::introspect::InactiveReason;
    use crate::protection::BreakerState;
    use crate::rejection::RejectionReason;

    const REQUESTS: &str = "tower_introspection.requests_total";
    const LOOKUPS: &str = "tower_introspection.cache.lookups_total";
    const EVICTIONS: &str = "tower_introspection.cache.evictions_total";
    const ENTRIES: &str = "tower_introspection.cache.entries";
    const QUESTIONS: &str = "tower_introspection.questions_total";
    const DURATION: &str = "tower_introspection.question.duration_seconds";
    const REFRESHES: &str = "tower_introspection.refreshes_total";
    const AGE: &str = "tower_introspection.verdict.age_seconds";
    const ATTEMPTS: &str = "tower_introspection.endpoint.attempts_total";
    const RETRIES: &str = "tower_introspection.endpoint.retries_total";
    const UNDER_WAY: &str = "tower_introspection.endpoint.questions_under_way";
    const WAITING: &str = "tower_introspection.endpoint.questions_waiting";
    const BREAKER: &str = "tower_introspection.endpoint.breaker_state";

    /// The requests of one layer.
    #[derive(Default)]
    pub(crate) struct LayerMetrics(OnceLock<Requests>);

    struct Requests {
        accepted: Counter,
        anonymous: Counter,
        rejected: [Counter; RejectionReason::ALL.len()],
    }

    impl LayerMetrics {
        pub(crate) fn accepted(&self) {
            self.requests().accepted.increment(1);
        }

        pub(crate) fn anonymous(&self) {
            self.requests().anonymous.increment(1);
        }

        pub(crate) fn rejected(&self, reason: RejectionReason) {
            if let Some(counter) = self.requests().rejected.get(reason.index()) {
                counter.increment(1);
            }
        }

        fn requests(&self) -> &Requests {
            self.0.get_or_init(|| {
                describe_counter!(REQUESTS, "Requests, by outcome: accepted, anonymous, or the kind of rejection, and the reason where there are several");
                Requests {
                    accepted: counter!(REQUESTS, "outcome" => "accepted"),
                    anonymous: counter!(REQUESTS, "outcome" => "anonymous"),
                    rejected: RejectionReason::ALL.map(request),
                }
            })
        }
    }

    fn request(reason: RejectionReason) -> Counter {
        let (kind, reason) = (reason.kind().as_str(), reason.as_str());
        if reason == kind {
            return counter!(REQUESTS, "outcome" => kind);
        }
        counter!(REQUESTS, "outcome" => kind, "reason" => reason)
    }

    /// The figures of one cache and of the endpoint behind it.
    pub(crate) struct CacheMetrics {
        cache: SharedString,
        handles: OnceLock<Handles>,
    }

    struct Handles {
        hits: Counter,
        inactive_hits: Counter,
        misses: Counter,
        coalesced: Counter,
        overloaded: Counter,
        stale: Counter,
        evictions: Counter,
        entries: Gauge,
        inactive_entries: Gauge,
        /// Each result and how many questions had it: those that had none so far, too, or their first would be missed.
        questions: Vec<(QuestionResult, Counter)>,
        duration: Histogram,
        refreshes: Counter,
        failed_refreshes: Counter,
        age: Histogram,
        attempts: Counter,
        retries: Counter,
        under_way: Gauge,
        waiting: Gauge,
        breaker: Gauge,
    }

    impl CacheMetrics {
        pub(crate) fn new(cache: &str) -> Self {
            Self { cache: cache.to_owned().into(), handles: OnceLock::new() }
        }

        pub(crate) fn hit(&self, age_ms: u64) {
            let handles = self.handles();
            handles.hits.increment(1);
            handles.age.record(Duration::from_millis(age_ms));
        }

        pub(crate) fn lookup(&self, lookup: Lookup) {
            let handles = self.handles();
            let counter = match lookup {
                Lookup::InactiveHit => &handles.inactive_hits,
                Lookup::Miss => &handles.misses,
                Lookup::Coalesced => &handles.coalesced,
                Lookup::Overloaded => &handles.overloaded,
                Lookup::Stale => &handles.stale,
            };
            counter.increment(1);
        }

        pub(crate) fn used(&self, age: Duration) {
            self.handles().age.record(age);
        }

        /// Without a latency if the authority was not asked.
        pub(crate) fn answered(&self, result: QuestionResult, latency: Option<Duration>) {
            let handles = self.handles();
            if let Some(latency) = latency {
                handles.duration.record(latency);
            }
            if let Some((_, counter)) = handles.questions.iter().find(|(counted, _)| *counted == result) {
                counter.increment(1);
            }
        }

        pub(crate) fn refreshed(&self, is_answered: bool) {
            let handles = self.handles();
            if is_answered { &handles.refreshes } else { &handles.failed_refreshes }.increment(1);
        }

        #[allow(clippy::cast_precision_loss)] // of 2^53 entries one more or less is no matter
        pub(crate) fn publish(&self, gauges: &Gauges) {
            let handles = self.handles();
            handles.entries.set(gauges.entries as f64);
            handles.inactive_entries.set(gauges.inactive_entries as f64);
            handles.evictions.absolute(gauges.evictions);
            let Some(endpoint) = &gauges.endpoint else { return };
            handles.attempts.absolute(endpoint.attempts);
            handles.retries.absolute(endpoint.retries);
            handles.under_way.set(endpoint.under_way as f64);
            handles.waiting.set(endpoint.waiting as f64);
            handles.breaker.set(match endpoint.breaker {
                BreakerState::Closed => 0.0,
                BreakerState::HalfOpen => 1.0,
                BreakerState::Open => 2.0,
            });
        }

        /// Made outside of the cell: a recorder that is told of them may look at this cache on another thread, and
        /// would wait for itself. (On the same thread it has to see to it, here as everywhere, that this does not go
        /// round and round.)
        fn handles(&self) -> &Handles {
            self.handles.get().unwrap_or_else(|| {
                let made = self.make();
                self.handles.get_or_init(|| made)
            })
        }

        #[cold]
        fn make(&self) -> Handles {
            describe();
            let cache = &self.cache;
            let lookup = |result: &'static str| counter!(LOOKUPS, "cache" => cache.clone(), "result" => result);
            let refresh = |result: &'static str| counter!(REFRESHES, "cache" => cache.clone(), "result" => result);
            let results = [QuestionResult::Active].into_iter();
            let results = results.chain(InactiveReason::ALL.map(QuestionResult::Inactive));
            let results = results.chain(IntrospectErrorKind::ALL.map(QuestionResult::Failed));
            let entries = |kind: &'static str| gauge!(ENTRIES, "cache" => cache.clone(), "kind" => kind);
            Handles {
                hits: lookup("hit"),
                inactive_hits: lookup("inactive_hit"),
                misses: lookup("miss"),
                coalesced: lookup("coalesced"),
                overloaded: lookup("overloaded"),
                stale: lookup("stale"),
                evictions: counter!(EVICTIONS, "cache" => cache.clone()),
                entries: entries("active"),
                inactive_entries: entries("inactive"),
                questions: results.map(|result| (result, question(cache, result))).collect(),
                duration: histogram!(DURATION, "cache" => cache.clone()),
                refreshes: refresh("answered"),
                failed_refreshes: refresh("failed"),
                age: histogram!(AGE, "cache" => cache.clone()),
                attempts: counter!(ATTEMPTS, "cache" => cache.clone()),
                retries: counter!(RETRIES, "cache" => cache.clone()),
                under_way: gauge!(UNDER_WAY, "cache" => cache.clone()),
                waiting: gauge!(WAITING, "cache" => cache.clone()),
                breaker: gauge!(BREAKER, "cache" => cache.clone()),
            }
        }
    }

    fn question(cache: &SharedString, result: QuestionResult) -> Counter {
        match result {
            QuestionResult::Active => counter!(QUESTIONS, "cache" => cache.clone(), "result" => "active"),
            QuestionResult::Inactive(reason) => {
                counter!(QUESTIONS, "cache" => cache.clone(), "result" => "inactive", "reason" => reason.as_str())
            }
            QuestionResult::Failed(kind) => {
                counter!(QUESTIONS, "cache" => cache.clone(), "result" => kind.as_str())
            }
        }
    }

    fn describe() {
        describe_counter!(
            LOOKUPS,
            "Requests with a token, by what the cache had: hit, inactive_hit, miss, coalesced, stale; or overloaded. A stale one may be counted as a miss, coalesced or overloaded too"
        );
        describe_counter!(EVICTIONS, "Active tokens forgotten because there was no room");
        describe_gauge!(ENTRIES, "Tokens remembered, by kind: active, inactive");
        describe_counter!(QUESTIONS, "Questions, by result: active, inactive (and the reason), or the kind of failure");
        describe_histogram!(DURATION, Unit::Seconds, "How long questions took that were put to the authority");
        describe_counter!(REFRESHES, "Questions asked ahead of time, by result: answered, failed");
        describe_histogram!(
            AGE,
            Unit::Seconds,
            "How old an active verdict was when the cache gave it, before the policy was judged: the revocation window"
        );
        describe_counter!(ATTEMPTS, "HTTP exchanges with the authority, retries included");
        describe_counter!(RETRIES, "Retries among them");
        describe_gauge!(UNDER_WAY, "Questions under way");
        describe_gauge!(WAITING, "Questions that wait for their turn or a place");
        describe_gauge!(BREAKER, "The circuit breaker: 0 closed, 1 half open, 2 open");
    }
}

#[cfg(not(feature = "metrics"))]
mod silent {
    use std::time::Duration;

    use super::{Gauges, Lookup, QuestionResult};
    use crate::rejection::RejectionReason;

    #[derive(Default)]
    pub(crate) struct LayerMetrics;

    #[allow(clippy::unused_self)]
    impl LayerMetrics {
        pub(crate) fn accepted(&self) {}
        pub(crate) fn anonymous(&self) {}
        pub(crate) fn rejected(&self, _: RejectionReason) {}
    }

    pub(crate) struct CacheMetrics;

    #[allow(clippy::unused_self)]
    impl CacheMetrics {
        pub(crate) fn new(_: &str) -> Self {
            Self
        }
        pub(crate) fn hit(&self, _: u64) {}
        pub(crate) fn lookup(&self, _: Lookup) {}
        pub(crate) fn used(&self, _: Duration) {}
        pub(crate) fn answered(&self, _: QuestionResult, _: Option<Duration>) {}
        pub(crate) fn refreshed(&self, _: bool) {}
        pub(crate) fn publish(&self, _: &Gauges) {}
    }
}
