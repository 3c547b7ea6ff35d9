//! A strict fleet: when an awaited invalidation returns, no process serves the token.

use std::future::IntoFuture;

use tokio::task::JoinHandle;
use tower_introspection::cache::Reach;
use tower_introspection::clock::ManualClock;
use tower_introspection::fleet::MemoryEngine;
use tower_introspection::introspect::IntrospectErrorKind;
use tower_introspection::{InactiveReason, Introspect, Verdict};

use super::{Process, all_read, engine, passes, until_in};
use crate::support::{Authority, bearer, failure, inactive, millis, secs, spawn_ask};

fn strict(engine: &MemoryEngine, clock: &ManualClock, authority: &Authority, lease: u64) -> Process {
    let cache = |cache: tower_introspection::cache::CachedBuilder<Authority>| cache.refresh_ahead(0.0);
    Process::set_up(engine, clock, authority, |fleet| fleet.strict(secs(lease)), cache)
}

impl Process {
    fn serves_from_memory(&self, token: &str) -> bool {
        self.cached.cached(&bearer(token)).is_some_and(|verdict| verdict.is_active())
    }

    fn invalidates(&self, token: &str) -> JoinHandle<Reach> {
        tokio::spawn(self.handle().invalidate(&bearer(token)).into_future())
    }
}

/// A process that has not read the log for a lease asks about each request.
#[tokio::test(start_paused = true)]
async fn without_its_lease_a_process_serves_nothing_from_memory() {
    let (engine, clock) = engine();
    let authority = Authority::new(Ok(Verdict::Active(until_in(600))));
    let one = strict(&engine, &clock, &authority, 2);
    all_read(&[&one]).await;
    assert!(one.presents("abc").await.unwrap().is_active());
    passes(&clock, secs(5)).await;
    engine.cut_off(true);
    passes(&clock, millis(1_800)).await;
    assert!(one.serves_from_memory("abc"));
    passes(&clock, millis(200)).await;
    for questions in 2..5 {
        assert!(!one.serves_from_memory("abc"));
        assert!(one.presents("abc").await.unwrap().is_active());
        assert_eq!(authority.questions(), questions);
    }
    authority.says(failure(IntrospectErrorKind::Connect));
    assert!(one.presents("abc").await.is_err(), "it fails rather than serve what may be revoked");
    engine.cut_off(false);
    passes(&clock, secs(2)).await;
    assert!(one.presents("abc").await.unwrap().is_active());
}

/// An awaited invalidation is everywhere when all have read it, and where one is cut off, when its lease is over.
#[tokio::test(start_paused = true)]
async fn everywhere_is_said_when_no_process_serves_the_token_any_more() {
    for (lease, cut_off_for, early) in [(2, None, 0), (2, Some(0), 1_700), (3, Some(1), 1_700), (30, Some(12), 17_500)]
    {
        let (engine, clock) = engine();
        let authority = Authority::new(Ok(Verdict::Active(until_in(600))));
        let line = engine.line();
        let [one, other] = [&engine, &line].map(|engine| strict(engine, &clock, &authority, lease));
        all_read(&[&one, &other]).await;
        assert!(one.presents("abc").await.unwrap().is_active() && other.presents("abc").await.unwrap().is_active());
        passes(&clock, secs(2)).await;
        if let Some(seconds) = cut_off_for {
            line.cut_off(true);
            passes(&clock, secs(seconds)).await;
        }
        let invalidation = one.invalidates("abc");
        passes(&clock, millis(early)).await;
        assert!(early == 0 || (!invalidation.is_finished() && other.serves_from_memory("abc")), "{cut_off_for:?}");
        let mut waited = 0;
        while !invalidation.is_finished() {
            passes(&clock, millis(10)).await;
            waited += 10;
        }
        assert!(!other.serves_from_memory("abc") && !one.serves_from_memory("abc"), "{cut_off_for:?}");
        assert_eq!(invalidation.await.unwrap(), Reach::Everywhere);
        let most = if cut_off_for.is_some() { lease * 1_000 } else { 400 };
        assert!(waited <= most, "{waited} ms");
    }
}

/// What a process has read of the log before this one, which the engine lost, says nothing of this one.
#[tokio::test(start_paused = true)]
async fn a_process_that_is_slow_to_see_another_log_has_not_read_what_is_in_it() {
    for moment in 0..12 {
        let (engine, clock) = engine();
        let authority = Authority::new(Ok(Verdict::Active(until_in(600))));
        let line = engine.line();
        let [one, other] = [&engine, &line].map(|engine| strict(engine, &clock, &authority, 3));
        all_read(&[&one, &other]).await;
        for n in 0..5 {
            one.handle().invalidate(&bearer(&format!("token-{n}"))).await;
        }
        assert!(one.presents("abc").await.unwrap().is_active() && other.presents("abc").await.unwrap().is_active());
        line.slow(millis(400));
        passes(&clock, secs(1) + millis(50) * moment).await;
        engine.restart_empty();
        passes(&clock, millis(120)).await;
        let invalidation = one.invalidates("abc");
        let mut served = 0;
        while !invalidation.is_finished() {
            served += u32::from(other.serves_from_memory("abc"));
            passes(&clock, millis(10)).await;
        }
        assert!(!other.serves_from_memory("abc"), "at {moment}, after {served} looks");
    }
}

/// Nor does a question help that was under way before: who comes later is answered by a later one.
#[tokio::test(start_paused = true)]
async fn a_question_from_before_the_invalidation_answers_nobody_who_came_after_it() {
    let (engine, clock) = engine();
    let authority = Authority::new(Ok(Verdict::Active(until_in(600))));
    let line = engine.line();
    let [one, other] = [&engine, &line].map(|engine| strict(engine, &clock, &authority, 2));
    all_read(&[&one, &other]).await;
    authority.hold();
    let before = spawn_ask(&other.cached);
    authority.asked(1).await;
    line.cut_off(true);
    let invalidation = one.invalidates("abc");
    passes(&clock, secs(3)).await;
    assert_eq!(invalidation.await.unwrap(), Reach::Everywhere);
    let after = spawn_ask(&other.cached);
    passes(&clock, millis(10)).await;
    assert_eq!(authority.questions(), 1);
    authority.release();
    assert!(before.await.unwrap().unwrap().is_active());
    authority.asked(2).await;
    authority.says(inactive(InactiveReason::Revoked));
    authority.release();
    assert!(!after.await.unwrap().unwrap().is_active());
}
