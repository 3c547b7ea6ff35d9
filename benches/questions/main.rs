//! How many questions the cache saves: `cargo bench --bench questions`, about five minutes, and 600 MB of memory.
//!
//! A simulation on a virtual clock, without sockets: 10 million requests (`REQUESTS`) over 100,000 and over 1,000,000
//! clients, 1,000 a second (`RATE`) of simulated time, so almost three hours. Which client sends a request follows
//! Zipf's law with exponent 1. Each has a token that lives for 30 minutes to 12 hours and is then replaced by a new
//! one; one in 20 is revoked some time before, and its client goes on presenting it for five minutes. See `trace.rs`.
//!
//! The requests go through the real `Cached`, as the layer asks it: `known`, and if there is no answer `introspect`.
//! The authority answers at once. `max_ttl` and `inactive_ttl` are the defaults, 60 and 10 seconds (`MAX_TTL`,
//! `INACTIVE_TTL`). Each capacity is tried with the default `refresh_ahead` and without it: asking ahead of time spares
//! requests the wait, at the price of questions, the fewer the more often an answer has to be used for it
//! (`REFRESH_AHEAD_USES`, 4). It is held against
//!
//! * the *least* possible number of questions: one only when a request comes for which no answer serves, with room for
//!   all;
//! * the *ideal*: Belady's rule, which knows the future. With deadlines it is no proven optimum, but the strongest rule
//!   known;
//! * *LRU*, with the same rules for how long an answer serves.
//!
//! The requests, and what these three make of them, are the same in every run. `Cached` differs a little from run to
//! run, since it draws the secret of its fingerprints anew. Two of its habits are bound to the real clock, which hardly
//! moves here, and are done for it: it does what it has put off (capacity, order of eviction) some times a second, so
//! `stats` is called every 300 requests, which has it do so; and it drops an answer when its time is over, so the
//! program has it forget each one at its deadline.
#![allow(missing_docs, missing_debug_implementations, unreachable_pub)]
#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::panic, clippy::disallowed_methods)]

mod deadlines;
mod reference;
#[path = "../support/mod.rs"]
mod support;
mod trace;

use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tower_introspection::clock::{Clock, ManualClock, Timestamp};
use tower_introspection::introspect::Ask;
use tower_introspection::{AccessToken, BearerToken, Cached, InactiveReason, Introspect, IntrospectError, Verdict};

use deadlines::Deadlines;
use reference::Limits;
use support::figures::{Lines, Series};
use support::{Bounds, setting, token_name};
use trace::{BEGINNING, Token, Trace};

const COMMAND: &str = "cargo bench --bench questions";
const POPULATIONS: [usize; 2] = [100_000, 1_000_000];
/// Capacities in hundredths of the population.
const CAPACITIES: [usize; 3] = [1, 10, 100];
/// 0.2 is the default.
const REFRESH_AHEAD: [f64; 2] = [0.0, 0.2];
const REQUESTS_BETWEEN_LOOKS: usize = 300;
/// Questions for each one that is needed.
const MOST_QUESTIONS: f64 = 1.02;
/// What the vendor allows an organisation: 10,000 calls a minute.
const CALLS_A_DAY: f64 = 10_000.0 * 60.0 * 24.0;
const DAY: f64 = 24.0 * 60.0 * 60.0;

/// Answers at once, and notes until when each answer serves.
struct Authority {
    trace: Arc<Trace>,
    clock: ManualClock,
    limits: Limits,
    asked: Arc<Mutex<Asked>>,
}

struct Asked {
    questions: usize,
    deadlines: Deadlines,
}

impl Introspect for Authority {
    async fn introspect(&self, ask: Ask<'_>) -> Result<Verdict, IntrospectError> {
        let token = ask.token();
        let now = self.clock.now().as_unix_millis();
        let number = number_of(token);
        let facts = self.trace.token(number);
        let mut asked = self.asked.lock().unwrap();
        asked.questions += 1;
        asked.deadlines.set(number, self.limits.deadline(facts, now));
        Ok(verdict(facts, now))
    }
}

/// The number that [`token_name`] made the token of.
fn number_of(token: &BearerToken) -> u32 {
    let text = token.expose();
    text[text.len() - 8..].parse().unwrap()
}

fn verdict(token: &Token, now: i64) -> Verdict {
    if token.is_active_at(now) {
        return Verdict::Active(
            AccessToken::builder().expires_at(Timestamp::from_unix_millis(token.expires_at)).build(),
        );
    }
    Verdict::Inactive(if now < token.expires_at { InactiveReason::Revoked } else { InactiveReason::Expired })
}

/// What became of the requests with one capacity.
#[derive(Clone, Copy, Default)]
struct Outcome {
    questions: usize,
    /// Requests that found no answer.
    waits: usize,
    /// Let in though expired, or `max_ttl` after the revocation; or turned away though active.
    wrong: usize,
    most_entries: u64,
    took: Duration,
}

async fn simulate(trace: Arc<Trace>, capacity: usize, refresh_ahead: f64, limits: Limits) -> Outcome {
    let start = Instant::now();
    let clock = ManualClock::at(Timestamp::from_unix_millis(BEGINNING));
    let deadlines = Deadlines::for_tokens(trace.tokens.len());
    let asked = Arc::new(Mutex::new(Asked { questions: 0, deadlines }));
    let authority = Authority { trace: Arc::clone(&trace), clock: clock.clone(), limits, asked: Arc::clone(&asked) };
    let cached = Cached::builder(authority)
        .clock(clock.clone())
        .max_capacity(capacity as u64)
        .max_ttl(Duration::from_millis(limits.max_ttl.unsigned_abs()))
        .inactive_ttl(Duration::from_millis(limits.inactive_ttl.unsigned_abs()))
        .refresh_ahead(refresh_ahead)
        .refresh_ahead_uses(setting("REFRESH_AHEAD_USES", 4))
        .build()
        .unwrap();
    let cache = cached.handle();
    let runtime = tokio::runtime::Handle::current().metrics();

    let mut outcome = Outcome::default();
    for (n, now, number) in trace.iter() {
        clock.set(Timestamp::from_unix_millis(now));
        asked.lock().unwrap().deadlines.pass(now, |number| {
            cache.invalidate(&BearerToken::parse(token_name('t', number as usize)).unwrap());
        });
        let text = token_name('t', number as usize);
        let token = BearerToken::parse(&text).unwrap();
        let verdict = match cached.cached(&token) {
            Some(verdict) => verdict,
            None => {
                outcome.waits += 1;
                cached.introspect(Ask::new(&token)).await.unwrap()
            }
        };
        // A question asked ahead of time is answered before the next request comes.
        while runtime.num_alive_tasks() > 0 {
            tokio::task::yield_now().await;
        }
        outcome.wrong += usize::from(is_wrong(&verdict, trace.token(number), now, limits));
        if n % REQUESTS_BETWEEN_LOOKS == 0 {
            outcome.most_entries = outcome.most_entries.max(cache.stats().entries);
        }
    }
    outcome.questions = asked.lock().unwrap().questions;
    assert_eq!(cache.stats().questions, outcome.questions as u64);
    outcome.took = start.elapsed();
    outcome
}

fn is_wrong(verdict: &Verdict, token: &Token, now: i64, limits: Limits) -> bool {
    if verdict.is_active() {
        now >= token.expires_at || now >= token.revoked_at.saturating_add(limits.max_ttl)
    } else {
        token.is_active_at(now)
    }
}

/// All that is known of one capacity.
struct Line {
    percent: usize,
    capacity: usize,
    ideal: usize,
    lru: usize,
    /// In the order of [`REFRESH_AHEAD`].
    ours: [Outcome; REFRESH_AHEAD.len()],
}

fn line(trace: &Arc<Trace>, percent: usize, limits: Limits) -> Line {
    let capacity = trace.population * percent / 100;
    let ours = REFRESH_AHEAD.map(|refresh_ahead| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(simulate(Arc::clone(trace), capacity, refresh_ahead, limits))
    });
    let ideal = reference::ideal(trace, capacity, limits);
    Line { percent, capacity, ideal, lru: reference::lru(trace, capacity, limits), ours }
}

/// One line for each capacity, computed side by side.
fn lines(trace: &Arc<Trace>, limits: Limits) -> Vec<Line> {
    let threads = setting("THREADS", std::thread::available_parallelism().map_or(1, usize::from));
    let (todo, done) = (Mutex::new(CAPACITIES.to_vec()), Mutex::new(Vec::new()));
    let take = || todo.lock().unwrap().pop();
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(percent) = take() {
                    let line = line(trace, percent, limits);
                    done.lock().unwrap().push(line);
                }
            });
        }
    });
    let mut lines = done.into_inner().unwrap();
    lines.sort_by_key(|line| line.percent);
    lines
}

#[allow(clippy::cast_precision_loss)]
fn part(some: usize, of: usize) -> f64 {
    some as f64 / of as f64
}

fn hit_percent(misses: usize, requests: usize) -> f64 {
    100.0 * (1.0 - part(misses, requests))
}

fn print_questions(trace: &Trace, what: &str, questions: usize, least: usize) {
    #[allow(clippy::cast_precision_loss)]
    let a_day = questions as f64 * DAY / trace.seconds();
    println!(
        "  {what:<32} {questions:>9} questions, {:.4} times the least, {:>5.1} million a day, {:>5.1} % of the budget",
        part(questions, least),
        a_day / 1e6,
        100.0 * a_day / CALLS_A_DAY,
    );
}

fn report(trace: &Trace, lines: &[Line], limits: Limits) -> usize {
    let requests = trace.requests.len();
    let least = reference::least(trace, limits);
    println!(
        "\n{} clients, {} tokens, {requests} requests in {:.0} simulated seconds; {} present a revoked token",
        trace.population,
        trace.tokens.len(),
        trace.seconds(),
        trace.after_revocation(),
    );
    print_questions(trace, "no cache", requests, least);
    print_questions(trace, "least possible", least, least);
    for line in lines {
        println!(
            "capacity {} % of the clients, {} tokens; remembered at most {} without refresh, {} with it",
            line.percent, line.capacity, line.ours[0].most_entries, line.ours[1].most_entries,
        );
        print_questions(trace, "ideal", line.ideal, least);
        print_questions(trace, "LRU", line.lru, least);
        print_questions(trace, "ours, refresh_ahead off", line.ours[0].questions, least);
        print_questions(trace, "ours, refresh_ahead 0.2", line.ours[1].questions, least);
        let [ideal, lru, off, on] =
            [line.ideal, line.lru, line.ours[0].waits, line.ours[1].waits].map(|misses| hit_percent(misses, requests));
        println!(
            "  hit ratio: ideal {ideal:.2} %, LRU {lru:.2} %, ours {off:.2} % ({:.3} of the ideal), ours with refresh {on:.2} %",
            off / ideal,
        );
        println!(
            "  simulated in {:.1} s and {:.1} s",
            line.ours[0].took.as_secs_f64(),
            line.ours[1].took.as_secs_f64()
        );
    }
    least
}

fn check(bounds: &mut Bounds, trace: &Trace, lines: &[Line], least: usize) {
    let population = trace.population;
    for line in lines.iter().filter(|line| line.capacity >= population) {
        for (outcome, refresh_ahead) in line.ours.iter().zip(REFRESH_AHEAD) {
            let ratio = part(outcome.questions, least);
            bounds.check(
                ratio <= MOST_QUESTIONS,
                format_args!(
                    "{population} clients, refresh_ahead {refresh_ahead}: {ratio:.4} times the least possible, at most {MOST_QUESTIONS}"
                ),
            );
        }
    }
    let most = |line: &Line| line.ours.iter().map(|outcome| outcome.most_entries).max().unwrap_or(0);
    let over = lines.iter().filter(|line| most(line) > line.capacity as u64).count();
    bounds.check(
        over == 0,
        format_args!(
            "{population} clients: never more entries than the capacity, looked at every {REQUESTS_BETWEEN_LOOKS} requests"
        ),
    );
    let wrong: usize = lines.iter().flat_map(|line| &line.ours).map(|outcome| outcome.wrong).sum();
    bounds.check(wrong == 0, format_args!("{population} clients: {wrong} wrong verdicts"));
}

#[allow(clippy::cast_precision_loss)]
fn write_figures(name: &str, trace: &Trace, lines: &[Line]) {
    let requests = trace.requests.len();
    let series = |label: &str, ours: bool, misses: fn(&Line) -> usize| Series {
        label: label.into(),
        ours,
        points: lines.iter().map(|line| (line.percent as f64, hit_percent(misses(line), requests))).collect(),
    };
    let subtitle = format!(
        "{} million requests over {} clients, Zipf's law, max_ttl 60 s",
        requests as f64 / 1e6,
        trace.population
    );
    let chart = Lines {
        title: "Requests answered from memory",
        subtitle: &subtitle,
        command: COMMAND,
        x: ("capacity, % of the clients", "log"),
        y: ("hit ratio, %", "linear"),
    };
    let all = [
        series("tower-introspection, asking ahead of time", true, |line| line.ours[1].waits),
        series("tower-introspection, refresh_ahead off", true, |line| line.ours[0].waits),
        series("ideal (knows the future)", false, |line| line.ideal),
        series("LRU", false, |line| line.lru),
    ];
    chart.write(name, &all);
}

fn main() -> ExitCode {
    if !support::is_asked_for() {
        return ExitCode::SUCCESS;
    }
    let (requests, rate) = (setting("REQUESTS", 10_000_000), setting("RATE", 1_000));
    let limits = Limits { max_ttl: 1_000 * setting("MAX_TTL", 60), inactive_ttl: 1_000 * setting("INACTIVE_TTL", 10) };
    println!(
        "{requests} requests, {rate} a second, max_ttl {} ms, inactive_ttl {} ms",
        limits.max_ttl, limits.inactive_ttl
    );
    let mut bounds = Bounds::default();
    for (population, name) in POPULATIONS.into_iter().zip(["questions_100k", "questions"]) {
        let trace = Arc::new(Trace::new(requests, population, rate));
        let lines = lines(&trace, limits);
        let least = report(&trace, &lines, limits);
        println!();
        check(&mut bounds, &trace, &lines, least);
        write_figures(name, &trace, &lines);
    }
    bounds.verdict()
}
