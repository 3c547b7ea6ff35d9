//! Figures for operators: of caches, endpoints and layers.

pub use crate::cache::figures::CacheStats;
pub use crate::histogram::Histogram;
pub use crate::layer::stats::LayerStats;
pub use crate::protection::{BreakerState, EndpointHandle, EndpointStats, Health, LastFailure};
