//! Nothing that differs from what was signed is taken.

use proptest::prelude::*;
use proptest::sample::Index;

use super::*;

/// Signed once for all cases, and long enough that each part ends within a group of base64url.
static SIGNED: LazyLock<[(String, KeySet); 5]> = LazyLock::new(|| {
    ALL.map(|algorithm| {
        let issuer = issuer(algorithm);
        let header = format!(r#"{{"alg":"{algorithm}","kid":"k1","typ":"at+jwt"}}"#);
        let mut key = issuer.key.clone();
        key["kid"] = "k1".into();
        let text = issuer.sign(&header, r#"{"iss":"https://auth.example.com","sub":"alice","exp":1700000000}"#);
        (text, KeySet::from_json(key.to_string()).unwrap())
    })
});

fn every_change_of_a_byte_is_refused(algorithm: usize, others: &(impl Iterator<Item = u8> + Clone)) {
    let (text, keys) = &SIGNED[algorithm];
    assert_eq!(judged(text, keys), Ok(()));
    for at in 0..text.len() {
        for other in others.clone().filter(|other| *other != text.as_bytes()[at]) {
            let mut changed = text.clone().into_bytes();
            changed[at] = other;
            let Ok(changed) = String::from_utf8(changed) else { continue };
            assert!(judged(&changed, keys).is_err(), "byte {at} of {text} as {other}");
        }
    }
}

/// The neighbours of each character, of which one may stand for the same bytes, and what is none of base64url.
#[test]
fn no_near_change_of_one_byte_is_taken() {
    for algorithm in 0..ALL.len() {
        every_change_of_a_byte_is_refused(algorithm, &b".=AEQgw_-+/ \n\0".iter().copied());
    }
}

/// What a header could say to have another key or another algorithm judge.
fn member() -> impl Strategy<Value = String> {
    prop_oneof![
        prop::sample::select(vec![
            "none", "HS256", "RS256", "PS256", "ES256", "ES384", "EdDSA", "Ed25519", "RS512", "ES512", "ES256K", ""
        ])
        .prop_map(|alg| format!(r#""alg":"{alg}""#)),
        prop::sample::select(vec!["k1", "k2", "", "../k1"]).prop_map(|kid| format!(r#""kid":"{kid}""#)),
        prop::sample::select(vec!["jku", "x5u", "x5c", "x5t", "typ", "cty", "crit", "b64", "zip", "enc"])
            .prop_map(|name| format!(r#""{name}":"https://evil.example/keys""#)),
        (0..ALL.len()).prop_map(|issuer| format!(r#""jwk":{}"#, ISSUERS[issuer].key)),
    ]
}

proptest! {
    #[test]
    fn no_change_of_one_byte_is_taken(algorithm in 0..ALL.len(), at: Index, other: u8) {
        let (text, keys) = &SIGNED[algorithm];
        let mut changed = text.clone().into_bytes();
        let at = at.index(changed.len());
        prop_assume!(changed[at] != other);
        changed[at] = other;
        if let Ok(changed) = String::from_utf8(changed) {
            prop_assert!(judged(&changed, keys).is_err());
        }
    }

    #[test]
    fn nothing_is_taken_that_was_cut_or_grew(algorithm in 0..ALL.len(), at: Index, added in "[A-Za-z0-9_.=-]{0,4}") {
        let (text, keys) = &SIGNED[algorithm];
        let at = at.index(text.len());
        prop_assert!(judged(&text[..at], keys).is_err());
        if !added.is_empty() {
            let grown = [&text[..at], &added, &text[at..]].concat();
            prop_assert!(judged(&grown, keys).is_err());
        }
    }

    /// Everybody's keys are in the set, so that whichever a header asks for is there.
    #[test]
    fn no_header_moves_a_signature_to_another_key_or_algorithm(
        signs in 0..ALL.len(), members in prop::collection::vec(member(), 0..4), resigned: bool
    ) {
        let issuer = &ISSUERS[signs];
        let header = format!("{{{}}}", members.join(","));
        let (text, _) = &SIGNED[signs];
        let text = if resigned {
            issuer.sign(&header, "{}")
        } else {
            format!("{}.{}", encoded(header.as_bytes()), text.split_once('.').unwrap().1)
        };
        let own = format!(r#""alg":"{}""#, issuer.algorithm);
        let named: Vec<_> = members.iter().filter(|member| member.starts_with(r#""alg""#)).collect();
        let is_named = matches!(&named[..], [name] if **name == own || (issuer.algorithm == EdDsa && **name == r#""alg":"Ed25519""#));
        let keys: Vec<_> = ISSUERS.iter().map(|issuer| issuer.key.clone()).collect();
        let keys = KeySet::from_json(json!({ "keys": keys }).to_string()).unwrap();
        if judged(&text, &keys).is_ok() {
            prop_assert!(resigned && is_named, "{}", header);
            prop_assert!(!header.contains("crit") && !header.contains("b64"), "{}", header);
        }
    }
}
