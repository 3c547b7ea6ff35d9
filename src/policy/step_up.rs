//! What is required of the login behind a token, and what a client is told to ask for: RFC 9470.

use std::cell::LazyCell;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use http::Method;

use super::{Fact, Policy, Refusal, Requirement};
use crate::clock::{Clock, Timestamp};
use crate::token::{AccessToken, Login};

/// How far ahead of the clock here a login may be: clocks differ, and whoever has just logged in must not be sent to do
/// so again. More would be a time in milliseconds, or a login that stays recent for ever.
const MAX_AHEAD: Duration = Duration::from_secs(5);

/// What a login has to be like.
#[derive(Clone, Debug, Default)]
pub(crate) struct WantedLogin {
    /// In the order of preference, separated by spaces.
    pub(crate) acr_values: Option<String>,
    pub(crate) max_age: Option<Duration>,
}

/// How long ago a login may be, and by which clock: that of the system, unless the layer has another one.
#[derive(Clone)]
pub(crate) struct RecentLogin {
    pub(super) max_age: Duration,
    clock: Option<Arc<dyn Clock>>,
}

impl RecentLogin {
    pub(crate) fn within(max_age: Duration) -> Self {
        Self { max_age, clock: None }
    }

    fn is_met_by(&self, login: &Login) -> bool {
        login.auth_time.is_some_and(|login| {
            let now = self.clock.as_ref().map_or_else(Timestamp::now, Clock::now);
            (now - self.max_age..=now + MAX_AHEAD).contains(&login)
        })
    }
}

impl Policy {
    /// Has all logins judged by this clock.
    pub(crate) fn judge_logins_by(&mut self, clock: &Arc<dyn Clock>) {
        for requirement in &mut self.requirements {
            match requirement {
                Requirement::RecentLogin(login) => login.clock = Some(Arc::clone(clock)),
                Requirement::Nested(_, policy) => policy.judge_logins_by(clock),
                Requirement::AnyOf { .. } | Requirement::Rule(_) => {}
            }
        }
    }

    /// Judges the login and the scopes. A login is told first: a client that asks for both, as the challenge says, has
    /// to ask once. Apart, so that nobody reads a clock, or takes a step more, who requires no login.
    #[inline(never)]
    pub(super) fn judge_what_is_open(&self, token: &AccessToken, method: &Method) -> Result<(), Refusal> {
        let login = LazyCell::new(|| token.login());
        let (mut lacks_acr, mut lacks_login, mut lacks_scope) = (false, false, false);
        let _: ControlFlow<()> = self.each(method, &mut |requirement| {
            match requirement {
                Requirement::AnyOf { fact: Fact::Acr, values, .. } => {
                    lacks_acr |= !login.acr.as_ref().is_some_and(|acr| values.iter().any(|value| **value == **acr));
                }
                Requirement::RecentLogin(recent) => lacks_login |= !recent.is_met_by(&login),
                Requirement::AnyOf { fact: Fact::Scope, values, .. } => {
                    lacks_scope |= !token.scopes().lists_any(values);
                }
                _ => {}
            }
            ControlFlow::Continue(())
        });
        match (lacks_acr, lacks_login, lacks_scope) {
            (true, _, _) => Err(Refusal::Acr),
            (_, true, _) => Err(Refusal::RecentLogin),
            (_, _, true) => Err(self.refusal(Fact::Scope, method)),
            _ => Ok(()),
        }
    }

    /// What requests with this method need of a login.
    pub(crate) fn wanted_login(&self, method: &Method) -> WantedLogin {
        WantedLogin { acr_values: self.acr_values(method), max_age: self.max_login_age(method) }
    }

    /// Those that meet every requirement, in the order of the first one.
    fn acr_values(&self, method: &Method) -> Option<String> {
        let mut wanted: Option<Vec<Box<str>>> = None;
        let _: ControlFlow<()> = self.each(method, &mut |requirement| {
            if let Requirement::AnyOf { fact: Fact::Acr, values, .. } = requirement {
                match &mut wanted {
                    None => wanted = Some(values.clone()),
                    Some(wanted) => wanted.retain(|value| values.contains(value)),
                }
            }
            ControlFlow::Continue(())
        });
        wanted.filter(|wanted| !wanted.is_empty()).map(|wanted| wanted.join(" "))
    }

    fn max_login_age(&self, method: &Method) -> Option<Duration> {
        let mut least: Option<Duration> = None;
        let _: ControlFlow<()> = self.each(method, &mut |requirement| {
            if let Requirement::RecentLogin(RecentLogin { max_age, .. }) = requirement {
                least = Some(least.map_or(*max_age, |least| least.min(*max_age)));
            }
            ControlFlow::Continue(())
        });
        least
    }
}

#[cfg(test)]
mod tests;
