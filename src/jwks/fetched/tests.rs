//! Time is tokio's, paused; the issuer is one that the test scripts.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use tokio::sync::Notify;

use super::super::allowance::PAUSE;
use super::*;

const X25519: &str = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";

fn keys(kids: &[&str]) -> KeySet {
    let keys: Vec<_> =
        kids.iter().map(|kid| serde_json::json!({"kty": "OKP", "crv": "Ed25519", "kid": kid, "x": X25519})).collect();
    KeySet::published(serde_json::json!({ "keys": keys }).to_string().as_bytes()).unwrap()
}

fn names(kid: &str) -> impl Fn(&KeySet) -> bool {
    move |keys| keys.kids().contains(&kid)
}

/// Publishes keys, or fails; holds answers back if it is told to.
#[derive(Default)]
struct Script {
    kids: Mutex<Vec<String>>,
    fails: AtomicBool,
    holds: AtomicBool,
    goes_on: Notify,
    fetches: AtomicU32,
    now: Mutex<i64>,
}

impl Script {
    fn publishes(kids: &[&str]) -> Arc<Self> {
        let script = Arc::new(Self::default());
        script.rotate(kids);
        script
    }

    fn rotate(&self, kids: &[&str]) {
        *self.kids.lock().unwrap() = kids.iter().map(|kid| (*kid).to_owned()).collect();
    }

    fn fetches(&self) -> u32 {
        self.fetches.load(Ordering::Relaxed)
    }

    fn fails(&self, fails: bool) {
        self.fails.store(fails, Ordering::Relaxed);
    }

    fn fetched(self: &Arc<Self>) -> Fetched {
        Fetched::new(Arc::clone(self), Duration::from_secs(300))
    }
}

impl Publisher for Arc<Script> {
    fn fetch(&self, _: Share) -> Fetching<'_> {
        Box::pin(async {
            self.fetches.fetch_add(1, Ordering::Relaxed);
            if self.holds.load(Ordering::Relaxed) {
                self.goes_on.notified().await;
            }
            if self.fails.load(Ordering::Relaxed) {
                return Err(IntrospectError::new(IntrospectErrorKind::Connect));
            }
            let kids = self.kids.lock().unwrap().clone();
            Ok(keys(&kids.iter().map(String::as_str).collect::<Vec<_>>()))
        })
    }

    fn now(&self) -> Timestamp {
        Timestamp::from_unix_millis(*self.now.lock().unwrap())
    }

    fn host(&self) -> &str {
        "issuer.example"
    }

    fn longest_fetch(&self) -> Duration {
        Duration::from_secs(4)
    }
}

async fn pass(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

async fn has(fetched: &Fetched, kid: &str) -> Result<bool, IntrospectErrorKind> {
    let found = fetched.find(Some(kid), None, names(kid)).await;
    found.map(|found| found.is_some()).map_err(|error| error.kind())
}

#[tokio::test(start_paused = true)]
async fn keys_are_fetched_once_for_all_who_come_first() {
    let script = Script::publishes(&["a"]);
    let fetched = Arc::new(script.fetched());
    let asking = (0..100).map(|_| {
        let fetched = Arc::clone(&fetched);
        async move { has(&fetched, "a").await }
    });
    let found = futures(asking).await;
    assert!(found.iter().all(|found| *found == Ok(true)));
    assert_eq!(script.fetches(), 1);
}

async fn futures<T: Send + 'static>(all: impl Iterator<Item = impl Future<Output = T> + Send + 'static>) -> Vec<T> {
    all.collect::<tokio::task::JoinSet<T>>().join_all().await
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_unknown_keys_is_one_fetch_in_half_a_minute_and_known_ones_do_not_wait() {
    let script = Script::publishes(&["a"]);
    let fetched = Arc::new(script.fetched());
    assert_eq!(has(&fetched, "a").await, Ok(true));
    script.holds.store(true, Ordering::Relaxed);
    let junk = {
        let fetched = Arc::clone(&fetched);
        tokio::spawn(futures((0..50_000).map(move |n| {
            let fetched = Arc::clone(&fetched);
            async move { has(&fetched, &n.to_string()).await }
        })))
    };
    tokio::task::yield_now().await;
    // The fetch that junk has caused hangs.
    for _ in 0..100 {
        assert_eq!(has(&fetched, "a").await, Ok(true));
    }
    script.holds.store(false, Ordering::Relaxed);
    script.goes_on.notify_one();
    let answers = junk.await.unwrap();
    assert_eq!(script.fetches(), 2, "the first one, and one for all of them");
    assert_eq!(answers.iter().filter(|answer| **answer == Ok(false)).count(), 1, "who started it knows");
    assert!(answers.iter().all(|answer| matches!(answer, Ok(false) | Err(IntrospectErrorKind::Overloaded))));
}

#[tokio::test(start_paused = true)]
async fn a_rotation_in_the_middle_of_a_flood_is_noticed_when_the_new_key_is_named_again() {
    let script = Script::publishes(&["a"]);
    let fetched = script.fetched();
    assert_eq!(has(&fetched, "a").await, Ok(true));
    for n in 0..25_000 {
        assert_ne!(has(&fetched, &n.to_string()).await, Ok(true));
    }
    script.rotate(&["a", "b"]);
    assert_eq!(has(&fetched, "b").await, Err(IntrospectErrorKind::Overloaded), "neither accepted nor refused");
    assert_eq!(has(&fetched, "b").await, Ok(true));
    for n in 25_000..50_000 {
        assert_ne!(has(&fetched, &n.to_string()).await, Ok(true));
    }
    assert_eq!(script.fetches(), 3, "at first, by junk, and by the issuer's own tokens");
    pass(PAUSE.as_secs()).await;
    script.rotate(&["c"]);
    assert_eq!(has(&fetched, "c").await, Ok(true), "half a minute later at once");
}

#[tokio::test(start_paused = true)]
async fn a_key_that_was_removed_goes_with_the_next_refresh_and_the_refresh_ends_with_who_it_is_for() {
    let script = Script::publishes(&["a"]);
    let fetched = script.fetched();
    assert_eq!(has(&fetched, "a").await, Ok(true));
    script.rotate(&["b"]);
    assert_eq!(has(&fetched, "a").await, Ok(true));
    pass(300).await;
    assert_eq!(script.fetches(), 2);
    assert_eq!(has(&fetched, "b").await, Ok(true));
    assert_eq!(has(&fetched, "a").await, Ok(false));
    let fetches = script.fetches();
    drop(fetched);
    pass(3_000).await;
    assert_eq!(script.fetches(), fetches);
}

#[tokio::test(start_paused = true)]
async fn a_failure_drops_no_key_and_the_next_refresh_is_sooner() {
    let script = Script::publishes(&["a"]);
    let fetched = script.fetched();
    assert_eq!(has(&fetched, "a").await, Ok(true));
    script.fails(true);
    pass(3_000).await;
    assert!(script.fetches() > 80, "{}", script.fetches());
    assert_eq!(has(&fetched, "a").await, Ok(true));
    assert_eq!(has(&fetched, "b").await, Err(IntrospectErrorKind::Connect), "keys that cannot be had refuse nobody");
    script.fails(false);
    script.rotate(&["a", "b"]);
    pass(30).await;
    assert_eq!(has(&fetched, "b").await, Ok(true));
}

#[tokio::test(start_paused = true)]
async fn an_issuer_that_is_down_at_first_is_asked_once_a_second_however_many_wait() {
    let script = Script::publishes(&["a"]);
    script.fails(true);
    let fetched = script.fetched();
    for _ in 0..1_000 {
        assert_eq!(has(&fetched, "a").await, Err(IntrospectErrorKind::Connect));
    }
    assert_eq!(script.fetches(), 1);
    script.fails(false);
    pass(1).await;
    assert_eq!(has(&fetched, "a").await, Ok(true));
}

#[tokio::test(start_paused = true)]
async fn for_a_token_that_is_older_than_the_keys_at_hand_nobody_is_asked() {
    let script = Script::publishes(&["a"]);
    *script.now.lock().unwrap() = 1_000_000;
    let fetched = script.fetched();
    assert_eq!(has(&fetched, "a").await, Ok(true));
    let looks_for = async |issued_at| {
        let found = fetched.find(Some("b"), Some(Timestamp::from_unix_millis(issued_at)), names("b")).await;
        (found.map(|found| found.is_some()).map_err(|error| error.kind()), script.fetches())
    };
    assert_eq!(looks_for(939_999).await, (Ok(false), 1));
    assert_eq!(looks_for(940_000).await, (Ok(false), 2));
    assert_eq!(looks_for(940_000).await, (Err(IntrospectErrorKind::Overloaded), 2));
    assert_eq!(looks_for(939_999).await, (Ok(false), 2));
}

#[test]
fn a_runtime_that_is_kept_and_not_driven_holds_nobody_up() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let script = Script::publishes(&["a"]);
    let fetched = script.fetched();
    let kept = runtime();
    // The fetch is started there, and nobody waits for it.
    kept.block_on(async {
        assert!(tokio::time::timeout(Duration::ZERO, fetched.find(None, None, |_| true)).await.is_err());
    });
    runtime().block_on(async {
        assert_eq!(has(&fetched, "a").await, Err(IntrospectErrorKind::Abandoned), "that one was given up");
        assert_eq!(has(&fetched, "a").await, Ok(true));
        script.rotate(&["b"]);
        pass(305).await;
        assert_eq!(has(&fetched, "a").await, Ok(true), "nobody has refreshed them");
        pass(301).await;
        assert_eq!(has(&fetched, "a").await, Ok(false), "and now somebody does");
    });
    drop(kept);
}

#[tokio::test(start_paused = true)]
async fn while_a_fetch_hangs_few_wait_for_keys_nobody_knows() {
    let script = Script::publishes(&["a"]);
    let fetched = Arc::new(script.fetched());
    assert_eq!(has(&fetched, "a").await, Ok(true));
    script.holds.store(true, Ordering::Relaxed);
    let mut asking = tokio::task::JoinSet::new();
    for n in 0..1_000 {
        let fetched = Arc::clone(&fetched);
        asking.spawn(async move { has(&fetched, &n.to_string()).await });
    }
    let mut turned_away = 0;
    while turned_away < 1_000 - MOST_LOOKING {
        assert_eq!(asking.join_next().await.unwrap().unwrap(), Err(IntrospectErrorKind::Overloaded));
        turned_away += 1;
    }
    assert_eq!(asking.len(), MOST_LOOKING);
    script.goes_on.notify_one();
    asking.join_all().await;
    assert_eq!(fetched.shared.state().looking, 0);
}

#[tokio::test(start_paused = true)]
async fn an_issuer_that_publishes_no_key_any_more_has_none() {
    let script = Script::publishes(&["a"]);
    let fetched = script.fetched();
    assert_eq!(has(&fetched, "a").await, Ok(true));
    script.rotate(&[]);
    pass(300).await;
    assert_eq!(has(&fetched, "a").await, Ok(false));
}

#[test]
fn when_its_runtime_has_gone_away_the_next_question_has_keys_refreshed_again() {
    let script = Script::publishes(&["a"]);
    let fetched = script.fetched();
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let first = runtime();
    assert_eq!(first.block_on(has(&fetched, "a")), Ok(true));
    drop(first);
    runtime().block_on(async {
        assert_eq!(has(&fetched, "a").await, Ok(true));
        pass(300).await;
    });
    assert_eq!(script.fetches(), 2);
}

#[tokio::test(start_paused = true)]
async fn one_refresh_is_at_most_a_tenth_earlier_and_never_later() {
    let pause = Duration::from_secs(100);
    for _ in 0..1_000 {
        let spread = spread(pause);
        assert!((Duration::from_secs(90)..=pause).contains(&spread), "{spread:?}");
    }
}
