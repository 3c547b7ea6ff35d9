//! What a flood of junk tokens does to tokens in use: `cargo bench --bench flood`, about two and a half minutes.
//!
//! Everything in one process, with two threads: the layer over `Cached` over `Apigee` around a service that does next
//! to nothing, and the sandbox on loopback, which takes 3 ms for an answer. Good tokens are used at a steady rate from
//! beginning to end. In five rounds, so that what else the machine does strikes all alike, there are three phases:
//!
//! * *quiet*: nothing else;
//! * *load*: as many other requests as there are junk tokens in the next phase, at the same rate, that never reach the
//!   authority because they present no token;
//! * *flood*: 10,000 distinct junk tokens in 5 seconds, in each round others.
//!
//! Each request is a task of its own, as with a server, and its latency counts from when it was due: time in the run
//! queue is part of it, and a request that waits for its question does not hold up the next one. What is held against
//! the bound is the median of the rounds' ratios.
//!
//! The default settings hold but for `max_ttl`, which is so short that every good token is asked about again in every
//! phase: 100 tokens every 4 to 4.5 seconds need 23 questions a second, about a quarter of the rate limit.
//!
//! Then there are three floods of 10,000 junk tokens a second, in each of which the good tokens, used five times a
//! second, need another part of the rate limit: a quarter, a half and nine tenths. They get all they need, without and
//! with the flood, and junk gets no more than what they leave.
//!
//! The environment can change what is measured: `FLOOD_HOT` good tokens, `FLOOD_MAX_TTL` seconds, `FLOOD_GOOD_RATE` a
//! second, `FLOOD_JUNK` tokens in all, `FLOOD_ROUNDS`, `FLOOD_SECONDS` of a phase, `FLOOD_RATE_LIMIT` a minute, and
//! `FLOOD_PARTS_SECONDS` of each of the three floods (0: none).
#![allow(missing_docs, missing_debug_implementations)]
#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::panic, clippy::disallowed_methods)]

mod support;

use std::convert::Infallible;
use std::fmt;
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use http::header::AUTHORIZATION;
use http::{Request, Response, StatusCode};
use tokio::sync::Semaphore;
use tokio::time::MissedTickBehavior;
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_introspection::connection::Limits;
use tower_introspection::sandbox::{Fault, Sandbox, SandboxToken};
use tower_introspection::stats::EndpointHandle;
use tower_introspection::{AccessToken, CacheHandle, Cached, IntrospectionLayer};

use support::{Bounds, Latencies, Statuses, mib, resident_memory, setting, token_name};

/// How long the sandbox takes for an answer.
const ANSWER_TIME: Duration = Duration::from_millis(3);
/// What the vendor's endpoint is asked at most in a minute, by default.
const LIMIT: u64 = 6_000;
const MAX_CAPACITY: u64 = 100_000;
const INACTIVE_CAPACITY: u64 = 10_000;
const MAX_CONCURRENT_QUESTIONS: usize = 100;
/// The default of `max_questions`, for strangers and again for known tokens.
const MAX_QUESTIONS: usize = 2 * 1_000;
/// No more requests of one kind are under way at a time. It never is a limit here, unless something hangs.
const MOST_AT_A_TIME: u32 = 5_000;
/// What a flood may leave behind in memory. A copy of each junk token with an entry in a map would be more.
const MEMORY_BOUND: u64 = 8 * 1024 * 1024;
/// From the end of a flood to the next quiet phase.
const SETTLING: Duration = Duration::from_secs(2);
const WORST_RATIO: f64 = 1.5;
/// Which parts of the rate limit, in hundredths, good tokens need in the floods of the second half, and how long an
/// answer serves there. Each is asked about again after 80 to 90 % of it, by a use that comes a fifth of a second later
/// at most: after 5.2 s on average.
const PARTS: [usize; 3] = [25, 50, 90];
const PARTS_MAX_TTL: Duration = Duration::from_secs(6);
const ASKED_ABOUT_EVERY_MILLIS: usize = 5_200;
const USES_A_SECOND: usize = 5;
const JUNK_A_SECOND: usize = 10_000;

struct Plan {
    hot: usize,
    max_ttl: Duration,
    good_rate: usize,
    junk: usize,
    rounds: usize,
    phase: Duration,
    rate_limit: Option<u32>,
    parts_time: Duration,
}

impl Plan {
    fn from_environment() -> Self {
        let rate_limit = setting("FLOOD_RATE_LIMIT", 0);
        Self {
            hot: setting("FLOOD_HOT", 100),
            max_ttl: Duration::from_secs(setting("FLOOD_MAX_TTL", 5)),
            good_rate: setting("FLOOD_GOOD_RATE", 2_000),
            junk: setting("FLOOD_JUNK", 50_000),
            rounds: setting("FLOOD_ROUNDS", 5),
            phase: Duration::from_secs(setting("FLOOD_SECONDS", 5)),
            rate_limit: (rate_limit > 0).then_some(rate_limit),
            parts_time: Duration::from_secs(setting("FLOOD_PARTS_SECONDS", 12)),
        }
    }
}

/// How the requests of one kind fared.
#[derive(Clone)]
struct Fared(Arc<Mutex<(Latencies, Statuses)>>);

impl Fared {
    fn new() -> Self {
        Self(Arc::new(Mutex::new((Latencies::new(), Statuses::default()))))
    }

    fn count(&self, due: Instant, status: StatusCode) {
        let mut fared = self.0.lock().unwrap();
        fared.0.record_since(due);
        fared.1.count(status);
    }

    fn statuses(&self) -> Statuses {
        self.0.lock().unwrap().1.clone()
    }

    fn quantile(&self, part: f64) -> Duration {
        self.0.lock().unwrap().0.quantile(part)
    }

    fn add(&self, other: &Self) {
        let (mut mine, theirs) = (self.0.lock().unwrap(), other.0.lock().unwrap());
        mine.0.add(&theirs.0);
        mine.1.add(&theirs.1);
    }
}

impl fmt::Display for Fared {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let fared = self.0.lock().unwrap();
        write!(f, "{}; by status {}", fared.0, fared.1)
    }
}

fn request_with(token: &str) -> Request<()> {
    Request::builder().header(AUTHORIZATION, format!("Bearer {token}")).body(()).unwrap()
}

/// Calls `service` with `count` requests, evenly over `time`, each in a task of its own, and waits for the last.
async fn call<S>(service: S, count: usize, time: Duration, request: impl Fn(usize) -> Request<()>) -> Fared
where
    S: Service<Request<()>, Response = Response<()>, Error = Infallible, Future: Send> + Clone + Send + 'static,
{
    let fared = Fared::new();
    let places = Arc::new(Semaphore::new(MOST_AT_A_TIME as usize));
    let ticks = usize::try_from(time.as_millis()).unwrap();
    let mut ticker = tokio::time::interval(Duration::from_millis(1));
    ticker.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut sent = 0;
    for tick in 1..=ticks {
        ticker.tick().await;
        let due = Instant::now();
        for n in sent..count * tick / ticks {
            let place = Arc::clone(&places).acquire_owned().await.unwrap();
            let (service, request, fared) = (service.clone(), request(n), fared.clone());
            tokio::spawn(async move {
                let response = service.oneshot(request).await.unwrap_or_else(|never| match never {});
                fared.count(due, response.status());
                drop(place);
            });
        }
        sent = count * tick / ticks;
    }
    let _ = places.acquire_many(MOST_AT_A_TIME).await.unwrap();
    fared
}

/// Looks at the endpoint a hundred times a second.
#[derive(Clone)]
struct Watch {
    endpoint: EndpointHandle,
    seen: Arc<Mutex<Seen>>,
}

#[derive(Default)]
struct Seen {
    calls: Vec<(Instant, u64)>,
    most_waiting: usize,
    most_under_way: usize,
}

impl Watch {
    fn start(endpoint: EndpointHandle) -> Self {
        let watch = Self { endpoint, seen: Arc::default() };
        tokio::spawn({
            let watch = watch.clone();
            async move {
                let mut ticker = tokio::time::interval(Duration::from_millis(10));
                loop {
                    ticker.tick().await;
                    watch.look();
                }
            }
        });
        watch
    }

    fn look(&self) {
        let stats = self.endpoint.stats();
        let mut seen = self.seen.lock().unwrap();
        seen.calls.push((Instant::now(), stats.attempts));
        seen.most_waiting = seen.most_waiting.max(stats.waiting);
        seen.most_under_way = seen.most_under_way.max(stats.under_way);
    }

    /// The most calls between two looks that were no more than a minute apart.
    fn most_in_a_minute(&self) -> u64 {
        let seen = self.seen.lock().unwrap();
        let mut first = 0;
        let mut most = 0;
        for (at, calls) in &seen.calls {
            while *at - seen.calls[first].0 > Duration::from_secs(60) {
                first += 1;
            }
            most = most.max(calls - seen.calls[first].1);
        }
        most
    }
}

async fn run(plan: &Plan) -> ExitCode {
    let sandbox = Sandbox::start().await.unwrap();
    sandbox.set_fault(Fault::Delay(ANSWER_TIME));
    let mut apigee = sandbox.apigee();
    if let Some(rate_limit) = plan.rate_limit {
        apigee = apigee.limits(Limits::new().rate_limit(rate_limit, Duration::from_secs(60)));
    }
    let cached = Cached::builder(apigee.build().unwrap()).max_ttl(plan.max_ttl).build().unwrap();
    let cache = cached.handle();
    let endpoint = tower_introspection::Introspect::endpoint(&cached).unwrap();
    let watch = Watch::start(endpoint.clone());
    let service = IntrospectionLayer::new(cached).layer(service_fn(|request: Request<()>| async move {
        assert!(request.extensions().get::<AccessToken>().is_some(), "nothing gets here without a token");
        Ok(Response::new(()))
    }));

    let hot: Vec<_> = (0..plan.hot).map(|n| sandbox.issue(SandboxToken::new().client_id(format!("app-{n}")))).collect();
    let good = async |time: Duration| {
        let count = plan.good_rate * usize::try_from(time.as_secs()).unwrap();
        call(service.clone(), count, time, |n| request_with(&hot[n % hot.len()])).await
    };

    // The first use of each, so slowly that the rate limit allows it, and two rounds of questions.
    let first_uses = Duration::from_millis(20 * plan.hot as u64);
    let first = call(service.clone(), plan.hot, first_uses, |n| request_with(&hot[n])).await;
    assert_eq!(first.statuses().other_than(&[200]), 0, "each good token gets in: {first}");
    good(2 * plan.max_ttl).await;

    let [quiet, load, flood, no_token, junk] = std::array::from_fn(|_| Fared::new());
    let mut ratios = Vec::new();
    let mut refreshes = 0;
    let mut memory_before = None;
    let (start, waits_before) = (Instant::now(), waits(&cache));
    for round in 0..plan.rounds {
        let now_quiet = good(plan.phase).await;

        let others = call(service.clone(), plan.junk / plan.rounds, plan.phase, |_| Request::new(()));
        let (now_load, others) = tokio::join!(good(plan.phase), others);
        no_token.add(&others);

        memory_before = memory_before.or_else(resident_memory);
        let before = cache.stats().refreshes;
        let first = round * (plan.junk / plan.rounds);
        let others =
            call(service.clone(), plan.junk / plan.rounds, plan.phase, |n| request_with(&token_name('j', first + n)));
        // The last of the junk waits for a second; meanwhile the good tokens stay in use, or they would expire.
        let goods = async {
            let measured = good(plan.phase).await;
            good(SETTLING).await;
            measured
        };
        let (now_flood, others) = tokio::join!(goods, others);
        junk.add(&others);
        refreshes += cache.stats().refreshes - before;

        let p99 = |fared: &Fared| fared.quantile(0.99).as_secs_f64() * 1e6;
        let [of_quiet, of_load, of_flood] = [&now_quiet, &now_load, &now_flood].map(p99);
        println!(
            "round {}: good tokens' p99 {of_quiet:.1} us quiet, {of_load:.1} us under load, {of_flood:.1} us in the flood",
            round + 1
        );
        ratios.push([of_load / of_quiet, of_flood / of_quiet, of_flood / of_load, of_quiet]);
        quiet.add(&now_quiet);
        load.add(&now_load);
        flood.add(&now_flood);
    }
    let memory_after = resident_memory();
    watch.look();
    let took = start.elapsed();
    let stats = cache.stats();

    println!("\nall rounds, {took:.0?}");
    println!("  good, quiet:      {quiet}");
    println!("  good, under load: {load}");
    println!("  good, in a flood: {flood}");
    println!("  without a token:  {no_token}");
    println!("  junk:             {junk}");
    println!(
        "  tokens in use asked about ahead of time: {}, in the floods {refreshes}; {} failed",
        stats.refreshes, stats.failed_refreshes
    );
    println!("  good requests that had to wait for a question: {}", waits(&cache) - waits_before);
    println!("  memory: {} before the first flood, {} after the last", mib(memory_before), mib(memory_after));

    println!("\nbounds");
    let mut bounds = Bounds::default();
    let of_rounds = |which: usize| ratios.iter().map(move |ratio| ratio[which]);
    let (least, most) = (of_rounds(3).fold(f64::MAX, f64::min), of_rounds(3).fold(0.0, f64::max));
    if most > WORST_RATIO * least {
        println!(
            "   note: the quiet p99 itself lies between {least:.1} and {most:.1} us: the machine is busy with something else"
        );
    }
    let [by_load, by_flood, flood_to_load] = [0, 1, 2].map(|which| median(of_rounds(which).collect()));
    bounds.check(
        by_flood <= WORST_RATIO,
        format_args!("good tokens' p99 in the flood is {by_flood:.2} times the quiet one, at most {WORST_RATIO}"),
    );
    println!(
        "          plain load of the same rate: {by_load:.2} times; the flood against plain load: {flood_to_load:.2} times"
    );
    println!(
        "          of all rounds together: {:.2} in the flood, {:.2} under load",
        ratio(&flood, &quiet),
        ratio(&load, &quiet)
    );
    let refused: u64 = [&quiet, &load, &flood].map(|fared| fared.statuses().other_than(&[200])).iter().sum();
    bounds.check(refused == 0, format_args!("{refused} good requests refused"));
    let statuses = junk.statuses();
    bounds.check(statuses.other_than(&[401, 503]) == 0, format_args!("each junk token got 401 or 503: {statuses}"));
    let most = watch.most_in_a_minute();
    bounds.check(most <= LIMIT, format_args!("{most} endpoint calls in the busiest minute, at most {LIMIT}"));
    bounds.check(
        stats.entries <= MAX_CAPACITY && stats.evictions == 0,
        format_args!("{} active tokens remembered, at most {MAX_CAPACITY}; {} evicted", stats.entries, stats.evictions),
    );
    bounds.check(
        stats.inactive_entries <= INACTIVE_CAPACITY,
        format_args!("{} inactive tokens remembered, at most {INACTIVE_CAPACITY}", stats.inactive_entries),
    );
    let (waiting, under_way) = {
        let seen = watch.seen.lock().unwrap();
        (seen.most_waiting, seen.most_under_way)
    };
    bounds.check(
        under_way <= MAX_CONCURRENT_QUESTIONS && waiting <= MAX_QUESTIONS,
        format_args!(
            "at most {under_way} questions under way, of {MAX_CONCURRENT_QUESTIONS}; at most {waiting} waiting, of {MAX_QUESTIONS}"
        ),
    );
    check_memory(&mut bounds, memory_before, memory_after);
    let left = left_over(&cache).await;
    bounds.check(left == 0, format_args!("{left} questions are under way when nobody asks any more"));
    let (sent, arrived) = (endpoint.stats().attempts, sandbox.total_calls());
    bounds.check(arrived <= sent, format_args!("the sandbox got {arrived} calls in all, the endpoint counts {sent}"));
    if !plan.parts_time.is_zero() {
        for part in PARTS {
            need(part, plan.parts_time, &mut bounds).await;
        }
    }
    bounds.verdict()
}

/// Good tokens need a part of the rate limit, in hundredths, and junk comes for some `time`.
async fn need(part: usize, time: Duration, bounds: &mut Bounds) {
    let sandbox = Sandbox::start().await.unwrap();
    sandbox.set_fault(Fault::Delay(ANSWER_TIME));
    let cached = Cached::builder(sandbox.apigee().build().unwrap()).max_ttl(PARTS_MAX_TTL).build().unwrap();
    let cache = cached.handle();
    let watch = Watch::start(tower_introspection::Introspect::endpoint(&cached).unwrap());
    let service = IntrospectionLayer::new(cached).layer(service_fn(|_| async { Ok(Response::new(())) }));
    let tokens = usize::try_from(LIMIT).unwrap() * part / 100 * ASKED_ABOUT_EVERY_MILLIS / 60_000;
    let hot: Vec<_> = (0..tokens).map(|_| sandbox.issue(SandboxToken::new())).collect();
    let seconds = usize::try_from(time.as_secs()).unwrap();
    let good = || call(service.clone(), tokens * USES_A_SECOND * seconds, time, |n| request_with(&hot[n % tokens]));

    let first_uses = Duration::from_millis(20 * tokens as u64);
    call(service.clone(), tokens, first_uses, |n| request_with(&hot[n])).await;
    good().await;
    let quiet = good().await;
    let (before, sent_before) = (cache.stats(), watch.endpoint.stats().attempts);
    let junk = call(service.clone(), JUNK_A_SECOND * seconds, time, |n| request_with(&token_name('p', n)));
    let (flood, junk) = tokio::join!(good(), junk);
    let asked = cache.stats().refreshes - before.refreshes;
    let sent = watch.endpoint.stats().attempts - sent_before;
    watch.look();

    println!("\n{tokens} good tokens need {part} % of the rate limit");
    println!("  good, quiet:      {quiet}");
    println!("  good, in a flood: {flood}");
    println!("  junk:             {junk}");
    println!("  in the flood {asked} questions ahead of time about good tokens, of {sent} in {seconds} s");
    let refused = |fared: &Fared| fared.statuses().other_than(&[200]);
    bounds.check(
        refused(&flood) == 0 && refused(&quiet) == 0,
        format_args!("{} good requests of {} refused in the flood", refused(&flood), flood.statuses().total()),
    );
    let statuses = junk.statuses();
    let answered = statuses.total() - statuses.other_than(&[401]);
    bounds.check(answered > 0, format_args!("{answered} junk tokens got an answer: what good ones leave"));
    let most = watch.most_in_a_minute();
    bounds.check(most <= LIMIT, format_args!("{most} endpoint calls in the busiest minute, at most {LIMIT}"));
}

/// How many active answers were used by requests that waited for them. Junk is never active.
fn waits(cache: &CacheHandle) -> u64 {
    let stats = cache.stats();
    stats.verdict_age.count() - stats.hits
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

fn check_memory(bounds: &mut Bounds, before: Option<u64>, after: Option<u64>) {
    match (before, after) {
        (Some(before), Some(after)) => {
            let grown = after.saturating_sub(before);
            bounds.check(
                grown <= MEMORY_BOUND,
                format_args!("memory grew by {} in the floods, at most {}", mib(Some(grown)), mib(Some(MEMORY_BOUND))),
            );
        }
        _ => println!("   note: memory is not measured on this system"),
    }
}

fn ratio(of: &Fared, to: &Fared) -> f64 {
    of.quantile(0.99).as_secs_f64() / to.quantile(0.99).as_secs_f64()
}

/// The questions that are under way although nobody asks any more.
async fn left_over(cache: &CacheHandle) -> usize {
    for _ in 0..100 {
        if cache.stats().questions_under_way == 0 {
            return 0;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    cache.stats().questions_under_way
}

fn main() -> ExitCode {
    if !support::is_asked_for() {
        return ExitCode::SUCCESS;
    }
    let plan = Plan::from_environment();
    println!(
        "{} good tokens, {} requests a second with them, max_ttl {:?}, sandbox answers in {ANSWER_TIME:?}, {} a minute",
        plan.hot,
        plan.good_rate,
        plan.max_ttl,
        plan.rate_limit
            .map_or_else(|| format!("the default of {LIMIT} questions"), |limit| format!("{limit} questions")),
    );
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(run(&plan))
}
