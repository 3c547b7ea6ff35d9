//! JWT access tokens of one issuer, judged here.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::builder::JwtBuilder;
use super::claims::{Refused, Requirements};
use super::refusals::Refusals;
use crate::clock::Clock;
use crate::error::IntrospectError;
use crate::introspect::{Ask, InactiveReason, Introspect, Verdict};
use crate::jose::{Algorithm, Fault, Jws};
use crate::jwks::Keys;
use crate::protection::EndpointHandle;
use crate::token::{AccessToken, BearerToken};
use crate::url::shown;

/// In bytes. The source of the token has a limit of its own.
const LONGEST: usize = 64 * 1024;

/// Judges the JWT access tokens of one issuer by its keys, RFC 9068: nobody is asked about a token.
///
/// ```
/// use tower_introspection::{Cached, IntrospectionLayer, Jwt};
///
/// # fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let jwt = Jwt::discover("https://auth.example.com").audience("https://api.example.com").build()?;
/// let layer = IntrospectionLayer::new(Cached::new(jwt));
/// # Ok(()) }
/// ```
///
/// Put a [`Cached`](crate::Cached) around it. A hit then costs a small part of a signature; and only a cache can
/// [invalidate](crate::CacheHandle::invalidate): what is invalidated stays refused, though its signature is as good as
/// before. **Without an invalidation a revoked token comes in until it expires**, since nobody is asked. Where that is
/// too long, use a [`Hybrid`](crate::jwt::Hybrid), which verifies and then asks.
///
/// # What is required
///
/// * A signature by a key that the issuer publishes, with an allowed [algorithm](JwtBuilder::algorithms). The key
///   decides which one may be used with it, never the token alone; `none` and HMAC are never allowed.
/// * `typ` of the header `at+jwt`, in any case, with `application/` before it or without (section 2.1).
///   [`dangerously_allow_type_jwt`](JwtBuilder::dangerously_allow_type_jwt) is for servers that send `JWT`.
/// * `iss`: the issuer to the letter. `aud`: one of the [audiences](JwtBuilder::audience).
/// * `exp` in the future. `nbf` and `iat`, if they are there, no later than the [clock skew](JwtBuilder::clock_skew)
///   after now.
/// * No extension that has to be understood (`crit`), and no member twice, at any depth.
///
/// Whatever else is wrong is [`Unverified`](InactiveReason::Unverified), and the log says what, at the level `info`.
///
/// # The facts
///
/// `sub`, `iss`, `aud`, `jti`, `exp`, `nbf`, `iat`, `scope`, `client_id` and `username` fill the facts of those names.
/// Without `scope` the scopes are those of `scp`, an array (Okta) or a text (Entra ID). Without `client_id` it is `azp`
/// (Keycloak, Auth0, Entra ID, ZITADEL), `cid` (Okta) or `appid` (Entra ID). Everything else, `roles` and `permissions`
/// among it, is kept as a [claim](crate::AccessToken::claim), and is for rules of your own.
///
/// # The keys
///
/// They are fetched by the first question, or by [`fetch_keys`](Self::fetch_keys), and then
/// [again](JwtBuilder::refresh_keys_every), so that a key that was removed is used no longer: a verdict outlives it by
/// the cache's `max_ttl`. Failures never drop keys; a set in which there is none does. A token that names a key which
/// is not there has them fetched at once, but once in half a minute. If the same key is named again meanwhile, they are
/// fetched for it, too: for three such keys. In between such a token is neither accepted nor refused: the request fails
/// with 503 ([`Overloaded`](crate::introspect::IntrospectErrorKind::Overloaded)). One that was issued more than a
/// minute before the keys at hand were fetched is refused.
///
/// Where they are is discovered once: for an issuer that moves them, restart.
pub struct Jwt {
    pub(super) requirements: Requirements,
    pub(super) algorithms: Vec<Algorithm>,
    pub(super) keys: Keys,
    pub(super) handle: EndpointHandle,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) refusals: Refusals,
}

impl Jwt {
    /// Finds the keys of `issuer` in the metadata that it publishes (`jwks_uri`), as
    /// [`Rfc7662::discover`](crate::Rfc7662::discover) finds an endpoint. The first question discovers. An
    /// [audience](JwtBuilder::audience) is required, the rest has defaults.
    pub fn discover(issuer: impl Into<String>) -> JwtBuilder {
        JwtBuilder::discovering(issuer.into())
    }

    /// Starts with the issuer. [Keys](JwtBuilder::keys) or where [they are](JwtBuilder::jwks_url), and an
    /// [audience](JwtBuilder::audience) are required, the rest has defaults.
    ///
    /// ```
    /// use tower_introspection::Jwt;
    /// use tower_introspection::jwt::KeySet;
    ///
    /// // Of a partner who sends its key by other means.
    /// let keys = KeySet::from_json(
    ///     r#"{"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#,
    /// )?;
    /// let jwt = Jwt::builder("https://partner.example").keys(keys).audience("https://api.example.com").build()?;
    /// # Ok::<(), tower_introspection::BuildError>(())
    /// ```
    pub fn builder(issuer: impl Into<String>) -> JwtBuilder {
        JwtBuilder::new(issuer.into())
    }

    /// Fetches the keys now, unless they are at hand: for a program that is to fail when it starts, and not by its
    /// first request.
    ///
    /// # Errors
    /// If they cannot be found or fetched.
    pub async fn fetch_keys(&self) -> Result<(), IntrospectError> {
        self.keys.find(None, None, |_| true).await.map(drop)
    }

    /// What a token that this issuer signed states; or why it is refused.
    pub(super) async fn verify(
        &self,
        token: &BearerToken<'_>,
    ) -> Result<Result<AccessToken, InactiveReason>, IntrospectError> {
        let refused = |refused| {
            Ok(Err(match refused {
                Refused::Reason(reason) => reason,
                Refused::Because(cause) => self.refusals.because(cause),
            }))
        };
        let jws = match Jws::parse(token.expose(), LONGEST, &self.algorithms) {
            Ok(jws) => jws,
            Err(fault) => return refused(Refused::Because(fault.as_str())),
        };
        let header = jws.header();
        let claims = match self.requirements.judge(header, jws.payload(), self.clock.now()) {
            Ok(claims) => claims,
            Err(reason) => return refused(reason),
        };
        let found = self.keys.find(header.kid.as_deref(), claims.issued_at, |keys| keys.may_verify(&jws)).await?;
        if let Err(fault) = found.ok_or(Fault::NoSuchKey).and_then(|keys| keys.verify(&jws).map(drop)) {
            return refused(Refused::Because(fault.as_str()));
        }
        let now = self.clock.now();
        let facts = claims.into_facts(token, now);
        // To find the keys may have taken a while.
        Ok(if facts.is_expired_at(now) { Err(InactiveReason::Expired) } else { Ok(facts) })
    }
}

impl Introspect for Jwt {
    async fn introspect(&self, ask: Ask<'_>) -> Result<Verdict, IntrospectError> {
        let verified = self.verify(ask.token()).await?;
        Ok(verified.map_or_else(Verdict::Inactive, Verdict::Active))
    }

    /// Where the keys come from.
    fn endpoint(&self) -> Option<EndpointHandle> {
        Some(self.handle.clone())
    }

    fn judges_alone(&self) -> Option<Duration> {
        Some(self.requirements.clock_skew)
    }
}

impl fmt::Debug for Jwt {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.debug_struct("Jwt")
            .field("issuer", &shown(&self.requirements.issuer))
            .field("audiences", &self.requirements.audiences)
            .finish_non_exhaustive()
    }
}
