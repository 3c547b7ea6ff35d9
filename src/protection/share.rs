//! The two kinds of questions, so that a flood of one leaves room for the other.

/// Which share of the limits a question takes, by the token that it is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Share {
    /// A token that was active when it was last asked about.
    Known,
    /// Any other token.
    Stranger,
}

impl Share {
    pub(crate) fn of(is_known: bool) -> Self {
        if is_known { Self::Known } else { Self::Stranger }
    }

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Known => "known",
            Self::Stranger => "stranger",
        }
    }
}
