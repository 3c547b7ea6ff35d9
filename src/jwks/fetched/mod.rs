//! Keys that are fetched: when they are needed first, on a timer from then on, and when a token names one that is not
//! there.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use http::StatusCode;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tracing::Instrument;

use super::allowance::Allowance;
use crate::background::{Owner, background_span};
use crate::clock::{Stopwatch, Timestamp};
use crate::endpoint::{Endpoint, Heard};
use crate::error::{IntrospectError, IntrospectErrorKind};
use crate::http::exchange::Reply;
use crate::jose::KeySet;
use crate::protection::Share;
use crate::random::random;

/// How far the clocks of the issuer and of this process may be apart where a key is looked for.
const CLOCKS_APART: Duration = Duration::from_secs(60);

/// After a failure the next fetch is started that much later, or tokens of an issuer that is down would start one each.
const AFTER_FAILURE: Duration = Duration::from_secs(1);

/// How long a refresh that failed waits for the next, if that is not due anyway.
const REFRESH_AFTER_FAILURE: Duration = Duration::from_secs(30);

/// Whoever publishes keys.
pub(crate) trait Publisher: Send + Sync {
    fn fetch(&self, share: Share) -> Fetching<'_>;

    /// By the clock that tokens are judged by.
    fn now(&self) -> Timestamp;

    /// For the log.
    fn host(&self) -> &str;

    /// No fetch takes longer.
    fn longest_fetch(&self) -> Duration;
}

pub(crate) type Fetching<'p> = Pin<Box<dyn Future<Output = Result<KeySet, IntrospectError>> + Send + 'p>>;

impl Publisher for Endpoint {
    fn fetch(&self, share: Share) -> Fetching<'_> {
        Box::pin(self.ask(None, None, share, read))
    }

    fn now(&self) -> Timestamp {
        self.clock().now()
    }

    fn host(&self) -> &str {
        Self::host(self)
    }

    fn longest_fetch(&self) -> Duration {
        self.handle().deadline().saturating_add(AFTER_FAILURE)
    }
}

/// Tokens that may wait for keys nobody knows: junk is not to take the places of what others ask.
const MOST_LOOKING: usize = 64;

pub(crate) struct Fetched {
    shared: Arc<Shared>,
    /// Ends the timer and a fetch under way.
    owner: Owner,
}

struct Shared {
    issuer: Box<dyn Publisher>,
    refresh_every: Duration,
    current: RwLock<Option<Published>>,
    state: Mutex<State>,
}

/// Keys, and when they were asked for by the clock on the wall. A clone costs nothing.
#[derive(Clone)]
struct Published {
    keys: KeySet,
    asked_at: Timestamp,
}

#[derive(Default)]
struct State {
    under_way: Option<Fetch>,
    last_failure: Option<(IntrospectError, Stopwatch)>,
    allowance: Allowance,
    /// When the task that refreshes the keys last did something, if there is one.
    refreshed: Option<Stopwatch>,
    /// Tokens that wait for keys nobody knows.
    looking: usize,
}

/// A fetch that others can wait for.
#[derive(Clone)]
struct Fetch {
    outcome: watch::Receiver<Option<Outcome>>,
    since: Arc<Stopwatch>,
}

type Outcome = Result<(), IntrospectError>;

impl Shared {
    /// Nothing that runs under these locks panics half way, so a panic elsewhere does not spoil them.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn current(&self) -> Option<Published> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The fetch under way. One that has ended or was given up is none, nor is one that has taken longer than any does:
    /// nobody drives its runtime.
    fn under_way(&self, state: &State) -> Option<Fetch> {
        let fetch = state.under_way.as_ref()?;
        let is_ended = fetch.outcome.borrow().is_some() || fetch.outcome.has_changed().is_err();
        (!is_ended && fetch.since.elapsed() < self.issuer.longest_fetch()).then(|| fetch.clone())
    }

    /// Waits until it has ended, no longer than any takes.
    async fn outcome_of(&self, mut fetch: Fetch) -> Outcome {
        let left = self.issuer.longest_fetch().saturating_sub(fetch.since.elapsed());
        match tokio::time::timeout(left, fetch.outcome.wait_for(Option::is_some)).await {
            Ok(Ok(outcome)) => outcome.clone().unwrap_or_else(|| Err(given_up())),
            Ok(Err(_)) | Err(_) => Err(given_up()),
        }
    }
}

/// One more token that waits for keys nobody knows.
struct Looking<'s>(&'s Shared);

impl Drop for Looking<'_> {
    fn drop(&mut self) {
        self.0.state().looking -= 1;
    }
}

impl Fetched {
    pub(crate) fn new(issuer: impl Publisher + 'static, refresh_every: Duration) -> Self {
        let shared =
            Shared { issuer: Box::new(issuer), refresh_every, current: RwLock::default(), state: Mutex::default() };
        Self { shared: Arc::new(shared), owner: Owner::default() }
    }

    pub(crate) async fn find(
        &self,
        kid: Option<&str>,
        issued_at: Option<Timestamp>,
        fits: impl Fn(&KeySet) -> bool,
    ) -> Result<Option<KeySet>, IntrospectError> {
        let at_hand = self.current().await?;
        if fits(&at_hand.keys) {
            return Ok(Some(at_hand.keys));
        }
        // The issuer publishes a key before it signs with it. So a token that is older than the keys at hand is signed
        // with none that would be found now.
        let is_older = |at_hand: &Published| {
            let asked_at = at_hand.asked_at.min(self.shared.issuer.now());
            issued_at.is_some_and(|issued_at| issued_at + CLOCKS_APART < asked_at)
        };
        if is_older(&at_hand) {
            return Ok(None);
        }
        let is_new = self.look(kid).await?;
        let at_hand = self.current().await?;
        if fits(&at_hand.keys) {
            return Ok(Some(at_hand.keys));
        }
        // A fetch that was under way before may have left before the key was published.
        if is_new || is_older(&at_hand) { Ok(None) } else { Err(too_early(AFTER_FAILURE)) }
    }

    /// Fetches the keys because of one that is not there, or waits for whoever does. Whether it is the former.
    async fn look(&self, kid: Option<&str>) -> Result<bool, IntrospectError> {
        let (fetch, begun) = {
            let mut state = self.shared.state();
            if state.looking >= MOST_LOOKING {
                return Err(too_early(AFTER_FAILURE));
            }
            if self.shared.under_way(&state).is_none() {
                state.allowance.take(kid).map_err(too_early)?;
            }
            state.looking += 1;
            UnderWay::join(&self.shared, &mut state)
        };
        let _looking = Looking(&self.shared);
        let is_new = begun.is_some();
        self.run(begun, Share::Stranger)?;
        self.shared.outcome_of(fetch).await?;
        Ok(is_new)
    }

    /// The keys at hand. The first time they are waited for.
    async fn current(&self) -> Result<Published, IntrospectError> {
        self.keep_refreshing()?;
        if let Some(published) = self.shared.current() {
            return Ok(published);
        }
        let (fetch, begun) = {
            let mut state = self.shared.state();
            if let Some((error, since)) = &state.last_failure
                && since.elapsed() < AFTER_FAILURE
            {
                return Err(error.clone());
            }
            UnderWay::join(&self.shared, &mut state)
        };
        self.run(begun, Share::Known)?;
        self.shared.outcome_of(fetch).await?;
        self.shared.current().ok_or_else(given_up)
    }

    /// Runs a fetch in a task of its own: whoever waits for it may go away before it ends.
    fn run(&self, begun: Option<UnderWay>, share: Share) -> Result<(), IntrospectError> {
        let Some(under_way) = begun else { return Ok(()) };
        let span = background_span!("introspection_keys");
        drop(runtime()?.spawn(self.owner.keeps_alive(under_way.run(share).instrument(span))));
        Ok(())
    }

    /// Has a task refresh the keys, unless one does so already. If nobody drives its runtime any more, another one.
    /// Not under the lock: a runtime that shuts down drops the task at once, which takes the lock.
    fn keep_refreshing(&self) -> Result<(), IntrospectError> {
        let runtime = {
            let mut state = self.shared.state();
            let longest = self.shared.refresh_every.saturating_add(self.shared.issuer.longest_fetch());
            if state.refreshed.as_ref().is_some_and(|last| last.elapsed() <= longest) {
                return Ok(());
            }
            let runtime = runtime()?;
            state.refreshed = Some(Stopwatch::start());
            runtime
        };
        let refreshing = Refreshing(Arc::clone(&self.shared));
        let span = background_span!("introspection_keys");
        drop(runtime.spawn(self.owner.keeps_alive(refreshing.run().instrument(span))));
        Ok(())
    }
}

fn runtime() -> Result<Handle, IntrospectError> {
    Handle::try_current().map_err(|error| IntrospectError::new(IntrospectErrorKind::Abandoned).with_source(error))
}

fn given_up() -> IntrospectError {
    let given_up = "the keys were not fetched: it panicked, or its runtime went away";
    IntrospectError::new(IntrospectErrorKind::Abandoned).with_source(given_up)
}

fn too_early(wait: Duration) -> IntrospectError {
    IntrospectError::new(IntrospectErrorKind::Overloaded)
        .with_source("its key is not known, and keys were looked for a moment ago: once in half a minute they are")
        .with_retry_after(wait)
}

/// The one fetch under way. However it ends, another may start.
struct UnderWay {
    shared: Arc<Shared>,
    outcome: watch::Sender<Option<Outcome>>,
}

impl UnderWay {
    /// The fetch that is under way, or a new one, which is to be run.
    fn join(shared: &Arc<Shared>, state: &mut State) -> (Fetch, Option<Self>) {
        if let Some(fetch) = shared.under_way(state) {
            return (fetch, None);
        }
        let (outcome, receiver) = watch::channel(None);
        let fetch = Fetch { outcome: receiver, since: Arc::new(Stopwatch::start()) };
        state.under_way = Some(fetch.clone());
        (fetch, Some(Self { shared: Arc::clone(shared), outcome }))
    }

    async fn run(self, share: Share) {
        let asked_at = self.shared.issuer.now();
        let outcome = self.shared.issuer.fetch(share).await;
        let outcome = outcome.map(|keys| self.publish(&keys, asked_at));
        if let Err(error) = &outcome {
            self.shared.state().last_failure = Some((error.clone(), Stopwatch::start()));
        }
        self.outcome.send_replace(Some(outcome));
    }

    fn publish(&self, keys: &KeySet, asked_at: Timestamp) {
        if keys.is_empty() {
            tracing::warn!(
                server.address = self.shared.issuer.host(),
                "the issuer publishes no key that can be used here: its tokens are refused"
            );
        }
        let published = Published { keys: keys.clone(), asked_at };
        let earlier = self.shared.current.write().unwrap_or_else(PoisonError::into_inner).replace(published);
        if earlier.is_some_and(|earlier| earlier.keys.thumbprints() != keys.thumbprints()) {
            tracing::info!(server.address = self.shared.issuer.host(), "the issuer has other keys than before");
        }
    }
}

/// Refreshes the keys for as long as somebody uses them. If its runtime goes away, the next question starts another.
struct Refreshing(Arc<Shared>);

impl Refreshing {
    async fn run(self) {
        let mut pause = self.0.refresh_every;
        loop {
            tokio::time::sleep(spread(pause)).await;
            let (fetch, begun) = {
                let mut state = self.0.state();
                state.refreshed = Some(Stopwatch::start());
                UnderWay::join(&self.0, &mut state)
            };
            if let Some(under_way) = begun {
                under_way.run(Share::Known).await;
            }
            pause = match self.0.outcome_of(fetch).await {
                Ok(()) => self.0.refresh_every,
                Err(_) => self.0.refresh_every.min(REFRESH_AFTER_FAILURE),
            };
        }
    }
}

impl Drop for Refreshing {
    fn drop(&mut self) {
        self.0.state().refreshed = None;
    }
}

/// Up to a tenth earlier: processes that were started together do not fetch together for ever.
fn spread(pause: Duration) -> Duration {
    #[allow(clippy::cast_precision_loss)] // of a part of a tenth
    let part = random() as f64 / u64::MAX as f64;
    pause.mul_f64(1.0 - part / 10.0)
}

/// The key set of an answer.
fn read(reply: &Reply) -> Result<Heard<KeySet>, IntrospectError> {
    let now = Timestamp::now();
    if reply.status != StatusCode::OK {
        let error = reply.status_error(now);
        // Nobody has shown credentials.
        return Err(if error.is_credentials() {
            IntrospectError::new(IntrospectErrorKind::Status)
                .with_status(reply.status)
                .with_source(format!("HTTP status {} for the key set", reply.status.as_u16()))
        } else {
            error
        });
    }
    let unusable = |fault| IntrospectError::new(IntrospectErrorKind::Answer).with_source(fault).of_fault("key set");
    KeySet::published(&reply.body).map(Heard::OfTheToken).map_err(unusable)
}

#[cfg(test)]
mod tests;
