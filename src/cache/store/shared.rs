//! What a fleet has a cache do.

use super::Store;
use crate::cache::key::TokenKey;
use crate::selection::Rule;

impl Store {
    pub(in crate::cache) fn forget_active_of(&self, rule: &Rule) -> usize {
        rule.token(self.keys.id()).map_or(0, |key| self.forget_active(TokenKey::of_halves(key)))
    }

    /// Has each active token that is in use asked about again, sooner than it would be, and spread over time.
    pub(in crate::cache) fn ask_again_soon(&self) {
        let now = self.clock.now();
        self.active.for_each(|token| token.ask_again_sooner(now));
    }
}
