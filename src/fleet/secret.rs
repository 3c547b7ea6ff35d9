//! The secret that all processes of a fleet share.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use base64::Engine;
use base64::alphabet::{Alphabet, STANDARD, URL_SAFE};
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, PAD};
use zeroize::Zeroizing;

use crate::build_error::BuildError;

/// The secret of a fleet: all keys by which it names, seals and reads what it shares are derived from it (HKDF with
/// SHA-256, RFC 5869). Whoever knows it and can reach the engine reads the facts of tokens and can make a token
/// active: treat it as the credentials of the authority.
///
/// Every process of the fleet has the same one, made of random bytes: `openssl rand -base64 32`. It is wiped from
/// memory when the last copy is dropped, and `Debug` does not show it.
///
/// ```
/// use tower_introspection::fleet::FleetSecret;
///
/// # let from_the_environment = "bm90IGEgc2VjcmV0LCBidXQgYW4gZXhhbXBsZSBvZiBvbmU=\n";
/// let secret = FleetSecret::from_base64(from_the_environment)?;
/// assert_eq!(format!("{secret:?}"), "FleetSecret(..)");
/// # Ok::<(), tower_introspection::BuildError>(())
/// ```
#[derive(Clone)]
pub struct FleetSecret(Arc<Zeroizing<Vec<u8>>>);

const LEAST_BYTES: usize = 32;

const HOW: &str = "make one of 32 random bytes: `openssl rand -base64 32`";

impl FleetSecret {
    /// A secret of these bytes, at least 32, which must be random: a passphrase is none.
    ///
    /// # Errors
    /// If there are fewer than 32 bytes, or all are the same. The error names `secret`.
    pub fn from_bytes(bytes: impl AsRef<[u8]>) -> Result<Self, BuildError> {
        Self::of(Zeroizing::new(bytes.as_ref().to_vec()))
    }

    /// A secret in base64, RFC 4648: of the standard or the URL-safe alphabet, padded or not. White space around it
    /// goes, such as the end of a line.
    ///
    /// # Errors
    /// If it is no base64, and as [`from_bytes`](Self::from_bytes). The error names `secret`, and shows nothing of it.
    pub fn from_base64(text: &str) -> Result<Self, BuildError> {
        let text = text.trim();
        let decoded = decode(&STANDARD, text).or_else(|| decode(&URL_SAFE, text));
        Self::of(decoded.ok_or_else(|| BuildError::new("secret", format!("it is not base64 on one line; {HOW}")))?)
    }

    fn of(bytes: Zeroizing<Vec<u8>>) -> Result<Self, BuildError> {
        let length = bytes.len();
        if length < LEAST_BYTES {
            let problem = format!("it is {length} bytes long, and has to be at least {LEAST_BYTES}; {HOW}");
            return Err(BuildError::new("secret", problem));
        }
        if bytes.iter().all(|byte| bytes.first() == Some(byte)) {
            return Err(BuildError::new("secret", format!("its {length} bytes are all the same; {HOW}")));
        }
        Ok(Self(Arc::new(bytes)))
    }

    pub(super) fn expose(&self) -> &[u8] {
        &self.0
    }

    /// In a time that does not tell where they differ.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        verify_slices_are_equal(&self.0, &other.0).is_ok()
    }
}

/// Into memory that is wiped, even if only a part of the text can be decoded.
fn decode(alphabet: &Alphabet, text: &str) -> Option<Zeroizing<Vec<u8>>> {
    let either = PAD.with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let mut bytes = Zeroizing::new(vec![0; base64::decoded_len_estimate(text.len())]);
    let length = GeneralPurpose::new(alphabet, either).decode_slice(text, &mut bytes).ok()?;
    bytes.truncate(length);
    Some(bytes)
}

impl fmt::Debug for FleetSecret {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("FleetSecret(..)")
    }
}

#[cfg(test)]
mod tests {
    use base64::prelude::{BASE64_STANDARD, BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE, BASE64_URL_SAFE_NO_PAD};

    use super::*;

    fn random() -> Vec<u8> {
        // With `+` and `/`, or `-` and `_`, in it.
        (0..32).map(|n| 255 - n * 7).collect()
    }

    #[test]
    fn a_secret_is_read_from_either_alphabet_padded_or_not_and_with_white_space_around_it() {
        let stated = FleetSecret::from_bytes(random()).unwrap();
        for engine in [BASE64_STANDARD, BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE, BASE64_URL_SAFE_NO_PAD] {
            let text = engine.encode(random());
            assert!(text.contains(['/', '_']), "{text}");
            for text in [text.clone(), format!(" \t{text}\r\n")] {
                assert!(FleetSecret::from_base64(&text).unwrap().is_same(&stated), "{text:?}");
            }
        }
        assert!(!FleetSecret::from_bytes([&random()[..], b"x"].concat()).unwrap().is_same(&stated));
    }

    #[test]
    fn what_is_no_secret_is_refused_and_not_shown() {
        let refused = |secret: Result<FleetSecret, BuildError>| {
            let error = secret.unwrap_err();
            assert_eq!(error.setting(), "secret");
            assert!(error.to_string().contains("openssl rand -base64 32"), "{error}");
            error.to_string()
        };
        assert!(refused(FleetSecret::from_bytes(&random()[1..])).contains("31 bytes long"));
        assert!(refused(FleetSecret::from_bytes("")).contains("0 bytes long"));
        assert!(refused(FleetSecret::from_bytes([7; 40])).contains("all the same"));
        assert!(refused(FleetSecret::from_base64("")).contains("0 bytes long"));
        for text in ["my hush!", "aGk= aGk=", "hush=hush"] {
            let told = refused(FleetSecret::from_base64(text));
            assert!(told.contains("not base64") && !told.contains("hush"), "{told}");
        }
    }

    #[test]
    fn debug_shows_nothing_of_a_secret() {
        let secret = FleetSecret::from_bytes(b"hush hush hush hush hush hush hush").unwrap();
        assert_eq!(format!("{secret:?}"), "FleetSecret(..)");
    }
}
