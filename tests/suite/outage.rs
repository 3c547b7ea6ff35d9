//! The drill: the endpoint goes down for half a minute while the service is in use.
#![cfg(all(feature = "sandbox", feature = "test-util"))]

use std::convert::Infallible;

use crate::support::*;
use http::{Response, StatusCode};
use tokio::task::JoinSet;
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_introspection::clock::ManualClock;
use tower_introspection::connection::Limits;
use tower_introspection::rejection::RejectionKind;
use tower_introspection::sandbox::{Fault, Sandbox, SandboxToken};
use tower_introspection::stats::{BreakerState, Health};
use tower_introspection::{AccessToken, CacheHandle, Cached, IntrospectionLayer};

const TOKENS: usize = 50;

struct Drill {
    sandbox: Sandbox,
    clock: ManualClock,
    cache: CacheHandle,
    tokens: Vec<String>,
}

/// The status, whether the token that came in was stale, and `Retry-After`.
type Outcome = (StatusCode, bool, Option<String>);

trait Guarded:
    Service<http::Request<String>, Response = Response<String>, Error = Infallible, Future: Send> + Clone + Send + 'static
{
}

impl<S> Guarded for S where
    S: Service<http::Request<String>, Response = Response<String>, Error = Infallible, Future: Send>
        + Clone
        + Send
        + 'static
{
}

async fn ask(service: &impl Guarded, token: &str) -> Outcome {
    let mut service = service.clone();
    let response = service.ready().await.unwrap().call(request(&format!("Bearer {token}"))).await.unwrap();
    let retry_after = response.headers().get("retry-after").map(|value| value.to_str().unwrap().to_owned());
    (response.status(), response.body() == "true", retry_after)
}

impl Drill {
    async fn start() -> (Self, impl Guarded) {
        let clock = ManualClock::at(START);
        let sandbox = Sandbox::start_with_clock(clock.clone()).await.unwrap();
        let apigee = sandbox.apigee().clock(clock.clone()).limits(Limits::new().max_retries(0)).build().unwrap();
        let builder = Cached::builder(apigee).clock(clock.clone()).max_ttl(secs(5)).stale_if_error(secs(60));
        let cached = builder.build().unwrap();
        let cache = cached.handle();
        let service = IntrospectionLayer::new(cached).layer(service_fn(|request: http::Request<String>| async move {
            let is_stale = request.extensions().get::<AccessToken>().unwrap().is_stale();
            Ok::<_, Infallible>(Response::new(is_stale.to_string()))
        }));
        let tokens = (0..TOKENS).map(|_| sandbox.issue(SandboxToken::new())).collect();
        (Self { sandbox, clock, cache, tokens }, service)
    }
}

#[tokio::test]
async fn tokens_in_use_come_in_throughout_an_outage_and_one_probe_ends_it() {
    let (drill, service) = Drill::start().await;
    let Drill { sandbox, clock, cache, tokens } = &drill;
    for token in tokens {
        assert_eq!(ask(&service, token).await, (StatusCode::OK, false, None));
    }
    assert_eq!(sandbox.total_calls(), TOKENS as u64);
    let stranger = sandbox.issue(SandboxToken::new());

    sandbox.set_fault(Fault::Reset);
    let mut stale = 0;
    let mut calls_before_open = 0;
    for tenth in 0..300 {
        if tenth == 60 {
            calls_before_open = sandbox.total_calls();
        }
        clock.advance(millis(100));
        for token in tokens {
            let (status, is_stale, _) = ask(&service, token).await;
            assert_eq!(status, StatusCode::OK);
            stale += u64::from(is_stale);
        }
        let (status, _, retry_after) = ask(&service, &stranger).await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        assert!((1..=30).contains(&retry_after.unwrap().parse::<u32>().unwrap()));
    }
    // Until the breakers open, what is under way at the time; then a probe after one second, two, four, eight and so
    // on, for strangers and for tokens in use.
    let calls = sandbox.total_calls() - calls_before_open;
    assert!((2..=8).contains(&calls), "{calls} questions in the last 24 of 30 seconds of outage");
    assert!(stale > 10_000, "{stale} of 15,000");
    assert_eq!(cache.stats().stale_served, stale);

    sandbox.clear_fault();
    let breaker = || cache.stats().endpoint.unwrap().breaker;
    for _ in 0..300 {
        if breaker() == BreakerState::Open {
            clock.advance(millis(100));
        }
    }
    assert_ne!(breaker(), BreakerState::Open, "a pause is 30 seconds at most");
    assert_eq!(cache.health(), Health::Recovering);
    let before = sandbox.total_calls();
    assert_eq!(ask(&service, &tokens[0]).await, (StatusCode::OK, false, None));
    assert_eq!(sandbox.total_calls() - before, 1, "the probe");
    assert_eq!(
        (cache.health(), breaker()),
        (Health::Healthy, BreakerState::HalfOpen),
        "strangers have their own probe"
    );
    for token in tokens {
        assert_eq!(ask(&service, token).await, (StatusCode::OK, false, None));
    }
    assert_eq!(ask(&service, &stranger).await.0, StatusCode::OK);
    assert_eq!(breaker(), BreakerState::Closed);
}

#[tokio::test]
async fn of_many_requests_at_the_end_of_a_pause_one_is_the_probe() {
    let (drill, service) = Drill::start().await;
    let Drill { sandbox, clock, tokens, .. } = &drill;
    for token in tokens {
        ask(&service, token).await;
    }
    sandbox.set_fault(Fault::Reset);
    clock.advance(secs(6));
    for token in &tokens[..5] {
        assert_eq!(ask(&service, token).await, (StatusCode::OK, true, None));
    }
    clock.advance(secs(1));
    let before = sandbox.total_calls();
    let mut asking = JoinSet::new();
    for token in tokens.clone() {
        let service = service.clone();
        asking.spawn(async move { ask(&service, &token).await });
    }
    while let Some(answer) = patiently(asking.join_next()).await {
        assert_eq!(answer.unwrap(), (StatusCode::OK, true, None));
    }
    assert_eq!(sandbox.total_calls() - before, 1);
}

#[tokio::test]
async fn no_outage_lets_a_token_in_that_was_never_seen_and_none_turns_into_a_401() {
    let clock = ManualClock::at(START);
    let sandbox = Sandbox::start_with_clock(clock.clone()).await.unwrap();
    sandbox.set_fault(Fault::Reset);
    let apigee = sandbox.apigee().clock(clock.clone()).limits(Limits::new().max_retries(0)).build().unwrap();
    let cached = Cached::builder(apigee).clock(clock).stale_if_error(secs(60));
    let layer = IntrospectionLayer::new(cached.build().unwrap());
    for n in 0..20 {
        let response = layer.layer(Idle).oneshot(request(&format!("Bearer token-{n}"))).await.unwrap();
        assert_eq!(kind(&response), Some(RejectionKind::Unavailable));
    }
    assert_eq!(sandbox.total_calls(), 5);
    assert_eq!(layer.stats().rejected_by_kind, [(RejectionKind::Unavailable, 20)]);
}
