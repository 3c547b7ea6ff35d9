//! One proof, judged by what it was made for: cheap things first, the signature last.

use std::time::Duration;

use serde_json::{Map, Value};

use super::forgeries::Forgeries;
use super::nonce::{Age, NonceSecret};
use super::uri::PublicOrigin;
use crate::clock::Timestamp;
use crate::facts;
use crate::jose::{Algorithm, Fault, Jws, StatedKey, decoded, encoded, sha256};
use crate::json;
use crate::rejection::ProofFault;

/// Members of the payload that decide.
const DECISIVE: [&str; 6] = ["jti", "htm", "htu", "iat", "ath", "nonce"];

/// In bytes, of `jti`. RFC 9449 section 11.1 has servers bound it.
const LONGEST_JTI: usize = 1_024;

/// What a proof has to have been made for.
pub(super) struct Expected<'a> {
    pub(super) token: &'a str,
    /// Of the key that the token is bound to.
    pub(super) thumbprint: &'a [u8; 32],
    pub(super) method: &'a str,
    pub(super) public_origin: &'a PublicOrigin,
    /// Of the request, behind the public origin.
    pub(super) path: &'a str,
    pub(super) now: Timestamp,
    pub(super) lifetime: Duration,
    pub(super) clock_skew: Duration,
    pub(super) nonces: Option<&'a Nonces>,
    pub(super) longest: usize,
}

pub(super) struct Nonces {
    pub(super) secret: NonceSecret,
    /// Whose nonces are good, too.
    pub(super) second: Option<NonceSecret>,
    pub(super) are_required: bool,
}

/// All of a proof is right but, maybe, the signature.
pub(super) struct Proof<'p> {
    jws: Jws<'p>,
    key: StatedKey,
    pub(super) jti: String,
    /// It is not accepted later than that.
    pub(super) until: Timestamp,
    /// None if it states no nonce.
    pub(super) nonce: Option<Age>,
}

/// What is wrong, and for the log the details: never a text of the caller's.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Wrong {
    pub(super) fault: ProofFault,
    pub(super) details: Details,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Details {
    None,
    /// A text of this crate's own.
    Because(&'static str),
    /// `iat` is so long before, or after, the time here.
    Away(Duration),
}

impl Wrong {
    pub(super) fn because(fault: ProofFault, why: &'static str) -> Self {
        Self { fault, details: Details::Because(why) }
    }
}

impl From<ProofFault> for Wrong {
    fn from(fault: ProofFault) -> Self {
        Self { fault, details: Details::None }
    }
}

/// RFC 9449 section 4.3, in an order by cost: only somebody with a live token, and the public key that it is bound to,
/// has anything verified.
pub(super) fn judge<'p>(proof: &'p str, expected: &Expected) -> Result<Proof<'p>, Wrong> {
    let malformed = |fault: Fault| Wrong::because(ProofFault::Malformed, fault.as_str());
    let (jws, key) = Jws::parse_with_key(proof, expected.longest, &Algorithm::ALL).map_err(malformed)?;
    if !jws.header().is_of_type("dpop+jwt") {
        return Err(ProofFault::Type.into());
    }
    let key = key.map_err(|fault| Wrong::because(ProofFault::Key, fault.as_str()))?;
    if key.thumbprint() != *expected.thumbprint {
        return Err(ProofFault::OtherKey.into());
    }
    let unreadable = |_| Wrong::because(ProofFault::Malformed, "its claims cannot be read");
    let claims = json::parse(jws.payload(), &DECISIVE).map_err(unreadable)?;
    judge_token_hash(&claims, expected.token)?;
    if text(&claims, "htm")? != expected.method {
        return Err(ProofFault::Method.into());
    }
    let judged = expected.public_origin.judge(text(&claims, "htu")?, expected.path);
    judged.map_err(|why| Wrong::because(ProofFault::Uri, why))?;
    let issued_at = judge_time(&claims, expected)?;
    let nonce = judge_nonce(&claims, expected)?;
    let jti = text(&claims, "jti")?;
    if jti.is_empty() || jti.len() > LONGEST_JTI {
        return Err(Wrong::because(ProofFault::Malformed, "its `jti` is empty, or longer than 1,024 bytes"));
    }
    let until = issued_at + expected.lifetime + expected.clock_skew;
    Ok(Proof { key, jti: jti.to_owned(), until, nonce, jws })
}

impl Proof<'_> {
    /// Verifies the signature, unless too many were wrong lately that were said to be of this key.
    pub(super) fn verify(
        self,
        thumbprint: &[u8; 32],
        forgeries: &Forgeries,
        now: Timestamp,
    ) -> Result<Verified, NotVerified> {
        if forgeries.are_too_many(thumbprint, now) {
            return Err(NotVerified::TooMany);
        }
        let Self { jws, key, jti, until, nonce } = self;
        let verified = key.tried().and_then(|key| jws.verify(&key));
        verified.map_err(|fault| {
            forgeries.add(thumbprint, now);
            NotVerified::Wrong(Wrong::because(ProofFault::Signature, fault.as_str()))
        })?;
        Ok(Verified { jti, until, nonce })
    }
}

/// Whoever sent it holds the key. It may have been used before.
pub(super) struct Verified {
    pub(super) jti: String,
    pub(super) until: Timestamp,
    pub(super) nonce: Option<Age>,
}

pub(super) enum NotVerified {
    Wrong(Wrong),
    TooMany,
}

fn text<'c>(claims: &'c Map<String, Value>, name: &'static str) -> Result<&'c str, Wrong> {
    let why = match name {
        "jti" => "its `jti` is missing, or no text",
        "htm" => "its `htm` is missing, or no text",
        "htu" => "its `htu` is missing, or no text",
        _ => "a claim is missing, or no text",
    };
    claims.get(name).and_then(Value::as_str).ok_or_else(|| Wrong::because(ProofFault::Malformed, why))
}

/// Section 4.2: the SHA-256 of the token's text.
fn judge_token_hash(claims: &Map<String, Value>, token: &str) -> Result<(), Wrong> {
    match claims.get("ath") {
        None => Err(Wrong::because(ProofFault::TokenHash, "it is missing")),
        Some(Value::String(stated)) if *stated == encoded(&sha256(token.as_bytes())) => Ok(()),
        Some(Value::String(stated)) if decoded(stated).is_ok_and(|hash| hash.len() == 32) => {
            Err(Wrong::because(ProofFault::TokenHash, "it is the hash of something else"))
        }
        Some(_) => Err(Wrong::because(ProofFault::TokenHash, "it is not the base64url of 32 bytes")),
    }
}

fn judge_time(claims: &Map<String, Value>, expected: &Expected) -> Result<Timestamp, Wrong> {
    let Ok(Some(issued_at)) = facts::time(claims.get("iat"), f64::floor) else {
        return Err(Wrong::because(ProofFault::Malformed, "its `iat` is missing, or no time"));
    };
    let away = |fault, away| Err(Wrong { fault, details: Details::Away(away) });
    let now = expected.now;
    if issued_at > now + expected.clock_skew {
        return away(ProofFault::NotYetValid, issued_at.saturating_since(now));
    }
    if issued_at + expected.lifetime + expected.clock_skew < now {
        return away(ProofFault::TooOld, now.saturating_since(issued_at));
    }
    Ok(issued_at)
}

fn judge_nonce(claims: &Map<String, Value>, expected: &Expected) -> Result<Option<Age>, Wrong> {
    let Some(nonces) = expected.nonces else { return Ok(None) };
    let wrong = |why| Err(Wrong::because(ProofFault::Nonce, why));
    match claims.get("nonce") {
        None if nonces.are_required => wrong("it is missing"),
        None => Ok(None),
        Some(stated) => {
            let judged = |secret: &NonceSecret| secret.judge(stated.as_str()?, expected.now, expected.clock_skew);
            let age = judged(&nonces.secret).or_else(|| judged(nonces.second.as_ref()?));
            age.map_or_else(|| wrong("it is none of this service's that is good now"), |age| Ok(Some(age)))
        }
    }
}
