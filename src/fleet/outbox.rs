//! What this process has invalidated and has not yet read back from the log.
//!
//! An invalidation goes in before anything is forgotten locally, and goes out when the log shows it. In between no
//! value that it is about is taken from the engine: it may be older, and no record says so yet. One that was appended
//! and never shows up, since the engine lost it, is appended again.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{BuildHasher, RandomState};
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, watch};

use super::engine::{Epoch, Name, Position};
use super::log::{Said, Subject, is_about};
use super::record::Record;
use crate::introspect::Verdict;
use crate::selection::Rule;

/// How many invalidations wait for the engine: 40 MB at most as they are sent. With one more, they become a single one
/// that is about everything.
const MAX_ENTRIES: usize = 10_000;

#[derive(Default)]
pub(super) struct Outbox {
    entries: Mutex<Entries>,
    /// Wakes whoever appends.
    changed: Notify,
}

/// In the order in which they came, by a number of their own.
#[derive(Default)]
struct Entries {
    all: BTreeMap<u64, Entry>,
    by_id: HashMap<u128, u64>,
    /// Those that wait, by what they say.
    by_words: HashMap<u64, u64>,
    hasher: RandomState,
    /// Those that are to be appended.
    waiting: BTreeSet<u64>,
    next: u64,
}

struct Entry {
    record: Arc<Record>,
    /// Values to delete once it is recorded: whatever it says, they are old.
    names: Vec<Name>,
    stage: watch::Sender<Stage>,
    words: u64,
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
    /// Tells whether it had to make room by a record that is about everything. Those that say what was found to be
    /// inactive make room first, and a further one is let go when there is none: nobody asked for them, and each
    /// process hears the same from the authority within its window.
    pub(super) fn push(&self, record: Record, names: Vec<Name>) -> (watch::Receiver<Stage>, bool) {
        let mut entries = self.entries();
        // Said again while the engine is away, it takes the place of what was said before: whoever tries again and
        // again is not to fill the outbox, nor to wait behind all others each time.
        let words = entries.words_of(&record);
        if let Some(hears) = entries.say_again(words, &record) {
            return (hears, false);
        }
        let (stage, hears) = watch::channel(Stage::Waiting);
        let mut replaced = Vec::new();
        if entries.is_full() {
            if record.found_inactive {
                return (hears, false);
            }
            replaced = entries.take_found_inactive();
        }
        let overflows = entries.is_full();
        let entry = if overflows {
            replaced = entries.take_all();
            let all = || replaced.iter().map(|entry| &*entry.record).chain([&record]);
            let marks = all().filter(|record| record.leaves_mark).map(|record| record.moment).max();
            let (leaves_mark, moment) = (marks.is_some(), marks.unwrap_or(record.moment));
            let (id, rule) = (record.id, Rule::all());
            let record = Record { id, cache: None, rule, found_inactive: false, moment, leaves_mark };
            let words = entries.words_of(&record);
            Entry { record: Arc::new(record), names: Vec::new(), stage, words }
        } else {
            Entry { record: Arc::new(record), names, stage, words }
        };
        entries.push(entry);
        drop(entries);
        // Not under the lock.
        drop(replaced);
        self.changed.notify_one();
        (hears, overflows)
    }

    /// Waits for one that is to be appended.
    pub(super) async fn next(&self) -> Next {
        loop {
            if let Some(next) = self.entries().first_waiting() {
                return next;
            }
            self.changed.notified().await;
        }
    }

    pub(super) fn appended(&self, id: u128, epoch: Epoch, position: Position) {
        let mut entries = self.entries();
        if let Some(number) = entries.by_id.get(&id).copied() {
            entries.set(number, Stage::Appended(epoch, position));
        }
    }

    /// The engine takes none at present.
    pub(super) fn is_stuck(&self) {
        let entries = self.entries();
        for entry in entries.waiting.iter().filter_map(|number| entries.all.get(number)) {
            entry.stage.send_replace(Stage::Queued);
        }
    }

    pub(super) fn is_own(&self, id: u128) -> bool {
        self.entries().by_id.contains_key(&id)
    }

    /// The log shows it, there.
    pub(super) fn is_read(&self, id: u128, epoch: Epoch, position: Position) {
        self.appended(id, epoch, position);
        let removed = self.entries().remove(id);
        // Not under the lock.
        drop(removed);
    }

    /// Those that were appended up to here and that the log, read to its end, does not show: it lost them.
    pub(super) fn append_again(&self, epoch: Epoch, end: u64) {
        let is_lost = |stage: Stage| match stage {
            Stage::Appended(in_epoch, position) => in_epoch != epoch || position.number <= end,
            Stage::Waiting | Stage::Queued => false,
        };
        let mut entries = self.entries();
        let lost = entries.all.iter().filter(|(_, entry)| is_lost(*entry.stage.borrow()));
        let lost: Vec<_> = lost.map(|(number, _)| *number).collect();
        for number in &lost {
            entries.set(*number, Stage::Queued);
        }
        drop(entries);
        if !lost.is_empty() {
            self.changed.notify_one();
        }
    }

    pub(super) fn distrusts(&self, subject: Subject, verdict: &Verdict) -> bool {
        let said = Said::of(verdict);
        self.entries().all.values().any(|entry| is_about(&entry.record, subject, &said))
    }

    /// How many the engine has not taken.
    pub(super) fn queued(&self) -> usize {
        self.entries().waiting.len()
    }

    fn entries(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entries {
    fn push(&mut self, entry: Entry) {
        let number = self.next;
        self.next += 1;
        self.by_id.insert(entry.record.id, number);
        self.by_words.insert(entry.words, number);
        self.waiting.insert(number);
        self.all.insert(number, entry);
    }

    fn is_full(&self) -> bool {
        self.all.len() >= MAX_ENTRIES
    }

    fn take_all(&mut self) -> Vec<Entry> {
        self.by_id.clear();
        self.by_words.clear();
        self.waiting.clear();
        mem::take(&mut self.all).into_values().collect()
    }

    fn take_found_inactive(&mut self) -> Vec<Entry> {
        let found_inactive = self.all.values().filter(|entry| entry.record.found_inactive);
        let ids: Vec<_> = found_inactive.map(|entry| entry.record.id).collect();
        ids.into_iter().filter_map(|id| self.remove(id)).collect()
    }

    /// What a record says, in a number.
    fn words_of(&self, record: &Record) -> u64 {
        let Record { id: _, cache, rule, found_inactive, moment: _, leaves_mark } = record;
        // Whatever has no form in JSON is about all tokens by now.
        let rule = serde_json::to_vec(rule).unwrap_or_default();
        self.hasher.hash_one((cache, rule, found_inactive, leaves_mark))
    }

    /// Puts the record in the place of one that says the same of the same cache, if that waits still. An append of that
    /// one may be under way, and count from before: so it is another record.
    fn say_again(&mut self, words: u64, record: &Record) -> Option<watch::Receiver<Stage>> {
        let number = *self.by_words.get(&words)?;
        let entry = self.all.get_mut(&number)?;
        let other = &entry.record;
        let is_alike = (&other.cache, &other.rule) == (&record.cache, &record.rule)
            && (other.found_inactive, other.leaves_mark) == (record.found_inactive, record.leaves_mark);
        if !is_alike {
            return None;
        }
        let (id, moment) = (other.id, record.moment.max(other.moment));
        entry.record = Arc::new(Record { moment, ..record.clone() });
        let hears = entry.stage.subscribe();
        self.by_id.remove(&id);
        self.by_id.insert(record.id, number);
        Some(hears)
    }

    fn first_waiting(&self) -> Option<Next> {
        let entry = self.all.get(self.waiting.first()?)?;
        Some(Next { record: Arc::clone(&entry.record), names: entry.names.clone() })
    }

    fn set(&mut self, number: u64, stage: Stage) {
        let Some(entry) = self.all.get(&number) else { return };
        entry.stage.send_replace(stage);
        let words = entry.words;
        match stage {
            Stage::Appended(..) => {
                self.waiting.remove(&number);
                self.forget_words(words, number);
            }
            Stage::Waiting | Stage::Queued => {
                self.waiting.insert(number);
                self.by_words.insert(words, number);
            }
        }
    }

    fn forget_words(&mut self, words: u64, number: u64) {
        // Another one may say the same by now.
        if self.by_words.get(&words) == Some(&number) {
            self.by_words.remove(&words);
        }
    }

    fn remove(&mut self, id: u128) -> Option<Entry> {
        let number = self.by_id.remove(&id)?;
        self.waiting.remove(&number);
        let entry = self.all.remove(&number)?;
        self.forget_words(entry.words, number);
        Some(entry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::selection::{Condition, Fingerprint};
    use crate::token::AccessToken;

    const ABC: Subject = Subject { cache: "main", key_id: 1, key: [1, 2] };

    /// About all tokens, and each in other words.
    fn record(id: u128) -> Record {
        let words = Condition::IssuedBefore(i64::MAX - i64::try_from(id).unwrap());
        Record {
            id,
            cache: Some("main".into()),
            rule: Rule { fingerprints: None, conditions: vec![words] },
            found_inactive: false,
            moment: 0,
            leaves_mark: false,
        }
    }

    fn at(number: u64) -> Position {
        Position { number, nonce: 7 }
    }

    fn active() -> Verdict {
        Verdict::Active(AccessToken::builder().build())
    }

    async fn next(outbox: &Outbox) -> Option<u128> {
        let next = tokio::time::timeout(std::time::Duration::from_millis(1), outbox.next());
        next.await.ok().map(|next| next.record.id)
    }

    /// Invariant 8: until the log shows it, nothing says that what is shared is older.
    #[tokio::test(start_paused = true)]
    async fn what_it_is_about_is_distrusted_from_the_call_until_the_log_shows_it() {
        let outbox = Outbox::default();
        assert!(!outbox.distrusts(ABC, &active()));
        let (stage, overflows) = outbox.push(record(1), Vec::new());
        assert!(outbox.distrusts(ABC, &active()) && outbox.is_own(1) && !overflows);
        assert!(!outbox.distrusts(Subject { cache: "other", ..ABC }, &active()));
        outbox.appended(1, 5, at(3));
        assert!(outbox.distrusts(ABC, &active()) && outbox.queued() == 0);
        outbox.is_read(1, 5, at(3));
        assert!(!outbox.distrusts(ABC, &active()) && !outbox.is_own(1));
        assert_eq!(*stage.borrow(), Stage::Appended(5, at(3)));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_said_again_while_it_waits_takes_its_own_place_and_whoever_waits_hears_of_it() {
        let outbox = Outbox::default();
        let first = outbox.push(record(1), Vec::new()).0;
        outbox.push(record(2), Vec::new());
        outbox.is_stuck();
        for id in 10..20_010 {
            let again = Record { id, moment: 7, ..record(1) };
            assert!(!outbox.push(again, Vec::new()).1, "it never overflows");
        }
        assert_eq!((outbox.queued(), outbox.is_own(1)), (2, false));
        let last = tokio::time::timeout(std::time::Duration::from_millis(1), outbox.next()).await.unwrap().record;
        assert_eq!((last.id, last.moment), (20_009, 7), "it is the first still");
        outbox.appended(20_009, 5, at(4));
        assert_eq!(next(&outbox).await, Some(2));
        assert_eq!(*first.borrow(), Stage::Appended(5, at(4)));
        // What was appended is another thing: an answer may have been asked for since.
        outbox.push(record(1), Vec::new());
        assert_eq!(outbox.queued(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn they_are_appended_in_their_order_and_told_apart_by_how_far_they_got() {
        let outbox = Outbox::default();
        let stages = [1, 2, 3].map(|id| outbox.push(record(id), Vec::new()).0);
        let stages = || stages.each_ref().map(|stage| *stage.borrow());
        assert_eq!((next(&outbox).await, stages()), (Some(1), [Stage::Waiting; 3]));
        outbox.is_stuck();
        assert_eq!((next(&outbox).await, stages()), (Some(1), [Stage::Queued; 3]));
        outbox.appended(1, 5, at(1));
        outbox.appended(2, 5, at(2));
        assert_eq!((next(&outbox).await, outbox.queued()), (Some(3), 1));
        outbox.is_stuck();
        assert_eq!(stages(), [Stage::Appended(5, at(1)), Stage::Appended(5, at(2)), Stage::Queued]);
        outbox.appended(3, 5, at(3));
        assert_eq!(next(&outbox).await, None);
    }

    /// Invariant 15: a record that was acknowledged may be lost.
    #[tokio::test(start_paused = true)]
    async fn what_was_appended_and_is_not_in_the_log_is_appended_again() {
        let outbox = Outbox::default();
        for id in [1, 2, 3] {
            drop(outbox.push(record(id), Vec::new()));
            outbox.appended(id, 5, at(u64::try_from(id).unwrap()));
        }
        outbox.is_read(1, 5, at(1));
        outbox.append_again(5, 1);
        assert_eq!(next(&outbox).await, None, "the log was read before they were appended");
        outbox.append_again(5, 2);
        assert_eq!((next(&outbox).await, outbox.queued()), (Some(2), 1));
        outbox.append_again(6, 0);
        assert_eq!(outbox.queued(), 2, "another log");
    }

    #[tokio::test(start_paused = true)]
    async fn one_more_than_may_wait_is_about_everything_and_takes_the_place_of_all() {
        let outbox = Outbox::default();
        let other = Subject { cache: "other", ..ABC };
        let mut stages: Vec<_> = (0..10_000).map(|id| outbox.push(record(id), Vec::new()).0).collect();
        assert!(!outbox.distrusts(other, &active()));
        let (last, overflows) = outbox.push(record(10_000), Vec::new());
        assert!(overflows && outbox.distrusts(other, &active()));
        assert_eq!((next(&outbox).await, outbox.queued()), (Some(10_000), 1));
        assert!(stages[0].changed().await.is_err() && last.has_changed().is_ok());
        assert!(!outbox.push(record(10_001), Vec::new()).1);
    }

    /// Or what one of them was about would be let in elsewhere, where nobody asks.
    #[tokio::test(start_paused = true)]
    async fn one_that_takes_the_place_of_all_is_held_against_tokens_as_the_newest_of_them() {
        for (marks, last, held) in [(&[][..], None, None), (&[5, 9, 7], None, Some(9)), (&[5], Some(8), Some(8))] {
            let outbox = Outbox::default();
            let of = |id, mark: Option<i64>| Record {
                moment: mark.unwrap_or(1_000),
                leaves_mark: mark.is_some(),
                ..record(id)
            };
            (0..10_000).for_each(|id| drop(outbox.push(of(id, marks.get(id as usize).copied()), Vec::new())));
            assert!(outbox.push(of(10_000, last), Vec::new()).1);
            let record = outbox.next().await.record;
            assert_eq!(record.leaves_mark.then_some(record.moment), held);
        }
    }

    /// What a stranger's expired token may cause never has all tokens asked about again.
    #[tokio::test(start_paused = true)]
    async fn what_was_found_inactive_makes_room_first() {
        let outbox = Outbox::default();
        let of_token = |id: u128| {
            let key = [0, u64::try_from(id).unwrap()];
            Rule::of_token(vec![Fingerprint { key_id: 9, key }])
        };
        let found_inactive = |id| Record { found_inactive: true, rule: of_token(id), ..record(id) };
        let of_one = |id| Record { rule: of_token(id), ..record(id) };
        let other = Subject { cache: "other", ..ABC };
        assert!((0..9_999).all(|id| !outbox.push(found_inactive(id), Vec::new()).1));
        drop(outbox.push(of_one(9_999), Vec::new()));
        let (stage, overflows) = outbox.push(found_inactive(10_000), Vec::new());
        assert!(!overflows && !outbox.is_own(10_000) && stage.has_changed().is_err(), "it is let go");
        assert_eq!(outbox.queued(), 10_000);
        let (stage, overflows) = outbox.push(of_one(10_001), Vec::new());
        assert!(!overflows && stage.has_changed().is_ok() && !outbox.is_own(0));
        assert_eq!((next(&outbox).await, outbox.queued()), (Some(9_999), 2));
        assert!((10_002..20_000).all(|id| !outbox.push(of_one(id), Vec::new()).1));
        assert!(!outbox.push(found_inactive(20_000), Vec::new()).1);
        assert!(!outbox.distrusts(other, &active()));
        assert!(outbox.push(of_one(20_001), Vec::new()).1 && outbox.distrusts(other, &active()));
    }
}
