//! A connection that was lost, and a log of which records were lost.

use tower_introspection::cache::Reach;
use tower_introspection::fleet::MemoryEngine;
use tower_introspection::{AccessToken, InactiveReason, Verdict};

use super::{Process, all_read, engine, passes, passes_for, until_in};
use crate::support::{Answer, Authority, bearer, inactive, millis, secs};

fn active() -> Answer {
    Ok(Verdict::Active(AccessToken::builder().build()))
}

/// Invariant 14: what was missed is read after a reconnect, and nothing else is dropped, here or of what is shared.
#[tokio::test(start_paused = true)]
async fn a_reconnect_without_a_gap_drops_nothing_but_what_was_invalidated() {
    let (engine, clock) = engine();
    let authority = Authority::new(Ok(Verdict::Active(until_in(600))));
    let line = engine.line();
    let one = Process::start(&line, &clock, &authority);
    let [other] = Process::several(&engine, &clock, &authority).await;
    all_read(&[&one]).await;
    for token in ["abc", "def", "ghi"] {
        assert!(one.presents(token).await.unwrap().is_active());
    }
    for cut in [MemoryEngine::cut_off as fn(&MemoryEngine, bool), MemoryEngine::hang, MemoryEngine::refuse] {
        let questions = authority.questions();
        cut(&line, true);
        passes(&clock, secs(5)).await;
        assert_eq!(other.handle().invalidate(&bearer("abc")).await, Reach::Recorded);
        assert!(one.presents("abc").await.unwrap().is_active() && one.presents("def").await.unwrap().is_active());
        cut(&line, false);
        passes(&clock, secs(2)).await;
        assert!(one.presents("def").await.unwrap().is_active());
        assert_eq!((authority.questions(), one.stats().gaps), (questions, 0));
        assert!(one.presents("abc").await.unwrap().is_active());
        assert_eq!(authority.questions(), questions + 1);
    }
    assert!(other.presents("ghi").await.unwrap().is_active());
    assert_eq!((authority.questions(), other.stats().hits), (6, 1));
}

type Loss = fn(&MemoryEngine);

const LOSSES: [(&str, Loss); 4] = [
    ("restarted empty", MemoryEngine::restart_empty),
    ("another server", |engine| engine.fail_over(0)),
    ("a record that nobody can read", MemoryEngine::append_junk),
    ("the log is gone", MemoryEngine::evict_log),
];

/// Invariant 14: where records may be lost, what is shared is distrusted at once, and what is remembered is asked about
/// again, spread over time: it serves meanwhile.
#[tokio::test(start_paused = true)]
async fn after_a_gap_what_is_shared_is_distrusted_and_what_is_local_is_asked_again_over_time() {
    for (how, lose) in LOSSES {
        let (engine, clock) = engine();
        let authority = Authority::new(active());
        let one = Process::set_up(&engine, &clock, &authority, |fleet| fleet, |cache| cache.max_ttl(secs(400)));
        all_read(&[&one]).await;
        let tokens: Vec<_> = (0..40).map(|n| format!("token-{n}")).collect();
        // Four in each of ten times twenty seconds.
        for token in &tokens {
            assert!(one.presents(token).await.unwrap().is_active());
            passes_for(&[&clock], secs(5), millis(100)).await;
        }
        lose(&engine);
        passes(&clock, secs(1)).await;
        assert_eq!(one.stats().gaps, 1, "{how}");
        let [other] = Process::several(&engine, &clock, &authority).await;
        assert!(other.presents("token-0").await.unwrap().is_active());
        assert_eq!((authority.questions(), other.stats().hits), (41, 0), "{how}: it is distrusted");
        drop(other);
        // What was asked for since is trusted.
        let [next] = Process::several(&engine, &clock, &authority).await;
        assert!(next.presents("token-0").await.unwrap().is_active());
        assert_eq!((authority.questions(), next.stats().hits), (41, 1), "{how}");
        let mut at_a_time = Vec::new();
        for _ in 0..12 {
            let before = authority.questions();
            for _ in 0..4 {
                passes_for(&[&clock], secs(5), millis(100)).await;
                for token in &tokens {
                    assert!(one.presents(token).await.unwrap().is_active());
                }
            }
            at_a_time.push(authority.questions() - before);
        }
        // All in two thirds of the time that it would have taken, so not many more at a time than usual.
        assert!(at_a_time.iter().all(|questions| *questions <= 9), "{how}: {at_a_time:?}");
        assert!((39..=40).contains(&at_a_time.iter().sum::<usize>()), "{how}: {at_a_time:?}");
        assert_eq!(one.stats().gaps, 1, "{how}");
    }
}

/// Invariant 15: a record that was acknowledged may be lost with the server; the process it is from appends it again.
#[tokio::test(start_paused = true)]
async fn an_invalidation_that_a_failover_lost_is_appended_again() {
    let (engine, clock) = engine();
    let authority = Authority::new(active());
    let [one, other] = Process::several(&engine, &clock, &authority).await;
    assert!(one.presents("abc").await.unwrap().is_active() && other.presents("abc").await.unwrap().is_active());
    authority.says(inactive(InactiveReason::Revoked));
    assert_eq!(one.handle().invalidate(&bearer("abc")).await, Reach::Recorded);
    // Before anybody has read it: the record, and that the value was deleted.
    engine.fail_over(2);
    assert!(other.presents("abc").await.unwrap().is_active());
    passes(&clock, secs(1)).await;
    assert!(!other.presents("abc").await.unwrap().is_active() && !one.presents("abc").await.unwrap().is_active());
    assert_eq!((one.stats().records_written, one.stats().queued), (2, 0));
}

/// Invariant 15: so may what is lost while all are cut off: each finds out by itself.
#[tokio::test(start_paused = true)]
async fn whoever_was_cut_off_while_the_log_was_lost_finds_out() {
    for (how, lose) in LOSSES {
        let (engine, clock) = engine();
        let authority = Authority::new(active());
        let line = engine.line();
        let one = Process::start(&line, &clock, &authority);
        let [other] = Process::several(&engine, &clock, &authority).await;
        all_read(&[&one]).await;
        assert!(one.presents("abc").await.unwrap().is_active());
        line.cut_off(true);
        lose(&engine);
        passes(&clock, secs(2)).await;
        // As many records as there were, or more.
        for _ in 0..3 {
            other.handle().invalidate(&bearer("another")).await;
        }
        line.cut_off(false);
        passes(&clock, millis(2_000)).await;
        let stats = one.stats();
        assert!(stats.gaps == 1 && stats.is_reading, "{how}: {stats:?}");
    }
}
