//! What a policy cannot require.

use std::time::Duration;

use super::{Fact, Policy, Requirement};
use crate::build_error::BuildError;
use crate::token::is_scope_token;

impl Policy {
    /// Refuses what could never be satisfied, or never be written into a challenge. A layer's builder does it, too;
    /// this finds out before there is a layer.
    ///
    /// # Errors
    /// If a value is empty, or no scope, or no `acr` that a challenge can name, if two requirements exclude each other,
    /// or if the time since a login is no whole number of seconds, or zero. The error names the method that required
    /// it.
    pub fn check(&self) -> Result<(), BuildError> {
        self.requirements.iter().try_for_each(|requirement| match requirement {
            Requirement::AnyOf { setting, fact, values } => check_values(setting, *fact, values),
            Requirement::RecentLogin(login) => check_max_age(login.max_age),
            Requirement::Rule(_) => Ok(()),
            Requirement::Nested(_, policy) => policy.check(),
        })?;
        self.check_single(Fact::Issuer, "require_any_issuer")?;
        self.check_single(Fact::Client, "require_any_client")?;
        self.check_single(Fact::Acr, "require_acr")
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
    if fact == Fact::SenderConstrained {
        return Ok(());
    }
    if values.is_empty() {
        return Err(BuildError::new(setting, "it names nothing, so no token could satisfy it"));
    }
    if values.iter().any(|value| value.is_empty()) {
        return Err(BuildError::new(setting, "it names an empty text, which no token has"));
    }
    let one = match fact {
        Fact::Scope => "one scope (RFC 6749 section 3.3",
        Fact::Acr => "one value that a challenge can name (RFC 9470 section 3",
        _ => return Ok(()),
    };
    match values.iter().find(|value| !is_scope_token(value)) {
        Some(bad) => Err(BuildError::new(
            setting,
            format!("{bad:?} is not {one}: visible ASCII without spaces, quotes and backslashes)"),
        )),
        None => Ok(()),
    }
}

fn check_max_age(max_age: Duration) -> Result<(), BuildError> {
    let refused = |why| Err(BuildError::new("require_recent_login", why));
    if max_age.is_zero() {
        return refused("no login is that recent when a request comes; require one of the last second at least");
    }
    if max_age.subsec_nanos() > 0 {
        return refused("it is no whole number of seconds, and a challenge can tell no other (RFC 9470 section 3)");
    }
    Ok(())
}
