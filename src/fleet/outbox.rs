//! What this process has invalidated and has not yet read back from the log.
//!
//! An invalidation goes in before anything is forgotten locally, and goes out when the log shows it. In between no
//! value that it is about is taken from the engine: it may be older, and no record says so yet. One that was appended
//! and never shows up, since the engine lost it, is appended again.

use std::collections::VecDeque;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, watch};

use super::engine::{Epoch, Name, Position};
use super::log::{Subject, is_about};
use super::record::Record;
use crate::introspect::Verdict;
use crate::selection::Rule;

/// How many invalidations wait for the engine. With one more, they become a single one that is about everything.
const MAX_ENTRIES: usize = 10_000;

#[derive(Default)]
pub(super) struct Outbox {
    entries: Mutex<VecDeque<Entry>>,
    /// Wakes whoever appends.
    changed: Notify,
}

struct Entry {
    record: Arc<Record>,
    /// Values to delete once it is recorded: whatever it says, they are old.
    names: Vec<Name>,
    stage: watch::Sender<Stage>,
}

/// How far an invalidation got.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Stage {
    /// It waits for its turn.
    Waiting,
    /// The engine did not take it; it is tried again.
    Queued,
    Appended(Epoch, Position),
}

/// The next one to append.
pub(super) struct Next {
    pub(super) record: Arc<Record>,
    pub(super) names: Vec<Name>,
}

impl Outbox {
    /// Tells whether it had to make room by a record that is about everything.
    pub(super) fn push(&self, record: Record, names: Vec<Name>) -> (watch::Receiver<Stage>, bool) {
        let (stage, hears) = watch::channel(Stage::Waiting);
        let mut entries = self.entries();
        let overflows = entries.len() >= MAX_ENTRIES;
        let mut replaced = VecDeque::new();
        let entry = if overflows {
            replaced = mem::take(&mut *entries);
            let record = Record { id: record.id, cache: None, rule: Rule::all(), found_inactive: false };
            Entry { record: Arc::new(record), names: Vec::new(), stage }
        } else {
            Entry { record: Arc::new(record), names, stage }
        };
        entries.push_back(entry);
        drop(entries);
        drop(replaced);
        self.changed.notify_one();
        (hears, overflows)
    }

    /// Waits for one that is to be appended.
    pub(super) async fn next(&self) -> Next {
        loop {
            if let Some(next) = self.first_to_append() {
                return next;
            }
            self.changed.notified().await;
        }
    }

    fn first_to_append(&self) -> Option<Next> {
        let entries = self.entries();
        let entry = entries.iter().find(|entry| !entry.is_appended())?;
        Some(Next { record: Arc::clone(&entry.record), names: entry.names.clone() })
    }

    pub(super) fn appended(&self, id: u128, epoch: Epoch, position: Position) {
        self.set(|entry| entry.record.id == id, Stage::Appended(epoch, position));
    }

    /// The engine takes none at present.
    pub(super) fn is_stuck(&self) {
        self.set(|entry| !entry.is_appended(), Stage::Queued);
    }

    fn set(&self, which: impl Fn(&Entry) -> bool, stage: Stage) {
        self.entries().iter().filter(|entry| which(entry)).for_each(|entry| {
            entry.stage.send_replace(stage);
        });
    }

    pub(super) fn is_own(&self, id: u128) -> bool {
        self.entries().iter().any(|entry| entry.record.id == id)
    }

    /// The log shows it, there.
    pub(super) fn is_read(&self, id: u128, epoch: Epoch, position: Position) {
        self.appended(id, epoch, position);
        let mut entries = self.entries();
        let place = entries.iter().position(|entry| entry.record.id == id);
        let removed = place.and_then(|place| entries.remove(place));
        drop(entries);
        drop(removed);
    }

    /// Those that were appended up to here and that the log, read to its end, does not show: it lost them.
    pub(super) fn append_again(&self, epoch: Epoch, end: u64) {
        let is_lost = |stage| match stage {
            Stage::Appended(in_epoch, position) => in_epoch != epoch || position.number <= end,
            Stage::Waiting | Stage::Queued => false,
        };
        self.set(|entry| is_lost(*entry.stage.borrow()), Stage::Queued);
        self.changed.notify_one();
    }

    pub(super) fn distrusts(&self, subject: Subject, verdict: &Verdict) -> bool {
        self.entries().iter().any(|entry| is_about(&entry.record, subject, verdict))
    }

    /// How many the engine has not taken.
    pub(super) fn queued(&self) -> usize {
        self.entries().iter().filter(|entry| !entry.is_appended()).count()
    }

    fn entries(&self) -> MutexGuard<'_, VecDeque<Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    fn is_appended(&self) -> bool {
        matches!(*self.stage.borrow(), Stage::Appended(..))
    }
}
