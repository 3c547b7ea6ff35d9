//! What a fleet counts.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::engine::EngineErrorKind;
use super::seal::Unreadable;
use crate::metrics::FleetMetrics;

/// The figures of a [`Fleet`](super::Fleet), as this process sees it: those of all its caches that are in this fleet.
/// The counters count from when it was built, and never go down.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FleetStats {
    /// What the fleet is called.
    pub name: String,
    /// Whether the log is being read: it was, to its end, within the last second. While it is not, this process asks
    /// for itself.
    pub is_reading: bool,
    /// Whether requests use the engine now. While the log is being read they do, but for a while after a call for a
    /// request failed or took too long: from 100 ms to 5 s.
    pub is_sharing: bool,
    /// How long ago the log was last read to its end. `None`: never.
    pub last_read: Option<Duration>,
    /// Only of a [strict](super::FleetBuilder::strict) fleet: whether the lease holds. While it does not, nothing
    /// serves from memory.
    pub holds_lease: Option<bool>,
    /// Processes of the fleet that were there when they were last counted, this one included. Zero: never counted.
    pub processes: u32,
    /// How many settings of other processes did not go together with those of this one when they were last looked at,
    /// which is every five seconds: a cache of the same name that asks somebody else or reads answers in another way,
    /// or `strict`. Each is told in the log once. While a new release is rolled out they pass.
    pub mismatches: usize,
    /// Misses of a cache, and tokens asked about ahead of time, that the engine answered.
    pub hits: u64,
    /// Those that this process had to ask about: the engine had no answer that serves, or was away.
    pub misses: u64,
    /// How many of both have waited for a question of another process.
    pub waits: u64,
    /// Answers of this process that the engine took.
    pub stored: u64,
    /// Answers of the engine that did not serve, since a record of the log is about them or may be missing.
    pub outdated: u64,
    /// Answers, records and settings of other processes that could not be opened. Such an answer is a miss, and such a
    /// record a gap.
    pub unreadable: u64,
    /// How many could not be opened for which reason; reasons that did not occur are left out.
    pub unreadable_by_reason: Vec<(Unreadable, u64)>,
    /// Records read from the log, those of this process included.
    pub records_read: u64,
    /// Records of this process that the engine took.
    pub records_written: u64,
    /// Records kept in memory now, to judge answers of the engine by: 10,000 at the most.
    pub records_kept: usize,
    /// Invalidations of this process, and tokens that it found inactive, that wait for the engine now: 10,000 at the
    /// most. With one more, what was found inactive makes room, and then they become one that is about all tokens.
    pub queued: usize,
    /// Gaps in the log. After each, what is shared is distrusted and what is remembered is asked about again.
    pub gaps: u64,
    /// Calls of the engine that failed.
    pub engine_failures: u64,
    /// How many failed in which way; ways in which none did are left out.
    pub engine_failures_by_kind: Vec<(EngineErrorKind, u64)>,
    /// Turns of the rate limit that were asked of the engine and answered by it, those that were too late included.
    pub shared_turns: u64,
    /// Turns of the rate limit that this process took from its own part of the limit, since the engine was away.
    pub local_turns: u64,
    /// Whether the last turn was one of these.
    pub is_rate_limit_local: bool,
    /// DPoP proofs (feature `dpop`) that only this process has noted as used, since the engine was away or too slow, or
    /// was not asked yet: each could come in once more at another process.
    pub local_proofs: u64,
}

/// A counter of [`Figures`], by the name it has in [`FleetStats`].
#[derive(Clone, Copy)]
pub(crate) enum Counted {
    Hit,
    Miss,
    Wait,
    Stored,
    Outdated,
    RecordRead,
    RecordWritten,
    Gap,
    /// In the feature `dpop` alone.
    #[cfg_attr(not(feature = "dpop"), allow(dead_code))]
    LocalProof,
}

impl Counted {
    pub(crate) const ALL: [Self; 9] = [
        Self::Hit,
        Self::Miss,
        Self::Wait,
        Self::Stored,
        Self::Outdated,
        Self::RecordRead,
        Self::RecordWritten,
        Self::Gap,
        Self::LocalProof,
    ];
}

pub(super) struct Figures {
    counters: [AtomicU64; Counted::ALL.len()],
    unreadable: [AtomicU64; Unreadable::ALL.len()],
    failures: [AtomicU64; EngineErrorKind::ALL.len()],
    metrics: FleetMetrics,
}

impl Figures {
    pub(super) fn new(fleet: &str, is_strict: bool) -> Self {
        Self {
            counters: Default::default(),
            unreadable: Default::default(),
            failures: Default::default(),
            metrics: FleetMetrics::new(fleet, is_strict),
        }
    }

    pub(super) fn count(&self, what: Counted) {
        add_one(&self.counters, what as usize);
        self.metrics.count(what);
    }

    pub(super) fn unreadable(&self, why: Unreadable) {
        add_one(&self.unreadable, why as usize);
        self.metrics.unreadable(why);
    }

    pub(super) fn engine_failed(&self, kind: EngineErrorKind) {
        add_one(&self.failures, kind as usize);
        self.metrics.engine_failed(kind);
    }

    pub(super) fn get(&self, what: Counted) -> u64 {
        self.counters.get(what as usize).map_or(0, |counter| counter.load(Ordering::Relaxed))
    }

    pub(super) fn unreadable_by_reason(&self) -> Vec<(Unreadable, u64)> {
        by_kind(Unreadable::ALL, &self.unreadable)
    }

    pub(super) fn failures_by_kind(&self) -> Vec<(EngineErrorKind, u64)> {
        by_kind(EngineErrorKind::ALL, &self.failures)
    }

    /// Publishes what is not counted but looked at. The log was not read `for` so long.
    pub(super) fn publish(&self, stats: &FleetStats, unread_for: Duration) {
        self.metrics.publish(stats, unread_for);
    }
}

fn add_one(counters: &[AtomicU64], place: usize) {
    // There is a place for each.
    if let Some(counter) = counters.get(place) {
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

fn by_kind<K>(kinds: impl IntoIterator<Item = K>, counters: &[AtomicU64]) -> Vec<(K, u64)> {
    let counts = counters.iter().map(|counter| counter.load(Ordering::Relaxed));
    kinds.into_iter().zip(counts).filter(|(_, count)| *count > 0).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_figure_is_counted_as_itself() {
        for counted in Counted::ALL {
            let figures = Figures::new("test", false);
            figures.count(counted);
            let all = Counted::ALL.map(|other| figures.get(other));
            assert_eq!((figures.get(counted), all.iter().sum::<u64>()), (1, 1));
        }
        for why in Unreadable::ALL {
            let figures = Figures::new("test", false);
            figures.unreadable(why);
            assert_eq!(figures.unreadable_by_reason(), [(why, 1)]);
        }
        for kind in EngineErrorKind::ALL {
            let figures = Figures::new("test", false);
            figures.engine_failed(kind);
            assert_eq!(figures.failures_by_kind(), [(kind, 1)]);
        }
    }
}
