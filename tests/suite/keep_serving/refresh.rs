//! Asking ahead of time.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::{OUTAGE, ask};
use crate::support::*;
use tower_introspection::clock::ManualClock;
use tower_introspection::introspect::Ask;
use tower_introspection::introspect::IntrospectErrorKind;
use tower_introspection::{Cached, InactiveReason, Introspect, Verdict, introspect_fn};

#[tokio::test]
async fn a_hit_in_the_last_fifth_is_served_at_once_and_has_the_token_asked_about_again() {
    let authority = Authority::new(active());
    let (cached, clock) = cached(&authority, |builder| builder);
    ask(&cached).await.unwrap();
    clock.set(START + millis(47_999));
    assert!(cached.cached(&bearer("abc")).is_some());
    quiet(&cached).await;
    assert_eq!(authority.questions(), 1, "not yet, whatever token it is");

    authority.hold();
    clock.set(START + secs(54));
    for _ in 0..100 {
        assert!(cached.cached(&bearer("abc")).unwrap().is_active(), "served while the question is under way");
    }
    authority.asked(2).await;
    authority.release();
    quiet(&cached).await;
    clock.set(START + secs(54 + 47));
    assert!(cached.cached(&bearer("abc")).is_some(), "the new answer has a time of its own");
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
        cached.introspect(Ask::new(&bearer(token))).await.unwrap();
    }
    let mut due = Vec::new();
    for second in [48, 49, 50, 51, 52, 53, 54] {
        clock.set(START + secs(second));
        tokens.iter().for_each(|token| assert!(cached.cached(&bearer(token)).is_some()));
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
    cached.introspect(Ask::new(&bearer("another"))).await.unwrap();
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
    let cached = Cached::builder(introspector).clock(clock.clone()).refresh_ahead_uses(1).build().unwrap();
    cached.introspect(Ask::new(&bearer("abc"))).await.unwrap();
    for (second, asked) in [(54, 2), (55, 2), (56, 3)] {
        clock.set(START + secs(second));
        assert!(cached.cached(&bearer("abc")).is_some());
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
    assert!(cached.cached(&bearer("abc")).is_some());
    clock.set(START + secs(56));
    runtime.block_on(async {
        assert!(cached.cached(&bearer("abc")).is_some());
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
async fn the_pause_after_a_refresh_that_fails_counts_from_its_failure() {
    let authority = Authority::new(active());
    let (cached, clock) = cached(&authority, |builder| builder);
    ask(&cached).await.unwrap();
    authority.says(failure(OUTAGE));
    authority.hold();
    clock.set(START + secs(54));
    ask(&cached).await.unwrap();
    authority.asked(2).await;
    clock.set(START + secs(56));
    authority.release();
    quiet(&cached).await;
    for (at, questions) in [(56_999, 2), (57_000, 3)] {
        clock.set(START + millis(at));
        authority.release();
        ask(&cached).await.unwrap();
        quiet(&cached).await;
        assert_eq!(authority.questions(), questions, "{at}: a quarter of four seconds");
    }
}

#[tokio::test]
async fn the_pause_after_a_refresh_that_fails_is_a_second_at_least() {
    let authority = Authority::new(active());
    let (cached, clock) = cached(&authority, |builder| builder);
    ask(&cached).await.unwrap();
    authority.says(failure(OUTAGE));
    for at in [59_000, 59_250, 59_999] {
        clock.set(START + millis(at));
        assert!(ask(&cached).await.unwrap().is_active());
        quiet(&cached).await;
        assert_eq!(authority.questions(), 2, "{at}: a second is left, and a quarter of it is too short");
    }
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

#[tokio::test]
async fn a_token_is_asked_about_ahead_of_time_once_its_answer_has_served_that_many_requests() {
    for uses in [0, 1, 2, 4, 300] {
        let authority = Authority::new(active());
        let (cached, clock) = cached(&authority, |builder| builder.refresh_ahead_uses(uses));
        ask(&cached).await.unwrap();
        // The second answer has to serve as many.
        for answer in 1..=2 {
            for use_of_answer in 1..=uses.max(1) {
                assert_eq!(authority.questions(), answer, "{uses}: before use {use_of_answer}");
                if use_of_answer >= uses.saturating_sub(1) {
                    clock.set(START + secs(55 * answer as u64));
                }
                assert!(cached.cached(&bearer("abc")).is_some());
                quiet(&cached).await;
            }
            assert_eq!(authority.questions(), answer + 1, "{uses}: the last use asks");
        }
    }
}

#[tokio::test]
async fn what_an_inner_cache_has_served_does_not_count_for_the_outer_one() {
    let authority = Authority::new(active());
    let (inner, clock) = cached(&authority, |builder| builder.refresh_ahead(0.0).refresh_ahead_uses(4));
    ask(&inner).await.unwrap();
    for _ in 0..3 {
        assert!(inner.cached(&bearer("abc")).is_some());
    }
    let outer = Cached::builder(inner).clock(clock.clone()).refresh_ahead_uses(4).build().unwrap();
    ask(&outer).await.unwrap();
    clock.set(START + secs(55));
    assert!(outer.cached(&bearer("abc")).is_some());
    quiet(&outer).await;
    assert_eq!(outer.handle().stats().refreshes, 0);
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
    assert!(cached.cached(&bearer("abc")).is_none());
    authority.says(failure(OUTAGE));
    authority.release();
    quiet(&cached).await;
    assert!(cached.cached(&bearer("abc")).is_none(), "nor by one that fails");
}

#[tokio::test]
async fn refreshes_have_a_share_of_their_own_when_strangers_take_all_questions() {
    let authority = Authority::new(active());
    let (cached, clock) = cached(&authority, |builder| builder.max_flights(2));
    ask(&cached).await.unwrap();
    authority.hold();
    let strangers: Vec<_> = ["x", "y"]
        .into_iter()
        .map(|token| {
            let cached = cached.clone();
            tokio::spawn(async move { cached.introspect(Ask::new(&bearer(token))).await })
        })
        .collect();
    authority.asked(3).await;
    assert!(cached.introspect(Ask::new(&bearer("z"))).await.unwrap_err().is_overloaded());
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
        tokio::spawn(async move { cached.introspect(Ask::new(&bearer(token))).await });
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
async fn a_question_about_a_token_in_use_says_that_it_is_known() {
    #[derive(Clone, Default)]
    struct Counting(Arc<[AtomicUsize; 2]>);

    impl Introspect for Counting {
        async fn introspect(&self, ask: Ask<'_>) -> Answer {
            self.0[usize::from(ask.is_known())].fetch_add(1, Ordering::SeqCst);
            active()
        }
    }

    let counting = Counting::default();
    let clock = ManualClock::at(START);
    let builder = Cached::builder(tower_introspection::introspect::AnyIntrospector::new(Arc::new(counting.clone())));
    let cached = builder.clock(clock.clone()).refresh_ahead_uses(1).build().unwrap();
    cached.introspect(Ask::new(&bearer("abc"))).await.unwrap();
    clock.set(START + secs(54));
    cached.cached(&bearer("abc")).unwrap();
    quiet(&cached).await;
    let counts = || (counting.0[0].load(Ordering::SeqCst), counting.0[1].load(Ordering::SeqCst));
    assert_eq!(counts(), (1, 1));
    clock.advance(secs(60));
    cached.introspect(Ask::new(&bearer("abc"))).await.unwrap();
    assert_eq!(counts(), (1, 2));
}

/// Active for whoever asks as a stranger, and revoked for whoever asks again.
struct ByShare;

impl Introspect for ByShare {
    async fn introspect(&self, ask: Ask<'_>) -> Answer {
        if ask.is_known() { inactive(InactiveReason::Revoked) } else { active() }
    }
}

/// Remembers of a token that it was active when it was last asked about, and nothing else.
fn forgetful() -> Cached<ByShare> {
    Cached::builder(ByShare).max_ttl(Duration::ZERO).inactive_ttl(Duration::ZERO).build().unwrap()
}

#[tokio::test]
async fn a_token_keeps_its_share_when_its_answer_is_long_forgotten_and_until_there_is_a_no() {
    let cached = forgetful();
    assert!(cached.introspect(Ask::new(&bearer("abc"))).await.unwrap().is_active());
    assert!(!cached.introspect(Ask::new(&bearer("abc"))).await.unwrap().is_active(), "a known one");
    assert!(cached.introspect(Ask::new(&bearer("abc"))).await.unwrap().is_active(), "a stranger since the no");
}

#[tokio::test]
async fn a_token_that_is_invalidated_is_a_stranger() {
    let cached = forgetful();
    assert!(cached.introspect(Ask::new(&bearer("abc"))).await.unwrap().is_active());
    cached.handle().invalidate(&bearer("abc"));
    assert!(cached.introspect(Ask::new(&bearer("abc"))).await.unwrap().is_active());
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
    assert!(cached.cached(&bearer("abc")).is_none(), "nobody knows how old it is");
    authority.release();
    assert_eq!(ask(&cached).await.unwrap_err().kind(), OUTAGE);
}
