//! A service that hears of disabled accounts and logouts at once, instead of after the life of an answer.
//!
//! `cargo run --example signals` starts the sandbox (an in-memory authorization server that tells of events) and a
//! service behind the layer, and prints curl lines that show a token refused right after its user's account was
//! disabled. With `ISSUER` set it listens to a real server instead. It has the routes of the example `rfc7662`, and
//! these:
//!
//! * `POST /events`: takes security events (RFC 8935)
//! * `POST /backchannel-logout`: takes logout tokens (OpenID Connect Back-Channel Logout)
//! * `GET /stats`: what was heard, as JSON, open to everyone
//!
//! The environment:
//!
//! * `ISSUER`: who tells of events, and issues the tokens, exactly as it is named in `iss`. Its metadata says where its
//!   keys and its introspection endpoint are
//! * `AUDIENCE`: what events name in `aud`; required with `ISSUER`. Logout tokens name `CLIENT_ID`
//! * `JWKS_URL`: where the keys are, if the metadata does not say
//! * `PUSH_AUTHORIZATION`: the value of `Authorization` that the issuer sends with each event; unset, the signature
//!   alone tells who sent it
//! * `POLL_URL`, `POLL_TOKEN`: where events are fetched from (RFC 8936), and the bearer token for it, instead of taking
//!   them
//! * `INTROSPECTION_URL`: the endpoint to ask, if the metadata does not say
//! * `CLIENT_ID`, `CLIENT_SECRET`: who asks about tokens; required with `ISSUER`
//! * `REDIS_URL`, `FLEET_SECRET`, `SECOND_FLEET_SECRET`, `FLEET_NAME`, `STRICT`: as the example `fleet` reads them;
//!   with them every process of the fleet hears of an event that one of them was sent
//! * `LISTEN_ADDR`: where to listen; default `127.0.0.1:3000`, port 0 picks a free one
//! * `MAX_TTL`, `INACTIVE_TTL`: seconds an active or inactive answer is kept; default 60 and 10
//! * `RUST_LOG`: what to log; default `info`, try `tower_introspection=debug`

#![allow(clippy::print_stdout, clippy::print_stderr)]

mod common;
#[path = "common/fleet.rs"]
mod fleet_on_redis;

use std::net::SocketAddr;
use std::process::ExitCode;

use axum::{Json, routing::get};
use serde_json::{Value, json};
use tower_introspection::fleet::Fleet;
use tower_introspection::sandbox::{Sandbox, SandboxToken};
use tower_introspection::signals::{Poll, Signals, SignalsHandle, Transmitter};
use tower_introspection::{BuildError, Cached, IntrospectionLayer, Rfc7662, StatusPage};

use common::BoxError;
use common::environment::{BadVariable, Settings, text};
use common::outcomes::print_curl_lines;

const SANDBOX_AUDIENCE: &str = "https://api.example.com";
const SANDBOX_AUTHORIZATION: &str = "Bearer the-sandbox-alone-knows-this";

#[tokio::main]
async fn main() -> ExitCode {
    common::exit_code(run().await)
}

async fn run() -> Result<(), BoxError> {
    let settings = Settings::from_env()?;
    let fleet = fleet_on_redis::fleet()?;
    let authority = from_env()?;
    let listener = settings.listen().await?;
    common::init_tracing(settings.log.clone());
    let address = listener.local_addr()?;

    // Dropped, and with it stopped, when this function returns.
    let sandbox;
    let (endpoint, transmitter) = match authority {
        Some(authority) => {
            print_curl_lines(address);
            authority
        }
        None => {
            sandbox = Sandbox::start().await?;
            sandbox.push_events_to(format!("http://{address}/events"), Some(SANDBOX_AUTHORIZATION));
            sandbox.push_logouts_to(format!("http://{address}/backchannel-logout"), sandbox.client_id());
            print_demonstration(&sandbox, address, settings.max_ttl.as_secs());
            let transmitter = Transmitter::discover(sandbox.issuer())
                .audience(SANDBOX_AUDIENCE)
                .audience(sandbox.client_id())
                .push_authorization(SANDBOX_AUTHORIZATION);
            (sandbox.rfc7662().build()?, transmitter)
        }
    };

    let cached = cached(endpoint, fleet.as_ref(), &settings)?;
    let cache = cached.handle();
    let signals =
        Signals::builder().transmitter(transmitter.cache(cache.clone())).build().map_err(|error| bad(&error))?;
    let guard = IntrospectionLayer::new(cached);
    let (handle, heard) = (guard.handle(), signals.handle());
    let shown = heard.clone();
    let mut app = common::router(guard)?
        // Those who send events have no access token.
        .route_service("/events", signals.push())
        .route_service("/backchannel-logout", signals.backchannel_logout())
        .route("/stats", get(async move || Json(stats(&shown))));
    if address.ip().is_loopback() {
        println!("status page: http://{address}/status");
        app = app.route_service("/status", StatusPage::new(cache.clone()).layer("guard", handle).signals(heard));
    }
    println!("listening on http://{address}");
    axum::serve(listener, app).with_graceful_shutdown(common::shutdown()).await?;
    common::print_figures(&[cache]);
    Ok(())
}

fn cached(endpoint: Rfc7662, fleet: Option<&Fleet>, settings: &Settings) -> Result<Cached<Rfc7662>, BuildError> {
    let cached = Cached::builder(endpoint).max_ttl(settings.max_ttl).inactive_ttl(settings.inactive_ttl);
    match fleet {
        Some(fleet) => cached.fleet(fleet).build(),
        None => cached.build(),
    }
}

/// A real server, if `ISSUER` says which one.
fn from_env() -> Result<Option<(Rfc7662, Transmitter)>, BadVariable> {
    let Some(issuer) = text("ISSUER")? else {
        for name in [
            "AUDIENCE",
            "JWKS_URL",
            "PUSH_AUTHORIZATION",
            "POLL_URL",
            "POLL_TOKEN",
            "INTROSPECTION_URL",
            "CLIENT_ID",
            "CLIENT_SECRET",
        ] {
            if text(name)?.is_some() {
                return Err(BadVariable::new("ISSUER", format_args!("required with {name}")));
            }
        }
        return Ok(None);
    };
    let required = |name, with| text(name)?.ok_or_else(|| BadVariable::new(name, format_args!("required with {with}")));
    let audience = required("AUDIENCE", "ISSUER")?;
    let (id, secret) = (required("CLIENT_ID", "ISSUER")?, required("CLIENT_SECRET", "ISSUER")?);
    let mut transmitter = Transmitter::discover(&issuer).audience(audience).audience(&id);
    if let Some(url) = text("JWKS_URL")? {
        transmitter = transmitter.jwks_url(url);
    }
    if let Some(value) = text("PUSH_AUTHORIZATION")? {
        transmitter = transmitter.push_authorization(value);
    }
    match (text("POLL_URL")?, text("POLL_TOKEN")?) {
        (Some(url), Some(token)) => transmitter = transmitter.poll(Poll::new(url).bearer_token(token)),
        (Some(url), None) => transmitter = transmitter.poll(Poll::new(url)),
        (None, Some(_)) => return Err(BadVariable::new("POLL_URL", "required with POLL_TOKEN")),
        (None, None) => {}
    }
    let endpoint = match text("INTROSPECTION_URL")? {
        Some(url) => Rfc7662::builder(url).client_secret_basic(&id, &secret),
        None => Rfc7662::discover(&issuer).client_secret(&id, &secret),
    };
    Ok(Some((endpoint.build().map_err(|error| bad(&error))?, transmitter)))
}

/// Which variable a setting came from.
fn bad(error: &BuildError) -> BadVariable {
    let name = match error.setting() {
        "url" => "INTROSPECTION_URL",
        "client_secret" | "client_secret_basic" => "CLIENT_SECRET",
        "audience" => "AUDIENCE",
        "jwks_url" => "JWKS_URL",
        "push_authorization" => "PUSH_AUTHORIZATION",
        "poll" => "POLL_URL",
        "bearer_token" => "POLL_TOKEN",
        _ => "ISSUER",
    };
    BadVariable::new(name, error)
}

fn stats(heard: &SignalsHandle) -> Value {
    let stats = heard.stats();
    let transmitters = stats.transmitters.iter().map(|transmitter| {
        let outcomes = transmitter.outcomes.iter().map(|(outcome, count)| (outcome.to_string(), json!(count)));
        json!({
            "issuer": transmitter.issuer,
            "health": transmitter.health.as_str(),
            "last_event_ms": transmitter.last_event.map(|ago| ago.as_millis()),
            "outcomes": outcomes.collect::<serde_json::Map<_, _>>(),
            "polls": transmitter.polls,
        })
    });
    json!({ "transmitters": transmitters.collect::<Vec<_>>(), "forgotten": stats.forgotten })
}

fn print_demonstration(sandbox: &Sandbox, address: SocketAddr, max_ttl: u64) {
    let token_of = |user: &str| sandbox.issue(SandboxToken::new().end_user(user).scope("read"));
    let (ann, bob) = (token_of("ann"), token_of("bob"));
    let (id, secret, issuer) = (sandbox.client_id(), sandbox.client_secret(), sandbox.issuer());
    let line = |token: &str, outcome: &str| {
        println!("curl -i http://{address}/whoami -H 'Authorization: Bearer {token}'  # {outcome}");
    };
    let end = |what: &str, user: &str, outcome: &str| {
        println!("curl -i -u '{id}:{secret}' -d 'user={user}' {issuer}/{what}  # {outcome}");
    };
    println!("authorization server: {issuer}, the sandbox in this process");
    println!();
    println!("Two tokens, whose answers serve for {max_ttl} s (MAX_TTL):");
    line(&ann, "200, ann's");
    line(&bob, "200, bob's");
    println!();
    println!("The account of ann is disabled. The server tells of it, and the token is refused at once:");
    end("disable", "ann", "200, the service has taken the event: 202");
    line(&ann, "401, no longer active");
    line(&bob, "200, nothing has happened to bob");
    println!();
    println!("Bob logs out everywhere, by back-channel logout:");
    end("logout", "bob", "200, the service has taken the logout: 200");
    line(&bob, "401, no longer active");
    println!("curl -i http://{address}/stats  # 200, two events had an effect");
    println!();
    println!("Nobody else can say so:");
    println!(
        "curl -i http://{address}/events -H 'Content-Type: application/secevent+jwt' -d 'junk'  # 400, not signed by anybody"
    );
    println!();
}
