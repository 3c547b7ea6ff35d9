//! Verifying first, and then asking.

use std::fmt;

use serde_json::Value;

use super::verifier::Jwt;
use crate::error::IntrospectError;
use crate::introspect::{Ask, Introspect, Verdict};
use crate::json::unusable;
use crate::protection::EndpointHandle;
use crate::token::AccessToken;

/// Verifies a JWT access token as [`Jwt`] does, and then asks the authority whether it is still good: junk and expired
/// tokens cost no question, and revocations count.
///
/// ```
/// use tower_introspection::jwt::Hybrid;
/// use tower_introspection::{Cached, IntrospectionLayer, Jwt, Rfc7662};
///
/// # fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let issuer = "https://auth.example.com";
/// let jwt = Jwt::discover(issuer).audience("https://api.example.com").build()?;
/// let endpoint = Rfc7662::discover(issuer).client_secret("my-api", "secret").build()?;
/// let layer = IntrospectionLayer::new(Cached::new(Hybrid::new(jwt, endpoint)));
/// # Ok(()) }
/// ```
///
/// The authority has the last word: the facts are those of its answer, and what it leaves out is unknown. Some of the
/// token bind it all the same:
///
/// * It ends at the token's `exp` if the answer has a later one or none.
/// * The confirmations (`cnf`, RFC 7800) of both have to be the same, or the token is refused: one that is bound to a
///   key stays so, whatever the answer says.
/// * Where both state `iss`, `sub` or `jti`, they have to be the same, or the answer is of another token, which is a
///   failure ([`Answer`](crate::introspect::IntrospectErrorKind::Answer)).
///
/// The authority has to answer about JWTs: oidc-provider refuses to (400 `unsupported_token_type`), so every token
/// would be [`Unclear`](crate::InactiveReason::Unclear) there.
///
/// Figures and health are those of the authority that is asked. How the keys fare stands in the log.
pub struct Hybrid<I> {
    jwt: Jwt,
    introspector: I,
    /// That of the introspector. Its answers are not those of one that verifies nothing before, or something else.
    endpoint: Option<EndpointHandle>,
}

impl<I: Introspect> Hybrid<I> {
    /// Asks `introspector`, such as a [`Rfc7662`](crate::Rfc7662), about what `jwt` has verified. The
    /// [`Cached`](crate::Cached) belongs around this.
    pub fn new(jwt: Jwt, introspector: I) -> Self {
        let endpoint = introspector.endpoint().map(|endpoint| endpoint.reading_like(&jwt.handle));
        Self { jwt, introspector, endpoint }
    }

    /// What both say.
    fn agree(&self, verified: &AccessToken, answered: &AccessToken) -> Result<Verdict, IntrospectError> {
        let differ = |fact: fn(&AccessToken) -> Option<&str>| {
            fact(verified).zip(fact(answered)).is_some_and(|(verified, answered)| verified != answered)
        };
        let facts: [fn(&AccessToken) -> Option<&str>; 3] =
            [AccessToken::issuer, AccessToken::subject, AccessToken::token_id];
        if facts.into_iter().any(differ) {
            return Err(unusable("its `iss`, `sub` or `jti` is not that of the token that was asked about"));
        }
        if confirmation(verified) != confirmation(answered) {
            let cause = "the authority states another `cnf` than the token itself";
            return Ok(Verdict::Inactive(self.jwt.refusals.because(cause)));
        }
        let ends = [verified.expires_at(), answered.expires_at()].into_iter().flatten().min();
        Ok(Verdict::Active(answered.ending_at(ends)))
    }
}

fn confirmation(token: &AccessToken) -> Option<Value> {
    token.claim("cnf")
}

impl<I: Introspect> Introspect for Hybrid<I> {
    async fn introspect(&self, ask: Ask<'_>) -> Result<Verdict, IntrospectError> {
        let verified = match self.jwt.verify(ask.token()).await? {
            Ok(verified) => verified,
            Err(reason) => return Ok(Verdict::Inactive(reason)),
        };
        match self.introspector.introspect(ask).await? {
            Verdict::Active(answered) => self.agree(&verified, &answered),
            inactive @ Verdict::Inactive(_) => Ok(inactive),
        }
    }

    fn endpoint(&self) -> Option<EndpointHandle> {
        self.endpoint.clone()
    }

    fn wants_cache(&self) -> bool {
        self.introspector.wants_cache()
    }

    #[cfg(feature = "dpop")]
    fn proof_memory(&self) -> Option<crate::introspect::ProofMemory> {
        self.introspector.proof_memory()
    }
}

impl<I> fmt::Debug for Hybrid<I> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.debug_struct("Hybrid").field("jwt", &self.jwt).finish_non_exhaustive()
    }
}
