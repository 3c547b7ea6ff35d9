//! `tower-introspection` around the router.

use std::process::ExitCode;

use axum::Router;
use axum::routing::get;
use peer_common::PATH;
use tower_introspection::AccessToken;
use tower_layer::Layer;

fn main() -> ExitCode {
    peer_common::run(async |authority| {
        let router = Router::new().route(PATH, get(async |_: AccessToken| "all of them"));
        Ok(peer_ours::guard(authority)?.build()?.layer(router))
    })
}
