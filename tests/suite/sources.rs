//! Tokens in the query and in cookies, through the layer.

use std::convert::Infallible;

use crate::support::*;
use http::{Request, Response};
use tower::{Layer, ServiceExt, service_fn};
use tower_introspection::layer::IntrospectionLayerBuilder;
use tower_introspection::rejection::RejectionKind;
use tower_introspection::source::{TokenCookie, TokenHeader, TokenQueryParameter, token_source_fn};
use tower_introspection::{Cached, InactiveReason, Introspect, IntrospectionLayer, introspect_fn};

/// Lets the token `abc` in, and nothing else.
fn abc() -> impl Introspect {
    introspect_fn(
        |token| async move { if token.expose() == "abc" { active() } else { inactive(InactiveReason::Unknown) } },
    )
}

fn get(uri: &str, headers: &[(&str, &str)]) -> Request<String> {
    let mut request = Request::builder().uri(uri);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(String::new()).unwrap()
}

/// Answers with what it sees of the request, and with `cache_control`.
async fn answer<I: Introspect>(
    builder: IntrospectionLayerBuilder<I>,
    request: Request<String>,
    cache_control: Option<&'static str>,
) -> Response<String> {
    let inner = service_fn(move |request: Request<String>| async move {
        let mut response = Response::new(format!("{} {:?}", request.uri(), request.headers()));
        if let Some(value) = cache_control {
            response.headers_mut().insert("cache-control", value.parse().unwrap());
        }
        Ok::<_, Infallible>(response)
    });
    builder.build().unwrap().layer(inner).oneshot(request).await.unwrap()
}

#[tokio::test]
async fn the_query_and_cookies_are_not_looked_at_unless_that_is_switched_on() {
    for request in [get("/?access_token=abc", &[]), get("/", &[("cookie", "token=abc")])] {
        let response = answer(IntrospectionLayer::builder(abc()), request, None).await;
        assert_eq!(kind(&response), Some(RejectionKind::MissingToken));
    }
}

#[tokio::test]
async fn a_token_in_the_query_comes_in_and_the_answer_is_private() {
    let query = || IntrospectionLayer::builder(abc()).token_source(TokenQueryParameter::new());
    for (theirs, ours) in [
        (None, "private"),
        (Some("max-age=60, public"), "private, max-age=60"),
        (Some("private, no-store"), "private, no-store"),
        (Some("S-MaxAge=60,no-cache=\"set-cookie\""), "private, no-cache=\"set-cookie\""),
        (Some("private=\"set-cookie, x-user\", max-age=600"), "private, max-age=600"),
        (Some("no-cache=\"a, b\",,public"), "private, no-cache=\"a, b\""),
    ] {
        let response = answer(query(), get("/x?access_token=abc", &[]), theirs).await;
        assert_eq!(kind(&response), None);
        assert_eq!(response.headers()["cache-control"], ours);
    }
    let refused = answer(query(), get("/x?access_token=other", &[]), None).await;
    assert_eq!(kind(&refused), Some(RejectionKind::InvalidToken));
    assert_eq!(refused.headers()["cache-control"], "private", "a refusal is nobody else's either");
    // A header's token leaves the answer alone.
    let response = answer(query(), get("/x", &[("authorization", "Bearer abc")]), Some("public")).await;
    assert_eq!(response.headers()["cache-control"], "public");
}

#[tokio::test]
async fn a_token_in_the_query_keeps_a_hit_private_too() {
    let cached = Cached::builder(abc()).inactive_ttl(secs(60)).build().unwrap();
    let builder = || IntrospectionLayer::builder(cached.clone()).token_source(TokenQueryParameter::new());
    for (token, refused) in [("abc", None), ("other", Some(RejectionKind::InvalidToken))] {
        for _miss_and_hit in 0..2 {
            let response = answer(builder(), get(&format!("/x?access_token={token}"), &[]), None).await;
            assert_eq!(kind(&response), refused);
            assert_eq!(response.headers()["cache-control"], "private", "{token}");
        }
    }
    let response = answer(builder().require_scope("x"), get("/x?access_token=abc", &[]), None).await;
    assert_eq!(kind(&response), Some(RejectionKind::InsufficientScope));
    assert_eq!(response.headers()["cache-control"], "private");
    assert_eq!(cached.handle().stats().questions, 2, "all others were hits");
}

#[tokio::test]
async fn a_token_presented_twice_or_in_two_ways_is_malformed() {
    let both = || {
        IntrospectionLayer::builder(abc())
            .token_source(TokenQueryParameter::new())
            .token_source(TokenCookie::new("t").unwrap())
    };
    for request in [
        get("/?access_token=abc&access_token=abc", &[]),
        get("/?access_token=abc", &[("authorization", "Bearer abc")]),
        get("/?access_token=abc", &[("cookie", "t=abc")]),
        get("/", &[("authorization", "Bearer abc"), ("cookie", "t=abc")]),
        get("/", &[("cookie", "t=abc; t=abc")]),
        get("/?access_token=", &[]),
        get("/?access_token=a%20b", &[]),
        get("/", &[("cookie", "t=a b")]),
    ] {
        let response = answer(both(), request, None).await;
        assert_eq!(kind(&response), Some(RejectionKind::InvalidRequest));
    }
}

#[tokio::test]
async fn the_longest_token_is_as_long_in_every_place_and_what_is_refused_is_not_asked_about() {
    type Builder = IntrospectionLayerBuilder<Authority>;
    type Place = (&'static str, fn(Builder) -> Builder, fn(&str) -> Request<String>);
    let places: [Place; 4] = [
        (
            "a header",
            |builder| builder.token_source(TokenHeader::new(http::HeaderName::from_static("x-token"))),
            |token| get("/", &[("x-token", token)]),
        ),
        (
            "the query",
            |builder| builder.token_source(TokenQueryParameter::new()),
            |token| get(&format!("/?access_token={token}"), &[]),
        ),
        (
            "a cookie",
            |builder| builder.token_source(TokenCookie::new("t").unwrap()),
            |token| get("/", &[("cookie", &format!("t={token}"))]),
        ),
        (
            "the path",
            |builder| {
                let find = token_source_fn(|request| request.path().strip_prefix("/feeds/").map(Into::into));
                builder.token_source(find)
            },
            |token| get(&format!("/feeds/{token}"), &[]),
        ),
    ];
    for (place, looking_there, presenting) in places {
        let authority = Authority::new(active());
        let layer = || looking_there(IntrospectionLayer::builder(authority.clone())).max_token_length(5);
        for token in ["abcdef", ".", ".."] {
            let response = answer(layer(), presenting(token), None).await;
            assert_eq!(kind(&response), Some(RejectionKind::InvalidRequest), "{token} in {place}");
        }
        assert_eq!(authority.questions(), 0, "{place}");
        assert_eq!(kind(&answer(layer(), presenting("abcde"), None).await), None, "{place}");
        assert_eq!(authority.questions(), 1, "{place}");
    }
}

#[tokio::test]
async fn a_cookies_token_comes_in_marked_and_is_taken_out_if_so_wished() {
    let cookie = || IntrospectionLayer::builder(abc()).token_source(TokenCookie::new("t").unwrap());
    let request = || get("/x", &[("cookie", "a=b; t=abc")]);
    let response = answer(cookie(), request(), None).await;
    assert_eq!(response.body(), r#"/x {"cookie": Sensitive}"#);
    assert_eq!(response.headers()["cache-control"], "private");
    let header = TokenHeader::new(http::HeaderName::from_static("x-token"));
    let header = IntrospectionLayer::builder(abc()).token_source(header);
    let response = answer(header, get("/x", &[("x-token", "abc")]), Some("public")).await;
    assert_eq!(response.headers()["cache-control"], "private");
    // Shared caches heed this header by themselves, also where it holds a bare token.
    let header = TokenHeader::new(http::header::AUTHORIZATION);
    let header = IntrospectionLayer::builder(abc()).authorization_header(false).token_source(header);
    let response = answer(header, get("/x", &[("authorization", "abc")]), None).await;
    assert!(!response.headers().contains_key("cache-control"));
    let query = IntrospectionLayer::builder(abc()).token_source(TokenQueryParameter::new()).remove_token(true);
    assert_eq!(answer(query, get("/x?a=b&access_token=abc", &[]), None).await.body(), "/x?a=b {}");
    let layer = cookie().remove_token(true).build().unwrap();
    let inner = service_fn(|request: Request<String>| async move {
        assert!(request.headers()["cookie"].is_sensitive(), "the others may be secret as well");
        Ok::<_, Infallible>(Response::new(request.headers()["cookie"].to_str().unwrap().to_owned()))
    });
    assert_eq!(layer.layer(inner).oneshot(request()).await.unwrap().body(), "a=b");
}
