//! At most one question per token under way, detached from whoever asked.

use std::error::Error;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::support::*;
use tokio::task::JoinSet;
use tower_introspection::cache::Selection;
use tower_introspection::introspect::Ask;
use tower_introspection::introspect::IntrospectErrorKind;
use tower_introspection::{AccessToken, Cached, InactiveReason, Introspect, Verdict, introspect_fn};

/// Waits until `n` requests have joined the question under way.
async fn joined(cached: &Cached<impl Introspect>, n: u64) {
    until(|| cached.handle().stats().coalesced >= n).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_waiters_make_one_question() {
    let authority = Authority::new(active());
    authority.hold();
    let cached = Cached::new(authority.clone());
    let mut waiters = JoinSet::new();
    for _ in 0..1_000 {
        let cached = cached.clone();
        waiters.spawn(async move { cached.introspect(Ask::new(&bearer("abc"))).await });
    }
    joined(&cached, 999).await;
    authority.release();
    while let Some(answer) = patiently(waiters.join_next()).await {
        assert!(answer.unwrap().unwrap().is_active());
    }
    assert_eq!(authority.questions(), 1);
    let stats = cached.handle().stats();
    assert_eq!((stats.misses, stats.coalesced, stats.questions), (1, 999, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failure_reaches_all_who_wait_once_and_nobody_retries_on_their_behalf() {
    let authority = Authority::new(failure(IntrospectErrorKind::Timeout));
    authority.hold();
    let cached = Cached::new(authority.clone());
    let mut waiters = JoinSet::new();
    for _ in 0..100 {
        let cached = cached.clone();
        waiters.spawn(async move { cached.introspect(Ask::new(&bearer("abc"))).await });
    }
    joined(&cached, 99).await;
    authority.release();
    while let Some(answer) = patiently(waiters.join_next()).await {
        assert!(answer.unwrap().unwrap_err().is_timeout());
    }
    assert_eq!(authority.questions(), 1);
    assert_eq!(cached.handle().stats().failures, 1);
}

#[tokio::test]
async fn the_starter_hangs_up_and_the_others_still_get_the_answer() {
    let (authority, cached, starter) = under_way(active()).await;
    let waiter = spawn_ask(&cached);
    joined(&cached, 1).await;
    starter.abort();
    assert!(patiently(starter).await.unwrap_err().is_cancelled());
    authority.release();
    assert!(patiently(waiter).await.unwrap().unwrap().is_active());
    assert_eq!(authority.questions(), 1);
}

#[tokio::test]
async fn everyone_hangs_up_and_the_answer_is_still_remembered() {
    let (authority, cached, starter) = under_way(active()).await;
    starter.abort();
    assert!(patiently(starter).await.unwrap_err().is_cancelled());
    authority.release();
    until(|| cached.cached(&bearer("abc")).is_some()).await;
    assert_eq!(authority.questions(), 1);
}

#[tokio::test]
async fn a_waiter_hangs_up_and_nobody_notices() {
    let (authority, cached, starter) = under_way(active()).await;
    let waiter = spawn_ask(&cached);
    joined(&cached, 1).await;
    waiter.abort();
    assert!(patiently(waiter).await.unwrap_err().is_cancelled());
    authority.release();
    assert!(patiently(starter).await.unwrap().unwrap().is_active());
}

#[cfg(feature = "test-util")]
#[tokio::test]
async fn the_slot_is_freed_after_an_answer_and_after_a_failure() {
    let authority = Authority::new(failure(IntrospectErrorKind::Connect));
    let (cached, clock) = cached(&authority, |builder| builder);
    cached.introspect(Ask::new(&bearer("abc"))).await.unwrap_err();
    authority.says(active());
    assert!(cached.introspect(Ask::new(&bearer("abc"))).await.unwrap().is_active());
    clock.advance(secs(60));
    assert!(cached.introspect(Ask::new(&bearer("abc"))).await.unwrap().is_active());
    assert_eq!(authority.questions(), 3);
}

#[tokio::test]
async fn the_introspector_panics_and_the_slot_is_free_for_the_next_request() {
    let questions = Arc::new(AtomicUsize::new(0));
    let cached = Cached::new(introspect_fn({
        let questions = Arc::clone(&questions);
        move |_| {
            let first = questions.fetch_add(1, Ordering::SeqCst) == 0;
            async move {
                assert!(!first, "the first question panics, as this test wants it to");
                active()
            }
        }
    }));
    let error = cached.introspect(Ask::new(&bearer("abc"))).await.unwrap_err();
    assert_eq!(error.kind(), IntrospectErrorKind::Abandoned);
    assert!(cached.introspect(Ask::new(&bearer("abc"))).await.unwrap().is_active());
}

#[test]
fn the_runtime_of_the_question_goes_away_and_the_slot_is_free_for_the_next() {
    let authority = Authority::new(active());
    authority.hold();
    let cached = Cached::new(authority.clone());
    let first = tokio::runtime::Runtime::new().unwrap();
    let second = tokio::runtime::Runtime::new().unwrap();
    first.block_on(async {
        drop(spawn_ask(&cached));
        authority.asked(1).await;
    });
    let waiter = second.spawn({
        let cached = cached.clone();
        async move { cached.introspect(Ask::new(&bearer("abc"))).await }
    });
    second.block_on(joined(&cached, 1));
    drop(first);
    let error = second.block_on(waiter).unwrap().unwrap_err();
    assert_eq!(error.kind(), IntrospectErrorKind::Abandoned);
    authority.release();
    assert!(second.block_on(cached.introspect(Ask::new(&bearer("abc")))).unwrap().is_active());
}

#[tokio::test]
async fn invalidated_while_under_way_the_old_answer_is_neither_cached_nor_handed_out() {
    for invalidate in [
        (|cached| _ = cached.handle().invalidate(&bearer("abc"))) as fn(&Cached<Authority>),
        |cached| _ = cached.handle().invalidate_all(),
        |cached| _ = cached.handle().invalidate(Selection::client("weather-app")),
        |cached| _ = cached.handle().invalidate(Selection::token(&bearer("abc")).and(Selection::client("weather-app"))),
        |cached| assert_eq!(cached.handle().invalidate_where(|token| token.client_id() == Some("weather-app")), 0),
    ] {
        let (authority, cached, before) = under_way(active()).await;
        invalidate(&cached);
        let after = spawn_ask(&cached);
        joined(&cached, 1).await;
        // The first question's answer is the one of before the invalidation.
        authority.release();
        authority.asked(2).await;
        assert!(cached.cached(&bearer("abc")).is_none());
        authority.says(inactive(InactiveReason::Revoked));
        authority.release();
        for answer in [patiently(before).await, patiently(after).await] {
            assert!(matches!(answer.unwrap().unwrap(), Verdict::Inactive(InactiveReason::Revoked)));
        }
        assert_eq!(authority.questions(), 2);
    }
}

#[tokio::test]
async fn invalidations_that_do_not_cover_the_answer_under_way_leave_it_alone() {
    for answer in [active(), inactive(InactiveReason::Unknown)] {
        let (authority, cached, question) = under_way(answer.clone()).await;
        let handle = cached.handle();
        for _ in 0..14 {
            handle.invalidate_where(|token| token.client_id() == Some("another"));
        }
        handle.invalidate(Selection::client("another"));
        handle.invalidate(Selection::token(&bearer("abc")).and(Selection::client("another")));
        // These are about other tokens, so this question need not remember them.
        for _ in 0..17 {
            handle.invalidate(&bearer("another"));
            handle.invalidate(Selection::token(&bearer("another")).and(Selection::client("weather-app")));
            handle.invalidate(Selection::token(&bearer("abc")).and(Selection::token(&bearer("another"))));
        }
        authority.release();
        let verdict = patiently(question).await.unwrap().unwrap();
        assert_eq!(verdict.is_active(), answer.unwrap().is_active());
        assert_eq!(authority.questions(), 1);
    }
}

#[tokio::test]
async fn an_invalidation_before_the_question_is_asked_is_no_concern_of_its_answer() {
    let authority = Authority::new(active());
    let cached = Cached::new(authority.clone());
    let token = bearer("abc");
    let mut waiting = pin!(cached.introspect(Ask::new(&token)));
    // The task that asks has no turn before this one waits.
    assert!(poll_once(&mut waiting).is_pending());
    cached.handle().invalidate(&token);
    cached.handle().invalidate_where(|_| true);
    assert!(patiently(waiting).await.unwrap().is_active());
    assert_eq!(authority.questions(), 1);
}

#[tokio::test]
async fn more_predicates_than_a_question_remembers_have_it_asked_anew() {
    let (authority, cached, question) = under_way(active()).await;
    for _ in 0..17 {
        cached.handle().invalidate_where(|_| false);
    }
    authority.release();
    authority.asked(2).await;
    authority.release();
    assert!(patiently(question).await.unwrap().unwrap().is_active());
}

#[tokio::test]
async fn a_failure_is_handed_out_at_once_even_if_the_token_was_invalidated_meanwhile() {
    let (authority, cached, question) = under_way(failure(IntrospectErrorKind::Timeout)).await;
    cached.handle().invalidate_all();
    authority.release();
    assert!(patiently(question).await.unwrap().unwrap_err().is_timeout());
    assert_eq!(authority.questions(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_question_that_hangs_fails_and_frees_its_slot() {
    let authority = Authority::new(active());
    authority.hold();
    let cached = Cached::builder(authority.clone()).max_flights(1).question_timeout(secs(5)).build().unwrap();
    let token = bearer("abc");
    let mut question = pin!(cached.introspect(Ask::new(&token)));
    tokio::time::timeout(millis(4_999), &mut question).await.expect_err("it has its time");
    let outcome = tokio::time::timeout(millis(10), question).await.expect("it ends with its time");
    assert!(outcome.unwrap_err().is_timeout());
    authority.release();
    assert!(cached.introspect(Ask::new(&bearer("another"))).await.unwrap().is_active());
}

#[cfg(feature = "test-util")]
#[tokio::test]
async fn a_late_joiner_is_not_let_in_by_an_answer_older_than_max_ttl() {
    let authority = Authority::new(active());
    authority.hold();
    let (cached, clock) = cached(&authority, |builder| builder.max_ttl(secs(0)));
    let first = spawn_ask(&cached);
    authority.asked(1).await;
    // Revoked now, while the question is under way; two more requests come after that.
    clock.advance(millis(1));
    let late = [spawn_ask(&cached), spawn_ask(&cached)];
    joined(&cached, 2).await;
    authority.release();
    assert!(patiently(first).await.unwrap().unwrap().is_active());
    authority.asked(2).await;
    joined(&cached, 3).await;
    authority.says(inactive(InactiveReason::Revoked));
    authority.release();
    for answer in late {
        assert!(!patiently(answer).await.unwrap().unwrap().is_active());
    }
    assert_eq!(authority.questions(), 2, "they wait together");
}

/// An authority that numbers its questions, and says in each answer which one it was.
fn numbering() -> (Arc<AtomicUsize>, impl Introspect) {
    let asked = Arc::new(AtomicUsize::new(0));
    let introspector = introspect_fn({
        let asked = Arc::clone(&asked);
        move |_| {
            let number = asked.fetch_add(1, Ordering::SeqCst);
            async move {
                tokio::task::yield_now().await;
                Ok(Verdict::Active(AccessToken::builder().claim("number", number).unwrap().build()))
            }
        }
    });
    (asked, introspector)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn with_max_ttl_zero_no_request_gets_an_answer_that_was_asked_for_before_it_came() {
    let (asked, introspector) = numbering();
    let cached = Cached::builder(introspector).max_ttl(secs(0)).build().unwrap();
    let mut callers = JoinSet::new();
    for _ in 0..8 {
        let (asked, cached) = (Arc::clone(&asked), cached.clone());
        callers.spawn(async move {
            let mut too_old = 0;
            for _ in 0..2_000 {
                let before = asked.load(Ordering::SeqCst);
                let answer = cached.introspect(Ask::new(&bearer("abc"))).await;
                let Ok(Verdict::Active(token)) = answer else { panic!("it is active") };
                too_old += usize::from(token.claim::<usize>("number").unwrap() < before);
            }
            too_old
        });
    }
    let too_old: usize = patiently(callers.join_all()).await.into_iter().sum();
    assert_eq!(too_old, 0, "of 16,000 requests");
    assert!(cached.handle().stats().coalesced > 0, "none of them waited with another");
}

/// The clock is set back while a question is under way, by more than the time that it takes.
#[cfg(feature = "test-util")]
#[tokio::test(start_paused = true)]
async fn a_clock_set_back_during_a_question_makes_its_answer_no_younger() {
    for (max_ttl, passes, lets_in) in [(0, 150, false), (100, 150, false), (100, 99, true)] {
        let authority = Authority::new(active());
        authority.hold();
        let (cached, clock) = cached(&authority, |builder| builder.max_ttl(millis(max_ttl)));
        let first = spawn_ask(&cached);
        authority.asked(1).await;
        // Revoked now. A request comes when some time has passed, and the clock shows an earlier one.
        clock.set(START - millis(500));
        tokio::time::advance(millis(passes)).await;
        clock.advance(millis(passes));
        let late = spawn_ask(&cached);
        joined(&cached, 1).await;
        authority.release();
        assert!(first.await.unwrap().unwrap().is_active());
        authority.says(inactive(InactiveReason::Revoked));
        authority.release();
        assert_eq!(late.await.unwrap().unwrap().is_active(), lets_in, "{passes} of {max_ttl} ms");
        assert_eq!(cached.cached(&bearer("abc")).is_some_and(|verdict| verdict.is_active()), lets_in, "the next one");
    }
}

/// It is set back after the answer has landed, and before who waits for it looks at it.
#[cfg(feature = "test-util")]
#[tokio::test]
async fn an_answer_from_what_is_now_the_future_lets_in_nobody_who_came_after_it_was_asked_for() {
    let authority = Authority::new(active());
    authority.hold();
    let (cached, clock) = cached(&authority, |builder| builder);
    let first = spawn_ask(&cached);
    authority.asked(1).await;
    let token = bearer("abc");
    let mut late = Box::pin(cached.introspect(Ask::new(&token)));
    assert!(poll_once(&mut late).is_pending());
    authority.says(inactive(InactiveReason::Revoked));
    authority.release();
    assert!(!patiently(first).await.unwrap().unwrap().is_active());
    clock.set(START - secs(3_600));
    authority.says(active());
    authority.release();
    assert!(patiently(late).await.unwrap().is_active());
    assert_eq!(authority.questions(), 2);
}

#[cfg(feature = "test-util")]
#[tokio::test]
async fn a_late_joiner_is_let_in_by_an_answer_younger_than_max_ttl_though_none_is_remembered() {
    for (age, questions) in [(millis(59_999), 1), (secs(60), 2)] {
        let authority = Authority::new(active());
        authority.hold();
        let (cached, clock) = cached(&authority, |builder| builder.max_ttl(secs(60)).max_capacity(0));
        let first = spawn_ask(&cached);
        authority.asked(1).await;
        clock.advance(millis(1));
        let late = spawn_ask(&cached);
        joined(&cached, 1).await;
        clock.set(START + age);
        authority.release();
        authority.release();
        for answer in [first, late] {
            assert!(patiently(answer).await.unwrap().unwrap().is_active());
        }
        assert_eq!(authority.questions(), questions, "{age:?}");
    }
}

#[tokio::test]
async fn the_invalidation_of_another_token_does_not_touch_a_question_under_way() {
    let (authority, cached, question) = under_way(active()).await;
    cached.handle().invalidate(&bearer("another"));
    authority.release();
    assert!(patiently(question).await.unwrap().unwrap().is_active());
    assert_eq!(authority.questions(), 1);
}

#[tokio::test]
async fn invalidated_again_and_again_a_question_is_given_up_and_fails_closed() {
    let authority = Authority::new(active());
    authority.hold();
    let cached = Cached::new(authority.clone());
    let question = spawn_ask(&cached);
    for n in 1..=3 {
        authority.asked(n).await;
        cached.handle().invalidate(&bearer("abc"));
        authority.release();
    }
    let error = patiently(question).await.unwrap().unwrap_err();
    assert_eq!(error.kind(), IntrospectErrorKind::Abandoned);
    assert_eq!(error.source().unwrap().to_string(), "it was invalidated again and again");
    assert!(cached.cached(&bearer("abc")).is_none());
    // The slot is free.
    authority.release();
    assert!(cached.introspect(Ask::new(&bearer("abc"))).await.unwrap().is_active());
}

#[tokio::test]
async fn questions_under_way_are_bounded_and_one_more_is_overload() {
    let authority = Authority::new(active());
    authority.hold();
    let cached = Cached::builder(authority.clone()).max_flights(2).build().unwrap();
    let ask = |token: &'static str| {
        let cached = cached.clone();
        async move { cached.introspect(Ask::new(&bearer(token))).await }
    };
    let (one, two) = (tokio::spawn(ask("one")), tokio::spawn(ask("two")));
    authority.asked(2).await;
    assert!(ask("three").await.unwrap_err().is_overloaded());
    // A request for a token that is asked about already still joins.
    let joins = tokio::spawn(ask("one"));
    joined(&cached, 1).await;
    assert_eq!(authority.questions(), 2);
    assert_eq!(cached.handle().stats().overloaded, 1);
    authority.release();
    authority.release();
    for answer in [patiently(one).await, patiently(two).await, patiently(joins).await] {
        assert!(answer.unwrap().unwrap().is_active());
    }
    authority.release();
    assert!(ask("three").await.unwrap().is_active());
}

#[tokio::test]
async fn a_known_answer_is_given_while_a_question_for_another_token_hangs() {
    let authority = Authority::new(active());
    let cached = Cached::new(authority.clone());
    cached.introspect(Ask::new(&bearer("known"))).await.unwrap();
    authority.hold();
    let hanging = spawn_ask(&cached);
    authority.asked(2).await;
    assert!(cached.introspect(Ask::new(&bearer("known"))).await.unwrap().is_active());
    hanging.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_request_is_counted_once_whether_it_finds_asks_joins_or_hangs_up() {
    let cached = Cached::new(Authority::new(active()));
    let mut tasks = JoinSet::new();
    for n in 0..8 {
        let cached = cached.clone();
        tasks.spawn(async move {
            for step in 0..400 {
                let token = bearer("abc");
                let mut request = Box::pin(cached.introspect(Ask::new(&token)));
                if poll_once(&mut request).is_pending() && (n + step) % 3 > 0 {
                    patiently(request).await.ok();
                }
                if (n + step) % 5 == 0 {
                    cached.handle().invalidate(&token);
                }
            }
        });
    }
    patiently(tasks.join_all()).await;
    let stats = cached.handle().stats();
    assert_eq!(stats.hits + stats.misses + stats.coalesced, 8 * 400, "{stats:?}");
}
