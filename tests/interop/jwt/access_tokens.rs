//! Tokens of one issuer.

use tower_introspection::clock::{ManualClock, Timestamp};
use tower_introspection::jwt::{AccessTokenClaim, Algorithm, Hybrid};
use tower_introspection::{AccessToken, Cached, InactiveReason};

use super::{AUDIENCE, Refused, UNKNOWN, UNVERIFIED, ask};
use crate::server::Server;
use crate::support::{client, known_or_asked, secs};

fn assert_facts(facts: &AccessToken, server: &Server, client: &str) {
    assert_eq!((facts.client_id(), facts.subject()), (Some(client), Some(client)));
    assert_eq!(facts.scopes().to_string(), "read write");
    assert_eq!(facts.audience().collect::<Vec<_>>(), [AUDIENCE]);
    assert_eq!(facts.issuer(), Some(server.text("/issuer")));
    assert!(facts.token_id().is_some() && !facts.is_sender_constrained(), "{facts:?}");
    assert!(facts.expires_at().unwrap().saturating_since(facts.issued_at().unwrap()) >= secs(600), "{facts:?}");
}

#[tokio::test]
async fn a_token_comes_in_with_its_facts_however_it_is_signed() {
    if let Some(server) = Server::oidc_provider().await {
        let jwt = server.judge().build().unwrap();
        jwt.fetch_keys().await.unwrap();
        let only_es256 = server.judge().algorithms([Algorithm::Es256]).build().unwrap();
        for algorithm in ["RS256", "PS256", "ES256", "ES384", "EdDSA", "Ed25519"] {
            let token = server.issue_jwt(&format!("alg={algorithm}")).await;
            assert_facts(&ask(&jwt, &token).await.unwrap(), &server, "app");
            assert_eq!(ask(&only_es256, &token).await.is_ok(), algorithm == "ES256", "{algorithm}");
        }
        for algorithm in ["RS384", "RS512", "PS384", "PS512"] {
            let token = server.issue_jwt(&format!("alg={algorithm}")).await;
            assert_eq!(ask(&jwt, &token).await.unwrap_err(), UNVERIFIED, "{algorithm}");
        }
    }
    // Its tokens name no key.
    if let Some(server) = Server::authlib().await {
        let jwt = server.judge().build().unwrap();
        assert_facts(&ask(&jwt, &server.issue_jwt_of_authlib().await).await.unwrap(), &server, "jwt-app");
    }
}

#[tokio::test]
async fn a_token_that_is_wrong_in_one_respect_is_refused() {
    let Some(server) = Server::oidc_provider().await else { return };
    let jwt = server.judge().build().unwrap();
    let good = server.issue_jwt("alg=ES256").await;
    assert!(ask(&jwt, &good).await.is_ok());

    for wrong in ["aud=https://other.example", "iss=https://other.example", "typ=JWT", "typ=secevent%2Bjwt"] {
        let token = server.issue_jwt(&format!("alg=ES256&{wrong}")).await;
        assert_eq!(ask(&jwt, &token).await.unwrap_err(), UNVERIFIED, "{wrong}");
    }
    let other_case = server.issue_jwt("alg=ES256&typ=application/AT%2BJWT").await;
    assert!(ask(&jwt, &other_case).await.is_ok());

    let later = ManualClock::at(Timestamp::now() + secs(601));
    let later = server.judge().clock(later).build().unwrap();
    assert_eq!(ask(&later, &good).await.unwrap_err(), Refused::Inactive(InactiveReason::Expired));
}

#[tokio::test]
async fn nothing_else_that_the_server_signs_is_taken_for_an_access_token() {
    let Some(server) = Server::oidc_provider().await else { return };
    let grant = server.text("/id_token_grant");
    let issued = server.post("/app", server.text("/token_endpoint"), &[("grant_type", grant)]).await;
    let post = |member: &str| server.text(&format!("/post/{member}"));
    let answer = client()
        .post(server.text("/introspection_endpoint"))
        .header("accept", "application/token-introspection+jwt")
        .header("content-type", "application/x-www-form-urlencoded")
        .body(format!("token=x&client_id={}&client_secret={}", post("client_id"), post("client_secret")));
    let answer = answer.send().await.unwrap().text().await.unwrap();
    let access_token = async |typ: &str| server.issue_jwt(&format!("aud=app&typ={typ}")).await;
    for (kind, token, audience, let_in) in [
        ("an ID token", issued["id_token"].as_str().unwrap(), "app", [false, false]),
        ("a logout token", issued["logout_token"].as_str().unwrap(), "app", [false, false]),
        ("an answer of introspection", &answer, post("client_id"), [false, false]),
        ("an access token", &access_token("at%2Bjwt").await, "app", [true, true]),
        ("one of older servers", &access_token("JWT").await, "app", [false, true]),
    ] {
        // It is meant for this service, so that its kind alone decides.
        let strict = server.judge_for(audience).build().unwrap();
        let of_access_tokens = AccessTokenClaim::present("client_id");
        let relaxed = server.judge_for(audience).dangerously_allow_type_jwt(of_access_tokens).build().unwrap();
        let refused = let_in.map(|let_in| if let_in { None } else { Some(UNVERIFIED) });
        assert_eq!([ask(&strict, token).await.err(), ask(&relaxed, token).await.err()], refused, "{kind}");
    }
}

#[tokio::test]
async fn a_revocation_is_noticed_by_who_asks_and_by_nobody_else() {
    let Some(server) = Server::authlib().await else { return };
    let jwt = || server.judge().build().unwrap();
    let hybrid = || Hybrid::new(jwt(), server.basic());
    let clock = ManualClock::new();
    let cached = Cached::builder(hybrid()).clock(clock.clone()).max_ttl(secs(60)).build().unwrap();
    let token = server.issue_jwt_of_authlib().await;
    assert_facts(&ask(&jwt(), &token).await.unwrap(), &server, "jwt-app");
    assert_eq!(ask(&hybrid(), &token).await.unwrap().client_id(), Some("jwt-app"));
    assert!(known_or_asked(&cached, &token).await.unwrap().is_active());

    server.revoke_by("/jwt_app", &token).await;
    assert_eq!(ask(&hybrid(), &token).await.unwrap_err(), UNKNOWN);
    assert!(known_or_asked(&cached, &token).await.unwrap().is_active());
    clock.advance(secs(60));
    assert!(!known_or_asked(&cached, &token).await.unwrap().is_active());
    assert!(ask(&jwt(), &token).await.is_ok());
}

/// It answers about opaque tokens only. Whoever sets that up is let down safely.
#[tokio::test]
async fn a_server_that_is_not_to_be_asked_about_jwts_has_a_hybrid_refuse_them() {
    let Some(server) = Server::oidc_provider().await else { return };
    let hybrid = Hybrid::new(server.judge().build().unwrap(), server.basic());
    let unclear = Refused::Inactive(InactiveReason::Unclear);
    assert_eq!(ask(&hybrid, &server.issue_jwt("alg=ES256").await).await.unwrap_err(), unclear);
}
