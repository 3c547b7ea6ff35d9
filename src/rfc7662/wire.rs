//! Wire form to verdict: a pure function of an answer, the token asked about, and the time.
//!
//! A byte order mark may stand before an answer. A member that an object holds twice, at any depth, makes it a failure;
//! so does what was damaged in a member that decides, see [`DECISIVE`].

use serde_json::{Map, Value};

use crate::clock::Timestamp;
use crate::error::IntrospectError;
use crate::facts::{NotATime, facts, time, with_claims};
use crate::introspect::{InactiveReason, Unclear, Verdict};
use crate::json::{self, unusable};
use crate::token::{AccessToken, BearerToken};

/// Members that decide whether a token comes in, or who its holder is: half a character or a number beyond a float in
/// one of them is a failure, since two holders whose names differ there would look the same, and `exp` and `nbf` would
/// be no bound. Elsewhere half a character is kept as U+FFFD, and such a number as `null`: nobody is locked out by a
/// display name that was cut in an emoji. `iat` decides nothing.
const DECISIVE: [&str; 14] = [
    "active",
    "exp",
    "nbf",
    "scope",
    "aud",
    "iss",
    "sub",
    "client_id",
    "jti",
    "cnf",
    "token_type",
    "token_use",
    "token_usage",
    "typ",
];

/// How an answer is read where servers differ.
#[derive(Clone, Copy, Default)]
pub(crate) struct Reading {
    pub(crate) require_token_type: bool,
}

/// Reads the body of a 200, RFC 7662 section 2.2.
///
/// A body without a boolean `active` is a failure of the endpoint. A token that is called active, but with a time that
/// cannot be read or as something else than a bearer access token, is inactive.
pub(crate) fn read(
    body: &[u8],
    presented: &BearerToken,
    now: Timestamp,
    reading: Reading,
    unclear: &Unclear,
) -> Result<Verdict, IntrospectError> {
    let answer = json::object(body, &DECISIVE)?;
    match answer.get("active") {
        Some(Value::Bool(true)) => {}
        Some(Value::Bool(false)) => return Ok(Verdict::Inactive(InactiveReason::Unknown)),
        Some(_) => return Err(unusable("`active` is not a boolean")),
        None => return Err(unusable("it holds no `active`")),
    }
    if reading.require_token_type && answer.get("token_type").is_none_or(Value::is_null) {
        return Ok(Verdict::Inactive(unclear.because("it has no `token_type` (`require_token_type`)")));
    }
    Ok(active(answer, presented, now, unclear).map_or_else(Verdict::Inactive, Verdict::Active))
}

/// Whether the body of a 401 is about the token alone: it says `{"active":false}` and not a word more.
///
/// Django OAuth Toolkit up to 2.x answers so for a token that it does not know, and 403 without a verdict for a client
/// that it does not accept. Any caller can bring it about.
pub(crate) fn says_inactive_alone(body: &[u8]) -> bool {
    json::parse(body, &DECISIVE)
        .is_ok_and(|answer| answer.len() == 1 && answer.get("active") == Some(&Value::Bool(false)))
}

fn active(
    answer: Map<String, Value>,
    presented: &BearerToken,
    now: Timestamp,
    unclear: &Unclear,
) -> Result<AccessToken, InactiveReason> {
    if !is_bearer_access_token(&answer) {
        return Err(unclear
            .because("`token_type`, `typ`, `token_use` or `token_usage` is not that of an access token for a bearer"));
    }
    let mut facts = facts(&answer, presented);
    if let Some(expires_at) =
        time(answer.get("exp"), f64::floor).map_err(|NotATime| unclear.because("`exp` is no time"))?
    {
        if expires_at <= Timestamp::from_unix_millis(0) {
            return Err(unclear.because("`exp` is not after 1970"));
        }
        facts = facts.expires_at(expires_at);
    }
    if let Some(not_before) =
        time(answer.get("nbf"), f64::ceil).map_err(|NotATime| unclear.because("`nbf` is no time"))?
    {
        if now < not_before {
            return Err(InactiveReason::NotYetValid);
        }
        facts = facts.not_before(not_before);
    }
    // When it was issued decides nothing, so a time that cannot be read is no more than unknown.
    if let Ok(Some(issued_at)) = time(answer.get("iat"), f64::floor) {
        facts = facts.issued_at(issued_at);
    }
    let token = with_claims(facts, answer, presented).build();
    if token.is_expired_at(now) { Err(InactiveReason::Expired) } else { Ok(token) }
}

/// RFC 7662 calls refresh tokens active too, so whatever says that the token is another kind than an access token for a
/// bearer is heard: `token_type`, Hydra's `token_use`, OpenIddict's `token_usage`, Keycloak's `typ`. A token bound to a
/// key is not decided here: the policy refuses it, and says why.
fn is_bearer_access_token(answer: &Map<String, Value>) -> bool {
    let says = |member: &str, allowed: &[&str]| match answer.get(member) {
        None | Some(Value::Null) => true,
        Some(Value::String(stated)) => allowed.iter().any(|allowed| stated.eq_ignore_ascii_case(allowed)),
        Some(_) => false,
    };
    let is_bound = answer.get("cnf").is_some_and(|confirmation| !confirmation.is_null());
    // WSO2 Identity Server calls its JWT access tokens `JWT`; its refresh tokens are `Refresh`.
    let token_type =
        says("token_type", &["Bearer", "access_token", "JWT"]) || (is_bound && says("token_type", &["DPoP", "PoP"]));
    let typ = says("typ", &["Bearer", "at+jwt", "application/at+jwt", "JWT"]) || (is_bound && says("typ", &["DPoP"]));
    token_type && typ && ["token_use", "token_usage"].iter().all(|usage| says(usage, &ACCESS_TOKEN))
}

/// The names of an access token where the kind is all that is named; the last is RFC 8693's, section 3.
const ACCESS_TOKEN: [&str; 3] = ["access_token", "access", "urn:ietf:params:oauth:token-type:access_token"];
