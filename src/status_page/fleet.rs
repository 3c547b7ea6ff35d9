//! What there is to show of the fleet that a cache is in.

use super::figures::{Figure, Group};
use crate::fleet::FleetStats;

/// Whether the engine is there, in a word.
pub(super) fn engine(stats: &FleetStats) -> &'static str {
    match (stats.is_reading, stats.is_sharing) {
        (true, true) => "reachable",
        // The log is read, and a request's call has failed or took too long.
        (true, false) => "slow",
        (false, _) => "away",
    }
}

pub(super) fn group(stats: &FleetStats) -> Group {
    use Figure::{Count, Seconds, Text, Word};

    let kinds = stats.engine_failures_by_kind.iter().map(|(kind, count)| (kind.as_str(), *count));
    let reasons = stats.unreadable_by_reason.iter().map(|(reason, count)| (reason.as_str(), *count));
    let lease = match stats.holds_lease {
        None => "not strict",
        Some(true) => "held",
        Some(false) => "lost",
    };
    let limit = if stats.is_rate_limit_local { "this process's part" } else { "the fleet's" };
    let rows = vec![
        ("Name", "fleet_name", Text(stats.name.clone())),
        ("Processes", "fleet_processes", Count(stats.processes.into())),
        ("Settings that do not go together", "fleet_mismatches", Figure::count(stats.mismatches)),
        ("Log last read, ago", "fleet_last_read_seconds", Seconds(stats.last_read.map(|ago| ago.as_secs_f64()))),
        ("Strict lease", "fleet_lease", Word(lease)),
        ("Shared hits", "fleet_hits", Count(stats.hits)),
        ("Shared misses", "fleet_misses", Count(stats.misses)),
        ("Waited for another process", "fleet_waits", Count(stats.waits)),
        ("Answers stored", "fleet_stored", Count(stats.stored)),
        ("Answers outdated by the log", "fleet_outdated", Count(stats.outdated)),
        ("Unreadable", "fleet_unreadable", Count(stats.unreadable)),
        ("Unreadable by reason", "fleet_unreadable_by_reason", Figure::kinds(reasons)),
        ("Records read", "fleet_records_read", Count(stats.records_read)),
        ("Records written", "fleet_records_written", Count(stats.records_written)),
        ("Records kept in memory now", "fleet_records_kept", Figure::count(stats.records_kept)),
        ("Invalidations queued now", "fleet_queued", Figure::count(stats.queued)),
        ("Gaps in the log", "fleet_gaps", Count(stats.gaps)),
        ("Engine calls failed", "fleet_engine_failures", Count(stats.engine_failures)),
        ("Failed by kind", "fleet_engine_failures_by_kind", Figure::kinds(kinds)),
        ("Rate limit in use", "fleet_rate_limit", Word(limit)),
        ("Turns from the engine", "fleet_shared_turns", Count(stats.shared_turns)),
        ("Turns of this process's part", "fleet_local_turns", Count(stats.local_turns)),
        ("Proofs noted by this process alone", "fleet_local_proofs", Count(stats.local_proofs)),
    ];
    Group { title: "Fleet (all caches of this process)", rows }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::{Fleet, FleetSecret, MemoryEngine};

    #[test]
    fn an_engine_that_is_read_and_answers_requests_too_late_is_slow() {
        let secret = FleetSecret::from_bytes(b"a secret of thirty-two bytes, no less").unwrap();
        let fleet = Fleet::in_memory(&MemoryEngine::new(), "orders", secret).build().unwrap();
        let mut stats = fleet.stats();
        let mut words = Vec::new();
        for (is_reading, is_sharing) in [(false, false), (true, false), (true, true)] {
            (stats.is_reading, stats.is_sharing) = (is_reading, is_sharing);
            words.push(engine(&stats));
        }
        assert_eq!(words, ["away", "slow", "reachable"]);
    }
}
