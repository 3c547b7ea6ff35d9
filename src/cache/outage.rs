//! What a cache remembers of questions that failed.
//!
//! Clocks measure here for how long something holds, by the injected clock as all that decides what is served. What
//! came first, an answer or the word that the authority is left alone, is decided by counting answers.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use crate::clock::Timestamp;

/// How long after the last failure an outage counts as over.
const OUTAGE_LASTS: Duration = Duration::from_secs(30);

#[derive(Default)]
pub(super) struct Outage {
    /// A question about a token in use failed.
    pub(super) failed: Moment,
    /// Since when and until when the authority is known not to be asked.
    left_alone_since: Moment,
    left_alone_until: Moment,
    answers: AtomicU64,
}

impl Outage {
    /// How many questions were answered so far.
    pub(super) fn answers(&self) -> u64 {
        self.answers.load(Ordering::SeqCst)
    }

    /// Until then the authority is known not to be asked, unless it has answered since there were so many `answers`.
    pub(super) fn leave_alone(&self, now: Timestamp, time: Duration, answers: u64) {
        self.left_alone_since.set(now);
        self.left_alone_until.set(now + time);
        // After the moments: an answer that comes now ends it, whichever of the two is later.
        if self.answers() != answers {
            self.left_alone_until.forget();
        }
    }

    pub(super) fn answered(&self) {
        self.answers.fetch_add(1, Ordering::SeqCst);
        self.left_alone_until.forget();
    }

    /// A clock that was set back ends it.
    pub(super) fn is_left_alone(&self, now: Timestamp) -> bool {
        now < self.left_alone_until.get() && !now.was_set_back_since(self.left_alone_since.get())
    }
}

const NEVER: i64 = i64::MIN;

/// When something happened last, in milliseconds.
pub(super) struct Moment(AtomicI64);

impl Default for Moment {
    fn default() -> Self {
        Self(AtomicI64::new(NEVER))
    }
}

impl Moment {
    pub(super) fn set(&self, now: Timestamp) {
        self.0.store(now.as_unix_millis(), Ordering::SeqCst);
    }

    fn forget(&self) {
        self.0.store(NEVER, Ordering::SeqCst);
    }

    /// A clock that is set back by less than that prolongs it by as much; by more, ends it.
    pub(super) fn is_recent(&self, now: Timestamp) -> bool {
        is_within(OUTAGE_LASTS, self.get(), now)
    }

    fn get(&self) -> Timestamp {
        Timestamp::from_unix_millis(self.0.load(Ordering::Relaxed))
    }
}

/// Before or after: another thread may have looked at the clock a moment later.
fn is_within(time: Duration, moment: Timestamp, now: Timestamp) -> bool {
    now.saturating_since(moment).max(moment.saturating_since(now)) < time
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_near_on_either_side_and_never_is_not() {
        let at = Timestamp::from_unix_millis;
        let near = |moment, now| is_within(Duration::from_millis(10), at(moment), at(now));
        assert!(near(100, 100) && near(100, 109) && near(100, 91));
        assert!(!near(100, 110) && !near(100, 90));
        assert!(!near(i64::MIN, 0) && !near(i64::MIN, i64::MAX));
    }

    #[test]
    fn an_authority_that_has_answered_meanwhile_is_not_left_alone() {
        let (outage, now) = (Outage::default(), Timestamp::from_unix_millis(60_000));
        let pause = Duration::from_secs(20);
        let before = outage.answers();
        outage.leave_alone(now, pause, before);
        assert!(outage.is_left_alone(now) && !outage.is_left_alone(now + pause));
        assert!(outage.is_left_alone(now - Duration::from_millis(1)), "another thread read the clock a moment earlier");
        assert!(!outage.is_left_alone(now - pause), "the clock was set back");
        outage.answered();
        assert!(!outage.is_left_alone(now));
        outage.leave_alone(now, pause, before);
        assert!(!outage.is_left_alone(now), "what is told now was so before the answer");
    }
}
