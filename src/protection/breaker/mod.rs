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
//! It has no timer and no task: time is what the next question brings along. Only failures that say the authority is
//! down or wants to be left alone count ([`IntrospectError::is_outage_of_the_authority`]), since a caller can cause any
//! other by sending an odd token.
//!
//! Strangers and known tokens have a breaker each, and only an answer about its own kind of tokens closes it: junk that
//! something in front of the authority refuses goes on to fail, however well known tokens are answered. What they have
//! to tell each other:
//!
//! * A failure of a known token counts for strangers too: an authority that is down for the one is down for the other.
//!   An answer about a known token ends that row, and what it alone has opened.
//! * A verdict about a stranger ends the pause of known tokens: the next question about one of them finds out.
//! * Whatever else comes of a stranger is no news of known tokens, since whoever sends junk may be able to cause it.
//!
//! What comes of a question from before a breaker opened changes nothing: openings are numbered across both, and a
//! question knows the last one it came after. So no clock decides that. Clocks measure the pauses, and one that is set
//! back ends them.

use std::mem;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::clock::Timestamp;
use crate::error::IntrospectError;
use crate::log_limit::LogLimit;
use crate::protection::Share;

/// The longest pause that failed probes lead to.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Whether the authority is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
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
    pauses: LogLimit<()>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Failures since the last answer.
    failures: u32,
    /// Failures of the other kind of tokens that count here, since the last answer about one of those.
    heard: u32,
    /// The number of the last opening, of which it may have recovered since.
    opening: u64,
    open: Option<Open>,
}

struct Open {
    since: Timestamp,
    pause: Duration,
    /// The other kind of tokens is answered, so the pause is not waited for.
    is_over: bool,
    /// It opened for what was heard of the other kind of tokens, and no probe has failed since.
    is_hearsay: bool,
    /// The operator was told of it.
    is_told: bool,
    /// A question is finding out whether the authority answers again.
    probing: bool,
}

impl Open {
    /// How much of the pause is left. A clock that was set back ends it.
    fn left(&self, now: Timestamp) -> Duration {
        if self.is_over || now.was_set_back_since(self.since) {
            return Duration::ZERO;
        }
        (self.since + self.pause).saturating_since(now)
    }

    /// How long no question goes through yet; `None` if the next one is the probe.
    fn open_for(&self, now: Timestamp) -> Option<Duration> {
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

impl<T> News<'_, T> {
    /// The question is from before the breaker opened last.
    fn is_old(&self, state: &State) -> bool {
        self.openings < state.opening
    }

    /// What the authority asks for counts, however old the question.
    fn is_to_count(&self, state: &State, error: &IntrospectError) -> bool {
        !self.is_old(state) || error.retry_after().is_some()
    }
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
            pauses: LogLimit::new(),
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
    pub(super) fn open_for(&self, now: Timestamp) -> Option<Duration> {
        self.lock().open.as_ref()?.open_for(now)
    }

    /// Lets a question through, or says how long none will be.
    pub(super) fn admit(&self, now: Timestamp) -> Result<Admission<'_>, Duration> {
        let mut state = self.lock();
        let mut is_probe = false;
        if let Some(open) = &mut state.open {
            if let Some(left) = open.open_for(now) {
                return Err(left);
            }
            (open.probing, is_probe) = (true, true);
        }
        Ok(Admission { breaker: self, openings: self.openings.load(Ordering::Relaxed), is_probe })
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
    /// It is the probe of the opening that was the last one when it went through.
    is_probe: bool,
}

impl Admission<'_> {
    /// Learns from how the question went, which may be news for the other breaker.
    pub(super) fn settle<T>(mut self, outcome: &Result<T, IntrospectError>, now: Timestamp) -> News<'_, T> {
        let news = News { outcome, openings: self.openings };
        self.breaker.learn(&news, mem::take(&mut self.is_probe), now);
        news
    }
}

impl Breaker {
    /// Learns from how a question of the other share went whose failures count here, too.
    pub(super) fn hear<T>(&self, news: &News<T>, now: Timestamp) {
        let mut state = self.lock();
        match news.outcome {
            Err(error) if error.is_outage_of_the_authority() && !news.is_to_count(&state, error) => {}
            Err(error) if error.is_outage_of_the_authority() => {
                state.heard = state.heard.saturating_add(1);
                let is_hearsay = state.failures < self.threshold;
                self.failed(state, false, is_hearsay, error.retry_after(), now);
            }
            _ => {
                state.heard = 0;
                if !news.is_old(&state) && state.open.as_ref().is_some_and(|open| open.is_hearsay) {
                    self.close(state);
                }
            }
        }
    }

    /// A question of the other share was answered: the next one of this share finds out whether it is, too.
    pub(super) fn end_pause<T>(&self, news: &News<T>) {
        let mut state = self.lock();
        let is_old = news.is_old(&state);
        if let Some(open) = state.open.as_mut().filter(|_| !is_old) {
            open.is_over = true;
        }
    }

    fn learn<T>(&self, news: &News<T>, is_probe: bool, now: Timestamp) {
        let mut state = self.lock();
        let is_old = news.is_old(&state);
        match news.outcome {
            Err(error) if error.is_outage_of_the_authority() && !news.is_to_count(&state, error) => {}
            Err(error) if error.is_outage_of_the_authority() => {
                state.failures = state.failures.saturating_add(1);
                self.failed(state, is_probe && !is_old, false, error.retry_after(), now);
            }
            // Whatever it says, the authority answers.
            _ if state.open.is_none() || !is_old => {
                (state.failures, state.heard) = (0, 0);
                self.close(state);
            }
            _ => {}
        }
    }

    fn close(&self, mut state: MutexGuard<'_, State>) {
        let was_told = state.open.take().is_some_and(|open| open.is_told);
        // A subscriber of logs may ask for the state, and would wait for this lock.
        drop(state);
        if was_told {
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
        is_probe: bool,
        is_hearsay: bool,
        retry_after: Option<Duration>,
        now: Timestamp,
    ) {
        let failures = state.failures.saturating_add(state.heard);
        let pause = match &mut state.open {
            Some(open) if is_probe => open.pause.saturating_mul(2).min(LONGEST_PAUSE.max(self.first_pause)),
            // No news, but for what the authority asks for.
            Some(open) => {
                if let Some(delay) = retry_after.filter(|&delay| delay > open.left(now)) {
                    (open.since, open.pause, open.is_over) = (now, delay, false);
                }
                return;
            }
            None if failures >= self.threshold => self.first_pause,
            None if retry_after.is_some() => Duration::ZERO,
            None => return,
        };
        let pause = retry_after.map_or(pause, |delay| delay.max(pause));
        state.opening = self.openings.fetch_add(1, Ordering::Relaxed) + 1;
        let due = self.pauses.due(());
        let is_told = due.is_some() || state.open.as_ref().is_some_and(|open| open.is_told);
        state.open = Some(Open { since: now, pause, is_over: false, is_hearsay, is_told, probing: false });
        // A subscriber of logs may ask for the state here, too.
        drop(state);
        if let Some(untold) = due {
            tracing::warn!(
                server.address = self.host,
                share = self.share.as_str(),
                failures,
                pause_ms = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX),
                untold,
                "the authority is not asked for a while: it fails, or asked for a pause"
            );
        }
    }
}

impl Drop for Admission<'_> {
    fn drop(&mut self) {
        if !self.is_probe {
            return;
        }
        let mut state = self.breaker.lock();
        let is_old = self.openings < state.opening;
        if let Some(open) = state.open.as_mut().filter(|_| !is_old) {
            open.probing = false;
        }
    }
}

#[cfg(test)]
mod tests;
