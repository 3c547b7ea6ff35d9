//! An axum router behind the layer, in as few lines as it takes. `cargo run --example axum`
//!
//! `LISTEN_ADDR` says where to listen; default `127.0.0.1:3000`, port 0 picks a free one.

#![allow(clippy::print_stdout)]

use axum::{Router, routing::get};
use tokio::net::TcpListener;
use tower_introspection::sandbox::{Sandbox, SandboxToken};
use tower_introspection::{AccessToken, Cached, IntrospectionLayer};

async fn hello(token: AccessToken) -> String {
    format!("hello {}\n", token.client_id().unwrap_or("you"))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // With your own organisation: Apigee::builder("my-org").basic_auth("reader@example.com", "password").build()?
    let sandbox = Sandbox::start().await?;
    let apigee = sandbox.apigee().build()?;

    let app = Router::new()
        .route("/hello", get(hello))
        .route_layer(IntrospectionLayer::new(Cached::new(apigee)))
        .route("/healthz", get(async || "open to everyone\n"));

    let address = std::env::var("LISTEN_ADDR").unwrap_or_else(|_| "127.0.0.1:3000".into());
    let listener = TcpListener::bind(address).await?;
    let address = listener.local_addr()?;
    println!("curl -i http://{address}/healthz");
    println!("curl -i http://{address}/hello");
    println!("curl -i http://{address}/hello -H 'Authorization: Bearer {}'", sandbox.issue(SandboxToken::new()));
    axum::serve(listener, app).await?;
    Ok(())
}
