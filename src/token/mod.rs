//! What a token is: the string a caller presents, and the facts its authority states about it.

mod access_token;
mod bearer;
mod claims;
mod packed;
mod scope;

pub(crate) use access_token::Term;
pub use access_token::{AccessToken, AccessTokenBuilder};
pub use bearer::{BearerToken, MalformedToken};
pub use scope::Scopes;
pub(crate) use scope::is_scope_token;
