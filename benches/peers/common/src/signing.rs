//! Keys of a run and what they sign. By a library that none of the peers verifies with in a way of its own, and never
//! in a measurement.

use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair, RSA_PKCS1_SHA256, RsaKeyPair};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::{AUDIENCE, Failure, SCOPE, failure};

/// Tokens live for a day, so that none expires in a run.
const LIFETIME: u64 = 86_400;

pub(crate) struct Issuer {
    url: String,
    rsa: RsaKeyPair,
    ecdsa: EcdsaKeyPair,
}

impl Issuer {
    pub(crate) fn new(url: &str) -> Result<Self, Failure> {
        let rsa = RsaKeyPair::generate(KeySize::Rsa2048).map_err(|_| failure("no RSA key"))?;
        let ecdsa = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).map_err(|_| failure("no EC key"))?;
        Ok(Self { url: url.to_owned(), rsa, ecdsa })
    }

    /// The public keys.
    pub(crate) fn jwks(&self) -> Value {
        let rsa = self.rsa.public_key();
        let modulus = encode(rsa.modulus().big_endian_without_leading_zero());
        let exponent = encode(rsa.exponent().big_endian_without_leading_zero());
        // Uncompressed: a four, and the two coordinates.
        let (x, y) = self.ecdsa.public_key().as_ref()[1..].split_at(32);
        json!({"keys": [
            {"kty": "RSA", "use": "sig", "alg": "RS256", "kid": "rsa", "n": modulus, "e": exponent},
            {"kty": "EC", "use": "sig", "alg": "ES256", "kid": "ec", "crv": "P-256", "x": encode(x), "y": encode(y)},
        ]})
    }

    pub(crate) fn rs256(&self, n: usize) -> String {
        let message = self.message("RS256", "rsa", n);
        let mut signature = vec![0; self.rsa.public_modulus_len()];
        self.rsa
            .sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message.as_bytes(), &mut signature)
            .expect("the key fits the algorithm");
        format!("{message}.{}", encode(&signature))
    }

    pub(crate) fn es256(&self, n: usize) -> String {
        let message = self.message("ES256", "ec", n);
        let signature = self.ecdsa.sign(&SystemRandom::new(), message.as_bytes()).expect("the key fits the algorithm");
        format!("{message}.{}", encode(signature.as_ref()))
    }

    /// Header and claims of RFC 9068.
    fn message(&self, algorithm: &str, key: &str, n: usize) -> String {
        let header = json!({"alg": algorithm, "typ": "at+jwt", "kid": key});
        let mut claims = claims(&self.url, n);
        claims["jti"] = json!(format!("{n:032x}"));
        format!("{}.{}", encode(header.to_string().as_bytes()), encode(claims.to_string().as_bytes()))
    }
}

/// What is known of the `n`th token, as a JWT's claims and as the answer to a question.
pub(crate) fn claims(issuer: &str, n: usize) -> Value {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    json!({
        "iss": issuer,
        "sub": format!("user-{n}"),
        "aud": AUDIENCE,
        "client_id": "fGytmxA5UDajPMdOA5E3bebiBOBPikOT",
        "scope": format!("{SCOPE} orders.write"),
        "iat": now,
        "exp": now + LIFETIME,
    })
}

fn encode(bytes: &[u8]) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}
