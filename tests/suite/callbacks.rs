//! What a user wrote may use the cache's handle wherever the cache calls it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, mpsc};
use std::thread;

use crate::support::*;
use tokio::task::JoinHandle;
use tower_introspection::{CacheHandle, Cached, InactiveReason, Introspect, IntrospectErrorKind};
#[cfg(feature = "test-util")]
use tower_introspection::{Clock, ManualClock, Timestamp};

/// The handle of a cache that is made later, used on each call.
#[derive(Clone, Default)]
struct Caller(Arc<Called>);

#[derive(Default)]
struct Called {
    handle: OnceLock<CacheHandle>,
    had_to_wait: AtomicBool,
}

impl Caller {
    /// On a thread of its own: whoever called it may hold a lock, and then this fails and does not wait for ever.
    fn call(&self) {
        let Some(handle) = self.0.handle.get().cloned() else { return };
        let (done, is_done) = mpsc::channel();
        thread::spawn(move || done.send(handle.stats().hits));
        if is_done.recv_timeout(secs(20)).is_err() {
            self.0.had_to_wait.store(true, Ordering::Relaxed);
        }
    }

    fn check(&self) {
        let had_to_wait = self.0.had_to_wait.load(Ordering::Relaxed);
        assert!(!had_to_wait, "a lock is held while the cache calls what a user wrote");
    }

    /// Once nobody else has a copy.
    async fn check_when_alone(&self) {
        let alone = async {
            while Arc::strong_count(&self.0) > 1 {
                tokio::task::yield_now().await;
            }
        };
        patiently(alone).await;
        self.check();
    }
}

impl Drop for Caller {
    fn drop(&mut self) {
        self.call();
    }
}

#[cfg(feature = "test-util")]
struct CallingClock(Caller, ManualClock);

#[cfg(feature = "test-util")]
impl Clock for CallingClock {
    fn now(&self) -> Timestamp {
        self.0.call();
        self.1.now()
    }
}

#[cfg(feature = "test-util")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_may_use_the_handle_whatever_becomes_of_a_token() {
    let (authority, caller, clock) = (Authority::new(active()), Caller::default(), ManualClock::at(START));
    let cached = Cached::builder(authority.clone())
        .clock(CallingClock(caller.clone(), clock.clone()))
        .max_ttl(secs(60))
        .stale_if_error(secs(60))
        .build()
        .unwrap();
    assert!(caller.0.handle.set(cached.handle()).is_ok());
    let ask = async || cached.introspect(&bearer("abc")).await;

    assert!(ask().await.unwrap().is_active(), "asked");
    assert!(ask().await.unwrap().is_active(), "at hand");
    clock.advance(secs(55));
    assert!(cached.known(&bearer("abc")).is_some(), "asked ahead of time");
    authority.asked(2).await;
    authority.says(failure(IntrospectErrorKind::Timeout));
    clock.advance(secs(70));
    assert!(ask().await.unwrap().is_active(), "served on");
    authority.says(inactive(InactiveReason::Revoked));
    assert!(!ask().await.unwrap().is_active(), "asked again");
    assert!(!ask().await.unwrap().is_active(), "at hand, inactive");
    cached.handle().invalidate_all();
    caller.check();
}

/// A question under way, with the last copies of two predicates of which the second is true.
async fn invalidated_while_under_way(answer: Answer) -> (Authority, Cached<Authority>, Caller, JoinHandle<Answer>) {
    let authority = Authority::new(answer);
    authority.hold();
    let (cached, caller) = (Cached::new(authority.clone()), Caller::default());
    assert!(caller.0.handle.set(cached.handle()).is_ok());
    let waiting = tokio::spawn({
        let cached = cached.clone();
        async move { cached.introspect(&bearer("abc")).await }
    });
    authority.asked(1).await;
    for is_meant in [false, true] {
        let caller = caller.clone();
        cached.handle().invalidate_where(move |_| {
            caller.call();
            is_meant
        });
    }
    (authority, cached, caller, waiting)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_predicate_may_use_the_handle_when_it_is_called_and_when_it_is_dropped() {
    for answer in [active(), inactive(InactiveReason::Unknown), failure(IntrospectErrorKind::Timeout)] {
        let (authority, _cached, caller, waiting) = invalidated_while_under_way(answer).await;
        authority.release();
        authority.release();
        let _ = waiting.await.unwrap();
        caller.check_when_alone().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_predicate_may_use_the_handle_when_the_question_ends_without_an_answer() {
    let (_authority, cached, caller, waiting) = invalidated_while_under_way(active()).await;
    waiting.abort();
    drop(cached);
    caller.check_when_alone().await;
}

#[tokio::test]
async fn a_predicate_that_panics_takes_one_question_along_and_not_the_cache() {
    let authority = Authority::new(active());
    authority.hold();
    let cached = Cached::new(authority.clone());
    let waiting = tokio::spawn({
        let cached = cached.clone();
        async move { cached.introspect(&bearer("abc")).await }
    });
    authority.asked(1).await;
    cached.handle().invalidate_where(|_| panic!("a predicate of the test"));
    authority.release();
    assert_eq!(waiting.await.unwrap().unwrap_err().kind(), IntrospectErrorKind::Abandoned);
    authority.release();
    assert!(cached.introspect(&bearer("abc")).await.unwrap().is_active());
}
