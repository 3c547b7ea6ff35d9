//! Any RFC 7662 introspection endpoint.
//!
//! [`Rfc7662`](crate::Rfc7662), which stands at the root of the crate, asks by `POST {url}` with the token in a form.

mod builder;
pub(crate) mod endpoint;
mod first_question;
#[cfg(feature = "jwt")]
mod signed;
pub(crate) mod wire;

pub use crate::discovery::DiscoveryError;
pub use builder::Rfc7662Builder;
#[cfg(feature = "jwt")]
pub use signed::SignedAnswers;
