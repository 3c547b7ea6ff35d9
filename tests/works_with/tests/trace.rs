//! What a `TraceLayer` outside of the guard shows. A process of its own, because others would share what is logged.

use axum::{Router, routing::get};
use http::StatusCode;
use http::header::AUTHORIZATION;
use tower::ServiceBuilder;
use tower_http::sensitive_headers::SetSensitiveRequestHeadersLayer;
use tower_http::trace::{DefaultMakeSpan, TraceLayer};

#[path = "works_with/support.rs"]
mod support;

use support::{Text, answer, issue, request, sandbox};

#[tokio::test]
async fn a_trace_outside_shows_refusals_and_no_token() {
    let text = Text::default();
    let subscriber = tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_writer(text.clone());
    let _default = tracing::subscriber::set_default(subscriber.with_ansi(false).finish());
    let (sandbox, guard) = sandbox().await;
    let headers = DefaultMakeSpan::new().include_headers(true);
    let layers = ServiceBuilder::new()
        .layer(SetSensitiveRequestHeadersLayer::new([AUTHORIZATION]))
        .layer(TraceLayer::new_for_http().make_span_with(headers))
        .layer(guard.build().unwrap());
    let app = Router::new().route("/orders", get(async || "orders")).layer(layers);
    let token = issue(&sandbox);
    assert_eq!(answer(&app, request(&token)).await.status(), StatusCode::OK);
    assert_eq!(answer(&app, request("nobody-issued-this")).await.status(), StatusCode::UNAUTHORIZED);
    let text = text.read();
    assert!(text.contains("status=200") && text.contains("status=401"), "{text}");
    assert!(text.contains("\"authorization\": Sensitive"), "{text}");
    assert!(!text.contains(&token) && !text.contains("nobody-issued-this"), "{text}");
}
