//! Nonces, RFC 9449 sections 8 and 9: what a proof states so that it cannot have been made long ago.
//!
//! Nobody remembers them. A nonce is the time, in steps of [`STEP`], and a keyed hash of it: all processes with one
//! secret take each other's.

use std::fmt;
use std::time::Duration;

use aws_lc_rs::hmac;
use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use http::HeaderValue;

use crate::build_error::BuildError;
use crate::clock::Timestamp;
use crate::jose::{decoded, encoded};

/// A nonce is good for the rest of its step, and for the next one.
const STEP: Duration = Duration::from_secs(60);

const STEP_BYTES: usize = 8;
const HASH_BYTES: usize = 16;

const LEAST_BYTES: usize = 32;

const HOW: &str = "make one of 32 random bytes: `openssl rand -base64 32`";

/// What the nonces of a service are made with. All its processes need the same one, or each refuses the nonces of the
/// others, which costs clients one more request each time. Whoever knows it can make proofs in advance, but needs the
/// client's key for it, as for any proof.
///
/// ```
/// use tower_introspection::possession::NonceSecret;
///
/// # let from_the_environment = b"not a secret, but an example of one";
/// let secret = NonceSecret::from_bytes(from_the_environment)?;
/// assert_eq!(format!("{secret:?}"), "NonceSecret(..)");
/// # Ok::<(), tower_introspection::BuildError>(())
/// ```
#[derive(Clone)]
pub struct NonceSecret(hmac::Key);

impl NonceSecret {
    /// A secret of these bytes, at least 32, which must be random.
    ///
    /// # Errors
    /// If there are fewer than 32 bytes, or all are the same. The error names `secret`.
    pub fn from_bytes(bytes: impl AsRef<[u8]>) -> Result<Self, BuildError> {
        let bytes = bytes.as_ref();
        if bytes.len() < LEAST_BYTES {
            let problem = format!("it is {} bytes long, and has to be at least {LEAST_BYTES}; {HOW}", bytes.len());
            return Err(BuildError::new("secret", problem));
        }
        if bytes.iter().all(|byte| bytes.first() == Some(byte)) {
            return Err(BuildError::new("secret", format!("its bytes are all the same; {HOW}")));
        }
        Ok(Self(hmac::Key::new(hmac::HMAC_SHA256, bytes)))
    }

    /// A secret of this process alone: for a service that runs in one. A restart makes another one, and clients get a
    /// new nonce then.
    ///
    /// # Errors
    /// If the system has no random bytes. The error names `secret`.
    pub fn random() -> Result<Self, BuildError> {
        let mut bytes = [0; LEAST_BYTES];
        let filled = SystemRandom::new().fill(&mut bytes);
        filled.map_err(|_| BuildError::new("secret", "the system has no random bytes"))?;
        Self::from_bytes(bytes)
    }

    /// The one to hand out.
    pub(super) fn nonce_at(&self, now: Timestamp) -> Option<HeaderValue> {
        let step = step_of(now).to_be_bytes();
        let hash = hmac::sign(&self.0, &labelled(&step));
        let nonce = encoded(&[&step[..], hash.as_ref().get(..HASH_BYTES)?].concat());
        HeaderValue::try_from(nonce).ok()
    }

    /// Which one it is, if it is one of this secret that is good now. The clock of the process that made it may be
    /// ahead by `clock_skew`.
    pub(super) fn judge(&self, nonce: &str, now: Timestamp, clock_skew: Duration) -> Option<Age> {
        let bytes = decoded(nonce).ok().filter(|bytes| bytes.len() == STEP_BYTES + HASH_BYTES)?;
        let (step, hash) = bytes.split_first_chunk::<STEP_BYTES>()?;
        let expected = hmac::sign(&self.0, &labelled(step));
        aws_lc_rs::constant_time::verify_slices_are_equal(expected.as_ref().get(..HASH_BYTES)?, hash).ok()?;
        let (step, current) = (i64::from_be_bytes(*step), step_of(now));
        if step == current - 1 {
            return Some(Age::Previous);
        }
        (current..=step_of(now + clock_skew)).contains(&step).then_some(Age::Current)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Age {
    Current,
    /// It is good once more: the client is handed the next one.
    Previous,
}

fn step_of(now: Timestamp) -> i64 {
    let step = i64::try_from(STEP.as_millis()).unwrap_or(i64::MAX);
    now.as_unix_millis().div_euclid(step)
}

/// So that nothing else that is made with the same secret is a nonce.
fn labelled(step: &[u8]) -> Vec<u8> {
    [b"DPoP-Nonce", step].concat()
}

impl fmt::Debug for NonceSecret {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("NonceSecret(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SKEW: Duration = Duration::from_secs(5);

    fn secret(byte: u8) -> NonceSecret {
        NonceSecret::from_bytes([&[byte][..], &[7; 40]].concat()).unwrap()
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_unix_seconds(seconds)
    }

    fn nonce(secret: &NonceSecret, now: Timestamp) -> String {
        secret.nonce_at(now).unwrap().to_str().unwrap().to_owned()
    }

    #[test]
    fn a_nonce_is_good_for_its_step_and_the_next_one_at_whichever_process_has_the_secret() {
        let (one, other) = (secret(1), secret(1));
        let nonce = nonce(&one, at(600));
        for (now, expected) in [
            (594, None),
            (595, Some(Age::Current)),
            (600, Some(Age::Current)),
            (659, Some(Age::Current)),
            (660, Some(Age::Previous)),
            (719, Some(Age::Previous)),
            (720, None),
        ] {
            assert_eq!(other.judge(&nonce, at(now), SKEW), expected, "{now}");
        }
    }

    #[test]
    fn a_nonce_of_another_secret_and_one_that_was_changed_are_none() {
        let (mine, now) = (secret(1), at(600));
        assert_eq!(mine.judge(&nonce(&secret(2), now), now, SKEW), None);
        let good = nonce(&mine, now);
        for at in 0..good.len() {
            let other = if good.as_bytes()[at] == b'A' { 'B' } else { 'A' };
            let changed = format!("{}{other}{}", &good[..at], &good[at + 1..]);
            assert_eq!(mine.judge(&changed, now, SKEW), None, "{changed}");
        }
        // That of the step now with the hash of the one before: whoever has one nonce has no other.
        let [before, bytes] = [nonce(&mine, at(540)), good.clone()].map(|nonce| decoded(&nonce).unwrap());
        let mixed = encoded(&[&bytes[..STEP_BYTES], &before[STEP_BYTES..]].concat());
        assert_eq!(mine.judge(&mixed, now, SKEW), None);
        for bad in ["", "A", &good[1..], &format!("{good}A"), &format!("{good}="), "eyJ7S_zG.eyJH0-Z.HX4w-7v"] {
            assert_eq!(mine.judge(bad, now, SKEW), None, "{bad}");
        }
    }

    #[test]
    fn what_is_no_secret_is_refused() {
        for bad in [&b""[..], &[1; 31], &[7; 40]] {
            let error = NonceSecret::from_bytes(bad).unwrap_err();
            assert_eq!(error.setting(), "secret");
            assert!(error.to_string().contains("openssl rand"), "{error}");
        }
        let (one, other) = (NonceSecret::random().unwrap(), NonceSecret::random().unwrap());
        assert_eq!(other.judge(&nonce(&one, at(600)), at(600), SKEW), None);
    }
}
