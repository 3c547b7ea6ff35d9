//! Which proofs have been used, RFC 9449 section 11.1.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::clock::Timestamp;

/// A used proof is told by its key and its `jti`, as two keyed hashes: nobody can make two of them collide.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Used([u64; 2]);

/// The holder, the same way, and shorter: two that collide share a quota.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Holder(u64);

/// Remembers used proofs until they are too old to be accepted anyway. Nothing is forgotten before, whatever comes:
/// what was forgotten could be used again. So when there is no room, proofs are refused.
pub(super) struct Replays {
    hashes: [RandomState; 2],
    most: usize,
    most_of_one_holder: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    used: HashSet<Used>,
    /// By the second at the end of which they go.
    ending: BTreeMap<i64, Vec<(Used, Holder)>>,
    of_holder: HashMap<Holder, usize>,
    /// Of what ended before then something may have been forgotten.
    forgotten_until: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    Replayed,
    /// It would have been forgotten by now, by the clock as it once was.
    Forgotten,
    Full,
    FullOfOneHolder,
}

impl Replays {
    pub(super) fn new(most: usize, most_of_one_holder: usize) -> Self {
        Self { hashes: [RandomState::new(), RandomState::new()], most, most_of_one_holder, state: Mutex::default() }
    }

    /// Notes that this proof is used, unless it was already: in one step, so that of any number that come at once one
    /// is the first. It is not accepted later than `until`.
    pub(super) fn insert(&self, key: &[u8; 32], jti: &str, until: Timestamp, now: Timestamp) -> Result<(), Refused> {
        let (used, holder) = self.told_by(key, jti);
        let end = second_of(until);
        let mut state = self.state();
        state.forget(second_of(now));
        self.check(&state, used, holder)?;
        if end < state.forgotten_until {
            return Err(Refused::Forgotten);
        }
        *state.of_holder.entry(holder).or_default() += 1;
        state.used.insert(used);
        state.ending.entry(end).or_default().push((used, holder));
        Ok(())
    }

    /// What [`insert`](Self::insert) would say now, but for a clock that was set back: so that nothing is verified for
    /// nothing.
    pub(super) fn look(&self, key: &[u8; 32], jti: &str, now: Timestamp) -> Result<(), Refused> {
        let (used, holder) = self.told_by(key, jti);
        let mut state = self.state();
        state.forget(second_of(now));
        self.check(&state, used, holder)
    }

    fn check(&self, state: &State, used: Used, holder: Holder) -> Result<(), Refused> {
        if state.used.contains(&used) {
            return Err(Refused::Replayed);
        }
        if state.used.len() >= self.most {
            return Err(Refused::Full);
        }
        let of_holder = state.of_holder.get(&holder).copied().unwrap_or_default();
        if of_holder >= self.most_of_one_holder { Err(Refused::FullOfOneHolder) } else { Ok(()) }
    }

    fn told_by(&self, key: &[u8; 32], jti: &str) -> (Used, Holder) {
        let used = self.hashes.each_ref().map(|hash| hash.hash_one((key, jti)));
        (Used(used), Holder(self.hashes[0].hash_one(key)))
    }

    /// Nothing that runs under this lock leaves the state half changed, so a panic elsewhere does not spoil it.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn len(&self) -> usize {
        self.state().used.len()
    }
}

fn second_of(moment: Timestamp) -> i64 {
    moment.as_unix_millis().div_euclid(1_000)
}

/// So many go at a time, so that nobody waits long for those who come back after a pause. More go than come.
const FORGOTTEN_AT_ONCE: usize = 64;

impl State {
    /// A clock that is set back brings nothing back.
    fn forget(&mut self, now: i64) {
        for _ in 0..FORGOTTEN_AT_ONCE {
            let Some(mut first) = self.ending.first_entry().filter(|first| *first.key() < now) else { break };
            self.forgotten_until = self.forgotten_until.max(*first.key() + 1);
            let Some((used, holder)) = first.get_mut().pop() else {
                first.remove();
                continue;
            };
            self.used.remove(&used);
            if let Some(count) = self.of_holder.get_mut(&holder) {
                *count -= 1;
                if *count == 0 {
                    self.of_holder.remove(&holder);
                }
            }
        }
        // After a flood: what it took is given back.
        if self.used.is_empty() && self.used.capacity() > 1_024 {
            self.used = HashSet::new();
            self.of_holder = HashMap::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_unix_seconds(seconds)
    }

    const KEY: [u8; 32] = [1; 32];
    const OTHER: [u8; 32] = [2; 32];

    #[test]
    fn a_proof_is_used_once_by_its_key_and_its_jti_together() {
        let replays = Replays::new(10, 10);
        assert_eq!(replays.insert(&KEY, "a", at(70), at(0)), Ok(()));
        assert_eq!(replays.insert(&KEY, "a", at(70), at(0)), Err(Refused::Replayed));
        // Signed anew with another time it is the same `jti`.
        assert_eq!(replays.insert(&KEY, "a", at(90), at(20)), Err(Refused::Replayed));
        assert_eq!(replays.insert(&KEY, "b", at(70), at(0)), Ok(()));
        assert_eq!(replays.insert(&OTHER, "a", at(70), at(0)), Ok(()));
    }

    #[test]
    fn a_proof_is_remembered_until_it_is_too_old_and_then_goes() {
        let replays = Replays::new(10, 10);
        assert_eq!(replays.insert(&KEY, "a", at(70), at(0)), Ok(()));
        assert_eq!(replays.insert(&KEY, "a", at(70), at(70)), Err(Refused::Replayed));
        assert_eq!(replays.len(), 1);
        assert_eq!(replays.insert(&KEY, "b", at(141), at(71)), Ok(()));
        assert_eq!(replays.len(), 1);
    }

    #[test]
    fn what_was_forgotten_stays_refused_if_the_clock_is_set_back() {
        let replays = Replays::new(10, 10);
        assert_eq!(replays.insert(&KEY, "a", at(70), at(0)), Ok(()));
        assert_eq!(replays.insert(&KEY, "b", at(241), at(171)), Ok(()));
        assert_eq!(replays.insert(&KEY, "a", at(70), at(5)), Err(Refused::Forgotten));
        // Nothing of its time was forgotten: a clock that was ahead for a moment keeps nobody out afterwards.
        assert_eq!(replays.insert(&KEY, "c", at(71), at(5)), Ok(()));
    }

    #[test]
    fn whoever_comes_after_a_pause_waits_for_few_of_those_that_have_ended() {
        let replays = Replays::new(1_000, 1_000);
        for jti in 0..1_000 {
            assert_eq!(replays.insert(&KEY, &jti.to_string(), at(70), at(0)), Ok(()));
        }
        assert_eq!(replays.insert(&KEY, "next", at(141), at(71)), Ok(()));
        assert_eq!(replays.len(), 1_000 - FORGOTTEN_AT_ONCE + 1);
        for jti in 0..20 {
            assert_eq!(replays.insert(&OTHER, &jti.to_string(), at(141), at(71)), Ok(()));
        }
        assert_eq!(replays.len(), 21);
    }

    #[test]
    fn when_there_is_no_room_proofs_are_refused_and_none_is_forgotten() {
        let replays = Replays::new(3, 2);
        for jti in ["a", "b"] {
            assert_eq!(replays.insert(&KEY, jti, at(70), at(0)), Ok(()));
        }
        assert_eq!(replays.insert(&KEY, "c", at(70), at(0)), Err(Refused::FullOfOneHolder));
        assert_eq!(replays.insert(&OTHER, "a", at(80), at(0)), Ok(()));
        assert_eq!(replays.insert(&OTHER, "b", at(70), at(0)), Err(Refused::Full));
        for jti in ["a", "b"] {
            assert_eq!(replays.insert(&KEY, jti, at(70), at(0)), Err(Refused::Replayed));
        }
        assert_eq!(replays.look(&KEY, "a", at(0)), Err(Refused::Replayed));
        assert_eq!(replays.look(&OTHER, "b", at(0)), Err(Refused::Full));
        // The room of those that have ended is there again, and so is the holder's.
        for jti in ["d", "e"] {
            assert_eq!(replays.insert(&KEY, jti, at(141), at(71)), Ok(()));
        }
        assert_eq!(replays.insert(&KEY, "f", at(141), at(71)), Err(Refused::Full));
    }
}
