//! axum servers on real sockets, asked by a real client, with the sandbox as the authority.
#![cfg(feature = "axum")]

use crate::support::requires;
use crate::support::*;
use axum::body::Bytes;
use axum::extract::FromRequestParts;
use axum::response::IntoResponse;
use axum::routing::{get, post};
use axum::{Json, Router};
use http::header::{AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{Method, StatusCode};
use tower::{Layer, ServiceBuilder, ServiceExt};
use tower_http::cors::{AllowOrigin, CorsLayer};
use tower_introspection::introspect::IntrospectErrorKind;
use tower_introspection::rejection::{RejectionKind, RejectionReason};
#[cfg(feature = "sandbox")]
use tower_introspection::sandbox::{Fault, Sandbox, SandboxToken};
use tower_introspection::{AccessToken, Cached, IntrospectionLayer, ProtectedResource};

async fn serve(app: Router) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await });
    base
}

async fn get_with(url: String, authorization: &str) -> reqwest::Response {
    let mut request = client().get(url);
    if !authorization.is_empty() {
        request = request.header("authorization", authorization);
    }
    request.send().await.unwrap()
}

async fn whoami(token: AccessToken) -> Json<AccessToken> {
    Json(token)
}

async fn greet(token: Option<AccessToken>) -> String {
    token.and_then(|token| token.client_id().map(str::to_owned)).unwrap_or_else(|| "stranger".into())
}

#[cfg(feature = "sandbox")]
#[tokio::test]
async fn a_whole_router_is_guarded_and_every_outcome_is_right_on_the_wire() {
    let sandbox = Sandbox::start().await.unwrap();
    let cached = Cached::new(sandbox.apigee().request_timeout(secs(20)).build().unwrap());
    let cache = cached.handle();
    let app = Router::new()
        .route("/whoami", get(whoami))
        .route("/admin", get(async || "welcome").layer(requires("admin")))
        .layer(IntrospectionLayer::new(cached));
    let base = serve(app).await;
    let whoami = |authorization: String| get_with(format!("{base}/whoami"), authorization.leak());

    let active = sandbox.issue(SandboxToken::new().client_id("c").scope("read write").attribute("tier", "gold"));
    let response = whoami(format!("Bearer {active}")).await;
    assert_eq!(response.status(), 200);
    let facts: serde_json::Value = response.json().await.unwrap();
    assert_eq!(facts["client_id"], "c");
    assert_eq!(facts["scope"], "read write");
    assert_eq!(facts["attributes"], serde_json::json!({"tier": "gold"}));
    assert!(facts["exp"].is_number());

    let revoked = sandbox.issue(SandboxToken::new());
    sandbox.revoke(&revoked);
    let expired = sandbox.issue(SandboxToken::new().expires_at(START));
    for (authorization, status, error) in [
        (String::new(), 401, None),
        ("Basic dXNlcjpwYXNz".into(), 401, None),
        ("Bearer a b".into(), 400, Some("invalid_request")),
        ("Bearer nobody-issued-this".into(), 401, Some("invalid_token")),
        (format!("Bearer {revoked}"), 401, Some("invalid_token")),
        (format!("bearer {expired}"), 401, Some("invalid_token")),
    ] {
        let response = whoami(authorization.clone()).await;
        assert_eq!(response.status(), status, "{authorization}");
        let challenge = challenge(&response.headers()["www-authenticate"]);
        assert_eq!(parameter(&challenge, "error"), error);
        assert!(response.bytes().await.unwrap().is_empty());
    }
    let response = get_with(format!("{base}/admin"), &format!("Bearer {active}")).await;
    assert_eq!(response.status(), 403);
    assert_eq!(parameter(&challenge(&response.headers()["www-authenticate"]), "scope"), Some("admin"));
    let admin = sandbox.issue(SandboxToken::new().scope("admin"));
    assert_eq!(get_with(format!("{base}/admin"), &format!("Bearer {admin}")).await.status(), 200);

    // The authority is down: known tokens are served on, others get a 503, and nobody a 401.
    sandbox.set_fault(Fault::Reset);
    assert_eq!(whoami(format!("Bearer {active}")).await.status(), 200);
    let other = sandbox.issue(SandboxToken::new());
    let response = whoami(format!("Bearer {other}")).await;
    assert_eq!(response.status(), 503);
    assert_eq!(response.headers()["retry-after"], "5");
    sandbox.clear_fault();
    assert_eq!(whoami(format!("Bearer {other}")).await.status(), 200);
    assert_eq!(cache.stats().failures, 1);
}

#[cfg(all(feature = "sandbox", feature = "test-util"))]
#[tokio::test]
async fn a_revoked_token_is_refused_once_its_answer_is_no_longer_cached() {
    let sandbox = Sandbox::start().await.unwrap();
    let clock = tower_introspection::clock::ManualClock::at(START);
    let cached = Cached::builder(sandbox.apigee().build().unwrap()).clock(clock.clone()).build().unwrap();
    let base = serve(Router::new().route("/", get(whoami)).layer(IntrospectionLayer::new(cached))).await;
    let token = format!("Bearer {}", sandbox.issue(SandboxToken::new()));
    assert_eq!(get_with(base.clone(), &token).await.status(), 200);
    sandbox.revoke(&token["Bearer ".len()..]);
    clock.advance(millis(59_999));
    assert_eq!(get_with(base.clone(), &token).await.status(), 200);
    clock.advance(millis(1));
    assert_eq!(get_with(base.clone(), &token).await.status(), 401);
    assert_eq!(sandbox.total_calls(), 2);
}

#[tokio::test]
async fn single_routes_and_route_layers_are_guarded_and_the_rest_stays_open() {
    let layer = IntrospectionLayer::new(Authority::new(active()));
    let guarded = Router::new().route("/by-route-layer", get(greet)).route_layer(layer.clone());
    let app = Router::new()
        .route("/healthz", get(async || "ok"))
        .route("/by-route", get(greet).layer(layer.clone()))
        .route("/by-method", post(async || "posted").layer(layer.clone()).get(async || "open"))
        .route("/by-builder", get(greet).layer(ServiceBuilder::new().layer(layer)))
        .merge(guarded);
    let base = serve(app).await;
    for path in ["/by-route", "/by-route-layer", "/by-builder"] {
        assert_eq!(get_with(format!("{base}{path}"), "").await.status(), 401, "{path}");
        let response = get_with(format!("{base}{path}"), "Bearer abc").await;
        assert_eq!(response.text().await.unwrap(), "weather-app", "{path}");
    }
    for (path, status) in [("/healthz", 200), ("/by-method", 200), ("/nowhere", 404)] {
        assert_eq!(get_with(format!("{base}{path}"), "").await.status(), status, "{path}");
    }
    let response = client().post(format!("{base}/by-method")).send().await.unwrap();
    assert_eq!(response.status(), 401);
}

#[tokio::test]
async fn a_path_that_is_none_is_guarded_by_a_layer_around_all_that_stands_before_it_and_by_no_route_layer() {
    let guard = || IntrospectionLayer::new(Authority::new(active()));
    let routes = || Router::new().route("/", get(greet));
    for (app, status, place) in [
        (routes().layer(guard()), 401, "no fallback"),
        (routes().fallback(async || "open").layer(guard()), 401, "a fallback before the layer"),
        (routes().layer(guard()).fallback(async || "open"), 200, "a fallback after the layer"),
        (routes().route_layer(guard()).fallback(async || "open"), 200, "a fallback after the route layer"),
        (routes().fallback(async || "open").route_layer(guard()), 200, "a fallback before the route layer"),
        (routes().route_layer(guard()), 404, "a route layer and no fallback"),
    ] {
        let base = serve(app).await;
        assert_eq!(get_with(format!("{base}/nowhere"), "").await.status(), status, "{place}");
        assert_eq!(get_with(base, "").await.status(), 401, "{place}");
    }
}

#[tokio::test]
async fn the_extractors_tell_no_token_from_no_layer() {
    let layer = IntrospectionLayer::builder(Authority::new(active())).optional(true).realm("orders").build().unwrap();
    let app = Router::new()
        .route("/optional", get(greet))
        .route("/required", get(whoami))
        .layer(layer)
        .route("/no-layer/optional", get(greet))
        .route("/no-layer/required", get(whoami))
        .route("/no-layer/scope", get(async || "never").layer(requires("read")));
    let base = serve(app).await;
    assert_eq!(get_with(format!("{base}/optional"), "").await.text().await.unwrap(), "stranger");
    assert_eq!(get_with(format!("{base}/optional"), "Bearer abc").await.text().await.unwrap(), "weather-app");
    let response = get_with(format!("{base}/required"), "").await;
    assert_eq!(response.status(), 401);
    assert_eq!(parameter(&challenge(&response.headers()["www-authenticate"]), "realm"), Some("orders"));
    for path in ["optional", "required", "scope"] {
        for authorization in ["", "Bearer abc"] {
            let response = get_with(format!("{base}/no-layer/{path}"), authorization).await;
            assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR, "{path}");
        }
    }
}

#[tokio::test]
async fn an_extractor_answers_as_the_layer_around_its_route_does_and_is_counted_there() {
    let layer = IntrospectionLayer::builder(Authority::new(active())).optional(true).problem_json().build().unwrap();
    let app = Router::new().route("/", get(whoami)).layer(layer.clone());
    let response = get_with(serve(app).await, "").await;
    assert_eq!(
        (response.status(), &response.headers()["content-type"]),
        (401.try_into().unwrap(), &"application/problem+json".parse().unwrap())
    );
    let problem: serde_json::Value = response.json().await.unwrap();
    assert_eq!(problem["kind"], "missing_token");
    assert_eq!(layer.stats().rejected_by_kind, [(RejectionKind::MissingToken, 1)]);
    assert_eq!(layer.stats().anonymous, 1);

    // A layer between the two changes the type of the body.
    let between = tower::util::MapResponseLayer::new(|response: axum::response::Response| response.map(Other));
    let inner =
        ServiceBuilder::new().layer(layer.clone()).layer(between).service(Router::new().route("/", get(whoami)));
    let response = inner.oneshot(http::Request::new(axum::body::Body::empty())).await.unwrap();
    assert_eq!(response.status(), 401);
    assert!(response.headers().contains_key("www-authenticate"));
    assert_eq!(layer.stats().rejected_by_reason, [(RejectionReason::MissingToken, 2)]);
}

/// A body that is not axum's.
#[derive(Default)]
struct Other(#[allow(dead_code)] axum::body::Body);

impl From<String> for Other {
    fn from(text: String) -> Self {
        Self(text.into())
    }
}

#[tokio::test]
async fn the_extractors_rejection_says_what_is_missing() {
    let (mut parts, ()) = axum::http::Request::new(()).into_parts();
    let rejection = <AccessToken as FromRequestParts<()>>::from_request_parts(&mut parts, &()).await.unwrap_err();
    assert_eq!(rejection.to_string(), "the route has no IntrospectionLayer around it");
    assert!(rejection.kind().is_none());
    assert_eq!(rejection.into_response().status(), StatusCode::INTERNAL_SERVER_ERROR);
    parts.method = axum::http::Method::POST;
    parts.headers.insert("content-type", "application/grpc".parse().unwrap());
    let rejection = <AccessToken as FromRequestParts<()>>::from_request_parts(&mut parts, &()).await.unwrap_err();
    assert_eq!(rejection.into_response().headers()["grpc-status"], "13");
    parts.headers.insert("content-type", "application/grpc-web+proto".parse().unwrap());
    let rejection = <AccessToken as FromRequestParts<()>>::from_request_parts(&mut parts, &()).await.unwrap_err();
    assert_eq!(rejection.into_response().headers()["content-type"], "application/grpc-web+proto");
    let layer = IntrospectionLayer::builder(Authority::new(active())).optional(true).build().unwrap();
    let inner = tower::service_fn(async |request: axum::http::Request<()>| {
        let (mut parts, ()) = request.into_parts();
        let rejection = <AccessToken as FromRequestParts<()>>::from_request_parts(&mut parts, &()).await.unwrap_err();
        assert_eq!(rejection.to_string(), "the request came in without an access token");
        assert_eq!(rejection.kind(), Some(RejectionKind::MissingToken));
        Ok::<_, std::convert::Infallible>(rejection.into_response())
    });
    let service = layer.layer(inner);
    let response = service.clone().oneshot(axum::http::Request::new(())).await.unwrap();
    assert_eq!(response.status(), 401);
    let call = axum::http::Request::post("/").header("content-type", "application/grpc-web-text+proto").body(());
    let response = service.oneshot(call.unwrap()).await.unwrap();
    assert_eq!(response.headers()["grpc-status"], "16");
    assert_eq!(response.headers()["content-type"], "application/grpc-web-text+proto");
}

#[tokio::test]
async fn a_request_body_arrives_whole_on_a_miss_and_on_a_hit() {
    let layer = IntrospectionLayer::new(Cached::new(Authority::new(active())));
    let app = Router::new().route("/", post(async |body: Bytes| body.len().to_string())).layer(layer);
    let base = serve(app).await;
    for _ in 0..2 {
        let request = client().post(&base).header("authorization", "Bearer abc").body("x".repeat(1_000_000));
        assert_eq!(request.send().await.unwrap().text().await.unwrap(), "1000000");
    }
}

/// As the documentation has it. `*` would not do: it never covers `Authorization` (Fetch standard, CORS-preflight
/// fetch).
fn cors() -> CorsLayer {
    CorsLayer::new()
        .allow_origin(AllowOrigin::exact("https://shop.example".parse().unwrap()))
        .allow_methods([Method::GET, Method::POST])
        .allow_headers([AUTHORIZATION, CONTENT_TYPE])
        .expose_headers([WWW_AUTHENTICATE, RETRY_AFTER])
}

/// What a browser sends before a script of `https://shop.example` may ask with a token and a JSON body.
fn preflight(url: &str) -> reqwest::RequestBuilder {
    client()
        .request(Method::OPTIONS, url)
        .header("accept", "*/*")
        .header("access-control-request-method", "POST")
        .header("access-control-request-headers", "authorization,content-type")
        .header("origin", "https://shop.example")
        .header("sec-fetch-mode", "cors")
        .header("sec-fetch-site", "cross-site")
        .header("sec-fetch-dest", "empty")
}

/// The names that a list in a header has, which is empty if the header is not there.
fn names(response: &reqwest::Response, header: &str) -> Vec<String> {
    let value = response.headers().get(header).map_or("", |value| value.to_str().unwrap());
    value.split(',').map(|name| name.trim().to_ascii_lowercase()).collect()
}

#[tokio::test]
async fn a_cors_layer_outside_answers_preflights_by_name_before_the_guard_sees_them() {
    let authority = Authority::new(active());
    let guard = IntrospectionLayer::new(authority.clone());
    let app = Router::new().route("/", post(greet)).layer(ServiceBuilder::new().layer(cors()).layer(guard.clone()));
    let base = serve(app).await;
    let answer = preflight(&base).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["access-control-allow-origin"], "https://shop.example");
    let allowed = names(&answer, "access-control-allow-headers");
    assert!(allowed.contains(&"authorization".into()), "by its name: {allowed:?}");
    assert!(names(&answer, "access-control-allow-methods").contains(&"post".into()));
    let stats = guard.stats();
    assert_eq!(
        (authority.questions(), stats.accepted, stats.rejected_by_kind.len()),
        (0, 0, 0),
        "the guard has not seen it"
    );
}

#[tokio::test]
async fn with_a_cors_layer_outside_a_script_can_read_why_it_was_refused() {
    let authority = Authority::new(active());
    let guard = IntrospectionLayer::new(authority.clone());
    let app = Router::new().route("/", post(greet)).layer(ServiceBuilder::new().layer(cors()).layer(guard));
    let base = serve(app).await;
    let call = || client().post(&base).header("origin", "https://shop.example");
    let refused = call().send().await.unwrap();
    assert_eq!(refused.status(), 401);
    assert_eq!(refused.headers()["access-control-allow-origin"], "https://shop.example");
    assert!(refused.headers().contains_key("www-authenticate"));
    assert!(names(&refused, "access-control-expose-headers").contains(&"www-authenticate".into()));
    authority.says(failure(IntrospectErrorKind::Connect));
    let failed = call().header("authorization", "Bearer abc").send().await.unwrap();
    assert_eq!(failed.status(), 503);
    assert_eq!(failed.headers()["access-control-allow-origin"], "https://shop.example");
    assert!(names(&failed, "access-control-expose-headers").contains(&"retry-after".into()));
}

/// Why the order matters: the browser takes the 401 for "no", and never sends the request.
#[tokio::test]
async fn a_cors_layer_inside_answers_no_preflight() {
    let guard = IntrospectionLayer::new(Authority::new(active()));
    let app = Router::new().route("/", post(greet)).layer(ServiceBuilder::new().layer(guard).layer(cors()));
    let base = serve(app).await;
    let answer = preflight(&base).send().await.unwrap();
    assert_eq!(answer.status(), 401);
    assert!(!answer.headers().contains_key("access-control-allow-origin"));
}

#[tokio::test]
async fn a_cors_layer_around_the_document_about_the_resource_puts_its_headers_in_place_of_the_documents() {
    let metadata = ProtectedResource::builder("https://api.example").authorization_server("https://as.example");
    let metadata = metadata.build().unwrap();
    let app = Router::new().route_service(metadata.path(), metadata.clone()).layer(cors());
    let url = format!("{}{}", serve(app).await, metadata.path());
    let answer = client().get(url).header("origin", "https://shop.example").send().await.unwrap();
    let origins: Vec<_> = answer.headers().get_all("access-control-allow-origin").iter().collect();
    assert_eq!(origins, ["https://shop.example"], "one, or a browser takes none");
}

#[tokio::test]
async fn a_layer_around_sees_the_kind_of_a_rejection() {
    let seen = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let app = Router::new()
        .route("/", get(greet))
        .layer(IntrospectionLayer::builder(Authority::new(active())).problem_json().build().unwrap())
        .layer(tower::util::MapResponseLayer::new({
            let seen = seen.clone();
            move |response: axum::response::Response| {
                seen.lock().unwrap().push(kind(&response));
                response
            }
        }));
    let base = serve(app).await;
    let response = get_with(base.clone(), "").await;
    assert_eq!(response.headers()["content-type"], "application/problem+json");
    get_with(base, "Bearer abc").await;
    assert_eq!(*seen.lock().unwrap(), [Some(RejectionKind::MissingToken), None]);
}
