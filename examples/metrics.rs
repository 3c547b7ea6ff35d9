//! A guarded axum service as operators want it: metrics, probes, and the status page.
//!
//! `cargo run --example metrics` starts the sandbox (an in-memory Apigee management API) and a service behind the
//! layer, and prints curl lines for every outcome. Beside it there are:
//!
//! * `/metrics`, for Prometheus; `metrics.dashboard.json` beside this file is a dashboard of it for Grafana
//! * `/livez`: whether the process runs
//! * `/readyz`: whether the authority answers, by the cache's `health()`; 503 if it does not
//! * `/status`, the status page
//!
//! All of it is open here. Serve it on an address of its own where others can come. The environment:
//!
//! * `LISTEN_ADDR`: where to listen; default `127.0.0.1:3000`, port 0 picks a free one
//! * `MAX_TTL`, `INACTIVE_TTL`: seconds an active or inactive answer is kept; default 60 and 10
//! * `RUST_LOG`: what to log; default `info`, try `tower_introspection=debug`

#![allow(clippy::print_stdout, clippy::print_stderr)]

mod common;

use std::process::ExitCode;
use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use tower_introspection::sandbox::Sandbox;
use tower_introspection::{CacheHandle, Cached, IntrospectionLayer};

use common::BoxError;
use common::environment::Settings;
use common::outcomes::print_sandbox_curl_lines;

/// In seconds, around what an authority takes and what `request_timeout` allows it.
const DURATIONS: [f64; 13] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// In seconds, around `max_ttl`, which they should have a bound at: no verdict is older unless stale ones are served.
const AGES: [f64; 13] = [1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 40.0, 50.0, 60.0, 90.0, 120.0, 180.0, 300.0];

#[tokio::main]
async fn main() -> ExitCode {
    common::exit_code(run().await)
}

async fn run() -> Result<(), BoxError> {
    let settings = Settings::from_env()?;
    let listener = settings.listen().await?;
    common::init_tracing(settings.log);
    let address = listener.local_addr()?;
    // First of all: figures go to the recorder that is there when the first one is published.
    let metrics = recorder()?;

    let sandbox = Sandbox::start().await?;
    print_sandbox_curl_lines(address, &sandbox, &[], settings.max_ttl, |token| {
        let (username, password, url) = (sandbox.username(), sandbox.password(), sandbox.token_url(token));
        format!("curl -i -u '{username}:{password}' -X POST '{url}?action=revoke'  # 204")
    });
    println!("curl -i http://{address}/metrics  # 200, for Prometheus");
    println!("curl -i http://{address}/livez  # 200, it runs");
    println!("curl -i http://{address}/readyz  # 200, the authority answers");
    println!();

    let introspector = Cached::builder(sandbox.apigee().build()?)
        .name("sandbox")
        .max_ttl(settings.max_ttl)
        .inactive_ttl(settings.inactive_ttl)
        .build()?;
    let cache = introspector.handle();
    let guard = IntrospectionLayer::new(introspector);
    let handle = guard.handle();
    let app = common::router(guard)?.merge(operations(cache.clone(), metrics));
    common::serve(listener, app, handle, cache).await
}

fn recorder() -> Result<PrometheusHandle, BuildError> {
    let histogram = |name: &str| Matcher::Full(format!("tower_introspection.{name}"));
    let metrics = PrometheusBuilder::new()
        .set_buckets_for_metric(histogram("question.duration_seconds"), &DURATIONS)?
        .set_buckets_for_metric(histogram("verdict.age_seconds"), &AGES)?
        .install_recorder()?;
    // What was recorded is kept as it came until somebody counts it: also if nobody fetches the metrics.
    let upkeep = metrics.clone();
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(Duration::from_secs(5)).await;
            upkeep.run_upkeep();
        }
    });
    Ok(metrics)
}

fn operations(cache: CacheHandle, metrics: PrometheusHandle) -> Router {
    let watched = cache.clone();
    Router::new()
        .route(
            "/metrics",
            get(async move || {
                // Publishes what is looked at rather than counted, such as entries and the breaker, as of this moment.
                let _ = watched.stats();
                ([("content-type", "text/plain; version=0.0.4; charset=utf-8")], metrics.render())
            }),
        )
        .route(
            "/readyz",
            // Read what `Health` says about probes before you take a service out of rotation for this.
            get(async move || {
                let health = cache.health();
                let status = if health.is_ready() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
                (status, format!("{}\n", health.as_str()))
            }),
        )
        // Never ask the authority here: a restart does not mend it.
        .route("/livez", get(async || "ok\n"))
}
