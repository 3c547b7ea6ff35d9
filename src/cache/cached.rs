//! A cache around an introspector.
//!
//! [`Cached`] is itself an [`Introspect`]: it answers from memory as long as the rules of `freshness` allow, and else
//! asks the introspector it wraps, once per token however many requests wait.
//!
//! Two clocks guard every entry. The injected [`Clock`] judges each read exactly, so expiry holds at the millisecond.
//! moka's own monotonic clock lets entries go some time after their end (it looks in one of 256 reads, and at each
//! change), so that none lives on for ever when the wall clock stands still. To look at it more often would cost each
//! hit. Set back by less than an answer's age, the wall clock prolongs that answer by as much, or until moka looks; set
//! back by more, it ends it. While a question is under way it is the monotonic clock that tells how long, if the wall
//! clock was set back to before that.
//!
//! No clock decides what came first. Requests, questions and invalidations are ordered by the lock of the flights,
//! answers and the word that the authority is left alone by counting answers, and entries by their numbers.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use tracing::Instrument;

use super::builder::CachedBuilder;
use super::figures::Figures;
use super::flight::{Boarding, Flight};
use super::freshness::{asked_at, judge};
use super::handle::CacheHandle;
use super::key::TokenKey;
use super::settings::CacheSettings;
use super::shared::{Found, Look, Membership, Question, Settled};
use super::store::Store;
use crate::background::{Owner, background_span};
use crate::clock::{Clock, Stopwatch, SystemClock};
use crate::error::{IntrospectError, IntrospectErrorKind};
#[cfg(feature = "dpop")]
use crate::introspect::ProofMemory;
use crate::introspect::{Ask, InactiveReason, Introspect, Verdict};
use crate::protection::{EndpointHandle, Share};
use crate::token::BearerToken;

/// How often one flight asks when its answers are invalidated while it waits for them.
const MAX_QUESTIONS_PER_FLIGHT: usize = 3;

/// Remembers what an introspector answered, no longer than the token lives.
///
/// * An active answer serves for [`max_ttl`](CachedBuilder::max_ttl) (60 seconds), and never at or after the token's
///   expiry. That is the *revocation window*: a token revoked at the authority is refused at the latest `max_ttl`
///   later.
/// * An inactive answer serves for [`inactive_ttl`](CachedBuilder::inactive_ttl) (10 seconds), from a cache of its own,
///   so that junk tokens cannot push good ones out.
/// * Around an introspector that [judges alone](Introspect::judges_alone), what was
///   [invalidated](CacheHandle::invalidate) is refused when it is judged anew.
/// * A failure is never remembered, and never removes an answer.
/// * A cache around a cache takes what that remembers for a new answer: their revocation windows add up.
/// * One question per token is under way at a time. It runs in a task of its own and goes on when the request that
///   caused it goes away; its answer, or its failure, reaches everyone who waits for it.
///
/// It also remembers which tokens are *known*, those that were active when they were last asked about: endpoints have
/// [them](Ask::is_known) come first in the whole of their limits. This memory is a table that can lose tokens. It has
/// two to four places for each token of [`max_capacity`](CachedBuilder::max_capacity), 1,048,576 at most; each token
/// has one place in it, which it shares with others. A token found active takes the place from the one before, which
/// becomes a stranger once its answer is forgotten, until it is asked about again. With the default there are 262,144
/// places: of tokens that are asked about again after 100,000 others were found active, (1 − 1/262,144)^100,000 or 68 %
/// are still known. A question asked [ahead of time](CachedBuilder::refresh_ahead) always counts as one about a known
/// token.
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
/// Questions run on the Tokio runtime that polls the request which caused them; its timer has to be enabled, as it is
/// unless a runtime is built without. Where requests on several runtimes share a cache, those that wait for one
/// question wait for that runtime: a handler that blocks its thread holds them up, too.
pub struct Cached<I> {
    introspector: Arc<I>,
    pub(super) store: Arc<Store>,
    /// Ends the questions under way when the last clone is gone: nobody can use their answers any more.
    owner: Owner,
}

impl<I: Introspect> Cached<I> {
    /// A cache with the default limits around `introspector`.
    #[must_use]
    pub fn new(introspector: I) -> Self {
        Self::with_settings(introspector, CacheSettings::default(), Arc::new(SystemClock), None)
    }

    /// Starts with the default limits.
    pub fn builder(introspector: I) -> CachedBuilder<I> {
        CachedBuilder::new(introspector)
    }

    pub(super) fn with_settings(
        introspector: I,
        settings: CacheSettings,
        clock: Arc<dyn Clock>,
        shared: Option<Membership>,
    ) -> Self {
        let longest_token_lifetime = settings.longest_token_lifetime;
        let store = Store::new(settings, clock, introspector.endpoint(), shared);
        let store = match introspector.judges_alone() {
            Some(clock_skew) => store.with_marks(longest_token_lifetime, clock_skew),
            None => store,
        };
        let store = Arc::new(store);
        if let Some(shared) = &store.shared {
            shared.join(&store);
        }
        Self { introspector: Arc::new(introspector), store, owner: Owner::default() }
    }

    /// Controls and observes this cache from elsewhere in the application.
    #[must_use]
    pub fn handle(&self) -> CacheHandle {
        CacheHandle::new(Arc::clone(&self.store))
    }
}

impl<I: Introspect> Introspect for Cached<I> {
    fn cached(&self, token: &BearerToken<'_>) -> Option<Verdict> {
        let key = self.store.key_of(token);
        let known = self.store.known(key)?;
        if known.refresh {
            self.refresh_ahead(key, token);
        }
        Some(known.verdict)
    }

    async fn introspect(&self, ask: Ask<'_>) -> Result<Verdict, IntrospectError> {
        let token = ask.token();
        let key = self.store.key_of(token);
        let mut waited_before = false;
        loop {
            let share = if ask.is_known() { Share::Known } else { self.store.share_of(key) };
            let passenger = match self.store.board(key, share) {
                Boarding::Found(verdict) => return Ok(verdict),
                Boarding::Full => return self.store.turned_away(key, share),
                Boarding::Joined(passenger) => passenger,
                Boarding::Started(passenger, flight) => {
                    self.take_off(flight, token)?;
                    passenger
                }
            };
            let (verdict, asked) = match passenger.verdict().await {
                Ok(landed) => landed,
                Err(error) => return self.store.instead_of(&error, key).ok_or(error),
            };
            let now = self.store.clock.now();
            // A question that was under way before this request came may be older than an answer may be. The next one
            // is not, if this process asked it: that was after the first one had landed.
            if (waited_before && !asked.elsewhere)
                || asked.since_boarding
                || self.store.serves_others(&verdict, asked.at)
            {
                let verdict = judge(verdict, now);
                if verdict.is_active() {
                    self.store.figures.used(now.saturating_since(asked.at));
                }
                return Ok(verdict);
            }
            waited_before = true;
        }
    }

    fn endpoint(&self) -> Option<EndpointHandle> {
        self.introspector.endpoint()
    }

    fn judges_alone(&self) -> Option<Duration> {
        self.introspector.judges_alone()
    }

    #[cfg(feature = "dpop")]
    fn proof_memory(&self) -> Option<ProofMemory> {
        match &self.store.shared {
            Some(shared) => shared.proof_memory(),
            None => self.introspector.proof_memory(),
        }
    }
}

impl<I: Introspect> Cached<I> {
    #[cold]
    fn refresh_ahead(&self, key: TokenKey, token: &BearerToken) {
        let Some(flight) = self.store.refresh(key) else { return };
        if let Err(error) = self.take_off(flight, token) {
            tracing::debug!(?error, "a token in use is not asked about ahead of time");
        }
    }

    /// Hands the flight to a task of its own, which ends when this cache is gone.
    fn take_off(&self, flight: Flight, token: &BearerToken) -> Result<(), IntrospectError> {
        let runtime = tokio::runtime::Handle::try_current()
            .map_err(|error| IntrospectError::new(IntrospectErrorKind::Abandoned).with_source(error))?;
        let (introspector, store) = (Arc::clone(&self.introspector), Arc::clone(&self.store));
        let token = token.clone().into_owned();
        let is_refresh = flight.is_refresh;
        let asking = async move { ask(&*introspector, &store, flight, &token).await };
        let span = if is_refresh {
            background_span!("introspection_flight", refresh = true)
        } else {
            tracing::debug_span!("introspection_flight", refresh = false)
        };
        runtime.spawn(self.owner.keeps_alive(asking.instrument(span)));
        Ok(())
    }
}

/// Asks until an answer lands that was not invalidated while it was under way.
async fn ask<I: Introspect>(introspector: &I, store: &Store, mut flight: Flight, token: &BearerToken<'static>) {
    for _ in 0..MAX_QUESTIONS_PER_FLIGHT {
        flight.depart();
        let invalidated = match &store.shared {
            Some(shared) => ask_the_fleet(shared, introspector, store, flight, token).await,
            None => question(introspector, store, flight, token, None).await,
        };
        match invalidated {
            None => {
                store.publish();
                return;
            }
            Some(invalidated) => flight = invalidated,
        }
    }
    let error = IntrospectError::new(IntrospectErrorKind::Abandoned).with_source("it was invalidated again and again");
    flight.abandon(error);
}

/// The same, but what another process has learned, or is about to, is not asked for again.
async fn ask_the_fleet<I: Introspect>(
    shared: &Membership,
    introspector: &I,
    store: &Store,
    flight: Flight,
    token: &BearerToken<'static>,
) -> Option<Flight> {
    let key = flight.key;
    match shared.look(store, key, token, flight.is_refresh).await {
        Look::Found(found) if store.is_held_against(token, &found.verdict) => {
            // By this process, now: it need not have been so where it was asked.
            let (now, revoked) = (store.clock.now(), Ok(Verdict::Inactive(InactiveReason::Revoked)));
            flight.land(revoked, now, |answer| store.remember(key, answer, now, now))
        }
        Look::Found(found) => {
            let (now, verdict, asked_at) = (store.clock.now(), found.verdict.clone(), found.asked_at);
            flight.land_from_elsewhere(verdict, asked_at, || store.remember_from_elsewhere(key, &found, now))
        }
        Look::Ask(asks, older) => {
            let older = older.filter(|older| !store.is_held_against(token, &older.verdict));
            question(introspector, store, flight, token, Some((shared, asks, older))).await
        }
    }
}

/// Asks once. Gives the flight back if what the answer says was invalidated meanwhile.
async fn question<I: Introspect>(
    introspector: &I,
    store: &Store,
    flight: Flight,
    token: &BearerToken<'static>,
    fleet: Option<(&Membership, Question, Option<Found>)>,
) -> Option<Flight> {
    let Flight { key, share, is_refresh, .. } = flight;
    // The fleet may know a token that this process does not.
    let share = if matches!(fleet, Some((_, _, Some(_)))) { Share::Known } else { share };
    let counted = Counted::start(&store.figures, is_refresh);
    let (departed_at, departed, answers) = (store.clock.now(), Stopwatch::start(), store.outage.answers());
    let asking = introspector.introspect(Ask::new(token).known(share == Share::Known));
    let asking = tokio::time::timeout(store.question_timeout, asking);
    let answer = match &fleet {
        Some((_, question, _)) => question.during(asking).await,
        None => asking.await,
    };
    let answer = answer.unwrap_or_else(|_| {
        Err(IntrospectError::new(IntrospectErrorKind::Timeout).with_source("`question_timeout` passed"))
    });
    let answer = match answer {
        Ok(verdict) if store.is_held_against(token, &verdict) => Ok(Verdict::Inactive(InactiveReason::Revoked)),
        answer => answer,
    };
    counted.ends(&answer);
    store.learn(&answer, share, answers);
    let now = store.clock.now();
    let asked_at = asked_at(departed_at, now, departed.elapsed());
    let Some((shared, question, older)) = fleet else {
        return flight.land(answer, asked_at, |answer| store.remember(key, answer, asked_at, now));
    };
    if let (Err(_), Some(older)) = (&answer, older) {
        flight.keep_older(|| store.remember_from_elsewhere(key, &older, now));
    }
    let settled = Settled { answer: answer.clone(), asked_at, was_active: store.has_active(key) };
    let invalidated = flight.land(answer, asked_at, |answer| store.remember(key, answer, asked_at, now));
    if invalidated.is_none() {
        shared.settle(store, question, token, settled).await;
    }
    invalidated
}

/// A question in the figures: one that panics is counted as a failure, too. (One that is dropped with the cache is
/// not.)
struct Counted<'a> {
    figures: &'a Figures,
    stopwatch: Stopwatch,
    is_refresh: bool,
    has_ended: bool,
}

impl<'a> Counted<'a> {
    fn start(figures: &'a Figures, is_refresh: bool) -> Self {
        figures.question(is_refresh);
        Self { figures, stopwatch: Stopwatch::start(), is_refresh, has_ended: false }
    }

    fn ends(mut self, answer: &Result<Verdict, IntrospectError>) {
        self.count(answer);
    }

    fn count(&mut self, answer: &Result<Verdict, IntrospectError>) {
        self.has_ended = true;
        self.figures.answered(answer, self.stopwatch.elapsed(), self.is_refresh);
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        if !self.has_ended && std::thread::panicking() {
            // A recorder of metrics that panics, too, would end the process.
            let _ = catch_unwind(AssertUnwindSafe(|| {
                self.count(&Err(IntrospectError::new(IntrospectErrorKind::Abandoned)));
            }));
        }
    }
}

impl<I> Clone for Cached<I> {
    fn clone(&self) -> Self {
        Self { introspector: Arc::clone(&self.introspector), store: Arc::clone(&self.store), owner: self.owner.clone() }
    }
}

impl<I> fmt::Debug for Cached<I> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.debug_struct("Cached").field("limits", &self.store.limits).finish_non_exhaustive()
    }
}
