//! Services that share one memory: one question for all of them, and a logout that all of them hear of.
//!
//! `cargo run --example fleet` starts the sandbox (an in-memory authorization server) and three services that share an
//! engine in this process, and prints curl lines that show both. With `REDIS_URL` set it is one service of a fleet on
//! Redis or Valkey, which asks a real server: start it as often as you like, each with another `LISTEN_ADDR`.
//!
//! Each service has the routes of the example `rfc7662`, and these:
//!
//! * `POST /logout`: forgets the caller's token in the whole fleet. 204 once that is recorded, 202 if it is queued,
//!   since the engine is away. Revoke the token at the authority first, or the next request learns that it is active
//! * `GET /stats`: the figures of the cache and the fleet as JSON, open to everyone
//!
//! The environment:
//!
//! * `REDIS_URL`: where the engine is, see `Fleet::redis`
//! * `FLEET_SECRET`: 32 random bytes in base64, the same for all: `openssl rand -base64 32`
//! * `SECOND_FLEET_SECRET`: another that is only read with, to change the secret while the fleet serves
//! * `FLEET_NAME`: what the names of all keys begin with; default `example`
//! * `STRICT`: the lease of a strict fleet, in seconds; unset, it is not strict
//! * `INTROSPECTION_URL` or `ISSUER`, `CLIENT_ID`, `CLIENT_SECRET`: as the example `rfc7662` reads them
//! * `LISTEN_ADDR`: where to listen; default `127.0.0.1:3000`, port 0 picks a free one
//! * `MAX_TTL`, `INACTIVE_TTL`: seconds an active or inactive answer is kept; default 60 and 10
//! * `RUST_LOG`: what to log; default `info`, try `tower_introspection=debug`

#![allow(clippy::print_stdout, clippy::print_stderr)]

mod common;
#[path = "common/fleet.rs"]
mod fleet_on_redis;

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tower_introspection::cache::Reach;
use tower_introspection::fleet::{Fleet, FleetSecret, MemoryEngine};
use tower_introspection::sandbox::{Sandbox, SandboxToken};
use tower_introspection::{BearerToken, CacheHandle, Cached, IntrospectionLayer, Rfc7662};

use common::BoxError;
use common::authority::endpoint;
use common::environment::{BadVariable, Settings};
use common::outcomes::print_curl_lines;

#[tokio::main]
async fn main() -> ExitCode {
    common::exit_code(run().await)
}

async fn run() -> Result<(), BoxError> {
    let settings = Settings::from_env()?;
    let fleet = fleet_on_redis::fleet()?;
    let endpoint = endpoint().await?;
    match (fleet, endpoint) {
        (Some(fleet), Some(endpoint)) => {
            let listener = settings.listen().await?;
            common::init_tracing(settings.log.clone());
            let address = listener.local_addr()?;
            print_curl_lines(address);
            println!("curl -i -X POST http://{address}/logout -H \"Authorization: Bearer $TOKEN\"");
            println!("curl -i http://{address}/stats                                    # 200, open");
            serve(listener, Router::new(), endpoint, &fleet, &settings).await
        }
        (None, None) => demonstrate(&settings).await,
        (Some(_), None) => {
            Err(BadVariable::new("INTROSPECTION_URL", "required with REDIS_URL, unless ISSUER is set").into())
        }
        (None, Some(_)) => {
            let problem = "not set, but INTROSPECTION_URL or ISSUER is; set it, too, or run the example `rfc7662`";
            Err(BadVariable::new("REDIS_URL", problem).into())
        }
    }
}

/// One service of the fleet, until it is told to stop. The fleet's tasks end with its last clone.
async fn serve(
    listener: TcpListener,
    more: Router,
    endpoint: Rfc7662,
    fleet: &Fleet,
    settings: &Settings,
) -> Result<(), BoxError> {
    let introspector =
        Cached::builder(endpoint).fleet(fleet).max_ttl(settings.max_ttl).inactive_ttl(settings.inactive_ttl).build()?;
    let cache = introspector.handle();
    wait_for_the_log(fleet).await;
    let guard = IntrospectionLayer::new(introspector);
    let handle = guard.handle();

    let to_log_out = cache.clone();
    let logout = post(async move |headers: HeaderMap| log_out(&to_log_out, &headers).await).layer(guard.clone());
    let (watched, fleet) = (cache.clone(), fleet.clone());
    let stats = get(async move || Json(stats(&watched, &fleet)));
    let app = common::router(guard)?.route("/logout", logout).route("/stats", stats).merge(more);
    common::serve(listener, app, handle, cache).await
}

/// Until the log of the fleet has been read, a service asks for itself. It does so, too, if the engine stays away.
async fn wait_for_the_log(fleet: &Fleet) {
    let is_read = async {
        while !fleet.stats().is_reading {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let _ = tokio::time::timeout(Duration::from_secs(1), is_read).await;
}

/// Behind the guard, which has let this token in.
async fn log_out(cache: &CacheHandle, headers: &HeaderMap) -> StatusCode {
    let Some(token) = token_of(headers) else { return StatusCode::BAD_REQUEST };
    match cache.invalidate(&token).await {
        Reach::Queued => StatusCode::ACCEPTED,
        _ => StatusCode::NO_CONTENT,
    }
}

fn token_of(headers: &HeaderMap) -> Option<BearerToken<'_>> {
    let (_bearer, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    BearerToken::parse(token.trim()).ok()
}

fn stats(cache: &CacheHandle, fleet: &Fleet) -> Value {
    let (cache, fleet) = (cache.stats(), fleet.stats());
    json!({
        "hits": cache.hits,
        "inactive_hits": cache.inactive_hits,
        "misses": cache.misses,
        "coalesced": cache.coalesced,
        "overloaded": cache.overloaded,
        "stale_served": cache.stale_served,
        "questions": cache.questions,
        "active_answers": cache.active_answers,
        "inactive_answers": cache.inactive_answers,
        "failures": cache.failures,
        "refreshes": cache.refreshes,
        "failed_refreshes": cache.failed_refreshes,
        "evictions": cache.evictions,
        "entries": cache.entries,
        "inactive_entries": cache.inactive_entries,
        "fleet": {
            "is_reading": fleet.is_reading,
            "last_read_ms": fleet.last_read.map(|ago| ago.as_millis()),
            "processes": fleet.processes,
            "hits": fleet.hits,
            "misses": fleet.misses,
            "waits": fleet.waits,
            "stored": fleet.stored,
            "outdated": fleet.outdated,
            "records_read": fleet.records_read,
            "records_written": fleet.records_written,
            "queued": fleet.queued,
            "gaps": fleet.gaps,
            "unreadable": fleet.unreadable,
            "engine_failures": fleet.engine_failures,
        },
    })
}

/// The sandbox, and three services of one fleet.
async fn demonstrate(settings: &Settings) -> Result<(), BoxError> {
    let first = settings.listen().await?;
    common::init_tracing(settings.log.clone());
    let any_port = (first.local_addr()?.ip(), 0);
    let (second, third) = (TcpListener::bind(any_port).await?, TcpListener::bind(any_port).await?);
    let sandbox = Arc::new(Sandbox::start().await?);
    print_demonstration(&sandbox, [first.local_addr()?, second.local_addr()?, third.local_addr()?], settings.max_ttl);

    let engine = MemoryEngine::new();
    // No secret at all, which is good enough for an engine that nobody else can reach.
    let secret = FleetSecret::from_bytes("an engine in this process alone..")?;
    let service = async |listener, more| {
        // Strict, so that whoever logs out has the answer when all services have heard of it.
        let fleet = Fleet::in_memory(&engine, "example", secret.clone()).strict(Duration::from_secs(10)).build()?;
        serve(listener, more, sandbox.rfc7662().build()?, &fleet, settings).await
    };
    let asked = Arc::clone(&sandbox);
    let questions = Router::new().route("/questions", get(async move || format!("{}\n", asked.total_calls())));
    tokio::try_join!(service(first, questions), service(second, Router::new()), service(third, Router::new()))?;
    Ok(())
}

fn print_demonstration(sandbox: &Sandbox, [first, second, third]: [SocketAddr; 3], max_ttl: Duration) {
    let token = sandbox.issue(SandboxToken::new().scope("read"));
    let (id, secret, issuer) = (sandbox.client_id(), sandbox.client_secret(), sandbox.issuer());
    let line = |what: &str, outcome: &str| {
        println!("curl -i {what} -H 'Authorization: Bearer {token}'  # {outcome}");
    };
    println!("authorization server: {issuer}, the sandbox in this process");
    println!("services: http://{first}, http://{second}, http://{third}");
    println!();
    println!("One of the services asks about the token, and all know:");
    line(&format!("http://{first}/whoami"), "200, the facts");
    line(&format!("http://{second}/whoami"), "200, the same facts");
    line(&format!("http://{third}/whoami"), "200, the same facts");
    println!("curl -i http://{first}/questions  # 200, the authority was asked once");
    println!("curl -i http://{third}/stats  # 200, no question, and one hit in what the fleet shares");
    println!();
    println!("The token is revoked at the authority. Its answer would serve for {} s (MAX_TTL),", max_ttl.as_secs());
    println!("but for a logout at one of the services, which all hear of:");
    println!("curl -i -u '{id}:{secret}' -d 'token={token}' {issuer}/revoke  # 200");
    line(&format!("http://{second}/whoami"), "200, nobody has heard of it");
    line(&format!("-X POST http://{first}/logout"), "204, all have");
    line(&format!("http://{second}/whoami"), "401, revoked");
    line(&format!("http://{third}/whoami"), "401, revoked");
    println!();
}
