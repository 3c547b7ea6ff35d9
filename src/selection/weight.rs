//! How much memory a rule takes that is kept for long.

use serde_json::Value;

use super::rule::{Condition, Rule};
use super::rules::text_of;

impl Rule {
    /// How many bytes it takes among [`Rules`](super::Rules), by which it is found, or more.
    pub(crate) fn bytes(&self) -> usize {
        let fingerprints = self.fingerprints.as_ref().map_or(0, |all| size_of_val(all.as_slice()));
        A_PLACE + size_of::<Self>() + fingerprints + self.conditions.iter().map(Condition::bytes).sum::<usize>()
    }
}

/// What a place among rules takes, with those that its table keeps free.
const A_PLACE: usize = 128;

impl Condition {
    /// With the text that it may be found by.
    fn bytes(&self) -> usize {
        let json = |value: &Value| text_of(value).map_or(0, |text| text.len());
        size_of::<Self>()
            + match self {
                Self::Client(text) | Self::App(text) | Self::Subject(text) | Self::Issuer(text) | Self::Email(text) => {
                    2 * text.len()
                }
                Self::Session(text) => text.len() + json(&Value::from(text.as_str())),
                Self::Claim(name, value) => 2 * name.len() + bytes_of(value) + json(value),
                Self::IssuedBefore(_) => 0,
                Self::OrUnstated(condition) => condition.bytes(),
            }
    }
}

/// Lists and tables have places that are free.
fn bytes_of(value: &Value) -> usize {
    let within = match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
        Value::String(text) => text.len(),
        Value::Array(members) => members.iter().map(bytes_of).sum::<usize>(),
        Value::Object(members) => {
            members.iter().map(|(name, member)| 2 * size_of::<String>() + name.len() + bytes_of(member)).sum()
        }
    };
    2 * size_of::<Value>() + within
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::selection::Fingerprint;

    #[test]
    fn a_rule_weighs_its_texts_and_the_members_of_its_claims() {
        let of = |condition| Rule { fingerprints: None, conditions: vec![condition] }.bytes();
        let long = "\u{1}".repeat(1_000);
        let short = of(Condition::Subject("ann".into()));
        assert!((150..400).contains(&short), "{short}");
        assert_eq!(of(Condition::Subject(long.clone())) - short, 2 * (1_000 - 3));
        // In JSON each of these characters takes six bytes.
        assert!(of(Condition::Session(long.clone())) > 7_000);
        assert!(of(Condition::Claim("a".into(), json!(long))) > 7_000);
        let numbers = of(Condition::Claim("a".into(), json!(vec![1; 1_000])));
        assert!(numbers > 1_000 * size_of::<Value>(), "{numbers}");
        let object: serde_json::Map<_, _> = (0..1_000).map(|n| (n.to_string(), json!({}))).collect();
        assert!(of(Condition::Claim("a".into(), Value::Object(object))) > 1_000 * (size_of::<Value>() + 24));
        let fingerprints = vec![Fingerprint { key_id: 1, key: [1, 2] }; 2];
        let one = Rule { fingerprints: Some(fingerprints), conditions: Vec::new() };
        assert_eq!(one.bytes(), A_PLACE + size_of::<Rule>() + 48);
    }
}
