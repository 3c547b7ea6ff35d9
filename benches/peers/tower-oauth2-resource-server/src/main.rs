//! `tower-oauth2-resource-server`: a layer that verifies JWTs. It checks issuer, audience and expiry, and no scope.
//! With `jwt-aws-lc-rs`, the faster of the two libraries it can use for signatures; the other is its default.

use std::process::ExitCode;

use axum::routing::get;
use axum::{Extension, Router};
use peer_common::{AUDIENCE, App, Authority, Failure, PATH};
use tower_layer::Layer;
use tower_oauth2_resource_server::claims::DefaultClaims;
use tower_oauth2_resource_server::server::OAuth2ResourceServer;
use tower_oauth2_resource_server::tenant::TenantConfiguration;

async fn guarded(authority: &Authority) -> Result<impl App + use<>, Failure> {
    let tenant = TenantConfiguration::builder(authority.issuer()).audiences(&[AUDIENCE]).build().await?;
    let server = <OAuth2ResourceServer>::builder().add_tenant(tenant).build().await?;
    let handler = get(async |_: Extension<DefaultClaims>| "all of them");
    Ok(server.into_layer().layer(Router::new().route(PATH, handler)))
}

fn main() -> ExitCode {
    peer_common::run(guarded)
}
