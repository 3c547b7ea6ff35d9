//! OpenTelemetry, by tracing-opentelemetry: questions are spans of the request that asked them. A process of its own,
//! because others would share its spans.

use opentelemetry::trace::TracerProvider;
use opentelemetry_sdk::trace::{SdkTracerProvider, SpanExporter};
use tracing::{Level, Subscriber};
use tracing_subscriber::{Layer, Registry, filter::Targets, layer::SubscriberExt};

fn subscriber(provider: &SdkTracerProvider) -> impl Subscriber {
    // The spans of questions are at debug level.
    let wanted = Targets::new().with_default(Level::INFO).with_target("tower_introspection", Level::DEBUG);
    let tracer = provider.tracer("my-api");
    Registry::default().with(tracing_opentelemetry::layer().with_tracer(tracer).with_filter(wanted))
}

fn provider(exporter: impl SpanExporter + 'static) -> SdkTracerProvider {
    SdkTracerProvider::builder().with_simple_exporter(exporter).build()
}

use axum::{Router, routing::get};
use opentelemetry::trace::SpanKind;
use opentelemetry_sdk::trace::{InMemorySpanExporter, SpanData};
use tower::ServiceBuilder;
use tower_http::trace::{DefaultMakeSpan, TraceLayer};

#[path = "works_with/support.rs"]
mod support;

use support::{answer, issue, request, sandbox};

#[tokio::test]
async fn a_question_is_a_span_below_the_span_of_the_request_that_asked_it() {
    let exporter = InMemorySpanExporter::default();
    let provider = provider(exporter.clone());
    let _default = tracing::subscriber::set_default(subscriber(&provider));
    let (sandbox, guard) = sandbox().await;
    let spans_of_requests = TraceLayer::new_for_http().make_span_with(DefaultMakeSpan::new().level(Level::INFO));
    let layers = ServiceBuilder::new().layer(spans_of_requests).layer(guard.build().unwrap());
    let app = Router::new().route("/orders", get(async || "orders")).layer(layers);
    let token = issue(&sandbox);
    for _miss_and_hit in 0..2 {
        assert_eq!(answer(&app, request(&token)).await.status(), 200);
    }
    provider.force_flush().unwrap();
    let spans = exporter.get_finished_spans().unwrap();
    let named = |name: &str| spans.iter().filter(|span| span.name == name).collect::<Vec<_>>();
    let (requests, flights, questions) = (named("request"), named("introspection_flight"), named("introspection"));
    assert_eq!((requests.len(), flights.len(), questions.len()), (2, 1, 1), "a hit asks nothing: {spans:?}");
    assert_eq!(flights[0].parent_span_id, requests[0].span_context.span_id());
    assert_eq!(questions[0].parent_span_id, flights[0].span_context.span_id());
    assert_eq!(questions[0].span_kind, SpanKind::Client);
    let attribute = |span: &SpanData, name: &str| {
        let found = span.attributes.iter().find(|attribute| attribute.key.as_str() == name);
        found.map(|attribute| attribute.value.to_string())
    };
    assert_eq!(attribute(questions[0], "http.response.status_code").as_deref(), Some("200"));
    assert_eq!(attribute(questions[0], "server.address").as_deref(), Some("127.0.0.1"));
    assert!(!format!("{spans:?}").contains(&token));
}
