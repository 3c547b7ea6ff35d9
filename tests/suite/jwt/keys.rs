//! The issuer's keys over real sockets: rotated, removed, slow, gone, and whatever else a server can do.

use serde_json::json;
use tower_introspection::introspect::IntrospectErrorKind;
use tower_introspection::sandbox::{Fault, Sandbox};
use tower_introspection::{Cached, Introspect, Jwt};

use super::{AUDIENCE, Refused, UNVERIFIED, ask, claims, judge, token};
use crate::support::{millis, secs};

#[tokio::test]
async fn a_rotation_is_noticed_at_once_and_the_old_key_serves_until_it_is_removed() {
    let sandbox = Sandbox::start().await.unwrap();
    let jwt = judge(&sandbox).build().unwrap();
    let old = sandbox.issue_jwt(token()).unwrap();
    assert!(ask(&jwt, &old).await.is_ok());
    sandbox.rotate_key().unwrap();
    let new = sandbox.issue_jwt(token()).unwrap();
    assert!(ask(&jwt, &new).await.is_ok());
    assert!(ask(&jwt, &old).await.is_ok());
    assert_eq!(sandbox.jwks_calls(), 2);
    sandbox.retire_old_keys();
    let later = judge(&sandbox).build().unwrap();
    assert_eq!(ask(&later, &old).await.unwrap_err(), UNVERIFIED);
    assert!(ask(&later, &new).await.is_ok());
}

#[tokio::test]
async fn junk_that_names_unknown_keys_costs_one_fetch() {
    let sandbox = Sandbox::start().await.unwrap();
    let jwt = judge(&sandbox).build().unwrap();
    let good = sandbox.issue_jwt(token()).unwrap();
    assert!(ask(&jwt, &good).await.is_ok());
    let junk = |n: u32| sandbox.sign(json!({ "typ": "at+jwt", "kid": n.to_string() }), claims(&sandbox)).unwrap();
    assert_eq!(ask(&jwt, &junk(0)).await.unwrap_err(), UNVERIFIED, "looked for, and not there");
    for n in 1..200 {
        let refused = ask(&jwt, &junk(n)).await.unwrap_err();
        assert_eq!(refused, Refused::Failed(IntrospectErrorKind::Overloaded));
        assert!(ask(&jwt, &good).await.is_ok());
    }
    assert_eq!(sandbox.jwks_calls(), 2);
    sandbox.rotate_key().unwrap();
    let new = sandbox.issue_jwt(token()).unwrap();
    assert!(ask(&jwt, &new).await.is_err(), "its key is named for the first time");
    assert!(ask(&jwt, &new).await.is_ok());
    assert_eq!(sandbox.jwks_calls(), 3);
}

#[tokio::test]
async fn what_can_never_come_in_fetches_no_keys() {
    let sandbox = Sandbox::start().await.unwrap();
    let jwt = judge(&sandbox).build().unwrap();
    let mut wrong = claims(&sandbox);
    wrong["aud"] = json!("https://other.example");
    let other_kind = sandbox.sign(json!({ "typ": "secevent+jwt" }), claims(&sandbox)).unwrap();
    let wrong = sandbox.sign(json!({ "typ": "at+jwt" }), wrong).unwrap();
    let expired = sandbox.sign(json!({ "typ": "at+jwt" }), super::with(&sandbox, "exp", json!(1))).unwrap();
    for text in ["opaque", "a.b.c", "eyJ.eyJ.eyJ", &wrong, &other_kind, &expired] {
        assert!(matches!(ask(&jwt, text).await, Err(Refused::Inactive(_))), "{text}");
    }
    assert_eq!(sandbox.jwks_calls(), 0);
}

#[tokio::test]
async fn keys_that_cannot_be_had_refuse_nobody() {
    for (fault, kind) in [
        (Fault::Status(500), IntrospectErrorKind::Status),
        (Fault::Status(401), IntrospectErrorKind::Status),
        (Fault::Status(404), IntrospectErrorKind::Status),
        (Fault::Status(429), IntrospectErrorKind::RateLimited),
        (Fault::Reset, IntrospectErrorKind::Transport),
        (Fault::Hang, IntrospectErrorKind::Timeout),
        (Fault::Garbage, IntrospectErrorKind::Answer),
        (Fault::Oversized(70_000), IntrospectErrorKind::Answer),
        (Fault::Redirect, IntrospectErrorKind::Status),
    ] {
        let sandbox = Sandbox::start().await.unwrap();
        let text = sandbox.issue_jwt(token()).unwrap();
        let warm = judge(&sandbox).build().unwrap();
        ask(&warm, &text).await.unwrap();
        sandbox.set_jwks_fault(fault);
        let soon = if fault == Fault::Hang { millis(300) } else { secs(3) };
        let cold = judge(&sandbox).request_timeout(soon).build().unwrap();
        assert_eq!(ask(&cold, &text).await.unwrap_err(), Refused::Failed(kind), "{fault:?}");
        // A failure drops no keys: known ones serve on, and one that is not known is not refused.
        sandbox.rotate_key().unwrap();
        let new = sandbox.issue_jwt(token()).unwrap();
        assert_eq!(ask(&warm, &new).await.unwrap_err(), Refused::Failed(kind), "{fault:?}");
        ask(&warm, &text).await.unwrap();
    }
}

#[tokio::test]
async fn a_key_set_without_the_key_refuses_the_token() {
    let sandbox = Sandbox::start().await.unwrap();
    sandbox.rotate_key().unwrap();
    let jwt = judge(&sandbox).build().unwrap();
    sandbox.set_jwks_fault(Fault::OldKeys);
    assert_eq!(ask(&jwt, &sandbox.issue_jwt(token()).unwrap()).await.unwrap_err(), UNVERIFIED);
}

#[tokio::test]
async fn keys_are_fetched_when_a_program_starts_if_it_wants_that() {
    let sandbox = Sandbox::start().await.unwrap();
    let jwt = judge(&sandbox).build().unwrap();
    jwt.fetch_keys().await.unwrap();
    jwt.fetch_keys().await.unwrap();
    assert_eq!(sandbox.jwks_calls(), 1);
    sandbox.set_jwks_fault(Fault::Status(500));
    let error = judge(&sandbox).build().unwrap().fetch_keys().await.unwrap_err();
    assert_eq!(error.kind(), IntrospectErrorKind::Status);
    let nowhere = Jwt::discover(format!("{}/nowhere", sandbox.issuer())).audience(AUDIENCE).build().unwrap();
    let error = nowhere.fetch_keys().await.unwrap_err();
    assert_eq!(error.kind(), IntrospectErrorKind::Discovery);
    let jwt = Jwt::builder(sandbox.issuer()).jwks_url(format!("{}/jwks", sandbox.issuer())).audience(AUDIENCE);
    sandbox.clear_jwks_fault();
    jwt.build().unwrap().fetch_keys().await.unwrap();
}

#[tokio::test]
async fn a_herd_of_one_unknown_token_is_verified_once() {
    let sandbox = Sandbox::start().await.unwrap();
    sandbox.set_jwks_fault(Fault::Delay(millis(50)));
    let cached = Cached::builder(judge(&sandbox).build().unwrap()).build().unwrap();
    let text = sandbox.issue_jwt(token()).unwrap();
    let mut all = tokio::task::JoinSet::new();
    for _ in 0..100 {
        let (cached, text) = (cached.clone(), text.clone());
        all.spawn(async move { ask(&cached, &text).await.is_ok() });
    }
    assert!(all.join_all().await.into_iter().all(|is_in| is_in));
    let stats = cached.handle().stats();
    assert_eq!((stats.questions, sandbox.jwks_calls()), (1, 1));
    assert!(cached.cached(&crate::support::bearer(&text)).is_some());
    assert!(!cached.wants_cache());
}

#[tokio::test]
async fn what_is_invalidated_stays_refused_though_its_signature_is_good() {
    let sandbox = Sandbox::start().await.unwrap();
    let cached = Cached::builder(judge(&sandbox).build().unwrap()).max_ttl(secs(60)).build().unwrap();
    let text = sandbox.issue_jwt(token()).unwrap();
    assert!(ask(&cached, &text).await.is_ok());
    cached.handle().invalidate(&crate::support::bearer(&text));
    for _ in 0..3 {
        let revoked = Refused::Inactive(tower_introspection::InactiveReason::Revoked);
        assert_eq!(ask(&cached, &text).await.unwrap_err(), revoked);
    }
}
