//! How a token is bound, RFC 7800 section 3.

use base64::Engine;
use base64::alphabet::URL_SAFE;
use base64::engine::general_purpose::{GeneralPurpose, NO_PAD};
use serde_json::{Map, Value};

use crate::jose::decoded;
use crate::token::AccessToken;

/// What `cnf` states.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Confirmation {
    /// The token is not bound.
    None,
    /// To what is stated here, all of it.
    Bound {
        /// The thumbprint of a key: `jkt`, RFC 9449 section 6.1.
        key: Option<[u8; 32]>,
        /// The hash of a certificate: `x5t#S256`, RFC 8705 section 3.1.
        certificate: Option<[u8; 32]>,
    },
    /// In a way that is not known here, besides or instead.
    Unknown,
}

impl Confirmation {
    pub(super) fn of(token: &AccessToken) -> Self {
        if !token.is_sender_constrained() {
            return Self::None;
        }
        let (mut key, mut certificate) = (None, None);
        let members: Map<String, Value> = token.claim("cnf").unwrap_or_default();
        for (name, value) in &members {
            let text = value.as_str();
            let (place, hash) = match &**name {
                "jkt" => (&mut key, text.and_then(hash)),
                "x5t#S256" => (&mut certificate, text.and_then(hash_of_certificate)),
                _ => return Self::Unknown,
            };
            if hash.is_none() {
                return Self::Unknown;
            }
            *place = hash;
        }
        if members.is_empty() { Self::Unknown } else { Self::Bound { key, certificate } }
    }
}

/// The base64url of 32 bytes, without padding.
fn hash(text: &str) -> Option<[u8; 32]> {
    decoded(text).ok()?.try_into().ok()
}

/// The same. The two bits behind the last byte may be anything: those of the example in RFC 8705 section 3.1 are not
/// zero, as they would be if it were the base64url of 32 bytes.
fn hash_of_certificate(text: &str) -> Option<[u8; 32]> {
    const ENGINE: GeneralPurpose = GeneralPurpose::new(&URL_SAFE, NO_PAD.with_decode_allow_trailing_bits(true));
    ENGINE.decode(text).ok()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_what_is_known_whole_is_a_confirmation() {
        let of = |cnf: Value| Confirmation::of(&AccessToken::builder().claim("cnf", cnf).unwrap().build());
        let text = "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I";
        let bound = hash(text);
        assert!(bound.is_some());
        assert_eq!(of(json!({ "jkt": text })), Confirmation::Bound { key: bound, certificate: None });
        assert_eq!(of(json!({ "x5t#S256": text })), Confirmation::Bound { key: None, certificate: bound });
        let both = Confirmation::Bound { key: bound, certificate: bound };
        assert_eq!(of(json!({ "x5t#S256": text, "jkt": text })), both);
        assert_eq!(Confirmation::of(&AccessToken::builder().build()), Confirmation::None);
        assert_eq!(of(Value::Null), Confirmation::None);
        // Of RFC 8705, and as it would be written today.
        let of_certificate = |text: &str| of(json!({ "x5t#S256": text }));
        let of_rfc = of_certificate("bwcK0esc3ACC3DB2Y5_lESsXE8o9ltc05O89jdN-dg2");
        assert!(matches!(of_rfc, Confirmation::Bound { key: None, certificate: Some(_) }));
        assert_eq!(of_certificate("bwcK0esc3ACC3DB2Y5_lESsXE8o9ltc05O89jdN-dg0"), of_rfc);
        for unknown in [
            json!({}),
            json!([]),
            json!("jkt"),
            json!(false),
            json!({ "jkt": null }),
            json!({ "jkt": 1 }),
            json!({ "jkt": "" }),
            json!({ "jkt": &text[1..] }),
            json!({ "jkt": "bwcK0esc3ACC3DB2Y5_lESsXE8o9ltc05O89jdN-dg2" }),
            json!({ "jkt": format!("{text}=") }),
            json!({ "jkt": text, "jwk": {} }),
            json!({ "jkt": text, "kid": "x" }),
            json!({ "x5t#S256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08" }),
            json!({ "x5t#S256": &text[1..] }),
            json!({ "x5t#S256": format!("{text}=") }),
            json!({ "x5t#S256": format!("{text}A") }),
            json!({ "x5t#S256": format!(" {text}") }),
            json!({ "x5t": text }),
            json!({ "JKT": text }),
        ] {
            assert_eq!(of(unknown.clone()), Confirmation::Unknown, "{unknown}");
        }
    }
}
