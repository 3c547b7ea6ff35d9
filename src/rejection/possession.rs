//! What is wrong with a proof that the caller holds the key of its token.

/// Why a DPoP proof (RFC 9449) is not accepted. The log says more: which claim, and by how much.
///
/// Feature `dpop`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ProofFault {
    /// There is no `DPoP` header.
    Missing,
    /// There is more than one `DPoP` header.
    Repeated,
    /// It is no JWT that is signed with an allowed algorithm, is too long, or lacks a claim.
    Malformed,
    /// `typ` of its header is not `dpop+jwt`.
    Type,
    /// The key in its header is no public key that can be used.
    Key,
    /// The token is bound to another key than the proof was made with.
    OtherKey,
    /// `ath` is not the hash of the token.
    TokenHash,
    /// `htm` is not the method of the request.
    Method,
    /// `htu` is not the URI of the request.
    Uri,
    /// `iat` is too long ago.
    TooOld,
    /// `iat` is in the future.
    NotYetValid,
    /// `nonce` is missing, or none that is good now.
    Nonce,
    /// The signature is not that of the key.
    Signature,
    /// It was used before.
    Replayed,
}

impl ProofFault {
    /// The word for logs and metrics, and the sentence for the caller.
    pub(super) fn row(self) -> (&'static str, &'static str) {
        match self {
            Self::Missing => ("proof_missing", "a DPoP proof is required"),
            Self::Repeated => ("proof_repeated", "more than one DPoP proof was sent"),
            Self::Malformed => ("proof_malformed", "the DPoP proof is malformed, or signed with another algorithm"),
            Self::Type => ("proof_type", "the typ of the DPoP proof is not dpop+jwt"),
            Self::Key => ("proof_key", "the jwk of the DPoP proof is not a public key that can be used"),
            Self::OtherKey => {
                ("proof_other_key", "the access token is bound to another key than that of the DPoP proof")
            }
            Self::TokenHash => ("proof_ath", "the ath of the DPoP proof is not the hash of the access token"),
            Self::Method => ("proof_htm", "the htm of the DPoP proof is not the method of the request"),
            Self::Uri => ("proof_htu", "the htu of the DPoP proof is not the URI of the request"),
            Self::TooOld => ("proof_too_old", "the iat of the DPoP proof is too long ago"),
            Self::NotYetValid => ("proof_not_yet_valid", "the iat of the DPoP proof is in the future"),
            Self::Nonce => ("use_dpop_nonce", "a nonce of the resource server is required in the DPoP proof"),
            Self::Signature => ("proof_signature", "the signature of the DPoP proof is wrong"),
            Self::Replayed => ("proof_replayed", "the DPoP proof was used before"),
        }
    }
}

/// Why no client certificate (RFC 8705) proves that the caller holds the key of its token.
///
/// Feature `certificate-bound`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CertificateFault {
    /// There is none.
    Missing,
    /// The token is bound to another one.
    Other,
    /// What a proxy says of it cannot be read as exactly one.
    Malformed,
}

impl CertificateFault {
    /// The word for logs and metrics, and the sentence for the caller.
    pub(super) fn row(self) -> (&'static str, &'static str) {
        match self {
            Self::Missing => {
                ("certificate_missing", "the access token is bound to a client certificate, and there is none")
            }
            Self::Other => ("certificate_other", "the access token is bound to another client certificate"),
            Self::Malformed => ("certificate_malformed", "the client certificate cannot be read"),
        }
    }
}
