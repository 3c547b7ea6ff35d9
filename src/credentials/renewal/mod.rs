//! Credentials that are obtained by logging in, kept, and renewed before they expire.

use std::error::Error;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tracing::Instrument;

use crate::background::{Owner, background_span};
use crate::clock::{Clock, Timestamp};
use crate::error::{IntrospectError, IntrospectErrorKind};
use crate::http::credential::{Credential, Lease};
use crate::log_limit::LogLimit;

/// How long before its expiry a credential is renewed; for one that lives shorter than twice this, half its life.
const RENEW_EARLY: Duration = Duration::from_secs(30);
/// A shorter lifetime counts as this one, so that no credential makes every question log in.
const SHORTEST_LIFETIME: Duration = Duration::from_secs(1);
/// How long a login may take. Questions wait no longer than their own timeout; this bounds the task.
const LOGIN_TIMEOUT: Duration = Duration::from_secs(30);
/// How long after a refused credential led to a login the next refusal does not: the authority refuses the account. The
/// same for doubts.
const REFUSAL_PAUSE: Duration = Duration::from_secs(30);

pub(crate) type Obtained = Result<Credential, Box<dyn Error + Send + Sync>>;
pub(crate) type Provider = Box<dyn Fn() -> Pin<Box<dyn Future<Output = Obtained> + Send>> + Send + Sync>;

/// Credentials from a hook. One login is under way at a time, in a task of its own: the questions that wait for it may
/// end before it does, and it still bears fruit.
pub(crate) struct Renewal {
    shared: Arc<Shared>,
    /// A login under way ends with it.
    owner: Owner,
}

struct Shared {
    /// Where credentials come from, for logs.
    login: String,
    provider: Provider,
    state: Mutex<State>,
    /// Whether it is an outage.
    failures: LogLimit<bool>,
}

type LoginOutcome = Result<Lease, IntrospectError>;

#[derive(Default)]
struct State {
    held: Option<Held>,
    under_way: Option<watch::Receiver<Option<LoginOutcome>>>,
    failure: Option<Failure>,
    logins: u64,
    last_refusal: Option<Timestamp>,
    /// Apart from refusals: whoever sends junk may bring a doubt about, and must not keep a refusal from its login.
    last_doubt: Option<Timestamp>,
}

struct Held {
    lease: Lease,
    renew_at: Option<Timestamp>,
    expires_at: Option<Timestamp>,
}

/// The last login's failure, handed out for a while instead of another login: a wrong password tried at the rate of
/// requests locks the account.
struct Failure {
    error: IntrospectError,
    at: Timestamp,
    in_a_row: u32,
}

impl Renewal {
    /// `login` says in logs where credentials come from.
    pub(crate) fn new(login: String, provider: Provider) -> Self {
        let shared = Shared { login, provider, state: Mutex::default(), failures: LogLimit::new() };
        Self { shared: Arc::new(shared), owner: Owner::default() }
    }

    pub(crate) async fn lease(&self, clock: &Arc<dyn Clock>) -> Result<Lease, IntrospectError> {
        let next = self.shared.state().next(clock.now());
        self.follow(next, clock).await
    }

    /// Another credential than `doubted`, of which the authority may mean that it refuses it. Nobody can tell, so it
    /// serves on for other questions until another is at hand. `None` if none can be had, or if there was such a doubt
    /// a moment ago.
    pub(crate) async fn instead_in_doubt(&self, doubted: &Lease, clock: &Arc<dyn Clock>) -> Option<Lease> {
        let next = self.shared.state().next_in_doubt(doubted, clock.now())?;
        self.follow(next, clock).await.ok().filter(|lease| lease.login != doubted.login)
    }

    async fn follow(&self, next: Next, clock: &Arc<dyn Clock>) -> LoginOutcome {
        let mut login = match next {
            Next::Use(lease) => return Ok(lease),
            Next::Fail(error) => return Err(error),
            Next::Wait(login) => login,
            Next::LogIn { outcome, login, meanwhile } => {
                // Not under the lock: a runtime that shuts down drops the task, and with it the `Login`, at once.
                Login { shared: Arc::clone(&self.shared), outcome, clock: Arc::clone(clock) }.start(&self.owner);
                match meanwhile {
                    Some(lease) => return Ok(lease),
                    None => login,
                }
            }
        };
        match login.wait_for(Option::is_some).await.as_deref() {
            Ok(Some(outcome)) => outcome.clone(),
            Ok(None) | Err(_) => Err(login_error(GIVEN_UP)),
        }
    }

    /// Drops a credential the authority refused, so that the next lease is another one. `false` if there is no sense in
    /// another: one was refused a moment ago, too.
    pub(crate) fn give_up(&self, refused: &Lease, now: Timestamp) -> bool {
        let mut state = self.shared.state();
        if state.held.as_ref().is_none_or(|held| held.lease.login != refused.login) {
            return true;
        }
        if is_recent(state.last_refusal, now) {
            return false;
        }
        state.last_refusal = Some(now);
        state.held = None;
        true
    }
}

impl Shared {
    fn finish(&self, obtained: Result<Credential, IntrospectError>, now: Timestamp) -> LoginOutcome {
        match obtained {
            Ok(credential) => {
                let mut state = self.state();
                state.logins += 1;
                let held = Held::new(credential, state.logins, now);
                let lease = held.lease.clone();
                state.held = Some(held);
                let earlier = state.failure.take();
                drop(state);
                drop(earlier);
                Ok(lease)
            }
            Err(error) => {
                let mut state = self.state();
                let in_a_row = state.failure.as_ref().map_or(0, |failure| failure.in_a_row) + 1;
                let earlier = state.failure.replace(Failure { error: error.clone(), at: now, in_a_row });
                let outcome = state.still_valid(now).ok_or(error);
                drop(state);
                drop(earlier);
                outcome
            }
        }
    }

    /// Nothing that runs under this lock leaves the state half changed, so a panic elsewhere does not spoil it. The
    /// hook's errors are shown and dropped when it is not held.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn login_error(source: impl Into<Box<dyn Error + Send + Sync>>) -> IntrospectError {
    let source = source.into();
    let is_outage = source.downcast_ref().is_some_and(IntrospectError::is_outage_of_a_login);
    let error = IntrospectError::new(IntrospectErrorKind::Credentials).with_source(source);
    if is_outage { error.that_may_pass() } else { error }
}

const GIVEN_UP: &str = "the login was given up: its hook panicked, or its runtime went away";

/// The one login under way. However it ends, it has an outcome, and another may start.
struct Login {
    shared: Arc<Shared>,
    outcome: watch::Sender<Option<LoginOutcome>>,
    clock: Arc<dyn Clock>,
}

impl Login {
    fn start(self, owner: &Owner) {
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => {
                let span = background_span!("introspection_login", login = self.shared.login);
                drop(runtime.spawn(owner.keeps_alive(self.run().instrument(span))));
            }
            Err(error) => self.fails(error),
        }
    }

    async fn run(self) {
        let timeout = tokio::time::timeout(LOGIN_TIMEOUT, (self.shared.provider)());
        let obtained = timeout.await.unwrap_or_else(|_| {
            let error = IntrospectError::new(IntrospectErrorKind::Timeout);
            Err(error.with_source("the login did not end within 30 seconds").into())
        });
        match obtained {
            Ok(credential) => self.ends(Ok(credential)),
            Err(error) => self.fails(error),
        }
    }

    fn fails(&self, source: impl Into<Box<dyn Error + Send + Sync>>) {
        let error = login_error(source);
        let login = &self.shared.login;
        match self.shared.failures.due(error.is_outage()) {
            Some(untold) if error.is_outage() => tracing::warn!(
                login,
                ?error,
                untold,
                "this service could not log in for now: the server that hands out its credentials is down or busy; without valid ones the authority is not asked"
            ),
            Some(untold) => tracing::error!(
                login,
                ?error,
                untold,
                "this service could not log in, and cannot ask the authority once it has no credentials that are valid"
            ),
            None => tracing::debug!(login, ?error, "this service could not log in"),
        }
        self.ends(Err(error));
    }

    fn ends(&self, obtained: Result<Credential, IntrospectError>) {
        self.outcome.send_replace(Some(self.shared.finish(obtained, self.clock.now())));
    }
}

impl Drop for Login {
    fn drop(&mut self) {
        let has_ended = self.outcome.borrow().is_some();
        if !has_ended {
            // A failure like any other: a hook that panics for a wrong password must not try it again for every
            // question. If the clock or a subscriber of logs panics, too, the next login may start all the same.
            let _ = catch_unwind(AssertUnwindSafe(|| {
                if std::thread::panicking() {
                    self.fails(GIVEN_UP);
                } else {
                    // The endpoint was dropped, or the runtime shuts down: nothing for the operator to act on.
                    self.ends(Err(login_error(GIVEN_UP)));
                }
            }));
        }
        self.shared.state().under_way = None;
    }
}

fn is_recent(refusal: Option<Timestamp>, now: Timestamp) -> bool {
    refusal.is_some_and(|at| now < at + REFUSAL_PAUSE && !now.was_set_back_since(at))
}

/// What a question for credentials comes to.
enum Next {
    Use(Lease),
    Fail(IntrospectError),
    /// For the login under way.
    Wait(watch::Receiver<Option<LoginOutcome>>),
    /// Start one. An early renewal is nothing to wait for, so there may be a lease to use meanwhile.
    LogIn {
        outcome: watch::Sender<Option<LoginOutcome>>,
        login: watch::Receiver<Option<LoginOutcome>>,
        meanwhile: Option<Lease>,
    },
}

impl State {
    fn next(&mut self, now: Timestamp) -> Next {
        if let Some(lease) = self.fresh(now) {
            return Next::Use(lease);
        }
        let meanwhile = self.still_valid(now);
        if let Some(login) = &self.under_way {
            return meanwhile.map_or_else(|| Next::Wait(login.clone()), Next::Use);
        }
        // The last login failed a moment ago.
        if let Some(failure) = self.failure.as_ref().filter(|failure| failure.is_recent(now)) {
            return meanwhile.map_or_else(|| Next::Fail(failure.error.clone()), Next::Use);
        }
        self.log_in(meanwhile)
    }

    /// `None` if the credential in doubt is to be believed in.
    fn next_in_doubt(&mut self, doubted: &Lease, now: Timestamp) -> Option<Next> {
        if let Some(held) = self.held.as_ref().filter(|held| held.lease.login != doubted.login) {
            return Some(Next::Use(held.lease.clone()));
        }
        if let Some(login) = &self.under_way {
            return Some(Next::Wait(login.clone()));
        }
        if is_recent(self.last_doubt, now) || self.failure.as_ref().is_some_and(|failure| failure.is_recent(now)) {
            return None;
        }
        self.last_doubt = Some(now);
        Some(self.log_in(None))
    }

    fn log_in(&mut self, meanwhile: Option<Lease>) -> Next {
        let (outcome, login) = watch::channel(None);
        self.under_way = Some(login.clone());
        Next::LogIn { outcome, login, meanwhile }
    }

    fn fresh(&self, now: Timestamp) -> Option<Lease> {
        let held = self.held.as_ref()?;
        held.renew_at.is_none_or(|renew_at| now < renew_at).then(|| held.lease.clone())
    }

    fn still_valid(&self, now: Timestamp) -> Option<Lease> {
        let held = self.held.as_ref()?;
        held.expires_at.is_none_or(|expires_at| now < expires_at).then(|| held.lease.clone())
    }
}

impl Held {
    fn new(credential: Credential, login: u64, now: Timestamp) -> Self {
        let lifetime = credential.lifetime().map(|lifetime| lifetime.max(SHORTEST_LIFETIME));
        let early = |lifetime: Duration| lifetime - RENEW_EARLY.min(lifetime / 2);
        Self {
            renew_at: lifetime.map(|lifetime| now + early(lifetime)),
            expires_at: lifetime.map(|lifetime| now + lifetime),
            lease: Lease { credential, login },
        }
    }
}

impl Failure {
    /// One second after the first failure, twice as long after each further one, 32 seconds at most. A clock that was
    /// set back makes nothing recent.
    fn is_recent(&self, now: Timestamp) -> bool {
        let pause = Duration::from_secs(1 << (self.in_a_row - 1).min(5));
        now < self.at + pause && !now.was_set_back_since(self.at)
    }
}

#[cfg(test)]
mod tests;
