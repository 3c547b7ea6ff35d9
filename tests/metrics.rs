//! What is published through the metrics facade, read as Prometheus reads it. A process of its own, since there is one
//! recorder for each.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![cfg(all(feature = "metrics", feature = "redis", feature = "sandbox", feature = "signals", feature = "test-util"))]

#[path = "metrics/fleet.rs"]
mod fleet;
#[path = "metrics/signals.rs"]
mod signals;
mod support;

use std::collections::{BTreeMap, BTreeSet};
use tower_introspection::Policy;

use http::Request;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use serde_json::Value;
use support::*;
use tower::{Layer, ServiceExt};
use tower_introspection::clock::ManualClock;
use tower_introspection::connection::Limits;
use tower_introspection::introspect::Ask;
use tower_introspection::introspect::IntrospectErrorKind;
use tower_introspection::layer::IntrospectionLayerBuilder;
use tower_introspection::rejection::RejectionKind;
use tower_introspection::sandbox::{Fault, Sandbox};
use tower_introspection::stats::BreakerState;
use tower_introspection::{CacheHandle, Cached, InactiveReason, Introspect, IntrospectionLayer};

const SOURCE: &str = concat!(
    include_str!("../src/metrics/mod.rs"),
    include_str!("../src/metrics/fleet.rs"),
    include_str!("../src/metrics/signals.rs")
);
const DASHBOARD: &str = include_str!("../examples/metrics.dashboard.json");

const REASONS: [InactiveReason; 6] = [
    InactiveReason::Unknown,
    InactiveReason::Revoked,
    InactiveReason::Expired,
    InactiveReason::NotYetValid,
    InactiveReason::Unclear,
    InactiveReason::Unverified,
];

/// Its quotes have to be escaped in the text.
const SCRIPTED: &str = r#"scripted "authority""#;

/// Stands in every token, so that one search finds them all.
const SECRET: &str = "hush";

fn recorder() -> PrometheusHandle {
    let histogram = |name: &str| Matcher::Full(format!("tower_introspection.{name}"));
    PrometheusBuilder::new()
        .set_buckets_for_metric(histogram("question.duration_seconds"), &[0.01, 1.0])
        .unwrap()
        .set_buckets_for_metric(histogram("verdict.age_seconds"), &[1.0, 60.0])
        .unwrap()
        .install_recorder()
        .unwrap()
}

type Labels = BTreeMap<String, String>;

/// The text that Prometheus fetches.
#[derive(Default)]
struct Fetched {
    text: String,
    types: BTreeMap<String, String>,
    helped: BTreeSet<String>,
    samples: Vec<(String, Labels, f64)>,
}

impl Fetched {
    fn parse(text: String) -> Self {
        let mut fetched = Self::default();
        for line in text.lines().filter(|line| !line.is_empty()) {
            if let Some(line) = line.strip_prefix("# TYPE ") {
                let (name, kind) = line.split_once(' ').unwrap();
                assert_eq!(fetched.types.insert(name.into(), kind.into()), None, "{name} twice");
            } else if let Some(line) = line.strip_prefix("# HELP ") {
                let (name, help) = line.split_once(' ').unwrap();
                assert!(fetched.helped.insert(name.into()) && !help.is_empty(), "{line}");
            } else {
                let (sample, value) = line.rsplit_once(' ').unwrap();
                let (name, labels) = sample.split_once('{').unwrap();
                fetched.samples.push((name.into(), labels_of(labels), value.parse().unwrap()));
            }
        }
        Self { text, ..fetched }
    }

    /// The sum of the samples of this name with these labels, of which there has to be one.
    fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let name = format!("tower_introspection_{name}");
        let has = |stated: &Labels| labels.iter().all(|(label, value)| stated.get(*label).is_some_and(|v| v == value));
        let found: Vec<f64> =
            self.samples.iter().filter(|(n, l, _)| *n == name && has(l)).map(|(_, _, value)| *value).collect();
        assert!(!found.is_empty(), "no {name} {labels:?} in\n{}", self.text);
        found.iter().sum()
    }
}

fn labels_of(text: &str) -> Labels {
    let (mut labels, mut rest) = (Labels::new(), text);
    while rest != "}" {
        let (name, value) = rest.trim_start_matches(',').split_once("=\"").unwrap();
        let (mut read, mut escaped, mut end) = (String::new(), false, None);
        for (at, c) in value.char_indices() {
            match c {
                _ if escaped => {
                    read.push(c);
                    escaped = false;
                }
                '\\' => escaped = true,
                '"' => {
                    end = Some(at);
                    break;
                }
                c => read.push(c),
            }
        }
        assert_eq!(labels.insert(name.into(), read), None, "{name} twice in {text}");
        rest = &value[end.expect("the value ends") + 1..];
    }
    labels
}

async fn outcome(
    layer: IntrospectionLayerBuilder<Cached<Authority>>,
    request: Request<String>,
) -> Option<RejectionKind> {
    kind(&layer.build().unwrap().layer(Idle).oneshot(request).await.unwrap())
}

/// Everything that can happen to a proof.
#[cfg(all(feature = "dpop", feature = "sandbox"))]
async fn use_proofs() {
    use tower_introspection::possession::{Dpop, NonceSecret};
    use tower_introspection::sandbox::ProofKey;
    use tower_introspection::{AccessToken, Verdict};

    let (key, origin) = (ProofKey::generate().unwrap(), "https://api.example.com");
    let cnf = serde_json::json!({ "jkt": key.thumbprint() });
    let token = AccessToken::builder().claim("cnf", cnf).unwrap().build();
    let authority = Authority::new(Ok(Verdict::Active(token)));
    let request = || {
        let proof = key.proof(http::Method::GET, format!("{origin}/")).token("hush-bound").sign().unwrap();
        let request = Request::get("/").header("authorization", "DPoP hush-bound").header("dpop", proof);
        request.body(String::new()).unwrap()
    };
    let outcome = async |dpop: &Dpop| {
        let layer = IntrospectionLayer::builder(authority.clone()).dpop(dpop.clone()).build().unwrap();
        kind(&layer.layer(Idle).oneshot(request()).await.unwrap())
    };
    let dpop = Dpop::builder(origin).max_remembered_proofs(1).build().unwrap();
    let other = Dpop::builder("https://other.example").build().unwrap();
    let strict = Dpop::builder(origin).require_nonces(NonceSecret::random().unwrap()).build().unwrap();
    assert_eq!(outcome(&dpop).await, None);
    assert_eq!(outcome(&dpop).await, Some(RejectionKind::TooManyProofs));
    assert_eq!(outcome(&other).await, Some(RejectionKind::InvalidDpopProof));
    assert_eq!(outcome(&strict).await, Some(RejectionKind::UseDpopNonce));
}

/// Everything that can happen to a request, at one cache whose authority says what it is told.
async fn use_every_outcome() -> CacheHandle {
    let (authority, clock) = (Authority::new(active()), ManualClock::at(START));
    let cached = Cached::builder(authority.clone())
        .name(SCRIPTED)
        .refresh_ahead_uses(1)
        .max_capacity(2)
        .max_flights(1)
        .stale_if_error(secs(600))
        .clock(clock.clone())
        .build()
        .unwrap();
    let cache = cached.handle();
    let layer = || IntrospectionLayer::builder(cached.clone());
    let with = |token: &str| request(&format!("Bearer {SECRET}-{token}"));
    let none = || Request::new(String::new());

    assert_eq!(outcome(layer(), with("good")).await, None, "a miss");
    clock.advance(secs(5));
    assert_eq!(outcome(layer(), with("good")).await, None, "a hit");
    #[cfg(all(feature = "dpop", feature = "sandbox"))]
    use_proofs().await;
    assert_eq!(outcome(layer(), none()).await, Some(RejectionKind::MissingToken));
    assert_eq!(outcome(layer().optional(true), none()).await, None, "anonymous");
    assert_eq!(outcome(layer(), request("Bearer ?")).await, Some(RejectionKind::InvalidRequest));
    let lacking = outcome(layer().require_scope("admin"), with("good")).await;
    assert_eq!(lacking, Some(RejectionKind::InsufficientScope));
    let login = outcome(layer().require_recent_login(secs(300)), with("good")).await;
    assert_eq!(login, Some(RejectionKind::InsufficientUserAuthentication));
    assert_eq!(outcome(layer().authorize(|_, _| false), with("good")).await, Some(RejectionKind::Denied));

    for (at, reason) in REASONS.into_iter().enumerate() {
        authority.says(inactive(reason));
        for _ in 0..2 {
            assert_eq!(outcome(layer(), with(&format!("bad-{at}"))).await, Some(RejectionKind::InvalidToken));
        }
    }
    let outer = layer().build().unwrap();
    let route = outer.require(Policy::new().require_scope("admin")).unwrap();
    let below = outer.layer(route.layer(Idle)).oneshot(with("good")).await.unwrap();
    assert_eq!(kind(&below), Some(RejectionKind::InsufficientScope));
    assert_eq!(outer.stats().rejected_by_kind, [(RejectionKind::InsufficientScope, 1)]);
    for (at, kind) in ERROR_KINDS.into_iter().enumerate() {
        authority.says(failure(kind));
        let wanted = if kind == IntrospectErrorKind::Overloaded {
            RejectionKind::Overloaded
        } else {
            RejectionKind::Unavailable
        };
        assert_eq!(outcome(layer(), with(&format!("unlucky-{at}"))).await, Some(wanted));
    }

    // Two wait for one answer, and a third token has no place.
    authority.says(active());
    authority.hold();
    let asked = authority.questions();
    let waiting: Vec<_> = (0..2).map(|_| tokio::spawn(outcome(layer(), with("shared")))).collect();
    authority.asked(asked + 1).await;
    until(|| cache.stats().coalesced == 1).await;
    assert_eq!(outcome(layer(), with("too-many")).await, Some(RejectionKind::Overloaded));
    authority.release();
    for request in waiting {
        assert_eq!(patiently(request).await.unwrap(), None);
    }

    // Asked ahead of time, twice answered and once in vain; then out of date, with an authority that fails.
    for (later, answer) in [(50, active()), (55, active()), (55, failure(IntrospectErrorKind::Timeout))] {
        authority.says(answer);
        clock.advance(secs(later));
        let (asked, refreshed) = (authority.questions(), cache.stats().refreshes);
        assert_eq!(outcome(layer(), with("good")).await, None, "a hit");
        authority.asked(asked + 1).await;
        authority.release();
        until(|| cache.stats().refreshes == refreshed + 1 && cache.stats().questions_under_way == 0).await;
    }
    clock.advance(secs(10));
    let stale = tokio::spawn(outcome(layer(), with("good")));
    authority.release();
    assert_eq!(patiently(stale).await.unwrap(), None, "stale");

    authority.says(active());
    for at in 0..20 {
        authority.release();
        assert_eq!(outcome(layer(), with(&format!("one-of-many-{at}"))).await, None);
    }
    cache
}

/// Questions that are retried until the circuit breaker opens, at an authority that fails.
async fn use_failing_endpoint(sandbox: &Sandbox) -> CacheHandle {
    sandbox.set_fault(Fault::Status(503));
    let endpoint = sandbox
        .apigee()
        .limits(Limits::new().max_retries(2).breaker_threshold(1).breaker_pause(secs(3_600)))
        .build()
        .unwrap();
    let cached = Cached::builder(endpoint).name("failing").build().unwrap();
    for token in ["hush-1", "hush-2"] {
        cached.introspect(Ask::new(&bearer(token))).await.unwrap_err();
    }
    let endpoint = cached.handle().stats().endpoint.unwrap();
    assert_eq!((endpoint.attempts, endpoint.retries, endpoint.breaker), (3, 2, BreakerState::Open));
    cached.handle()
}

/// A circuit breaker that is open, and whose pause is over.
async fn use_recovering_endpoint(sandbox: &Sandbox) -> CacheHandle {
    sandbox.set_fault(Fault::Status(503));
    let clock = ManualClock::at(START);
    let endpoint = sandbox
        .apigee()
        .clock(clock.clone())
        .limits(Limits::new().max_retries(0).breaker_threshold(1))
        .build()
        .unwrap();
    let cached = Cached::builder(endpoint).name("recovering").build().unwrap();
    cached.introspect(Ask::new(&bearer("hush-recovering"))).await.unwrap_err();
    clock.advance(secs(3_600));
    assert_eq!(cached.handle().stats().endpoint.unwrap().breaker, BreakerState::HalfOpen);
    cached.handle()
}

/// Three questions under way, which is all the places for strangers, and two that wait for their turn, at an authority
/// that does not answer.
async fn use_hanging_endpoint(sandbox: &Sandbox) -> (CacheHandle, impl Sized) {
    sandbox.set_fault(Fault::Hang);
    let endpoint = sandbox
        .apigee()
        .limits(Limits::new().max_concurrent_requests(4).max_wait(secs(600)))
        .request_timeout(secs(600));
    let cached = Cached::builder(endpoint.build().unwrap()).name("hanging").build().unwrap();
    let cache = cached.handle();
    for at in 0..5 {
        let cached = cached.clone();
        tokio::spawn(async move { cached.introspect(Ask::new(&bearer(&format!("hush-hanging-{at}")))).await });
    }
    let in_place = || cache.stats().endpoint.is_some_and(|endpoint| (endpoint.under_way, endpoint.waiting) == (3, 2));
    until(in_place).await;
    (cache, cached)
}

fn assert_agrees(fetched: &Fetched, cache: &CacheHandle) {
    let stats = cache.stats();
    let name = ("cache", cache.name());
    let agrees = |metric: &str, labels: &[(&str, &str)], figure: u64| {
        let published = fetched.sum(metric, &[&[name], labels].concat());
        assert_eq!(published, figure as f64, "{metric} {labels:?} of {name:?} in\n{}", fetched.text);
    };
    for (result, figure) in [
        ("hit", stats.hits),
        ("inactive_hit", stats.inactive_hits),
        ("miss", stats.misses),
        ("coalesced", stats.coalesced),
        ("overloaded", stats.overloaded),
        ("stale", stats.stale_served),
    ] {
        agrees("cache_lookups_total", &[("result", result)], figure);
    }
    agrees("cache_evictions_total", &[], stats.evictions);
    agrees("cache_entries", &[("kind", "active")], stats.entries);
    agrees("cache_entries", &[("kind", "inactive")], stats.inactive_entries);
    agrees("questions_total", &[("result", "active")], stats.active_answers);
    agrees("questions_total", &[("result", "inactive")], stats.inactive_answers);
    for reason in REASONS {
        let counted = stats.inactive_by_reason.iter().find(|(counted, _)| *counted == reason);
        let labels = [("result", "inactive"), ("reason", reason.as_str())];
        agrees("questions_total", &labels, counted.map_or(0, |(_, count)| *count));
    }
    for kind in ERROR_KINDS {
        let counted = stats.failures_by_kind.iter().find(|(counted, _)| *counted == kind);
        agrees("questions_total", &[("result", kind.as_str())], counted.map_or(0, |(_, count)| *count));
    }
    agrees("question_duration_seconds_count", &[], stats.question_latency.count());
    agrees("refreshes_total", &[("result", "answered")], stats.refreshes - stats.failed_refreshes);
    agrees("refreshes_total", &[("result", "failed")], stats.failed_refreshes);
    agrees("verdict_age_seconds_count", &[], stats.verdict_age.count());
    for (bound, seconds) in [("1", 1), ("60", 60)] {
        let younger =
            stats.verdict_age.buckets().filter(|(end, _)| *end <= secs(seconds)).map(|(_, count)| count).sum();
        agrees("verdict_age_seconds_bucket", &[("le", bound)], younger);
    }
    let Some(endpoint) = stats.endpoint else { return };
    agrees("endpoint_attempts_total", &[], endpoint.attempts);
    agrees("endpoint_retries_total", &[], endpoint.retries);
    agrees("endpoint_questions_under_way", &[], endpoint.under_way as u64);
    agrees("endpoint_questions_waiting", &[], endpoint.waiting as u64);
    let breaker = [BreakerState::Closed, BreakerState::HalfOpen, BreakerState::Open];
    agrees("endpoint_breaker_state", &[], breaker.iter().position(|state| *state == endpoint.breaker).unwrap() as u64);
}

/// As the naming conventions and the text format of Prometheus have it.
fn assert_is_in_form(fetched: &Fetched) {
    for (name, kind) in &fetched.types {
        assert!(fetched.helped.contains(name), "{name} has no HELP");
        assert_eq!(name.ends_with("_total"), kind == "counter", "{name} is a {kind}");
        let is_time = name.ends_with("_seconds");
        assert_eq!(
            is_time,
            kind == "histogram" || name.ends_with("log_age_seconds") || name.ends_with("timestamp_seconds"),
            "{name} is a {kind}"
        );
        assert!(["counter", "gauge", "histogram"].contains(&&**kind), "{name} is a {kind}");
    }
    let mut histograms = BTreeMap::<(String, Labels), Vec<(f64, f64)>>::new();
    for (name, labels, value) in &fetched.samples {
        let metric = ["_bucket", "_sum", "_count"].iter().find_map(|suffix| name.strip_suffix(suffix)).unwrap_or(name);
        assert!(fetched.types.contains_key(metric), "{name} has no TYPE");
        assert!(*value >= 0.0, "{name} {labels:?}");
        if name.ends_with("_bucket") {
            let mut labels = labels.clone();
            let bound = labels.remove("le").unwrap();
            let bound = if bound == "+Inf" { f64::INFINITY } else { bound.parse().unwrap() };
            histograms.entry((metric.into(), labels)).or_default().push((bound, *value));
        }
    }
    for ((name, labels), buckets) in histograms {
        assert!(buckets.is_sorted() && buckets.is_sorted_by_key(|(_, count)| *count), "{name} {labels:?}: {buckets:?}");
        let (name, cache) = (name.strip_prefix("tower_introspection_").unwrap(), labels["cache"].as_str());
        let count = fetched.sum(&format!("{name}_count"), &[("cache", cache)]);
        assert_eq!(buckets.last(), Some(&(f64::INFINITY, count)), "{name} {labels:?}");
    }
}

fn assert_labels_are_of_fixed_sets(fetched: &Fetched, caches: &[&CacheHandle], transmitter: &str) {
    let outcomes = [
        "accepted",
        "anonymous",
        "missing_token",
        "invalid_request",
        "invalid_token",
        "invalid_dpop_proof",
        "use_dpop_nonce",
        "insufficient_user_authentication",
        "insufficient_scope",
        "denied",
        "unavailable",
        "overloaded",
        "too_many_proofs",
    ];
    let lookups = ["hit", "inactive_hit", "miss", "coalesced", "overloaded", "stale"];
    let questions: Vec<&str> = ERROR_KINDS.iter().map(|kind| kind.as_str()).chain(["active", "inactive"]).collect();
    for (name, labels, _) in &fetched.samples {
        for (label, value) in labels {
            let value = value.as_str();
            let is_known = match (name.strip_prefix("tower_introspection_").unwrap(), label.as_str()) {
                ("requests_total", "outcome") => outcomes.contains(&value),
                ("requests_total", "reason") => [
                    "invalid_request",
                    "invalid_token",
                    "invalid_dpop_proof",
                    "insufficient_user_authentication",
                    "denied",
                ]
                .contains(&labels["outcome"].as_str()),
                (_, "cache") => value == fleet::NAME || caches.iter().any(|cache| cache.name() == value),
                ("cache_lookups_total", "result") => lookups.contains(&value),
                ("questions_total", "result") => questions.contains(&value),
                ("questions_total", "reason") => {
                    labels["result"] == "inactive" && REASONS.iter().any(|reason| reason.as_str() == value)
                }
                ("refreshes_total", "result") => ["answered", "failed"].contains(&value),
                ("cache_entries", "kind") => ["active", "inactive"].contains(&value),
                ("question_duration_seconds_bucket" | "verdict_age_seconds_bucket", "le") => true,
                (metric, label) if metric.starts_with("signals_") => {
                    signals::is_known(metric, label, value, transmitter)
                }
                (metric, label) => fleet::is_known(metric, label, labels),
            };
            assert!(is_known, "{name} has {label}={value:?}");
        }
    }
    let has_proofs = cfg!(all(feature = "dpop", feature = "sandbox"));
    for outcome in
        outcomes.into_iter().filter(|outcome| has_proofs || !(outcome.contains("proof") || outcome.contains("dpop")))
    {
        assert!(fetched.sum("requests_total", &[("outcome", outcome)]) > 0.0, "{outcome} did not happen");
    }
    for reason in ["malformed", "unknown", "revoked", "recent_login", "rule"] {
        assert!(fetched.sum("requests_total", &[("reason", reason)]) > 0.0, "{reason} did not happen");
    }
    for (metric, results) in [
        ("cache_lookups_total", &lookups[..]),
        ("questions_total", &questions),
        ("refreshes_total", &["answered", "failed"]),
    ] {
        for result in results {
            assert!(fetched.sum(metric, &[("result", result)]) > 0.0, "{metric}: {result} did not happen");
        }
    }
}

/// What in `text` is the name of a metric of this crate, with a separator between its parts.
fn names(text: &str, separator: char) -> BTreeSet<String> {
    let prefix = format!("tower_introspection{separator}");
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == separator));
    words.filter(|word| word.starts_with(&prefix)).map(|word| word.replace('.', "_")).collect()
}

/// The queries of a dashboard's panels and variables.
fn queries<'d>(dashboard: &'d Value, found: &mut Vec<&'d str>) {
    match dashboard {
        Value::Object(members) => {
            for (name, value) in members {
                match value.as_str() {
                    Some(query) if ["expr", "query", "definition"].contains(&&**name) => found.push(query),
                    _ => queries(value, found),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| queries(item, found)),
        _ => {}
    }
}

fn assert_the_dashboard_asks_for_what_there_is(fetched: &Fetched) {
    let dashboard: Value = serde_json::from_str(DASHBOARD).unwrap();
    let mut asked = Vec::new();
    queries(&dashboard, &mut asked);
    let asked: BTreeSet<String> = asked.into_iter().flat_map(|query| names(query, '_')).collect();
    for name in &asked {
        assert!(fetched.samples.iter().any(|(sample, _, _)| sample == name), "the dashboard asks for {name}");
    }
    // And shows all there is.
    for metric in fetched.types.keys() {
        let is_asked = |name: &String| name.strip_suffix("_bucket").unwrap_or(name) == metric;
        assert!(asked.iter().any(is_asked), "the dashboard leaves out {metric}");
    }
    for panel in dashboard["panels"].as_array().unwrap().iter().filter(|panel| panel["type"] != "row") {
        assert_eq!(panel["datasource"]["uid"], "${datasource}", "{}", panel["title"]);
        assert!(panel["targets"].as_array().is_some_and(|targets| !targets.is_empty()), "{}", panel["title"]);
    }
}

#[tokio::test]
async fn everything_that_is_counted_is_published_and_the_dashboard_shows_it() {
    let metrics = recorder();
    let sandbox = Sandbox::start().await.unwrap();
    let scripted = use_every_outcome().await;
    let failing = use_failing_endpoint(&sandbox).await;
    let recovering = use_recovering_endpoint(&sandbox).await;
    let (hanging, _cached) = use_hanging_endpoint(&sandbox).await;
    fleet::uses_everything(metrics.clone());
    let signals = signals::use_everything(&sandbox).await;
    let caches = [&scripted, &failing, &recovering, &hanging];
    for cache in caches {
        // Has gauges set as of now.
        let _ = cache.stats();
    }
    let _ = signals.handle().stats();
    let fetched = Fetched::parse(metrics.render());

    let declared = names(SOURCE, '.');
    assert!(declared.len() > 10, "{declared:?}");
    assert_eq!(fetched.types.keys().cloned().collect::<BTreeSet<_>>(), declared, "all of them and no others");
    assert_is_in_form(&fetched);
    for cache in caches {
        assert_agrees(&fetched, cache);
    }
    for (cache, breaker) in [("hanging", 0.0), ("recovering", 1.0), ("failing", 2.0)] {
        assert_eq!(fetched.sum("endpoint_breaker_state", &[("cache", cache)]), breaker, "{cache}");
    }
    assert_labels_are_of_fixed_sets(&fetched, &caches, &sandbox.issuer());
    signals::assert_agrees(&fetched, &signals);
    assert_the_dashboard_asks_for_what_there_is(&fetched);
    assert!(!fetched.text.contains(SECRET), "{}", fetched.text);

    // Zero is published before anything happens: the first event of a kind must not be one that nobody sees.
    let unused = Cached::builder(Authority::new(active())).name("unused").build().unwrap();
    let _ = unused.handle().stats();
    let fetched = Fetched::parse(metrics.render());
    for kind in ERROR_KINDS {
        assert_eq!(fetched.sum("questions_total", &[("cache", "unused"), ("result", kind.as_str())]), 0.0);
    }

    // Gauges follow each answer, whether or not anybody asks for figures.
    unused.introspect(Ask::new(&bearer(SECRET))).await.unwrap();
    let fetched = Fetched::parse(metrics.render());
    assert_eq!(fetched.sum("cache_entries", &[("cache", "unused"), ("kind", "active")]), 1.0);
}
