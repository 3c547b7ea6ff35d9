//! Who hears of what is no longer to be served, and when.

use std::time::Duration;

use tower_introspection::cache::{Reach, Selection};
use tower_introspection::introspect::IntrospectErrorKind;
use tower_introspection::{AccessToken, InactiveReason, Verdict};

use super::{Process, all_read, engine, passes, passes_for, until_in, values};
use crate::support::{Authority, bearer, failure, inactive, millis, secs, spawn_ask};

/// Invariant 9: a record covers a question that is under way in another process: its answer is not used.
#[tokio::test(start_paused = true)]
async fn an_invalidation_covers_questions_that_are_under_way_elsewhere() {
    for selection in [Selection::token(&bearer("abc")), Selection::subject("ann"), Selection::all()] {
        let (engine, clock) = engine();
        let authority = Authority::new(Ok(Verdict::Active(until_in(600))));
        let [one, other] = Process::several(&engine, &clock, &authority).await;
        authority.hold();
        let request = spawn_ask(&other.cached);
        authority.asked(1).await;
        one.handle().invalidate(selection).await;
        passes(&clock, millis(300)).await;
        // It was active when it was asked about, before the invalidation.
        authority.release();
        authority.asked(2).await;
        authority.says(inactive(InactiveReason::Revoked));
        authority.release();
        assert!(!request.await.unwrap().unwrap().is_active());
        assert_eq!((other.stats().stored, values(&engine)), (0, 0));
    }
}

/// Invariant 9: records are kept as long as the process needs them that keeps its answers longest.
#[tokio::test(start_paused = true)]
async fn the_log_reaches_back_as_far_as_the_process_with_the_longest_memory() {
    let (engine, clock) = engine();
    let authority = Authority::new(Ok(Verdict::Active(until_in(60_000))));
    let line = engine.line();
    let [one] = Process::several(&engine, &clock, &authority).await;
    let long = Process::set_up(
        &line,
        &clock,
        &authority,
        |fleet| fleet,
        |cache| cache.max_ttl(secs(3_600)).refresh_ahead(0.0),
    );
    all_read(&[&long]).await;
    for token in ["abc", "def"] {
        assert!(long.presents(token).await.unwrap().is_active());
    }
    passes(&clock, secs(2)).await;
    line.cut_off(true);
    for token in ["abc", "another", "another"] {
        assert_eq!(one.handle().invalidate(&bearer(token)).await, Reach::Recorded);
        passes_for(&[&clock], secs(900), secs(1)).await;
    }
    assert!(long.presents("abc").await.unwrap().is_active(), "it is cut off");
    line.cut_off(false);
    passes(&clock, secs(2)).await;
    let questions = authority.questions();
    assert_eq!((long.stats().gaps, long.stats().records_read), (0, 3));
    for (token, asked) in [("abc", 1), ("def", 1)] {
        assert!(long.presents(token).await.unwrap().is_active());
        assert_eq!(authority.questions(), questions + asked, "{token}");
    }
}

/// Invariant 10: a failure is not shared, and takes nothing away from others.
#[tokio::test(start_paused = true)]
async fn a_failure_is_never_shared() {
    let (engine, clock) = engine();
    let (failing, authority) = (Authority::new(failure(IntrospectErrorKind::Status)), Authority::new(active()));
    let one = Process::start(&engine, &clock, &failing);
    let [other, third] = Process::several(&engine, &clock, &authority).await;
    all_read(&[&one]).await;
    for kind in crate::support::ERROR_KINDS {
        failing.says(failure(kind));
        assert!(one.presents("abc").await.is_err());
    }
    passes(&clock, millis(300)).await;
    assert_eq!((values(&engine), one.stats().records_written), (0, 0));
    assert!(other.presents("abc").await.unwrap().is_active());
    passes(&clock, secs(61)).await;
    assert!(one.presents("def").await.is_err());
    assert!(third.presents("abc").await.unwrap().is_active());
}

fn active() -> crate::support::Answer {
    Ok(Verdict::Active(AccessToken::builder().build()))
}

/// Invariant 10: an inactive answer takes only the place of an active one.
#[tokio::test(start_paused = true)]
async fn ten_thousand_tokens_of_nobody_leave_nothing_in_the_engine() {
    let (engine, clock) = engine();
    let authority = Authority::new(inactive(InactiveReason::Unknown));
    let [one, other] = Process::several(&engine, &clock, &authority).await;
    for n in 0..5_000 {
        for process in [&one, &other] {
            assert!(!process.presents(&format!("junk-{n}")).await.unwrap().is_active());
        }
    }
    passes(&clock, secs(1)).await;
    assert_eq!((values(&engine), one.stats().records_written, other.stats().records_written), (0, 0, 0));
    assert_eq!((authority.questions(), one.stats().stored + other.stats().stored), (10_000, 0));
}

/// Invariant 10: when one process learns that a token is no longer active which others may have, all of them drop it,
/// be it that the engine still holds the answer, or that this process alone knew it.
#[tokio::test(start_paused = true)]
async fn what_one_process_finds_inactive_goes_from_all_whatever_the_engine_still_holds() {
    for is_evicted in [false, true] {
        let (engine, clock) = engine();
        let authority = Authority::new(active());
        let [one, other] = Process::several(&engine, &clock, &authority).await;
        assert!(one.presents("abc").await.unwrap().is_active() && other.presents("abc").await.unwrap().is_active());
        authority.says(inactive(InactiveReason::Revoked));
        if is_evicted {
            engine.evict_all();
        }
        passes(&clock, secs(55)).await;
        // Due to be asked about again.
        assert!(one.presents("abc").await.unwrap().is_active());
        passes(&clock, millis(300)).await;
        assert!(!other.presents("abc").await.unwrap().is_active(), "evicted: {is_evicted}");
        assert_eq!(one.stats().records_written, 1);
    }
}

/// Or whoever holds a revoked token could fill the log: an inactive answer that takes the place of one is no news.
#[tokio::test(start_paused = true)]
async fn that_a_token_is_inactive_is_told_once_however_often_it_is_presented() {
    let (engine, clock) = engine();
    let authority = Authority::new(active());
    let start =
        || Process::set_up(&engine, &clock, &authority, |fleet| fleet, |cache| cache.inactive_ttl(Duration::ZERO));
    let [one, other] = [start(), start()];
    all_read(&[&one, &other]).await;
    assert!(one.presents("abc").await.unwrap().is_active() && other.presents("abc").await.unwrap().is_active());
    authority.says(inactive(InactiveReason::Revoked));
    passes(&clock, secs(55)).await;
    // Due to be asked about again.
    assert!(one.presents("abc").await.unwrap().is_active());
    passes(&clock, millis(300)).await;
    let asked = authority.questions();
    for _ in 0..5 {
        for process in [&one, &other] {
            assert!(!process.presents("abc").await.unwrap().is_active());
        }
        passes(&clock, millis(100)).await;
    }
    assert_eq!(authority.questions() - asked, 10, "each is asked about");
    assert_eq!(one.stats().records_written + other.stats().records_written, 1);
    assert_eq!(values(&engine), 1, "the inactive answer takes the place of the active one all the time");
}

/// What waits while the engine is away is delivered when it is back: to other processes, and to what is shared.
#[tokio::test(start_paused = true)]
async fn an_invalidation_of_a_process_that_is_cut_off_is_delivered_after() {
    let (engine, clock) = engine();
    let authority = Authority::new(active());
    let line = engine.line();
    let one = Process::start(&line, &clock, &authority);
    let [other] = Process::several(&engine, &clock, &authority).await;
    all_read(&[&one]).await;
    for token in ["abc", "def"] {
        assert!(one.presents(token).await.unwrap().is_active() && other.presents(token).await.unwrap().is_active());
    }
    line.cut_off(true);
    let invalidation = one.handle().invalidate(&bearer("abc"));
    assert_eq!((invalidation.forgotten(), invalidation.await), (1, Reach::Queued));
    assert_eq!(one.stats().queued, 1);
    authority.says(inactive(InactiveReason::Revoked));
    passes(&clock, secs(5)).await;
    assert!(!one.presents("abc").await.unwrap().is_active(), "here it is done at once");
    assert!(other.presents("abc").await.unwrap().is_active(), "the window of who cannot be told");
    line.cut_off(false);
    passes(&clock, secs(2)).await;
    assert!(!other.presents("abc").await.unwrap().is_active() && other.presents("def").await.unwrap().is_active());
    assert_eq!((one.stats().queued, other.stats().gaps), (0, 0));
}

/// Invariant 12: the outbox is bounded. Too many invalidations become one that is about all tokens.
#[tokio::test(start_paused = true)]
async fn more_invalidations_than_may_wait_become_one_of_all_tokens() {
    for (many, hears) in [(10_000, false), (10_001, true)] {
        let (engine, clock) = engine();
        let authority = Authority::new(active());
        let line = engine.line();
        let one = Process::start(&line, &clock, &authority);
        let [other] = Process::several(&engine, &clock, &authority).await;
        all_read(&[&one]).await;
        assert!(one.presents("kept").await.unwrap().is_active() && other.presents("kept").await.unwrap().is_active());
        line.cut_off(true);
        let handle = one.handle();
        let invalidations: Vec<_> = (0..many).map(|n| handle.invalidate(&bearer(&format!("token-{n}")))).collect();
        assert!(one.presents("kept").await.unwrap().is_active(), "here nothing more is forgotten than was said");
        line.cut_off(false);
        passes(&clock, secs(4)).await;
        assert_eq!((authority.questions(), one.stats().queued), (1, 0));
        assert!(other.presents("kept").await.unwrap().is_active());
        assert_eq!(authority.questions(), 1 + usize::from(hears));
        let written = one.stats().records_written;
        assert_eq!(written, if hears { 1 } else { many });
        drop(invalidations);
    }
}

/// Invariant 12: so is what is remembered of the log. Too many records mean that nothing older is trusted.
#[tokio::test(start_paused = true)]
async fn an_answer_from_before_more_records_than_are_remembered_is_not_taken() {
    for (many, asked) in [(10_000, 1), (10_001, 2)] {
        let (engine, clock) = engine();
        let authority = Authority::new(active());
        let [one, other] = Process::several(&engine, &clock, &authority).await;
        assert!(one.presents("abc").await.unwrap().is_active());
        passes(&clock, millis(100)).await;
        for n in 0..many {
            drop(one.handle().invalidate(&bearer(&format!("token-{n}"))));
            if n % 500 == 0 {
                passes(&clock, millis(200)).await;
            }
        }
        passes(&clock, secs(4)).await;
        assert_eq!((other.stats().records_read, other.stats().gaps), (many, 0));
        assert!(other.presents("abc").await.unwrap().is_active());
        assert_eq!(authority.questions(), asked, "after {many} records");
    }
}

/// A record comes to who reads the log within its next read.
#[tokio::test(start_paused = true)]
async fn every_process_hears_of_an_invalidation_within_300_ms() {
    let (engine, clock) = engine();
    let authority = Authority::new(active());
    let processes: [Process; 5] = Process::several(&engine, &clock, &authority).await;
    for n in 0..20 {
        for process in &processes {
            assert!(process.presents("abc").await.unwrap().is_active());
        }
        let before = authority.questions();
        processes[n % 5].handle().invalidate(&bearer("abc")).await;
        authority.says(inactive(InactiveReason::Revoked));
        passes(&clock, millis(300)).await;
        for process in &processes {
            assert!(!process.presents("abc").await.unwrap().is_active());
        }
        assert!(authority.questions() > before);
        authority.says(active());
        passes(&clock, Duration::from_secs(11)).await;
    }
}
