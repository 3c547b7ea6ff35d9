//! What a user wrote may use the cache's handle wherever the cache calls it.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::RecvTimeoutError;
use std::sync::{Arc, OnceLock, mpsc};
use std::thread;

use crate::support::*;
use tokio::task::JoinHandle;
#[cfg(feature = "test-util")]
use tower_introspection::IntrospectError;
#[cfg(feature = "test-util")]
use tower_introspection::clock::{Clock, ManualClock, Timestamp};
#[cfg(all(feature = "test-util", feature = "sandbox"))]
use tower_introspection::connection::Limits;
use tower_introspection::introspect::Ask;
use tower_introspection::introspect::IntrospectErrorKind;
#[cfg(all(feature = "test-util", feature = "sandbox"))]
use tower_introspection::sandbox::{Fault, Sandbox, SandboxToken};
#[cfg(all(feature = "test-util", feature = "sandbox"))]
use tower_introspection::stats::BreakerState;
use tower_introspection::{CacheHandle, Cached, InactiveReason, Introspect};
#[cfg(feature = "test-util")]
use tracing_subscriber::layer::SubscriberExt;

/// The handle of a cache that is made later, used on each call.
#[derive(Clone, Default)]
struct Caller(Arc<Called>);

#[derive(Default)]
struct Called {
    handle: OnceLock<CacheHandle>,
    /// Using the handle may call this again; then it does nothing.
    is_calling: AtomicBool,
    had_to_wait: AtomicBool,
    calls: AtomicUsize,
}

impl Caller {
    /// On a thread of its own, so that a lock held by whoever called makes the test fail instead of hang.
    fn call(&self) {
        let Some(handle) = self.0.handle.get().cloned() else { return };
        // Had it to wait once, that is enough.
        if self.0.had_to_wait.load(Ordering::SeqCst) || self.0.is_calling.swap(true, Ordering::SeqCst) {
            return;
        }
        let (done, is_done) = mpsc::channel();
        thread::spawn(move || {
            let _ = handle.stats();
            done.send(handle.invalidate_where(|_| false))
        });
        if is_done.recv_timeout(secs(20)).is_err() {
            self.0.had_to_wait.store(true, Ordering::SeqCst);
        }
        self.0.calls.fetch_add(1, Ordering::SeqCst);
        self.0.is_calling.store(false, Ordering::SeqCst);
    }

    fn check(&self) {
        assert!(self.0.calls.load(Ordering::SeqCst) > 0);
        assert!(!self.0.had_to_wait.load(Ordering::SeqCst), "a lock is held while the cache calls what a user wrote");
    }

    /// Once nobody else has a copy.
    async fn check_when_alone(&self) {
        until(|| Arc::strong_count(&self.0) == 1).await;
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

/// Goes through whatever may become of a token in a cache.
#[cfg(feature = "test-util")]
async fn live<C: Clock>(caller: &Caller, make_clock: impl FnOnce(ManualClock) -> C) {
    let (authority, clock) = (Authority::new(active()), ManualClock::at(START));
    let cached = Cached::builder(authority.clone())
        .clock(make_clock(clock.clone()))
        .max_ttl(secs(60))
        .stale_if_error(secs(60))
        .refresh_ahead_uses(1)
        .build()
        .unwrap();
    assert!(caller.0.handle.set(cached.handle()).is_ok());
    let asks = async || patiently(cached.introspect(Ask::new(&bearer("abc")))).await;

    assert!(asks().await.unwrap().is_active(), "asked");
    assert!(asks().await.unwrap().is_active(), "at hand");
    clock.advance(secs(55));
    assert!(cached.cached(&bearer("abc")).is_some(), "asked ahead of time");
    authority.asked(2).await;
    quiet(&cached).await;
    authority.says(failure(IntrospectErrorKind::Timeout));
    clock.advance(secs(70));
    assert!(asks().await.unwrap().is_active(), "served on");
    let open = IntrospectError::new(IntrospectErrorKind::CircuitOpen).with_retry_after(secs(60));
    authority.says(Err(open));
    assert!(asks().await.unwrap().is_active(), "served on, and nobody is asked for a minute");
    clock.advance(secs(31));
    assert!(asks().await.unwrap().is_active(), "served on without a question");
    authority.says(inactive(InactiveReason::Revoked));
    clock.advance(secs(31));
    assert!(!asks().await.unwrap().is_active(), "asked again");
    assert!(!asks().await.unwrap().is_active(), "at hand, inactive");
    assert_eq!(authority.questions(), 5);
    cached.handle().invalidate_all();
    caller.check();
}

#[cfg(feature = "test-util")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_may_use_the_handle_whatever_becomes_of_a_token() {
    let caller = Caller::default();
    live(&caller, |clock| CallingClock(caller.clone(), clock)).await;
}

#[cfg(feature = "test-util")]
struct CallingSubscriber(Caller);

#[cfg(feature = "test-util")]
impl<S: tracing::Subscriber> tracing_subscriber::Layer<S> for CallingSubscriber {
    fn on_event(&self, _: &tracing::Event<'_>, _: tracing_subscriber::layer::Context<'_, S>) {
        self.0.call();
    }
}

/// As long as there is one subscriber in the process, whichever thread comes to an event first is asked whether it is
/// wanted, and that holds for all: so there is another one.
#[cfg(feature = "test-util")]
fn subscribe(caller: &Caller) -> impl Sized {
    let another = tracing::Dispatch::new(tracing_subscriber::registry());
    let subscriber = tracing_subscriber::registry().with(CallingSubscriber(caller.clone()));
    (tracing::subscriber::set_default(subscriber), another)
}

#[cfg(feature = "test-util")]
#[tokio::test]
async fn a_subscriber_of_logs_may_use_the_handle_whatever_becomes_of_a_token() {
    let caller = Caller::default();
    let _subscribed = subscribe(&caller);
    live(&caller, |clock| clock).await;
}

#[cfg(all(feature = "test-util", feature = "sandbox"))]
#[tokio::test]
async fn a_subscriber_and_a_clock_may_use_the_handle_when_the_breaker_opens_and_closes() {
    let (caller, clock) = (Caller::default(), ManualClock::at(START));
    let _subscribed = subscribe(&caller);
    let sandbox = Sandbox::start_with_clock(clock.clone()).await.unwrap();
    let apigee = sandbox.apigee().clock(CallingClock(caller.clone(), clock.clone()));
    let apigee =
        apigee.limits(Limits::new().max_retries(0).breaker_threshold(1).breaker_pause(secs(7))).build().unwrap();
    let cached = Cached::builder(apigee).clock(clock.clone()).build().unwrap();
    assert!(caller.0.handle.set(cached.handle()).is_ok());
    let token = sandbox.issue(SandboxToken::new());

    sandbox.set_fault(Fault::Reset);
    assert!(patiently(cached.introspect(Ask::new(&bearer(&token)))).await.is_err());
    let breaker = || cached.handle().stats().endpoint.unwrap().breaker;
    assert_eq!(breaker(), BreakerState::Open);
    sandbox.clear_fault();
    clock.advance(secs(7));
    assert!(patiently(cached.introspect(Ask::new(&bearer(&token)))).await.unwrap().is_active());
    assert_eq!(breaker(), BreakerState::Closed);
    caller.check();
}

#[cfg(all(feature = "test-util", feature = "metrics"))]
mod recorder {
    use metrics::{
        Counter, CounterFn, Gauge, GaugeFn, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder, SharedString,
        Unit,
    };

    use super::*;

    struct CallingRecorder(Caller);

    impl CounterFn for CallingRecorder {
        fn increment(&self, _: u64) {
            self.0.call();
        }

        fn absolute(&self, _: u64) {
            self.0.call();
        }
    }

    impl GaugeFn for CallingRecorder {
        fn increment(&self, _: f64) {
            self.0.call();
        }

        fn decrement(&self, _: f64) {
            self.0.call();
        }

        fn set(&self, _: f64) {
            self.0.call();
        }
    }

    impl HistogramFn for CallingRecorder {
        fn record(&self, _: f64) {
            self.0.call();
        }
    }

    impl Recorder for CallingRecorder {
        fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
        fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
        fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

        fn register_counter(&self, _: &Key, _: &Metadata<'_>) -> Counter {
            Counter::from_arc(Arc::new(Self(self.0.clone())))
        }

        fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
            Gauge::from_arc(Arc::new(Self(self.0.clone())))
        }

        fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
            Histogram::from_arc(Arc::new(Self(self.0.clone())))
        }
    }

    struct RegisteringRecorder(Caller);

    impl Recorder for RegisteringRecorder {
        fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {
            self.0.call();
        }

        fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {
            self.0.call();
        }

        fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {
            self.0.call();
        }

        fn register_counter(&self, _: &Key, _: &Metadata<'_>) -> Counter {
            self.0.call();
            Counter::noop()
        }

        fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
            self.0.call();
            Gauge::noop()
        }

        fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
            self.0.call();
            Histogram::noop()
        }
    }

    #[tokio::test]
    async fn a_recorder_of_metrics_may_use_the_handle_when_it_is_told_of_a_metric() {
        let caller = Caller::default();
        let recorder = RegisteringRecorder(caller.clone());
        let _recorded = metrics::set_default_local_recorder(&recorder);
        let cached = Cached::new(Authority::new(active()));
        assert!(caller.0.handle.set(cached.handle()).is_ok());
        let _ = cached.handle().stats();
        caller.check();
    }

    #[tokio::test]
    async fn a_recorder_of_metrics_may_use_the_handle_whatever_becomes_of_a_token() {
        let caller = Caller::default();
        let recorder = CallingRecorder(caller.clone());
        let _recorded = metrics::set_default_local_recorder(&recorder);
        live(&caller, |clock| clock).await;
    }
}

/// A question under way, with the last copies of two predicates of which the second is true.
async fn invalidated_while_under_way(answer: Answer) -> (Authority, Cached<Authority>, Caller, JoinHandle<Answer>) {
    let ((authority, cached, waiting), caller) = (under_way(answer).await, Caller::default());
    assert!(caller.0.handle.set(cached.handle()).is_ok());
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
        let _ = patiently(waiting).await.unwrap();
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

/// Runs a test on a thread of its own, so that one that waits for a lock which it holds itself fails instead of
/// hanging.
fn in_time<F: Future<Output = ()>>(test: impl FnOnce() -> F + Send + 'static) {
    let (done, is_done) = mpsc::channel();
    let thread = thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(test());
        done.send(())
    });
    match is_done.recv_timeout(secs(30)) {
        Err(RecvTimeoutError::Timeout) => panic!("it waits for itself"),
        Ok(()) | Err(RecvTimeoutError::Disconnected) => assert!(thread.join().is_ok(), "as it said"),
    }
}

#[test]
fn what_a_predicate_invalidates_while_an_answer_waits_for_it_is_asked_anew() {
    in_time(async || {
        let (authority, cached, waiting) = under_way(active()).await;
        let handle = cached.handle();
        cached.handle().invalidate_where(move |_| {
            handle.invalidate(&bearer("abc"));
            false
        });
        authority.release();
        authority.asked(2).await;
        authority.says(inactive(InactiveReason::Revoked));
        authority.release();
        assert!(!patiently(waiting).await.unwrap().unwrap().is_active());
        assert_eq!(authority.questions(), 2);
    });
}

/// Each adds the next one when it is called.
fn add_predicates(count: usize, handle: &CacheHandle) {
    let then = handle.clone();
    handle.invalidate_where(move |_| {
        if count > 1 {
            add_predicates(count - 1, &then);
        }
        false
    });
}

#[test]
fn an_answer_does_not_wait_for_predicates_that_go_on_and_on() {
    in_time(async || {
        let (authority, cached, waiting) = under_way(active()).await;
        add_predicates(1_000, &cached.handle());
        authority.release();
        authority.asked(2).await;
        authority.release();
        assert!(patiently(waiting).await.unwrap().unwrap().is_active());
    });
}

#[tokio::test]
async fn a_predicate_that_panics_takes_one_question_along_and_not_the_cache() {
    let (authority, cached, waiting) = under_way(active()).await;
    cached.handle().invalidate_where(|_| panic!("a predicate of the test"));
    authority.release();
    assert_eq!(patiently(waiting).await.unwrap().unwrap_err().kind(), IntrospectErrorKind::Abandoned);
    authority.release();
    assert!(cached.introspect(Ask::new(&bearer("abc"))).await.unwrap().is_active());
}
