//! This process as a member of its fleet: all that its caches and the tasks of [`follow`](super::follow) share.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use super::access::Access;
use super::engine::{self, Engine, EngineError, EngineErrorKind, Name, NodeId};
use super::engine_clock::EngineClock;
use super::figures::{Counted, Figures, FleetStats};
use super::keys::Keyring;
use super::lease::Lease;
use super::log::Log;
use super::outbox::Outbox;
use super::pace::{FleetPace, Reach};
use super::record::Record;
use super::settings::{CacheSettings, Settings};
use crate::clock::Clock;
use crate::log_limit::LogLimit;

/// What the log of a fleet is applied to: one cache of this process.
pub(crate) trait Member: Send + Sync + 'static {
    /// Forgets what the records are about.
    fn apply(&self, records: &[Arc<Record>]);

    /// Records may be missing: has all that is remembered asked about again, spread over time. In a strict fleet it is
    /// forgotten.
    fn has_gap(&self, is_strict: bool);
}

/// The sorts of lines that are written about a fleet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Told {
    Failure(EngineErrorKind),
    Gap,
    Unreadable,
    Overflow,
    Mismatch,
}

/// How long a request waits for the engine, before this process goes on by itself: for an answer, and for a turn. 50 ms
/// in all.
pub(super) const LOOK_TIME: Duration = Duration::from_millis(30);
const TURN_TIME: Duration = Duration::from_millis(20);

/// Records have to be kept as long as any answer asked for before them may serve, and a little longer.
const MARGIN: Duration = Duration::from_secs(30);

pub(crate) struct Node {
    pub(super) id: NodeId,
    pub(super) fleet: String,
    pub(super) engine: Arc<dyn Engine>,
    pub(super) keys: Keyring,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) access: Access,
    pub(super) engine_clock: EngineClock,
    pub(super) log: Log,
    pub(super) outbox: Outbox,
    pub(super) figures: Figures,
    /// Only of a strict fleet.
    pub(super) lease: Option<Arc<Lease>>,
    members: Mutex<Vec<(Weak<dyn Member>, CacheSettings)>>,
    pub(super) processes: AtomicU64,
    /// The longest reach of an answer in any process, in milliseconds.
    reach: AtomicU64,
    pub(super) is_followed: AtomicBool,
    pub(super) told: LogLimit<Told>,
    /// The log cannot be read, and that was told.
    is_away: AtomicBool,
    /// Of each authority, by its name in the engine.
    paces: Mutex<Vec<(Name, Arc<FleetPace>)>>,
}

impl Node {
    pub(super) fn new(
        id: NodeId,
        fleet: String,
        engine: Arc<dyn Engine>,
        keys: Keyring,
        strict_lease: Option<Duration>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            id,
            fleet,
            engine,
            keys,
            clock,
            access: Access::new(),
            engine_clock: EngineClock::default(),
            log: Log::default(),
            outbox: Outbox::default(),
            figures: Figures::default(),
            lease: strict_lease.map(|lasts| Arc::new(Lease::new(lasts))),
            members: Mutex::default(),
            processes: AtomicU64::new(0),
            reach: AtomicU64::new(0),
            is_followed: AtomicBool::new(false),
            told: LogLimit::new(),
            is_away: AtomicBool::new(false),
            paces: Mutex::default(),
        }
    }

    pub(super) fn join(&self, member: Weak<dyn Member>, settings: CacheSettings) {
        self.reach.fetch_max(settings.reach, Ordering::Relaxed);
        let mut members = self.members.lock().unwrap_or_else(PoisonError::into_inner);
        members.retain(|(member, _)| member.strong_count() > 0);
        members.push((member, settings));
    }

    pub(super) fn members(&self) -> Vec<Arc<dyn Member>> {
        let members = self.members.lock().unwrap_or_else(PoisonError::into_inner);
        members.iter().filter_map(|(member, _)| member.upgrade()).collect()
    }

    pub(super) fn settings(&self) -> Settings {
        let members = self.members.lock().unwrap_or_else(PoisonError::into_inner);
        Settings {
            caches: members.iter().map(|(_, settings)| settings.clone()).collect(),
            strict_lease: self.lease.as_ref().map(|lease| u64::try_from(lease.lasts().as_millis()).unwrap_or(u64::MAX)),
            epoch: self.log.position().map(|(epoch, _)| epoch),
        }
    }

    /// What another process has told of itself.
    pub(super) fn settings_of(&self, node: &engine::Node) -> Option<Settings> {
        serde_json::from_slice(&self.keys.open_settings(&node.settings).ok()?).ok()
    }

    /// The turns of the authority, which all processes share that ask it as this client.
    pub(super) fn pace(self: &Arc<Self>, [authority, client]: [String; 2]) -> Arc<FleetPace> {
        let name = self.keys.rate_name(&[authority], &[client]);
        let mut paces = self.paces.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, pace)) = paces.iter().find(|(known, _)| *known == name) {
            return Arc::clone(pace);
        }
        let reach: Weak<dyn Reach> = Arc::<Self>::downgrade(self);
        let pace = Arc::new(FleetPace::new(Arc::clone(&self.engine), reach, name.clone(), TURN_TIME));
        paces.push((name, Arc::clone(&pace)));
        pace
    }

    /// How long records are kept.
    pub(super) fn retention(&self) -> Duration {
        Duration::from_millis(self.reach.load(Ordering::Relaxed)).saturating_add(MARGIN)
    }

    pub(super) fn hears_of_reach(&self, reach: u64) {
        self.reach.fetch_max(reach, Ordering::Relaxed);
    }

    /// The log was read to its end.
    pub(super) fn reads(&self) {
        if self.is_away.swap(false, Ordering::Relaxed) {
            tracing::info!(
                fleet = self.fleet,
                "the fleet's engine is back: answers and invalidations are shared again"
            );
        }
    }

    /// The log could not be read.
    pub(super) fn does_not_read(&self, error: &EngineError) {
        self.access.begins();
        self.is_away.fetch_or(self.failed(error), Ordering::Relaxed);
    }

    /// A request's call of the engine failed.
    pub(super) fn call_failed(&self, error: &EngineError) {
        self.access.fails();
        self.failed(error);
    }

    /// Tells of a failure of the engine, whoever met it, unless that was told a moment ago.
    pub(super) fn failed(&self, error: &EngineError) -> bool {
        self.figures.count(Counted::EngineFailure);
        let Some(untold) = self.told.due(Told::Failure(error.kind)) else { return false };
        let (fleet, kind) = (&self.fleet, error.kind.as_str());
        match error.kind {
            EngineErrorKind::Refused => tracing::error!(
                fleet,
                kind,
                %error,
                untold,
                "the fleet's engine refuses this process, and somebody has to change something: until then it asks for itself"
            ),
            EngineErrorKind::Full => tracing::warn!(
                fleet,
                kind,
                %error,
                untold,
                "the fleet's engine has no memory left: answers and invalidations are not shared"
            ),
            EngineErrorKind::Connection | EngineErrorKind::Timeout | EngineErrorKind::Answer => tracing::warn!(
                fleet,
                kind,
                %error,
                untold,
                "the fleet's engine fails: this process asks for itself until it answers"
            ),
        }
        true
    }

    pub(super) fn unreadable(&self, what: &'static str) {
        self.figures.count(Counted::Unreadable);
        if let Some(untold) = self.told.due(Told::Unreadable) {
            tracing::warn!(
                fleet = self.fleet,
                what,
                untold,
                "what the fleet's engine holds cannot be opened: it was changed, or is of a secret or a version that is \
                 not known here"
            );
        }
    }

    pub(super) fn stats(&self) -> FleetStats {
        let counted = |what| self.figures.get(what);
        let paces = self.paces.lock().unwrap_or_else(PoisonError::into_inner);
        let turns: Vec<_> = paces.iter().map(|(_, pace)| pace.figures()).collect();
        FleetStats {
            is_reading: self.access.is_reading(),
            last_read: self.access.last_read(),
            processes: u32::try_from(self.processes.load(Ordering::Relaxed)).unwrap_or(u32::MAX),
            hits: counted(Counted::Hit),
            misses: counted(Counted::Miss),
            waits: counted(Counted::Wait),
            stored: counted(Counted::Stored),
            outdated: counted(Counted::Outdated),
            unreadable: counted(Counted::Unreadable),
            records_read: counted(Counted::RecordRead),
            records_written: counted(Counted::RecordWritten),
            queued: self.outbox.queued(),
            gaps: counted(Counted::Gap),
            engine_failures: counted(Counted::EngineFailure),
            shared_turns: turns.iter().map(|turns| turns.from_engine).sum(),
            local_turns: turns.iter().map(|turns| turns.left_to_process).sum(),
        }
    }
}

impl Reach for Node {
    fn is_open(&self) -> bool {
        self.access.is_open()
    }

    fn succeeded(&self) {
        self.access.succeeds();
    }

    fn failed(&self, error: &EngineError) {
        self.call_failed(error);
    }

    fn nodes(&self) -> u32 {
        u32::try_from(self.processes.load(Ordering::Relaxed)).unwrap_or(u32::MAX)
    }
}
