//! Reading the answers of authorities.

use std::fmt;

use serde::de::{Deserializer, Error, MapAccess, Visitor};
use serde_json::{Map, Value};

use super::{IntrospectError, IntrospectErrorKind};

/// The members of a JSON object.
///
/// # Errors
/// If `body` is none, or holds a member twice: whoever reads the first and whoever reads the last would hold different things
/// true of one token.
pub(super) fn object(body: &[u8]) -> Result<Map<String, Value>, IntrospectError> {
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    let members = deserializer.deserialize_map(Members);
    let members = members.and_then(|members| deserializer.end().map(|()| members));
    members.map_err(|_| unusable("it is not a JSON object, or holds a member twice"))
}

/// The authority answered with something that says nothing of the token.
pub(super) fn unusable(why: &'static str) -> IntrospectError {
    IntrospectError::new(IntrospectErrorKind::Answer).with_source(why)
}

/// The `error` of an OAuth error answer, RFC 6749 section 5.2.
pub(super) fn error_code(body: &[u8]) -> Option<String> {
    let answer: Value = serde_json::from_slice(body).ok()?;
    answer.get("error")?.as_str().map(str::to_owned)
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
