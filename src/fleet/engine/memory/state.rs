//! What the engine holds, and what each call does to it.

use std::time::Duration;

use super::bounded::Bounded;
use super::journal::Journal;
use super::log::Log;
use super::millis;
use crate::fleet::engine::{
    Append, Appended, CLOCK_TOLERANCE, Claim, Claimed, EngineError, EngineTime, Epoch, Lease, NodeId, Put, Stored,
    Turn, Version,
};

pub(super) const MOST_VALUES: usize = 100_000;
const MOST_FLEETS: usize = 1_000;

/// In microseconds.
const MINUTE: i64 = 60_000_000;

pub(super) struct State {
    pub(super) values: Bounded<Value>,
    pub(super) leases: Bounded<Held>,
    pub(super) rates: Bounded<Rate>,
    pub(super) logs: Bounded<Log>,
    /// Names that are kept, and until when.
    #[cfg(feature = "dpop")]
    pub(super) once: Bounded<EngineTime>,
    /// Which server it is, as Redis' replication id tells it: another one takes over when one fails.
    pub(super) server: u64,
    greatest_epoch: Epoch,
    pub(super) journal: Journal,
}

#[derive(Clone)]
pub(super) struct Value {
    pub(super) bytes: Vec<u8>,
    until: EngineTime,
}

/// In microseconds.
#[derive(Clone, Copy)]
pub(super) struct Rate {
    /// When a turn that keeps the interval exactly would be next.
    next: i64,
    booked_at: i64,
}

pub(super) struct Held {
    node: NodeId,
    until: EngineTime,
}

impl State {
    pub(super) fn new() -> Self {
        Self {
            values: Bounded::new(MOST_VALUES),
            leases: Bounded::new(MOST_VALUES),
            rates: Bounded::new(MOST_VALUES),
            logs: Bounded::new(MOST_FLEETS),
            #[cfg(feature = "dpop")]
            once: Bounded::new(MOST_VALUES),
            server: 0,
            greatest_epoch: 0,
            journal: Journal::default(),
        }
    }

    pub(super) fn claim(&mut self, key: &str, claim: &Claim, now: EngineTime) -> Claimed {
        let value = self.value(key, now).map(|value| value.bytes.as_slice());
        let value = value.and_then(|bytes| Some((version_of(bytes)?, bytes)));
        let value = value.filter(|(version, _)| version.epoch == claim.epoch);
        let serves = value.is_some_and(|(version, _)| {
            now.saturating_sub(version.asked_at) <= millis(claim.max_age)
                && claim.newer_than.is_none_or(|known| version > known)
        });
        let value = value.map(|(_, bytes)| bytes.to_vec());
        let lease = match claim.lease {
            Some(lease) if !serves => self.lease(key, claim.node, lease, now),
            _ => Lease::NotNeeded,
        };
        Claimed { now, value, lease }
    }

    fn lease(&mut self, key: &str, node: NodeId, lease: Duration, now: EngineTime) -> Lease {
        match self.leases.get(key) {
            Some(held) if held.until > now && held.node != node => {
                Lease::Of(held.node, Duration::from_millis(held.until.abs_diff(now)))
            }
            _ => {
                self.leases.insert(key, Held { node, until: now.saturating_add(millis(lease)) });
                Lease::Ours
            }
        }
    }

    pub(super) fn renew(&mut self, key: &str, node: NodeId, lease: Duration, now: EngineTime) {
        if let Some(held) = self.leases.get_mut(key).filter(|held| held.node == node && held.until > now) {
            held.until = now.saturating_add(millis(lease));
        }
    }

    pub(super) fn release(&mut self, key: &str, node: NodeId) {
        if self.leases.get(key).is_some_and(|held| held.node == node) {
            self.leases.remove(key);
        }
    }

    pub(super) fn put(&mut self, key: &str, put: &Put, now: EngineTime) -> Stored {
        self.release(key, put.node);
        let there = self.value(key, now);
        let had_value = there.is_some();
        let is_newer = there.and_then(|value| version_of(&value.bytes)).is_none_or(|there| put.version > there);
        let is_stored = is_newer && (had_value || !put.only_replace);
        if is_stored {
            let old = self.values.insert(key, Value { bytes: put.value.to_vec(), until: put.until });
            self.journal.note_value(key, old);
        }
        Stored { had_value, is_stored }
    }

    pub(super) fn delete(&mut self, key: &str) {
        let old = self.values.remove(key);
        self.journal.note_value(key, old);
    }

    fn value(&mut self, key: &str, now: EngineTime) -> Option<&Value> {
        if self.values.get(key).is_some_and(|value| value.until <= now) {
            self.values.remove(key);
        }
        self.values.get(key)
    }

    pub(super) fn append(&mut self, fleet: &str, append: &Append, now: EngineTime) -> Appended {
        let log = self.log(fleet, now);
        let before = log.last;
        let appended = Appended { position: log.append(append, now), epoch: log.epoch };
        self.journal.note_append(fleet, appended.position, before);
        appended
    }

    /// Begins a new epoch where records may be lost.
    pub(super) fn log(&mut self, fleet: &str, now: EngineTime) -> &mut Log {
        let Self { logs, server, greatest_epoch, .. } = self;
        let mut begin_epoch = || {
            *greatest_epoch = u64::try_from(now).unwrap_or(0).max(*greatest_epoch + 1);
            *greatest_epoch
        };
        let log = logs.get_or_insert_with(fleet, || Log::new(begin_epoch(), *server, now));
        if log.server != *server || now < log.greatest_time.saturating_sub(CLOCK_TOLERANCE) {
            log.epoch = begin_epoch();
            log.server = *server;
            log.greatest_time = now;
        }
        log.greatest_time = log.greatest_time.max(now);
        log
    }

    pub(super) fn take_turn(
        &mut self,
        key: &str,
        turn: &Turn,
        now: EngineTime,
    ) -> Result<Option<Duration>, EngineError> {
        let now = now.saturating_mul(1_000);
        let known = self.rates.get(key).copied().unwrap_or(Rate { next: now, booked_at: now });
        let was_set_back = known.booked_at > now;
        // Then what was booked is as far ahead as it was when it was booked.
        let next = if was_set_back { now.saturating_add(known.next - known.booked_at) } else { known.next };
        // None is ever booked further ahead than this by processes that wait no longer than this one.
        let max_wait = turn.max_wait.max(turn.max_wait_of_known);
        let furthest = [turn.tolerance_of_known, max_wait, turn.interval].into_iter().fold(now, i64::saturating_add);
        let next = if next > furthest.saturating_add(MINUTE) { now } else { next.max(now) };
        if next > furthest {
            return Err(EngineError::booked_too_far());
        }
        let delay_with = |tolerance| next.saturating_sub(tolerance).saturating_sub(now).max(0);
        let delay = delay_with(turn.tolerance);
        if delay > turn.max_wait || delay_with(turn.tolerance_of_known) > turn.max_wait_of_known {
            if was_set_back {
                self.rates.insert(key, Rate { next, booked_at: now });
            }
            return Ok(None);
        }
        self.rates.insert(key, Rate { next: next.saturating_add(turn.interval), booked_at: now });
        Ok(Some(Duration::from_micros(delay.unsigned_abs())))
    }

    #[cfg(feature = "dpop")]
    pub(super) fn insert_once(&mut self, key: &str, lasts: Duration, now: EngineTime) -> bool {
        let is_kept = self.once.get(key).is_some_and(|until| *until > now);
        if !is_kept {
            self.once.insert(key, now.saturating_add(millis(lasts)));
        }
        !is_kept
    }
}

/// What the header of a value tells, which starts with the version of the format and the id of the secret.
fn version_of(value: &[u8]) -> Option<Version> {
    let number = |from: usize| value.get(from..from + 8)?.try_into().ok();
    Some(Version { epoch: u64::from_be_bytes(number(9)?), asked_at: i64::from_be_bytes(number(17)?) })
}
