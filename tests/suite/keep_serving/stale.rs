//! Answers that serve on in an outage.

use std::time::Duration;

use super::{OUTAGE, ask, token_of};
use crate::support::*;
#[cfg(feature = "sandbox")]
use tower_introspection::Cached;
#[cfg(feature = "sandbox")]
use tower_introspection::clock::ManualClock;
#[cfg(feature = "sandbox")]
use tower_introspection::connection::{Connection, Limits};
use tower_introspection::introspect::Ask;
use tower_introspection::introspect::IntrospectErrorKind;
use tower_introspection::{Introspect, IntrospectError};

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
    assert!(cached.introspect(Ask::new(&bearer("junk"))).await.is_err());
    authority.says(failure(IntrospectErrorKind::Overloaded));
    assert!(ask(&cached).await.unwrap_err().is_overloaded());
}

#[tokio::test]
async fn a_bound_on_questions_is_such_a_want_of_room_too() {
    let authority = Authority::new(active());
    let (cached, clock) = cached(&authority, |builder| builder.stale_if_error(secs(300)).max_flights(1));
    for token in ["abc", "def"] {
        cached.introspect(Ask::new(&bearer(token))).await.unwrap();
    }
    authority.says(failure(OUTAGE));
    clock.set(START + secs(60));
    assert!(token_of(ask(&cached).await).is_stale());
    authority.hold();
    let other = tokio::spawn({
        let cached = cached.clone();
        async move { cached.introspect(Ask::new(&bearer("def"))).await }
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
    assert!(cached.cached(&bearer("abc")).is_none(), "nobody was asked yet");
    assert!(token_of(ask(&cached).await).is_stale());
    clock.advance(millis(6_999));
    assert!(token_of(Ok(cached.cached(&bearer("abc")).unwrap())).is_stale());
    assert_eq!(authority.questions(), 2);
    assert!(cached.cached(&bearer("another")).is_none());
    clock.advance(millis(1));
    assert!(cached.cached(&bearer("abc")).is_none(), "time to ask again");
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
        assert!(cached.cached(&bearer("abc")).is_some(), "left alone");
        if is_answered {
            authority.says(active());
            cached.introspect(Ask::new(&bearer("another"))).await.unwrap();
        } else {
            clock.set(START + secs(199));
        }
        assert!(cached.cached(&bearer("abc")).is_none(), "time to ask again");
    }
}

#[cfg(feature = "sandbox")]
#[tokio::test]
async fn an_answer_for_which_nobody_was_asked_does_not_end_it() {
    use tower_introspection::sandbox::{Fault, Sandbox};

    let sandbox = Sandbox::start().await.unwrap();
    sandbox.script("abc", 200, r#"{"status":"approved","expiresAt":9999999999999}"#);
    let clock = ManualClock::at(START);
    let apigee = sandbox
        .apigee()
        .clock(clock.clone())
        .limits(Limits::new().breaker_threshold(1).max_retries(0))
        .build()
        .unwrap();
    let cached = Cached::builder(apigee).clock(clock.clone()).max_ttl(secs(60)).stale_if_error(secs(300));
    let cached = cached.build().unwrap();
    assert!(cached.introspect(Ask::new(&bearer("abc"))).await.unwrap().is_active());
    sandbox.set_fault(Fault::Status(503));
    clock.advance(secs(60));
    for _ in 0..2 {
        assert!(token_of(cached.introspect(Ask::new(&bearer("abc"))).await).is_stale());
    }
    assert!(cached.cached(&bearer("abc")).is_some(), "left alone");
    assert!(!cached.introspect(Ask::new(&bearer("a/../b"))).await.unwrap().is_active());
    assert!(cached.cached(&bearer("abc")).is_some());
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
        (IntrospectErrorKind::Discovery, true),
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
#[cfg(feature = "sandbox")]
async fn an_answer_that_is_too_large_does_not_have_the_one_before_serve_on() {
    use tower_introspection::sandbox::Sandbox;

    let sandbox = Sandbox::start().await.unwrap();
    for (body, serves_on) in [(format!(r#"{{"active":false,"x":"{}"}}"#, "x".repeat(2_000)), false), ("?".into(), true)]
    {
        let clock = ManualClock::at(START);
        let endpoint = sandbox
            .rfc7662()
            .connection(Connection::new().max_response_bytes(1_000))
            .clock(clock.clone())
            .build()
            .unwrap();
        let cached = Cached::builder(endpoint).clock(clock.clone()).stale_if_error(secs(600)).build().unwrap();
        sandbox.script("abc", 200, r#"{"active":true}"#);
        assert!(ask(&cached).await.unwrap().is_active());
        sandbox.script("abc", 200, body);
        clock.advance(secs(61));
        assert_eq!(ask(&cached).await.is_ok(), serves_on);
    }
}

#[tokio::test]
#[cfg(feature = "sandbox")]
async fn a_flood_of_junk_has_no_known_token_turned_away_and_keeps_no_answer_from_serving_on_in_an_outage() {
    use tower_introspection::sandbox::{Fault, Sandbox, SandboxToken};

    let clock = ManualClock::at(START);
    let sandbox = Sandbox::start_with_clock(clock.clone()).await.unwrap();
    let limits = Limits::new().max_wait(secs(0)).max_retries(0);
    let apigee = sandbox.apigee().clock(clock.clone()).limits(limits).build().unwrap();
    let cached = Cached::builder(apigee).clock(clock.clone()).stale_if_error(secs(300)).build().unwrap();
    let tokens: Vec<_> = (0..60).map(|_| sandbox.issue(SandboxToken::new().expires_in(secs(3_600)))).collect();
    for token in &tokens {
        assert!(cached.introspect(Ask::new(&bearer(token))).await.unwrap().is_active());
    }
    for fails in [false, true] {
        clock.advance(secs(61));
        for n in 0..300 {
            let _ = cached.introspect(Ask::new(&bearer(&format!("junk-{fails}-{n}")))).await;
        }
        assert!(cached.introspect(Ask::new(&bearer("more-junk"))).await.unwrap_err().is_overloaded());
        if fails {
            sandbox.set_fault(Fault::Reset);
        }
        for token in &tokens {
            assert_eq!(token_of(cached.introspect(Ask::new(&bearer(token))).await).is_stale(), fails);
        }
    }
}

/// Or whoever sends enough requests could go on using a revoked token for as long as in an outage.
#[tokio::test]
#[cfg(feature = "sandbox")]
async fn an_overload_has_no_answer_serve_on_while_the_authority_answers() {
    use tower_introspection::sandbox::{Sandbox, SandboxToken};

    let clock = ManualClock::at(START);
    let sandbox = Sandbox::start_with_clock(clock.clone()).await.unwrap();
    let limits = Limits::new().rate_limit(2, secs(100)).max_wait(secs(0));
    let apigee = sandbox.apigee().clock(clock.clone()).limits(limits).build().unwrap();
    let cached = Cached::builder(apigee).clock(clock.clone()).stale_if_error(secs(300)).build().unwrap();
    let tokens = [0, 1].map(|_| sandbox.issue(SandboxToken::new().expires_in(secs(3_600))));
    for token in &tokens {
        clock.advance(secs(101));
        assert!(cached.introspect(Ask::new(&bearer(token))).await.unwrap().is_active());
    }
    sandbox.revoke(&tokens[1]);
    clock.advance(secs(61));
    assert!(cached.introspect(Ask::new(&bearer(&tokens[0]))).await.unwrap().is_active(), "known, and so asked about");
    assert!(cached.introspect(Ask::new(&bearer(&tokens[1]))).await.unwrap_err().is_overloaded());
    clock.advance(secs(101));
    assert!(!cached.introspect(Ask::new(&bearer(&tokens[1]))).await.unwrap().is_active());
}
