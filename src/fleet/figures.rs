//! What a fleet counts.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The figures of a [`Fleet`](super::Fleet), as this process sees it. The counters count from when it was built, and
/// never go down.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FleetStats {
    /// Whether the log is being read. While it is not, this process asks for itself.
    pub is_reading: bool,
    /// How long ago the log was last read to its end. `None`: never.
    pub last_read: Option<Duration>,
    /// Processes of the fleet that were there when they were last counted, this one included. Zero: never counted.
    pub processes: u32,
    /// Misses of a cache that the engine answered.
    pub hits: u64,
    /// Misses of a cache for which the engine had no answer that serves.
    pub misses: u64,
    /// Misses of a cache that waited for a question of another process.
    pub waits: u64,
    /// Answers given to the engine.
    pub stored: u64,
    /// Answers of the engine that did not serve, since a record of the log is about them or may be missing.
    pub outdated: u64,
    /// Answers and records of the engine that could not be opened: tampered with, of a secret that is not known here,
    /// or of another version of this crate.
    pub unreadable: u64,
    /// Records read from the log, those of this process included.
    pub records_read: u64,
    /// Records of this process that the engine took.
    pub records_written: u64,
    /// Invalidations of this process that wait for the engine.
    pub queued: usize,
    /// Gaps in the log. After each, what is shared is distrusted and what is remembered is asked about again.
    pub gaps: u64,
    /// Calls of the engine that failed.
    pub engine_failures: u64,
    /// Turns of the rate limit that the engine gave.
    pub shared_turns: u64,
    /// Turns of the rate limit that this process gave itself, since the engine was away.
    pub local_turns: u64,
}

/// A counter of [`Figures`], by the name it has in [`FleetStats`].
#[derive(Clone, Copy)]
pub(super) enum Counted {
    Hit,
    Miss,
    Wait,
    Stored,
    Outdated,
    Unreadable,
    RecordRead,
    RecordWritten,
    Gap,
    EngineFailure,
}

const COUNTERS: usize = Counted::EngineFailure as usize + 1;

#[derive(Default)]
pub(super) struct Figures([AtomicU64; COUNTERS]);

impl Figures {
    pub(super) fn count(&self, what: Counted) {
        // The array has a place for each.
        if let Some(counter) = self.0.get(what as usize) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn get(&self, what: Counted) -> u64 {
        self.0.get(what as usize).map_or(0, |counter| counter.load(Ordering::Relaxed))
    }
}
