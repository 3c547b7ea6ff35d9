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
//! is any answer; a stranger's failure is not, since whoever sends junk may be able to cause it. Nor is what comes of a question from
//! before a breaker opened: openings are numbered across both, and a question knows the last one it came after.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
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
    /// How often a breaker of this authority has opened.
    openings: Arc<AtomicU64>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Failures since the last answer.
    failures: u32,
    /// The number of the last opening, of which it may have recovered since.
    opening: u64,
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
        if now.was_set_back_since(self.since) {
            return Duration::ZERO;
        }
        (self.since + self.pause).saturating_since(now)
    }

    /// How long no question goes through yet; `None` if the next one is the probe.
    fn closed_for(&self, now: Timestamp) -> Option<Duration> {
        let left = self.left(now);
        (self.probing || !left.is_zero()).then_some(left)
    }
}

/// How a question went, for the breaker of the other share.
#[must_use]
pub(super) struct News<'o, T> {
    outcome: &'o Result<T, IntrospectError>,
    openings: u64,
}

impl Breaker {
    /// One for each share.
    pub(super) fn pair(threshold: u32, first_pause: Duration, host: &str) -> (Self, Self) {
        let openings = Arc::new(AtomicU64::new(0));
        let breaker = |share| Self {
            share,
            threshold,
            first_pause,
            host: host.to_owned(),
            openings: Arc::clone(&openings),
            state: Mutex::default(),
        };
        (breaker(Share::Known), breaker(Share::Stranger))
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
        self.lock().open.as_ref()?.closed_for(now)
    }

    /// Lets a question through, or says how long none will be.
    pub(super) fn admit(&self, now: Timestamp) -> Result<Admission<'_>, Duration> {
        let mut state = self.lock();
        let opening = state.opening;
        let mut probes = None;
        if let Some(open) = &mut state.open {
            if let Some(left) = open.closed_for(now) {
                return Err(left);
            }
            open.probing = true;
            probes = Some(opening);
        }
        Ok(Admission { breaker: self, openings: self.openings.load(Ordering::Relaxed), probes })
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
    /// How many there had been when it went through.
    openings: u64,
    /// Which opening it is the probe of.
    probes: Option<u64>,
}

impl Admission<'_> {
    /// Learns from how the question went, which the other breaker may [hear](Breaker::hear) of.
    pub(super) fn settle<T>(mut self, outcome: &Result<T, IntrospectError>, now: Timestamp) -> News<'_, T> {
        let news = News { outcome, openings: self.openings };
        self.breaker.learn(&news, self.probes.take(), now);
        news
    }
}

impl Breaker {
    /// Learns from how a question of the other share went that counts here, too.
    pub(super) fn hear<T>(&self, news: &News<T>, now: Timestamp) {
        self.learn(news, None, now);
    }

    fn learn<T>(&self, news: &News<T>, probes: Option<u64>, now: Timestamp) {
        let state = self.lock();
        let is_old = news.openings < state.opening;
        match news.outcome {
            // What it asks for counts, however old the question.
            Err(error) if error.is_outage() && is_old && error.retry_after().is_none() => {}
            Err(error) if error.is_outage() => self.failed(state, probes, error.retry_after(), now),
            // Whatever it says, the authority answers.
            _ if state.open.is_none() || !is_old => self.answered(state),
            _ => {}
        }
    }

    fn answered(&self, mut state: MutexGuard<'_, State>) {
        state.failures = 0;
        let was_open = state.open.take().is_some();
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

    fn failed(
        &self,
        mut state: MutexGuard<'_, State>,
        probes: Option<u64>,
        retry_after: Option<Duration>,
        now: Timestamp,
    ) {
        state.failures = state.failures.saturating_add(1);
        let (failures, opening) = (state.failures, state.opening);
        let pause = match &mut state.open {
            Some(open) if probes == Some(opening) => {
                open.pause.saturating_mul(2).min(LONGEST_PAUSE.max(self.first_pause))
            }
            // No news, but for what the authority asks for.
            Some(open) => {
                if let Some(delay) = retry_after.filter(|&delay| delay > open.left(now)) {
                    (open.since, open.pause) = (now, delay);
                }
                return;
            }
            None if failures >= self.threshold => self.first_pause,
            None if retry_after.is_some() => Duration::ZERO,
            None => return,
        };
        let pause = retry_after.map_or(pause, |delay| delay.max(pause));
        state.opening = self.openings.fetch_add(1, Ordering::Relaxed) + 1;
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
        let Some(probed) = self.probes else { return };
        let mut state = self.breaker.lock();
        if state.opening == probed
            && let Some(open) = &mut state.open
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
        Breaker::pair(3, Duration::from_secs(1), "localhost").1
    }

    fn fail(breaker: &Breaker, times: usize, now: Timestamp) {
        for _ in 0..times {
            let _ = breaker.admit(now).ok().unwrap().settle(&outage(), now);
        }
    }

    #[test]
    fn it_opens_after_so_many_outages_in_a_row_and_an_answer_in_between_starts_the_count_anew() {
        let breaker = breaker();
        fail(&breaker, 2, at(0));
        let _ = breaker.admit(at(0)).ok().unwrap().settle(&Ok(()), at(0));
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
        let _ = probe.settle(&Ok(()), at(1_000));
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
        let (breaker, _) = Breaker::pair(1, Duration::from_secs(90), "localhost");
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
                let _ = breaker.admit(at(0)).ok().unwrap().settle(&error, at(0));
            }
        }
        assert_eq!(breaker.state(at(0)), BreakerState::Closed);
    }

    #[test]
    fn a_pause_the_authority_asks_for_is_made_at_once() {
        let breaker = breaker();
        let _ = breaker.admit(at(0)).ok().unwrap().settle(&rate_limited(7), at(0));
        assert_eq!(breaker.closed_for(at(0)), Some(Duration::from_secs(7)));
        let _ = breaker.admit(at(7_000)).ok().unwrap().settle(&rate_limited(3_600), at(7_000));
        assert_eq!(breaker.closed_for(at(7_000)), Some(Duration::from_secs(3_600)));
    }

    #[test]
    fn questions_from_before_it_opened_change_nothing() {
        let (known, strangers) = Breaker::pair(3, Duration::from_secs(1), "localhost");
        let [earlier, of_strangers] =
            [&known, &strangers].map(|breaker| [(); 4].map(|()| breaker.admit(at(0)).ok().unwrap()));
        fail(&known, 3, at(0));
        fail(&strangers, 3, at(0));
        for (n, (admission, of_stranger)) in earlier.into_iter().zip(of_strangers).enumerate() {
            let outcome = if n % 2 == 0 { Ok(()) } else { outage() };
            strangers.hear(&admission.settle(&outcome, at(500)), at(500));
            known.hear(&of_stranger.settle(&outcome, at(500)), at(500));
            for breaker in [&known, &strangers] {
                assert_eq!(breaker.closed_for(at(500)), Some(Duration::from_millis(500)), "{outcome:?}");
            }
        }
    }

    #[test]
    fn failures_from_before_it_opened_do_not_open_it_again_once_the_authority_has_answered() {
        let breaker = breaker();
        let earlier = [(); 3].map(|()| breaker.admit(at(0)).ok().unwrap());
        fail(&breaker, 3, at(0));
        let _ = breaker.admit(at(1_000)).ok().unwrap().settle(&Ok(()), at(1_000));
        for admission in earlier {
            let _ = admission.settle(&outage(), at(1_500));
        }
        assert_eq!(breaker.closed_for(at(1_500)), None);
        fail(&breaker, 2, at(1_500));
        assert_eq!(breaker.closed_for(at(1_500)), None, "they do not count either");
        fail(&breaker, 1, at(1_500));
        assert_eq!(breaker.closed_for(at(1_500)), Some(Duration::from_secs(1)));
    }

    #[test]
    fn a_longer_pause_the_authority_asks_for_counts_while_it_is_open_too() {
        let breaker = breaker();
        let (earlier, probe) = (breaker.admit(at(0)).ok().unwrap(), breaker.admit(at(0)).ok().unwrap());
        fail(&breaker, 3, at(0));
        let _ = earlier.settle(&rate_limited(30), at(500));
        assert_eq!(breaker.closed_for(at(500)), Some(Duration::from_secs(30)));
        let _ = probe.settle(&rate_limited(7), at(500));
        assert_eq!(breaker.closed_for(at(500)), Some(Duration::from_secs(30)), "a shorter one is no news");
    }

    #[test]
    fn the_probe_of_an_earlier_opening_has_no_say_in_the_next() {
        let (known, strangers) = Breaker::pair(1, Duration::from_secs(1), "localhost");
        fail(&strangers, 1, at(0));
        let left_over = [(); 2].map(|()| {
            let probe = strangers.admit(at(1_000)).ok().unwrap();
            strangers.hear(&known.admit(at(1_000)).ok().unwrap().settle(&Ok(()), at(1_000)), at(1_000));
            assert_eq!(strangers.closed_for(at(1_000)), None);
            fail(&strangers, 1, at(0));
            probe
        });
        let probe = strangers.admit(at(1_000)).ok().unwrap();
        let [dropped, fails] = left_over;
        drop(dropped);
        let _ = fails.settle(&outage(), at(1_000));
        assert_eq!(
            strangers.closed_for(at(1_000)),
            Some(Duration::ZERO),
            "one probe at a time, and the pause is as it was"
        );
        let _ = probe.settle(&Ok(()), at(1_000));
        assert_eq!(strangers.closed_for(at(1_000)), None);
    }

    #[test]
    fn what_is_heard_of_the_other_share_counts_and_an_answer_closes_it() {
        let (known, strangers) = Breaker::pair(3, Duration::from_secs(1), "localhost");
        let hear = |outcome: Result<(), IntrospectError>, now| {
            let news = known.admit(now).ok().unwrap().settle(&outcome, now);
            strangers.hear(&news, now);
            known.learn(&News { outcome: &Ok(()), openings: u64::MAX }, None, now);
        };
        for _ in 0..3 {
            hear(outage(), at(0));
        }
        assert_eq!(strangers.closed_for(at(0)), Some(Duration::from_secs(1)));
        hear(outage(), at(500));
        assert_eq!(strangers.closed_for(at(500)), Some(Duration::from_millis(500)));
        hear(Ok(()), at(500));
        assert_eq!(strangers.closed_for(at(500)), None);
        fail(&strangers, 2, at(500));
        assert_eq!(strangers.closed_for(at(500)), None, "the count began anew");
        hear(Err(IntrospectError::new(IntrospectErrorKind::Answer)), at(500));
        fail(&strangers, 2, at(500));
        assert_eq!(strangers.closed_for(at(500)), None, "an answer that cannot be used is one");
    }

    #[test]
    fn endless_pauses_do_not_overflow() {
        let (breaker, _) = Breaker::pair(1, Duration::MAX, "localhost");
        fail(&breaker, 1, at(0));
        breaker.failed(breaker.lock(), Some(1), Some(Duration::MAX), at(1));
    }

    #[test]
    fn a_clock_that_is_set_back_ends_the_pause() {
        let breaker = breaker();
        fail(&breaker, 3, at(1_000_000));
        assert_eq!(breaker.state(at(0)), BreakerState::HalfOpen);
        let breaker = self::breaker();
        fail(&breaker, 3, at(1_000));
        assert_eq!(breaker.state(at(999)), BreakerState::Open, "another thread read the clock a moment earlier");
    }
}
