//! Telling the operator why tokens that are judged here are refused.

use crate::introspect::InactiveReason;
use crate::log_limit::LogLimit;

/// Without a word in the log it would look as if clients came with bad tokens, while a setting does not fit the issuer.
pub(super) struct Refusals {
    /// As it may be shown.
    issuer: String,
    told: LogLimit<&'static str>,
}

impl Refusals {
    pub(super) fn of(issuer: String) -> Self {
        Self { issuer, told: LogLimit::new() }
    }

    /// The reason for a refusal. `cause` is a text of this crate's own, and one of few.
    pub(super) fn because(&self, cause: &'static str) -> InactiveReason {
        const TOLD: &str = "a token is not what is accepted from its issuer, so it is refused";
        match self.told.due(cause) {
            Some(untold) => tracing::info!(issuer = self.issuer, cause, untold, "{TOLD}"),
            None => tracing::debug!(issuer = self.issuer, cause, "{TOLD}"),
        }
        InactiveReason::Unverified
    }
}
