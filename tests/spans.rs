//! What the crate records of its own questions stays in its own spans, where those are not wanted, too.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![cfg(feature = "sandbox")]

mod support;

use support::text::Text;
use support::*;
use tower_introspection::Introspect;
use tower_introspection::introspect::Ask;
use tower_introspection::sandbox::Sandbox;
use tracing::Instrument;
use tracing::field::Empty;

/// With the field names of OpenTelemetry, which a server's own span has as well.
#[tokio::test]
async fn a_failed_question_changes_nothing_in_the_span_of_the_request() {
    let text = Text::default();
    let subscriber = tracing_subscriber::fmt().with_max_level(tracing::Level::INFO).with_writer(text.clone());
    subscriber.with_ansi(false).without_time().init();

    let sandbox = Sandbox::start().await.unwrap();
    sandbox.script("abc", 401, "");
    let span = tracing::info_span!("request", http.response.status_code = Empty, error.type = Empty);
    let asking = async {
        sandbox.rfc7662().build().unwrap().introspect(Ask::new(&bearer("abc"))).await.unwrap_err();
        tracing::info!("done");
    };
    asking.instrument(span).await;

    let text = text.read();
    let done = text.lines().find(|line| line.ends_with("done")).unwrap();
    assert!(done.contains("request"), "{text}");
    assert!(!done.contains("401") && !done.contains("credentials"), "{done}");
}
