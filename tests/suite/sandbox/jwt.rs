//! Tokens of the sandbox that are JWTs, and whatever else it signs.

use std::collections::HashMap;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;

use super::*;
use tower_introspection::clock::{Clock, Timestamp};

const AUDIENCE: &str = "https://api.example.com";

fn members(part: &str) -> Value {
    serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}

/// Header and claims, whoever signed them.
fn read(jwt: &str) -> (Value, Value) {
    let parts: Vec<&str> = jwt.split('.').collect();
    assert_eq!(parts.len(), 3, "{jwt}");
    (members(parts[0]), members(parts[1]))
}

#[tokio::test]
async fn a_jwt_has_the_claims_of_rfc_9068_and_a_signature_of_a_published_key() {
    struct Stopped;
    impl Clock for Stopped {
        fn now(&self) -> Timestamp {
            Timestamp::from_unix_millis(4_000_000_000_999)
        }
    }
    let sandbox = Sandbox::start_with_clock(Stopped).await.unwrap();
    let token =
        SandboxToken::new().client_id("weather-app").scope("a b").claim("auth_time", 3_999_999_000_u64).unwrap();
    let jwt = sandbox.issue_jwt(token.clone().end_user("ann")).unwrap();
    let (header, claims) = verified(&jwt, &sandbox.jwks(), AUDIENCE);
    assert_eq!((header.typ.as_deref(), header.alg), (Some("at+jwt"), jsonwebtoken::Algorithm::ES256));
    let jti = claims["jti"].as_str().unwrap();
    let expected = json!({
        "iss": sandbox.issuer(), "sub": "ann", "aud": AUDIENCE, "client_id": "weather-app", "scope": "a b",
        "iat": 4_000_000_000_u64, "exp": 4_000_001_800_u64, "jti": jti, "auth_time": 3_999_999_000_u64,
    });
    assert_eq!(claims, expected);
    // Nobody but the client: it is the subject, RFC 9068 section 2.2.
    let other = sandbox.issue_jwt(token.audience("https://b.example")).unwrap();
    let (_, claims) = verified(&other, &sandbox.jwks(), "https://b.example");
    assert_eq!(claims["sub"], "weather-app");
    assert_ne!(claims["jti"], jti);
}

#[tokio::test]
async fn a_jwt_is_signed_with_the_algorithm_of_its_header() {
    let sandbox = Sandbox::start().await.unwrap();
    let issue = |algorithm: &str| {
        let token = SandboxToken::new().header("alg", algorithm).unwrap();
        sandbox.issue_jwt(token).unwrap()
    };
    let jwt = issue("RS256");
    let (header, _) = verified(&jwt, &sandbox.jwks(), AUDIENCE);
    assert_eq!(header.alg, jsonwebtoken::Algorithm::RS256);
    let (header, _) = verified(&issue("ES256"), &sandbox.jwks(), AUDIENCE);
    assert_eq!(header.alg, jsonwebtoken::Algorithm::ES256);
    verified(&jwt, &sandbox.jwks(), AUDIENCE);

    let unsecured = issue("none");
    assert!(unsecured.ends_with('.'), "{unsecured}");
    assert_eq!(read(&unsecured).0["alg"], "none");
    // Not true: its signature is as long as one of ES256.
    let untrue = issue("RS512");
    assert_eq!(read(&untrue).0["alg"], "RS512");
    assert_eq!(untrue.rsplit('.').next().unwrap().len(), 86);
}

#[tokio::test]
async fn a_jwt_is_asked_about_and_revoked_like_any_token() {
    let sandbox = Sandbox::start().await.unwrap();
    let token = SandboxToken::new().end_user("ann").claim("acr", "1").unwrap();
    let jwt = sandbox.issue_jwt(token).unwrap();
    let (_, claims) = read(&jwt);
    let ask = async || post(&sandbox, "/introspect", sandbox.client_secret(), format!("token={jwt}")).await.1;
    let mut expected = claims;
    expected["active"] = true.into();
    expected["token_type"] = "Bearer".into();
    assert_eq!(ask().await, expected);
    let at_apigee = sandbox.apigee().build().unwrap();
    assert!(at_apigee.introspect(Ask::new(&bearer(&jwt))).await.unwrap().is_active());
    post(&sandbox, "/revoke", sandbox.client_secret(), format!("token={jwt}")).await;
    assert_eq!(ask().await, json!({"active": false}));
    assert!(sandbox.approve(&jwt));
    assert_eq!(ask().await, expected);
    assert!(sandbox.delete(&jwt));
    assert_eq!(ask().await, json!({"active": false}));
    assert_eq!(sandbox.calls(&jwt), 5);
}

#[tokio::test]
async fn header_and_claims_are_as_a_test_wants_them() {
    let sandbox = Sandbox::start().await.unwrap();
    let jwt = |token: SandboxToken| read(&sandbox.issue_jwt(token).unwrap());
    let new = SandboxToken::new;
    let (header, _) = jwt(new().header("typ", "JWT").unwrap().header("kid", "unheard-of").unwrap());
    assert_eq!(header, json!({"typ": "JWT", "alg": "ES256", "kid": "unheard-of"}));
    let (header, _) = jwt(new().header("typ", ()).unwrap().header("kid", ()).unwrap());
    assert_eq!(header, json!({"alg": "ES256"}));
    let (header, _) = jwt(new().header("crit", ["exp"]).unwrap());
    assert_eq!((&header["crit"], &header["typ"]), (&json!(["exp"]), &json!("at+jwt")));

    for left_out in ["iss", "sub", "aud", "exp", "iat", "jti", "client_id", "scope"] {
        assert!(!jwt(new()).1[left_out].is_null(), "{left_out}");
        assert!(jwt(new().claim(left_out, ()).unwrap()).1.get(left_out).is_none(), "{left_out}");
        assert_eq!(jwt(new().claim(left_out, "other").unwrap()).1[left_out], "other");
    }
    assert!(jwt(new().never_expires()).1.get("exp").is_none());
    assert_eq!(jwt(new().expires_at(Timestamp::from_unix_seconds(1_000))).1["exp"], 1_000);
    assert_eq!(jwt(new().claim("nbf", 4_000_000_000_u64).unwrap()).1["nbf"], 4_000_000_000_u64);
}

#[tokio::test]
async fn anything_can_be_signed_and_is_no_token_thereby() {
    let sandbox = Sandbox::start().await.unwrap();
    let claims = json!({"iss": "a", "aud": "b", "exp": 4_000_000_000_u64});
    let jwt = sandbox.sign(HashMap::from([("typ", "logout+jwt")]), &claims).unwrap();
    let (header, told) = verified(&jwt, &sandbox.jwks(), "b");
    assert_eq!((header.typ.as_deref(), told), (Some("logout+jwt"), claims.clone()));
    let (_, answer) = post(&sandbox, "/introspect", sandbox.client_secret(), format!("token={jwt}")).await;
    assert_eq!(answer, json!({"active": false}));
    let unsecured = sandbox.sign(json!({"alg": "none", "kid": null}), &claims).unwrap();
    assert_eq!(read(&unsecured), (json!({"alg": "none"}), claims.clone()));

    let error = sandbox.sign("typ", &claims).unwrap_err();
    assert_eq!(error.to_string(), "`header`: it is no object in JSON; give a map with texts as keys, or a struct");
    assert_eq!(sandbox.sign(json!({}), [1]).unwrap_err().setting(), "claims");
}
