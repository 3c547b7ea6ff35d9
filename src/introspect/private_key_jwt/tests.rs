use std::collections::HashSet;

use jsonwebtoken::{DecodingKey, Validation};
use serde_json::Value;

use super::*;

const RSA: &str = include_str!("../../../tests/keys/rsa.pem");
const EC: &str = include_str!("../../../tests/keys/ec.pem");
const NOW: Timestamp = Timestamp::from_unix_millis(1_700_000_000_999);

fn assertion(key: &PrivateKeyJwt) -> String {
    let credential = key.sign(NOW).unwrap();
    let parameters: Vec<_> = credential.form_parameters().collect();
    assert_eq!(parameters[0], ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"));
    assert_eq!((parameters.len(), parameters[1].0), (2, "client_assertion"));
    parameters[1].1.to_owned()
}

fn verified(assertion: &str, algorithm: Algorithm, key: &DecodingKey) -> (Header, Value) {
    let mut validation = Validation::new(algorithm);
    validation.validate_exp = false;
    validation.set_audience(&["https://auth.example.com"]);
    let decoded = jsonwebtoken::decode(assertion, key, &validation).unwrap();
    (decoded.header, decoded.claims)
}

#[test]
fn an_assertion_is_signed_for_the_audience_for_a_minute_and_names_its_key() {
    let rsa = DecodingKey::from_rsa_pem(include_bytes!("../../../tests/keys/rsa.pub")).unwrap();
    let ec = DecodingKey::from_ec_pem(include_bytes!("../../../tests/keys/ec.pub")).unwrap();
    for (pem, algorithm, public) in [(RSA, Algorithm::RS256, rsa), (EC, Algorithm::ES256, ec)] {
        let key = PrivateKeyJwt::from_pem("my-api", pem).unwrap().key_id("k1").or_audience("https://auth.example.com");
        let (header, claims) = verified(&assertion(&key), algorithm, &public);
        assert_eq!(header.kid.as_deref(), Some("k1"));
        assert_eq!((&claims["iss"], &claims["sub"]), (&"my-api".into(), &"my-api".into()));
        assert_eq!((&claims["iat"], &claims["exp"]), (&1_700_000_000.into(), &1_700_000_060.into()));
    }
}

#[test]
fn no_two_assertions_have_the_same_identifier() {
    let public = DecodingKey::from_ec_pem(include_bytes!("../../../tests/keys/ec.pub")).unwrap();
    let key = || PrivateKeyJwt::from_pem("my-api", EC).unwrap().audience("https://auth.example.com");
    let (one, other) = (key(), key());
    let identifiers: HashSet<String> = [&one, &one, &one, &other, &other]
        .iter()
        .map(|key| verified(&assertion(key), Algorithm::ES256, &public).1["jti"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(identifiers.len(), 5);
}

#[test]
fn an_audience_of_ones_own_is_kept() {
    let key = PrivateKeyJwt::from_pem("a", EC).unwrap().audience("b").or_audience("c");
    assert_eq!(key.audience.as_deref(), Some("b"));
}

#[test]
fn a_key_that_cannot_sign_is_refused_when_it_is_read_and_none_is_shown() {
    let p384 = include_str!("../../../tests/keys/p384.pem");
    let public = include_str!("../../../tests/keys/ec.pub");
    for bad in ["", "not a key", p384, public, "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"] {
        assert_eq!(PrivateKeyJwt::from_pem("a", bad).unwrap_err().setting(), "private_key_jwt", "{bad}");
    }
    let shown = format!("{:?}", PrivateKeyJwt::from_pem("a", EC).unwrap());
    assert!(shown.contains("ES256") && !shown.contains("PRIVATE"), "{shown}");
}
