//! Whether anything grows, or goes wrong now and then, while the layer serves: `cargo bench --bench soak`, ten minutes,
//! or `SOAK_SECONDS` of them.
//!
//! One process, two threads, real sockets on loopback: an axum server behind the layer, the sandbox, and clients over
//! HTTP/1.1 that keep their connections. The clients are:
//!
//! * some that use *good* tokens at a steady rate, among them requests without a token and with a malformed one;
//! * one that presents *junk* tokens, each known to nobody for longer than it is remembered;
//! * one that uses tokens just before and just after they *expire*;
//! * some that *revoke* tokens and approve them again, and look what becomes of it;
//! * one that *hangs up* in the middle of requests that wait for a question;
//! * one that *invalidates*: a token, all of a client, and now and then everything.
//!
//! One question in a hundred goes wrong at the sandbox: after every 99 of them a fault is switched on until it has
//! struck once (or a few times, if several questions arrive in the same moment): a reset connection, HTTP 503, an HTML
//! page, an answer that is too large, one that is late, and one that never comes. All others are answered in 2 ms. What
//! the last line says about faults is counted at the sandbox.
//!
//! The first third is for warming up. Of the rest, the second half is held against the first. In the end everything is
//! stopped, and no task may be left.
#![allow(missing_docs, missing_debug_implementations)]
#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::panic, clippy::disallowed_methods)]

mod support;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::routing::get;
use http::StatusCode;
use http::header::AUTHORIZATION;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Interval, MissedTickBehavior};
use tower_introspection::clock::Timestamp;
use tower_introspection::sandbox::{Fault, Sandbox, SandboxToken};
use tower_introspection::{AccessToken, BearerToken, CacheHandle, Cached, Introspect, IntrospectionLayer};

use support::{Bounds, Latencies, MIB, Statuses, mib, resident_memory, setting, token_name};

const MAX_TTL: Duration = Duration::from_secs(5);
const INACTIVE_TTL: Duration = Duration::from_secs(2);
/// How far the clocks of two threads may be apart, and a request may be overtaken, before a verdict counts as wrong.
const MARGIN: Duration = Duration::from_millis(50);
const ANSWER_TIME: Duration = Duration::from_millis(2);
const FAULTS: [Fault; 12] = [
    Fault::Reset,
    Fault::Status(503),
    Fault::Garbage,
    Fault::Delay(Duration::from_millis(300)),
    Fault::Reset,
    Fault::Status(503),
    Fault::Oversized(100 * 1024),
    Fault::Delay(Duration::from_millis(1_500)),
    Fault::Reset,
    Fault::Status(502),
    Fault::Garbage,
    Fault::Hang,
];

const GOOD_CLIENTS: usize = 4;
const GOOD_TOKENS: usize = 80;
/// Requests of one client in a second.
const GOOD_RATE: u64 = 200;
/// The clients of which all tokens are invalidated at once.
const APPS: usize = 8;
const JUNK_RATE: u64 = 15;
/// So many that one is forgotten long before it comes again, and so few that the sandbox's own count of calls stays
/// small.
const JUNK_TOKENS: usize = 600;
const EXPIRING_RATE: u64 = 2;
const REVOKED_TOKENS: usize = 10;
const HANG_UP_RATE: u64 = 10;
const HANG_UP_TOKENS: usize = 200;

/// Memory may differ by so much between the two halves after warming up: a part, and the two mebibytes of the table of
/// tokens that were active lately, whose pages come into use one by one.
const MEMORY_TOLERANCE: (f64, f64) = (0.05, 2.0 * MIB);
/// Tasks come and go with connections.
const TASK_TOLERANCE: usize = 16;

/// What all clients share.
struct Site {
    sandbox: Sandbox,
    cache: CacheHandle,
    client: reqwest::Client,
    url: String,
    until: Instant,
    kinds: Mutex<BTreeMap<&'static str, Statuses>>,
    latencies: Mutex<Latencies>,
    hung_up: AtomicU64,
    faults: AtomicU64,
    wrong: Mutex<Vec<String>>,
    wrong_in_all: AtomicUsize,
}

impl Site {
    fn is_over(&self) -> bool {
        Instant::now() >= self.until
    }

    /// Comes round so often in a second, until the time is over.
    fn rounds(&self, rate: u64) -> Rounds {
        let mut ticker = tokio::time::interval(Duration::from_micros(1_000_000 / rate));
        ticker.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Rounds { ticker, next: 0, until: self.until }
    }

    /// One request. `None` if no answer came, which is wrong as well.
    async fn get(&self, kind: &'static str, authorization: Option<&str>) -> Option<StatusCode> {
        let mut request = self.client.get(&self.url);
        if let Some(authorization) = authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        let start = Instant::now();
        let status = match request.send().await {
            Ok(response) => {
                let status = response.status();
                match response.bytes().await {
                    Ok(_) => status,
                    Err(error) => {
                        self.wrong(format_args!("{kind}: the answer broke off: {error}"));
                        return None;
                    }
                }
            }
            Err(error) => {
                self.wrong(format_args!("{kind}: no answer: {error:?}"));
                return None;
            }
        };
        self.latencies.lock().unwrap().record_since(start);
        self.kinds.lock().unwrap().entry(kind).or_default().count(status);
        Some(status)
    }

    async fn present(&self, kind: &'static str, token: &str) -> Option<StatusCode> {
        self.get(kind, Some(&format!("Bearer {token}"))).await
    }

    fn wrong(&self, what: impl std::fmt::Display) {
        self.wrong_in_all.fetch_add(1, Ordering::Relaxed);
        let mut wrong = self.wrong.lock().unwrap();
        if wrong.len() < 10 {
            wrong.push(what.to_string());
        }
    }

    fn expect(&self, kind: &str, status: Option<StatusCode>, expected: &[u16]) {
        if let Some(status) = status.filter(|status| !expected.contains(&status.as_u16())) {
            self.wrong(format_args!("{kind}: {status}, expected one of {expected:?}"));
        }
    }
}

struct Rounds {
    ticker: Interval,
    next: usize,
    until: Instant,
}

impl Rounds {
    async fn next(&mut self) -> Option<usize> {
        self.ticker.tick().await;
        self.next += 1;
        (Instant::now() < self.until).then_some(self.next - 1)
    }
}

async fn use_good_tokens(site: Arc<Site>, tokens: Arc<[String]>, client: usize) {
    let mut rounds = site.rounds(GOOD_RATE);
    while let Some(n) = rounds.next().await {
        match n % 20 {
            7 => site.expect("no token", site.get("no token", None).await, &[401]),
            13 => site.expect("malformed", site.get("malformed", Some("Bearer a b")).await, &[400]),
            _ => {
                let token = &tokens[(n * GOOD_CLIENTS + client) % tokens.len()];
                site.expect("good", site.present("good", token).await, &[200, 503]);
            }
        }
    }
}

async fn use_junk(site: Arc<Site>) {
    let mut rounds = site.rounds(JUNK_RATE);
    while let Some(n) = rounds.next().await {
        let status = site.present("junk", &token_name('j', n % JUNK_TOKENS)).await;
        site.expect("junk", status, &[401, 503]);
    }
}

/// Each token three times: 2 seconds before it expires, shortly before, and when it has.
async fn use_expiring_tokens(site: Arc<Site>, tokens: Vec<(String, Timestamp)>) {
    let mut uses = JoinSet::new();
    for (token, expires_at) in tokens {
        let site = Arc::clone(&site);
        let wait_until = async |moment: Timestamp| {
            tokio::time::sleep(moment.saturating_since(Timestamp::now())).await;
        };
        wait_until(expires_at - Duration::from_secs(2)).await;
        if site.is_over() {
            break;
        }
        uses.spawn(async move {
            for moment in
                [expires_at - Duration::from_secs(2), expires_at - MARGIN, expires_at + Duration::from_millis(1)]
            {
                tokio::time::sleep(moment.saturating_since(Timestamp::now())).await;
                let asked_at = Timestamp::now();
                let status = site.present("expiring", &token).await;
                let expected: &[u16] = if asked_at >= expires_at {
                    &[401, 503]
                } else if Timestamp::now() < expires_at {
                    &[200, 503]
                } else {
                    &[200, 401, 503]
                };
                site.expect("expiring", status, expected);
            }
        });
        while uses.try_join_next().is_some() {}
    }
    while uses.join_next().await.is_some() {}
}

/// Revokes and approves one token, and holds the answers against what may be known by then.
async fn revoke_and_approve(site: Arc<Site>, token: String, first: Duration) {
    tokio::time::sleep(first).await;
    let mut is_approved = true;
    let mut changed_at = Instant::now().checked_sub(INACTIVE_TTL + MARGIN).unwrap();
    let mut rounds = 0_usize;
    loop {
        // Long enough to see the change, and 1.5 seconds of what must hold afterwards.
        let window = if is_approved { INACTIVE_TTL } else { MAX_TTL } + MARGIN;
        let change_at = Instant::now() + window + Duration::from_millis(1_500);
        while Instant::now() < change_at {
            if site.is_over() {
                return;
            }
            let settled = changed_at.elapsed() >= window;
            let status = site.present("revoked and approved", &token).await;
            site.expect(
                if is_approved { "approved" } else { "revoked" },
                status,
                match (settled, is_approved) {
                    (false, _) => &[200, 401, 503],
                    (true, true) => &[200, 503],
                    (true, false) => &[401, 503],
                },
            );
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        rounds += 1;
        if is_approved && rounds % 4 == 1 {
            // The worst moment: the answer is as fresh as can be when the token is revoked.
            site.cache.invalidate(&BearerToken::parse(&token).unwrap());
            site.expect("approved", site.present("revoked and approved", &token).await, &[200, 503]);
        }
        is_approved = !is_approved;
        let is_known = if is_approved { site.sandbox.approve(&token) } else { site.sandbox.revoke(&token) };
        assert!(is_known, "the sandbox forgot a token");
        changed_at = Instant::now();
        if rounds.is_multiple_of(3) {
            // Who learns of a change and says so needs not wait at all.
            site.cache.invalidate(&BearerToken::parse(&token).unwrap());
            let status = site.present("told of the change", &token).await;
            site.expect("told of the change", status, if is_approved { &[200, 503] } else { &[401, 503] });
        }
    }
}

/// Hangs up after 0 to 3 ms, of which the question takes 2 at least.
async fn hang_up(site: Arc<Site>, tokens: Vec<String>) {
    let mut rounds = site.rounds(HANG_UP_RATE);
    while let Some(n) = rounds.next().await {
        let token = &tokens[n % tokens.len()];
        // Often a token that nobody has asked about for a while, so that there is something to wait for.
        let request = site.client.get(&site.url).header(AUTHORIZATION, format!("Bearer {token}")).send();
        let patience = Duration::from_micros((n as u64 % 7) * 500);
        if tokio::time::timeout(patience, request).await.is_err() {
            site.hung_up.fetch_add(1, Ordering::Relaxed);
        }
    }
}

async fn invalidate(site: Arc<Site>, tokens: Arc<[String]>) {
    let mut rounds = site.rounds(2);
    while let Some(n) = rounds.next().await {
        if n % 60 == 20 {
            site.cache.invalidate_all();
        } else if n % 10 == 5 {
            let app = format!("app-{}", n / 10 % APPS);
            site.cache.invalidate_where(move |token| token.client_id() == Some(&app));
        } else {
            site.cache.invalidate(&BearerToken::parse(&tokens[n % tokens.len()]).unwrap());
        }
    }
}

/// Has one question in a hundred go wrong.
async fn make_trouble(site: Arc<Site>) {
    let mut next = 99;
    for fault in FAULTS.into_iter().cycle() {
        while site.sandbox.total_calls() < next {
            if site.is_over() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let before = site.sandbox.total_calls();
        site.sandbox.set_fault(fault);
        while site.sandbox.total_calls() == before && !site.is_over() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        site.sandbox.set_fault(Fault::Delay(ANSWER_TIME));
        let struck = site.sandbox.total_calls() - before;
        site.faults.fetch_add(struck, Ordering::Relaxed);
        next += 100 * struck;
    }
}

/// What was seen in one second.
#[derive(Clone, Copy)]
struct Sample {
    at: f64,
    memory: Option<u64>,
    tasks: usize,
    entries: u64,
    inactive_entries: u64,
}

fn tasks() -> usize {
    tokio::runtime::Handle::current().metrics().num_alive_tasks()
}

async fn observe(site: &Site, start: Instant) -> Vec<Sample> {
    let mut samples = Vec::new();
    let mut ticker = tokio::time::interval(Duration::from_secs(1));
    ticker.tick().await;
    while !site.is_over() {
        ticker.tick().await;
        let stats = site.cache.stats();
        let sample = Sample {
            at: start.elapsed().as_secs_f64(),
            memory: resident_memory(),
            tasks: tasks(),
            entries: stats.entries,
            inactive_entries: stats.inactive_entries,
        };
        samples.push(sample);
        if samples.len().is_multiple_of(10) {
            let mut statuses = Statuses::default();
            site.kinds.lock().unwrap().values().for_each(|kind| statuses.add(kind));
            println!(
                "{:>4.0} s: {} requests ({statuses}), memory {}, tasks {}, questions {} ({} under way, {} failed), entries {} \
                 and {} inactive, {:?}",
                sample.at,
                statuses.total(),
                mib(sample.memory),
                sample.tasks,
                stats.questions,
                stats.questions_under_way,
                stats.failures,
                stats.entries,
                stats.inactive_entries,
                stats.endpoint.unwrap().breaker,
            );
        }
    }
    samples
}

/// By how much the straight line that fits best rises in a minute.
fn slope_per_minute(points: &[(f64, f64)]) -> f64 {
    #[allow(clippy::cast_precision_loss)]
    let count = points.len().max(1) as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / count;
    let (x, y) = (mean(|point| point.0), mean(|point| point.1));
    let spread: f64 = points.iter().map(|point| (point.0 - x).powi(2)).sum();
    60.0 * points.iter().map(|point| (point.0 - x) * (point.1 - y)).sum::<f64>() / spread.max(f64::MIN_POSITIVE)
}

#[allow(clippy::cast_precision_loss)]
fn check_growth(bounds: &mut Bounds, samples: &[Sample]) {
    let third = samples.len() / 3;
    let (middle, last) = (&samples[third..2 * third], &samples[2 * third..]);
    let most = |samples: &[Sample], of: fn(&Sample) -> u64| samples.iter().map(of).max().unwrap_or(0);

    let memory = |sample: &Sample| sample.memory.unwrap_or(0);
    if samples.iter().all(|sample| sample.memory.is_some()) {
        let (before, after) = (most(middle, memory) as f64, most(last, memory) as f64);
        let bound = before * (1.0 + MEMORY_TOLERANCE.0) + MEMORY_TOLERANCE.1;
        let points: Vec<_> = samples[third..].iter().map(|s| (s.at, memory(s) as f64 / MIB)).collect();
        bounds.check(
            after <= bound,
            format_args!(
                "memory: {:.1} MiB at most in the last third, {:.1} in the middle one, so at most {:.1}; slope {:+.2} MiB a \
                 minute",
                after / MIB,
                before / MIB,
                bound / MIB,
                slope_per_minute(&points)
            ),
        );
    } else {
        println!("   note: memory is not measured on this system");
    }

    let least = |samples: &[Sample]| samples.iter().map(|sample| sample.tasks).min().unwrap_or(0);
    let peak = |samples: &[Sample]| samples.iter().map(|sample| sample.tasks).max().unwrap_or(0);
    let points: Vec<_> = samples[third..].iter().map(|s| (s.at, s.tasks as f64)).collect();
    bounds.check(
        least(last) <= least(middle) + TASK_TOLERANCE && peak(last) <= peak(middle) + 2 * TASK_TOLERANCE,
        format_args!(
            "tasks: {} to {} in the last third, {} to {} in the middle one, so at most {TASK_TOLERANCE} and {} more; slope \
             {:+.2} a minute",
            least(last),
            peak(last),
            least(middle),
            peak(middle),
            2 * TASK_TOLERANCE,
            slope_per_minute(&points)
        ),
    );
    let entries = most(samples, |sample| sample.entries);
    let inactive = most(samples, |sample| sample.inactive_entries);
    // Whoever is remembered was asked about within the time that answers serve.
    let expected = (GOOD_TOKENS + REVOKED_TOKENS + HANG_UP_TOKENS) as u64 + 10 * EXPIRING_RATE;
    let expected_inactive = (JUNK_RATE + 2 * EXPIRING_RATE) * (INACTIVE_TTL.as_secs() + 2) + REVOKED_TOKENS as u64;
    bounds.check(
        entries <= expected && inactive <= expected_inactive,
        format_args!("entries: {entries} at most, of {expected}; inactive: {inactive} at most, of {expected_inactive}"),
    );
}

async fn run(seconds: u64) -> ExitCode {
    let tasks_before = tasks();
    let sandbox = Sandbox::start().await.unwrap();
    sandbox.set_fault(Fault::Delay(ANSWER_TIME));

    let cached = Cached::builder(sandbox.apigee().build().unwrap()).max_ttl(MAX_TTL).inactive_ttl(INACTIVE_TTL);
    let cached = cached.build().unwrap();
    let cache = cached.handle();
    let endpoint = cached.endpoint().unwrap();
    let layer = IntrospectionLayer::new(cached);
    let whoami = async |token: AccessToken| token.client_id().unwrap_or_default().to_owned();
    let app = Router::new().route("/", get(whoami)).route_layer(layer.clone());
    let listener = tokio::net::TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let (stop, mut stopped) = watch::channel(false);
    let server = tokio::spawn(async move {
        let stopped = async move {
            let _ = stopped.wait_for(|stopped| *stopped).await;
        };
        axum::serve(listener, app).with_graceful_shutdown(stopped).await
    });

    let start = Instant::now();
    let good: Arc<[String]> = (0..GOOD_TOKENS)
        .map(|n| {
            sandbox.issue(
                SandboxToken::new().client_id(format!("app-{}", n % APPS)).expires_in(Duration::from_secs(86_400)),
            )
        })
        .collect();
    let long = |sandbox: &Sandbox| sandbox.issue(SandboxToken::new().expires_in(Duration::from_secs(86_400)));
    let changing: Vec<_> = (0..REVOKED_TOKENS).map(|_| long(&sandbox)).collect();
    let hung_up: Vec<_> = (0..HANG_UP_TOKENS).map(|_| long(&sandbox)).collect();
    let now = Timestamp::now();
    // All of them at once, so that the sandbox's memory does not grow in the measurement.
    let expiring = (1..=seconds * EXPIRING_RATE).map(|n| {
        let expires_at = now + Duration::from_secs(3) + Duration::from_millis(n * 1_000 / EXPIRING_RATE);
        (sandbox.issue(SandboxToken::new().expires_at(expires_at)), expires_at)
    });
    let expiring: Vec<_> = expiring.collect();

    let site = Arc::new(Site {
        sandbox,
        cache,
        client: reqwest::Client::builder().no_proxy().http1_only().timeout(Duration::from_secs(20)).build().unwrap(),
        url,
        until: start + Duration::from_secs(seconds),
        kinds: Mutex::default(),
        latencies: Mutex::new(Latencies::new()),
        hung_up: AtomicU64::new(0),
        faults: AtomicU64::new(0),
        wrong: Mutex::default(),
        wrong_in_all: AtomicUsize::new(0),
    });

    let mut clients = JoinSet::new();
    for client in 0..GOOD_CLIENTS {
        clients.spawn(use_good_tokens(Arc::clone(&site), Arc::clone(&good), client));
    }
    clients.spawn(use_junk(Arc::clone(&site)));
    clients.spawn(use_expiring_tokens(Arc::clone(&site), expiring));
    for (n, token) in changing.into_iter().enumerate() {
        // Not all at the same moment.
        clients.spawn(revoke_and_approve(Arc::clone(&site), token, Duration::from_millis(700 * n as u64)));
    }
    clients.spawn(hang_up(Arc::clone(&site), hung_up));
    clients.spawn(invalidate(Arc::clone(&site), good));
    clients.spawn(make_trouble(Arc::clone(&site)));
    let samples = observe(&site, start).await;
    while let Some(ended) = clients.join_next().await {
        if let Err(error) = ended {
            site.wrong(format_args!("a client gave up: {error}"));
        }
    }

    println!("\nanswers");
    for (kind, statuses) in &*site.kinds.lock().unwrap() {
        println!("  {kind}: {statuses}");
    }
    println!("  hung up: {}", site.hung_up.load(Ordering::Relaxed));
    println!("  latency: {}", site.latencies.lock().unwrap());
    // Questions that nobody waits for may still be under way.
    let mut under_way = site.cache.stats().questions_under_way;
    for _ in 0..100 {
        if under_way == 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
        under_way = site.cache.stats().questions_under_way;
    }
    let stats = site.cache.stats();
    println!(
        "  questions: {} ({} refreshes, of which {} failed), {} retries, failures {:?}, {} turned away",
        stats.questions,
        stats.refreshes,
        stats.failed_refreshes,
        endpoint.stats().retries,
        stats.failures_by_kind,
        stats.overloaded + endpoint.stats().turned_away,
    );
    println!("  layer: {:?}", layer.stats());

    println!("\nbounds");
    let mut bounds = Bounds::default();
    check_growth(&mut bounds, &samples);
    let (faults, calls) = (site.faults.load(Ordering::Relaxed), site.sandbox.total_calls());
    #[allow(clippy::cast_precision_loss)]
    let part = 100.0 * faults as f64 / calls as f64;
    bounds.check(
        (0.7..1.5).contains(&part),
        format_args!("{faults} of {calls} questions went wrong at the sandbox: {part:.2} %"),
    );
    let wrong = site.wrong_in_all.load(Ordering::Relaxed);
    bounds.check(wrong == 0, format_args!("{wrong} wrong answers"));
    for example in &*site.wrong.lock().unwrap() {
        println!("          {example}");
    }
    let good = site.kinds.lock().unwrap().get("good").cloned().unwrap_or_default();
    let refused = good.other_than(&[200]);
    bounds.check(
        refused * 500 <= good.total(),
        format_args!("{refused} of {} good requests met a fault, at most one in 500", good.total()),
    );
    let age = stats.verdict_age.quantile(1.0).unwrap_or_default();
    // Read from a histogram, which is up to a quarter too high.
    bounds.check(
        age <= MAX_TTL.mul_f64(1.25),
        format_args!(
            "the oldest verdict in use was {age:?} old or less, max_ttl is {MAX_TTL:?} (read up to a quarter too high)"
        ),
    );
    bounds.check(under_way == 0, format_args!("{under_way} questions under way with nobody left to ask"));

    stop.send_replace(true);
    drop((site, layer));
    let ended = tokio::time::timeout(Duration::from_secs(30), server).await;
    bounds.check(matches!(ended, Ok(Ok(Ok(())))), "the server stops when it is told to, and its clients are gone");
    let mut left = tasks();
    for _ in 0..200 {
        if left <= tasks_before {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
        left = tasks();
    }
    bounds.check(left <= tasks_before, format_args!("{left} tasks left in the end, {tasks_before} in the beginning"));
    bounds.verdict()
}

fn main() -> ExitCode {
    if !support::is_asked_for() {
        return ExitCode::SUCCESS;
    }
    let seconds = setting("SOAK_SECONDS", 600).max(30);
    println!("{seconds} seconds, of which {} to warm up", seconds / 3);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(run(seconds))
}
