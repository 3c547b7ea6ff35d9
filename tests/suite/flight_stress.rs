//! Storms of requests, hang-ups, failures, panics and invalidations on several threads. What a request does is decided
//! by a seed; which thread is first is not.
#![cfg(feature = "test-util")]

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use crate::support::*;
use tokio::task::{JoinSet, yield_now};
use tower_introspection::cache::Selection;
use tower_introspection::clock::ManualClock;
use tower_introspection::introspect::Ask;
use tower_introspection::introspect::IntrospectErrorKind;
use tower_introspection::stats::CacheStats;
use tower_introspection::{AccessToken, BearerToken, Cached, InactiveReason, Introspect, Verdict};

const TOKENS: usize = 6;
const CLIENTS: usize = 2;
const TASKS: u64 = 16;
const STEPS: u64 = 60;
const SEEDS: std::ops::Range<u64> = 0..24;

/// SplitMix64: enough to make plans differ, and always the same from the same seed.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn index(&mut self, bound: usize) -> usize {
        usize::try_from(self.below(bound as u64)).unwrap()
    }
}

async fn yield_times(times: u64) {
    for _ in 0..times {
        yield_now().await;
    }
}

fn name_of(token: usize) -> String {
    format!("token-{token}")
}

/// An authority that counts every question and every invalidation with one counter, and says so in its answers.
struct Storm {
    seed: u64,
    max_questions: usize,
    /// The weather is over: every question is answered well.
    calm: AtomicBool,
    events: AtomicU64,
    /// No request that comes now may get an answer that was asked for before this event.
    floors: [AtomicU64; TOKENS],
    under_way: [AtomicUsize; TOKENS],
    strangers: AtomicUsize,
    known: AtomicUsize,
    violations: Mutex<Vec<String>>,
}

#[derive(Clone)]
struct Stormy(Arc<Storm>);

impl Storm {
    fn new(seed: u64, max_questions: usize) -> Arc<Self> {
        Arc::new(Self {
            seed,
            max_questions,
            calm: AtomicBool::new(false),
            events: AtomicU64::new(1),
            floors: Default::default(),
            under_way: Default::default(),
            strangers: AtomicUsize::new(0),
            known: AtomicUsize::new(0),
            violations: Mutex::default(),
        })
    }

    fn event(&self) -> u64 {
        self.events.fetch_add(1, Ordering::SeqCst)
    }

    fn require(&self, holds: bool, rule: impl FnOnce() -> String) {
        if !holds {
            self.violations.lock().unwrap().push(rule());
        }
    }

    async fn ask(&self, token: &BearerToken<'_>, share: &AtomicUsize) -> Answer {
        let token: usize = token.expose().strip_prefix("token-").unwrap().parse().unwrap();
        let asked = self.event();
        let _about_it = self.enter(&self.under_way[token], 1, "for one token");
        let _among_all = self.enter(share, self.max_questions, "for all tokens");
        let mut random = Random(self.seed ^ asked.wrapping_mul(0x9e37_79b9));
        yield_times(random.below(6)).await;
        match random.below(20) {
            _ if self.calm.load(Ordering::SeqCst) => Ok(active_since(token, asked)),
            0..=2 => failure(IntrospectErrorKind::Connect),
            // Like a panic, but says nothing on the terminal.
            3 => std::panic::resume_unwind(Box::new("the introspector panics")),
            4 => Ok(Verdict::Inactive(InactiveReason::Revoked)),
            _ => Ok(active_since(token, asked)),
        }
    }

    fn enter<'s>(&self, counter: &'s AtomicUsize, limit: usize, what: &str) -> Leave<'s> {
        let before = counter.fetch_add(1, Ordering::SeqCst);
        self.require(before < limit, || format!("{before} questions {what} are under way, and one more"));
        Leave(counter)
    }

    /// A request that may be dropped at any moment.
    async fn request(&self, cached: &Cached<Stormy>, token: usize) {
        let floor = self.floors[token].load(Ordering::SeqCst);
        match known_or_asked(cached, &name_of(token)).await {
            Ok(Verdict::Active(facts)) => {
                let asked: u64 = facts.claim("asked").unwrap();
                self.require(facts.claim("token") == Some(token), || "an answer for another token".into());
                self.require(asked > floor, || format!("asked at {asked}, but it was invalidated at {floor}"));
            }
            Ok(Verdict::Inactive(reason)) => {
                self.require(reason == InactiveReason::Revoked, || format!("nobody said {reason:?}"));
            }
            Err(error) => {
                let kinds =
                    [IntrospectErrorKind::Connect, IntrospectErrorKind::Abandoned, IntrospectErrorKind::Overloaded];
                self.require(kinds.contains(&error.kind()), || format!("nothing failed like this: {error:?}"));
            }
        }
    }

    fn invalidate(&self, cached: &Cached<Stormy>, random: &mut Random) {
        let called = self.event();
        let handle = cached.handle();
        let token = random.index(TOKENS);
        let mut covered: Vec<usize> = (0..TOKENS).collect();
        let client = (token % CLIENTS).to_string();
        match random.below(5) {
            0 => {
                handle.invalidate(&bearer(&name_of(token)));
                covered.retain(|&other| other == token);
            }
            1 => {
                let name = name_of(token);
                handle.invalidate(Selection::token(&bearer(&name)).and(Selection::client(client)));
                covered.retain(|&other| other == token);
            }
            2 => _ = handle.invalidate_all(),
            3 => {
                handle.invalidate(Selection::client(client));
                covered.retain(|other| other % CLIENTS == token % CLIENTS);
            }
            _ => {
                handle.invalidate_where(move |facts| facts.client_id() == Some(client.as_str()));
                covered.retain(|other| other % CLIENTS == token % CLIENTS);
            }
        }
        for token in covered {
            self.floors[token].fetch_max(called, Ordering::SeqCst);
        }
    }
}

fn active_since(token: usize, asked: u64) -> Verdict {
    let facts = AccessToken::builder().client_id((token % CLIENTS).to_string());
    let facts = facts.claim("token", token).and_then(|facts| facts.claim("asked", asked)).unwrap();
    Verdict::Active(facts.build())
}

struct Leave<'s>(&'s AtomicUsize);

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Introspect for Stormy {
    async fn introspect(&self, ask: Ask<'_>) -> Answer {
        self.0.ask(ask.token(), if ask.is_known() { &self.0.known } else { &self.0.strangers }).await
    }
}

/// One of many: asks, hangs up, invalidates, and lets time pass.
async fn caller(storm: Arc<Storm>, cached: Cached<Stormy>, clock: ManualClock, mut random: Random) {
    for _ in 0..STEPS {
        // Mostly the same token, so that many meet.
        let token = if random.below(2) == 0 { 0 } else { random.index(TOKENS) };
        match random.below(20) {
            0..=1 => storm.invalidate(&cached, &mut random),
            2 => clock.advance(millis(random.below(20_000))),
            3..=6 => {
                let (storm, cached) = (Arc::clone(&storm), cached.clone());
                let request = tokio::spawn(async move { storm.request(&cached, token).await });
                yield_times(random.below(4)).await;
                request.abort();
            }
            _ => patiently(storm.request(&cached, token)).await,
        }
    }
}

/// Returns what the cache counted in one storm.
async fn storm(seed: u64) -> CacheStats {
    let mut random = Random(seed);
    let max_questions = random.index(TOKENS) + 1;
    let clock = ManualClock::at(START);
    let storm = Storm::new(seed, max_questions);
    let cached = Cached::builder(Stormy(Arc::clone(&storm)))
        .max_flights(max_questions)
        .max_ttl(secs([0, 10, 60][random.index(3)]))
        .stale_if_error(secs([0, 30][random.index(2)]))
        .refresh_ahead([0.2, 1.0][random.index(2)])
        .refresh_ahead_uses(1)
        .max_capacity([2, 100][random.index(2)])
        .clock(clock.clone())
        .build()
        .unwrap();
    let mut callers = JoinSet::new();
    for _ in 0..TASKS {
        let plan = Random(random.next());
        callers.spawn(caller(Arc::clone(&storm), cached.clone(), clock.clone(), plan));
    }
    while let Some(caller) = patiently(callers.join_next()).await {
        caller.unwrap();
    }

    // Questions whose callers hung up go on, and end.
    quiet(&cached).await;
    storm.calm.store(true, Ordering::SeqCst);
    cached.handle().invalidate_all();
    for token in 0..TOKENS {
        let verdict = patiently(cached.introspect(Ask::new(&bearer(&name_of(token))))).await;
        storm.require(matches!(verdict, Ok(Verdict::Active(_))), || format!("after the storm: {verdict:?}"));
    }
    let violations = std::mem::take(&mut *storm.violations.lock().unwrap());
    assert!(violations.is_empty(), "seed {seed}:\n{}", violations.join("\n"));
    cached.handle().stats()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_storm_breaks_a_rule_of_the_flights() {
    let mut storms = Vec::new();
    for seed in SEEDS {
        // A task of its own, so that its failure names the seed.
        let outcome = tokio::spawn(storm(seed)).await;
        storms.push(outcome.unwrap_or_else(|error| panic!("seed {seed}: {error}")));
    }
    // They did rage.
    let sum = |figure: fn(&CacheStats) -> u64| storms.iter().map(figure).sum::<u64>();
    for (what, count) in [
        ("hits", sum(|stats| stats.hits)),
        ("joined", sum(|stats| stats.coalesced)),
        ("turned away", sum(|stats| stats.overloaded)),
        ("refreshes", sum(|stats| stats.refreshes)),
        ("failures", sum(|stats| stats.failures)),
        ("asked anew", sum(|stats| stats.questions - stats.misses - stats.refreshes)),
    ] {
        println!("{what}: {count}");
        assert!(count > 0, "none of the requests were {what}");
    }
}
