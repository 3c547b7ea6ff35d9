//! How much an authority is asked, as the user says it.

use std::time::Duration;

use serde::Deserialize;

use crate::build_error::BuildError;

/// How much an authority is asked, and when it is left alone: given to the builder of an endpoint, by its `limits`.
///
/// ```
/// use std::time::Duration;
/// use tower_introspection::Apigee;
/// use tower_introspection::connection::Limits;
///
/// // Without a fleet, three processes divide what the vendor allows the organisation.
/// let limits = Limits::new().rate_limit(3_000, Duration::from_secs(60)).max_concurrent_requests(30);
/// let apigee =
///     Apigee::builder("my-org").basic_auth("token-reader@example.com", "password").limits(limits).build()?;
/// # Ok::<(), tower_introspection::BuildError>(())
/// ```
///
/// With serde the members have the names of the methods, durations are seconds, and the rate limit is
/// `{ "requests": 3000, "per": 60 }`. Zero for `max_concurrent_requests`, a part of `rate_limit`, `breaker_threshold`
/// or `breaker_pause` makes `build` of the endpoint fail.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[must_use]
pub struct Limits {
    #[serde(deserialize_with = "read::max_concurrent_requests")]
    pub(crate) max_concurrent_requests: usize,
    #[serde(deserialize_with = "read::max_wait")]
    pub(crate) max_wait: Duration,
    /// `None` for that of the endpoint.
    #[serde(deserialize_with = "read::rate_limit")]
    pub(crate) rate_limit: Option<RateLimit>,
    #[serde(deserialize_with = "read::max_retries")]
    pub(crate) max_retries: u32,
    #[serde(deserialize_with = "read::breaker_threshold")]
    pub(crate) breaker_threshold: u32,
    #[serde(deserialize_with = "read::breaker_pause")]
    pub(crate) breaker_pause: Duration,
    #[serde(deserialize_with = "read::max_retry_after")]
    pub(crate) max_retry_after: Duration,
}

mod read {
    use std::time::Duration;

    use serde::Deserialize;

    use super::RateLimit;
    use crate::settings::{named_settings, seconds};

    named_settings! {
        max_concurrent_requests: usize = usize::deserialize,
        max_wait: Duration = seconds,
        rate_limit: Option<RateLimit> = Option::deserialize,
        max_retries: u32 = u32::deserialize,
        breaker_threshold: u32 = u32::deserialize,
        breaker_pause: Duration = seconds,
        max_retry_after: Duration = seconds,
    }
}

/// At most so many HTTP requests about tokens in so much time.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, expecting = "`requests` and the seconds they are for, `per`")]
pub(crate) struct RateLimit {
    pub(crate) requests: u32,
    #[serde(deserialize_with = "crate::settings::seconds")]
    pub(crate) per: Duration,
}

impl RateLimit {
    pub(crate) fn per_minute(requests: u32) -> Self {
        Self { requests, per: Duration::from_secs(60) }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_concurrent_requests: 100,
            max_wait: Duration::from_secs(1),
            rate_limit: None,
            max_retries: 2,
            breaker_threshold: 5,
            breaker_pause: Duration::from_secs(1),
            max_retry_after: Duration::from_secs(30),
        }
    }
}

impl Limits {
    /// Starts with the defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many questions may be under way at the authority at a time, each of them one HTTP request at a time. Others
    /// wait for a place, [known tokens](crate::introspect::Ask::is_known) first. Strangers leave a quarter of the
    /// places free (one at least, of two or more), so that a known token finds one at once; known tokens can have all
    /// of them. Default: 100.
    pub fn max_concurrent_requests(mut self, requests: usize) -> Self {
        self.max_concurrent_requests = requests;
        self
    }

    /// How long a question may wait for its turn, by [`rate_limit`](Self::rate_limit), and for a place among
    /// [`max_concurrent_requests`](Self::max_concurrent_requests), before it fails with
    /// [`Overloaded`](crate::introspect::IntrospectErrorKind::Overloaded). Zero means that none waits. A question about
    /// a stranger fails sooner if [known tokens](crate::introspect::Ask::is_known) would have to wait for more than
    /// half of this. With a fleet, asking its engine for the turn counts as waiting, and takes half of this at most.
    /// Default: 1 second.
    #[doc(alias = "timeout")]
    pub fn max_wait(mut self, wait: Duration) -> Self {
        self.max_wait = wait;
        self
    }

    /// How many HTTP requests about tokens this process may send in a period `per`, or with a fleet (feature `redis`)
    /// all of its processes together. Each takes a turn: a question's first, each retry, and the one with renewed
    /// credentials. Any window of that length has at most this many turns. (A request may go out a little after its
    /// turn, if it still waits for a place among [`max_concurrent_requests`](Self::max_concurrent_requests) or for a
    /// retry's pause.)
    ///
    /// The burst, which may come at once, is a sixtieth of the limit, at least ten, and never more than a quarter of
    /// the limit. For [known tokens](crate::introspect::Ask::is_known) a further sixtieth is kept: at least a quarter
    /// of the burst, and at least one. The others are spread over the period: with 6,000 a minute, 100 may come at
    /// once, 100 are kept, and 5,800 are spread.
    ///
    /// Known tokens come first in the whole limit, and strangers get what they leave: a turn that is kept is there for
    /// a known token whatever strangers have booked, and as long as known tokens have used some, strangers wait until
    /// all are back. So known tokens that need the whole limit leave nothing to tokens never seen before: raise it
    /// then, or `max_ttl`. (A limit of one request has no part to keep.)
    ///
    /// A fleet's turns are booked in its engine. While that cannot be asked, each process goes by its part of the
    /// limit: divided by the processes that were alive when that was last known, by 4 if it never was, and at least one
    /// request. A window in which the engine goes or comes back can hold the limit twice: what it had booked, and the
    /// parts. With a [`max_wait`](Self::max_wait) of zero there is no time to ask it, and each process goes by its part
    /// always. All processes of a fleet are to have the same limit and the same `max_wait`.
    ///
    /// Default: the endpoint's own, 6,000 a minute for Apigee, of the 10,000 that the vendor allows an organisation,
    /// and 60,000 a minute for RFC 7662.
    #[doc(alias = "rate limit")]
    pub fn rate_limit(mut self, requests: u32, per: Duration) -> Self {
        self.rate_limit = Some(RateLimit { requests, per });
        self
    }

    /// How often a question is tried again if no connection could be made, if the connection broke before the answer
    /// began, or after HTTP 502, 503 or 504. A 503 that asks for a pause (a `Retry-After` other than zero) is not tried
    /// again.
    ///
    /// The pauses before the retries grow: 50, 100, 200 ms and so on, each with up to half of it added at random, half
    /// a second at most. Everything ends within the endpoint's `request_timeout`. Known tokens and strangers have a
    /// budget each: in any ten seconds, a fifth as many retries as questions, plus 20. Default: 2.
    pub fn max_retries(mut self, retries: u32) -> Self {
        self.max_retries = retries;
        self
    }

    /// After how many failures in a row the authority is not asked for a while, so that callers learn at once that it
    /// is down: the circuit breaker opens. What counts is no connection, a broken one, a timeout, and HTTP 429, 502,
    /// 503 and 504, each after all retries. `u32::MAX` keeps asking, but for a `Retry-After`. Default: 5.
    ///
    /// There are two breakers, one for [known tokens](crate::introspect::Ask::is_known) and one for strangers. Only
    /// failures about known tokens open the first. The second counts all failures, and only an answer about a stranger
    /// closes it, unless failures about known tokens alone have opened it: then one about a known token does, too.
    #[doc(alias = "circuit breaker")]
    pub fn breaker_threshold(mut self, failures: u32) -> Self {
        self.breaker_threshold = failures;
        self
    }

    /// How long the authority is not asked when the circuit breaker opens. Then one question goes through: answered, it
    /// closes the breaker; failed, the next pause is twice as long, up to 30 seconds. A verdict about a stranger
    /// ends the pause of known tokens early. Default: 1 second.
    #[doc(alias = "circuit breaker")]
    pub fn breaker_pause(mut self, pause: Duration) -> Self {
        self.breaker_pause = pause;
        self
    }

    /// The longest `Retry-After` that is honoured: an authority that answers 429 or 503 with one is not asked until
    /// then, and callers are told to come back then. A pause asked for in an answer about a known token holds for all,
    /// and ends early for known tokens with a verdict about a stranger. One asked for in an answer about a stranger
    /// holds for strangers only. A longer one counts as this. Zero ignores them. Default: 30 seconds.
    pub fn max_retry_after(mut self, delay: Duration) -> Self {
        self.max_retry_after = delay;
        self
    }

    pub(crate) fn check(&self) -> Result<(), BuildError> {
        for (setting, is_zero, consequence) in [
            ("max_concurrent_requests", self.max_concurrent_requests == 0, "zero would let no question through"),
            (
                "rate_limit",
                self.rate_limit.is_some_and(|limit| limit.requests == 0),
                "zero requests would let no question through",
            ),
            (
                "rate_limit",
                self.rate_limit.is_some_and(|limit| limit.per.is_zero()),
                "a limit is for some time, and zero is none",
            ),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unless_it_is_told_otherwise_an_endpoint_is_protected_by_the_defaults_of_the_readme() {
        let read: Limits = serde_json::from_str("{}").unwrap();
        for limits in [Limits::new(), read] {
            assert!(limits.rate_limit.is_none());
            assert_eq!((limits.max_concurrent_requests, limits.max_wait), (100, Duration::from_secs(1)));
            assert_eq!(limits.max_retries, 2);
            assert_eq!((limits.breaker_threshold, limits.breaker_pause), (5, Duration::from_secs(1)));
            assert_eq!(limits.max_retry_after, Duration::from_secs(30));
        }
    }

    #[test]
    fn a_file_says_what_the_methods_say() {
        let read: Limits = serde_json::from_str(
            r#"{"rate_limit":{"requests":6000,"per":60},"max_concurrent_requests":7,"max_wait":0.5,"max_retries":0,
                "breaker_threshold":3,"breaker_pause":2,"max_retry_after":0}"#,
        )
        .unwrap();
        let set = Limits::new()
            .rate_limit(6_000, Duration::from_secs(60))
            .max_concurrent_requests(7)
            .max_wait(Duration::from_millis(500))
            .max_retries(0)
            .breaker_threshold(3)
            .breaker_pause(Duration::from_secs(2))
            .max_retry_after(Duration::ZERO);
        assert_eq!(read, set);
        assert_ne!(read, Limits::new());
        assert!(serde_json::from_str::<Limits>(r#"{"rate_limit":null}"#).unwrap().rate_limit.is_none());
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        for (file, error) in [
            (
                r#"{"rate_limit":6000}"#,
                "`rate_limit`: invalid type: integer `6000`, expected `requests` and the seconds they are for, `per`",
            ),
            (r#"{"rate_limit":{"requests":1}}"#, "`rate_limit`: missing field `per`"),
            (r#"{"rate_limit":{"requests":-1,"per":1}}"#, "`rate_limit`: invalid value: integer `-1`, expected u32"),
            (r#"{"rate_limit":{"requests":1,"in":1}}"#, "`rate_limit`: unknown field `in`, expected `requests` or"),
            (r#"{"max_wait":true}"#, "`max_wait`: invalid type: boolean `true`, expected a number of seconds"),
            (r#"{"max_retry":1}"#, "unknown field `max_retry`, expected one of `max_concurrent_requests`, `max_wait`"),
        ] {
            let problem = serde_json::from_str::<Limits>(file).unwrap_err().to_string();
            assert!(problem.starts_with(error), "{file}: {problem}");
        }
    }
}
