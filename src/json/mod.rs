//! Reading the answers of authorities.

mod reader;

use std::cmp::Ordering;

use serde_json::{Map, Value};

pub(crate) use self::reader::{Fault, parse};

use crate::error::{IntrospectError, IntrospectErrorKind};
use crate::token::BearerToken;

/// The members of a JSON object that an authority answers with; [`parse`] says how it is read.
///
/// # Errors
/// If `body` is none; if it holds a member twice, at any depth: whoever reads the first and whoever reads the last
/// would hold different things true of one token; or if a member that is `decisive` was damaged.
pub(crate) fn object(body: &[u8], decisive: &[&'static str]) -> Result<Map<String, Value>, IntrospectError> {
    parse(body, decisive).map_err(|fault| {
        let sort = if fault.is_not_json() { "not JSON" } else { "JSON" };
        IntrospectError::new(IntrospectErrorKind::Answer).with_source(fault).of_fault(sort)
    })
}

/// The authority answered with something that says nothing of the token.
pub(crate) fn unusable(why: &'static str) -> IntrospectError {
    IntrospectError::new(IntrospectErrorKind::Answer).with_source(why).of_fault(why)
}

/// The `error` of an OAuth error answer, RFC 6749 section 5.2.
pub(crate) fn error_code(body: &[u8]) -> Option<String> {
    parse(body, &["error"]).ok()?.get("error")?.as_str().map(str::to_owned)
}

/// A shorter token may stand in other texts by chance.
const LONG: usize = 16;

/// Whether a token stands anywhere in `value`, by itself or, if it is long, within another text. No deeper than
/// [`parse`] goes.
pub(crate) fn holds(value: &Value, presented: &BearerToken) -> bool {
    match value {
        Value::String(text) => is_or_holds(text, presented),
        Value::Array(values) => values.iter().any(|value| holds(value, presented)),
        Value::Object(members) => {
            members.iter().any(|(name, value)| is_or_holds(name, presented) || holds(value, presented))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

pub(crate) fn is_or_holds(text: &str, presented: &BearerToken) -> bool {
    // Most texts are shorter than a JWT, which is then not even looked at.
    match text.len().cmp(&presented.as_bytes().len()) {
        Ordering::Less => false,
        Ordering::Equal => text.as_bytes() == presented.as_bytes(),
        Ordering::Greater => presented.as_bytes().len() >= LONG && text.contains(presented.expose()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_token_is_found_by_itself_and_a_long_one_within_other_texts_too() {
        let (short, long) = (BearerToken::parse("active").unwrap(), BearerToken::parse("2YotnFZFEjr1zCsi").unwrap());
        assert!(is_or_holds("active", &short) && !is_or_holds("inactive", &short));
        assert!(is_or_holds("Bearer 2YotnFZFEjr1zCsi", &long) && !is_or_holds("2YotnFZFEjr1zCs", &long));
    }

    #[test]
    fn an_object_is_read_whole_and_with_each_member_once() {
        assert_eq!(object(br#" {"a":1,"b":{"a":2}} "#, &[]).unwrap()["b"]["a"], 2);
        for bad in [
            &br#"{"active":false,"active":true}"#[..],
            br#"{"realm_access":{"roles":["user"],"roles":["admin"]}}"#,
            br#"{"a":1,"\u0061":1}"#,
            br#"{"a":1} {"a":1}"#,
            br#"{"a":1}x"#,
            b"[]",
            b"null",
            b"",
        ] {
            assert_eq!(object(bad, &[]).unwrap_err().kind(), IntrospectErrorKind::Answer);
        }
    }
}
