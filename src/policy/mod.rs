//! What a route requires of an active token. Judged on every request, and never remembered.

mod check;
mod possession;
mod settings;
mod step_up;

use std::fmt;
use std::ops::ControlFlow;
use std::sync::Arc;

use http::Method;

#[cfg(any(feature = "certificate-bound", feature = "dpop"))]
pub(crate) use self::possession::Proven;
pub(crate) use self::possession::tell_of_missing_proof;
pub(crate) use self::settings::policy_settings;
pub(crate) use self::step_up::{RecentLogin, WantedLogin};

use self::possession::verify_possession;
use crate::request::RequestView;
use crate::token::AccessToken;

type Rule = Arc<dyn Fn(&AccessToken, &RequestView<'_>) -> bool + Send + Sync>;

/// All that a route requires of an active token; nothing by default. Every requirement must be met, on every request.
///
/// Of several that are not met one is told: audience, issuer, client or API product first, then the login, then the
/// scopes, and a rule last. So nobody has to log in again for a token that is no good here anyway.
///
/// The builder of an [`IntrospectionLayer`](crate::IntrospectionLayer) has the same methods. A policy of its own is for
/// what several layers share, for routes that [require](crate::IntrospectionLayer::require) more, and for
/// [`for_method`](Self::for_method).
///
/// ```
/// use http::Method;
/// use tower_introspection::{IntrospectionLayer, Policy};
/// # let introspector = tower_introspection::introspect_fn(|_| async {
/// #     Ok(tower_introspection::Verdict::Inactive(tower_introspection::InactiveReason::Unknown)) });
///
/// let orders = Policy::new()
///     .require_audience("https://api.example.com")
///     .for_method(Method::GET, Policy::new().require_scope("orders.read"))
///     .for_other_methods(Policy::new().require_any_scope(["orders.write", "orders.admin"]));
/// let layer = IntrospectionLayer::builder(introspector).policy(orders).build()?;
/// # Ok::<(), tower_introspection::BuildError>(())
/// ```
#[derive(Clone, Default)]
#[must_use]
pub struct Policy {
    requirements: Vec<Requirement>,
}

#[derive(Clone)]
pub(crate) enum Requirement {
    AnyOf { setting: &'static str, fact: Fact, values: Vec<Box<str>> },
    RecentLogin(RecentLogin),
    Rule(Rule),
    Nested(When, Policy),
}

/// Of which requests a nested policy requires something.
#[derive(Clone)]
pub(crate) enum When {
    Always,
    Method(Method),
    /// None that another nested policy names.
    OtherMethods,
}

/// What of a token is compared.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fact {
    Scope,
    Audience,
    Issuer,
    Client,
    ApiProduct,
    /// The kind of login. It is judged apart: `judge_what_is_open`.
    Acr,
    /// That it is bound to a key of its holder. It is no text.
    SenderConstrained,
}

/// Why an active token may not come in here.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The token is bound to a key of its holder, and nothing proved that the caller holds it.
    SenderConstrained,
    /// The token is not bound to a key.
    NotSenderConstrained,
    /// The token is meant for another service.
    Audience,
    /// The token is from another issuer.
    Issuer,
    /// The token lacks a scope. Holds the scopes that are wanted, separated by spaces.
    InsufficientScope(String),
    /// The login behind the token was of another kind than is wanted, as far as is known.
    Acr,
    /// The login was too long ago, as far as is known.
    RecentLogin,
    /// The token is another client's.
    Client,
    /// The token is not for the product, as far as is known.
    ApiProduct,
    /// A rule of the route said no.
    Rule,
}

impl Policy {
    /// Requires nothing: any active bearer token will do.
    pub fn new() -> Self {
        Self::default()
    }

    policy_settings!(itself());

    fn itself(&mut self) -> &mut Self {
        self
    }

    pub(crate) fn add<T: Into<String>>(
        &mut self,
        setting: &'static str,
        fact: Fact,
        values: impl IntoIterator<Item = T>,
    ) {
        let values = values.into_iter().map(|value| value.into().into()).collect();
        self.requirements.push(Requirement::AnyOf { setting, fact, values });
    }

    pub(crate) fn push(&mut self, requirement: Requirement) {
        self.requirements.push(requirement);
    }

    pub(crate) fn requires_nothing(&self) -> bool {
        self.requirements.iter().all(|requirement| match requirement {
            Requirement::AnyOf { .. } | Requirement::RecentLogin(_) | Requirement::Rule(_) => false,
            Requirement::Nested(_, policy) => policy.requires_nothing(),
        })
    }

    /// Whether no bearer token comes in, whatever the request.
    #[cfg(feature = "dpop")]
    pub(crate) fn always_requires_sender_constrained(&self) -> bool {
        self.requirements.iter().any(|requirement| match requirement {
            Requirement::AnyOf { fact, .. } => *fact == Fact::SenderConstrained,
            Requirement::Nested(When::Always, policy) => policy.always_requires_sender_constrained(),
            _ => false,
        })
    }

    pub(crate) fn judge(&self, token: &AccessToken, request: &RequestView) -> Result<(), Refusal> {
        verify_possession(token, request)?;
        let (mut is_open, mut has_rules) = (false, false);
        let met = self.each(request.method(), &mut |requirement| match requirement {
            Requirement::AnyOf { fact, values, .. } if !fact.is_any_of(token, values) => {
                // After the other facts: no scope and no login helps a token that one of those keeps out.
                if !matches!(fact, Fact::Scope | Fact::Acr) {
                    return ControlFlow::Break(*fact);
                }
                is_open = true;
                ControlFlow::Continue(())
            }
            Requirement::RecentLogin(_) => {
                is_open = true;
                ControlFlow::Continue(())
            }
            Requirement::Rule(_) => {
                has_rules = true;
                ControlFlow::Continue(())
            }
            _ => ControlFlow::Continue(()),
        });
        if let ControlFlow::Break(unmet) = met {
            return Err(self.refusal(unmet, request.method()));
        }
        if is_open {
            self.judge_what_is_open(token, request.method())?;
        }
        if !has_rules {
            return Ok(());
        }
        // Rules see only tokens that are good for everything else.
        let agreed = self.each(request.method(), &mut |requirement| match requirement {
            Requirement::Rule(rule) if !rule(token, request) => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        });
        if agreed.is_break() { Err(Refusal::Rule) } else { Ok(()) }
    }

    fn refusal(&self, unmet: Fact, method: &Method) -> Refusal {
        match unmet {
            Fact::Audience => Refusal::Audience,
            Fact::Issuer => Refusal::Issuer,
            Fact::Client => Refusal::Client,
            Fact::ApiProduct => Refusal::ApiProduct,
            Fact::Acr => Refusal::Acr,
            Fact::SenderConstrained => Refusal::NotSenderConstrained,
            Fact::Scope => Refusal::InsufficientScope(self.wanted_scopes(method).unwrap_or_default()),
        }
    }

    /// The scopes that requests with this method need, separated by spaces; `None` if they need none.
    pub(crate) fn wanted_scopes(&self, method: &Method) -> Option<String> {
        let mut wanted = String::new();
        let _: ControlFlow<()> = self.each(method, &mut |requirement| {
            if let Requirement::AnyOf { fact: Fact::Scope, values, .. } = requirement {
                for scope in values {
                    if !wanted.split(' ').any(|earlier| earlier == &**scope) {
                        wanted.push_str(if wanted.is_empty() { "" } else { " " });
                        wanted.push_str(scope);
                    }
                }
            }
            ControlFlow::Continue(())
        });
        (!wanted.is_empty()).then_some(wanted)
    }

    /// Goes through what is required of requests with this method.
    #[inline]
    fn each<B>(&self, method: &Method, visit: &mut impl FnMut(&Requirement) -> ControlFlow<B>) -> ControlFlow<B> {
        for requirement in &self.requirements {
            match requirement {
                Requirement::Nested(when, policy) => self.each_of_nested(when, policy, method, visit)?,
                single => visit(single)?,
            }
        }
        ControlFlow::Continue(())
    }

    /// Apart, so that policies of scopes alone, as most are, are gone through quickly.
    #[inline(never)]
    fn each_of_nested<B>(
        &self,
        when: &When,
        policy: &Policy,
        method: &Method,
        visit: &mut impl FnMut(&Requirement) -> ControlFlow<B>,
    ) -> ControlFlow<B> {
        let is_head = *method == Method::HEAD;
        let holds = match when {
            When::Always => true,
            When::Method(stated) => {
                stated == method || (is_head && *stated == Method::GET && !self.names(&Method::HEAD))
            }
            When::OtherMethods => !(self.names(method) || (is_head && self.names(&Method::GET))),
        };
        if holds { policy.each(method, visit) } else { ControlFlow::Continue(()) }
    }

    fn names(&self, method: &Method) -> bool {
        let names = |requirement: &Requirement| matches!(requirement, Requirement::Nested(When::Method(stated), _) if stated == method);
        self.requirements.iter().any(names)
    }
}

impl Fact {
    fn is_any_of(self, token: &AccessToken, values: &[Box<str>]) -> bool {
        // `check_values` has seen that each is one scope.
        if self == Self::Scope { token.scopes().lists_any(values) } else { self.is_among(token, values) }
    }

    /// A function of its own, so that the way of scopes stays short.
    #[inline(never)]
    fn is_among(self, token: &AccessToken, values: &[Box<str>]) -> bool {
        let listed = |stated: &str| values.iter().any(|value| **value == *stated);
        match self {
            Self::Scope => token.scopes().lists_any(values),
            Self::Audience => token.audience().any(listed),
            Self::Issuer => token.issuer().is_some_and(listed),
            Self::Client => token.client_id().is_some_and(listed),
            // Unknown is not the same as none, but both are refused.
            Self::ApiProduct => token.api_products().is_some_and(|mut products| products.any(listed)),
            Self::Acr => false, // until it is judged
            Self::SenderConstrained => token.is_sender_constrained(),
        }
    }
}

impl fmt::Debug for Policy {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.debug_list().entries(&self.requirements).finish()
    }
}

impl fmt::Debug for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            // A client's identifier may be an API key, so it is not shown.
            Self::AnyOf { setting, fact: Fact::Client, .. } => f.write_str(setting),
            Self::AnyOf { setting, values, .. } => f.debug_tuple(setting).field(values).finish(),
            Self::RecentLogin(login) => f.debug_tuple("require_recent_login").field(&login.max_age).finish(),
            Self::Rule(_) => f.write_str("authorize"),
            Self::Nested(When::Always, policy) => policy.fmt(f),
            Self::Nested(When::Method(method), policy) => {
                f.debug_tuple("for_method").field(method).field(policy).finish()
            }
            Self::Nested(When::OtherMethods, policy) => f.debug_tuple("for_other_methods").field(policy).finish(),
        }
    }
}

#[cfg(test)]
mod tests;
