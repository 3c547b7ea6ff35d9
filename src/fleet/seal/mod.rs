//! What leaves the process for the engine, sealed with AES-256-GCM-SIV, RFC 8452.
//!
//! A value is its [`Header`], a nonce and what is sealed. The seal covers the header (version, key id, epoch,
//! `asked_at`, `as_of`) and the whole name as well, so that a value which is changed, or copied to another name, cannot
//! be opened. A record, and the settings of a node, have a header of the version and the key id only: their place is
//! given by the engine. What cannot be opened is [`Unreadable`], which is a miss or a gap, never an error.

use aws_lc_rs::aead::{Aad, LessSafeKey, NONCE_LEN, Nonce};
use aws_lc_rs::rand;

use super::engine::{Header, Name, Version};
use super::keys::{FORMAT, Keyring, Keys, length_of};
use super::record::MAX_RECORD_BYTES;

/// The greatest value that is stored or read, all of it.
pub(crate) const MAX_VALUE_BYTES: usize = 64 * 1024;

/// How much longer sealed bytes are than what is in them: a nonce and a tag.
const SEAL_BYTES: usize = NONCE_LEN + 16;

/// The version, and the key id.
const SHORT_HEADER_BYTES: usize = 9;

const MAX_SEALED_RECORD_BYTES: usize = SHORT_HEADER_BYTES + SEAL_BYTES + MAX_RECORD_BYTES;

/// Why something that the engine holds cannot be opened.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Unreadable {
    /// It is larger than anything that a process of the fleet writes: 64 KiB for an answer.
    TooLarge,
    /// It was written by an earlier or a later release of this crate.
    OtherVersion,
    /// It was written with a secret that this process does not have.
    UnknownKey,
    /// It was changed, cut off, or copied from elsewhere.
    Tampered,
}

impl Unreadable {
    pub(crate) const ALL: [Self; 4] = [Self::TooLarge, Self::OtherVersion, Self::UnknownKey, Self::Tampered];

    /// One word for logs and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::TooLarge => "too_large",
            Self::OtherVersion => "other_version",
            Self::UnknownKey => "unknown_secret",
            Self::Tampered => "tampered",
        }
    }
}

impl Header {
    pub(crate) const BYTES: usize = 33;

    pub(crate) fn to_bytes(self) -> [u8; Self::BYTES] {
        let mut bytes = [FORMAT; Self::BYTES];
        let numbers = [
            self.key_id.to_be_bytes(),
            self.version.epoch.to_be_bytes(),
            self.version.asked_at.to_be_bytes(),
            self.as_of.to_be_bytes(),
        ];
        for (place, number) in bytes.iter_mut().skip(1).zip(numbers.as_flattened()) {
            *place = *number;
        }
        bytes
    }

    /// The header of a value, and what follows it.
    pub(crate) fn read(value: &[u8]) -> Result<(Self, &[u8]), Unreadable> {
        fn number(rest: &mut &[u8]) -> Result<[u8; 8], Unreadable> {
            let (number, after) = rest.split_first_chunk().ok_or(Unreadable::Tampered)?;
            *rest = after;
            Ok(*number)
        }
        let mut rest = after_version(value)?;
        let key_id = u64::from_be_bytes(number(&mut rest)?);
        let epoch = u64::from_be_bytes(number(&mut rest)?);
        let asked_at = i64::from_be_bytes(number(&mut rest)?);
        let as_of = u64::from_be_bytes(number(&mut rest)?);
        Ok((Self { key_id, version: Version { epoch, asked_at }, as_of }, rest))
    }
}

fn after_version(bytes: &[u8]) -> Result<&[u8], Unreadable> {
    match bytes {
        [FORMAT, rest @ ..] => Ok(rest),
        [_, ..] => Err(Unreadable::OtherVersion),
        [] => Err(Unreadable::Tampered),
    }
}

impl Keyring {
    /// What is to be stored under `name`. The key id is the first secret's, whatever the header says. `None` if it is
    /// longer than [`MAX_VALUE_BYTES`], or no random bytes can be had.
    pub(crate) fn seal_value(&self, name: &Name, header: Header, plaintext: &[u8]) -> Option<Vec<u8>> {
        let header = Header { key_id: self.first.id, ..header }.to_bytes();
        if header.len() + SEAL_BYTES + plaintext.len() > MAX_VALUE_BYTES {
            return None;
        }
        seal(&self.first.values, &header, &bound("value", name.0.as_bytes(), &header), plaintext)
    }

    /// What [`seal_value`](Self::seal_value) sealed under this very name.
    pub(crate) fn open_value(&self, name: &Name, value: &[u8]) -> Result<(Header, Vec<u8>), Unreadable> {
        if value.len() > MAX_VALUE_BYTES {
            return Err(Unreadable::TooLarge);
        }
        let (header, sealed) = Header::read(value)?;
        let keys = self.with_id(header.key_id).ok_or(Unreadable::UnknownKey)?;
        let bound = bound("value", name.0.as_bytes(), &header.to_bytes());
        Ok((header, open(&keys.values, &bound, sealed)?))
    }

    /// A record of the log. `None` if it is longer than [`MAX_RECORD_BYTES`], or no random bytes can be had.
    pub(crate) fn seal_record(&self, plaintext: &[u8]) -> Option<Vec<u8>> {
        self.seal_short("record", |keys| &keys.records, plaintext)
    }

    pub(crate) fn open_record(&self, bytes: &[u8]) -> Result<Vec<u8>, Unreadable> {
        self.open_short("record", |keys| &keys.records, bytes)
    }

    /// The settings of a node, within the same bounds as a record.
    pub(crate) fn seal_settings(&self, plaintext: &[u8]) -> Option<Vec<u8>> {
        self.seal_short("settings", |keys| &keys.settings, plaintext)
    }

    pub(crate) fn open_settings(&self, bytes: &[u8]) -> Result<Vec<u8>, Unreadable> {
        self.open_short("settings", |keys| &keys.settings, bytes)
    }

    fn seal_short(&self, label: &str, key: fn(&Keys) -> &LessSafeKey, plaintext: &[u8]) -> Option<Vec<u8>> {
        if plaintext.len() > MAX_RECORD_BYTES {
            return None;
        }
        let header = short_header(self.first.id);
        seal(key(&self.first), &header, &bound(label, b"", &header), plaintext)
    }

    fn open_short(&self, label: &str, key: fn(&Keys) -> &LessSafeKey, bytes: &[u8]) -> Result<Vec<u8>, Unreadable> {
        if bytes.len() > MAX_SEALED_RECORD_BYTES {
            return Err(Unreadable::TooLarge);
        }
        let (key_id, sealed) = after_version(bytes)?.split_first_chunk().ok_or(Unreadable::Tampered)?;
        let key_id = u64::from_be_bytes(*key_id);
        let keys = self.with_id(key_id).ok_or(Unreadable::UnknownKey)?;
        open(key(keys), &bound(label, b"", &short_header(key_id)), sealed)
    }
}

fn short_header(key_id: u64) -> Vec<u8> {
    [&[FORMAT][..], &key_id.to_be_bytes()].concat()
}

/// What a seal covers beside what is in it: what it is, under which name, and the header, which has the version first.
fn bound(label: &str, name: &[u8], header: &[u8]) -> Vec<u8> {
    let fields = [label.as_bytes(), name, header];
    fields.iter().flat_map(|field| [&length_of(field)[..], field].concat()).collect()
}

/// `header`, a new nonce, and `plaintext` sealed.
fn seal(key: &LessSafeKey, header: &[u8], bound: &[u8], plaintext: &[u8]) -> Option<Vec<u8>> {
    let mut nonce = [0; NONCE_LEN];
    rand::fill(&mut nonce).ok()?;
    let mut sealed = plaintext.to_vec();
    key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(bound), &mut sealed).ok()?;
    Some([header, &nonce, &sealed].concat())
}

fn open(key: &LessSafeKey, bound: &[u8], sealed: &[u8]) -> Result<Vec<u8>, Unreadable> {
    let (nonce, sealed) = sealed.split_first_chunk().ok_or(Unreadable::Tampered)?;
    let mut opened = sealed.to_vec();
    let nonce = Nonce::assume_unique_for_key(*nonce);
    let length = key.open_in_place(nonce, Aad::from(bound), &mut opened).map_err(|_| Unreadable::Tampered)?.len();
    opened.truncate(length);
    Ok(opened)
}

#[cfg(test)]
mod tests;
