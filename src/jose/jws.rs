//! Something signed, in the compact form of RFC 7515 section 7.1.

use std::fmt;

use serde_json::{Map, Value};

use super::algorithm::Algorithm;
use super::base64url::decoded;
use super::fault::Fault;
use super::key::Key;
#[cfg(feature = "dpop")]
use super::key::StatedKey;
use crate::json;

/// What a header says that is looked at, RFC 7515 section 4.1. Of a key that it holds or points to (`jwk`, `jku`, `x5c`
/// and others) nothing is: whoever signs could bring a key along.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) algorithm: Algorithm,
    pub(crate) typ: Option<String>,
    pub(crate) kid: Option<String>,
}

impl Header {
    /// And the members that are not looked at.
    fn read(bytes: &[u8], allowed: &[Algorithm]) -> Result<(Self, Map<String, Value>), Fault> {
        if !begins_as_object(bytes) {
            return Err(Fault::Header);
        }
        let mut members = json::parse(bytes, &["alg", "typ", "kid"]).map_err(|_| Fault::Header)?;
        if members.contains_key("crit") {
            return Err(Fault::Critical);
        }
        if members.contains_key("b64") {
            return Err(Fault::Unencoded);
        }
        let mut text = |member| match members.remove(member) {
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(Fault::Header),
            None => Ok(None),
        };
        let named = text("alg")?;
        let algorithm = named.and_then(|name| Algorithm::named(&name)).filter(|algorithm| allowed.contains(algorithm));
        let header = Self { algorithm: algorithm.ok_or(Fault::Algorithm)?, typ: text("typ")?, kid: text("kid")? };
        Ok((header, members))
    }

    /// Whether `typ` is this media type, in any case and with or without `application/`, RFC 7515 section 4.1.9.
    pub(crate) fn is_of_type(&self, subtype: &str) -> bool {
        let Some(typ) = self.typ.as_deref() else { return false };
        let prefix = typ.get(.."application/".len()).filter(|prefix| prefix.eq_ignore_ascii_case("application/"));
        typ[prefix.map_or(0, str::len)..].eq_ignore_ascii_case(subtype)
    }
}

/// Something that states by whom it was signed. Nothing in it is true before [`verify`](Self::verify) says so.
pub(crate) struct Jws<'t> {
    header: Header,
    payload: Vec<u8>,
    signed: &'t [u8],
    signature: Vec<u8>,
}

impl<'t> Jws<'t> {
    /// Reads a `text` of up to `longest` bytes, signed with one of these algorithms.
    pub(crate) fn parse(text: &'t str, longest: usize, allowed: &[Algorithm]) -> Result<Self, Fault> {
        Self::of_any_payload(text, longest, allowed)?.0.of_an_object()
    }

    /// The same, of something that brings its key along (`jwk`, RFC 7515 section 4.1.3). What it proves is that whoever
    /// signed has that key, and nothing else: who that is has to be known from elsewhere, by the thumbprint.
    #[cfg(feature = "dpop")]
    pub(crate) fn parse_with_key(
        text: &'t str,
        longest: usize,
        allowed: &[Algorithm],
    ) -> Result<(Self, Result<StatedKey, Fault>), Fault> {
        let (jws, members) = Self::of_any_payload(text, longest, allowed)?;
        let jwk = members.get("jwk").and_then(Value::as_object).ok_or(Fault::KeyNotAnObject);
        let algorithm = jws.header.algorithm;
        let key = jwk.and_then(StatedKey::read).and_then(|key| key.only_for(algorithm));
        Ok((jws.of_an_object()?, key))
    }

    fn of_an_object(self) -> Result<Self, Fault> {
        if begins_as_object(&self.payload) { Ok(self) } else { Err(Fault::Payload) }
    }

    /// What is signed need not be an object: the examples of others sign anything. With the members of its header that
    /// are not looked at.
    pub(super) fn of_any_payload(
        text: &'t str,
        longest: usize,
        allowed: &[Algorithm],
    ) -> Result<(Self, Map<String, Value>), Fault> {
        if text.len() > longest {
            return Err(Fault::TooLong);
        }
        let mut parts = text.split('.');
        let (Some(header), Some(payload), Some(signature)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(Fault::NotThreeParts);
        };
        match parts.count() {
            0 => {}
            2 => return Err(Fault::Encrypted),
            _ => return Err(Fault::NotThreeParts),
        }
        let signed = &text.as_bytes()[..header.len() + 1 + payload.len()];
        let (header, members) = Header::read(&decoded(header)?, allowed)?;
        Ok((Self { header, payload: decoded(payload)?, signed, signature: decoded(signature)? }, members))
    }

    pub(crate) fn header(&self) -> &Header {
        &self.header
    }

    /// It begins with `{`; more is not known before it is read with [`json::parse`].
    pub(crate) fn payload(&self) -> &[u8] {
        &self.payload
    }

    /// Whether it was signed with the private half of this key.
    pub(crate) fn verify(&self, key: &Key) -> Result<(), Fault> {
        key.verify(self.header.algorithm, self.signed, &self.signature)
    }
}

/// What the parts of a token are that begins as a JWT does. Nothing in it is verified.
#[cfg(feature = "jwt")]
pub(crate) enum Unverified {
    /// Of something signed, the payload. It may be anything.
    Signed(Vec<u8>),
    /// It is encrypted, RFC 7516 section 7.1.
    Encrypted,
    /// It is neither. There are readers to whom it is.
    Neither,
}

/// `None` if it does not begin as a JWT does: with the base64url of a JSON object, and a dot.
#[cfg(feature = "jwt")]
pub(crate) fn unverified(text: &str) -> Option<Unverified> {
    let mut parts = text.split('.');
    let header = decoded(parts.next()?).ok().filter(|header| begins_as_object(header))?;
    let payload = parts.next()?;
    let members = json::parse(&header, &[]).unwrap_or_default();
    Some(match (members.contains_key("enc"), parts.count()) {
        (false, 1) => decoded(payload).map_or(Unverified::Neither, Unverified::Signed),
        (true, 3) => Unverified::Encrypted,
        _ => Unverified::Neither,
    })
}

/// White space or a byte order mark before it are JSON to some readers, and none to others.
fn begins_as_object(bytes: &[u8]) -> bool {
    bytes.first() == Some(&b'{')
}

impl fmt::Debug for Jws<'_> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.debug_struct("Jws").field("algorithm", &self.header.algorithm).finish_non_exhaustive()
    }
}
