//! Wall time, injected.
//!
//! Whatever depends on the time of day asks a [`Clock`]. Programs use [`SystemClock`]; tests use `ManualClock`, which
//! stands still until it is moved, so that the instant at which a token expires can be hit exactly.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::Number;

/// A moment: milliseconds since the Unix epoch.
///
/// Arithmetic saturates, so no answer of an authority can make a time wrap around.
///
/// It is written and read as the `NumericDate` that `exp`, `iat` and `nbf` of a token are, RFC 7519 section 2: a number
/// of seconds since the Unix epoch, whole if it can be. A fraction is read to the nearest millisecond.
///
/// ```
/// use std::time::Duration;
/// use tower_introspection::clock::Timestamp;
///
/// let issued = Timestamp::from_unix_millis(1_343_036_540_877);
/// assert_eq!((issued + Duration::from_secs(1_800)).as_unix_millis(), 1_343_038_340_877);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The moment that [`SystemClock`] shows: to say when a token that is made by hand expires. Whatever judges expiry
    /// asks the [`Clock`] it was given instead.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tower_introspection::{AccessToken, clock::Timestamp};
    ///
    /// let token = AccessToken::builder().expires_at(Timestamp::now() + Duration::from_secs(1_800)).build();
    /// ```
    #[must_use]
    pub fn now() -> Self {
        SystemClock.now()
    }

    /// The moment `millis` milliseconds after the Unix epoch.
    #[must_use]
    pub const fn from_unix_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// The moment `seconds` seconds after the Unix epoch.
    #[must_use]
    pub const fn from_unix_seconds(seconds: i64) -> Self {
        Self(seconds.saturating_mul(1_000))
    }

    /// Milliseconds since the Unix epoch.
    #[must_use]
    pub const fn as_unix_millis(self) -> i64 {
        self.0
    }

    /// The same moment as the standard library has it; `None` if it is beyond what that can tell on this system.
    #[must_use]
    pub fn to_system_time(self) -> Option<SystemTime> {
        let millis = Duration::from_millis(self.0.unsigned_abs());
        if self.0 < 0 { UNIX_EPOCH.checked_sub(millis) } else { UNIX_EPOCH.checked_add(millis) }
    }

    /// How long after `earlier` this moment is; zero if it is not after it.
    #[must_use]
    pub fn saturating_since(self, earlier: Self) -> Duration {
        let millis = self.0.saturating_sub(earlier.0);
        Duration::from_millis(u64::try_from(millis).unwrap_or(0))
    }

    /// Whether the clock went back since it showed `earlier`. A little less is nothing: threads that read it at about
    /// the same time come to what they read it for in any order.
    pub(crate) fn was_set_back_since(self, earlier: Self) -> bool {
        earlier.saturating_since(self) >= Duration::from_secs(1)
    }
}

impl std::ops::Add<Duration> for Timestamp {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(whole_millis(duration)))
    }
}

impl std::ops::Sub<Duration> for Timestamp {
    type Output = Self;

    fn sub(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(whole_millis(duration)))
    }
}

impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Self {
        match time.duration_since(UNIX_EPOCH) {
            Ok(after) => Self(whole_millis(after)),
            Err(before) => Self(-whole_millis(before.duration())),
        }
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0 % 1_000 == 0 {
            return serializer.serialize_i64(self.0 / 1_000);
        }
        #[allow(clippy::cast_precision_loss)] // none within the next 280,000 years
        serializer.serialize_f64(self.0 as f64 / 1_000.0)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = Number::deserialize(deserializer)?;
        if let Some(seconds) = number.as_i64() {
            return Ok(Self::from_unix_seconds(seconds));
        }
        let seconds = number.as_f64().filter(|seconds| seconds.is_finite());
        let seconds = seconds.ok_or_else(|| de::Error::custom("not a number of seconds"))?;
        #[allow(clippy::cast_possible_truncation)] // it saturates
        Ok(Self((seconds * 1_000.0).round() as i64))
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{}ms", self.0)
    }
}

/// Saturates. (`Duration::as_millis` divides 128 bits, which shows on the path of a cache hit.)
fn whole_millis(duration: Duration) -> i64 {
    let seconds = i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
    seconds.saturating_mul(1_000).saturating_add(i64::from(duration.subsec_millis()))
}

/// Tells what time it is.
pub trait Clock: Send + Sync + 'static {
    /// The wall time at this moment.
    fn now(&self) -> Timestamp;
}

impl<C: Clock + ?Sized> Clock for Arc<C> {
    fn now(&self) -> Timestamp {
        (**self).now()
    }
}

/// The operating system's wall clock.
///
/// On Linux with glibc the kernel is asked and not the C library, so what shifts the library's time (`libfaketime`,
/// some simulators) does not shift this: give such a program a [`Clock`] of its own.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    /// In two thirds of the time that `SystemTime` takes, whose seconds since the epoch are a subtraction: reading the
    /// clock is a good part of a hit in a cache.
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    #[allow(clippy::disallowed_methods)]
    fn now(&self) -> Timestamp {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
        #[allow(clippy::useless_conversion)] // a 32-bit number on some systems
        let millis = i64::from(now.tv_nsec / 1_000_000);
        Timestamp(now.tv_sec.saturating_mul(1_000).saturating_add(millis))
    }

    #[cfg(not(all(target_os = "linux", target_env = "gnu")))]
    #[allow(clippy::disallowed_methods)]
    fn now(&self) -> Timestamp {
        SystemTime::now().into()
    }
}

/// Measures how long a question took.
pub(crate) struct Stopwatch(tokio::time::Instant);

impl Stopwatch {
    #[allow(clippy::disallowed_methods)]
    pub(crate) fn start() -> Self {
        Self(tokio::time::Instant::now())
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }
}

#[cfg(any(test, feature = "test-util"))]
pub use manual::ManualClock;

#[cfg(any(test, feature = "test-util"))]
mod manual {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicI64, Ordering};
    use std::time::Duration;

    use super::{Clock, Timestamp};

    /// A clock that stands still until it is moved. Clones share one time.
    ///
    /// [`new`](Self::new) is for most tests: with it, tokens whose expiry counts from [`Timestamp::now`] live as long
    /// as they say. [`at`](Self::at) is for those that name moments.
    ///
    /// Give a clone to each that judges time: [`CachedBuilder::clock`](crate::cache::CachedBuilder::clock), the `clock`
    /// of the endpoint's builder, that of the layer's if it requires a recent login, and, in tests with the feature
    /// `sandbox`, `Sandbox::start_with_clock`. Timeouts, waits for a turn and pauses between retries run on tokio's
    /// timer and not on this clock: a test of those needs `tokio::time::pause` as well.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tower_introspection::clock::{Clock, ManualClock, Timestamp};
    ///
    /// let clock = ManualClock::at(Timestamp::from_unix_millis(1_000));
    /// clock.advance(Duration::from_millis(500));
    /// assert_eq!(clock.now(), Timestamp::from_unix_millis(1_500));
    /// ```
    #[derive(Clone, Debug)]
    pub struct ManualClock(Arc<AtomicI64>);

    impl Default for ManualClock {
        fn default() -> Self {
            Self::new()
        }
    }

    impl ManualClock {
        /// A clock that shows the moment at which it was made.
        #[must_use]
        pub fn new() -> Self {
            Self::at(Timestamp::now())
        }

        /// A clock that shows `now`.
        #[must_use]
        pub fn at(now: Timestamp) -> Self {
            Self(Arc::new(AtomicI64::new(now.as_unix_millis())))
        }

        /// Moves the clock forward.
        pub fn advance(&self, by: Duration) {
            self.set(self.now() + by);
        }

        /// Moves the clock to `now`, which may lie in the past.
        pub fn set(&self, now: Timestamp) {
            self.0.store(now.as_unix_millis(), Ordering::SeqCst);
        }
    }

    impl Clock for ManualClock {
        fn now(&self) -> Timestamp {
            Timestamp::from_unix_millis(self.0.load(Ordering::SeqCst))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arithmetic_saturates_at_both_ends() {
        let last = Timestamp::from_unix_millis(i64::MAX);
        let first = Timestamp::from_unix_millis(i64::MIN);
        assert_eq!(last + Duration::MAX, last);
        assert_eq!(first - Duration::MAX, first);
        assert_eq!(first.saturating_since(last), Duration::ZERO);
        assert_eq!(last.saturating_since(first), Duration::from_millis(u64::try_from(i64::MAX).unwrap()));
    }

    #[test]
    fn times_before_the_epoch_are_negative() {
        let before = UNIX_EPOCH - Duration::from_millis(5);
        assert_eq!(Timestamp::from(before).as_unix_millis(), -5);
    }

    #[test]
    fn a_moment_goes_to_the_standard_library_and_back() {
        for millis in [-5, 0, 1_343_036_540_877] {
            let moment = Timestamp::from_unix_millis(millis);
            assert_eq!(moment.to_system_time().map(Timestamp::from), Some(moment));
        }
        // It depends on the system whether there is such a time, and it must not panic.
        for end in [i64::MIN, i64::MAX] {
            let there = Timestamp::from_unix_millis(end).to_system_time();
            assert!(there.is_none_or(|time| Timestamp::from(time).as_unix_millis().abs_diff(end) <= 1));
        }
    }

    #[test]
    fn a_moment_is_written_and_read_as_the_numeric_date_that_it_is_in_a_token() {
        for (millis, text) in
            [(0, "0"), (1_700_000_000_000, "1700000000"), (-2_500, "-2.5"), (1_700_000_000_001, "1700000000.001")]
        {
            let moment = Timestamp::from_unix_millis(millis);
            assert_eq!(serde_json::to_string(&moment).unwrap(), text);
            assert_eq!(serde_json::from_str::<Timestamp>(text).unwrap(), moment);
        }
        assert_eq!(Timestamp::from_unix_seconds(-3), Timestamp::from_unix_millis(-3_000));
        for (text, millis) in [
            ("1.0", 1_000),
            ("0.0004", 0),
            ("9223372036854775807", i64::MAX),
            ("18446744073709551615", i64::MAX),
            ("-1e300", i64::MIN),
        ] {
            assert_eq!(serde_json::from_str::<Timestamp>(text).unwrap().as_unix_millis(), millis, "{text}");
        }
        for other in ["\"1\"", "null", "true", "[1]", "{}"] {
            assert!(serde_json::from_str::<Timestamp>(other).is_err(), "{other}");
        }
    }

    #[test]
    fn what_shows_the_present_shows_what_the_standard_library_does() {
        #[allow(clippy::disallowed_methods)]
        let from_std = || Timestamp::from(SystemTime::now());
        let presents =
            [|| SystemClock.now(), Timestamp::now, || ManualClock::new().now(), || ManualClock::default().now()];
        for (n, present) in presents.into_iter().enumerate() {
            let shows_the_same = || {
                let (before, now, after) = (from_std(), present(), from_std());
                (before..=after).contains(&now)
            };
            // Once more, should the clock have been set meanwhile.
            assert!(shows_the_same() || shows_the_same(), "{n}");
        }
    }
}
