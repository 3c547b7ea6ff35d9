//! Numbers that nobody can guess.

use std::hash::{BuildHasher, RandomState};

/// A number of the standard library's `RandomState`, which the operating system's generator seeds: what a keyed hash
/// makes of a constant is as unpredictable as its key, and each call has another key.
#[cold]
pub(crate) fn random() -> u64 {
    RandomState::new().hash_one(())
}
