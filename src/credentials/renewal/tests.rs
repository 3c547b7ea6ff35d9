use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::sync::Semaphore;

use super::*;
use crate::clock::ManualClock;
use crate::credentials::source::CredentialSource;

fn shown(lease: &Lease) -> String {
    let request = lease.credential.authorize(reqwest::Client::new().get("http://127.0.0.1/")).build().unwrap();
    request.headers()["authorization"].to_str().unwrap().trim_start_matches("Bearer ").to_owned()
}

/// A hook that hands out `token-1`, `token-2`, ..., does what it is told, and is counted.
#[derive(Clone)]
struct Hook {
    logins: Arc<AtomicUsize>,
    mood: Arc<Mutex<Mood>>,
    let_go: Arc<Semaphore>,
}

#[derive(Clone, Copy)]
enum Mood {
    Fine,
    Failing,
    Hanging,
    Panicking,
}

fn credentials(lifetime: Duration) -> (CredentialSource, Hook, ManualClock, Arc<dyn Clock>) {
    let hook =
        Hook { logins: Arc::default(), mood: Arc::new(Mutex::new(Mood::Fine)), let_go: Arc::new(Semaphore::new(0)) };
    let credentials = CredentialSource::renewed("a hook", {
        let hook = hook.clone();
        move || {
            let login = hook.logins.fetch_add(1, Ordering::SeqCst) + 1;
            let mood = *hook.mood.lock().unwrap();
            let let_go = Arc::clone(&hook.let_go);
            async move {
                match mood {
                    Mood::Fine => {}
                    Mood::Failing => return Err("login is down".into()),
                    Mood::Hanging => drop(let_go.acquire().await),
                    Mood::Panicking => panic!("as this test wants it to"),
                }
                Ok(Credential::bearer(format!("token-{login}"))?.expires_in(lifetime))
            }
        }
    });
    let clock = ManualClock::at(Timestamp::from_unix_millis(0));
    (credentials, hook, clock.clone(), Arc::new(clock))
}

impl Hook {
    fn is(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
    }

    fn logins(&self) -> usize {
        self.logins.load(Ordering::SeqCst)
    }

    async fn called(&self, logins: usize) {
        eventually(async || self.logins() >= logins).await;
    }
}

/// Waits until something is so, but not for ever: a test that fails says so instead of hanging.
async fn eventually(is_so: impl AsyncFn() -> bool) {
    let waiting = async {
        while !is_so().await {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), waiting).await.expect("it happens within a minute");
}

const HALF_AN_HOUR: Duration = Duration::from_secs(1_800);

fn at(millis: i64) -> Timestamp {
    Timestamp::from_unix_millis(millis)
}

#[tokio::test]
async fn a_credential_is_kept_and_renewed_thirty_seconds_early_without_anybody_waiting() {
    let (credentials, hook, clock, time) = credentials(HALF_AN_HOUR);
    assert_eq!(shown(&credentials.current(&time).await.unwrap()), "token-1");
    clock.set(at(1_769_999));
    assert_eq!(shown(&credentials.current(&time).await.unwrap()), "token-1");
    assert_eq!(hook.logins(), 1);
    clock.set(at(1_770_000));
    assert_eq!(shown(&credentials.current(&time).await.unwrap()), "token-1");
    hook.called(2).await;
    eventually(async || shown(&credentials.current(&time).await.unwrap()) == "token-2").await;
    assert_eq!(hook.logins(), 2);
}

#[tokio::test]
async fn the_refusal_of_an_old_credential_does_not_cost_the_new_one() {
    let (credentials, hook, clock, time) = credentials(HALF_AN_HOUR);
    let old = credentials.current(&time).await.unwrap();
    clock.set(at(1_800_000));
    assert_eq!(shown(&credentials.current(&time).await.unwrap()), "token-2");
    let instead = credentials.instead_of(&old, &time).await.unwrap().unwrap();
    assert_eq!((shown(&instead), hook.logins()), ("token-2".to_owned(), 2));
}

#[tokio::test]
async fn a_short_lived_credential_is_not_renewed_for_every_question() {
    for (lifetime, kept) in [(Duration::from_secs(10), 4_999), (Duration::ZERO, 499)] {
        let (credentials, hook, clock, time) = credentials(lifetime);
        credentials.current(&time).await.unwrap();
        clock.set(at(kept));
        credentials.current(&time).await.unwrap();
        assert_eq!(hook.logins(), 1, "{lifetime:?}");
    }
}

#[tokio::test]
async fn an_early_renewal_that_hangs_or_fails_leaves_the_valid_credential_in_use() {
    for mood in [Mood::Hanging, Mood::Failing, Mood::Panicking] {
        let (credentials, hook, clock, time) = credentials(HALF_AN_HOUR);
        credentials.current(&time).await.unwrap();
        hook.is(mood);
        clock.set(at(1_771_000));
        assert_eq!(shown(&credentials.current(&time).await.unwrap()), "token-1");
        hook.called(2).await;
        for _ in 0..10 {
            assert_eq!(shown(&credentials.current(&time).await.unwrap()), "token-1");
            tokio::task::yield_now().await;
        }
        assert_eq!(hook.logins(), 2);
    }
}

#[tokio::test]
async fn an_expired_credential_is_not_used_and_the_failure_to_renew_it_is_told() {
    let (credentials, hook, clock, time) = credentials(HALF_AN_HOUR);
    credentials.current(&time).await.unwrap();
    hook.is(Mood::Failing);
    clock.set(at(1_800_000));
    assert!(credentials.current(&time).await.err().unwrap().is_credentials());
}

#[tokio::test]
async fn all_who_wait_for_a_failing_login_share_its_one_failure() {
    let (credentials, hook, _, time) = credentials(HALF_AN_HOUR);
    hook.is(Mood::Failing);
    let (a, b, c) = tokio::join!(credentials.current(&time), credentials.current(&time), credentials.current(&time));
    assert!(a.is_err() && b.is_err() && c.is_err());
    assert_eq!(hook.logins(), 1);
}

#[tokio::test]
async fn a_failing_login_is_tried_again_after_one_second_then_two_and_never_at_the_rate_of_requests() {
    let (credentials, hook, clock, time) = credentials(HALF_AN_HOUR);
    hook.is(Mood::Failing);
    let mut tried_at = Vec::new();
    for second in 0..120_i64 {
        for tenth in 0..10_i64 {
            clock.set(at(second * 1_000 + tenth * 100));
            let before = hook.logins();
            assert!(credentials.current(&time).await.is_err());
            if hook.logins() > before {
                tried_at.push(second);
            }
        }
    }
    assert_eq!(tried_at, [0, 1, 3, 7, 15, 31, 63, 95]);
    hook.is(Mood::Fine);
    clock.set(at(127_000));
    credentials.current(&time).await.unwrap();
    // A clock set back does not make the pause longer. One that another thread read a moment earlier does not end it.
    hook.is(Mood::Failing);
    clock.set(at(10_000_000));
    assert!(credentials.current(&time).await.is_err());
    hook.is(Mood::Fine);
    clock.set(at(9_999_999));
    assert!(credentials.current(&time).await.is_err());
    clock.set(at(9_000_000));
    credentials.current(&time).await.unwrap();
}

#[tokio::test]
async fn a_slow_login_bears_fruit_even_if_everyone_who_waited_for_it_is_gone() {
    let (credentials, hook, _, time) = credentials(HALF_AN_HOUR);
    hook.is(Mood::Hanging);
    for _ in 0..10 {
        let mut question = Box::pin(credentials.current(&time));
        std::future::poll_fn(|context| {
            assert!(question.as_mut().poll(context).is_pending());
            std::task::Poll::Ready(())
        })
        .await;
        hook.called(1).await;
    }
    hook.let_go.add_permits(1);
    assert_eq!(shown(&credentials.current(&time).await.unwrap()), "token-1");
    assert_eq!(hook.logins(), 1);
}

#[tokio::test]
async fn a_login_that_panics_is_a_failure_and_another_may_start() {
    let (credentials, hook, clock, time) = credentials(HALF_AN_HOUR);
    hook.is(Mood::Panicking);
    for _ in 0..50 {
        assert!(credentials.current(&time).await.err().unwrap().is_credentials());
    }
    assert_eq!(hook.logins(), 1, "a hook that panics is not called for every question either");
    hook.is(Mood::Fine);
    clock.set(at(1_000));
    assert_eq!(shown(&credentials.current(&time).await.unwrap()), "token-2");
}

#[test]
fn a_runtime_that_is_gone_is_a_failure_and_no_deadlock() {
    let (credentials, _, _, time) = credentials(HALF_AN_HOUR);
    let gone = tokio::runtime::Runtime::new().unwrap();
    let handle = gone.handle().clone();
    drop(gone);
    let _entered = handle.enter();
    let mut question = Box::pin(credentials.current(&time));
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    let std::task::Poll::Ready(outcome) = question.as_mut().poll(&mut context) else { panic!("it waits for nothing") };
    assert!(outcome.err().unwrap().is_credentials());
}

#[test]
fn a_clock_that_panics_when_a_login_is_given_up_does_not_keep_the_next_one_from_starting() {
    struct Broken(ManualClock, Arc<AtomicBool>);

    impl Clock for Broken {
        fn now(&self) -> Timestamp {
            assert!(!self.1.load(Ordering::SeqCst), "as this test wants it to");
            self.0.now()
        }
    }

    let (credentials, hook, clock, _) = credentials(HALF_AN_HOUR);
    let is_broken = Arc::new(AtomicBool::new(false));
    let time: Arc<dyn Clock> = Arc::new(Broken(clock, Arc::clone(&is_broken)));
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    hook.is(Mood::Hanging);
    let first = runtime();
    first.block_on(async {
        let mut asking = Box::pin(credentials.current(&time));
        let poll =
            |context: &mut std::task::Context<'_>| std::task::Poll::Ready(asking.as_mut().poll(context).is_pending());
        assert!(std::future::poll_fn(poll).await);
        tokio::task::yield_now().await;
    });
    is_broken.store(true, Ordering::SeqCst);
    drop(first);
    is_broken.store(false, Ordering::SeqCst);
    hook.is(Mood::Fine);
    assert_eq!(shown(&runtime().block_on(credentials.current(&time)).unwrap()), "token-2");
}

#[tokio::test(start_paused = true)]
async fn a_login_that_hangs_is_ended_after_thirty_seconds() {
    let (credentials, hook, _, time) = credentials(HALF_AN_HOUR);
    hook.is(Mood::Hanging);
    let error = credentials.current(&time).await.err().unwrap();
    assert!(format!("{error:?}").contains("30 seconds"), "{error:?}");
}

#[tokio::test]
async fn a_refused_credential_is_replaced_once_for_all_who_held_it() {
    let (credentials, hook, _, time) = credentials(HALF_AN_HOUR);
    let lease = credentials.current(&time).await.unwrap();
    let (a, b) = tokio::join!(credentials.instead_of(&lease, &time), credentials.instead_of(&lease, &time));
    assert_eq!(shown(&a.unwrap().unwrap()), "token-2");
    assert_eq!(shown(&b.unwrap().unwrap()), "token-2");
    assert_eq!(hook.logins(), 2);
}

#[tokio::test]
async fn an_authority_that_refuses_every_credential_does_not_cause_a_login_for_every_question() {
    let (credentials, hook, clock, time) = credentials(HALF_AN_HOUR);
    for _ in 0..50 {
        let lease = credentials.current(&time).await.unwrap();
        if let Some(renewed) = credentials.instead_of(&lease, &time).await.unwrap() {
            assert!(credentials.instead_of(&renewed, &time).await.unwrap().is_none());
        }
    }
    assert_eq!(hook.logins(), 2);
    clock.set(at(30_000));
    let lease = credentials.current(&time).await.unwrap();
    assert!(credentials.instead_of(&lease, &time).await.unwrap().is_some());
    assert_eq!(hook.logins(), 3);
}

#[tokio::test]
async fn a_login_under_way_ends_with_the_endpoint_it_is_for() {
    let alive = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let before = alive();
    let (credentials, hook, _, clock) = credentials(Duration::from_secs(600));
    hook.is(Mood::Hanging);
    let mut asking = Box::pin(credentials.current(&clock));
    assert!(std::future::poll_fn(|context| std::task::Poll::Ready(asking.as_mut().poll(context).is_pending())).await);
    assert_eq!(alive(), before + 1);
    drop(asking);
    drop(credentials);
    // Not `eventually`: left alone, it ends by itself after thirty seconds.
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert_eq!(alive(), before);
}
