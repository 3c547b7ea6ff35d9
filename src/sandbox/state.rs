//! The tokens of the organisation, the faults, and the count of calls.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::Fault;
use crate::build_error::BuildError;
use crate::clock::{Clock, Timestamp};
use crate::token::AccessTokenBuilder;

pub(super) const ORG: &str = "demo";
pub(super) const USERNAME: &str = "admin@example.com";
pub(super) const PASSWORD: &str = "sandbox-password";
pub(super) const CLIENT_ID: &str = "sandbox-resource-server";
pub(super) const CLIENT_SECRET: &str = "sandbox-secret";

type Record = Map<String, Value>;

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

    fn record(self, token: &str, serial: u64, now: Timestamp) -> Record {
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
            "status": "approved", "token": token, "tokenType": "BearerToken", "enduser": self.end_user,
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

pub(super) struct State {
    address: SocketAddr,
    clock: Arc<dyn Clock>,
    names: RandomState,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    serial: u64,
    tokens: HashMap<String, Record>,
    scripts: HashMap<String, (u16, String)>,
    calls: HashMap<String, u64>,
    connections: u64,
    fault: Option<Fault>,
}

impl State {
    pub(super) fn new(clock: Arc<dyn Clock>, address: SocketAddr) -> Self {
        Self { clock, address, names: RandomState::new(), inner: Mutex::default() }
    }

    pub(super) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub(super) fn issuer(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(super) fn issue(&self, token: SandboxToken) -> String {
        let mut inner = self.inner();
        inner.serial += 1;
        let name = self.name(inner.serial);
        let record = token.record(&name, inner.serial, self.clock.now());
        inner.tokens.insert(name.clone(), record);
        name
    }

    pub(super) fn token(&self, token: &str) -> Option<Record> {
        self.inner().tokens.get(token).cloned()
    }

    pub(super) fn set_status(&self, token: &str, status: &str) -> bool {
        self.update(token, |record| set_status(record, status)).is_some()
    }

    /// Changes a token and returns it as it is then.
    pub(super) fn update(&self, token: &str, change: impl FnOnce(&mut Record)) -> Option<Record> {
        let mut inner = self.inner();
        let record = inner.tokens.get_mut(token)?;
        change(record);
        record.insert("lastModifiedAt".into(), json!(self.clock.now().as_unix_millis()));
        Some(record.clone())
    }

    pub(super) fn delete(&self, token: &str) -> Option<Record> {
        self.inner().tokens.remove(token)
    }

    /// Revokes every token whose `member` is `value`.
    pub(super) fn revoke_all(&self, member: &str, value: &str) {
        for record in self.inner().tokens.values_mut() {
            if record.get(member).and_then(Value::as_str) == Some(value) {
                set_status(record, "revoked");
            }
        }
    }

    pub(super) fn script(&self, token: &str, status: u16, body: String) {
        self.inner().scripts.insert(token.into(), (status, body));
    }

    pub(super) fn scripted(&self, token: &str) -> Option<(u16, String)> {
        self.inner().scripts.get(token).cloned()
    }

    pub(super) fn set_fault(&self, fault: Option<Fault>) {
        self.inner().fault = fault;
    }

    /// Counts a question about `token`, and tells what is to go wrong with it.
    pub(super) fn call(&self, token: &str) -> Option<Fault> {
        let mut inner = self.inner();
        *inner.calls.entry(token.into()).or_default() += 1;
        inner.fault
    }

    pub(super) fn calls(&self, token: &str) -> u64 {
        self.inner().calls.get(token).copied().unwrap_or(0)
    }

    pub(super) fn total_calls(&self) -> u64 {
        self.inner().calls.values().sum()
    }

    pub(super) fn connection(&self) {
        self.inner().connections += 1;
    }

    pub(super) fn connections(&self) -> u64 {
        self.inner().connections
    }

    /// 28 letters and digits, as the vendor's tokens have.
    fn name(&self, serial: u64) -> String {
        const ALPHABET: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
        let letter = |place: u64| {
            let index = self.names.hash_one((serial, place)) % 62;
            char::from(ALPHABET[usize::try_from(index).unwrap_or(0)])
        };
        (0..28).map(letter).collect()
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn set_status(record: &mut Record, status: &str) {
    record.insert("status".into(), status.into());
}
