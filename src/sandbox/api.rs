//! The operations of the management API.

use http::header::{HeaderValue, WWW_AUTHENTICATE};
use http::{Method, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use percent_encoding::percent_decode_str;
use serde_json::{Map, Value, json};

use super::reply::{MAX_REQUEST_BYTES, Reply, Reset, is_basic, json_reply, misbehave_about};
use super::state::{ORG, PASSWORD, State, USERNAME};

pub(super) async fn answer(state: &State, request: Request<Incoming>) -> Result<Reply, Reset> {
    if !is_basic(request.headers(), USERNAME, PASSWORD) {
        let mut reply = json_reply(StatusCode::UNAUTHORIZED, &json!({"message": "Unauthorized"}));
        reply.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"sandbox\""));
        return Ok(reply);
    }
    let segments: Vec<String> = request
        .uri()
        .path()
        .split('/')
        .skip(1)
        .map(|segment| percent_decode_str(segment).decode_utf8_lossy().into_owned())
        .collect();
    let path: Vec<&str> = segments.iter().map(String::as_str).collect();
    match (request.method().clone(), path.as_slice()) {
        (_, ["v1", "o" | "organizations", org, ..]) if *org != ORG => Ok(error(
            StatusCode::NOT_FOUND,
            "organizations.OrganizationDoesNotExist",
            &format!("Organization {org} does not exist"),
        )),
        (Method::GET, ["v1", _, _, "oauth2", "accesstokens", token]) => get(state, token, request.uri()).await,
        (Method::POST, ["v1", _, _, "oauth2", "accesstokens", token]) => Ok(post(state, token, request).await),
        (Method::DELETE, ["v1", _, _, "oauth2", "accesstokens", token]) => Ok(token_reply(state.delete(token))),
        (Method::POST, ["v1", _, _, "oauth2", "revoke"]) => Ok(revoke_many(state, request.uri().query())),
        _ => Ok(error(StatusCode::NOT_FOUND, "sandbox.NoSuchResource", "the sandbox has no such resource")),
    }
}

async fn get(state: &State, token: &str, uri: &Uri) -> Result<Reply, Reset> {
    Ok(misbehave_about(state, token, uri).await?.unwrap_or_else(|| token_reply(state.token(token))))
}

async fn post(state: &State, token: &str, request: Request<Incoming>) -> Reply {
    let status = match parameter(request.uri().query(), "action").as_deref() {
        Some("approve") => "approved",
        Some("revoke") => "revoked",
        Some(_) => return error(StatusCode::BAD_REQUEST, "sandbox.BadAction", "action is approve or revoke"),
        None => return update(state, token, request).await,
    };
    if state.set_status(token, status) { empty(StatusCode::NO_CONTENT) } else { no_such_token() }
}

/// Sets attributes and scope from a JSON body, and returns the token.
async fn update(state: &State, token: &str, request: Request<Incoming>) -> Reply {
    let body = Limited::new(request.into_body(), MAX_REQUEST_BYTES).collect().await;
    let changes = body.ok().and_then(|body| serde_json::from_slice::<Map<String, Value>>(&body.to_bytes()).ok());
    let Some(changes) = changes else {
        return error(StatusCode::BAD_REQUEST, "sandbox.BadBody", "the body is not a JSON object of at most 64 KiB");
    };
    token_reply(state.update(token, |record| {
        record.extend(changes.into_iter().filter(|(member, _)| member == "attributes" || member == "scope"));
    }))
}

fn revoke_many(state: &State, query: Option<&str>) -> Reply {
    let criteria = [("app", parameter(query, "app")), ("enduser", parameter(query, "enduser"))];
    if criteria.iter().all(|(_, value)| value.is_none()) {
        return error(StatusCode::BAD_REQUEST, "sandbox.BadCriteria", "name an app or an enduser");
    }
    for (member, value) in criteria {
        if let Some(value) = value {
            state.revoke_all(member, &value);
        }
    }
    empty(StatusCode::ACCEPTED)
}

fn parameter(query: Option<&str>, name: &str) -> Option<String> {
    query?
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .find(|(key, _)| *key == name)
        .map(|(_, value)| percent_decode_str(value).decode_utf8_lossy().into_owned())
}

fn token_reply(record: Option<Map<String, Value>>) -> Reply {
    record.map_or_else(no_such_token, |record| json_reply(StatusCode::OK, &Value::Object(record)))
}

fn no_such_token() -> Reply {
    error(StatusCode::NOT_FOUND, "keymanagement.service.AccessTokenDoesntExists", "Access Token doesnt exists")
}

fn error(status: StatusCode, code: &str, message: &str) -> Reply {
    json_reply(status, &json!({"code": code, "message": message, "contexts": []}))
}

fn empty(status: StatusCode) -> Reply {
    let mut reply = Response::default();
    *reply.status_mut() = status;
    reply
}
