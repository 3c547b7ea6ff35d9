//! Wire form to verdict: pure functions of an answer, the token asked for, and the time.
//!
//! A byte order mark may stand before an answer. A member that an object holds twice, at any depth, makes it a failure;
//! so does what was damaged in a member that decides, see [`DECISIVE`].

use serde_json::{Map, Value};

use crate::clock::Timestamp;
use crate::error::IntrospectError;
use crate::introspect::{InactiveReason, Unclear, Verdict};
use crate::json::{self, is_or_holds, unusable};
use crate::token::{AccessToken, AccessTokenBuilder, BearerToken, Scopes};

/// The only codes with which this API says that a token does not exist.
const NO_SUCH_TOKEN: [&str; 4] = [
    "keymanagement.service.AccessTokenDoesntExists",
    "keymanagement.service.oauth_access_token_doesnot_exist",
    "keymanagement.service.invalid_access_token",
    "keymanagement.service.invalid_accesstoken",
];

/// Members that decide whether a token comes in, or who its holder is: half a character or a number beyond a float in
/// one of them is a failure. Elsewhere, in `attributes` say, half a character is kept as U+FFFD, and such a number as
/// `null`: nobody is locked out by a name that was cut in an emoji.
const DECISIVE: [&str; 11] = [
    "status",
    "expiresAt",
    "tokenType",
    "token",
    "scope",
    "clientId",
    "app",
    "appId",
    "apiProducts",
    "grantType",
    "cnf",
];

/// How an answer is read where the vendor leaves a choice.
#[derive(Clone, Copy)]
pub(crate) struct Reading {
    pub(crate) allow_unexpiring: bool,
    pub(crate) verify_token_echo: bool,
}

impl Default for Reading {
    fn default() -> Self {
        Self { allow_unexpiring: false, verify_token_echo: true }
    }
}

/// Reads the body of a 200.
///
/// A body that is not what the API documents, or speaks of another token, is a failure. A token the API knows but does
/// not clearly call active is inactive.
pub(crate) fn read(
    body: &[u8],
    presented: &BearerToken,
    now: Timestamp,
    reading: Reading,
    unclear: &Unclear,
) -> Result<Verdict, IntrospectError> {
    let answer = json::object(body, &DECISIVE)?;
    if reading.verify_token_echo && echoes_another(&answer, presented) {
        return Err(unusable("it speaks of another token than the one asked for (`verify_token_echo`)"));
    }
    if let Some(reason) = status(&answer, unclear).or_else(|| token_type(&answer, unclear)) {
        return Ok(Verdict::Inactive(reason));
    }
    let facts = match answer.get("expiresAt").and_then(integer) {
        Some(-1) if reading.allow_unexpiring => facts(&answer, presented),
        Some(millis) if millis > 0 => facts(&answer, presented).expires_at(Timestamp::from_unix_millis(millis)),
        Some(-1) => return Ok(Verdict::Inactive(unclear.because("`expiresAt` is -1 (`allow_unexpiring`)"))),
        _ => return Ok(Verdict::Inactive(unclear.because("`expiresAt` is missing, or is no moment"))),
    };
    let token = facts.build();
    if token.is_expired_at(now) {
        return Ok(Verdict::Inactive(InactiveReason::Expired));
    }
    Ok(Verdict::Active(token))
}

/// Whether an error body, in any of the forms this API has been seen to use, says that the token does not exist.
pub(crate) fn says_no_such_token(body: &[u8]) -> bool {
    let code = match json::parse(body, &["code", "fault", "error"]) {
        Ok(error) => {
            let error = Value::Object(error);
            ["/code", "/fault/detail/errorcode", "/error/code"]
                .iter()
                .find_map(|place| error.pointer(place)?.as_str().map(str::to_owned))
        }
        Err(fault) if fault.is_not_json() => xml_code(body),
        Err(_) => None,
    };
    code.is_some_and(|code| NO_SUCH_TOKEN.contains(&code.trim()))
}

fn xml_code(body: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(body).ok()?;
    let (_, error) = text.split_once("<Error>")?;
    let (_, code) = error.split_once("<Code>")?;
    let (code, _) = code.split_once("</Code>")?;
    Some(code.to_owned())
}

fn echoes_another(answer: &Map<String, Value>, presented: &BearerToken) -> bool {
    match answer.get("token") {
        None => false,
        Some(echo) => echo.as_str() != Some(presented.expose()),
    }
}

fn status(answer: &Map<String, Value>, unclear: &Unclear) -> Option<InactiveReason> {
    let status = answer.get("status").and_then(Value::as_str).unwrap_or_default().trim();
    if status.eq_ignore_ascii_case("approved") {
        None
    } else if status.eq_ignore_ascii_case("revoked") {
        Some(InactiveReason::Revoked)
    } else if status.eq_ignore_ascii_case("expired") {
        Some(InactiveReason::Expired)
    } else {
        Some(unclear.because("`status` is none that is known"))
    }
}

fn token_type(answer: &Map<String, Value>, unclear: &Unclear) -> Option<InactiveReason> {
    let stated = answer.get("tokenType")?;
    let is_bearer = stated
        .as_str()
        .is_some_and(|kind| kind.eq_ignore_ascii_case("Bearer") || kind.eq_ignore_ascii_case("BearerToken"));
    (!is_bearer).then(|| unclear.because("`tokenType` is not bearer"))
}

/// What holds the token itself is left out, wherever it stands: no token is ever kept. A confirmation stays whatever it
/// holds, since it is what keeps the token out.
fn facts(answer: &Map<String, Value>, presented: &BearerToken) -> AccessTokenBuilder {
    type Setter = fn(AccessTokenBuilder, &str) -> AccessTokenBuilder;
    let texts: [(&str, Setter); 4] = [
        ("clientId", |facts, text| facts.client_id(text)),
        ("app", |facts, text| facts.app(text)),
        ("appId", |facts, text| facts.app_id(text)),
        ("grantType", |facts, text| facts.grant_type(text)),
    ];
    let is_something_else = |text: &&str| !is_or_holds(text, presented);
    let text = |member| answer.get(member).and_then(Value::as_str).filter(is_something_else);
    let scopes = scopes(answer.get("scope"));
    let mut facts = AccessToken::builder().scopes(scopes.iter().filter(is_something_else).collect());
    for (member, set) in texts {
        if let Some(text) = text(member) {
            facts = set(facts, text);
        }
    }
    if let Some(Value::Array(products)) = answer.get("apiProducts") {
        facts = facts.api_products(products.iter().filter_map(Value::as_str).filter(is_something_else));
    }
    if let Some(millis) = answer.get("issuedAt").and_then(positive) {
        facts = facts.issued_at(Timestamp::from_unix_millis(millis));
    }
    for (name, value) in attributes(answer.get("attributes")) {
        if is_something_else(&name) && is_something_else(&value) {
            facts = facts.attribute(name, value);
        }
    }
    for member in ["createdBy", "lastModifiedBy"] {
        if let Some(text) = text(member) {
            facts = facts.claim_value(member, text.into());
        }
    }
    type Number = fn(&Value) -> Option<i64>;
    let numbers: [(&str, Number); 3] =
        [("createdAt", positive), ("lastModifiedAt", positive), ("refreshCount", integer)];
    for (member, read) in numbers {
        if let Some(number) = answer.get(member).and_then(read) {
            facts = facts.claim_value(member, number.into());
        }
    }
    if let Some(confirmation) = answer.get("cnf") {
        facts = facts.claim_value("cnf", confirmation.clone());
    }
    facts
}

fn scopes(scope: Option<&Value>) -> Scopes {
    match scope {
        Some(Value::String(list)) => Scopes::parse(list),
        Some(Value::Array(scopes)) => scopes.iter().filter_map(Value::as_str).collect(),
        _ => Scopes::default(),
    }
}

fn attributes(list: Option<&Value>) -> impl Iterator<Item = (&str, &str)> {
    let entries = list.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    entries.iter().filter_map(|entry| Some((entry.get("name")?.as_str()?, entry.get("value")?.as_str()?)))
}

/// A moment that may have been: 0 and -1 stand for none.
fn positive(value: &Value) -> Option<i64> {
    integer(value).filter(|&number| number > 0)
}

/// An integer, a string of digits, or a float without a fraction. Whatever does not fit 64 bits is no integer.
fn integer(value: &Value) -> Option<i64> {
    match value {
        Value::Number(number) => number.as_i64().or_else(|| integral(number.as_f64()?)),
        Value::String(text) => {
            let text = text.trim();
            let digits = text.strip_prefix('-').unwrap_or(text);
            let all_digits = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
            all_digits.then(|| text.parse().ok()).flatten()
        }
        _ => None,
    }
}

/// Beyond 2^53 a float no longer tells one integer from the next.
#[allow(clippy::cast_possible_truncation)] // exact below 2^53, which is checked first
fn integral(number: f64) -> Option<i64> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    (number.fract() == 0.0 && number.abs() <= EXACT).then_some(number as i64)
}
