//! The document about a protected resource, RFC 9728.
//!
//! [`ProtectedResource`](crate::ProtectedResource) stands at the root of the crate.

pub(crate) mod document;

pub use document::ProtectedResourceBuilder;
