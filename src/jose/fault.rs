//! Why something signed, or a key, is not taken.

use std::error::Error;
use std::fmt;

/// Nothing of what was read is in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    TooLong,
    NotThreeParts,
    Encrypted,
    Base64,
    Header,
    Algorithm,
    Critical,
    Unencoded,
    Payload,
    NoSuchKey,
    KeyDoesNotFit,
    Signature,
    KeySetNotRead,
    NotAKeySet,
    TooManyKeys,
    NoKeys,
    KeyNotAnObject,
    KeyType,
    PrivateKey,
    KeyUse,
    KeyAlgorithm,
    KeyName,
    KeyValue,
    KeySize,
    Exponent,
    Point,
}

impl Fault {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::TooLong => "it is longer than allowed",
            Self::NotThreeParts => "it has not the three parts of something signed",
            Self::Encrypted => "it is encrypted (it has five parts), which is not supported",
            Self::Base64 => "a part is not base64url without padding",
            Self::Header => "its header is not a JSON object that holds each member once",
            Self::Algorithm => "its `alg` is not one of those allowed",
            Self::Critical => "its header has `crit`, and no extension is supported",
            Self::Unencoded => "its header has `b64`, which is not supported",
            Self::Payload => "what is signed does not begin as a JSON object",
            Self::NoSuchKey => "no key has its `kid` and fits its `alg`",
            Self::KeyDoesNotFit => "the key does not fit its `alg`",
            Self::Signature => "the signature is not that of the key",
            Self::KeySetNotRead => "it is not a JSON object that holds each member once",
            Self::NotAKeySet => "it is neither a key set with `keys` nor a key with `kty`",
            Self::TooManyKeys => "it holds more than 64 keys",
            Self::NoKeys => "it holds no key",
            Self::KeyNotAnObject => "the key is not a JSON object",
            Self::KeyType => "the key is neither RSA, P-256, P-384 nor Ed25519",
            Self::PrivateKey => "the key is a private one: whoever holds it can sign",
            Self::KeyUse => "the key is not for signatures (`use`, `key_ops`)",
            Self::KeyAlgorithm => "the key's `alg` is not supported, or does not fit the key",
            Self::KeyName => "the key's `kid` is not a text",
            Self::KeyValue => "a number of the key is missing, or not base64url of the right length",
            Self::KeySize => "the RSA key has not 2,048 to 8,192 bits",
            Self::Exponent => "the RSA key's exponent is even, or smaller than 65,537",
            Self::Point => "the key is none: its numbers fit no key of its type",
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Error for Fault {}
