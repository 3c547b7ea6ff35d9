//! Control and figures for the application.

use std::fmt;
use std::sync::Arc;

use super::figures::CacheStats;
use super::flight::Predicate;
use super::store::Store;
use crate::protection::{EndpointHandle, Health};
use crate::token::{AccessToken, BearerToken};

/// Controls and observes a [`Cached`](crate::Cached). Made by [`Cached::handle`](crate::Cached::handle); clones act on
/// the same cache.
///
/// Each `invalidate` also covers questions under way: their answers may predate the change that made you call it, so
/// they are neither remembered nor handed out, and the question is asked anew. A request that arrives after
/// `invalidate` has returned gets an answer that was asked for after it was called. Requests let through before are not
/// called back.
///
/// ```
/// use tower_introspection::{BearerToken, Cached, introspect_fn};
/// # let introspector = introspect_fn(|_| async {
/// #     Ok(tower_introspection::Verdict::Inactive(tower_introspection::InactiveReason::Unknown)) });
///
/// let cached = Cached::new(introspector);
/// let cache = cached.handle();
/// cache.invalidate(&BearerToken::parse("25poPXCPOw43s0hJBn6tQYnUb5KF")?);
/// cache.invalidate_where(|token| token.client_id() == Some("weather-app"));
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

    /// Forgets what is known of `token`, active or not.
    pub fn invalidate(&self, token: &BearerToken<'_>) {
        self.0.forget(self.0.key_of(token));
    }

    /// Forgets everything.
    pub fn invalidate_all(&self) {
        self.0.forget_all();
    }

    /// Forgets all active tokens of which `predicate` is true, such as all of one client or one app, and returns how
    /// many. A question under way is asked anew if its answer is such a token.
    ///
    /// `predicate` may use this handle. It is called for each entry of the cache: with hundreds of thousands of them,
    /// call this where blocking is allowed.
    pub fn invalidate_where(&self, predicate: impl Fn(&AccessToken) -> bool + Send + Sync + 'static) -> usize {
        self.0.forget_where(&(Arc::new(predicate) as Predicate))
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
