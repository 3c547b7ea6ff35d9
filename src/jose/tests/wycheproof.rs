//! Project Wycheproof's vectors: `tests/wycheproof/README.md`.

use std::path::Path;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::*;

#[derive(Deserialize)]
struct Group<T> {
    key: Value,
    tests: Vec<T>,
}

/// The published package holds none.
fn read<T: DeserializeOwned>(name: &str) -> Vec<Group<T>> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/wycheproof").join(name);
    std::fs::read(file).map(|text| serde_json::from_slice(&text).unwrap()).unwrap_or_default()
}

fn verdict(text: &str, keys: Result<&KeySet, &Fault>) -> Result<(), Fault> {
    let keys = keys.map_err(|fault| *fault)?;
    keys.verify(&Jws::of_any_payload(text, LONGEST, &ALL)?.0).map(drop)
}

#[test]
fn every_signed_text_is_judged_as_it_says() {
    let mut valid = 0;
    for group in read::<(u32, bool, String)>("json_web_signature.json") {
        let keys = KeySet::parse(group.key.to_string().as_bytes());
        for (id, expected, text) in group.tests {
            let verdict = verdict(&text, keys.as_ref());
            assert_eq!(verdict.is_ok(), expected, "{id} {verdict:?}");
            valid += usize::from(expected);
        }
    }
    assert!(valid == 0 || valid > 10);
}

#[test]
fn every_key_set_is_judged_as_it_says() {
    for group in read::<(u32, bool, String)>("json_web_key.json") {
        let keys = KeySet::parse(group.key.to_string().as_bytes());
        for (id, expected, text) in group.tests {
            let verdict = verdict(&text, keys.as_ref());
            match id {
                // A shared key, which is none here.
                2 | 13..=15 => assert_eq!(verdict, Err(Fault::KeyType)),
                // A key from a chip that chose weak primes. Nothing but its issuer can be blamed for a weak key.
                7 => assert_eq!(verdict, Ok(())),
                _ => assert_eq!(verdict.is_ok(), expected, "{id} {verdict:?}"),
            }
        }
    }
}

#[test]
fn every_signature_is_judged_as_it_says() {
    for (file, algorithm) in [("ecdsa_p256.json", Es256), ("ecdsa_p384.json", Es384), ("ed25519.json", EdDsa)] {
        for group in read::<(u32, bool, String, String)>(file) {
            let keys = KeySet::from_json(group.key.to_string()).unwrap();
            let header = Header { algorithm, typ: None, kid: None };
            let key = keys.candidates(&header).next().unwrap();
            for (id, expected, message, signature) in group.tests {
                let verdict = key.verify(algorithm, &decoded(&message).unwrap(), &decoded(&signature).unwrap());
                assert_eq!(verdict.is_ok(), expected, "{file} {id}");
            }
        }
    }
}
