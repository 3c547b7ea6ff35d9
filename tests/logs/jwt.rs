//! Nothing of a JWT in any output, and what an operator is told of those that are refused.

use serde_json::json;
use tower_introspection::introspect::Ask;
use tower_introspection::jwt::{AccessTokenClaim, ByIssuer, Hybrid, KeySet};
use tower_introspection::rfc7662::SignedAnswers;
use tower_introspection::sandbox::{Fault, Sandbox, SandboxToken};
use tower_introspection::{Cached, Introspect, Jwt, Verdict};

use super::Captured;
use crate::support::*;

const AUDIENCE: &str = "https://api.example.com";

fn token() -> SandboxToken {
    SandboxToken::new().audience(AUDIENCE).end_user("hush-ann").scope("hush-scope")
}

async fn ask(captured: &Captured, introspector: &impl Introspect, text: &str) {
    match introspector.introspect(Ask::new(&bearer(text))).await {
        Ok(verdict @ Verdict::Inactive(_)) => captured.show(&verdict),
        Ok(Verdict::Active(_)) => {}
        Err(error) => captured.show_error(&error),
    }
}

pub(crate) async fn drive(captured: &Captured) {
    let sandbox = Sandbox::start().await.unwrap();
    let builder = || Jwt::discover(sandbox.issuer()).audience(AUDIENCE).request_timeout(millis(500));
    captured.show(&builder());
    captured.show(&builder().dangerously_allow_type_jwt(AccessTokenClaim::is("token_use", "access")));
    let hybrid = || Hybrid::new(builder().build().unwrap(), sandbox.rfc7662().build().unwrap());
    let signed = sandbox.rfc7662().signed_answers(SignedAnswers::discover(sandbox.issuer()));
    captured.show(&signed);
    captured.show(&SignedAnswers::discover(sandbox.issuer()));
    let signed = signed.build().unwrap();
    let by_issuer = ByIssuer::builder().issuer(sandbox.issuer(), Cached::new(builder().build().unwrap()));
    let by_issuer = by_issuer.opaque(sandbox.rfc7662().build().unwrap()).build().unwrap();
    let jwt = builder().build().unwrap();
    captured.show(&hybrid());
    captured.show(&jwt);
    captured.show(&by_issuer);
    captured.show(&KeySet::from_json(sandbox.jwks()).unwrap());

    let issue = |token: SandboxToken| sandbox.issue_jwt(token).unwrap();
    let good = issue(token());
    let elsewhere = issue(token().claim("iss", "https://hush.example").unwrap());
    let texts = [
        good.clone(),
        elsewhere,
        issue(token().audience("https://hush.example")),
        issue(token().header("typ", "JWT").unwrap()),
        issue(token().header("kid", "hush-kid").unwrap()),
        issue(token().header("alg", "none").unwrap()),
        issue(token().expires_at(tower_introspection::clock::Timestamp::from_unix_millis(1))),
        issue(token().claim("cnf", json!({ "jkt": "hush-key" })).unwrap()),
        format!("{good}."),
        format!("{}A", &good[..good.len() - 1]),
    ];
    for text in &texts {
        ask(captured, &jwt, text).await;
        ask(captured, &hybrid(), text).await;
        ask(captured, &by_issuer, text).await;
        ask(captured, &signed, text).await;
        jwt_behind_a_layer(text, builder().build().unwrap()).await;
    }
    for fault in [Fault::Unsigned, Fault::WrongType, Fault::WrongAudience, Fault::Garbage] {
        sandbox.set_fault(fault);
        ask(captured, &signed, &good).await;
    }
    for fault in [Fault::Garbage, Fault::Status(500), Fault::Hang] {
        sandbox.set_jwks_fault(fault);
        ask(captured, &builder().build().unwrap(), &good).await;
    }
    sandbox.clear_jwks_fault();
    for words in [
        ["a token is not what is accepted from its issuer", "`aud` names none of the audiences"],
        ["a token is not what is accepted from its issuer", "`typ` of its header is not `at+jwt`"],
        ["a token is of nobody whose tokens are judged here", "of an issuer that was not added"],
        ["the issuer's key set was discovered", "/jwks"],
    ] {
        assert!(captured.events("INFO", &words) > 0, "nobody says {words:?}");
    }
    // What `hush` stands in is base64 in a token, so that its parts have to be looked for.
    let output = captured.events.read() + &captured.shown.read();
    for text in &texts {
        for part in text.split('.').skip(1).filter(|part| part.len() > 4) {
            assert!(!output.contains(part), "{part} is in the output");
        }
    }
}

async fn jwt_behind_a_layer(text: &str, jwt: Jwt) {
    use tower::{Layer, ServiceExt};
    let service = tower_introspection::IntrospectionLayer::new(Cached::new(jwt)).layer(Idle);
    let response = service.oneshot(request(&format!("Bearer {text}"))).await.unwrap();
    assert!([200, 401, 503].contains(&response.status().as_u16()));
}
