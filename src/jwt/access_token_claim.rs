//! What tells access tokens apart from other tokens of an issuer that gives all of them one type.

use serde_json::{Map, Value};

/// A claim that access tokens of an issuer have, and its other tokens have not. For
/// [`dangerously_allow_type_jwt`](super::JwtBuilder::dangerously_allow_type_jwt).
#[derive(Clone, Debug)]
#[must_use]
pub struct AccessTokenClaim {
    name: String,
    value: Option<String>,
}

impl AccessTokenClaim {
    /// The claim `name` is this text: Keycloak's `typ` is `Bearer`, Cognito's `token_use` is `access`.
    pub fn is(name: impl Into<String>, value: impl Into<String>) -> Self {
        Self { name: name.into(), value: Some(value.into()) }
    }

    /// The claim `name` is there, whatever it is: `scp` of Entra ID and Okta, `scope` of Auth0. Make sure that no ID
    /// token of this issuer has it.
    pub fn present(name: impl Into<String>) -> Self {
        Self { name: name.into(), value: None }
    }

    pub(super) fn holds(&self, claims: &Map<String, Value>) -> bool {
        match (claims.get(&self.name), &self.value) {
            (Some(Value::String(stated)), Some(value)) => stated == value,
            (Some(Value::Null) | None, _) | (Some(_), Some(_)) => false,
            (Some(_), None) => true,
        }
    }

    /// What tells two of them apart.
    pub(super) fn parts(&self) -> Vec<&str> {
        [Some(&*self.name), self.value.as_deref()].into_iter().flatten().collect()
    }
}
