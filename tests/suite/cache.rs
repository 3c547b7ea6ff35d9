//! What is remembered, and for how long: by a clock that stands still until it is moved.
#![cfg(feature = "test-util")]

use std::time::Duration;

use crate::support::*;
use tower_introspection::cache::{Reach, Selection};
use tower_introspection::introspect::Ask;
use tower_introspection::introspect::IntrospectErrorKind;
use tower_introspection::{AccessToken, Cached, InactiveReason, Introspect, Verdict};

async fn ask(cached: &Cached<Authority>) -> Verdict {
    known_or_asked(cached, "abc").await.unwrap()
}

#[tokio::test]
async fn a_hit_asks_nobody_until_max_ttl_and_then_asks_again() {
    let authority = Authority::new(active());
    let (cached, clock) = cached(&authority, |builder| builder.max_ttl(secs(60)));
    assert!(ask(&cached).await.is_active());
    clock.set(START + millis(59_999));
    assert!(ask(&cached).await.is_active());
    assert_eq!(authority.questions(), 1);
    clock.set(START + secs(60));
    assert!(cached.cached(&bearer("abc")).is_none());
    assert!(ask(&cached).await.is_active());
    assert_eq!(authority.questions(), 2);
}

#[tokio::test]
async fn a_cache_over_a_cache_keeps_a_deadline_of_its_own() {
    let authority = Authority::new(active());
    let (inner, clock) = cached(&authority, |builder| builder.max_ttl(secs(60)).refresh_ahead(0.0));
    let outer =
        Cached::builder(inner.clone()).clock(clock.clone()).max_ttl(secs(10)).refresh_ahead(0.0).build().unwrap();
    assert!(outer.introspect(Ask::new(&bearer("abc"))).await.unwrap().is_active());
    clock.set(START + secs(10));
    assert!(outer.cached(&bearer("abc")).is_none());
    assert!(inner.cached(&bearer("abc")).is_some(), "what the outer one notes is no concern of the inner one");
    assert!(outer.introspect(Ask::new(&bearer("abc"))).await.unwrap().is_active());
    assert_eq!(authority.questions(), 1);
    clock.set(START + millis(19_999));
    assert!(outer.cached(&bearer("abc")).is_some());
    clock.set(START + secs(60));
    assert!(inner.cached(&bearer("abc")).is_none());
}

#[tokio::test]
async fn one_answer_for_two_tokens_serves_each_for_a_time_of_its_own() {
    // The introspector gives copies of one token.
    let authority = Authority::new(active());
    let (cached, clock) = cached(&authority, |builder| builder.max_ttl(secs(60)).refresh_ahead(0.0));
    cached.introspect(Ask::new(&bearer("abc"))).await.unwrap();
    clock.set(START + secs(30));
    cached.introspect(Ask::new(&bearer("def"))).await.unwrap();
    clock.set(START + millis(59_999));
    assert!(cached.cached(&bearer("abc")).is_some() && cached.cached(&bearer("def")).is_some());
    clock.set(START + secs(60));
    assert!(cached.cached(&bearer("abc")).is_none() && cached.cached(&bearer("def")).is_some());
    cached.handle().invalidate(&bearer("abc"));
    assert!(cached.cached(&bearer("def")).is_some());
}

#[tokio::test]
async fn the_defaults_are_sixty_seconds_for_active_and_ten_for_inactive_answers() {
    let authority = Authority::new(active());
    let (cached, clock) = cached(&authority, |builder| builder);
    ask(&cached).await;
    clock.set(START + millis(59_999));
    assert!(cached.cached(&bearer("abc")).is_some());
    clock.set(START + secs(60));
    assert!(cached.cached(&bearer("abc")).is_none());
    authority.says(inactive(InactiveReason::Unknown));
    ask(&cached).await;
    clock.advance(millis(9_999));
    assert!(cached.cached(&bearer("abc")).is_some());
    clock.advance(millis(1));
    assert!(cached.cached(&bearer("abc")).is_none());
}

#[tokio::test]
async fn a_hit_never_moves_the_deadline_so_a_revoked_token_is_refused_after_max_ttl_at_the_latest() {
    let authority = Authority::new(active());
    let (cached, clock) = cached(&authority, |builder| builder.max_ttl(secs(60)));
    ask(&cached).await;
    authority.says(inactive(InactiveReason::Revoked));
    for _ in 0..59 {
        clock.advance(secs(1));
        assert!(ask(&cached).await.is_active());
    }
    clock.advance(secs(1));
    assert!(matches!(ask(&cached).await, Verdict::Inactive(InactiveReason::Revoked)));
}

#[tokio::test]
async fn the_revocation_window_counts_from_the_question_and_not_from_a_slow_answer() {
    let authority = Authority::new(active());
    let (cached, clock) = cached(&authority, |builder| builder.max_ttl(secs(60)));
    authority.hold();
    let question = spawn_ask(&cached);
    authority.asked(1).await;
    clock.advance(secs(20));
    authority.release();
    assert!(patiently(question).await.unwrap().unwrap().is_active());
    clock.set(START + millis(59_999));
    assert!(cached.cached(&bearer("abc")).is_some());
    clock.set(START + secs(60));
    assert!(cached.cached(&bearer("abc")).is_none());
}

#[tokio::test]
async fn nothing_cached_outlives_the_token_and_the_bound_is_exclusive() {
    let authority = Authority::new(active_until(START + secs(30)));
    let (cached, clock) = cached(&authority, |builder| builder.max_ttl(secs(60)));
    ask(&cached).await;
    clock.set(START + millis(29_999));
    assert!(cached.cached(&bearer("abc")).unwrap().is_active());
    clock.set(START + secs(30));
    assert!(cached.cached(&bearer("abc")).is_none());
}

#[tokio::test]
async fn an_answer_that_expired_on_its_way_is_inactive_for_everyone_who_waited() {
    let authority = Authority::new(active_until(START + secs(1)));
    let (cached, clock) = cached(&authority, |builder| builder);
    authority.hold();
    let question = spawn_ask(&cached);
    authority.asked(1).await;
    clock.advance(secs(1));
    authority.release();
    assert!(matches!(patiently(question).await.unwrap().unwrap(), Verdict::Inactive(InactiveReason::Expired)));
}

#[tokio::test]
async fn a_clock_set_back_does_not_bring_an_expired_entry_back_after_it_was_refused() {
    let authority = Authority::new(active_until(START + secs(30)));
    let (cached, clock) = cached(&authority, |builder| builder);
    ask(&cached).await;
    clock.set(START + secs(31));
    authority.says(inactive(InactiveReason::Expired));
    assert!(!ask(&cached).await.is_active());
    clock.set(START);
    assert!(!ask(&cached).await.is_active());
}

#[tokio::test]
async fn a_clock_set_back_ends_an_inactive_answer_from_what_is_now_the_future() {
    let authority = Authority::new(inactive(InactiveReason::Unknown));
    let (cached, clock) = cached(&authority, |builder| builder);
    assert!(!ask(&cached).await.is_active());
    clock.set(START - secs(3_600));
    authority.says(active());
    assert!(ask(&cached).await.is_active());
}

#[tokio::test]
async fn an_entry_ends_even_if_the_wall_clock_stands_still() {
    let authority = Authority::new(active());
    let (cached, _) = cached(&authority, |builder| builder.max_ttl(millis(1)));
    ask(&cached).await;
    until(|| cached.cached(&bearer("abc")).is_none()).await;
}

#[tokio::test]
async fn zero_means_do_not_cache_and_never_forever() {
    let authority = Authority::new(active());
    let (no_active, _) = cached(&authority, |builder| builder.max_ttl(Duration::ZERO));
    ask(&no_active).await;
    ask(&no_active).await;
    assert_eq!(authority.questions(), 2);
    assert!(no_active.cached(&bearer("abc")).is_none());
    assert_eq!(no_active.handle().stats().entries, 0, "it takes no room");

    let authority = Authority::new(inactive(InactiveReason::Unknown));
    let (no_inactive, _) = cached(&authority, |builder| builder.inactive_ttl(Duration::ZERO));
    ask(&no_inactive).await;
    ask(&no_inactive).await;
    assert_eq!(authority.questions(), 2);
    assert_eq!(no_inactive.handle().stats().inactive_entries, 0, "it takes no room");
}

#[tokio::test]
async fn a_capacity_of_zero_remembers_nothing() {
    let authority = Authority::new(active());
    let (cached, _) = cached(&authority, |builder| builder.max_capacity(0).inactive_capacity(0));
    ask(&cached).await;
    ask(&cached).await;
    authority.says(inactive(InactiveReason::Unknown));
    ask(&cached).await;
    ask(&cached).await;
    assert_eq!(authority.questions(), 4);
}

#[tokio::test]
async fn a_token_that_is_not_valid_yet_is_asked_about_again_once_it_is() {
    let early = tower_introspection::AccessToken::builder().not_before(START + millis(500)).build();
    let authority = Authority::new(Ok(Verdict::Active(early)));
    let (cached, clock) = cached(&authority, |builder| builder);
    assert!(matches!(ask(&cached).await, Verdict::Inactive(InactiveReason::NotYetValid)));
    clock.advance(millis(499));
    assert!(!ask(&cached).await.is_active());
    assert_eq!(authority.questions(), 1);
    clock.advance(millis(1));
    assert!(ask(&cached).await.is_active());
}

#[tokio::test]
async fn an_endless_max_ttl_ends_with_the_token() {
    let authority = Authority::new(active_until(START + secs(1_000_000)));
    let (cached, clock) = cached(&authority, |builder| builder.max_ttl(Duration::MAX));
    ask(&cached).await;
    clock.set(START + secs(999_999));
    assert!(cached.cached(&bearer("abc")).is_some());
    clock.set(START + secs(1_000_000));
    assert!(cached.cached(&bearer("abc")).is_none());
}

#[tokio::test]
async fn the_expiry_leeway_leaves_the_last_moments_to_the_authority() {
    let authority = Authority::new(active_until(START + secs(30)));
    let (cached, clock) = cached(&authority, |builder| builder.expiry_leeway(secs(5)));
    ask(&cached).await;
    clock.set(START + millis(24_999));
    assert!(cached.cached(&bearer("abc")).is_some());
    clock.set(START + secs(25));
    assert!(cached.cached(&bearer("abc")).is_none());
    assert!(ask(&cached).await.is_active());
    assert!(cached.cached(&bearer("abc")).is_none());
}

#[tokio::test]
async fn a_failure_is_never_cached_and_never_evicts_a_good_entry() {
    let authority = Authority::new(failure(IntrospectErrorKind::Timeout));
    let (cached, clock) = cached(&authority, |builder| builder.max_ttl(secs(60)));
    assert!(cached.introspect(Ask::new(&bearer("abc"))).await.unwrap_err().is_timeout());
    assert!(cached.cached(&bearer("abc")).is_none());
    authority.says(active());
    assert!(ask(&cached).await.is_active(), "the next request asks again");

    // A failure while an entry is there but no longer serves: the entry's fate is not the failure's to decide.
    clock.advance(secs(60));
    authority.says(failure(IntrospectErrorKind::Status));
    assert!(cached.introspect(Ask::new(&bearer("abc"))).await.is_err());
    clock.set(START + millis(59_999));
    assert!(cached.cached(&bearer("abc")).unwrap().is_active());
}

#[tokio::test]
async fn a_token_that_became_inactive_leaves_the_active_cache_and_the_other_way_round() {
    let authority = Authority::new(active());
    let (cached, clock) = cached(&authority, |builder| builder);
    ask(&cached).await;
    clock.advance(secs(60));
    authority.says(inactive(InactiveReason::Revoked));
    assert!(!ask(&cached).await.is_active());
    let stats = cached.handle().stats();
    assert_eq!((stats.entries, stats.inactive_entries), (0, 1));
    // Apigee can approve a revoked token again.
    clock.advance(secs(10));
    authority.says(active());
    assert!(ask(&cached).await.is_active());
    let stats = cached.handle().stats();
    assert_eq!((stats.entries, stats.inactive_entries), (1, 0));
}

#[tokio::test]
async fn junk_tokens_stay_in_their_own_small_cache_and_push_no_good_one_out() {
    let authority = Authority::new(active());
    let (cached, _) = cached(&authority, |builder| builder.max_capacity(10).inactive_capacity(20));
    for n in 0..10 {
        cached.introspect(Ask::new(&bearer(&format!("good-{n}")))).await.unwrap();
    }
    authority.says(inactive(InactiveReason::Unknown));
    for n in 0..1_000 {
        cached.introspect(Ask::new(&bearer(&format!("junk-{n}")))).await.unwrap();
    }
    let stats = cached.handle().stats();
    assert_eq!(stats.entries, 10);
    assert!(stats.inactive_entries <= 20, "{stats:?}");
    for n in 0..10 {
        assert!(cached.cached(&bearer(&format!("good-{n}"))).unwrap().is_active(), "good-{n}");
    }
}

#[tokio::test]
async fn a_full_cache_evicts_single_entries_and_is_never_flushed() {
    let authority = Authority::new(active());
    let (cached, _) = cached(&authority, |builder| builder.max_capacity(100));
    for n in 1..=1_050 {
        cached.introspect(Ask::new(&bearer(&format!("token-{n}")))).await.unwrap();
        assert_eq!(cached.handle().stats().entries, n.min(100), "after {n}");
    }
}

#[tokio::test]
async fn two_caches_never_answer_for_each_other() {
    let (good, bad) = (Authority::new(active()), Authority::new(inactive(InactiveReason::Unknown)));
    let (first, _) = cached(&good, |builder| builder);
    let (second, _) = cached(&bad, |builder| builder);
    assert!(ask(&first).await.is_active());
    assert!(second.cached(&bearer("abc")).is_none());
    assert!(!ask(&second).await.is_active());
    assert!(ask(&first).await.is_active());
}

#[tokio::test]
async fn invalidate_forgets_one_token_active_or_not() {
    let authority = Authority::new(active());
    let (cached, _) = cached(&authority, |builder| builder);
    cached.introspect(Ask::new(&bearer("kept"))).await.unwrap();
    for answer in [active(), inactive(InactiveReason::Unknown)] {
        authority.says(answer);
        ask(&cached).await;
        cached.handle().invalidate(&bearer("abc"));
        assert!(cached.cached(&bearer("abc")).is_none());
    }
    assert!(cached.cached(&bearer("kept")).is_some());
}

#[tokio::test]
async fn invalidate_all_forgets_both_kinds_and_new_answers_are_remembered_again() {
    let authority = Authority::new(active());
    let (cached, _) = cached(&authority, |builder| builder);
    cached.introspect(Ask::new(&bearer("good"))).await.unwrap();
    authority.says(inactive(InactiveReason::Unknown));
    cached.introspect(Ask::new(&bearer("bad"))).await.unwrap();
    cached.handle().invalidate_all();
    assert!(cached.cached(&bearer("good")).is_none() && cached.cached(&bearer("bad")).is_none());
    authority.says(active());
    cached.introspect(Ask::new(&bearer("good"))).await.unwrap();
    assert!(cached.cached(&bearer("good")).is_some());
}

#[tokio::test]
async fn a_token_in_use_gets_room_though_it_is_asked_about_by_introspect_alone() {
    let authority = Authority::new(active());
    let (cached, _) = cached(&authority, |builder| builder.max_capacity(100));
    for n in 0..100 {
        cached.introspect(Ask::new(&bearer(&format!("passing-{n}")))).await.unwrap();
    }
    let use_all = async || {
        for n in 0..20 {
            cached.introspect(Ask::new(&bearer(&format!("hot-{n}")))).await.unwrap();
        }
        let _ = cached.handle().stats();
        authority.questions()
    };
    for _ in 0..500 {
        use_all().await;
    }
    assert_eq!(use_all().await, use_all().await, "they are remembered");
}

#[tokio::test]
async fn invalidate_where_forgets_all_tokens_of_one_client_and_says_how_many() {
    let authority = Authority::new(active());
    let (cached, _) = cached(&authority, |builder| builder);
    for n in 0..50 {
        let client = if n % 5 == 0 { "mine" } else { "yours" };
        authority.says(Ok(Verdict::Active(tower_introspection::AccessToken::builder().client_id(client).build())));
        cached.introspect(Ask::new(&bearer(&format!("token-{n}")))).await.unwrap();
    }
    assert_eq!(cached.handle().invalidate_where(|token| token.client_id() == Some("mine")), 10);
    for n in 0..50 {
        assert_eq!(cached.cached(&bearer(&format!("token-{n}"))).is_some(), n % 5 != 0, "token-{n}");
    }
}

fn claim(name: &str, value: &str) -> Selection {
    Selection::claim(name, value).unwrap()
}

fn issued_before(offset: u64) -> Selection {
    Selection::issued_before(START + secs(offset))
}

/// Of tokens `0` to `3`, each unlike the others in all that is stated, and `4`, of which nothing is.
async fn tokens_of_all_kinds(max_capacity: u64) -> Cached<Authority> {
    let authority = Authority::new(active());
    let (cached, _) = cached(&authority, |builder| builder.max_capacity(max_capacity));
    for n in 0..5 {
        let of = |what: &str| format!("{what}-{n}");
        let facts = AccessToken::builder().client_id(of("client")).app(of("app")).app_id(of("id")).subject(of("user"));
        let facts = facts.issuer(of("issuer")).issued_at(START + secs(n)).claim("sid", of("session")).unwrap();
        let facts = facts.claim("tenant", of("tenant")).unwrap();
        let facts = if n == 4 { AccessToken::builder() } else { facts };
        authority.says(Ok(Verdict::Active(facts.build())));
        cached.introspect(Ask::new(&bearer(&n.to_string()))).await.unwrap();
    }
    authority.says(inactive(InactiveReason::Unknown));
    cached.introspect(Ask::new(&bearer("inactive"))).await.unwrap();
    cached
}

#[tokio::test]
async fn a_selection_forgets_what_it_says_and_nothing_else() {
    let token = |text: &str| Selection::token(&bearer(text));
    for (selection, forgotten) in [
        (token("1"), &["1"][..]),
        ((&bearer("2")).into(), &["2"]),
        (token("inactive"), &["inactive"]),
        (token("unknown"), &[]),
        (Selection::client("client-1"), &["1"]),
        (Selection::app("app-2"), &["2"]),
        (Selection::app("id-3"), &["3"]),
        (Selection::subject("user-0"), &["0"]),
        (Selection::issuer("issuer-1"), &["1"]),
        (Selection::session("session-2"), &["2"]),
        (claim("tenant", "tenant-3"), &["3"]),
        (claim("client_id", "client-3"), &["3"]),
        (issued_before(2), &["0", "1", "4"]),
        (issued_before(2).and(Selection::client("client-1")), &["1"]),
        (token("1").and(Selection::client("client-1")), &["1"]),
        (token("1").and(Selection::client("client-2")), &[]),
        (token("inactive").and(issued_before(2)), &[]),
        (Selection::client("client-1").and(Selection::client("client-2")), &[]),
        (token("1").and(token("2")), &[]),
        (Selection::all().and(Selection::app("app-1")), &["1"]),
        (Selection::all(), &["0", "1", "2", "3", "4", "inactive"]),
    ] {
        let cached = tokens_of_all_kinds(100).await;
        let shown = format!("{selection:?}");
        let invalidation = cached.handle().invalidate(selection);
        for text in ["0", "1", "2", "3", "4", "inactive"] {
            assert_eq!(cached.cached(&bearer(text)).is_none(), forgotten.contains(&text), "{text} by {shown}");
        }
        let active = forgotten.iter().filter(|text| **text != "inactive").count();
        assert_eq!(invalidation.forgotten(), active, "{shown}");
        assert_eq!(invalidation.await, Reach::ThisProcess);
    }
}

#[tokio::test]
async fn invalidate_all_tells_how_many_active_tokens_it_has_forgotten() {
    let invalidation = tokens_of_all_kinds(100).await.handle().invalidate_all();
    assert_eq!(invalidation.forgotten(), 5);
    assert_eq!(invalidation.await, Reach::ThisProcess);
    assert_eq!(tokens_of_all_kinds(0).await.handle().invalidate_all().forgotten(), 0);
}

#[tokio::test]
async fn stats_count_hits_misses_inactive_hits_questions_failures_and_entries() {
    let authority = Authority::new(active());
    let (cached, _) = cached(&authority, |builder| builder);
    ask(&cached).await;
    ask(&cached).await;
    ask(&cached).await;
    authority.says(inactive(InactiveReason::Unknown));
    cached.introspect(Ask::new(&bearer("bad"))).await.unwrap();
    assert!(cached.cached(&bearer("bad")).is_some());
    authority.says(failure(IntrospectErrorKind::Connect));
    cached.introspect(Ask::new(&bearer("down"))).await.unwrap_err();
    let stats = cached.handle().stats();
    assert_eq!((stats.hits, stats.inactive_hits, stats.misses, stats.coalesced), (2, 1, 3, 0));
    assert_eq!((stats.questions, stats.failures, stats.overloaded), (3, 1, 0));
    assert_eq!((stats.entries, stats.inactive_entries), (1, 1));
}

#[test]
fn settings_that_let_no_token_be_checked_are_refused_by_name() {
    let builder = || Cached::builder(Authority::new(active()));
    assert_eq!(builder().max_flights(0).build().unwrap_err().setting(), "max_flights");
    assert_eq!(builder().question_timeout(Duration::ZERO).build().unwrap_err().setting(), "question_timeout");
}

#[test]
fn a_question_outside_of_a_runtime_is_a_failure_and_no_panic() {
    let (cached, _) = cached(&Authority::new(active()), |builder| builder);
    let token = bearer("abc");
    let mut question = std::pin::pin!(cached.introspect(Ask::new(&token)));
    match poll_once(&mut question) {
        std::task::Poll::Ready(Err(error)) => assert_eq!(error.kind(), IntrospectErrorKind::Abandoned),
        other => panic!("{other:?}"),
    }
}
