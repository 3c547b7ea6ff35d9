//! What this service shows the authority to be allowed to ask.

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::HeaderValue;
use tokio::sync::Mutex;

use super::{IntrospectError, IntrospectErrorKind};
use crate::build_error::BuildError;
use crate::clock::{Clock, Timestamp};

/// How long before its expiry a credential is renewed; for one that lives shorter than twice this, half its life.
const RENEW_EARLY: Duration = Duration::from_secs(30);

/// What this service shows the authority: the account it asks with, not anything of a caller.
///
/// Made for the `credentials` hook of an endpoint's builder. `Debug` shows no secret.
///
/// ```
/// use std::time::Duration;
/// use tower_introspection::Credential;
///
/// let credential = Credential::bearer("an-access-token-of-the-admin-account")?.expires_in(Duration::from_secs(1_799));
/// # Ok::<(), tower_introspection::BuildError>(())
/// ```
#[derive(Clone)]
pub struct Credential {
    secret: Secret,
    lifetime: Option<Duration>,
}

#[derive(Clone)]
enum Secret {
    Basic { username: Arc<str>, password: Arc<str> },
    Bearer(Arc<str>),
}

impl Credential {
    /// HTTP Basic authentication, RFC 7617.
    ///
    /// # Errors
    /// If `username` holds a colon, which the scheme cannot carry.
    pub fn basic(username: &str, password: &str) -> Result<Self, BuildError> {
        if username.contains(':') {
            return Err(BuildError::new(
                "basic_auth",
                "a user name cannot hold a colon; check that name and password are not swapped",
            ));
        }
        Ok(Self { secret: Secret::Basic { username: username.into(), password: password.into() }, lifetime: None })
    }

    /// A bearer token for the account, RFC 6750.
    ///
    /// # Errors
    /// If `token` cannot stand in a header, such as one read from a file with its line end.
    pub fn bearer(token: &str) -> Result<Self, BuildError> {
        if token.is_empty() || token.contains(char::is_whitespace) || HeaderValue::from_str(token).is_err() {
            return Err(BuildError::new(
                "bearer_token",
                "it is empty or holds a character that cannot stand in a header; trim line ends",
            ));
        }
        Ok(Self { secret: Secret::Bearer(token.into()), lifetime: None })
    }

    /// How long it is valid from now on; a renewal comes 30 seconds before. Without this it is kept until the authority
    /// refuses it.
    #[must_use]
    pub fn expires_in(mut self, lifetime: Duration) -> Self {
        self.lifetime = Some(lifetime);
        self
    }

    pub(super) fn authorize(&self, request: reqwest::RequestBuilder) -> reqwest::RequestBuilder {
        match &self.secret {
            Secret::Basic { username, password } => request.basic_auth(username, Some(password)),
            Secret::Bearer(token) => request.bearer_auth(token),
        }
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(match self.secret {
            Secret::Basic { .. } => "Credential(Basic)",
            Secret::Bearer(_) => "Credential(Bearer)",
        })
    }
}

type Obtained = Result<Credential, Box<dyn Error + Send + Sync>>;
type Provider = Box<dyn Fn() -> Pin<Box<dyn Future<Output = Obtained> + Send>> + Send + Sync>;

/// The credential in use, and where the next one comes from.
pub(super) enum Credentials {
    Fixed(Credential),
    Renewed(Box<Renewal>),
}

impl Credentials {
    pub(super) fn renewed<F, Fut>(provider: F) -> Self
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Obtained> + Send + 'static,
    {
        Self::Renewed(Box::new(Renewal {
            provider: Box::new(move || Box::pin(provider())),
            attempts: AtomicU64::new(0),
            state: Mutex::new(State::default()),
        }))
    }

    /// The credential to ask with.
    pub(super) async fn current(&self, clock: &dyn Clock) -> Result<Lease, IntrospectError> {
        match self {
            Self::Fixed(credential) => Ok(Lease { credential: credential.clone(), attempt: 0 }),
            Self::Renewed(renewal) => renewal.obtain(clock, None).await,
        }
    }

    /// Another credential than `refused`, if there can be one.
    pub(super) async fn instead_of(
        &self,
        refused: &Lease,
        clock: &dyn Clock,
    ) -> Result<Option<Lease>, IntrospectError> {
        match self {
            Self::Fixed(_) => Ok(None),
            Self::Renewed(renewal) => renewal.obtain(clock, Some(refused.attempt)).await.map(Some),
        }
    }
}

/// A credential handed out, and the attempt that obtained it.
pub(super) struct Lease {
    pub(super) credential: Credential,
    attempt: u64,
}

pub(super) struct Renewal {
    provider: Provider,
    /// Finished attempts, successful or not. Also readable without the lock, so that whoever waited for the lock can tell
    /// that an attempt was made meanwhile, and share its outcome instead of repeating it.
    attempts: AtomicU64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    held: Option<Held>,
    failure: Option<IntrospectError>,
}

struct Held {
    credential: Credential,
    attempt: u64,
    renew_at: Option<Timestamp>,
    expires_at: Option<Timestamp>,
}

impl Renewal {
    async fn obtain(&self, clock: &dyn Clock, refused: Option<u64>) -> Result<Lease, IntrospectError> {
        let attempts_before = self.attempts.load(Ordering::Acquire);
        // Holding the lock while the provider works is the point: one renewal at a time.
        let mut state = self.state.lock().await;
        let now = clock.now();
        if let Some(held) = state.held.take_if(|held| refused == Some(held.attempt)) {
            tracing::debug!(attempt = held.attempt, "the authority refused the credential in use; obtaining another");
        }
        if let Some(held) = &state.held
            && held.renew_at.is_none_or(|renew_at| now < renew_at)
        {
            return Ok(held.lease());
        }
        if self.attempts.load(Ordering::Acquire) != attempts_before
            && let Some(failure) = &state.failure
        {
            return state.still_valid(now).ok_or_else(|| failure.clone());
        }

        let outcome = (self.provider)().await;
        let attempt = self.attempts.load(Ordering::Acquire) + 1;
        let now = clock.now();
        let lease = match outcome {
            Ok(credential) => {
                let held = Held::new(credential, attempt, now);
                let lease = held.lease();
                *state = State { held: Some(held), failure: None };
                Ok(lease)
            }
            Err(source) => {
                tracing::error!(error = %source, "the credentials hook failed: this service cannot ask the authority without credentials");
                let failure = IntrospectError::new(IntrospectErrorKind::Credentials).with_source(source);
                state.failure = Some(failure.clone());
                state.still_valid(now).ok_or(failure)
            }
        };
        self.attempts.store(attempt, Ordering::Release);
        lease
    }
}

impl State {
    fn still_valid(&self, now: Timestamp) -> Option<Lease> {
        let held = self.held.as_ref()?;
        held.expires_at.is_none_or(|expires_at| now < expires_at).then(|| held.lease())
    }
}

impl Held {
    fn new(credential: Credential, attempt: u64, now: Timestamp) -> Self {
        let early = |lifetime: Duration| lifetime - RENEW_EARLY.min(lifetime / 2);
        Self {
            renew_at: credential.lifetime.map(|lifetime| now + early(lifetime)),
            expires_at: credential.lifetime.map(|lifetime| now + lifetime),
            credential,
            attempt,
        }
    }

    fn lease(&self) -> Lease {
        Lease { credential: self.credential.clone(), attempt: self.attempt }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;
    use crate::clock::ManualClock;

    fn shown(lease: &Lease) -> String {
        match &lease.credential.secret {
            Secret::Bearer(token) => token.to_string(),
            Secret::Basic { username, .. } => username.to_string(),
        }
    }

    /// A hook that hands out `token-1`, `token-2`, ... and fails while told to.
    fn counted(lifetime: Duration) -> (Credentials, Arc<AtomicUsize>, Arc<std::sync::atomic::AtomicBool>) {
        let calls = Arc::new(AtomicUsize::new(0));
        let failing = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let credentials = Credentials::renewed({
            let (calls, failing) = (calls.clone(), failing.clone());
            move || {
                let call = calls.fetch_add(1, Ordering::SeqCst) + 1;
                let failing = failing.load(Ordering::SeqCst);
                async move {
                    tokio::task::yield_now().await;
                    if failing {
                        Err("login is down".into())
                    } else {
                        Ok(Credential::bearer(&format!("token-{call}"))?.expires_in(lifetime))
                    }
                }
            }
        });
        (credentials, calls, failing)
    }

    #[tokio::test]
    async fn a_credential_is_kept_and_renewed_thirty_seconds_early() {
        let clock = ManualClock::at(Timestamp::from_unix_millis(0));
        let (credentials, calls, _) = counted(Duration::from_secs(1_800));
        assert_eq!(shown(&credentials.current(&clock).await.unwrap()), "token-1");
        clock.advance(Duration::from_millis(1_769_999));
        assert_eq!(shown(&credentials.current(&clock).await.unwrap()), "token-1");
        clock.advance(Duration::from_millis(1));
        assert_eq!(shown(&credentials.current(&clock).await.unwrap()), "token-2");
        assert_eq!(calls.load(Ordering::SeqCst), 2);
    }

    #[tokio::test]
    async fn a_short_lived_credential_is_not_renewed_for_every_question() {
        let clock = ManualClock::at(Timestamp::from_unix_millis(0));
        let (credentials, calls, _) = counted(Duration::from_secs(10));
        credentials.current(&clock).await.unwrap();
        clock.advance(Duration::from_millis(4_999));
        credentials.current(&clock).await.unwrap();
        assert_eq!(calls.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn a_failed_early_renewal_leaves_the_valid_credential_in_use_and_then_fails() {
        let clock = ManualClock::at(Timestamp::from_unix_millis(0));
        let (credentials, _, failing) = counted(Duration::from_secs(1_800));
        credentials.current(&clock).await.unwrap();
        failing.store(true, Ordering::SeqCst);
        clock.set(Timestamp::from_unix_millis(1_799_999));
        assert_eq!(shown(&credentials.current(&clock).await.unwrap()), "token-1");
        clock.set(Timestamp::from_unix_millis(1_800_000));
        assert!(credentials.current(&clock).await.err().unwrap().is_credentials());
        failing.store(false, Ordering::SeqCst);
        assert_eq!(shown(&credentials.current(&clock).await.unwrap()), "token-4");
    }

    #[tokio::test]
    async fn all_who_wait_for_a_failing_renewal_share_its_one_failure() {
        let clock = ManualClock::at(Timestamp::from_unix_millis(0));
        let (credentials, calls, failing) = counted(Duration::from_secs(1_800));
        failing.store(true, Ordering::SeqCst);
        let (a, b, c) =
            tokio::join!(credentials.current(&clock), credentials.current(&clock), credentials.current(&clock));
        assert!(a.is_err() && b.is_err() && c.is_err());
        assert_eq!(calls.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn a_refused_credential_is_replaced_once_for_all_who_held_it() {
        let clock = ManualClock::at(Timestamp::from_unix_millis(0));
        let (credentials, calls, _) = counted(Duration::from_secs(1_800));
        let lease = credentials.current(&clock).await.unwrap();
        let (a, b) = tokio::join!(credentials.instead_of(&lease, &clock), credentials.instead_of(&lease, &clock));
        assert_eq!(shown(&a.unwrap().unwrap()), "token-2");
        assert_eq!(shown(&b.unwrap().unwrap()), "token-2");
        assert_eq!(calls.load(Ordering::SeqCst), 2);
    }

    #[test]
    fn a_credential_that_cannot_be_sent_is_refused_and_none_is_shown() {
        assert_eq!(Credential::basic("a:b", "c").unwrap_err().setting(), "basic_auth");
        for bad in ["", "token\n", "to ken", "to\u{7f}ken"] {
            assert_eq!(Credential::bearer(bad).unwrap_err().setting(), "bearer_token", "{bad:?}");
        }
        let shown =
            format!("{:?} {:?}", Credential::basic("ann", "hush").unwrap(), Credential::bearer("hush").unwrap());
        assert!(!shown.contains("hush") && !shown.contains("ann"), "{shown}");
    }
}
