//! The claims of one token, for whoever asks for many of them: their text is gone through once.

use std::cell::OnceCell;
use std::collections::BTreeMap;

use serde_json::Value;
use serde_json::value::RawValue;

use super::AccessToken;
use crate::token::claims::Text;

/// What a token states. Where its claims stand is found when the first of them is asked for.
pub(crate) struct StatedClaims<'t> {
    token: &'t AccessToken,
    further: OnceCell<BTreeMap<Text<'t>, &'t RawValue>>,
}

impl<'t> StatedClaims<'t> {
    pub(crate) fn of(token: &'t AccessToken) -> Self {
        Self { token, further: OnceCell::new() }
    }

    pub(crate) fn token(&self) -> &'t AccessToken {
        self.token
    }

    /// What [`AccessToken::claim`] tells.
    pub(crate) fn claim(&self, name: &str) -> Option<Value> {
        self.token.fact(name).or_else(|| serde_json::from_str(self.further(name)?).ok())
    }

    /// Whether [`claim`](Self::claim) is anything, `null` aside.
    pub(crate) fn states(&self, name: &str) -> bool {
        self.token.fact(name).is_some() || self.further(name).is_some_and(|further| further != "null")
    }

    /// Whether [`claim`](Self::claim) is this text.
    pub(crate) fn is_text(&self, name: &str, text: &str) -> bool {
        match self.token.fact(name) {
            Some(fact) => fact == text,
            None => self.further(name).is_some_and(|further| {
                further.starts_with('"') && serde_json::from_str::<Text>(further).is_ok_and(|stated| stated.0 == text)
            }),
        }
    }

    /// The value of a claim, as JSON.
    fn further(&self, name: &str) -> Option<&'t str> {
        let further = self.further.get_or_init(|| {
            #[cfg(test)]
            SEARCHES.with(|searches| searches.set(searches.get() + 1));
            self.token.0.claims().texts()
        });
        further.get(name).map(|value| value.get())
    }
}

#[cfg(test)]
thread_local! {
    static SEARCHES: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

#[cfg(test)]
impl StatedClaims<'_> {
    /// How often this thread has gone through the claims of a token.
    pub(crate) fn searches() -> usize {
        SEARCHES.with(std::cell::Cell::get)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_claim_is_what_the_token_tells_and_the_text_is_gone_through_once() {
        let values = [json!("x\n\"\u{e4}\\"), json!(""), json!(1), json!(1.5), json!(null), json!({"a": ["x"]})];
        let names = ["a", "n\n", "\u{e4}", "aud", "", "app"];
        let facts = AccessToken::builder().subject("ann").scopes(["r"].into_iter().collect()).app("weather");
        let facts =
            names.iter().zip(&values).fold(facts, |facts, (name, value)| facts.claim_value(name, value.clone()));
        let token = facts.build();
        let (stated, before) = (StatedClaims::of(&token), StatedClaims::searches());
        for name in names.into_iter().chain(["sub", "scope", "iss", "none", "b"]) {
            let told = token.claim::<Value>(name);
            assert_eq!(stated.claim(name), told, "{name:?}");
            for text in ["x\n\"\u{e4}\\", "", "1", "null", "ann", "r", "weather", "x"] {
                assert_eq!(stated.is_text(name, text), told == Some(json!(text)), "{name:?} is {text:?}");
            }
        }
        assert_eq!(StatedClaims::searches() - before, 1);
        let silent = AccessToken::builder().build();
        assert!(StatedClaims::of(&silent).claim("a").is_none() && !StatedClaims::of(&silent).is_text("a", ""));
    }
}
