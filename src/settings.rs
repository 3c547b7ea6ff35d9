//! Settings that stand in a file: how serde reads them, so that an error names the setting.

use std::fmt;
use std::time::Duration;

use serde::de::{Deserialize, Deserializer, Error, Unexpected, Visitor};

/// Functions for serde's `deserialize_with`, one for each setting, which has its name: without them an error tells what
/// was expected, and of the place a line at best.
macro_rules! named_settings {
    ($($setting:ident: $type:ty = $read:path),* $(,)?) => {$(
        pub(super) fn $setting<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<$type, D::Error> {
            let named = |error| serde::de::Error::custom(format_args!("`{}`: {error}", stringify!($setting)));
            $read(deserializer).map_err(named)
        }
    )*};
}
pub(crate) use named_settings;

/// A duration as a number of seconds, with a fraction or without.
pub(crate) fn seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    Seconds::deserialize(deserializer).map(|Seconds(duration)| duration)
}

/// The same, or nothing.
pub(crate) fn optional_seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    Option::<Seconds>::deserialize(deserializer).map(|seconds| seconds.map(|Seconds(duration)| duration))
}

struct Seconds(Duration);

impl<'de> Deserialize<'de> for Seconds {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // As a number, and not as whatever is there: what reads the environment has texts only, and turns them into
        // what is asked for.
        deserializer.deserialize_f64(ANumberOfSeconds)
    }
}

struct ANumberOfSeconds;

impl Visitor<'_> for ANumberOfSeconds {
    type Value = Seconds;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a number of seconds")
    }

    fn visit_u64<E: Error>(self, seconds: u64) -> Result<Seconds, E> {
        Ok(Seconds(Duration::from_secs(seconds)))
    }

    fn visit_i64<E: Error>(self, seconds: i64) -> Result<Seconds, E> {
        let seconds = u64::try_from(seconds).map_err(|_| E::invalid_value(Unexpected::Signed(seconds), &self))?;
        self.visit_u64(seconds)
    }

    fn visit_f64<E: Error>(self, seconds: f64) -> Result<Seconds, E> {
        let duration = Duration::try_from_secs_f64(seconds);
        duration.map(Seconds).map_err(|_| E::invalid_value(Unexpected::Float(seconds), &self))
    }
}
