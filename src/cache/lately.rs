//! Which tokens were active when they were last asked about, long after what was said of them is forgotten.

use std::sync::atomic::{AtomicU64, Ordering};

use super::key::TokenKey;

/// A table of fingerprints in which each token has one place, which it shares with others: the last one counts. So it
/// may forget a token, which then queues with strangers; it never takes one for another.
pub(super) struct Lately(Box<[AtomicU64]>);

/// Eight bytes each.
const MOST_PLACES: usize = 1 << 20;

impl Lately {
    /// Twice as many places as there are tokens, so that most keep theirs.
    pub(super) fn for_tokens(capacity: u64) -> Self {
        let capacity = usize::try_from(capacity).unwrap_or(usize::MAX);
        let places = capacity.saturating_mul(2).clamp(1, MOST_PLACES).next_power_of_two();
        Self((0..places).map(|_| AtomicU64::new(0)).collect())
    }

    pub(super) fn add(&self, key: TokenKey) {
        self.place(key).store(mark(key), Ordering::Relaxed);
    }

    pub(super) fn remove(&self, key: TokenKey) {
        // Whoever has taken the place meanwhile keeps it.
        let _ = self.place(key).compare_exchange(mark(key), 0, Ordering::Relaxed, Ordering::Relaxed);
    }

    pub(super) fn contains(&self, key: TokenKey) -> bool {
        self.place(key).load(Ordering::Relaxed) == mark(key)
    }

    fn place(&self, key: TokenKey) -> &AtomicU64 {
        // A mask of the length, a power of two, is an index within it.
        #[allow(clippy::cast_possible_truncation)] // any part of the half is as good as all of it
        &self.0[key.low() as usize & (self.0.len() - 1)]
    }
}

/// Never zero, which marks an empty place.
fn mark(key: TokenKey) -> u64 {
    key.high() | 1
}

#[cfg(test)]
mod tests {
    use super::super::key::keys;
    use super::*;

    #[test]
    fn a_token_is_known_until_it_is_removed_or_its_place_is_taken() {
        let (lately, keys) = (Lately::for_tokens(1_000), keys(2_000));
        let (tokens, strangers) = keys.split_at(1_000);
        assert!(!tokens.iter().any(|token| lately.contains(*token)));
        tokens.iter().for_each(|token| lately.add(*token));
        let kept = tokens.iter().filter(|token| lately.contains(**token)).count();
        assert!((600..1_000).contains(&kept), "{kept}");
        assert!(!strangers.iter().any(|stranger| lately.contains(*stranger)));
        tokens.iter().for_each(|token| lately.remove(*token));
        assert!(!tokens.iter().any(|token| lately.contains(*token)));
    }

    #[test]
    fn the_one_that_is_removed_is_not_the_one_that_took_its_place() {
        let (lately, keys) = (Lately::for_tokens(0), keys(2));
        lately.add(keys[0]);
        lately.add(keys[1]);
        assert_eq!((lately.contains(keys[0]), lately.contains(keys[1])), (false, true), "there is one place");
        lately.remove(keys[0]);
        assert!(lately.contains(keys[1]));
    }

    #[test]
    fn the_table_has_a_bound() {
        assert_eq!(Lately::for_tokens(u64::MAX).0.len(), MOST_PLACES);
    }

    #[test]
    fn the_table_for_a_cache_with_the_default_limits_has_as_many_places_as_its_documentation_says() {
        assert_eq!(Lately::for_tokens(100_000).0.len(), 262_144);
    }
}
