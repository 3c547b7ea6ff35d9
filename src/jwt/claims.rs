//! The claims of a JWT access token, RFC 9068 section 2.2, and what is required of them: a pure function of the token,
//! the settings and the time.

use std::time::Duration;

use serde_json::{Map, Value};

use super::AccessTokenClaim;
use crate::clock::Timestamp;
use crate::facts::{facts, scopes, strings, time, with_claims};
use crate::introspect::InactiveReason;
use crate::jose::Header;
use crate::json;
use crate::token::{AccessToken, BearerToken};

/// Members that decide, in the sense of the answers of introspection: what was damaged in one of them refuses the
/// token.
const DECISIVE: [&str; 14] =
    ["iss", "aud", "sub", "exp", "nbf", "iat", "scope", "scp", "client_id", "azp", "cid", "appid", "jti", "cnf"];

/// What is required of a token besides its signature.
pub(super) struct Requirements {
    pub(super) issuer: String,
    /// Any of them.
    pub(super) audiences: Vec<String>,
    /// How far the issuer's clock may be ahead of this one.
    pub(super) clock_skew: Duration,
    /// Any of them tells an access token whose header calls it a `JWT`, or nothing. Without one there is no such token.
    pub(super) of_access_tokens: Vec<AccessTokenClaim>,
}

/// Why a token is not let in.
pub(super) enum Refused {
    Reason(InactiveReason),
    /// A text of this crate's own.
    Because(&'static str),
}

/// Claims that are as required.
pub(super) struct Claims {
    members: Map<String, Value>,
    expires_at: Timestamp,
    not_before: Option<Timestamp>,
    pub(super) issued_at: Option<Timestamp>,
}

/// How the header says which kind of token it is.
enum Kind {
    AccessToken,
    /// `JWT`, or nothing at all.
    Unsaid,
}

impl Requirements {
    /// # Errors
    /// If something is not as it has to be.
    pub(super) fn judge(&self, header: &Header, payload: &[u8], now: Timestamp) -> Result<Claims, Refused> {
        let kind = kind(header)?;
        let members = json::parse(payload, &DECISIVE).map_err(|_| Refused::Because("its claims cannot be read"))?;
        if members.get("iss").and_then(Value::as_str) != Some(&*self.issuer) {
            return Err(Refused::Because("`iss` is not the issuer, to the letter"));
        }
        if let Kind::Unsaid = kind {
            if self.of_access_tokens.is_empty() {
                return Err(Refused::Because(
                    "`typ` of its header is not `at+jwt` (if the issuer sends `JWT`: `dangerously_allow_type_jwt`)",
                ));
            }
            if !self.of_access_tokens.iter().any(|claim| claim.holds(&members)) {
                return Err(Refused::Because(
                    "no claim tells that it is an access token (`dangerously_allow_type_jwt`)",
                ));
            }
        }
        if !strings(members.get("aud")).any(|stated| self.audiences.iter().any(|audience| audience == stated)) {
            return Err(Refused::Because("`aud` names none of the audiences (`audience`)"));
        }
        self.judge_times(members, now)
    }

    fn judge_times(&self, members: Map<String, Value>, now: Timestamp) -> Result<Claims, Refused> {
        let time_of = |member: &str, round: fn(f64) -> f64| time(members.get(member), round);
        let Ok(Some(expires_at)) = time_of("exp", f64::floor) else {
            return Err(Refused::Because("`exp` is missing, or is no time"));
        };
        let Ok(not_before) = time_of("nbf", f64::ceil) else { return Err(Refused::Because("`nbf` is no time")) };
        let Ok(issued_at) = time_of("iat", f64::floor) else { return Err(Refused::Because("`iat` is no time")) };
        if expires_at <= now {
            return Err(Refused::Reason(InactiveReason::Expired));
        }
        let latest = now + self.clock_skew;
        if not_before.max(issued_at).is_some_and(|begin| latest < begin) {
            return Err(Refused::Reason(InactiveReason::NotYetValid));
        }
        Ok(Claims { members, expires_at, not_before, issued_at })
    }
}

fn kind(header: &Header) -> Result<Kind, Refused> {
    if header.is_of_type("at+jwt") {
        Ok(Kind::AccessToken)
    } else if header.typ.is_none() || header.is_of_type("jwt") {
        Ok(Kind::Unsaid)
    } else {
        Err(Refused::Because("`typ` of its header is that of something else than an access token"))
    }
}

impl Claims {
    /// The facts they state. A time within the clock skew is one that has come.
    pub(super) fn into_facts(self, presented: &BearerToken, now: Timestamp) -> AccessToken {
        let Self { members, expires_at, not_before, issued_at } = self;
        let mut stated = facts(&members, presented).expires_at(expires_at);
        if members.get("scope").is_none_or(Value::is_null) {
            // An array of Okta's, a text of Entra ID's.
            stated = stated.scopes(scopes(members.get("scp")).collect());
        }
        if members.get("client_id").is_none_or(Value::is_null)
            && let Some(client) = ["azp", "cid", "appid"].iter().find_map(|name| members.get(*name)?.as_str())
        {
            stated = stated.client_id(client);
        }
        if let Some(not_before) = not_before {
            stated = stated.not_before(not_before.min(now));
        }
        if let Some(issued_at) = issued_at {
            stated = stated.issued_at(issued_at.min(now));
        }
        with_claims(stated, members, presented).build()
    }
}
