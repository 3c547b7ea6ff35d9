//! A token that came with a proof.

use http::HeaderValue;
use http::request::Parts;

use super::dpop::{Dpop, Unused};
use super::{Confirmation, Possession};
use crate::introspect::ProofMemory;
use crate::policy::Proven;
use crate::rejection::RejectionReason;
use crate::request::RequestView;
use crate::token::{AccessToken, BearerToken};

/// That its caller holds the key, if the proof was not used before.
pub(crate) struct Proof {
    proven: Proven,
    /// None if it was accepted before with this very request.
    unused: Option<Unused>,
    /// For the client, which has an old one or none.
    pub(crate) next_nonce: Option<HeaderValue>,
}

impl Possession {
    /// Judges all but whether the proof was used before.
    pub(crate) fn judge_proof(
        &self,
        facts: &AccessToken,
        token: &BearerToken,
        request: &RequestView,
    ) -> Result<Proof, RejectionReason> {
        let dpop = self.dpop()?;
        let (thumbprint, certificate) = match Confirmation::of(facts) {
            Confirmation::Bound { key: Some(thumbprint), certificate } => (thumbprint, certificate),
            Confirmation::None | Confirmation::Bound { key: None, .. } => {
                return Err(RejectionReason::NotSenderConstrained);
            }
            Confirmation::Unknown => return Err(RejectionReason::SenderConstrained),
        };
        if let Some(certificate) = certificate {
            self.judge_certificate(&certificate, request)?;
        }
        let accepted = request.extension::<Proven>().and_then(|proven| proven.proof.as_ref());
        let judged = dpop.judge(token, &thumbprint, request, accepted)?;
        let proven = Proven {
            token: facts.clone(),
            #[cfg(feature = "certificate-bound")]
            certificate,
            proof: Some(judged.proof),
        };
        Ok(Proof { proven, unused: judged.unused, next_nonce: judged.next_nonce })
    }

    /// Notes that the proof is used, and leaves word with the request that its caller holds the key. `shared` is where
    /// other processes note theirs.
    pub(crate) async fn use_proof(
        &self,
        proof: &mut Proof,
        shared: Option<ProofMemory>,
        request: &mut Parts,
    ) -> Result<(), RejectionReason> {
        let dpop = self.dpop()?;
        if let Some(unused) = proof.unused.take() {
            dpop.remember(&unused)?;
            if let Some(shared) = shared
                && shared.insert(&unused.key, &unused.jti, dpop.lasts(&unused)).await == Some(false)
            {
                return Err(dpop.replayed());
            }
        }
        if proof.proven.token.is_expired_at(dpop.now()) {
            return Err(RejectionReason::Inactive(crate::introspect::InactiveReason::Expired));
        }
        request.extensions.insert(proof.proven.clone());
        Ok(())
    }

    /// A proof is looked for only where this is switched on.
    fn dpop(&self) -> Result<&Dpop, RejectionReason> {
        self.dpop.as_ref().ok_or(RejectionReason::SenderConstrained)
    }

    #[cfg(feature = "certificate-bound")]
    fn judge_certificate(&self, certificate: &[u8; 32], request: &RequestView) -> Result<(), RejectionReason> {
        if self.has_certificate(certificate, request)? { Ok(()) } else { Err(RejectionReason::SenderConstrained) }
    }

    #[cfg(not(feature = "certificate-bound"))]
    #[allow(clippy::unused_self)]
    fn judge_certificate(&self, _: &[u8; 32], _: &RequestView) -> Result<(), RejectionReason> {
        Err(RejectionReason::SenderConstrained)
    }
}
