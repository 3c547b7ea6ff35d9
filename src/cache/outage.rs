//! What a cache remembers of questions that failed.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use crate::clock::Timestamp;
use crate::introspect::Share;

/// How long after the last failure an outage counts as over.
const OUTAGE_LASTS: Duration = Duration::from_secs(30);

#[derive(Default)]
pub(super) struct Outage {
    /// A question about a token in use failed.
    pub(super) failed: Moment,
    /// A stale answer was served.
    pub(super) served_stale: Moment,
    known_turned_away: Moment,
    strangers_turned_away: Moment,
    /// Since when and until when the authority is known not to be asked.
    left_alone_since: Moment,
    left_alone_until: Moment,
}

impl Outage {
    /// A question of this share found no room.
    pub(super) fn turned_away(&self, share: Share) -> &Moment {
        match share {
            Share::Known => &self.known_turned_away,
            Share::Stranger => &self.strangers_turned_away,
        }
    }

    pub(super) fn leave_alone(&self, now: Timestamp, time: Duration) {
        self.left_alone_since.set(now);
        self.left_alone_until.set(now + time);
    }

    pub(super) fn is_answered(&self) {
        self.left_alone_until.0.store(NEVER, Ordering::Relaxed);
    }

    /// A clock that was set back ends it.
    pub(super) fn is_left_alone(&self, now: Timestamp) -> bool {
        (self.left_alone_since.millis()..self.left_alone_until.millis()).contains(&now.as_unix_millis())
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
        self.0.store(now.as_unix_millis(), Ordering::Relaxed);
    }

    pub(super) fn is_recent(&self, now: Timestamp) -> bool {
        is_within(OUTAGE_LASTS, self.millis(), now)
    }

    /// Whether this is the first time for a while. Notes that it was.
    pub(super) fn begins(&self, now: Timestamp) -> bool {
        !is_within(OUTAGE_LASTS, self.0.swap(now.as_unix_millis(), Ordering::Relaxed), now)
    }

    fn millis(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Before or after: another thread may have looked at the clock a moment later.
fn is_within(time: Duration, of_millis: i64, now: Timestamp) -> bool {
    let moment = Timestamp::from_unix_millis(of_millis);
    now.saturating_since(moment).max(moment.saturating_since(now)) < time
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_near_on_either_side_and_never_is_not() {
        let near = |moment, now| {
            let now = Timestamp::from_unix_millis(now);
            is_within(Duration::from_millis(10), moment, now)
        };
        assert!(near(100, 100) && near(100, 109) && near(100, 91));
        assert!(!near(100, 110) && !near(100, 90));
        assert!(!near(i64::MIN, 0) && !near(i64::MIN, i64::MAX));
    }
}
