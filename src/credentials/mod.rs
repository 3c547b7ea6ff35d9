//! What this service shows the authority to be allowed to ask.

mod client_credentials;
pub(crate) mod grant;
#[cfg(feature = "private-key-jwt")]
mod private_key_jwt;
mod renewal;
pub(crate) mod source;

pub use client_credentials::ClientCredentials;
#[cfg(feature = "private-key-jwt")]
pub use private_key_jwt::PrivateKeyJwt;

pub use crate::http::credential::Credential;
