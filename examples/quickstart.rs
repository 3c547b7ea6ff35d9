//! An axum service guarded by Apigee access tokens, with nothing to configure.
//!
//! `cargo run --example quickstart` starts the sandbox (an in-memory Apigee management API) and a service behind the
//! layer, and prints curl lines for every outcome. With `APIGEE_ORG` set it asks the real endpoint instead. The
//! environment:
//!
//! * `LISTEN_ADDR`: where to listen; default `127.0.0.1:3000`, port 0 picks a free one
//! * `MAX_TTL`, `INACTIVE_TTL`: seconds an active or inactive answer is kept; default 60 and 10
//! * `RUST_LOG`: what to log; default `info`, try `tower_introspection=debug`
//! * `APIGEE_ORG`, `APIGEE_USERNAME`, `APIGEE_PASSWORD`, and `APIGEE_BASE_URL` for a private cloud

#![allow(clippy::print_stdout, clippy::print_stderr)]

mod common;

use std::process::ExitCode;

use tower_introspection::sandbox::Sandbox;
use tower_introspection::{Apigee, Cached, IntrospectionLayer};

use common::BoxError;
use common::environment::{BadVariable, Settings, text};
use common::outcomes::{print_curl_lines, print_sandbox_curl_lines};

#[tokio::main]
async fn main() -> ExitCode {
    common::exit_code(run().await)
}

async fn run() -> Result<(), BoxError> {
    let settings = Settings::from_env()?;
    let apigee = apigee()?;
    let listener = settings.listen().await?;
    common::init_tracing(settings.log);
    let address = listener.local_addr()?;

    // Dropped, and with it stopped, when this function returns.
    let sandbox;
    let apigee = match apigee {
        Some(apigee) => {
            print_curl_lines(address);
            apigee
        }
        None => {
            sandbox = Sandbox::start().await?;
            print_sandbox_curl_lines(address, &sandbox, &[], settings.max_ttl, |token| {
                let (username, password, url) = (sandbox.username(), sandbox.password(), sandbox.token_url(token));
                format!("curl -i -u '{username}:{password}' -X POST '{url}?action=revoke'  # 204")
            });
            sandbox.apigee().build()?
        }
    };
    let introspector = Cached::builder(apigee).max_ttl(settings.max_ttl).inactive_ttl(settings.inactive_ttl).build()?;
    let cache = introspector.handle();
    let guard = IntrospectionLayer::new(introspector);
    let handle = guard.handle();
    common::serve(listener, common::router(guard)?, handle, cache).await
}

/// The real endpoint, if `APIGEE_ORG` names an organisation.
fn apigee() -> Result<Option<Apigee>, BadVariable> {
    let base_url = text("APIGEE_BASE_URL")?;
    let username = text("APIGEE_USERNAME")?;
    let password = text("APIGEE_PASSWORD")?;
    let Some(org) = text("APIGEE_ORG")? else {
        return match base_url.or(username).or(password) {
            None => Ok(None),
            Some(_) => Err(BadVariable::new(
                "APIGEE_ORG",
                "not set, but another APIGEE_ variable is; set it to use the real endpoint",
            )),
        };
    };
    let required = |name| BadVariable::new(name, "required with APIGEE_ORG");
    let username = username.ok_or_else(|| required("APIGEE_USERNAME"))?;
    let password = password.ok_or_else(|| required("APIGEE_PASSWORD"))?;
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
        BadVariable::new(variable, error)
    })
}
