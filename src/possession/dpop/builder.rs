//! Configuring DPoP.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::forgeries::Forgeries;
use super::nonce::NonceSecret;
use super::proof::Nonces;
use super::replays::Replays;
use super::uri::PublicOrigin;
use super::{Dpop, Verifier};
use crate::build_error::BuildError;
use crate::clock::{Clock, SystemClock};
use crate::log_limit::LogLimit;
use crate::url::absolute_url;

const LONGEST_CLOCK_SKEW: Duration = Duration::from_secs(300);
const LONGEST_LIFETIME: Duration = Duration::from_secs(3_600);

/// Configures a [`Dpop`]. Made by [`Dpop::builder`].
#[must_use]
pub struct DpopBuilder {
    public_origin: String,
    nonces: Option<Nonces>,
    second_nonce_secret: Option<NonceSecret>,
    proof_lifetime: Duration,
    clock_skew: Duration,
    max_proof_length: usize,
    max_remembered_proofs: usize,
    max_remembered_proofs_of_one_key: Option<usize>,
    clock: Arc<dyn Clock>,
}

impl DpopBuilder {
    pub(super) fn new(public_origin: String) -> Self {
        Self {
            public_origin,
            nonces: None,
            second_nonce_secret: None,
            proof_lifetime: Duration::from_secs(60),
            clock_skew: Duration::from_secs(10),
            max_proof_length: 8_192,
            max_remembered_proofs: 500_000,
            max_remembered_proofs_of_one_key: None,
            clock: Arc::new(SystemClock),
        }
    }

    /// Hands out nonces (`DPoP-Nonce`), RFC 9449 section 9, and refuses a proof with another one; a proof without a
    /// nonce comes in. For a time in which clients learn of them. Default: no nonces, and those of proofs are not
    /// looked at.
    pub fn offer_nonces(mut self, secret: NonceSecret) -> Self {
        self.nonces = Some(Nonces { secret, second: None, are_required: false });
        self
    }

    /// Requires a nonce in each proof: a client that has none, or an old one, gets a 401 with the error
    /// `use_dpop_nonce` and the nonce to take (`DPoP-Nonce`), and sends its request once more. So no proof can have
    /// been made more than two minutes ago, or in advance. `iat` is judged all the same. A client gets the next one
    /// with the answer to a request that had an old one, which is then kept out of caches (`Cache-Control: no-store`).
    ///
    /// A nonce is good for one to two minutes, and in every process that has the secret.
    pub fn require_nonces(mut self, secret: NonceSecret) -> Self {
        self.nonces = Some(Nonces { secret, second: None, are_required: true });
        self
    }

    /// Takes the nonces of another secret, too, and hands out none of it: for changing the secret while the service
    /// runs in several processes. First each gets the new one here, then each gets the two in the other order, then the
    /// old one goes. Without it processes refuse each other's nonces meanwhile, and a client may be refused again and
    /// again. Default: none.
    pub fn second_nonce_secret(mut self, secret: NonceSecret) -> Self {
        self.second_nonce_secret = Some(secret);
        self
    }

    /// How old a proof may be, by its `iat`. So long it is remembered, too, and the [skew](Self::clock_skew) longer.
    /// Default: 60 seconds. At most an hour.
    pub fn proof_lifetime(mut self, lifetime: Duration) -> Self {
        self.proof_lifetime = lifetime;
        self
    }

    /// How far the client's clock may be ahead of the one here, or behind it. In a fleet those of two processes may be
    /// as far apart, and a proof that was used at one comes in at no other. Default: 10 seconds. At most 5 minutes.
    pub fn clock_skew(mut self, skew: Duration) -> Self {
        self.clock_skew = skew;
        self
    }

    /// The longest proof accepted, in bytes. Default: 8,192.
    pub fn max_proof_length(mut self, bytes: usize) -> Self {
        self.max_proof_length = bytes;
        self
    }

    /// How many proofs are remembered, so that none comes in twice. None is forgotten before it is too old: a request
    /// for which there is no room gets a 503. So it has to hold what comes in within
    /// [`proof_lifetime`](Self::proof_lifetime) and twice the [skew](Self::clock_skew). Default: 500,000, which is
    /// enough for 6,000 requests a second.
    pub fn max_remembered_proofs(mut self, proofs: usize) -> Self {
        self.max_remembered_proofs = proofs;
        self
    }

    /// How many of them may be of one key, so that no client fills the memory for all. Default: a tenth.
    pub fn max_remembered_proofs_of_one_key(mut self, proofs: usize) -> Self {
        self.max_remembered_proofs_of_one_key = Some(proofs);
        self
    }

    /// The clock by which proofs are judged. Default: [`SystemClock`].
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Checks every setting.
    ///
    /// # Errors
    /// Names the setting that cannot work:
    ///
    /// * a `public_origin` that is no absolute `https` URL (`http` on loopback), or has a query, a fragment, a user
    ///   name or a password
    /// * a second secret of nonces where there are none
    /// * a lifetime of zero or of more than an hour, a skew of more than 5 minutes
    /// * a longest proof, or a number of remembered ones, of zero
    pub fn build(self) -> Result<Dpop, BuildError> {
        let nonces = match (self.nonces, self.second_nonce_secret) {
            (Some(nonces), second) => Some(Nonces { second, ..nonces }),
            (None, None) => None,
            (None, Some(_)) => {
                let problem = "there are no nonces: call `offer_nonces` or `require_nonces`, too";
                return Err(BuildError::new("second_nonce_secret", problem));
            }
        };
        let url = absolute_url("public_origin", &self.public_origin)?;
        if url.query().is_some() {
            return Err(BuildError::new("public_origin", "it has a query, and proofs are made for URIs without one"));
        }
        let Some(public_origin) = PublicOrigin::parse(url.as_str()) else {
            return Err(BuildError::new("public_origin", "it is no URL of HTTP with a host"));
        };
        if self.proof_lifetime.is_zero() || self.proof_lifetime > LONGEST_LIFETIME {
            return Err(BuildError::new("proof_lifetime", "it has to be more than zero, and at most an hour"));
        }
        if self.clock_skew > LONGEST_CLOCK_SKEW {
            return Err(BuildError::new("clock_skew", "it is more than 5 minutes; synchronize the clocks instead"));
        }
        let (most, of_one_key) = (self.max_remembered_proofs, self.max_remembered_proofs_of_one_key);
        for (setting, value) in [
            ("max_proof_length", self.max_proof_length),
            ("max_remembered_proofs", most),
            ("max_remembered_proofs_of_one_key", of_one_key.unwrap_or(1)),
        ] {
            if value == 0 {
                return Err(BuildError::new(setting, "zero would let nobody in"));
            }
        }
        Ok(Dpop(Arc::new(Verifier {
            public_origin,
            nonces,
            lifetime: self.proof_lifetime,
            clock_skew: self.clock_skew,
            longest: self.max_proof_length,
            replays: Replays::new(most, of_one_key.unwrap_or((most / 10).max(1))),
            forgeries: Forgeries::new(),
            clock: self.clock,
            told: LogLimit::new(),
            full: LogLimit::new(),
        })))
    }
}

impl fmt::Debug for DpopBuilder {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.debug_struct("DpopBuilder").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_that_cannot_work_is_named() {
        let with = |change: fn(DpopBuilder) -> DpopBuilder| change(Dpop::builder("https://a.example")).build();
        for (setting, built) in [
            ("public_origin", Dpop::builder("a.example").build()),
            ("public_origin", Dpop::builder("http://a.example").build()),
            ("public_origin", Dpop::builder("https://user:hush@a.example").build()),
            ("public_origin", Dpop::builder("https://a.example/?x").build()),
            ("public_origin", Dpop::builder("https://a.example/#x").build()),
            ("proof_lifetime", with(|dpop| dpop.proof_lifetime(Duration::ZERO))),
            ("proof_lifetime", with(|dpop| dpop.proof_lifetime(Duration::from_secs(3_601)))),
            ("second_nonce_secret", with(|dpop| dpop.second_nonce_secret(NonceSecret::random().unwrap()))),
            ("clock_skew", with(|dpop| dpop.clock_skew(Duration::from_secs(301)))),
            ("max_proof_length", with(|dpop| dpop.max_proof_length(0))),
            ("max_remembered_proofs", with(|dpop| dpop.max_remembered_proofs(0))),
            ("max_remembered_proofs_of_one_key", with(|dpop| dpop.max_remembered_proofs_of_one_key(0))),
        ] {
            let error = built.unwrap_err();
            assert_eq!(error.setting(), setting, "{error}");
            assert!(!error.to_string().contains("hush"), "{error}");
        }
        assert!(with(|dpop| dpop.clock_skew(Duration::ZERO)).is_ok());
        assert!(Dpop::builder("http://127.0.0.1:3000/v1/").build().is_ok());
    }
}
