//! The keys that the sandbox publishes, how they rotate, and what can be wrong with their set.

use std::time::Duration;

use super::*;
use tower_introspection::sandbox::Fault;

fn key_ids(set: &str) -> Vec<String> {
    let set: JwkSet = serde_json::from_str(set).unwrap();
    set.keys.into_iter().map(|key| key.common.key_id.unwrap()).collect()
}

fn key_id(jwt: &str) -> String {
    jsonwebtoken::decode_header(jwt).unwrap().kid.unwrap()
}

/// Whether the key set is there in time, which passes at once when the sandbox has been asked.
async fn is_there_in(time: Duration, sandbox: &Sandbox) -> bool {
    let before = sandbox.jwks_calls();
    let (outcome, ()) = tokio::join!(tokio::time::timeout(time, get(sandbox, "/jwks")), async {
        until(|| sandbox.jwks_calls() > before).await;
        tokio::time::pause();
    });
    tokio::time::resume();
    outcome.is_ok()
}

#[tokio::test]
async fn a_key_set_has_public_keys_and_no_more() {
    let sandbox = Sandbox::start().await.unwrap();
    let (status, content_type, body) = get(&sandbox, "/jwks").await;
    assert_eq!((status, content_type.as_str()), (200, "application/jwk-set+json"));
    assert_eq!(body, sandbox.jwks());
    assert_eq!(sandbox.jwks_calls(), 1, "what is not fetched is not counted");
    sandbox.issue_jwt(SandboxToken::new().header("alg", "RS256").unwrap()).unwrap();
    let set: Value = serde_json::from_str(&sandbox.jwks()).unwrap();
    let [ec, rsa] = set["keys"].as_array().unwrap().as_slice() else { panic!("{set}") };
    for (key, fixed, rest) in [
        (ec, json!({"kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig"}), ["kid", "x", "y"]),
        (rsa, json!({"kty": "RSA", "alg": "RS256", "use": "sig"}), ["e", "kid", "n"]),
    ] {
        let mut key = key.as_object().unwrap().clone();
        assert!(rest.into_iter().all(|member| key.remove(member).is_some_and(|value| value.is_string())), "{set}");
        assert_eq!(Value::Object(key), fixed);
    }
    assert_ne!(ec["kid"], rsa["kid"]);
    assert_ne!(key_ids(&Sandbox::start().await.unwrap().jwks()), key_ids(&body));
}

#[tokio::test]
async fn a_new_key_signs_and_the_old_one_is_published_until_it_is_retired() {
    let sandbox = Sandbox::start().await.unwrap();
    let issue = |algorithm: &str| {
        let token = SandboxToken::new().audience("a").header("alg", algorithm).unwrap();
        sandbox.issue_jwt(token).unwrap()
    };
    let old = [issue("ES256"), issue("RS256")];
    let before = sandbox.jwks();
    sandbox.rotate_key().unwrap();
    let new = [issue("ES256"), issue("RS256")];
    let both = sandbox.jwks();
    for jwt in old.iter().chain(&new) {
        verified(jwt, &both, "a");
    }
    assert_eq!(key_ids(&both).len(), 4);
    sandbox.retire_old_keys();
    let after = sandbox.jwks();
    for (old, new) in old.iter().zip(&new) {
        verified(old, &before, "a");
        verified(new, &after, "a");
        assert!(!key_ids(&before).contains(&key_id(new)));
        assert!(!key_ids(&after).contains(&key_id(old)));
    }
    assert_eq!(key_ids(&after).len(), 2);
}

#[tokio::test]
async fn a_set_of_old_keys_lacks_the_one_that_signs() {
    let sandbox = Sandbox::start().await.unwrap();
    let before = sandbox.jwks();
    sandbox.set_jwks_fault(Fault::OldKeys);
    assert_eq!(get(&sandbox, "/jwks").await.2, r#"{"keys":[]}"#);
    sandbox.rotate_key().unwrap();
    let (status, content_type, old) = get(&sandbox, "/jwks").await;
    assert_eq!((status, content_type.as_str()), (200, "application/jwk-set+json"));
    assert_eq!(old, before);
    sandbox.clear_jwks_fault();
    assert_eq!(get(&sandbox, "/jwks").await.2, sandbox.jwks());
    assert_eq!(sandbox.jwks_calls(), 3);
}

#[tokio::test]
async fn a_key_set_fails_as_it_is_told_to() {
    let sandbox = Sandbox::start().await.unwrap();
    let token = sandbox.issue(SandboxToken::new());
    sandbox.set_jwks_fault(Fault::Status(500));
    assert_eq!(get(&sandbox, "/jwks").await.0, 500);
    sandbox.set_jwks_fault(Fault::Garbage);
    assert_eq!(get(&sandbox, "/jwks").await, (200, "text/html".into(), "<html><body>It works!</body></html>".into()));
    sandbox.set_jwks_fault(Fault::Oversized(100_000));
    let (_, _, large) = get(&sandbox, "/jwks").await;
    assert!(large.len() > 100_000);
    assert_eq!(key_ids(&large), key_ids(&sandbox.jwks()), "nothing but the size is wrong");
    sandbox.set_jwks_fault(Fault::Reset);
    assert!(client().get(format!("{}/jwks", sandbox.issuer())).send().await.is_err());
    assert_eq!(sandbox.jwks_calls(), 4);

    let endpoint = sandbox.rfc7662().build().unwrap();
    assert!(endpoint.introspect(Ask::new(&bearer(&token))).await.unwrap().is_active(), "questions are not concerned");
    sandbox.clear_jwks_fault();
    sandbox.set_fault(Fault::Status(500));
    assert_eq!(get(&sandbox, "/jwks").await.0, 200, "the key set is not concerned");
}

#[tokio::test]
async fn a_key_set_is_late_or_never_comes() {
    let sandbox = Sandbox::start().await.unwrap();
    sandbox.set_jwks_fault(Fault::Delay(secs(3_600)));
    assert!(!is_there_in(secs(3_599), &sandbox).await);
    assert!(is_there_in(secs(7_200), &sandbox).await);
    sandbox.set_jwks_fault(Fault::Hang);
    assert!(!is_there_in(secs(1_000_000), &sandbox).await);
    sandbox.clear_jwks_fault();
    assert_eq!(get(&sandbox, "/jwks").await.0, 200);
}

#[tokio::test]
async fn a_redirect_leads_to_the_right_answer() {
    let sandbox = Sandbox::start().await.unwrap();
    let token = sandbox.issue(SandboxToken::new());
    let staying = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build().unwrap();
    sandbox.set_jwks_fault(Fault::Redirect);
    let response = staying.get(format!("{}/jwks", sandbox.issuer())).send().await.unwrap();
    assert_eq!((response.status().as_u16(), &response.headers()["location"]), (307, &"?redirected".parse().unwrap()));
    assert_eq!(get(&sandbox, "/jwks").await.2, sandbox.jwks());
    assert_eq!(sandbox.jwks_calls(), 3);

    sandbox.set_fault(Fault::Redirect);
    let (status, answer) = post(&sandbox, "/introspect", sandbox.client_secret(), format!("token={token}")).await;
    assert_eq!((status, &answer["active"]), (200, &json!(true)));
    assert_eq!(sandbox.calls(&token), 2);
    let endpoint = sandbox.rfc7662().build().unwrap();
    let error = endpoint.introspect(Ask::new(&bearer(&token))).await.unwrap_err();
    assert_eq!(error.kind(), IntrospectErrorKind::Status, "no credentials are sent elsewhere");
}
