//! Rules, choices and rejections below routers that take a part of the path off.

use axum::Router;
use axum::body::Body;
use axum::routing::{any, get};
use http::{Method, Request, StatusCode, Uri};
use tower::{Layer, Service, ServiceExt};
use tower_introspection::introspect::{AnyIntrospector, ChosenAuthority};
use tower_introspection::layer::OriginalUri;
use tower_introspection::rejection::Rejection;
use tower_introspection::source::TokenQueryParameter;
use tower_introspection::{AccessToken, Authorities, IntrospectionLayer, Policy, RequestView, Verdict};

use crate::support::{Authority, Idle, request};

/// Says of every token that it is bob's.
fn bobs() -> Authority {
    Authority::new(Ok(Verdict::Active(AccessToken::builder().attribute("tenant", "bob").build())))
}

/// What the documentation shows: the first part of the path is the token's tenant.
fn own_tenant() -> IntrospectionLayer<Authority> {
    let rule = |token: &AccessToken, request: &RequestView| {
        let tenant = request.path().split('/').nth(1);
        tenant.is_some_and(|tenant| token.attribute("tenant") == Some(tenant))
    };
    IntrospectionLayer::builder(bobs()).authorize(rule).build().unwrap()
}

async fn status(app: &Router, method: Method, uri: &str) -> StatusCode {
    let mut asked = request("Bearer abc").map(|_| Body::empty());
    *asked.method_mut() = method;
    *asked.uri_mut() = uri.parse().unwrap();
    app.clone().oneshot(asked).await.unwrap().status()
}

#[tokio::test]
async fn a_rule_sees_the_path_that_the_caller_sent_however_deep_its_route_is_nested() {
    let routes = || Router::new().route("/{who}", get(async || "read"));
    let nested = Router::new().nest("/{tenant}", routes().layer(own_tenant()));
    let twice = Router::new().nest("/{tenant}", Router::new().nest("/files", routes().layer(own_tenant())));
    let service = Router::new().nest_service("/{tenant}", own_tenant().layer(routes()));
    let on_routes = Router::new().nest("/{tenant}", routes().route_layer(own_tenant()));
    let rest = || Router::new().fallback(any(async || "read")).layer(own_tenant());
    let fallback = Router::new().nest("/alice", rest()).nest("/bob", rest());
    let around = Router::new().nest("/{tenant}", routes()).layer(own_tenant());
    for (name, app, rest) in [
        ("nest", nested, "/bob"),
        ("nest twice", twice, "/files/bob"),
        ("nest_service", service, "/bob"),
        ("route_layer", on_routes, "/bob"),
        ("fallback", fallback, "/bob"),
        ("around all", around, "/bob"),
    ] {
        for method in [Method::GET, Method::HEAD] {
            let read = async |tenant: &str| status(&app, method.clone(), &format!("{tenant}{rest}")).await;
            assert_eq!(read("/bob").await, StatusCode::OK, "{name} {method}");
            assert_eq!(read("/alice").await, StatusCode::FORBIDDEN, "{name} {method}");
            assert_ne!(read("/%62ob").await, StatusCode::OK, "{name} {method}: it is compared as it was sent");
            assert_ne!(read("//bob").await, StatusCode::OK, "{name} {method}");
        }
    }
}

#[tokio::test]
async fn a_rule_sees_the_whole_path_of_a_grpc_call() {
    let layer = IntrospectionLayer::builder(bobs()).authorize(|_, request| request.path() == "/a.Service/Method");
    let app =
        Router::new().nest_service("/a.Service", layer.build().unwrap().layer(Router::new().fallback(async || "")));
    let call = async |uri: &str| {
        let mut asked = request("Bearer abc").map(|_| Body::empty());
        *asked.method_mut() = Method::POST;
        *asked.uri_mut() = uri.parse().unwrap();
        asked.headers_mut().insert("content-type", "application/grpc".parse().unwrap());
        let response = app.clone().oneshot(asked).await.unwrap();
        response.headers().get("grpc-status").map(|status| status.to_str().unwrap().to_owned())
    };
    assert_eq!(call("/a.Service/Method").await, None);
    assert_eq!(call("/a.Service/Other").await.as_deref(), Some("7"));
}

#[tokio::test]
async fn a_requirement_of_a_route_sees_the_path_that_the_caller_sent() {
    let guard = IntrospectionLayer::new(bobs());
    let own = guard.require(Policy::new().authorize(|_, request| request.path().starts_with("/bob/"))).unwrap();
    let app = Router::new().nest("/{tenant}", Router::new().route("/x", get(async || "read").layer(own))).layer(guard);
    assert_eq!(status(&app, Method::GET, "/bob/x").await, StatusCode::OK);
    assert_eq!(status(&app, Method::GET, "/alice/x").await, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn an_authority_is_chosen_by_the_path_that_the_caller_sent() {
    let authorities = Authorities::choose_by(|request| request.path().split('/').nth(1).map(Into::into))
        .authority("alice", bobs())
        .authority("bob", bobs())
        .build()
        .unwrap();
    let chosen = |extensions: &http::Extensions| extensions.get::<ChosenAuthority>().unwrap().name().to_owned();
    let handler = async move |request: Request<Body>| chosen(request.extensions());
    let routes = Router::new().route("/{who}", get(handler)).layer(IntrospectionLayer::new(authorities));
    let app = Router::new().nest("/{tenant}", routes);
    for (uri, expected) in [("/alice/bob", "alice"), ("/bob/alice", "bob")] {
        let mut asked = request("Bearer abc").map(|_| Body::empty());
        *asked.uri_mut() = uri.parse().unwrap();
        let response = app.clone().oneshot(asked).await.unwrap();
        assert_eq!(axum::body::to_bytes(response.into_body(), 100).await.unwrap(), expected);
    }
    assert_eq!(status(&app, Method::GET, "/carol/bob").await, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn who_renders_a_rejection_sees_the_path_that_the_caller_sent_and_the_shortened_one_by_another_name() {
    let show = |rejection: &Rejection, request: &RequestView| {
        let shown = format!("{} {}", request.path(), request.parts_after_routing().uri.path());
        rejection.response(Body::from(shown))
    };
    let layer = IntrospectionLayer::builder(bobs()).authorize(|_, _| false).rejection_response(show).build().unwrap();
    let app: Router = Router::new().nest("/{tenant}", Router::new().route("/{who}", get(async || "")).layer(layer));
    let mut asked = request("Bearer abc").map(|_| Body::empty());
    *asked.uri_mut() = "/alice/bob".parse().unwrap();
    let response = app.oneshot(asked).await.unwrap();
    assert_eq!(axum::body::to_bytes(response.into_body(), 100).await.unwrap(), "/alice/bob /bob");
}

#[tokio::test]
async fn another_router_can_say_what_the_caller_sent_and_its_word_counts() {
    let original = Uri::from_static("/bob/x?y=1");
    let mut asked = request("Bearer abc");
    *asked.uri_mut() = Uri::from_static("/x");
    let mut seen = own_tenant().layer(Idle);
    assert_eq!(seen.call(asked.clone()).await.unwrap().status(), StatusCode::FORBIDDEN);
    asked.extensions_mut().insert(axum::extract::OriginalUri(Uri::from_static("/x")));
    asked.extensions_mut().insert(OriginalUri(original));
    assert_eq!(seen.call(asked).await.unwrap().status(), StatusCode::OK);
}

#[test]
fn a_header_that_is_there_twice_is_no_header_to_judge_by() {
    let judged = |values: &[&str]| {
        let mut asked = Request::new(());
        for value in values {
            asked.headers_mut().append("x-tenant", value.parse().unwrap());
        }
        let seen = std::sync::Mutex::new(None);
        let authorities = Authorities::choose_by(|request| request.header("x-tenant").map(Into::into));
        let authorities = authorities.authority("bob", AnyIntrospector::new(bobs())).build().unwrap();
        let layer = IntrospectionLayer::builder(authorities).optional(true).build().unwrap();
        let mut service = layer.layer(tower::service_fn(|request: Request<()>| {
            *seen.lock().unwrap() = request.extensions().get::<ChosenAuthority>().map(|name| name.name().to_owned());
            std::future::ready(Ok::<_, std::convert::Infallible>(http::Response::new(String::new())))
        }));
        drop(service.call(asked));
        drop(service);
        seen.into_inner().unwrap()
    };
    assert_eq!(judged(&["bob"]).as_deref(), Some("bob"));
    assert_eq!(judged(&["bob", "bob"]), None);
    assert_eq!(judged(&[]), None);
}

#[tokio::test]
async fn a_token_is_taken_out_of_the_copies_of_the_uri_too() {
    let layer = IntrospectionLayer::builder(bobs()).token_source(TokenQueryParameter::new()).remove_token(true);
    let show = async |uri: axum::extract::OriginalUri, request: Request<Body>| format!("{} {}", uri.0, request.uri());
    let routes = Router::new().route("/x", get(show)).layer(layer.build().unwrap());
    let app = Router::new().nest("/{tenant}", routes);
    let asked = Request::get("/bob/x?access_token=abc&y=1").body(Body::empty()).unwrap();
    let response = app.oneshot(asked).await.unwrap();
    assert_eq!(axum::body::to_bytes(response.into_body(), 100).await.unwrap(), "/bob/x?y=1 /x?y=1");
}

#[test]
fn a_rule_can_be_judged_without_a_layer_and_sees_the_same_path() {
    let rule = |request: &RequestView| request.path() == "/bob/files";
    let (mut parts, ()) = Request::get("/bob/files").body(()).unwrap().into_parts();
    assert!(rule(&RequestView::from(&parts)));
    parts.uri = Uri::from_static("/files");
    assert!(!rule(&(&parts).into()));
    parts.extensions.insert(OriginalUri(Uri::from_static("/bob/files")));
    assert!(rule(&(&parts).into()));
}
