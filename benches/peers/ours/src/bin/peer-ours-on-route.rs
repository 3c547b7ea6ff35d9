//! `tower-introspection` on a route, as its README has it: axum boxes what is layered onto routes, which is in this
//! figure.

use std::process::ExitCode;

use axum::Router;
use axum::routing::get;
use peer_common::PATH;
use tower_introspection::AccessToken;

fn main() -> ExitCode {
    peer_common::run(async |authority| {
        let router = Router::new().route(PATH, get(async |_: AccessToken| "all of them"));
        Ok(router.route_layer(peer_ours::guard(authority)?.build()?))
    })
}
