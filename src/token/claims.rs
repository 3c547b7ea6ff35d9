//! What an authority states of a token beyond the facts that have a place of their own.

use std::borrow::{Borrow, Cow};
use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

/// The further members of an answer: a JSON object, kept as its text. Read seldom and remembered for each token, it is
/// better small than quick: as a tree of values it would be four times as large.
pub(super) struct Claims<'t>(pub(super) &'t str);

/// A text of JSON, of which no copy is made as long as nothing in it is escaped.
#[derive(Deserialize, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Text<'t>(#[serde(borrow)] pub(super) Cow<'t, str>);

impl Borrow<str> for Text<'_> {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl<'t> Claims<'t> {
    /// The members with the texts of their values, in a fifth of the time that it takes to read the values.
    pub(super) fn texts(&self) -> BTreeMap<Text<'t>, &'t RawValue> {
        if self.0.is_empty() {
            return BTreeMap::new();
        }
        serde_json::from_str(self.0).unwrap_or_default()
    }
}

impl Claims<'_> {
    /// The text to keep.
    pub(super) fn text_of(claims: &BTreeMap<Box<str>, Value>) -> String {
        if claims.is_empty() {
            return String::new();
        }
        // A map with texts as keys always has a form in JSON.
        serde_json::to_string(claims).unwrap_or_default()
    }

    /// Whether it can be read back from the text: it is not nested too deeply.
    pub(super) fn can_hold(value: &Value) -> bool {
        let text = Self::text_of(&BTreeMap::from([(Box::from(""), value.clone())]));
        serde_json::from_str::<Value>(&text).is_ok()
    }

    pub(super) fn names(&self) -> Vec<String> {
        self.members().into_keys().collect()
    }

    pub(super) fn members(&self) -> BTreeMap<String, Value> {
        serde_json::from_str(self.0).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn text(object: Value) -> String {
        let Value::Object(members) = object else { panic!("an object") };
        Claims::text_of(&members.into_iter().map(|(name, value)| (name.into(), value)).collect())
    }

    #[test]
    fn each_member_is_kept_under_its_whole_name_and_as_what_it_is() {
        let stated = json!({"a": 1, "ab": "x\n\"ä", "b": {"a": [2]}, "\n": null, "c": true});
        let text = text(stated.clone());
        assert_eq!(json!(Claims(&text).members()), stated);
        assert_eq!(Claims(&text).names(), ["\n", "a", "ab", "b", "c"]);
    }

    #[test]
    fn without_members_nothing_is_kept() {
        let text = text(json!({}));
        let none = Claims(&text);
        assert_eq!((&*text, none.names().len()), ("", 0));
        assert!(none.members().is_empty());
    }

    #[test]
    fn they_are_read_as_they_were_stated() {
        let stated = json!({"n": 1.5, "o": {"z": 1, "a": []}, "t": "é", "big": u64::MAX});
        assert_eq!(json!(Claims(&text(stated.clone())).members()), stated);
    }
}
