//! JSON Web Signatures and the keys that judge them: RFC 7515 to 7519, 7638 and 8037.
//!
//! What is read here was written by others, so all of it is strict. Nothing here knows HTTP, a clock, or a state of the
//! process. `aws-lc-rs` is asked directly, since a library for JWTs picks its cryptography by its own features: ours
//! would be added to those of an application that uses the same library.

#[cfg(any(feature = "dpop", feature = "jwt"))]
mod algorithm;
#[cfg(any(feature = "certificate-bound", feature = "dpop", feature = "jwt"))]
mod base64url;
#[cfg(any(feature = "certificate-bound", feature = "dpop", feature = "jwt"))]
mod fault;
#[cfg(any(feature = "dpop", feature = "jwt"))]
mod jws;
#[cfg(any(feature = "dpop", feature = "jwt"))]
mod key;
#[cfg(feature = "jwt")]
mod key_set;
#[cfg(any(feature = "private-key-jwt", feature = "sandbox"))]
mod signing_key;

#[cfg(feature = "jwt")]
pub use self::{algorithm::Algorithm, key_set::KeySet};

#[cfg(all(feature = "dpop", not(feature = "jwt")))]
pub(crate) use self::algorithm::Algorithm;
#[cfg(any(feature = "certificate-bound", feature = "dpop"))]
pub(crate) use self::base64url::decoded;
#[cfg(any(feature = "certificate-bound", feature = "dpop", all(feature = "signals", any(test, fuzzing))))]
pub(crate) use self::base64url::encoded;
#[cfg(feature = "jwt")]
pub(crate) use self::jws::{Header, Unverified, unverified};
#[cfg(feature = "dpop")]
pub(crate) use self::key::StatedKey;
#[cfg(any(feature = "private-key-jwt", feature = "sandbox"))]
pub(crate) use self::signing_key::SigningKey;
#[cfg(any(feature = "dpop", feature = "jwt"))]
pub(crate) use self::{fault::Fault, jws::Jws};

/// FIPS 180-4.
#[cfg(any(feature = "certificate-bound", feature = "dpop", feature = "jwt"))]
pub(crate) fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes).as_ref());
    hash
}

#[cfg(test)]
#[cfg(feature = "jwt")]
mod tests;
