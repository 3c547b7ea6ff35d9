//! Refresh ahead, answers that serve on in an outage, and a graceful end.
#![cfg(feature = "test-util")]

mod refresh;
mod stale;

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::support::*;
use tower_introspection::introspect::IntrospectErrorKind;
use tower_introspection::{AccessToken, Cached, Introspect, Verdict, introspect_fn};

const OUTAGE: IntrospectErrorKind = IntrospectErrorKind::Connect;

async fn ask(cached: &impl Introspect) -> Answer {
    known_or_asked(cached, "abc").await
}

fn token_of(answer: Answer) -> AccessToken {
    match answer.unwrap() {
        Verdict::Active(token) => token,
        Verdict::Inactive(reason) => panic!("{reason:?}"),
    }
}

#[tokio::test]
async fn the_age_of_a_verdict_at_use_is_measured() {
    let authority = Authority::new(active());
    let (cached, clock) = cached(&authority, |builder| builder.refresh_ahead(0.0));
    ask(&cached).await.unwrap();
    clock.set(START + secs(8));
    ask(&cached).await.unwrap();
    clock.set(START + secs(40));
    ask(&cached).await.unwrap();
    let stats = cached.handle().stats();
    let ages: Vec<_> = stats.verdict_age.buckets().collect();
    assert_eq!(ages.len(), 3, "{ages:?}");
    for ((bound, count), age) in ages.into_iter().zip([millis(0), secs(8), secs(40)]) {
        assert!(count == 1 && bound > age && bound <= age * 5 / 4 + millis(1), "{bound:?} for {age:?}");
    }
    assert_eq!((stats.hits, stats.question_latency.count()), (2, 1));
}

fn alive_tasks() -> usize {
    tokio::runtime::Handle::current().metrics().num_alive_tasks()
}

#[tokio::test]
async fn dropping_the_cache_ends_the_questions_under_way() {
    let before = alive_tasks();
    let asked = Arc::new(AtomicUsize::new(0));
    let cached = Cached::new(introspect_fn({
        let asked = Arc::clone(&asked);
        move |_| {
            asked.fetch_add(1, Ordering::SeqCst);
            pending::<Answer>()
        }
    }));
    let handle = cached.handle();
    let caller = spawn_ask(&cached);
    until(|| asked.load(Ordering::SeqCst) > 0).await;
    drop(cached);
    tokio::task::yield_now().await;
    assert_eq!(handle.stats().questions_under_way, 1, "somebody waits");
    caller.abort();
    until(|| alive_tasks() <= before).await;
    assert_eq!(handle.stats().questions_under_way, 0);
}
