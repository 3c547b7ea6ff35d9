//! What is asked: an endpoint that the builder was given, or one that the first question finds.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tracing::Instrument;

use crate::background::{Owner, background_span};
use crate::clock::{Clock, Timestamp};
use crate::credentials::source::CredentialSource;
use crate::error::{IntrospectError, IntrospectErrorKind};
use crate::http::exchange::Exchange;

/// For how long a failure that somebody has to mend is handed out instead of another search.
const PAUSE: Duration = Duration::from_secs(10);

/// A place to ask, and what to ask it with.
pub(crate) struct Target {
    pub(crate) url: String,
    pub(crate) exchange: Exchange,
    pub(crate) credentials: Arc<CredentialSource>,
}

/// Looks for a [`Target`]. It has to end by itself: no question cuts it off.
pub(crate) trait Search: Send + Sync {
    fn search(&self) -> Searching<'_>;
}

pub(crate) type Searching<'s> = Pin<Box<dyn Future<Output = Result<Target, IntrospectError>> + Send + 's>>;

/// A target that the first question finds, and that stays. One search is under way at a time, in a task of its own: the
/// questions that wait for it may end before it does, and it still bears fruit.
pub(crate) struct Sought {
    shared: Arc<Shared>,
    /// A search under way ends with it.
    owner: Owner,
}

struct Shared {
    search: Box<dyn Search>,
    found: OnceLock<Target>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    under_way: Option<watch::Receiver<Option<Outcome>>>,
    last_failure: Option<Failure>,
}

type Outcome = Result<(), IntrospectError>;

struct Failure {
    error: IntrospectError,
    at: Timestamp,
}

impl Failure {
    /// An authority that is down is searched for again, as far as the protection lets questions through. A clock that
    /// was set back makes nothing recent.
    fn is_recent(&self, now: Timestamp) -> bool {
        !self.error.is_outage() && now < self.at + PAUSE && !now.was_set_back_since(self.at)
    }
}

impl Shared {
    /// Nothing that runs under this lock leaves the state half changed, so a panic elsewhere does not spoil it.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sought {
    pub(crate) fn new(search: impl Search + 'static) -> Self {
        let shared = Shared { search: Box::new(search), found: OnceLock::new(), state: Mutex::default() };
        Self { shared: Arc::new(shared), owner: Owner::default() }
    }

    pub(crate) fn found(&self) -> Option<&Target> {
        self.shared.found.get()
    }

    /// The failure of a search is that of all who wait for it: none of them searches again. Whoever starts one `sends`.
    pub(crate) async fn find(&self, clock: &Arc<dyn Clock>, sends: impl FnOnce()) -> Result<&Target, IntrospectError> {
        if let Some(target) = self.found() {
            return Ok(target);
        }
        let now = clock.now();
        let mut search = match self.next(now)? {
            Next::Use(target) => return Ok(target),
            Next::Wait(search) => search,
            Next::Start(outcome, search) => {
                sends();
                // Not under the lock: a runtime that shuts down drops the task, and with it what it holds, at once.
                UnderWay { shared: Arc::clone(&self.shared), outcome, clock: Arc::clone(clock) }.start(&self.owner);
                search
            }
        };
        if let Ok(Some(Err(error))) = search.wait_for(Option::is_some).await.as_deref() {
            return Err(error.clone());
        }
        self.found().ok_or_else(|| {
            let given_up = "the search was given up: it panicked, or its runtime went away";
            IntrospectError::new(IntrospectErrorKind::Abandoned).with_source(given_up)
        })
    }

    fn next(&self, now: Timestamp) -> Result<Next<'_>, IntrospectError> {
        let mut state = self.shared.state();
        if let Some(target) = self.found() {
            return Ok(Next::Use(target));
        }
        if let Some(search) = &state.under_way {
            return Ok(Next::Wait(search.clone()));
        }
        if let Some(failure) = state.last_failure.as_ref().filter(|failure| failure.is_recent(now)) {
            return Err(failure.error.clone());
        }
        let (outcome, search) = watch::channel(None);
        state.under_way = Some(search.clone());
        Ok(Next::Start(outcome, search))
    }
}

/// What comes next for a question without a target.
enum Next<'t> {
    Use(&'t Target),
    Wait(watch::Receiver<Option<Outcome>>),
    Start(watch::Sender<Option<Outcome>>, watch::Receiver<Option<Outcome>>),
}

/// The one search under way. However it ends, another may start.
struct UnderWay {
    shared: Arc<Shared>,
    outcome: watch::Sender<Option<Outcome>>,
    clock: Arc<dyn Clock>,
}

impl UnderWay {
    fn start(self, owner: &Owner) {
        // Without a runtime there is no search, which is what whoever waits for it learns.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let span = background_span!("introspection_discovery");
            drop(runtime.spawn(owner.keeps_alive(self.run().instrument(span))));
        }
    }

    async fn run(self) {
        let outcome = match self.shared.search.search().await {
            Ok(target) => {
                self.shared.found.get_or_init(|| target);
                Ok(())
            }
            Err(error) => {
                let failure = Failure { error: error.clone(), at: self.clock.now() };
                let earlier = self.shared.state().last_failure.replace(failure);
                drop(earlier);
                Err(error)
            }
        };
        self.outcome.send_replace(Some(outcome));
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.shared.state().under_way = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemClock;
    use crate::http::credential::Credential;
    use crate::http::link::Link;

    const LONGEST_QUESTION: Duration = Duration::from_secs(3);

    /// Each search takes as long as the next of these says, and the last one's ones as long; those that say so fail.
    struct Scripted(Mutex<Vec<(u64, Option<IntrospectErrorKind>)>>);

    fn sought(searches: &[(u64, Option<IntrospectErrorKind>)]) -> Sought {
        Sought::new(Scripted(Mutex::new(searches.iter().rev().copied().collect())))
    }

    impl Search for Scripted {
        fn search(&self) -> Searching<'_> {
            Box::pin(async move {
                let (millis, failure) = self.0.lock().unwrap().pop().unwrap();
                tokio::time::sleep(Duration::from_millis(millis)).await;
                if let Some(kind) = failure {
                    return Err(IntrospectError::new(kind));
                }
                let url = "http://127.0.0.1:1/";
                let exchange = Link::default().open("url", &url.parse().unwrap()).unwrap();
                let credentials = Arc::new(CredentialSource::Fixed(Credential::none()));
                Ok(Target { url: url.to_owned(), exchange, credentials })
            })
        }
    }

    /// Has 400 questions come, one every 50 milliseconds, none of which waits longer than a question may. How many of
    /// them failed, if any has found it?
    async fn failures_until_found(sought: Arc<Sought>) -> Option<usize> {
        let mut asking = tokio::task::JoinSet::new();
        for _ in 0..400 {
            let sought = Arc::clone(&sought);
            asking.spawn(async move {
                let clock: Arc<dyn Clock> = Arc::new(SystemClock);
                let found = tokio::time::timeout(LONGEST_QUESTION, sought.find(&clock, || {})).await;
                found.is_ok_and(|found| found.is_ok())
            });
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let outcomes = asking.join_all().await;
        outcomes.contains(&true).then(|| outcomes.iter().filter(|found| !**found).count())
    }

    #[tokio::test(start_paused = true)]
    async fn what_takes_longer_to_find_than_any_question_waits_is_found_all_the_same() {
        let failed = failures_until_found(Arc::new(sought(&[(4_000, None); 400]))).await;
        assert!(failed.is_some_and(|failed| failed <= 21), "{failed:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_waited_for_a_search_that_hung_does_not_keep_the_next_from_finding() {
        let mut searches = [(200, None); 400];
        searches[0] = (6_000, Some(IntrospectErrorKind::Timeout));
        let failed = failures_until_found(Arc::new(sought(&searches))).await;
        assert!(failed.is_some_and(|failed| failed <= 121), "{failed:?}");
    }

    /// Waits until it is dropped, and says so.
    struct Hanging(watch::Sender<bool>);

    impl Search for Hanging {
        fn search(&self) -> Searching<'_> {
            struct Says<'s>(&'s watch::Sender<bool>);
            impl Drop for Says<'_> {
                fn drop(&mut self) {
                    self.0.send_replace(true);
                }
            }
            Box::pin(async move {
                let _says = Says(&self.0);
                std::future::pending().await
            })
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_search_ends_with_the_endpoint_it_is_for() {
        let (ended, mut has_ended) = watch::channel(false);
        let (sought, clock) = (Sought::new(Hanging(ended)), Arc::new(SystemClock) as Arc<dyn Clock>);
        let question = tokio::time::timeout(LONGEST_QUESTION, sought.find(&clock, || {}));
        assert!(question.await.is_err());
        assert!(!*has_ended.borrow());
        drop(sought);
        tokio::time::timeout(LONGEST_QUESTION, has_ended.wait_for(|ended| *ended)).await.unwrap().unwrap();
    }

    /// Counts how often it has panicked.
    struct Panics(Arc<Mutex<u32>>);

    impl Search for Panics {
        fn search(&self) -> Searching<'_> {
            *self.0.lock().unwrap() += 1;
            Box::pin(async { panic!("as the test wants it") })
        }
    }

    #[tokio::test]
    async fn a_search_that_panics_fails_whoever_waits_and_leaves_room_for_another() {
        let searches = Arc::new(Mutex::new(0));
        let (sought, clock) = (Sought::new(Panics(Arc::clone(&searches))), Arc::new(SystemClock) as Arc<dyn Clock>);
        for _ in 0..2 {
            let error = sought.find(&clock, || {}).await.map(|_| ()).unwrap_err();
            assert_eq!(error.kind(), IntrospectErrorKind::Abandoned);
        }
        assert_eq!(*searches.lock().unwrap(), 2);
    }
}
