//! What a token is: the string a caller presents, and the facts its authority states about it.
//!
//! [`BearerToken`], [`AccessToken`] and [`Scopes`] stand at the root of the crate.

pub(crate) mod access_token;
pub(crate) mod bearer;
mod claims;
mod packed;
pub(crate) mod scope;

pub(crate) use access_token::{AccessToken, Login, StatedClaims, Term};
pub use access_token::{AccessTokenBuilder, ClaimsError};
pub(crate) use bearer::BearerToken;
pub use bearer::MalformedToken;
pub(crate) use scope::{Scopes, is_scope_token};
