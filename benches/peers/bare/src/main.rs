//! No authentication at all: what everything else is measured against.

use std::process::ExitCode;

use axum::Router;
use axum::routing::get;
use peer_common::PATH;

fn main() -> ExitCode {
    peer_common::run(async |_| Ok(Router::new().route(PATH, get(async || "all of them"))))
}
