//! What stands between questions and the authority, so that neither harms the other.
//!
//! ```text
//! question
//!    │  deadline    `request_timeout`: all of what follows ends within it
//!    ▼
//! breaker           is the authority known to be down?                    ── yes ──────▶ CircuitOpen, at once
//!    ▼
//! turn              a place among `max_concurrent_questions`, and a moment
//!    │              that keeps `rate_limit`                               ── too late ─▶ Overloaded
//!    ▼
//! breaker           the one probe, if it was open
//!    ▼
//! retries           up to `max_retries` more attempts, within a budget
//!    ▼
//! attempt           one HTTP exchange; the breaker learns how the last one ended
//! ```
//!
//! In this order because each step is cheaper than the one below it, and because each must see what it judges: the breaker
//! stands above the turns so that an outage does not fill them with questions that wait for nothing, and again below them
//! so that a probe is not one that still waits. Retries are inside of the turn, or they could outnumber the places; the
//! breaker counts a question with all its retries once, or retries would open it early. The deadline is outermost: whatever
//! happens below, the caller has an answer by then.

mod breaker;
mod retry;
mod turns;

use std::fmt;
use std::future::Future;
use std::sync::atomic::{AtomicI64, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tower::retry::Retry;
use tower::retry::budget::{Budget, TpsBudget};
use tower::{ServiceExt, service_fn};

pub use self::breaker::BreakerState;
pub(crate) use self::turns::Share;

use self::breaker::{Admission, Breaker};
use self::retry::Retries;
use self::turns::Turns;
use super::{IntrospectError, IntrospectErrorKind};
use crate::build_error::BuildError;
use crate::clock::{Clock, Stopwatch, Timestamp};

/// After how many failures in a row, of whatever kind, the endpoint counts as failing, and for how long after the last one.
const FAILING: (u32, Duration) = (5, Duration::from_secs(30));

/// So many questions in a time.
#[derive(Clone, Copy, Debug)]
pub(super) struct RateLimit {
    pub(super) questions: u32,
    pub(super) per: Duration,
}

/// As given to a builder.
#[derive(Clone, Debug)]
pub(super) struct ProtectionSettings {
    pub(super) max_concurrent_questions: usize,
    pub(super) max_wait: Duration,
    pub(super) rate_limit: RateLimit,
    pub(super) max_retries: u32,
    pub(super) breaker_threshold: u32,
    pub(super) breaker_pause: Duration,
    pub(super) max_retry_after: Duration,
}

impl ProtectionSettings {
    pub(super) fn with_rate_limit_per_minute(questions: u32) -> Self {
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

    pub(super) fn check(&self) -> Result<(), BuildError> {
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
        /// How many questions may be under way at a time. Others wait for their turn; three quarters of the places are for
        /// all, the last quarter is kept for tokens that were active when they were last asked about. Default: 100.
        pub fn max_concurrent_questions(mut self, questions: usize) -> Self {
            self.protection.max_concurrent_questions = questions;
            self
        }

        /// How long a question may wait for its turn before it fails with
        /// [`Overloaded`](crate::IntrospectErrorKind::Overloaded). Zero means that none waits. Default: 1 second.
        pub fn max_wait(mut self, wait: std::time::Duration) -> Self {
            self.protection.max_wait = wait;
            self
        }

        /// How many questions this process may ask in a time; no window of that length holds more. Retries count. A sixtieth
        /// may come at once (or ten, or a quarter, if that is little), the others are spread. The last quarter is kept for
        /// tokens that were active when they were last asked about.
        #[doc = concat!("Default: ", $rate_limit)]
        pub fn rate_limit(mut self, questions: u32, per: std::time::Duration) -> Self {
            self.protection.rate_limit = crate::introspect::protection::RateLimit { questions, per };
            self
        }

        /// How often a question is asked again after a connection that could not be made or broke before the answer began,
        /// or after HTTP 502, 503 or 504. Each time after a longer pause (50, 100, 200 ms, up to a half more by chance, half a
        /// second at most), and all within [`request_timeout`](Self::request_timeout). In ten seconds there are no
        /// more retries than a fifth of the questions and 20. Default: 2.
        pub fn max_retries(mut self, retries: u32) -> Self {
            self.protection.max_retries = retries;
            self
        }

        /// After how many failures in a row the authority is not asked for a while, so that callers learn at once that it is
        /// down: the circuit breaker opens. What counts is no connection, a broken one, a timeout, and HTTP 429, 502, 503 and
        /// 504, each after all retries. Tokens that were active when they were last asked about have a breaker of their own, which
        /// failures of other tokens do not open. `u32::MAX` keeps asking, but for a `Retry-After`. Default: 5.
        pub fn breaker_threshold(mut self, failures: u32) -> Self {
            self.protection.breaker_threshold = failures;
            self
        }

        /// How long the authority is not asked when the circuit breaker opens. Then one question goes through: answered, it
        /// closes the breaker; failed, the next pause is twice as long, up to 30 seconds. Default: 1 second.
        pub fn breaker_pause(mut self, pause: std::time::Duration) -> Self {
            self.protection.breaker_pause = pause;
            self
        }

        /// The longest `Retry-After` that is honoured: an authority that answers 429 or 503 with one is not asked until then,
        /// and callers are told to come back then. A longer one counts as this. Zero ignores them. Default: 30 seconds.
        pub fn max_retry_after(mut self, delay: std::time::Duration) -> Self {
            self.protection.max_retry_after = delay;
            self
        }
    };
}
pub(super) use protection_settings;

/// The protection of one endpoint.
pub(super) struct Protection {
    deadline: Duration,
    max_retries: u32,
    max_retry_after: Duration,
    known: Breaker,
    strangers: Breaker,
    turns: Turns,
    budget: TpsBudget,
    counters: Counters,
    /// Failures since the last answer, and when the last one was, in milliseconds.
    failures: AtomicU32,
    failed_at: AtomicI64,
    clock: Arc<dyn Clock>,
}

/// What a question has come to.
#[derive(Default)]
pub(super) struct Progress {
    sent: OnceLock<Stopwatch>,
}

#[derive(Default)]
pub(super) struct Counters {
    attempts: AtomicU64,
    retries: AtomicU64,
    turned_away: AtomicU64,
}

impl Counters {
    fn attempt(&self) {
        self.attempts.fetch_add(1, Ordering::Relaxed);
    }

    fn retry(&self) {
        self.retries.fetch_add(1, Ordering::Relaxed);
    }

    fn turned_away(&self) {
        self.turned_away.fetch_add(1, Ordering::Relaxed);
    }
}

impl Protection {
    pub(super) fn new(settings: &ProtectionSettings, deadline: Duration, clock: Arc<dyn Clock>) -> Self {
        let breaker = |share| Breaker::new(share, settings.breaker_threshold, settings.breaker_pause);
        Self {
            deadline,
            max_retries: settings.max_retries,
            max_retry_after: settings.max_retry_after,
            known: breaker(Share::Known),
            strangers: breaker(Share::Stranger),
            turns: Turns::new(
                settings.max_concurrent_questions,
                settings.rate_limit,
                settings.max_wait,
                Arc::clone(&clock),
            ),
            budget: retry::budget(),
            counters: Counters::default(),
            failures: AtomicU32::new(0),
            failed_at: AtomicI64::new(i64::MIN),
            clock,
        }
    }

    /// Asks by `attempt`, as often and as soon as it is good for both sides. An attempt says when it [sends](Self::sends)
    /// something.
    pub(super) async fn run<T, F, Fut>(
        &self,
        share: Share,
        progress: &Progress,
        attempt: F,
    ) -> Result<T, IntrospectError>
    where
        F: Fn() -> Fut + Sync,
        Fut: Future<Output = Result<T, IntrospectError>> + Send,
        T: Send,
    {
        let breaker = self.breaker(share);
        let mut admission = None;
        let asking = async {
            if let Some(left) = breaker.closed_for(self.clock.now()) {
                return Err(circuit_open(left));
            }
            let _turn = self.turns.take(share).await.map_err(|_too_late| self.overloaded())?;
            admission = Some(breaker.admit(self.clock.now()).map_err(circuit_open)?);
            self.attempts(share, attempt).await
        };
        let outcome = tokio::time::timeout(self.deadline, asking).await;
        let Some(admission) = admission else {
            // The deadline is shorter than `max_wait`.
            return outcome.unwrap_or_else(|_| Err(self.overloaded()));
        };
        let outcome = outcome.unwrap_or_else(|_| {
            Err(IntrospectError::new(IntrospectErrorKind::Timeout)
                .with_source(format!("{:?} passed (`request_timeout`)", self.deadline)))
        });
        self.learn(share, progress, admission, &outcome);
        outcome
    }

    fn learn<T>(&self, share: Share, progress: &Progress, admission: Admission, outcome: &Result<T, IntrospectError>) {
        let now = self.clock.now();
        match outcome {
            Ok(_) => self.failures.store(0, Ordering::Relaxed),
            Err(_) => {
                self.failures.fetch_add(1, Ordering::Relaxed);
                self.failed_at.store(now.as_unix_millis(), Ordering::Relaxed);
            }
        }
        // The authority is not to blame for the time that a turn or a login took.
        let had_time = || progress.sent.get().is_some_and(|sent| sent.elapsed() >= self.deadline / 2);
        if outcome.as_ref().is_err_and(IntrospectError::is_timeout) && !had_time() {
            return;
        }
        admission.settle(outcome, now);
        match share {
            Share::Known => self.strangers.hear(outcome, now),
            Share::Stranger if !outcome.as_ref().is_err_and(IntrospectError::is_outage) => {
                self.known.hear(outcome, now);
            }
            Share::Stranger => {}
        }
    }

    /// Notes that an HTTP request goes out.
    pub(super) fn sends(&self, progress: &Progress) {
        self.counters.attempt();
        progress.sent.get_or_init(Stopwatch::start);
    }

    fn breaker(&self, share: Share) -> &Breaker {
        match share {
            Share::Known => &self.known,
            Share::Stranger => &self.strangers,
        }
    }

    async fn attempts<T, F, Fut>(&self, share: Share, attempt: F) -> Result<T, IntrospectError>
    where
        F: Fn() -> Fut + Sync,
        Fut: Future<Output = Result<T, IntrospectError>> + Send,
        T: Send,
    {
        self.budget.deposit();
        let retries = Retries {
            left: self.max_retries,
            share,
            budget: &self.budget,
            turns: &self.turns,
            counters: &self.counters,
            backoff: retry::backoff(),
        };
        let attempt = &attempt;
        let bounded = service_fn(move |()| {
            let attempt = attempt();
            async move { attempt.await.map_err(|error| error.retry_after_at_most(self.max_retry_after)) }
        });
        Retry::new(retries, bounded).oneshot(()).await
    }

    fn overloaded(&self) -> IntrospectError {
        self.counters.turned_away();
        IntrospectError::new(IntrospectErrorKind::Overloaded)
            .with_source("its turn would not come in time (`max_wait`, `rate_limit`, `max_concurrent_questions`)")
    }

    fn health(&self) -> Health {
        let now = self.clock.now();
        // Strangers that fail among known tokens that are answered are no outage.
        let (enough, lasts) = FAILING;
        if self.failures.load(Ordering::Relaxed) < enough && self.known.state(now) == BreakerState::Closed {
            return Health::Healthy;
        }
        let failed_at = Timestamp::from_unix_millis(self.failed_at.load(Ordering::Relaxed));
        match self.strangers.state(now) {
            BreakerState::Open => Health::Failing,
            BreakerState::Closed if (failed_at..failed_at + lasts).contains(&now) => Health::Failing,
            BreakerState::Closed | BreakerState::HalfOpen => Health::Recovering,
        }
    }
}

fn circuit_open(left: Duration) -> IntrospectError {
    IntrospectError::new(IntrospectErrorKind::CircuitOpen).with_retry_after(left)
}

/// How an endpoint fares. Made by [`Introspect::endpoint`](crate::Introspect::endpoint); clones look at the same one.
///
/// ```
/// use tower_introspection::{Apigee, Health, Introspect};
///
/// let apigee = Apigee::builder("my-org").basic_auth("token-reader@example.com", "password").build()?;
/// let endpoint = apigee.endpoint().expect("every endpoint of this crate has one");
/// assert_eq!(endpoint.health(), Health::Healthy);
/// assert_eq!(endpoint.stats().attempts, 0);
/// # Ok::<(), tower_introspection::BuildError>(())
/// ```
#[derive(Clone)]
pub struct EndpointHandle(pub(super) Arc<Protection>);

impl EndpointHandle {
    /// The figures of this endpoint since it was made.
    #[must_use]
    pub fn stats(&self) -> EndpointStats {
        let counters = &self.0.counters;
        EndpointStats {
            attempts: counters.attempts.load(Ordering::Relaxed),
            retries: counters.retries.load(Ordering::Relaxed),
            turned_away: counters.turned_away.load(Ordering::Relaxed),
            waiting: self.0.turns.waiting(),
            under_way: self.0.turns.under_way(),
            breaker: {
                let now = self.0.clock.now();
                self.0.known.state(now).max(self.0.strangers.state(now))
            },
        }
    }

    /// Whether it answers, as far as the last questions tell. Asks nothing.
    #[must_use]
    pub fn health(&self) -> Health {
        self.0.health()
    }

    /// How long a question takes at most.
    pub(crate) fn deadline(&self) -> Duration {
        self.0.deadline
    }
}

impl fmt::Debug for EndpointHandle {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.debug_tuple("EndpointHandle").field(&self.stats()).finish()
    }
}

/// The figures of an endpoint. The counters never go down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct EndpointStats {
    /// HTTP requests sent about tokens, each retry included.
    pub attempts: u64,
    /// How often a question was tried again.
    pub retries: u64,
    /// Questions that were not sent because their turn would not have come in time.
    pub turned_away: u64,
    /// Questions that wait for their turn now.
    pub waiting: usize,
    /// Questions under way now.
    pub under_way: usize,
    /// Whether the authority is asked. There is a breaker for tokens that were active when they were last asked about and one for
    /// all others; this is the one that lets less through.
    pub breaker: BreakerState,
}

/// Whether an authority answers, for readiness probes.
///
/// Think before you take a service out of rotation for it: tokens in the cache are served on while the authority is down,
/// and every other replica sees the same outage. Never restart a service for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Health {
    /// It answers, or was not asked yet.
    Healthy,
    /// It failed, and the next question finds out whether it answers again. Counts as ready: without traffic there would be no
    /// next question.
    Recovering,
    /// It is not asked at the moment, or the last five questions all failed, in whatever way, the last one within 30 seconds.
    /// Tokens that are not in the cache get 503.
    Failing,
}

impl Health {
    /// Whether a service that depends on new tokens should get traffic: all but [`Failing`](Self::Failing).
    #[must_use]
    pub fn is_ready(self) -> bool {
        self != Self::Failing
    }

    /// One word for logs and probes.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Recovering => "recovering",
            Self::Failing => "failing",
        }
    }
}

#[cfg(test)]
mod tests;
