//! What there is to show, and how it reads as JSON.

use http::StatusCode;
use serde_json::{Map, Value, json};

use crate::cache::handle::CacheHandle;
use crate::clock::Timestamp;
use crate::histogram::Histogram;
use crate::layer::stats::LayerStats;
use crate::protection::{BreakerState, LastFailure};
use crate::rejection::RejectionReason;

/// One figure, in the form in which it is shown.
pub(super) enum Figure {
    Word(&'static str),
    /// Such as the name of a fleet.
    #[cfg_attr(not(feature = "redis"), allow(dead_code))]
    Text(String),
    Count(u64),
    Ratio(Option<f64>),
    /// How many there were of each kind.
    Kinds(Map<String, Value>),
    /// A failure, and how long ago it was.
    Failure(Option<(LastFailure, u64)>),
    Seconds(Option<f64>),
}

impl Figure {
    pub(super) fn count(number: usize) -> Self {
        Self::Count(number as u64)
    }

    pub(super) fn kinds(kinds: impl IntoIterator<Item = (&'static str, u64)>) -> Self {
        Self::Kinds(kinds.into_iter().map(|(kind, count)| (kind.to_owned(), count.into())).collect())
    }
}

/// What a figure is called on the page, what it is called in JSON, and what it is.
pub(super) type Row = (&'static str, &'static str, Figure);

pub(super) struct Group {
    pub(super) title: &'static str,
    pub(super) rows: Vec<Row>,
}

/// All that there is to show of one layer, or of one cache and its authority.
pub(super) struct Shown {
    pub(super) name: String,
    /// What to look at first.
    pub(super) glance: Vec<Row>,
    pub(super) groups: Vec<Group>,
    pub(super) times: Vec<(&'static str, &'static str, Histogram)>,
}

/// The HTTP status of each rejection, and the names of their number and of what it is made of.
const REJECTIONS: [(StatusCode, [&str; 2], [&str; 2]); 4] = [
    (
        StatusCode::UNAUTHORIZED,
        ["Rejected 401: no token, or not a good one", "401 by reason"],
        ["rejected_401", "rejected_401_by_reason"],
    ),
    (
        StatusCode::FORBIDDEN,
        ["Rejected 403: the token is not enough", "403 by reason"],
        ["rejected_403", "rejected_403_by_reason"],
    ),
    (
        StatusCode::SERVICE_UNAVAILABLE,
        ["Rejected 503: the token could not be checked", "503 by reason"],
        ["rejected_503", "rejected_503_by_reason"],
    ),
    (
        StatusCode::BAD_REQUEST,
        ["Rejected 400: malformed token", "400 by reason"],
        ["rejected_400", "rejected_400_by_reason"],
    ),
];

pub(super) fn layer(name: &str, stats: &LayerStats) -> Shown {
    let mut rows = vec![
        ("Let in with a token", "accepted", Figure::Count(stats.accepted)),
        ("Let in without a token (optional layer)", "anonymous", Figure::Count(stats.anonymous)),
    ];
    for (status, [title, title_by_reason], [key, key_by_reason]) in REJECTIONS {
        let of_this_status = |(reason, _): &&(RejectionReason, u64)| reason.kind().status() == status;
        let reasons = stats.rejected_by_reason.iter().filter(of_this_status);
        let reasons: Vec<_> = reasons.map(|(reason, count)| (reason.as_str(), *count)).collect();
        rows.push((title, key, Figure::Count(reasons.iter().map(|(_, count)| count).sum())));
        rows.push((title_by_reason, key_by_reason, Figure::kinds(reasons)));
    }
    let groups = vec![Group { title: "Requests", rows }];
    Shown { name: name.to_owned(), glance: Vec::new(), groups, times: Vec::new() }
}

pub(super) fn cache(cache: &CacheHandle, now: Timestamp) -> Shown {
    use Figure::{Count, Failure, Ratio, Word};

    let stats = cache.stats();
    let from_memory = stats.hits + stats.inactive_hits;
    let requests = from_memory + stats.misses + stats.coalesced + stats.overloaded;
    let breaker = stats.endpoint.as_ref().map_or("none", |endpoint| match endpoint.breaker {
        BreakerState::Closed => "closed",
        BreakerState::HalfOpen => "half open",
        BreakerState::Open => "open",
    });
    let mut glance =
        vec![("Authority", "health", Word(cache.health().as_str())), ("Circuit breaker", "breaker", Word(breaker))];
    let mut authority = Vec::new();
    if let Some(endpoint) = stats.endpoint {
        let shown = |failure: Option<LastFailure>| {
            Failure(failure.map(|failure| {
                let ago = now.saturating_since(failure.at).as_secs();
                (failure, ago)
            }))
        };
        glance.extend([
            ("Last failure of a known token", "last_known_failure", shown(endpoint.last_known_failure)),
            ("Last failure of another token", "last_stranger_failure", shown(endpoint.last_stranger_failure)),
        ]);
        authority.extend([
            ("HTTP requests sent", "attempts", Count(endpoint.attempts)),
            ("Retries among them", "retries", Count(endpoint.retries)),
            ("Over the limit (rate_limit, max_concurrent_requests)", "turned_away", Count(endpoint.turned_away)),
            ("Queued now", "waiting", Figure::count(endpoint.waiting)),
            ("In flight now", "under_way", Figure::count(endpoint.under_way)),
        ]);
    }
    let mut groups = vec![
        Group {
            title: "Cache",
            rows: vec![
                ("Cache hit ratio", "hit_ratio", Ratio(ratio(from_memory, requests))),
                ("Cache hits: active token", "hits", Count(stats.hits)),
                ("Cache hits: inactive token", "inactive_hits", Count(stats.inactive_hits)),
                ("Cache misses", "misses", Count(stats.misses)),
                ("Waited for another's question (coalesced)", "coalesced", Count(stats.coalesced)),
                ("Served stale in an outage (stale_if_error)", "stale_served", Count(stats.stale_served)),
                ("Over the limit (max_flights)", "overloaded", Count(stats.overloaded)),
                ("Active tokens cached now", "entries", Count(stats.entries)),
                ("Inactive tokens cached now", "inactive_entries", Count(stats.inactive_entries)),
                ("Active tokens evicted, cache full", "evictions", Count(stats.evictions)),
            ],
        },
        Group {
            title: "Questions to the authority",
            rows: vec![
                ("Asked", "questions", Count(stats.questions)),
                ("Answered: token active", "active_answers", Count(stats.active_answers)),
                ("Answered: token inactive", "inactive_answers", Count(stats.inactive_answers)),
                (
                    "Inactive by reason",
                    "inactive_by_reason",
                    Figure::kinds(stats.inactive_by_reason.iter().map(|(reason, count)| (reason.as_str(), *count))),
                ),
                ("Failed", "failures", Count(stats.failures)),
                (
                    "Failed by kind",
                    "failures_by_kind",
                    Figure::kinds(stats.failures_by_kind.iter().map(|(kind, count)| (kind.as_str(), *count))),
                ),
                ("Refreshed ahead of expiry", "refreshes", Count(stats.refreshes)),
                ("Refreshes failed", "failed_refreshes", Count(stats.failed_refreshes)),
                (
                    "In flight now, queued ones included",
                    "questions_under_way",
                    Figure::count(stats.questions_under_way),
                ),
            ],
        },
    ];
    if !authority.is_empty() {
        groups.push(Group { title: "Connection to the authority", rows: authority });
    }
    #[cfg(feature = "redis")]
    if let Some(fleet) = &stats.fleet {
        glance.push(("Fleet's engine", "fleet_engine", Word(super::fleet::engine(fleet))));
        groups.push(super::fleet::group(fleet));
    }
    let times = vec![
        ("Authority latency", "question_latency_seconds", stats.question_latency),
        ("Age of answers when used", "verdict_age_seconds", stats.verdict_age),
    ];
    Shown { name: cache.name().to_owned(), glance, groups, times }
}

/// Rounded down to a thousandth, so that 100 % means all.
fn ratio(part: u64, all: u64) -> Option<f64> {
    let thousandths = part.saturating_mul(1_000).checked_div(all)?;
    u32::try_from(thousandths).ok().map(|thousandths| f64::from(thousandths) / 1_000.0)
}

pub(super) const QUANTILES: [(&str, f64); 3] = [("p50", 0.5), ("p99", 0.99), ("max", 1.0)];

pub(super) fn quantile(histogram: &Histogram, part: f64) -> Figure {
    Figure::Seconds(histogram.quantile(part).map(|duration| duration.as_secs_f64()))
}

impl From<Figure> for Value {
    fn from(figure: Figure) -> Self {
        match figure {
            Figure::Word(word) => word.into(),
            Figure::Text(text) => text.into(),
            Figure::Count(count) => count.into(),
            Figure::Ratio(number) | Figure::Seconds(number) => number.into(),
            Figure::Kinds(kinds) => kinds.into(),
            Figure::Failure(failure) => failure
                .map(|(LastFailure { at, kind, text }, seconds_ago)| {
                    json!({
                        "at_unix_millis": at.as_unix_millis(), "seconds_ago": seconds_ago, "kind": kind.as_str(), "text": &*text,
                    })
                })
                .into(),
        }
    }
}

pub(super) fn json_of(shown: Shown) -> Value {
    let Shown { name, glance, groups, times } = shown;
    let mut members = Map::new();
    members.insert("name".into(), name.into());
    for (_, key, figure) in glance.into_iter().chain(groups.into_iter().flat_map(|group| group.rows)) {
        members.insert(key.into(), figure.into());
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

    #[test]
    fn every_reason_of_a_rejection_is_shown_with_its_status() {
        for reason in RejectionReason::ALL {
            let stats = LayerStats {
                accepted: 0,
                anonymous: 0,
                rejected_by_kind: vec![(reason.kind(), 1)],
                rejected_by_reason: vec![(reason, 1)],
            };
            let shown = json_of(layer("a", &stats));
            let status = reason.kind().status().as_u16();
            assert_eq!(shown[format!("rejected_{status}")], 1, "{reason:?}");
            assert_eq!(shown[format!("rejected_{status}_by_reason")], json!({ reason.as_str(): 1 }), "{reason:?}");
        }
    }
}
