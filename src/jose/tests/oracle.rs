//! `jsonwebtoken` reads what is signed here, and signs what is read here.

use jsonwebtoken::jwk::{Jwk, ThumbprintHash};
use jsonwebtoken::{DecodingKey, EncodingKey, Validation};

use super::*;

/// RFC 8410 section 10.3.
const ED25519: &str = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n\
                       -----END PRIVATE KEY-----\n";

fn theirs(algorithm: Algorithm) -> (jsonwebtoken::Algorithm, EncodingKey) {
    use jsonwebtoken::Algorithm::{ES256, ES384, EdDSA, PS256, RS256};
    let rsa = || EncodingKey::from_rsa_pem(include_bytes!("../../../tests/keys/rsa.pem")).unwrap();
    match algorithm {
        Es256 => (ES256, EncodingKey::from_ec_pem(include_bytes!("../../../tests/keys/ec.pem")).unwrap()),
        Es384 => (ES384, EncodingKey::from_ec_pem(include_bytes!("../../../tests/keys/p384.pem")).unwrap()),
        Ps256 => (PS256, rsa()),
        Rs256 => (RS256, rsa()),
        EdDsa => (EdDSA, EncodingKey::from_ed_pem(ED25519.as_bytes()).unwrap()),
    }
}

/// What it reads with this key alone.
fn decoded_by_theirs(text: &str, algorithm: Algorithm, key: &Value) -> jsonwebtoken::errors::Result<Value> {
    let key: Jwk = serde_json::from_value(key.clone()).unwrap();
    let mut validation = Validation::new(theirs(algorithm).0);
    validation.required_spec_claims.clear();
    jsonwebtoken::decode::<Value>(text, &DecodingKey::from_jwk(&key)?, &validation).map(|data| data.claims)
}

#[test]
fn what_it_signs_is_verified() {
    for algorithm in ALL {
        let (alg, key) = theirs(algorithm);
        let mut jwk = Jwk::from_encoding_key(&key, alg).unwrap();
        jwk.common.key_id = Some("k1".to_owned());
        let thumbprint = jwk.thumbprint(ThumbprintHash::SHA256).unwrap();
        let keys = KeySet::from_json(serde_json::to_vec(&jwk).unwrap()).unwrap();
        let mut header = jsonwebtoken::Header::new(alg);
        header.kid = Some("k1".to_owned());
        let claims = json!({"iss": "a", "exp": 1});
        let text = jsonwebtoken::encode(&header, &claims, &key).unwrap();
        let jws = Jws::parse(&text, LONGEST, &[algorithm]).unwrap();
        assert_eq!(serde_json::from_slice::<Value>(jws.payload()).unwrap(), claims);
        assert_eq!(jws.header().typ.as_deref(), Some("JWT"));
        let key = keys.verify(&jws).unwrap();
        assert_eq!((key.kid(), key.thumbprint()), (Some("k1"), &*thumbprint));
        assert_eq!(judged(&text, &issuer(algorithm).keys()), Err(Fault::NoSuchKey));
    }
}

#[test]
fn what_is_signed_here_is_verified_by_it() {
    for issuer in &*ISSUERS {
        let text = issuer.signed();
        assert_eq!(decoded_by_theirs(&text, issuer.algorithm, &issuer.key).unwrap(), json!({"iss": "a"}));
        let other = Issuer::of(EdDsa);
        assert!(decoded_by_theirs(&text, issuer.algorithm, &other.key).is_err());
    }
}

#[cfg(feature = "sandbox")]
#[test]
fn a_key_that_signs_is_published_as_the_key_that_verifies() {
    use crate::jose::SigningKey;

    let rsa = || SigningKey::from_pem(include_bytes!("../../../tests/keys/rsa.pem")).unwrap();
    let keys = [(SigningKey::generate_es256().unwrap(), Es256), (rsa(), Rs256)];
    let published: Vec<_> = keys.iter().map(|(key, _)| key.public_jwk()).collect();
    assert_eq!(published[1], rsa().public_jwk());
    let set = KeySet::from_json(json!({ "keys": published }).to_string()).unwrap();
    assert_eq!(set.len(), 2);
    for ((key, algorithm), public) in keys.iter().zip(&published) {
        assert_eq!((key.algorithm(), &public["alg"]), (algorithm.as_str(), &algorithm.as_str().into()));
        let claims = json!({"iss": "a"});
        let text = key.sign_compact(&json!({"alg": key.algorithm()}), &claims).unwrap();
        assert_eq!(judged(&text, &set), Ok(()));
        assert_eq!(decoded_by_theirs(&text, *algorithm, public).unwrap(), claims);
    }
    assert_ne!(published[0], SigningKey::generate_es256().unwrap().public_jwk());
}
