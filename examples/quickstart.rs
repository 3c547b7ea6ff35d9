//! An axum service guarded by Apigee access tokens, with nothing to configure.
//!
//! `cargo run --example quickstart` starts the sandbox (an in-memory Apigee management API) and a service behind the layer,
//! and prints curl lines for every outcome. With `APIGEE_ORG` set it asks the real endpoint instead. The environment:
//!
//! * `LISTEN_ADDR`: where to listen; default `127.0.0.1:3000`, port 0 picks a free one
//! * `MAX_TTL`, `INACTIVE_TTL`: seconds an active or inactive answer is kept; default 60 and 10
//! * `RUST_LOG`: what to log; default `info`, try `tower_introspection=debug`
//! * `APIGEE_ORG`, `APIGEE_USERNAME`, `APIGEE_PASSWORD`, and `APIGEE_BASE_URL` for a private cloud

#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::env;
use std::error::Error;
use std::fmt::Display;
use std::io::IsTerminal;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::str::FromStr;
use std::time::Duration;

use axum::{Json, Router, routing::get};
use tokio::net::TcpListener;
use tower_introspection::sandbox::{Sandbox, SandboxToken};
use tower_introspection::{AccessToken, Apigee, Cached, Clock, IntrospectionLayer, RequireScopeLayer, SystemClock};
use tracing_subscriber::EnvFilter;

type BoxError = Box<dyn Error + Send + Sync>;

#[tokio::main]
async fn main() -> ExitCode {
    let settings = match Settings::from_env() {
        Ok(settings) => settings,
        Err(problem) => {
            eprintln!("{problem}");
            return ExitCode::from(2);
        }
    };
    let listener = match TcpListener::bind(settings.listen_addr).await {
        Ok(listener) => listener,
        Err(error) => {
            eprintln!("LISTEN_ADDR: cannot listen on {}: {error}", settings.listen_addr);
            return ExitCode::from(2);
        }
    };
    match run(settings, listener).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(settings: Settings, listener: TcpListener) -> Result<(), BoxError> {
    let stderr_is_terminal = std::io::stderr().is_terminal();
    tracing_subscriber::fmt()
        .with_env_filter(settings.log)
        .with_ansi(stderr_is_terminal)
        .with_writer(std::io::stderr)
        .init();
    let address = listener.local_addr()?;

    // Dropped, and with it stopped, when this function returns.
    let sandbox;
    let apigee = match settings.apigee {
        Some(apigee) => {
            print_curl_lines(address, "$TOKEN");
            apigee
        }
        None => {
            sandbox = Sandbox::start().await?;
            print_sandbox_curl_lines(address, &sandbox, settings.max_ttl);
            sandbox.apigee().build()?
        }
    };
    let introspector = Cached::builder(apigee).max_ttl(settings.max_ttl).inactive_ttl(settings.inactive_ttl).build()?;
    let cache = introspector.handle();

    let app = Router::new()
        .route("/admin", get(async || "welcome, admin\n").route_layer(RequireScopeLayer::new("admin")?))
        .route("/whoami", get(async |token: AccessToken| Json(token)))
        // Guards the routes above; `/healthz`, added below it, stays open.
        .route_layer(IntrospectionLayer::new(introspector))
        .route("/healthz", get(async || "ok\n"));

    println!("listening on http://{address}");
    axum::serve(listener, app).with_graceful_shutdown(shutdown()).await?;
    println!("stopped; the cache's figures: {:?}", cache.stats());
    Ok(())
}

struct Settings {
    listen_addr: SocketAddr,
    max_ttl: Duration,
    inactive_ttl: Duration,
    log: EnvFilter,
    apigee: Option<Apigee>,
}

impl Settings {
    fn from_env() -> Result<Self, String> {
        let seconds = |name, default| match parsed(name) {
            Ok(value) => Ok(Duration::from_secs(value.unwrap_or(default))),
            Err(problem) => Err(format!("{problem}; give whole seconds, 0 for none")),
        };
        Ok(Self {
            listen_addr: parsed("LISTEN_ADDR")?.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 3000))),
            max_ttl: seconds("MAX_TTL", 60)?,
            inactive_ttl: seconds("INACTIVE_TTL", 10)?,
            log: parsed("RUST_LOG")?.unwrap_or_else(|| EnvFilter::new("info")),
            apigee: apigee()?,
        })
    }
}

/// The real endpoint, if `APIGEE_ORG` names an organisation.
fn apigee() -> Result<Option<Apigee>, String> {
    let base_url = text("APIGEE_BASE_URL")?;
    let username = text("APIGEE_USERNAME")?;
    let password = text("APIGEE_PASSWORD")?;
    let Some(org) = text("APIGEE_ORG")? else {
        return match base_url.or(username).or(password) {
            None => Ok(None),
            Some(_) => {
                Err("APIGEE_ORG: not set, but another APIGEE_ variable is; set it to use the real endpoint".into())
            }
        };
    };
    let username = username.ok_or("APIGEE_USERNAME: required with APIGEE_ORG")?;
    let password = password.ok_or("APIGEE_PASSWORD: required with APIGEE_ORG")?;
    let mut builder = Apigee::builder(org).basic_auth(&username, &password);
    if let Some(base_url) = base_url {
        builder = builder.base_url(base_url);
    }
    builder.build().map(Some).map_err(|error| {
        let variable = match error.setting() {
            "org" => "APIGEE_ORG",
            "basic_auth" => "APIGEE_USERNAME",
            _ => "APIGEE_BASE_URL",
        };
        format!("{variable}: {error}")
    })
}

fn parsed<T: FromStr<Err: Display>>(name: &str) -> Result<Option<T>, String> {
    let parse = |value: String| value.parse().map_err(|error| format!("{name}: {value:?} cannot be used: {error}"));
    text(name)?.map(parse).transpose()
}

fn text(name: &str) -> Result<Option<String>, String> {
    match env::var(name) {
        Ok(value) if value.is_empty() => Err(format!("{name}: set, but empty; unset it to get the default")),
        Ok(value) => Ok(Some(value)),
        Err(env::VarError::NotPresent) => Ok(None),
        Err(env::VarError::NotUnicode(_)) => Err(format!("{name}: not Unicode text")),
    }
}

fn print_curl_lines(address: SocketAddr, token: &str) {
    println!("curl -i http://{address}/healthz                                  # 200, open");
    println!("curl -i http://{address}/whoami                                   # 401, no token");
    println!("curl -i http://{address}/whoami -H 'Authorization: Bearer ?'      # 400, malformed");
    println!("curl -i http://{address}/whoami -H \"Authorization: Bearer {token}\"");
    println!("curl -i http://{address}/admin  -H \"Authorization: Bearer {token}\"");
}

fn print_sandbox_curl_lines(address: SocketAddr, sandbox: &Sandbox, max_ttl: Duration) {
    let active = sandbox.issue(SandboxToken::new().scope("read").attribute("tier", "gold"));
    let admin = sandbox.issue(SandboxToken::new().client_id("back-office").scope("read admin"));
    let revoked = sandbox.issue(SandboxToken::new().scope("read"));
    sandbox.revoke(&revoked);
    let expired =
        sandbox.issue(SandboxToken::new().scope("read").expires_at(SystemClock.now() - Duration::from_secs(1)));

    println!("active token:  {active}");
    println!("admin token:   {admin}");
    println!("revoked token: {revoked}");
    println!("expired token: {expired}");
    println!();
    let line = |path: &str, token: &str, outcome: &str| {
        println!("curl -i http://{address}{path} -H 'Authorization: Bearer {token}'  # {outcome}");
    };
    println!("curl -i http://{address}/healthz  # 200, open to everyone");
    println!("curl -i http://{address}/whoami  # 401, no token");
    line("/whoami", &active, "200, the facts");
    line("/admin", &active, "403, the scope `admin` is missing");
    line("/admin", &admin, "200");
    line("/whoami", &revoked, "401, revoked");
    line("/whoami", &expired, "401, expired");
    line("/whoami", "nobody-issued-this", "401, unknown");
    line("/whoami", "not*a*token", "400, malformed");
    println!();
    println!("Revoke the active token at the authority, and watch /whoami accept it until its answer");
    println!("has been in the cache for {} s (MAX_TTL):", max_ttl.as_secs());
    println!(
        "curl -i -u '{}:{}' -X POST '{}?action=revoke'  # 204",
        sandbox.username(),
        sandbox.password(),
        sandbox.token_url(&active)
    );
    println!();
}

/// Ends on Ctrl-C, and on SIGTERM where there is one.
async fn shutdown() {
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
