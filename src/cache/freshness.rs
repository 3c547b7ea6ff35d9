//! How long an answer serves: pure functions of the answer, the time, and the limits.

use std::time::Duration;

use crate::clock::Timestamp;
use crate::introspect::{InactiveReason, Verdict};

/// The limits a cache was built with.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) max_ttl: Duration,
    pub(super) inactive_ttl: Duration,
    pub(super) expiry_leeway: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_ttl: Duration::from_secs(60), inactive_ttl: Duration::from_secs(10), expiry_leeway: Duration::ZERO }
    }
}

impl Limits {
    /// The first moment at which `verdict` no longer serves.
    ///
    /// It counts from the moment the question was *asked*: a token revoked while the answer travelled was active when asked,
    /// and must be refused `max_ttl` after its revocation at the latest. Never later than the token's expiry, less the
    /// leeway. A moment that is not ahead means "do not keep".
    pub(super) fn deadline(&self, verdict: &Verdict, asked_at: Timestamp) -> Timestamp {
        match verdict {
            Verdict::Active(token) => {
                let deadline = asked_at + self.max_ttl;
                token.expires_at().map_or(deadline, |expires_at| deadline.min(expires_at - self.expiry_leeway))
            }
            Verdict::Inactive(_) => asked_at + self.inactive_ttl,
        }
    }
}

/// The same verdict at a later moment: an active token may have expired since.
pub(super) fn judge(verdict: Verdict, now: Timestamp) -> Verdict {
    match verdict {
        Verdict::Active(token) if token.is_expired_at(now) => Verdict::Inactive(InactiveReason::Expired),
        Verdict::Active(token) if token.not_before().is_some_and(|not_before| now < not_before) => {
            Verdict::Inactive(InactiveReason::NotYetValid)
        }
        verdict => verdict,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::AccessToken;

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_unix_millis(millis)
    }

    fn active(expires_at: Option<i64>) -> Verdict {
        let token = AccessToken::builder();
        Verdict::Active(expires_at.map_or(token.clone(), |millis| token.expires_at(at(millis))).build())
    }

    fn limits(max_ttl: u64, leeway: u64) -> Limits {
        Limits {
            max_ttl: Duration::from_millis(max_ttl),
            expiry_leeway: Duration::from_millis(leeway),
            ..Limits::default()
        }
    }

    #[test]
    fn an_active_answer_serves_for_max_ttl_but_never_beyond_the_tokens_expiry() {
        assert_eq!(limits(60, 0).deadline(&active(Some(1_000)), at(0)), at(60));
        assert_eq!(limits(60, 0).deadline(&active(Some(59)), at(0)), at(59));
        assert_eq!(limits(60, 0).deadline(&active(None), at(0)), at(60));
    }

    #[test]
    fn the_leeway_shortens_and_never_lengthens() {
        assert_eq!(limits(60, 10).deadline(&active(Some(50)), at(0)), at(40));
        assert_eq!(limits(60, 10).deadline(&active(Some(1_000)), at(0)), at(60));
        assert_eq!(limits(60, 10).deadline(&active(Some(5)), at(0)), at(-5));
    }

    #[test]
    fn zero_means_do_not_keep() {
        assert_eq!(limits(0, 0).deadline(&active(None), at(7)), at(7));
        let no_inactive = Limits { inactive_ttl: Duration::ZERO, ..Limits::default() };
        assert_eq!(no_inactive.deadline(&Verdict::Inactive(InactiveReason::Unknown), at(7)), at(7));
    }

    #[test]
    fn an_endless_ttl_is_still_bounded_by_the_expiry() {
        let endless = Limits { max_ttl: Duration::MAX, ..Limits::default() };
        assert_eq!(endless.deadline(&active(Some(1_000)), at(5)), at(1_000));
        assert_eq!(endless.deadline(&active(None), at(5)), at(i64::MAX));
    }

    #[test]
    fn a_verdict_is_judged_again_at_the_moment_it_is_used() {
        let token = AccessToken::builder().not_before(at(10)).expires_at(at(20)).build();
        let outcome = |now| judge(Verdict::Active(token.clone()), at(now));
        assert!(matches!(outcome(9), Verdict::Inactive(InactiveReason::NotYetValid)));
        assert!(outcome(10).is_active());
        assert!(outcome(19).is_active());
        assert!(matches!(outcome(20), Verdict::Inactive(InactiveReason::Expired)));
        assert!(matches!(
            judge(Verdict::Inactive(InactiveReason::Revoked), at(0)),
            Verdict::Inactive(InactiveReason::Revoked)
        ));
    }
}
