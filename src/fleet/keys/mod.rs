//! What is derived from the secrets of a fleet: keys, and by them the names under which it shares.
//!
//! Each use has a key of its own: HKDF with SHA-256, RFC 5869, of the secret, with the use and the fleet's name as
//! `info`. A [`Keyring`] has one or two such sets. What is written is written with the first, and what is read is read
//! with the one whose id it carries, so that the secret can be changed while the fleet serves: first each process gets
//! the new one as its second, then each gets them in the other order, then the old one goes.
//!
//! A name is HMAC with SHA-256, RFC 2104, over fields of which each has its length before it: no two lists of fields
//! come to the same bytes, wherever they are cut.

use aws_lc_rs::aead::{AES_256_GCM_SIV, LessSafeKey, UnboundKey};
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Prk, Salt};
use aws_lc_rs::hmac;
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use zeroize::Zeroizing;

use super::engine::Name;
use super::secret::FleetSecret;
use crate::build_error::BuildError;

/// The version of all that is written: of names, values, records and settings.
pub(super) const FORMAT: u8 = 1;

/// Who asks whom, and for which cache: answers are shared by those only to whom all of it applies.
#[derive(Clone, PartialEq, Eq)]
#[cfg_attr(test, derive(Debug))]
pub(crate) struct Identity {
    /// What tells the authority from others: its kind and address, for example.
    pub(crate) authority: Vec<String>,
    /// As whom it is asked, since it may not say the same to everybody. No secret.
    pub(crate) client: Vec<String>,
    pub(crate) cache: String,
    /// The settings by which the answers of this authority are others; empty if all are as by default. It may hold a
    /// secret.
    pub(crate) reading: String,
}

/// One of the secrets of a [`Keyring`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Which {
    First,
    /// The first, if there is no second.
    Second,
}

/// The keys of a fleet. There is no `Debug`.
pub(crate) struct Keyring {
    pub(super) first: Keys,
    second: Option<Keys>,
}

/// What is derived from one secret.
pub(super) struct Keys {
    pub(super) id: u64,
    names: hmac::Key,
    fingerprints: hmac::Key,
    pub(super) values: LessSafeKey,
    pub(super) records: LessSafeKey,
    pub(super) settings: LessSafeKey,
}

impl Keyring {
    /// For the fleet of that name, which is bound into everything: what one fleet wrote is nothing to another, though
    /// both have the same secret.
    ///
    /// # Errors
    /// If both secrets are the same.
    pub(crate) fn new(fleet: &str, first: &FleetSecret, second: Option<&FleetSecret>) -> Result<Self, BuildError> {
        if second.is_some_and(|second| second.is_same(first)) {
            let problem = "it is the same as the first; leave it out, or give the one that is to come or to go";
            return Err(BuildError::new("second_secret", problem));
        }
        let keys = |setting: &'static str, secret: &FleetSecret| {
            // Each length is one that the algorithms take, so this does not fail.
            Keys::derive(fleet, secret)
                .map_err(|Unspecified| BuildError::new(setting, "no keys can be derived from it"))
        };
        let second = second.map(|second| keys("second_secret", second)).transpose()?;
        Ok(Self { first: keys("secret", first)?, second })
    }

    fn keys(&self, which: Which) -> &Keys {
        match (which, &self.second) {
            (Which::Second, Some(second)) => second,
            _ => &self.first,
        }
    }

    /// The one or two secrets there are.
    pub(crate) fn which(&self) -> impl Iterator<Item = Which> {
        [Some(Which::First), self.second.as_ref().map(|_| Which::Second)].into_iter().flatten()
    }

    /// Their ids: what is written carries the first.
    pub(crate) fn ids(&self) -> impl Iterator<Item = u64> {
        self.which().map(|which| self.keys(which).id)
    }

    pub(super) fn with_id(&self, id: u64) -> Option<&Keys> {
        [Some(&self.first), self.second.as_ref()].into_iter().flatten().find(|keys| keys.id == id)
    }

    /// What is known of `token` is shared under this name.
    pub(crate) fn name(&self, which: Which, identity: &Identity, token: &[u8]) -> Name {
        let mut fields = Fields::of(&self.keys(which).names, "token");
        fields.push_identity(identity);
        // Without it there is a field less, so that neither can be taken for the other.
        if !identity.reading.is_empty() {
            fields.push(identity.reading.as_bytes());
        }
        fields.push(token);
        fields.name()
    }

    /// By this other processes can tell whether they ask and read in the same way, and not how.
    pub(crate) fn reading_mark(&self, which: Which, identity: &Identity) -> String {
        let mut fields = Fields::of(&self.keys(which).names, "reading");
        fields.push_identity(identity);
        fields.push(identity.reading.as_bytes());
        fields.name().0
    }

    /// The rate at which this client asks this authority is limited under this name.
    pub(crate) fn rate_name(&self, authority: &[String], client: &[String]) -> Name {
        let mut fields = Fields::of(&self.first.names, "rate");
        fields.push_list(authority);
        fields.push_list(client);
        fields.name()
    }

    /// That the proof with this `jti` and key was used is kept under this name.
    #[cfg(feature = "dpop")]
    pub(crate) fn proof_name(&self, which: Which, key: &[u8; 32], jti: &str) -> Name {
        let mut fields = Fields::of(&self.keys(which).names, "proof");
        fields.push(key);
        fields.push(jti.as_bytes());
        fields.name()
    }

    /// The keys of the fingerprints by which records tell tokens. `None` if no secret has this id.
    ///
    /// They do not depend on [`reading`](Identity::reading): an invalidation has to be heard by a process that reads in
    /// another way, as there are while such a setting is changed in one process after the other.
    pub(crate) fn fingerprint_keys(&self, key_id: u64, identity: &Identity) -> Option<(u64, u64)> {
        let mut fields = Fields::of(&self.with_id(key_id)?.fingerprints, "fingerprint");
        fields.push_identity(identity);
        let tag = fields.0.sign();
        let (one, rest) = tag.as_ref().split_first_chunk()?;
        Some((u64::from_be_bytes(*one), u64::from_be_bytes(*rest.first_chunk()?)))
    }
}

impl Keys {
    fn derive(fleet: &str, secret: &FleetSecret) -> Result<Self, Unspecified> {
        let derived = Salt::new(HKDF_SHA256, b"tower-introspection fleet").extract(secret.expose());
        let key = |of: &str| expand::<32>(&derived, fleet, of);
        let mac = |of: &str| key(of).map(|key| hmac::Key::new(hmac::HMAC_SHA256, &*key));
        let aead = |of: &str| UnboundKey::new(&AES_256_GCM_SIV, &*key(of)?).map(LessSafeKey::new);
        Ok(Self {
            id: u64::from_be_bytes(*expand(&derived, fleet, "key id")?),
            names: mac("names")?,
            fingerprints: mac("fingerprints")?,
            values: aead("values")?,
            records: aead("records")?,
            settings: aead("settings")?,
        })
    }
}

struct Bytes(usize);

impl KeyType for Bytes {
    fn len(&self) -> usize {
        self.0
    }
}

fn expand<const N: usize>(derived: &Prk, fleet: &str, of: &str) -> Result<Zeroizing<[u8; N]>, Unspecified> {
    let mut key = Zeroizing::new([0; N]);
    let info = [&[FORMAT], &length_of(of.as_bytes())[..], of.as_bytes(), fleet.as_bytes()];
    derived.expand(&info, Bytes(N))?.fill(&mut *key)?;
    Ok(key)
}

/// What stands before a field.
pub(super) fn length_of(field: &[u8]) -> [u8; 8] {
    (field.len() as u64).to_be_bytes()
}

/// Fields under a keyed hash. The first says what the hash is of, the second is the version.
struct Fields(hmac::Context);

impl Fields {
    fn of(key: &hmac::Key, label: &str) -> Self {
        let mut fields = Self(hmac::Context::with_key(key));
        fields.push(label.as_bytes());
        fields.push(&[FORMAT]);
        fields
    }

    fn push(&mut self, field: &[u8]) {
        self.0.update(&length_of(field));
        self.0.update(field);
    }

    /// With its count before it.
    fn push_list(&mut self, fields: &[String]) {
        self.push(&(fields.len() as u64).to_be_bytes());
        fields.iter().for_each(|field| self.push(field.as_bytes()));
    }

    fn push_identity(&mut self, identity: &Identity) {
        self.push_list(&identity.authority);
        self.push_list(&identity.client);
        self.push(identity.cache.as_bytes());
    }

    fn name(self) -> Name {
        Name(BASE64_URL_SAFE_NO_PAD.encode(self.0.sign()))
    }
}

#[cfg(test)]
mod tests;
