//! Authorization servers that nobody here wrote, on loopback: `oidc-provider` (npm), `Authlib` and
//! `django-oauth-toolkit` (PyPI). And libraries: two that sign and read tokens, `jose` (npm) and `joserfc` (PyPI),
//! and one that is a client, `oauth4webapi` (npm).
//!
//! They need node and python with packages that `.ci/interop` installs. Where that has not been done these tests say so
//! and test nothing, unless `INTEROP=required` is set, as it is in CI: then what is missing is a failure.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[cfg(all(feature = "axum", feature = "dpop", feature = "jwt"))]
#[path = "interop/dpop/mod.rs"]
mod dpop;
#[cfg(all(feature = "jwt", feature = "sandbox", feature = "test-util"))]
#[path = "interop/jwt/mod.rs"]
mod jwt;
#[cfg(feature = "certificate-bound")]
#[path = "interop/mtls.rs"]
mod mtls;
#[path = "interop/server.rs"]
mod server;
#[cfg(all(feature = "axum", feature = "signals"))]
#[path = "interop/signals/mod.rs"]
mod signals;
mod support;

use server::Server;
use support::*;
use tower::{Layer, ServiceExt};
use tower_introspection::credentials::ClientCredentials;
use tower_introspection::introspect::Ask;
use tower_introspection::introspect::IntrospectErrorKind;
use tower_introspection::rejection::RejectionKind;
use tower_introspection::{AccessToken, Cached, InactiveReason, Introspect, IntrospectionLayer, Rfc7662, Verdict};

async fn verdict(endpoint: &impl Introspect, token: &str) -> Verdict {
    endpoint.introspect(Ask::new(&bearer(token))).await.unwrap()
}

async fn active(endpoint: &impl Introspect, token: &str) -> AccessToken {
    match verdict(endpoint, token).await {
        Verdict::Active(facts) => facts,
        Verdict::Inactive(reason) => panic!("{reason:?}"),
    }
}

#[tokio::test]
async fn a_token_is_active_until_it_is_revoked_and_an_unknown_one_never_is() {
    for server in Server::all().await {
        let endpoint = server.basic();
        let token = server.issue().await;
        let facts = active(&endpoint, &token).await;
        assert_eq!(facts.client_id(), Some("app"));
        assert_eq!(facts.scopes().to_string(), "read write");
        assert_eq!(facts.audience().collect::<Vec<_>>(), ["https://api.example.com"]);
        assert_eq!(facts.issuer(), Some(server.text("/issuer")));
        let lifetime = facts.expires_at().unwrap().saturating_since(facts.issued_at().unwrap());
        assert!(lifetime > secs(0), "{lifetime:?}");
        assert!(!serde_json::to_string(&facts).unwrap().contains(&token));
        for dead in ["nobody-issued-this", &{
            server.revoke(&token).await;
            token
        }] {
            assert!(matches!(verdict(&endpoint, dead).await, Verdict::Inactive(InactiveReason::Unknown)));
        }
    }
}

#[tokio::test]
async fn the_endpoint_is_discovered_from_the_issuer() {
    for server in Server::all().await {
        let builder = Rfc7662::discover(server.text("/issuer")).fetch().await.unwrap();
        let endpoint = builder
            .client_secret(server.text("/basic/client_id"), server.text("/basic/client_secret"))
            .build()
            .unwrap();
        assert_eq!(endpoint.url(), Some(server.text("/introspection_endpoint")));
        active(&endpoint, &server.issue().await).await;
    }
}

#[tokio::test]
async fn every_kind_of_client_is_let_in_and_a_wrong_secret_is_our_fault() {
    for server in Server::all().await {
        let token = server.issue().await;
        let (id, secret) = (server.text("/post/client_id"), server.text("/post/client_secret"));
        active(&server.endpoint().client_secret_post(id, secret).build().unwrap(), &token).await;
        for wrong in [
            server.endpoint().client_secret_post(id, "wrong"),
            server.endpoint().client_secret_basic(server.text("/basic/client_id"), "wrong"),
            server.endpoint().client_secret_basic("nobody", "wrong"),
        ] {
            let error = wrong.build().unwrap().introspect(Ask::new(&bearer(&token))).await.unwrap_err();
            assert_eq!(error.kind(), IntrospectErrorKind::Credentials, "{error:?}");
        }
    }
}

#[tokio::test]
#[cfg(feature = "private-key-jwt")]
async fn assertions_signed_with_rs256_and_es256_are_accepted_by_oidc_provider() {
    let Some(server) = Server::oidc_provider().await else { return };
    let token = server.issue().await;
    for client in server.facts["private_key_jwt"].as_array().unwrap() {
        let text = |member: &str| client[member].as_str().unwrap();
        let key = || {
            let key =
                tower_introspection::credentials::PrivateKeyJwt::from_pem(text("client_id"), text("private_key_pem"))
                    .unwrap();
            key.key_id(text("key_id"))
        };
        let discovered = Rfc7662::discover(server.text("/issuer")).fetch().await.unwrap();
        let endpoint = discovered.private_key_jwt(key()).build().unwrap();
        for _ in 0..2 {
            active(&endpoint, &token).await;
        }
        let wrong = server.endpoint().private_key_jwt(key().audience("https://elsewhere.example")).build().unwrap();
        assert!(wrong.introspect(Ask::new(&bearer(&token))).await.unwrap_err().is_credentials());
    }
}

#[tokio::test]
async fn a_token_that_looks_like_a_jwt_is_inactive_and_no_outage() {
    for server in Server::all().await {
        let token = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhIn0.c2lnbmF0dXJl";
        assert!(!verdict(&server.basic(), token).await.is_active());
    }
}

#[tokio::test]
async fn the_client_credentials_grant_works_at_both() {
    for server in Server::all().await {
        // These servers let no bearer token introspect, so what counts is that the login itself succeeded.
        let (id, secret) = (server.text("/app/client_id"), server.text("/app/client_secret"));
        let login = ClientCredentials::new(server.text("/token_endpoint"), id, secret).scope("read");
        let endpoint = server.endpoint().client_credentials(login).build().unwrap();
        let error = format!("{:?}", endpoint.introspect(Ask::new(&bearer("abc"))).await.unwrap_err());
        assert!(error.contains("HTTP status") && !error.contains("the token endpoint"), "{error}");
        let wrong = ClientCredentials::new(server.text("/token_endpoint"), id, "wrong");
        let endpoint = server.endpoint().client_credentials(wrong).build().unwrap();
        let error = format!("{:?}", endpoint.introspect(Ask::new(&bearer("abc"))).await.unwrap_err());
        assert!(error.contains("the token endpoint refused") && error.contains("invalid_client"), "{error}");
    }
}

/// What a layer over `endpoint` answers a request with `token`.
async fn through(endpoint: Rfc7662, token: &str) -> Option<RejectionKind> {
    let layer = IntrospectionLayer::builder(Cached::new(endpoint)).require_scope("read").build().unwrap();
    kind(&layer.layer(Idle).oneshot(request(&format!("Bearer {token}"))).await.unwrap())
}

/// A token that comes in, those that do not and are their callers' fault, and our own credentials that do not fit.
async fn assert_django_oauth_toolkit_is_understood(server: &Server) {
    let token = server.issue().await;
    let facts = active(&server.basic(), &token).await;
    assert_eq!((facts.client_id(), facts.scopes().to_string().as_str()), (Some("app"), "read write"));
    assert!(facts.expires_at().is_some() && facts.issuer().is_none() && facts.audience().next().is_none(), "{facts:?}");
    assert_eq!(through(server.basic(), &token).await, None);

    let (id, secret) = (server.text("/basic/client_id"), server.text("/basic/client_secret"));
    for wrong in [
        server.endpoint().client_secret_basic(id, "wrong"),
        server.endpoint().client_secret_basic("nobody", secret),
        server.endpoint().client_secret_post(id, "wrong"),
        // A bearer without the scope `introspection`.
        server.endpoint().bearer_token(&token),
        server.endpoint().bearer_token("nobody-issued-this"),
    ] {
        assert_eq!(through(wrong.build().unwrap(), &token).await, Some(RejectionKind::Unavailable));
    }
    active(&server.endpoint().client_secret_post(id, secret).build().unwrap(), &token).await;
    active(&server.endpoint().bearer_token(server.text("/introspecting_token")).build().unwrap(), &token).await;
    let login = ClientCredentials::new(server.text("/token_endpoint"), id, secret).scope("introspection");
    active(&server.endpoint().client_credentials(login).build().unwrap(), &token).await;

    server.revoke(&token).await;
    for dead in ["nobody-issued-this", server.text("/expired_token"), &token] {
        assert!(matches!(verdict(&server.basic(), dead).await, Verdict::Inactive(InactiveReason::Unknown)), "{dead}");
        assert_eq!(through(server.basic(), dead).await, Some(RejectionKind::InvalidToken), "{dead}");
    }
}

#[tokio::test]
async fn django_oauth_toolkit_is_understood_and_found_by_its_metadata() {
    let Some(server) = Server::django_oauth_toolkit("").await else { return };
    assert_django_oauth_toolkit_is_understood(&server).await;
    let discovered = Rfc7662::discover(server.text("/issuer")).fetch().await.unwrap();
    let (id, secret) = (server.text("/basic/client_id"), server.text("/basic/client_secret"));
    let endpoint = discovered.client_secret(id, secret).build().unwrap();
    assert_eq!(endpoint.url(), Some(server.text("/introspection_endpoint")));
    active(&endpoint, &server.issue().await).await;
}

#[tokio::test]
async fn django_oauth_toolkit_up_to_1_6_is_understood_though_it_answers_401_about_an_unknown_token() {
    let Some(server) = Server::django_oauth_toolkit("-1.6").await else { return };
    assert_django_oauth_toolkit_is_understood(&server).await;
}

/// What a layer over the server answers a request with `token`.
async fn through_a_layer(server: &Server, token: &str) -> Option<RejectionKind> {
    let layer = IntrospectionLayer::builder(Cached::new(server.basic()))
        .require_audience("https://api.example.com")
        .require_issuer(server.text("/issuer"))
        .require_scope("read")
        .build()
        .unwrap();
    kind(&layer.layer(Idle).oneshot(request(&format!("Bearer {token}"))).await.unwrap())
}

#[tokio::test]
async fn a_request_comes_in_through_the_whole_layer_and_a_key_bound_token_does_not() {
    for server in Server::all().await {
        assert_eq!(through_a_layer(&server, &server.issue().await).await, None);
        assert_eq!(through_a_layer(&server, "nobody-issued-this").await, Some(RejectionKind::InvalidToken));
    }
    let Some(server) = Server::oidc_provider().await else { return };
    let bound = server.text("/dpop_token");
    assert!(active(&server.basic(), bound).await.is_sender_constrained());
    assert_eq!(through_a_layer(&server, bound).await, Some(RejectionKind::InvalidToken));
}
