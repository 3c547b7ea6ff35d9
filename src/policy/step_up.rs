//! What is required of the login behind a token, and what a client is told to ask for: RFC 9470.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use http::Method;

use super::{Fact, Policy, Refusal, Requirement};
use crate::clock::{Clock, Timestamp};
use crate::token::AccessToken;

/// How far ahead of the clock here a login may be: clocks differ, and whoever has just logged in must not be sent to do
/// so again. More would be a time in milliseconds, or a login that stays recent for ever.
const MAX_AHEAD: Duration = Duration::from_secs(5);

/// What is left to say of a token whose other facts are as required.
pub(super) const LACKS_SCOPE: u8 = 1;
pub(super) const LACKS_ACR: u8 = 2;
pub(super) const WANTS_LOGIN: u8 = 4;

/// What a login has to be like.
#[derive(Clone, Debug, Default)]
pub(crate) struct WantedLogin {
    /// In the order of preference, separated by spaces.
    pub(crate) acr_values: Option<String>,
    pub(crate) max_age: Option<Duration>,
}

impl Policy {
    /// Has logins judged by this clock.
    pub(crate) fn judge_logins_by(&mut self, clock: Arc<dyn Clock>) {
        self.login_clock = Some(clock);
    }

    /// The same, by that of another policy.
    pub(crate) fn judge_logins_as(&mut self, other: &Self) {
        self.login_clock.clone_from(&other.login_clock);
    }

    /// A login is told before a scope: a client that asks for both, as the challenge says, has to ask once. Apart, so
    /// that nobody reads a clock, or takes a step more, for a token of which nothing is open.
    #[inline(never)]
    pub(super) fn judge_what_is_open(&self, open: u8, token: &AccessToken, method: &Method) -> Result<(), Refusal> {
        if open & LACKS_ACR != 0 {
            return Err(Refusal::Acr);
        }
        let is_recent = |max_age| token.auth_time().is_some_and(|login| is_recent(login, max_age, self.now()));
        if !self.max_login_age(method).is_none_or(is_recent) {
            return Err(Refusal::RecentLogin);
        }
        if open & LACKS_SCOPE != 0 { Err(self.refusal(Fact::Scope, method)) } else { Ok(()) }
    }

    fn now(&self) -> Timestamp {
        self.login_clock.as_ref().map_or_else(Timestamp::now, Clock::now)
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
            if let Requirement::RecentLogin(max_age) = requirement {
                least = Some(least.map_or(*max_age, |least| least.min(*max_age)));
            }
            ControlFlow::Continue(())
        });
        least
    }
}

fn is_recent(login: Timestamp, max_age: Duration, now: Timestamp) -> bool {
    (now - max_age..=now + MAX_AHEAD).contains(&login)
}

#[cfg(test)]
mod tests;
