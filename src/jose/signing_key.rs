//! A private key, and what it makes of a message.

use aws_lc_rs::error::Unspecified;
use aws_lc_rs::rand::SystemRandom;
#[cfg(feature = "sandbox")]
use aws_lc_rs::rsa::KeySize;
#[cfg(feature = "sandbox")]
use aws_lc_rs::signature::KeyPair;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, RSA_PKCS1_SHA256, RsaKeyPair};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
#[cfg(feature = "private-key-jwt")]
use rustls_pki_types::PrivateKeyDer;
#[cfg(feature = "private-key-jwt")]
use rustls_pki_types::pem::PemObject;
use serde::Serialize;
#[cfg(feature = "sandbox")]
use serde_json::{Value, json};
use tower::BoxError;
#[cfg(feature = "private-key-jwt")]
use zeroize::Zeroizing;

/// A key that has signed once. AWS-LC holds it, and wipes it when it goes.
pub(crate) enum SigningKey {
    Rsa(RsaKeyPair),
    P256(EcdsaKeyPair),
}

impl SigningKey {
    #[cfg(feature = "private-key-jwt")]
    pub(crate) fn from_pem(pem: &[u8]) -> Option<Self> {
        let der = Zeroizing::new(PrivateKeyDer::from_pem_slice(pem).ok()?);
        let key = Self::from_der(&der)?;
        // A key that is read but cannot sign is found here and not by the first request.
        key.sign(&[]).ok()?;
        Some(key)
    }

    /// A new P-256 key.
    #[cfg(feature = "sandbox")]
    pub(crate) fn generate_es256() -> Result<Self, Unspecified> {
        EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).map(Self::P256)
    }

    /// A new RSA key of 2,048 bits.
    #[cfg(feature = "sandbox")]
    pub(crate) fn generate_rs256() -> Result<Self, Unspecified> {
        RsaKeyPair::generate(KeySize::Rsa2048).map(Self::Rsa)
    }

    #[cfg(feature = "private-key-jwt")]
    fn from_der(der: &PrivateKeyDer) -> Option<Self> {
        let ecdsa = &ECDSA_P256_SHA256_FIXED_SIGNING;
        match der {
            PrivateKeyDer::Pkcs1(der) => RsaKeyPair::from_der(der.secret_pkcs1_der()).map(Self::Rsa).ok(),
            PrivateKeyDer::Sec1(der) => {
                EcdsaKeyPair::from_private_key_der(ecdsa, der.secret_sec1_der()).map(Self::P256).ok()
            }
            PrivateKeyDer::Pkcs8(der) => {
                let der = der.secret_pkcs8_der();
                let rsa = RsaKeyPair::from_pkcs8(der).map(Self::Rsa);
                rsa.or_else(|_| EcdsaKeyPair::from_pkcs8(ecdsa, der).map(Self::P256)).ok()
            }
            _ => None,
        }
    }

    /// As RFC 7518 section 3.1 names it.
    pub(crate) fn algorithm(&self) -> &'static str {
        match self {
            Self::Rsa(_) => "RS256",
            Self::P256(_) => "ES256",
        }
    }

    /// The compact form of a JWS, RFC 7515 section 7.1. The `alg` of the header is to be
    /// [`algorithm`](Self::algorithm).
    pub(crate) fn sign_compact(&self, header: &impl Serialize, claims: &impl Serialize) -> Result<String, BoxError> {
        let mut text = BASE64_URL_SAFE_NO_PAD.encode(serde_json::to_vec(header)?);
        text.push('.');
        BASE64_URL_SAFE_NO_PAD.encode_string(serde_json::to_vec(claims)?, &mut text);
        let signature = self.sign(text.as_bytes())?;
        text.push('.');
        BASE64_URL_SAFE_NO_PAD.encode_string(signature, &mut text);
        Ok(text)
    }

    pub(crate) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Unspecified> {
        let random = SystemRandom::new();
        match self {
            Self::Rsa(key) => {
                let mut signature = vec![0; key.public_modulus_len()];
                key.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature)?;
                Ok(signature)
            }
            Self::P256(key) => Ok(key.sign(&random, message)?.as_ref().to_vec()),
        }
    }

    /// The public half, RFC 7517 section 4, without `kid`.
    #[cfg(feature = "sandbox")]
    pub(crate) fn public_jwk(&self) -> Value {
        let encoded = |bytes: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(bytes);
        let alg = self.algorithm();
        match self {
            Self::P256(key) => {
                // SEC 1 section 2.3.3: one byte that says so, and the two coordinates.
                let (x, y) = key.public_key().as_ref()[1..].split_at(32);
                json!({ "kty": "EC", "crv": "P-256", "use": "sig", "alg": alg, "x": encoded(x), "y": encoded(y) })
            }
            Self::Rsa(key) => {
                let (n, e) = rsa_numbers(key.public_key().as_ref()).unwrap_or_default();
                json!({ "kty": "RSA", "use": "sig", "alg": alg, "n": encoded(n), "e": encoded(e) })
            }
        }
    }
}

/// The modulus and the exponent in an `RSAPublicKey`, RFC 8017 appendix A.1.1.
#[cfg(feature = "sandbox")]
fn rsa_numbers(der: &[u8]) -> Option<(&[u8], &[u8])> {
    /// What is in the first value, and what is behind it.
    fn value(der: &[u8]) -> Option<(&[u8], &[u8])> {
        let (length, rest) = match der {
            [_, 0x82, high, low, rest @ ..] => (u16::from_be_bytes([*high, *low]), rest),
            [_, 0x81, length, rest @ ..] | [_, length @ ..=0x7f, rest @ ..] => (u16::from(*length), rest),
            _ => return None,
        };
        rest.split_at_checked(length.into())
    }
    let (n, rest) = value(value(der)?.0)?;
    let (e, _) = value(rest)?;
    // A zero that keeps a number from being negative is no part of it.
    Some((n.strip_prefix(&[0]).unwrap_or(n), e))
}
