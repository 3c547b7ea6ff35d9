//! The tokens of the organisation, the faults, and the count of calls.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};

use super::fault::Fault;
use super::token::{Record, SandboxToken};
use crate::clock::{Clock, Timestamp};

pub(super) const ORG: &str = "demo";
pub(super) const USERNAME: &str = "admin@example.com";
pub(super) const PASSWORD: &str = "sandbox-password";
pub(super) const CLIENT_ID: &str = "sandbox-resource-server";
pub(super) const CLIENT_SECRET: &str = "sandbox-secret";

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
