//! Proofs as they are judged one by one, by a time that stands still.

mod rfc9449;
// What signs proofs is part of it.
#[cfg(feature = "sandbox")]
mod rules;

use std::time::Duration;

use super::forgeries::Forgeries;
use super::proof::{Details, Expected, NotVerified, Verified, Wrong, judge};
use super::uri::PublicOrigin;
use crate::clock::Timestamp;
use crate::rejection::ProofFault;

const LIFETIME: Duration = Duration::from_secs(60);
const CLOCK_SKEW: Duration = Duration::from_secs(10);

/// What a proof of a request by GET to this URI has to be like, where there are no nonces.
fn expected<'a>(token: &'a str, thumbprint: &'a [u8; 32], uri: &'a str, now: i64) -> Expected<'a> {
    let (origin, path) = uri.split_at(uri[8..].find('/').map_or(uri.len(), |at| at + 8));
    Expected {
        token,
        thumbprint,
        method: "GET",
        // So few of them are made that they may stay.
        public_origin: Box::leak(Box::new(PublicOrigin::parse(origin).unwrap())),
        path,
        now: Timestamp::from_unix_seconds(now),
        lifetime: LIFETIME,
        clock_skew: CLOCK_SKEW,
        nonces: None,
        longest: 8_192,
    }
}

/// All that is judged of one proof.
fn verified(proof: &str, expected: &Expected) -> Result<Verified, Wrong> {
    match judge(proof, expected)?.verify(expected.thumbprint, &Forgeries::new(), expected.now) {
        Ok(verified) => Ok(verified),
        Err(NotVerified::Wrong(wrong)) => Err(wrong),
        Err(NotVerified::TooMany) => panic!("none came in before"),
    }
}

/// What is wrong, if something is.
fn wrong(proof: &str, expected: &Expected) -> Option<(ProofFault, Details)> {
    verified(proof, expected).err().map(|wrong| (wrong.fault, wrong.details))
}
