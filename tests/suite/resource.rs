//! What a client that starts with nothing is told: challenges, and the document about the resource (RFC 9728).

use crate::support::*;
use http::{HeaderValue, Method, Request, Response};
use proptest::prelude::*;
use tower::{Layer, ServiceExt};
use tower_introspection::layer::IntrospectionLayerBuilder;
use tower_introspection::{InactiveReason, IntrospectionLayer, Policy, ProtectedResource};

const METADATA: &str = "https://resource.example.com/.well-known/oauth-protected-resource";

async fn challenge_of(builder: IntrospectionLayerBuilder<Authority>, request: Request<String>) -> HeaderValue {
    let response = builder.build().unwrap().layer(Idle).oneshot(request).await.unwrap();
    response.headers()["www-authenticate"].clone()
}

fn layer(answer: Answer) -> IntrospectionLayerBuilder<Authority> {
    IntrospectionLayer::builder(Authority::new(answer)).realm("example")
}

fn parameters(value: &str) -> Vec<(String, String)> {
    let mut parameters = challenge(&HeaderValue::try_from(value).unwrap()).1;
    parameters.sort();
    parameters
}

#[tokio::test]
async fn the_challenges_of_rfc_6750_section_3_are_answered_as_the_standard_has_them() {
    let bare = challenge_of(layer(active()), Request::new(String::new())).await;
    assert_eq!(bare, r#"Bearer realm="example""#);
    let expired = challenge_of(layer(inactive(InactiveReason::Expired)), request("Bearer mF_9.B5f-4.1JqM")).await;
    let example = r#"Bearer realm="example", error="invalid_token", error_description="The access token expired""#;
    let lower = |value: &str| parameters(&value.to_lowercase());
    assert_eq!(lower(expired.to_str().unwrap()), lower(example));
}

#[tokio::test]
async fn the_challenge_of_rfc_9728_section_5_1_names_the_document_and_a_401_the_scopes() {
    let builder = |answer| {
        layer(answer)
            .resource_metadata(METADATA)
            .policy(Policy::new().for_method(Method::GET, Policy::new().require_any_scope(["read", "admin"])))
    };
    let named = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let bare = challenge_of(builder(active()), Request::new(String::new())).await;
    assert_eq!(
        parameters(bare.to_str().unwrap()),
        [named("realm", "example"), named("resource_metadata", METADATA), named("scope", "read admin")]
    );
    let inactive = challenge_of(builder(inactive(InactiveReason::Unknown)), request("Bearer abc")).await;
    let inactive = challenge(&inactive);
    assert_eq!(parameter(&inactive, "scope"), Some("read admin"));
    assert_eq!(parameter(&inactive, "error"), Some("invalid_token"));
    let lacking =
        challenge(&challenge_of(builder(crate::support::active()).require_scope("x"), request("Bearer abc")).await);
    assert_eq!(parameter(&lacking, "resource_metadata"), Some(METADATA));
    assert_eq!(parameter(&lacking, "scope"), Some("read admin x"));
    let malformed = challenge(&challenge_of(builder(crate::support::active()), request("Bearer a b")).await);
    assert_eq!((parameter(&malformed, "scope"), parameter(&malformed, "resource_metadata")), (None, Some(METADATA)));
}

#[tokio::test]
async fn a_challenge_names_what_is_configured_whatever_host_the_request_names() {
    let mut request = Request::new(String::new());
    request.headers_mut().insert("host", "evil.example".parse().unwrap());
    *request.uri_mut() = "https://evil.example/x".parse().unwrap();
    let value = challenge_of(layer(active()).resource_metadata(METADATA), request).await;
    assert!(!value.to_str().unwrap().contains("evil"), "{value:?}");
}

#[test]
fn a_document_url_that_cannot_stand_in_a_challenge_is_refused() {
    for bad in [
        "/.well-known/oauth-protected-resource",
        "http://resource.example.com/x",
        "https://a.example/#x",
        "https://u:p@a.example/",
        "https://a.example/?a=\\",
        "ftp://a.example",
    ] {
        let error = layer(active()).resource_metadata(bad).build().unwrap_err();
        assert_eq!(error.setting(), "resource_metadata", "{bad}");
    }
    for loopback in ["http://127.0.0.2:3000/x", "http://localhost/x", "http://[::1]/x"] {
        layer(active()).resource_metadata(loopback).build().unwrap();
    }
}

async fn fetched(resource: &ProtectedResource, method: Method) -> Response<String> {
    let request = Request::builder().method(method).uri(resource.path()).body(()).unwrap();
    resource.clone().oneshot(request).await.unwrap()
}

#[tokio::test]
async fn the_document_is_served_from_configuration() {
    let resource = ProtectedResource::builder("https://resource.example.com/mcp")
        .authorization_server("https://as1.example.com")
        .authorization_server("https://as2.example.net")
        .scope("profile")
        .scope("email")
        .bearer_method("header")
        .bearer_method("query")
        .member("resource_documentation", "https://resource.example.com/docs.html")
        .member("resource", "cannot be overwritten")
        .build()
        .unwrap();
    let response = fetched(&resource, Method::GET).await;
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-type"], "application/json");
    let document: serde_json::Value = serde_json::from_str(response.body()).unwrap();
    // RFC 9728 section 3.2.
    assert_eq!(
        document,
        serde_json::json!({
            "resource": "https://resource.example.com/mcp",
            "authorization_servers": ["https://as1.example.com", "https://as2.example.net"],
            "scopes_supported": ["profile", "email"],
            "bearer_methods_supported": ["header", "query"],
            "resource_documentation": "https://resource.example.com/docs.html",
        })
    );
    let head = fetched(&resource, Method::HEAD).await;
    assert!(head.status() == 200 && head.body().is_empty());
    let post = fetched(&resource, Method::POST).await;
    assert_eq!((post.status().as_u16(), post.headers()["allow"].as_bytes()), (405, &b"GET, HEAD, OPTIONS"[..]));
}

/// What a browser sends before a script of another origin may ask for the document with a header of its own, as clients
/// of the Model Context Protocol do.
#[tokio::test]
async fn a_browsers_preflight_for_the_document_is_answered_and_any_origin_may_read_it() {
    let resource =
        ProtectedResource::builder("https://r.example").authorization_server("https://as.example").build().unwrap();
    let preflight = Request::builder()
        .method(Method::OPTIONS)
        .uri(resource.path())
        .header("origin", "https://client.example")
        .header("access-control-request-method", "GET")
        .header("access-control-request-headers", "mcp-protocol-version")
        .header("sec-fetch-mode", "cors");
    let answer = resource.clone().oneshot(preflight.body(()).unwrap()).await.unwrap();
    assert!(answer.status().is_success() && answer.body().is_empty());
    for (name, value) in [
        ("access-control-allow-origin", "*"),
        ("access-control-allow-methods", "GET, HEAD, OPTIONS"),
        ("access-control-allow-headers", "*"),
    ] {
        assert_eq!(answer.headers()[name], value, "{name}");
    }
    assert!(!answer.headers().contains_key("access-control-allow-credentials"), "no cookies");
    for method in [Method::GET, Method::HEAD, Method::POST] {
        assert_eq!(fetched(&resource, method).await.headers()["access-control-allow-origin"], "*");
    }
}

#[test]
fn the_document_stands_between_the_host_and_the_path() {
    for (resource, url) in [
        ("https://r.example", "https://r.example/.well-known/oauth-protected-resource"),
        ("https://r.example/", "https://r.example/.well-known/oauth-protected-resource"),
        ("https://r.example:8443/a/b", "https://r.example:8443/.well-known/oauth-protected-resource/a/b"),
        ("https://r.example/a/", "https://r.example/.well-known/oauth-protected-resource/a/"),
        ("https://r.example/a?b=c", "https://r.example/.well-known/oauth-protected-resource/a?b=c"),
    ] {
        let built = ProtectedResource::builder(resource).authorization_server("https://as.example").build().unwrap();
        assert_eq!((built.url(), built.resource()), (url, resource));
        let stated: serde_json::Value = serde_json::from_str(built.document()).unwrap();
        assert_eq!(stated["resource"], resource, "as it was given, since clients compare it");
        assert_eq!(stated["bearer_methods_supported"], serde_json::json!(["header"]));
    }
}

#[test]
fn a_document_that_would_mislead_is_refused_by_the_name_of_the_setting() {
    let good = || ProtectedResource::builder("https://r.example").authorization_server("https://as.example");
    good().build().unwrap();
    let nobody = ProtectedResource::builder("https://r.example");
    let keyed_by_lists = std::collections::BTreeMap::from([(vec![1], 2)]);
    for (builder, setting) in [
        (nobody, "authorization_server"),
        (ProtectedResource::builder("r.example").authorization_server("https://as.example"), "resource"),
        (good().authorization_server("http://as.example"), "authorization_server"),
        (good().scope("a b"), "scope"),
        (good().bearer_method("cookie"), "bearer_method"),
        (good().member("x", keyed_by_lists), "member"),
    ] {
        assert_eq!(builder.build().unwrap_err().setting(), setting);
    }
}

proptest! {
    #[test]
    fn whatever_is_configured_comes_out_of_a_parsed_challenge_as_it_went_in(
        realm in "[ -~]{1,40}",
        scopes in prop::collection::btree_set("[!#-\\[\\]-~]{1,12}", 1..4),
        path in "[ -~]{0,20}",
    ) {
        let mut url = reqwest::Url::parse("https://r.example/").unwrap();
        url.set_path(&path);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let value = runtime.block_on(async {
            let mut builder = IntrospectionLayer::builder(Authority::new(active())).realm(&realm).resource_metadata(url.as_str());
            for scope in &scopes {
                builder = builder.require_scope(scope);
            }
            challenge_of(builder, Request::new(String::new())).await
        });
        let first = challenge(&value);
        let wanted = scopes.iter().cloned().collect::<Vec<_>>().join(" ");
        prop_assert_eq!(parameter(&first, "realm"), Some(realm.as_str()));
        prop_assert_eq!(parameter(&first, "scope"), Some(wanted.as_str()));
        prop_assert_eq!(parameter(&first, "resource_metadata"), Some(url.as_str()));
        prop_assert_eq!(first.1.len(), 3);
        // Written again from what was read, and read again, it is the same.
        let written = first.1.iter().map(|(name, value)| {
            format!("{name}=\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\""))
        });
        let written = format!("{} {}", first.0, written.collect::<Vec<_>>().join(", "));
        prop_assert_eq!(challenge(&HeaderValue::try_from(written).unwrap()), first);
    }
}
