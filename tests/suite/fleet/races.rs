//! What comes back from the engine, or is kept for an outage, while something is invalidated; and machines that are
//! suspended.

use tower_introspection::cache::{Reach, Selection};
use tower_introspection::clock::ManualClock;
use tower_introspection::introspect::IntrospectErrorKind;
use tower_introspection::{InactiveReason, Introspect, Verdict};

use super::{Process, all_read, engine, passes, passes_for, until_in};
use crate::support::{Authority, START, bearer, failure, inactive, millis, secs, spawn_ask};

/// Invariant 9: a process that waits for another's question does not keep what it saw before an invalidation.
#[tokio::test(start_paused = true)]
async fn what_was_seen_before_an_invalidation_does_not_come_back_while_the_question_is_asked() {
    let (engine, clock) = engine();
    let authority = Authority::new(Ok(Verdict::Active(until_in(600))));
    let [one, other] = Process::several(&engine, &clock, &authority).await;
    for process in [&one, &other] {
        assert!(process.presents("abc").await.unwrap().is_active());
    }
    // Both have it asked about again, and one waits for the other.
    passes(&clock, millis(54_500)).await;
    authority.hold();
    assert!(one.cached.cached(&bearer("abc")).is_some());
    authority.asked(2).await;
    assert!(other.cached.cached(&bearer("abc")).is_some());
    passes(&clock, millis(300)).await;
    assert_eq!(other.stats().waits, 1);
    assert_eq!(other.handle().invalidate(&bearer("abc")).await, Reach::Recorded);
    passes(&clock, millis(300)).await;
    authority.says(inactive(InactiveReason::Revoked));
    for question in [3, 4] {
        authority.release();
        authority.asked(question).await;
        assert!(other.cached.cached(&bearer("abc")).is_none());
    }
}

/// The same for an answer that is kept for an outage.
#[tokio::test(start_paused = true)]
async fn what_was_invalidated_does_not_serve_on_in_an_outage() {
    let (engine, clock) = engine();
    let authority = Authority::new(Ok(Verdict::Active(until_in(6_000))));
    let start = || Process::set_up(&engine, &clock, &authority, |fleet| fleet, |cache| cache.stale_if_error(secs(300)));
    let (one, other) = (start(), start());
    all_read(&[&one, &other]).await;
    for process in [&one, &other] {
        assert!(process.presents("abc").await.unwrap().is_active());
    }
    passes(&clock, secs(65)).await;
    authority.hold();
    let _asks = spawn_ask(&one.cached);
    authority.asked(2).await;
    let waits = spawn_ask(&other.cached);
    passes(&clock, millis(300)).await;
    assert_eq!(other.stats().waits, 1);
    assert_eq!(other.handle().invalidate(&bearer("abc")).await, Reach::Recorded);
    passes(&clock, millis(300)).await;
    authority.says(failure(IntrospectErrorKind::Status));
    authority.release();
    authority.asked(3).await;
    authority.release();
    authority.release();
    assert!(waits.await.unwrap().is_err());
    authority.release();
    assert!(other.presents("abc").await.is_err());
}

/// Without an invalidation it does serve on, in a process that has never had it.
#[tokio::test(start_paused = true)]
async fn what_the_engine_has_serves_on_in_an_outage() {
    let (engine, clock) = engine();
    let authority = Authority::new(Ok(Verdict::Active(until_in(6_000))));
    let start = || Process::set_up(&engine, &clock, &authority, |fleet| fleet, |cache| cache.stale_if_error(secs(300)));
    let (one, other) = (start(), start());
    all_read(&[&one, &other]).await;
    assert!(one.presents("abc").await.unwrap().is_active());
    passes(&clock, secs(65)).await;
    authority.says(failure(IntrospectErrorKind::Connect));
    let Ok(Verdict::Active(token)) = other.presents("abc").await else { panic!("it serves on") };
    assert!(token.is_stale());
}

/// Strict: a machine that was suspended has a monotonic clock that stood still, and a log that was read long ago.
#[tokio::test(start_paused = true)]
async fn a_strict_process_whose_machine_was_suspended_takes_nothing_from_the_engine_either() {
    let (engine, clock) = engine();
    let suspended = ManualClock::at(START);
    let authority = Authority::new(Ok(Verdict::Active(until_in(600))));
    let strict = |clock| Process::set_up(&engine, clock, &authority, |fleet| fleet.strict(secs(1)), |cache| cache);
    let (one, other) = (strict(&clock), strict(&suspended));
    all_read(&[&one, &other]).await;
    assert!(one.presents("abc").await.unwrap().is_active());
    authority.says(inactive(InactiveReason::Revoked));
    one.handle().invalidate(Selection::subject("ann"));
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
    assert_eq!((one.stats().records_written, other.stats().records_read), (1, 0));
    suspended.advance(secs(30));
    assert!(!other.presents("abc").await.unwrap().is_active());
}

/// Strict: what the log showed before a machine was suspended holds no longer after it.
#[tokio::test(start_paused = true)]
async fn a_read_from_before_a_suspension_renews_no_lease_after_it() {
    for phase in 0..12 {
        let (engine, clock) = engine();
        let suspended = ManualClock::at(START);
        let authority = Authority::new(Ok(Verdict::Active(until_in(600))));
        let line = engine.line();
        let process = Process::set_up(&line, &suspended, &authority, |fleet| fleet.strict(secs(10)), |cache| cache);
        all_read(&[&process]).await;
        assert!(process.presents("abc").await.unwrap().is_active());
        line.slow(millis(400));
        passes_for(&[&clock, &suspended], millis(2_000 + phase * 50), millis(10)).await;
        assert!(process.cached.cached(&bearer("abc")).is_some());
        suspended.advance(secs(30));
        line.cut_off(true);
        tokio::time::sleep(millis(450)).await;
        assert!(process.cached.cached(&bearer("abc")).is_none(), "{phase}");
    }
}
