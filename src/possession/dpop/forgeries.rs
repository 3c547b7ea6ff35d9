//! How many proofs with a wrong signature are looked at.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::clock::Timestamp;

/// Whoever has overheard a token and its public key can have signatures verified, which costs some 60 microseconds of a
/// core each. So of one key only so many may be wrong in a second.
const MOST_IN_A_SECOND: u64 = 100;

const PLACES: usize = 1_024;

/// Counts wrong signatures by the key that they are said to be of, in two places each. Two keys may share a place, by
/// chance, and nobody else can tell which do; both of them are shared hardly ever.
pub(super) struct Forgeries {
    hash: RandomState,
    /// A second, and how many there were in it.
    counts: Box<[AtomicU64]>,
}

const COUNT_BITS: u32 = 16;

impl Forgeries {
    pub(super) fn new() -> Self {
        let counts = (0..PLACES).map(|_| AtomicU64::new(0)).collect();
        Self { hash: RandomState::new(), counts }
    }

    fn places(&self, key: &[u8; 32]) -> impl Iterator<Item = &AtomicU64> {
        let hash = self.hash.hash_one(key);
        let places = [hash, hash >> 32].map(|part| part % (PLACES as u64));
        places.into_iter().filter_map(|place| self.counts.get(usize::try_from(place).ok()?))
    }

    /// Whether there were so many in this second that no more are looked at.
    pub(super) fn are_too_many(&self, key: &[u8; 32], now: Timestamp) -> bool {
        let second = second_of(now);
        self.places(key).all(|place| count_in(place.load(Ordering::Relaxed), second) >= MOST_IN_A_SECOND)
    }

    pub(super) fn add(&self, key: &[u8; 32], now: Timestamp) {
        let second = second_of(now);
        for place in self.places(key) {
            let added = |value| Some((second << COUNT_BITS) | (count_in(value, second) + 1).min(MOST_IN_A_SECOND));
            let _ = place.fetch_update(Ordering::Relaxed, Ordering::Relaxed, added);
        }
    }
}

fn second_of(now: Timestamp) -> u64 {
    // Without its upper bits, which no two seconds of a flood differ by.
    (now.as_unix_millis().div_euclid(1_000).unsigned_abs() << COUNT_BITS) >> COUNT_BITS
}

fn count_in(value: u64, second: u64) -> u64 {
    if value >> COUNT_BITS == second { value & ((1 << COUNT_BITS) - 1) } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_one_key_so_many_are_looked_at_in_a_second_and_of_others_none_fewer() {
        let (forgeries, now) = (Forgeries::new(), Timestamp::from_unix_seconds(1_790_000_000));
        for _ in 0..MOST_IN_A_SECOND {
            assert!(!forgeries.are_too_many(&[1; 32], now));
            forgeries.add(&[1; 32], now);
        }
        assert!(forgeries.are_too_many(&[1; 32], now));
        // Hardly one shares both of its places.
        let others = (0..=255).map(|n| [n; 32]).filter(|key| *key != [1; 32] && forgeries.are_too_many(key, now));
        assert!(others.count() < 2);
        // A key has two places, each of which it shares with few.
        for which in 0..2 {
            let place_of = |n| forgeries.places(&[n; 32]).nth(which).map(std::ptr::from_ref);
            let places: std::collections::HashSet<_> = (0..=255).map(place_of).collect();
            assert!(places.len() > 150, "{}", places.len());
        }
        forgeries.add(&[1; 32], now);
        assert!(!forgeries.are_too_many(&[1; 32], Timestamp::from_unix_seconds(1_790_000_001)));
    }
}
