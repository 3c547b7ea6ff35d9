//! The tokens of the organisation, the faults, and the count of calls.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::claims::claims;
use super::fault::Fault;
use super::keys::Keys;
#[cfg(feature = "signals")]
use super::signals::{Listener, SandboxEvent, Stream};
use super::token::{Record, SandboxToken};
use crate::build_error::BuildError;
use crate::clock::{Clock, Timestamp};

pub(super) const ORG: &str = "demo";
pub(super) const USERNAME: &str = "admin@example.com";
pub(super) const PASSWORD: &str = "sandbox-password";
pub(super) const CLIENT_ID: &str = "sandbox-resource-server";
pub(super) const CLIENT_SECRET: &str = "sandbox-secret";
/// Whom a JWT is for that nobody said an audience of.
const AUDIENCE: &str = "https://api.example.com";

pub(super) struct State {
    address: SocketAddr,
    clock: Arc<dyn Clock>,
    names: RandomState,
    keys: Mutex<Keys>,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    serial: u64,
    tokens: HashMap<String, Record>,
    scripts: HashMap<String, Script>,
    calls: HashMap<String, u64>,
    connections: u64,
    fault: Option<Fault>,
    jwks_calls: u64,
    jwks_fault: Option<Fault>,
    #[cfg(feature = "signals")]
    events_fault: Option<Fault>,
    #[cfg(feature = "signals")]
    polls: u64,
    #[cfg(feature = "signals")]
    stream: Stream,
}

/// What is answered about a token, whatever is known of it.
#[derive(Clone)]
pub(super) struct Script {
    pub(super) status: u16,
    pub(super) content_type: String,
    pub(super) body: String,
}

impl State {
    pub(super) fn new(clock: Arc<dyn Clock>, address: SocketAddr) -> Result<Self, BuildError> {
        let keys = Mutex::new(Keys::new()?);
        Ok(Self { clock, address, names: RandomState::new(), keys, inner: Mutex::default() })
    }

    pub(super) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// The time as a JWT has it, of a second ago at most.
    pub(super) fn whole_second(&self) -> Timestamp {
        Timestamp::from_unix_seconds(self.now().as_unix_millis().div_euclid(1_000))
    }

    pub(super) fn issuer(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(super) fn issue(&self, token: SandboxToken) -> String {
        let serial = self.serial();
        let name = self.name(serial);
        self.keep(name.clone(), token.record(serial, self.now()));
        name
    }

    /// Issues a token as a JWT, RFC 9068 section 2.
    pub(super) fn issue_jwt(&self, token: SandboxToken) -> Result<String, BuildError> {
        let serial = self.serial();
        let header = token.jwt_header();
        let mut record = token.record(serial, self.whole_second());
        let subject = ["enduser", "clientId"].iter().find_map(|member| record.get(*member).filter(|it| !it.is_null()));
        let subject = subject.cloned().unwrap_or_default();
        record.entry("sub").or_insert(subject);
        record.entry("aud").or_insert_with(|| AUDIENCE.into());
        record.entry("jti").or_insert_with(|| self.name(serial).into());
        let mut claims = claims(&record, self.issuer());
        claims.retain(|_, value| !value.is_null());
        let text = self.keys().sign(header, &claims)?;
        self.keep(text.clone(), record);
        Ok(text)
    }

    /// Signs any JWT.
    pub(super) fn sign(&self, header: impl Serialize, claims: impl Serialize) -> Result<String, BuildError> {
        let (header, claims) = (object("header", header)?, object("claims", claims)?);
        self.keys().sign(header, &claims)
    }

    /// Signs an event, RFC 8417, and keeps it for those who poll.
    #[cfg(feature = "signals")]
    pub(super) fn sign_event(&self, event: SandboxEvent) -> Result<String, BuildError> {
        // With leading zeros, so that they sort as they were made.
        let id = format!("{:020}", self.serial());
        let claims =
            event.into_claims(self.issuer(), AUDIENCE, id.clone(), self.whole_second().as_unix_millis() / 1_000);
        let id = claims.get("jti").and_then(Value::as_str).map_or(id, str::to_owned);
        let set = self.sign(json!({"typ": "secevent+jwt"}), claims)?;
        self.inner().stream.keep(id, set.clone());
        Ok(set)
    }

    /// Signs a logout token, OpenID Connect Back-Channel Logout 1.0 section 2.4.
    #[cfg(feature = "signals")]
    pub(super) fn sign_logout(&self, client: &str, user: &str, session: Option<&str>) -> Result<String, BuildError> {
        let now = self.whole_second().as_unix_millis() / 1_000;
        let mut claims = json!({
            "iss": self.issuer(), "aud": client, "sub": user, "iat": now, "exp": now + 120,
            "jti": format!("{:020}", self.serial()),
            "events": {"http://schemas.openid.net/event/backchannel-logout": {}},
        });
        if let Some(session) = session {
            claims["sid"] = session.into();
        }
        self.sign(json!({"typ": "logout+jwt"}), claims)
    }

    #[cfg(feature = "signals")]
    pub(super) fn listen(&self, listener: Listener) {
        self.inner().stream.listeners.push(listener);
    }

    #[cfg(feature = "signals")]
    pub(super) fn listeners(&self) -> Vec<Listener> {
        self.inner().stream.listeners.clone()
    }

    /// Counts a poll, and tells what is to go wrong with it.
    #[cfg(feature = "signals")]
    pub(super) fn poll_call(&self) -> Option<Fault> {
        let mut inner = self.inner();
        inner.polls += 1;
        inner.events_fault
    }

    #[cfg(feature = "signals")]
    pub(super) fn poll(&self, request: &Value) -> Value {
        self.inner().stream.poll(request)
    }

    #[cfg(feature = "signals")]
    pub(super) fn polls(&self) -> u64 {
        self.inner().polls
    }

    #[cfg(feature = "signals")]
    pub(super) fn set_events_fault(&self, fault: Option<Fault>) {
        self.inner().events_fault = fault;
    }

    pub(super) fn rotate_key(&self) -> Result<(), BuildError> {
        self.keys().rotate()
    }

    pub(super) fn retire_old_keys(&self) {
        self.keys().retire_old();
    }

    pub(super) fn jwks(&self) -> Value {
        self.keys().set()
    }

    /// Counts a question for the key set, and tells what is to go wrong with it, and what is in the set.
    pub(super) fn jwks_call(&self) -> (Option<Fault>, Value) {
        let fault = {
            let mut inner = self.inner();
            inner.jwks_calls += 1;
            inner.jwks_fault
        };
        let keys = self.keys();
        (fault, if fault == Some(Fault::OldKeys) { keys.set_of_old_keys() } else { keys.set() })
    }

    pub(super) fn jwks_calls(&self) -> u64 {
        self.inner().jwks_calls
    }

    pub(super) fn set_jwks_fault(&self, fault: Option<Fault>) {
        self.inner().jwks_fault = fault;
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

    pub(super) fn script(&self, token: &str, script: Script) {
        self.inner().scripts.insert(token.into(), script);
    }

    pub(super) fn scripted(&self, token: &str) -> Option<Script> {
        self.inner().scripts.get(token).cloned()
    }

    pub(super) fn set_fault(&self, fault: Option<Fault>) {
        self.inner().fault = fault;
    }

    pub(super) fn fault(&self) -> Option<Fault> {
        self.inner().fault
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

    fn serial(&self) -> u64 {
        let mut inner = self.inner();
        inner.serial += 1;
        inner.serial
    }

    fn keep(&self, token: String, mut record: Record) {
        record.insert("token".into(), token.as_str().into());
        self.inner().tokens.insert(token, record);
    }

    fn keys(&self) -> MutexGuard<'_, Keys> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn set_status(record: &mut Record, status: &str) {
    record.insert("status".into(), status.into());
}

fn object(what: &'static str, value: impl Serialize) -> Result<Map<String, Value>, BuildError> {
    match serde_json::to_value(value) {
        Ok(Value::Object(members)) => Ok(members),
        _ => Err(BuildError::new(what, "it is no object in JSON; give a map with texts as keys, or a struct")),
    }
}
