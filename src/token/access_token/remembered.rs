//! What a cache notes beside the facts of a token it keeps. It stands in the token's own allocation, so that a hit
//! fetches that and not another one first.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};

use super::{AccessToken, Facts};
use crate::clock::Timestamp;

/// Whose answer it is, and since when and until when it serves.
#[derive(Clone, Copy)]
pub(crate) struct Term {
    /// What the cache knows the token by.
    pub(crate) key: [u64; 2],
    pub(crate) asked_at: Timestamp,
    /// The first moment at which it no longer serves. A hit never moves it.
    pub(crate) deadline: Timestamp,
}

impl Default for Term {
    /// Of a token that no cache keeps.
    fn default() -> Self {
        let epoch = Timestamp::from_unix_millis(0);
        Self { key: [0; 2], asked_at: epoch, deadline: epoch }
    }
}

/// From when on a hit has it asked for again, in milliseconds. The far future if it is not to be.
#[derive(Default)]
pub(super) struct RefreshAt(AtomicI64);

impl Clone for RefreshAt {
    fn clone(&self) -> Self {
        Self(AtomicI64::new(self.0.load(Ordering::Relaxed)))
    }
}

/// How many requests the answer has served, counted no further than anybody asks.
#[derive(Default)]
pub(super) struct Uses(AtomicU32);

impl Clone for Uses {
    fn clone(&self) -> Self {
        Self(AtomicU32::new(self.0.load(Ordering::Relaxed)))
    }
}

impl AccessToken {
    /// A copy for a cache to keep as its entry of this `number`, with texts of its own: whoever was asked may keep this
    /// one, and another cache note something else in it.
    pub(crate) fn kept(&self, number: u64, term: Term, refresh_at: Timestamp) -> Self {
        let refresh_at = RefreshAt(AtomicI64::new(refresh_at.as_unix_millis()));
        Self(Arc::new(Facts { number, term, refresh_at, uses: Uses::default(), ..(*self.0).clone() }))
    }

    /// How much memory the facts take that have no bound.
    pub(crate) fn bytes(&self) -> usize {
        self.0.texts.len() + self.0.scopes.bytes()
    }

    pub(crate) fn entry_number(&self) -> u64 {
        self.0.number
    }

    pub(crate) fn term(&self) -> Term {
        self.0.term
    }

    /// Not before it was asked for, either: then the clock was set back, and nobody knows how old it is. (Or it came
    /// after `now` was read, and is found by the next look.)
    pub(crate) fn serves_at(&self, now: Timestamp) -> bool {
        (self.0.term.asked_at..self.0.term.deadline).contains(&now)
    }

    /// Counts a use, unless there have been `enough` already, and tells whether there have been now. Not all uses of
    /// one moment may count, which saves a locked instruction: a token so much in use is soon used again.
    pub(crate) fn is_used_enough(&self, enough: u32) -> bool {
        let Uses(uses) = &self.0.uses;
        let before = uses.load(Ordering::Relaxed);
        if before >= enough {
            return true;
        }
        uses.store(before + 1, Ordering::Relaxed);
        before + 1 == enough
    }

    pub(crate) fn is_due(&self, now: Timestamp) -> bool {
        now.as_unix_millis() >= self.0.refresh_at.0.load(Ordering::Relaxed)
    }

    /// Has it asked about again after two thirds of the time that is left until then, however little it is used. Once
    /// for each answer: then all that is remembered is asked about at one and a half times the usual rate, and not at
    /// once.
    #[cfg(feature = "redis")]
    pub(crate) fn ask_again_sooner(&self, now: Timestamp) {
        if self.0.uses.0.swap(u32::MAX, Ordering::Relaxed) == u32::MAX {
            return;
        }
        let due = self.0.refresh_at.0.load(Ordering::Relaxed).min(self.0.term.deadline.as_unix_millis());
        let left = Timestamp::from_unix_millis(due).saturating_since(now);
        self.set_refresh_at(now + left.mul_f64(2.0 / 3.0));
    }

    pub(crate) fn set_refresh_at(&self, moment: Timestamp) {
        self.0.refresh_at.0.store(moment.as_unix_millis(), Ordering::Relaxed);
    }
}
