//! What is remembered.
//!
//! [`Cached`] is itself an [`Introspect`]: it answers from memory as long as the rules of `freshness` allow, and else asks
//! the introspector it wraps, once per token however many requests wait.
//!
//! Two clocks guard every entry. The injected [`Clock`] judges each read exactly, so expiry holds at the millisecond. moka's
//! own monotonic clock evicts at about the same moment, so that an entry does not live on when the wall clock is set back.

mod figures;
mod flight;
mod freshness;
mod handle;
mod key;
mod lately;
mod store;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

pub use figures::CacheStats;
pub use handle::CacheHandle;

use tracing::Instrument;

use self::flight::{Boarding, Flight};
use self::freshness::{Limits, judge};
use self::key::TokenKey;
use self::store::Store;
use crate::background::Owner;
use crate::build_error::BuildError;
use crate::clock::{Clock, Stopwatch, SystemClock};
use crate::introspect::{EndpointHandle, Introspect, IntrospectError, IntrospectErrorKind, Share, Verdict};
use crate::token::BearerToken;

/// How often one flight asks when its answers are invalidated while it waits for them.
const MAX_QUESTIONS_PER_FLIGHT: usize = 3;

/// Remembers what an introspector answered, no longer than the token lives.
///
/// * An active answer serves for [`max_ttl`](CachedBuilder::max_ttl) (60 seconds), and never at or after the token's expiry.
///   That is the *revocation window*: a token revoked at the authority is refused at the latest `max_ttl` later.
/// * An inactive answer serves for [`inactive_ttl`](CachedBuilder::inactive_ttl) (10 seconds), from a cache of its own, so
///   that junk tokens cannot push good ones out.
/// * A failure is never remembered, and never removes an answer.
/// * One question per token is under way at a time. It runs in a task of its own and goes on when the request that caused
///   it goes away; its answer, or its failure, reaches everyone who waits for it.
///
/// ```
/// use std::time::Duration;
/// use tower_introspection::{Apigee, Cached, IntrospectionLayer};
///
/// let apigee = Apigee::builder("my-org").basic_auth("token-reader@example.com", "password").build()?;
/// let cached = Cached::builder(apigee).max_ttl(Duration::from_secs(180)).build()?;
/// let cache = cached.handle(); // for `invalidate` and `stats`
/// let layer = IntrospectionLayer::new(cached);
/// # Ok::<(), tower_introspection::BuildError>(())
/// ```
///
/// Questions run on the Tokio runtime that polls the request; its timer has to be enabled, as it is unless a runtime is built
/// without.
pub struct Cached<I> {
    introspector: Arc<I>,
    store: Arc<Store>,
    /// Ends the questions under way when the last clone is gone: nobody can use their answers any more.
    owner: Owner,
}

impl<I: Introspect> Cached<I> {
    /// A cache with the default limits around `introspector`.
    #[must_use]
    pub fn new(introspector: I) -> Self {
        Self::with_store(introspector, CacheSettings::default())
    }

    /// Starts with the default limits.
    pub fn builder(introspector: I) -> CachedBuilder<I> {
        CachedBuilder { introspector, settings: CacheSettings::default() }
    }

    fn with_store(introspector: I, settings: CacheSettings) -> Self {
        let store = Store::new(settings, introspector.endpoint());
        Self { introspector: Arc::new(introspector), store: Arc::new(store), owner: Owner::default() }
    }

    /// Controls and observes this cache from elsewhere in the application.
    #[must_use]
    pub fn handle(&self) -> CacheHandle {
        CacheHandle::new(Arc::clone(&self.store))
    }
}

impl<I: Introspect> Introspect for Cached<I> {
    fn known(&self, token: &BearerToken<'_>) -> Option<Verdict> {
        let key = self.store.key_of(token);
        let known = self.store.known(key)?;
        if known.refresh {
            self.refresh_ahead(key, token);
        }
        Some(known.verdict)
    }

    async fn introspect(&self, token: &BearerToken<'_>) -> Result<Verdict, IntrospectError> {
        let arrived_at = self.store.clock.now();
        let key = self.store.key_of(token);
        let mut waited_before = false;
        loop {
            let share = self.store.share_of(key);
            let at_hand = || self.store.known(key).map(|known| known.verdict);
            let passenger = match self.store.flights.board(key, share, at_hand) {
                Boarding::Known(verdict) => return Ok(verdict),
                Boarding::Full => {
                    self.store.figures.overloaded();
                    let error = IntrospectError::new(IntrospectErrorKind::Overloaded);
                    return self.store.instead_of(&error, key).ok_or(error);
                }
                Boarding::Joined(passenger) => {
                    self.store.figures.coalesced();
                    passenger
                }
                Boarding::Started(passenger, flight) => {
                    self.store.figures.miss();
                    self.take_off(flight, Question { key, share, is_refresh: false }, token)?;
                    passenger
                }
            };
            let (verdict, asked_at) = match passenger.verdict().await {
                Ok(landed) => landed,
                Err(error) => return self.store.instead_of(&error, key).ok_or(error),
            };
            let now = self.store.clock.now();
            // A question that was under way before this request came may be older than an answer may be. The next one is
            // not: it was asked after the first one had landed.
            if waited_before || asked_at >= arrived_at || self.store.serves(&verdict, asked_at, now) {
                let verdict = judge(verdict, now);
                if verdict.is_active() {
                    self.store.figures.used(now.saturating_since(asked_at));
                }
                return Ok(verdict);
            }
            waited_before = true;
        }
    }

    fn endpoint(&self) -> Option<EndpointHandle> {
        self.introspector.endpoint()
    }
}

/// What is asked.
#[derive(Clone, Copy)]
struct Question {
    key: TokenKey,
    share: Share,
    /// Nobody waits for it.
    is_refresh: bool,
}

impl<I: Introspect> Cached<I> {
    #[cold]
    fn refresh_ahead(&self, key: TokenKey, token: &BearerToken) {
        let Some(flight) = self.store.refresh(key) else { return };
        let question = Question { key, share: Share::Known, is_refresh: true };
        if let Err(error) = self.take_off(flight, question, token) {
            tracing::debug!(?error, "a token in use is not asked about ahead of time");
        }
    }

    /// Hands the flight to a task of its own, which ends when this cache is gone.
    fn take_off(&self, flight: Flight, question: Question, token: &BearerToken) -> Result<(), IntrospectError> {
        let runtime = tokio::runtime::Handle::try_current()
            .map_err(|error| IntrospectError::new(IntrospectErrorKind::Abandoned).with_source(error))?;
        let (introspector, store) = (Arc::clone(&self.introspector), Arc::clone(&self.store));
        let token = token.clone().into_owned();
        let asking = async move { ask(&*introspector, &store, flight, question, &token).await };
        let span = tracing::debug_span!("introspection_flight", refresh = question.is_refresh);
        runtime.spawn(self.owner.keeps_alive(asking.instrument(span)));
        Ok(())
    }
}

/// Asks until an answer lands that was not invalidated while it was under way.
async fn ask<I: Introspect>(
    introspector: &I,
    store: &Store,
    mut flight: Flight,
    Question { key, share, is_refresh }: Question,
    token: &BearerToken<'static>,
) {
    for _ in 0..MAX_QUESTIONS_PER_FLIGHT {
        flight.depart();
        store.figures.question(is_refresh);
        let stopwatch = Stopwatch::start();
        let asked_at = store.clock.now();
        let asking = async {
            match share {
                Share::Known => introspector.refresh(token).await,
                Share::Stranger => introspector.introspect(token).await,
            }
        };
        let answer = tokio::time::timeout(store.question_timeout, asking).await.unwrap_or_else(|_| {
            Err(IntrospectError::new(IntrospectErrorKind::Timeout).with_source("`question_timeout` passed"))
        });
        store.figures.answered(&answer, stopwatch.elapsed(), is_refresh);
        if let Err(error) = &answer {
            store.failed(error, share);
        }
        match flight.land(answer, asked_at, |answer| store.remember(key, answer, asked_at)) {
            None => {
                store.look_at();
                return;
            }
            Some(invalidated) => flight = invalidated,
        }
    }
    let error = IntrospectError::new(IntrospectErrorKind::Abandoned).with_source("it was invalidated again and again");
    flight.abandon(error, store.clock.now());
}

impl<I> Clone for Cached<I> {
    fn clone(&self) -> Self {
        Self { introspector: Arc::clone(&self.introspector), store: Arc::clone(&self.store), owner: self.owner.clone() }
    }
}

impl<I> fmt::Debug for Cached<I> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.debug_struct("Cached").field("limits", self.store.limits()).finish_non_exhaustive()
    }
}

struct CacheSettings {
    name: String,
    max_capacity: u64,
    inactive_capacity: u64,
    max_questions: usize,
    /// 30 seconds, or a second more than the endpoint's own, unless it is set.
    question_timeout: Option<Duration>,
    limits: Limits,
    clock: Arc<dyn Clock>,
}

impl Default for CacheSettings {
    fn default() -> Self {
        Self {
            name: "default".into(),
            max_capacity: 100_000,
            inactive_capacity: 10_000,
            max_questions: 1_000,
            question_timeout: None,
            limits: Limits::default(),
            clock: Arc::new(SystemClock),
        }
    }
}

/// Configures a [`Cached`]. Made by [`Cached::builder`].
///
/// ```
/// use std::time::Duration;
/// use tower_introspection::{Cached, introspect_fn};
/// # let introspector = introspect_fn(|_| async {
/// #     Ok(tower_introspection::Verdict::Inactive(tower_introspection::InactiveReason::Unknown)) });
///
/// let cached = Cached::builder(introspector)
///     .max_capacity(1_000_000)
///     .max_ttl(Duration::from_secs(180))
///     .inactive_ttl(Duration::from_secs(5))
///     .build()?;
/// # Ok::<(), tower_introspection::BuildError>(())
/// ```
#[must_use]
pub struct CachedBuilder<I> {
    introspector: I,
    settings: CacheSettings,
}

impl<I: Introspect> CachedBuilder<I> {
    /// What this cache is called in metrics, log lines and on the status page. Give each a name of its own if there are
    /// several. Default: `default`.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.settings.name = name.into();
        self
    }

    /// How many active tokens are remembered. Zero remembers none. Default: 100,000. An entry holds the facts of the answer, so
    /// its size is the authority's choice, up to a multiple of the endpoint's `max_response_bytes`.
    pub fn max_capacity(mut self, entries: u64) -> Self {
        self.settings.max_capacity = entries;
        self
    }

    /// How long an active answer serves, counted from when the question was asked; always cut off at the token's expiry.
    /// This is how long a revoked token may still be accepted. Zero means that no answer is kept: each request asks, or
    /// waits for a question asked after it came. Default: 60 seconds.
    pub fn max_ttl(mut self, ttl: Duration) -> Self {
        self.settings.limits.max_ttl = ttl;
        self
    }

    /// How many inactive tokens are remembered, in a cache of their own. Zero remembers none. Default: 10,000.
    pub fn inactive_capacity(mut self, entries: u64) -> Self {
        self.settings.inactive_capacity = entries;
        self
    }

    /// How long an inactive answer serves. Apigee can approve a revoked token again, so keep it short. Zero means that each
    /// request asks. Default: 10 seconds.
    pub fn inactive_ttl(mut self, ttl: Duration) -> Self {
        self.settings.limits.inactive_ttl = ttl;
        self
    }

    /// The last part of an active answer's time in which a request that is served from memory has the token asked about again
    /// in the background, from 0 to 1, so that a token in use never waits: with 0.2 and the default `max_ttl`, in the last 12
    /// seconds. It begins up to half of that later, depending on the token, so that tokens that came together do not come
    /// again together. A failure changes nothing; it is tried again. Tokens that nobody uses are not asked about. Zero means
    /// never. Default: 0.2.
    pub fn refresh_ahead(mut self, part: f64) -> Self {
        self.settings.limits.refresh_ahead = part;
        self
    }

    /// How much longer an active answer serves when the authority *failed* to answer the question that is due, never when it
    /// said no, and never at or after the token's expiry. **A token revoked during the outage is accepted this much longer.**
    /// Such a token says [`is_stale`](crate::AccessToken::is_stale). A request that has to wait for the failure waits; once the
    /// circuit breaker of the endpoint is open it does not. For 30 seconds after a failure, a question for which there is no
    /// room counts as one that failed: when an outage ends, all tokens in use are to be asked about at once. Answers that are
    /// kept for this count against [`max_capacity`](Self::max_capacity). Default: zero, which means that an outage refuses
    /// tokens `max_ttl` after they were last asked about.
    pub fn stale_if_error(mut self, allowance: Duration) -> Self {
        self.settings.limits.stale_if_error = allowance;
        self
    }

    /// How long before a token's expiry the cache stops answering for it, so that the authority's own clock decides the last
    /// moments. For a clock here that may lag behind the authority's. It never lets a token live longer. Default: zero.
    pub fn expiry_leeway(mut self, leeway: Duration) -> Self {
        self.settings.limits.expiry_leeway = leeway;
        self
    }

    /// How many questions may be under way at a time, each for another token, and as many again for tokens that were active
    /// when they were last asked about. A request that would start one more fails with
    /// [`Overloaded`](IntrospectErrorKind::Overloaded). Default: 1,000.
    pub fn max_questions(mut self, questions: usize) -> Self {
        self.settings.max_questions = questions;
        self
    }

    /// How long a question may take before it fails, whatever introspector it was put to. An endpoint of this crate ends
    /// sooner, by its own `request_timeout`; this is the bound for those that have none. Default: 30 seconds, or a second more
    /// than the `request_timeout` of the endpoint if that is longer.
    pub fn question_timeout(mut self, timeout: Duration) -> Self {
        self.settings.question_timeout = Some(timeout);
        self
    }

    /// The clock that judges every read. Default: [`SystemClock`].
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.settings.clock = Arc::new(clock);
        self
    }

    /// Checks every setting.
    ///
    /// # Errors
    /// If [`max_questions`](Self::max_questions) or [`question_timeout`](Self::question_timeout) is zero, since no token could
    /// ever be checked, or if [`refresh_ahead`](Self::refresh_ahead) is not a number from 0 to 1.
    pub fn build(self) -> Result<Cached<I>, BuildError> {
        if self.settings.max_questions == 0 {
            return Err(BuildError::new("max_questions", "zero would let no token be checked"));
        }
        if self.settings.question_timeout.is_some_and(|timeout| timeout.is_zero()) {
            return Err(BuildError::new("question_timeout", "zero leaves no time for an answer"));
        }
        if !(0.0..=1.0).contains(&self.settings.limits.refresh_ahead) {
            return Err(BuildError::new("refresh_ahead", "it is a part of the time an answer serves, from 0 to 1"));
        }
        Ok(Cached::with_store(self.introspector, self.settings))
    }
}

impl<I> fmt::Debug for CachedBuilder<I> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.debug_struct("CachedBuilder")
            .field("max_capacity", &self.settings.max_capacity)
            .field("inactive_capacity", &self.settings.inactive_capacity)
            .field("limits", &self.settings.limits)
            .finish_non_exhaustive()
    }
}
