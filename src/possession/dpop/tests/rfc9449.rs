//! The examples of RFC 9449.

use super::*;
use crate::jose::{Algorithm, Jws, decoded, encoded, sha256};

/// Figure 2: for a token endpoint.
const FOR_TOKEN_ENDPOINT: &str = "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklDUkRZOXpDa0RscEJoRjQyVVFVZldWQVdCRnMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JEQSIsImNydiI6IlAtMjU2In19.eyJqdGkiOiItQndDM0VTYzZhY2MybFRjIiwiaHRtIjoiUE9TVCIsImh0dSI6Imh0dHBzOi8vc2VydmVyLmV4YW1wbGUuY29tL3Rva2VuIiwiaWF0IjoxNTYyMjYyNjE2fQ.2-GxA6T8lP4vfrg8v-FdWP0A0zdrj8igiMLvqRMUvwnQg4PtFLbdLXiOSsX0x7NVY-FNyJK70nfbV37xRZT3Lg";

/// Figures 13 and 14: for a protected resource.
const FOR_RESOURCE: &str = "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklDUkRZOXpDa0RscEJoRjQyVVFVZldWQVdCRnMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JEQSIsImNydiI6IlAtMjU2In19.eyJqdGkiOiJlMWozVl9iS2ljOC1MQUVCIiwiaHRtIjoiR0VUIiwiaHR1IjoiaHR0cHM6Ly9yZXNvdXJjZS5leGFtcGxlLm9yZy9wcm90ZWN0ZWRyZXNvdXJjZSIsImlhdCI6MTU2MjI2MjYxOCwiYXRoIjoiZlVIeU8ycjJaM0RaNTNFc05yV0JiMHhXWG9hTnk1OUlpS0NBcWtzbVFFbyJ9.2oW9RP35yRqzhrtNP86L-Ey71EOptxRimPPToA1plemAgR6pxHF8y6-yqyVnmcw6Fy1dqd-jfxSYoMxhAJpLjA";

const TOKEN: &str = "Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU";
const RESOURCE: &str = "https://resource.example.org/protectedresource";
const MADE_AT: i64 = 1_562_262_618;

/// Section 6.1: `jkt`.
fn thumbprint() -> [u8; 32] {
    decoded("0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I").unwrap().try_into().unwrap()
}

#[test]
fn the_proof_of_its_request_is_good_for_that_request_as_long_as_it_lives() {
    assert_eq!(encoded(&sha256(TOKEN.as_bytes())), "fUHyO2r2Z3DZ53EsNrWBb0xWXoaNy59IiKCAqksmQEo");
    let thumbprint = thumbprint();
    for now in [MADE_AT - 10, MADE_AT, MADE_AT + 70] {
        let verified = verified(FOR_RESOURCE, &expected(TOKEN, &thumbprint, RESOURCE, now)).unwrap();
        assert_eq!(verified.jti, "e1j3V_bKic8-LAEB");
        assert_eq!(verified.until, Timestamp::from_unix_seconds(MADE_AT) + LIFETIME + CLOCK_SKEW);
        assert_eq!(verified.nonce, None);
    }
}

#[test]
fn it_is_good_for_no_other_token_request_and_time() {
    let (thumbprint, other) = (thumbprint(), [7; 32]);
    let fault = |expected: &Expected| wrong(FOR_RESOURCE, expected).map(|(fault, _)| fault);
    let asked = || expected(TOKEN, &thumbprint, RESOURCE, MADE_AT);
    assert_eq!(fault(&asked()), None);
    for (expected, named) in [
        (Expected { token: &TOKEN[1..], ..asked() }, ProofFault::TokenHash),
        (Expected { thumbprint: &other, ..asked() }, ProofFault::OtherKey),
        (Expected { method: "POST", ..asked() }, ProofFault::Method),
        (Expected { method: "get", ..asked() }, ProofFault::Method),
        (Expected { path: "/", ..asked() }, ProofFault::Uri),
        (Expected { path: "*", ..asked() }, ProofFault::Uri),
        (Expected { now: Timestamp::from_unix_seconds(MADE_AT - 11), ..asked() }, ProofFault::NotYetValid),
        (Expected { now: Timestamp::from_unix_seconds(MADE_AT + 71), ..asked() }, ProofFault::TooOld),
        (Expected { longest: FOR_RESOURCE.len() - 1, ..asked() }, ProofFault::Malformed),
    ] {
        assert_eq!(fault(&expected), Some(named));
    }
}

#[test]
fn whichever_character_of_it_is_another_one_it_is_refused() {
    let thumbprint = thumbprint();
    let expected = expected(TOKEN, &thumbprint, RESOURCE, MADE_AT);
    for at in 0..FOR_RESOURCE.len() {
        let other = if FOR_RESOURCE.as_bytes()[at] == b'A' { 'B' } else { 'A' };
        let changed = format!("{}{other}{}", &FOR_RESOURCE[..at], &FOR_RESOURCE[at + 1..]);
        assert!(wrong(&changed, &expected).is_some(), "{changed}");
    }
}

/// Its signature is right, and it comes with no token: so it is for no request to a resource.
#[test]
fn the_proof_for_a_token_endpoint_is_none_for_a_resource() {
    let (jws, key) = Jws::parse_with_key(FOR_TOKEN_ENDPOINT, 8_192, &Algorithm::ALL).unwrap();
    assert_eq!(jws.verify(&key.unwrap().tried().unwrap()), Ok(()));

    let thumbprint = thumbprint();
    let asked = expected(TOKEN, &thumbprint, "https://server.example.com/token", 1_562_262_616);
    let asked = Expected { method: "POST", ..asked };
    assert_eq!(wrong(FOR_TOKEN_ENDPOINT, &asked), Some((ProofFault::TokenHash, Details::Because("it is missing"))));
}
