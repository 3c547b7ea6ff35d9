//! Faults, and what is peculiar to this engine; `conformance` has what holds for all.

use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::clock::ManualClock;
use crate::fleet::engine::conformance::{Subject, conforms};
use crate::fleet::engine::{Announce, EngineError, EngineErrorKind, Lease, Position, Version};

mod conformance {
    use super::*;

    async fn subject() -> Option<Subject> {
        let clock = ManualClock::new();
        let engine = Arc::new(MemoryEngine::with_clock(clock.clone()));
        let advance = move |by: Duration| {
            clock.advance(by);
            Box::pin(std::future::ready(())) as _
        };
        Some(Subject { engine, advance: Box::new(advance) })
    }

    conforms!(subject);
}

const MINUTE: Duration = Duration::from_secs(60);

const NODE: NodeId = NodeId(1);

fn name(text: &str) -> Name {
    Name(text.to_owned())
}

/// Of the epoch 0, asked for at `asked_at`.
fn value(asked_at: i64, sealed: &[u8]) -> Vec<u8> {
    [&[1][..], &[0; 16], &asked_at.to_be_bytes(), &[0; 8], sealed].concat()
}

impl MemoryEngine {
    async fn store(&self, text: &str, asked_at: i64) -> Result<Stored, EngineError> {
        let (name, value, version) = (name(text), value(asked_at, text.as_bytes()), Version { epoch: 0, asked_at });
        let put = Put { name: &name, node: NODE, value: &value, version, until: i64::MAX, only_replace: false };
        self.put(put).await
    }

    async fn ask(&self, text: &str, lease: Option<Duration>) -> Result<Claimed, EngineError> {
        let (name, max_age) = (name(text), Duration::MAX);
        self.claim(Claim { name: &name, node: NODE, epoch: 0, max_age, newer_than: None, lease }).await
    }

    async fn stored(&self, text: &str) -> Option<Vec<u8>> {
        self.ask(text, None).await.unwrap().value
    }

    async fn record(&self, record: &[u8]) -> Result<Appended, EngineError> {
        let nonce = crate::random::random();
        self.append(Append { record, nonce, retention: MINUTE, max_records: 1_000 }).await
    }

    async fn page(&self, after: Option<Position>) -> Result<Page, EngineError> {
        let announce = Announce { node: NODE, settings: b"settings", forget_after: MINUTE };
        self.read(Read { after, limit: 1_000, announce: Some(announce) }).await
    }

    /// What each call fails as, in the order of the trait.
    async fn failures(&self) -> [Option<EngineErrorKind>; 9] {
        fn failure<T>(result: Result<T, EngineError>) -> Option<EngineErrorKind> {
            result.err().map(|error| error.kind)
        }
        let (one, half) = (name("one"), Duration::from_millis(500));
        let (interval, tolerance, max_wait) = (1, i64::MAX, 0);
        let turn = Turn {
            name: &one,
            interval,
            tolerance,
            tolerance_of_known: tolerance,
            max_wait,
            max_wait_of_known: max_wait,
        };
        [
            failure(self.ask("one", Some(half)).await),
            failure(self.renew(&[], NODE, half).await),
            failure(self.store("one", 1).await),
            failure(self.release(&one, NODE).await),
            failure(self.delete(&one).await),
            failure(self.record(b"record").await),
            failure(self.page(None).await),
            failure(self.nodes().await),
            failure(self.take_turn(turn).await),
        ]
    }
}

fn engine() -> (MemoryEngine, ManualClock) {
    let clock = ManualClock::new();
    (MemoryEngine::with_clock(clock.clone()), clock)
}

#[tokio::test(start_paused = true)]
async fn each_call_fails_while_there_is_an_outage_and_none_after_it() {
    type Switch = fn(&MemoryEngine, bool);
    let outages: [(Switch, EngineErrorKind); 4] = [
        (|engine, is_on| engine.cut_off(is_on), EngineErrorKind::Connection),
        (|engine, is_on| engine.hang(is_on), EngineErrorKind::Timeout),
        (|engine, is_on| engine.refuse(is_on), EngineErrorKind::Refused),
        (|engine, is_on| engine.slow(if is_on { MINUTE } else { Duration::ZERO }), EngineErrorKind::Timeout),
    ];
    let (engine, _) = engine();
    for (switch, kind) in outages {
        switch(&engine, true);
        assert_eq!(engine.clone().failures().await, [Some(kind); 9]);
        switch(&engine, false);
        assert_eq!(engine.failures().await, [None; 9], "after {kind:?}");
    }
    assert_eq!(engine.calls(), 2 * 9 * 4);
}

#[tokio::test(start_paused = true)]
async fn an_outage_of_a_line_is_that_lines_alone_and_one_of_the_engine_is_everybodys() {
    type Switch = fn(&MemoryEngine, bool);
    let outages: [Switch; 4] = [
        |engine, is_on| engine.cut_off(is_on),
        |engine, is_on| engine.hang(is_on),
        |engine, is_on| engine.refuse(is_on),
        |engine, is_on| engine.slow(if is_on { MINUTE } else { Duration::ZERO }),
    ];
    let (engine, _) = engine();
    let (line, other) = (engine.line(), engine.line());
    for switch in outages {
        switch(&line, true);
        let of_a_fleet = line.of_fleet("fleet");
        let callers = [&line, &of_a_fleet, &line.clone(), &other, &engine];
        for (caller, fails) in callers.into_iter().zip([true, true, true, false, false]) {
            assert_eq!(caller.page(None).await.is_err(), fails);
        }
        switch(&engine, true);
        switch(&line, false);
        for caller in callers {
            assert!(caller.page(None).await.is_err());
        }
        switch(&engine, false);
        assert!(line.page(None).await.is_ok());
    }
    line.store("shared", 1).await.unwrap();
    assert!(other.stored("shared").await.is_some() && engine.stored("shared").await.is_some());
}

#[tokio::test]
async fn an_engine_that_is_full_stores_nothing_and_tells_what_is_there() {
    let (engine, _) = engine();
    engine.store("there", 1).await.unwrap();
    engine.full(true);
    let full = Some(EngineErrorKind::Full);
    assert_eq!(engine.failures().await, [full, None, full, None, None, full, None, None, None]);
    assert_eq!(engine.stored("there").await, Some(value(1, b"there")));
    engine.full(false);
    assert_eq!(engine.failures().await, [None; 9]);
}

#[tokio::test(start_paused = true)]
async fn a_caller_waits_for_an_engine_that_hangs_until_it_answers_or_the_time_is_over() {
    let (engine, _) = engine();
    engine.hang(true);
    let (store, ()) = tokio::join!(engine.store("one", 1), async {
        tokio::time::sleep(Duration::from_millis(49)).await;
        engine.hang(false);
    });
    assert!(store.is_ok());
    engine.hang(true);
    let waits = crate::clock::Stopwatch::start();
    assert!(engine.store("two", 1).await.is_err());
    assert_eq!(waits.elapsed().as_millis(), 50);
    assert!(engine.page(None).await.is_err());
    assert_eq!(waits.elapsed().as_millis(), 550);
    engine.hang(false);
    assert_eq!(engine.stored("two").await, None);
}

#[tokio::test(start_paused = true)]
async fn what_a_slow_engine_has_done_is_done_though_its_caller_has_given_up() {
    let (engine, _) = engine();
    engine.slow(Duration::from_millis(40));
    assert!(engine.store("in time", 1).await.is_ok());
    engine.slow(Duration::from_millis(80));
    assert!(engine.store("answered late", 1).await.is_err());
    engine.slow(Duration::from_millis(120));
    assert!(engine.store("heard of late", 1).await.is_err());
    assert!(engine.record(b"record").await.is_ok());
    engine.slow(Duration::ZERO);
    assert!(engine.stored("in time").await.is_some());
    assert!(engine.stored("answered late").await.is_some());
    assert!(engine.stored("heard of late").await.is_none());
}

#[tokio::test]
async fn eviction_takes_values_and_leases_or_the_log_and_a_restart_all() {
    async fn filled() -> (MemoryEngine, Appended) {
        let (engine, _) = engine();
        engine.store("value", 1).await.unwrap();
        assert_eq!(engine.ask("lease", Some(MINUTE)).await.unwrap().lease, Lease::Ours);
        engine.page(None).await.unwrap();
        let appended = engine.record(b"record").await.unwrap();
        (engine, appended)
    }
    async fn other_asks(engine: &MemoryEngine) -> Lease {
        let (name, lease, max_age) = (name("lease"), Some(MINUTE), Duration::MAX);
        let claim = Claim { name: &name, node: NodeId(2), epoch: 0, max_age, newer_than: None, lease };
        engine.claim(claim).await.unwrap().lease
    }
    let evictions: [(fn(&MemoryEngine), _, _); 3] = [
        (MemoryEngine::evict_all, true, false),
        (MemoryEngine::evict_log, false, true),
        (MemoryEngine::restart_empty, true, true),
    ];
    for (evict, takes_values, takes_log) in evictions {
        let (engine, Appended { epoch, position }) = filled().await;
        evict(&engine);
        assert_eq!(engine.stored("value").await.is_none(), takes_values);
        assert_eq!(other_asks(&engine).await == Lease::Ours, takes_values);
        assert_eq!(engine.nodes().await.unwrap().is_empty(), takes_log);
        let page = engine.page(Some(position)).await.unwrap();
        assert_eq!((page.epoch > epoch, !page.continues, page.last.number == 0), (takes_log, takes_log, takes_log));
        assert_eq!(engine.page(Some(position)).await.unwrap().epoch, page.epoch);
    }
}

#[tokio::test]
async fn the_server_that_takes_over_has_lost_the_last_writes_and_begins_an_epoch() {
    let (engine, _) = engine();
    engine.store("kept", 1).await.unwrap();
    engine.store("older again", 1).await.unwrap();
    let kept = engine.record(b"kept").await.unwrap();
    engine.store("older again", 2).await.unwrap();
    engine.store("lost", 1).await.unwrap();
    let lost = engine.record(b"lost").await.unwrap();
    engine.delete(&name("kept")).await.unwrap();
    engine.fail_over(4);
    assert_eq!(engine.stored("kept").await, Some(value(1, b"kept")));
    assert_eq!(engine.stored("older again").await, Some(value(1, b"older again")));
    assert_eq!(engine.stored("lost").await, None);
    let page = engine.page(Some(lost.position)).await.unwrap();
    assert!(!page.continues && page.epoch > lost.epoch);
    let page = engine.page(Some(kept.position)).await.unwrap();
    assert!(page.continues && page.records.is_empty() && page.last == kept.position);
    let again = engine.record(b"again").await.unwrap();
    assert_eq!((again.position.number, again.epoch), (lost.position.number, page.epoch));
    assert!(!engine.page(Some(lost.position)).await.unwrap().continues);
}

#[tokio::test]
async fn a_failover_that_loses_nothing_begins_an_epoch_too() {
    let (engine, _) = engine();
    let Appended { epoch, position } = engine.record(b"record").await.unwrap();
    engine.fail_over(0);
    let page = engine.page(Some(position)).await.unwrap();
    assert!(page.continues && page.epoch > epoch);
    assert_eq!(engine.record(b"record").await.unwrap().position.number, position.number + 1);
}

#[tokio::test]
async fn a_clock_that_goes_back_by_more_than_it_may_begins_an_epoch() {
    let (engine, clock) = engine();
    let epoch = engine.record(b"record").await.unwrap().epoch;
    let start = clock.now();
    let mut epochs = Vec::new();
    for back in [250, 251, 251, 501, 502, 0] {
        clock.set(start - Duration::from_millis(back));
        epochs.push(engine.page(None).await.unwrap().epoch - epoch);
    }
    assert_eq!(epochs, [0, 1, 1, 1, 2, 2]);
}

#[tokio::test]
async fn a_clock_that_goes_back_moves_what_is_booked_along() {
    for back in [Duration::from_millis(5), MINUTE, MINUTE * 60] {
        let (engine, clock) = engine();
        let name = name("rate");
        let (tolerance, tolerance_of_known, max_wait, max_wait_of_known) = (0, 0, 0, 0);
        let turn = || Turn { name: &name, interval: 1_000, tolerance, tolerance_of_known, max_wait, max_wait_of_known };
        assert_eq!(engine.take_turn(turn()).await.unwrap(), Some(Duration::ZERO));
        assert_eq!(engine.take_turn(turn()).await.unwrap(), None);
        clock.set(clock.now() - back);
        assert_eq!(engine.take_turn(turn()).await.unwrap(), None, "it is kept");
        clock.advance(Duration::from_millis(1));
        assert_eq!(engine.take_turn(turn()).await.unwrap(), Some(Duration::ZERO), "{back:?}");
    }
}

/// Processes may differ in how long a question may wait: a turn that one has booked is there for the others.
#[tokio::test]
async fn a_turn_that_a_patient_process_has_booked_is_kept_by_one_in_a_hurry() {
    let (engine, _) = engine();
    let name = name("rate");
    let turn = |max_wait| Turn {
        name: &name,
        interval: 1_000_000,
        tolerance: 0,
        tolerance_of_known: 0,
        max_wait,
        max_wait_of_known: max_wait,
    };
    for wait in 0..5 {
        assert_eq!(engine.take_turn(turn(10_000_000)).await.unwrap(), Some(Duration::from_secs(wait)));
    }
    assert_eq!(engine.take_turn(turn(0)).await.unwrap_err().kind, EngineErrorKind::Answer);
    assert_eq!(engine.take_turn(turn(10_000_000)).await.unwrap(), Some(Duration::from_secs(5)));
}

impl MemoryEngine {
    /// Loses the records of the log of which `keeps` is not true, and counts on.
    pub(in crate::fleet) fn keeps_records(&self, keeps: impl Fn(u64) -> bool) {
        if let Some(log) = self.state().logs.get_mut(&self.fleet) {
            log.records.retain(|record| keeps(record.position.number));
        }
    }
}

#[tokio::test]
async fn values_can_be_changed_and_change_places_and_the_log_can_have_junk() {
    let (engine, _) = engine();
    assert!(!engine.swap_values());
    engine.store("one", 1).await.unwrap();
    assert!(!engine.swap_values());
    engine.store("two", 2).await.unwrap();
    assert!(engine.swap_values());
    assert_eq!(engine.stored("one").await, Some(value(2, b"two")));
    assert_eq!(engine.stored("two").await, Some(value(1, b"one")));
    engine.tamper(|bytes| bytes.push(b'!'));
    assert_eq!(engine.stored("one").await, Some(value(2, b"two!")));
    // One whose header cannot be read is none, and what is stored next replaces it.
    engine.tamper(|bytes| bytes.truncate(20));
    assert_eq!(engine.stored("one").await, None);
    assert_eq!(engine.store("one", 0).await.unwrap(), Stored { had_value: true, is_stored: true });
    let before = engine.record(b"record").await.unwrap();
    engine.append_junk();
    let page = engine.page(Some(before.position)).await.unwrap();
    assert_eq!((page.records.len(), page.last.number, page.epoch), (1, 2, before.epoch));
}

#[tokio::test]
async fn all_that_is_given_can_be_searched() {
    let (engine, _) = engine();
    engine.store("value", 1).await.unwrap();
    engine.ask("asked for", None).await.unwrap();
    engine.record(b"record").await.unwrap();
    engine.page(None).await.unwrap();
    engine.restart_empty();
    let all = engine.of_fleet("another fleet");
    all.delete(&name("deleted")).await.unwrap();
    all.renew(&[name("renewed")], NODE, MINUTE).await.unwrap();
    all.release(&name("released"), NODE).await.unwrap();
    let stored = engine.stored_bytes();
    for text in ["value", "asked for", "record", "settings", "another fleet", "deleted", "renewed", "released"] {
        assert!(stored.windows(text.len()).any(|bytes| bytes == text.as_bytes()), "{text}");
    }
}

#[tokio::test]
async fn fleets_share_nothing_but_the_server() {
    let (engine, _) = engine();
    let (one, other) = (engine.of_fleet("one"), engine.of_fleet("other"));
    one.store("value", 1).await.unwrap();
    let appended = one.record(b"record").await.unwrap();
    assert_eq!(other.stored("value").await, None);
    assert_eq!(other.page(None).await.unwrap().last.number, 0);
    let same = engine.of_fleet("one");
    assert!(same.stored("value").await.is_some());
    assert_eq!(same.page(None).await.unwrap().last, appended.position);
    one.cut_off(true);
    assert!(other.page(None).await.is_err());
}

#[test]
fn without_a_fault_no_runtime_is_needed() {
    let (engine, _) = engine();
    let mut read = engine.nodes();
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    assert!(read.as_mut().poll(&mut context).is_ready());
}
