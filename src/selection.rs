//! Which tokens are to be forgotten, as data: a value that can be compared, sent and stored, as a closure cannot.



use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::build_error::BuildError;
use crate::clock::Timestamp;
use crate::token::{AccessToken, BearerToken};

/// Which tokens are meant: all of which everything holds that it says. Given to
/// [`CacheHandle::invalidate`](crate::CacheHandle::invalidate).
///
/// ```
/// use tower_introspection::cache::Selection;
/// use tower_introspection::clock::Timestamp;
///
/// // One user of one issuer has changed the password.
/// let selection = Selection::subject("ann")
///     .and(Selection::issuer("https://auth.example.com"))
///     .and(Selection::issued_before(Timestamp::now()));
/// ```
#[derive(Clone)]
#[must_use]
pub struct Selection {
    token: Option<BearerToken<'static>>,
    /// Two tokens at once, which none is.
    is_none: bool,
    conditions: Vec<Condition>,
}

/// What can hold of the facts of an active token.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum Condition {
    Client(String),
    App(String),
    Subject(String),
    Issuer(String),
    Session(String),
    Claim(String, Value),
    /// In milliseconds since the Unix epoch.
    IssuedBefore(i64),
}

/// A selection as it is sent: of a token only its fingerprints are told.
#[cfg(feature = "redis")]
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rule {
    /// Of any token if there are none.
    pub(crate) fingerprints: Option<Vec<Fingerprint>>,
    pub(crate) conditions: Vec<Condition>,
}

/// What a token is known by to those who share a secret.
#[cfg(feature = "redis")]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Fingerprint {
    /// Of the secret that it was made with.
    pub(crate) key_id: u64,
    pub(crate) key: [u64; 2],
}

impl Condition {
    pub(crate) fn holds(&self, facts: &AccessToken) -> bool {
        match self {
            Self::Client(id) => facts.client_id() == Some(id),
            Self::App(name) => facts.app() == Some(name) || facts.app_id() == Some(name),
            Self::Subject(subject) => facts.subject() == Some(subject),
            Self::Issuer(issuer) => facts.issuer() == Some(issuer),
            Self::Session(session) => facts.claim::<String>("sid").as_ref() == Some(session),
            Self::Claim(name, value) => facts.claim::<Value>(name).as_ref() == Some(value),
            // One that does not say when it was issued may have been.
            Self::IssuedBefore(millis) => facts.issued_at().is_none_or(|issued| issued.as_unix_millis() < *millis),
        }
    }
}

impl Selection {
    /// All tokens.
    pub fn all() -> Self {
        Self { token: None, is_none: false, conditions: Vec::new() }
    }

    /// This token, whatever is known of it.
    pub fn token(token: &BearerToken<'_>) -> Self {
        Self { token: Some(token.clone().into_owned()), ..Self::all() }
    }

    /// The tokens of one client: [`AccessToken::client_id`].
    pub fn client(id: impl Into<String>) -> Self {
        Self::of(Condition::Client(id.into()))
    }

    /// The tokens of one developer app: [`AccessToken::app`] or [`AccessToken::app_id`].
    pub fn app(name_or_id: impl Into<String>) -> Self {
        Self::of(Condition::App(name_or_id.into()))
    }

    /// The tokens that speak for one subject: [`AccessToken::subject`]. A subject is unique to its issuer only: with
    /// several, add [`issuer`](Self::issuer).
    pub fn subject(subject: impl Into<String>) -> Self {
        Self::of(Condition::Subject(subject.into()))
    }

    /// The tokens of one issuer: [`AccessToken::issuer`].
    pub fn issuer(issuer: impl Into<String>) -> Self {
        Self::of(Condition::Issuer(issuer.into()))
    }

    /// The tokens of one login session: the claim `sid`, OpenID Connect Front-Channel Logout 1.0 section 3.
    pub fn session(session: impl Into<String>) -> Self {
        Self::of(Condition::Session(session.into()))
    }

    /// The tokens of which a [`claim`](AccessToken::claim) is this very value.
    ///
    /// # Errors
    /// If `value` cannot be written as JSON. The error names `claim`.
    pub fn claim(name: impl Into<String>, value: impl Serialize) -> Result<Self, BuildError> {
        let value = serde_json::to_value(value).map_err(|error| BuildError::new("claim", error.to_string()))?;
        Ok(Self::of(Condition::Claim(name.into(), value)))
    }

    /// The tokens that were issued before `moment`, and those that do not say when they were.
    pub fn issued_before(moment: Timestamp) -> Self {
        Self::of(Condition::IssuedBefore(moment.as_unix_millis()))
    }

    /// The tokens that are meant by both.
    pub fn and(mut self, other: Self) -> Self {
        self.is_none |= other.is_none;
        match (&self.token, other.token) {
            (Some(one), Some(another)) => self.is_none |= one.as_bytes() != another.as_bytes(),
            (None, token) => self.token = token,
            (Some(_), None) => {}
        }
        self.conditions.extend(other.conditions);
        self
    }

    fn of(condition: Condition) -> Self {
        Self { conditions: vec![condition], ..Self::all() }
    }
}

impl From<&BearerToken<'_>> for Selection {
    fn from(token: &BearerToken<'_>) -> Self {
        Self::token(token)
    }
}
