//! Verifying first, and then asking.

use serde_json::json;
use tower_introspection::introspect::IntrospectErrorKind;
use tower_introspection::jwt::Hybrid;
use tower_introspection::sandbox::{Fault, Sandbox};
use tower_introspection::{Cached, InactiveReason, Introspect, Rfc7662};

use super::{Refused, UNVERIFIED, ask, claims, judge, sign, token};
use crate::support::secs;

fn hybrid(sandbox: &Sandbox) -> Hybrid<Rfc7662> {
    Hybrid::new(judge(sandbox).build().unwrap(), sandbox.rfc7662().build().unwrap())
}

#[tokio::test]
async fn what_is_not_the_issuers_costs_no_question() {
    let sandbox = Sandbox::start().await.unwrap();
    let hybrid = hybrid(&sandbox);
    let forged = {
        let other = Sandbox::start().await.unwrap();
        other.sign(json!({ "typ": "at+jwt" }), claims(&sandbox)).unwrap()
    };
    let expired = sign(&sandbox, "at+jwt", &super::with(&sandbox, "exp", json!(1)));
    assert_eq!(ask(&hybrid, "opaque").await.unwrap_err(), UNVERIFIED);
    assert_eq!(ask(&hybrid, &forged).await.unwrap_err(), UNVERIFIED);
    assert_eq!(ask(&hybrid, &expired).await.unwrap_err(), Refused::Inactive(InactiveReason::Expired));
    assert_eq!(sandbox.total_calls(), 0);
    let good = sandbox.issue_jwt(token()).unwrap();
    assert!(ask(&hybrid, &good).await.is_ok());
    assert_eq!(sandbox.calls(&good), 1);
}

#[tokio::test]
async fn the_authority_has_the_last_word() {
    let sandbox = Sandbox::start().await.unwrap();
    let hybrid = hybrid(&sandbox);
    let good = sandbox.issue_jwt(token()).unwrap();
    assert!(ask(&hybrid, &good).await.is_ok());
    sandbox.revoke(&good);
    assert_eq!(ask(&hybrid, &good).await.unwrap_err(), Refused::Inactive(InactiveReason::Unknown));
    // It has never heard of this one, though it has signed it.
    let unheard_of = sign(&sandbox, "at+jwt", &claims(&sandbox));
    assert_eq!(ask(&hybrid, &unheard_of).await.unwrap_err(), Refused::Inactive(InactiveReason::Unknown));
    sandbox.script(&good, 200, r#"{"active":true,"scope":"other"}"#);
    let access = ask(&hybrid, &good).await.unwrap();
    assert_eq!((access.subject(), access.scopes().to_string()), (None, "other".to_owned()));
    sandbox.set_fault(Fault::Status(500));
    assert_eq!(ask(&hybrid, &good).await.unwrap_err(), Refused::Failed(IntrospectErrorKind::Status));
    assert!(hybrid.endpoint().is_some() && hybrid.wants_cache() && hybrid.judges_alone().is_none());
}

#[tokio::test]
async fn an_answer_about_another_token_is_a_failure() {
    let sandbox = Sandbox::start().await.unwrap();
    let hybrid = hybrid(&sandbox);
    let good = sandbox.issue_jwt(token()).unwrap();
    for answer in [r#""sub":"bob""#, r#""jti":"other""#, r#""iss":"https://other.example""#] {
        sandbox.script(&good, 200, format!(r#"{{"active":true,{answer}}}"#));
        assert_eq!(ask(&hybrid, &good).await.unwrap_err(), Refused::Failed(IntrospectErrorKind::Answer), "{answer}");
    }
    let same = format!(r#"{{"active":true,"sub":"ann","iss":"{}"}}"#, sandbox.issuer());
    sandbox.script(&good, 200, same);
    assert!(ask(&hybrid, &good).await.is_ok());
}

#[tokio::test]
async fn it_ends_when_the_first_of_both_does() {
    let sandbox = Sandbox::start().await.unwrap();
    let hybrid = hybrid(&sandbox);
    let text = sandbox.issue_jwt(token().expires_in(secs(600))).unwrap();
    let of_token = ask(&hybrid, &text).await.unwrap().expires_at().unwrap();
    for (answer, sooner) in [("", 0), (r#","exp":99999999999"#, 0), (r#","exp":EARLIER"#, 60)] {
        let earlier = of_token.as_unix_millis() / 1_000 - 60;
        let answer = answer.replace("EARLIER", &earlier.to_string());
        sandbox.script(&text, 200, format!(r#"{{"active":true{answer}}}"#));
        let ends = ask(&hybrid, &text).await.unwrap().expires_at();
        assert_eq!(ends, Some(of_token - secs(sooner)), "{answer}");
    }
}

#[tokio::test]
async fn both_have_to_say_the_same_of_a_key_that_the_token_is_bound_to() {
    let sandbox = Sandbox::start().await.unwrap();
    let hybrid = hybrid(&sandbox);
    let (one, other) = (json!({ "jkt": "one" }), json!({ "jkt": "other" }));
    for (of_token, answered, is_let_in) in [
        (None, None, true),
        (Some(&one), Some(&one), true),
        (Some(&one), None, false),
        (None, Some(&one), false),
        (Some(&one), Some(&other), false),
    ] {
        let mut issued = token();
        if let Some(cnf) = of_token {
            issued = issued.claim("cnf", cnf).unwrap();
        }
        let text = sandbox.issue_jwt(issued).unwrap();
        let mut answer = json!({ "active": true });
        if let Some(cnf) = answered {
            answer["cnf"] = cnf.clone();
        }
        sandbox.script(&text, 200, answer.to_string());
        assert_eq!(ask(&hybrid, &text).await.is_ok(), is_let_in, "{of_token:?} {answered:?}");
    }
}

#[tokio::test]
async fn within_a_cache_a_revocation_is_noticed_after_max_ttl_like_that_of_an_opaque_token() {
    let sandbox = Sandbox::start().await.unwrap();
    let cached = Cached::new(hybrid(&sandbox));
    let text = sandbox.issue_jwt(token()).unwrap();
    for _ in 0..3 {
        assert!(ask(&cached, &text).await.is_ok());
    }
    assert_eq!(sandbox.calls(&text), 1);
    cached.handle().invalidate(&crate::support::bearer(&text));
    assert!(ask(&cached, &text).await.is_ok(), "it is asked about again, and is still good");
    assert_eq!(sandbox.calls(&text), 2);
    sandbox.revoke(&text);
    cached.handle().invalidate(&crate::support::bearer(&text));
    assert!(ask(&cached, &text).await.is_err());
}
