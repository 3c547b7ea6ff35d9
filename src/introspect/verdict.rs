//! What an authority says of a token.

use crate::log_limit::LogLimit;
use crate::token::AccessToken;

/// What an authority says of a token.
///
/// This enum is exhaustive on purpose: a token is active or it is not, and whoever matches on it must not have to write
/// a third arm that could let a token in. New reasons become an [`InactiveReason`].
#[derive(Clone, Debug)]
pub enum Verdict {
    /// The token is active, and these are its facts.
    Active(AccessToken),
    /// The token is not to be accepted.
    Inactive(InactiveReason),
}

impl Verdict {
    /// Whether the token is active.
    #[must_use]
    pub fn is_active(&self) -> bool {
        matches!(self, Self::Active(_))
    }
}

/// Why a token is not to be accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum InactiveReason {
    /// The authority does not know it.
    Unknown,
    /// It was revoked.
    Revoked,
    /// It has expired.
    Expired,
    /// It is not valid yet.
    NotYetValid,
    /// The authority knows it, but does not clearly say that it is active: a status nobody knows; an expiry that cannot
    /// be read, or (Apigee) -1 without [`allow_unexpiring`](crate::apigee::ApigeeBuilder::allow_unexpiring); a token
    /// type that is not bearer, or none if [`require_token_type`](crate::rfc7662::Rfc7662Builder::require_token_type)
    /// is set. The log says which, at the level `info`. (Also 400 with `unsupported_token_type`, which is not logged:
    /// any caller can bring it about.)
    Unclear,
    /// It was judged here, by a `Jwt` and its like (feature `jwt`), and is not what is accepted from its issuer: in its
    /// form, kind, issuer, audience or signature. The log says which, at the level `info`.
    Unverified,
}

impl InactiveReason {
    /// All of them, each at its own number.
    pub(crate) const ALL: [Self; 6] =
        [Self::Unknown, Self::Revoked, Self::Expired, Self::NotYetValid, Self::Unclear, Self::Unverified];

    /// One word for logs and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Revoked => "revoked",
            Self::Expired => "expired",
            Self::NotYetValid => "not_yet_valid",
            Self::Unclear => "unclear",
            Self::Unverified => "unverified",
        }
    }
}

/// Tells of the answers of one authority that are not a clear yes. Without a word in the log it would look as if
/// clients came with bad tokens.
pub(crate) struct Unclear {
    /// The authority's, for logs.
    host: String,
    told: LogLimit<&'static str>,
}

impl Unclear {
    pub(crate) fn at(host: &str) -> Self {
        Self { host: host.to_owned(), told: LogLimit::new() }
    }

    /// The reason for such an answer. `cause` is a text of this crate's own.
    pub(crate) fn because(&self, cause: &'static str) -> InactiveReason {
        const TOLD: &str = "the authority's answer is not a clear yes, so the token counts as inactive";
        match self.told.due(cause) {
            Some(untold) => tracing::info!(server.address = self.host, cause, untold, "{TOLD}"),
            None => tracing::debug!(server.address = self.host, cause, "{TOLD}"),
        }
        InactiveReason::Unclear
    }
}
