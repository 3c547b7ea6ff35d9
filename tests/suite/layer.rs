//! The layer around a service: who comes in, and how the inner service is treated.

use crate::support::requires;
use std::convert::Infallible;
use std::future::{Ready, ready};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use tower_introspection::Policy;

use crate::support::*;
use http::{HeaderName, Request, Response, StatusCode};
use tower::buffer::Buffer;
use tower::limit::ConcurrencyLimit;
use tower::{Layer, Service, ServiceExt};
use tower_introspection::introspect::IntrospectErrorKind;
use tower_introspection::rejection::RejectionKind;
use tower_introspection::source::{TokenCookie, TokenHeader, token_source_fn};
use tower_introspection::{
    AccessToken, Cached, InactiveReason, Introspect, IntrospectionLayer, Verdict, introspect_fn,
};

/// Says what it saw of the request, and panics if it is called without having been polled ready.
#[derive(Default)]
struct Inner {
    ready: bool,
    calls: Arc<AtomicUsize>,
}

impl Clone for Inner {
    fn clone(&self) -> Self {
        Self { ready: false, calls: Arc::clone(&self.calls) }
    }
}

impl Service<Request<String>> for Inner {
    type Response = Response<String>;
    type Error = Infallible;
    type Future = Ready<Result<Response<String>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.ready = true;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<String>) -> Self::Future {
        assert!(std::mem::take(&mut self.ready), "called without being ready");
        self.calls.fetch_add(1, Ordering::SeqCst);
        let client = request.extensions().get::<AccessToken>().map(|token| token.client_id().unwrap_or("?").to_owned());
        ready(Ok(Response::new(format!("{client:?} {:?} {}", request.headers(), request.body()))))
    }
}

async fn send(
    service: impl Service<Request<String>, Response = Response<String>, Error = Infallible>,
    request: Request<String>,
) -> Response<String> {
    service.oneshot(request).await.unwrap()
}

fn guarded(
    authority: &Authority,
) -> impl Service<Request<String>, Response = Response<String>, Error = Infallible> + Clone + use<> {
    IntrospectionLayer::new(Cached::new(authority.clone())).layer(Inner::default())
}

#[tokio::test]
async fn an_active_token_comes_in_with_its_facts_whether_it_is_a_hit_or_a_miss() {
    let authority = Authority::new(active());
    let service = guarded(&authority);
    for _ in 0..2 {
        let response = send(service.clone(), request("Bearer abc")).await;
        assert_eq!(response.status(), StatusCode::OK);
        assert!(response.body().starts_with("Some(\"weather-app\")"), "{}", response.body());
        assert_eq!(kind(&response), None);
    }
    assert_eq!(authority.questions(), 1);
}

#[tokio::test]
async fn every_rejection_keeps_the_request_from_the_inner_service() {
    let authority = Authority::new(active());
    let inner = Inner::default();
    let service =
        IntrospectionLayer::builder(authority.clone()).require_scope("admin").build().unwrap().layer(inner.clone());
    let cases = [
        (active(), "", RejectionKind::MissingToken),
        (active(), "Basic abc", RejectionKind::MissingToken),
        (active(), "Bearer a b", RejectionKind::InvalidRequest),
        (active(), "Bearer abc", RejectionKind::InsufficientScope),
        (inactive(InactiveReason::Unknown), "Bearer abc", RejectionKind::InvalidToken),
        (inactive(InactiveReason::Revoked), "Bearer abc", RejectionKind::InvalidToken),
        (inactive(InactiveReason::Expired), "Bearer abc", RejectionKind::InvalidToken),
        (inactive(InactiveReason::NotYetValid), "Bearer abc", RejectionKind::InvalidToken),
        (inactive(InactiveReason::Unclear), "Bearer abc", RejectionKind::InvalidToken),
        (failure(IntrospectErrorKind::Timeout), "Bearer abc", RejectionKind::Unavailable),
        (failure(IntrospectErrorKind::Credentials), "Bearer abc", RejectionKind::Unavailable),
        (failure(IntrospectErrorKind::Overloaded), "Bearer abc", RejectionKind::Overloaded),
    ];
    for (answer, authorization, expected) in cases {
        authority.says(answer);
        assert_eq!(kind(&send(service.clone(), request(authorization)).await), Some(expected), "{authorization}");
    }
    assert_eq!(inner.calls.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn no_method_path_or_upgrade_is_a_way_past_the_layer() {
    let authority = Authority::new(active());
    let inner = Inner::default();
    let service = IntrospectionLayer::new(Cached::new(authority.clone())).layer(inner.clone());
    for path in [
        "/healthz",
        "/health",
        "/metrics",
        "/favicon.ico",
        "/.well-known/oauth-protected-resource",
        "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    ] {
        for method in ["GET", "HEAD", "OPTIONS", "TRACE", "PROPFIND"] {
            for upgrade in [None, Some("websocket")] {
                let mut request = Request::builder().method(method).uri(path);
                if method == "OPTIONS" {
                    request = request.header("origin", "https://app.example");
                    request = request.header("access-control-request-method", "DELETE");
                    request = request.header("access-control-request-headers", "authorization");
                }
                if let Some(protocol) = upgrade {
                    request = request.header("connection", "upgrade").header("upgrade", protocol);
                }
                let response = send(service.clone(), request.body(String::new()).unwrap()).await;
                assert_eq!(kind(&response), Some(RejectionKind::MissingToken), "{method} {path} {upgrade:?}");
            }
        }
    }
    assert_eq!((inner.calls.load(Ordering::SeqCst), authority.questions()), (0, 0));
}

#[cfg(feature = "test-util")]
#[tokio::test]
async fn the_clock_is_asked_again_on_every_hit() {
    let authority = Authority::new(active_until(START + secs(10)));
    let (cached, clock) = cached(&authority, |builder| builder);
    let service = IntrospectionLayer::new(cached).layer(Inner::default());
    clock.set(START + millis(9_999));
    assert_eq!(send(service.clone(), request("Bearer abc")).await.status(), StatusCode::OK);
    assert_eq!(send(service.clone(), request("Bearer abc")).await.status(), StatusCode::OK);
    clock.set(START + secs(10));
    authority.says(inactive(InactiveReason::Expired));
    assert_eq!(kind(&send(service, request("Bearer abc")).await), Some(RejectionKind::InvalidToken));
}

#[tokio::test]
async fn a_failure_of_the_authority_is_a_503_and_never_a_401() {
    for failed in ERROR_KINDS {
        let response = send(guarded(&Authority::new(failure(failed))), request("Bearer abc")).await;
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE, "{failed:?}");
        assert_eq!(response.headers()["retry-after"], "5");
        assert!(!response.headers().contains_key("www-authenticate"));
    }
}

#[tokio::test]
async fn malformed_oversized_and_dotted_tokens_are_answered_without_any_question() {
    let authority = Authority::new(active());
    let service =
        IntrospectionLayer::builder(authority.clone()).max_token_length(5).build().unwrap().layer(Inner::default());
    for authorization in
        ["Bearer", "Bearer .", "Bearer ..", "Bearer a%2Fb", "Bearer a b", "Bearer abcdef", "Bearer \u{e9}"]
    {
        let response = send(service.clone(), request(authorization)).await;
        assert_eq!(kind(&response), Some(RejectionKind::InvalidRequest), "{authorization}");
    }
    assert_eq!(authority.questions(), 0);
    assert_eq!(send(service, request("Bearer abcde")).await.status(), StatusCode::OK);
}

#[tokio::test]
async fn unless_it_is_told_otherwise_a_token_has_4_096_bytes_at_most() {
    let service = guarded(&Authority::new(active()));
    let with = |length| request(&format!("Bearer {}", "a".repeat(length)));
    assert_eq!(send(service.clone(), with(4_096)).await.status(), StatusCode::OK);
    assert_eq!(kind(&send(service, with(4_097)).await), Some(RejectionKind::InvalidRequest));
}

#[tokio::test]
async fn policy_is_judged_on_every_request_and_on_a_hit_too() {
    let authority = Authority::new(active());
    let layer = IntrospectionLayer::builder(Cached::new(authority.clone()))
        .authorize(|token, request| {
            token.client_id() == Some("weather-app") && request.headers().contains_key("x-open")
        })
        .build()
        .unwrap();
    let service = layer.layer(Inner::default());
    let open =
        || Request::builder().header("authorization", "Bearer abc").header("x-open", "1").body(String::new()).unwrap();
    assert_eq!(kind(&send(service.clone(), request("Bearer abc")).await), Some(RejectionKind::Denied));
    assert_eq!(send(service.clone(), open()).await.status(), StatusCode::OK);
    assert_eq!(kind(&send(service.clone(), request("Bearer abc")).await), Some(RejectionKind::Denied));
    assert_eq!(send(service, open()).await.status(), StatusCode::OK);
    assert_eq!(authority.questions(), 1);
}

#[tokio::test]
async fn routes_with_different_scopes_share_one_cache_and_never_its_judgement() {
    let authority = Authority::new(active());
    let cached = Cached::new(authority.clone());
    let open =
        IntrospectionLayer::builder(cached.clone()).require_scope("read").build().unwrap().layer(Inner::default());
    let admin = IntrospectionLayer::builder(cached)
        .require_any_scope(["admin", "root"])
        .build()
        .unwrap()
        .layer(Inner::default());
    assert_eq!(send(open.clone(), request("Bearer abc")).await.status(), StatusCode::OK);
    assert_eq!(kind(&send(admin.clone(), request("Bearer abc")).await), Some(RejectionKind::InsufficientScope));
    assert_eq!(send(open, request("Bearer abc")).await.status(), StatusCode::OK);
    assert_eq!(kind(&send(admin, request("Bearer abc")).await), Some(RejectionKind::InsufficientScope));
    assert_eq!(authority.questions(), 1);
}

#[tokio::test]
async fn a_sender_constrained_token_is_refused_as_a_plain_bearer_token() {
    let bound = AccessToken::builder().claim("cnf", std::collections::BTreeMap::from([("jkt", "x")])).unwrap().build();
    let authority = Authority::new(Ok(Verdict::Active(bound)));
    let service = guarded(&authority);
    for _ in 0..2 {
        assert_eq!(kind(&send(service.clone(), request("Bearer abc")).await), Some(RejectionKind::InvalidToken));
    }
}

#[tokio::test]
async fn the_header_is_marked_sensitive_and_kept_unless_it_is_to_be_removed() {
    let response = send(guarded(&Authority::new(active())), request("Bearer abc")).await;
    assert!(response.body().contains(r#""authorization": Sensitive"#), "{}", response.body());
    let removing = IntrospectionLayer::builder(Authority::new(active())).remove_token(true).build().unwrap();
    let response = send(removing.layer(Inner::default()), request("Bearer abc")).await;
    assert!(!response.body().contains("authorization"), "{}", response.body());
}

#[tokio::test]
async fn the_rule_of_a_route_sees_the_header_as_sensitive() {
    let layer = IntrospectionLayer::builder(Authority::new(active()))
        .authorize(|_, request| request.headers()["authorization"].is_sensitive())
        .build()
        .unwrap();
    assert_eq!(send(layer.layer(Inner::default()), request("Bearer abc")).await.status(), StatusCode::OK);
}

#[tokio::test]
async fn the_rule_of_a_route_sees_what_holds_the_token_as_sensitive_in_every_place() {
    let layer = IntrospectionLayer::builder(Authority::new(active()))
        .token_source(TokenHeader::new(HeaderName::from_static("x-access-token")))
        .token_source(TokenCookie::new("t").unwrap())
        .authorize(|_, request| request.headers().values().all(http::HeaderValue::is_sensitive))
        .build()
        .unwrap();
    for (name, value) in [("x-access-token", "abc"), ("cookie", "t=abc"), ("authorization", "Bearer abc")] {
        let request = Request::builder().header(name, value).body(String::new()).unwrap();
        assert_eq!(send(layer.layer(Inner::default()), request).await.status(), StatusCode::OK, "{name}");
    }
}

#[tokio::test]
async fn settings_are_kept_whose_turn_was_before_the_one_that_says_how_rejections_are_rendered() {
    let authority = Authority::new(active());
    let layer = IntrospectionLayer::builder(authority.clone())
        .token_source(TokenHeader::new(HeaderName::from_static("x-access-token")))
        .authorization_header(false)
        .max_token_length(3)
        .remove_token(true)
        .optional(true)
        .problem_json()
        .build()
        .unwrap();
    let service = layer.layer(Inner::default());
    let with = |token: &str| Request::builder().header("x-access-token", token).body(String::new()).unwrap();
    let accepted = send(service.clone(), with("abc")).await;
    assert!(accepted.body().starts_with("Some"), "{}", accepted.body());
    assert!(!accepted.body().contains("x-access-token"), "{}", accepted.body());
    let too_long = send(service.clone(), with("abcd")).await;
    assert_eq!(kind(&too_long), Some(RejectionKind::InvalidRequest));
    assert_eq!(too_long.headers()["content-type"], "application/problem+json");
    assert_eq!(authority.questions(), 1);
    let anonymous = send(service, request("Bearer abc")).await;
    assert!(anonymous.body().starts_with("None"), "{}", anonymous.body());
    assert_eq!(authority.questions(), 1, "that header is not looked at");
}

#[tokio::test]
async fn other_token_sources_are_off_until_switched_on() {
    let authority = Authority::new(active());
    let custom = || Request::builder().header("x-access-token", "abc").body(String::new()).unwrap();
    assert_eq!(kind(&send(guarded(&authority), custom()).await), Some(RejectionKind::MissingToken));

    let header = TokenHeader::new(HeaderName::from_static("x-access-token"));
    let both = IntrospectionLayer::builder(authority.clone())
        .token_source(header.clone())
        .build()
        .unwrap()
        .layer(Inner::default());
    let response = send(both.clone(), custom()).await;
    assert!(response.body().contains(r#""x-access-token": Sensitive"#), "{}", response.body());
    assert_eq!(send(both.clone(), request("Bearer abc")).await.status(), StatusCode::OK);
    let mut twice = custom();
    twice.headers_mut().insert("authorization", "Bearer abc".parse().unwrap());
    assert_eq!(kind(&send(both, twice).await), Some(RejectionKind::InvalidRequest));

    let only = IntrospectionLayer::builder(authority)
        .token_source(header)
        .authorization_header(false)
        .remove_token(true)
        .build()
        .unwrap()
        .layer(Inner::default());
    assert_eq!(kind(&send(only.clone(), request("Bearer abc")).await), Some(RejectionKind::MissingToken));
    assert!(!send(only, custom()).await.body().contains("x-access-token"));
}

#[tokio::test]
async fn credentials_that_are_not_the_token_are_left_in_the_request() {
    let builder = || {
        IntrospectionLayer::builder(Authority::new(active()))
            .token_source(TokenHeader::new(HeaderName::from_static("x-access-token")))
            .remove_token(true)
    };
    // Of another scheme, or in a header that is not looked at.
    for (layer, authorization) in
        [(builder(), "Basic dXNlcjpwYXNz"), (builder().authorization_header(false), "Bearer other")]
    {
        let mut both = request(authorization);
        both.headers_mut().insert("x-access-token", "abc".parse().unwrap());
        let response = send(layer.build().unwrap().layer(Inner::default()), both).await;
        assert!(response.body().contains(r#""authorization": Sensitive"#), "{}", response.body());
        assert!(!response.body().contains("x-access-token"), "{}", response.body());
    }
}

#[tokio::test]
async fn a_long_token_that_the_layer_accepts_can_be_invalidated() {
    let long = "a".repeat(5_000);
    assert!(tower_introspection::BearerToken::parse(long.as_str()).is_err());
    let cached = Cached::new(Authority::new(active()));
    let layer = IntrospectionLayer::builder(cached.clone()).max_token_length(8_192).build().unwrap();
    send(layer.layer(Inner::default()), request(&format!("Bearer {long}"))).await;
    let token = tower_introspection::BearerToken::parse_within(long.as_str(), 8_192).unwrap();
    assert!(cached.cached(&token).is_some());
    cached.handle().invalidate(&token);
    assert!(cached.cached(&token).is_none());
}

#[tokio::test]
async fn a_closure_can_say_where_the_token_stands() {
    let layer = IntrospectionLayer::builder(Authority::new(active()))
        .token_source(token_source_fn(|request| request.path().strip_prefix("/feeds/").map(Into::into)))
        .build()
        .unwrap();
    let service = layer.layer(Inner::default());
    let at = |uri: &str| Request::builder().uri(uri).body(String::new()).unwrap();
    assert_eq!(send(service.clone(), at("/feeds/abc")).await.status(), StatusCode::OK);
    assert_eq!(kind(&send(service.clone(), at("/feeds/a,b")).await), Some(RejectionKind::InvalidRequest));
    assert_eq!(kind(&send(service, at("/other")).await), Some(RejectionKind::MissingToken));
}

#[tokio::test]
async fn an_optional_layer_lets_requests_without_a_token_in_but_no_bad_token() {
    let authority = Authority::new(inactive(InactiveReason::Revoked));
    let layer = IntrospectionLayer::builder(authority.clone()).require_scope("read").optional(true).build().unwrap();
    let service = layer.layer(Inner::default());
    let mut smuggled = Request::new(String::new());
    smuggled.extensions_mut().insert(scoped("admin"));
    for anonymous in [Request::new(String::new()), request("Basic abc"), smuggled] {
        let response = send(service.clone(), anonymous).await;
        assert!(response.body().starts_with("None"), "{}", response.body());
    }
    assert_eq!(kind(&send(service.clone(), request("Bearer abc")).await), Some(RejectionKind::InvalidToken));
    assert_eq!(kind(&send(service.clone(), request("Bearer a b")).await), Some(RejectionKind::InvalidRequest));
    authority.says(active());
    assert!(send(service.clone(), request("Bearer abc")).await.body().starts_with("Some"));
    authority.says(Ok(Verdict::Active(scoped("other"))));
    assert_eq!(kind(&send(service, request("Bearer abc")).await), Some(RejectionKind::InsufficientScope));
}

#[tokio::test]
async fn stats_count_who_came_in_with_a_token_and_without_through_all_clones() {
    let layer = IntrospectionLayer::builder(Cached::new(Authority::new(active()))).optional(true).build().unwrap();
    let one = layer.clone().layer(Inner::default());
    let other = layer.layer(Inner::default());
    send(one.clone(), request("Bearer abc")).await;
    send(other, request("Bearer abc")).await;
    send(one, Request::new(String::new())).await;
    let stats = layer.stats();
    assert_eq!((stats.accepted, stats.anonymous, &stats.rejected_by_kind), (2, 1, &vec![]));
    assert_eq!(layer.handle().stats(), stats, "the handle looks at the same layer");
}

#[tokio::test]
async fn the_outer_layers_verdict_binds_a_route_with_a_scope_of_its_own() {
    let authority = Authority::new(active());
    let outer = IntrospectionLayer::builder(authority.clone()).optional(true).realm("orders").build().unwrap();
    let route = outer.require(Policy::new().require_any_scope(["admin", "root"])).unwrap();
    let inner = Inner::default();
    let service = outer.layer(route.layer(inner.clone()));
    let response = send(service.clone(), request("Bearer abc")).await;
    assert_eq!(kind(&response), Some(RejectionKind::InsufficientScope));
    let challenge = challenge(&response.headers()["www-authenticate"]);
    assert_eq!(parameter(&challenge, "scope"), Some("admin root"));
    assert_eq!(parameter(&challenge, "realm"), Some("orders"));
    assert_eq!(kind(&send(service.clone(), Request::new(String::new())).await), Some(RejectionKind::MissingToken));
    assert_eq!(inner.calls.load(Ordering::SeqCst), 0);
    authority.says(Ok(Verdict::Active(scoped("root"))));
    assert_eq!(send(service, request("Bearer abc")).await.status(), StatusCode::OK);
}

#[tokio::test]
async fn a_route_that_requires_scopes_without_the_layer_fails_closed() {
    let inner = Inner::default();
    let service = requires("admin").layer(inner.clone());
    let response = send(service, request("Bearer abc")).await;
    assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(inner.calls.load(Ordering::SeqCst), 0);
}

#[test]
fn settings_that_cannot_work_are_refused_by_name() {
    let builder = || IntrospectionLayer::builder(Authority::new(active()));
    assert_eq!(builder().realm("a\nb").build().unwrap_err().setting(), "realm");
    assert_eq!(builder().require_scope("a b").build().unwrap_err().setting(), "require_scope");
    assert_eq!(builder().authorization_header(false).build().unwrap_err().setting(), "authorization_header");
    assert_eq!(builder().max_token_length(0).build().unwrap_err().setting(), "max_token_length");
    let required = |policy| builder().build().unwrap().require(policy).unwrap_err();
    assert_eq!(required(Policy::new()).setting(), "require");
    assert_eq!(required(Policy::new().policy(Policy::new())).setting(), "require");
    assert_eq!(required(Policy::new().require_scope("a b")).setting(), "require_scope");
}

#[tokio::test]
async fn the_service_that_was_polled_ready_is_the_one_that_is_called_on_a_hit_and_on_a_miss() {
    // `Inner` panics otherwise, and its clones are never ready.
    let mut service = IntrospectionLayer::new(Cached::new(Authority::new(active()))).layer(Inner::default());
    for _ in 0..3 {
        let response = patiently(service.ready()).await.unwrap().call(request("Bearer abc")).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
    }
}

/// The service, if it is ready at once. One that waits for a place somebody keeps would wait for ever.
fn ready_now<S: Service<Request<String>>>(service: &mut S) -> &mut S {
    let ready = service.poll_ready(&mut Context::from_waker(std::task::Waker::noop()));
    assert!(matches!(ready, Poll::Ready(Ok(()))), "somebody keeps the only place");
    service
}

#[tokio::test]
async fn a_rejected_request_gives_its_place_under_a_concurrency_limit_back() {
    let authority = Authority::new(inactive(InactiveReason::Unknown));
    let cached = Cached::new(authority.clone());
    let layer = IntrospectionLayer::new(cached);
    let mut one = layer.layer(ConcurrencyLimit::new(Inner::default(), 1));
    let mut other = one.clone();
    // Malformed, then a miss, then a hit: each is rejected and holds nothing.
    for authorization in ["Bearer a b", "Bearer abc", "Bearer abc"] {
        ready_now(&mut one).call(request(authorization)).await.unwrap();
        ready_now(&mut other).call(request(authorization)).await.unwrap();
    }
    authority.says(active());
    ready_now(&mut one).call(request("Bearer good")).await.unwrap();
    ready_now(&mut other).call(request("Bearer good")).await.unwrap();
    // A scope requirement gives it back, too.
    let mut one = requires("admin").layer(ConcurrencyLimit::new(Inner::default(), 1));
    let mut other = one.clone();
    ready_now(&mut one).call(request("Bearer abc")).await.unwrap();
    ready_now(&mut other).call(request("Bearer abc")).await.unwrap();
}

#[tokio::test]
async fn a_request_that_hangs_up_while_its_token_is_asked_about_gives_its_place_back() {
    let authority = Authority::new(active());
    authority.hold();
    let mut one = IntrospectionLayer::new(authority.clone()).layer(ConcurrencyLimit::new(Inner::default(), 1));
    let mut other = one.clone();
    let mut asking = Box::pin(patiently(one.ready()).await.unwrap().call(request("Bearer abc")));
    assert!(poll_once(&mut asking).is_pending());
    assert!(poll_once(&mut Box::pin(other.ready())).is_pending());
    drop(asking);
    ready_now(&mut other);
}

#[tokio::test]
async fn a_future_that_is_polled_after_it_has_completed_panics_and_says_so_instead_of_waiting_for_ever() {
    let authority = Authority::new(active());
    let layer = IntrospectionLayer::builder(authority.clone())
        .authorize(|_, request| request.path() != "/panic" || panic!("the rule's own"))
        .build()
        .unwrap();
    let panics_with = |poll: &mut dyn FnMut()| {
        let panic = catch_unwind(AssertUnwindSafe(poll)).expect_err("it panics");
        let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
        text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap()
    };
    authority.says(inactive(InactiveReason::Unknown));
    for (authorization, why) in [("Basic eA==", "rejected at once"), ("Bearer bad", "rejected after a question")] {
        let mut future = Box::pin(layer.layer(Idle).call(request(authorization)));
        assert!(!future.as_mut().await.unwrap().status().is_success(), "{why}");
        let said = panics_with(&mut || drop(poll_once(&mut future)));
        assert!(said.contains("`ResponseFuture` was polled after it had completed"), "{why}: {said}");
    }
    // That of a request which was let in does what the inner service's does: the standard library's panics.
    authority.says(active());
    let mut future = Box::pin(layer.layer(Idle).call(request("Bearer good")));
    future.as_mut().await.unwrap();
    let said = panics_with(&mut || drop(poll_once(&mut future)));
    assert!(said.contains("polled after completion"), "{said}");
    // A panic is an end, too.
    let mut request = request("Bearer other");
    *request.uri_mut() = "/panic".parse().unwrap();
    let mut future = Box::pin(layer.layer(Idle).call(request));
    assert_eq!(panics_with(&mut || drop(poll_once(&mut future))), "the rule's own");
    let said = panics_with(&mut || drop(poll_once(&mut future)));
    assert!(said.contains("resumed after panicking"), "{said}");
}

#[tokio::test]
async fn the_layer_works_over_a_buffer() {
    let (buffer, worker) = Buffer::pair(Inner::default(), 1);
    tokio::spawn(worker);
    let mut service = IntrospectionLayer::new(Cached::new(Authority::new(active()))).layer(buffer);
    for (authorization, status) in [
        ("Bearer abc", StatusCode::OK),
        ("Bearer a b", StatusCode::BAD_REQUEST),
        ("Bearer abc", StatusCode::OK),
        ("", StatusCode::UNAUTHORIZED),
        ("Bearer abc", StatusCode::OK),
    ] {
        let response = patiently(service.ready()).await.unwrap().call(request(authorization)).await.unwrap();
        assert_eq!(response.status(), status, "{authorization}");
    }
}

#[tokio::test]
async fn an_inner_service_that_is_not_ready_is_waited_for_and_its_error_passed_on() {
    let (mut mock, mut handle) = tower_test::mock::spawn_layer(IntrospectionLayer::new(Authority::new(active())));
    handle.allow(0);
    assert!(mock.poll_ready().is_pending());
    handle.allow(1);
    assert!(mock.poll_ready().is_ready());
    let response = mock.call(request("Bearer abc"));
    let answered = async {
        let (_, answer) = patiently(handle.next_request()).await.unwrap();
        answer.send_response(Response::new(String::from("hello")));
    };
    let (response, ()) = tokio::join!(response, answered);
    assert_eq!(response.unwrap().body(), "hello");
    handle.send_error("the inner service is broken");
    assert!(matches!(mock.poll_ready(), Poll::Ready(Err(_))));
}

#[tokio::test]
async fn a_hit_does_not_clone_the_inner_service() {
    struct Counted(Arc<AtomicUsize>);
    impl Clone for Counted {
        fn clone(&self) -> Self {
            self.0.fetch_add(1, Ordering::SeqCst);
            Self(Arc::clone(&self.0))
        }
    }
    impl Service<Request<String>> for Counted {
        type Response = Response<String>;
        type Error = Infallible;
        type Future = Ready<Result<Response<String>, Infallible>>;
        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
            Poll::Ready(Ok(()))
        }
        fn call(&mut self, _: Request<String>) -> Self::Future {
            ready(Ok(Response::default()))
        }
    }
    let clones = Arc::new(AtomicUsize::new(0));
    let mut service =
        IntrospectionLayer::new(Cached::new(Authority::new(active()))).layer(Counted(Arc::clone(&clones)));
    patiently(service.ready()).await.unwrap().call(request("Bearer abc")).await.unwrap();
    assert_eq!(clones.load(Ordering::SeqCst), 1, "a miss holds the service that was ready");
    for _ in 0..10 {
        patiently(service.ready()).await.unwrap().call(request("Bearer abc")).await.unwrap();
    }
    assert_eq!(clones.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn an_introspector_may_be_shared_or_be_a_closure() {
    let closure = Arc::new(introspect_fn(|token| async move {
        Ok(match token.expose() {
            "good" => Verdict::Active(scoped("")),
            _ => Verdict::Inactive(InactiveReason::Unknown),
        })
    }));
    assert!(closure.cached(&bearer("good")).is_none());
    let service = IntrospectionLayer::new(closure).layer(Inner::default());
    assert_eq!(send(service.clone(), request("Bearer good")).await.status(), StatusCode::OK);
    assert_eq!(kind(&send(service, request("Bearer bad")).await), Some(RejectionKind::InvalidToken));
}
