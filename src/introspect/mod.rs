//! Who is asked.
//!
//! [`Introspect`], at the root of the crate, is the seam everything hangs on: endpoints implement it, a cache
//! implements it over an endpoint, and the layer knows nothing else.

mod any;
pub(crate) mod authorities;
pub(crate) mod introspector;
pub(crate) mod verdict;

pub use any::AnyIntrospector;
pub use authorities::{AuthoritiesBuilder, ChooseIntrospector, ChosenAuthority};
pub(crate) use introspector::Introspect;
pub use introspector::{Ask, IntrospectFn};
pub(crate) use verdict::{InactiveReason, Unclear, Verdict};

pub use crate::error::IntrospectErrorKind;
