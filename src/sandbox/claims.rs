//! What a token tells of itself: in an introspection answer, and in a JWT.

use serde_json::{Map, Value};

use super::token::Record;

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

/// The claims of a token of this issuer, RFC 7662 section 2.2 and RFC 9068 section 2.2.
pub(super) fn claims(record: &Record, issuer: String) -> Map<String, Value> {
    let millis = |member: &str| record.get(member).and_then(Value::as_i64).unwrap_or_default();
    let mut claims = Map::new();
    claims.insert("iss".into(), issuer.into());
    claims.insert("iat".into(), seconds(millis("issuedAt")));
    if let Some(expires_at) = expires_at(record) {
        claims.insert("exp".into(), seconds(expires_at));
    }
    for (theirs, ours) in [("clientId", "client_id"), ("scope", "scope"), ("enduser", "sub")] {
        if let Some(value) = record.get(theirs).filter(|value| !value.is_null()) {
            claims.insert(ours.into(), value.clone());
        }
    }
    let further = record.iter().filter(|(name, _)| !MEMBERS_OF_THE_MANAGEMENT_API.contains(&name.as_str()));
    claims.extend(further.map(|(name, value)| (name.clone(), value.clone())));
    claims
}

/// Milliseconds since the Unix epoch, if it expires at all.
pub(super) fn expires_at(record: &Record) -> Option<i64> {
    record.get("expiresAt").and_then(Value::as_i64).filter(|expires_at| *expires_at >= 0)
}

/// A NumericDate; with a fraction only if there is one.
#[allow(clippy::cast_precision_loss)] // exact for some hundred thousand years
fn seconds(millis: i64) -> Value {
    if millis % 1_000 == 0 { (millis / 1_000).into() } else { (millis as f64 / 1_000.0).into() }
}
