//! What several modules and programs need.
#![allow(dead_code)]

use std::io::Write;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use http::{Request, Response};
use http_body_util::BodyExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tower::ServiceExt;
use tower_introspection::layer::IntrospectionLayerBuilder;
use tower_introspection::sandbox::{Sandbox, SandboxToken};
use tower_introspection::{Cached, IntrospectionLayer, Rfc7662};

/// An authority, and a layer that asks it.
pub async fn sandbox() -> (Sandbox, IntrospectionLayerBuilder<Cached<Rfc7662>>) {
    let sandbox = Sandbox::start().await.unwrap();
    let endpoint = sandbox.rfc7662().request_timeout(Duration::from_secs(60)).build().unwrap();
    (sandbox, IntrospectionLayer::builder(Cached::new(endpoint)))
}

/// A token that may read orders.
pub fn issue(sandbox: &Sandbox) -> String {
    sandbox.issue(SandboxToken::new().client_id("web-shop").end_user("alice").scope("orders.read"))
}

pub async fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

pub fn request(token: &str) -> http::request::Builder {
    let request = Request::builder().uri("/orders").header("host", "api.example.com");
    if token.is_empty() { request } else { request.header("authorization", format!("Bearer {token}")) }
}

/// The answer of a router, without sockets.
pub async fn answer(app: &Router, request: http::request::Builder) -> Response<String> {
    let response = app.clone().oneshot(request.body(axum::body::Body::empty()).unwrap()).await.unwrap();
    let (parts, body) = response.into_parts();
    let bytes = body.collect().await.unwrap().to_bytes();
    Response::from_parts(parts, String::from_utf8_lossy(&bytes).into_owned())
}

/// The answer over HTTP/1, as it is on the wire.
pub async fn get(address: SocketAddr, path: &str, token: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let authorization = if token.is_empty() { String::new() } else { format!("authorization: Bearer {token}\r\n") };
    let request = format!("GET {path} HTTP/1.1\r\nhost: api\r\nconnection: close\r\n{authorization}\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

/// What was logged.
#[derive(Clone, Default)]
pub struct Text(Arc<Mutex<Vec<u8>>>);

impl Text {
    pub fn read(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Text {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl tracing_subscriber::fmt::MakeWriter<'_> for Text {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}
