//! Proofs that a caller holds a key, and what a proxy says of a client certificate.

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::clock::Timestamp;
use crate::possession::{ForwardedCertificate, dpop};

/// The request of RFC 9449 section 7.1, figures 13 and 14.
const TOKEN: &str = "Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU";
const KEY: &str = "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I";
const ISSUED_AT: Timestamp = Timestamp::from_unix_seconds(1_562_262_618);
const SIGNED: &str = concat!(
    "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklDUkRZOXpDa0RscEJo",
    "RjQyVVFVZldWQVdCRnMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JEQSIsImNydiI6IlAtMjU2In19.eyJq",
    "dGkiOiJlMWozVl9iS2ljOC1MQUVCIiwiaHRtIjoiR0VUIiwiaHR1IjoiaHR0cHM6Ly9yZXNvdXJjZS5leGFtcGxlLm9yZy9wcm90ZWN0ZWRyZXNvd",
    "XJjZSIsImlhdCI6MTU2MjI2MjYxOCwiYXRoIjoiZlVIeU8ycjJaM0RaNTNFc05yV0JiMHhXWG9hTnk1OUlpS0NBcWtzbVFFbyJ9",
);

/// Reads a proof, and the same bytes as the header of each proxy.
pub fn possession(bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes) {
        let is_accepted = dpop::is_accepted("https://resource.example.org", TOKEN, KEY, text, ISSUED_AT);
        let is_of_the_rfc = text.rsplit_once('.').is_some_and(|(signed, _)| signed == SIGNED);
        assert!(!is_accepted || is_of_the_rfc, "nobody has signed this");
    }
    let Ok(value) = HeaderValue::from_bytes(bytes) else { return };
    let pem = ForwardedCertificate::EscapedPem(HeaderName::from_static("x-client-cert"));
    for form in [ForwardedCertificate::ClientCert, ForwardedCertificate::Envoy, pem] {
        let mut headers = HeaderMap::new();
        headers.insert(form.header(), value.clone());
        let once = form.read(&headers);
        assert!(once == form.read(&headers), "it is read as two things");
        headers.append(form.header(), value.clone());
        assert!(form.read(&headers).is_err(), "two are one");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_proof_of_the_rfc_is_accepted_and_one_with_another_letter_is_not() {
        let signature = "2oW9RP35yRqzhrtNP86L-Ey71EOptxRimPPToA1plemAgR6pxHF8y6-yqyVnmcw6Fy1dqd-jfxSYoMxhAJpLjA";
        let accepted = |proof: &str| dpop::is_accepted("https://resource.example.org", TOKEN, KEY, proof, ISSUED_AT);
        let proof = format!("{SIGNED}.{signature}");
        assert!(accepted(&proof));
        for at in 0..proof.len() {
            for letter in ["A", "B", "."] {
                let changed = format!("{}{letter}{}", &proof[..at], &proof[at + 1..]);
                assert!(changed == proof || !accepted(&changed), "{at} {letter}");
            }
        }
    }
}
