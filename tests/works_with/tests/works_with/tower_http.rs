//! tower-http: which of its layers go outside of the guard, in which order, and why.

use std::time::Duration;

use axum::{Router, routing::get};
use http::header::{AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, Method, StatusCode};
use tower::ServiceBuilder;
use tower_http::{
    catch_panic::CatchPanicLayer, compression::CompressionLayer, cors::CorsLayer,
    sensitive_headers::SetSensitiveRequestHeadersLayer, timeout::TimeoutLayer, trace::TraceLayer,
};
use tower_introspection::{AccessToken, Introspect, IntrospectionLayer};

fn app(guard: IntrospectionLayer<impl Introspect>) -> Router {
    let cors = CorsLayer::new()
        .allow_origin(HeaderValue::from_static("https://shop.example.com"))
        .allow_methods([Method::GET, Method::POST])
        // By name: `*` never covers `Authorization`.
        .allow_headers([AUTHORIZATION, CONTENT_TYPE])
        // Without this a script sees the status 401 or 503, and nothing else of it.
        .expose_headers([WWW_AUTHENTICATE, RETRY_AFTER]);
    let layers = ServiceBuilder::new()
        // Before whatever logs headers.
        .layer(SetSensitiveRequestHeadersLayer::new([AUTHORIZATION]))
        // Sees every answer, those of the layers below as well.
        .layer(TraceLayer::new_for_http())
        // Answers preflights, and puts its headers on every answer from below.
        .layer(cors)
        // For panics of your rules, too.
        .layer(CatchPanicLayer::new())
        // The time includes what the guard waits for.
        .layer(TimeoutLayer::with_status_code(StatusCode::GATEWAY_TIMEOUT, Duration::from_secs(10)))
        .layer(CompressionLayer::new())
        .layer(guard);
    Router::new().route("/orders", get(orders)).layer(layers)
}

async fn orders(token: AccessToken) -> String {
    format!("the orders of {}", token.client_id().unwrap_or("somebody"))
}

use std::sync::Arc;

use tokio::sync::Semaphore;
use tower_introspection::introspect::IntrospectErrorKind;
use tower_introspection::rejection::RejectionKind;
use tower_introspection::sandbox::SandboxToken;
use tower_introspection::{Cached, IntrospectError, Verdict, introspect_fn};

use crate::support::{answer, issue, request, sandbox};

const ORIGIN: &str = "https://shop.example.com";
const GZIP: HeaderValue = HeaderValue::from_static("gzip");

#[tokio::test]
async fn a_request_with_a_token_goes_through_all_of_them_and_its_answer_comes_back_compressed() {
    let (sandbox, guard) = sandbox().await;
    let app = app(guard.build().unwrap());
    // Shorter answers are not worth it, by the layer's default.
    let token = sandbox.issue(SandboxToken::new().client_id("a-client-with-a-long-name"));
    let plain = answer(&app, request(&token)).await;
    assert_eq!((plain.status(), plain.body().as_str()), (StatusCode::OK, "the orders of a-client-with-a-long-name"));
    let compressed = answer(&app, request(&token).header("accept-encoding", "gzip")).await;
    assert_eq!((compressed.status(), &compressed.headers()["content-encoding"]), (StatusCode::OK, &GZIP));
}

#[tokio::test]
async fn a_refusal_has_the_headers_of_cors_and_its_own() {
    let (_sandbox, guard) = sandbox().await;
    let refused = answer(&app(guard.build().unwrap()), request("").header("origin", ORIGIN)).await;
    assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(refused.extensions().get(), Some(&RejectionKind::MissingToken), "for layers outside");
    assert_eq!(refused.headers()["www-authenticate"], r#"Bearer realm="api""#);
    assert_eq!(refused.headers()["access-control-allow-origin"], ORIGIN);
    assert_eq!(refused.headers()["access-control-expose-headers"], "www-authenticate,retry-after");
}

#[tokio::test]
async fn a_preflight_is_answered_without_a_token() {
    let (_sandbox, guard) = sandbox().await;
    let preflight = request("")
        .method(Method::OPTIONS)
        .header("origin", ORIGIN)
        .header("access-control-request-method", "POST")
        .header("access-control-request-headers", "authorization,content-type");
    let allowed = answer(&app(guard.build().unwrap()), preflight).await;
    assert_eq!(allowed.status(), StatusCode::OK);
    assert_eq!(allowed.headers()["access-control-allow-headers"], "authorization,content-type");
}

#[tokio::test]
async fn a_panic_of_a_rule_is_an_answer_that_a_script_can_read() {
    let (sandbox, guard) = sandbox().await;
    let app = app(guard.authorize(|_, _| panic!("a fault in a rule")).build().unwrap());
    let failed = answer(&app, request(&issue(&sandbox)).header("origin", ORIGIN)).await;
    assert_eq!(failed.status(), StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(failed.headers()["access-control-allow-origin"], ORIGIN);
}

#[tokio::test(start_paused = true)]
async fn a_timeout_outside_bounds_the_wait_for_the_authority_and_the_question_goes_on() {
    let (asked, released) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let cached = Cached::new({
        let (asked, released) = (Arc::clone(&asked), Arc::clone(&released));
        introspect_fn(move |_| {
            let (asked, released) = (Arc::clone(&asked), Arc::clone(&released));
            async move {
                asked.add_permits(1);
                let Ok(permit) = released.acquire().await else {
                    return Err(IntrospectError::new(IntrospectErrorKind::Transport));
                };
                permit.forget();
                Ok(Verdict::Active(AccessToken::builder().client_id("late").build()))
            }
        })
    });
    let handle = cached.handle();
    let app = app(IntrospectionLayer::new(cached));
    assert_eq!(answer(&app, request("abc")).await.status(), StatusCode::GATEWAY_TIMEOUT);
    assert_eq!(handle.stats().questions_under_way, 1, "for whoever comes next");
    released.add_permits(1);
    assert_eq!(answer(&app, request("abc")).await.body(), "the orders of late");
    assert_eq!(asked.available_permits(), 1, "one question");
}
