//! Several issuers and both kinds of tokens behind one layer.

use tower::{Layer, ServiceExt};
use tower_introspection::jwt::{ByIssuer, Hybrid};
use tower_introspection::rejection::RejectionKind;
use tower_introspection::rfc7662::SignedAnswers;
use tower_introspection::{Cached, IntrospectionLayer};

use super::AUDIENCE;
use crate::server::Server;
use crate::support::{Idle, kind, request};

#[tokio::test]
async fn tokens_of_three_issuers_and_of_both_kinds_come_in_and_no_issuers_keys_judge_anothers_token() {
    let servers = (Server::oidc_provider().await, Server::oidc_provider().await, Server::authlib().await);
    let (Some(one), Some(two), Some(three)) = servers else { return };
    let issuers = [&one, &two, &three].map(|server| server.text("/issuer"));
    let jwt = |server: &Server| server.judge().build().unwrap();
    let opaque = one.post_client("/post").signed_answers(SignedAnswers::discover(issuers[0])).build().unwrap();
    let tokens = ByIssuer::builder()
        .issuer(issuers[0], Cached::new(jwt(&one)))
        .issuer(issuers[1], Cached::new(jwt(&two)))
        .issuer(issuers[2], Cached::new(Hybrid::new(jwt(&three), three.basic())))
        .opaque(Cached::new(opaque))
        .build()
        .unwrap();
    let layer = IntrospectionLayer::builder(tokens).require_audience(AUDIENCE).require_scope("read").build().unwrap();
    let rejected =
        async |token: &str| kind(&layer.layer(Idle).oneshot(request(&format!("Bearer {token}"))).await.unwrap());

    let revoked = three.issue_jwt_of_authlib().await;
    three.revoke_by("/jwt_app", &revoked).await;
    let named = async |by: &Server, issuer: &str| by.issue_jwt(&format!("alg=ES256&iss={issuer}")).await;
    for (what, token) in [
        ("ES256 of one", one.issue_jwt("alg=ES256").await),
        ("RS256 of one", one.issue_jwt("alg=RS256").await),
        ("PS256 of two", two.issue_jwt("alg=PS256").await),
        ("EdDSA of two", two.issue_jwt("alg=EdDSA").await),
        ("a JWT of three, which is asked about it", three.issue_jwt_of_authlib().await),
        ("an opaque token of one", one.issue().await),
    ] {
        // The second time it is remembered.
        for _ in 0..2 {
            assert_eq!(rejected(&token).await, None, "{what}");
        }
    }
    for (what, token) in [
        ("of two, which names one", named(&two, issuers[0]).await),
        ("of one, which names two", named(&one, issuers[1]).await),
        ("of two, which names three", named(&two, issuers[2]).await),
        ("of one, which names nobody known", named(&one, "https://other.example").await),
        ("of one, which names one with a slash", named(&one, &format!("{}/", issuers[0])).await),
        ("for others", one.issue_jwt("aud=https://other.example").await),
        ("of three, which has revoked it", revoked),
        ("an opaque token of two", two.issue().await),
        ("an opaque token of three", three.issue().await),
        ("an opaque token that is bound to a key", one.text("/dpop_token").to_owned()),
        ("a JWT that is bound to a key", one.text("/dpop_jwt").to_owned()),
    ] {
        for _ in 0..2 {
            assert_eq!(rejected(&token).await, Some(RejectionKind::InvalidToken), "{what}");
        }
    }
}
