//! JWT access tokens and signed answers of servers that nobody here wrote, and what two libraries say of the tokens of
//! this crate and this crate of theirs.

mod access_tokens;
mod keys;
mod libraries;
mod mixed;
mod signed_answers;

use tower_introspection::introspect::{Ask, IntrospectErrorKind};
use tower_introspection::jwt::JwtBuilder;
use tower_introspection::{AccessToken, InactiveReason, Introspect, Jwt, Verdict};

use crate::server::Server;
use crate::support::bearer;

const AUDIENCE: &str = "https://api.example.com";

impl Server {
    /// What judges the server's tokens for `AUDIENCE`, with the keys that its metadata name.
    fn judge(&self) -> JwtBuilder {
        self.judge_for(AUDIENCE)
    }

    fn judge_for(&self, audience: &str) -> JwtBuilder {
        Jwt::discover(self.text("/issuer")).audience(audience)
    }

    /// A JWT of `oidc-provider`; what it is like stands in `kind`, such as `alg=ES256`.
    async fn issue_jwt(&self, kind: &str) -> String {
        let resource = format!("{}?{kind}", self.text("/jwt_resource"));
        self.issue_to("/app", &[("resource", &resource)]).await
    }

    /// A JWT of Authlib.
    async fn issue_jwt_of_authlib(&self) -> String {
        self.issue_to("/jwt_app", &[]).await
    }
}

/// What is said of a token: its facts, why it is not active, or why nobody can tell.
async fn ask(introspector: &impl Introspect, token: &str) -> Result<AccessToken, Refused> {
    match introspector.introspect(Ask::new(&bearer(token))).await {
        Ok(Verdict::Active(facts)) => Ok(facts),
        Ok(Verdict::Inactive(reason)) => Err(Refused::Inactive(reason)),
        Err(error) => Err(Refused::Failed(error.kind())),
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Refused {
    Inactive(InactiveReason),
    Failed(IntrospectErrorKind),
}

const UNVERIFIED: Refused = Refused::Inactive(InactiveReason::Unverified);
const UNKNOWN: Refused = Refused::Inactive(InactiveReason::Unknown);
