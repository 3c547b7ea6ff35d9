//! A record of the log as the bytes that are sealed: an object of JSON.

use serde::{Deserialize, Serialize};

use crate::selection::Rule;

/// The greatest record, before it is sealed. The 10,000 that the log and the outbox keep each are 40 MB at most as they
/// are sent. Texts take as much in memory; a claim that is a long list of small numbers takes more.
pub(crate) const MAX_RECORD_BYTES: usize = 4 * 1024;

/// Tells all nodes that tokens are to be forgotten.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Record {
    /// Drawn at random, so that one that was appended twice can be told.
    pub(crate) id: u128,
    /// Of the cache of this name, or of all.
    pub(crate) cache: Option<String>,
    pub(crate) rule: Rule,
    /// No one asked for it: the authority said so of the one token of this rule.
    pub(crate) found_inactive: bool,
    /// When that was, by the clock of the process that says so, in milliseconds since the Unix epoch.
    pub(crate) moment: i64,
    /// Caches that judge tokens alone hold it against those that were issued up to then.
    pub(crate) leaves_mark: bool,
}

impl Record {
    /// `None` if it is longer than [`MAX_RECORD_BYTES`], or would not be read back as it is: a claim in it is nested
    /// too deeply, or is a float that is read with another last digit.
    pub(crate) fn encode(&self) -> Option<Vec<u8>> {
        let bytes = serde_json::to_vec(self).ok()?;
        (Self::decode(&bytes)? == *self).then_some(bytes)
    }

    /// `None` if it is too long, or is not all understood: a later release may mean more by it.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        if bytes.len() > MAX_RECORD_BYTES {
            return None;
        }
        serde_json::from_slice(bytes).ok()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::selection::{Condition, Fingerprint};

    fn full() -> Record {
        let conditions = vec![
            Condition::Client("weather-app".into()),
            Condition::App("Wetter-Äpp".into()),
            Condition::Subject("ann\u{0}\"".into()),
            Condition::Issuer("https://auth.example.com".into()),
            Condition::Session("s".into()),
            Condition::Claim("tenant".into(), json!({"a": [1, null, "ü"], "big": u64::MAX})),
            Condition::IssuedBefore(i64::MIN),
            Condition::email("Ann@example.com"),
            Condition::Session("s".into()).or_unstated(),
        ];
        let fingerprints = Some(vec![Fingerprint { key_id: u64::MAX, key: [0, u64::MAX] }]);
        let rule = Rule { fingerprints, conditions };
        Record {
            id: u128::MAX,
            cache: Some("main".into()),
            rule,
            found_inactive: true,
            moment: i64::MIN,
            leaves_mark: true,
        }
    }

    fn of_all(conditions: Vec<Condition>) -> Record {
        let rule = Rule { fingerprints: None, conditions };
        Record { id: 1, cache: None, rule, found_inactive: false, moment: 0, leaves_mark: false }
    }

    fn as_json(record: &Record) -> Value {
        serde_json::from_slice(&record.encode().unwrap()).unwrap()
    }

    #[test]
    fn a_record_is_read_back_as_it_was() {
        for record in [full(), of_all(vec![]), Record { id: 1 << 64, ..full() }] {
            assert!(Record::decode(&record.encode().unwrap()) == Some(record));
        }
    }

    /// Invariant 3: what a later release may mean is a gap, and not a rule that says less.
    #[test]
    fn what_is_not_all_understood_is_not_read() {
        let record = of_all(vec![Condition::Client("a".into())]);
        let read = |record: &Value| Record::decode(record.to_string().as_bytes()).is_some();
        // Small numbers only, which any JSON value holds.
        let known = json!({
            "id": 1, "cache": null, "found_inactive": false, "moment": 7, "leaves_mark": true,
            "rule": {"fingerprints": [{"key_id": 1, "key": [2, 3]}], "conditions": [{"Client": "a"}]},
        });
        assert!(read(&known) && read(&as_json(&record)));
        for place in ["", "/rule", "/rule/fingerprints/0"] {
            let mut other = known.clone();
            other.pointer_mut(place).unwrap()["later"] = json!(null);
            assert!(!read(&other), "a further member at {place:?}");
        }
        let mut other = known.clone();
        other["rule"]["conditions"][0] = json!({"Later": "a"});
        assert!(!read(&other), "another condition");
        for member in ["id", "rule", "found_inactive", "moment", "leaves_mark"] {
            let mut other = known.clone();
            other.as_object_mut().unwrap().remove(member);
            assert!(!read(&other), "without {member}");
        }
        for bytes in ["", "{}", "[]", "null", "{}x", "\u{0}"] {
            assert!(Record::decode(bytes.as_bytes()).is_none(), "{bytes}");
        }
    }

    #[test]
    fn a_record_that_nobody_could_read_is_not_made() {
        let of_length = |length: usize| of_all(vec![Condition::Subject("x".repeat(length))]);
        let rest = of_length(0).encode().unwrap().len();
        let most = of_length(MAX_RECORD_BYTES - rest).encode().unwrap();
        assert_eq!(most.len(), MAX_RECORD_BYTES);
        assert!(of_length(MAX_RECORD_BYTES - rest + 1).encode().is_none());
        assert!(Record::decode(&[&most[..], b" "].concat()).is_none());
        let deep = (0..200).fold(json!(1), |inner, _| json!([inner]));
        assert!(of_all(vec![Condition::Claim("deep".into(), deep)]).encode().is_none());
    }

    /// Another value would have the others forget other tokens than are meant.
    #[test]
    fn a_record_that_would_be_read_as_another_is_not_made() {
        let is_read_as_it_is = |float: &f64| serde_json::from_str::<f64>(&json!(float).to_string()).unwrap() == *float;
        let of = |float: f64| of_all(vec![Condition::Claim("limit".into(), json!(float))]);
        let mut floats = (1..100_000).map(|n| f64::from(n).sqrt() * 1e-50);
        // There is none where another crate has switched on `float_roundtrip` of serde_json.
        if let Some(float) = floats.find(|float| !is_read_as_it_is(float)) {
            assert!(of(float).encode().is_none());
        }
        assert!(of(1.5).encode().is_some());
    }
}
