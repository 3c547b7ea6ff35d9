//! Which tokens are to be forgotten, as data: a value that can be compared, sent and stored, as a closure cannot.
//!
//! A [`Selection`] is what an application states. A [`Rule`] is made of it, with what caches know the token by in its
//! place. Caches forget by rules, and only rules leave the process.

use std::fmt;

use serde::Serialize;
use serde_json::Value;

use crate::build_error::BuildError;
use crate::clock::Timestamp;
use crate::token::{AccessTokenBuilder, BearerToken};

mod rule;
mod rules;
mod weight;

#[cfg(feature = "redis")]
pub(crate) use rule::Condition;
#[cfg(not(feature = "redis"))]
use rule::Condition;
pub(crate) use rule::{Fingerprint, Rule};
pub(crate) use rules::Rules;

/// Which tokens are meant: all of which everything holds that it says. Given to
/// [`CacheHandle::invalidate`](crate::CacheHandle::invalidate).
///
/// A token of which the authority did not say what is asked for is not meant. Only
/// [`issued_before`](Self::issued_before), and whatever is asked for [`or_unstated`](Self::or_unstated), go the other
/// way. `Debug` shows the names of the conditions and no value.
///
/// # Where tokens are judged alone
///
/// In a cache around an introspector that [judges alone](crate::Introspect::judges_alone) what is meant is not only
/// forgotten, but held against tokens from then on: they are [`Revoked`](crate::InactiveReason::Revoked).
///
/// * [`token`](Self::token) holds against that token until it expires, whenever it was issued.
/// * Anything else holds against the tokens that were issued until this moment, by their `iat` and the clock of the
///   cache: those that are issued later are let in, so that whoever logs in again has access. `iat` is in whole
///   seconds, so a token of the same second is refused, and so is one that does not say when it was issued. With
///   [`issued_before`](Self::issued_before) it holds until the moment that is given, which may be up to 5 minutes ahead
///   of this one: the authority's clock may be.
/// * So [`all`](Self::all) has every holder of a token get a new one.
/// * There is room for 100,000 single tokens that have not expired, and for 10,000 other selections or 8 MiB of them.
///   With more, the oldest tenth goes, and every token is refused that was issued until the newest of those: a line in
///   the log says so at `warn`. One selection that is larger than all that has every token refused that was issued so
///   far.
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

impl Selection {
    /// All tokens, and all that is known of those that are not active.
    pub fn all() -> Self {
        Self { token: None, is_none: false, conditions: Vec::new() }
    }

    /// This token, whatever is known of it: that it is not active, too, unless a condition is added.
    pub fn token(token: &BearerToken<'_>) -> Self {
        Self { token: Some(token.clone().into_owned()), ..Self::all() }
    }

    /// The tokens of one client: [`AccessToken::client_id`](crate::AccessToken::client_id).
    pub fn client(id: impl Into<String>) -> Self {
        Self::of(Condition::Client(id.into()))
    }

    /// The tokens of one developer app: [`AccessToken::app`](crate::AccessToken::app) or
    /// [`AccessToken::app_id`](crate::AccessToken::app_id).
    pub fn app(name_or_id: impl Into<String>) -> Self {
        Self::of(Condition::App(name_or_id.into()))
    }

    /// The tokens that speak for one subject: [`AccessToken::subject`](crate::AccessToken::subject). It is unique to
    /// its issuer only: with several, add [`issuer`](Self::issuer).
    pub fn subject(subject: impl Into<String>) -> Self {
        Self::of(Condition::Subject(subject.into()))
    }

    /// The tokens of one issuer: [`AccessToken::issuer`](crate::AccessToken::issuer).
    pub fn issuer(issuer: impl Into<String>) -> Self {
        Self::of(Condition::Issuer(issuer.into()))
    }

    /// The tokens of one login session: the claim `sid`, OpenID Connect Front-Channel Logout 1.0 section 3. It is
    /// unique to its issuer only: with several, add [`issuer`](Self::issuer).
    pub fn session(session: impl Into<String>) -> Self {
        Self::of(Condition::Session(session.into()))
    }

    /// The tokens of which a [`claim`](crate::AccessToken::claim) is this very value, as JSON: `1` is neither `"1"` nor
    /// `1.0`, and a list is equal to a list with the same members in the same order.
    ///
    /// # Errors
    /// If `value` has no form in JSON, or is nested more than 100 levels deep. The error names `claim`.
    pub fn claim(name: impl Into<String>, value: impl Serialize) -> Result<Self, BuildError> {
        let name = name.into();
        let value = AccessTokenBuilder::claim_as_json(&name, value)?;
        if levels(&value) > MOST_LEVELS {
            return Err(BuildError::new("claim", format!("the value of {name:?} is nested too deeply")));
        }
        Ok(Self::of(Condition::Claim(name, value)))
    }

    /// The tokens of the holder of an e-mail address: the claim `email`, OpenID Connect Core 1.0 section 5.1. Small and
    /// capital letters are the same.
    pub fn email(address: impl AsRef<str>) -> Self {
        Self::of(Condition::email(address.as_ref()))
    }

    /// The tokens that were issued before `moment`, and those that do not say when they were.
    pub fn issued_before(moment: Timestamp) -> Self {
        Self::of(Condition::IssuedBefore(moment.as_unix_millis()))
    }

    /// The tokens that are meant by both: none, if each is about another token.
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

    /// The same tokens, and those of which the authority did not say what is asked for: for what narrows a selection,
    /// and is not to leave out a token that says nothing about it.
    ///
    /// ```
    /// use tower_introspection::cache::Selection;
    ///
    /// // One session of Ann has ended. A token that names no session may be of that one.
    /// let selection = Selection::subject("ann").and(Selection::session("s-17").or_unstated());
    /// ```
    ///
    /// A token that was given ([`token`](Self::token)) stays that one.
    pub fn or_unstated(mut self) -> Self {
        self.conditions = self.conditions.into_iter().map(Condition::or_unstated).collect();
        self
    }

    fn of(condition: Condition) -> Self {
        Self { conditions: vec![condition], ..Self::all() }
    }

    /// What caches act on, for which `fingerprints` gives what they know the token by.
    pub(crate) fn rule(&self, fingerprints: impl FnOnce(&BearerToken) -> Vec<Fingerprint>) -> Rule {
        let fingerprints = if self.is_none { Some(Vec::new()) } else { self.token.as_ref().map(fingerprints) };
        Rule { fingerprints, conditions: self.conditions.clone() }
    }

    /// The token that is meant, if it is one.
    pub(crate) fn one_token(&self) -> Option<&BearerToken<'static>> {
        self.token.as_ref()
    }

    fn names(&self) -> Vec<&'static str> {
        if self.is_none {
            return vec!["none"];
        }
        let token = self.token.as_ref().map(|_| "token");
        let names: Vec<_> = token.into_iter().chain(self.conditions.iter().map(Condition::name)).collect();
        if names.is_empty() { vec!["all"] } else { names }
    }
}

impl fmt::Debug for Selection {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.debug_tuple("Selection").field(&self.names()).finish()
    }
}

/// JSON is read to a depth of 128, of which what stands around the value takes some.
const MOST_LEVELS: usize = 100;

fn levels(value: &Value) -> usize {
    match value {
        Value::Array(members) => 1 + members.iter().map(levels).max().unwrap_or_default(),
        Value::Object(members) => 1 + members.values().map(levels).max().unwrap_or_default(),
        _ => 0,
    }
}

impl From<&BearerToken<'_>> for Selection {
    fn from(token: &BearerToken<'_>) -> Self {
        Self::token(token)
    }
}

#[cfg(test)]
mod tests;
