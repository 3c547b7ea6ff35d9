//! Who is asked.
//!
//! [`Introspect`], at the root of the crate, is the seam everything hangs on: endpoints implement it, a cache
//! implements it over an endpoint, and the layer knows nothing else.

mod any;
pub(crate) mod authorities;
pub(crate) mod introspector;
#[cfg(feature = "dpop")]
mod proof_memory;
pub(crate) mod verdict;

pub use any::AnyIntrospector;
pub use authorities::{AuthoritiesBuilder, ChooseIntrospector, ChosenAuthority};
pub(crate) use introspector::Introspect;
pub use introspector::{Ask, IntrospectFn};
#[cfg(feature = "dpop")]
pub use proof_memory::ProofMemory;
#[cfg(all(feature = "dpop", feature = "redis"))]
pub(crate) use proof_memory::{Inserting, SharedProofs};
pub(crate) use verdict::{InactiveReason, Unclear, Verdict};

pub use crate::error::IntrospectErrorKind;
