//! What is remembered.
//!
//! [`Cached`](crate::Cached) and [`CacheHandle`](crate::CacheHandle) stand at the root of the crate.

mod builder;
pub(crate) mod cached;
mod entries;
pub(crate) mod figures;
mod flight;
mod freshness;
pub(crate) mod handle;
mod index;
mod invalidation;
mod key;
mod lately;
mod marks;
mod outage;
mod settings;
mod shared;
mod store;

pub use builder::CachedBuilder;
#[cfg(feature = "signals")]
pub(crate) use invalidation::Rest;
pub use invalidation::{Invalidation, Reach};
pub use settings::CacheSettings;

pub use crate::selection::Selection;
