//! The sandbox's authorization server, as a client of it sees it.
#![cfg(feature = "sandbox")]

mod jwt;
mod key_set;
mod signed_answers;

use crate::support::*;
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{DecodingKey, Validation};
use serde_json::{Value, json};
use tower_introspection::connection::Limits;
use tower_introspection::credentials::ClientCredentials;
use tower_introspection::introspect::Ask;
use tower_introspection::introspect::IntrospectErrorKind;
use tower_introspection::sandbox::{Sandbox, SandboxToken};
use tower_introspection::{Introspect, Rfc7662, Verdict};

/// What the authorization server gives at `path`: status, content type, body.
async fn get(sandbox: &Sandbox, path: &str) -> (u16, String, String) {
    let request = client().get(format!("{}{path}", sandbox.issuer()));
    told(request.send().await.unwrap()).await
}

async fn told(response: reqwest::Response) -> (u16, String, String) {
    let content_type = response.headers().get("content-type").map(|value| value.to_str().unwrap().to_owned());
    (response.status().as_u16(), content_type.unwrap_or_default(), response.text().await.unwrap())
}

/// What a library that is not ours makes of a JWT that the sandbox signed, with the keys that it publishes.
///
/// # Panics
/// If the signature is not by the published key that the header names, or the claims are not valid now.
fn verified(jwt: &str, keys: &str, audience: &str) -> (jsonwebtoken::Header, Value) {
    let keys: JwkSet = serde_json::from_str(keys).unwrap();
    let header = jsonwebtoken::decode_header(jwt).unwrap();
    let key = keys.find(header.kid.as_deref().unwrap()).expect("a published key");
    assert_eq!(key.common.key_algorithm.unwrap().to_string(), format!("{:?}", header.alg));
    let mut validation = Validation::new(header.alg);
    validation.set_audience(&[audience]);
    validation.set_required_spec_claims(&["iss", "aud"]);
    let decoded = jsonwebtoken::decode(jwt, &DecodingKey::from_jwk(key).unwrap(), &validation).unwrap();
    (decoded.header, decoded.claims)
}

async fn post(sandbox: &Sandbox, path: &str, secret: &str, form: impl Into<reqwest::Body>) -> (u16, Value) {
    let response = client()
        .post(format!("{}{path}", sandbox.issuer()))
        .basic_auth(sandbox.client_id(), Some(secret))
        .header("content-type", "application/x-www-form-urlencoded")
        .body(form)
        .send()
        .await
        .unwrap();
    (response.status().as_u16(), response.json().await.unwrap_or_default())
}

#[tokio::test]
async fn a_discovered_server_grants_introspects_and_revokes() {
    let sandbox = Sandbox::start().await.unwrap();
    let secret = sandbox.client_secret();
    let (status, granted) =
        post(&sandbox, "/token", secret, "grant_type=client_credentials&scope=read&resource=https%3A%2F%2Fapi.example")
            .await;
    assert_eq!((status, &granted["token_type"], &granted["expires_in"]), (200, &json!("Bearer"), &json!(1_800)));
    let token = granted["access_token"].as_str().unwrap();
    let builder = Rfc7662::discover(sandbox.issuer()).fetch().await.unwrap();
    let endpoint = builder.client_secret(sandbox.client_id(), secret).build().unwrap();
    let Verdict::Active(facts) = endpoint.introspect(Ask::new(&bearer(token))).await.unwrap() else {
        panic!("not active")
    };
    assert_eq!(facts.audience().collect::<Vec<_>>(), ["https://api.example"]);
    assert_eq!((facts.scopes().to_string(), facts.issuer()), ("read".into(), Some(sandbox.issuer().as_str())));
    let form = format!("token={token}");
    assert_eq!(post(&sandbox, "/revoke", secret, form).await.0, 200);
    assert!(!endpoint.introspect(Ask::new(&bearer(token))).await.unwrap().is_active());
}

#[tokio::test]
async fn the_metadata_are_at_both_places_and_tell_of_keys_and_signed_answers() {
    let sandbox = Sandbox::start().await.unwrap();
    let issuer = sandbox.issuer();
    for place in ["oauth-authorization-server", "openid-configuration"] {
        let (status, content_type, body) = get(&sandbox, &format!("/.well-known/{place}")).await;
        assert_eq!((status, content_type.as_str()), (200, "application/json"));
        let metadata: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(metadata["issuer"], issuer);
        assert_eq!(metadata["jwks_uri"], format!("{issuer}/jwks"));
        assert_eq!(metadata["introspection_endpoint"], format!("{issuer}/introspect"));
        assert_eq!(metadata["introspection_signing_alg_values_supported"], json!(["ES256"]));
    }
}

#[tokio::test]
async fn a_token_with_the_scope_for_it_may_introspect_and_no_other() {
    let sandbox = Sandbox::start().await.unwrap();
    let token = sandbox.issue(SandboxToken::new());
    let asking = |scope: &str| {
        let url = sandbox.issuer();
        let login = ClientCredentials::new(format!("{url}/token"), sandbox.client_id(), sandbox.client_secret());
        Rfc7662::builder(format!("{url}/introspect")).client_credentials(login.scope(scope)).build().unwrap()
    };
    assert!(asking("introspection").introspect(Ask::new(&bearer(&token))).await.unwrap().is_active());
    assert!(asking("read").introspect(Ask::new(&bearer(&token))).await.unwrap_err().is_credentials());
}

#[tokio::test]
async fn whoever_is_not_the_client_and_whatever_is_not_a_request_is_refused() {
    let sandbox = Sandbox::start().await.unwrap();
    let secret = sandbox.client_secret();
    for path in ["/token", "/introspect", "/revoke"] {
        let (status, body) = post(&sandbox, path, "wrong", "grant_type=client_credentials&token=abc").await;
        assert_eq!((status, &body["error"]), (401, &json!("invalid_client")), "{path}");
    }
    for (path, form, status, error) in [
        ("/token", "grant_type=password", 400, "unsupported_grant_type"),
        ("/token", "", 400, "invalid_request"),
        ("/introspect", "", 400, "invalid_request"),
        ("/elsewhere", "", 404, "not_found"),
    ] {
        let (got, body) = post(&sandbox, path, secret, form).await;
        assert_eq!((got, &body["error"]), (status, &json!(error)), "{path} {form}");
    }
}

#[tokio::test]
async fn an_answer_tells_what_the_standard_has_and_nothing_of_the_management_api() {
    let sandbox = Sandbox::start().await.unwrap();
    let token = SandboxToken::new()
        .end_user("ann")
        .scope("a b")
        .attribute("tier", "gold")
        .claim("acr", "1")
        .unwrap()
        .never_expires();
    let token = sandbox.issue(token);
    let form = format!("token={token}");
    let (_, mut answer) = post(&sandbox, "/introspect", sandbox.client_secret(), form).await;
    assert!(answer["iat"].is_number());
    answer["iat"] = json!(0);
    assert_eq!(
        answer,
        json!({
            "active": true, "token_type": "Bearer", "iss": sandbox.issuer(), "iat": 0, "client_id": "demo-client",
            "scope": "a b", "sub": "ann", "acr": "1",
        })
    );
    let unknown = post(&sandbox, "/introspect", sandbox.client_secret(), "token=nobody").await;
    assert_eq!(unknown, (200, json!({"active": false})));
}

#[tokio::test]
async fn a_sandbox_that_is_dropped_is_gone_with_its_connections() {
    let sandbox = Sandbox::start().await.unwrap();
    let token = sandbox.issue(SandboxToken::new());
    let endpoint = sandbox.apigee().limits(Limits::new().max_retries(0)).build().unwrap();
    assert!(endpoint.introspect(Ask::new(&bearer(&token))).await.unwrap().is_active());
    drop(sandbox);
    let kind = patiently(endpoint.introspect(Ask::new(&bearer(&token)))).await.unwrap_err().kind();
    assert!(matches!(kind, IntrospectErrorKind::Connect | IntrospectErrorKind::Transport), "{kind:?}");
}
