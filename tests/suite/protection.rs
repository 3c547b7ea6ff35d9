//! Every setting of the protection does something, over sockets and for both endpoints.
#![cfg(all(feature = "sandbox", feature = "test-util"))]

use std::sync::Arc;

use crate::support::*;
use tower_introspection::Introspect;
use tower_introspection::clock::ManualClock;
use tower_introspection::connection::Limits;
use tower_introspection::introspect::Ask;
use tower_introspection::introspect::{AnyIntrospector, IntrospectErrorKind};
use tower_introspection::sandbox::{Fault, Sandbox, SandboxToken};
use tower_introspection::stats::{BreakerState, EndpointHandle};

/// One endpoint with one setting, asking a sandbox.
struct Case {
    sandbox: Sandbox,
    clock: ManualClock,
    introspector: Arc<AnyIntrospector>,
}

macro_rules! each_endpoint {
    ($($setting:ident($($value:expr),*)),* => $test:expr) => {
        for is_apigee in [true, false] {
            let clock = ManualClock::at(START);
            let sandbox = Sandbox::start_with_clock(clock.clone()).await.unwrap();
            let introspector = if is_apigee {
                AnyIntrospector::new(sandbox.apigee().clock(clock.clone())$(.$setting($($value),*))*.build().unwrap())
            } else {
                AnyIntrospector::new(sandbox.rfc7662().clock(clock.clone())$(.$setting($($value),*))*.build().unwrap())
            };
            let test = $test;
            test(Case { sandbox, clock, introspector: Arc::new(introspector) }).await;
        }
    };
}

impl Case {
    async fn ask(&self) -> Result<bool, IntrospectErrorKind> {
        let token = self.sandbox.issue(SandboxToken::new());
        let answer = self.introspector.introspect(Ask::new(&bearer(&token))).await;
        answer.map(|verdict| verdict.is_active()).map_err(|error| error.kind())
    }

    fn endpoint(&self) -> EndpointHandle {
        self.introspector.endpoint().unwrap()
    }
}

#[tokio::test]
async fn max_retries_is_how_often_a_question_is_asked_again() {
    each_endpoint!(limits(Limits::new().max_retries(1)) => async |case: Case| {
        case.sandbox.set_fault(Fault::Status(503));
        assert_eq!(case.ask().await, Err(IntrospectErrorKind::Status));
        assert_eq!(case.sandbox.total_calls(), 2);
    });
    each_endpoint!(limits(Limits::new().max_retries(0)) => async |case: Case| {
        case.sandbox.set_fault(Fault::Status(503));
        assert_eq!(case.ask().await, Err(IntrospectErrorKind::Status));
        assert_eq!(case.sandbox.total_calls(), 1);
    });
    each_endpoint!(limits(Limits::new().max_wait(secs(1))) => async |case: Case| {
        case.sandbox.set_fault(Fault::Reset);
        assert_eq!(case.ask().await, Err(IntrospectErrorKind::Transport));
        assert_eq!(case.sandbox.total_calls(), 3, "two retries unless it is set");
    });
}

#[tokio::test]
async fn breaker_threshold_is_after_how_many_failures_nobody_is_asked() {
    each_endpoint!(limits(Limits::new().max_retries(0).breaker_threshold(2)) => async |case: Case| {
        case.sandbox.set_fault(Fault::Reset);
        for _ in 0..2 {
            assert_eq!(case.ask().await, Err(IntrospectErrorKind::Transport));
        }
        assert_eq!(case.ask().await, Err(IntrospectErrorKind::CircuitOpen));
        assert_eq!(case.sandbox.total_calls(), 2);
    });
    each_endpoint!(limits(Limits::new().max_retries(0).breaker_threshold(u32::MAX)) => async |case: Case| {
        case.sandbox.set_fault(Fault::Reset);
        for _ in 0..10 {
            assert_eq!(case.ask().await, Err(IntrospectErrorKind::Transport));
        }
    });
}

#[tokio::test]
async fn breaker_pause_is_how_long_nobody_is_asked() {
    each_endpoint!(limits(Limits::new().max_retries(0).breaker_threshold(1).breaker_pause(secs(7))) => async |case: Case| {
        case.sandbox.set_fault(Fault::Reset);
        assert_eq!(case.ask().await, Err(IntrospectErrorKind::Transport));
        case.sandbox.clear_fault();
        case.clock.advance(millis(6_999));
        assert_eq!(case.ask().await, Err(IntrospectErrorKind::CircuitOpen));
        case.clock.advance(millis(1));
        assert_eq!(case.ask().await, Ok(true));
        assert_eq!(case.endpoint().stats().breaker, BreakerState::Closed);
    });
}

#[tokio::test]
async fn rate_limit_is_how_many_questions_are_asked_in_a_time() {
    each_endpoint!(limits(Limits::new().rate_limit(1, secs(10)).max_wait(secs(0))) => async |case: Case| {
        assert_eq!(case.ask().await, Ok(true));
        assert_eq!(case.ask().await, Err(IntrospectErrorKind::Overloaded));
        case.clock.advance(millis(10_001));
        assert_eq!(case.ask().await, Ok(true));
        assert_eq!(case.sandbox.total_calls(), 2);
        assert_eq!(case.endpoint().stats().turned_away, 1);
    });
}

#[tokio::test]
async fn max_wait_is_how_long_a_question_waits_for_the_rate_limit() {
    each_endpoint!(limits(Limits::new().rate_limit(1, millis(500)).max_wait(secs(0))) => async |case: Case| {
        assert_eq!(case.ask().await, Ok(true));
        assert_eq!(case.ask().await, Err(IntrospectErrorKind::Overloaded));
    });
    each_endpoint!(limits(Limits::new().rate_limit(1, secs(10)).max_wait(secs(21))), request_timeout(secs(60)) => async |case: Case| {
        assert_eq!(case.ask().await, Ok(true));
        let case = Arc::new(case);
        let second = tokio::spawn({
            let case = Arc::clone(&case);
            async move { case.ask().await }
        });
        until(|| case.endpoint().stats().waiting > 0 || second.is_finished()).await;
        assert_eq!((case.endpoint().stats().waiting, case.endpoint().stats().turned_away), (1, 0));
        second.abort();
    });
}

#[tokio::test]
async fn max_concurrent_requests_and_max_wait_bound_who_is_under_way_and_who_waits() {
    each_endpoint!(limits(Limits::new().max_concurrent_requests(1).max_wait(secs(0))), request_timeout(secs(60)) => async |case: Case| {
        case.sandbox.set_fault(Fault::Hang);
        let case = Arc::new(case);
        let hanging = tokio::spawn({
            let case = Arc::clone(&case);
            async move { case.ask().await }
        });
        until(|| case.sandbox.total_calls() > 0).await;
        assert_eq!(case.endpoint().stats().under_way, 1);
        assert_eq!(case.ask().await, Err(IntrospectErrorKind::Overloaded));
        hanging.abort();
        assert!(hanging.await.unwrap_err().is_cancelled());
        case.sandbox.clear_fault();
        assert_eq!(case.ask().await, Ok(true), "its place is free again");
    });
    // One that may wait does, until the first is done.
    each_endpoint!(limits(Limits::new().max_concurrent_requests(1).max_wait(secs(60))), request_timeout(secs(30)) => async |case: Case| {
        case.sandbox.set_fault(Fault::Hang);
        let case = Arc::new(case);
        let spawn = || {
            let case = Arc::clone(&case);
            tokio::spawn(async move { case.ask().await })
        };
        let first = spawn();
        until(|| case.sandbox.total_calls() > 0).await;
        let second = spawn();
        until(|| case.endpoint().stats().waiting > 0).await;
        case.sandbox.clear_fault();
        first.abort();
        assert_eq!(patiently(second).await.unwrap(), Ok(true));
        assert_eq!(case.endpoint().stats().waiting, 0);
    });
}

#[tokio::test]
async fn a_setting_that_cannot_work_is_refused_by_both_builders() {
    let sandbox = Sandbox::start().await.unwrap();
    macro_rules! refused {
        ($setting:ident($($value:expr),*)) => {
            let limits = Limits::new().$setting($($value),*);
            let error = sandbox.apigee().limits(limits.clone()).build().unwrap_err();
            assert_eq!(error.setting(), stringify!($setting));
            let error = sandbox.rfc7662().limits(limits).build().unwrap_err();
            assert_eq!(error.setting(), stringify!($setting));
        };
    }
    refused!(max_concurrent_requests(0));
    refused!(rate_limit(0, secs(60)));
    refused!(rate_limit(1, secs(0)));
    refused!(breaker_threshold(0));
    refused!(breaker_pause(secs(0)));
}
