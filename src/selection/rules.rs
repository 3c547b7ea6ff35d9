//! Many rules at once. A page of a fleet's log holds hundreds of them and a cache hundreds of thousands of tokens, so
//! each token is looked up among the rules, instead of compared with each.

use std::collections::HashMap;

use serde_json::Value;

use super::rule::{Condition, EMAIL, Rule, SESSION};
use crate::token::{AccessToken, StatedClaims};

/// Rules by what tells the fewest tokens among their conditions, each with what is kept of it. Each stands in one
/// place.
pub(crate) struct Rules<K = ()> {
    subjects: ByText<K>,
    clients: ByText<K>,
    apps: ByText<K>,
    issuers: ByText<K>,
    emails: ByText<K>,
    /// By the name of the claim, and its value as JSON.
    claims: HashMap<String, ByText<K>>,
    /// Those that a token has to be compared with.
    others: Place<K>,
    count: usize,
}

type ByText<K> = HashMap<String, Place<K>>;

type Place<K> = Vec<(Rule, K)>;

impl<K> Default for Rules<K> {
    fn default() -> Self {
        Self {
            subjects: HashMap::new(),
            clients: HashMap::new(),
            apps: HashMap::new(),
            issuers: HashMap::new(),
            emails: HashMap::new(),
            claims: HashMap::new(),
            others: Vec::new(),
            count: 0,
        }
    }
}

impl FromIterator<Rule> for Rules {
    fn from_iter<R: IntoIterator<Item = Rule>>(rules: R) -> Self {
        let mut all = Self::default();
        for rule in rules {
            all.count += 1;
            all.place_of(&rule).push((rule, ()));
        }
        all
    }
}

impl Rules {
    /// Whether all conditions of any of the rules hold.
    pub(crate) fn any_holds(&self, token: &AccessToken) -> bool {
        self.any_holds_if(token, |()| true)
    }
}

impl<K> Rules<K> {
    /// How many they are.
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// Whether all conditions of any of those rules hold of whose `K` `counts` is true.
    pub(crate) fn any_holds_if(&self, token: &AccessToken, counts: impl Fn(&K) -> bool) -> bool {
        let stated = StatedClaims::of(token);
        let any = |rules: &Place<K>| rules.iter().any(|(rule, kept)| counts(kept) && rule.holds(&stated));
        let named = |by: &ByText<K>, text: Option<&str>| text.and_then(|text| by.get(text)).is_some_and(&any);
        let by_claim = |(name, by): (&String, &ByText<K>)| {
            let value = stated.claim(name).as_ref().and_then(text_of);
            named(by, value.as_deref())
        };
        let email = || Some(stated.claim(EMAIL)?.as_str()?.to_ascii_lowercase());
        named(&self.subjects, token.subject())
            || named(&self.clients, token.client_id())
            || named(&self.apps, token.app())
            || named(&self.apps, token.app_id())
            || named(&self.issuers, token.issuer())
            || (!self.emails.is_empty() && named(&self.emails, email().as_deref()))
            || self.claims.iter().any(by_claim)
            || any(&self.others)
    }

    /// Adds the rule, unless it is there: then `again` changes what is kept of it.
    pub(crate) fn add(&mut self, rule: Rule, kept: K, again: impl FnOnce(&mut K, K)) {
        let place = self.place_of(&rule);
        match place.iter_mut().find(|(known, _)| *known == rule) {
            Some((_, known)) => again(known, kept),
            None => {
                place.push((rule, kept));
                self.count += 1;
            }
        }
    }

    /// What is kept of each.
    pub(crate) fn kept(&self) -> impl Iterator<Item = &K> {
        self.places().flatten().map(|(_, kept)| kept)
    }

    /// Takes away those of whose `K` `stays` is false.
    pub(crate) fn retain(&mut self, stays: impl Fn(&K) -> bool) {
        let by_claim = |by: &mut ByText<K>| {
            by.retain(|_, rules| {
                rules.retain(|(_, kept)| stays(kept));
                !rules.is_empty()
            });
            !by.is_empty()
        };
        for by in [&mut self.subjects, &mut self.clients, &mut self.apps, &mut self.issuers, &mut self.emails] {
            by_claim(by);
        }
        self.claims.retain(|_, by| by_claim(by));
        self.others.retain(|(_, kept)| stays(kept));
        self.count = self.places().map(Vec::len).sum();
    }

    fn places(&self) -> impl Iterator<Item = &Place<K>> {
        let by_text = [&self.subjects, &self.clients, &self.apps, &self.issuers, &self.emails].into_iter();
        by_text.chain(self.claims.values()).flat_map(HashMap::values).chain([&self.others])
    }

    fn place_of(&mut self, rule: &Rule) -> &mut Place<K> {
        let (by, text) = match rule.conditions.iter().min_by_key(|condition| rank(condition)) {
            Some(Condition::Subject(subject)) => (&mut self.subjects, Some(subject.clone())),
            Some(Condition::Client(id)) => (&mut self.clients, Some(id.clone())),
            Some(Condition::App(name)) => (&mut self.apps, Some(name.clone())),
            Some(Condition::Issuer(issuer)) => (&mut self.issuers, Some(issuer.clone())),
            Some(Condition::Email(address)) => (&mut self.emails, Some(address.clone())),
            Some(Condition::Session(session)) => {
                (self.claims.entry(SESSION.to_owned()).or_default(), text_of(&Value::from(session.as_str())))
            }
            Some(Condition::Claim(name, value)) if text_of(value).is_some() => {
                (self.claims.entry(name.clone()).or_default(), text_of(value))
            }
            Some(Condition::Claim(..) | Condition::IssuedBefore(_) | Condition::OrUnstated(_)) | None => {
                return &mut self.others;
            }
        };
        match text {
            Some(text) => by.entry(text).or_default(),
            None => &mut self.others,
        }
    }
}

/// The less, the fewer tokens it holds of as a rule.
fn rank(condition: &Condition) -> u8 {
    match condition {
        Condition::Session(_) => 0,
        Condition::Subject(_) => 1,
        Condition::Email(_) => 2,
        Condition::App(_) => 3,
        Condition::Client(_) => 4,
        Condition::Claim(_, value) if text_of(value).is_some() => 5,
        Condition::Issuer(_) => 6,
        Condition::Claim(..) | Condition::IssuedBefore(_) | Condition::OrUnstated(_) => 7,
    }
}

/// The value as JSON, if values that are equal are written in the same way and no others are.
pub(super) fn text_of(value: &Value) -> Option<String> {
    let is_written_in_one_way = match value {
        Value::Null | Value::Bool(_) | Value::String(_) => true,
        Value::Number(number) => number.is_i64() || number.is_u64(),
        Value::Array(_) | Value::Object(_) => false,
    };
    is_written_in_one_way.then(|| value.to_string())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::clock::Timestamp;
    use crate::token::AccessTokenBuilder;

    fn conditions() -> Vec<Condition> {
        let claims =
            [json!("a"), json!("\"ü\n"), json!(7), json!(-7), json!(7.0), json!(-0.0), json!(null), json!(["a"])];
        let claims = claims
            .into_iter()
            .flat_map(|value| ["tenant", "sid", "sub"].map(|name| Condition::Claim(name.to_owned(), value.clone())));
        let text: [fn(String) -> Condition; 5] =
            [Condition::Subject, Condition::Client, Condition::App, Condition::Issuer, Condition::Session];
        let texts = text.into_iter().flat_map(|of| ["a", "b"].map(|text| of(text.to_owned())));
        let issued = [5_000, 6_000].map(Condition::IssuedBefore);
        let emails = ["Ann@example.com", "BOB@EXAMPLE.COM"].map(Condition::email);
        let stated: Vec<_> = claims.chain(texts).chain(issued).chain(emails).collect();
        let some = ["a", "b"].map(|text| Condition::Session(text.into())).into_iter().chain([
            Condition::Subject("a".into()),
            Condition::Issuer("b".into()),
            Condition::Claim("tenant".into(), json!("a")),
            Condition::email("ann@example.com"),
        ]);
        stated.into_iter().chain(some.map(Condition::or_unstated)).collect()
    }

    fn tokens() -> Vec<AccessToken> {
        let of = AccessToken::builder;
        let issued = |millis| of().issued_at(Timestamp::from_unix_millis(millis));
        let claims = conditions().into_iter().filter_map(|condition| match condition {
            Condition::Claim(name, value) => Some(issued(9_000).claim_value(&name, value)),
            _ => None,
        });
        let one_fact = [
            issued(9_000).subject("a"),
            issued(9_000).client_id("a"),
            issued(9_000).app("a"),
            issued(9_000).app_id("a"),
            issued(9_000).issuer("a"),
            issued(9_000).claim_value("email", json!("aNN@Example.com")),
            issued(9_000).claim_value("email", json!(7)),
            issued(5_500),
            issued(9_000),
            of(),
        ];
        let many =
            issued(5_500).subject("b").client_id("a").app("x").app_id("b").issuer("a").claim_value("sid", json!("b"));
        let many = many.claim_value("tenant", json!(0.0));
        claims.chain(one_fact).chain([many]).map(AccessTokenBuilder::build).collect()
    }

    fn rule(conditions: impl IntoIterator<Item = Condition>) -> Rule {
        Rule { fingerprints: None, conditions: conditions.into_iter().collect() }
    }

    #[test]
    fn rules_hold_of_the_tokens_of_which_one_of_them_holds() {
        let with_each = |one: Condition| conditions().into_iter().map(move |other| rule([one.clone(), other]));
        let pairs = conditions().into_iter().flat_map(with_each);
        let alone = conditions().into_iter().map(|condition| rule([condition]));
        let rules: Vec<Rule> = alone.chain(pairs).collect();
        for token in tokens() {
            let holds = |rule: &Rule| rule.holds(&StatedClaims::of(&token));
            for rule in &rules {
                let prepared: Rules = [rule.clone()].into_iter().collect();
                let written = serde_json::to_string(rule).unwrap();
                assert_eq!((prepared.any_holds(&token), prepared.count()), (holds(rule), 1), "{written} of {token:?}");
            }
            let (held, others): (Vec<Rule>, Vec<Rule>) = rules.iter().cloned().partition(holds);
            assert!(!Rules::from_iter(others).any_holds(&token), "{token:?}");
            assert_eq!(Rules::from_iter(rules.clone()).any_holds(&token), !held.is_empty(), "{token:?}");
        }
        assert!(!Rules::default().any_holds(&AccessToken::builder().build()));
        assert!(Rules::from_iter([rule([])]).any_holds(&AccessToken::builder().build()));
    }

    #[test]
    fn what_is_kept_of_a_rule_says_whether_it_counts_and_whether_it_stays() {
        let mut kept = Rules::default();
        for (number, condition) in (0..).zip(conditions()) {
            kept.add(rule([condition]), number, |_, _| panic!("each is another one"));
        }
        let count = kept.count();
        assert_eq!((kept.kept().count(), count), (conditions().len(), conditions().len()));
        for condition in conditions() {
            kept.add(rule([condition]), 1_000, |known, again| *known += again);
        }
        assert_eq!((kept.count(), kept.kept().min()), (count, Some(&1_000)));
        for (number, condition) in (1_000..).zip(conditions()) {
            let alone: Rules = [rule([condition])].into_iter().collect();
            for token in tokens() {
                assert_eq!(kept.any_holds_if(&token, |kept| *kept == number), alone.any_holds(&token), "{token:?}");
            }
        }
        kept.retain(|kept| kept % 2 == 0);
        assert!(kept.kept().all(|kept| kept % 2 == 0) && kept.count() == count.div_ceil(2));
        kept.retain(|_| false);
        assert!(
            kept.count() == 0
                && kept.subjects.is_empty()
                && kept.claims.is_empty()
                && kept.emails.is_empty()
                && kept.others.is_empty()
        );
    }

    #[test]
    fn what_a_token_states_is_gone_through_once_for_all_rules() {
        let of_session = |n: u32| rule([Condition::Issuer("a".into()), Condition::Session(n.to_string())]);
        let rules: Rules = (0..500).map(of_session).chain([rule([Condition::Claim("a".into(), json!([1]))])]).collect();
        let token = |session: &str| AccessToken::builder().issuer("a").claim("sid", session).unwrap().build();
        let before = StatedClaims::searches();
        assert!(!rules.any_holds(&token("none")));
        assert_eq!(StatedClaims::searches() - before, 1);
        assert!(rules.any_holds(&token("499")));
    }
}
