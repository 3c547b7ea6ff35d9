//! Which failures are worth another attempt, and when.

use std::sync::atomic::Ordering;
use std::time::Duration;

use tower::retry::backoff::{Backoff, ExponentialBackoff, ExponentialBackoffMaker, MakeBackoff};
use tower::retry::budget::{Budget, TpsBudget};
use tower::util::rng::HasherRng;

use super::Counters;
use super::turns::Turns;
use crate::error::IntrospectError;
use crate::protection::Share;

/// The pause before the second attempt, and the longest; up to half of it is added by chance, so that the processes
/// that failed together do not come back together. Nothing is added to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);
const JITTER: f64 = 0.5;

/// A fifth as many retries as there were questions in the last ten seconds, and two a second whatever there were.
pub(super) fn budget() -> TpsBudget {
    TpsBudget::new(Duration::from_secs(10), 2, 0.2)
}

pub(super) fn backoff() -> ExponentialBackoff {
    let maker = ExponentialBackoffMaker::new(FIRST_PAUSE, LONGEST_PAUSE, JITTER, HasherRng::default());
    maker.unwrap_or_default().make_backoff()
}

/// The retries of one question.
pub(super) struct Retries<'p> {
    pub(super) left: u32,
    pub(super) share: Share,
    pub(super) budget: &'p TpsBudget,
    pub(super) turns: &'p Turns,
    pub(super) counters: &'p Counters,
    pub(super) backoff: ExponentialBackoff,
}

impl Retries<'_> {
    /// Waits until it is time for another attempt. False if there is to be none after this failure.
    pub(super) async fn wait_for_another(&mut self, failure: &IntrospectError) -> bool {
        if !failure.is_worth_another_attempt() || self.left == 0 || !self.budget.withdraw() {
            return false;
        }
        // A retry is one more exchange for the authority, so it keeps the rate as well.
        let Ok(turn) = self.turns.reserve(self.share).await else { return false };
        self.left -= 1;
        self.counters.retries.fetch_add(1, Ordering::Relaxed);
        self.backoff.next_backoff().await;
        tokio::time::sleep(turn).await;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_budget_allows_twenty_and_a_fifth_of_the_questions() {
        let withdrawn = |questions| {
            let budget = budget();
            (0..questions).for_each(|_| budget.deposit());
            (0..1_000).filter(|_| budget.withdraw()).count()
        };
        assert_eq!(withdrawn(0), 20);
        assert_eq!(withdrawn(100), 40);
    }

    /// How long the pauses of one question are, one after the other.
    fn pauses() -> Vec<Duration> {
        let now = tokio::time::sleep(Duration::ZERO).deadline();
        let mut backoff = backoff();
        (0..6).map(|_| backoff.next_backoff().deadline() - now).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn pauses_double_from_fifty_milliseconds_to_half_a_second_and_are_up_to_half_longer() {
        for pauses in (0..100).map(|_| pauses()) {
            let bounds = [(50, 75), (100, 150), (200, 300), (400, 500), (500, 500), (500, 500)];
            for (pause, (shortest, longest)) in pauses.iter().zip(bounds) {
                let bounds = Duration::from_millis(shortest)..=Duration::from_millis(longest);
                assert!(bounds.contains(pause), "{pauses:?}");
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_pauses_of_questions_that_failed_together_are_spread_by_chance() {
        let questions: Vec<_> = (0..200).map(|_| pauses()).collect();
        for (nth, first, last) in [(0, 50, 75), (1, 100, 150), (2, 200, 300)] {
            // Of two hundred, each quarter of what chance adds has some.
            for quarter in 0..4 {
                let part = |quarter| Duration::from_millis(first) + Duration::from_millis(last - first) * quarter / 4;
                let part = part(quarter)..part(quarter + 1);
                assert!(questions.iter().any(|pauses| part.contains(&pauses[nth])), "{nth}, {part:?}: {questions:?}");
            }
        }
    }
}
