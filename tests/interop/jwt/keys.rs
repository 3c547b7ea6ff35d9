//! Keys that the server changes while tokens are judged.

use tower_introspection::introspect::IntrospectErrorKind;
use tower_introspection::rfc7662::SignedAnswers;

use super::{Refused, UNVERIFIED, ask};
use crate::server::Server;

impl Server {
    /// It signs with new keys from now on. The old ones are published still, if they are to `stay`.
    async fn rotate(&self, stay: bool) {
        let query = if stay { "?keep" } else { "" };
        self.post("/app", &format!("{}{query}", self.text("/rotation")), &[]).await;
    }
}

#[tokio::test]
async fn a_new_key_is_found_by_the_first_token_that_names_it_and_old_ones_serve_as_long_as_they_stay() {
    let Some(server) = Server::oidc_provider().await else { return };
    let jwt = server.judge().build().unwrap();
    let old = server.issue_jwt("alg=ES256").await;
    assert!(ask(&jwt, &old).await.is_ok());
    server.rotate(true).await;
    let new = server.issue_jwt("alg=ES256").await;
    for token in [&new, &old, &new] {
        assert!(ask(&jwt, token).await.is_ok());
    }
}

#[tokio::test]
async fn a_key_that_was_removed_is_used_until_keys_are_fetched_again() {
    let Some(server) = Server::oidc_provider().await else { return };
    let jwt = server.judge().build().unwrap();
    let old = server.issue_jwt("alg=ES256").await;
    assert!(ask(&jwt, &old).await.is_ok());
    server.rotate(false).await;
    assert!(ask(&jwt, &old).await.is_ok());
    assert!(ask(&jwt, &server.issue_jwt("alg=RS256").await).await.is_ok());
    // Its key might be newer than those at hand, which were fetched a moment ago. They are fetched again if it comes
    // again.
    assert_eq!(ask(&jwt, &old).await.unwrap_err(), Refused::Failed(IntrospectErrorKind::Overloaded));
    assert_eq!(ask(&jwt, &old).await.unwrap_err(), UNVERIFIED);
    assert!(ask(&jwt, &server.issue_jwt("alg=EdDSA").await).await.is_ok());
}

#[tokio::test]
async fn an_answer_that_is_signed_with_a_new_key_is_used_at_once() {
    let Some(server) = Server::oidc_provider().await else { return };
    let endpoint = server.post_client("/post").signed_answers(SignedAnswers::discover(server.text("/issuer")));
    let endpoint = endpoint.build().unwrap();
    assert!(ask(&endpoint, &server.issue().await).await.is_ok());
    server.rotate(false).await;
    assert!(ask(&endpoint, &server.issue().await).await.is_ok());
}
