//! Figures for operators: of caches, endpoints and layers.

pub use crate::cache::figures::CacheStats;
pub use crate::histogram::Histogram;
pub use crate::layer::stats::{LayerHandle, LayerStats};
pub use crate::protection::{BreakerState, EndpointHandle, EndpointStats, Health, LastFailure};
