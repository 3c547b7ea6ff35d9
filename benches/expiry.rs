//! What requests feel when the answer about a hot token runs out: `cargo bench --bench expiry`, about three minutes.
//!
//! One token, 2,000 requests a second (`RATE`) through the layer, each in a task of its own, and an authority that
//! takes 50 ms (`LATENCY_MS`) for an answer, without sockets. Three ways take turns, in rounds (`ROUNDS`, 5) of 10
//! seconds (`SECONDS`):
//!
//! * *nothing expires*: the answer serves for an hour;
//! * *refreshed*: it serves for a second, and is asked for ahead of time, as is the default;
//! * *not refreshed*: it serves for a second, and then requests wait for the next one.
//!
//! A thread of its own hands each request to the runtime when it is due, whatever became of the ones before, and its
//! latency counts from when it was due: requests that pile up behind a question are all seen. What the thread itself is
//! late is part of it, in all three ways alike.
//!
//! At p99.9 the refreshed token is to be no slower than 1.5 times the one that does not expire, in the median of the
//! rounds; and the one that is not refreshed has to show its step there, or the measurement could not see one.
#![allow(missing_docs, missing_debug_implementations)]
#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::panic, clippy::disallowed_methods)]

mod support;

use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tower_introspection::introspect::Ask;

use http::header::AUTHORIZATION;
use http::{Request, StatusCode};
use tokio::runtime::Runtime;
use tower::{Layer, ServiceExt};
use tower_introspection::stats::CacheStats;
use tower_introspection::{AccessToken, Cached, Introspect, IntrospectError, IntrospectionLayer, Verdict};

use support::figures::{Lines, Series};
use support::inner::Inner;
use support::rounds::Rounds;
use support::{Bounds, Latencies, Statuses, setting, token_name};

const SHORT: Duration = Duration::from_secs(1);
const LONG: Duration = Duration::from_secs(60 * 60);
const PART: f64 = 0.999;
const MOST_TIMES: f64 = 1.5;
/// The parts that are printed and drawn: one request in so many is slower.
const ONE_IN: [f64; 5] = [2.0, 10.0, 100.0, 1_000.0, 10_000.0];

#[derive(Clone, Copy)]
struct Way {
    name: &'static str,
    max_ttl: Duration,
    refresh_ahead: f64,
    ours: bool,
}

const WAYS: [Way; 3] = [
    Way { name: "nothing expires", max_ttl: LONG, refresh_ahead: 0.2, ours: false },
    Way { name: "refreshed", max_ttl: SHORT, refresh_ahead: 0.2, ours: true },
    Way { name: "not refreshed", max_ttl: SHORT, refresh_ahead: 0.0, ours: false },
];

struct Authority(Duration);

impl Introspect for Authority {
    async fn introspect(&self, _: Ask<'_>) -> Result<Verdict, IntrospectError> {
        tokio::time::sleep(self.0).await;
        Ok(Verdict::Active(AccessToken::builder().client_id("hot").build()))
    }
}

struct Load {
    rate: u32,
    time: Duration,
    /// What the authority takes.
    latency: Duration,
}

/// What was seen of one way.
struct Seen {
    latencies: Latencies,
    refused: u64,
    questions: u64,
    refreshes: u64,
    /// Requests that waited for a question.
    waits: u64,
}

impl Seen {
    fn new() -> Self {
        Self { latencies: Latencies::new(), refused: 0, questions: 0, refreshes: 0, waits: 0 }
    }

    fn add(&mut self, round: &Self) {
        self.latencies.add(&round.latencies);
        self.refused += round.refused;
        self.questions += round.questions;
        self.refreshes += round.refreshes;
        self.waits += round.waits;
    }
}

fn measure(runtime: &Runtime, way: Way, load: &Load) -> Seen {
    let cached = Cached::builder(Authority(load.latency)).max_ttl(way.max_ttl).refresh_ahead(way.refresh_ahead);
    let cached = cached.build().unwrap();
    let cache = cached.handle();
    let service = IntrospectionLayer::new(cached).layer(Inner);
    let request = || {
        let header = format!("Bearer {}", token_name('h', 0));
        Request::builder().header(AUTHORIZATION, header).body(()).unwrap()
    };

    // The token is known from here on.
    runtime.block_on(service.clone().oneshot(request())).unwrap_or_else(|never| match never {});
    let before = cache.stats();

    let seen = Arc::new(Mutex::new((Latencies::new(), Statuses::default())));
    let count = load.rate * u32::try_from(load.time.as_secs()).unwrap();
    let mut tasks = Vec::with_capacity(count as usize);
    let start = Instant::now();
    for n in 1..=count {
        let due = start + Duration::from_secs(1) * n / load.rate;
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        let (service, request, seen) = (service.clone(), request(), Arc::clone(&seen));
        tasks.push(runtime.spawn(async move {
            let response = service.oneshot(request).await.unwrap_or_else(|never| match never {});
            let mut seen = seen.lock().unwrap();
            seen.0.record_since(due);
            seen.1.count(response.status());
        }));
    }
    runtime.block_on(async {
        for task in tasks {
            task.await.unwrap();
        }
    });

    let after = cache.stats();
    let since = |of: fn(&CacheStats) -> u64| of(&after) - of(&before);
    let (latencies, statuses) = std::mem::replace(&mut *seen.lock().unwrap(), (Latencies::new(), Statuses::default()));
    Seen {
        latencies,
        refused: statuses.other_than(&[StatusCode::OK.as_u16()]),
        questions: since(|stats| stats.questions),
        refreshes: since(|stats| stats.refreshes),
        waits: since(|stats| stats.misses + stats.coalesced),
    }
}

fn micros(latencies: &Latencies, part: f64) -> f64 {
    latencies.quantile(part).as_secs_f64() * 1e6
}

fn report(seen: &[Seen; WAYS.len()], rounds: &[Vec<f64>; WAYS.len()], load: &Load) -> ExitCode {
    println!("\nall rounds");
    for (way, seen) in WAYS.iter().zip(seen) {
        println!(
            "  {:<16} {}; {} questions, {} of them ahead of time, {} requests waited",
            way.name, seen.latencies, seen.questions, seen.refreshes, seen.waits
        );
    }
    println!("\np99.9 in microseconds, median (lowest to highest) of the rounds");
    for (way, rounds) in WAYS.iter().zip(rounds) {
        println!("  {:<16} {:.0}", way.name, Rounds::of(rounds.clone()));
    }
    println!();
    let [calm, refreshed, not_refreshed] = rounds;
    let mut bounds = Bounds::default();
    let times = |rounds: &[f64]| Rounds::of_pairs(rounds, calm, |one, calm| one / calm);
    let times_refreshed = times(refreshed);
    bounds.check(
        times_refreshed.median <= MOST_TIMES,
        format_args!("refreshed: {times_refreshed:.2} times the p99.9 of when nothing expires, at most {MOST_TIMES}"),
    );
    let step = Rounds::of(not_refreshed.clone()).median;
    let visible = load.latency.as_secs_f64() * 1e6 / 2.0;
    bounds.check(
        step >= visible,
        format_args!(
            "not refreshed: a step of {:.1} ms at p99.9, {:.1} times, at least {:.1} ms or none could be seen",
            step / 1e3,
            times(not_refreshed),
            visible / 1e3
        ),
    );
    // Each answer but the last is replaced within its second.
    let expected = load.time.as_secs().saturating_sub(1) * calm.len() as u64;
    bounds.check(
        seen[1].refreshes >= expected && seen[1].waits == 0,
        format_args!(
            "refreshed: {} questions ahead of time, at least {expected}, and {} requests waited for one",
            seen[1].refreshes, seen[1].waits
        ),
    );
    let refused: u64 = seen.iter().map(|seen| seen.refused).sum();
    bounds.check(refused == 0, format_args!("{refused} requests refused"));
    write_figures(seen, load);
    bounds.verdict()
}

fn write_figures(seen: &[Seen; WAYS.len()], load: &Load) {
    let subtitle = format!(
        "{} requests a second, an answer takes {:?}, and serves for {SHORT:?} where it expires",
        load.rate, load.latency
    );
    let chart = Lines {
        title: "Latency of a hot token whose answer runs out",
        subtitle: &subtitle,
        command: "cargo bench --bench expiry",
        x: ("one request in so many is slower", "log"),
        y: ("microseconds", "log"),
    };
    let series: Vec<Series> = WAYS
        .iter()
        .zip(seen)
        .map(|(way, seen)| Series {
            label: way.name.into(),
            ours: way.ours,
            points: ONE_IN.map(|one_in| (one_in, micros(&seen.latencies, 1.0 - 1.0 / one_in))).to_vec(),
        })
        .collect();
    chart.write("expiry", &series);
}

fn main() -> ExitCode {
    if !support::is_asked_for() {
        return ExitCode::SUCCESS;
    }
    let rounds: usize = setting("ROUNDS", 5).max(1);
    let load = Load {
        rate: setting("RATE", 2_000),
        time: Duration::from_secs(setting("SECONDS", 10)),
        latency: Duration::from_millis(setting("LATENCY_MS", 50)),
    };
    println!("{} requests a second, {:?} for an answer, {rounds} rounds of {:?}", load.rate, load.latency, load.time);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let mut seen = WAYS.map(|_| Seen::new());
    let mut of_rounds = WAYS.map(|_| Vec::new());
    for round in 1..=rounds {
        for (place, way) in WAYS.into_iter().enumerate() {
            let measured = measure(&runtime, way, &load);
            println!("round {round}, {:<16} {}", way.name, measured.latencies);
            of_rounds[place].push(micros(&measured.latencies, PART));
            seen[place].add(&measured);
        }
    }
    report(&seen, &of_rounds, &load)
}
