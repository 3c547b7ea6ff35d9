//! All that can happen in a fleet, and that its figures are published.

use std::time::Duration;

use metrics_exporter_prometheus::PrometheusHandle;
use tower_introspection::cache::Selection;
use tower_introspection::clock::ManualClock;
use tower_introspection::connection::Limits;
use tower_introspection::fleet::{Fleet, FleetSecret, FleetStats, MemoryEngine};
use tower_introspection::introspect::Ask;
use tower_introspection::{AccessToken, Cached, Introspect, Rfc7662, Verdict};

use super::{Fetched, Labels};
use crate::support::*;

/// Its caches are called the same.
pub(crate) const NAME: &str = "orders";
/// How an engine in memory can fail. `answer` it cannot.
const FAILURES: [&str; 4] = ["connection", "timeout", "refused", "full"];
const REASONS: [&str; 4] = ["too_large", "other_version", "unknown_secret", "tampered"];

struct Process<I> {
    cached: Cached<I>,
    fleet: Fleet,
}

impl<I: Introspect> Process<I> {
    fn start(engine: &MemoryEngine, clock: &ManualClock, authority: I) -> Self {
        let secret = FleetSecret::from_bytes(b"a secret of thirty-two bytes, no less").unwrap();
        let fleet = Fleet::in_memory(engine, NAME, secret).clock(clock.clone()).strict(secs(5)).build().unwrap();
        let cached = Cached::builder(authority).name(NAME).clock(clock.clone()).fleet(&fleet).build().unwrap();
        Self { cached, fleet }
    }

    async fn presents(&self, token: &str) -> bool {
        known_or_asked(&self.cached, &format!("hush-{token}")).await.is_ok_and(|verdict| verdict.is_active())
    }

    fn stats(&self) -> FleetStats {
        self.fleet.stats()
    }
}

/// In steps so small that whatever is due meanwhile is done.
async fn passes(clock: &ManualClock, time: Duration) {
    let step = millis(10);
    for _ in 0..time.as_millis() / step.as_millis() {
        clock.advance(step);
        tokio::time::sleep(step).await;
    }
}

/// Time is tokio's, paused, on a runtime of its own.
pub(crate) fn uses_everything(metrics: PrometheusHandle) {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
    std::thread::spawn(move || runtime().unwrap().block_on(use_everything(&metrics))).join().unwrap();
}

async fn use_everything(metrics: &PrometheusHandle) {
    let clock = ManualClock::at(START);
    let engine = MemoryEngine::with_clock(clock.clone());
    let token = AccessToken::builder().subject("ann").build();
    let authority = Authority::new(Ok(Verdict::Active(token)));
    let [one, other] = [(); 2].map(|()| Process::start(&engine, &clock, authority.clone()));
    passes(&clock, secs(12)).await;
    let fetched = Fetched::parse(metrics.render());
    assert_levels(&fetched, &one.stats());
    assert_eq!(fetched.sum("fleet_processes", &[]), 2.0, "published by whoever reads the log");

    // A miss of one is a hit of the other; and one waits for the other.
    assert!(one.presents("good").await && other.presents("good").await);
    authority.hold();
    let (asked, waiting) = (authority.questions(), other.cached.clone());
    let cached = one.cached.clone();
    let asking = tokio::spawn(async move { known_or_asked(&cached, "hush-slow").await });
    authority.asked(asked + 1).await;
    let waiting = tokio::spawn(async move { known_or_asked(&waiting, "hush-slow").await });
    passes(&clock, secs(1)).await;
    authority.release();
    passes(&clock, secs(1)).await;
    assert!(asking.await.unwrap().is_ok() && waiting.await.unwrap().is_ok());
    authority.release();

    // An answer that a record is about.
    assert!(one.presents("outdated").await);
    let _ = one.cached.handle().invalidate(Selection::subject("ann"));
    passes(&clock, secs(1)).await;
    for _ in 0..10 {
        authority.release();
    }
    assert!(other.presents("outdated").await);

    // Answers that somebody has changed, and a record that nobody can read.
    let changes: [fn(&mut Vec<u8>); 4] = [
        |value| value.resize(100_000, 0),
        |value| value[0] ^= 1,
        |value| value[1] ^= 1,
        |value| *value.last_mut().unwrap() ^= 1,
    ];
    for (at, change) in changes.into_iter().enumerate() {
        authority.release();
        authority.release();
        assert!(one.presents(&format!("changed-{at}")).await);
        engine.tamper(change);
        assert!(other.presents(&format!("changed-{at}")).await);
    }
    engine.append_junk();
    passes(&clock, secs(1)).await;

    let away = use_failing_engine(&engine, &clock, &other).await;
    let stats = [one.stats(), other.stats(), away.stats()];
    let fetched = Fetched::parse(metrics.render());
    assert_levels(&fetched, &away.stats());
    assert_eq!([fetched.sum("fleet_engine_reachable", &[]), fetched.sum("fleet_lease_holds", &[])], [0.0; 2]);
    assert_eq!(fetched.sum("fleet_invalidations_queued", &[]), 1.0);
    assert_eq!(fetched.sum("fleet_rate_limit_local", &[]), 1.0);
    assert_eq!(fetched.sum("fleet_mismatches", &[]), 1.0, "its cache asks another authority");
    assert!(fetched.sum("fleet_log_age_seconds", &[]) > 5.0);
    assert_counters(&fetched, &stats);
}

/// A process whose endpoint has a rate limit, and whose engine fails in every way; it is away in the end.
async fn use_failing_engine(
    engine: &MemoryEngine,
    clock: &ManualClock,
    other: &Process<Authority>,
) -> Process<Rfc7662> {
    let (_socket, address) = refusing();
    let endpoint = Rfc7662::builder(format!("http://{address}")).client_secret_basic("id", "hush");
    let endpoint = endpoint.limits(Limits::new().rate_limit(100, secs(1)).max_retries(0).max_wait(secs(1)));
    let away = Process::start(engine, clock, endpoint.build().unwrap());
    passes(clock, secs(1)).await;
    let ask = async |token: &str| away.cached.introspect(Ask::new(&bearer(token))).await.is_ok();
    assert!(!ask("hush-turn").await);
    assert!(!away.stats().is_rate_limit_local);
    let faults: [fn(&MemoryEngine, bool); 4] =
        [MemoryEngine::hang, MemoryEngine::refuse, MemoryEngine::full, MemoryEngine::cut_off];
    for (at, fault) in faults.into_iter().enumerate() {
        fault(engine, true);
        other.presents(&format!("failing-{at}")).await;
        assert!(!ask(&format!("hush-failing-{at}")).await);
        passes(clock, secs(7)).await;
        if at + 1 < faults.len() {
            fault(engine, false);
            passes(clock, secs(7)).await;
        }
    }
    let _ = away.cached.handle().invalidate(Selection::all());
    assert!(!ask("hush-local").await);
    #[cfg(all(feature = "dpop", feature = "sandbox"))]
    proves(away.cached.proof_memory().unwrap()).await;
    away
}

/// A request with a proof, which is noted there.
#[cfg(all(feature = "dpop", feature = "sandbox"))]
async fn proves(memory: tower_introspection::introspect::ProofMemory) {
    use tower::{Layer, ServiceExt};
    use tower_introspection::IntrospectionLayer;
    use tower_introspection::introspect::ProofMemory;
    use tower_introspection::possession::Dpop;
    use tower_introspection::sandbox::ProofKey;

    struct Bound(AccessToken, ProofMemory);

    impl Introspect for Bound {
        async fn introspect(&self, _: Ask<'_>) -> Answer {
            Ok(Verdict::Active(self.0.clone()))
        }

        fn proof_memory(&self) -> Option<ProofMemory> {
            Some(self.1.clone())
        }
    }

    let (key, origin) = (ProofKey::generate().unwrap(), "https://api.example.com");
    let cnf = serde_json::json!({ "jkt": key.thumbprint() });
    let token = AccessToken::builder().claim("cnf", cnf).unwrap().build();
    let layer = IntrospectionLayer::builder(Bound(token, memory)).dpop(Dpop::builder(origin).build().unwrap());
    let proof = key.proof(http::Method::GET, format!("{origin}/")).token("hush-bound").sign().unwrap();
    let request = http::Request::get("/").header("authorization", "DPoP hush-bound").header("dpop", proof);
    let response = layer.build().unwrap().layer(Idle).oneshot(request.body(String::new()).unwrap()).await.unwrap();
    assert_eq!(response.status(), 200);
}

fn assert_levels(fetched: &Fetched, stats: &FleetStats) {
    let levels = [
        ("fleet_engine_reachable", u32::from(stats.is_reading)),
        ("fleet_processes", stats.processes),
        ("fleet_mismatches", u32::try_from(stats.mismatches).unwrap()),
        ("fleet_lease_holds", u32::from(stats.holds_lease.unwrap())),
        ("fleet_rate_limit_local", u32::from(stats.is_rate_limit_local)),
        ("fleet_invalidations_queued", u32::try_from(stats.queued).unwrap()),
        ("fleet_records_kept", u32::try_from(stats.records_kept).unwrap()),
    ];
    for (metric, level) in levels {
        assert_eq!(fetched.sum(metric, &[("fleet", NAME)]), f64::from(level), "{metric} in\n{}", fetched.text);
    }
}

/// Each happened, and is published as what all processes have counted.
fn assert_counters(fetched: &Fetched, stats: &[FleetStats]) {
    let agrees = |metric: &str, labels: &[(&str, &str)], figure: &dyn Fn(&FleetStats) -> u64| {
        let sum: u64 = stats.iter().map(figure).sum();
        let published = fetched.sum(metric, &[&[("fleet", NAME)], labels].concat());
        assert_eq!(published, sum as f64, "{metric} {labels:?} in\n{}", fetched.text);
        assert!(sum > 0, "{metric} {labels:?} did not happen");
    };
    agrees("fleet_lookups_total", &[("result", "hit")], &|stats| stats.hits);
    agrees("fleet_lookups_total", &[("result", "miss")], &|stats| stats.misses);
    agrees("fleet_waits_total", &[], &|stats| stats.waits);
    agrees("fleet_stored_total", &[], &|stats| stats.stored);
    agrees("fleet_outdated_total", &[], &|stats| stats.outdated);
    agrees("fleet_records_read_total", &[], &|stats| stats.records_read);
    agrees("fleet_records_written_total", &[], &|stats| stats.records_written);
    agrees("fleet_gaps_total", &[], &|stats| stats.gaps);
    #[cfg(all(feature = "dpop", feature = "sandbox"))]
    agrees("fleet_local_proofs_total", &[], &|stats| stats.local_proofs);
    agrees("fleet_turns_total", &[("from", "engine")], &|stats| stats.shared_turns);
    agrees("fleet_turns_total", &[("from", "process")], &|stats| stats.local_turns);
    for reason in REASONS {
        agrees("fleet_unreadable_total", &[("reason", reason)], &|stats| {
            stats.unreadable_by_reason.iter().find(|(why, _)| why.as_str() == reason).map_or(0, |(_, count)| *count)
        });
    }
    for kind in FAILURES {
        agrees("fleet_engine_failures_total", &[("kind", kind)], &|stats| {
            stats.engine_failures_by_kind.iter().find(|(how, _)| how.as_str() == kind).map_or(0, |(_, count)| *count)
        });
    }
    // Zero is published before it happens.
    assert_eq!(fetched.sum("fleet_engine_failures_total", &[("kind", "answer")]), 0.0);
}

/// Whether a label of a metric of a fleet has one of its few values.
pub(crate) fn is_known(metric: &str, label: &str, labels: &Labels) -> bool {
    let value = labels[label].as_str();
    metric.starts_with("fleet_")
        && match (metric, label) {
            (_, "fleet") => value == NAME,
            ("fleet_lookups_total", "result") => ["hit", "miss"].contains(&value),
            ("fleet_unreadable_total", "reason") => REASONS.contains(&value),
            ("fleet_engine_failures_total", "kind") => FAILURES.contains(&value) || value == "answer",
            ("fleet_turns_total", "from") => ["engine", "process"].contains(&value),
            _ => false,
        }
}
