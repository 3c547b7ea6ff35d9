//! Tokens bound to a key of their holder: DPoP, RFC 9449 (feature `dpop`).

mod builder;
mod forgeries;
mod nonce;
mod proof;
mod replays;
#[cfg(test)]
mod tests;
mod uri;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;

pub use self::builder::DpopBuilder;
pub use self::nonce::NonceSecret;

use self::forgeries::Forgeries;
use self::nonce::Age;
use self::proof::{Details, Expected, Nonces, NotVerified, Wrong, judge};
use self::replays::Replays;
use self::uri::PublicOrigin;
use crate::clock::{Clock, Timestamp};
use crate::jose::Algorithm;
use crate::log_limit::LogLimit;
use crate::rejection::{ProofFault, RejectionReason};
use crate::request::RequestView;
use crate::source;
use crate::token::BearerToken;

/// Verifies proofs that callers hold the key of their tokens (DPoP, RFC 9449). Given to
/// [`IntrospectionLayerBuilder::dpop`](crate::layer::IntrospectionLayerBuilder::dpop).
///
/// ```
/// use tower_introspection::IntrospectionLayer;
/// use tower_introspection::possession::Dpop;
/// # let introspector = tower_introspection::introspect_fn(|_| async {
/// #     Ok(tower_introspection::Verdict::Inactive(tower_introspection::InactiveReason::Unknown)) });
///
/// let dpop = Dpop::builder("https://api.example.com").build()?;
/// let layer = IntrospectionLayer::builder(introspector).dpop(dpop).build()?;
/// # Ok::<(), tower_introspection::BuildError>(())
/// ```
///
/// Clones are the same: layers that have clones of one share what they remember. **Where several layers guard the same
/// URIs, give them clones of one**, or a proof that was used at one comes in once more at the other.
///
/// # What is required
///
/// A token that is bound to a key (`cnf` with `jkt`) has to be presented as `Authorization: DPoP <token>`, with one
/// `DPoP` header. In this order, and what fails first is told:
///
/// 1. the token is active, and bound to a key
/// 2. the proof is a JWT with `typ` `dpop+jwt`, signed with ES256, ES384, PS256, RS256 or EdDSA, and a public key in
///    `jwk`
/// 3. the key is the one that the token is bound to
/// 4. `ath` is the hash of the token, `htm` the method, `htu` the URI of the request
/// 5. `iat` is no older than [`proof_lifetime`](DpopBuilder::proof_lifetime), and `nonce` one that is good now, where
///    they are [required](DpopBuilder::require_nonces)
/// 6. the signature
/// 7. `jti` was not used before with this key
///
/// So only somebody with a live token and the public key that it is bound to can have a signature verified, and a proof
/// that fails uses up no `jti`. One that was used in this process, or for which there is no room, is refused before its
/// signature is looked at.
///
/// # The URI
///
/// `htu` is compared with the public origin that the builder was given, and the path that the
/// [caller sent](crate::RequestView::path): never with the `Host` header, which the caller chooses. If a proxy takes a
/// prefix off the path, the origin ends in it: `https://api.example.com/v1`. Both are brought into the normal form of
/// RFC 3986 sections 6.2.2 and 6.2.3 before, and a query is left out.
///
/// # Used proofs
///
/// A proof comes in once. Which were used is remembered in this process; in the engine of the
/// [fleet](crate::guide::fleet), too, if the cache that was asked is in one, so that it does not come in at another
/// process either. Of several processes **without a fleet each lets it in once**.
#[derive(Clone)]
pub struct Dpop(Arc<Verifier>);

struct Verifier {
    public_origin: PublicOrigin,
    nonces: Option<Nonces>,
    lifetime: Duration,
    clock_skew: Duration,
    longest: usize,
    replays: Replays,
    forgeries: Forgeries,
    clock: Arc<dyn Clock>,
    /// Which faults the operator was told of.
    told: LogLimit<ProofFault>,
    full: LogLimit<&'static str>,
}

impl Dpop {
    /// Starts with the origin under which callers reach the service, and the prefix that a proxy takes off the path, if
    /// one does: `https://api.example.com`, `https://api.example.com/v1`.
    pub fn builder(public_origin: impl Into<String>) -> DpopBuilder {
        DpopBuilder::new(public_origin.into())
    }

    /// How many proofs are remembered at the moment: see
    /// [`max_remembered_proofs`](DpopBuilder::max_remembered_proofs).
    #[must_use]
    pub fn remembered_proofs(&self) -> usize {
        self.0.replays.len()
    }

    pub(super) fn now(&self) -> Timestamp {
        self.0.clock.now()
    }

    /// The value of `algs` in a challenge, RFC 9449 section 7.1.
    pub(crate) fn algorithms() -> String {
        Algorithm::ALL.map(Algorithm::as_str).join(" ")
    }

    /// The nonce to hand out, where there are nonces.
    pub(crate) fn nonce(&self) -> Option<HeaderValue> {
        self.0.nonces.as_ref()?.secret.nonce_at(self.now())
    }

    /// Judges the proof of this request, all but whether it was used before. `accepted` is a proof that was accepted
    /// with this very request: by a layer around this one.
    pub(super) fn judge(
        &self,
        token: &BearerToken,
        thumbprint: &[u8; 32],
        request: &RequestView,
        accepted: Option<&HeaderValue>,
    ) -> Result<Judged, RejectionReason> {
        let wrong = |wrong: Wrong| {
            self.tell(&wrong);
            RejectionReason::Proof(wrong.fault)
        };
        let header = one(request).map_err(wrong)?;
        let malformed = |_| wrong(Wrong::because(ProofFault::Malformed, "it holds what no JWT can"));
        let text = header.to_str().map_err(malformed)?;
        let now = self.now();
        let expected = Expected {
            token: token.expose(),
            thumbprint,
            method: request.method().as_str(),
            public_origin: &self.0.public_origin,
            path: request.path(),
            now,
            lifetime: self.0.lifetime,
            clock_skew: self.0.clock_skew,
            nonces: self.0.nonces.as_ref(),
            longest: self.0.longest,
        };
        let proof = judge(text, &expected).map_err(wrong)?;
        if accepted == Some(header) {
            return Ok(Judged { proof: header.clone(), next_nonce: None, unused: None });
        }
        // Whoever overheard one has it verified no second time.
        self.0.replays.look(thumbprint, &proof.jti, now).map_err(|refused| self.refused(refused))?;
        let verified = proof.verify(thumbprint, &self.0.forgeries, now).map_err(|refused| match refused {
            NotVerified::Wrong(refused) => wrong(refused),
            NotVerified::TooMany => {
                self.tell_full("too many wrong signatures of one key come in");
                RejectionReason::TooManyProofs
            }
        })?;
        let next_nonce = if verified.nonce == Some(Age::Current) { None } else { self.nonce() };
        let unused = Unused { key: *thumbprint, jti: verified.jti, until: verified.until };
        Ok(Judged { proof: header.clone(), next_nonce, unused: Some(unused) })
    }

    /// Notes in this process that the proof is used.
    pub(super) fn remember(&self, proof: &Unused) -> Result<(), RejectionReason> {
        let Unused { key, jti, until } = proof;
        self.0.replays.insert(key, jti, *until, self.now()).map_err(|refused| self.refused(refused))
    }

    fn refused(&self, refused: replays::Refused) -> RejectionReason {
        let full = match refused {
            replays::Refused::Replayed => return self.replayed(),
            replays::Refused::Forgotten => {
                let why = "the clock here was set back, so that it may have been used before";
                self.tell(&Wrong::because(ProofFault::Replayed, why));
                return RejectionReason::Proof(ProofFault::Replayed);
            }
            replays::Refused::Full => "`max_remembered_proofs` is reached",
            replays::Refused::FullOfOneHolder => "`max_remembered_proofs_of_one_key` is reached",
        };
        self.tell_full(full);
        RejectionReason::TooManyProofs
    }

    pub(super) fn replayed(&self) -> RejectionReason {
        self.tell(&ProofFault::Replayed.into());
        RejectionReason::Proof(ProofFault::Replayed)
    }

    /// How long from now on the proof could be used: at a process whose clock is behind this one, too.
    pub(super) fn lasts(&self, proof: &Unused) -> Duration {
        proof.until.saturating_since(self.now()).saturating_add(self.0.clock_skew)
    }

    /// For the client's author, who may ask the operator. Nothing in it is from the request but a difference of time.
    fn tell(&self, wrong: &Wrong) {
        const TOLD: &str = "a DPoP proof is refused";
        let fault = RejectionReason::Proof(wrong.fault).as_str();
        let (why, away) = match wrong.details {
            Details::None => (None, None),
            Details::Because(why) => (Some(why), None),
            Details::Away(away) => (None, Some(away.as_secs_f64())),
        };
        match self.0.told.due(wrong.fault) {
            Some(untold) => tracing::info!(fault, why, seconds_away = away, untold, "{TOLD}"),
            None => tracing::debug!(fault, why, seconds_away = away, "{TOLD}"),
        }
    }

    fn tell_full(&self, why: &'static str) {
        if let Some(untold) = self.0.full.due(why) {
            tracing::warn!(why, untold, "requests with a DPoP proof are turned away");
        }
    }
}

/// The one proof of the request.
fn one<'r>(request: &RequestView<'r>) -> Result<&'r HeaderValue, Wrong> {
    let mut all = request.headers().get_all(source::PROOF).iter();
    let first = all.next().ok_or(ProofFault::Missing)?;
    if all.next().is_some() { Err(ProofFault::Repeated.into()) } else { Ok(first) }
}

/// Whether this is a proof of the key with this thumbprint for `GET /protectedresource`: for what fuzzing compares.
#[cfg(any(test, fuzzing))]
#[allow(clippy::expect_used)]
pub(crate) fn is_accepted(origin: &str, token: &str, thumbprint: &str, proof: &str, now: Timestamp) -> bool {
    let thumbprint = crate::jose::decoded(thumbprint).ok().and_then(|bytes| bytes.try_into().ok());
    let thumbprint = thumbprint.expect("it is a thumbprint");
    let expected = Expected {
        token,
        thumbprint: &thumbprint,
        method: "GET",
        public_origin: &PublicOrigin::parse(origin).expect("it is an origin"),
        path: "/protectedresource",
        now,
        lifetime: Duration::ZERO,
        clock_skew: Duration::ZERO,
        nonces: None,
        longest: 8_192,
    };
    judge(proof, &expected).is_ok_and(|proof| proof.verify(&thumbprint, &Forgeries::new(), now).is_ok())
}

/// A proof that is as it has to be.
pub(super) struct Judged {
    pub(super) proof: HeaderValue,
    /// For the client, which has an old one or none.
    pub(super) next_nonce: Option<HeaderValue>,
    /// None if it was accepted before with this very request.
    pub(super) unused: Option<Unused>,
}

/// What tells a proof that is used from others, and until when it could be.
pub(super) struct Unused {
    pub(super) key: [u8; 32],
    pub(super) jti: String,
    until: Timestamp,
}

impl fmt::Debug for Dpop {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.debug_struct("Dpop").finish_non_exhaustive()
    }
}
