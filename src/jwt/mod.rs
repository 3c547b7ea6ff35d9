//! JWT access tokens, RFC 9068 (feature `jwt`).

pub use crate::jose::{Algorithm, KeySet};
