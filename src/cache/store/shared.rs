//! What a fleet has a cache do.

use super::Store;
use crate::cache::key::TokenKey;
use crate::clock::Timestamp;
use crate::selection::Rule;

impl Store {
    /// Whether this process has asked about the token after that, as far as it is remembered: alone, perhaps, so that
    /// the others do not know.
    pub(in crate::cache) fn has_heard_since(&self, key: TokenKey, asked_at: Timestamp) -> bool {
        self.active.get(key).is_some_and(|token| token.term().asked_at > asked_at)
            || self.inactive.get(key).is_some_and(|inactive| inactive.asked_at > asked_at)
    }

    pub(in crate::cache) fn forget_active_of(&self, rule: &Rule) -> usize {
        rule.token(self.keys.id()).map_or(0, |key| self.forget_active(TokenKey::of_halves(key)))
    }

    /// Has each active token that is in use asked about again, sooner than it would be, and spread over time.
    pub(in crate::cache) fn ask_again_soon(&self) {
        let now = self.clock.now();
        self.active.for_each(|token| token.ask_again_sooner(now));
    }
}
