//! Whether the engine's clock goes on.
//!
//! A new epoch begins where it goes back, and this process hears of that with its next read of the log. Meanwhile, and
//! of a server that does not tell, it sees for itself: since the last read at least as much has passed for the engine as
//! for this process.

use std::sync::{Mutex, PoisonError};

use super::engine::{CLOCK_TOLERANCE, EngineTime};
use crate::clock::Stopwatch;

#[derive(Default)]
pub(super) struct EngineClock(Mutex<Option<Seen>>);

struct Seen {
    now: EngineTime,
    /// Since the answer came, which was after the engine looked at its clock.
    since: Stopwatch,
}

impl EngineClock {
    /// An answer has just come, of a read of the log.
    pub(super) fn shows(&self, now: EngineTime) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Seen { now, since: Stopwatch::start() });
    }

    /// Whether a call that was `sent` then got a time that is too early.
    pub(super) fn has_gone_back(&self, now: EngineTime, sent: &Stopwatch) -> bool {
        let seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(seen) = &*seen else { return false };
        let passed = seen.since.elapsed().saturating_sub(sent.elapsed());
        let passed = EngineTime::try_from(passed.as_millis()).unwrap_or(EngineTime::MAX);
        now.saturating_add(CLOCK_TOLERANCE) < seen.now.saturating_add(passed)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

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
}
