//! What stands between questions and the authority, so that neither harms the other.
//!
//! ```text
//! question
//!    │  deadline    `request_timeout`: all of what follows ends within it
//!    ▼
//! breaker           is the authority known to be down?                    ── yes ──────▶ CircuitOpen, at once
//!    ▼
//! turn              a moment that keeps `rate_limit`, and a place among
//!    │              `max_concurrent_requests`; known tokens come first    ── too late ─▶ Overloaded
//!    ▼
//! breaker           the one probe, if it was open
//!    ▼
//! retries           up to `max_retries` more attempts, within a budget
//!    ▼
//! attempt           one HTTP exchange; the breaker learns how the last one ended
//! ```
//!
//! In this order because each step is cheaper than the one below it, and because each must see what it judges: the
//! breaker stands above the turns so that an outage does not fill them with questions that wait for nothing, and again
//! below them so that a probe is not one that still waits. Retries are inside of the turn, or they could outnumber the
//! places; the breaker counts a question with all its retries once, or retries would open it early. The deadline is
//! outermost: whatever happens below, the caller has an answer by then.

mod authority;
mod breaker;
mod handle;
mod limits;
mod retry;
mod share;
mod turns;

use std::future::Future;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, AtomicU64};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tower::retry::budget::{Budget, TpsBudget};

pub(crate) use self::authority::{Authority, Reading};
pub use self::breaker::BreakerState;
pub use self::handle::{EndpointHandle, EndpointStats, Health, LastFailure};
pub use self::limits::Limits;
pub(crate) use self::limits::RateLimit;
pub(crate) use self::share::Share;
#[allow(unused_imports)] // By the fleet.
pub(crate) use self::turns::{Booked, Booking, SharedElsewhere, SharedPace, TooLate, TurnOf};

use self::breaker::{Admission, Breaker};
use self::retry::Retries;
use self::turns::Turns;
use crate::clock::{Clock, Stopwatch};
use crate::error::{IntrospectError, IntrospectErrorKind};

/// The protection of one endpoint.
pub(crate) struct Protection {
    deadline: Duration,
    max_retries: u32,
    max_retry_after: Duration,
    known: Breaker,
    strangers: Breaker,
    turns: Turns,
    known_budget: TpsBudget,
    strangers_budget: TpsBudget,
    counters: Counters,
    /// Failures since the last answer, and when the last one was, in milliseconds.
    failures: AtomicU32,
    failed_at: AtomicI64,
    /// One of each share: junk fails more often than whatever somebody has to look at.
    last_known_failure: Mutex<Option<LastFailure>>,
    last_stranger_failure: Mutex<Option<LastFailure>>,
    /// When a question about a known token was answered, unless one has failed since for which its holder is no cause.
    known_answered_at: AtomicI64,
    clock: Arc<dyn Clock>,
}

/// What a question has come to.
#[derive(Default)]
pub(crate) struct Progress {
    /// Whether the last attempt has sent something to the authority.
    is_sent: AtomicBool,
    /// Whether the endpoint is being discovered.
    is_searching: AtomicBool,
    /// Since when the authority is waited for.
    waiting: Mutex<Option<Stopwatch>>,
    /// Why the last attempt failed that has ended.
    failure: Mutex<Option<IntrospectError>>,
}

impl Progress {
    /// Notes that something goes out to the authority.
    pub(crate) fn sends(&self) {
        self.is_sent.store(true, Relaxed);
        lock(&self.waiting).get_or_insert_with(Stopwatch::start);
    }

    /// Whoever is out of time meanwhile is so for want of an endpoint.
    pub(crate) async fn searching<T>(&self, search: impl Future<Output = T>) -> T {
        self.is_searching.store(true, Relaxed);
        let outcome = search.await;
        self.is_searching.store(false, Relaxed);
        outcome
    }

    /// Notes that an HTTP request was answered, and what takes time from now on is not the authority.
    pub(crate) fn is_answered(&self) {
        *lock(&self.waiting) = None;
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[derive(Default)]
struct Counters {
    attempts: AtomicU64,
    retries: AtomicU64,
    turned_away: AtomicU64,
}

impl Protection {
    /// `rate_limit` is the endpoint's own, unless the limits have another; `host` is the authority's, for logs.
    pub(crate) fn new(
        limits: &Limits,
        rate_limit: RateLimit,
        deadline: Duration,
        clock: Arc<dyn Clock>,
        host: &str,
    ) -> Self {
        let (known, strangers) = Breaker::pair(limits.breaker_threshold, limits.breaker_pause, host);
        Self {
            deadline,
            max_retries: limits.max_retries,
            max_retry_after: limits.max_retry_after,
            known,
            strangers,
            turns: Turns::new(
                limits.max_concurrent_requests,
                limits.rate_limit.unwrap_or(rate_limit),
                limits.max_wait,
                Arc::clone(&clock),
            ),
            known_budget: retry::budget(),
            strangers_budget: retry::budget(),
            counters: Counters::default(),
            failures: AtomicU32::new(0),
            failed_at: AtomicI64::new(i64::MIN),
            last_known_failure: Mutex::default(),
            last_stranger_failure: Mutex::default(),
            known_answered_at: AtomicI64::new(i64::MIN),
            clock,
        }
    }

    /// Asks by `attempt`, as often and as soon as it is good for both sides. An attempt says when it
    /// [sends](Self::sends) something.
    pub(crate) async fn run<T, F, Fut>(
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
        let mut admitted = Admitted { protection: self, share, progress, admission: None };
        let asking = async {
            if let Some(left) = breaker.open_for(self.clock.now()) {
                return Err(circuit_open(left));
            }
            let _turn = self.turns.take(share).await.map_err(|_too_late| self.overloaded())?;
            admitted.admission = Some(breaker.admit(self.clock.now()).map_err(circuit_open)?);
            self.attempts(share, progress, attempt).await
        };
        let outcome = tokio::time::timeout(self.deadline, asking).await;
        let Some(admission) = admitted.admission.take() else {
            // The deadline is shorter than `max_wait`.
            return outcome.unwrap_or_else(|_| Err(self.overloaded()));
        };
        let ran_out_of_time = outcome.is_err();
        let outcome = outcome.unwrap_or_else(|_| Err(self.out_of_time(progress)));
        // A login that fails, or takes its time, says nothing about the authority; nor does the time that a turn took.
        let is_about_the_authority =
            if ran_out_of_time { self.had_time(progress) } else { progress.is_sent.load(Relaxed) };
        let admission = is_about_the_authority.then_some(admission);
        self.learn(share, admission, &outcome);
        outcome
    }

    fn had_time(&self, progress: &Progress) -> bool {
        lock(&progress.waiting).as_ref().is_some_and(|waiting| waiting.elapsed() >= self.deadline / 2)
    }

    fn out_of_time(&self, progress: &Progress) -> IntrospectError {
        let passed = format!("{:?} passed (`request_timeout`)", self.deadline);
        let timeout = IntrospectError::new(IntrospectErrorKind::Timeout);
        if progress.is_searching.load(Relaxed) {
            return timeout.of_discovery(format!("{passed}, and the issuer's metadata had not been read"));
        }
        match lock(&progress.failure).take() {
            None => timeout.with_source(passed),
            // Whatever came of the attempt that was cut off, nobody was reached.
            Some(failure) if failure.kind() == IntrospectErrorKind::Connect => failure,
            Some(failure) => timeout.with_source(format!("{passed} in another attempt, after {failure:?}")),
        }
    }

    /// Without an admission the breakers learn nothing.
    fn learn<T>(&self, share: Share, admission: Option<Admission>, outcome: &Result<T, IntrospectError>) {
        let now = self.clock.now();
        match outcome {
            Ok(_) => self.failures.store(0, Relaxed),
            Err(error) => {
                self.failures.fetch_add(1, Relaxed);
                self.failed_at.store(now.as_unix_millis(), Relaxed);
                if !error.was_not_asked() {
                    let failure = LastFailure::new(now, error);
                    let last = match share {
                        Share::Known => &self.last_known_failure,
                        Share::Stranger => &self.last_stranger_failure,
                    };
                    *lock(last) = Some(failure);
                }
            }
        }
        if share == Share::Known {
            match outcome {
                Ok(_) => self.known_answered_at.store(now.as_unix_millis(), Relaxed),
                // Tokens of others are answered nevertheless, as far as this tells.
                Err(error) if error.may_be_the_holders_doing() => {}
                Err(_) => self.known_answered_at.store(i64::MIN, Relaxed),
            }
        }
        let Some(admission) = admission else { return };
        let news = admission.settle(outcome, now);
        match share {
            Share::Known => self.strangers.hear(&news, now),
            Share::Stranger if outcome.is_ok() => self.known.end_pause(&news),
            // What a token of the caller's own making brought about, a firewall's refusal say, is no news about tokens
            // in use.
            Share::Stranger => {}
        }
    }

    /// Waits until one more exchange of the same question keeps the rate.
    pub(crate) async fn take_another_turn(&self, share: Share) -> Result<(), IntrospectError> {
        let delay = self.turns.reserve(share).await.map_err(|_too_late| self.overloaded())?;
        tokio::time::sleep(delay).await;
        Ok(())
    }

    /// Notes that an HTTP request about a token goes out.
    pub(crate) fn sends(&self, progress: &Progress) {
        self.counters.attempts.fetch_add(1, Relaxed);
        progress.sends();
    }

    fn breaker(&self, share: Share) -> &Breaker {
        match share {
            Share::Known => &self.known,
            Share::Stranger => &self.strangers,
        }
    }

    fn budget(&self, share: Share) -> &TpsBudget {
        match share {
            Share::Known => &self.known_budget,
            Share::Stranger => &self.strangers_budget,
        }
    }

    async fn attempts<T, F, Fut>(&self, share: Share, progress: &Progress, attempt: F) -> Result<T, IntrospectError>
    where
        F: Fn() -> Fut + Sync,
        Fut: Future<Output = Result<T, IntrospectError>> + Send,
        T: Send,
    {
        let budget = self.budget(share);
        budget.deposit();
        let mut retries = Retries {
            left: self.max_retries,
            share,
            budget,
            turns: &self.turns,
            counters: &self.counters,
            backoff: retry::backoff(),
        };
        loop {
            // Only the last attempt counts: where an earlier one has sent something, its login may fail.
            progress.is_sent.store(false, Relaxed);
            let error = match attempt().await {
                Ok(answer) => return Ok(answer),
                Err(error) => error.retry_after_at_most(self.max_retry_after),
            };
            *lock(&progress.failure) = Some(error.clone());
            if !retries.wait_for_another(&error).await {
                return Err(error);
            }
        }
    }

    fn overloaded(&self) -> IntrospectError {
        self.counters.turned_away.fetch_add(1, Relaxed);
        IntrospectError::new(IntrospectErrorKind::Overloaded)
            .with_source("it would not go out in time (`max_wait`, `rate_limit`, `max_concurrent_requests`)")
    }
}

/// A question that went through. Given up by whoever asked it, once the authority has had its time, it says what a
/// timeout says: where nobody waits that long, nothing else would ever tell that the authority hangs.
struct Admitted<'p> {
    protection: &'p Protection,
    share: Share,
    progress: &'p Progress,
    admission: Option<Admission<'p>>,
}

impl Drop for Admitted<'_> {
    fn drop(&mut self) {
        if let Some(admission) = self.admission.take()
            && self.protection.had_time(self.progress)
            && !std::thread::panicking()
        {
            let timeout: Result<(), _> = Err(self.protection.out_of_time(self.progress));
            self.protection.learn(self.share, Some(admission), &timeout);
        }
    }
}

fn circuit_open(left: Duration) -> IntrospectError {
    IntrospectError::new(IntrospectErrorKind::CircuitOpen).with_retry_after(left)
}

#[cfg(test)]
mod tests;
