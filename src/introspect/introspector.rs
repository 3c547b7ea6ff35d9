//! The seam: whatever can be asked about a token.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

#[cfg(feature = "dpop")]
use super::ProofMemory;
use super::Verdict;
use crate::error::IntrospectError;
use crate::protection::EndpointHandle;
use crate::token::BearerToken;

/// Answers whether a bearer token is active at this moment.
///
/// ```
/// use tower_introspection::introspect::Ask;
/// use tower_introspection::{AccessToken, InactiveReason, Introspect, IntrospectError, Verdict};
///
/// struct Fixed;
///
/// impl Introspect for Fixed {
///     async fn introspect(&self, ask: Ask<'_>) -> Result<Verdict, IntrospectError> {
///         Ok(match ask.token().expose() {
///             "letmein" => Verdict::Active(AccessToken::builder().client_id("demo").build()),
///             _ => Verdict::Inactive(InactiveReason::Unknown),
///         })
///     }
/// }
/// ```
///
/// # Around another introspector
///
/// An implementation that wraps another one hands the [`Ask`] on as it is, and all methods: without
/// [`cached`](Self::cached) each request asks; without [`endpoint`](Self::endpoint) nobody sees the endpoint's figures,
/// and [`CacheHandle::health`](crate::CacheHandle::health) says healthy whatever happens; without
/// [`wants_cache`](Self::wants_cache) nobody is told that a cache is missing; without
/// [`judges_alone`](Self::judges_alone) what was invalidated is let in again; without `proof_memory` (feature `dpop`) a
/// proof comes in once at each process of a fleet.
///
/// # Runtime, and cancellation
///
/// The endpoints of this crate need a Tokio runtime with its I/O and its timer enabled, and panic without. It has to be
/// driven as long as they are used: the connection that a question leaves behind is kept by a task of the runtime that
/// it was asked on. So a check at start-up on a runtime of its own, which is kept but no longer driven, costs the first
/// question after it a `request_timeout`: that question gets a connection that nobody reads from. Check on the runtime
/// that serves, or drop the other one, which closes its connections.
///
/// A future that [`introspect`](Self::introspect) returned may be dropped at any point where it waits: without a
/// [`Cached`](crate::Cached) when the caller hangs up, within one when its
/// [`question_timeout`](crate::cache::CachedBuilder::question_timeout) has passed or the cache is gone. Those of this
/// crate can be.
pub trait Introspect: Send + Sync + 'static {
    /// Returns an answer that is already at hand, if there is one, without waiting. The default returns none.
    ///
    /// The layer calls this before [`introspect`](Self::introspect), so that a cache can answer hits without a boxed
    /// future and without a clone of the inner service. An implementation must check the token's expiry during the
    /// call.
    fn cached(&self, token: &BearerToken<'_>) -> Option<Verdict> {
        let _ = token;
        None
    }

    /// Asks. [`Verdict::Active`] means active now: a token that has expired is [`Verdict::Inactive`].
    ///
    /// # Errors
    /// If the authority could not be asked, or its answer cannot be trusted. "The authority said no" is a verdict,
    /// never an error.
    fn introspect(&self, ask: Ask<'_>) -> impl Future<Output = Result<Verdict, IntrospectError>> + Send;

    /// How the endpoint that is asked fares, if it keeps count: those of this crate do.
    fn endpoint(&self) -> Option<EndpointHandle> {
        None
    }

    /// Whether each answer costs an exchange with an authority, so that a [`Cached`](crate::Cached) belongs around
    /// this: a layer that has none logs it once, at `warn`. True of the endpoints of this crate; the default is false.
    fn wants_cache(&self) -> bool {
        false
    }

    /// Whether verdicts are made from the token alone, as from a signature, so that asking again does not tell that it
    /// was revoked; and if so, how far ahead of this clock the issuer's may be by which tokens say when they were
    /// issued ([`issued_at`](crate::AccessToken::issued_at)): what is invalidated covers tokens that were issued until
    /// so long afterwards. The default is `None`, since an authority that is asked knows.
    ///
    /// To forget such a token would only have it judged again. So a [`Cached`](crate::Cached) around such an
    /// introspector holds what was [invalidated](crate::CacheHandle::invalidate) against it: until a token would have
    /// expired it is answered with [`Revoked`](crate::InactiveReason::Revoked), however often it is judged anew.
    /// [`Selection`](crate::cache::Selection) says what that changes. Of an introspector that judges some tokens alone
    /// and asks about others this holds for all of them: give each kind a cache of its own.
    ///
    /// What is held against tokens is held in memory:
    ///
    /// * **Without a fleet a restart forgets it.** It is lost with the process, and other processes never hear of it.
    /// * **In a fleet** (feature `redis`) all processes hold it, and one that
    ///   starts later reads what was invalidated within
    ///   [`longest_token_lifetime`](crate::cache::CachedBuilder::longest_token_lifetime). It does not know what the
    ///   engine has lost: after it was emptied, or started again without its data, processes that were running hold
    ///   what they have read, and those that start afterwards hold nothing of what was invalidated before. A process
    ///   that is cut off from the engine learns of an invalidation when it reads the log again, and not within
    ///   `max_ttl`.
    fn judges_alone(&self) -> Option<Duration> {
        None
    }

    /// Where several processes note together which proofs of possession were used: that of a [`Cached`](crate::Cached)
    /// in a [fleet](crate::guide::fleet). The default is none, and then each process notes its own.
    #[cfg(feature = "dpop")]
    fn proof_memory(&self) -> Option<ProofMemory> {
        None
    }
}

/// What [`Introspect::introspect`] is asked: whether a token is active, and what is known of it. Later versions may say
/// more.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    token: &'a BearerToken<'a>,
    is_known: bool,
}

impl<'a> Ask<'a> {
    /// Asks about a token of which nothing is known.
    #[must_use]
    pub fn new(token: &'a BearerToken<'a>) -> Self {
        Self { token, is_known: false }
    }

    /// Says whether the token was active when it was last asked about. Only say so if it was: a flood of junk tokens
    /// that count as known starves those that are.
    #[must_use]
    pub fn known(self, is_known: bool) -> Self {
        Self { is_known, ..self }
    }

    /// The token asked about.
    #[must_use]
    pub fn token(&self) -> &'a BearerToken<'a> {
        self.token
    }

    /// Whether the token is *known*: it was active when it was last asked about, and no question since has failed by
    /// what its holder may have brought about. A [`Cached`](crate::Cached) remembers that; without one all tokens are
    /// strangers.
    ///
    /// In the limits of this crate's endpoints known tokens come first, and they have a circuit breaker of their own,
    /// so that a flood of junk tokens cannot starve them.
    #[must_use]
    pub fn is_known(&self) -> bool {
        self.is_known
    }
}

impl<I: Introspect> Introspect for Arc<I> {
    fn cached(&self, token: &BearerToken<'_>) -> Option<Verdict> {
        (**self).cached(token)
    }

    fn introspect(&self, ask: Ask<'_>) -> impl Future<Output = Result<Verdict, IntrospectError>> + Send {
        (**self).introspect(ask)
    }

    fn endpoint(&self) -> Option<EndpointHandle> {
        (**self).endpoint()
    }

    fn wants_cache(&self) -> bool {
        (**self).wants_cache()
    }

    fn judges_alone(&self) -> Option<Duration> {
        (**self).judges_alone()
    }

    #[cfg(feature = "dpop")]
    fn proof_memory(&self) -> Option<ProofMemory> {
        (**self).proof_memory()
    }
}

/// An [`Introspect`] made by [`introspect_fn`].
#[derive(Clone, Copy)]
pub struct IntrospectFn<F>(F);

/// Makes an [`Introspect`] from a closure: for tests, and for authorities that speak a protocol of their own.
///
/// ```
/// use tower_introspection::{AccessToken, Cached, InactiveReason, Verdict, introspect_fn};
///
/// let introspector = Cached::new(introspect_fn(|token| async move {
///     Ok(match token.expose() {
///         "letmein" => Verdict::Active(AccessToken::builder().client_id("demo").build()),
///         _ => Verdict::Inactive(InactiveReason::Unknown),
///     })
/// }));
/// ```
pub fn introspect_fn<F, Fut>(ask: F) -> IntrospectFn<F>
where
    F: Fn(BearerToken<'static>) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Verdict, IntrospectError>> + Send,
{
    IntrospectFn(ask)
}

impl<F, Fut> Introspect for IntrospectFn<F>
where
    F: Fn(BearerToken<'static>) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Verdict, IntrospectError>> + Send,
{
    fn introspect(&self, ask: Ask<'_>) -> impl Future<Output = Result<Verdict, IntrospectError>> + Send {
        (self.0)(ask.token().clone().into_owned())
    }
}

impl<F> fmt::Debug for IntrospectFn<F> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("IntrospectFn")
    }
}
