//! Answers of introspection that the server signs.

use serde_json::{Value, json};
use tower_introspection::clock::Timestamp;
use tower_introspection::introspect::IntrospectErrorKind;
use tower_introspection::jwt::KeySet;
use tower_introspection::rfc7662::SignedAnswers;
use tower_introspection::sandbox::{Fault, Sandbox};
use tower_introspection::{InactiveReason, Rfc7662};

use super::{Refused, ask, token};
use crate::support::faulty::{self, Faulty};

const MEDIA_TYPE: &str = "application/token-introspection+jwt";
const UNUSABLE: Refused = Refused::Failed(IntrospectErrorKind::Answer);

fn endpoint(sandbox: &Sandbox) -> Rfc7662 {
    sandbox.rfc7662().signed_answers(SignedAnswers::discover(sandbox.issuer())).build().unwrap()
}

fn answer(sandbox: &Sandbox) -> Value {
    json!({
        "iss": sandbox.issuer(),
        "aud": sandbox.client_id(),
        "iat": Timestamp::now(),
        "token_introspection": { "active": true, "sub": "ann" },
    })
}

#[tokio::test]
async fn a_signed_answer_is_a_verdict() {
    let sandbox = Sandbox::start().await.unwrap();
    let endpoint = endpoint(&sandbox);
    let opaque = sandbox.issue(token());
    let access = ask(&endpoint, &opaque).await.unwrap();
    assert_eq!((access.subject(), access.scopes().to_string()), (Some("ann"), "read".to_owned()));
    let unknown = Refused::Inactive(InactiveReason::Unknown);
    assert_eq!(ask(&endpoint, "unheard-of").await.unwrap_err(), unknown);
    sandbox.rotate_key().unwrap();
    assert!(ask(&endpoint, &opaque).await.is_ok(), "keys are looked for");
    sandbox.revoke(&opaque);
    assert_eq!(ask(&endpoint, &opaque).await.unwrap_err(), unknown);
}

#[tokio::test]
async fn nothing_else_is_a_verdict_and_each_rule_refuses_alone() {
    let sandbox = Sandbox::start().await.unwrap();
    let endpoint = endpoint(&sandbox);
    let signed = |typ: &str, claims: &Value| sandbox.sign(json!({ "typ": typ }), claims).unwrap();
    let typ = "token-introspection+jwt";
    let good = signed(typ, &answer(&sandbox));
    let changed = |name: &str, value: Value| {
        let mut all = answer(&sandbox);
        all[name] = value;
        signed(typ, &all)
    };
    let now = Timestamp::now().as_unix_millis() / 1_000;
    let other = Sandbox::start().await.unwrap();
    let forged = other.sign(json!({ "typ": typ }), answer(&sandbox)).unwrap();
    let unsigned = sandbox.sign(json!({ "typ": typ, "alg": "none" }), answer(&sandbox)).unwrap();
    let twice = r#"{"active":true,"active":false}"#;
    for (content_type, body, is_used) in [
        (MEDIA_TYPE, good.clone(), true),
        ("Application/Token-Introspection+JWT; charset=utf-8", good.clone(), true),
        (MEDIA_TYPE, format!("{good}\n"), true),
        (MEDIA_TYPE, signed("application/Token-Introspection+jwt", &answer(&sandbox)), true),
        (MEDIA_TYPE, changed("aud", json!([sandbox.client_id(), "other"])), true),
        ("application/json", good.clone(), false),
        ("application/jwt", good.clone(), false),
        (MEDIA_TYPE, format!(" {good}"), false),
        (MEDIA_TYPE, r#"{"active":true}"#.to_owned(), false),
        ("application/json", r#"{"active":true}"#.to_owned(), false),
        ("application/json", r#"{"active":false}"#.to_owned(), false),
        (MEDIA_TYPE, twice.to_owned(), false),
        (MEDIA_TYPE, forged, false),
        (MEDIA_TYPE, unsigned, false),
        (MEDIA_TYPE, format!("{good}.x.y"), false),
        (MEDIA_TYPE, signed("JWT", &answer(&sandbox)), false),
        (MEDIA_TYPE, signed("at+jwt", &answer(&sandbox)), false),
        (MEDIA_TYPE, changed("iss", json!("https://other.example")), false),
        (MEDIA_TYPE, changed("iss", Value::Null), false),
        // Whom the token is meant for is another thing.
        (MEDIA_TYPE, changed("aud", json!("https://api.example.com")), false),
        (MEDIA_TYPE, changed("aud", Value::Null), false),
        (MEDIA_TYPE, changed("iat", Value::Null), false),
        (MEDIA_TYPE, changed("iat", json!(now - 90)), false),
        (MEDIA_TYPE, changed("iat", json!(now + 90)), false),
        (MEDIA_TYPE, changed("token_introspection", json!("{\"active\":true}")), false),
        (MEDIA_TYPE, changed("token_introspection", Value::Null), false),
        (MEDIA_TYPE, changed("token_introspection", json!({ "sub": "ann" })), false),
    ] {
        sandbox.script_as("opaque", 200, content_type, &*body);
        let outcome = ask(&endpoint, "opaque").await;
        match is_used {
            true => assert_eq!(outcome.unwrap().subject(), Some("ann"), "{content_type}: {body}"),
            false => assert_eq!(outcome.unwrap_err(), UNUSABLE, "{content_type}: {body}"),
        }
    }
    // Only the object within is read.
    let outside = changed("active", json!(true));
    sandbox.script_as("opaque", 200, MEDIA_TYPE, &*outside);
    assert!(ask(&endpoint, "opaque").await.is_ok());
    let mut all = answer(&sandbox);
    all["active"] = json!(true);
    all["token_introspection"] = json!({ "active": false });
    sandbox.script_as("opaque", 200, MEDIA_TYPE, &*signed(typ, &all));
    assert_eq!(ask(&endpoint, "opaque").await.unwrap_err(), Refused::Inactive(InactiveReason::Unknown));
}

#[tokio::test]
async fn verdicts_that_come_with_another_status_are_none() {
    let sandbox = Sandbox::start().await.unwrap();
    let endpoint = endpoint(&sandbox);
    for (status, body, kind) in [
        (400, r#"{"error":"unsupported_token_type"}"#, IntrospectErrorKind::Status),
        (401, r#"{"active":false}"#, IntrospectErrorKind::Credentials),
        (400, r#"{"error":"invalid_client"}"#, IntrospectErrorKind::Credentials),
        (503, "", IntrospectErrorKind::Status),
    ] {
        sandbox.script("opaque", status, body);
        assert_eq!(ask(&endpoint, "opaque").await.unwrap_err(), Refused::Failed(kind), "{status} {body}");
    }
}

#[tokio::test]
async fn what_the_sandbox_can_get_wrong_is_a_failure() {
    let sandbox = Sandbox::start().await.unwrap();
    let endpoint = endpoint(&sandbox);
    let opaque = sandbox.issue(token());
    for fault in [Fault::Unsigned, Fault::WrongType, Fault::WrongAudience, Fault::Garbage] {
        sandbox.set_fault(fault);
        assert_eq!(ask(&endpoint, &opaque).await.unwrap_err(), UNUSABLE, "{fault:?}");
    }
    sandbox.clear_fault();
    assert!(ask(&endpoint, &opaque).await.is_ok());
}

/// In the header it is encoded, RFC 6749 section 2.3.1, and in the answer it is not.
#[tokio::test]
async fn a_client_whose_identifier_is_encoded_is_the_one_that_was_given() {
    let sandbox = Sandbox::start().await.unwrap();
    let client = "https://api.example.com";
    let mut answer = answer(&sandbox);
    answer["aud"] = json!(client);
    let body = sandbox.sign(json!({ "typ": "token-introspection+jwt" }), answer).unwrap();
    let server = Faulty::start();
    server.does(vec![faulty::answer("200 OK", &format!("Content-Type: {MEDIA_TYPE}\r\n"), &body)]);
    let builders = [
        Rfc7662::builder(server.url()).client_secret_basic(client, "s"),
        Rfc7662::builder(server.url()).client_secret_post(client, "s"),
        Rfc7662::builder(server.url()).client_secret(client, "s"),
    ];
    for builder in builders {
        let endpoint = builder.signed_answers(SignedAnswers::discover(sandbox.issuer())).build().unwrap();
        assert!(ask(&endpoint, "opaque").await.is_ok());
    }
}

#[tokio::test]
async fn keys_can_be_given_and_the_client_has_to_be_known() {
    let sandbox = Sandbox::start().await.unwrap();
    let opaque = sandbox.issue(token());
    let keys = KeySet::from_json(sandbox.jwks()).unwrap();
    let given = || SignedAnswers::with_keys(sandbox.issuer(), keys.clone());
    let endpoint = sandbox.rfc7662().signed_answers(given()).build().unwrap();
    assert!(ask(&endpoint, &opaque).await.is_ok());
    assert_eq!(sandbox.jwks_calls(), 0);
    let nameless = || Rfc7662::builder(format!("{}/introspect", sandbox.issuer())).without_credentials();
    let error = nameless().signed_answers(given()).build().unwrap_err();
    assert_eq!(error.setting(), "signed_answers");
    assert!(nameless().signed_answers(given().client_id("me")).build().is_ok());
    let error = sandbox.rfc7662().signed_answers(given().algorithms([])).build().unwrap_err();
    assert_eq!(error.setting(), "algorithms");
}
