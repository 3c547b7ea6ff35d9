//! How many wrong signatures are looked at.

use std::sync::{Mutex, PoisonError};

use crate::clock::Timestamp;

/// To verify one takes up to 0.1 ms of a core. So junk takes a tenth of one at each door, and whoever floods it with
/// more keeps genuine events out for as long as that goes on: who can reach it is to be limited in front of it.
const MOST_IN_A_SECOND: u32 = 1_000;

/// Wrong signatures in the name of one transmitter, at one door.
#[derive(Default)]
pub(super) struct Forged(Mutex<(i64, u32)>);

impl Forged {
    pub(super) fn are_too_many(&self, now: Timestamp) -> bool {
        let (second, count) = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        second == second_of(now) && count >= MOST_IN_A_SECOND
    }

    pub(super) fn add(&self, now: Timestamp) {
        let mut counted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let second = second_of(now);
        *counted = if counted.0 == second { (second, counted.1.saturating_add(1)) } else { (second, 1) };
    }
}

fn second_of(now: Timestamp) -> i64 {
    now.as_unix_millis().div_euclid(1_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_are_looked_at_in_a_second() {
        let (forged, now) = (Forged::default(), Timestamp::from_unix_seconds(1_790_000_000));
        for _ in 0..MOST_IN_A_SECOND {
            assert!(!forged.are_too_many(now));
            forged.add(now);
        }
        assert!(forged.are_too_many(now));
        let next = Timestamp::from_unix_seconds(1_790_000_001);
        assert!(!forged.are_too_many(next));
        forged.add(next);
        assert!(!forged.are_too_many(next));
    }
}
