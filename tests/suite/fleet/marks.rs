//! Tokens that are judged from themselves alone, in a fleet: what one process has invalidated all refuse.

use tower_introspection::cache::{CachedBuilder, Reach, Selection};
use tower_introspection::clock::{Clock, ManualClock};
use tower_introspection::fleet::{Fleet, FleetSecret, MemoryEngine};
use tower_introspection::introspect::IntrospectErrorKind;
use tower_introspection::{AccessToken, Cached, InactiveReason, Introspect, Verdict};

use super::{Process, all_read, engine, passes, passes_for, secret};
use crate::marks::{Alone, Judge};
use crate::support::{Authority, START, bearer, failure, known_or_asked, millis, secs, until};

/// One process of a fleet.
struct Member<I> {
    cached: Cached<I>,
    fleet: Fleet,
}

impl<I: Introspect + Clone> Member<I> {
    async fn start(engine: &MemoryEngine, clock: &ManualClock, judge: &I) -> Self {
        let member = Self::in_fleet(fleet(engine, clock), clock, judge, |builder| builder);
        all_there(&member).await;
        member
    }

    fn in_fleet(
        fleet: Fleet,
        clock: &ManualClock,
        judge: &I,
        settings: impl FnOnce(CachedBuilder<I>) -> CachedBuilder<I>,
    ) -> Self {
        let cached = Cached::builder(judge.clone()).clock(clock.clone()).inactive_ttl(secs(0)).fleet(&fleet);
        Self { cached: settings(cached).build().unwrap(), fleet }
    }

    async fn lets_in(&self, token: &str) -> bool {
        let verdict = known_or_asked(&self.cached, token).await.unwrap();
        assert!(matches!(verdict, Verdict::Active(_) | Verdict::Inactive(InactiveReason::Revoked)), "{verdict:?}");
        verdict.is_active()
    }

    async fn invalidates(&self, selection: impl Into<Selection>) {
        assert_eq!(self.cached.handle().invalidate(selection).await, Reach::Recorded);
    }
}

fn fleet(engine: &MemoryEngine, clock: &ManualClock) -> Fleet {
    Fleet::in_memory(engine, "orders", secret()).clock(clock.clone()).build().unwrap()
}

fn issue(judge: &Judge, clock: &ManualClock, token: &str, subject: &str) {
    let facts = AccessToken::builder().subject(subject).issued_at(clock.now());
    judge.issues(token, facts.expires_at(clock.now() + secs(36_000)).build());
}

#[tokio::test(start_paused = true)]
async fn what_one_process_has_invalidated_is_refused_by_all_for_longer_than_anything_is_remembered() {
    let ((engine, clock), judge) = (engine(), Judge::default());
    let one = Member::start(&engine, &clock, &judge).await;
    let other = Member::start(&engine, &clock, &judge).await;
    for (token, subject) in [("abc", "ann"), ("def", "bob"), ("ghi", "cid")] {
        issue(&judge, &clock, token, subject);
        assert!(one.lets_in(token).await && other.lets_in(token).await);
    }
    one.invalidates(&bearer("abc")).await;
    one.invalidates(Selection::subject("bob")).await;
    for _ in 0..3 {
        passes(&clock, millis(300)).await;
        for process in [&one, &other] {
            assert!(!process.lets_in("abc").await && !process.lets_in("def").await && process.lets_in("ghi").await);
        }
        passes_for(&[&clock], secs(120), millis(100)).await;
    }
}

/// The log keeps records for as long as tokens live, and not only for as long as answers are remembered.
#[tokio::test(start_paused = true)]
async fn a_process_that_starts_later_knows_what_was_invalidated_and_when() {
    let ((engine, clock), judge) = (engine(), Judge::default());
    let one = Member::start(&engine, &clock, &judge).await;
    issue(&judge, &clock, "abc", "ann");
    issue(&judge, &clock, "def", "bob");
    one.invalidates(&bearer("abc")).await;
    one.invalidates(Selection::subject("bob")).await;
    passes_for(&[&clock], secs(600), secs(1)).await;
    issue(&judge, &clock, "ghi", "bob");
    // Old records go when another one comes.
    one.invalidates(&bearer("another")).await;
    let other = Member::start(&engine, &clock, &judge).await;
    assert!(!other.lets_in("abc").await && !other.lets_in("def").await);
    assert!(other.lets_in("ghi").await, "it was issued after that");
}

#[tokio::test(start_paused = true)]
async fn records_are_kept_no_longer_than_is_asked_for() {
    let ((engine, clock), judge) = (engine(), Judge::default());
    let short = |fleet| Member::in_fleet(fleet, &clock, &judge, |builder| builder.longest_token_lifetime(secs(300)));
    let one = short(fleet(&engine, &clock));
    all_there(&one).await;
    issue(&judge, &clock, "abc", "ann");
    one.invalidates(&bearer("abc")).await;
    passes_for(&[&clock], secs(600), secs(1)).await;
    one.invalidates(&bearer("another")).await;
    let other = short(fleet(&engine, &clock));
    all_there(&other).await;
    assert!(other.lets_in("abc").await, "it lives longer than it is said to");
}

/// The log is read once for all caches of a process.
#[tokio::test(start_paused = true)]
async fn a_cache_that_joins_later_knows_what_was_invalidated() {
    let ((engine, clock), judge) = (engine(), Judge::default());
    let one = Member::start(&engine, &clock, &judge).await;
    let fleet = fleet(&engine, &clock);
    let first = Member::in_fleet(fleet.clone(), &clock, &judge, |builder| builder.name("first"));
    all_there(&first).await;
    issue(&judge, &clock, "abc", "ann");
    issue(&judge, &clock, "def", "ann");
    one.invalidates(&bearer("abc")).await;
    passes(&clock, millis(500)).await;
    let late = Member::in_fleet(fleet, &clock, &judge, |builder| builder);
    assert!(!late.lets_in("abc").await && late.lets_in("def").await);
    assert!(first.lets_in("abc").await, "it is a cache of another name");
}

async fn all_there<I>(member: &Member<I>) {
    until(|| member.fleet.stats().is_reading).await;
}

/// What a process shares that asks an authority is not taken where it was invalidated.
#[tokio::test(start_paused = true)]
async fn an_answer_of_another_process_is_held_to_the_marks_of_this_one() {
    let ((engine, clock), judge) = (engine(), Judge::default());
    let facts = AccessToken::builder().subject("ann").issued_at(START).expires_at(START + secs(36_000)).build();
    let authority = Authority::new(Ok(Verdict::Active(facts)));
    let asks = Process::start(&engine, &clock, &authority);
    all_read(&[&asks]).await;
    let alone = Member::start(&engine, &clock, &judge).await;
    issue(&judge, &clock, "abc", "ann");
    alone.invalidates(&bearer("abc")).await;
    passes(&clock, millis(500)).await;
    assert!(asks.presents("abc").await.unwrap().is_active());
    // So old that nobody would take an inactive answer that was asked for then.
    passes_for(&[&clock], secs(30), millis(100)).await;
    assert!(!alone.lets_in("abc").await);
    assert_eq!((judge.verdicts(), alone.fleet.stats().hits), (0, 1));
}

/// Nor when the authority fails, for which older answers are kept.
#[tokio::test(start_paused = true)]
async fn an_older_answer_of_another_process_does_not_stand_in_for_one_that_would_be_refused() {
    for is_invalidated in [true, false] {
        let (engine, clock) = engine();
        let facts = AccessToken::builder().subject("ann").issued_at(START).expires_at(START + secs(36_000)).build();
        let asks = Process::start(&engine, &clock, &Authority::new(Ok(Verdict::Active(facts))));
        all_read(&[&asks]).await;
        let fails = Alone(Authority::new(failure(IntrospectErrorKind::Connect)));
        let settings = |builder: CachedBuilder<_>| builder.max_ttl(secs(1)).stale_if_error(secs(60));
        let alone = Member::in_fleet(fleet(&engine, &clock), &clock, &fails, settings);
        all_there(&alone).await;
        if is_invalidated {
            alone.invalidates(&bearer("abc")).await;
        }
        passes(&clock, millis(500)).await;
        assert!(asks.presents("abc").await.unwrap().is_active());
        passes(&clock, secs(2)).await;
        let answer = known_or_asked(&alone.cached, "abc").await;
        assert_eq!(answer.is_ok(), !is_invalidated, "{answer:?}");
    }
}

/// What one process finds inactive another one finds, too, or it was wrong: nothing is held against the token.
#[tokio::test(start_paused = true)]
async fn what_a_process_finds_inactive_is_no_invalidation() {
    let ((engine, clock), [good, bad]) = (engine(), [Judge::default(), Judge::default()]);
    issue(&good, &clock, "abc", "ann");
    let one = Member::start(&engine, &clock, &good).await;
    // It takes no answer that is as old as that of the first one is.
    let other = Member::in_fleet(fleet(&engine, &clock), &clock, &bad, |builder| builder.max_ttl(secs(1)));
    all_there(&other).await;
    assert!(one.lets_in("abc").await);
    passes(&clock, secs(2)).await;
    assert!(!known_or_asked(&other.cached, "abc").await.unwrap().is_active());
    passes(&clock, secs(2)).await;
    assert!(one.lets_in("abc").await);
    assert_eq!(good.verdicts(), 2, "it has forgotten its answer");
}

/// A process that is cut off could not ask anybody.
#[test]
fn a_strict_fleet_is_refused() {
    let (engine, _) = engine();
    let fleet = Fleet::in_memory(&engine, "orders", secret()).strict(secs(2)).build().unwrap();
    let error = Cached::builder(Judge::default()).fleet(&fleet).build().unwrap_err();
    assert_eq!(error.setting(), "fleet");
    assert!(error.to_string().contains("`strict`"), "{error}");
    assert!(Cached::builder(Authority::new(crate::support::active())).fleet(&fleet).build().is_ok());
}

/// Who has the new secret first knows what was recorded when there was none but the old one.
#[tokio::test(start_paused = true)]
async fn a_mark_is_found_under_the_secret_that_it_was_left_with() {
    let ((engine, clock), judge) = (engine(), Judge::default());
    let one = Member::start(&engine, &clock, &judge).await;
    issue(&judge, &clock, "abc", "ann");
    issue(&judge, &clock, "def", "ann");
    one.invalidates(&bearer("abc")).await;
    one.invalidates(Selection::token(&bearer("def")).and(Selection::subject("ann"))).await;
    let new = FleetSecret::from_bytes(b"another secret of thirty-two bytes!!").unwrap();
    let fleet = Fleet::in_memory(&engine, "orders", new).second_secret(secret()).clock(clock.clone());
    let other = Member::in_fleet(fleet.build().unwrap(), &clock, &judge, |builder| builder);
    all_there(&other).await;
    assert!(!other.lets_in("abc").await && !other.lets_in("def").await);
}
