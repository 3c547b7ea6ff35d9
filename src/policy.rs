//! What a route requires of an active token. Judged on every request, and never remembered.

use std::sync::Arc;

use http::request::Parts;

use crate::build_error::BuildError;
use crate::token::{AccessToken, is_scope_token};

type Rule = Arc<dyn Fn(&AccessToken, &Parts) -> bool + Send + Sync>;

/// All that a route requires. Empty by default: any active bearer token will do.
#[derive(Clone, Default)]
pub(crate) struct Policy {
    scopes: Vec<ScopeRequirement>,
    rules: Vec<Rule>,
}

#[derive(Clone, Debug)]
struct ScopeRequirement {
    setting: &'static str,
    any_of: Vec<Box<str>>,
}

/// Why an active token may not come in here.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The token is bound to a key of its holder, and nothing proved that the caller holds it.
    SenderConstrained,
    /// The token lacks a scope. Holds the scopes that are wanted, separated by spaces.
    InsufficientScope(String),
    /// A rule of the route said no.
    Denied,
}

impl Policy {
    pub(crate) fn require_scope(&mut self, scope: String) {
        self.scopes.push(ScopeRequirement { setting: "require_scope", any_of: vec![scope.into()] });
    }

    pub(crate) fn require_any_scope(&mut self, any_of: Vec<Box<str>>) {
        self.scopes.push(ScopeRequirement { setting: "require_any_scope", any_of });
    }

    pub(crate) fn authorize(&mut self, rule: Rule) {
        self.rules.push(rule);
    }

    pub(crate) fn requires_nothing(&self) -> bool {
        self.scopes.is_empty() && self.rules.is_empty()
    }

    /// Refuses what could never be satisfied or never be written into a challenge.
    pub(crate) fn check(&self) -> Result<(), BuildError> {
        for requirement in &self.scopes {
            if requirement.any_of.is_empty() {
                return Err(BuildError::new(requirement.setting, "it names no scope, so no token could satisfy it"));
            }
            if let Some(bad) = requirement.any_of.iter().find(|scope| !is_scope_token(scope)) {
                return Err(BuildError::new(
                    requirement.setting,
                    format!(
                        "{bad:?} is not one scope (RFC 6749 section 3.3: visible ASCII without spaces, quotes and backslashes)"
                    ),
                ));
            }
        }
        Ok(())
    }

    pub(crate) fn judge(&self, token: &AccessToken, request: &Parts) -> Result<(), Refusal> {
        if token.is_sender_constrained() {
            return Err(Refusal::SenderConstrained);
        }
        if !self.scopes.iter().all(|requirement| requirement.is_met_by(token)) {
            return Err(Refusal::InsufficientScope(self.wanted_scopes()));
        }
        if !self.rules.iter().all(|rule| rule(token, request)) {
            return Err(Refusal::Denied);
        }
        Ok(())
    }

    fn wanted_scopes(&self) -> String {
        let mut wanted: Vec<&str> = Vec::new();
        for scope in self.scopes.iter().flat_map(|requirement| &requirement.any_of) {
            if !wanted.contains(&&**scope) {
                wanted.push(scope);
            }
        }
        wanted.join(" ")
    }
}

impl ScopeRequirement {
    fn is_met_by(&self, token: &AccessToken) -> bool {
        self.any_of.iter().any(|scope| token.scopes().contains(scope))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::Scopes;

    fn judge(policy: &Policy, scopes: &str) -> Result<(), Refusal> {
        let token = AccessToken::builder().scopes(Scopes::parse(scopes)).build();
        policy.judge(&token, &http::Request::new(()).into_parts().0)
    }

    #[test]
    fn every_required_scope_and_one_of_each_choice_must_be_there() {
        let mut policy = Policy::default();
        policy.require_scope("a".into());
        policy.require_scope("b".into());
        policy.require_any_scope(vec!["c".into(), "d".into(), "a".into()]);
        assert_eq!(judge(&policy, "b a"), Ok(()));
        let refusal = || Err(Refusal::InsufficientScope("a b c d".into()));
        assert_eq!(judge(&policy, "a c d"), refusal());
        assert_eq!(judge(&policy, ""), refusal());
        let mut choice = Policy::default();
        choice.require_any_scope(vec!["c".into(), "d".into()]);
        assert_eq!(judge(&choice, "d"), Ok(()));
        assert_eq!(judge(&choice, "e"), Err(Refusal::InsufficientScope("c d".into())));
    }

    #[test]
    fn every_rule_must_agree() {
        let mut policy = Policy::default();
        policy.authorize(Arc::new(|_, _| true));
        assert_eq!(judge(&policy, ""), Ok(()));
        policy.authorize(Arc::new(|_, request| request.uri == "/elsewhere"));
        assert_eq!(judge(&policy, ""), Err(Refusal::Denied));
    }

    #[test]
    fn a_sender_constrained_token_is_refused_before_anything_else() {
        let token = AccessToken::builder().claim_value("cnf", serde_json::json!({"jkt": "x"})).build();
        let refusal = Policy::default().judge(&token, &http::Request::new(()).into_parts().0);
        assert_eq!(refusal, Err(Refusal::SenderConstrained));
    }

    #[test]
    fn scopes_that_cannot_be_satisfied_or_written_are_refused_by_the_name_of_the_setting() {
        let mut policy = Policy::default();
        policy.require_scope("read write".into());
        assert_eq!(policy.check().unwrap_err().setting(), "require_scope");
        let mut policy = Policy::default();
        policy.require_any_scope(Vec::new());
        assert_eq!(policy.check().unwrap_err().setting(), "require_any_scope");
    }
}
