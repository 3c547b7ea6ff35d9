//! How often keys are looked for that are not there. Whoever sends junk names a new key with each token, and may
//! neither have the issuer asked without end nor keep its own new key from being found.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use crate::clock::Stopwatch;

/// From one look to the next.
pub(super) const PAUSE: Duration = Duration::from_secs(30);

/// When a key that was named once may be looked for if it is named again.
const SECOND_TIME: Duration = Duration::from_secs(1);

/// Names that are remembered, 8 bytes each.
const MOST_NAMES: usize = 65_536;

/// Keys that are named again and looked for, between two looks for others.
const MOST_SECOND_LOOKS: usize = 3;

/// A key that is not there is looked for at once, if none was within the last half minute. If one was, it is looked
/// for when it is named a second time: all holders of new tokens name the issuer's new key, while junk names another
/// key each time. That, too, is allowed once in half a minute for each name, and for three names.
#[derive(Default)]
pub(super) struct Allowance {
    first: Option<Stopwatch>,
    named: HashSet<u64>,
    /// Looked for when they were named again.
    second: Vec<u64>,
    hasher: RandomState,
}

impl Allowance {
    /// Takes the permission to look for `kid` now.
    ///
    /// # Errors
    /// If it is too early: when to try again.
    pub(super) fn take(&mut self, kid: Option<&str>) -> Result<(), Duration> {
        let Some(wait) = left(self.first.as_ref()) else {
            self.first = Some(Stopwatch::start());
            self.named = HashSet::new();
            self.second = Vec::new();
            return Ok(());
        };
        let name = self.hasher.hash_one(kid);
        if self.second.len() == MOST_SECOND_LOOKS || self.second.contains(&name) {
            return Err(wait);
        }
        if self.named.contains(&name) {
            self.second.push(name);
            return Ok(());
        }
        if self.named.len() < MOST_NAMES {
            self.named.insert(name);
        }
        Err(SECOND_TIME.min(wait))
    }
}

/// What is left of the pause, if anything is.
fn left(since: Option<&Stopwatch>) -> Option<Duration> {
    PAUSE.checked_sub(since?.elapsed()).filter(|left| !left.is_zero())
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn pass(seconds: u64) {
        tokio::time::advance(Duration::from_secs(seconds)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn of_any_number_of_names_one_is_looked_for_in_half_a_minute() {
        let mut allowance = Allowance::default();
        let mut taken = 0;
        for second in 0..60 {
            for n in 0..2_000 {
                taken += u32::from(allowance.take(Some(&format!("{second} {n}"))).is_ok());
            }
            pass(1).await;
        }
        assert_eq!(taken, 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_key_that_is_named_again_is_looked_for_at_once_though_junk_has_taken_its_turn() {
        let mut allowance = Allowance::default();
        for n in 0..50_000 {
            _ = allowance.take(Some(&n.to_string()));
        }
        let second = Duration::from_secs(1);
        assert_eq!(allowance.take(Some("new")), Err(second));
        assert_eq!(allowance.take(Some("new")), Ok(()));
        assert_eq!(allowance.take(Some("new")), Err(PAUSE), "it is not there");
        pass(29).await;
        assert_eq!(allowance.take(Some("newer")), Err(second));
        pass(1).await;
        assert_eq!(allowance.take(Some("newer")), Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn names_that_are_repeated_are_looked_for_four_times_in_half_a_minute_at_most() {
        let mut allowance = Allowance::default();
        let taken = (0..10_000).filter(|n| allowance.take(Some(&(n % 10).to_string())).is_ok()).count();
        assert_eq!(taken, 4);
    }

    #[tokio::test(start_paused = true)]
    async fn a_token_without_a_name_of_a_key_has_the_name_of_none() {
        let mut allowance = Allowance::default();
        let taken = [(); 4].map(|()| allowance.take(None).is_ok());
        assert_eq!(taken, [true, false, true, false]);
    }

    #[tokio::test(start_paused = true)]
    async fn names_are_bounded() {
        let mut allowance = Allowance::default();
        for n in 0..=MOST_NAMES + 10 {
            _ = allowance.take(Some(&n.to_string()));
        }
        assert_eq!(allowance.named.len(), MOST_NAMES);
    }
}
