//! Why what somebody sends is not taken.

use std::time::Duration;

/// When something that was turned away may be sent again.
pub(super) const SOON: Duration = Duration::from_secs(1);
pub(super) const LATER: Duration = Duration::from_secs(5);

/// An error code, RFC 8935 section 2.4.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Code {
    InvalidRequest,
    InvalidKey,
    InvalidIssuer,
    InvalidAudience,
    AuthenticationFailed,
}

impl Code {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::InvalidRequest => "invalid_request",
            Self::InvalidKey => "invalid_key",
            Self::InvalidIssuer => "invalid_issuer",
            Self::InvalidAudience => "invalid_audience",
            Self::AuthenticationFailed => "authentication_failed",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NotTaken {
    /// It is no good, and will not be when it is sent again. The text is this crate's own.
    Refused(Code, &'static str),
    /// It may be sent again, after so long.
    TurnedAway(&'static str, Duration),
}

pub(super) fn refused(code: Code, why: &'static str) -> NotTaken {
    NotTaken::Refused(code, why)
}
