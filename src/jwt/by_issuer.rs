//! Tokens of several issuers, and of both kinds, behind one layer.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use crate::build_error::BuildError;
use crate::error::IntrospectError;
#[cfg(feature = "dpop")]
use crate::introspect::ProofMemory;
use crate::introspect::{AnyIntrospector, Ask, InactiveReason, Introspect, Verdict};
use crate::jose::{self, Unverified};
use crate::json;
use crate::log_limit::LogLimit;
use crate::token::BearerToken;

/// Chooses who judges a token by the issuer that it names: each JWT goes to the introspector of its issuer, and
/// everything else to one introspector for opaque tokens.
///
/// ```
/// use tower_introspection::jwt::ByIssuer;
/// use tower_introspection::{Cached, IntrospectionLayer, Jwt, Rfc7662};
///
/// # fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let (staff, partners) = ("https://auth.example.com", "https://partner.example");
/// let jwt = |issuer: &str| Jwt::discover(issuer).audience("https://api.example.com").build();
/// let opaque = Rfc7662::discover(staff).client_secret("my-api", "secret").build()?;
/// let tokens = ByIssuer::builder()
///     .issuer(staff, Cached::builder(jwt(staff)?).name("staff").build()?)
///     .issuer(partners, Cached::builder(jwt(partners)?).name("partners").build()?)
///     .opaque(Cached::builder(opaque).name("opaque").build()?)
///     .build()?;
/// let layer = IntrospectionLayer::new(tokens);
/// # Ok(()) }
/// ```
///
/// A token names its issuer before anything of it is verified. So only issuers that were added count, to the letter,
/// and the one that is named alone judges it: none is tried after another. **Each has to judge tokens of its issuer
/// only**, as a [`Jwt`](crate::Jwt) of that issuer does, or a [`Hybrid`](super::Hybrid).
///
/// What begins with the base64url of a JSON object and a dot looks like a JWT. If it has not exactly three parts, or
/// names no issuer (`iss`) that can be read, or one that was not added, it is refused as
/// [`Unverified`](InactiveReason::Unverified), and nobody is asked: it would be shown to somebody whom its holder did
/// not mean, or to a reader that is less strict. Everything else is opaque, encrypted tokens (RFC 7516) included, and
/// refused in the same way if there is no introspector for it.
///
/// Give each its own [`Cached`](crate::Cached), with a name: figures, limits and invalidations are then those of one
/// issuer, and in a [fleet](crate::guide::fleet) those who share answers require the same of tokens. (A cache around
/// all of them does not tell whose answers it shares.) A hit looks into the cache of each issuer, in the order in which
/// they were added, and reads nothing of the token.
#[derive(Clone)]
pub struct ByIssuer(Arc<Introspectors>);

struct Introspectors {
    by_issuer: Vec<(String, AnyIntrospector)>,
    opaque: Option<AnyIntrospector>,
    told: LogLimit<&'static str>,
}

/// Names the issuers of a [`ByIssuer`]. Made by [`ByIssuer::builder`].
#[must_use]
pub struct ByIssuerBuilder {
    by_issuer: Vec<(String, AnyIntrospector)>,
    opaque: Option<AnyIntrospector>,
}

impl ByIssuer {
    /// Starts without an issuer.
    pub fn builder() -> ByIssuerBuilder {
        ByIssuerBuilder { by_issuer: Vec::new(), opaque: None }
    }

    /// Who judges the token.
    ///
    /// # Errors
    /// If nobody does.
    fn choose(&self, token: &BearerToken) -> Result<&AnyIntrospector, InactiveReason> {
        let (chosen, cause) = match kind(token) {
            Kind::Of(issuer) => {
                let of_issuer = self.0.by_issuer.iter().find(|(name, _)| *name == issuer);
                (of_issuer.map(|(_, introspector)| introspector), "it is of an issuer that was not added (`issuer`)")
            }
            Kind::OfNobody => (None, "it looks like a JWT, and names no issuer that can be read"),
            Kind::Opaque => (self.0.opaque.as_ref(), "it is no JWT, and opaque tokens are not judged (`opaque`)"),
        };
        chosen.ok_or_else(|| {
            const TOLD: &str = "a token is of nobody whose tokens are judged here, so it is refused";
            match self.0.told.due(cause) {
                Some(untold) => tracing::info!(cause, untold, "{TOLD}"),
                None => tracing::debug!(cause, "{TOLD}"),
            }
            InactiveReason::Unverified
        })
    }
}

/// Whose token it is, as it says itself. Nothing of it is verified.
enum Kind {
    Of(String),
    /// It looks like a JWT. Whoever reads it in another way may find in it what the issuer's own introspector refuses,
    /// so nobody else is to see it.
    OfNobody,
    Opaque,
}

fn kind(token: &BearerToken) -> Kind {
    let payload = match jose::unverified(token.expose()) {
        Some(Unverified::Signed(payload)) => payload,
        Some(Unverified::Neither) => return Kind::OfNobody,
        Some(Unverified::Encrypted) | None => return Kind::Opaque,
    };
    match json::parse(&payload, &["iss"]).ok().and_then(|mut members| members.remove("iss")) {
        Some(Value::String(issuer)) => Kind::Of(issuer),
        _ => Kind::OfNobody,
    }
}

impl Introspect for ByIssuer {
    /// Only whoever judges a token remembers it, so that nobody else has an answer at hand.
    fn cached(&self, token: &BearerToken<'_>) -> Option<Verdict> {
        let is_like_a_jwt = token.expose().starts_with("eyJ");
        let by_issuer = self.0.by_issuer.iter().map(|(_, introspector)| introspector).filter(|_| is_like_a_jwt);
        by_issuer.chain(&self.0.opaque).find_map(|introspector| introspector.cached(token))
    }

    async fn introspect(&self, ask: Ask<'_>) -> Result<Verdict, IntrospectError> {
        match self.choose(ask.token()) {
            Ok(introspector) => introspector.introspect(ask).await,
            Err(reason) => Ok(Verdict::Inactive(reason)),
        }
    }

    /// Whether any of them does.
    fn wants_cache(&self) -> bool {
        let mut all = self.0.by_issuer.iter().map(|(_, introspector)| introspector).chain(&self.0.opaque);
        all.any(Introspect::wants_cache)
    }

    /// If any of them does.
    fn judges_alone(&self) -> Option<Duration> {
        let all = self.0.by_issuer.iter().map(|(_, introspector)| introspector).chain(&self.0.opaque);
        all.filter_map(Introspect::judges_alone).max()
    }

    /// That of any that has one: the processes of a service have one fleet.
    #[cfg(feature = "dpop")]
    fn proof_memory(&self) -> Option<ProofMemory> {
        let mut all = self.0.by_issuer.iter().map(|(_, introspector)| introspector).chain(&self.0.opaque);
        all.find_map(Introspect::proof_memory)
    }
}

impl ByIssuerBuilder {
    /// Has `introspector` judge the JWTs that name this issuer, exactly as they name it in `iss`.
    pub fn issuer(mut self, issuer: impl Into<String>, introspector: impl Introspect) -> Self {
        self.by_issuer.push((issuer.into(), AnyIntrospector::new(introspector)));
        self
    }

    /// Has `introspector` judge everything that is no JWT. Default: that is refused.
    pub fn opaque(mut self, introspector: impl Introspect) -> Self {
        self.opaque = Some(AnyIntrospector::new(introspector));
        self
    }

    /// Checks the issuers.
    ///
    /// # Errors
    /// If there is no issuer, an empty one, or one twice. The error names `issuer`.
    pub fn build(self) -> Result<ByIssuer, BuildError> {
        let issuers = || self.by_issuer.iter().map(|(issuer, _)| issuer.as_str());
        if issuers().next().is_none() {
            return Err(BuildError::new("issuer", "none was added, so every JWT would be refused"));
        }
        if issuers().any(str::is_empty) {
            return Err(BuildError::new("issuer", "it is empty; name the issuer exactly as its tokens do in `iss`"));
        }
        if let Some((_, twice)) = issuers().enumerate().find(|(n, issuer)| issuers().take(*n).any(|one| one == *issuer))
        {
            return Err(BuildError::new("issuer", format!("{twice:?} was added twice")));
        }
        let Self { by_issuer, opaque } = self;
        Ok(ByIssuer(Arc::new(Introspectors { by_issuer, opaque, told: LogLimit::new() })))
    }
}

impl fmt::Debug for ByIssuer {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.debug_tuple("ByIssuer").field(&names(&self.0.by_issuer)).finish()
    }
}

impl fmt::Debug for ByIssuerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.debug_tuple("ByIssuerBuilder").field(&names(&self.by_issuer)).finish()
    }
}

fn names(by_issuer: &[(String, AnyIntrospector)]) -> Vec<&str> {
    by_issuer.iter().map(|(issuer, _)| issuer.as_str()).collect()
}
