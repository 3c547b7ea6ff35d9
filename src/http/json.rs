//! Reading the answers of authorities.

use std::fmt;

use serde::de::{Deserializer, Error, MapAccess, Visitor};
use serde_json::{Map, Value};

use crate::error::{IntrospectError, IntrospectErrorKind};
use crate::token::BearerToken;

/// The members of a JSON object.
///
/// # Errors
/// If `body` is none, or holds a member twice: whoever reads the first and whoever reads the last would hold different
/// things true of one token.
pub(crate) fn object(body: &[u8]) -> Result<Map<String, Value>, IntrospectError> {
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    let members = deserializer.deserialize_map(Members);
    let members = members.and_then(|members| deserializer.end().map(|()| members));
    members.map_err(|_| unusable("it is not a JSON object, or holds a member twice"))
}

/// The authority answered with something that says nothing of the token.
pub(crate) fn unusable(why: &'static str) -> IntrospectError {
    IntrospectError::new(IntrospectErrorKind::Answer).with_source(why)
}

/// The `error` of an OAuth error answer, RFC 6749 section 5.2.
pub(crate) fn error_code(body: &[u8]) -> Option<String> {
    let answer: Value = serde_json::from_slice(body).ok()?;
    answer.get("error")?.as_str().map(str::to_owned)
}

/// A shorter token may stand in other texts by chance.
const LONG: usize = 16;

/// Whether a token stands anywhere in `value`, by itself or, if it is long, within another text. No deeper than a JSON
/// parser goes, which is 128 levels.
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
    let token = presented.expose();
    text == token || (token.len() >= LONG && text.contains(token))
}

struct Members;

impl<'de> Visitor<'de> for Members {
    type Value = Map<String, Value>;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("an object that holds no member twice")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Self::Value, A::Error> {
        let mut members = Map::new();
        while let Some((name, value)) = access.next_entry::<String, Value>()? {
            if members.insert(name, value).is_some() {
                return Err(Error::custom("a member is there twice"));
            }
        }
        Ok(members)
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
        assert_eq!(object(br#" {"a":1,"b":{"a":2}} "#).unwrap()["b"]["a"], 2);
        for bad in [
            &br#"{"active":false,"active":true}"#[..],
            br#"{"a":1,"\u0061":1}"#,
            br#"{"a":1} {"a":1}"#,
            br#"{"a":1}x"#,
            b"[]",
            b"null",
            b"",
        ] {
            assert!(object(bad).is_err(), "{}", String::from_utf8_lossy(bad));
        }
    }
}
