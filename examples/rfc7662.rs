//! An axum service guarded by the tokens of any RFC 7662 server, with nothing to configure.
//!
//! `cargo run --example rfc7662` starts the sandbox (an in-memory authorization server) and a service behind the layer,
//! and prints curl lines for every outcome. With `INTROSPECTION_URL` or `ISSUER` set it asks a real server instead. The
//! environment:
//!
//! * `INTROSPECTION_URL`: the endpoint to ask; or
//! * `ISSUER`: the server that names it in its metadata, exactly as written there. This example looks at once, so that
//!   a mistake shows; without `fetch` a service starts while the server is down
//! * `CLIENT_ID`, `CLIENT_SECRET`: who asks; required with either
//! * `REQUIRE_SCOPE`: a scope that `/whoami` and `/admin` require, or several with spaces between, all of them required
//! * `LISTEN_ADDR`: where to listen; default `127.0.0.1:3000`, port 0 picks a free one
//! * `MAX_TTL`, `INACTIVE_TTL`: seconds an active or inactive answer is kept; default 60 and 10
//! * `RUST_LOG`: what to log; default `info`, try `tower_introspection=debug`

#![allow(clippy::print_stdout, clippy::print_stderr)]

mod common;

use std::process::ExitCode;

use tower_introspection::sandbox::Sandbox;
use tower_introspection::{Cached, IntrospectionLayer, Policy};

use common::BoxError;
use common::authority::endpoint;
use common::environment::{BadVariable, Settings, text};
use common::outcomes::{print_curl_lines, print_sandbox_curl_lines};

#[tokio::main]
async fn main() -> ExitCode {
    common::exit_code(run().await)
}

async fn run() -> Result<(), BoxError> {
    let settings = Settings::from_env()?;
    let scopes = required_scopes()?;
    let endpoint = endpoint().await?;
    let listener = settings.listen().await?;
    common::init_tracing(settings.log);
    let address = listener.local_addr()?;

    // Dropped, and with it stopped, when this function returns.
    let sandbox;
    let endpoint = match endpoint {
        Some(endpoint) => {
            print_curl_lines(address);
            endpoint
        }
        None => {
            sandbox = Sandbox::start().await?;
            let issuer = sandbox.issuer();
            println!("authorization server: {issuer}, the sandbox in this process");
            println!();
            print_sandbox_curl_lines(address, &sandbox, &scopes, settings.max_ttl, |token| {
                let (id, secret) = (sandbox.client_id(), sandbox.client_secret());
                format!("curl -i -u '{id}:{secret}' -d 'token={token}' {issuer}/revoke  # 200")
            });
            sandbox.rfc7662().build()?
        }
    };
    let introspector =
        Cached::builder(endpoint).max_ttl(settings.max_ttl).inactive_ttl(settings.inactive_ttl).build()?;
    let cache = introspector.handle();
    let policy = scopes.into_iter().fold(Policy::new(), Policy::require_scope);
    let guard = IntrospectionLayer::builder(introspector).policy(policy).build()?;
    let handle = guard.handle();
    common::serve(listener, common::router(guard)?, handle, cache).await
}

/// The scopes of `REQUIRE_SCOPE`, none by default.
fn required_scopes() -> Result<Vec<String>, BadVariable> {
    let Some(value) = text("REQUIRE_SCOPE")? else { return Ok(Vec::new()) };
    let scopes: Vec<String> = value.split_whitespace().map(Into::into).collect();
    if scopes.is_empty() {
        return Err(BadVariable::new("REQUIRE_SCOPE", "set, but blank; unset it to require none"));
    }
    let policy = scopes.iter().fold(Policy::new(), Policy::require_scope);
    policy.check().map_err(|error| BadVariable::new("REQUIRE_SCOPE", error))?;
    Ok(scopes)
}
