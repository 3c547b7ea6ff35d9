//! The layer, and the service it makes.
//!
//! [`IntrospectionLayer`](crate::IntrospectionLayer) stands at the root of the crate.

mod builder;
mod cache_control;
pub(crate) mod future;
pub(crate) mod guard;
pub(crate) mod introspection_layer;
pub(crate) mod require;
pub(crate) mod service;
pub(crate) mod stats;

pub use builder::IntrospectionLayerBuilder;
pub use require::{Require, RequireLayer};
pub use service::Introspection;

pub use crate::request::OriginalUri;
