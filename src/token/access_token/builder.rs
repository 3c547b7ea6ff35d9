//! Making an [`AccessToken`].

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::Serialize;
use serde_json::Value;

use super::{AccessToken, Facts};
use crate::build_error::BuildError;
use crate::clock::Timestamp;
use crate::token::Scopes;
use crate::token::claims::Claims;
use crate::token::packed::Row;

/// States the facts of an [`AccessToken`]. Made by [`AccessToken::builder`]; nothing is required.
///
/// ```
/// use std::time::Duration;
/// use tower_introspection::{AccessToken, Scopes};
/// use tower_introspection::clock::Timestamp;
///
/// let token = AccessToken::builder()
///     .client_id("weather-app")
///     .scopes(Scopes::parse("read write"))
///     .attribute("tier", "gold")
///     .expires_at(Timestamp::now() + Duration::from_secs(1_800))
///     .build();
/// assert_eq!(token.attribute("tier"), Some("gold"));
/// ```
#[derive(Clone, Default)]
#[must_use]
pub struct AccessTokenBuilder {
    /// All but the texts.
    facts: Facts,
    pub(crate) client_id: Option<String>,
    app: Option<String>,
    app_id: Option<String>,
    api_products: Option<Vec<String>>,
    attributes: BTreeMap<String, String>,
    grant_type: Option<String>,
    pub(crate) subject: Option<String>,
    pub(crate) username: Option<String>,
    audience: Vec<String>,
    pub(crate) issuer: Option<String>,
    pub(crate) token_id: Option<String>,
    claims: BTreeMap<Box<str>, Value>,
}

/// RFC 7662 section 2.2.
pub(super) const HAVE_A_SETTING: [&str; 11] =
    ["active", "scope", "client_id", "username", "exp", "iat", "nbf", "sub", "aud", "iss", "jti"];

macro_rules! text_members {
    ($($(#[$doc:meta])* $member:ident;)*) => {$(
        $(#[$doc])*
        pub fn $member(mut self, value: impl Into<String>) -> Self {
            self.$member = Some(value.into());
            self
        }
    )*};
}

impl AccessTokenBuilder {
    text_members! {
        /// See [`AccessToken::client_id`].
        client_id;
        /// See [`AccessToken::app`].
        app;
        /// See [`AccessToken::app_id`].
        app_id;
        /// See [`AccessToken::grant_type`].
        grant_type;
        /// See [`AccessToken::subject`].
        subject;
        /// See [`AccessToken::username`].
        username;
        /// See [`AccessToken::issuer`].
        issuer;
        /// See [`AccessToken::token_id`].
        token_id;
    }

    /// See [`AccessToken::api_products`]. Not calling this leaves them unknown.
    pub fn api_products<P: Into<String>>(mut self, products: impl IntoIterator<Item = P>) -> Self {
        self.api_products = Some(products.into_iter().map(Into::into).collect());
        self
    }

    /// See [`AccessToken::scopes`].
    pub fn scopes(mut self, scopes: Scopes) -> Self {
        self.facts.scopes = scopes;
        self
    }

    /// Adds a custom attribute, or replaces the one of that name. See [`AccessToken::attribute`].
    pub fn attribute(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.attributes.insert(name.into(), value.into());
        self
    }

    /// See [`AccessToken::is_stale`]. For tests of what a handler does in an outage.
    pub fn stale(mut self, stale: bool) -> Self {
        self.facts.stale = stale;
        self
    }

    /// See [`AccessToken::issued_at`].
    pub fn issued_at(mut self, issued_at: Timestamp) -> Self {
        self.facts.issued_at = Some(issued_at);
        self
    }

    /// See [`AccessToken::not_before`].
    pub fn not_before(mut self, not_before: Timestamp) -> Self {
        self.facts.not_before = Some(not_before);
        self
    }

    /// See [`AccessToken::expires_at`]. Not calling this makes a token without expiry, which a cache still asks about
    /// again after its `max_ttl`.
    pub fn expires_at(mut self, expires_at: Timestamp) -> Self {
        self.facts.expires_at = Some(expires_at);
        self
    }

    /// See [`AccessToken::audience`].
    pub fn audience<A: Into<String>>(mut self, audience: impl IntoIterator<Item = A>) -> Self {
        self.audience = audience.into_iter().map(Into::into).collect();
        self
    }

    /// Adds a further member of the answer. See [`AccessToken::claim`]. One by the name of a fact that was stated, such
    /// as `app`, is hidden by it.
    ///
    /// # Errors
    /// If the name is that of a fact with a setting of its own, such as `sub`; if `value` has no form in JSON, such as
    /// a map whose keys are not strings, or one that is nested too deeply to be read back (about 125 levels).
    pub fn claim(self, name: impl Into<String>, value: impl Serialize) -> Result<Self, BuildError> {
        let name = name.into();
        if HAVE_A_SETTING.contains(&name.as_str()) {
            return Err(BuildError::new("claim", format!("{name:?} has a setting of its own, or is no claim")));
        }
        let value = Self::claim_as_json(&name, value)?;
        if !Claims::can_hold(&value) {
            return Err(BuildError::new("claim", format!("the value of {name:?} is nested too deeply")));
        }
        Ok(self.claim_value(&name, value))
    }

    pub(crate) fn claim_as_json(name: &str, value: impl Serialize) -> Result<Value, BuildError> {
        serde_json::to_value(value)
            .map_err(|_| BuildError::new("claim", format!("the value of {name:?} has no form in JSON")))
    }

    pub(crate) fn claim_value(mut self, name: &str, value: Value) -> Self {
        self.insert_claim(name, value);
        self
    }

    /// The same, of a claim by any name.
    pub(crate) fn insert_claim(&mut self, name: impl Into<Box<str>>, value: Value) {
        let name = name.into();
        if &*name == "cnf" {
            self.facts.sender_constrained = !value.is_null();
        }
        self.claims.insert(name, value);
    }

    /// The token with these facts.
    #[must_use]
    pub fn build(self) -> AccessToken {
        let texts = self.texts(&Claims::text_of(&self.claims));
        AccessToken(Arc::new(Facts { texts, ..self.facts }))
    }

    /// The texts, packed, with this text of the claims.
    pub(super) fn texts(&self, claims: &str) -> Box<[u8]> {
        let products = self.api_products.as_ref().map(|products| products.iter().map(String::as_str).collect::<Row>());
        let attributes = self.attributes.iter().flat_map(|(name, value)| [name.as_str(), value.as_str()]);
        // In the order of `Member`.
        let mut row = Row::with_room_for(claims.len() + 256);
        row.push_row(&self.audience.iter().map(String::as_str).collect());
        row.push_optional(self.issuer.as_deref());
        row.push_optional(self.client_id.as_deref());
        row.push_optional_row(products.as_ref());
        row.push_optional(self.subject.as_deref());
        row.push_optional(self.username.as_deref());
        row.push_optional(self.app.as_deref());
        row.push_optional(self.app_id.as_deref());
        row.push_optional(self.grant_type.as_deref());
        row.push_optional(self.token_id.as_deref());
        row.push_row(&attributes.collect());
        row.push(claims);
        row.into_bytes()
    }

    /// With the texts that the accessors of `token` tell, but its claims.
    #[cfg(feature = "redis")]
    pub(super) fn with_texts_of(token: &AccessToken) -> Self {
        let text = |text: Option<&str>| text.map(str::to_owned);
        Self {
            client_id: text(token.client_id()),
            app: text(token.app()),
            app_id: text(token.app_id()),
            api_products: token.api_products().map(|products| products.map(str::to_owned).collect()),
            attributes: token.attributes().map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
            grant_type: text(token.grant_type()),
            subject: text(token.subject()),
            username: text(token.username()),
            audience: token.audience().map(str::to_owned).collect(),
            issuer: text(token.issuer()),
            token_id: text(token.token_id()),
            ..Self::default()
        }
    }
}

impl fmt::Debug for AccessTokenBuilder {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.debug_tuple("AccessTokenBuilder").field(&self.clone().build()).finish()
    }
}
