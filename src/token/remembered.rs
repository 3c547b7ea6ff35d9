//! What a cache notes beside the facts of a token.

use std::sync::atomic::{AtomicI64, Ordering};

use crate::clock::Timestamp;

/// Since when and until when a cache has an answer. It stands in the token's own place in memory, so that a hit, which wants
/// both, fetches one place and not two.
pub(crate) struct Remembered {
    pub(crate) asked_at: Timestamp,
    /// The first moment at which it no longer serves. A hit never moves it.
    pub(crate) deadline: Timestamp,
    /// From when on a hit has it asked for again, in milliseconds. The far future if it is not, or is already.
    refresh_at: AtomicI64,
}

impl Default for Remembered {
    /// By no cache.
    fn default() -> Self {
        let never = Timestamp::from_unix_millis(i64::MIN);
        Self::new(never, never, never)
    }
}

impl Clone for Remembered {
    fn clone(&self) -> Self {
        Self { refresh_at: AtomicI64::new(self.refresh_at.load(Ordering::Relaxed)), ..*self }
    }
}

impl Remembered {
    pub(crate) fn new(asked_at: Timestamp, deadline: Timestamp, refresh_at: Timestamp) -> Self {
        Self { asked_at, deadline, refresh_at: AtomicI64::new(refresh_at.as_unix_millis()) }
    }

    /// Not before it was asked for, either: then the clock was set back, and nobody knows how old it is. (Or it came after `now`
    /// was read, and is found by the next look.)
    pub(crate) fn serves_at(&self, now: Timestamp) -> bool {
        (self.asked_at..self.deadline).contains(&now)
    }

    pub(crate) fn is_due(&self, now: Timestamp) -> bool {
        now.as_unix_millis() >= self.refresh_at.load(Ordering::Relaxed)
    }

    pub(crate) fn refresh_at(&self, moment: Timestamp) {
        self.refresh_at.store(moment.as_unix_millis(), Ordering::Relaxed);
    }
}
