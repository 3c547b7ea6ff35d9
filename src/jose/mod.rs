//! JSON Web Signatures and the keys that judge them: RFC 7515 to 7519, 7638 and 8037.
//!
//! What is read here was written by others, so all of it is strict. Nothing here knows HTTP, a clock, or a state of the
//! process. `aws-lc-rs` is asked directly, since a library for JWTs picks its cryptography by its own features: ours
//! would be added to those of an application that uses the same library.

#[cfg(feature = "jwt")]
mod algorithm;
#[cfg(feature = "jwt")]
mod base64url;
#[cfg(feature = "jwt")]
mod fault;
#[cfg(feature = "jwt")]
mod jws;
#[cfg(feature = "jwt")]
mod key;
#[cfg(feature = "jwt")]
mod key_set;
#[cfg(any(feature = "private-key-jwt", feature = "sandbox"))]
mod signing_key;

#[cfg(feature = "jwt")]
pub use self::{algorithm::Algorithm, key_set::KeySet};

#[cfg(any(feature = "private-key-jwt", feature = "sandbox"))]
pub(crate) use self::signing_key::SigningKey;
#[cfg(feature = "jwt")]
pub(crate) use self::{
    fault::Fault,
    jws::{Header, Jws, Unverified, unverified},
};

#[cfg(test)]
#[cfg(feature = "jwt")]
mod tests;
