//! A Model Context Protocol server as a protected resource, in as little of that protocol as it takes.
//!
//! `cargo run --example mcp` starts the sandbox (an in-memory authorization server) and a server that speaks JSON-RPC
//! at `/mcp`. Clients find their way as MCP's authorization has it: the 401 names the document about this resource (RFC
//! 9728), the document names the authorization server, and tokens have to be meant for this resource. It prints a curl
//! line for each step. The environment:
//!
//! * `LISTEN_ADDR`: where to listen, on loopback; default `127.0.0.1:3000`, port 0 picks a free one
//! * `MAX_TTL`, `INACTIVE_TTL`: seconds an active or inactive answer is kept; default 60 and 10
//! * `RUST_LOG`: what to log; default `info`, try `tower_introspection=debug`

#![allow(clippy::print_stdout, clippy::print_stderr)]

mod common;

use std::process::ExitCode;

use axum::body::Bytes;
use axum::response::{IntoResponse, Response};
use axum::{Json, Router, routing::post};
use http::StatusCode;
use serde_json::{Value, json};
use tower_introspection::sandbox::{Sandbox, SandboxToken};
use tower_introspection::{AccessToken, Cached, IntrospectionLayer, ProtectedResource};

use common::BoxError;
use common::environment::{BadVariable, Settings};

const SCOPE: &str = "mcp:tools";

#[tokio::main]
async fn main() -> ExitCode {
    common::exit_code(run().await)
}

async fn run() -> Result<(), BoxError> {
    let settings = Settings::from_env()?;
    let listener = settings.listen().await?;
    let sandbox = Sandbox::start().await?;
    let resource = format!("http://{}/mcp", listener.local_addr()?);
    let metadata = ProtectedResource::builder(&resource)
        .authorization_server(sandbox.issuer())
        .scope(SCOPE)
        .member("resource_name", "tower-introspection's example")
        .build()
        // Plain http is for loopback only, and the address is all that can be wrong here.
        .map_err(|error| BadVariable::new("LISTEN_ADDR", error))?;
    common::init_tracing(settings.log);

    let introspector = Cached::builder(sandbox.rfc7662().build()?)
        .max_ttl(settings.max_ttl)
        .inactive_ttl(settings.inactive_ttl)
        .build()?;
    let cache = introspector.handle();
    let guard = IntrospectionLayer::builder(introspector)
        .resource_metadata(metadata.url())
        .require_audience(metadata.resource())
        .require_scope(SCOPE)
        .build()?;
    let handle = guard.handle();
    let app = Router::new()
        // Without a stream of its own a server answers GET with 405, which the router does.
        .route("/mcp", post(mcp))
        .route_layer(guard)
        // Added below the guard: the document is for those who have no token yet.
        .route_service(metadata.path(), metadata.clone());

    println!("resource:             {resource}");
    println!("authorization server: {}, the sandbox in this process", sandbox.issuer());
    println!();
    print_curl_lines(&resource, &metadata, &sandbox);
    common::serve(listener, app, handle, cache).await
}

/// One JSON-RPC message, one JSON answer.
async fn mcp(token: AccessToken, body: Bytes) -> Response {
    let Ok(message) = serde_json::from_slice::<Value>(&body) else {
        return (StatusCode::BAD_REQUEST, Json(failure(&Value::Null, -32700, "not JSON"))).into_response();
    };
    let (Some("2.0"), Some(method)) = (message["jsonrpc"].as_str(), message["method"].as_str()) else {
        return (StatusCode::BAD_REQUEST, Json(failure(&Value::Null, -32600, "not a request"))).into_response();
    };
    // Without an id it is a notification, such as `notifications/initialized`: nothing is answered.
    let Some(id) = message.get("id") else { return StatusCode::ACCEPTED.into_response() };
    let answer = match method {
        "initialize" => success(id, &initialize()),
        "tools/list" => success(id, &tools()),
        "tools/call" if message["params"]["name"] == "whoami" => success(id, &whoami(&token)),
        "tools/call" => failure(id, -32602, "there is no such tool"),
        _ => failure(id, -32601, "there is no such method"),
    };
    Json(answer).into_response()
}

fn initialize() -> Value {
    json!({
        "protocolVersion": "2025-06-18",
        "capabilities": {"tools": {}},
        "serverInfo": {"name": "tower-introspection-example", "version": env!("CARGO_PKG_VERSION")},
    })
}

fn tools() -> Value {
    json!({"tools": [{
        "name": "whoami",
        "description": "What the authorization server says about the caller's access token",
        "inputSchema": {"type": "object", "additionalProperties": false},
    }]})
}

/// What the server stated about the token, which is all the model that acts for its holder is to see: the token itself
/// is not among it.
fn whoami(token: &AccessToken) -> Value {
    json!({"content": [{"type": "text", "text": json!(token).to_string()}], "isError": false})
}

fn success(id: &Value, result: &Value) -> Value {
    json!({"jsonrpc": "2.0", "id": id, "result": result})
}

fn failure(id: &Value, code: i32, message: &str) -> Value {
    json!({"jsonrpc": "2.0", "id": id, "error": {"code": code, "message": message}})
}

fn print_curl_lines(resource: &str, metadata: &ProtectedResource, sandbox: &Sandbox) {
    let token = sandbox.issue(SandboxToken::new().audience(resource).scope(SCOPE));
    let elsewhere = sandbox.issue(SandboxToken::new().audience("https://api.example.com/mcp").scope(SCOPE));
    let unscoped = sandbox.issue(SandboxToken::new().audience(resource).scope("read"));

    let call = |authorization: &str, method: &str, params: &str, outcome: &str| {
        let message = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{params}}}"#);
        println!("curl -i {resource}{authorization} -H 'Content-Type: application/json' -d '{message}'  # {outcome}");
    };
    let bearer = |token: &str| format!(" -H 'Authorization: Bearer {token}'");
    let hello = r#"{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"curl","version":"8"}}"#;
    call("", "initialize", hello, "401, no token; `resource_metadata` and `scope` say what to do about it");
    println!("curl -i {}  # 200, which authorization server to ask", metadata.url());
    println!("curl -i {}/.well-known/oauth-authorization-server  # 200, where it issues tokens", sandbox.issuer());
    call(&bearer(&token), "initialize", hello, "200, hello");
    call(&bearer(&token), "tools/list", "{}", "200, one tool");
    call(&bearer(&token), "tools/call", r#"{"name":"whoami","arguments":{}}"#, "200, the facts");
    call(&bearer(&elsewhere), "tools/list", "{}", "401, the token is meant for another resource");
    call(&bearer(&unscoped), "tools/list", "{}", "403, the scope `mcp:tools` is missing");
    println!("curl -i {resource}{}  # 405, no stream of events here", bearer(&token));
    println!();
}
