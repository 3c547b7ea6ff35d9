//! Access tokens that are bound to a key of their holder (features `dpop` and `certificate-bound`): whoever stole one
//! cannot use it.
//!
//! Which key that is stands in the token's `cnf`, RFC 7800. With DPoP ([`Dpop`], RFC 9449) the caller signs a proof for
//! each request; with mutual TLS ([`ClientCertificates`], RFC 8705) it has the key of the connection's certificate.
//! Either is switched on at the layer; a token that is bound in a way that was not switched on, or that is not known
//! here, is refused. A token that is bound in both ways needs both.
//!
//! ```text
//! active AccessToken
//!    │  cnf          how it is bound                      ── not at all ─▶ a bearer token (but not under `DPoP`)
//!    │  certificate  that of the connection, its hash     ── another ────▶ Rejection
//!    │  proof        key, ath, htm, htu, iat, nonce       ── wrong ──────▶ Rejection
//!    │  signature    for somebody with token and key only ── wrong ──────▶ Rejection
//!    │  jti          noted as used, in one step           ── used ───────▶ Rejection
//!    ▼
//! policy, and the inner service
//! ```
//!
//! It is judged on every request, hit or miss, and once for each: layers and routes within the layer that judged it
//! take its word. What is remembered is that a proof was used, and never that one was good.
//!
//! [The guide](crate::guide::possession) has a chapter about it.

#[cfg(feature = "certificate-bound")]
mod certificate;
#[cfg(any(feature = "certificate-bound", feature = "dpop"))]
mod confirmation;
#[cfg(feature = "dpop")]
pub(crate) mod dpop;

#[cfg(feature = "certificate-bound")]
pub use self::certificate::{ClientCertificate, ClientCertificates, ForwardedCertificate};
#[cfg(feature = "dpop")]
pub use self::dpop::{Dpop, DpopBuilder, NonceSecret};

use http::request::Parts;

#[cfg(any(feature = "certificate-bound", feature = "dpop"))]
use self::confirmation::Confirmation;
#[cfg(feature = "certificate-bound")]
use crate::policy::Proven;
use crate::rejection::RejectionReason;
#[cfg(feature = "certificate-bound")]
use crate::request::RequestView;
use crate::token::AccessToken;

/// How callers of one layer prove that they hold the key of a token.
#[derive(Clone, Default)]
pub(crate) struct Possession {
    #[cfg(feature = "dpop")]
    pub(crate) dpop: Option<Dpop>,
    #[cfg(feature = "certificate-bound")]
    pub(crate) certificates: Option<ClientCertificates>,
}

impl Possession {
    /// Judges a token that came by itself: whether the connection proves that its caller holds the key. Not, if it is
    /// bound in another way, or if connections are not looked at.
    #[cfg(feature = "certificate-bound")]
    pub(crate) fn proves_by_connection(
        &self,
        token: &AccessToken,
        request: &mut Parts,
    ) -> Result<bool, RejectionReason> {
        let Confirmation::Bound { key: None, certificate: Some(certificate) } = Confirmation::of(token) else {
            return Ok(false);
        };
        if !self.has_certificate(&certificate, &RequestView::new(request))? {
            return Ok(false);
        }
        let proven = Proven {
            token: token.clone(),
            certificate: Some(certificate),
            // That of another token, which a layer around this one let in: it is still used.
            #[cfg(feature = "dpop")]
            proof: request.extensions.get::<Proven>().and_then(|proven| proven.proof.clone()),
        };
        request.extensions.insert(proven);
        Ok(true)
    }

    /// Whether the connection has the certificate of this hash. False if connections are not looked at. A layer takes
    /// the word of those around it: the connection is the same one.
    #[cfg(feature = "certificate-bound")]
    fn has_certificate(&self, hash: &[u8; 32], request: &RequestView) -> Result<bool, RejectionReason> {
        if request.extension::<Proven>().is_some_and(|proven| proven.certificate == Some(*hash)) {
            return Ok(true);
        }
        let Some(certificates) = &self.certificates else { return Ok(false) };
        certificates.judge(hash, request).map(|()| true)
    }

    /// Whether a token that is bound to a certificate can come in.
    #[cfg(feature = "dpop")]
    pub(crate) fn looks_at_connections(&self) -> bool {
        #[cfg(feature = "certificate-bound")]
        return self.certificates.is_some();
        #[cfg(not(feature = "certificate-bound"))]
        false
    }

    #[cfg(not(feature = "certificate-bound"))]
    #[allow(clippy::unused_self, clippy::unnecessary_wraps)] // nothing can be proved so
    pub(crate) fn proves_by_connection(&self, _: &AccessToken, _: &mut Parts) -> Result<bool, RejectionReason> {
        Ok(false)
    }
}

#[cfg(feature = "dpop")]
mod with_proof;
