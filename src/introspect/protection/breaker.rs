//! The circuit breaker: an authority that is down is not asked, so that callers learn so at once and it can recover.
//!
//! ```text
//!            `threshold` outages in a row                    the pause is over
//!   Closed ──────────────────────────────▶ Open ──────────────────────────────▶ the next question is the probe
//!     ▲                                      ▲                                       │
//!     │ the probe is answered                └──────── the probe fails: twice the pause
//!     └──────────────────────────────────────────────────────────────────────────────┘
//! ```
//!
//! It has no timer and no task: time is what the next question brings along. Only failures that say the authority is down
//! or wants to be left alone count ([`IntrospectError::is_outage`]), since a caller can cause any other by sending an odd token.
//!
//! Strangers and known tokens have a breaker each. What happens to a question about a known token is news for both, and so
//! is any answer; a stranger's failure is not, since whoever sends junk may be able to cause it.

use std::mem;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::Share;
use crate::clock::Timestamp;
use crate::introspect::IntrospectError;

/// The longest pause that failed probes lead to.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Whether the authority is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum BreakerState {
    /// It is asked.
    Closed,
    /// The pause is over: the next question is put through to see whether it answers again, and no other until then.
    HalfOpen,
    /// It is not asked, because it failed again and again or asked for a pause.
    Open,
}

impl BreakerState {
    /// One word for logs and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::HalfOpen => "half_open",
            Self::Open => "open",
        }
    }
}

pub(super) struct Breaker {
    share: Share,
    threshold: u32,
    first_pause: Duration,
    /// The authority's, for logs.
    host: String,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Failures since the last answer.
    failures: u32,
    open: Option<Open>,
}

struct Open {
    since: Timestamp,
    pause: Duration,
    /// A question is finding out whether the authority answers again.
    probing: bool,
}

impl Open {
    /// How much of the pause is left. A clock that was set back ends it.
    fn left(&self, now: Timestamp) -> Duration {
        if now < self.since { Duration::ZERO } else { (self.since + self.pause).saturating_since(now) }
    }
}

impl Breaker {
    pub(super) fn new(share: Share, threshold: u32, first_pause: Duration, host: &str) -> Self {
        Self { share, threshold, first_pause, host: host.to_owned(), state: Mutex::default() }
    }

    pub(super) fn state(&self, now: Timestamp) -> BreakerState {
        match &self.lock().open {
            None => BreakerState::Closed,
            Some(open) if open.left(now).is_zero() => BreakerState::HalfOpen,
            Some(_) => BreakerState::Open,
        }
    }

    /// How long no question goes through yet; `None` if one might. It promises nothing: [`admit`](Self::admit) does.
    pub(super) fn closed_for(&self, now: Timestamp) -> Option<Duration> {
        let state = self.lock();
        let open = state.open.as_ref()?;
        let left = open.left(now);
        (open.probing || !left.is_zero()).then_some(left)
    }

    /// Lets a question through, or says how long none will be.
    pub(super) fn admit(&self, now: Timestamp) -> Result<Admission<'_>, Duration> {
        let mut state = self.lock();
        let probe = match &mut state.open {
            None => false,
            Some(open) => {
                let left = open.left(now);
                if open.probing || !left.is_zero() {
                    return Err(left);
                }
                open.probing = true;
                true
            }
        };
        Ok(Admission { breaker: self, probe })
    }

    /// Nothing that runs under this lock leaves the state half changed, so a panic elsewhere does not spoil it.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A question that goes through. One that is dropped before it was settled says nothing; if it was the probe, the next
/// question is.
pub(super) struct Admission<'b> {
    breaker: &'b Breaker,
    probe: bool,
}

impl Admission<'_> {
    /// Learns from how the question went.
    pub(super) fn settle<T>(mut self, outcome: &Result<T, IntrospectError>, now: Timestamp) {
        let state = self.breaker.lock();
        let probe = mem::take(&mut self.probe);
        match outcome {
            Err(error) if error.is_outage() => self.breaker.failed(state, probe, error.retry_after(), now),
            // Whatever it says, the authority answers. While open, only the probe's word counts.
            _ if probe || state.open.is_none() => self.breaker.answered(state),
            _ => {}
        }
    }
}

impl Breaker {
    /// Learns from how a question of the other share went that counts here, too.
    pub(super) fn hear<T>(&self, outcome: &Result<T, IntrospectError>, now: Timestamp) {
        let state = self.lock();
        match outcome {
            Err(error) if error.is_outage() => self.failed(state, false, error.retry_after(), now),
            _ => self.answered(state),
        }
    }

    fn answered(&self, mut state: MutexGuard<'_, State>) {
        let was_open = mem::take(&mut *state).open.is_some();
        // A subscriber of logs may ask for the state, and would wait for this lock.
        drop(state);
        if was_open {
            tracing::info!(
                server.address = self.host,
                share = self.share.as_str(),
                "the authority answers again; it is asked as before"
            );
        }
    }

    fn failed(&self, mut state: MutexGuard<'_, State>, probe: bool, retry_after: Option<Duration>, now: Timestamp) {
        let asked_for = retry_after.filter(|delay| !delay.is_zero());
        state.failures = state.failures.saturating_add(1);
        let pause = match &state.open {
            // A question from before it opened: no news.
            Some(_) if !probe => return,
            Some(open) => open.pause.saturating_mul(2).min(LONGEST_PAUSE.max(self.first_pause)),
            None if state.failures >= self.threshold => self.first_pause,
            None if asked_for.is_some() => Duration::ZERO,
            None => return,
        };
        let pause = asked_for.map_or(pause, |delay| delay.max(pause));
        let failures = state.failures;
        let was_open = state.open.replace(Open { since: now, pause, probing: false }).is_some();
        // As above.
        drop(state);
        if !was_open {
            tracing::warn!(
                server.address = self.host,
                share = self.share.as_str(),
                failures,
                pause_ms = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX),
                "the authority is not asked for a while: it fails, or asked for a pause"
            );
        }
    }
}

impl Drop for Admission<'_> {
    fn drop(&mut self) {
        if self.probe
            && let Some(open) = &mut self.breaker.lock().open
        {
            open.probing = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::introspect::IntrospectErrorKind;

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_unix_millis(millis)
    }

    fn outage() -> Result<(), IntrospectError> {
        Err(IntrospectError::new(IntrospectErrorKind::Timeout))
    }

    fn rate_limited(retry_after: u64) -> Result<(), IntrospectError> {
        Err(IntrospectError::new(IntrospectErrorKind::RateLimited).with_retry_after(Duration::from_secs(retry_after)))
    }

    fn breaker() -> Breaker {
        Breaker::new(Share::Stranger, 3, Duration::from_secs(1), "localhost")
    }

    fn fail(breaker: &Breaker, times: usize, now: Timestamp) {
        for _ in 0..times {
            breaker.admit(now).ok().unwrap().settle(&outage(), now);
        }
    }

    #[test]
    fn it_opens_after_so_many_outages_in_a_row_and_an_answer_in_between_starts_the_count_anew() {
        let breaker = breaker();
        fail(&breaker, 2, at(0));
        breaker.admit(at(0)).ok().unwrap().settle(&Ok(()), at(0));
        fail(&breaker, 2, at(0));
        assert_eq!(breaker.state(at(0)), BreakerState::Closed);
        assert_eq!(breaker.closed_for(at(0)), None);
        fail(&breaker, 1, at(0));
        assert_eq!(breaker.state(at(0)), BreakerState::Open);
        assert_eq!(breaker.closed_for(at(400)), Some(Duration::from_millis(600)));
        assert_eq!(breaker.admit(at(400)).err(), Some(Duration::from_millis(600)));
        assert_eq!(breaker.state(at(999)), BreakerState::Open);
    }

    #[test]
    fn one_probe_goes_through_when_the_pause_is_over_and_closes_it() {
        let breaker = breaker();
        fail(&breaker, 3, at(0));
        assert_eq!(breaker.state(at(1_000)), BreakerState::HalfOpen);
        let probe = breaker.admit(at(1_000)).ok().unwrap();
        assert_eq!(breaker.admit(at(1_000)).err(), Some(Duration::ZERO));
        assert_eq!(breaker.closed_for(at(1_000)), Some(Duration::ZERO));
        probe.settle(&Ok(()), at(1_000));
        assert_eq!(breaker.state(at(1_000)), BreakerState::Closed);
        fail(&breaker, 2, at(1_000));
        assert_eq!(breaker.state(at(1_000)), BreakerState::Closed);
    }

    #[test]
    fn a_probe_that_fails_doubles_the_pause_up_to_a_bound() {
        let breaker = breaker();
        fail(&breaker, 3, at(0));
        let mut now = at(0);
        for pause in [1, 2, 4, 8, 16, 30, 30] {
            assert_eq!(breaker.closed_for(now), Some(Duration::from_secs(pause)));
            now = now + Duration::from_secs(pause);
            fail(&breaker, 1, now);
        }
    }

    #[test]
    fn a_first_pause_beyond_the_bound_stays_as_it_was_set() {
        let breaker = Breaker::new(Share::Known, 1, Duration::from_secs(90), "localhost");
        fail(&breaker, 1, at(0));
        fail(&breaker, 1, at(90_000));
        assert_eq!(breaker.closed_for(at(90_000)), Some(Duration::from_secs(90)));
    }

    #[test]
    fn a_probe_that_is_given_up_leaves_its_place_to_the_next_question() {
        let breaker = breaker();
        fail(&breaker, 3, at(0));
        drop(breaker.admit(at(1_000)).ok().unwrap());
        assert_eq!(breaker.closed_for(at(1_000)), None);
        assert!(breaker.admit(at(1_000)).is_ok());
    }

    #[test]
    fn what_a_caller_can_cause_does_not_open_it() {
        let breaker = breaker();
        for kind in [IntrospectErrorKind::Answer, IntrospectErrorKind::Status, IntrospectErrorKind::Credentials] {
            for _ in 0..10 {
                let error: Result<(), _> = Err(IntrospectError::new(kind));
                breaker.admit(at(0)).ok().unwrap().settle(&error, at(0));
            }
        }
        assert_eq!(breaker.state(at(0)), BreakerState::Closed);
    }

    #[test]
    fn a_pause_the_authority_asks_for_is_made_at_once() {
        let breaker = breaker();
        breaker.admit(at(0)).ok().unwrap().settle(&rate_limited(7), at(0));
        assert_eq!(breaker.closed_for(at(0)), Some(Duration::from_secs(7)));
        breaker.admit(at(7_000)).ok().unwrap().settle(&rate_limited(3_600), at(7_000));
        assert_eq!(breaker.closed_for(at(7_000)), Some(Duration::from_secs(3_600)));
        let no_pause = self::breaker();
        no_pause.admit(at(0)).ok().unwrap().settle(&rate_limited(0), at(0));
        assert_eq!(no_pause.closed_for(at(0)), None);
    }

    #[test]
    fn questions_from_before_it_opened_change_nothing() {
        let breaker = breaker();
        let (good, bad) = (breaker.admit(at(0)).ok().unwrap(), breaker.admit(at(0)).ok().unwrap());
        fail(&breaker, 3, at(0));
        good.settle(&Ok(()), at(500));
        bad.settle(&outage(), at(500));
        assert_eq!(breaker.closed_for(at(500)), Some(Duration::from_millis(500)));
    }

    #[test]
    fn what_is_heard_of_the_other_share_counts_and_an_answer_closes_it() {
        let breaker = breaker();
        for _ in 0..3 {
            breaker.hear(&outage(), at(0));
        }
        assert_eq!(breaker.closed_for(at(0)), Some(Duration::from_secs(1)));
        breaker.hear(&outage(), at(500));
        assert_eq!(breaker.closed_for(at(500)), Some(Duration::from_millis(500)));
        breaker.hear(&Ok(()), at(500));
        assert_eq!(breaker.closed_for(at(500)), None);
        fail(&breaker, 2, at(500));
        assert_eq!(breaker.closed_for(at(500)), None, "the count began anew");
        breaker.hear::<()>(&Err(IntrospectError::new(IntrospectErrorKind::Answer)), at(500));
        fail(&breaker, 2, at(500));
        assert_eq!(breaker.closed_for(at(500)), None, "an answer that cannot be used is one");
    }

    #[test]
    fn endless_pauses_do_not_overflow() {
        let breaker = Breaker::new(Share::Known, 1, Duration::MAX, "localhost");
        fail(&breaker, 1, at(0));
        breaker.failed(breaker.lock(), true, Some(Duration::MAX), at(1));
    }

    #[test]
    fn a_clock_that_is_set_back_ends_the_pause() {
        let breaker = breaker();
        fail(&breaker, 3, at(1_000_000));
        assert_eq!(breaker.state(at(0)), BreakerState::HalfOpen);
    }
}
