//! Which events were acted on already.

use std::collections::{HashSet, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::set::Form;

/// So many identifiers are remembered of one transmitter, 32 bytes each. An event of which nothing is known any more is
/// acted on once more, which forgets what was issued before it: nobody who has a newer token notices.
pub(super) const MOST: usize = 10_000;

/// What an event is told by: its kind of token, its `jti`, and what was signed with it, since an issuer may use one
/// twice.
pub(super) type Id<'s> = (Form, &'s str, &'s [u8]);

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
    pub(super) fn knows(&self, id: &Id<'_>) -> bool {
        let id = self.hashed(id);
        self.known().all.contains(&id)
    }

    pub(super) fn remember(&self, id: &Id<'_>) {
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

    fn hashed(&self, id: &Id<'_>) -> [u64; 2] {
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
        let (ids, knows) = ((0..=MOST).map(|n| n.to_string()).collect::<Vec<_>>(), |id: &str| {
            memory.knows(&(Form::Event, id, b"signed"))
        });
        for id in &ids[..MOST] {
            memory.remember(&(Form::Event, id, b"signed"));
        }
        memory.remember(&(Form::Event, "0", b"signed"));
        assert!(knows("0") && knows("9999") && !knows("10000"));
        assert!(!memory.knows(&(Form::Logout, "0", b"signed")) && !memory.knows(&(Form::Event, "0", b"other")));
        memory.remember(&(Form::Event, "10000", b"signed"));
        assert!(!knows("0") && knows("1") && knows("10000"));
        assert_eq!(memory.known().all.len(), MOST);
    }
}
