//! What is asked: an endpoint that the builder was given, or one that the first question finds.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::Mutex;

use crate::clock::{Clock, Timestamp};
use crate::credentials::source::CredentialSource;
use crate::error::IntrospectError;
use crate::http::exchange::Exchange;

/// For how long a failure that somebody has to mend is handed out instead of another search.
const PAUSE: Duration = Duration::from_secs(10);

/// A place to ask, and what to ask it with.
pub(crate) struct Target {
    pub(crate) url: String,
    pub(crate) exchange: Exchange,
    pub(crate) credentials: Arc<CredentialSource>,
}

/// Looks for a [`Target`]. Calls `sends` before each HTTP request.
pub(crate) trait Search: Send + Sync {
    fn search<'s>(&'s self, sends: &'s (dyn Fn() + Sync)) -> Searching<'s>;
}

pub(crate) type Searching<'s> = Pin<Box<dyn Future<Output = Result<Target, IntrospectError>> + Send + 's>>;

/// A target that the first question finds, and that stays.
pub(crate) struct Sought {
    search: Box<dyn Search>,
    found: OnceLock<Target>,
    /// Whoever holds this searches.
    last_failure: Mutex<Option<Failure>>,
    failures: AtomicU64,
}

struct Failure {
    error: IntrospectError,
    at: Timestamp,
}

impl Failure {
    /// An authority that is down is searched for by each question, as far as the protection lets it through. A clock
    /// that was set back makes nothing recent.
    fn is_recent(&self, now: Timestamp) -> bool {
        !self.error.is_outage() && now < self.at + PAUSE && !now.was_set_back_since(self.at)
    }
}

impl Sought {
    pub(crate) fn new(search: impl Search + 'static) -> Self {
        Self {
            search: Box::new(search),
            found: OnceLock::new(),
            last_failure: Mutex::default(),
            failures: AtomicU64::new(0),
        }
    }

    pub(crate) fn found(&self) -> Option<&Target> {
        self.found.get()
    }

    /// One search is under way at a time. Its failure is that of all who wait for it: none of them searches again.
    pub(crate) async fn find(&self, clock: &dyn Clock, sends: &(dyn Fn() + Sync)) -> Result<&Target, IntrospectError> {
        if let Some(target) = self.found() {
            return Ok(target);
        }
        let failures = self.failures.load(Ordering::Acquire);
        let mut last_failure = self.last_failure.lock().await;
        if let Some(target) = self.found() {
            return Ok(target);
        }
        if let Some(failure) = &*last_failure
            && (self.failures.load(Ordering::Acquire) != failures || failure.is_recent(clock.now()))
        {
            return Err(failure.error.clone());
        }
        match self.search.search(sends).await {
            Ok(target) => Ok(self.found.get_or_init(|| target)),
            Err(error) => {
                *last_failure = Some(Failure { error: error.clone(), at: clock.now() });
                self.failures.fetch_add(1, Ordering::Release);
                Err(error)
            }
        }
    }
}
