//! Access to the token in handlers of web frameworks.

#[cfg(feature = "axum")]
mod axum;
#[cfg(feature = "tonic")]
pub(crate) mod tonic;

#[cfg(feature = "axum")]
pub use self::axum::AccessTokenRejection;
