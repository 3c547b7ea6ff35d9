//! Forgetting before the time: one token, those of which something holds, or all.
//!
//! What is said of one token is found by its key, and marks the question about it alone. Whatever is said of facts is
//! noted at all questions under way first, and what is remembered is looked at after that: an answer that lands in
//! between is judged by one of the two. All that one call says of facts is one predicate and one look.

#[cfg(any(test, feature = "redis"))]
use std::slice;
use std::sync::Arc;

use super::Store;
use crate::cache::flight::Predicate;
use crate::cache::key::TokenKey;
use crate::selection::{Fingerprint, Rule, Rules};
use crate::token::{BearerToken, StatedClaims};

/// Each tells how many active tokens were forgotten.
impl Store {
    /// What this cache knows `token` by. Where tokens are judged alone, what was signed in it comes last: whoever holds
    /// a token may be able to sign the same in another form (of an ECDSA signature (r, s) there is the twin (r, -s)).
    pub(in crate::cache) fn fingerprints(&self, token: &BearerToken) -> Vec<Fingerprint> {
        let of = |token: &BearerToken| match &self.shared {
            Some(shared) => shared.fingerprints(token),
            None => vec![self.keys.fingerprint(token)],
        };
        let mut fingerprints = of(token);
        if self.marks.is_some()
            && let Some((signed, _)) = token.expose().rsplit_once('.').filter(|(signed, _)| signed.contains('.'))
            && let Ok(signed) = BearerToken::parse(signed)
        {
            fingerprints.extend(of(&signed));
        }
        fingerprints
    }

    #[cfg(any(test, feature = "redis"))]
    pub(in crate::cache) fn forget_rule(&self, rule: &Rule) -> usize {
        self.forget_rules(slice::from_ref(rule))
    }

    /// Forgets what any of the rules means.
    pub(in crate::cache) fn forget_rules(&self, rules: &[Rule]) -> usize {
        let of_one = rules.iter().filter_map(|rule| Some((TokenKey::of_halves(rule.token(self.keys.id())?), rule)));
        let forgotten: usize = of_one.map(|(key, rule)| self.forget_one(key, rule)).sum();
        if rules.iter().any(Rule::is_all) {
            return forgotten + self.forget_all();
        }
        let of_any: Rules = rules.iter().filter(|rule| rule.is_of_any_token()).cloned().collect();
        if of_any.count() == 0 {
            return forgotten;
        }
        forgotten + self.forget_where(&Predicate::Rules(Arc::new(of_any)))
    }

    fn forget_one(&self, key: TokenKey, rule: &Rule) -> usize {
        if rule.is_one_token() {
            return self.forget(key);
        }
        let conditions = Predicate::Rules(Arc::new(Rules::from_iter([rule.clone()])));
        self.flights.invalidate_if(key, &conditions);
        let is_meant = self.active.get(key).is_some_and(|token| rule.holds(&StatedClaims::of(&token)));
        usize::from(is_meant && self.flights.forget(|| self.active.remove(key)))
    }

    fn forget(&self, key: TokenKey) -> usize {
        self.flights.invalidate(key, || {
            self.lately.remove(key);
            self.inactive.remove(key);
            usize::from(self.active.remove(key))
        })
    }

    /// Forgets that a token was active, since somebody has heard that it is not. That it is not may stay.
    #[cfg(any(test, feature = "redis"))]
    pub(in crate::cache) fn forget_active(&self, key: TokenKey) -> usize {
        self.flights.invalidate_active(key, || {
            self.lately.remove(key);
            usize::from(self.active.remove(key))
        })
    }

    pub(in crate::cache) fn forget_all(&self) -> usize {
        let (count, forgotten) =
            self.flights.invalidate_all(|| (self.active.len(), (self.active.clear(), self.inactive.clear())));
        // After the lock: freeing it takes a while, and nobody is to wait for that.
        drop(forgotten);
        // Or what is gone would still compete with new answers for room.
        self.active.tidy();
        self.inactive.tidy();
        usize::try_from(count).unwrap_or(usize::MAX)
    }

    pub(in crate::cache) fn forget_where(&self, predicate: &Predicate) -> usize {
        self.flights.invalidate_where(predicate);
        let keys = self.active.keys_where(|token| predicate.is_true_of(token));
        // One at a time, so that requests that miss do not wait for all of them.
        keys.iter().filter(|key| self.flights.forget(|| self.active.remove(**key))).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::flight::{Boarding, Flight};
    use crate::cache::settings::CacheSettings;
    use crate::clock::SystemClock;
    use crate::introspect::{InactiveReason, Verdict};
    use crate::protection::Share;
    use crate::selection::Selection;
    use crate::token::AccessToken;

    fn store() -> Store {
        Store::new(CacheSettings::default(), Arc::new(SystemClock), None, None)
    }

    fn token(text: &str) -> BearerToken<'_> {
        BearerToken::parse(text).unwrap()
    }

    fn active(client: &str) -> Verdict {
        Verdict::Active(AccessToken::builder().client_id(client).build())
    }

    fn inactive() -> Verdict {
        Verdict::Inactive(InactiveReason::Revoked)
    }

    impl Store {
        fn learns(&self, text: &str, verdict: Verdict) {
            let now = self.clock.now();
            self.remember(self.key_of(&token(text)), &Ok(verdict), now, now);
        }

        fn knows(&self, text: &str) -> bool {
            self.known(self.key_of(&token(text))).is_some()
        }

        fn rule(&self, selection: &Selection) -> Rule {
            selection.rule(|token| self.fingerprints(token))
        }

        /// A question that has left.
        fn asks(&self, text: &str) -> Flight {
            match self.flights.board(self.key_of(&token(text)), Share::Stranger, || None::<()>) {
                Boarding::Started(_, mut flight) => {
                    flight.depart();
                    flight
                }
                _ => panic!("nobody else asks"),
            }
        }
    }

    /// Whether the answer is used. It is not if it was invalidated.
    fn lands(flight: Flight, verdict: Verdict) -> bool {
        let now = crate::clock::Timestamp::now();
        flight.land(Ok(verdict), now, |_| ()).is_none()
    }

    #[test]
    fn rules_of_one_call_forget_what_any_of_them_means_and_count_it_once() {
        let store = store();
        for (text, client) in [("a", "one"), ("b", "two"), ("c", "two"), ("d", "three"), ("e", "one")] {
            store.learns(text, active(client));
        }
        store.learns("gone", inactive());
        store.learns("kept", inactive());
        let two = || Selection::client("two");
        let rules = [
            Selection::token(&token("a")),
            Selection::token(&token("gone")),
            two(),
            Selection::client("nobody"),
            Selection::token(&token("b")),
            Selection::client("two").and(Selection::subject("ann")),
            Selection::token(&token("d")).and(two()),
            Selection::token(&token("kept")).and(two()),
        ];
        let rules = rules.map(|selection| store.rule(&selection));
        assert_eq!(store.forget_rules(&rules), 3);
        let known = ["a", "b", "c", "d", "e", "gone", "kept"].map(|text| store.knows(text));
        assert_eq!(known, [false, false, false, true, true, false, true]);
        assert_eq!(store.forget_rules(&rules), 0);
        assert_eq!(store.forget_rules(&[]), 0);
    }

    #[test]
    fn a_rule_for_everything_among_others_forgets_everything() {
        let store = store();
        store.learns("a", active("one"));
        store.learns("b", active("two"));
        store.learns("gone", inactive());
        let flight = store.asks("c");
        let rules = [Selection::token(&token("a")), Selection::all(), Selection::client("two")];
        assert_eq!(store.forget_rules(&rules.map(|selection| store.rule(&selection))), 2);
        assert!(!["a", "b", "gone"].iter().any(|text| store.knows(text)));
        assert!(!lands(flight, inactive()));
    }

    #[test]
    fn a_rule_of_another_secret_is_about_none_of_this_cache() {
        let (store, other) = (store(), store());
        store.learns("a", active("one"));
        let of_another_secret = |selection: Selection| {
            selection.rule(|token| {
                let mut fingerprints = store.fingerprints(token);
                fingerprints.iter_mut().for_each(|fingerprint| fingerprint.key_id += 1);
                fingerprints
            })
        };
        let one = Selection::token(&token("a"));
        let flight = store.asks("a");
        let rules =
            [of_another_secret(one.clone()), other.rule(&one), of_another_secret(one.and(Selection::client("one")))];
        assert_eq!(store.forget_rules(&rules), 0);
        assert!(store.knows("a") && lands(flight, active("one")));
    }

    #[test]
    fn as_many_rules_as_there_may_be_are_one_predicate_to_a_question_under_way() {
        let store = store();
        let rules: Vec<Rule> = (0..1_000).map(|n| store.rule(&Selection::client(n.to_string()))).collect();
        let [unmeant, gone, meant] = ["a", "b", "c"].map(|text| store.asks(text));
        for _ in 0..16 {
            store.forget_rules(&rules);
        }
        assert!(lands(unmeant, active("another")));
        assert!(lands(gone, inactive()));
        assert!(!lands(meant, active("999")));
    }

    /// With logouts elsewhere in the fleet each page of its log brings one more, ten in a second.
    #[test]
    fn pages_of_rules_for_a_minute_have_no_question_asked_anew_and_more_of_them_do() {
        let store = store();
        let rules = [store.rule(&Selection::session("1")), store.rule(&Selection::subject("ann"))];
        for (pages, is_used) in [(1_200, true), (1_201, false)] {
            let [unmeant, gone, meant] = ["a", "b", "c"].map(|text| store.asks(text));
            (0..pages).for_each(|_| _ = store.forget_rules(&rules));
            let ann = AccessToken::builder().subject("ann").build();
            assert_eq!(lands(unmeant, active("another")), is_used);
            assert_eq!(lands(gone, inactive()), is_used);
            assert!(!lands(meant, Verdict::Active(ann)));
        }
    }

    #[test]
    fn a_question_remembers_as_many_rules_as_the_log_keeps() {
        let store = store();
        let rules: Vec<Rule> = (0..1_000).map(|n| store.rule(&Selection::client(n.to_string()))).collect();
        for (more, is_used) in [(0, true), (1, false)] {
            let flight = store.asks("a");
            (0..30).for_each(|_| _ = store.forget_rules(&rules));
            rules.iter().take(more).for_each(|rule| _ = store.forget_rule(rule));
            assert_eq!(lands(flight, active("another")), is_used);
        }
    }

    #[test]
    fn a_rule_about_one_token_is_no_concern_of_other_questions() {
        let store = store();
        let flights = || ["a", "b", "c"].map(|text| store.asks(text));
        let answers = [inactive as fn() -> Verdict, || active("one"), || active("two")];
        for (selection, covered) in [
            (Selection::token(&token("a")), [true, true, true]),
            (Selection::token(&token("a")).and(Selection::client("one")), [false, true, false]),
        ] {
            for (answer, covered) in answers.iter().zip(covered) {
                let [asked, another, third] = flights();
                store.forget_rule(&store.rule(&selection));
                assert_eq!(lands(asked, answer()), !covered, "{selection:?}");
                assert!(lands(another, answer()) && lands(third, answer()));
            }
        }
    }

    #[test]
    fn what_was_found_to_be_inactive_elsewhere_is_active_no_longer_and_stays_inactive() {
        let store = store();
        let key = store.key_of(&token("a"));
        store.learns("a", active("one"));
        store.learns("b", active("one"));
        assert_eq!(store.share_of(key), Share::Known);
        let flight = store.asks("a");
        assert_eq!(store.forget_active(key), 1);
        assert!(!store.knows("a") && store.knows("b"));
        assert_eq!(store.share_of(key), Share::Stranger);
        assert!(!lands(flight, active("one")), "it may be older than what the other has heard");
        let flight = store.asks("a");
        store.learns("a", inactive());
        assert_eq!(store.forget_active(key), 0);
        assert!(store.knows("a") && lands(flight, inactive()));
    }
}
