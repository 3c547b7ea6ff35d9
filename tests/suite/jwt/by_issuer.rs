//! Tokens of several issuers and of both kinds, behind one layer.

use serde_json::json;
use tower_introspection::jwt::{ByIssuer, Hybrid};
use tower_introspection::sandbox::Sandbox;
use tower_introspection::{Cached, InactiveReason, Introspect};

use super::{Refused, UNVERIFIED, ask, claims, judge, sign, token};
use crate::support::bearer;

/// Two issuers; of the first one, opaque tokens too.
async fn both() -> (Sandbox, Sandbox, ByIssuer) {
    let (first, second) = (Sandbox::start().await.unwrap(), Sandbox::start().await.unwrap());
    let tokens = ByIssuer::builder()
        .issuer(first.issuer(), Cached::new(judge(&first).build().unwrap()))
        .issuer(second.issuer(), Cached::new(judge(&second).build().unwrap()))
        .opaque(Cached::new(first.rfc7662().build().unwrap()))
        .build()
        .unwrap();
    (first, second, tokens)
}

#[tokio::test]
async fn each_token_is_judged_by_its_own_issuer_and_opaque_ones_are_asked_about() {
    let (first, second, tokens) = both().await;
    let (one, two) = (first.issue_jwt(token()).unwrap(), second.issue_jwt(token()).unwrap());
    let opaque = first.issue(token());
    for _ in 0..3 {
        assert_eq!(ask(&tokens, &one).await.unwrap().issuer(), Some(&*first.issuer()));
        assert_eq!(ask(&tokens, &two).await.unwrap().issuer(), Some(&*second.issuer()));
        assert!(ask(&tokens, &opaque).await.is_ok());
    }
    for text in [&one, &two, &opaque] {
        assert!(tokens.cached(&bearer(text)).is_some());
    }
    assert_eq!((first.total_calls(), second.total_calls()), (1, 0));
    assert_eq!((first.jwks_calls(), second.jwks_calls()), (1, 1));
}

#[tokio::test]
async fn one_issuers_keys_never_judge_another_ones_token() {
    let (first, second, tokens) = both().await;
    // The second signs what names the first.
    let forged = second.sign(json!({ "typ": "at+jwt" }), claims(&first)).unwrap();
    assert_eq!(ask(&tokens, &forged).await.unwrap_err(), UNVERIFIED);
    // The first one's key by its name.
    let good = first.issue_jwt(token()).unwrap();
    let kid = serde_json::from_str::<serde_json::Value>(&first.jwks()).unwrap()["keys"][0]["kid"].clone();
    let forged = second.sign(json!({ "typ": "at+jwt", "kid": kid }), claims(&first)).unwrap();
    assert_eq!(ask(&tokens, &forged).await.unwrap_err(), UNVERIFIED);
    assert!(ask(&tokens, &good).await.is_ok());
    assert_eq!(first.total_calls(), 0);
}

#[tokio::test]
async fn a_token_of_an_issuer_that_was_not_added_is_shown_to_nobody() {
    let (first, second, tokens) = both().await;
    let stranger = Sandbox::start().await.unwrap();
    let text = stranger.issue_jwt(token()).unwrap();
    assert_eq!(ask(&tokens, &text).await.unwrap_err(), UNVERIFIED);
    let slash = super::with(&first, "iss", json!(format!("{}/", first.issuer())));
    assert_eq!(ask(&tokens, &sign(&first, "at+jwt", &slash)).await.unwrap_err(), UNVERIFIED);
    assert_eq!((first.total_calls(), second.total_calls(), stranger.total_calls()), (0, 0, 0));
}

#[tokio::test]
async fn what_is_no_jwt_is_opaque() {
    let (first, _, tokens) = both().await;
    let encrypted = "eyJhbGciOiJkaXIiLCJlbmMiOiJBMTI4R0NNIn0..a.b.c";
    for text in ["opaque", "a.b.c", "a.b.c.d.e", "eyJ.eyJ.eyJ", "W10.e30.x", encrypted] {
        let refused = ask(&tokens, text).await.unwrap_err();
        assert_eq!(refused, Refused::Inactive(InactiveReason::Unknown), "{text}");
        assert_eq!(first.calls(text), 1, "{text}");
    }
    let without = ByIssuer::builder().issuer(first.issuer(), judge(&first).build().unwrap()).build().unwrap();
    assert_eq!(ask(&without, "opaque").await.unwrap_err(), UNVERIFIED);
}

/// Keycloak drops empty parts at the end, and would call the first of them active.
#[tokio::test]
async fn what_looks_like_a_jwt_and_cannot_be_read_is_shown_to_nobody() {
    let (first, second, tokens) = both().await;
    let good = first.issue_jwt(token()).unwrap();
    let (header, rest) = good.split_once('.').unwrap();
    let (payload, signature) = rest.split_once('.').unwrap();
    let nobody = sign(&first, "at+jwt", &super::with(&first, "iss", serde_json::Value::Null));
    let number = sign(&first, "at+jwt", &super::with(&first, "iss", json!(1)));
    let deep = (0..40).fold(json!(1), |inner, _| json!([inner]));
    let deep = sign(&first, "at+jwt", &super::with(&first, "deep", deep));
    for text in [
        format!("{good}."),
        format!("{good}.."),
        format!("{good}.a.b"),
        format!("{header}.{payload}"),
        format!("{header}.{payload}=.{signature}"),
        format!("{header}.AAAA.{signature}"),
        nobody,
        number,
        deep,
    ] {
        if tower_introspection::BearerToken::parse(&text).is_ok() {
            assert_eq!(ask(&tokens, &text).await.unwrap_err(), UNVERIFIED, "{text}");
        }
    }
    assert_eq!((first.total_calls(), second.total_calls()), (0, 0));
    assert!(ask(&tokens, &good).await.is_ok());
}

#[tokio::test]
async fn issuers_that_cannot_work_are_named() {
    let sandbox = Sandbox::start().await.unwrap();
    let hybrid = || Hybrid::new(judge(&sandbox).build().unwrap(), sandbox.rfc7662().build().unwrap());
    let with = |issuers: &[&str]| {
        issuers.iter().fold(ByIssuer::builder(), |builder, issuer| builder.issuer(*issuer, hybrid())).build()
    };
    assert!(with(&["a", "b"]).is_ok());
    for issuers in [&[][..], &[""], &["a", "a"], &["a", "b", "a"]] {
        assert_eq!(with(issuers).unwrap_err().setting(), "issuer", "{issuers:?}");
    }
    assert_eq!(format!("{:?}", with(&["a", "b"]).unwrap()), r#"ByIssuer(["a", "b"])"#);
}
