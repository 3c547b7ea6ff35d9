//! What there is to show, and how it reads as JSON.

use serde_json::{Map, Value, json};

use crate::cache::handle::CacheHandle;
use crate::histogram::Histogram;
use crate::protection::BreakerState;

/// One figure, in the form in which it is shown.
pub(super) enum Figure {
    Word(&'static str),
    Count(u64),
    Ratio(Option<f64>),
    /// How many there were of each kind.
    Kinds(Map<String, Value>),
}

pub(super) struct Group {
    pub(super) title: &'static str,
    /// What a figure is called on the page and in JSON.
    pub(super) figures: Vec<(&'static str, &'static str, Figure)>,
}

/// All that there is to show of one cache.
pub(super) struct Shown {
    pub(super) name: String,
    pub(super) health: &'static str,
    pub(super) groups: [Group; 4],
    pub(super) times: [(&'static str, &'static str, Histogram); 2],
}

pub(super) fn shown(cache: &CacheHandle) -> Shown {
    use Figure::{Count, Kinds, Ratio, Word};

    let stats = cache.stats();
    let health = cache.health().as_str();
    let from_memory = stats.hits + stats.inactive_hits;
    let requests = from_memory + stats.misses + stats.coalesced + stats.overloaded;
    let kinds = stats.failures_by_kind.iter().map(|(kind, count)| (kind.as_str().to_owned(), json!(count)));
    let reasons = stats.inactive_by_reason.iter().map(|(reason, count)| (reason.as_str().to_owned(), json!(count)));
    let mut authority = vec![("Health", "health", Word(health))];
    let breaker = stats.endpoint.as_ref().map_or("none", |endpoint| match endpoint.breaker {
        BreakerState::Closed => "closed",
        BreakerState::HalfOpen => "half open",
        BreakerState::Open => "open",
    });
    authority.push(("Circuit breaker", "breaker", Word(breaker)));
    if let Some(endpoint) = stats.endpoint {
        authority.extend([
            ("Attempts", "attempts", Count(endpoint.attempts)),
            ("Retries among them", "retries", Count(endpoint.retries)),
            ("Turned away (rate_limit, max_concurrent_requests)", "turned_away", Count(endpoint.turned_away)),
            ("Waiting now", "waiting", Count(endpoint.waiting as u64)),
            ("Under way now", "under_way", Count(endpoint.under_way as u64)),
        ]);
    }
    let group = |title, figures| Group { title, figures };
    Shown {
        name: cache.name().to_owned(),
        health,
        groups: [
            group(
                "Requests",
                vec![
                    ("Hit ratio", "hit_ratio", Ratio(ratio(from_memory, requests))),
                    ("Hits", "hits", Count(stats.hits)),
                    ("Inactive hits", "inactive_hits", Count(stats.inactive_hits)),
                    ("Misses", "misses", Count(stats.misses)),
                    ("Coalesced", "coalesced", Count(stats.coalesced)),
                    ("Stale served", "stale_served", Count(stats.stale_served)),
                    ("Turned away (max_flights)", "overloaded", Count(stats.overloaded)),
                ],
            ),
            group(
                "Questions",
                vec![
                    ("Asked", "questions", Count(stats.questions)),
                    ("Answered: active", "active_answers", Count(stats.active_answers)),
                    ("Answered: inactive", "inactive_answers", Count(stats.inactive_answers)),
                    ("Inactive by reason", "inactive_by_reason", Kinds(reasons.collect())),
                    ("Failed", "failures", Count(stats.failures)),
                    ("Failures by kind", "failures_by_kind", Kinds(kinds.collect())),
                    ("Refreshes", "refreshes", Count(stats.refreshes)),
                    ("Refreshes that failed", "failed_refreshes", Count(stats.failed_refreshes)),
                    ("Under way now", "questions_under_way", Count(stats.questions_under_way as u64)),
                ],
            ),
            group("Authority", authority),
            group(
                "Memory",
                vec![
                    ("Entries", "entries", Count(stats.entries)),
                    ("Inactive entries", "inactive_entries", Count(stats.inactive_entries)),
                    ("Evictions", "evictions", Count(stats.evictions)),
                ],
            ),
        ],
        times: [
            ("Question latency", "question_latency_seconds", stats.question_latency),
            ("Verdict age", "verdict_age_seconds", stats.verdict_age),
        ],
    }
}

/// Rounded down to a thousandth, so that 100 % means all.
fn ratio(part: u64, all: u64) -> Option<f64> {
    let thousandths = part.saturating_mul(1_000).checked_div(all)?;
    u32::try_from(thousandths).ok().map(|thousandths| f64::from(thousandths) / 1_000.0)
}

pub(super) const QUANTILES: [(&str, f64); 3] = [("p50", 0.5), ("p99", 0.99), ("max", 1.0)];

pub(super) fn quantile(histogram: &Histogram, part: f64) -> Option<f64> {
    histogram.quantile(part).map(|duration| duration.as_secs_f64())
}

pub(super) fn json_of(cache: &CacheHandle) -> Value {
    let Shown { name, health: _, groups, times } = shown(cache);
    let mut members = Map::new();
    members.insert("name".into(), name.into());
    for (_, key, figure) in groups.into_iter().flat_map(|group| group.figures) {
        let value = match figure {
            Figure::Word(word) => word.into(),
            Figure::Count(count) => count.into(),
            Figure::Ratio(ratio) => ratio.into(),
            Figure::Kinds(kinds) => kinds.into(),
        };
        members.insert(key.into(), value);
    }
    for (_, key, histogram) in times {
        let mut value = Map::new();
        value.insert("count".into(), histogram.count().into());
        for (name, part) in QUANTILES {
            value.insert(name.into(), quantile(&histogram, part).into());
        }
        let buckets: Vec<_> = histogram.buckets().map(|(bound, count)| (bound.as_secs_f64(), count)).collect();
        value.insert("buckets".into(), json!(buckets));
        members.insert(key.into(), value.into());
    }
    members.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hit_ratio_of_one_means_all_and_none_that_nobody_asked() {
        assert_eq!(
            [(0, 0), (0, 7), (1, 2), (9_999, 10_000), (5, 5)].map(|(part, all)| ratio(part, all)),
            [None, Some(0.0), Some(0.5), Some(0.999), Some(1.0)]
        );
    }
}
