//! Tokens that are judged from themselves alone: what was invalidated is refused when it is judged anew.
#![cfg(feature = "test-util")]

mod model;

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tower_introspection::cache::{CachedBuilder, Selection};
use tower_introspection::clock::{ManualClock, Timestamp};
use tower_introspection::introspect::{AnyIntrospector, Ask};
use tower_introspection::{AccessToken, Cached, InactiveReason, Introspect, Verdict};

use crate::support::*;

/// Says of a token what stands in it, as whoever verifies signatures does. Of others it knows nothing.
#[derive(Clone, Default)]
pub(crate) struct Judge(Arc<Judging>);

#[derive(Default)]
struct Judging {
    tokens: Mutex<HashMap<String, AccessToken>>,
    verdicts: AtomicUsize,
}

impl Judge {
    pub(crate) fn issues(&self, token: &str, facts: AccessToken) {
        self.0.tokens.lock().unwrap().insert(token.to_owned(), facts);
    }

    pub(crate) fn verdicts(&self) -> usize {
        self.0.verdicts.load(Ordering::Relaxed)
    }
}

impl Introspect for Judge {
    async fn introspect(&self, ask: Ask<'_>) -> Answer {
        self.0.verdicts.fetch_add(1, Ordering::Relaxed);
        let facts = self.0.tokens.lock().unwrap().get(ask.token().expose()).cloned();
        Ok(facts.map_or(Verdict::Inactive(InactiveReason::Unknown), Verdict::Active))
    }

    fn judges_alone(&self) -> Option<Duration> {
        Some(Duration::ZERO)
    }
}

/// A cache around a judge, and the clock of both.
struct Bench {
    judge: Judge,
    cached: Cached<Judge>,
    clock: ManualClock,
}

impl Bench {
    fn new(settings: impl FnOnce(CachedBuilder<Judge>) -> CachedBuilder<Judge>) -> Self {
        let (judge, clock) = (Judge::default(), ManualClock::at(START));
        let builder = Cached::builder(judge.clone()).clock(clock.clone());
        Self { judge, cached: settings(builder).build().unwrap(), clock }
    }

    /// That nothing is remembered of what is not active makes each request judge.
    fn plain() -> Self {
        Self::new(|builder| builder.inactive_ttl(secs(0)))
    }

    fn issues(&self, token: &str, subject: &str) {
        self.judge.issues(token, issued(subject, self.clock.now()));
    }

    async fn lets_in(&self, token: &str) -> bool {
        let verdict = known_or_asked(&self.cached, token).await.unwrap();
        assert!(matches!(verdict, Verdict::Active(_) | Verdict::Inactive(InactiveReason::Revoked)), "{verdict:?}");
        verdict.is_active()
    }

    fn invalidates(&self, selection: impl Into<Selection>) -> usize {
        self.cached.handle().invalidate(selection).forgotten()
    }
}

trait Now {
    fn now(&self) -> Timestamp;
}

impl Now for ManualClock {
    fn now(&self) -> Timestamp {
        tower_introspection::clock::Clock::now(self)
    }
}

fn issued(subject: &str, at: Timestamp) -> AccessToken {
    AccessToken::builder().subject(subject).issued_at(at).expires_at(at + secs(3_600)).build()
}

#[tokio::test]
async fn a_token_that_was_invalidated_is_refused_however_often_it_is_judged() {
    let bench = Bench::plain();
    bench.issues("abc", "ann");
    bench.issues("def", "ann");
    assert!(bench.lets_in("abc").await && bench.lets_in("def").await);
    assert_eq!(bench.invalidates(&bearer("abc")), 1);
    for verdicts in 3..6 {
        assert!(!bench.lets_in("abc").await);
        assert_eq!(bench.judge.verdicts(), verdicts);
        bench.clock.advance(secs(100));
    }
    assert!(bench.lets_in("def").await);
    // One that nobody has seen before.
    bench.issues("ghi", "ann");
    assert_eq!(bench.invalidates(&bearer("ghi")), 0);
    assert!(!bench.lets_in("ghi").await);
    bench.clock.advance(secs(1_000));
    assert!(!bench.lets_in("ghi").await);
}

#[tokio::test]
async fn who_was_invalidated_by_what_is_stated_is_let_in_with_a_new_token() {
    let bench = Bench::plain();
    bench.issues("first", "ann");
    bench.issues("other", "bob");
    bench.clock.advance(millis(1_400));
    bench.issues("same-second", "ann");
    bench.judge.issues("silent", AccessToken::builder().subject("ann").build());
    assert!(bench.lets_in("first").await && bench.lets_in("other").await);
    bench.clock.advance(millis(100));
    assert_eq!(bench.invalidates(Selection::subject("ann")), 1);
    bench.clock.advance(millis(400));
    bench.issues("a-moment-later", "ann");
    bench.clock.advance(millis(100));
    bench.issues("later", "ann");
    for (token, is_let_in) in [
        ("first", false),
        ("other", true),
        ("silent", false),
        ("same-second", false),
        ("a-moment-later", false),
        ("later", true),
    ] {
        assert_eq!(bench.lets_in(token).await, is_let_in, "{token}");
    }
}

#[tokio::test]
async fn everything_that_was_issued_so_far_is_refused_and_no_more() {
    let bench = Bench::plain();
    bench.issues("abc", "ann");
    assert!(bench.lets_in("abc").await);
    bench.clock.advance(secs(1));
    assert_eq!(bench.cached.handle().invalidate_all().forgotten(), 1);
    bench.clock.advance(secs(1));
    bench.issues("def", "ann");
    assert!(!bench.lets_in("abc").await && bench.lets_in("def").await);
}

#[tokio::test]
async fn a_token_with_a_condition_is_refused_if_that_holds() {
    let bench = Bench::plain();
    for (token, subject) in [("abc", "ann"), ("def", "bob"), ("ghi", "ann")] {
        bench.issues(token, subject);
        let of_ann = Selection::subject("ann");
        if token != "ghi" {
            bench.invalidates(Selection::token(&bearer(token)).and(of_ann));
        }
    }
    assert!(!bench.lets_in("abc").await && bench.lets_in("def").await && bench.lets_in("ghi").await);
    bench.invalidates(Selection::token(&bearer("def")).and(Selection::token(&bearer("ghi"))));
    assert!(bench.lets_in("def").await && bench.lets_in("ghi").await, "no token is both");
}

/// Nobody can say how long it would have to be kept.
#[tokio::test]
async fn a_closure_forgets_and_refuses_nobody() {
    let bench = Bench::plain();
    bench.issues("abc", "ann");
    assert!(bench.lets_in("abc").await);
    assert_eq!(bench.cached.handle().invalidate_where(|_| true), 1);
    assert!(bench.lets_in("abc").await);
    assert_eq!(bench.judge.verdicts(), 2);
}

#[tokio::test]
async fn what_is_refused_is_remembered_and_counted_as_revoked() {
    let bench = Bench::new(|builder| builder);
    bench.issues("abc", "ann");
    bench.invalidates(&bearer("abc"));
    for _ in 0..3 {
        assert!(!bench.lets_in("abc").await);
    }
    let stats = bench.cached.handle().stats();
    assert_eq!((stats.questions, stats.active_answers, stats.inactive_hits), (1, 0, 2));
    assert_eq!(stats.inactive_by_reason, [(InactiveReason::Revoked, 1)]);
    assert_eq!((stats.entries, stats.inactive_entries), (0, 1));
}

/// An answer that a mark covers needs no other one, unless whatever was said of the token is to be forgotten.
#[tokio::test]
async fn a_question_under_way_is_answered_by_the_mark_and_asked_once_more_at_most() {
    let (authority, clock) = (Authority::new(Ok(Verdict::Active(issued("ann", START)))), ManualClock::at(START));
    for (selection, questions) in
        [(Selection::token(&bearer("abc")), 2), (Selection::subject("ann"), 1), (Selection::all(), 2)]
    {
        authority.hold();
        let cached = Cached::builder(Alone(authority.clone())).clock(clock.clone()).build().unwrap();
        let before = authority.questions();
        let asking = spawn_ask(&cached);
        authority.asked(before + 1).await;
        drop(cached.handle().invalidate(selection));
        (0..5).for_each(|_| authority.release());
        let verdict = patiently(asking).await.unwrap().unwrap();
        assert!(matches!(verdict, Verdict::Inactive(InactiveReason::Revoked)), "{verdict:?}");
        assert_eq!(authority.questions() - before, questions);
    }
}

/// An authority in the test's hands that is taken for one that is not asked.
#[derive(Clone)]
pub(crate) struct Alone<I>(pub(crate) I);

impl<I: Introspect> Introspect for Alone<I> {
    async fn introspect(&self, ask: Ask<'_>) -> Answer {
        self.0.introspect(ask).await
    }

    fn judges_alone(&self) -> Option<Duration> {
        Some(Duration::ZERO)
    }
}

#[tokio::test]
async fn whoever_stands_around_it_says_so_too() {
    let judge = Judge::default();
    judge.issues("abc", issued("ann", START));
    assert_eq!(Authority::new(active()).judges_alone(), None);
    assert_eq!(Cached::new(Authority::new(active())).judges_alone(), None);
    let clock = ManualClock::at(START);
    let within = Cached::builder(judge.clone()).clock(clock.clone()).build().unwrap();
    let around = Arc::new(AnyIntrospector::new(within));
    assert_eq!(around.judges_alone(), Some(Duration::ZERO));
    let cached = Cached::builder(around).clock(clock).build().unwrap();
    drop(cached.handle().invalidate(&bearer("abc")));
    let verdict = known_or_asked(&cached, "abc").await.unwrap();
    assert!(matches!(verdict, Verdict::Inactive(InactiveReason::Revoked)), "{verdict:?}");
}

#[tokio::test]
async fn where_an_authority_is_asked_it_has_the_last_word() {
    let (cached, _) = cached(&Authority::new(Ok(Verdict::Active(issued("ann", START)))), |builder| builder);
    for selection in [Selection::token(&bearer("abc")), Selection::subject("ann"), Selection::all()] {
        assert!(known_or_asked(&cached, "abc").await.unwrap().is_active());
        assert_eq!(cached.handle().invalidate(selection).forgotten(), 1);
    }
    assert!(known_or_asked(&cached, "abc").await.unwrap().is_active());
}

/// It takes the holders of older tokens with it, and lets in nothing that was invalidated.
#[tokio::test]
async fn with_more_invalidations_than_there_is_room_for_older_tokens_are_refused() {
    let bench = Bench::plain();
    bench.issues("victim", "ann");
    bench.issues("older", "bob");
    bench.invalidates(&bearer("victim"));
    assert!(bench.lets_in("older").await && !bench.lets_in("victim").await);
    bench.clock.advance(secs(10));
    bench.issues("newer", "bob");
    for number in 0..100_000 {
        bench.invalidates(&bearer(&format!("t{number}")));
    }
    bench.clock.advance(secs(100));
    assert!(!bench.lets_in("victim").await && !bench.lets_in("older").await && !bench.lets_in("newer").await);
    bench.issues("newest", "bob");
    assert!(bench.lets_in("newest").await);
}
