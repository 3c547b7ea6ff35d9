//! A public key, RFC 7517 section 4.

use std::fmt;

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256,
    RSA_PSS_2048_8192_SHA256, VerificationAlgorithm,
};
use serde_json::{Map, Value};

use super::algorithm::Algorithm;
use super::base64url::{decoded, encode_into, encoded};
use super::fault::Fault;
use super::sha256;

/// RFC 7518 sections 6.2.2, 6.3.2 and 6.4.1: a key with one of these can sign.
const PRIVATE: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];

/// A key that has been read and found sound.
pub(crate) struct Key {
    kid: Option<String>,
    thumbprint: String,
    /// For each algorithm that it may verify. An RSA key has two, unless it names its own.
    verifiers: Vec<(Algorithm, ParsedPublicKey)>,
}

/// A key as it is stated: read, but not tried. What somebody brings along costs no more than reading it, until it has
/// turned out to be the key that is looked for.
pub(crate) struct StatedKey {
    kid: Option<String>,
    public: Public,
    thumbprint: [u8; 32],
    /// What it may verify, by its type and by itself.
    verifiers: Vec<(Algorithm, &'static dyn VerificationAlgorithm)>,
}

impl StatedKey {
    /// Reads a key that verifies signatures.
    pub(crate) fn read(members: &Map<String, Value>) -> Result<Self, Fault> {
        let public = Public::read(members)?;
        if !is_for_verifying(members) {
            return Err(Fault::KeyUse);
        }
        let kid = match stated(members, "kid") {
            None => None,
            Some(Value::String(kid)) => Some(kid.clone()),
            Some(_) => return Err(Fault::KeyName),
        };
        let own = match stated(members, "alg") {
            None => None,
            Some(alg) => Some(alg.as_str().and_then(Algorithm::named).ok_or(Fault::KeyAlgorithm)?),
        };
        let mut verifiers = public.verifiers();
        verifiers.retain(|(algorithm, _)| own.is_none_or(|own| own == *algorithm));
        if verifiers.is_empty() {
            return Err(Fault::KeyAlgorithm);
        }
        Ok(Self { kid, thumbprint: public.thumbprint(), public, verifiers })
    }

    /// RFC 7638, with SHA-256.
    #[cfg(feature = "dpop")]
    pub(crate) fn thumbprint(&self) -> [u8; 32] {
        self.thumbprint
    }

    /// The same key for one algorithm alone.
    #[cfg(feature = "dpop")]
    pub(crate) fn only_for(mut self, algorithm: Algorithm) -> Result<Self, Fault> {
        self.verifiers.retain(|(fitting, _)| *fitting == algorithm);
        if self.verifiers.is_empty() { Err(Fault::KeyDoesNotFit) } else { Ok(self) }
    }

    /// Whether its numbers are those of a key.
    pub(crate) fn tried(self) -> Result<Key, Fault> {
        let bytes = self.public.to_bytes();
        let verifiers = self.verifiers.into_iter().map(|(algorithm, verifier)| {
            ParsedPublicKey::new(verifier, &bytes).map(|key| (algorithm, key)).map_err(|_| Fault::Point)
        });
        let verifiers = verifiers.collect::<Result<_, _>>()?;
        Ok(Key { kid: self.kid, thumbprint: encoded(&self.thumbprint), verifiers })
    }
}

impl Key {
    /// Reads a key that verifies signatures.
    #[cfg(feature = "jwt")]
    pub(super) fn read(members: &Map<String, Value>) -> Result<Self, Fault> {
        StatedKey::read(members)?.tried()
    }

    pub(crate) fn kid(&self) -> Option<&str> {
        self.kid.as_deref()
    }

    /// RFC 7638, with SHA-256.
    pub(crate) fn thumbprint(&self) -> &str {
        &self.thumbprint
    }

    /// Whether the type and the curve of the key, and the `alg` that it states itself, let it verify this.
    pub(crate) fn fits(&self, algorithm: Algorithm) -> bool {
        self.verifiers.iter().any(|(fitting, _)| *fitting == algorithm)
    }

    pub(super) fn verify(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> Result<(), Fault> {
        let verifier = self.verifiers.iter().find(|(fitting, _)| *fitting == algorithm);
        let (_, key) = verifier.ok_or(Fault::KeyDoesNotFit)?;
        key.verify_sig(message, signature).map_err(|_| Fault::Signature)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let algorithms: Vec<_> = self.verifiers.iter().map(|(algorithm, _)| algorithm).collect();
        f.debug_struct("Key")
            .field("kid", &self.kid)
            .field("algorithms", &algorithms)
            .field("thumbprint", &self.thumbprint)
            .finish()
    }
}

/// The numbers of a key, of the length that its type has.
enum Public {
    P256 { x: Vec<u8>, y: Vec<u8> },
    P384 { x: Vec<u8>, y: Vec<u8> },
    Ed25519 { x: Vec<u8> },
    Rsa { n: Vec<u8>, e: Vec<u8> },
}

impl Public {
    fn read(members: &Map<String, Value>) -> Result<Self, Fault> {
        let text = |member| members.get(member).and_then(Value::as_str);
        let kty = text("kty").filter(|kty| matches!(*kty, "EC" | "OKP" | "RSA")).ok_or(Fault::KeyType)?;
        if PRIVATE.iter().any(|member| members.contains_key(*member)) {
            return Err(Fault::PrivateKey);
        }
        let number = |member| decoded(text(member).ok_or(Fault::KeyValue)?).map_err(|_| Fault::KeyValue);
        let coordinate = |member, length| number(member).and_then(|bytes| of_length(bytes, length));
        match (kty, text("crv")) {
            ("EC", Some("P-256")) => Ok(Self::P256 { x: coordinate("x", 32)?, y: coordinate("y", 32)? }),
            ("EC", Some("P-384")) => Ok(Self::P384 { x: coordinate("x", 48)?, y: coordinate("y", 48)? }),
            ("OKP", Some("Ed25519")) => Ok(Self::Ed25519 { x: coordinate("x", 32)? }),
            ("RSA", _) => rsa(number("n")?, number("e")?),
            _ => Err(Fault::KeyType),
        }
    }

    fn verifiers(&self) -> Vec<(Algorithm, &'static dyn VerificationAlgorithm)> {
        match self {
            Self::P256 { .. } => vec![(Algorithm::Es256, &ECDSA_P256_SHA256_FIXED)],
            Self::P384 { .. } => vec![(Algorithm::Es384, &ECDSA_P384_SHA384_FIXED)],
            Self::Ed25519 { .. } => vec![(Algorithm::EdDsa, &ED25519)],
            Self::Rsa { .. } => {
                vec![(Algorithm::Rs256, &RSA_PKCS1_2048_8192_SHA256), (Algorithm::Ps256, &RSA_PSS_2048_8192_SHA256)]
            }
        }
    }

    /// As AWS-LC reads it: a point by SEC 1 section 2.3.3, an RSA key by RFC 8017 appendix A.1.1.
    fn to_bytes(&self) -> Vec<u8> {
        match self {
            Self::P256 { x, y } | Self::P384 { x, y } => [&[4], &x[..], y].concat(),
            Self::Ed25519 { x } => x.clone(),
            Self::Rsa { n, e } => der(0x30, &[der_integer(n), der_integer(e)].concat()),
        }
    }

    /// Of the numbers and not of the texts that stood for them.
    fn thumbprint(&self) -> [u8; 32] {
        let mut members = String::with_capacity(160);
        let mut state = |before: &str, number: &[u8]| {
            members.push_str(before);
            encode_into(number, &mut members);
        };
        match self {
            Self::P256 { x, y } => {
                state(r#"{"crv":"P-256","kty":"EC","x":""#, x);
                state(r#"","y":""#, y);
            }
            Self::P384 { x, y } => {
                state(r#"{"crv":"P-384","kty":"EC","x":""#, x);
                state(r#"","y":""#, y);
            }
            Self::Ed25519 { x } => state(r#"{"crv":"Ed25519","kty":"OKP","x":""#, x),
            Self::Rsa { n, e } => {
                state(r#"{"e":""#, e);
                state(r#"","kty":"RSA","n":""#, n);
            }
        }
        members.push_str(r#""}"#);
        sha256(members.as_bytes())
    }
}

/// What is `null` says nothing.
fn stated<'m>(members: &'m Map<String, Value>, member: &str) -> Option<&'m Value> {
    members.get(member).filter(|value| !value.is_null())
}

/// RFC 7517 sections 4.2 and 4.3.
fn is_for_verifying(members: &Map<String, Value>) -> bool {
    let operations = stated(members, "key_ops");
    stated(members, "use").is_none_or(|purpose| purpose == "sig")
        && operations.is_none_or(|all| all.as_array().is_some_and(|all| all.iter().any(|one| one == "verify")))
}

fn of_length(bytes: Vec<u8>, length: usize) -> Result<Vec<u8>, Fault> {
    Some(bytes).filter(|bytes| bytes.len() == length).ok_or(Fault::KeyValue)
}

fn rsa(n: Vec<u8>, e: Vec<u8>) -> Result<Public, Fault> {
    // RFC 7518 section 6.3.1: the fewest bytes that hold the number.
    let ([first @ 1..=0xff, ..], [1..=0xff, ..]) = (&n[..], &e[..]) else { return Err(Fault::KeyValue) };
    let bits = n.len() * 8 - first.leading_zeros() as usize;
    if !(2_048..=8_192).contains(&bits) {
        return Err(Fault::KeySize);
    }
    // Of at least three bytes, and odd: 65,537 or more.
    if e.len() < 3 || e.last().is_none_or(|last| last % 2 == 0) {
        return Err(Fault::Exponent);
    }
    Ok(Public::Rsa { n, e })
}

/// A positive INTEGER: a first bit of one would make it a negative one.
fn der_integer(number: &[u8]) -> Vec<u8> {
    let sign: &[u8] = if number.first().is_some_and(|first| *first >= 0x80) { &[0] } else { &[] };
    der(0x02, &[sign, number].concat())
}

/// A value of less than 65,536 bytes in the Distinguished Encoding Rules, X.690 section 8.1.
fn der(tag: u8, content: &[u8]) -> Vec<u8> {
    let [.., high, low] = content.len().to_be_bytes();
    let length = match (high, low) {
        (0, 0..0x80) => vec![low],
        (0, _) => vec![0x81, low],
        _ => vec![0x82, high, low],
    };
    [&[tag], &length[..], content].concat()
}
