//! Whose turn it is: how many questions are under way, and how many start in a while.
//!
//! Questions about tokens that were active a moment ago have a share of their own: strangers get three quarters of
//! every limit at most, so that a flood of junk tokens cannot keep the tokens in use from being asked about again.
//!
//! The rate is kept by reservation (the generic cell rate algorithm): a question learns at once when its turn is, and
//! one whose turn would be too late is turned away without waiting. tower's rate limit can be shared by a task only,
//! and has its callers wait without a bound.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};

use super::RateLimit;
use crate::clock::{Clock, Timestamp};
use crate::protection::Share;

/// A quarter of a limit is kept for known tokens, one at least.
fn kept_of(limit: usize) -> usize {
    (limit / 4).max(usize::from(limit > 1))
}

pub(super) struct Turns {
    all: Semaphore,
    strangers: Semaphore,
    limit: usize,
    pace: Mutex<Pace>,
    max_wait: Duration,
    waiting: AtomicUsize,
    clock: Arc<dyn Clock>,
}

/// A question whose turn it is.
pub(super) struct Turn<'t> {
    _permits: (SemaphorePermit<'t>, Option<SemaphorePermit<'t>>),
}

/// A question whose turn would be too late.
#[derive(Debug)]
pub(super) struct TooLate;

impl Turns {
    pub(super) fn new(limit: usize, rate: RateLimit, max_wait: Duration, clock: Arc<dyn Clock>) -> Self {
        let limit = limit.min(Semaphore::MAX_PERMITS);
        Self {
            all: Semaphore::new(limit),
            strangers: Semaphore::new(limit - kept_of(limit)),
            limit,
            pace: Mutex::new(Pace::new(rate)),
            max_wait,
            waiting: AtomicUsize::new(0),
            clock,
        }
    }

    pub(super) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    pub(super) fn under_way(&self) -> usize {
        self.limit - self.all.available_permits()
    }

    /// Waits for the question's turn, for `max_wait` at most.
    pub(super) async fn take(&self, share: Share) -> Result<Turn<'_>, TooLate> {
        let delay = self.reserve(share)?;
        let _waiting = Waiting::start(&self.waiting);
        let turn = async {
            if !delay.is_zero() {
                tokio::time::sleep(delay).await;
            }
            let stranger = match share {
                Share::Known => None,
                Share::Stranger => Some(self.strangers.acquire().await.map_err(|_closed| TooLate)?),
            };
            Ok(Turn { _permits: (self.all.acquire().await.map_err(|_closed| TooLate)?, stranger) })
        };
        tokio::time::timeout(self.max_wait, turn).await.unwrap_or(Err(TooLate))
    }

    /// Books one exchange, and tells how long it has to wait.
    pub(super) fn reserve(&self, share: Share) -> Result<Duration, TooLate> {
        let now = self.clock.now();
        let mut pace = self.pace.lock().unwrap_or_else(PoisonError::into_inner);
        pace.reserve(share, now, self.max_wait).ok_or(TooLate)
    }
}

struct Waiting<'w>(&'w AtomicUsize);

impl<'w> Waiting<'w> {
    fn start(waiting: &'w AtomicUsize) -> Self {
        waiting.fetch_add(1, Ordering::Relaxed);
        Self(waiting)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Two parts of the limit, each of which keeps its own, so that together they keep the whole.
struct Pace {
    common: Bucket,
    /// For known tokens, which take their turn from whichever part has one sooner. So they never wait behind strangers
    /// that wait. `None` if the limit is a single question.
    kept: Option<Bucket>,
}

impl Pace {
    fn new(rate: RateLimit) -> Self {
        let kept = (rate.questions / 4).max(u32::from(rate.questions > 1));
        let part = |questions| Bucket::new(RateLimit { questions, ..rate });
        Self { common: part(rate.questions - kept), kept: (kept > 0).then(|| part(kept)) }
    }

    fn reserve(&mut self, share: Share, now: Timestamp, max_wait: Duration) -> Option<Duration> {
        let max_wait = micros(max_wait);
        let now = now.as_unix_millis().saturating_mul(1_000);
        let mut delay = self.common.delay(now, max_wait);
        let mut bucket = &mut self.common;
        if share == Share::Known
            && let Some(kept) = &mut self.kept
        {
            let sooner = kept.delay(now, max_wait);
            if sooner <= delay {
                (delay, bucket) = (sooner, kept);
            }
        }
        if delay > max_wait {
            return None;
        }
        bucket.book(now);
        Some(Duration::from_micros(delay.unsigned_abs()))
    }
}

/// Hands out moments that are an interval apart, some of them ahead of time. All in microseconds.
struct Bucket {
    /// When a question that keeps the interval exactly would be next.
    next: i64,
    interval: i64,
    /// How much earlier than that one may come.
    tolerance: i64,
}

impl Bucket {
    /// A sixtieth of the questions may come at once: of a limit for a minute, those of a second; or ten, or a quarter,
    /// if that is little. The others are spread so that no window of this length holds more than the limit.
    fn new(RateLimit { questions, per }: RateLimit) -> Self {
        let burst = i64::from((questions / 60).max((questions / 4).min(10)).max(1));
        let spread = i64::from(questions) - burst + 1;
        let interval = (micros(per) / spread).saturating_add(1);
        Self { next: i64::MIN, interval, tolerance: interval.saturating_mul(burst - 1) }
    }

    fn delay(&mut self, now: i64, max_wait: i64) -> i64 {
        // No question is ever booked further ahead than this: the clock was set back.
        let furthest = now.saturating_add(self.tolerance).saturating_add(max_wait).saturating_add(self.interval);
        if self.next > furthest {
            self.next = now;
        }
        self.next.saturating_sub(self.tolerance).saturating_sub(now).max(0)
    }

    fn book(&mut self, now: i64) {
        self.next = self.next.max(now).saturating_add(self.interval);
    }
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_unix_millis(1_700_000_000_000 + millis)
    }

    fn pace(questions: u32) -> Pace {
        Pace::new(RateLimit { questions, per: MINUTE })
    }

    /// How many of a steady stream of questions come through in each of `minutes`, without waiting.
    fn come_through(pace: &mut Pace, share: Share, minutes: usize) -> Vec<usize> {
        let minute = |n: usize| {
            let start = i64::try_from(n).unwrap() * 60_000;
            (start..start + 60_000).filter(|&ms| pace.reserve(share, at(ms), Duration::ZERO).is_some()).count()
        };
        (0..minutes).map(minute).collect()
    }

    #[test]
    fn no_minute_holds_more_than_the_limit_and_hardly_less() {
        for limit in [1, 2, 60, 100, 6_000, 59_999] {
            for come in come_through(&mut pace(limit), Share::Known, 3) {
                let limit = usize::try_from(limit).unwrap();
                assert!(come <= limit && come >= (limit * 3 / 4).max(1), "{come} of {limit}");
            }
        }
    }

    #[test]
    fn strangers_get_three_quarters_and_the_rest_is_kept_for_known_tokens() {
        let mut pace = pace(6_000);
        let mut come = (0, 0);
        for ms in 0..60_000 {
            come.0 += usize::from(pace.reserve(Share::Stranger, at(ms), Duration::ZERO).is_some());
            if ms % 42 == 0 {
                come.1 += usize::from(pace.reserve(Share::Known, at(ms), Duration::ZERO).is_some());
            }
        }
        assert!((4_400..=4_500).contains(&come.0), "{come:?}");
        assert_eq!(come.1, 1_429, "each of them, and never in vain");
    }

    #[test]
    fn the_turn_is_told_at_once_and_one_that_is_too_late_books_nothing() {
        // Of the 45 for all, ten may come at once, the others are 1.7 seconds apart.
        let mut pace = pace(60);
        let interval = 60_000_000 / 36 + 1;
        let wait = Duration::from_secs(4);
        let mut reserve = |millis| pace.reserve(Share::Stranger, at(millis), wait).map(|delay| delay.as_micros());
        for _ in 0..10 {
            assert_eq!(reserve(0), Some(0));
        }
        assert_eq!((reserve(0), reserve(0)), (Some(interval), Some(2 * interval)));
        for _ in 0..3 {
            assert_eq!(reserve(0), None);
        }
        assert_eq!(reserve(1_001), Some(3 * interval - 1_001_000));
    }

    #[test]
    fn a_known_token_does_not_wait_behind_strangers_that_wait() {
        let mut pace = pace(6_000);
        let wait = Duration::from_secs(1);
        let strangers = (0..1_000).filter(|_| pace.reserve(Share::Stranger, at(0), wait).is_some()).count();
        assert_eq!(strangers, 75 + 73, "at once, and within a second");
        for _ in 0..25 {
            assert_eq!(pace.reserve(Share::Known, at(0), wait), Some(Duration::ZERO));
        }
        assert!(pace.reserve(Share::Known, at(0), wait) > Some(Duration::ZERO));
    }

    #[test]
    fn a_clock_that_is_set_back_holds_nobody_up() {
        let mut pace = pace(60);
        assert!(pace.reserve(Share::Stranger, at(3_600_000), Duration::ZERO).is_some());
        assert!(pace.reserve(Share::Stranger, at(0), Duration::ZERO).is_some());
    }

    #[test]
    fn extreme_limits_do_not_overflow() {
        for per in [Duration::from_nanos(1), Duration::MAX] {
            for questions in [1, 3, u32::MAX] {
                let mut pace = Pace::new(RateLimit { questions, per });
                assert_eq!(pace.reserve(Share::Stranger, at(0), Duration::MAX), Some(Duration::ZERO));
                let _ = pace.reserve(Share::Known, at(0), Duration::MAX);
            }
        }
    }

    fn turns(limit: usize, max_wait: Duration) -> Turns {
        let rate = RateLimit { questions: u32::MAX, per: Duration::from_secs(1) };
        Turns::new(limit, rate, max_wait, Arc::new(crate::clock::ManualClock::at(at(0))))
    }

    #[tokio::test]
    async fn strangers_leave_a_quarter_of_the_places_to_known_tokens() {
        let turns = turns(8, Duration::ZERO);
        let mut held = Vec::new();
        for _ in 0..6 {
            held.push(turns.take(Share::Stranger).await.unwrap());
        }
        assert!(turns.take(Share::Stranger).await.is_err());
        for _ in 0..2 {
            held.push(turns.take(Share::Known).await.unwrap());
        }
        assert!(turns.take(Share::Known).await.is_err());
        assert_eq!((turns.under_way(), turns.waiting()), (8, 0));
        held.clear();
        assert_eq!(turns.under_way(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_question_that_is_told_to_wait_waits() {
        let rate = RateLimit { questions: 1, per: Duration::from_secs(10) };
        let turns = Turns::new(8, rate, Duration::from_secs(60), Arc::new(crate::clock::ManualClock::at(at(0))));
        assert!(turns.take(Share::Stranger).await.is_ok());
        let mut next = std::pin::pin!(turns.take(Share::Stranger));
        assert!(tokio::time::timeout(Duration::from_secs(9), next.as_mut()).await.is_err());
        assert!(tokio::time::timeout(Duration::from_secs(2), next).await.unwrap().is_ok());
    }

    #[test]
    fn a_quarter_is_kept_and_one_at_least_if_there_are_two() {
        assert_eq!([1, 2, 3, 4, 8, 100].map(kept_of), [0, 1, 1, 1, 2, 25]);
        assert_eq!([Share::Known, Share::Stranger].map(Share::as_str), ["known", "stranger"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_question_waits_for_its_turn_and_no_longer_than_it_may() {
        let turns = turns(1, Duration::from_secs(1));
        let held = turns.take(Share::Stranger).await.unwrap();
        let (late, ()) = tokio::join!(turns.take(Share::Stranger), async {
            tokio::task::yield_now().await;
            assert_eq!(turns.waiting(), 1);
        });
        assert!(late.is_err());
        let (in_time, ()) = tokio::join!(turns.take(Share::Stranger), async { drop(held) });
        assert!(in_time.is_ok());
    }
}
