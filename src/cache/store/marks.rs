//! What a cache holds against tokens that are judged from themselves alone.

use std::time::Duration;

use super::Store;
use crate::cache::key::TokenKey;
use crate::cache::marks::{FURTHEST_AHEAD, Marks, Told};
use crate::clock::Timestamp;
use crate::introspect::Verdict;
use crate::selection::Rule;
use crate::token::{AccessToken, BearerToken};

impl Store {
    /// For an introspector that judges tokens alone.
    pub(in crate::cache) fn with_marks(self, longest_lifetime: Duration, clock_skew: Duration) -> Self {
        Self { marks: Some(Box::new(Marks::new(longest_lifetime, clock_skew))), ..self }
    }

    /// The moment of an invalidation, if it leaves marks.
    pub(in crate::cache) fn moment_of_marks(&self) -> Option<Timestamp> {
        self.marks.as_ref().map(|_| self.clock.now())
    }

    /// To be called before anything is forgotten: an answer that comes before is forgotten or asked for anew, and one
    /// that comes after finds the mark. When a token expires is told by what is remembered of it.
    pub(in crate::cache) fn leave_mark(&self, rule: &Rule, moment: Timestamp) {
        let Some(marks) = &self.marks else { return };
        let now = self.clock.now();
        // No token says that it was issued later than that. A clock elsewhere that is far ahead refuses no more.
        let moment = moment.min(now + FURTHEST_AHEAD);
        let raised = if rule.is_of_any_token() {
            marks.leave_of_rule(rule, None, moment, now)
        } else if let Some(key) = rule.unsigned_of_any(self.keys.id()).map(TokenKey::of_halves) {
            if rule.is_one_token() {
                let remembered = rule.token(self.keys.id()).and_then(|key| self.active.get(TokenKey::of_halves(key)));
                marks.leave_of_token(key, remembered.and_then(|token| token.expires_at()), moment, now)
            } else {
                marks.leave_of_rule(rule, Some(key), moment, now)
            }
        } else {
            None
        };
        if let Some(up_to) = raised
            && let Some(untold) = marks.told.due(Told::Raised)
        {
            tracing::warn!(
                cache = self.name,
                issued_up_to = up_to.as_unix_millis(),
                untold,
                "more is invalidated than there is room for: every token issued up to then (milliseconds) is refused, so \
                 that none of those that had to go is let in; holders of older tokens have to get new ones"
            );
        }
    }

    /// Whether the token was invalidated, so that an active answer is none.
    pub(in crate::cache) fn is_held_against(&self, token: &BearerToken, verdict: &Verdict) -> bool {
        let (Some(marks), Verdict::Active(facts)) = (&self.marks, verdict) else { return false };
        // By all secrets: a mark may be older than the one that comes first now.
        let keys: Vec<_> = self.fingerprints(token).iter().map(|known_by| TokenKey::of_halves(known_by.key)).collect();
        marks.has_seen(facts, self.clock.now());
        let is_covered = marks.cover(&keys, facts);
        if !is_covered {
            self.looks_at_lifetime(marks, facts);
        }
        is_covered
    }

    fn looks_at_lifetime(&self, marks: &Marks, facts: &AccessToken) {
        if self.shared.is_none() {
            return;
        }
        let now = self.clock.now();
        let lives_longer = facts.expires_at().is_none_or(|expires_at| expires_at > now + marks.longest_lifetime);
        if lives_longer && let Some(untold) = marks.told.due(Told::LivesLonger) {
            tracing::warn!(
                cache = self.name,
                untold,
                "a token lives longer than `longest_token_lifetime`: when it is invalidated, a process that starts later \
                 than that may let it in"
            );
        }
    }
}
