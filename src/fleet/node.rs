//! This process as a member of its fleet: all that its caches and the tasks of [`follow`](super::follow) share.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
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
use super::seal::Unreadable;
use super::settings::{CacheSettings, Settings};
use super::trouble::{Call, Trouble};
use crate::clock::Clock;
use crate::log_limit::LogLimit;

/// What the log of a fleet is applied to: one cache of this process.
pub(crate) trait Member: Send + Sync + 'static {
    /// Forgets what the records are about.
    fn apply(&self, records: &[Arc<Record>]);

    /// Invalidations up to that moment, in milliseconds, may be unknown which others know: holds them against all
    /// tokens that it cannot ask about.
    fn has_lost(&self, moment: i64);

    /// Records may be missing: has all that is remembered asked about again, spread over time. In a strict fleet it is
    /// forgotten.
    fn has_gap(&self, is_strict: bool);
}

/// The sorts of lines that are written about a fleet, besides those about its engine.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Told {
    Gap,
    Unreadable(&'static str, Unreadable),
    Overflow,
    Lease,
}

/// How long a request waits for the engine, before this process goes on by itself: for an answer, for a turn, and to
/// note a proof of possession. 50 ms in all.
pub(super) const LOOK_TIME: Duration = Duration::from_millis(if cfg!(feature = "dpop") { 25 } else { 30 });
const TURN_TIME: Duration = Duration::from_millis(if cfg!(feature = "dpop") { 15 } else { 20 });
#[cfg(feature = "dpop")]
pub(super) const PROOF_TIME: Duration = Duration::from_millis(10);

/// Records have to be kept as long as any answer asked for before them may serve, and a little longer.
const MARGIN: Duration = Duration::from_secs(30);

pub(crate) struct Node {
    pub(super) id: NodeId,
    pub(super) fleet: String,
    pub(super) engine: Arc<dyn Engine>,
    pub(super) keys: Keyring,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) access: Access,
    /// That of proofs: an engine that is too slow for answers may be quick enough for them, and the other way round.
    #[cfg(feature = "dpop")]
    pub(super) proof_access: Access,
    pub(super) engine_clock: EngineClock,
    pub(super) log: Log,
    pub(super) outbox: Outbox,
    pub(super) figures: Figures,
    /// Only of a strict fleet.
    pub(super) lease: Option<Arc<Lease>>,
    members: Mutex<Vec<(Weak<dyn Member>, CacheSettings)>>,
    pub(super) processes: AtomicU64,
    /// What did not go together with the other processes when they were last looked at.
    pub(super) mismatches: AtomicUsize,
    /// The longest reach of an answer in any process, in milliseconds.
    reach: AtomicU64,
    pub(super) is_followed: AtomicBool,
    pub(super) told: LogLimit<Told>,
    trouble: Trouble,
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
            figures: Figures::new(&fleet, strict_lease.is_some()),
            fleet,
            engine,
            keys,
            clock,
            access: Access::new(),
            #[cfg(feature = "dpop")]
            proof_access: Access::new(),
            engine_clock: EngineClock::default(),
            log: Log::default(),
            outbox: Outbox::default(),
            lease: strict_lease.map(|lasts| Arc::new(Lease::new(lasts))),
            members: Mutex::default(),
            processes: AtomicU64::new(0),
            mismatches: AtomicUsize::new(0),
            reach: AtomicU64::new(0),
            is_followed: AtomicBool::new(false),
            told: LogLimit::new(),
            trouble: Trouble::new(),
            paces: Mutex::default(),
        }
    }

    pub(super) fn join(&self, member: Weak<dyn Member>, settings: CacheSettings) {
        self.reach.fetch_max(settings.reach, Ordering::Relaxed);
        let joined = member.upgrade();
        let mut members = self.members.lock().unwrap_or_else(PoisonError::into_inner);
        members.retain(|(member, _)| member.strong_count() > 0);
        members.push((member, settings));
        drop(members);
        // The log is read once for all. Records that come from now on reach this one, too.
        let (marks, lost) = self.log.marks();
        let Some(joined) = joined else { return };
        if let Some(moment) = lost {
            joined.has_lost(moment);
        }
        if !marks.is_empty() {
            joined.apply(&marks);
        }
    }

    pub(super) fn members(&self) -> Vec<Arc<dyn Member>> {
        let members = self.members.lock().unwrap_or_else(PoisonError::into_inner);
        members.iter().filter_map(|(member, _)| member.upgrade()).collect()
    }

    pub(super) fn settings(&self) -> Settings {
        let position = self.log.position();
        let members = self.members.lock().unwrap_or_else(PoisonError::into_inner);
        Settings {
            caches: members.iter().map(|(_, settings)| settings.clone()).collect(),
            strict_lease: self.lease.as_ref().map(|lease| u64::try_from(lease.lasts().as_millis()).unwrap_or(u64::MAX)),
            epoch: position.map(|(epoch, _)| epoch),
            node: self.id.0,
            applied: position.map_or(0, |(_, position)| position.number),
        }
    }

    /// What another process has told of itself.
    pub(super) fn settings_of(&self, node: &engine::Node) -> Result<Settings, Unreadable> {
        let settings = self.keys.open_settings(&node.settings)?;
        // What is sealed and not understood is of another release.
        let settings: Settings = serde_json::from_slice(&settings).map_err(|_| Unreadable::OtherVersion)?;
        // Those of another process, copied.
        if settings.node == node.id.0 { Ok(settings) } else { Err(Unreadable::Tampered) }
    }

    /// The turns of the authority, which all processes share that ask it as this client.
    pub(super) fn pace(self: &Arc<Self>, [authority, client]: [String; 2]) -> Arc<FleetPace> {
        let name = self.keys.rate_name(&[authority], &[client]);
        let mut paces = self.paces.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, pace)) = paces.iter().find(|(known, _)| *known == name) {
            return Arc::clone(pace);
        }
        let reach: Weak<dyn Reach> = Arc::<Self>::downgrade(self);
        let pace = Arc::new(FleetPace::new(reach, name.clone(), TURN_TIME));
        paces.push((name, Arc::clone(&pace)));
        pace
    }

    /// How long records are kept. Before this process knows how long others need them, none goes for its age.
    pub(super) fn retention(&self) -> Duration {
        if self.processes.load(Ordering::Relaxed) == 0 {
            return Duration::MAX;
        }
        Duration::from_millis(self.reach.load(Ordering::Relaxed)).saturating_add(MARGIN)
    }

    pub(super) fn hears_of_reach(&self, reach: u64) {
        self.reach.fetch_max(reach, Ordering::Relaxed);
    }

    /// The engine did what it was asked.
    pub(super) fn succeeded(&self, call: Call) {
        if self.trouble.succeeded(call) {
            tracing::info!(
                fleet = self.fleet,
                "the fleet's engine is back: answers and invalidations are shared again"
            );
        }
    }

    /// The same, for a request.
    pub(super) fn call_succeeded(&self, call: Call) {
        self.access.succeeds();
        self.succeeded(call);
    }

    /// A request's call of the engine failed.
    pub(super) fn call_failed(&self, call: Call, error: &EngineError) {
        self.access.fails();
        self.failed(call, error);
    }

    /// Tells of a failure of the engine, whoever met it, unless that was told a moment ago.
    pub(super) fn failed(&self, call: Call, error: &EngineError) {
        self.figures.engine_failed(error.kind);
        let Some(untold) = self.trouble.failed(call, error.kind) else { return };
        let (fleet, kind) = (&self.fleet, error.kind.as_str());
        match error.kind {
            EngineErrorKind::Refused => tracing::error!(
                fleet,
                kind,
                %error,
                untold,
                "the fleet's engine refuses this process, which asks for itself until somebody changes something: check \
                 user name and password in the fleet's address, and what that user is permitted (ACL)"
            ),
            EngineErrorKind::Full => tracing::warn!(
                fleet,
                kind,
                %error,
                untold,
                "the fleet's engine has no memory left, so answers and invalidations are not shared: set `maxmemory` \
                 higher, and a `maxmemory-policy` that evicts"
            ),
            EngineErrorKind::Connection | EngineErrorKind::Timeout | EngineErrorKind::Answer => tracing::warn!(
                fleet,
                kind,
                %error,
                untold,
                "the fleet's engine fails: this process asks for itself until it answers"
            ),
        }
    }

    pub(super) fn unreadable(&self, what: &'static str, why: Unreadable) {
        self.figures.unreadable(why);
        if let Some(untold) = self.told.due(Told::Unreadable(what, why)) {
            tracing::warn!(
                fleet = self.fleet,
                what,
                why = why.as_str(),
                untold,
                "what the fleet's engine holds cannot be opened: it was changed, or is of a secret or a version that is \
                 not known here"
            );
        }
    }

    /// Tells that a strict fleet has lost its lease, if it has.
    pub(super) fn looks_at_the_lease(&self) {
        if self.holds_lease() == Some(false)
            && let Some(untold) = self.told.due(Told::Lease)
        {
            tracing::warn!(
                fleet = self.fleet,
                untold,
                "the strict fleet's lease is over: nothing serves from memory until the log is read again"
            );
        }
    }

    fn holds_lease(&self) -> Option<bool> {
        Some(self.lease.as_ref()?.holds_at(self.clock.now()))
    }

    /// The figures, and publishes those that are looked at rather than counted.
    pub(super) fn stats(&self) -> FleetStats {
        let counted = |what| self.figures.get(what);
        let turns: Vec<_> = {
            let paces = self.paces.lock().unwrap_or_else(PoisonError::into_inner);
            paces.iter().map(|(_, pace)| pace.figures()).collect()
        };
        let (unreadable, failures) = (self.figures.unreadable_by_reason(), self.figures.failures_by_kind());
        let stats = FleetStats {
            name: self.fleet.clone(),
            is_reading: self.access.is_reading(),
            is_sharing: self.access.is_open(),
            last_read: self.access.last_read(),
            holds_lease: self.holds_lease(),
            processes: u32::try_from(self.processes.load(Ordering::Relaxed)).unwrap_or(u32::MAX),
            mismatches: self.mismatches.load(Ordering::Relaxed),
            hits: counted(Counted::Hit),
            misses: counted(Counted::Miss),
            waits: counted(Counted::Wait),
            stored: counted(Counted::Stored),
            outdated: counted(Counted::Outdated),
            unreadable: unreadable.iter().map(|(_, count)| count).sum(),
            unreadable_by_reason: unreadable,
            records_read: counted(Counted::RecordRead),
            records_written: counted(Counted::RecordWritten),
            records_kept: self.log.records(),
            queued: self.outbox.queued(),
            gaps: counted(Counted::Gap),
            engine_failures: failures.iter().map(|(_, count)| count).sum(),
            engine_failures_by_kind: failures,
            shared_turns: turns.iter().map(|turns| turns.from_engine).sum(),
            local_turns: turns.iter().map(|turns| turns.left_to_process).sum(),
            is_rate_limit_local: turns.iter().any(|turns| turns.is_left_to_process),
            local_proofs: counted(Counted::LocalProof),
        };
        self.figures.publish(&stats, self.access.unread_for());
        stats
    }
}

impl Reach for Node {
    fn engine(&self) -> &dyn Engine {
        &*self.engine
    }

    fn is_open(&self) -> bool {
        self.access.is_open()
    }

    fn succeeded(&self) {
        self.call_succeeded(Call::Turn);
    }

    fn failed(&self, error: &EngineError) {
        self.call_failed(Call::Turn, error);
    }

    fn disbelieves(&self, error: &EngineError) {
        Self::failed(self, Call::Turn, error);
    }

    fn nodes(&self) -> u32 {
        u32::try_from(self.processes.load(Ordering::Relaxed)).unwrap_or(u32::MAX)
    }
}
