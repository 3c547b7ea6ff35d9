//! An [`AccessToken`] as bytes, exactly as it is: for processes that share it.
//!
//! One byte of flags; the times that there are, eight bytes each; the length of the scopes, eight bytes, and the
//! scopes; the texts, as they are packed in memory. Numbers are big-endian. What a cache notes, and whether the facts
//! are stale, is not in it.

use std::sync::Arc;

use super::{AccessToken, AccessTokenBuilder, Facts};
use crate::clock::Timestamp;
use crate::token::Scopes;

const SENDER_CONSTRAINED: u8 = 1;
const ISSUED_AT: u8 = 2;
const NOT_BEFORE: u8 = 4;
const EXPIRES_AT: u8 = 8;

impl AccessToken {
    pub(crate) fn to_bytes(&self, out: &mut Vec<u8>) {
        let times = [(ISSUED_AT, self.issued_at()), (NOT_BEFORE, self.not_before()), (EXPIRES_AT, self.expires_at())];
        let mut flags = if self.is_sender_constrained() { SENDER_CONSTRAINED } else { 0 };
        for (flag, _) in times.iter().filter(|(_, time)| time.is_some()) {
            flags |= flag;
        }
        out.push(flags);
        for time in times.into_iter().filter_map(|(_, time)| time) {
            out.extend(time.as_unix_millis().to_be_bytes());
        }
        let scopes = self.scopes().to_string();
        out.extend((scopes.len() as u64).to_be_bytes());
        out.extend(scopes.as_bytes());
        out.extend(&self.0.texts);
    }

    /// `None` unless [`to_bytes`](Self::to_bytes) made it.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (&flags, mut rest) = bytes.split_first()?;
        if flags > SENDER_CONSTRAINED | ISSUED_AT | NOT_BEFORE | EXPIRES_AT {
            return None;
        }
        let mut time_if = |flag: u8| -> Option<Option<Timestamp>> {
            if flags & flag == 0 {
                return Some(None);
            }
            let millis = i64::from_be_bytes(take(&mut rest)?);
            Some(Some(Timestamp::from_unix_millis(millis)))
        };
        let (issued_at, not_before, expires_at) = (time_if(ISSUED_AT)?, time_if(NOT_BEFORE)?, time_if(EXPIRES_AT)?);
        let length = usize::try_from(u64::from_be_bytes(take(&mut rest)?)).ok()?;
        let (listed, texts) = rest.split_at_checked(length)?;
        let listed = std::str::from_utf8(listed).ok()?;
        let sender_constrained = flags & SENDER_CONSTRAINED != 0;
        let (scopes, texts) = ([listed].into_iter().collect::<Scopes>(), texts.into());
        let is_listed = scopes.to_string() == listed;
        let facts = Facts { scopes, sender_constrained, issued_at, not_before, expires_at, texts, ..Facts::default() };
        let token = Self(Arc::new(facts));
        (is_listed && token.is_well_packed()).then_some(token)
    }

    /// What the accessors make of the texts is packed as these very texts again, so that nothing stands there which
    /// they pass over or take for something else. Of the claims the text may be another: a float that was read may be
    /// written with another last digit.
    fn is_well_packed(&self) -> bool {
        let claims = self.0.claims();
        let members = claims.members();
        let is_bound = members.get("cnf").is_some_and(|confirmation| !confirmation.is_null());
        let again = AccessTokenBuilder::with_texts_of(self).texts(claims.0);
        (claims.0.is_empty() || !members.is_empty()) && is_bound == self.0.sender_constrained && again == self.0.texts
    }
}

fn take(rest: &mut &[u8]) -> Option<[u8; 8]> {
    let (number, after) = rest.split_first_chunk()?;
    *rest = after;
    Some(*number)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::token::packed::Row;

    fn bytes_of(token: &AccessToken) -> Vec<u8> {
        let mut bytes = Vec::new();
        token.to_bytes(&mut bytes);
        bytes
    }

    /// Read back, and in every fact the same.
    fn there_and_back(token: &AccessToken) -> AccessToken {
        let back = AccessToken::from_bytes(&bytes_of(token)).expect("what was written is read");
        assert_eq!(back.0.texts, token.0.texts);
        assert_eq!(back.scopes().to_string(), token.scopes().to_string());
        let times = |token: &AccessToken| (token.issued_at(), token.not_before(), token.expires_at());
        assert_eq!(times(&back), times(token));
        assert_eq!(back.is_sender_constrained(), token.is_sender_constrained());
        back
    }

    fn full() -> AccessToken {
        let ends = Timestamp::from_unix_millis(1_700_000_000_001);
        let facts = AccessToken::builder().client_id("c").app("ä").app_id("").api_products(["p", ""]).subject("s\u{0}");
        let facts = facts.scopes(["t", "s", "t"].into_iter().collect()).grant_type("g").username("u").issuer("i");
        let facts = facts.attribute("a", "1").attribute("b", "").audience(["x", "y"]).token_id("j").expires_at(ends);
        facts.claim("n", json!({"f": 0.1, "l": [null]})).unwrap().build()
    }

    #[test]
    fn facts_come_back_exactly_however_long_and_without_what_a_cache_noted() {
        there_and_back(&full());
        there_and_back(&AccessToken::builder().build());
        there_and_back(&AccessToken::builder().subject("ü".repeat(35_000)).api_products([""; 0]).build());
        let back = there_and_back(&full().stale());
        assert!(!back.is_stale());
    }

    /// In JSON a claim would come back as Apigee's fact, which policies go by.
    #[test]
    fn a_claim_by_the_name_of_a_fact_stays_a_claim() {
        let names = ["api_products", "app", "app_id", "attributes", "grant_type", "scope", "sub"];
        let facts = names.into_iter().fold(AccessToken::builder(), |facts, name| facts.claim_value(name, json!(["p"])));
        let back = there_and_back(&facts.build());
        assert!(back.api_products().is_none() && back.app().is_none() && back.subject().is_none());
        assert!(back.attributes().next().is_none() && back.scopes().is_empty());
        assert_eq!(back.claim::<Vec<String>>("api_products"), Some(vec!["p".to_owned()]));
    }

    #[test]
    fn a_token_bound_to_a_key_stays_bound() {
        let token = |cnf: Value| AccessToken::builder().claim("cnf", cnf).unwrap().build();
        assert!(there_and_back(&token(json!({"jkt": "x"}))).is_sender_constrained());
        assert!(!there_and_back(&token(Value::Null)).is_sender_constrained());
        // The flag and the claim contradict each other.
        for other in [token(json!({"jkt": "x"})), token(Value::Null), full()] {
            let mut bytes = bytes_of(&other);
            bytes[0] ^= SENDER_CONSTRAINED;
            assert!(AccessToken::from_bytes(&bytes).is_none());
        }
    }

    /// The texts of a token, packed, with what stands at `place` of the twelve done otherwise.
    fn texts_but(place: usize, other: impl Fn(&mut Row)) -> Box<[u8]> {
        let mut row = Row::default();
        for member in 0..12 {
            match member {
                _ if member == place => other(&mut row),
                0 | 10 => row.push_row(&Row::default()),
                11 => row.push(""),
                _ => row.push_optional(None),
            }
        }
        row.into_bytes()
    }

    fn reads(texts: &[u8]) -> bool {
        AccessToken::from_bytes(&[&[0; 9], texts].concat()).is_some()
    }

    #[test]
    fn texts_that_no_builder_packs_are_not_read() {
        assert!(reads(&texts_but(1, |row| row.push("issuer"))) && reads(&texts_but(11, |row| row.push(r#"{"a":1}"#))));
        let attributes = |texts: &[&str]| reads(&texts_but(10, |row| row.push_row(&texts.iter().copied().collect())));
        assert!(attributes(&["a", "1", "b", "2"]));
        assert!(!attributes(&["a"]) && !attributes(&["b", "1", "a", "2"]) && !attributes(&["a", "1", "a", "2"]));
        let absent_text = || {
            let mut row = Row::default();
            row.push_optional(None);
            row
        };
        for place in [0, 3, 10] {
            assert!(!reads(&texts_but(place, |row| row.push_row(&absent_text()))), "no text in a row at {place}");
            assert!(!reads(&texts_but(place, |row| row.push("\u{9}cut off"))), "a text cut off in a row at {place}");
        }
        for place in [0, 10, 11] {
            assert!(!reads(&texts_but(place, |row| row.push_optional(None))), "nothing at {place}");
        }
        for claims in ["{}", "[]", "1", "null", "{", r#"{"a":1}x"#, r#"{"cnf":1}"#] {
            assert!(!reads(&texts_but(11, |row| row.push(claims))), "{claims}");
        }
        let texts = texts_but(12, |_| {});
        assert!(reads(&texts) && !reads(&texts[1..]) && !reads(&texts[..texts.len() - 1]));
        assert!(!reads(&[&texts[..], &[0]].concat()), "more than twelve");
        // The length of a short text in the long form; a text that is not UTF-8.
        let other = |issuer: &[u8]| [&texts[..1], issuer, &texts[2..]].concat();
        assert!(reads(&other(&[1, b'i'])) && !reads(&other(&[254, 1, 0, 0, 0, 0, 0, 0, 0, b'i'])));
        assert!(!reads(&other(&[1, 0xff])) && !reads(&other(&[254, 255, 255, 255, 255, 255, 255, 255, 255])));
    }

    #[test]
    fn scopes_and_flags_and_lengths_are_read_as_they_are_written_only() {
        let read = |flags: u8, scopes: &[u8]| {
            let length = (scopes.len() as u64).to_be_bytes();
            AccessToken::from_bytes(&[&[flags], &length[..], scopes, &texts_but(12, |_| {})].concat()).is_some()
        };
        assert!(read(0, b"a b a") && read(0, b""));
        for scopes in ["a  b", " a", "a ", "a\tb", " "] {
            assert!(!read(0, scopes.as_bytes()), "{scopes:?}");
        }
        assert!(!read(0, b"\xff") && !read(16, b"a") && !read(128, b"a") && !read(2, b""));
        assert!(AccessToken::from_bytes(&[0, 255, 255, 255, 255, 255, 255, 255, 255, 0]).is_none());
    }

    #[test]
    fn no_beginning_of_the_bytes_is_a_token() {
        let bytes = bytes_of(&full());
        for length in 0..bytes.len() {
            assert!(AccessToken::from_bytes(&bytes[..length]).is_none(), "{length}");
        }
    }

    proptest! {
        #[test]
        fn all_facts_come_back(
            texts in prop::collection::vec(prop::option::of(".{0,300}"), 8),
            times in prop::collection::vec(prop::option::of(any::<i64>().prop_map(Timestamp::from_unix_millis)), 3),
            lists in prop::collection::vec(prop::option::of(prop::collection::vec(".{0,20}", 0..4)), 3),
            attributes in prop::collection::btree_map(".{0,8}", ".{0,8}", 0..3),
            claims in prop::collection::btree_map(".{0,12}|api_products|cnf|app", any::<(Option<u64>, f64, String)>(), 0..4),
        ) {
            type Set<T> = fn(AccessTokenBuilder, T) -> AccessTokenBuilder;
            let setters: [Set<String>; 8] = [
                AccessTokenBuilder::client_id, AccessTokenBuilder::app, AccessTokenBuilder::app_id,
                AccessTokenBuilder::grant_type, AccessTokenBuilder::subject, AccessTokenBuilder::username,
                AccessTokenBuilder::issuer, AccessTokenBuilder::token_id,
            ];
            let moments: [Set<Timestamp>; 3] =
                [AccessTokenBuilder::issued_at, AccessTokenBuilder::not_before, AccessTokenBuilder::expires_at];
            let rows: [Set<Vec<String>>; 3] = [
                |facts, scopes| facts.scopes(scopes.into_iter().collect()),
                AccessTokenBuilder::api_products, AccessTokenBuilder::audience,
            ];
            fn with<T>(facts: AccessTokenBuilder, set: Set<T>, value: Option<T>) -> AccessTokenBuilder {
                match value { Some(value) => set(facts, value), None => facts }
            }
            let facts = AccessToken::builder();
            let facts = setters.into_iter().zip(texts).fold(facts, |facts, (set, text)| with(facts, set, text));
            let facts = moments.into_iter().zip(times).fold(facts, |facts, (set, time)| with(facts, set, time));
            let facts = rows.into_iter().zip(lists).fold(facts, |facts, (set, list)| with(facts, set, list));
            let facts = attributes.into_iter().fold(facts, |facts, (name, value)| facts.attribute(name, value));
            let facts = claims.into_iter().fold(facts, |facts, (name, value)| facts.claim_value(&name, json!(value)));
            there_and_back(&facts.build());
        }

        #[test]
        fn bytes_that_are_changed_are_another_token_or_none(place in any::<prop::sample::Index>(), byte in any::<u8>()) {
            let mut bytes = bytes_of(&full());
            let place = place.index(bytes.len());
            bytes[place] = byte;
            if let Some(read) = AccessToken::from_bytes(&bytes) {
                prop_assert_eq!(bytes_of(&read), bytes);
            }
        }
    }
}
