//! An engine that is slow, wrong or gone is nobody's trouble.

use std::time::Duration;

use tower_introspection::fleet::MemoryEngine;
use tower_introspection::introspect::IntrospectErrorKind;
use tower_introspection::{InactiveReason, Verdict};

use super::{Process, all_read, engine, passes, until_in, values};
use crate::support::{Answer, Authority, bearer, failure, inactive, millis, secs, spawn_ask};

/// Fails unless the request is answered by then, by tokio's paused time.
async fn within(time: Duration, request: impl Future<Output = Answer>) -> Answer {
    tokio::time::timeout(time, request).await.expect("it does not wait for the engine")
}

/// What takes no time at all may still be told of in other tasks.
const AT_ONCE: Duration = Duration::from_millis(1);
const ONCE: Duration = Duration::from_millis(51);

type Switch = fn(&MemoryEngine, bool);

const OUTAGES: [(&str, Switch); 6] = [
    ("cut off", |engine, is_on| engine.cut_off(is_on)),
    ("hangs", |engine, is_on| engine.hang(is_on)),
    ("refuses", |engine, is_on| engine.refuse(is_on)),
    ("takes 49 ms", |engine, is_on| engine.slow(if is_on { millis(49) } else { Duration::ZERO })),
    ("takes 60 ms", |engine, is_on| engine.slow(if is_on { millis(60) } else { Duration::ZERO })),
    ("full", |engine, is_on| engine.full(is_on)),
];

/// Invariant 11: a request waits for the engine once, and 50 ms at most; those after it do not. Whatever is wrong with
/// the engine, each is answered by the authority.
#[tokio::test(start_paused = true)]
async fn a_request_waits_for_an_engine_that_hangs_for_50_ms_and_the_next_ones_not_at_all() {
    let (engine, clock) = engine();
    let authority = Authority::new(Ok(Verdict::Active(until_in(600))));
    let [one] = Process::several(&engine, &clock, &authority).await;
    engine.hang(true);
    assert!(within(ONCE, one.presents("first")).await.unwrap().is_active());
    for n in 0..400 {
        // Also when pauses are over in which nobody tries.
        passes(&clock, millis(20)).await;
        assert!(within(AT_ONCE, one.presents(&format!("token-{n}"))).await.unwrap().is_active());
    }
    engine.hang(false);
    passes(&clock, secs(6)).await;
    assert!(one.presents("last").await.unwrap().is_active());
    assert_eq!((authority.questions(), one.stats().stored), (402, 1));
}

/// Invariant 11: nor does a fault become a verdict or a failure.
#[tokio::test(start_paused = true)]
async fn no_fault_of_the_engine_becomes_an_answer() {
    for (how, switch) in OUTAGES {
        let (engine, clock) = engine();
        let authority = Authority::new(Ok(Verdict::Active(until_in(6_000))));
        let [one, other] = Process::several(&engine, &clock, &authority).await;
        assert!(one.presents("before").await.unwrap().is_active());
        switch(&engine, true);
        for n in 0..50 {
            for process in [&one, &other] {
                let token = format!("token-{n}");
                assert!(within(millis(160), process.presents(&token)).await.unwrap().is_active(), "{how}");
            }
            assert!(one.presents("before").await.unwrap().is_active(), "{how}");
            passes(&clock, millis(100)).await;
        }
        authority.says(inactive(InactiveReason::Revoked));
        assert!(!within(millis(160), one.presents("junk")).await.unwrap().is_active(), "{how}");
        authority.says(failure(IntrospectErrorKind::Timeout));
        let failed = within(millis(160), other.presents("another")).await;
        assert_eq!(failed.unwrap_err().kind(), IntrospectErrorKind::Timeout, "{how}: the authority's own failure");
        authority.says(Ok(Verdict::Active(until_in(6_000))));
        switch(&engine, false);
        passes(&clock, secs(6)).await;
        let questions = authority.questions();
        assert!(one.presents("after").await.unwrap().is_active() && other.presents("after").await.unwrap().is_active());
        assert_eq!(authority.questions(), questions + 1, "{how}: it shares again");
    }
}

/// Invariant 11, for a process that begins without its engine.
#[tokio::test(start_paused = true)]
async fn a_process_that_begins_while_the_engine_hangs_has_one_request_wait() {
    for (switch, first) in [(OUTAGES[0].1, ONCE), (OUTAGES[1].1, ONCE)] {
        let (engine, clock) = engine();
        switch(&engine, true);
        let authority = Authority::new(Ok(Verdict::Active(until_in(600))));
        let one = Process::start(&engine, &clock, &authority);
        assert!(within(first, one.presents("first")).await.unwrap().is_active());
        for n in 0..100 {
            assert!(within(AT_ONCE, one.presents(&format!("token-{n}"))).await.unwrap().is_active());
            passes(&clock, millis(20)).await;
        }
    }
}

/// Invariant 12: while the log is not being read, requests do not touch the engine: one task finds out that it is back.
#[tokio::test(start_paused = true)]
async fn while_the_engine_is_away_requests_do_not_touch_it() {
    for (how, switch) in &OUTAGES[..3] {
        let (engine, clock) = engine();
        let authority = Authority::new(Ok(Verdict::Active(until_in(600))));
        let [one] = Process::several(&engine, &clock, &authority).await;
        assert!(one.presents("before").await.unwrap().is_active());
        switch(&engine, true);
        passes(&clock, secs(2)).await;
        let mut calls = engine.calls();
        for n in 0..1_000 {
            assert!(one.presents(&format!("token-{n}")).await.unwrap().is_active());
        }
        assert_eq!(engine.calls(), calls, "{how}");
        calls = engine.calls();
        passes(&clock, secs(10)).await;
        assert!(engine.calls() - calls <= 15, "{how}: {} tries in ten seconds", engine.calls() - calls);
        assert!(engine.calls() - calls >= 5, "{how}");
        assert!(!one.stats().is_reading);
        switch(&engine, false);
        passes(&clock, secs(6)).await;
        assert!(one.presents("after").await.unwrap().is_active());
        assert_eq!((one.stats().is_reading, values(&engine)), (true, 2), "{how}");
    }
}

/// Invariant 13: whoever waits for a process that died goes on alone.
#[tokio::test(start_paused = true)]
async fn who_waits_for_the_question_of_a_process_that_died_asks_for_itself() {
    let (engine, clock) = engine();
    let (dying, authority) = [(); 2].map(|()| Authority::new(Ok(Verdict::Active(until_in(600))))).into();
    let one = Process::start(&engine, &clock, &dying);
    let [other] = Process::several(&engine, &clock, &authority).await;
    all_read(&[&one]).await;
    dying.hold();
    let asks = spawn_ask(&one.cached);
    dying.asked(1).await;
    let waits = spawn_ask(&other.cached);
    passes(&clock, secs(2)).await;
    assert_eq!((authority.questions(), other.stats().waits), (0, 1), "the lease is kept up");
    drop(one);
    asks.abort();
    passes(&clock, millis(400)).await;
    assert_eq!(authority.questions(), 1);
    assert!(waits.await.unwrap().unwrap().is_active());
}

/// Invariant 13: and so does who waits for one that got no answer. A failure is nobody else's.
#[tokio::test(start_paused = true)]
async fn who_waits_for_a_question_that_fails_asks_for_itself_at_once() {
    let (engine, clock) = engine();
    let (failing, authority) = [(); 2].map(|()| Authority::new(Ok(Verdict::Active(until_in(600))))).into();
    let one = Process::start(&engine, &clock, &failing);
    let [other] = Process::several(&engine, &clock, &authority).await;
    all_read(&[&one]).await;
    failing.hold();
    let asks = spawn_ask(&one.cached);
    failing.asked(1).await;
    let waits = spawn_ask(&other.cached);
    passes(&clock, secs(1)).await;
    failing.says(failure(IntrospectErrorKind::Connect));
    failing.release();
    assert!(asks.await.unwrap().is_err());
    passes(&clock, millis(60)).await;
    assert_eq!(authority.questions(), 1);
    assert!(waits.await.unwrap().unwrap().is_active());
}

/// Invariant 15: the engine may evict values and leases at any time, which is a miss and no more.
#[tokio::test(start_paused = true)]
async fn an_eviction_is_a_miss_at_any_time() {
    let (engine, clock) = engine();
    let authority = Authority::new(Ok(Verdict::Active(until_in(600))));
    let [one, other] = Process::several(&engine, &clock, &authority).await;
    assert!(one.presents("abc").await.unwrap().is_active());
    engine.evict_all();
    assert!(other.presents("abc").await.unwrap().is_active());
    assert_eq!((authority.questions(), one.stats().gaps, other.stats().gaps), (2, 0, 0));
    // Of a lease, while two wait for it.
    engine.evict_all();
    authority.hold();
    let third = Process::start(&engine, &clock, &authority);
    let fourth = Process::start(&engine, &clock, &authority);
    all_read(&[&third, &fourth]).await;
    let requests = [&third, &fourth].map(|process| spawn_ask(&process.cached));
    authority.asked(3).await;
    passes(&clock, millis(100)).await;
    engine.evict_all();
    passes(&clock, millis(100)).await;
    assert_eq!(authority.questions(), 4);
    authority.release();
    authority.release();
    for request in requests {
        assert!(request.await.unwrap().unwrap().is_active());
    }
    assert_eq!(values(&engine), 1);
}

/// Invariant 16: a hit in the process's own memory has nothing to do with the engine, whatever state that is in. (That
/// it takes the same instructions as without a fleet, `benches/instructions.rs` holds against `instructions.limits`;
/// that it allocates nothing, `tests/allocations.rs`.)
#[tokio::test(start_paused = true)]
async fn a_hit_does_not_touch_the_engine() {
    let (engine, clock) = engine();
    let authority = Authority::new(Ok(Verdict::Active(until_in(600))));
    let [one] = Process::several(&engine, &clock, &authority).await;
    assert!(one.presents("abc").await.unwrap().is_active());
    crate::support::until(|| one.stats().stored == 1).await;
    for (_, switch) in [("well", (|_, _| ()) as Switch)].into_iter().chain(OUTAGES) {
        switch(&engine, true);
        let calls = engine.calls();
        for _ in 0..100 {
            assert!(tower_introspection::Introspect::cached(&one.cached, &bearer("abc")).is_some());
        }
        assert_eq!(engine.calls(), calls);
        switch(&engine, false);
    }
}
