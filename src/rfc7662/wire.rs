//! Wire form to verdict: a pure function of an answer, the token asked about, and the time.
//!
//! A byte order mark may stand before an answer. A member that an object holds twice, at any depth, makes it a failure;
//! so does what was damaged in a member that decides, see [`DECISIVE`].

use serde_json::{Map, Value};

use crate::clock::Timestamp;
use crate::error::IntrospectError;
use crate::introspect::{InactiveReason, Unclear, Verdict};
use crate::json::{self, holds, is_or_holds, unusable};
use crate::token::{AccessToken, AccessTokenBuilder, BearerToken, is_scope_token};

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
    for (name, value) in answer {
        if !MEMBERS_WITH_A_PLACE.contains(&&*name) && !is_secret(&name, &value, presented) {
            facts = facts.claim_value(&name, value);
        }
    }
    let token = facts.build();
    if token.is_expired_at(now) { Err(InactiveReason::Expired) } else { Ok(token) }
}

/// What has an accessor of its own. Every other member is kept as a claim.
const MEMBERS_WITH_A_PLACE: [&str; 11] =
    ["active", "scope", "client_id", "username", "exp", "iat", "nbf", "sub", "aud", "iss", "jti"];

/// Members of RFC 6749's answers that some servers repeat, and whatever holds the token itself at any depth: no token
/// is ever kept, under no name. A confirmation stays whatever it holds, since it is what keeps the token out.
fn is_secret(name: &str, value: &Value, presented: &BearerToken) -> bool {
    let is_token = matches!(name, "token" | "access_token" | "refresh_token" | "id_token");
    name != "cnf" && (is_token || is_or_holds(name, presented) || holds(value, presented))
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

fn facts(answer: &Map<String, Value>, presented: &BearerToken) -> AccessTokenBuilder {
    type Setter = fn(AccessTokenBuilder, &str) -> AccessTokenBuilder;
    let texts: [(&str, Setter); 5] = [
        ("client_id", |facts, text| facts.client_id(text)),
        ("username", |facts, text| facts.username(text)),
        ("sub", |facts, text| facts.subject(text)),
        ("iss", |facts, text| facts.issuer(text)),
        ("jti", |facts, text| facts.token_id(text)),
    ];
    // There are servers whose tokens are their own `jti`.
    let is_something_else = |text: &&str| !is_or_holds(text, presented);
    let mut facts = AccessToken::builder()
        .scopes(scopes(answer.get("scope")).filter(is_something_else).collect())
        .audience(strings(answer.get("aud")).into_iter().filter(is_something_else));
    for (member, set) in texts {
        if let Some(text) = answer.get(member).and_then(Value::as_str).filter(is_something_else) {
            facts = set(facts, text);
        }
    }
    facts
}

/// Separated by spaces alone: a comma is a letter of a scope here, and what no scope can hold makes none.
fn scopes(scope: Option<&Value>) -> impl Iterator<Item = &str> {
    strings(scope).into_iter().flat_map(|list| list.split(' ')).filter(|scope| is_scope_token(scope))
}

/// A string, or an array of them.
fn strings(value: Option<&Value>) -> Vec<&str> {
    match value {
        Some(Value::String(one)) => vec![one],
        Some(Value::Array(many)) => many.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

/// A NumericDate, RFC 7519 section 2: seconds since the epoch, with a fraction or without. Fractions of milliseconds
/// are rounded by `round`, times beyond what 64 bits of milliseconds hold saturate.
fn time(value: Option<&Value>, round: fn(f64) -> f64) -> Result<Option<Timestamp>, NotATime> {
    match value {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Number(number)) => {
            let millis = match number.as_i64() {
                Some(seconds) => seconds.saturating_mul(1_000),
                None => saturated(round(number.as_f64().ok_or(NotATime)? * 1_000.0)),
            };
            Ok(Some(Timestamp::from_unix_millis(millis)))
        }
        Some(_) => Err(NotATime),
    }
}

struct NotATime;

/// `as` saturates from floats to integers, at both ends.
#[allow(clippy::cast_possible_truncation)]
fn saturated(millis: f64) -> i64 {
    millis as i64
}
