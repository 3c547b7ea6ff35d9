//! Any RFC 7662 introspection endpoint.
//!
//! [`Rfc7662`](crate::Rfc7662), which stands at the root of the crate, asks by `POST {url}` with the token in a form.

mod builder;
mod discovery;
pub(crate) mod endpoint;
pub(crate) mod wire;

pub use builder::Rfc7662Builder;
pub use discovery::DiscoveryError;
