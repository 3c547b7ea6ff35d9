//! `oauth-resource-server`: a layer that verifies JWTs. It checks issuer, audience, expiry and scope.

use std::process::ExitCode;
use std::sync::Arc;

use axum::Router;
use axum::routing::get;
use oauth_resource_server::axum::AuthLayer;
use oauth_resource_server::{Credential, KeyNaming, OAuthConfig, OAuthValidator};
use peer_common::{AUDIENCE, App, Authority, Failure, PATH, SCOPE};
use tower_layer::Layer;

async fn guarded(authority: &Authority) -> Result<impl App + use<>, Failure> {
    let config = OAuthConfig {
        enabled: true,
        issuer: authority.issuer().into(),
        audience: AUDIENCE.into(),
        resource: AUDIENCE.into(),
        required_scope: Some(SCOPE.into()),
        algorithms: vec!["RS256".into(), "ES256".into()],
        ..OAuthConfig::default()
    };
    let config = config.resolve(KeyNaming::Dotted("oauth"))?.ok_or("not enabled")?;
    let validator = Arc::new(OAuthValidator::new(&config)?);
    validator.refresh_now().await?;
    let guard = AuthLayer::builder().oauth(validator).build()?;
    Ok(guard.layer(Router::new().route(PATH, get(async |_: Credential| "all of them"))))
}

fn main() -> ExitCode {
    peer_common::run(guarded)
}
