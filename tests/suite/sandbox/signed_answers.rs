//! Answers of the introspection endpoint that are signed, RFC 9701.

use super::*;
use tower_introspection::sandbox::Fault;

const SIGNED: &str = "application/token-introspection+jwt";

async fn ask(sandbox: &Sandbox, accept: &str, token: &str) -> (u16, String, String) {
    let request = client()
        .post(format!("{}/introspect", sandbox.issuer()))
        .basic_auth(sandbox.client_id(), Some(sandbox.client_secret()))
        .header("accept", accept)
        .header("content-type", "application/x-www-form-urlencoded")
        .body(format!("token={token}"));
    told(request.send().await.unwrap()).await
}

#[tokio::test]
async fn an_answer_is_signed_for_the_client_that_asks_for_it() {
    let sandbox = Sandbox::start().await.unwrap();
    let token = sandbox.issue(SandboxToken::new().audience("https://api.example"));
    for accept in [SIGNED, "application/json, APPLICATION/token-introspection+jwt;q=0.9"] {
        let (status, content_type, signed) = ask(&sandbox, accept, &token).await;
        assert_eq!((status, content_type.as_str()), (200, SIGNED));
        let (header, claims) = verified(&signed, &sandbox.jwks(), sandbox.client_id());
        assert_eq!(
            (header.typ.as_deref(), header.alg),
            (Some("token-introspection+jwt"), jsonwebtoken::Algorithm::ES256)
        );
        let (_, _, plain) = ask(&sandbox, "application/json", &token).await;
        let expected = json!({
            "iss": sandbox.issuer(), "aud": sandbox.client_id(), "iat": claims["iat"].as_i64().unwrap(),
            "token_introspection": serde_json::from_str::<Value>(&plain).unwrap(),
        });
        assert_eq!(claims, expected);
        assert_eq!(claims["token_introspection"]["active"], true);
    }
    let (_, _, signed) = ask(&sandbox, SIGNED, "nobody").await;
    let (_, claims) = verified(&signed, &sandbox.jwks(), sandbox.client_id());
    assert_eq!(claims["token_introspection"], json!({"active": false}));
}

#[tokio::test]
async fn an_answer_is_plain_unless_a_signed_one_is_asked_for() {
    let sandbox = Sandbox::start().await.unwrap();
    let token = sandbox.issue(SandboxToken::new());
    for accept in ["*/*", "application/json", "application/token-introspection+jwts", "application/jwt"] {
        let (status, content_type, _) = ask(&sandbox, accept, &token).await;
        assert_eq!((status, content_type.as_str()), (200, "application/json"), "{accept}");
    }
}

#[tokio::test]
async fn a_client_that_asks_with_a_token_of_its_own_is_the_audience() {
    let sandbox = Sandbox::start().await.unwrap();
    let login = sandbox.issue(SandboxToken::new().client_id("another-service").scope("introspection"));
    let request = client()
        .post(format!("{}/introspect", sandbox.issuer()))
        .bearer_auth(login)
        .header("accept", SIGNED)
        .body("token=nobody");
    let (_, _, signed) = told(request.send().await.unwrap()).await;
    verified(&signed, &sandbox.jwks(), "another-service");
}

#[tokio::test]
async fn a_signed_answer_is_wrong_as_it_is_told_to_be() {
    let sandbox = Sandbox::start().await.unwrap();
    let token = sandbox.issue(SandboxToken::new());
    sandbox.set_fault(Fault::WrongType);
    let (_, content_type, signed) = ask(&sandbox, SIGNED, &token).await;
    let (header, _) = verified(&signed, &sandbox.jwks(), sandbox.client_id());
    assert_eq!((header.typ.as_deref(), content_type.as_str()), (Some("JWT"), SIGNED));
    sandbox.set_fault(Fault::WrongAudience);
    let (_, _, signed) = ask(&sandbox, SIGNED, &token).await;
    let (header, _) = verified(&signed, &sandbox.jwks(), "another-client");
    assert_eq!(header.typ.as_deref(), Some("token-introspection+jwt"));
    sandbox.set_fault(Fault::Unsigned);
    assert_eq!(ask(&sandbox, SIGNED, &token).await, ask(&sandbox, "*/*", &token).await);
    // Such answers are wrong where they are signed only; what is wrong on the way is so for all.
    for (fault, status) in [(Fault::WrongType, 200), (Fault::WrongAudience, 200), (Fault::Status(503), 503)] {
        sandbox.set_fault(fault);
        assert_eq!(ask(&sandbox, "*/*", &token).await.0, status);
    }
    sandbox.clear_fault();
    verified(&ask(&sandbox, SIGNED, &token).await.2, &sandbox.jwks(), sandbox.client_id());
}

#[tokio::test]
async fn a_script_has_the_content_type_it_is_given() {
    let sandbox = Sandbox::start().await.unwrap();
    let answer = sandbox.sign(json!({"typ": "token-introspection+jwt"}), json!({"iss": "a", "aud": "b"})).unwrap();
    sandbox.script_as("abc", 200, SIGNED, &answer);
    assert_eq!(ask(&sandbox, "*/*", "abc").await, (200, SIGNED.into(), answer));
    sandbox.script("abc", 202, "{}");
    assert_eq!(ask(&sandbox, SIGNED, "abc").await, (202, "application/json".into(), "{}".into()));
    sandbox.script_as("abc", 200, "not\na header", "{}");
    assert_eq!(ask(&sandbox, SIGNED, "abc").await, (200, String::new(), "{}".into()));
}
