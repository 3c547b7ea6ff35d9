//! How an endpoint fares, for whoever operates it.

use std::error::Error;
use std::fmt::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use super::breaker::BreakerState;
use super::{Authority, Protection, RateLimit, SharedElsewhere, SharedPace, lock};
use crate::clock::Timestamp;
use crate::error::{IntrospectError, IntrospectErrorKind};

/// After how many failures in a row, of whatever kind, the endpoint counts as failing, and for how long after the last
/// one.
const FAILING: (u32, Duration) = (5, Duration::from_secs(30));
/// How long an answer about a known token shows that the authority answers, though questions about strangers fail. More
/// than from one refresh to the next, unless `max_ttl` is set high.
const ANSWERS: Duration = Duration::from_secs(120);

/// How an endpoint fares. Made by [`Introspect::endpoint`](crate::Introspect::endpoint); clones look at the same one.
///
/// ```
/// use tower_introspection::{Apigee, Introspect};
/// use tower_introspection::stats::Health;
///
/// let apigee = Apigee::builder("my-org").basic_auth("token-reader@example.com", "password").build()?;
/// let endpoint = apigee.endpoint().expect("every endpoint of this crate has one");
/// assert_eq!(endpoint.health(), Health::Healthy);
/// assert_eq!(endpoint.stats().attempts, 0);
/// # Ok::<(), tower_introspection::BuildError>(())
/// ```
#[derive(Clone)]
pub struct EndpointHandle {
    protection: Arc<Protection>,
    authority: Arc<Authority>,
}

impl EndpointHandle {
    pub(crate) fn new(protection: Arc<Protection>, authority: Arc<Authority>) -> Self {
        Self { protection, authority }
    }

    /// The figures of this endpoint since it was made.
    #[must_use]
    pub fn stats(&self) -> EndpointStats {
        let counters = &self.protection.counters;
        EndpointStats {
            attempts: counters.attempts.load(Ordering::Relaxed),
            retries: counters.retries.load(Ordering::Relaxed),
            turned_away: counters.turned_away.load(Ordering::Relaxed),
            waiting: self.protection.turns.waiting(),
            under_way: self.protection.turns.under_way(),
            breaker: {
                let now = self.protection.clock.now();
                let states = [self.protection.known.state(now), self.protection.strangers.state(now)];
                let least =
                    [BreakerState::Open, BreakerState::HalfOpen].into_iter().find(|state| states.contains(state));
                least.unwrap_or(BreakerState::Closed)
            },
            last_known_failure: lock(&self.protection.last_known_failure).clone(),
            last_stranger_failure: lock(&self.protection.last_stranger_failure).clone(),
        }
    }

    /// Whether it answers, as far as the last questions tell. Asks nothing.
    #[must_use]
    pub fn health(&self) -> Health {
        self.protection.health()
    }

    /// The same endpoint, whose answers also differ by the settings of another.
    #[cfg(feature = "jwt")]
    pub(crate) fn reading_like(&self, other: &Self) -> Self {
        let mut authority = Authority::clone(&self.authority);
        authority.reading.note_all(&other.authority);
        Self { protection: Arc::clone(&self.protection), authority: Arc::new(authority) }
    }

    /// Whether the authority is not asked about known tokens at the moment.
    pub(crate) fn leaves_known_tokens_alone(&self) -> bool {
        self.protection.known.state(self.protection.clock.now()) == BreakerState::Open
    }

    /// How long a question takes at most.
    pub(crate) fn deadline(&self) -> Duration {
        self.protection.deadline
    }
}

/// For whoever shares the endpoint's limits and answers with other processes.
#[cfg_attr(not(test), allow(dead_code))] // without a fleet nobody does
impl EndpointHandle {
    pub(crate) fn authority(&self) -> &Authority {
        &self.authority
    }

    /// The rate limit in force: the endpoint's own, or that of its user.
    pub(crate) fn rate_limit(&self) -> RateLimit {
        self.protection.turns.rate()
    }

    /// Has `shared` hand out the turns.
    ///
    /// # Errors
    /// If another one does so already.
    pub(crate) fn share_turns(&self, shared: &Arc<dyn SharedPace>) -> Result<(), SharedElsewhere> {
        self.protection.turns.join(shared)
    }
}

impl fmt::Debug for EndpointHandle {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.debug_tuple("EndpointHandle").field(&self.stats()).finish()
    }
}

/// The figures of an endpoint. The counters never go down.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct EndpointStats {
    /// HTTP requests sent about tokens, each retry included.
    pub attempts: u64,
    /// How often a question was tried again.
    pub retries: u64,
    /// Questions that were not sent because neither a turn nor a place came in time, or only one of them.
    pub turned_away: u64,
    /// Questions that wait for their turn or a place now.
    pub waiting: usize,
    /// Questions under way now.
    pub under_way: usize,
    /// Whether the authority is asked. There is a breaker for [known tokens](crate::introspect::Ask::is_known) and one
    /// for all others; this is the one that lets less through. After an outage that of the others stays half open until
    /// one of them is asked about.
    pub breaker: BreakerState,
    /// The last question about a [known token](crate::introspect::Ask::is_known) that failed, whatever became of later
    /// ones. One that was not sent, because the breaker was open or it could not go out in time, does not count: it
    /// would hide why.
    pub last_known_failure: Option<LastFailure>,
    /// The same of all other tokens. A caller may be the cause of such a failure.
    pub last_stranger_failure: Option<LastFailure>,
}

/// A question that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LastFailure {
    /// When it failed, by the endpoint's clock.
    pub at: Timestamp,
    /// In which way.
    pub kind: IntrospectErrorKind,
    /// What the log says of it: the error and its causes, at most 500 characters. Neither a token nor a credential is
    /// in it, as far as this crate makes them; the errors of hooks (`credentials`, `mfa_token`) are the application's.
    pub text: Arc<str>,
}

/// What is shown of a text that others have a say in, such as a TLS library and the application's hooks.
const LONGEST_TEXT: usize = 500;

impl LastFailure {
    pub(super) fn new(at: Timestamp, error: &IntrospectError) -> Self {
        Self { at, kind: error.kind(), text: chain(error).into() }
    }
}

/// The error and its causes, `: ` between them, on one line and not too long.
fn chain(error: &IntrospectError) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    // A cause that goes round in circles has no end.
    while let Some(cause) = next
        && text.len() < 4 * LONGEST_TEXT
    {
        let _ = write!(text, ": {cause}");
        next = cause.source();
    }
    let one_line = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    let mut shown: String = one_line.clone().take(LONGEST_TEXT).collect();
    if one_line.clone().nth(LONGEST_TEXT).is_some() {
        shown.pop();
        shown.push('…');
    }
    shown
}

/// Whether an authority answers, for readiness probes.
///
/// Think before you take a service out of rotation for it: tokens in the cache are served on while the authority is
/// down, and every other replica sees the same outage. Never restart a service for it.
///
/// The engine of a fleet (feature `redis`) has no part in it: while that is away, this process goes on by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Health {
    /// It answers, or was not asked yet.
    Healthy,
    /// It failed, and the next question finds out whether it answers again. Counts as ready: without traffic there
    /// would be no next question.
    Recovering,
    /// Tokens that are not in the cache get 503. One of these is so:
    ///
    /// * The breaker for strangers is open, and that for known tokens is open or half open.
    /// * The last five questions all failed, in whatever way, the last one within 30 seconds (or the breaker for
    ///   strangers is open), and no question about a known token was answered within two minutes, or a later one about
    ///   a known token failed in a way that its holder cannot have caused. While no known token is answered, a caller
    ///   can be the cause, where something in front of the authority refuses odd tokens.
    ///
    /// Once the breaker for strangers is half open, it is [`Recovering`](Self::Recovering).
    Failing,
}

impl Health {
    /// Whether a service that depends on new tokens should get traffic: all but [`Failing`](Self::Failing).
    #[must_use]
    pub fn is_ready(self) -> bool {
        self != Self::Failing
    }

    /// One word for logs and probes.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Recovering => "recovering",
            Self::Failing => "failing",
        }
    }
}

impl Protection {
    pub(super) fn health(&self) -> Health {
        let now = self.clock.now();
        // Strangers that fail among known tokens that are answered are no outage.
        let (enough, lasts) = FAILING;
        let fails = self.failures.load(Ordering::Relaxed) >= enough && !self.answers_known_tokens_at(now);
        if !fails && self.known.state(now) == BreakerState::Closed {
            return Health::Healthy;
        }
        match self.strangers.state(now) {
            BreakerState::Open => Health::Failing,
            BreakerState::Closed if fails && is_within(&self.failed_at, lasts, now) => Health::Failing,
            BreakerState::Closed | BreakerState::HalfOpen => Health::Recovering,
        }
    }

    /// Whether a question about a known token was answered lately, and none has failed since for which its holder is no
    /// cause.
    pub(crate) fn answers_known_tokens(&self) -> bool {
        self.answers_known_tokens_at(self.clock.now())
    }

    fn answers_known_tokens_at(&self, now: Timestamp) -> bool {
        is_within(&self.known_answered_at, ANSWERS, now)
    }
}

/// A moment ahead may be of another thread, which read the clock a little later.
fn is_within(moment: &AtomicI64, lasts: Duration, now: Timestamp) -> bool {
    let moment = Timestamp::from_unix_millis(moment.load(Ordering::Relaxed));
    now < moment + lasts && !now.was_set_back_since(moment)
}
