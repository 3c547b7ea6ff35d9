//! The facts about an active token.

use std::fmt;
use std::sync::Arc;

use serde::de::DeserializeOwned;

use super::Scopes;
use super::claims::Claims;
use super::packed::Packed;
use crate::clock::Timestamp;

mod builder;
#[cfg(feature = "redis")]
mod bytes;
mod json;
mod login;
mod remembered;
mod stated;

pub use self::builder::AccessTokenBuilder;
pub use self::json::ClaimsError;
pub(crate) use self::login::Login;
pub(crate) use self::remembered::Term;
use self::remembered::{RefreshAt, Uses};
pub(crate) use self::stated::StatedClaims;

/// What an authority states about an active access token.
///
/// The layer puts it into the extensions of every request it lets through. Cloning it copies a pointer. It holds facts
/// only: not the token, not a refresh token, and not what a route requires. (Out of reach, it also holds what a cache
/// notes, the token's keyed fingerprint among it.)
///
/// Each member is `None` (or empty) when the authority did not state it.
///
/// It serializes to one JSON object, and is read back from it: under the names of RFC 7662 and RFC 7519 `scope` (one
/// string), `client_id`, `username`, `sub`, `aud`, `iss`, `jti`, and `exp`, `iat` and `nbf` in seconds since the Unix
/// epoch (with a fraction if there is one); what Apigee states as `app`, `app_id`, `api_products`, `attributes` and
/// `grant_type`; and every further claim beside them. What was not stated is left out, and so is whether it is stale.
/// What is refused when it is read back is told at its `Deserialize`. Think of who will read that: with Apigee the
/// client's identifier is an API key, and attributes and claims may be personal.
///
/// ```
/// use tower_introspection::AccessToken;
///
/// fn handler(request: &http::Request<()>) -> Option<&str> {
///     request.extensions().get::<AccessToken>()?.client_id()
/// }
///
/// let mut request = http::Request::new(());
/// request.extensions_mut().insert(AccessToken::builder().client_id("weather-app").build());
/// assert_eq!(handler(&request), Some("weather-app"));
/// ```
#[derive(Clone)]
pub struct AccessToken(Arc<Facts>);

/// In this order in memory: what every request asks for stands beside the reference count, in two lines of the
/// processor's cache, and both are touched before the count is.
#[derive(Clone, Default)]
#[repr(C)]
struct Facts {
    term: Term,
    scopes: Scopes,
    refresh_at: RefreshAt,
    sender_constrained: bool,
    stale: bool,
    uses: Uses,
    issued_at: Option<Timestamp>,
    not_before: Option<Timestamp>,
    expires_at: Option<Timestamp>,
    /// Everything else, in the order of [`Member`].
    texts: Box<[u8]>,
    /// The number of the entry, if a cache keeps it.
    number: u64,
}

/// The place of a fact among the texts. Those that policies ask for come first.
#[derive(Clone, Copy)]
enum Member {
    Audience,
    Issuer,
    ClientId,
    ApiProducts,
    Subject,
    Username,
    App,
    AppId,
    GrantType,
    TokenId,
    Attributes,
    Claims,
}

impl Facts {
    fn text(&self, member: Member) -> Option<&str> {
        Packed(&self.texts).nth(member as usize)?
    }

    fn row(&self, member: Member) -> Option<Packed<'_>> {
        let mut texts = Packed(&self.texts);
        if let Some(before) = (member as usize).checked_sub(1) {
            texts.nth(before)?;
        }
        texts.next_row()
    }

    fn claims(&self) -> Claims<'_> {
        Claims(self.text(Member::Claims).unwrap_or_default())
    }
}

impl AccessToken {
    /// The same facts, with this expiry.
    #[cfg(feature = "jwt")]
    pub(crate) fn ending_at(&self, expires_at: Option<Timestamp>) -> Self {
        Self(Arc::new(Facts { expires_at, ..(*self.0).clone() }))
    }
}

impl AccessToken {
    /// Starts with no facts at all. For introspectors of your own and for tests.
    pub fn builder() -> AccessTokenBuilder {
        AccessTokenBuilder::default()
    }

    /// The client the token was issued to: Apigee `clientId` (the API key), RFC 7662 `client_id`.
    #[must_use]
    pub fn client_id(&self) -> Option<&str> {
        self.0.text(Member::ClientId)
    }

    /// The developer app, by name or UUID as the organisation has it: Apigee `app`.
    #[must_use]
    pub fn app(&self) -> Option<&str> {
        self.0.text(Member::App)
    }

    /// The developer app's UUID: Apigee `appId`.
    #[must_use]
    pub fn app_id(&self) -> Option<&str> {
        self.0.text(Member::AppId)
    }

    /// The API products the token may use: Apigee `apiProducts`. `None` means the authority did not say, which is not
    /// the same as none.
    #[must_use]
    pub fn api_products(&self) -> Option<impl Iterator<Item = &str>> {
        self.0.row(Member::ApiProducts).map(Packed::texts)
    }

    /// The scopes granted.
    #[must_use]
    pub fn scopes(&self) -> &Scopes {
        &self.0.scopes
    }

    /// A custom attribute of the token: Apigee `attributes`. Of two with one name the authority's last one counts.
    #[must_use]
    pub fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes().find_map(|(named, value)| (named == name).then_some(value))
    }

    /// All custom attributes, sorted by name.
    pub fn attributes(&self) -> impl Iterator<Item = (&str, &str)> {
        let mut texts = self.0.row(Member::Attributes).into_iter().flat_map(Packed::texts);
        std::iter::from_fn(move || Some((texts.next()?, texts.next()?)))
    }

    /// The grant the token was obtained by: Apigee `grantType`, such as `client_credentials`.
    #[must_use]
    pub fn grant_type(&self) -> Option<&str> {
        self.0.text(Member::GrantType)
    }

    /// When the token was issued: Apigee `issuedAt`, RFC 7662 `iat`.
    #[must_use]
    pub fn issued_at(&self) -> Option<Timestamp> {
        self.0.issued_at
    }

    /// The first moment at which the token is alive: RFC 7662 `nbf`.
    #[must_use]
    pub fn not_before(&self) -> Option<Timestamp> {
        self.0.not_before
    }

    /// The first moment at which the token is dead: Apigee `expiresAt`, RFC 7662 `exp`. `None` for a token without
    /// expiry.
    #[must_use]
    pub fn expires_at(&self) -> Option<Timestamp> {
        self.0.expires_at
    }

    /// Whether the token is dead at `now`. The bound is exclusive: at `expires_at` itself it is.
    #[must_use]
    pub fn is_expired_at(&self, now: Timestamp) -> bool {
        self.0.expires_at.is_some_and(|expires_at| now >= expires_at)
    }

    /// Whom the token speaks for: RFC 7662 `sub`.
    #[must_use]
    pub fn subject(&self) -> Option<&str> {
        self.0.text(Member::Subject)
    }

    /// A human-readable name of the resource owner: RFC 7662 `username`.
    #[must_use]
    pub fn username(&self) -> Option<&str> {
        self.0.text(Member::Username)
    }

    /// Whom the token is meant for: RFC 7662 `aud`.
    pub fn audience(&self) -> impl Iterator<Item = &str> {
        self.0.row(Member::Audience).into_iter().flat_map(Packed::texts)
    }

    /// Who issued the token: RFC 7662 `iss`.
    #[must_use]
    pub fn issuer(&self) -> Option<&str> {
        self.0.text(Member::Issuer)
    }

    /// The token's own identifier, which is not the token: RFC 7662 `jti`.
    #[must_use]
    pub fn token_id(&self) -> Option<&str> {
        self.0.text(Member::TokenId)
    }

    /// One of the [`claims`](Self::claims), by its name there: what has an accessor of its own (`sub`, `client_id`,
    /// `scope` as one string, `exp` in seconds), or any further member of the answer, by its name on the wire. `None`
    /// if it is absent or not a `T`: a rule must not take that for a harmless value. Ask for a `serde_json::Value` to
    /// tell the two apart.
    ///
    /// Of Apigee's answer `createdBy`, `createdAt`, `lastModifiedBy`, `lastModifiedAt` and `refreshCount` are further
    /// members.
    ///
    /// ```
    /// use tower_introspection::AccessToken;
    ///
    /// let token = AccessToken::builder().subject("ann").claim("refreshCount", 3)?.build();
    /// assert_eq!(token.claim::<String>("sub").as_deref(), Some("ann"));
    /// assert_eq!(token.claim::<u64>("refreshCount"), Some(3));
    /// assert_eq!(token.claim::<String>("refreshCount"), None);
    /// # Ok::<(), tower_introspection::BuildError>(())
    /// ```
    #[must_use]
    pub fn claim<T: DeserializeOwned>(&self, name: &str) -> Option<T> {
        serde_json::from_value(self.any_claim(name)?).ok()
    }

    /// Whether the authority could not be asked again in time, and this is its last answer, served on because
    /// [`stale_if_error`](crate::cache::CachedBuilder::stale_if_error) allows it. A handler may refuse the dangerous
    /// operations then.
    #[must_use]
    pub fn is_stale(&self) -> bool {
        self.0.stale
    }

    /// A copy that says so. Copying all of it costs, but only in an outage, while a flag beside the pointer would cost
    /// every request.
    pub(crate) fn stale(&self) -> Self {
        Self(Arc::new(Facts { stale: true, ..(*self.0).clone() }))
    }

    /// Whether the token is bound to a key of its holder (`cnf`, RFC 7800): then it must not be accepted as a plain
    /// bearer token (RFC 8705, RFC 9449).
    #[must_use]
    pub fn is_sender_constrained(&self) -> bool {
        self.0.sender_constrained
    }

    /// Whether it is a clone of this one, and not only equal to it.
    #[cfg(any(feature = "certificate-bound", feature = "dpop"))]
    pub(crate) fn is_the_same_as(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

/// Names of attributes and claims are shown, their values are not: they may be personal. Nor is the client's identifier
/// shown: with Apigee it is an API key, which may open doors by itself.
impl fmt::Debug for AccessToken {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.debug_struct("AccessToken")
            .field("app", &self.app())
            .field("scopes", &self.0.scopes)
            .field("issued_at", &self.0.issued_at)
            .field("expires_at", &self.0.expires_at)
            .field("attributes", &self.attributes().map(|(name, _)| name).collect::<Vec<_>>())
            .field("claims", &self.0.claims().names())
            .field("stale", &self.0.stale)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
