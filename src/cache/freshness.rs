//! How long an answer serves: pure functions of the answer, the time, and the limits.

use std::time::Duration;

use crate::clock::Timestamp;
use crate::introspect::{InactiveReason, Verdict};
use crate::token::AccessToken;

/// How long "not valid yet" is remembered at most.
const NOT_YET_VALID_TTL: Duration = Duration::from_secs(1);

/// The limits a cache was built with.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) max_ttl: Duration,
    pub(super) inactive_ttl: Duration,
    pub(super) expiry_leeway: Duration,
    /// The part of an active answer's time, at its end, in which a hit has it asked for again.
    pub(super) refresh_ahead: f64,
    /// How many hits an answer must have had by then, that one among them.
    pub(super) refresh_ahead_uses: u32,
    pub(super) stale_if_error: Duration,
}

#[cfg(test)]
impl Default for Limits {
    fn default() -> Self {
        super::settings::CacheSettings::default().limits()
    }
}

impl Limits {
    /// The first moment at which `verdict`, as the authority gave it, no longer serves.
    ///
    /// It counts from the moment the question was *asked*: a token revoked while the answer travelled was active when
    /// asked, and must be refused `max_ttl` after its revocation at the latest. Never later than the token's expiry,
    /// less the leeway; and an active token that is not valid yet is refused no longer than until it is. A moment that
    /// is not ahead means "do not keep".
    pub(super) fn deadline(&self, verdict: &Verdict, asked_at: Timestamp, now: Timestamp) -> Timestamp {
        let token = match verdict {
            Verdict::Active(token) => token,
            // A clock a moment behind the authority's makes every new token look like this: it must not cost it ten
            // seconds.
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

    /// From when on a hit has an active answer asked for again, so that a token in use never has to wait: in the last
    /// part of the answer's time, earlier or later in the first half of that part by `chance` (0 to 1), so that tokens
    /// that came together do not all come again together. `None` if a new answer would serve no longer than this one.
    #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation)] // milliseconds; one more or less is no matter
    pub(super) fn refresh_at(
        &self,
        token: &AccessToken,
        asked_at: Timestamp,
        deadline: Timestamp,
        chance: f64,
    ) -> Option<Timestamp> {
        let is_at_its_end = token.expires_at().is_some_and(|expires_at| deadline >= expires_at - self.expiry_leeway);
        if is_at_its_end || self.refresh_ahead <= 0.0 {
            return None;
        }
        let part = deadline.saturating_since(asked_at).mul_f64(self.refresh_ahead * (1.0 - chance / 2.0));
        Some(deadline - part)
    }

    /// How old an answer may be that another process got. One that is to take the place of an answer in use has to be
    /// notably younger than that is when it is due, which the token's `chance` tells.
    #[cfg(feature = "redis")]
    pub(super) fn max_age(&self, chance: f64, is_refresh: bool) -> Duration {
        let part = if is_refresh { (1.0 - self.refresh_ahead * (1.0 - chance / 2.0)) * 0.95 } else { 1.0 };
        self.max_ttl.mul_f64(part.clamp(0.0, 1.0))
    }

    /// How long an answer may be of use from `now` on, be it in an outage.
    #[cfg(feature = "redis")]
    pub(super) fn lasts(&self, verdict: &Verdict, asked_at: Timestamp, now: Timestamp) -> Duration {
        let deadline = self.deadline(verdict, asked_at, now);
        let until = match verdict {
            Verdict::Active(token) => self.stale_until(token, deadline),
            Verdict::Inactive(_) => deadline,
        };
        until.saturating_since(now)
    }

    /// The first moment at which an active answer no longer serves even though the authority fails: never later than
    /// the token's expiry, less the leeway.
    pub(super) fn stale_until(&self, token: &AccessToken, deadline: Timestamp) -> Timestamp {
        let until = deadline + self.stale_if_error;
        token.expires_at().map_or(until, |expires_at| until.min(expires_at - self.expiry_leeway)).max(deadline)
    }
}

/// When the question of an answer that lands `now` was asked, in the wall clock's present time: never later than now.
/// If that clock was set back to before the question departed, it cannot tell; the time that really passed does.
pub(super) fn asked_at(departed_at: Timestamp, now: Timestamp, passed: Duration) -> Timestamp {
    if now < departed_at { now - passed } else { departed_at }
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
        let passed = Duration::from_millis(20);
        assert_eq!(asked_at(at(5), at(25), passed), at(5));
        assert_eq!(asked_at(at(5), at(5), passed), at(5), "a clock that stands still");
        let asked_at = asked_at(at(3_600), at(0), passed);
        assert_eq!(limits(60, 0).deadline(&active(None), asked_at, at(0)), at(40));
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
    fn a_refresh_is_due_in_the_first_half_of_the_last_part() {
        let token = AccessToken::builder().build();
        let due = |chance| limits(1_000, 0).refresh_at(&token, at(0), at(1_000), chance);
        assert_eq!(due(0.0), Some(at(800)));
        assert_eq!(due(0.5), Some(at(850)));
        assert_eq!(due(1.0), Some(at(900)));
    }

    #[test]
    fn nothing_is_refreshed_that_would_serve_no_longer_for_it_or_if_that_is_switched_off() {
        let short = AccessToken::builder().expires_at(at(1_000)).build();
        assert_eq!(limits(60_000, 0).refresh_at(&short, at(0), at(1_000), 0.0), None);
        assert_eq!(limits(60_000, 100).refresh_at(&short, at(0), at(900), 0.0), None);
        assert!(limits(500, 0).refresh_at(&short, at(0), at(500), 0.0).is_some());
        let off = Limits { refresh_ahead: 0.0, ..Limits::default() };
        assert_eq!(off.refresh_at(&AccessToken::builder().build(), at(0), at(1_000), 0.0), None);
    }

    #[test]
    fn the_allowance_of_an_outage_ends_with_the_token_and_never_before_the_deadline() {
        let limits = Limits { stale_if_error: Duration::from_secs(1), ..Limits::default() };
        let until = |expires_at: Option<i64>| {
            let token = AccessToken::builder();
            let token = expires_at.map_or(token.clone(), |millis| token.expires_at(at(millis))).build();
            limits.stale_until(&token, at(500))
        };
        assert_eq!(until(None), at(1_500));
        assert_eq!(until(Some(1_200)), at(1_200));
        assert_eq!(until(Some(500)), at(500));
    }

    #[test]
    fn the_leeway_shortens_the_allowance_of_an_outage_too() {
        let limits = Limits { stale_if_error: Duration::from_secs(1), ..limits(500, 100) };
        let token = AccessToken::builder().expires_at(at(1_200)).build();
        assert_eq!(limits.stale_until(&token, at(500)), at(1_100));
    }

    #[test]
    fn not_valid_yet_is_remembered_for_a_second_at_most() {
        let deadline = |limits: Limits| limits.deadline(&Verdict::Inactive(InactiveReason::NotYetValid), at(0), at(0));
        assert_eq!(deadline(Limits::default()), at(1_000));
        assert_eq!(deadline(Limits { inactive_ttl: Duration::ZERO, ..Limits::default() }), at(0));
    }
}
