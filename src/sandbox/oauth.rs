//! A small authorization server: metadata (RFC 8414), client credentials grant (RFC 6749), introspection (RFC 7662) and
//! revocation (RFC 7009), for the same tokens as the management API's.

use http::header::{AUTHORIZATION, CACHE_CONTROL, HeaderValue, WWW_AUTHENTICATE};
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use serde_json::{Map, Value, json};

use super::reply::{MAX_REQUEST_BYTES, Reply, Reset, is_basic, json_reply, misbehave};
use super::state::{CLIENT_ID, CLIENT_SECRET, State};
use super::token::SandboxToken;

/// What a token of this server's own client must have to introspect with.
const INTROSPECTION_SCOPE: &str = "introspection";
const LIFETIME_SECONDS: u64 = 1_800;

/// The management API's members, which mean nothing here.
const MEMBERS_OF_THE_MANAGEMENT_API: [&str; 18] = [
    "app",
    "apiProducts",
    "attributes",
    "clientId",
    "createdAt",
    "createdBy",
    "enduser",
    "expiresAt",
    "grantType",
    "issuedAt",
    "lastModifiedAt",
    "lastModifiedBy",
    "refreshCount",
    "refreshToken",
    "scope",
    "status",
    "token",
    "tokenType",
];

pub(super) async fn answer(state: &State, request: Request<Incoming>) -> Result<Reply, Reset> {
    let path = request.uri().path().to_owned();
    if request.method() == Method::GET && path == "/.well-known/oauth-authorization-server" {
        return Ok(json_reply(StatusCode::OK, &metadata(&state.issuer())));
    }
    let is_endpoint = ["/token", "/introspect", "/revoke"].contains(&path.as_str());
    if request.method() != Method::POST || !is_endpoint {
        return Ok(json_reply(StatusCode::NOT_FOUND, &json!({"error": "not_found"})));
    }
    let (parts, body) = request.into_parts();
    let Ok(body) = Limited::new(body, MAX_REQUEST_BYTES).collect().await else {
        return Ok(error(StatusCode::BAD_REQUEST, "invalid_request"));
    };
    let form: Vec<(String, String)> = form_urlencoded::parse(&body.to_bytes()).into_owned().collect();
    let allowed = is_the_client(&parts.headers, &form)
        || (path == "/introspect" && bearer(&parts.headers).is_some_and(|token| may_introspect(state, token)));
    if !allowed {
        let mut reply = error(StatusCode::UNAUTHORIZED, "invalid_client");
        reply.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"sandbox\""));
        return Ok(reply);
    }
    match path.as_str() {
        "/token" => Ok(grant(state, &form)),
        "/introspect" => introspect(state, &form).await,
        _ => {
            state.set_status(parameter(&form, "token").unwrap_or_default(), "revoked");
            Ok(json_reply(StatusCode::OK, &json!({})))
        }
    }
}

fn metadata(issuer: &str) -> Value {
    let methods = json!(["client_secret_basic", "client_secret_post"]);
    json!({
        "issuer": issuer,
        "token_endpoint": format!("{issuer}/token"),
        "introspection_endpoint": format!("{issuer}/introspect"),
        "revocation_endpoint": format!("{issuer}/revoke"),
        "response_types_supported": [],
        "grant_types_supported": ["client_credentials"],
        "token_endpoint_auth_methods_supported": methods,
        "introspection_endpoint_auth_methods_supported": methods,
        "revocation_endpoint_auth_methods_supported": methods,
    })
}

fn parameter<'f>(form: &'f [(String, String)], name: &str) -> Option<&'f str> {
    form.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
}

fn is_the_client(headers: &HeaderMap, form: &[(String, String)]) -> bool {
    is_basic(headers, CLIENT_ID, CLIENT_SECRET)
        || (parameter(form, "client_id") == Some(CLIENT_ID) && parameter(form, "client_secret") == Some(CLIENT_SECRET))
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    headers.get(AUTHORIZATION)?.to_str().ok()?.strip_prefix("Bearer ")
}

fn may_introspect(state: &State, token: &str) -> bool {
    let answer = introspection(state, token);
    let scopes = answer["scope"].as_str().unwrap_or_default();
    answer["active"] == true && scopes.split(' ').any(|scope| scope == INTROSPECTION_SCOPE)
}

fn grant(state: &State, form: &[(String, String)]) -> Reply {
    match parameter(form, "grant_type") {
        Some("client_credentials") => {}
        Some(_) => return error(StatusCode::BAD_REQUEST, "unsupported_grant_type"),
        None => return error(StatusCode::BAD_REQUEST, "invalid_request"),
    }
    let scope = parameter(form, "scope").unwrap_or_default();
    let lifetime = std::time::Duration::from_secs(LIFETIME_SECONDS);
    let mut token = SandboxToken::new().client_id(CLIENT_ID).scope(scope).expires_in(lifetime);
    // RFC 8707: whom the token is for.
    if let Some(resource) = parameter(form, "resource") {
        token = token.audience(resource);
    }
    let token = state.issue(token);
    let answer = json!({"access_token": token, "token_type": "Bearer", "expires_in": LIFETIME_SECONDS, "scope": scope});
    let mut reply = json_reply(StatusCode::OK, &answer);
    reply.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    reply
}

async fn introspect(state: &State, form: &[(String, String)]) -> Result<Reply, Reset> {
    let Some(token) = parameter(form, "token") else {
        return Ok(error(StatusCode::BAD_REQUEST, "invalid_request"));
    };
    match misbehave(state, token).await? {
        Some(reply) => Ok(reply),
        None => Ok(json_reply(StatusCode::OK, &introspection(state, token))),
    }
}

/// RFC 7662 section 2.2: whatever is wrong with a token, nothing but that it is not active is told.
fn introspection(state: &State, token: &str) -> Value {
    let inactive = json!({"active": false});
    let Some(record) = state.token(token) else { return inactive };
    let millis = |member: &str| record.get(member).and_then(Value::as_i64).unwrap_or_default();
    let expires_at = millis("expiresAt");
    let is_expired = expires_at >= 0 && expires_at <= state.now().as_unix_millis();
    if record.get("status").and_then(Value::as_str) != Some("approved") || is_expired {
        return inactive;
    }
    let mut answer = Map::new();
    answer.insert("active".into(), true.into());
    answer.insert("token_type".into(), "Bearer".into());
    answer.insert("iss".into(), state.issuer().into());
    answer.insert("iat".into(), seconds(millis("issuedAt")));
    if expires_at >= 0 {
        answer.insert("exp".into(), seconds(expires_at));
    }
    for (theirs, ours) in [("clientId", "client_id"), ("scope", "scope"), ("enduser", "sub")] {
        if let Some(value) = record.get(theirs).filter(|value| !value.is_null()) {
            answer.insert(ours.into(), value.clone());
        }
    }
    let claims = record.into_iter().filter(|(name, _)| !MEMBERS_OF_THE_MANAGEMENT_API.contains(&name.as_str()));
    answer.extend(claims);
    Value::Object(answer)
}

/// A NumericDate; with a fraction only if there is one.
#[allow(clippy::cast_precision_loss)] // exact for some hundred thousand years
fn seconds(millis: i64) -> Value {
    if millis % 1_000 == 0 { (millis / 1_000).into() } else { (millis as f64 / 1_000.0).into() }
}

fn error(status: StatusCode, code: &str) -> Reply {
    json_reply(status, &json!({"error": code}))
}
