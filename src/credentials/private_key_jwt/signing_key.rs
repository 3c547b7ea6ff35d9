//! A private key, and what it makes of a message.
//!
//! `aws-lc-rs` is asked directly, since a library for JWTs picks its cryptography by its own features: ours would be
//! added to those of an application that uses the same library.

use aws_lc_rs::error::Unspecified;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, RSA_PKCS1_SHA256, RsaKeyPair};
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject;
use zeroize::Zeroizing;

/// A key that has signed once. AWS-LC holds it, and wipes it when it goes.
pub(super) enum SigningKey {
    Rsa(RsaKeyPair),
    P256(EcdsaKeyPair),
}

impl SigningKey {
    pub(super) fn from_pem(pem: &[u8]) -> Option<Self> {
        let der = Zeroizing::new(PrivateKeyDer::from_pem_slice(pem).ok()?);
        let key = Self::from_der(&der)?;
        // A key that is read but cannot sign is found here and not by the first request.
        key.sign(&[]).ok()?;
        Some(key)
    }

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
    pub(super) fn algorithm(&self) -> &'static str {
        match self {
            Self::Rsa(_) => "RS256",
            Self::P256(_) => "ES256",
        }
    }

    pub(super) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Unspecified> {
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
}
