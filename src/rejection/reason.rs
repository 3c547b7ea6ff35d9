//! Why a request does not come in, one step finer than what it comes down to.

use super::{CertificateFault, ProofFault, RejectionKind};
use crate::introspect::InactiveReason;
use crate::token::MalformedToken;

/// Why a request was rejected, in more detail than the [kind](RejectionKind). The layer puts both into the response's
/// extensions, so that layers outside it can, for example, tell a revoked token from one that is meant for another
/// service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RejectionReason {
    /// The request presents no bearer token.
    MissingToken,
    /// What it presents is not exactly one well-formed bearer token.
    Malformed(MalformedToken),
    /// The token is not active, or the authority did not clearly say that it is.
    Inactive(InactiveReason),
    /// The token is bound to a key of its holder, who showed no proof.
    SenderConstrained,
    /// The token is bound to no key of its holder, and came with a DPoP proof, or to a route that
    /// [requires](crate::IntrospectionLayer::builder) one that is.
    NotSenderConstrained,
    /// The DPoP proof that came with it is not as it has to be.
    Proof(ProofFault),
    /// No client certificate proves that the caller holds the key that it is bound to.
    Certificate(CertificateFault),
    /// Its audience is not what [`require_audience`](crate::Policy::require_audience) names.
    Audience,
    /// Its issuer is not the one that [`require_issuer`](crate::Policy::require_issuer) names.
    Issuer,
    /// The login behind it was in none of the ways that [`require_acr`](crate::Policy::require_acr) names, or the
    /// authority did not say in which.
    Acr,
    /// The login behind it is longer ago than [`require_recent_login`](crate::Policy::require_recent_login) allows, or
    /// the authority did not say when it was.
    RecentLogin,
    /// [`Authorities`](crate::Authorities) has none for this request.
    NoAuthority,
    /// The token lacks a scope.
    InsufficientScope,
    /// It was issued to a client that [`require_client`](crate::Policy::require_client) does not name.
    Client,
    /// The token is not for the API product that [`require_api_product`](crate::Policy::require_api_product) names, or
    /// the authority did not say which products it is for.
    ApiProduct,
    /// A rule of the route ([`authorize`](crate::Policy::authorize)) says no.
    Rule,
    /// The authority could not be asked, or refused this service.
    Unavailable,
    /// Too many questions are under way.
    Overloaded,
    /// Too many DPoP proofs are remembered, or too many with a wrong signature came in.
    TooManyProofs,
}

struct Row {
    name: &'static str,
    kind: RejectionKind,
    description: &'static str,
}

impl RejectionReason {
    pub(crate) const ALL: [Self; 41] = [
        Self::MissingToken,
        Self::Malformed(MalformedToken::Syntax),
        Self::Malformed(MalformedToken::TooLong),
        Self::Malformed(MalformedToken::Repeated),
        Self::Inactive(InactiveReason::Unknown),
        Self::Inactive(InactiveReason::Revoked),
        Self::Inactive(InactiveReason::Expired),
        Self::Inactive(InactiveReason::NotYetValid),
        Self::Inactive(InactiveReason::Unclear),
        Self::Inactive(InactiveReason::Unverified),
        Self::SenderConstrained,
        Self::Audience,
        Self::Issuer,
        Self::Acr,
        Self::RecentLogin,
        Self::NoAuthority,
        Self::InsufficientScope,
        Self::Client,
        Self::ApiProduct,
        Self::Rule,
        Self::Unavailable,
        Self::Overloaded,
        Self::NotSenderConstrained,
        Self::Proof(ProofFault::Missing),
        Self::Proof(ProofFault::Repeated),
        Self::Proof(ProofFault::Malformed),
        Self::Proof(ProofFault::Type),
        Self::Proof(ProofFault::Key),
        Self::Proof(ProofFault::OtherKey),
        Self::Proof(ProofFault::TokenHash),
        Self::Proof(ProofFault::Method),
        Self::Proof(ProofFault::Uri),
        Self::Proof(ProofFault::TooOld),
        Self::Proof(ProofFault::NotYetValid),
        Self::Proof(ProofFault::Nonce),
        Self::Proof(ProofFault::Signature),
        Self::Proof(ProofFault::Replayed),
        Self::Certificate(CertificateFault::Missing),
        Self::Certificate(CertificateFault::Other),
        Self::Certificate(CertificateFault::Malformed),
        Self::TooManyProofs,
    ];

    /// Its place among all.
    pub(crate) fn index(self) -> usize {
        Self::ALL.iter().position(|reason| *reason == self).unwrap_or_default()
    }

    fn row(self) -> Row {
        use RejectionKind::{Denied, InsufficientUserAuthentication, InvalidRequest, InvalidToken};
        let row = |kind, name, description| Row { name, kind, description };
        let does_not_allow = "the access token does not allow this request";
        match self {
            Self::MissingToken => row(RejectionKind::MissingToken, "missing_token", "an access token is required"),
            Self::Malformed(malformed) => {
                let name = match malformed {
                    MalformedToken::Syntax => "malformed",
                    MalformedToken::TooLong => "too_long",
                    MalformedToken::Repeated => "repeated",
                };
                row(InvalidRequest, name, malformed.description())
            }
            Self::Inactive(reason) => {
                let description = match reason {
                    InactiveReason::Unknown => "the access token is unknown",
                    InactiveReason::Revoked => "the access token was revoked",
                    InactiveReason::Expired => "the access token expired",
                    InactiveReason::NotYetValid => "the access token is not valid yet",
                    InactiveReason::Unclear => "the access token is not active",
                    InactiveReason::Unverified => "the access token is not one that is accepted here",
                };
                row(InvalidToken, reason.as_str(), description)
            }
            Self::SenderConstrained => {
                row(InvalidToken, "sender_constrained", "the access token is bound to a key and is no bearer token")
            }
            Self::NotSenderConstrained => {
                row(InvalidToken, "not_sender_constrained", "the access token is not bound to a key of its holder")
            }
            Self::Proof(fault) => {
                let kind = match fault {
                    ProofFault::Nonce => RejectionKind::UseDpopNonce,
                    _ => RejectionKind::InvalidDpopProof,
                };
                let (name, description) = fault.row();
                row(kind, name, description)
            }
            Self::Certificate(fault) => {
                let (name, description) = fault.row();
                row(InvalidToken, name, description)
            }
            Self::Audience => row(InvalidToken, "audience", "the access token is meant for another service"),
            Self::Issuer => row(InvalidToken, "issuer", "the access token is from another issuer"),
            Self::Acr => row(
                InsufficientUserAuthentication,
                "acr",
                "the request requires another authentication level than the access token has",
            ),
            Self::RecentLogin => row(
                InsufficientUserAuthentication,
                "recent_login",
                "the request requires a more recent login than the access token has",
            ),
            Self::NoAuthority => {
                row(InvalidToken, "no_authority", "there is no authority for access tokens of this request")
            }
            Self::InsufficientScope => row(
                RejectionKind::InsufficientScope,
                "insufficient_scope",
                "the request requires more scope than the access token has",
            ),
            Self::Client => row(Denied, "client", does_not_allow),
            Self::ApiProduct => row(Denied, "api_product", does_not_allow),
            Self::Rule => row(Denied, "rule", does_not_allow),
            Self::Unavailable => row(
                RejectionKind::Unavailable,
                "unavailable",
                "the access token cannot be checked at the moment; try again",
            ),
            Self::Overloaded => {
                row(RejectionKind::Overloaded, "overloaded", "too many access tokens are being checked; try again")
            }
            Self::TooManyProofs => row(
                RejectionKind::TooManyProofs,
                "too_many_proofs",
                "too many DPoP proofs are being checked; try again",
            ),
        }
    }

    /// One word for logs and metrics. Where a kind has one reason only, it is that of the
    /// [kind](RejectionKind::as_str).
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.row().name
    }

    /// What it comes down to.
    #[must_use]
    pub fn kind(self) -> RejectionKind {
        self.row().kind
    }

    /// One fixed sentence for the caller, in the characters RFC 6750 allows for `error_description`.
    #[must_use]
    pub fn description(self) -> &'static str {
        self.row().description
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn each_reason_has_a_place_and_a_name_of_its_own() {
        for (place, reason) in RejectionReason::ALL.into_iter().enumerate() {
            assert_eq!(reason.index(), place);
        }
        let names: HashSet<_> = RejectionReason::ALL.map(RejectionReason::as_str).into();
        assert_eq!(names.len(), RejectionReason::ALL.len());
        for reason in InactiveReason::ALL {
            assert_eq!(RejectionReason::ALL[RejectionReason::Inactive(reason).index()].as_str(), reason.as_str());
        }
    }

    #[test]
    fn every_kind_has_a_reason_and_one_that_is_alone_goes_by_its_name() {
        for kind in RejectionKind::ALL {
            let reasons: Vec<_> = RejectionReason::ALL.into_iter().filter(|reason| reason.kind() == kind).collect();
            assert!(!reasons.is_empty(), "{kind:?}");
            assert_eq!(reasons.len() == 1, reasons.iter().any(|reason| reason.as_str() == kind.as_str()), "{kind:?}");
        }
    }
}
