//! `tower-introspection` with JWTs that it judges itself, in a cache.

use std::process::ExitCode;

use axum::Router;
use axum::routing::get;
use peer_common::{AUDIENCE, CAPACITY, PATH, SCOPE, TTL};
use tower_introspection::{AccessToken, Cached, IntrospectionLayer, Jwt};
use tower_layer::Layer;

fn main() -> ExitCode {
    peer_common::run(async |authority| {
        let jwt = Jwt::builder(authority.issuer()).jwks_url(authority.jwks_url()).audience(AUDIENCE);
        let cached = Cached::builder(jwt.build()?).max_capacity(CAPACITY.into()).max_ttl(TTL).build()?;
        let guard = IntrospectionLayer::builder(cached).require_scope(SCOPE).build()?;
        let router = Router::new().route(PATH, get(async |_: AccessToken| "all of them"));
        Ok(guard.layer(router))
    })
}
