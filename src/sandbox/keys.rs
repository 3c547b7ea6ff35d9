//! The keys that the authorization server signs with, and the set in which it publishes them.

use serde_json::{Map, Value, json};

use crate::build_error::BuildError;
use crate::jose::SigningKey;
use crate::random::random;

/// What it signs with if nobody asks for anything else.
pub(super) const DEFAULT_ALGORITHM: &str = "ES256";

pub(super) struct Keys {
    /// One for each algorithm that is in use.
    signing: Vec<Key>,
    /// Those which signed before, and are published still.
    old: Vec<Key>,
}

struct Key {
    id: String,
    pair: SigningKey,
}

impl Keys {
    pub(super) fn new() -> Result<Self, BuildError> {
        Ok(Self { signing: vec![Key::generate(DEFAULT_ALGORITHM)?], old: Vec::new() })
    }

    /// Takes a new key for each algorithm that is in use.
    pub(super) fn rotate(&mut self) -> Result<(), BuildError> {
        let new: Result<Vec<Key>, BuildError> =
            self.signing.iter().map(|key| Key::generate(key.pair.algorithm())).collect();
        self.old.append(&mut std::mem::replace(&mut self.signing, new?));
        Ok(())
    }

    pub(super) fn retire_old(&mut self) {
        self.old.clear();
    }

    /// RFC 7517 section 5.
    pub(super) fn set(&self) -> Value {
        set_of(self.signing.iter().chain(&self.old))
    }

    /// The set that lacks what signs, as a copy does that was made before.
    pub(super) fn set_of_old_keys(&self) -> Value {
        set_of(self.old.iter())
    }

    /// A JWT in the compact form, RFC 7515 section 7.1.
    ///
    /// `alg` of the header decides which key signs. Where it names an algorithm that there is no key for, the header is
    /// not true; with `none` the signature is empty, RFC 7518 section 3.6.
    pub(super) fn sign(
        &mut self,
        mut header: Map<String, Value>,
        claims: &Map<String, Value>,
    ) -> Result<String, BuildError> {
        let algorithm = header.get("alg").and_then(Value::as_str).unwrap_or(DEFAULT_ALGORITHM);
        let is_unsecured = algorithm == "none";
        let key = self.key_for(if algorithm == "RS256" { "RS256" } else { DEFAULT_ALGORITHM })?;
        header.entry("alg").or_insert_with(|| key.pair.algorithm().into());
        header.entry("kid").or_insert_with(|| key.id.as_str().into());
        header.retain(|_, value| !value.is_null());
        let signed = key.pair.sign_compact(&header, claims).map_err(|_| unable("does not sign"))?;
        match signed.rsplit_once('.') {
            Some((unsecured, _)) if is_unsecured => Ok(format!("{unsecured}.")),
            _ => Ok(signed),
        }
    }

    /// The first use of an algorithm makes its key: a pair of RSA keys takes a while, and few want one.
    fn key_for(&mut self, algorithm: &str) -> Result<&Key, BuildError> {
        let place = self.signing.iter().position(|key| key.pair.algorithm() == algorithm);
        let place = match place {
            Some(place) => place,
            None => {
                self.signing.push(Key::generate(algorithm)?);
                self.signing.len() - 1
            }
        };
        Ok(&self.signing[place])
    }
}

impl Key {
    fn generate(algorithm: &str) -> Result<Self, BuildError> {
        let pair = if algorithm == "RS256" { SigningKey::generate_rs256() } else { SigningKey::generate_es256() };
        let pair = pair.map_err(|_| unable("cannot be generated"))?;
        Ok(Self { id: format!("{:016x}", random()), pair })
    }

    fn public(&self) -> Value {
        let mut key = self.pair.public_jwk();
        key["kid"] = self.id.as_str().into();
        key
    }
}

fn set_of<'k>(keys: impl Iterator<Item = &'k Key>) -> Value {
    json!({"keys": keys.map(Key::public).collect::<Vec<Value>>()})
}

fn unable(what: &str) -> BuildError {
    BuildError::new("key", format!("a key of the sandbox {what}"))
}
