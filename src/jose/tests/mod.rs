//! Everything that is signed and read here; each algorithm has an issuer of its own.

mod changes;
mod headers;
mod keys;
mod oracle;
mod rfcs;
mod wycheproof;

use std::sync::LazyLock;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm,
    Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RSA_PSS_SHA256, RsaKeyPair, RsaSignatureEncoding,
};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use super::algorithm::Algorithm::{self, EdDsa, Es256, Es384, Ps256, Rs256};
use super::base64url::{decoded, encoded};
use super::fault::Fault;
use super::jws::{Header, Jws};
use super::key_set::KeySet;

const ALL: [Algorithm; 5] = [Es256, Es384, Ps256, Rs256, EdDsa];
const LONGEST: usize = 4_096;

/// RFC 7515 appendix A.2.1.
const MODULUS: &str = concat!(
    "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMs",
    "D1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdV",
    "MTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ",
);

enum Signer {
    Ecdsa(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
    Rsa(RsaKeyPair, &'static RsaSignatureEncoding),
}

struct Issuer {
    algorithm: Algorithm,
    signer: Signer,
    /// Without any member that could be left out.
    key: Value,
}

static ISSUERS: LazyLock<[Issuer; 5]> = LazyLock::new(|| ALL.map(Issuer::of));

impl Issuer {
    fn of(algorithm: Algorithm) -> Self {
        let (signer, key) = match algorithm {
            Es256 => ecdsa("P-256", &ECDSA_P256_SHA256_FIXED_SIGNING),
            Es384 => ecdsa("P-384", &ECDSA_P384_SHA384_FIXED_SIGNING),
            EdDsa => {
                let signer = Ed25519KeyPair::generate().unwrap();
                let key = json!({"kty": "OKP", "crv": "Ed25519", "x": encoded(signer.public_key().as_ref())});
                (Signer::Ed25519(signer), key)
            }
            Ps256 => rsa(&RSA_PSS_SHA256),
            Rs256 => rsa(&RSA_PKCS1_SHA256),
        };
        Self { algorithm, signer, key }
    }

    fn keys(&self) -> KeySet {
        KeySet::from_json(self.key.to_string()).unwrap()
    }

    fn sign(&self, header: &str, payload: &str) -> String {
        self.sign_parts(&encoded(header.as_bytes()), &encoded(payload.as_bytes()))
    }

    fn sign_parts(&self, header: &str, payload: &str) -> String {
        let text = format!("{header}.{payload}");
        format!("{text}.{}", encoded(&self.signer.sign(text.as_bytes())))
    }

    /// Without anything that could be left out.
    fn signed(&self) -> String {
        self.sign(&format!(r#"{{"alg":"{}"}}"#, self.algorithm), r#"{"iss":"a"}"#)
    }
}

impl Signer {
    fn sign(&self, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match self {
            Self::Ecdsa(key) => key.sign(&random, message).unwrap().as_ref().to_vec(),
            Self::Ed25519(key) => key.sign(message).as_ref().to_vec(),
            Self::Rsa(key, encoding) => {
                let mut signature = vec![0; key.public_modulus_len()];
                key.sign(*encoding, &random, message, &mut signature).unwrap();
                signature
            }
        }
    }
}

fn ecdsa(curve: &str, algorithm: &'static EcdsaSigningAlgorithm) -> (Signer, Value) {
    let signer = EcdsaKeyPair::generate(algorithm).unwrap();
    let coordinates = &signer.public_key().as_ref()[1..];
    let (x, y) = coordinates.split_at(coordinates.len() / 2);
    let key = json!({"kty": "EC", "crv": curve, "x": encoded(x), "y": encoded(y)});
    (Signer::Ecdsa(signer), key)
}

fn rsa(encoding: &'static RsaSignatureEncoding) -> (Signer, Value) {
    let pem = include_str!("../../../tests/keys/rfc7515.pem");
    let der: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
    let signer = RsaKeyPair::from_der(&BASE64_STANDARD.decode(der).unwrap()).unwrap();
    (Signer::Rsa(signer, encoding), json!({"kty": "RSA", "n": MODULUS, "e": "AQAB"}))
}

fn issuer(algorithm: Algorithm) -> &'static Issuer {
    ISSUERS.iter().find(|issuer| issuer.algorithm == algorithm).unwrap()
}

/// Whether the text is read with any of the algorithms and was signed by one of the keys.
fn judged(text: &str, keys: &KeySet) -> Result<(), Fault> {
    keys.verify(&Jws::parse(text, LONGEST, &ALL)?).map(drop)
}
