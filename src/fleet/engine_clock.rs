//! Whether the engine's clock goes on.
//!
//! Where it goes ahead, all looks older than it is, and a process of a strict fleet looks gone whose lease still holds.
//! A new epoch begins where it goes back, and this process hears of that with its next read of the log. Meanwhile, and
//! of a server that does not tell, it sees for itself: since the last read at least as much has passed for the engine
//! as for this process.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::engine::{CLOCK_TOLERANCE, EngineTime};
use crate::clock::Stopwatch;

/// By how much more than for this process may have passed for the engine: what two reads of the log take, and more.
pub(super) const AHEAD: Duration = Duration::from_secs(1);

#[derive(Default)]
pub(super) struct EngineClock(Mutex<State>);

#[derive(Default)]
struct State {
    seen: Option<Seen>,
    /// Since it was seen to have gone ahead.
    jumped: Option<Stopwatch>,
}

struct Seen {
    now: EngineTime,
    /// Since the answer came, which was after the engine looked at its clock.
    since: Stopwatch,
}

impl EngineClock {
    /// An answer has just come, of a read of the log.
    pub(super) fn shows(&self, now: EngineTime) {
        let mut state = self.state();
        if state.seen.as_ref().is_some_and(|seen| now > after(seen, seen.since.elapsed() + AHEAD)) {
            state.jumped = Some(Stopwatch::start());
        }
        state.seen = Some(Seen { now, since: Stopwatch::start() });
    }

    /// Whether a call that was `sent` then got a time that is too early.
    pub(super) fn has_gone_back(&self, now: EngineTime, sent: &Stopwatch) -> bool {
        let state = self.state();
        let Some(seen) = &state.seen else { return false };
        let passed = seen.since.elapsed().saturating_sub(sent.elapsed());
        now.saturating_add(CLOCK_TOLERANCE) < after(seen, passed)
    }

    /// Whether it has gone ahead so lately: then what happened before it did is not as long ago as it looks.
    pub(super) fn has_gone_ahead_within(&self, time: Duration) -> bool {
        self.state().jumped.as_ref().is_some_and(|jumped| jumped.elapsed() <= time)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn after(seen: &Seen, passed: Duration) -> EngineTime {
    seen.now.saturating_add(EngineTime::try_from(passed.as_millis()).unwrap_or(EngineTime::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_clock_goes_back_if_it_shows_less_than_has_passed_since_the_log_was_read() {
        let clock = EngineClock::default();
        assert!(!clock.has_gone_back(0, &Stopwatch::start()), "nothing was read yet");
        clock.shows(10_000);
        tokio::time::advance(Duration::from_millis(800)).await;
        let sent = Stopwatch::start();
        tokio::time::advance(Duration::from_millis(20)).await;
        assert!(!clock.has_gone_back(10_550, &sent));
        assert!(clock.has_gone_back(10_549, &sent), "250 ms are nothing, and neither is what the call took");
        assert!(!clock.has_gone_back(99_999, &sent), "ahead, it makes all older than it is");
    }

    #[tokio::test(start_paused = true)]
    async fn a_clock_goes_ahead_if_it_shows_a_second_more_than_has_passed() {
        let clock = EngineClock::default();
        let second = Duration::from_secs(1);
        clock.shows(10_000);
        tokio::time::advance(second).await;
        clock.shows(12_000);
        assert!(!clock.has_gone_ahead_within(second));
        clock.shows(13_001);
        assert!(clock.has_gone_ahead_within(second));
        tokio::time::advance(second * 2).await;
        assert!(!clock.has_gone_ahead_within(second));
    }
}
