//! JWT access tokens, RFC 9068, that are judged here (feature `jwt`), and what goes with them.
//!
//! [`Jwt`](crate::Jwt), which stands at the root of the crate, verifies a token's signature with the keys that its
//! issuer publishes, and nobody is asked about the token. [`Hybrid`] verifies and then asks. [`ByIssuer`] has several
//! issuers and opaque tokens behind one layer. [`SignedAnswers`](crate::rfc7662::SignedAnswers) has an RFC 7662
//! endpoint sign what it says.
//!
//! ```text
//! token
//!    │  form        three parts, strict base64url, JSON without a member twice      ── no ──▶ Unverified
//!    │  header      `alg` is allowed, no `crit`, `typ` is that of an access token   ── no ──▶ Unverified
//!    │  claims      `iss` to the letter, `aud`, `exp`, `nbf`, `iat`                 ── no ──▶ Unverified, Expired
//!    │  key         one of this issuer's that fits `kid` and `alg`                  ── no ──▶ Unverified
//!    │  signature                                                                   ── no ──▶ Unverified
//!    ▼
//! Active
//! ```
//!
//! In this order because each step is cheaper than the one below it: what cannot come in costs neither a signature nor
//! a fetch of keys.

mod access_token_claim;
mod builder;
mod by_issuer;
mod claims;
mod hybrid;
mod refusals;
pub(crate) mod verifier;

pub use access_token_claim::AccessTokenClaim;
pub use builder::JwtBuilder;
pub use by_issuer::{ByIssuer, ByIssuerBuilder};
pub use hybrid::Hybrid;

pub use crate::jose::{Algorithm, KeySet};
