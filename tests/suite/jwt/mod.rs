//! JWTs that are judged here, on real sockets: the sandbox signs them and publishes its keys.
#![cfg(all(feature = "jwt", feature = "sandbox"))]

mod by_issuer;
mod claims;
mod doors;
mod hybrid;
mod keys;
mod signed_answers;

use serde_json::{Value, json};
use tower_introspection::clock::Timestamp;
use tower_introspection::introspect::{Ask, IntrospectErrorKind};
use tower_introspection::jwt::JwtBuilder;
use tower_introspection::sandbox::{Sandbox, SandboxToken};
use tower_introspection::{AccessToken, InactiveReason, Introspect, Jwt, Verdict};

use crate::support::{bearer, secs};

pub(crate) const AUDIENCE: &str = "https://api.example.com";

pub(crate) fn judge(sandbox: &Sandbox) -> JwtBuilder {
    Jwt::discover(sandbox.issuer()).audience(AUDIENCE)
}

/// What is said of a token: its facts, why it is not active, or why nobody can tell.
pub(crate) async fn ask(introspector: &impl Introspect, token: &str) -> Result<AccessToken, Refused> {
    match introspector.introspect(Ask::new(&bearer(token))).await {
        Ok(Verdict::Active(token)) => Ok(token),
        Ok(Verdict::Inactive(reason)) => Err(Refused::Inactive(reason)),
        Err(error) => Err(Refused::Failed(error.kind())),
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Refused {
    Inactive(InactiveReason),
    Failed(IntrospectErrorKind),
}

pub(crate) const UNVERIFIED: Refused = Refused::Inactive(InactiveReason::Unverified);

/// Claims that are accepted.
pub(crate) fn claims(sandbox: &Sandbox) -> Value {
    let now = Timestamp::now().as_unix_millis() / 1_000;
    json!({
        "iss": sandbox.issuer(),
        "sub": "ann",
        "aud": AUDIENCE,
        "exp": now + 600,
        "iat": now,
        "jti": "1",
        "client_id": "app",
        "scope": "read write",
    })
}

/// The same, changed.
pub(crate) fn with(sandbox: &Sandbox, name: &str, value: Value) -> Value {
    let mut claims = claims(sandbox);
    match value {
        Value::Null => _ = claims.as_object_mut().unwrap().remove(name),
        value => claims[name] = value,
    }
    claims
}

pub(crate) fn sign(sandbox: &Sandbox, typ: &str, claims: &Value) -> String {
    sandbox.sign(json!({ "typ": typ }), claims).unwrap()
}

pub(crate) fn token() -> SandboxToken {
    SandboxToken::new().audience(AUDIENCE).scope("read").end_user("ann").expires_in(secs(600))
}
