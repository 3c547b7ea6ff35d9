//! How often a case came to what it is there for, over all cases of one test: a model that no longer does tests
//! nothing. All that happens in a case happens on the thread of its test.

use std::cell::RefCell;
use std::collections::BTreeMap;

use tower_introspection::cache::Reach;
use tower_introspection::fleet::FleetStats;
use tower_introspection::introspect::IntrospectErrorKind;

use super::journal::Journal;
use super::rules::Request;
use super::world::EngineFault;
use crate::model::common::Ending;

pub(super) struct Reached;

thread_local! {
    static REACHED: RefCell<BTreeMap<&'static str, u64>> = const { RefCell::new(BTreeMap::new()) };
}

/// What has to be reached, and how often at least in a thousand cases.
const WANTED: [(&str, u64); 28] = [
    ("accepted", 1_500),
    ("accepted, of another process", 250),
    ("accepted stale", 20),
    ("accepted stale, of another process", 5),
    ("accepted after an invalidation was read", 80),
    ("rejected", 600),
    ("rejected, of another process", 2),
    ("failed", 800),
    ("given up", 100),
    ("queued", 80),
    ("recorded", 350),
    ("everywhere", 250),
    ("waits for another", 50),
    ("outdated", 250),
    ("unreadable", 60),
    ("gap", 300),
    ("cut off", 40),
    ("hung", 40),
    ("slow", 90),
    ("refused", 30),
    ("a line failed", 400),
    ("full", 50),
    ("emptied", 20),
    ("evicted", 20),
    ("log evicted", 15),
    ("failed over", 60),
    ("tampered", 60),
    ("junk in the log", 15),
];

impl Reached {
    fn note(what: &'static str, count: u64) {
        REACHED.with_borrow_mut(|reached| *reached.entry(what).or_default() += count);
    }

    pub(super) fn note_request(request: &Request, journal: &Journal) {
        let Request { token, process, start, ending, .. } = request;
        match *ending {
            Ending::Accepted { question, stale } => {
                let is_of_another =
                    journal.questions.get(question).is_some_and(|question| question.process != *process);
                Self::note(
                    match (stale, is_of_another) {
                        (false, false) => "accepted",
                        (false, true) => "accepted, of another process",
                        (true, false) => "accepted stale",
                        (true, true) => "accepted stale, of another process",
                    },
                    1,
                );
                if journal.invalidations.iter().any(|by| {
                    by.process != *process
                        && by.scope.is_about_inactive(*token)
                        && by.read_by.get(process).is_some_and(|read| start.event > *read)
                }) {
                    Self::note("accepted after an invalidation was read", 1);
                }
            }
            Ending::Rejected(_) => {
                let has_asked = |other: &super::journal::Question| {
                    other.process == *process && other.token == *token && request.start.event < other.asked.event
                };
                Self::note("rejected", 1);
                let own = journal.questions.iter().filter(|question| question.token == *token);
                if !own.clone().any(|question| has_asked(question) || question.process == *process) {
                    Self::note("rejected, of another process", 1);
                }
            }
            Ending::Failed { kind: IntrospectErrorKind::Abandoned, .. } => Self::note("given up", 1),
            Ending::Failed { .. } => Self::note("failed", 1),
        }
    }

    pub(super) fn note_reach(reach: Reach) {
        match reach {
            Reach::Queued => Self::note("queued", 1),
            Reach::Recorded => Self::note("recorded", 1),
            Reach::Everywhere => Self::note("everywhere", 1),
            _ => Self::note("another reach", 1),
        }
    }

    /// Of a process that ends.
    pub(super) fn note_stats(stats: &FleetStats) {
        Self::note("waits for another", stats.waits);
        Self::note("outdated", stats.outdated);
        Self::note("unreadable", stats.unreadable);
        Self::note("gap", stats.gaps);
    }

    pub(super) fn note_fault(fault: EngineFault) {
        let what = match fault {
            EngineFault::Heal => "healed",
            EngineFault::CutOff => "cut off",
            EngineFault::Hang => "hung",
            EngineFault::Slow(_) => "slow",
            EngineFault::Refuse => "refused",
            EngineFault::Full => "full",
            EngineFault::RestartEmpty => "emptied",
            EngineFault::EvictAll => "evicted",
            EngineFault::EvictLog => "log evicted",
            EngineFault::FailOver(_) => "failed over",
            EngineFault::Tamper(_) | EngineFault::SwapValues => "tampered",
            EngineFault::AppendJunk => "junk in the log",
        };
        Self::note(what, 1);
    }

    pub(super) fn note_line_fault() {
        Self::note("a line failed", 1);
    }

    /// With one thread for all tests, others have counted on it before.
    pub(super) fn start() {
        REACHED.with_borrow_mut(BTreeMap::clear);
    }

    /// What was reached, how often, and whether that is enough for so many cases.
    pub(super) fn counts(cases: u32) -> Vec<(&'static str, u64, bool)> {
        REACHED.with_borrow(|reached| {
            let count = |what| reached.get(what).copied().unwrap_or_default();
            let is_enough = |count: u64, wanted: u64| count >= wanted * u64::from(cases) / 1_000;
            WANTED.iter().map(|(what, wanted)| (*what, count(*what), is_enough(count(*what), *wanted))).collect()
        })
    }
}
