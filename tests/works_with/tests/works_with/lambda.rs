//! lambda_http: the layer in front of a handler, and what a process that is frozen between two events means for it.

use lambda_http::{Body, Error, Request, Response, service_fn};
use tower::ServiceBuilder;
use tower_introspection::{AccessToken, Cached, IntrospectionLayer, Rfc7662};

// Made once, outside of the handler: a cache made for each event would remember nothing.
fn guard(endpoint: Rfc7662) -> Result<IntrospectionLayer<Cached<Rfc7662>>, Error> {
    // A question asked ahead of time would be frozen with the process as soon as the response is sent.
    let cached = Cached::builder(endpoint).refresh_ahead(0.0).build()?;
    Ok(IntrospectionLayer::builder(cached).require_scope("orders.read").build()?)
}

async fn orders(request: Request) -> Result<Response<Body>, Error> {
    let client = request.extensions().get::<AccessToken>().and_then(AccessToken::client_id);
    Ok(Response::new(format!("the orders of {}", client.unwrap_or("somebody")).into()))
}

async fn run(endpoint: Rfc7662) -> Result<(), Error> {
    let service = ServiceBuilder::new().layer(guard(endpoint)?).service(service_fn(orders));
    lambda_http::run(service).await
}

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use lambda_http::request::LambdaRequest;
use lambda_http::{Adapter, Context, LambdaEvent, Service};
use tokio::runtime::Runtime;
use tower::ServiceExt;
use tower_introspection::clock::{ManualClock, Timestamp};
use tower_introspection::sandbox::Sandbox;
use tower_introspection::{Introspect, Verdict, introspect_fn};

use crate::support::issue;

/// What API Gateway hands to a function (payload format 2.0), made up.
fn event(token: &str) -> LambdaEvent<LambdaRequest> {
    let mut headers = serde_json::json!({ "host": "api.example.com" });
    if !token.is_empty() {
        headers["authorization"] = format!("Bearer {token}").into();
    }
    let payload = serde_json::json!({
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": "/orders",
        "rawQueryString": "",
        "headers": headers,
        "requestContext": {
            "accountId": "1",
            "apiId": "a",
            "domainName": "api.example.com",
            "domainPrefix": "api",
            "http": {
                "method": "GET", "path": "/orders", "protocol": "HTTP/1.1", "sourceIp": "127.0.0.1", "userAgent": "x"
            },
            "requestId": "r",
            "routeKey": "$default",
            "stage": "$default",
            "time": "01/Jan/2026:00:00:00 +0000",
            "timeEpoch": 0
        },
        "isBase64Encoded": false
    });
    LambdaEvent::new(serde_json::from_value(payload).unwrap(), Context::default())
}

async fn invoke<S, E>(service: S, token: &str) -> serde_json::Value
where
    S: Service<lambda_http::Request, Response = Response<Body>, Error = E>,
    S::Future: Send + 'static,
    E: std::fmt::Debug,
{
    let response = Adapter::from(service).oneshot(event(token)).await.unwrap();
    serde_json::to_value(&response).unwrap()
}

/// Only to see that it can be run; nothing calls it.
#[allow(dead_code)]
fn is_a_main() {
    let _ = run;
}

#[tokio::test]
async fn a_function_is_guarded_and_a_refusal_goes_back_through_the_gateway() {
    let sandbox = Sandbox::start().await.unwrap();
    let guard = guard(sandbox.rfc7662().build().unwrap()).unwrap();
    let service = ServiceBuilder::new().layer(guard).service(service_fn(orders));
    let token = issue(&sandbox);
    for _miss_and_hit in 0..2 {
        let answer = invoke(service.clone(), &token).await;
        assert_eq!((&answer["statusCode"], &answer["body"]), (&200.into(), &"the orders of web-shop".into()));
    }
    assert_eq!(sandbox.calls(&token), 1);
    let refused = invoke(service, "").await;
    assert_eq!(refused["statusCode"], 401);
    assert_eq!(refused["headers"]["www-authenticate"], r#"Bearer realm="api""#, "{refused}");
}

/// A runtime that runs only while an event is handled, as in a process that is frozen from one to the next.
struct Frozen {
    runtime: Runtime,
    clock: ManualClock,
    asked: Arc<AtomicUsize>,
}

impl Frozen {
    fn new() -> Self {
        Self {
            runtime: tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap(),
            clock: ManualClock::at(Timestamp::from_unix_millis(1_700_000_000_000)),
            asked: Arc::default(),
        }
    }

    /// Its answers take until the task is run again.
    fn cached(&self, refresh_ahead: f64) -> Cached<impl Introspect> {
        let asked = Arc::clone(&self.asked);
        let authority = introspect_fn(move |_| {
            asked.fetch_add(1, Ordering::SeqCst);
            async {
                tokio::task::yield_now().await;
                Ok(Verdict::Active(AccessToken::builder().client_id("web-shop").build()))
            }
        });
        let cached = Cached::builder(authority).clock(self.clock.clone()).refresh_ahead(refresh_ahead);
        cached.refresh_ahead_uses(1).build().unwrap()
    }
}

#[test]
fn while_the_process_is_frozen_an_answer_goes_on_ageing() {
    let frozen = Frozen::new();
    let guard = IntrospectionLayer::new(frozen.cached(0.0));
    let service = ServiceBuilder::new().layer(guard).service(service_fn(orders));
    let invoke = || frozen.runtime.block_on(invoke(service.clone(), "abc"))["statusCode"].clone();
    assert_eq!((invoke(), invoke(), frozen.asked.load(Ordering::SeqCst)), (200.into(), 200.into(), 1));
    frozen.clock.advance(Duration::from_secs(61));
    assert_eq!((invoke(), frozen.asked.load(Ordering::SeqCst)), (200.into(), 2), "asked anew, not served from before");
}

#[test]
fn a_question_that_was_frozen_is_not_taken_for_news_when_the_process_goes_on() {
    let frozen = Frozen::new();
    let cached = frozen.cached(0.5);
    let handle = cached.handle();
    let service = ServiceBuilder::new().layer(IntrospectionLayer::new(cached)).service(service_fn(orders));
    let invoke = || {
        frozen.runtime.block_on(async {
            let answer = invoke(service.clone(), "abc").await;
            // A question asked ahead of time leaves before the process is frozen.
            tokio::task::yield_now().await;
            answer["statusCode"].clone()
        })
    };
    assert_eq!(invoke(), 200);
    frozen.clock.advance(Duration::from_secs(59));
    assert_eq!(invoke(), 200);
    let under_way = handle.stats().questions_under_way;
    assert_eq!((under_way, frozen.asked.load(Ordering::SeqCst)), (1, 2), "asked ahead of time, and frozen");
    frozen.clock.advance(Duration::from_secs(3_600));
    assert_eq!(invoke(), 200);
    assert_eq!(frozen.asked.load(Ordering::SeqCst), 3, "its answer is an hour old, so another question was asked");
}
