//! Control and figures for the application.

use std::fmt;
use std::sync::Arc;

use super::figures::CacheStats;
use super::flight::Predicate;
use super::invalidation::{Invalidation, Rest};
use super::store::Store;
use crate::protection::{EndpointHandle, Health};
use crate::selection::{Rule, Selection};
use crate::token::AccessToken;

/// Controls and observes a [`Cached`](crate::Cached). Made by [`Cached::handle`](crate::Cached::handle); clones act on
/// the same cache.
///
/// Each `invalidate` also covers questions under way: their answers may predate the change that made you call it, so
/// they are neither remembered nor handed out, and the question is asked anew. A request that arrives after
/// `invalidate` has returned gets an answer that was asked for after it was called. Requests let through before are not
/// called back.
///
/// ```
/// use tower_introspection::cache::Selection;
/// use tower_introspection::{BearerToken, Cached, introspect_fn};
/// # let introspector = introspect_fn(|_| async {
/// #     Ok(tower_introspection::Verdict::Inactive(tower_introspection::InactiveReason::Unknown)) });
///
/// let cached = Cached::new(introspector);
/// let cache = cached.handle();
/// cache.invalidate(&BearerToken::parse("25poPXCPOw43s0hJBn6tQYnUb5KF")?);
/// cache.invalidate(Selection::client("weather-app"));
/// cache.invalidate_where(|token| token.attribute("tier") == Some("trial"));
/// assert_eq!(cache.stats().hits, 0);
/// # Ok::<(), tower_introspection::token::MalformedToken>(())
/// ```
#[derive(Clone)]
pub struct CacheHandle(Arc<Store>);

impl CacheHandle {
    pub(super) fn new(store: Arc<Store>) -> Self {
        Self(store)
    }

    /// What the cache is called.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Forgets the tokens that `selection` means: one token (`&token` is a selection), all of a client, of a subject,
    /// and so on. What is known of tokens that are not active is forgotten, too, if the selection is one token or all,
    /// with no condition: no facts are known of them. A question under way is asked anew if its answer is meant.
    ///
    /// It acts on this cache, and in a fleet on the caches of this name in the other processes. Other caches keep what
    /// they know, also those of the same fleet: a subject of one authority may be somebody else at another. Where it is
    /// the same one, call this for each.
    ///
    /// It is done when this returns. Whoever wants to know whether other processes were reached awaits what is
    /// returned.
    ///
    /// Where tokens are [judged alone](crate::Introspect::judges_alone) it is held against them, too, from then on:
    /// [`Selection`] says for how long.
    ///
    /// A token is found at once. For anything else each entry of the cache is looked at: with hundreds of thousands of
    /// them, call this where blocking is allowed.
    pub fn invalidate(&self, selection: impl Into<Selection>) -> Invalidation {
        let (rule, rest) = self.announce(&selection.into());
        Invalidation::new(self.0.forget_rules(&[rule]), rest)
    }

    /// The same of several selections, with one look at what is remembered. With each comes what tells how far it got
    /// beyond this process, if it goes there.
    #[cfg(feature = "signals")]
    pub(crate) fn invalidate_each(&self, selections: &[Selection]) -> (usize, Vec<Option<Rest>>) {
        let (rules, rests): (Vec<_>, Vec<_>) = selections.iter().map(|selection| self.announce(selection)).unzip();
        (self.0.forget_rules(&rules), rests)
    }

    /// Whether what is forgotten is refused from then on.
    #[cfg(feature = "signals")]
    pub(crate) fn judges_alone(&self) -> bool {
        self.0.moment_of_marks().is_some()
    }

    #[cfg(feature = "signals")]
    pub(crate) fn is_of_the_cache_of(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Leaves marks, and tells the others. First, so that from here on nothing comes back from others that is forgotten
    /// here.
    fn announce(&self, selection: &Selection) -> (Rule, Option<Rest>) {
        let rule = selection.rule(|token| self.0.fingerprints(token));
        let moment = self.0.moment_of_marks();
        if let Some(moment) = moment {
            self.0.leave_mark(&rule, moment);
        }
        let rest = self.0.shared.as_ref().map(|shared| shared.invalidate(&rule, selection.one_token(), moment));
        (rule, rest)
    }

    /// Forgets everything: [`invalidate`](Self::invalidate) with [`Selection::all`]. Where tokens are
    /// [judged alone](crate::Introspect::judges_alone) every token that was issued so far is refused from then on.
    #[allow(clippy::must_use_candidate)] // it has done its work
    pub fn invalidate_all(&self) -> Invalidation {
        self.invalidate(Selection::all())
    }

    /// Forgets all active tokens of which `predicate` is true, and returns how many. A question under way is asked anew
    /// if its answer is such a token.
    ///
    /// It acts in this process and nowhere else, since a closure cannot be sent to others. It forgets and no more:
    /// where tokens are [judged alone](crate::Introspect::judges_alone) they are let in again when they come again,
    /// since nobody could tell how long a closure has to be kept, nor what it costs. For what a [`Selection`] can
    /// say, use [`invalidate`](Self::invalidate).
    ///
    /// `predicate` may use this handle. It is called for each entry of the cache: with hundreds of thousands of them,
    /// call this where blocking is allowed.
    pub fn invalidate_where(&self, predicate: impl Fn(&AccessToken) -> bool + Send + Sync + 'static) -> usize {
        self.0.forget_where(&Predicate::Closure(Arc::new(predicate)))
    }

    /// The figures of this cache, and of the endpoint behind it, since it was made.
    #[must_use]
    pub fn stats(&self) -> CacheStats {
        self.0.stats()
    }

    /// Whether the authority answers, as far as the last questions tell: for readiness probes. Asks nothing. An
    /// introspector of your own that has no [`endpoint`](crate::Introspect::endpoint) is always healthy.
    #[must_use]
    pub fn health(&self) -> Health {
        self.0.endpoint.as_ref().map_or(Health::Healthy, EndpointHandle::health)
    }
}

impl fmt::Debug for CacheHandle {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.debug_tuple("CacheHandle").field(&self.stats()).finish()
    }
}
