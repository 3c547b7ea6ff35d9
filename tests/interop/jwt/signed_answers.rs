//! Answers of introspection that the server signs, RFC 9701.

use tower_introspection::Introspect;
#[cfg(feature = "private-key-jwt")]
use tower_introspection::credentials::PrivateKeyJwt;
use tower_introspection::introspect::{Ask, IntrospectErrorKind};
use tower_introspection::jwt::{Algorithm, KeySet};
use tower_introspection::rfc7662::{Rfc7662Builder, SignedAnswers};

use super::{AUDIENCE, Refused, UNKNOWN, ask};
use crate::server::Server;
use crate::support::{bearer, client};

impl Server {
    /// The endpoint for this client, which sends its secret in the form.
    pub(super) fn post_client(&self, client: &str) -> Rfc7662Builder {
        let text = |member: &str| self.text(&format!("{client}/{member}"));
        self.endpoint().client_secret_post(text("client_id"), text("client_secret"))
    }

    fn signed(&self) -> SignedAnswers {
        SignedAnswers::discover(self.text("/issuer"))
    }

    /// Where its keys are.
    fn jwks(&self) -> String {
        format!("{}/jwks", self.text("/issuer"))
    }
}

#[tokio::test]
async fn answers_are_used_however_the_server_signs_them() {
    let Some(server) = Server::oidc_provider().await else { return };
    let (id, secret) = (server.text("/basic/client_id"), server.text("/basic/client_secret"));
    let mut clients = vec![
        (Algorithm::Rs256, server.post_client("/post")),
        (Algorithm::Rs256, server.endpoint().client_secret_basic(id, secret)),
        (Algorithm::Ps256, server.post_client("/answered/PS256")),
        (Algorithm::Es256, server.post_client("/answered/ES256")),
        (Algorithm::EdDsa, server.post_client("/answered/EdDSA")),
    ];
    #[cfg(feature = "private-key-jwt")]
    {
        let text = |member: &str| server.text(&format!("/private_key_jwt/0/{member}"));
        let key = PrivateKeyJwt::from_pem(text("client_id"), text("private_key_pem")).unwrap();
        let key = key.key_id(text("key_id")).audience(server.text("/issuer"));
        clients.push((Algorithm::Rs256, server.endpoint().private_key_jwt(key)));
    }
    for (algorithm, client) in clients {
        let endpoint = client.signed_answers(server.signed().algorithms([algorithm])).build().unwrap();
        let token = server.issue().await;
        let facts = crate::active(&endpoint, &token).await;
        assert_eq!((facts.client_id(), facts.scopes().to_string().as_str()), (Some("app"), "read write"));
        // Whom the token is meant for, and not the answer.
        assert_eq!(facts.audience().collect::<Vec<_>>(), [AUDIENCE]);
        assert_eq!(facts.issuer(), Some(server.text("/issuer")));
        server.revoke(&token).await;
        for dead in [&token, "nobody-issued-this"] {
            assert_eq!(ask(&endpoint, dead).await.unwrap_err(), UNKNOWN, "{algorithm:?}");
        }
    }
}

#[tokio::test]
async fn no_other_answer_is_a_verdict() {
    let Some(server) = Server::oidc_provider().await else { return };
    let Some(other) = Server::oidc_provider().await else { return };
    let keys_of_other = client().get(other.jwks()).send().await.unwrap().bytes().await.unwrap();
    let keys_of_other = KeySet::from_json(keys_of_other).unwrap();
    let post = || server.post_client("/post");
    let answered = |how: &str| server.post_client(&format!("/answered/{how}"));
    for (wrong, endpoint, signed) in [
        ("`alg`", answered("HS256"), server.signed()),
        ("encrypted", answered("encrypted"), server.signed()),
        ("`alg`", post(), server.signed().algorithms([Algorithm::Es256])),
        ("`aud`", post(), server.signed().client_id("somebody-else")),
        // The keys of another, and then the name of another with the right keys.
        ("no key", post(), SignedAnswers::with_keys(server.text("/issuer"), keys_of_other)),
        ("`iss`", post(), SignedAnswers::discover(other.text("/issuer")).jwks_url(server.jwks())),
    ] {
        assert_unusable(&endpoint.signed_answers(signed).build().unwrap(), &server, wrong).await;
    }
    // It knows nothing of RFC 9701.
    let Some(server) = Server::authlib().await else { return };
    let plain = server.post_client("/post").signed_answers(server.signed()).build().unwrap();
    assert_unusable(&plain, &server, "content type").await;
}

/// Of tokens that are good, and of others.
async fn assert_unusable(endpoint: &impl Introspect, server: &Server, wrong: &str) {
    for token in [&server.issue().await, "nobody-issued-this"] {
        let error = endpoint.introspect(Ask::new(&bearer(token))).await.unwrap_err();
        assert_eq!(error.kind(), IntrospectErrorKind::Answer, "{wrong}: {error:?}");
        assert!(format!("{error:?}").contains(wrong), "{wrong}: {error:?}");
    }
}

/// It says so with 400 and plain JSON, which is an answer without a signature.
#[tokio::test]
async fn a_jwt_that_the_server_is_not_to_be_asked_about_is_no_verdict() {
    let Some(server) = Server::oidc_provider().await else { return };
    let endpoint = server.post_client("/post").signed_answers(server.signed()).build().unwrap();
    let token = server.issue_jwt("alg=ES256").await;
    assert_eq!(ask(&endpoint, &token).await.unwrap_err(), Refused::Failed(IntrospectErrorKind::Status));
}
