//! How many questions start in a while.
//!
//! The rate is kept by reservation (the generic cell rate algorithm): a question learns at once when its turn is, and
//! one whose turn would be too late is turned away without waiting. tower's rate limit can be shared by a task only,
//! and has its callers wait without a bound.

use std::time::Duration;

use super::turn::{Spread, micros};
use crate::clock::Timestamp;
use crate::protection::{RateLimit, Share};

/// Hands out turns that are an interval apart, some of them ahead of time. All in microseconds.
///
/// Known tokens come first in the whole limit, and strangers get what they leave: a stranger's turn may be less early
/// than a known token's, so that there are always some turns that only known tokens can take. While they take these,
/// strangers wait until they are there again. Strangers that wait hold up known tokens only where they have booked
/// more turns than are kept for known ones, and never for more than half of the time that a question may wait.
pub(super) struct Pace {
    rate: RateLimit,
    spread: Spread,
    /// When a question that keeps the interval exactly would be next.
    next: i64,
    /// No question was ever booked further ahead than this.
    furthest: i64,
}

impl Pace {
    pub(super) fn new(rate: RateLimit) -> Self {
        Self { rate, spread: Spread::of(rate), next: i64::MIN, furthest: 0 }
    }

    /// Keeps another rate from now on. What is booked stays booked, or each change would be a burst of its own.
    pub(super) fn keep(&mut self, rate: RateLimit) {
        if rate != self.rate {
            *self = Self { rate, spread: Spread::of(rate), ..*self };
        }
    }

    /// Books a turn, and tells how long it is until then. `None` if that is too long.
    pub(super) fn reserve(&mut self, share: Share, now: Timestamp, max_wait: Duration) -> Option<Duration> {
        let Spread { interval, known_tolerance, .. } = self.spread;
        let (now, max_wait) = (now.as_unix_millis().saturating_mul(1_000), micros(max_wait));
        self.furthest = self.furthest.max(known_tolerance.saturating_add(max_wait).saturating_add(interval));
        if self.next > now.saturating_add(self.furthest) {
            // The clock was set back.
            self.next = now;
        }
        let delay = self.spread.turn(share, max_wait).book(&mut self.next, now)?;
        Some(Duration::from_micros(delay.unsigned_abs()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_unix_millis(1_700_000_000_000 + millis)
    }

    fn pace(questions: u32) -> Pace {
        Pace::new(RateLimit { requests: questions, per: MINUTE })
    }

    fn whole_millis(duration: Duration) -> i64 {
        i64::try_from(duration.as_millis()).unwrap()
    }

    /// A flood of junk and requests with known tokens, in simulated time.
    #[derive(Clone, Copy)]
    struct Flood {
        max_wait: Duration,
        tokens: i64,
        /// From one use of each token to the next, in milliseconds.
        used_every: i64,
        /// For so many milliseconds an answer serves.
        max_ttl: i64,
        junk_in_a_milli: usize,
        seconds: i64,
    }

    /// The tokens, uses, `max_ttl` and junk of an evening: fifty questions a second are needed.
    const FLOOD: Flood = Flood {
        max_wait: Duration::from_secs(1),
        tokens: 300,
        used_every: 200,
        max_ttl: 6_000,
        junk_in_a_milli: 10,
        seconds: 24,
    };

    #[derive(Debug, Default)]
    struct Came {
        requests: usize,
        refused: usize,
        known: usize,
        strangers: usize,
        /// When each question had its turn.
        turns: Vec<i64>,
    }

    impl Came {
        fn most_in_a_minute(mut self) -> usize {
            self.turns.sort_unstable();
            let mut first = 0;
            let mut most = 0;
            for (n, turn) in self.turns.iter().enumerate() {
                while self.turns[first] <= turn - whole_millis(MINUTE) {
                    first += 1;
                }
                most = most.max(n + 1 - first);
            }
            most
        }
    }

    impl Flood {
        fn over(self, pace: &mut Pace) -> Came {
            let mut came = Came::default();
            // The first answers run out one after the other.
            let mut serves_until: Vec<_> = (0..self.tokens).map(|n| n * self.max_ttl / self.tokens).collect();
            for now in 0..self.seconds * 1_000 {
                for _ in 0..self.junk_in_a_milli {
                    if let Some(delay) = pace.reserve(Share::Stranger, at(now), self.max_wait) {
                        came.strangers += 1;
                        came.turns.push(now + whole_millis(delay));
                    }
                }
                let first = self.used_every - 1 - now % self.used_every;
                for n in (first..self.tokens).step_by(usize::try_from(self.used_every).unwrap()) {
                    let until = &mut serves_until[usize::try_from(n).unwrap()];
                    came.requests += 1;
                    // A question that is under way is waited for, so it counts as an answer.
                    if now < *until {
                        continue;
                    }
                    match pace.reserve(Share::Known, at(now), self.max_wait) {
                        Some(delay) => {
                            came.known += 1;
                            let turn = now + whole_millis(delay);
                            came.turns.push(turn);
                            *until = turn + self.max_ttl;
                        }
                        None => came.refused += 1,
                    }
                }
            }
            came
        }
    }

    #[test]
    fn junk_has_no_request_with_a_known_token_refused_however_much_of_the_limit_known_tokens_need() {
        for (max_wait, tokens) in [1_000, 100, 0].into_iter().flat_map(|wait| [300, 150, 540].map(|n| (wait, n))) {
            let max_wait = Duration::from_millis(max_wait);
            let came = Flood { max_wait, tokens, ..FLOOD }.over(&mut pace(6_000));
            assert_eq!(came.refused, 0, "{tokens} tokens, {max_wait:?}: of {}", came.requests);
        }
    }

    #[test]
    fn a_known_token_does_not_wait_behind_strangers_that_wait() {
        let (mut pace, max_wait) = (pace(6_000), Duration::from_secs(1));
        let mut strangers = 0;
        for now in 0..10_000 {
            while pace.reserve(Share::Stranger, at(now), max_wait).is_some() {
                strangers += 1;
            }
            if now % 20 == 0 {
                assert_eq!(pace.reserve(Share::Known, at(now), max_wait), Some(Duration::ZERO), "after {now} ms");
            }
        }
        // Half of 96.7 a second, and those of two seconds: at once, and waiting at the end.
        assert!((650..680).contains(&strangers), "{strangers}");
    }

    #[test]
    fn strangers_get_what_known_tokens_leave_of_the_limit() {
        for tokens in [0, 150, 300, 540] {
            let Came { strangers, known, .. } = Flood { tokens, seconds: 60, ..FLOOD }.over(&mut pace(6_000));
            assert!(strangers + known >= 5_890, "{strangers}, {known}");
        }
    }

    #[test]
    fn where_known_tokens_need_more_than_the_limit_strangers_get_nothing() {
        let Came { strangers, refused, known, .. } = Flood { tokens: 900, seconds: 60, ..FLOOD }.over(&mut pace(6_000));
        // But for those that came first.
        assert!(strangers <= 250 && refused > 0 && known >= 5_750, "{strangers}, {refused}, {known}");
    }

    #[test]
    fn no_minute_holds_more_turns_than_the_limit_whoever_takes_them() {
        for limit in [1, 2, 3, 10, 60, 600, 6_000, 59_999] {
            for (max_wait, tokens) in [(0, 0), (0, 300), (1_000, 300), (20_000, 900)] {
                let max_wait = Duration::from_millis(max_wait);
                let flood = Flood { max_wait, tokens, junk_in_a_milli: 1, seconds: 130, ..FLOOD };
                let mut pace = pace(limit);
                let most = flood.over(&mut pace).most_in_a_minute();
                assert!(most <= usize::try_from(limit).unwrap(), "{most} of {limit}; {max_wait:?}, {tokens} tokens");
            }
        }
    }

    #[test]
    fn few_turns_are_lost_to_keeping_the_limit() {
        for (limit, least) in [(1, 1), (2, 1), (4, 3), (60, 49), (600, 570), (6_000, 5_800), (59_999, 57_900)] {
            let mut pace = pace(limit);
            let mut minute = |share, n: i64| {
                let millis = n * 60_000..(n + 1) * 60_000;
                millis.filter(|&ms| (0..2).any(|_| pace.reserve(share, at(ms), Duration::ZERO).is_some())).count()
            };
            // What may come at once does.
            let _ = minute(Share::Known, 0);
            for (share, n) in [(Share::Known, 1), (Share::Stranger, 3), (Share::Stranger, 4)] {
                let come = minute(share, n);
                assert!(come >= least, "{come} of {limit}, {share:?}");
            }
        }
    }

    #[test]
    fn however_small_the_limit_strangers_leave_one_turn_to_known_tokens() {
        for limit in 2..100 {
            for max_wait in [0, 1, 1_000] {
                let max_wait = Duration::from_millis(max_wait);
                let mut pace = pace(limit);
                while pace.reserve(Share::Stranger, at(0), max_wait).is_some() {}
                assert!(pace.reserve(Share::Known, at(0), max_wait).is_some(), "{limit}, {max_wait:?}");
            }
        }
    }

    #[test]
    fn known_tokens_come_within_max_wait_though_strangers_wait() {
        for (questions, per) in [(100_u32, 1_000_u32), (1_000, 1_000), (5, 100), (1, 100), (6_000, 60_000)] {
            for max_wait in [100, 1_000, 10_000].map(Duration::from_millis) {
                let mut pace = Pace::new(RateLimit { requests: questions, per: Duration::from_millis(per.into()) });
                let strangers = (0..).take_while(|_| pace.reserve(Share::Stranger, at(0), max_wait).is_some()).count();
                let known = (0..).take_while(|_| pace.reserve(Share::Known, at(0), max_wait).is_some()).count();
                // All but what keeping the limit costs where it is small.
                let in_half_of_it = whole_millis(max_wait) / 2 * i64::from(questions) * 7 / 10 / i64::from(per);
                let in_half_of_it = usize::try_from(in_half_of_it).unwrap();
                assert!(known >= in_half_of_it, "{known}, {strangers} strangers; {questions}, {per}, {max_wait:?}");
                assert!(strangers >= in_half_of_it, "{strangers}; {questions}, {per}, {max_wait:?}");
            }
        }
    }

    #[test]
    fn the_turn_is_told_at_once_and_one_that_is_too_late_books_nothing() {
        // Ten may come at once, and two more that are known; the others are 1.2 seconds apart.
        let mut pace = pace(60);
        let interval = 60_000_000 / 49 + 1;
        let wait = Duration::from_secs(4);
        let mut reserve = |share, millis| {
            pace.reserve(share, at(millis), wait).map(|delay| i64::try_from(delay.as_micros()).unwrap())
        };
        for _ in 0..10 {
            assert_eq!(reserve(Share::Stranger, 0), Some(0));
        }
        let waits: Vec<_> = std::iter::from_fn(|| reserve(Share::Stranger, 0)).collect();
        assert_eq!(waits, [interval, 2 * interval, 3 * interval]);
        assert_eq!(reserve(Share::Stranger, 0), None);
        assert_eq!(reserve(Share::Known, 0), Some(2 * interval));
        assert_eq!(reserve(Share::Known, 0), Some(3 * interval));
        assert_eq!(reserve(Share::Known, 0), None);
        assert_eq!(reserve(Share::Stranger, 2_500), None, "known tokens first");
        assert_eq!(reserve(Share::Known, 2_500), Some(4 * interval - 2_500_000));
    }

    #[test]
    fn a_clock_that_is_set_back_holds_nobody_up() {
        for share in [Share::Stranger, Share::Known] {
            let mut pace = pace(60);
            assert!(pace.reserve(share, at(3_600_000), Duration::ZERO).is_some());
            assert!(pace.reserve(share, at(0), Duration::ZERO).is_some());
        }
    }

    #[test]
    fn a_question_that_may_wait_for_less_leaves_booked_what_others_have_booked() {
        let mut pace = pace(60);
        while pace.reserve(Share::Known, at(0), Duration::from_secs(10)).is_some() {}
        for max_wait in [0, 1, 5_000] {
            assert!(pace.reserve(Share::Known, at(0), Duration::from_millis(max_wait)).is_none(), "{max_wait}");
        }
    }

    #[test]
    fn extreme_limits_do_not_overflow() {
        for per in [Duration::from_nanos(1), Duration::MAX] {
            for questions in [1, 2, 3, u32::MAX] {
                let mut pace = Pace::new(RateLimit { requests: questions, per });
                assert_eq!(pace.reserve(Share::Stranger, at(0), Duration::MAX), Some(Duration::ZERO));
                let _ = pace.reserve(Share::Known, at(0), Duration::MAX);
            }
        }
    }
}
