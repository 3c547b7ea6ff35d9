//! A small authorization server: metadata (RFC 8414), key set (RFC 7517), client credentials grant (RFC 6749),
//! introspection (RFC 7662) and revocation (RFC 7009), for the same tokens as the management API's.

use http::header::{AUTHORIZATION, CACHE_CONTROL, HeaderValue, WWW_AUTHENTICATE};
use http::{HeaderMap, Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use serde_json::{Value, json};

use super::introspection;
use super::keys::DEFAULT_ALGORITHM;
use super::reply::{MAX_REQUEST_BYTES, Reply, Reset, is_basic, json_reply, misbehave, reply};
#[cfg(feature = "signals")]
use super::signals::SandboxEvent;
use super::state::{CLIENT_ID, CLIENT_SECRET, State};
use super::token::SandboxToken;

/// What a token of this server's own client must have to introspect with.
const INTROSPECTION_SCOPE: &str = "introspection";
const LIFETIME_SECONDS: u64 = 1_800;

pub(super) async fn answer(state: &State, request: Request<Incoming>) -> Result<Reply, Reset> {
    let path = request.uri().path().to_owned();
    match (request.method(), path.as_str()) {
        (&Method::GET, "/.well-known/oauth-authorization-server" | "/.well-known/openid-configuration") => {
            return Ok(json_reply(StatusCode::OK, &metadata(&state.issuer())));
        }
        (&Method::GET, "/jwks") => return jwks(state, request.uri()).await,
        #[cfg(feature = "signals")]
        (&Method::POST, "/events") => return events(state, request).await,
        #[cfg(feature = "signals")]
        (&Method::POST, "/disable" | "/logout") => {}
        (&Method::POST, "/token" | "/introspect" | "/revoke") => {}
        _ => return Ok(error(StatusCode::NOT_FOUND, "not_found")),
    }
    let (parts, body) = request.into_parts();
    let Ok(body) = Limited::new(body, MAX_REQUEST_BYTES).collect().await else {
        return Ok(error(StatusCode::BAD_REQUEST, "invalid_request"));
    };
    let form: Vec<(String, String)> = form_urlencoded::parse(&body.to_bytes()).into_owned().collect();
    let client = if is_the_client(&parts.headers, &form) {
        Some(CLIENT_ID.to_owned())
    } else if path == "/introspect" {
        bearer(&parts.headers).and_then(|token| introspecting_client(state, token))
    } else {
        None
    };
    let Some(client) = client else {
        let mut reply = error(StatusCode::UNAUTHORIZED, "invalid_client");
        reply.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"sandbox\""));
        return Ok(reply);
    };
    match path.as_str() {
        "/token" => Ok(grant(state, &form)),
        #[cfg(feature = "signals")]
        "/disable" | "/logout" => Ok(end(state, &path, &form).await),
        "/introspect" => match parameter(&form, "token") {
            Some(token) => introspection::answer(state, &parts, token, &client).await,
            None => Ok(error(StatusCode::BAD_REQUEST, "invalid_request")),
        },
        _ => {
            state.set_status(parameter(&form, "token").unwrap_or_default(), "revoked");
            Ok(json_reply(StatusCode::OK, &json!({})))
        }
    }
}

/// Disables the account of a user, or logs the user out, and tells whoever listens.
#[cfg(feature = "signals")]
async fn end(state: &State, path: &str, form: &[(String, String)]) -> Reply {
    let Some(user) = parameter(form, "user") else { return error(StatusCode::BAD_REQUEST, "invalid_request") };
    state.revoke_all("enduser", user);
    let told = if path == "/disable" {
        let event = SandboxEvent::new("https://schemas.openid.net/secevent/risc/event-type/account-disabled");
        state.send_event(event.about_user(state.issuer(), user)).await
    } else {
        state.send_logout(user, None).await
    };
    match told {
        Ok(statuses) => json_reply(StatusCode::OK, &json!({ "told": statuses })),
        Err(fault) => json_reply(StatusCode::INTERNAL_SERVER_ERROR, &json!({ "error": fault.to_string() })),
    }
}

/// RFC 8936, for one that shows the client's secret as a bearer token.
#[cfg(feature = "signals")]
async fn events(state: &State, request: Request<Incoming>) -> Result<Reply, Reset> {
    let fault = state.poll_call();
    if let Some(reply) = misbehave(fault, request.uri(), json!({ "sets": {} })).await? {
        return Ok(reply);
    }
    if bearer(request.headers()) != Some(CLIENT_SECRET) {
        return Ok(error(StatusCode::UNAUTHORIZED, "invalid_token"));
    }
    let body = Limited::new(request.into_body(), MAX_REQUEST_BYTES).collect().await;
    let asked = body.ok().and_then(|body| serde_json::from_slice::<Value>(&body.to_bytes()).ok());
    let Some(asked) = asked.filter(Value::is_object) else {
        return Ok(error(StatusCode::BAD_REQUEST, "invalid_request"));
    };
    Ok(json_reply(StatusCode::OK, &state.poll(&asked)))
}

fn metadata(issuer: &str) -> Value {
    let methods = json!(["client_secret_basic", "client_secret_post"]);
    json!({
        "issuer": issuer,
        "token_endpoint": format!("{issuer}/token"),
        "jwks_uri": format!("{issuer}/jwks"),
        "introspection_endpoint": format!("{issuer}/introspect"),
        "revocation_endpoint": format!("{issuer}/revoke"),
        "response_types_supported": [],
        "grant_types_supported": ["client_credentials"],
        "token_endpoint_auth_methods_supported": methods,
        "introspection_endpoint_auth_methods_supported": methods,
        "introspection_signing_alg_values_supported": [DEFAULT_ALGORITHM],
        "revocation_endpoint_auth_methods_supported": methods,
    })
}

async fn jwks(state: &State, uri: &Uri) -> Result<Reply, Reset> {
    let (fault, set) = state.jwks_call();
    if let Some(reply) = misbehave(fault, uri, set.clone()).await? {
        return Ok(reply);
    }
    Ok(reply(200, "application/jwk-set+json", set.to_string()))
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

/// The client that `token` was issued to, if the token lets it introspect.
fn introspecting_client(state: &State, token: &str) -> Option<String> {
    let answer = introspection::about(state, token);
    let scopes = answer["scope"].as_str().unwrap_or_default();
    let may = answer["active"] == true && scopes.split(' ').any(|scope| scope == INTROSPECTION_SCOPE);
    may.then(|| answer["client_id"].as_str().unwrap_or_default().to_owned())
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

fn error(status: StatusCode, code: &str) -> Reply {
    json_reply(status, &json!({"error": code}))
}
