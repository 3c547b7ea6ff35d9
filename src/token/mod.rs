//! What a token is: the string a caller presents, and the facts its authority states about it.

mod access_token;
mod bearer;
mod claims;
mod packed;
mod remembered;
mod scope;

pub use access_token::{AccessToken, AccessTokenBuilder};
pub use bearer::{BearerToken, MalformedToken};
pub(crate) use remembered::Remembered;
pub use scope::Scopes;
pub(crate) use scope::is_scope_token;
