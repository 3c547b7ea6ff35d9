//! Refresh ahead, answers that serve on in an outage, and a graceful end.
#![cfg(feature = "test-util")]

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::support::*;
use tower_introspection::{
    AccessToken, BearerToken, Cached, CachedBuilder, InactiveReason, Introspect, IntrospectError, IntrospectErrorKind,
    ManualClock, Verdict, introspect_fn,
};

const OUTAGE: IntrospectErrorKind = IntrospectErrorKind::Connect;

fn cached(
    authority: &Authority,
    settings: impl FnOnce(CachedBuilder<Authority>) -> CachedBuilder<Authority>,
) -> (Cached<Authority>, ManualClock) {
    let clock = ManualClock::at(START);
    let builder = Cached::builder(authority.clone()).clock(clock.clone()).max_ttl(secs(60));
    (settings(builder).build().unwrap(), clock)
}

async fn ask(cached: &Cached<Authority>) -> Answer {
    match cached.known(&bearer("abc")) {
        Some(verdict) => Ok(verdict),
        None => cached.introspect(&bearer("abc")).await,
    }
}

fn token_of(answer: Answer) -> AccessToken {
    match answer.unwrap() {
        Verdict::Active(token) => token,
        Verdict::Inactive(reason) => panic!("{reason:?}"),
    }
}

/// Waits until no question is under way.
async fn quiet(cached: &Cached<impl Introspect>) {
    let settled = async {
        while cached.handle().stats().questions_under_way > 0 {
            tokio::task::yield_now().await;
        }
    };
    patiently(settled).await;
}

#[tokio::test]
async fn a_hit_in_the_last_fifth_is_served_at_once_and_has_the_token_asked_about_again() {
    let authority = Authority::new(active());
    let (cached, clock) = cached(&authority, |builder| builder);
    ask(&cached).await.unwrap();
    clock.set(START + millis(47_999));
    assert!(cached.known(&bearer("abc")).is_some());
    quiet(&cached).await;
    assert_eq!(authority.questions(), 1, "not yet, whatever token it is");

    authority.hold();
    clock.set(START + secs(54));
    for _ in 0..100 {
        assert!(cached.known(&bearer("abc")).unwrap().is_active(), "served while the question is under way");
    }
    authority.asked(2).await;
    authority.release();
    quiet(&cached).await;
    clock.set(START + secs(54 + 47));
    assert!(cached.known(&bearer("abc")).is_some(), "the new answer has a time of its own");
    assert_eq!(authority.questions(), 2);
    let stats = cached.handle().stats();
    assert_eq!((stats.refreshes, stats.failed_refreshes, stats.misses), (1, 0, 1));
}

#[tokio::test]
async fn the_moment_of_a_refresh_differs_from_token_to_token() {
    let authority = Authority::new(active());
    let (cached, clock) = cached(&authority, |builder| builder);
    let tokens: Vec<_> = (0..200).map(|n| format!("token-{n}")).collect();
    for token in &tokens {
        cached.introspect(&bearer(token)).await.unwrap();
    }
    let mut due = Vec::new();
    for second in [48, 49, 50, 51, 52, 53, 54] {
        clock.set(START + secs(second));
        tokens.iter().for_each(|token| assert!(cached.known(&bearer(token)).is_some()));
        quiet(&cached).await;
        due.push(cached.handle().stats().refreshes);
    }
    assert_eq!(due.last(), Some(&200));
    assert!(due.windows(2).all(|pair| pair[0] < pair[1]), "some in each second of the first half: {due:?}");
}

#[tokio::test]
async fn a_token_nobody_uses_is_not_asked_about_ahead_of_time() {
    let authority = Authority::new(active());
    let (cached, clock) = cached(&authority, |builder| builder);
    ask(&cached).await.unwrap();
    clock.set(START + secs(59));
    cached.introspect(&bearer("another")).await.unwrap();
    quiet(&cached).await;
    assert_eq!((authority.questions(), cached.handle().stats().refreshes), (2, 0));
}

#[tokio::test]
async fn a_refresh_that_panics_is_counted_and_tried_again_later() {
    let clock = ManualClock::at(START);
    let questions = Arc::<AtomicUsize>::default();
    let introspector = introspect_fn({
        let questions = Arc::clone(&questions);
        move |_| {
            let question = questions.fetch_add(1, Ordering::Relaxed) + 1;
            async move {
                assert_ne!(question, 2, "the second question panics, as this test wants it to");
                active()
            }
        }
    });
    let cached = Cached::builder(introspector).clock(clock.clone()).max_ttl(secs(60)).build().unwrap();
    cached.introspect(&bearer("abc")).await.unwrap();
    for (second, asked) in [(54, 2), (55, 2), (56, 3)] {
        clock.set(START + secs(second));
        assert!(cached.known(&bearer("abc")).is_some());
        quiet(&cached).await;
        assert_eq!(questions.load(Ordering::Relaxed), asked, "at second {second}");
    }
    let stats = cached.handle().stats();
    assert_eq!((stats.refreshes, stats.failed_refreshes), (2, 1));
    assert_eq!(stats.failures_by_kind, [(IntrospectErrorKind::Abandoned, 1)]);
}

#[test]
fn a_refresh_outside_of_a_runtime_is_tried_again_within_one() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let authority = Authority::new(active());
    let (cached, clock) = cached(&authority, |builder| builder);
    runtime.block_on(ask(&cached)).unwrap();
    clock.set(START + secs(54));
    assert!(cached.known(&bearer("abc")).is_some());
    clock.set(START + secs(56));
    runtime.block_on(async {
        assert!(cached.known(&bearer("abc")).is_some());
        quiet(&cached).await;
    });
    assert_eq!(authority.questions(), 2);
}

#[tokio::test]
async fn a_refresh_that_fails_changes_nothing_and_is_tried_again_later() {
    let authority = Authority::new(active());
    let (cached, clock) = cached(&authority, |builder| builder);
    ask(&cached).await.unwrap();
    authority.says(failure(OUTAGE));
    clock.set(START + secs(54));
    for _ in 0..10 {
        assert!(ask(&cached).await.unwrap().is_active());
        quiet(&cached).await;
    }
    assert_eq!(authority.questions(), 2, "hits do not hammer an authority that fails");
    clock.advance(millis(1_499));
    ask(&cached).await.unwrap();
    quiet(&cached).await;
    assert_eq!(authority.questions(), 2);
    clock.advance(millis(1));
    ask(&cached).await.unwrap();
    quiet(&cached).await;
    assert_eq!(authority.questions(), 3, "a quarter of the six seconds that were left");
    clock.set(START + secs(60));
    assert_eq!(ask(&cached).await.unwrap_err().kind(), OUTAGE, "the deadline is where it was");
    let stats = cached.handle().stats();
    assert_eq!((stats.refreshes, stats.failed_refreshes), (2, 2));
}

#[tokio::test]
async fn a_refresh_that_says_no_ends_the_token_at_once() {
    let authority = Authority::new(active());
    let (cached, clock) = cached(&authority, |builder| builder.stale_if_error(secs(600)));
    ask(&cached).await.unwrap();
    authority.says(inactive(InactiveReason::Revoked));
    clock.set(START + secs(54));
    assert!(ask(&cached).await.unwrap().is_active());
    quiet(&cached).await;
    assert!(matches!(ask(&cached).await.unwrap(), Verdict::Inactive(InactiveReason::Revoked)));
    authority.says(failure(OUTAGE));
    clock.advance(secs(10));
    assert_eq!(ask(&cached).await.unwrap_err().kind(), OUTAGE, "a no is the last word, outage or not");
}

#[tokio::test]
async fn refresh_ahead_of_zero_never_asks_ahead() {
    let authority = Authority::new(active());
    let (cached, clock) = cached(&authority, |builder| builder.refresh_ahead(0.0));
    ask(&cached).await.unwrap();
    clock.set(START + millis(59_999));
    ask(&cached).await.unwrap();
    quiet(&cached).await;
    assert_eq!(authority.questions(), 1);
}

#[tokio::test]
async fn refresh_ahead_of_one_asks_from_the_first_half_on() {
    let authority = Authority::new(active());
    let (cached, clock) = cached(&authority, |builder| builder.refresh_ahead(1.0));
    ask(&cached).await.unwrap();
    clock.set(START + secs(30));
    ask(&cached).await.unwrap();
    quiet(&cached).await;
    assert_eq!(authority.questions(), 2);
}

#[test]
fn a_part_that_is_none_is_refused_by_name() {
    for part in [-0.1, 1.1, f64::NAN, f64::INFINITY] {
        let error = Cached::builder(Authority::new(active())).refresh_ahead(part).build().unwrap_err();
        assert_eq!(error.setting(), "refresh_ahead");
    }
}

#[tokio::test]
async fn an_invalidation_is_not_undone_by_a_refresh_under_way() {
    let authority = Authority::new(active());
    let (cached, clock) = cached(&authority, |builder| builder);
    ask(&cached).await.unwrap();
    clock.set(START + secs(54));
    authority.hold();
    ask(&cached).await.unwrap();
    authority.asked(2).await;
    cached.handle().invalidate(&bearer("abc"));
    assert!(cached.known(&bearer("abc")).is_none());
    authority.says(failure(OUTAGE));
    authority.release();
    quiet(&cached).await;
    assert!(cached.known(&bearer("abc")).is_none(), "nor by one that fails");
}

#[tokio::test]
async fn refreshes_have_a_share_of_their_own_when_strangers_take_all_questions() {
    let authority = Authority::new(active());
    let (cached, clock) = cached(&authority, |builder| builder.max_questions(2));
    ask(&cached).await.unwrap();
    authority.hold();
    let strangers: Vec<_> = ["x", "y"]
        .into_iter()
        .map(|token| {
            let cached = cached.clone();
            tokio::spawn(async move { cached.introspect(&bearer(token)).await })
        })
        .collect();
    authority.asked(3).await;
    assert!(cached.introspect(&bearer("z")).await.unwrap_err().is_overloaded());
    clock.set(START + secs(54));
    ask(&cached).await.unwrap();
    authority.asked(4).await;
    for _ in 0..3 {
        authority.release();
    }
    quiet(&cached).await;
    assert_eq!(cached.handle().stats().refreshes, 1);
    for stranger in strangers {
        stranger.await.unwrap().unwrap();
    }
    // A token whose time is over is asked about in the same share.
    authority.says(active());
    clock.advance(secs(60));
    for token in ["p", "q"] {
        let cached = cached.clone();
        tokio::spawn(async move { cached.introspect(&bearer(token)).await });
    }
    authority.asked(6).await;
    let known = tokio::spawn({
        let cached = cached.clone();
        async move { ask(&cached).await }
    });
    authority.asked(7).await;
    for _ in 0..3 {
        authority.release();
    }
    assert!(patiently(known).await.unwrap().unwrap().is_active());
}

#[tokio::test]
async fn a_question_about_a_token_in_use_is_put_as_a_refresh() {
    #[derive(Clone, Default)]
    struct Counting(Arc<[AtomicUsize; 2]>);

    impl Introspect for Counting {
        async fn introspect(&self, _: &BearerToken<'_>) -> Answer {
            self.0[0].fetch_add(1, Ordering::SeqCst);
            active()
        }

        async fn refresh(&self, _: &BearerToken<'_>) -> Answer {
            self.0[1].fetch_add(1, Ordering::SeqCst);
            active()
        }
    }

    let counting = Counting::default();
    let clock = ManualClock::at(START);
    let builder = Cached::builder(tower_introspection::AnyIntrospector::new(Arc::new(counting.clone())));
    let cached = builder.clock(clock.clone()).build().unwrap();
    cached.introspect(&bearer("abc")).await.unwrap();
    clock.set(START + secs(54));
    cached.known(&bearer("abc")).unwrap();
    quiet(&cached).await;
    let counts = || (counting.0[0].load(Ordering::SeqCst), counting.0[1].load(Ordering::SeqCst));
    assert_eq!(counts(), (1, 1));
    clock.advance(secs(60));
    cached.introspect(&bearer("abc")).await.unwrap();
    assert_eq!(counts(), (1, 2));
}

#[tokio::test]
async fn a_token_keeps_its_share_when_its_answer_is_long_forgotten() {
    let refreshed = Arc::new(AtomicUsize::new(0));

    struct Counting(Arc<AtomicUsize>);

    impl Introspect for Counting {
        async fn introspect(&self, _: &BearerToken<'_>) -> Answer {
            active()
        }

        async fn refresh(&self, _: &BearerToken<'_>) -> Answer {
            self.0.fetch_add(1, Ordering::SeqCst);
            inactive(InactiveReason::Revoked)
        }
    }

    // Nothing is remembered but that it was active.
    let cached = Cached::builder(Counting(Arc::clone(&refreshed))).max_ttl(Duration::ZERO).build().unwrap();
    assert!(cached.introspect(&bearer("abc")).await.unwrap().is_active());
    assert!(!cached.introspect(&bearer("abc")).await.unwrap().is_active());
    assert_eq!(refreshed.load(Ordering::SeqCst), 1);
    cached.handle().invalidate(&bearer("abc"));
    assert!(cached.introspect(&bearer("abc")).await.unwrap().is_active(), "a stranger since the no");
}

#[tokio::test]
async fn a_clock_set_back_makes_no_answer_fresh_again_and_no_failed_refresh_prolongs_one() {
    let authority = Authority::new(active());
    let (cached, clock) = cached(&authority, |builder| builder.stale_if_error(secs(300)));
    ask(&cached).await.unwrap();
    authority.hold();
    clock.set(START + secs(54));
    ask(&cached).await.unwrap();
    authority.asked(2).await;
    authority.says(failure(OUTAGE));
    clock.set(START - secs(3_600));
    authority.release();
    quiet(&cached).await;
    assert!(cached.known(&bearer("abc")).is_none(), "nobody knows how old it is");
    authority.release();
    assert_eq!(ask(&cached).await.unwrap_err().kind(), OUTAGE);
}

#[tokio::test]
async fn when_an_outage_ends_a_question_without_room_does_not_end_a_token() {
    let authority = Authority::new(active());
    let (cached, clock) = cached(&authority, |builder| builder.stale_if_error(secs(300)));
    ask(&cached).await.unwrap();
    authority.says(failure(IntrospectErrorKind::Overloaded));
    clock.set(START + secs(60));
    assert!(ask(&cached).await.unwrap_err().is_overloaded(), "no outage was seen");
    authority.says(failure(OUTAGE));
    assert!(token_of(ask(&cached).await).is_stale());
    authority.says(failure(IntrospectErrorKind::Overloaded));
    clock.advance(millis(29_999));
    assert!(token_of(ask(&cached).await).is_stale());
    clock.advance(millis(1));
    assert!(ask(&cached).await.unwrap_err().is_overloaded(), "it is over");
}

#[tokio::test]
async fn what_a_stranger_makes_fail_is_no_outage_for_tokens_in_use() {
    let authority = Authority::new(active());
    let (cached, clock) = cached(&authority, |builder| builder.stale_if_error(secs(300)));
    ask(&cached).await.unwrap();
    clock.set(START + secs(60));
    authority.says(failure(OUTAGE));
    assert!(cached.introspect(&bearer("junk")).await.is_err());
    authority.says(failure(IntrospectErrorKind::Overloaded));
    assert!(ask(&cached).await.unwrap_err().is_overloaded());
}

#[tokio::test]
async fn a_bound_on_questions_is_such_a_want_of_room_too() {
    let authority = Authority::new(active());
    let (cached, clock) = cached(&authority, |builder| builder.stale_if_error(secs(300)).max_questions(1));
    for token in ["abc", "def"] {
        cached.introspect(&bearer(token)).await.unwrap();
    }
    authority.says(failure(OUTAGE));
    clock.set(START + secs(60));
    assert!(token_of(ask(&cached).await).is_stale());
    authority.hold();
    let other = tokio::spawn({
        let cached = cached.clone();
        async move { cached.introspect(&bearer("def")).await }
    });
    authority.asked(4).await;
    assert!(token_of(ask(&cached).await).is_stale());
    authority.release();
    assert!(token_of(other.await.unwrap()).is_stale());
}

#[tokio::test]
async fn while_the_authority_is_left_alone_stale_answers_come_from_memory() {
    let authority = Authority::new(active());
    let (cached, clock) = cached(&authority, |builder| builder.stale_if_error(secs(300)));
    ask(&cached).await.unwrap();
    let open = IntrospectError::new(IntrospectErrorKind::CircuitOpen).with_retry_after(secs(7));
    authority.says(Err(open));
    clock.set(START + secs(60));
    assert!(cached.known(&bearer("abc")).is_none(), "nobody was asked yet");
    assert!(token_of(ask(&cached).await).is_stale());
    clock.advance(millis(6_999));
    assert!(token_of(Ok(cached.known(&bearer("abc")).unwrap())).is_stale());
    assert_eq!(authority.questions(), 2);
    assert!(cached.known(&bearer("another")).is_none());
    clock.advance(millis(1));
    assert!(cached.known(&bearer("abc")).is_none(), "time to ask again");
}

#[tokio::test]
async fn an_answer_or_a_clock_set_back_ends_the_time_in_which_the_authority_is_left_alone() {
    for is_answered in [true, false] {
        let authority = Authority::new(active());
        let (cached, clock) = cached(&authority, |builder| builder.stale_if_error(secs(300)));
        ask(&cached).await.unwrap();
        authority.says(Err(IntrospectError::new(IntrospectErrorKind::CircuitOpen).with_retry_after(secs(30))));
        clock.set(START + secs(200));
        assert!(token_of(ask(&cached).await).is_stale());
        assert!(cached.known(&bearer("abc")).is_some(), "left alone");
        if is_answered {
            authority.says(active());
            cached.introspect(&bearer("another")).await.unwrap();
        } else {
            clock.set(START + secs(199));
        }
        assert!(cached.known(&bearer("abc")).is_none(), "time to ask again");
    }
}

#[cfg(feature = "sandbox")]
#[tokio::test]
async fn an_answer_for_which_nobody_was_asked_does_not_end_it() {
    use tower_introspection::sandbox::{Fault, Sandbox};

    let sandbox = Sandbox::start().await.unwrap();
    sandbox.script("abc", 200, r#"{"status":"approved","expiresAt":9999999999999}"#);
    let clock = ManualClock::at(START);
    let apigee = sandbox.apigee().clock(clock.clone()).breaker_threshold(1).max_retries(0).build().unwrap();
    let cached = Cached::builder(apigee).clock(clock.clone()).max_ttl(secs(60)).stale_if_error(secs(300));
    let cached = cached.build().unwrap();
    assert!(cached.introspect(&bearer("abc")).await.unwrap().is_active());
    sandbox.set_fault(Fault::Status(503));
    clock.advance(secs(60));
    for _ in 0..2 {
        assert!(token_of(cached.introspect(&bearer("abc")).await).is_stale());
    }
    assert!(cached.known(&bearer("abc")).is_some(), "left alone");
    assert!(!cached.introspect(&bearer("a/../b")).await.unwrap().is_active());
    assert!(cached.known(&bearer("abc")).is_some());
}

#[tokio::test]
async fn in_an_outage_the_last_answer_serves_on_marked_and_no_longer_than_allowed() {
    let authority = Authority::new(active());
    let (cached, clock) = cached(&authority, |builder| builder.stale_if_error(secs(300)));
    assert!(!token_of(ask(&cached).await).is_stale());
    authority.says(failure(OUTAGE));
    clock.set(START + secs(60));
    let token = token_of(ask(&cached).await);
    assert!(token.is_stale());
    assert_eq!(token.client_id(), Some("weather-app"));
    clock.set(START + millis(359_999));
    assert!(token_of(ask(&cached).await).is_stale());
    clock.set(START + secs(360));
    assert_eq!(ask(&cached).await.unwrap_err().kind(), OUTAGE);
    let stats = cached.handle().stats();
    assert_eq!((stats.stale_served, stats.failures), (2, 3));
    assert!(stats.verdict_age.quantile(1.0).unwrap() >= millis(359_999));

    authority.says(active());
    assert!(!token_of(ask(&cached).await).is_stale(), "recovered");
}

#[tokio::test]
async fn without_an_allowance_an_outage_ends_a_token_with_its_answer() {
    let authority = Authority::new(active());
    let (cached, clock) = cached(&authority, |builder| builder);
    ask(&cached).await.unwrap();
    authority.says(failure(OUTAGE));
    clock.set(START + secs(60));
    assert_eq!(ask(&cached).await.unwrap_err().kind(), OUTAGE);
}

#[tokio::test]
async fn no_outage_makes_a_token_outlive_its_expiry() {
    let expires_at = START + secs(90);
    let authority = Authority::new(active_until(expires_at));
    let (cached, clock) = cached(&authority, |builder| builder.stale_if_error(Duration::MAX));
    ask(&cached).await.unwrap();
    authority.says(failure(OUTAGE));
    clock.set(expires_at - millis(1));
    assert!(token_of(ask(&cached).await).is_stale());
    clock.set(expires_at);
    assert_eq!(ask(&cached).await.unwrap_err().kind(), OUTAGE);
}

#[tokio::test]
async fn only_a_failure_of_the_authority_serves_a_stale_answer_and_not_one_of_our_own() {
    for (kind, serves) in [
        (IntrospectErrorKind::Connect, true),
        (IntrospectErrorKind::Transport, true),
        (IntrospectErrorKind::Timeout, true),
        (IntrospectErrorKind::Credentials, true),
        (IntrospectErrorKind::RateLimited, true),
        (IntrospectErrorKind::Status, true),
        (IntrospectErrorKind::Answer, true),
        (IntrospectErrorKind::CircuitOpen, true),
        (IntrospectErrorKind::Overloaded, false),
        (IntrospectErrorKind::Abandoned, false),
    ] {
        let authority = Authority::new(active());
        let (cached, clock) = cached(&authority, |builder| builder.stale_if_error(secs(300)));
        ask(&cached).await.unwrap();
        authority.says(failure(kind));
        clock.set(START + secs(60));
        assert_eq!(ask(&cached).await.is_ok(), serves, "{kind:?}");
    }
}

#[tokio::test]
async fn what_was_invalidated_does_not_serve_on() {
    let authority = Authority::new(active());
    let (cached, clock) = cached(&authority, |builder| builder.stale_if_error(secs(300)));
    ask(&cached).await.unwrap();
    authority.says(failure(OUTAGE));
    clock.set(START + secs(60));
    assert!(ask(&cached).await.is_ok());
    cached.handle().invalidate(&bearer("abc"));
    assert_eq!(ask(&cached).await.unwrap_err().kind(), OUTAGE);
}

#[tokio::test]
async fn the_age_of_a_verdict_at_use_is_measured() {
    let authority = Authority::new(active());
    let (cached, clock) = cached(&authority, |builder| builder.refresh_ahead(0.0));
    ask(&cached).await.unwrap();
    clock.set(START + secs(8));
    ask(&cached).await.unwrap();
    clock.set(START + secs(40));
    ask(&cached).await.unwrap();
    let stats = cached.handle().stats();
    let ages: Vec<_> = stats.verdict_age.buckets().collect();
    assert_eq!(ages.len(), 3, "{ages:?}");
    for ((bound, count), age) in ages.into_iter().zip([millis(0), secs(8), secs(40)]) {
        assert!(count == 1 && bound > age && bound <= age * 5 / 4 + millis(1), "{bound:?} for {age:?}");
    }
    assert_eq!((stats.hits, stats.question_latency.count()), (2, 1));
}

fn alive_tasks() -> usize {
    tokio::runtime::Handle::current().metrics().num_alive_tasks()
}

async fn no_task_is_left(before: usize) {
    let gone = async {
        while alive_tasks() > before {
            tokio::task::yield_now().await;
        }
    };
    patiently(gone).await;
}

#[tokio::test]
async fn dropping_the_cache_ends_the_questions_under_way() {
    let before = alive_tasks();
    let asked = Arc::new(AtomicUsize::new(0));
    let cached = Cached::new(introspect_fn({
        let asked = Arc::clone(&asked);
        move |_| {
            asked.fetch_add(1, Ordering::SeqCst);
            pending::<Answer>()
        }
    }));
    let handle = cached.handle();
    let caller = tokio::spawn({
        let cached = cached.clone();
        async move { cached.introspect(&bearer("abc")).await }
    });
    let question = async {
        while asked.load(Ordering::SeqCst) == 0 {
            tokio::task::yield_now().await;
        }
    };
    patiently(question).await;
    drop(cached);
    tokio::task::yield_now().await;
    assert_eq!(handle.stats().questions_under_way, 1, "somebody waits");
    caller.abort();
    no_task_is_left(before).await;
    assert_eq!(handle.stats().questions_under_way, 0);
}
