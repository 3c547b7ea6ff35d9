//! What this process knows of the fleet's log, and what it trusts by it.
//!
//! A value was asked for as of some position. It serves as long as no record after that position is about it, and this
//! process knows all those records. The *horizon* is the position before which it does not: records were trimmed from
//! the log, lost by the engine, unreadable, or too many to be kept here.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::mem;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use super::engine::{Epoch, Header, Position};
use super::record::Record;
use crate::clock::Stopwatch;
use crate::introspect::Verdict;
use crate::token::StatedClaims;

/// How many records are kept here: 40 MB at most as they are sent. With more, what was asked before the oldest of them
/// is asked for anew.
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
    /// The numbers of `records` by their ids: each is there once, however often somebody has appended it.
    ids: HashMap<u128, u64>,
    /// Of the log before this one: what it shares with this one has been applied.
    applied_before: HashSet<u128>,
    /// Records up to this moment that leave marks are not among `records`, though the log has them or others know them.
    lost: Option<i64>,
    /// There is a gap that the caches have not been told of.
    is_closed: bool,
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
        if known.is_closed {
            return None;
        }
        Some((known.epoch?, known.position.number))
    }

    /// Where the next read goes on, and in which epoch.
    pub(super) fn position(&self) -> Option<(Epoch, Position)> {
        let known = self.known();
        Some((known.epoch?, known.position))
    }

    pub(super) fn distrusts(&self, header: &Header, subject: Subject, verdict: &Verdict) -> Option<Distrust> {
        let said = Said::of(verdict);
        let known = self.known();
        if known.is_closed || known.epoch != Some(header.version.epoch) || header.as_of < known.horizon {
            return Some(Distrust::TooOld);
        }
        let is_newer = known.records.range(header.as_of.saturating_add(1)..);
        is_newer
            .map(|(_, record)| record)
            .any(|record| is_about(record, subject, &said))
            .then_some(Distrust::Invalidated)
    }

    /// Another log, of which nothing is known yet: it is read from its first record on.
    pub(super) fn start_over(&self, epoch: Epoch, first: u64) {
        let mut known = self.known_mut();
        let applied = known.position.number;
        let ids = mem::take(&mut known.ids).into_iter();
        let mut applied_before: HashSet<_> = ids.filter(|(_, number)| *number <= applied).map(|(id, _)| id).collect();
        if applied_before.is_empty() {
            // It began anew before anything of it was read.
            applied_before = mem::take(&mut known.applied_before);
        }
        let (position, horizon) = (Position::default(), first.saturating_sub(1));
        let (epoch, since) = (Some(epoch), Some(Stopwatch::start()));
        *known = Known { epoch, since, position, horizon, applied_before, ..Known::default() };
    }

    /// How long this process has known of this epoch, if it is the present one.
    pub(super) fn known_for(&self, epoch: Epoch) -> Option<Duration> {
        let known = self.known();
        let since = known.since.as_ref().filter(|_| known.epoch == Some(epoch))?;
        Some(since.elapsed())
    }

    /// Whether the record was applied when it was read in the log before this one, or earlier in this one: somebody who
    /// can write there may append it again.
    pub(super) fn has_applied(&self, id: u128) -> bool {
        let known = self.known();
        known.ids.get(&id).is_some_and(|number| *number <= known.position.number) || known.applied_before.contains(&id)
    }

    /// Records that are about to be applied: from now on nothing is trusted that they take away, or that was asked
    /// before `horizon`. Only then the caches forget it, or it could come back meanwhile.
    pub(super) fn learn(&self, records: impl IntoIterator<Item = (u64, Arc<Record>)>, horizon: u64) {
        let mut known = self.known_mut();
        for (number, record) in records {
            if let Entry::Vacant(free) = known.ids.entry(record.id) {
                free.insert(number);
                known.records.insert(number, record);
            }
        }
        while known.records.len() > MAX_RECORDS
            && let Some((number, record)) = known.records.pop_first()
        {
            known.lets_go(&record);
            known.horizon = known.horizon.max(number);
        }
        known.horizon = known.horizon.max(horizon);
        let horizon = known.horizon;
        // One that is asked as of the horizon has seen the record there.
        let kept = known.records.split_off(&horizon.saturating_add(1));
        for record in mem::replace(&mut known.records, kept).into_values() {
            known.lets_go(&record);
        }
    }

    /// Records up to that moment have gone before this process has read them.
    pub(super) fn loses(&self, moment: i64) {
        let mut known = self.known_mut();
        known.lost = known.lost.max(Some(moment));
    }

    /// The records that leave marks, for whoever joins late, and up to which moment there were others.
    pub(super) fn marks(&self) -> (Vec<Arc<Record>>, Option<i64>) {
        let known = self.known();
        (known.records.values().filter(|record| record.leaves_mark).cloned().collect(), known.lost)
    }

    /// All records up to `position` have been applied.
    pub(super) fn advance(&self, position: Position) {
        self.known_mut().position = position;
    }

    /// Nothing is trusted until the log is read from its beginning.
    pub(super) fn close(&self) {
        self.known_mut().is_closed = true;
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

impl Known {
    fn lets_go(&mut self, record: &Record) {
        self.ids.remove(&record.id);
        if record.leaves_mark {
            self.lost = self.lost.max(Some(record.moment));
        }
    }
}

/// A verdict that is to be compared with thousands of records: what its token states is found once for all of them.
pub(super) enum Said<'v> {
    Active(StatedClaims<'v>),
    Inactive,
}

impl<'v> Said<'v> {
    pub(super) fn of(verdict: &'v Verdict) -> Self {
        match verdict {
            Verdict::Active(facts) => Self::Active(StatedClaims::of(facts)),
            Verdict::Inactive(_) => Self::Inactive,
        }
    }
}

/// Whether the record takes this verdict away.
pub(super) fn is_about(record: &Record, subject: Subject, said: &Said) -> bool {
    if record.cache.as_deref().is_some_and(|cache| cache != subject.cache) {
        return false;
    }
    let rule = &record.rule;
    match said {
        Said::Active(facts) => rule.matches(subject.key_id, subject.key, facts),
        Said::Inactive if record.found_inactive => false,
        Said::Inactive => (rule.is_one_token() || rule.is_all()) && rule.names(subject.key_id, subject.key),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::engine::Version;
    use crate::introspect::InactiveReason;
    use crate::selection::{Condition, Fingerprint, Rule};
    use crate::token::AccessToken;

    const EPOCH: Epoch = 7;
    const ABC: Subject = Subject { cache: "main", key_id: 1, key: [1, 2] };

    fn record(id: u128, rule: Rule) -> Record {
        Record { id, cache: Some("main".into()), rule, found_inactive: false, moment: 0, leaves_mark: false }
    }

    fn of_token(key: [u64; 2]) -> Rule {
        Rule::of_token(vec![Fingerprint { key_id: 1, key }])
    }

    fn header(epoch: Epoch, as_of: u64) -> Header {
        Header { key_id: 1, version: Version { epoch, asked_at: 0 }, as_of }
    }

    fn active() -> Verdict {
        Verdict::Active(AccessToken::builder().subject("ann").build())
    }

    fn at(number: u64) -> Position {
        Position { number, nonce: 1 }
    }

    impl Log {
        fn of(first: u64, rules: Vec<(u64, Rule)>) -> Self {
            let log = Self::default();
            log.start_over(EPOCH, first);
            let last = rules.last().map_or(first - 1, |(number, _)| *number);
            log.learn(rules.into_iter().map(|(number, rule)| (number, Arc::new(record(number.into(), rule)))), 0);
            log.advance(at(last));
            log
        }

        fn trusts(&self, as_of: u64) -> Option<Distrust> {
            self.distrusts(&header(EPOCH, as_of), ABC, &active())
        }
    }

    /// Invariant 8: `as_of` is before each question, and a value serves only if no record after it is about it.
    #[test]
    fn a_value_serves_unless_a_record_after_it_is_about_it() {
        let log = Log::of(1, vec![(1, of_token([3, 4])), (2, of_token([1, 2])), (3, of_token([3, 4]))]);
        assert_eq!(log.as_of(), Some((EPOCH, 3)));
        let trusted = [0, 1, 2, 3, 4].map(|as_of| log.trusts(as_of));
        assert_eq!(trusted, [Some(Distrust::Invalidated), Some(Distrust::Invalidated), None, None, None]);
        let other = Subject { cache: "other", ..ABC };
        assert_eq!(log.distrusts(&header(EPOCH, 0), other, &active()), None);
        for epoch in [EPOCH - 1, EPOCH + 1] {
            assert_eq!(log.distrusts(&header(epoch, 3), ABC, &active()), Some(Distrust::TooOld));
        }
    }

    #[test]
    fn before_the_first_read_nothing_is_trusted_and_nothing_asked_as_of_anything() {
        let log = Log::default();
        assert!(log.as_of().is_none() && log.position().is_none());
        assert_eq!(log.trusts(u64::MAX), Some(Distrust::TooOld));
    }

    /// Invariant 8: and only if the log reaches back to when it was asked for.
    #[test]
    fn a_value_from_before_the_horizon_does_not_serve_and_one_of_the_horizon_does() {
        let log = Log::of(5, vec![(5, of_token([3, 4])), (6, of_token([3, 4]))]);
        assert_eq!((log.trusts(3), log.trusts(4)), (Some(Distrust::TooOld), None));
        log.learn([], 5);
        log.learn([], 2);
        assert_eq!((log.trusts(4), log.trusts(5), log.records()), (Some(Distrust::TooOld), None, 1));
    }

    /// Invariant 12: with more records than are kept, everything before the oldest is not trusted.
    #[test]
    fn records_in_memory_are_bounded() {
        let log = Log::of(1, (1..=10_000).map(|number| (number, of_token([3, 4]))).collect());
        assert_eq!((log.trusts(0), log.records()), (None, 10_000));
        log.learn([(10_001, Arc::new(record(10_001, of_token([3, 4]))))], 0);
        assert_eq!((log.trusts(0), log.trusts(1), log.records()), (Some(Distrust::TooOld), None, 10_000));
    }

    /// Invariant 14: from a gap on, before the caches have been told of it.
    #[test]
    fn a_closed_log_trusts_nothing_until_it_begins_anew() {
        let log = Log::of(1, vec![(1, of_token([3, 4]))]);
        log.close();
        assert_eq!((log.as_of(), log.trusts(1)), (None, Some(Distrust::TooOld)));
        assert!(log.position().is_some(), "so that the gap is found again");
        log.start_over(EPOCH, 1);
        assert_eq!((log.as_of(), log.trusts(1)), (Some((EPOCH, 0)), None));
    }

    /// A question about a token takes as many records into account as are kept, under the log's lock.
    #[test]
    fn what_a_token_states_is_gone_through_once_for_all_records() {
        let of_session =
            |number: u64| Rule { fingerprints: None, conditions: vec![Condition::Session(number.to_string())] };
        let log = Log::of(1, (1..=10_000).map(|number| (number, of_session(number))).collect());
        let of = |session: &str| {
            let facts = AccessToken::builder().claim("sid", session).unwrap().claim("more", [1; 30]).unwrap();
            Verdict::Active(facts.build())
        };
        let distrusts = |session: &str, as_of| log.distrusts(&header(EPOCH, as_of), ABC, &of(session));
        let before = StatedClaims::searches();
        assert_eq!(distrusts("none", 0), None);
        assert_eq!(StatedClaims::searches() - before, 1);
        assert_eq!([9_999, 10_000].map(|as_of| distrusts("10000", as_of)), [Some(Distrust::Invalidated), None]);
    }

    /// A cache that joins now has heard of none of them.
    #[test]
    fn records_that_leave_marks_are_told_and_up_to_when_others_are_not_kept() {
        let log = Log::default();
        log.start_over(EPOCH, 1);
        let of = |number: u64, leaves_mark| {
            let moment = i64::try_from(number).unwrap();
            (number, Arc::new(Record { moment, leaves_mark, ..record(number.into(), Rule::all()) }))
        };
        log.learn([of(1, true), of(2, false), of(3, true), of(4, true)], 0);
        let marks = || (log.marks().0.iter().map(|record| record.moment).collect::<Vec<_>>(), log.marks().1);
        assert_eq!(marks(), (vec![1, 3, 4], None));
        log.learn([], 3);
        assert_eq!(marks(), (vec![4], Some(3)));
        log.learn((5..=10_004).map(|number| of(number, false)), 3);
        assert_eq!(marks(), (vec![], Some(4)));
        log.loses(2);
        assert_eq!(marks().1, Some(4));
        log.loses(9);
        assert_eq!(marks().1, Some(9));
    }

    #[test]
    fn what_was_applied_is_known_in_the_log_after_it_though_that_begins_twice() {
        let log = Log::of(1, vec![(1, Rule::all())]);
        log.start_over(EPOCH + 1, 1);
        log.start_over(EPOCH + 2, 1);
        assert!(log.has_applied(1) && !log.has_applied(2));
        assert_eq!(log.position(), Some((EPOCH + 2, Position::default())));
        log.learn([(1, Arc::new(record(2, Rule::all())))], 0);
        log.advance(at(1));
        log.start_over(EPOCH + 3, 1);
        assert!(!log.has_applied(1) && log.has_applied(2));
    }

    /// Somebody who can write the log can append what was there, but has nothing forgotten by it.
    #[test]
    fn a_record_that_comes_again_takes_its_number_and_nothing_else() {
        let log = Log::of(1, vec![(1, of_token([1, 2]))]);
        assert!(log.has_applied(1));
        log.learn([(2, Arc::new(record(1, of_token([1, 2]))))], 0);
        log.advance(at(2));
        assert_eq!((log.as_of(), log.records()), (Some((EPOCH, 2)), 1));
        assert_eq!((log.trusts(0), log.trusts(1)), (Some(Distrust::Invalidated), None));
        for (number, is_applied) in [(2, false), (3, true)] {
            log.learn([(3, Arc::new(record(3, Rule::all())))], 0);
            log.advance(at(number));
            assert_eq!(log.has_applied(3), is_applied, "learned, and not applied before the position is there");
        }
        log.learn([], 1);
        assert!(!log.has_applied(1) && log.has_applied(3), "only what is kept is known");
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_known_for_as_long_as_it_has_been_the_present_one() {
        let log = Log::of(1, Vec::new());
        tokio::time::advance(Duration::from_secs(3)).await;
        assert_eq!(log.known_for(EPOCH), Some(Duration::from_secs(3)));
        log.start_over(EPOCH + 1, 1);
        assert_eq!((log.known_for(EPOCH), log.known_for(EPOCH + 1)), (None, Some(Duration::ZERO)));
    }

    /// Invariant 10: what a process found inactive takes active answers away, and no inactive one; whoever invalidates
    /// a token, or all, takes both; facts are those of active tokens.
    #[test]
    fn which_verdicts_a_record_takes_away() {
        let ann = Rule { fingerprints: None, conditions: vec![Condition::Subject("ann".into())] };
        let inactive = Verdict::Inactive(InactiveReason::Unknown);
        let takes = |record: &Record| [&active(), &inactive].map(|verdict| is_about(record, ABC, &Said::of(verdict)));
        assert_eq!(takes(&record(1, of_token([1, 2]))), [true, true]);
        assert_eq!(takes(&record(1, of_token([2, 1]))), [false, false]);
        assert_eq!(takes(&record(1, Rule::all())), [true, true]);
        assert_eq!(takes(&record(1, ann)), [true, false]);
        assert_eq!(takes(&Record { found_inactive: true, ..record(1, of_token([1, 2])) }), [true, false]);
        assert_eq!(takes(&Record { cache: None, ..record(1, Rule::all()) }), [true, true]);
        assert_eq!(takes(&Record { cache: Some("other".into()), ..record(1, Rule::all()) }), [false, false]);
    }
}
