//! Which events were acted on already.

use std::collections::{HashSet, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// So many identifiers are remembered of one transmitter, 32 bytes each. An event of which nothing is known any more is
/// acted on once more, which forgets what was issued before it: nobody who has a newer token notices.
pub(super) const MOST: usize = 10_000;

/// Identifiers as two keyed hashes: nobody can make two of them collide.
#[derive(Default)]
pub(super) struct Memory {
    hashes: [RandomState; 2],
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    all: HashSet<[u64; 2]>,
    oldest_first: VecDeque<[u64; 2]>,
}

impl Memory {
    pub(super) fn knows(&self, id: &str) -> bool {
        let id = self.hashed(id);
        self.known().all.contains(&id)
    }

    pub(super) fn remember(&self, id: &str) {
        let id = self.hashed(id);
        let mut known = self.known();
        if !known.all.insert(id) {
            return;
        }
        known.oldest_first.push_back(id);
        if known.oldest_first.len() > MOST
            && let Some(oldest) = known.oldest_first.pop_front()
        {
            known.all.remove(&oldest);
        }
    }

    fn hashed(&self, id: &str) -> [u64; 2] {
        self.hashes.each_ref().map(|hash| hash.hash_one(id))
    }

    /// Nothing that runs under this lock leaves it half changed.
    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_remembered_is_known_until_there_is_no_room() {
        let memory = Memory::default();
        for n in 0..MOST {
            memory.remember(&n.to_string());
        }
        memory.remember("0");
        assert!(memory.knows("0") && memory.knows("9999") && !memory.knows("10000"));
        memory.remember("10000");
        assert!(!memory.knows("0") && memory.knows("1") && memory.knows("10000"));
        assert_eq!(memory.known().all.len(), MOST);
    }
}
