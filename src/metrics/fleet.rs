//! The figures of a fleet (feature `redis`). Their only label, but for those of fixed values, is the fleet's own name.

#[cfg(feature = "metrics")]
pub(crate) use published::FleetMetrics;
#[cfg(not(feature = "metrics"))]
pub(crate) use silent::FleetMetrics;

#[cfg(feature = "metrics")]
mod published {
    use std::sync::OnceLock;
    use std::time::Duration;

    use metrics::{Counter, Gauge, SharedString, Unit, counter, describe_counter, describe_gauge, gauge};

    use crate::fleet::{Counted, EngineErrorKind, FleetStats, Unreadable};

    const LOOKUPS: &str = "tower_introspection.fleet.lookups_total";
    const WAITS: &str = "tower_introspection.fleet.waits_total";
    const STORED: &str = "tower_introspection.fleet.stored_total";
    const OUTDATED: &str = "tower_introspection.fleet.outdated_total";
    const UNREADABLE: &str = "tower_introspection.fleet.unreadable_total";
    const RECORDS_READ: &str = "tower_introspection.fleet.records_read_total";
    const RECORDS_WRITTEN: &str = "tower_introspection.fleet.records_written_total";
    const GAPS: &str = "tower_introspection.fleet.gaps_total";
    const LOCAL_PROOFS: &str = "tower_introspection.fleet.local_proofs_total";
    const FAILURES: &str = "tower_introspection.fleet.engine_failures_total";
    const TURNS: &str = "tower_introspection.fleet.turns_total";
    const REACHABLE: &str = "tower_introspection.fleet.engine_reachable";
    const LOG_AGE: &str = "tower_introspection.fleet.log_age_seconds";
    const PROCESSES: &str = "tower_introspection.fleet.processes";
    const MISMATCHES: &str = "tower_introspection.fleet.mismatches";
    const RECORDS: &str = "tower_introspection.fleet.records_kept";
    const QUEUED: &str = "tower_introspection.fleet.invalidations_queued";
    const LOCAL: &str = "tower_introspection.fleet.rate_limit_local";
    const LEASE: &str = "tower_introspection.fleet.lease_holds";

    pub(crate) struct FleetMetrics {
        fleet: SharedString,
        is_strict: bool,
        handles: OnceLock<Handles>,
    }

    struct Handles {
        /// In the order of their lists.
        counted: [Counter; Counted::ALL.len()],
        unreadable: [Counter; Unreadable::ALL.len()],
        failures: [Counter; EngineErrorKind::ALL.len()],
        shared_turns: Counter,
        local_turns: Counter,
        reachable: Gauge,
        log_age: Gauge,
        processes: Gauge,
        mismatches: Gauge,
        records: Gauge,
        queued: Gauge,
        local: Gauge,
        lease: Option<Gauge>,
    }

    impl FleetMetrics {
        pub(crate) fn new(fleet: &str, is_strict: bool) -> Self {
            Self { fleet: fleet.to_owned().into(), is_strict, handles: OnceLock::new() }
        }

        pub(crate) fn count(&self, what: Counted) {
            if let Some(counter) = self.handles().counted.get(what as usize) {
                counter.increment(1);
            }
        }

        pub(crate) fn unreadable(&self, why: Unreadable) {
            if let Some(counter) = self.handles().unreadable.get(why as usize) {
                counter.increment(1);
            }
        }

        pub(crate) fn engine_failed(&self, kind: EngineErrorKind) {
            if let Some(counter) = self.handles().failures.get(kind as usize) {
                counter.increment(1);
            }
        }

        #[allow(clippy::cast_precision_loss)] // there are not that many
        pub(crate) fn publish(&self, stats: &FleetStats, unread_for: Duration) {
            let handles = self.handles();
            let yes_or_no = |holds: bool| f64::from(u8::from(holds));
            handles.shared_turns.absolute(stats.shared_turns);
            handles.local_turns.absolute(stats.local_turns);
            handles.reachable.set(yes_or_no(stats.is_reading));
            handles.log_age.set(unread_for.as_secs_f64());
            handles.processes.set(f64::from(stats.processes));
            handles.mismatches.set(stats.mismatches as f64);
            handles.records.set(stats.records_kept as f64);
            handles.queued.set(stats.queued as f64);
            handles.local.set(yes_or_no(stats.is_rate_limit_local));
            if let (Some(lease), Some(holds)) = (&handles.lease, stats.holds_lease) {
                lease.set(yes_or_no(holds));
            }
        }

        /// Made outside of the cell, as those of a cache are.
        fn handles(&self) -> &Handles {
            self.handles.get().unwrap_or_else(|| {
                let made = self.make();
                self.handles.get_or_init(|| made)
            })
        }

        #[cold]
        fn make(&self) -> Handles {
            describe();
            let fleet = &self.fleet;
            let turns = |from: &'static str| counter!(TURNS, "fleet" => fleet.clone(), "from" => from);
            let level = |name: &'static str| gauge!(name, "fleet" => fleet.clone());
            Handles {
                counted: Counted::ALL.map(|what| counted(fleet, what)),
                unreadable: Unreadable::ALL
                    .map(|why| counter!(UNREADABLE, "fleet" => fleet.clone(), "reason" => why.as_str())),
                failures: EngineErrorKind::ALL
                    .map(|kind| counter!(FAILURES, "fleet" => fleet.clone(), "kind" => kind.as_str())),
                shared_turns: turns("engine"),
                local_turns: turns("process"),
                reachable: level(REACHABLE),
                log_age: level(LOG_AGE),
                processes: level(PROCESSES),
                mismatches: level(MISMATCHES),
                records: level(RECORDS),
                queued: level(QUEUED),
                local: level(LOCAL),
                lease: self.is_strict.then(|| level(LEASE)),
            }
        }
    }

    fn counted(fleet: &SharedString, what: Counted) -> Counter {
        let lookup = |result: &'static str| counter!(LOOKUPS, "fleet" => fleet.clone(), "result" => result);
        let total = |name: &'static str| counter!(name, "fleet" => fleet.clone());
        match what {
            Counted::Hit => lookup("hit"),
            Counted::Miss => lookup("miss"),
            Counted::Wait => total(WAITS),
            Counted::Stored => total(STORED),
            Counted::Outdated => total(OUTDATED),
            Counted::RecordRead => total(RECORDS_READ),
            Counted::RecordWritten => total(RECORDS_WRITTEN),
            Counted::Gap => total(GAPS),
            Counted::LocalProof => total(LOCAL_PROOFS),
        }
    }

    fn describe() {
        describe_counter!(
            LOOKUPS,
            "Misses of a cache that looked into the fleet's engine, by result: hit, miss (this process asked)"
        );
        describe_counter!(WAITS, "Those among them that waited for a question of another process");
        describe_counter!(STORED, "Answers of this process that the engine took");
        describe_counter!(
            OUTDATED,
            "Answers of the engine that did not serve: a record is about them, or may be missing"
        );
        describe_counter!(
            UNREADABLE,
            "What could not be opened, by reason: tampered, unknown_secret, other_version, too_large"
        );
        describe_counter!(RECORDS_READ, "Records read from the fleet's log");
        describe_counter!(RECORDS_WRITTEN, "Records of this process that the engine took");
        describe_counter!(GAPS, "Gaps in the fleet's log, after which nothing that was shared before is trusted");
        describe_counter!(LOCAL_PROOFS, "DPoP proofs that were noted by this process alone, since the engine was away");
        describe_counter!(
            FAILURES,
            "Calls of the engine that failed, by kind: connection, timeout, refused, full, answer"
        );
        describe_counter!(TURNS, "Turns of the rate limit, by who gave them: engine, process (the engine was away)");
        describe_gauge!(REACHABLE, "Whether the fleet's log is being read: 1, or 0 while this process asks for itself");
        describe_gauge!(LOG_AGE, Unit::Seconds, "How long ago the fleet's log was last read to its end");
        describe_gauge!(PROCESSES, "Processes of the fleet that are there, this one included");
        describe_gauge!(MISMATCHES, "Settings of other processes of the fleet that do not go together with this one's");
        describe_gauge!(RECORDS, "Records of the fleet's log that are kept in memory");
        describe_gauge!(QUEUED, "Invalidations of this process that wait for the engine");
        describe_gauge!(LOCAL, "Whether the last turn of the rate limit was this process's own: 1, or 0");
        describe_gauge!(LEASE, "Whether the lease of a strict fleet holds: 1, or 0 while nothing serves from memory");
    }
}

#[cfg(not(feature = "metrics"))]
mod silent {
    use std::time::Duration;

    use crate::fleet::{Counted, EngineErrorKind, FleetStats, Unreadable};

    pub(crate) struct FleetMetrics;

    #[allow(clippy::unused_self)]
    impl FleetMetrics {
        pub(crate) fn new(_: &str, _: bool) -> Self {
            Self
        }
        pub(crate) fn count(&self, _: Counted) {}
        pub(crate) fn unreadable(&self, _: Unreadable) {}
        pub(crate) fn engine_failed(&self, _: EngineErrorKind) {}
        pub(crate) fn publish(&self, _: &FleetStats, _: Duration) {}
    }
}
