//! What is stated of a token, as facts: by an answer of introspection, or by a JWT. Both use the same names, RFC 7519
//! section 4.1 and RFC 7662 section 2.2.

use serde_json::{Map, Value};

use crate::clock::Timestamp;
use crate::json::{holds, is_or_holds};
use crate::token::{AccessToken, AccessTokenBuilder, BearerToken, is_scope_token};

/// All that has a setting of its own, but for the times.
pub(crate) fn facts(stated: &Map<String, Value>, presented: &BearerToken) -> AccessTokenBuilder {
    // There are servers whose tokens are their own `jti`.
    let is_something_else = |text: &&str| !is_or_holds(text, presented);
    let text = |member| stated.get(member).and_then(Value::as_str).filter(is_something_else).map(str::to_owned);
    let mut facts = AccessToken::builder()
        .scopes(scopes(stated.get("scope")).filter(is_something_else).collect())
        .audience(strings(stated.get("aud")).filter(is_something_else));
    // In their places: a setting would move all facts, twice for each.
    facts.client_id = text("client_id");
    facts.username = text("username");
    facts.subject = text("sub");
    facts.issuer = text("iss");
    facts.token_id = text("jti");
    facts
}

/// Separated by spaces alone: a comma is a letter of a scope here, and what no scope can hold makes none.
pub(crate) fn scopes(scope: Option<&Value>) -> impl Iterator<Item = &str> {
    strings(scope).flat_map(|list| list.split(' ')).filter(|scope| is_scope_token(scope))
}

/// A string, or an array of them.
pub(crate) fn strings(value: Option<&Value>) -> impl Iterator<Item = &str> {
    let many = value.and_then(Value::as_array).into_iter().flatten();
    value.into_iter().chain(many).filter_map(Value::as_str)
}

/// A NumericDate, RFC 7519 section 2: seconds since the epoch, with a fraction or without. Fractions of milliseconds
/// are rounded by `round`, times beyond what 64 bits of milliseconds hold saturate.
pub(crate) fn time(value: Option<&Value>, round: fn(f64) -> f64) -> Result<Option<Timestamp>, NotATime> {
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

pub(crate) struct NotATime;

/// `as` saturates from floats to integers, at both ends.
#[allow(clippy::cast_possible_truncation)]
fn saturated(millis: f64) -> i64 {
    millis as i64
}

/// What has an accessor of its own. Every other member is kept as a claim.
const MEMBERS_WITH_A_PLACE: [&str; 11] =
    ["active", "scope", "client_id", "username", "exp", "iat", "nbf", "sub", "aud", "iss", "jti"];

/// Everything else that is stated, as claims.
pub(crate) fn with_claims(
    mut facts: AccessTokenBuilder,
    stated: Map<String, Value>,
    presented: &BearerToken,
) -> AccessTokenBuilder {
    for (name, value) in stated {
        if !MEMBERS_WITH_A_PLACE.contains(&&*name) && !is_secret(&name, &value, presented) {
            facts.insert_claim(name, value);
        }
    }
    facts
}

/// Members of RFC 6749's answers that some servers repeat, and whatever holds the token itself at any depth: no token
/// is ever kept, under no name. A confirmation stays whatever it holds, since it is what keeps the token out.
fn is_secret(name: &str, value: &Value, presented: &BearerToken) -> bool {
    let is_token = matches!(name, "token" | "access_token" | "refresh_token" | "id_token");
    name != "cnf" && (is_token || is_or_holds(name, presented) || holds(value, presented))
}
