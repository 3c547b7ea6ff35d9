//! What both APIs of the sandbox have in common: how they read credentials, and how they reply or fail to.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use http::{HeaderMap, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Bytes;
use serde_json::{Value, json};

use super::fault::Fault;
use super::state::State;

pub(super) type Reply = Response<Full<Bytes>>;

/// The connection is to be reset instead of an answer.
#[derive(Debug)]
pub(super) struct Reset;

impl std::fmt::Display for Reset {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.write_str("the sandbox was told to reset the connection")
    }
}

impl std::error::Error for Reset {}

pub(super) const MAX_REQUEST_BYTES: usize = 64 * 1024;

/// Whether the request comes with these Basic credentials.
pub(super) fn is_basic(headers: &HeaderMap, user: &str, password: &str) -> bool {
    let expected = format!("Basic {}", BASE64_STANDARD.encode(format!("{user}:{password}")));
    headers.get(AUTHORIZATION).is_some_and(|value| *value == expected)
}

/// Counts a question about `token`, and does what the sandbox was told to do instead of answering it.
pub(super) async fn misbehave(state: &State, token: &str) -> Result<Option<Reply>, Reset> {
    match state.call(token) {
        None => {}
        Some(Fault::Delay(delay)) => tokio::time::sleep(delay).await,
        Some(Fault::Status(status)) => {
            let body = r#"{"code":"sandbox.Fault","message":"told to fail"}"#;
            return Ok(Some(reply(status, "application/json", body)));
        }
        Some(Fault::Hang) => std::future::pending().await,
        Some(Fault::Reset) => return Err(Reset),
        Some(Fault::Garbage) => {
            return Ok(Some(reply(200, "text/html", "<html><body>It works!</body></html>")));
        }
        Some(Fault::Oversized(bytes)) => {
            let body = json!({"status": "approved", "active": true, "padding": "x".repeat(bytes)});
            return Ok(Some(json_reply(StatusCode::OK, &body)));
        }
    }
    Ok(state.scripted(token).map(|(status, body)| reply(status, "application/json", body)))
}

pub(super) fn json_reply(status: StatusCode, body: &Value) -> Reply {
    reply(status.as_u16(), "application/json", body.to_string())
}

fn reply(status: u16, content_type: &'static str, body: impl Into<Bytes>) -> Reply {
    let mut reply = Response::new(Full::new(body.into()));
    *reply.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    reply
}
