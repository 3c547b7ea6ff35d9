//! The settings of a cache.

use std::sync::Arc;
use std::time::Duration;

use super::freshness::Limits;
use crate::clock::{Clock, SystemClock};

pub(super) struct CacheSettings {
    pub(super) name: String,
    pub(super) max_capacity: u64,
    pub(super) inactive_capacity: u64,
    pub(super) max_questions: usize,
    /// 30 seconds, or a second more than the endpoint's own, unless it is set.
    pub(super) question_timeout: Option<Duration>,
    pub(super) limits: Limits,
    pub(super) clock: Arc<dyn Clock>,
}

impl Default for CacheSettings {
    fn default() -> Self {
        Self {
            name: "default".into(),
            max_capacity: 100_000,
            inactive_capacity: 10_000,
            max_questions: 1_000,
            question_timeout: None,
            limits: Limits::default(),
            clock: Arc::new(SystemClock),
        }
    }
}
