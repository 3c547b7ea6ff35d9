//! A selection as caches and fleets act on it: without a token.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::token::StatedClaims;

/// What caches know a token by.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Fingerprint {
    /// Which secret it was made with. 0 stands for the secret of a cache that is in no fleet.
    pub(crate) key_id: u64,
    pub(crate) key: [u64; 2],
}

/// A [`Selection`](super::Selection) in which fingerprints stand for the token, one for each secret. A reader must not
/// pass over a field that it does not know, or it could forget less than the writer meant.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rule {
    /// `None` means whatever token it is. An empty list means none.
    pub(crate) fingerprints: Option<Vec<Fingerprint>>,
    pub(crate) conditions: Vec<Condition>,
}

/// The claim that names a session.
pub(super) const SESSION: &str = "sid";

/// The claim that holds an e-mail address, OpenID Connect Core 1.0 section 5.1.
pub(super) const EMAIL: &str = "email";

/// What can hold of the facts of an active token.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum Condition {
    Client(String),
    App(String),
    Subject(String),
    Issuer(String),
    Session(String),
    Claim(String, Value),
    /// In small letters.
    Email(String),
    /// In milliseconds since the Unix epoch.
    IssuedBefore(i64),
    /// The same, and it holds of a token that does not state what it asks for.
    OrUnstated(Box<Self>),
}

impl Condition {
    pub(crate) fn email(address: &str) -> Self {
        Self::Email(address.to_ascii_lowercase())
    }

    pub(crate) fn or_unstated(self) -> Self {
        match self {
            Self::IssuedBefore(_) | Self::OrUnstated(_) => self,
            other => Self::OrUnstated(Box::new(other)),
        }
    }

    fn holds(&self, stated: &StatedClaims) -> bool {
        let facts = stated.token();
        match self {
            Self::Client(id) => facts.client_id() == Some(id),
            Self::App(name) => facts.app() == Some(name) || facts.app_id() == Some(name),
            Self::Subject(subject) => facts.subject() == Some(subject),
            Self::Issuer(issuer) => facts.issuer() == Some(issuer),
            Self::Session(session) => stated.is_text(SESSION, session),
            Self::Claim(name, Value::String(text)) => stated.is_text(name, text),
            Self::Claim(name, value) => stated.claim(name).as_ref() == Some(value),
            Self::Email(address) => stated.claim(EMAIL).as_ref().and_then(Value::as_str).is_some_and(|stated| {
                // The part before the `@` may tell apart what differs in case. No provider is known that does.
                stated.eq_ignore_ascii_case(address)
            }),
            // One that does not say when it was issued may have been.
            Self::IssuedBefore(millis) => facts.issued_at().is_none_or(|issued| issued.as_unix_millis() < *millis),
            Self::OrUnstated(condition) => !condition.is_about(stated) || condition.holds(stated),
        }
    }

    /// Whether the token states what this asks for.
    fn is_about(&self, stated: &StatedClaims) -> bool {
        let facts = stated.token();
        match self {
            Self::Client(_) => facts.client_id().is_some(),
            Self::App(_) => facts.app().is_some() || facts.app_id().is_some(),
            Self::Subject(_) => facts.subject().is_some(),
            Self::Issuer(_) => facts.issuer().is_some(),
            Self::Session(_) => stated.states(SESSION),
            Self::Claim(name, _) => stated.states(name),
            Self::Email(_) => stated.states(EMAIL),
            Self::IssuedBefore(_) | Self::OrUnstated(_) => true,
        }
    }

    /// Its value may be about a person, so it is not shown.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Client(_) => "client",
            Self::App(_) => "app",
            Self::Subject(_) => "subject",
            Self::Issuer(_) => "issuer",
            Self::Session(_) => "session",
            Self::Claim(..) => "claim",
            Self::Email(_) => "email",
            Self::IssuedBefore(_) => "issued_before",
            Self::OrUnstated(condition) => condition.name(),
        }
    }
}

impl Rule {
    /// Everything.
    #[cfg(feature = "redis")]
    pub(crate) fn all() -> Self {
        Self { fingerprints: None, conditions: Vec::new() }
    }

    /// One token.
    #[cfg(feature = "redis")]
    pub(crate) fn of_token(fingerprints: Vec<Fingerprint>) -> Self {
        Self { fingerprints: Some(fingerprints), conditions: Vec::new() }
    }

    /// Whether an active token is meant, which a cache with the secret `key_id` knows by `key`.
    #[cfg(any(test, feature = "redis"))]
    pub(crate) fn matches(&self, key_id: u64, key: [u64; 2], stated: &StatedClaims) -> bool {
        self.names(key_id, key) && self.holds(stated)
    }

    /// Whether this token is meant as far as its fingerprint tells, whatever its facts are.
    #[cfg(any(test, feature = "redis"))]
    pub(crate) fn names(&self, key_id: u64, key: [u64; 2]) -> bool {
        let Some(fingerprints) = &self.fingerprints else { return true };
        fingerprints.contains(&Fingerprint { key_id, key })
    }

    /// Whether all conditions hold.
    pub(crate) fn holds(&self, stated: &StatedClaims) -> bool {
        self.conditions.iter().all(|condition| condition.holds(stated))
    }

    /// The key of the one token that is meant, in caches with this secret.
    pub(crate) fn token(&self, key_id: u64) -> Option<[u64; 2]> {
        let fingerprint = self.fingerprints.as_ref()?.iter().find(|fingerprint| fingerprint.key_id == key_id)?;
        Some(fingerprint.key)
    }

    /// The key of what was signed in the one token that is meant, or of the whole token if it has no such part, in
    /// caches with this secret; else in caches with another.
    pub(crate) fn unsigned_of_any(&self, key_id: u64) -> Option<[u64; 2]> {
        let fingerprints = self.fingerprints.as_ref()?;
        let of_secret = fingerprints.iter().rev().find(|fingerprint| fingerprint.key_id == key_id);
        Some(of_secret.or(fingerprints.last())?.key)
    }

    /// The rule without the conditions that say when a token was issued, and before which moment it has to have been by
    /// all of them.
    pub(crate) fn whenever_issued(&self) -> (Self, Option<i64>) {
        let mut conditions = Vec::with_capacity(self.conditions.len());
        let mut before = None;
        for condition in &self.conditions {
            match condition {
                Condition::IssuedBefore(millis) => {
                    before = Some(before.map_or(*millis, |other: i64| other.min(*millis)));
                }
                other => conditions.push(other.clone()),
            }
        }
        (Self { fingerprints: self.fingerprints.clone(), conditions }, before)
    }

    /// Whether tokens are told by their facts alone, if by anything.
    pub(crate) fn is_of_any_token(&self) -> bool {
        self.fingerprints.is_none()
    }

    /// Whether it is one token whatever its facts are: then what is known of it is meant if it is not active, too.
    pub(crate) fn is_one_token(&self) -> bool {
        self.fingerprints.as_ref().is_some_and(|fingerprints| !fingerprints.is_empty()) && self.conditions.is_empty()
    }

    /// Whether everything is meant, what is not active too.
    pub(crate) fn is_all(&self) -> bool {
        self.fingerprints.is_none() && self.conditions.is_empty()
    }
}
