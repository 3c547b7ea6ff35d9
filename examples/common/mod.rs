//! What the examples that are servers have in common. A folder without `main.rs` is no example of its own.

// Each example uses a part of it.
#![allow(dead_code)]

pub(crate) mod authority;
pub(crate) mod certificates;
pub(crate) mod environment;
pub(crate) mod outcomes;

use std::error::Error;
use std::io::IsTerminal;
use std::net::SocketAddr;
use std::process::ExitCode;
use tower_introspection::Policy;

use axum::{Json, Router, routing::get};
use tokio::net::TcpListener;
use tower_introspection::introspect::ChooseIntrospector;
use tower_introspection::stats::LayerHandle;
use tower_introspection::{AccessToken, BuildError, CacheHandle, IntrospectionLayer, StatusPage};
use tracing_subscriber::EnvFilter;

use self::environment::BadVariable;

pub(crate) type BoxError = Box<dyn Error + Send + Sync>;

/// 2 if the environment cannot be used, 1 for whatever else went wrong, each with one line on stderr.
pub(crate) fn exit_code(outcome: Result<(), BoxError>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            if error.is::<BadVariable>() { ExitCode::from(2) } else { ExitCode::FAILURE }
        }
    }
}

pub(crate) fn init_tracing(log: EnvFilter) {
    let stderr_is_terminal = std::io::stderr().is_terminal();
    tracing_subscriber::fmt().with_env_filter(log).with_ansi(stderr_is_terminal).with_writer(std::io::stderr).init();
}

/// One route for everybody, one for every token that `guard` lets in, and one for those with the scope `admin`.
pub(crate) fn router<I: ChooseIntrospector>(guard: IntrospectionLayer<I>) -> Result<Router, BuildError> {
    router_with(guard, |routes| routes)
}

/// The same, with `more` routes that `guard` guards.
pub(crate) fn router_with<I: ChooseIntrospector>(
    guard: IntrospectionLayer<I>,
    more: impl FnOnce(Router) -> Router,
) -> Result<Router, BuildError> {
    let routes = Router::new()
        .route(
            "/admin",
            get(async || "welcome, admin\n").route_layer(guard.require(Policy::new().require_scope("admin"))?),
        )
        .route("/whoami", get(async |token: AccessToken| Json(token)));
    Ok(more(routes)
        // Guards the routes above; `/healthz`, added below it, stays open.
        .route_layer(guard)
        .route("/healthz", get(async || "ok\n")))
}

/// Serves `app`, and a status page of its guard beside it, until it is told to stop.
pub(crate) async fn serve(
    listener: TcpListener,
    app: Router,
    guard: LayerHandle,
    cache: CacheHandle,
) -> Result<(), BoxError> {
    serve_all(listener, app, guard, vec![cache]).await
}

/// The same with several caches.
pub(crate) async fn serve_all(
    listener: TcpListener,
    app: Router,
    guard: LayerHandle,
    caches: Vec<CacheHandle>,
) -> Result<(), BoxError> {
    let address = listener.local_addr()?;
    let app = with_status_page(app, "http", address, guard, &caches);
    println!("listening on http://{address}");
    axum::serve(listener, app).with_graceful_shutdown(shutdown()).await?;
    print_figures(&caches);
    Ok(())
}

pub(crate) fn with_status_page(
    app: Router,
    scheme: &str,
    address: SocketAddr,
    guard: LayerHandle,
    caches: &[CacheHandle],
) -> Router {
    // No token guards it, so it is for this machine alone.
    if address.ip().is_loopback()
        && let Some((first, others)) = caches.split_first()
    {
        println!("status page: {scheme}://{address}/status");
        let page = others.iter().cloned().fold(StatusPage::new(first.clone()), StatusPage::cache);
        return app.route_service("/status", page.layer("guard", guard));
    }
    app
}

pub(crate) fn print_figures(caches: &[CacheHandle]) {
    for cache in caches {
        println!("stopped; the cache's figures: {:?}", cache.stats());
    }
}

/// Ends on Ctrl-C, and on SIGTERM where there is one.
pub(crate) async fn shutdown() {
    let interrupt = async {
        if let Err(error) = tokio::signal::ctrl_c().await {
            tracing::error!(%error, "cannot listen for Ctrl-C");
            std::future::pending::<()>().await;
        }
    };
    #[cfg(unix)]
    let terminate = async {
        match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
            Ok(mut signal) => drop(signal.recv().await),
            Err(error) => {
                tracing::error!(%error, "cannot listen for SIGTERM");
                std::future::pending::<()>().await;
            }
        }
    };
    #[cfg(not(unix))]
    let terminate = std::future::pending::<()>();
    tokio::select! {
        () = interrupt => {}
        () = terminate => {}
    }
}
