//! The introspection endpoint: RFC 7662, and RFC 9701 for those who want a signed answer.

use http::header::ACCEPT;
use http::request::Parts;
use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};

use super::claims::{claims, expires_at};
use super::fault::Fault;
use super::reply::{Reply, Reset, json_reply, misbehave_about, reply};
use super::state::State;

const SIGNED: &str = "application/token-introspection+jwt";

/// Answers `client`, who asks about `token`.
pub(super) async fn answer(state: &State, asked: &Parts, token: &str, client: &str) -> Result<Reply, Reset> {
    if let Some(reply) = misbehave_about(state, token, &asked.uri).await? {
        return Ok(reply);
    }
    let (answer, fault) = (about(state, token), state.fault());
    if !wants_a_signed_answer(&asked.headers) || fault == Some(Fault::Unsigned) {
        return Ok(json_reply(StatusCode::OK, &answer));
    }
    let kind = if fault == Some(Fault::WrongType) { "JWT" } else { "token-introspection+jwt" };
    let audience = if fault == Some(Fault::WrongAudience) { "another-client" } else { client };
    // RFC 9701 section 5: neither `sub` nor `exp`, so that nobody takes it for an access token.
    let claims = json!({
        "iss": state.issuer(), "aud": audience, "iat": state.whole_second().as_unix_millis() / 1_000,
        "token_introspection": answer,
    });
    Ok(match state.sign(json!({"typ": kind}), claims) {
        Ok(signed) => reply(200, SIGNED, signed),
        Err(error) => json_reply(StatusCode::INTERNAL_SERVER_ERROR, &json!({"error": error.to_string()})),
    })
}

/// RFC 7662 section 2.2: whatever is wrong with a token, nothing but that it is not active is told.
pub(super) fn about(state: &State, token: &str) -> Value {
    let is_over = |expires_at| expires_at <= state.now().as_unix_millis();
    let Some(record) = state.token(token) else { return json!({"active": false}) };
    if record.get("status").and_then(Value::as_str) != Some("approved") || expires_at(&record).is_some_and(is_over) {
        return json!({"active": false});
    }
    let mut answer = json!({"active": true, "token_type": "Bearer"});
    if let Some(answer) = answer.as_object_mut() {
        answer.extend(claims(&record, state.issuer()));
    }
    answer
}

fn wants_a_signed_answer(headers: &HeaderMap) -> bool {
    let types = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok()).flat_map(|list| list.split(','));
    types.into_iter().any(|item| item.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case(SIGNED))
}
