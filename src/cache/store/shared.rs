//! What a fleet has a cache do.

use super::Store;
use crate::cache::key::TokenKey;
use crate::cache::shared;
use crate::selection::Rule;

impl Store {
    /// Keeps an answer that no longer serves, for when the authority fails, unless a newer one is here. The token
    /// counts as known.
    pub(in crate::cache) fn remember_older(&self, key: TokenKey, shared::Found { verdict, asked_at }: shared::Found) {
        if !verdict.is_active() {
            return;
        }
        let now = self.clock.now();
        self.flights.forget(|| {
            let is_newer = self.active.get(key).is_none_or(|token| token.term().asked_at < asked_at);
            if is_newer && self.inactive.get(key).is_none() {
                self.remember_verdict(key, &verdict, asked_at, now);
            }
        });
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
