use std::collections::HashSet;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde_json::Value;

use super::*;

const RSA: &str = include_str!("../../../tests/keys/rsa.pem");
const EC: &str = include_str!("../../../tests/keys/ec.pem");
/// The same key as `EC`.
const EC_SEC1: &str = include_str!("../../../tests/keys/ec_sec1.pem");
const NOW: Timestamp = Timestamp::from_unix_millis(1_700_000_000_999);

fn assertion(key: &PrivateKeyJwt) -> String {
    let credential = key.sign(NOW).unwrap();
    let parameters: Vec<_> = credential.form_parameters().collect();
    assert_eq!(parameters[0], ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"));
    assert_eq!((parameters.len(), parameters[1].0), (2, "client_assertion"));
    parameters[1].1.to_owned()
}

fn verified(assertion: &str, algorithm: Algorithm, key: &DecodingKey) -> (jsonwebtoken::Header, Value) {
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
    let keys = [(RSA, Algorithm::RS256, &rsa), (EC, Algorithm::ES256, &ec), (EC_SEC1, Algorithm::ES256, &ec)];
    for (pem, algorithm, public) in keys {
        let key = PrivateKeyJwt::from_pem("my-api", pem).unwrap().key_id("k1").or_audience("https://auth.example.com");
        let (header, claims) = verified(&assertion(&key), algorithm, public);
        assert_eq!((header.typ.as_deref(), header.kid.as_deref()), (Some("JWT"), Some("k1")));
        assert_eq!((&claims["iss"], &claims["sub"]), (&"my-api".into(), &"my-api".into()));
        assert_eq!((&claims["iat"], &claims["exp"]), (&1_700_000_000.into(), &1_700_000_060.into()));
    }
}

#[test]
fn a_header_names_no_key_unless_it_is_told_to() {
    let header = |key: PrivateKeyJwt| {
        let assertion = assertion(&key);
        let header = BASE64_URL_SAFE_NO_PAD.decode(assertion.split('.').next().unwrap()).unwrap();
        String::from_utf8(header).unwrap()
    };
    let key = || PrivateKeyJwt::from_pem("my-api", EC).unwrap();
    assert_eq!(header(key()), r#"{"typ":"JWT","alg":"ES256"}"#);
    assert_eq!(header(key().key_id("a\"b")), r#"{"typ":"JWT","alg":"ES256","kid":"a\"b"}"#);
}

#[test]
fn an_rsa_key_signs_as_the_example_of_rfc_7515_does() {
    // Appendix A.2.1: what is signed, and what comes of it.
    let message = "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19\
                   yb290Ijp0cnVlfQ";
    let expected = "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9\
                    uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB\
                    _eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rq\
                    Vt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw";
    let key = SigningKey::from_pem(include_bytes!("../../../tests/keys/rfc7515.pem")).unwrap();
    assert_eq!(key.algorithm(), "RS256");
    assert_eq!(BASE64_URL_SAFE_NO_PAD.encode(key.sign(message.as_bytes()).unwrap()), expected);
}

#[test]
fn a_key_is_found_behind_a_certificate_and_whatever_the_line_ends() {
    let certificate = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    for pem in [format!("{certificate}{EC}"), EC.replace('\n', "\r\n"), EC.trim_end().to_owned()] {
        assert!(PrivateKeyJwt::from_pem("a", &pem).is_ok(), "{pem:?}");
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
fn a_key_that_cannot_sign_is_refused_when_it_is_read() {
    let p384 = include_str!("../../../tests/keys/p384.pem");
    let p384_sec1 = include_str!("../../../tests/keys/p384_sec1.pem");
    let rsa1024 = include_str!("../../../tests/keys/rsa1024.pem");
    let public = include_str!("../../../tests/keys/ec.pub");
    // RFC 8410 section 10.3: it signs, but neither with RS256 nor with ES256.
    let ed25519 = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n\
                   -----END PRIVATE KEY-----\n";
    let nonsense = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
    let cut_off = &RSA[..RSA.len() / 2];
    let mislabelled = EC.replace("PRIVATE KEY", "RSA PRIVATE KEY");
    for bad in ["", "not a key", p384, p384_sec1, rsa1024, public, ed25519, nonsense, cut_off, mislabelled.as_str()] {
        let error = PrivateKeyJwt::from_pem("a", bad).unwrap_err();
        assert_eq!(
            error.to_string(),
            "`pem`: it is not an RSA key of at least 2,048 bits, nor a P-256 key in PKCS #8 or SEC 1",
            "{bad}"
        );
    }
}

#[test]
fn nothing_of_a_key_is_shown() {
    for (pem, algorithm) in [(RSA, "RS256"), (EC, "ES256")] {
        let key = PrivateKeyJwt::from_pem("a", pem).unwrap().key_id("k1");
        let shown = format!(r#"PrivateKeyJwt {{ client_id: "a", algorithm: {algorithm}, key_id: Some("k1"), .. }}"#);
        assert_eq!(format!("{key:?}"), shown);
    }
}
