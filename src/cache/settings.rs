//! The settings of a cache, as they may stand in a file.

use std::time::Duration;

use serde::Deserialize;

use super::freshness::Limits;

/// The settings of a [`Cached`](crate::Cached) as one value, to be read from a file with serde and given to
/// [`CachedBuilder::settings`](super::CachedBuilder::settings).
///
/// The members have the names of the methods of [`CachedBuilder`](super::CachedBuilder), which tell what they mean;
/// what is left out has its default. Durations are seconds, with a fraction or without. The clock alone is set at the
/// builder.
///
/// ```
/// use tower_introspection::cache::CacheSettings;
///
/// let settings: CacheSettings = serde_json::from_str(
///     r#"{
///         "name": "orders",
///         "max_capacity": 100000,
///         "max_ttl": 60,
///         "inactive_capacity": 10000,
///         "inactive_ttl": 10,
///         "expiry_leeway": 0.5,
///         "refresh_ahead": 0.2,
///         "refresh_ahead_uses": 4,
///         "stale_if_error": 0,
///         "max_flights": 1000,
///         "question_timeout": 30,
///         "longest_token_lifetime": 86400
///     }"#,
/// )?;
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[must_use]
pub struct CacheSettings {
    #[serde(deserialize_with = "read::name")]
    pub(super) name: String,
    #[serde(deserialize_with = "read::max_capacity")]
    pub(super) max_capacity: u64,
    #[serde(deserialize_with = "read::max_ttl")]
    pub(super) max_ttl: Duration,
    #[serde(deserialize_with = "read::inactive_capacity")]
    pub(super) inactive_capacity: u64,
    #[serde(deserialize_with = "read::inactive_ttl")]
    pub(super) inactive_ttl: Duration,
    #[serde(deserialize_with = "read::expiry_leeway")]
    pub(super) expiry_leeway: Duration,
    #[serde(deserialize_with = "read::refresh_ahead")]
    pub(super) refresh_ahead: f64,
    #[serde(deserialize_with = "read::refresh_ahead_uses")]
    pub(super) refresh_ahead_uses: u32,
    #[serde(deserialize_with = "read::stale_if_error")]
    pub(super) stale_if_error: Duration,
    #[serde(deserialize_with = "read::max_flights")]
    pub(super) max_flights: usize,
    /// 30 seconds, or a second more than the endpoint's own, unless it is set.
    #[serde(deserialize_with = "read::question_timeout")]
    pub(super) question_timeout: Option<Duration>,
    #[serde(deserialize_with = "read::longest_token_lifetime")]
    pub(super) longest_token_lifetime: Duration,
}

mod read {
    use std::time::Duration;

    use serde::Deserialize;

    use crate::settings::{named_settings, optional_seconds, seconds};

    named_settings! {
        name: String = String::deserialize,
        max_capacity: u64 = u64::deserialize,
        max_ttl: Duration = seconds,
        inactive_capacity: u64 = u64::deserialize,
        inactive_ttl: Duration = seconds,
        expiry_leeway: Duration = seconds,
        refresh_ahead: f64 = f64::deserialize,
        refresh_ahead_uses: u32 = u32::deserialize,
        stale_if_error: Duration = seconds,
        max_flights: usize = usize::deserialize,
        question_timeout: Option<Duration> = optional_seconds,
        longest_token_lifetime: Duration = seconds,
    }
}

impl Default for CacheSettings {
    fn default() -> Self {
        Self {
            name: "default".into(),
            max_capacity: 100_000,
            max_ttl: Duration::from_secs(60),
            inactive_capacity: 10_000,
            inactive_ttl: Duration::from_secs(10),
            expiry_leeway: Duration::ZERO,
            refresh_ahead: 0.2,
            refresh_ahead_uses: 4,
            stale_if_error: Duration::ZERO,
            max_flights: 1_000,
            question_timeout: None,
            longest_token_lifetime: Duration::from_secs(24 * 60 * 60),
        }
    }
}

impl CacheSettings {
    pub(super) fn limits(&self) -> Limits {
        Limits {
            max_ttl: self.max_ttl,
            inactive_ttl: self.inactive_ttl,
            expiry_leeway: self.expiry_leeway,
            refresh_ahead: self.refresh_ahead,
            refresh_ahead_uses: self.refresh_ahead_uses,
            stale_if_error: self.stale_if_error,
        }
    }
}
