use std::sync::Mutex;

use super::*;
use crate::clock::{ManualClock, SystemClock};
use crate::fleet::engine::memory::MemoryEngine;
use crate::fleet::engine::{Engine, Header, NodeId, Version};
use crate::fleet::invalidate::Spread;
use crate::fleet::keys::Keyring;
use crate::fleet::log::Subject;
use crate::fleet::node::Member;
use crate::fleet::secret::FleetSecret;
use crate::fleet::settings::CacheSettings;
use crate::protection::{RateLimit, Share, SharedPace, TurnOf};
use crate::selection::{Fingerprint, Rule};

/// What a cache is told.
#[derive(Default)]
struct Heard(Mutex<Vec<Event>>);

#[derive(Clone, PartialEq, Eq, Debug)]
enum Event {
    /// Records with these ids, and the number up to which the log was known meanwhile.
    Applied(Vec<u128>, Option<u64>),
    Lost(i64),
    AskAgain,
}

struct Cache {
    heard: Arc<Heard>,
    node: Mutex<std::sync::Weak<Node>>,
}

impl Member for Cache {
    fn apply(&self, records: &[Arc<Record>]) {
        let known = self.node.lock().unwrap().upgrade().and_then(|node| node.log.as_of());
        let ids = records.iter().map(|record| record.id).collect();
        self.heard.0.lock().unwrap().push(Event::Applied(ids, known.map(|(_, number)| number)));
    }

    fn has_lost(&self, moment: i64) {
        self.heard.0.lock().unwrap().push(Event::Lost(moment));
    }

    fn has_gap(&self, _: bool) {
        self.heard.0.lock().unwrap().push(Event::AskAgain);
    }
}

impl Heard {
    fn take(&self) -> Vec<Event> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

fn settings(reach: u64) -> CacheSettings {
    CacheSettings { name: "main".into(), authority: Default::default(), readings: Vec::new(), reach }
}

/// A process that reads when it is told to.
struct Process {
    reader: Reader,
    node: Arc<Node>,
    heard: Arc<Heard>,
    _cache: Arc<Cache>,
}

impl Process {
    fn new(engine: &MemoryEngine, strict: Option<Duration>, settings: CacheSettings) -> Self {
        let secret = FleetSecret::from_bytes((0..32).collect::<Vec<u8>>()).unwrap();
        let keys = Keyring::new("shop", &secret, None).unwrap();
        let engine = Arc::new(engine.of_fleet("shop"));
        let id = NodeId(u128::from(random()));
        let node = Arc::new(Node::new(id, "shop".into(), engine, keys, strict, Arc::new(SystemClock)));
        let heard = Arc::<Heard>::default();
        let cache = Arc::new(Cache { heard: Arc::clone(&heard), node: Mutex::new(Arc::downgrade(&node)) });
        let member: std::sync::Weak<Cache> = Arc::downgrade(&cache);
        node.join(member, settings);
        Self { reader: Reader::new(Arc::clone(&node)), node, heard, _cache: cache }
    }

    /// Reads to the end, and tells how many pages that took.
    async fn reads(&mut self) -> usize {
        let mut pages = 1;
        while self.reader.read().await.unwrap() != Progress::AtTheEnd {
            pages += 1;
            assert!(pages < 100, "it never comes to the end");
        }
        pages
    }

    async fn appends(&self, id: u128, rule: Rule) {
        let record = Record { id, cache: None, rule, found_inactive: false, moment: 0, leaves_mark: false };
        append(&self.node, &record).await.unwrap();
    }

    fn gaps(&self) -> u64 {
        self.node.figures.get(Counted::Gap)
    }
}

/// Somebody who can write to the engine says that this process is there.
async fn announces(engine: &MemoryEngine, id: u128, settings: &[u8]) {
    let (node, forget_after) = (NodeId(id), Duration::from_secs(60));
    let announce = Some(Announce { node, settings, forget_after });
    engine.of_fleet("shop").read(Read { after: None, limit: 1, announce }).await.unwrap();
}

fn engine() -> MemoryEngine {
    MemoryEngine::with_clock(ManualClock::new())
}

fn one_token() -> Rule {
    Rule::of_token(vec![Fingerprint { key_id: 1, key: [1, 2] }])
}

fn process(engine: &MemoryEngine) -> Process {
    Process::new(engine, None, settings(0))
}

/// Invariant 8: or a value could be taken that a record is about which the caches have not heard of.
#[tokio::test]
async fn records_are_applied_before_they_are_known() {
    for rule in [one_token(), Rule::all()] {
        let engine = engine();
        let (mut one, other) = (process(&engine), process(&engine));
        one.reads().await;
        for id in 1..=3 {
            other.appends(id, rule.clone()).await;
        }
        one.reads().await;
        assert_eq!(one.heard.take(), [Event::Applied(vec![1, 2, 3], Some(0))]);
        assert_eq!(one.node.log.as_of().unwrap().1, 3);
        one.reads().await;
        assert_eq!(one.heard.take(), []);
    }
}

#[tokio::test]
async fn what_this_process_has_invalidated_itself_is_not_forgotten_once_more() {
    let engine = engine();
    let mut one = process(&engine);
    drop(one.node.invalidate("main", one_token(), None, Vec::new()));
    let next = one.node.outbox.next().await;
    append(&one.node, &next.record).await.unwrap();
    one.reads().await;
    assert_eq!((one.heard.take(), one.node.log.as_of().unwrap().1), (vec![], 1));
    assert!(!one.node.outbox.is_own(next.record.id));
}

#[tokio::test]
async fn a_long_log_is_read_in_pages_and_the_door_opens_at_its_end() {
    let engine = engine();
    let (mut one, other) = (process(&engine), process(&engine));
    for id in 1..=1_001 {
        other.appends(id, one_token()).await;
    }
    assert!(one.reader.read().await.unwrap() == Progress::More && !one.node.access.is_open());
    assert_eq!(one.reads().await, 2);
    assert!(one.node.access.is_open());
    assert_eq!((one.gaps(), one.node.log.horizon()), (0, 0));
}

/// Invariant 14: each loss is a gap, and all records that are left are read.
#[tokio::test]
async fn a_log_that_has_lost_records_is_a_gap_and_is_read_to_its_end() {
    type Keeps = fn(u64) -> bool;
    let losses: [(&str, Keeps, u64); 5] = [
        ("all", |_| false, 12),
        ("all that are new", |number| number <= 10, 12),
        ("one of the new ones", |number| number != 11, 11),
        ("the last", |number| number != 12, 12),
        ("the one that was read last, and what is around it", |number| !(9..=11).contains(&number), 11),
    ];
    for (which, keeps, horizon) in losses {
        let engine = engine();
        let (mut one, other) = (process(&engine), process(&engine));
        for id in 1..=10 {
            other.appends(id, one_token()).await;
        }
        one.reads().await;
        one.heard.take();
        other.appends(11, one_token()).await;
        other.appends(12, one_token()).await;
        engine.of_fleet("shop").keeps_records(keeps);
        one.reads().await;
        assert!(one.gaps() >= 1 && one.gaps() <= 2, "{which}: {}", one.gaps());
        assert!(one.heard.take().contains(&Event::AskAgain), "{which}");
        assert_eq!(one.node.log.horizon(), horizon, "{which}");
        assert_eq!(one.node.log.as_of().unwrap().1, 12, "{which}");
        for _ in 0..3 {
            assert_eq!(one.reads().await, 1, "{which}");
        }
        // Where the last record was lost, one more tells that nothing is known of it.
        other.appends(13, one_token()).await;
        one.reads().await;
        let gaps = one.gaps();
        other.appends(14, one_token()).await;
        one.reads().await;
        assert_eq!((one.gaps(), one.node.log.as_of().unwrap().1), (gaps, 14), "{which}");
    }
}

/// Invariant 3: a record that nobody can read is a gap, and those around it are applied.
#[tokio::test]
async fn a_record_that_cannot_be_opened_is_a_gap() {
    let engine = engine();
    let (mut one, other) = (process(&engine), process(&engine));
    one.reads().await;
    other.appends(1, one_token()).await;
    engine.append_junk();
    other.appends(3, one_token()).await;
    one.reads().await;
    assert_eq!(one.heard.take(), [Event::Applied(vec![1, 3], Some(0)), Event::AskAgain]);
    assert_eq!((one.gaps(), one.node.log.horizon(), one.node.stats().unreadable), (1, 2, 1));
}

/// Invariant 14: with another epoch all is read again, and what was applied before is not applied once more.
#[tokio::test]
async fn in_another_epoch_only_what_is_new_is_applied() {
    let engine = engine();
    let (mut one, other) = (process(&engine), process(&engine));
    other.appends(1, one_token()).await;
    one.reads().await;
    one.heard.take();
    other.appends(2, one_token()).await;
    engine.fail_over(0);
    one.reads().await;
    assert_eq!(one.heard.take(), [Event::AskAgain, Event::Applied(vec![2], Some(0))]);
    assert_eq!((one.gaps(), one.node.log.as_of().unwrap().1), (1, 2));
}

/// What is to be forgotten is not trusted from before it is forgotten on, or it could come back meanwhile.
#[tokio::test]
async fn records_are_known_before_they_are_applied() {
    struct Looks(std::sync::Weak<Node>, Mutex<Vec<bool>>);
    impl Member for Looks {
        fn apply(&self, _: &[Arc<Record>]) {
            let node = self.0.upgrade().unwrap();
            let (epoch, as_of) = node.log.as_of().unwrap();
            let header = Header { key_id: 0, version: Version { epoch, asked_at: 0 }, as_of };
            let subject = Subject { cache: "main", key_id: 0, key: [0, 0] };
            let verdict = crate::introspect::Verdict::Active(crate::AccessToken::builder().build());
            self.1.lock().unwrap().push(node.log.distrusts(&header, subject, &verdict).is_some());
        }

        fn has_lost(&self, _: i64) {}

        fn has_gap(&self, _: bool) {}
    }
    let engine = engine();
    let (mut one, other) = (process(&engine), process(&engine));
    one.reads().await;
    let looks = Arc::new(Looks(Arc::downgrade(&one.node), Mutex::default()));
    let member: std::sync::Weak<Looks> = Arc::downgrade(&looks);
    one.node.join(member, settings(0));
    other.appends(1, Rule::all()).await;
    one.reads().await;
    assert_eq!(*looks.1.lock().unwrap(), [true]);
}

/// Invariant 9: what cannot hold together is told once.
#[tokio::test]
async fn processes_that_are_set_up_in_different_ways_tell_so_once() {
    let clock = ManualClock::new();
    let engine = MemoryEngine::with_clock(clock.clone());
    let mut other = CacheSettings { authority: ["https://a.example".into(), "me".into()], ..settings(0) };
    let mut process = Process::new(&engine, Some(Duration::from_secs(2)), other.clone());
    other.authority = ["https://b.example".into(), "me".into()];
    let mut others = [Process::new(&engine, None, other.clone()), Process::new(&engine, None, other)];
    for other in &mut others {
        other.reads().await;
    }
    for _ in 0..3 {
        (process.reader.announced, process.reader.looked) = (None, None);
        process.reads().await;
        assert_eq!(process.reader.mismatches.len(), 2, "{:?}", process.reader.mismatches);
        assert_eq!(process.node.processes.load(Ordering::Relaxed), 3);
        assert_eq!(process.node.stats().mismatches, 2);
    }
    // The others are gone.
    clock.advance(Duration::from_secs(20));
    (process.reader.announced, process.reader.looked) = (None, None);
    process.reads().await;
    assert_eq!((process.node.stats().mismatches, process.reader.mismatches.len()), (0, 2));
}

/// What the engine says of who is there is believed where the seal says so, too.
#[tokio::test]
async fn only_processes_whose_settings_name_them_are_counted_and_a_thousand_at_most() {
    let engine = engine();
    let mut one = process(&engine);
    let sealed = |settings: &Settings| one.node.keys.seal_settings(&serde_json::to_vec(settings).unwrap()).unwrap();
    let own = sealed(&one.node.settings());
    let others: Vec<_> = (0..1_100).map(|node| (node, sealed(&Settings { node, ..Settings::default() }))).collect();
    for (id, settings) in [(1, &b""[..]), (2, b"junk"), (3, &own)] {
        announces(&engine, id, settings).await;
    }
    one.reads().await;
    assert_eq!(one.node.processes.load(Ordering::Relaxed), 1);
    for (id, settings) in &others {
        announces(&engine, *id, settings).await;
    }
    one.reader.looked = None;
    one.reads().await;
    assert_eq!(one.node.processes.load(Ordering::Relaxed), 1_000);
}

/// Or a strict fleet would say `Everywhere` of what a process has not read.
#[tokio::test(start_paused = true)]
async fn how_far_a_process_has_read_is_believed_by_its_seal_alone() {
    let (engine, lease) = (engine(), Duration::from_secs(2));
    let [mut one, mut other] = [(); 2].map(|()| Process::new(&engine, Some(lease), settings(0)));
    one.reads().await;
    other.reads().await;
    tokio::time::advance(lease * 2).await;
    for is_forged in [true, false] {
        let stage = one.node.invalidate("main", one_token(), None, Vec::new());
        let next = one.node.outbox.next().await;
        append(&one.node, &next.record).await.unwrap();
        for process in [Some(&mut one), (!is_forged).then_some(&mut other)].into_iter().flatten() {
            // The second one tells of what the first has read.
            process.reads().await;
            process.reads().await;
        }
        if is_forged {
            announces(&engine, other.node.id.0, &other.reader.announcement().unwrap()).await;
        }
        let waits = Stopwatch::start();
        assert_eq!(Arc::clone(&one.node).spread(stage).await, Spread::Everywhere);
        assert_eq!(waits.elapsed() >= lease, is_forged);
    }
}

#[tokio::test]
async fn a_record_that_is_appended_once_more_is_read_and_not_applied() {
    let engine = engine();
    let (mut one, other) = (process(&engine), process(&engine));
    one.reads().await;
    for heard in [vec![Event::Applied(vec![1], Some(0))], vec![]] {
        other.appends(1, Rule::all()).await;
        one.reads().await;
        assert_eq!(one.heard.take(), heard);
    }
    assert_eq!((one.node.log.as_of().unwrap().1, one.node.figures.get(Counted::RecordRead)), (2, 2));
}

/// Or a page that is too large to come in time would be asked for for ever.
#[tokio::test(start_paused = true)]
async fn pages_that_do_not_come_in_time_get_smaller_until_the_end_of_the_log_was_read() {
    let engine = engine();
    let (mut one, other) = (process(&engine), process(&engine));
    for id in 1..=3 {
        other.appends(id, one_token()).await;
    }
    engine.hang(true);
    assert!(tokio::time::timeout(Duration::from_secs(2), one.reader.follow()).await.is_err());
    assert!((2..PAGE).contains(&one.reader.page), "{}", one.reader.page);
    assert!(tokio::time::timeout(Duration::from_secs(60), one.reader.follow()).await.is_err());
    assert_eq!(one.reader.page, 1);
    engine.hang(false);
    assert_eq!(one.reads().await, 3);
    assert!(tokio::time::timeout(Duration::from_millis(10), one.reader.follow()).await.is_err());
    assert_eq!(one.reader.page, PAGE);
}

#[tokio::test(start_paused = true)]
async fn a_log_that_begins_anew_is_read_after_a_pause() {
    let engine = engine();
    let mut one = process(&engine);
    one.reads().await;
    engine.fail_over(0);
    let before = engine.calls();
    assert!(tokio::time::timeout(Duration::from_millis(50), one.reader.follow()).await.is_err());
    assert_eq!((engine.calls() - before, one.gaps()), (1, 1));
    assert!(tokio::time::timeout(Duration::from_millis(500), one.reader.follow()).await.is_err());
    assert!(one.node.access.is_open());
}

#[test]
fn no_number_is_too_great_for_what_comes_after_it() {
    let last = Position { number: u64::MAX, nonce: 1 };
    let records = vec![(last, Vec::new())];
    let page = Page { now: 0, epoch: 1, first: u64::MAX, last, continues: true, records };
    assert_eq!(last_missing(&page, None), None);
    assert_eq!(last_missing(&page, Some(u64::MAX)), None);
}

/// An endpoint, which may be in use without its cache, holds the pace.
#[tokio::test]
async fn turns_keep_no_engine_when_the_fleet_is_gone() {
    let process = process(&engine());
    let pace = process.node.pace(["https://a.example".into(), "me".into()]);
    let engine = Arc::downgrade(&process.node.engine);
    drop(process);
    assert!(engine.upgrade().is_none());
    let turn = TurnOf::new(RateLimit { requests: 60, per: Duration::from_secs(1) }, Share::Known, PAUSE);
    assert_eq!(pace.take(turn).await, None);
}

/// Whoever begins to read hears of it before anything else; who has read what had to go does not.
#[tokio::test]
async fn a_process_that_begins_with_a_full_log_is_told_that_it_has_lost_some() {
    let engine = engine();
    let mut one = process(&engine);
    one.reads().await;
    let rule = Rule::of_token(Vec::new());
    for id in 1..=MAX_RECORDS + 1 {
        let moment = i64::try_from(id).unwrap();
        let id = u128::from(id);
        let record = Record { id, cache: None, rule: rule.clone(), found_inactive: false, moment, leaves_mark: true };
        append(&one.node, &record).await.unwrap();
        if id % 10_000 == 0 {
            one.reads().await;
        }
    }
    one.reads().await;
    let lost = |process: &Process| {
        let heard = process.heard.take().into_iter();
        heard.filter(|event| !matches!(event, Event::Applied(..))).collect::<Vec<_>>()
    };
    assert_eq!(lost(&one), []);
    let mut other = process(&engine);
    other.reads().await;
    // The page begins with the second record.
    assert_eq!(lost(&other), [Event::Lost(501)]);
    let late = Arc::new(Cache { heard: Arc::default(), node: Mutex::default() });
    let member: std::sync::Weak<Cache> = Arc::downgrade(&late);
    other.node.join(member, settings(0));
    assert!(matches!(late.heard.take()[..], [Event::Lost(20_001), Event::Applied(..)]));
}

/// Invariant 9: records are kept as long as any process of the fleet needs them.
#[tokio::test]
async fn the_longest_reach_of_all_says_how_long_records_are_kept() {
    let engine = engine();
    let mut short = Process::new(&engine, None, settings(60_000));
    let mut long = Process::new(&engine, None, settings(3_600_000));
    assert_eq!(short.node.retention(), Duration::MAX, "nobody knows yet who needs them");
    short.reads().await;
    assert_eq!(short.node.retention(), Duration::from_secs(90));
    long.reads().await;
    (short.reader.announced, short.reader.looked) = (None, None);
    short.reads().await;
    assert_eq!(short.node.retention(), Duration::from_secs(3_630));
}

/// A strict process is there for longer than its lease, so that it is waited for.
#[tokio::test]
async fn a_strict_process_is_there_as_long_as_its_lease() {
    let clock = ManualClock::new();
    let engine = MemoryEngine::with_clock(clock.clone());
    for (strict, there) in [(None, 0), (Some(Duration::from_secs(30)), 1)] {
        let mut process = Process::new(&engine, strict, settings(0));
        process.reads().await;
        clock.advance(Duration::from_secs(30));
        let nodes = engine.of_fleet("shop").nodes().await.unwrap();
        assert_eq!(nodes.iter().filter(|node| node.id == process.node.id).count(), there);
    }
}
