//! What this process knows of the fleet's log, and what it trusts by it.
//!
//! A value was asked for as of some position. It serves as long as no record after that position is about it, and this
//! process knows all those records. The *horizon* is the position before which it does not: records were trimmed from
//! the log, lost by the engine, unreadable, or too many to be kept here.

use std::collections::{BTreeMap, HashSet};
use std::mem;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use super::engine::{Epoch, Header, Position};
use super::record::Record;
use crate::clock::Stopwatch;
use crate::introspect::Verdict;

/// How many records are kept here. With more, what was asked before the oldest of them is asked for anew.
const MAX_RECORDS: usize = 10_000;

#[derive(Default)]
pub(super) struct Log(RwLock<Known>);

#[derive(Default)]
struct Known {
    /// `None` before the first read.
    epoch: Option<Epoch>,
    /// When this process learned of that epoch.
    since: Option<Stopwatch>,
    /// All records up to here have been applied to the caches of this process.
    position: Position,
    horizon: u64,
    records: BTreeMap<u64, Arc<Record>>,
    /// Of the log before this one: what it shares with this one has been applied.
    applied_before: HashSet<u128>,
}

/// What a value is about, as a record may select it.
#[derive(Clone, Copy)]
pub(super) struct Subject<'a> {
    pub(super) cache: &'a str,
    pub(super) key_id: u64,
    /// What the caches of this process know the token by.
    pub(super) key: [u64; 2],
}

/// Why a value that is stored does not serve.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Distrust {
    /// Records that are about it may be unknown here.
    TooOld,
    /// A record says so.
    Invalidated,
}

impl Log {
    /// What a question that leaves now is asked as of.
    pub(super) fn as_of(&self) -> Option<(Epoch, u64)> {
        let known = self.known();
        Some((known.epoch?, known.position.number))
    }

    /// Where the next read goes on, and in which epoch.
    pub(super) fn position(&self) -> Option<(Epoch, Position)> {
        let known = self.known();
        Some((known.epoch?, known.position))
    }

    pub(super) fn distrusts(&self, header: &Header, subject: Subject, verdict: &Verdict) -> Option<Distrust> {
        let known = self.known();
        if known.epoch != Some(header.version.epoch) || header.as_of < known.horizon {
            return Some(Distrust::TooOld);
        }
        let is_newer = known.records.range(header.as_of.saturating_add(1)..);
        is_newer
            .map(|(_, record)| record)
            .any(|record| is_about(record, subject, verdict))
            .then_some(Distrust::Invalidated)
    }

    /// Another log, of which nothing is known yet: it is read from its first record on.
    pub(super) fn start_over(&self, epoch: Epoch, first: u64) {
        let mut known = self.known_mut();
        let mut applied_before: HashSet<_> = known.records.values().map(|record| record.id).collect();
        if applied_before.is_empty() {
            // It began anew before anything of it was read.
            applied_before = mem::take(&mut known.applied_before);
        }
        let (position, horizon) = (Position::default(), first.saturating_sub(1));
        let (epoch, since) = (Some(epoch), Some(Stopwatch::start()));
        *known = Known { epoch, since, position, horizon, records: BTreeMap::new(), applied_before };
    }

    /// How long this process has known of this epoch, if it is the present one.
    pub(super) fn known_for(&self, epoch: Epoch) -> Option<Duration> {
        let known = self.known();
        let since = known.since.as_ref().filter(|_| known.epoch == Some(epoch))?;
        Some(since.elapsed())
    }

    /// Whether the record was applied when it was read in the log before this one.
    pub(super) fn has_applied(&self, id: u128) -> bool {
        self.known().applied_before.contains(&id)
    }

    /// Records that have been applied, up to `position`.
    pub(super) fn advance(&self, position: Position, records: impl IntoIterator<Item = (u64, Arc<Record>)>) {
        let mut known = self.known_mut();
        known.records.extend(records);
        known.position = position;
        while known.records.len() > MAX_RECORDS
            && let Some((number, _)) = known.records.pop_first()
        {
            known.horizon = known.horizon.max(number);
        }
    }

    /// What was asked before the record of this number is not trusted.
    pub(super) fn raise_horizon(&self, number: u64) {
        let mut known = self.known_mut();
        known.horizon = known.horizon.max(number);
        let horizon = known.horizon;
        // One that is asked as of the horizon has seen the record there.
        known.records = known.records.split_off(&horizon.saturating_add(1));
    }

    /// What was asked before the record after this one is not trusted.
    pub(super) fn horizon(&self) -> u64 {
        self.known().horizon
    }

    /// How many records are kept here.
    pub(super) fn records(&self) -> usize {
        self.known().records.len()
    }

    fn known(&self) -> RwLockReadGuard<'_, Known> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn known_mut(&self) -> RwLockWriteGuard<'_, Known> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether the record takes this verdict away.
pub(super) fn is_about(record: &Record, subject: Subject, verdict: &Verdict) -> bool {
    if record.cache.as_deref().is_some_and(|cache| cache != subject.cache) {
        return false;
    }
    let rule = &record.rule;
    match verdict {
        Verdict::Active(facts) => rule.matches(subject.key_id, subject.key, facts),
        Verdict::Inactive(_) if record.found_inactive => false,
        Verdict::Inactive(_) => (rule.is_one_token() || rule.is_all()) && rule.names(subject.key_id, subject.key),
    }
}
