//! The settings of JWT access tokens that are judged here.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::AccessTokenClaim;
use super::claims::Requirements;
use super::refusals::Refusals;
use super::verifier::Jwt;
use crate::build_error::BuildError;
use crate::clock::Clock;
use crate::connection::Connection;
use crate::http::link::Link;
use crate::jose::{Algorithm, KeySet};
use crate::jwks::{KeySource, Place};
use crate::protection::{Authority, Limits, Reading};
use crate::url::shown;

const CLOCK_SKEW: Duration = Duration::from_secs(5);
const LONGEST_CLOCK_SKEW: Duration = Duration::from_secs(300);

/// Configures a [`Jwt`]. Made by [`Jwt::discover`] or by [`Jwt::builder`].
///
/// ```
/// use std::time::Duration;
/// use tower_introspection::Jwt;
/// use tower_introspection::jwt::{AccessTokenClaim, Algorithm};
///
/// # fn run() -> Result<(), Box<dyn std::error::Error>> {
/// // Keycloak calls every token a `JWT`, and says in a claim what it is.
/// let jwt = Jwt::discover("https://auth.example.com/realms/main")
///     .audience("https://api.example.com")
///     .dangerously_allow_type_jwt(AccessTokenClaim::is("typ", "Bearer"))
///     .algorithms([Algorithm::Rs256])
///     .refresh_keys_every(Duration::from_secs(600))
///     .build()?;
/// # Ok(()) }
/// ```
#[must_use]
pub struct JwtBuilder {
    issuer: String,
    keys: KeySource,
    audiences: Vec<String>,
    algorithms: Vec<Algorithm>,
    of_access_tokens: Vec<AccessTokenClaim>,
    clock_skew: Duration,
    refresh_keys_every: Duration,
    link: Link,
    limits: Limits,
}

impl JwtBuilder {
    pub(super) fn new(issuer: String) -> Self {
        Self {
            issuer,
            keys: KeySource::Unsaid,
            audiences: Vec::new(),
            algorithms: Algorithm::ALL.to_vec(),
            of_access_tokens: Vec::new(),
            clock_skew: CLOCK_SKEW,
            refresh_keys_every: KeySource::REFRESH_EVERY,
            link: Link::default(),
            limits: Limits::new(),
        }
    }

    pub(super) fn discovering(issuer: String) -> Self {
        Self { keys: KeySource::At(Place::IssuerSays), ..Self::new(issuer) }
    }

    /// Whom a token has to be meant for: its `aud` has to name one of the audiences, to the letter. May be called
    /// several times. Required, because an issuer signs tokens for others, too.
    pub fn audience(mut self, audience: impl Into<String>) -> Self {
        self.audiences.push(audience.into());
        self
    }

    /// The issuer's keys, which stay as they are. Whoever changes them builds anew.
    pub fn keys(mut self, keys: KeySet) -> Self {
        self.keys = KeySource::Given(keys);
        self
    }

    /// Where the issuer publishes its keys (`jwks_uri`), for one whose metadata does not say.
    pub fn jwks_url(mut self, url: impl Into<String>) -> Self {
        self.keys = KeySource::At(Place::At(url.into()));
        self
    }

    /// How a token may be signed. Default: all of [`Algorithm`].
    pub fn algorithms(mut self, algorithms: impl IntoIterator<Item = Algorithm>) -> Self {
        self.algorithms = algorithms.into_iter().collect();
        self
    }

    /// Takes a token whose header has the type `JWT`, or none, for an access token if it has this claim. May be called
    /// several times: one of the claims is enough.
    ///
    /// Servers that do not follow RFC 9068 send them. **ID tokens look the same**, and logout tokens nearly so:
    /// whatever of this issuer has the audience and the claim comes in. The servers looked at state:
    ///
    /// | server | claim of access tokens alone |
    /// | --- | --- |
    /// | Keycloak | `AccessTokenClaim::is("typ", "Bearer")` |
    /// | Amazon Cognito | `AccessTokenClaim::is("token_use", "access")`; `aud` is in them only for a resource server |
    /// | Entra ID | `AccessTokenClaim::present("scp")`; of daemons `present("roles")`, if ID tokens have none |
    /// | Okta | `AccessTokenClaim::present("cid")` |
    /// | Auth0 | `AccessTokenClaim::present("scope")`, or its RFC 9068 profile, which needs none of this |
    /// | ZITADEL | none; it sends `at+jwt` |
    pub fn dangerously_allow_type_jwt(mut self, of_access_tokens: AccessTokenClaim) -> Self {
        self.of_access_tokens.push(of_access_tokens);
        self
    }

    /// How far the issuer's clock may be ahead of this one: `nbf` and `iat` may lie that much in the future. Expiry has
    /// none. Default: 5 seconds; at most 5 minutes.
    pub fn clock_skew(mut self, skew: Duration) -> Self {
        self.clock_skew = skew;
        self
    }

    /// After what time keys are fetched again, or up to a tenth earlier. A key that the issuer has removed is used for
    /// that long, and for the cache's `max_ttl`. Default: 5 minutes; at least 1 second.
    pub fn refresh_keys_every(mut self, pause: Duration) -> Self {
        self.refresh_keys_every = pause;
        self
    }

    /// How keys and metadata are fetched. Default: [`Connection::new`].
    pub fn connection(mut self, connection: Connection) -> Self {
        self.link.connection = connection;
        self
    }

    /// How long a fetch may take in all: waiting for its turn and a place, connection, retries, and the last byte.
    /// Default: 3 seconds.
    #[doc(alias = "timeout")]
    pub fn request_timeout(mut self, timeout: Duration) -> Self {
        self.link.request_timeout = timeout;
        self
    }

    /// The clock that judges times. Default: [`SystemClock`](crate::clock::SystemClock).
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.link.clock = Arc::new(clock);
        self
    }

    /// How often keys are fetched at most, and when their server is left alone. Default: [`Limits::new`], with a
    /// [`rate_limit`](Limits::rate_limit) of 60 a minute.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Checks every setting. Fetches nothing.
    ///
    /// # Errors
    /// Names the setting that cannot work: no `audience`, or an empty one; no `keys`; no `algorithms`; a `clock_skew`
    /// or `refresh_keys_every` beyond its bounds; an `issuer` or a `jwks_url` that is no `https` URL (`http` works on
    /// loopback, and with [`dangerously_allow_plain_http`](Connection::dangerously_allow_plain_http)); what
    /// [`Rfc7662Builder::build`](crate::rfc7662::Rfc7662Builder::build) says of a connection and limits.
    pub fn build(self) -> Result<Jwt, BuildError> {
        let reading = self.noted_reading();
        if self.issuer.is_empty() {
            return Err(BuildError::new("issuer", "it is empty; name the issuer exactly as its tokens do in `iss`"));
        }
        if self.audiences.is_empty() {
            let fix = "call it with what names this service in `aud`";
            return Err(BuildError::new("audience", format!("none is set, so tokens for others would come in; {fix}")));
        }
        if self.audiences.iter().any(String::is_empty) {
            return Err(BuildError::new("audience", "an empty one names nobody"));
        }
        if self.algorithms.is_empty() {
            return Err(BuildError::new("algorithms", "none is allowed, so every token would be refused"));
        }
        if self.clock_skew > LONGEST_CLOCK_SKEW {
            return Err(BuildError::new("clock_skew", "it is more than 5 minutes; synchronize the clocks instead"));
        }
        // No issuer has a fragment. Without it fetches of keys would share the rate limit of its introspection
        // endpoint.
        let authority = Authority { url: format!("{}#keys", self.issuer), client: String::new(), reading };
        let clock = Arc::clone(&self.link.clock);
        let refusals = Refusals::of(shown(&self.issuer).into_owned());
        let (keys, handle) =
            self.keys.open(&self.issuer, authority, self.link, &self.limits, self.refresh_keys_every)?;
        let requirements = Requirements {
            issuer: self.issuer,
            audiences: self.audiences,
            clock_skew: self.clock_skew,
            of_access_tokens: self.of_access_tokens,
        };
        Ok(Jwt { requirements, algorithms: self.algorithms, keys, handle, clock, refusals })
    }

    /// Whoever adds a setting decides here whether verdicts differ by it.
    fn noted_reading(&self) -> Reading {
        let Self {
            issuer: _,
            keys,
            audiences,
            algorithms,
            of_access_tokens,
            clock_skew: _,
            refresh_keys_every: _,
            link: _,
            limits: _,
        } = self;
        let mut noted = Reading::default();
        noted.note("jwt", &[]);
        // The order of a list means nothing.
        let sorted = |mut texts: Vec<String>| {
            texts.sort_unstable();
            texts
        };
        sorted(audiences.clone()).iter().for_each(|audience| noted.note("audience", &[audience]));
        let algorithms = sorted(algorithms.iter().map(|algorithm| algorithm.as_str().to_owned()).collect());
        algorithms.iter().for_each(|algorithm| noted.note("algorithm", &[algorithm]));
        let mut claims: Vec<_> = of_access_tokens.iter().map(AccessTokenClaim::parts).collect();
        claims.sort_unstable();
        claims.iter().for_each(|parts| noted.note("dangerously_allow_type_jwt", parts));
        keys.note(&mut noted);
        noted
    }
}

impl fmt::Debug for JwtBuilder {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.debug_struct("JwtBuilder")
            .field("issuer", &shown(&self.issuer))
            .field("audiences", &self.audiences)
            .finish_non_exhaustive()
    }
}
