//! How long an answer serves: pure functions of the answer, the time, and the limits.

use std::time::Duration;

use crate::clock::Timestamp;
use crate::introspect::{InactiveReason, Verdict};

/// How long "not valid yet" is remembered at most.
const NOT_YET_VALID_TTL: Duration = Duration::from_secs(1);

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
    /// The first moment at which `verdict`, as the authority gave it, no longer serves.
    ///
    /// It counts from the moment the question was *asked*: a token revoked while the answer travelled was active when asked,
    /// and must be refused `max_ttl` after its revocation at the latest. (If the clock was set back meanwhile, from now.)
    /// Never later than the token's expiry, less the leeway; and an active token that is not valid yet is refused no longer
    /// than until it is. A moment that is not ahead means "do not keep".
    pub(super) fn deadline(&self, verdict: &Verdict, asked_at: Timestamp, now: Timestamp) -> Timestamp {
        let asked_at = asked_at.min(now);
        let token = match verdict {
            Verdict::Active(token) => token,
            // A clock a moment behind the authority's makes every new token look like this: it must not cost it ten seconds.
            Verdict::Inactive(InactiveReason::NotYetValid) => {
                return asked_at + self.inactive_ttl.min(NOT_YET_VALID_TTL);
            }
            Verdict::Inactive(_) => return asked_at + self.inactive_ttl,
        };
        if token.is_expired_at(now) {
            return asked_at + self.inactive_ttl;
        }
        if let Some(not_before) = token.not_before().filter(|&not_before| now < not_before) {
            return not_before.min(asked_at + self.inactive_ttl);
        }
        let deadline = asked_at + self.max_ttl;
        token.expires_at().map_or(deadline, |expires_at| deadline.min(expires_at - self.expiry_leeway))
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
        assert_eq!(limits(60, 0).deadline(&active(Some(1_000)), at(0), at(0)), at(60));
        assert_eq!(limits(60, 0).deadline(&active(Some(59)), at(0), at(0)), at(59));
        assert_eq!(limits(60, 0).deadline(&active(None), at(0), at(0)), at(60));
    }

    #[test]
    fn the_leeway_shortens_and_never_lengthens() {
        assert_eq!(limits(60, 10).deadline(&active(Some(50)), at(0), at(0)), at(40));
        assert_eq!(limits(60, 10).deadline(&active(Some(1_000)), at(0), at(0)), at(60));
        assert_eq!(limits(60, 10).deadline(&active(Some(5)), at(0), at(0)), at(-5));
    }

    #[test]
    fn a_clock_set_back_during_a_question_does_not_stretch_the_window() {
        assert_eq!(limits(60, 0).deadline(&active(None), at(3_600), at(0)), at(60));
    }

    #[test]
    fn a_token_that_is_not_valid_yet_is_refused_no_longer_than_until_it_is() {
        let early = Verdict::Active(AccessToken::builder().not_before(at(500)).build());
        assert_eq!(limits(60, 0).deadline(&early, at(0), at(0)), at(500));
        assert_eq!(limits(60, 0).deadline(&early, at(0), at(500)), at(60));
        let much_too_early = Verdict::Active(AccessToken::builder().not_before(at(1_000_000)).build());
        assert_eq!(limits(60, 0).deadline(&much_too_early, at(0), at(0)), at(10_000));
    }

    #[test]
    fn an_answer_that_has_expired_is_kept_like_any_inactive_one() {
        assert_eq!(limits(60, 0).deadline(&active(Some(5)), at(0), at(5)), at(10_000));
    }

    #[test]
    fn zero_means_do_not_keep() {
        assert_eq!(limits(0, 0).deadline(&active(None), at(7), at(7)), at(7));
        let no_inactive = Limits { inactive_ttl: Duration::ZERO, ..Limits::default() };
        assert_eq!(no_inactive.deadline(&Verdict::Inactive(InactiveReason::Unknown), at(7), at(7)), at(7));
    }

    #[test]
    fn an_endless_ttl_is_still_bounded_by_the_expiry() {
        let endless = Limits { max_ttl: Duration::MAX, ..Limits::default() };
        assert_eq!(endless.deadline(&active(Some(1_000)), at(5), at(5)), at(1_000));
        assert_eq!(endless.deadline(&active(None), at(5), at(5)), at(i64::MAX));
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

    #[test]
    fn not_valid_yet_is_remembered_for_a_second_at_most() {
        let deadline = |limits: Limits| limits.deadline(&Verdict::Inactive(InactiveReason::NotYetValid), at(0), at(0));
        assert_eq!(deadline(Limits::default()), at(1_000));
        assert_eq!(deadline(Limits { inactive_ttl: Duration::ZERO, ..Limits::default() }), at(0));
    }
}
