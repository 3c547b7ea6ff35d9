use super::*;
use crate::token::{AccessTokenBuilder, Scopes};

fn judge_as(method: Method, policy: &Policy, token: AccessTokenBuilder) -> Result<(), Refusal> {
    let request = http::Request::builder().method(method).body(()).unwrap();
    policy.judge(&token.build(), &RequestView::new(&request.into_parts().0))
}

fn judge(policy: &Policy, scopes: &str) -> Result<(), Refusal> {
    judge_as(Method::GET, policy, AccessToken::builder().scopes(Scopes::parse(scopes)))
}

fn lacks(scopes: &str) -> Result<(), Refusal> {
    Err(Refusal::InsufficientScope(scopes.into()))
}

#[test]
fn every_required_scope_and_one_of_each_choice_must_be_there() {
    let policy = Policy::new().require_scope("a").require_scope("b").require_any_scope(["c", "d", "a"]);
    assert_eq!(judge(&policy, "b a"), Ok(()));
    assert_eq!(judge(&policy, "a c d"), lacks("a b c d"));
    assert_eq!(judge(&policy, ""), lacks("a b c d"));
    let choice = Policy::new().require_any_scope(["c", "d"]);
    assert_eq!(judge(&choice, "d"), Ok(()));
    assert_eq!(judge(&choice, "e"), lacks("c d"));
}

#[test]
fn every_rule_must_agree_and_is_asked_last() {
    let policy = Policy::new().authorize(|_, _| true);
    assert_eq!(judge(&policy, ""), Ok(()));
    assert_eq!(judge(&policy.authorize(|_, request| request.path() == "/elsewhere"), ""), Err(Refusal::Rule));
    let unasked = Policy::new().authorize(|_, _| panic!("asked")).require_scope("a");
    assert_eq!(judge(&unasked, ""), lacks("a"));
}

#[test]
fn an_audience_an_issuer_a_client_and_a_product_must_be_stated_and_be_one_of_those_required() {
    let token = AccessToken::builder;
    let judge = |policy: &Policy, token| judge_as(Method::GET, policy, token);
    let policy = Policy::new().require_audience("a");
    assert_eq!(judge(&policy, token().audience(["b", "a"])), Ok(()));
    assert_eq!(judge(&policy, token().audience(["b", "A", "a/"])), Err(Refusal::Audience));
    assert_eq!(judge(&policy, token()), Err(Refusal::Audience));
    let any = Policy::new().require_any_audience(["a", "b"]);
    assert_eq!(judge(&any, token().audience(["b"])), Ok(()));
    let both = Policy::new().require_audience("a").require_audience("b");
    assert_eq!(judge(&both, token().audience(["b"])), Err(Refusal::Audience));

    let policy = Policy::new().require_issuer("https://a");
    assert_eq!(judge(&policy, token().issuer("https://a")), Ok(()));
    assert_eq!(judge(&policy, token().issuer("https://a/")), Err(Refusal::Issuer));
    assert_eq!(judge(&policy, token()), Err(Refusal::Issuer));
    let any = Policy::new().require_any_issuer(["https://b", "https://a"]);
    assert_eq!(judge(&any, token().issuer("https://a")), Ok(()));

    let policy = Policy::new().require_client("a");
    assert_eq!(judge(&policy, token().client_id("a")), Ok(()));
    assert_eq!(judge(&policy, token().client_id("b")), Err(Refusal::Client));
    assert_eq!(judge(&policy, token()), Err(Refusal::Client));
    assert_eq!(judge(&Policy::new().require_any_client(["b", "a"]), token().client_id("a")), Ok(()));

    let policy = Policy::new().require_api_product("a");
    assert_eq!(judge(&policy, token().api_products(["b", "a"])), Ok(()));
    assert_eq!(judge(&policy, token().api_products(["b"])), Err(Refusal::ApiProduct));
    assert_eq!(judge(&policy, token()), Err(Refusal::ApiProduct), "unknown products are refused");
    assert_eq!(judge(&Policy::new().require_any_api_product(["c", "a"]), token().api_products(["a"])), Ok(()));
}

#[test]
fn a_wrong_audience_is_told_before_a_missing_scope() {
    let policy = Policy::new().require_scope("a").require_audience("b");
    assert_eq!(judge(&policy, ""), Err(Refusal::Audience));
}

#[test]
fn methods_have_requirements_of_their_own_on_top_and_the_challenge_names_those_of_the_method() {
    let policy = Policy::new()
        .require_scope("base")
        .for_method(Method::GET, Policy::new().require_scope("read"))
        .for_other_methods(Policy::new().require_scope("write").authorize(|token, _| !token.scopes().contains("bad")));
    let judge = |method, scopes| judge_as(method, &policy, AccessToken::builder().scopes(Scopes::parse(scopes)));
    assert_eq!(judge(Method::GET, "base read"), Ok(()));
    assert_eq!(judge(Method::GET, "base write"), lacks("base read"));
    assert_eq!(judge(Method::GET, "read"), lacks("base read"));
    for other in [Method::POST, Method::PATCH, Method::DELETE, Method::from_bytes(b"get").unwrap()] {
        assert_eq!(judge(other.clone(), "base write"), Ok(()));
        assert_eq!(judge(other.clone(), "base read"), lacks("base write"));
        assert_eq!(judge(other, "base write bad"), Err(Refusal::Rule));
    }
}

#[test]
fn head_needs_what_get_needs_unless_it_has_a_policy_of_its_own() {
    let policy = Policy::new()
        .for_method(Method::GET, Policy::new().require_scope("read"))
        .for_other_methods(Policy::new().require_scope("write"));
    let judge = |policy: &Policy| judge_as(Method::HEAD, policy, AccessToken::builder());
    assert_eq!(judge(&policy), lacks("read"));
    assert_eq!(judge(&policy.for_method(Method::HEAD, Policy::new().require_scope("peek"))), lacks("peek"));
}

#[test]
fn a_policy_within_a_policy_keeps_its_own_methods() {
    let inner =
        Policy::new().for_method(Method::GET, Policy::new()).for_other_methods(Policy::new().require_scope("inner"));
    let outer = Policy::new().for_method(Method::POST, Policy::new().require_scope("outer")).policy(inner);
    assert_eq!(judge_as(Method::GET, &outer, AccessToken::builder()), Ok(()));
    assert_eq!(judge_as(Method::POST, &outer, AccessToken::builder()), lacks("outer inner"));
}

#[test]
fn a_sender_constrained_token_is_refused_before_anything_else() {
    let policy = Policy::new().require_scope("a");
    let token = AccessToken::builder().claim_value("cnf", serde_json::json!({"jkt": "x"}));
    assert_eq!(judge_as(Method::GET, &policy, token), Err(Refusal::SenderConstrained));
}

#[test]
fn what_cannot_be_satisfied_or_written_is_refused_by_the_name_of_the_setting() {
    let none: [&str; 0] = [];
    for (policy, setting) in [
        (Policy::new().require_scope("read write"), "require_scope"),
        (Policy::new().require_scope(""), "require_scope"),
        (Policy::new().require_any_scope(none), "require_any_scope"),
        (Policy::new().require_any_scope(["a", "\""]), "require_any_scope"),
        (Policy::new().require_audience(""), "require_audience"),
        (Policy::new().require_any_audience(none), "require_any_audience"),
        (Policy::new().require_any_issuer(none), "require_any_issuer"),
        (Policy::new().require_any_client(none), "require_any_client"),
        (Policy::new().require_any_api_product(none), "require_any_api_product"),
        (Policy::new().require_client("a").require_client("b"), "require_client"),
        (Policy::new().require_issuer("a").require_any_issuer(["b", "c"]), "require_any_issuer"),
        (
            Policy::new().require_any_client(["a", "b"]).require_any_client(["b", "c"]).require_client("c"),
            "require_client",
        ),
    ] {
        for policy in [
            policy.clone(),
            Policy::new().policy(policy.clone()),
            Policy::new().for_method(Method::GET, policy.clone()),
            Policy::new().for_other_methods(policy),
        ] {
            assert_eq!(policy.check().unwrap_err().setting(), setting, "{policy:?}");
        }
    }
}

#[test]
fn requirements_of_one_client_or_issuer_that_can_all_be_met_are_allowed() {
    let policy = Policy::new().require_any_client(["a", "b"]).require_any_client(["b", "c"]).require_client("b");
    assert!(policy.check().is_ok());
    assert!(Policy::new().require_audience("a").require_audience("b").require_scope("a").check().is_ok());
}

#[test]
fn a_policy_of_empty_policies_requires_nothing() {
    assert!(Policy::new().policy(Policy::new()).for_method(Method::GET, Policy::new()).requires_nothing());
    assert!(!Policy::new().policy(Policy::new().require_scope("a")).requires_nothing());
}

#[test]
fn debug_shows_what_is_required_but_no_client() {
    let policy = Policy::new().require_scope("a").require_client("api-key").authorize(|_, _| true);
    let shown = format!("{:?}", Policy::new().for_method(Method::GET, policy));
    assert!(shown.contains("require_scope") && shown.contains("GET"), "{shown}");
    assert!(!shown.contains("api-key"), "{shown}");
}
