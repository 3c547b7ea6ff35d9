//! What a policy cannot require.

use super::{Fact, Policy, Requirement};
use crate::build_error::BuildError;
use crate::token::is_scope_token;

impl Policy {
    /// Refuses what could never be satisfied, or never be written into a challenge. A layer's builder does it, too;
    /// this finds out before there is a layer.
    ///
    /// # Errors
    /// If a value is empty, or no scope, or if two requirements exclude each other. The error names the method that
    /// required it.
    pub fn check(&self) -> Result<(), BuildError> {
        self.requirements.iter().try_for_each(|requirement| match requirement {
            Requirement::AnyOf { setting, fact, values } => check_values(setting, *fact, values),
            Requirement::Rule(_) => Ok(()),
            Requirement::Nested(_, policy) => policy.check(),
        })?;
        self.check_single(Fact::Issuer, "require_any_issuer")?;
        self.check_single(Fact::Client, "require_any_client")
    }

    /// Of a fact that a token has once, there must be one that meets every requirement.
    fn check_single(&self, single: Fact, choice: &str) -> Result<(), BuildError> {
        let mut requirements = self.requirements.iter().filter_map(|requirement| match requirement {
            Requirement::AnyOf { setting, fact, values } if *fact == single => Some((*setting, values)),
            _ => None,
        });
        let Some((_, first)) = requirements.next() else { return Ok(()) };
        let mut left: Vec<_> = first.iter().collect();
        for (setting, values) in requirements {
            left.retain(|value| values.contains(value));
            if left.is_empty() {
                return Err(BuildError::new(
                    setting,
                    format!(
                        "no token could meet this and what was required before; to choose from several, name all in one `{choice}`"
                    ),
                ));
            }
        }
        Ok(())
    }
}

fn check_values(setting: &'static str, fact: Fact, values: &[Box<str>]) -> Result<(), BuildError> {
    if values.is_empty() {
        return Err(BuildError::new(setting, "it names nothing, so no token could satisfy it"));
    }
    if values.iter().any(|value| value.is_empty()) {
        return Err(BuildError::new(setting, "it names an empty text, which no token has"));
    }
    match values.iter().find(|scope| fact == Fact::Scope && !is_scope_token(scope)) {
        Some(bad) => Err(BuildError::new(
            setting,
            format!(
                "{bad:?} is not one scope (RFC 6749 section 3.3: visible ASCII without spaces, quotes and backslashes)"
            ),
        )),
        None => Ok(()),
    }
}
