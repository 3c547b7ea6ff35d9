//! What both APIs of the sandbox have in common: how they read credentials, and how they reply or fail to.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue, LOCATION};
use http::{HeaderMap, Response, StatusCode, Uri};
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

pub(super) const JSON: &str = "application/json";
pub(super) const MAX_REQUEST_BYTES: usize = 64 * 1024;

/// Whether the request comes with these Basic credentials.
pub(super) fn is_basic(headers: &HeaderMap, user: &str, password: &str) -> bool {
    let expected = format!("Basic {}", BASE64_STANDARD.encode(format!("{user}:{password}")));
    headers.get(AUTHORIZATION).is_some_and(|value| *value == expected)
}

/// What a redirect leads to: the same path with this query, where nothing is wrong.
const REDIRECTED: &str = "redirected";

/// Does what the sandbox was told to do instead of answering. `padded` is what an answer of any size begins with.
pub(super) async fn misbehave(fault: Option<Fault>, uri: &Uri, mut padded: Value) -> Result<Option<Reply>, Reset> {
    match fault {
        None | Some(Fault::OldKeys | Fault::Unsigned | Fault::WrongType | Fault::WrongAudience) => {}
        Some(Fault::Delay(delay)) => tokio::time::sleep(delay).await,
        Some(Fault::Status(status)) => {
            let body = r#"{"code":"sandbox.Fault","message":"told to fail"}"#;
            return Ok(Some(reply(status, JSON, body)));
        }
        Some(Fault::Hang) => std::future::pending().await,
        Some(Fault::Reset) => return Err(Reset),
        Some(Fault::Garbage) => {
            return Ok(Some(reply(200, "text/html", "<html><body>It works!</body></html>")));
        }
        Some(Fault::Oversized(bytes)) => {
            padded["padding"] = "x".repeat(bytes).into();
            return Ok(Some(json_reply(StatusCode::OK, &padded)));
        }
        Some(Fault::Redirect) if uri.query() == Some(REDIRECTED) => {}
        Some(Fault::Redirect) => {
            let mut reply = reply(307, JSON, "{}");
            reply.headers_mut().insert(LOCATION, HeaderValue::from_static("?redirected"));
            return Ok(Some(reply));
        }
    }
    Ok(None)
}

/// Counts a question about `token`, and does what the sandbox was told to do instead of answering it.
pub(super) async fn misbehave_about(state: &State, token: &str, uri: &Uri) -> Result<Option<Reply>, Reset> {
    let fault = state.call(token);
    if let Some(reply) = misbehave(fault, uri, json!({"status": "approved", "active": true})).await? {
        return Ok(Some(reply));
    }
    Ok(state.scripted(token).map(|script| reply(script.status, &script.content_type, script.body)))
}

pub(super) fn json_reply(status: StatusCode, body: &Value) -> Reply {
    reply(status.as_u16(), JSON, body.to_string())
}

pub(super) fn reply(status: u16, content_type: &str, body: impl Into<Bytes>) -> Reply {
    let mut reply = Response::new(Full::new(body.into()));
    *reply.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    // What is no header value is left out: then the answer says nothing of its type.
    if let Ok(content_type) = HeaderValue::from_str(content_type) {
        reply.headers_mut().insert(CONTENT_TYPE, content_type);
    }
    reply
}
