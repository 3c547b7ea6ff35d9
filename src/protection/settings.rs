//! What the builders of endpoints can say about their protection.

use std::time::Duration;

use crate::build_error::BuildError;

/// At most so many questions in so much time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RateLimit {
    pub(crate) questions: u32,
    pub(crate) per: Duration,
}

/// As given to a builder.
#[derive(Clone, Debug)]
pub(crate) struct ProtectionSettings {
    pub(crate) max_concurrent_questions: usize,
    pub(crate) max_wait: Duration,
    pub(crate) rate_limit: RateLimit,
    pub(crate) max_retries: u32,
    pub(crate) breaker_threshold: u32,
    pub(crate) breaker_pause: Duration,
    pub(crate) max_retry_after: Duration,
}

impl ProtectionSettings {
    pub(crate) fn with_rate_limit_per_minute(questions: u32) -> Self {
        Self {
            max_concurrent_questions: 100,
            max_wait: Duration::from_secs(1),
            rate_limit: RateLimit { questions, per: Duration::from_secs(60) },
            max_retries: 2,
            breaker_threshold: 5,
            breaker_pause: Duration::from_secs(1),
            max_retry_after: Duration::from_secs(30),
        }
    }

    pub(crate) fn check(&self) -> Result<(), BuildError> {
        for (setting, is_zero, consequence) in [
            ("max_concurrent_questions", self.max_concurrent_questions == 0, "zero would let no question through"),
            ("rate_limit", self.rate_limit.questions == 0, "zero questions would let none through"),
            ("rate_limit", self.rate_limit.per.is_zero(), "a limit is for some time, and zero is none"),
            ("breaker_threshold", self.breaker_threshold == 0, "zero would never ask; `u32::MAX` never stops asking"),
            (
                "breaker_pause",
                self.breaker_pause.is_zero(),
                "zero is no pause; `breaker_threshold(u32::MAX)` makes none",
            ),
        ] {
            if is_zero {
                return Err(BuildError::new(setting, consequence));
            }
        }
        Ok(())
    }
}

/// The builder methods for [`ProtectionSettings`], for a builder with a member `protection`.
macro_rules! protection_settings {
    ($rate_limit:literal) => {
        /// How many questions may be under way at a time. Others wait for their turn; three quarters of the places are
        /// for all, the last quarter is kept for [known tokens](crate::introspect::Ask::is_known). Default: 100.
        pub fn max_concurrent_questions(mut self, questions: usize) -> Self {
            self.protection.max_concurrent_questions = questions;
            self
        }

        /// How long a question may wait for its turn before it fails with
        /// [`Overloaded`](crate::introspect::IntrospectErrorKind::Overloaded). Zero means that none waits. Default: 1
        /// second.
        pub fn max_wait(mut self, wait: std::time::Duration) -> Self {
            self.protection.max_wait = wait;
            self
        }

        /// How many questions this process may ask in a period `per`. Any window of that length has at most this many
        /// turns. (A question may go out a little after its turn, if it still waits for a place among
        /// [`max_concurrent_questions`](Self::max_concurrent_questions) or for a retry's pause.) Each retry takes a
        /// turn, and so does a question repeated with renewed credentials.
        ///
        /// A sixtieth of the turns may come at once; if that is fewer than ten, then ten, but no more than a quarter.
        /// The others are spread over the period. The last quarter is kept for [known
        /// tokens](crate::introspect::Ask::is_known).
        #[doc = concat!("Default: ", $rate_limit)]
        pub fn rate_limit(mut self, questions: u32, per: std::time::Duration) -> Self {
            self.protection.rate_limit = crate::protection::RateLimit { questions, per };
            self
        }

        /// How often a question is tried again if no connection could be made, if the connection broke before the
        /// answer began, or after HTTP 502, 503 or 504. A 503 that asks for a pause (a `Retry-After` other than zero)
        /// is not tried again.
        ///
        /// The pauses before the retries grow: 50, 100, 200 ms and so on, each with up to half of it added at random,
        /// half a second at most. Everything ends within [`request_timeout`](Self::request_timeout). Known tokens and
        /// strangers have a budget each: in any ten seconds, a fifth as many retries as questions, plus 20. Default: 2.
        pub fn max_retries(mut self, retries: u32) -> Self {
            self.protection.max_retries = retries;
            self
        }

        /// After how many failures in a row the authority is not asked for a while, so that callers learn at once that
        /// it is down: the circuit breaker opens. What counts is no connection, a broken one, a timeout, and HTTP 429,
        /// 502, 503 and 504, each after all retries. [Known tokens](crate::introspect::Ask::is_known) have a breaker of
        /// their own, which failures of other tokens do not open. `u32::MAX` keeps asking, but for a `Retry-After`.
        /// Default: 5.
        pub fn breaker_threshold(mut self, failures: u32) -> Self {
            self.protection.breaker_threshold = failures;
            self
        }

        /// How long the authority is not asked when the circuit breaker opens. Then one question goes through:
        /// answered, it closes the breaker; failed, the next pause is twice as long, up to 30 seconds. Default: 1
        /// second.
        pub fn breaker_pause(mut self, pause: std::time::Duration) -> Self {
            self.protection.breaker_pause = pause;
            self
        }

        /// The longest `Retry-After` that is honoured: an authority that answers 429 or 503 with one is not asked until
        /// then (about known tokens only if it was one of them), unless another question gets a verdict meanwhile, and
        /// callers are told to come back then. A longer one counts as this. Zero ignores them. Default: 30 seconds.
        pub fn max_retry_after(mut self, delay: std::time::Duration) -> Self {
            self.protection.max_retry_after = delay;
            self
        }
    };
}
pub(crate) use protection_settings;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unless_it_is_told_otherwise_an_endpoint_is_protected_by_the_defaults_of_the_readme() {
        let settings = ProtectionSettings::with_rate_limit_per_minute(7);
        assert_eq!((settings.rate_limit.questions, settings.rate_limit.per), (7, Duration::from_secs(60)));
        assert_eq!((settings.max_concurrent_questions, settings.max_wait), (100, Duration::from_secs(1)));
        assert_eq!(settings.max_retries, 2);
        assert_eq!((settings.breaker_threshold, settings.breaker_pause), (5, Duration::from_secs(1)));
        assert_eq!(settings.max_retry_after, Duration::from_secs(30));
    }
}
