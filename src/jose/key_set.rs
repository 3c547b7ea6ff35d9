//! The keys of an issuer, RFC 7517 section 5.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::fault::Fault;
use super::jws::{Header, Jws};
use super::key::Key;
use crate::build_error::BuildError;
use crate::json;

/// How many keys a set may hold. Issuers have two or three, and some a dozen.
const MOST_KEYS: usize = 64;

/// How many keys are tried on one signature.
const MOST_TRIED: usize = 4;

/// The public keys of an issuer: a JWK Set, RFC 7517.
///
/// It is for an issuer whose keys are at hand; most publish theirs, and change them. A set is read once, and a clone of
/// it costs nothing.
///
/// ```
/// use tower_introspection::jwt::KeySet;
///
/// let keys = KeySet::from_json(
///     r#"{"keys": [{
///         "kty": "OKP", "crv": "Ed25519", "kid": "2026-01",
///         "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"
///     }]}"#,
/// )?;
/// # Ok::<(), tower_introspection::BuildError>(())
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct KeySet {
    keys: Arc<[Key]>,
}

impl KeySet {
    /// Reads a JWK Set (`{"keys": [...]}`, RFC 7517 section 5), or a single key.
    ///
    /// Keys that verify nothing here are left out: of another type or curve than RSA, P-256, P-384 and Ed25519, for
    /// encryption (`use`, `key_ops`), for another algorithm than those of [`Algorithm`](super::Algorithm), or of RSA
    /// with fewer than 2,048 or more than 8,192 bits or with an exponent below 65,537.
    ///
    /// # Errors
    /// If it is neither; if it holds a private key, which has no place here, or more than 64 keys; or if no key is
    /// left. The error names `json`.
    pub fn from_json(json: impl AsRef<[u8]>) -> Result<Self, BuildError> {
        let read = Read::of(json.as_ref()).and_then(|read| match read.left_out.contains(&Fault::PrivateKey) {
            true => Err(Fault::PrivateKey),
            false => read.into_set(),
        });
        read.map_err(|fault| BuildError::new("json", fault.as_str()))
    }

    /// Reads what an issuer publishes. A key that is no good, even a private one, is left out and spoils no other. If
    /// none is left, the issuer has none that counts here.
    pub(crate) fn published(body: &[u8]) -> Result<Self, Fault> {
        Ok(Self { keys: Read::of(body)?.keys.into() })
    }

    /// The same, and why there is none.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn parse(body: &[u8]) -> Result<Self, Fault> {
        Read::of(body)?.into_set()
    }

    /// Whether there is no key that can verify something.
    pub(crate) fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// How many keys there are that can verify something.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn len(&self) -> usize {
        self.keys.len()
    }

    /// What tells them from the keys of another set, RFC 7638.
    pub(crate) fn thumbprints(&self) -> Vec<&str> {
        self.keys.iter().map(Key::thumbprint).collect()
    }

    #[cfg(test)]
    pub(crate) fn kids(&self) -> Vec<&str> {
        self.keys.iter().filter_map(Key::kid).collect()
    }

    /// The keys that may have signed under this header. With a `kid` they have that `kid`; all fit the algorithm. They
    /// are few, whatever the set holds.
    pub(crate) fn candidates<'k>(&'k self, header: &Header) -> impl Iterator<Item = &'k Key> {
        let fitting = self.keys.iter().filter(|key| key.fits(header.algorithm));
        fitting.filter(|key| header.kid.is_none() || key.kid() == header.kid.as_deref()).take(MOST_TRIED)
    }

    /// Whether a key of this set may have signed it. If it does not name its key, whether one has.
    pub(crate) fn may_verify(&self, jws: &Jws) -> bool {
        match jws.header().kid {
            Some(_) => self.candidates(jws.header()).next().is_some(),
            None => self.verify(jws).is_ok(),
        }
    }

    /// The key that it was signed with, [`Fault::NoSuchKey`] if the set holds none that may have signed it.
    pub(crate) fn verify<'k>(&'k self, jws: &Jws) -> Result<&'k Key, Fault> {
        let mut fault = Fault::NoSuchKey;
        for key in self.candidates(jws.header()) {
            match jws.verify(key) {
                Ok(()) => return Ok(key),
                Err(other) => fault = other,
            }
        }
        Err(fault)
    }
}

struct Read {
    keys: Vec<Key>,
    left_out: Vec<Fault>,
}

impl Read {
    fn of(body: &[u8]) -> Result<Self, Fault> {
        let members = json::parse(body, &[]).map_err(|_| Fault::KeySetNotRead)?;
        let mut read = Self { keys: Vec::new(), left_out: Vec::new() };
        match members.get("keys") {
            Some(Value::Array(keys)) if keys.len() > MOST_KEYS => return Err(Fault::TooManyKeys),
            Some(Value::Array(keys)) => keys.iter().for_each(|key| read.add(key.as_object())),
            None if members.contains_key("kty") => read.add(Some(&members)),
            _ => return Err(Fault::NotAKeySet),
        }
        Ok(read)
    }

    fn add(&mut self, members: Option<&Map<String, Value>>) {
        match members.ok_or(Fault::KeyNotAnObject).and_then(Key::read) {
            Ok(key) => self.keys.push(key),
            Err(fault) => self.left_out.push(fault),
        }
    }

    /// If all keys were left out, the first says why.
    fn into_set(self) -> Result<KeySet, Fault> {
        if self.keys.is_empty() {
            return Err(self.left_out.first().copied().unwrap_or(Fault::NoKeys));
        }
        Ok(KeySet { keys: self.keys.into() })
    }
}
