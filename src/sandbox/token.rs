//! What a token of the sandbox is made of.

use std::time::Duration;

use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::build_error::BuildError;
use crate::clock::Timestamp;
use crate::token::AccessTokenBuilder;

/// A token as the management API shows it.
pub(super) type Record = Map<String, Value>;

/// A token to be issued. Every member has a default.
///
/// ```
/// use std::time::Duration;
/// use tower_introspection::sandbox::SandboxToken;
///
/// let token = SandboxToken::new()
///     .client_id("weather-app")
///     .scope("read admin")
///     .attribute("tier", "gold")
///     .expires_in(Duration::from_secs(60));
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct SandboxToken {
    client_id: String,
    app: String,
    scope: String,
    end_user: Option<String>,
    attributes: Vec<(String, String)>,
    claims: Record,
    header: Record,
    expiry: Expiry,
}

#[derive(Clone, Copy, Debug)]
enum Expiry {
    In(Duration),
    At(Timestamp),
    Never,
}

impl SandboxToken {
    /// A token of the client `demo-client` and the app `demo-app`, without scopes, for half an hour.
    pub fn new() -> Self {
        Self {
            client_id: "demo-client".into(),
            app: "demo-app".into(),
            scope: String::new(),
            end_user: None,
            attributes: Vec::new(),
            claims: Record::new(),
            header: Record::new(),
            expiry: Expiry::In(Duration::from_secs(1_800)),
        }
    }

    /// The client (API key) it is issued to.
    pub fn client_id(mut self, client_id: impl Into<String>) -> Self {
        self.client_id = client_id.into();
        self
    }

    /// The developer app it is issued to.
    pub fn app(mut self, app: impl Into<String>) -> Self {
        self.app = app.into();
        self
    }

    /// Its scopes, separated by spaces.
    pub fn scope(mut self, scope: impl Into<String>) -> Self {
        self.scope = scope.into();
        self
    }

    /// The end user it is issued for, who can be named in a revocation.
    pub fn end_user(mut self, end_user: impl Into<String>) -> Self {
        self.end_user = Some(end_user.into());
        self
    }

    /// Adds a custom attribute, which the management API alone has.
    pub fn attribute(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.attributes.push((name.into(), value.into()));
        self
    }

    /// Whom it is meant for: the member `aud` of an introspection answer.
    pub fn audience(mut self, audience: impl Into<String>) -> Self {
        self.claims.insert("aud".into(), audience.into().into());
        self
    }

    /// Adds a further member to answers about it, such as `cnf`. The management API has it too; of members that are
    /// none of its own an [`Apigee`](crate::Apigee) reads `cnf` alone. `claim("apiProducts", ["weather"])` gives the
    /// token API products.
    ///
    /// # Errors
    /// If the value has no form in JSON, as a map has whose keys are not strings.
    pub fn claim(mut self, name: impl Into<String>, value: impl Serialize) -> Result<Self, BuildError> {
        let name = name.into();
        let value = AccessTokenBuilder::claim_as_json(&name, value)?;
        self.claims.insert(name, value);
        Ok(self)
    }

    /// Binds it to a key of a client (DPoP, RFC 9449 section 6), by the [thumbprint](super::ProofKey::thumbprint) of
    /// the key: `jkt` of `cnf`.
    pub fn bound_to_key(self, thumbprint: impl Into<String>) -> Self {
        self.bound("jkt", thumbprint.into())
    }

    /// Binds it to a certificate of a client (RFC 8705 section 3), by the base64url of its SHA-256: `x5t#S256` of
    /// `cnf`.
    pub fn bound_to_certificate(self, thumbprint: impl Into<String>) -> Self {
        self.bound("x5t#S256", thumbprint.into())
    }

    fn bound(mut self, by: &str, thumbprint: String) -> Self {
        let confirmation = self.claims.entry("cnf").or_insert_with(|| json!({}));
        if !confirmation.is_object() {
            *confirmation = json!({});
        }
        confirmation[by] = thumbprint.into();
        self
    }

    /// Sets a member of the header of a JWT ([`issue_jwt`](super::Sandbox::issue_jwt)), RFC 7515 section 4.1; `()`
    /// leaves it out. By default `typ` is `at+jwt`, `alg` is `ES256`, and `kid` names the key that signs.
    ///
    /// `alg` decides how it is signed: with `ES256` or `RS256`, and with `none` not at all. With another one the header
    /// says so, but it is signed with ES256.
    ///
    /// ```
    /// use tower_introspection::sandbox::SandboxToken;
    ///
    /// // As some servers issue them, and with a key that nobody knows.
    /// let token = SandboxToken::new().header("typ", "JWT")?.header("kid", "unheard-of")?;
    /// # Ok::<(), tower_introspection::BuildError>(())
    /// ```
    ///
    /// # Errors
    /// If the value has no form in JSON.
    pub fn header(mut self, name: impl Into<String>, value: impl Serialize) -> Result<Self, BuildError> {
        let name = name.into();
        let value = AccessTokenBuilder::claim_as_json(&name, value)?;
        self.header.insert(name, value);
        Ok(self)
    }

    /// How long it lives.
    pub fn expires_in(mut self, lifetime: Duration) -> Self {
        self.expiry = Expiry::In(lifetime);
        self
    }

    /// When it expires, which may lie in the past.
    pub fn expires_at(mut self, expires_at: Timestamp) -> Self {
        self.expiry = Expiry::At(expires_at);
        self
    }

    /// Without expiry: `"expiresAt": -1`.
    pub fn never_expires(mut self) -> Self {
        self.expiry = Expiry::Never;
        self
    }

    /// The header of a JWT.
    pub(super) fn jwt_header(&self) -> Record {
        let mut header = self.header.clone();
        header.entry("typ").or_insert_with(|| "at+jwt".into());
        header
    }

    pub(super) fn record(self, serial: u64, now: Timestamp) -> Record {
        let now_millis = now.as_unix_millis();
        let expires_at = match self.expiry {
            Expiry::In(lifetime) => (now + lifetime).as_unix_millis(),
            Expiry::At(expires_at) => expires_at.as_unix_millis(),
            Expiry::Never => -1,
        };
        let attributes: Vec<_> =
            self.attributes.iter().map(|(name, value)| json!({"name": name, "value": value})).collect();
        let members = json!({
            "app": self.app, "attributes": attributes, "clientId": self.client_id, "createdAt": now_millis,
            "createdBy": self.end_user.as_deref().unwrap_or("defaultUser"), "expiresAt": expires_at,
            "grantType": "client_credentials", "issuedAt": now_millis, "lastModifiedAt": now_millis, "lastModifiedBy": "defaultUser",
            "refreshCount": 0, "refreshToken": format!("sandbox-refresh-token-{serial}"), "scope": self.scope,
            "status": "approved", "tokenType": "BearerToken", "enduser": self.end_user,
        });
        let mut record = match members {
            Value::Object(record) => record,
            _ => Record::new(),
        };
        record.extend(self.claims);
        record
    }
}

impl Default for SandboxToken {
    fn default() -> Self {
        Self::new()
    }
}
