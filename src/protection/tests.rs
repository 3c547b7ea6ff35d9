//! How the parts work together. Each part alone is tested beside its code.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::clock::{ManualClock, Timestamp};

type Outcome = Result<usize, IntrospectError>;

fn failing(kind: IntrospectErrorKind) -> Outcome {
    Err(IntrospectError::new(kind))
}

fn no_answer() -> Outcome {
    Err(IntrospectError::new(IntrospectErrorKind::Transport).before_answer())
}

fn gateway(status: u16) -> IntrospectError {
    IntrospectError::new(IntrospectErrorKind::Status).with_status(http::StatusCode::from_u16(status).unwrap())
}

fn handle_of(protection: Protection) -> EndpointHandle {
    let authority = Authority { url: "http://localhost/".into(), client: "my-api".into(), ..Authority::default() };
    EndpointHandle::new(Arc::new(protection), Arc::new(authority))
}

struct Asked {
    protection: Protection,
    clock: ManualClock,
    attempts: AtomicUsize,
}

impl Asked {
    fn with(change: impl FnOnce(&mut Limits)) -> Self {
        let mut settings = Limits::new();
        change(&mut settings);
        settings.check().unwrap();
        let clock = ManualClock::at(Timestamp::from_unix_millis(1_700_000_000_000));
        let protection = Protection::new(
            &settings,
            RateLimit::per_minute(6_000),
            Duration::from_secs(3),
            Arc::new(clock.clone()),
            "localhost",
        );
        Self { protection, clock, attempts: AtomicUsize::new(0) }
    }

    /// Asks; `answer` gets the number of the attempt, over all questions, from 1.
    async fn ask(&self, answer: impl Fn(usize) -> Outcome + Sync) -> Outcome {
        let attempt = || {
            let answer = answer(self.attempts.fetch_add(1, Ordering::SeqCst) + 1);
            async move { answer }
        };
        self.run(attempt).await
    }

    /// Asks by an attempt of the test's own, which counts as sent at once.
    async fn run<Fut: Future<Output = Outcome> + Send>(&self, attempt: impl Fn() -> Fut + Sync) -> Outcome {
        self.run_for(Share::Stranger, attempt).await
    }

    async fn run_for<Fut>(&self, share: Share, attempt: impl Fn() -> Fut + Sync) -> Outcome
    where
        Fut: Future<Output = Outcome> + Send,
    {
        let progress = Progress::default();
        let sent = || {
            self.protection.sends(&progress);
            attempt()
        };
        self.protection.run(share, &progress, sent).await
    }

    fn attempts(&self) -> usize {
        self.attempts.load(Ordering::SeqCst)
    }

    fn handle(self) -> EndpointHandle {
        handle_of(self.protection)
    }
}

#[tokio::test(start_paused = true)]
async fn a_question_is_asked_again_after_a_failure_that_says_nothing_and_no_more_often_than_set() {
    let asked = Asked::with(|_| {});
    assert_eq!(asked.ask(|n| if n < 3 { no_answer() } else { Ok(n) }).await.unwrap(), 3);
    asked.ask(|_| Err(gateway(503))).await.unwrap_err();
    assert_eq!(asked.attempts(), 3 + 3);
    let stats = asked.handle().stats();
    assert_eq!((stats.attempts, stats.retries), (6, 4));

    let never = Asked::with(|settings| settings.max_retries = 0);
    never.ask(|_| no_answer()).await.unwrap_err();
    assert_eq!(never.attempts(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_question_pauses_before_each_retry() {
    let now = || tokio::time::sleep(Duration::ZERO).deadline();
    let (asked, began) = (Asked::with(|_| {}), now());
    asked.ask(|_| no_answer()).await.unwrap_err();
    // 50 and 100, each up to half longer, and each rounded up by the timer.
    let paused = (now() - began).as_millis();
    assert!((150..=227).contains(&paused), "{paused} ms");
}

#[tokio::test(start_paused = true)]
async fn what_says_something_is_never_asked_again() {
    let later = || gateway(503).with_retry_after(Duration::from_secs(1));
    let outcomes: [&(dyn Fn() -> Outcome + Sync); 8] = [
        &|| failing(IntrospectErrorKind::Transport),
        &|| failing(IntrospectErrorKind::Timeout),
        &|| failing(IntrospectErrorKind::Answer),
        &|| failing(IntrospectErrorKind::Credentials),
        &|| failing(IntrospectErrorKind::RateLimited),
        &|| Err(gateway(500)),
        &|| Err(gateway(404)),
        &|| Err(later()),
    ];
    for outcome in outcomes {
        let asked = Asked::with(|_| {});
        let error = asked.ask(|_| outcome()).await.unwrap_err();
        assert_eq!(asked.attempts(), 1, "{error:?}");
    }
    for status in [502, 503, 504] {
        let asked = Asked::with(|_| {});
        asked.ask(|_| Err(gateway(status))).await.unwrap_err();
        assert_eq!(asked.attempts(), 3, "{status}");
    }
}

#[tokio::test(start_paused = true)]
async fn retries_have_a_budget() {
    let asked = Asked::with(|settings| {
        settings.breaker_threshold = u32::MAX;
        settings.rate_limit = Some(RateLimit::per_minute(1_000_000));
    });
    for _ in 0..100 {
        asked.ask(|_| no_answer()).await.unwrap_err();
        // No time passes between questions but for their own pauses.
    }
    let retries = asked.attempts() - 100;
    assert!((20..=60).contains(&retries), "{retries}");

    let mut before = asked.attempts();
    asked.ask(|_| no_answer()).await.unwrap_err();
    while asked.attempts() > before + 1 {
        before = asked.attempts();
        asked.ask(|_| no_answer()).await.unwrap_err();
    }
    let known = AtomicUsize::new(0);
    let attempt = async || {
        known.fetch_add(1, Ordering::SeqCst);
        no_answer()
    };
    asked.run_for(Share::Known, attempt).await.unwrap_err();
    assert_eq!(known.into_inner(), 3, "known tokens have one of their own");
}

#[tokio::test(start_paused = true)]
async fn retries_end_with_the_deadline_and_tell_what_was_wrong() {
    for (kind, told) in [
        (IntrospectErrorKind::Connect, IntrospectErrorKind::Connect),
        (IntrospectErrorKind::Transport, IntrospectErrorKind::Timeout),
    ] {
        let asked = Asked::with(|settings| settings.max_retries = 1_000);
        let asking = asked.run(|| async {
            asked.attempts.fetch_add(1, Ordering::SeqCst);
            tokio::time::sleep(Duration::from_secs(1)).await;
            Err(IntrospectError::new(kind).before_answer())
        });
        let error = asking.await.unwrap_err();
        assert_eq!(error.kind(), told, "of the attempt that was cut off nothing is known but for connections");
        assert!(format!("{error:?}").contains(&format!("{kind:?}")), "{error:?}");
        assert_eq!(asked.attempts(), 3, "a second each, and the pauses between them");
    }
}

#[tokio::test(start_paused = true)]
async fn the_breaker_does_not_learn_from_an_attempt_that_had_little_time() {
    for (login, learned) in [(Duration::from_millis(2_400), false), (Duration::from_millis(100), true)] {
        let asked = Asked::with(|settings| settings.breaker_threshold = 1);
        let progress = Progress::default();
        let attempt = || async {
            if asked.attempts.fetch_add(1, Ordering::SeqCst) == 0 {
                tokio::time::sleep(login).await;
                asked.protection.sends(&progress);
                return Err(IntrospectError::new(IntrospectErrorKind::Connect).before_answer());
            }
            std::future::pending::<Outcome>().await
        };
        let outcome = asked.protection.run(Share::Stranger, &progress, attempt).await;
        assert_eq!(outcome.unwrap_err().kind(), IntrospectErrorKind::Connect);
        assert_eq!(asked.handle().stats().breaker == BreakerState::Open, learned, "{login:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_authority_that_is_down_is_left_alone_and_one_question_finds_out_that_it_is_back() {
    let asked = Asked::with(|settings| settings.max_retries = 0);
    for _ in 0..5 {
        asked.ask(|_| failing(IntrospectErrorKind::Connect)).await.unwrap_err();
    }
    let error = asked.ask(Ok).await.unwrap_err();
    assert_eq!(error.kind(), IntrospectErrorKind::CircuitOpen);
    assert_eq!(error.retry_after(), Some(Duration::from_secs(1)));
    assert_eq!(asked.attempts(), 5);
    asked.clock.advance(Duration::from_secs(1));
    assert_eq!(asked.ask(Ok).await.unwrap(), 6);
    assert_eq!(asked.ask(Ok).await.unwrap(), 7);
}

#[tokio::test(start_paused = true)]
async fn a_question_counts_once_for_the_breaker_however_often_it_was_tried() {
    let asked = Asked::with(|settings| settings.breaker_threshold = 2);
    asked.ask(|_| no_answer()).await.unwrap_err();
    assert_eq!(asked.attempts(), 3);
    assert_eq!(asked.protection.strangers.state(asked.clock.now()), BreakerState::Closed);
    asked.ask(|_| no_answer()).await.unwrap_err();
    assert_eq!(asked.protection.strangers.state(asked.clock.now()), BreakerState::Open);
}

#[tokio::test(start_paused = true)]
async fn a_timeout_counts_for_the_breaker() {
    let asked = Asked::with(|settings| settings.breaker_threshold = 1);
    let hanging = asked.run(std::future::pending::<Outcome>);
    assert!(hanging.await.unwrap_err().is_timeout());
    assert_eq!(asked.protection.strangers.state(asked.clock.now()), BreakerState::Open);
}

#[tokio::test(start_paused = true)]
async fn a_probe_whose_caller_gives_up_leaves_its_place() {
    let asked = Asked::with(|settings| settings.breaker_threshold = 1);
    asked.ask(|_| failing(IntrospectErrorKind::Connect)).await.unwrap_err();
    asked.clock.advance(Duration::from_secs(1));
    let probe = asked.run(std::future::pending::<Outcome>);
    assert!(tokio::time::timeout(Duration::from_millis(1), probe).await.is_err());
    assert!(asked.ask(Ok).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_pause_the_authority_asks_for_is_kept_within_its_bound() {
    let limited = |seconds| {
        move |_| {
            Err(IntrospectError::new(IntrospectErrorKind::RateLimited).with_retry_after(Duration::from_secs(seconds)))
        }
    };
    let asked = Asked::with(|_| {});
    let error = asked.ask(limited(3_600)).await.unwrap_err();
    assert_eq!(error.retry_after(), Some(Duration::from_secs(30)));
    let error = asked.ask(Ok).await.unwrap_err();
    assert_eq!((error.kind(), error.retry_after()), (IntrospectErrorKind::CircuitOpen, Some(Duration::from_secs(30))));
    asked.clock.advance(Duration::from_secs(30));
    assert!(asked.ask(Ok).await.is_ok());

    let ignoring = Asked::with(|settings| settings.max_retry_after = Duration::ZERO);
    assert_eq!(ignoring.ask(limited(7)).await.unwrap_err().retry_after(), None);
    assert!(ignoring.ask(Ok).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_question_whose_turn_is_too_far_away_is_turned_away_at_once_and_not_counted_as_an_outage() {
    let asked = Asked::with(|settings| {
        settings.rate_limit = Some(RateLimit { requests: 1, per: Duration::from_secs(60) });
        settings.breaker_threshold = 1;
    });
    assert!(asked.ask(Ok).await.is_ok());
    for _ in 0..3 {
        assert!(asked.ask(Ok).await.unwrap_err().is_overloaded());
    }
    asked.clock.advance(Duration::from_secs(61));
    assert!(asked.ask(Ok).await.is_ok());
    let stats = asked.handle().stats();
    assert_eq!((stats.attempts, stats.turned_away, stats.breaker), (2, 3, BreakerState::Closed));
}

#[tokio::test(start_paused = true)]
async fn retries_keep_the_rate_as_well() {
    let asked = Asked::with(|settings| {
        settings.rate_limit = Some(RateLimit { requests: 2, per: Duration::from_secs(60) });
        settings.max_wait = Duration::ZERO;
    });
    asked.ask(|_| no_answer()).await.unwrap_err();
    assert_eq!(asked.attempts(), 1, "the second would come too early");
}

/// One question a second, each of which may wait for the next turn: a stranger half as long as a known token.
fn one_a_second(settings: &mut Limits) {
    settings.rate_limit = Some(RateLimit { requests: 1, per: Duration::from_secs(1) });
    settings.max_wait = Duration::from_secs(3);
}

#[tokio::test(start_paused = true)]
async fn a_retry_waits_for_its_turn() {
    let asked = Asked::with(one_a_second);
    let mut question = Box::pin(asked.ask(|n| if n == 1 { no_answer() } else { Ok(n) }));
    tokio::time::timeout(Duration::from_millis(999), &mut question).await.unwrap_err();
    assert_eq!(asked.attempts(), 1, "the second would come too early");
    assert_eq!(question.await.unwrap(), 2);
}

#[tokio::test(start_paused = true)]
async fn one_more_exchange_of_a_question_waits_for_its_turn() {
    let asked = Asked::with(one_a_second);
    let mut question = Box::pin(asked.run(async || {
        asked.attempts.fetch_add(1, Ordering::SeqCst);
        asked.protection.take_another_turn(Share::Stranger).await?;
        Ok(asked.attempts.fetch_add(1, Ordering::SeqCst) + 1)
    }));
    tokio::time::timeout(Duration::from_millis(999), &mut question).await.unwrap_err();
    assert_eq!(asked.attempts(), 1, "the second would come too early");
    assert_eq!(question.await.unwrap(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_question_waits_for_a_place_while_it_may_and_then_is_turned_away() {
    let asked = Asked::with(|settings| settings.max_concurrent_requests = 1);
    let hanging = asked.run(std::future::pending::<Outcome>);
    let (hung, waited) = tokio::join!(hanging, asked.ask(Ok));
    assert!(hung.unwrap_err().is_timeout());
    assert!(waited.unwrap_err().is_overloaded(), "a second of three");

    let patient = Asked::with(|settings| {
        settings.max_concurrent_requests = 1;
        settings.max_wait = Duration::from_secs(60);
    });
    let hanging = patient.run(std::future::pending::<Outcome>);
    let (_, waited) = tokio::join!(hanging, patient.ask(Ok));
    assert!(waited.unwrap_err().is_overloaded(), "the deadline is the bound then");
}

#[tokio::test(start_paused = true)]
async fn health_tells_an_outage_and_that_the_next_question_may_end_it() {
    let asked = Asked::with(|settings| {
        settings.breaker_threshold = 5;
        settings.max_retries = 0;
    });
    for _ in 0..5 {
        assert_eq!(asked.protection.health(), Health::Healthy);
        asked.ask(|_| failing(IntrospectErrorKind::Connect)).await.unwrap_err();
    }
    assert_eq!(asked.protection.health(), Health::Failing);
    assert!(!asked.protection.health().is_ready());
    asked.clock.advance(Duration::from_secs(1));
    assert_eq!(asked.protection.health(), Health::Recovering);
    assert!(asked.protection.health().is_ready());
    asked.ask(Ok).await.unwrap();
    assert_eq!(asked.handle().health(), Health::Healthy);
}

#[tokio::test(start_paused = true)]
async fn health_tells_failures_that_open_no_breaker_if_there_is_nothing_else() {
    let asked = Asked::with(|_| {});
    for _ in 0..4 {
        asked.ask(|_| failing(IntrospectErrorKind::Credentials)).await.unwrap_err();
    }
    assert_eq!(asked.protection.health(), Health::Healthy, "a firewall that minds a token is no outage");
    asked.ask(|_| Err(gateway(500))).await.unwrap_err();
    assert_eq!(asked.protection.health(), Health::Failing);
    asked.clock.advance(Duration::from_secs(30));
    assert_eq!(asked.protection.health(), Health::Recovering, "or nobody would ask again");
    asked.ask(|_| Err(gateway(500))).await.unwrap_err();
    assert_eq!(asked.protection.health(), Health::Failing);
    asked.ask(Ok).await.unwrap();
    assert_eq!(asked.protection.health(), Health::Healthy);
}

#[tokio::test(start_paused = true)]
async fn strangers_that_fail_are_no_outage_while_known_tokens_are_answered() {
    let asked = Asked::with(|_| {});
    let health_after_junk = async || {
        for _ in 0..5 {
            asked.ask(|_| Err(gateway(400))).await.unwrap_err();
        }
        asked.protection.health()
    };
    asked.run_for(Share::Known, async || Ok(1)).await.unwrap();
    assert_eq!(health_after_junk().await, Health::Healthy);
    asked.clock.advance(Duration::from_secs(120));
    assert_eq!(health_after_junk().await, Health::Failing, "that was long ago");
    asked.run_for(Share::Known, async || Ok(1)).await.unwrap();
    asked.run_for(Share::Known, async || failing(IntrospectErrorKind::Credentials)).await.unwrap_err();
    assert_eq!(health_after_junk().await, Health::Failing, "known tokens fail, too");
}

#[tokio::test(start_paused = true)]
async fn strangers_that_fail_do_not_keep_known_tokens_from_being_asked_about() {
    let asked = Asked::with(|settings| settings.max_retries = 0);
    for _ in 0..20 {
        asked.ask(|_| failing(IntrospectErrorKind::Transport)).await.unwrap_err();
    }
    assert_eq!(asked.attempts(), 5);
    assert!(asked.run_for(Share::Known, async || Ok(1)).await.is_ok());
    assert_eq!(asked.protection.health(), Health::Healthy);
    let error = asked.ask(Ok).await.unwrap_err();
    assert_eq!(error.kind(), IntrospectErrorKind::CircuitOpen, "which does not show that strangers would be answered");
    asked.clock.advance(Duration::from_secs(1));
    assert!(asked.ask(Ok).await.is_ok(), "but this does");

    for _ in 0..5 {
        asked.run_for(Share::Known, async || failing(IntrospectErrorKind::Transport)).await.unwrap_err();
    }
    assert_eq!(asked.ask(Ok).await.unwrap_err().kind(), IntrospectErrorKind::CircuitOpen, "and so is their failure");
    let known = asked.run_for(Share::Known, async || Ok(1)).await;
    assert_eq!(known.unwrap_err().kind(), IntrospectErrorKind::CircuitOpen);
    assert_eq!(asked.protection.health(), Health::Failing);
    assert_eq!(asked.handle().stats().breaker, BreakerState::Open);
}

/// A quarter of a minute of junk that is answered with 502, among tokens in use.
#[tokio::test(start_paused = true)]
async fn junk_that_fails_costs_the_authority_little_however_well_known_tokens_are_answered() {
    let asked = Asked::with(|settings| settings.max_retries = 0);
    for _ in 0..160 {
        asked.run_for(Share::Known, async || Ok(1)).await.unwrap();
        for _ in 0..10 {
            asked.ask(|_| Err(gateway(502))).await.unwrap_err();
        }
        asked.clock.advance(Duration::from_millis(100));
    }
    assert_eq!(asked.attempts(), 5 + 4, "until the breaker opens, and then probes after 1, 2, 4 and 8 seconds");
    assert!(!handle_of(asked.protection).leaves_known_tokens_alone());
}

#[tokio::test(start_paused = true)]
async fn known_tokens_are_left_alone_while_their_own_breaker_is_open() {
    let asked = Asked::with(|settings| (settings.breaker_threshold, settings.max_retries) = (1, 0));
    asked.run_for(Share::Known, async || failing(IntrospectErrorKind::Transport)).await.unwrap_err();
    assert!(asked.handle().leaves_known_tokens_alone());
}

#[tokio::test(start_paused = true)]
async fn health_recovers_while_strangers_are_answered_and_known_tokens_are_yet_to_be() {
    let asked = Asked::with(|settings| (settings.breaker_threshold, settings.max_retries) = (1, 0));
    asked.run_for(Share::Known, async || failing(IntrospectErrorKind::Transport)).await.unwrap_err();
    asked.clock.advance(Duration::from_secs(1));
    asked.ask(Ok).await.unwrap();
    assert_eq!(asked.protection.health(), Health::Recovering);
}

#[tokio::test(start_paused = true)]
async fn a_clock_set_back_a_little_does_not_hide_that_known_tokens_are_answered() {
    let asked = Asked::with(|_| {});
    for _ in 0..5 {
        asked.ask(|_| Err(gateway(400))).await.unwrap_err();
    }
    asked.run_for(Share::Known, async || Ok(1)).await.unwrap();
    for _ in 0..5 {
        asked.ask(|_| Err(gateway(400))).await.unwrap_err();
    }
    asked.clock.set(asked.clock.now() - Duration::from_millis(500));
    assert_eq!(asked.protection.health(), Health::Healthy);
}

#[tokio::test(start_paused = true)]
async fn a_stranger_that_is_answered_ends_the_pause_of_known_tokens() {
    let asked = Asked::with(|settings| settings.max_retries = 0);
    let known = |outcome: fn() -> Outcome| asked.run_for(Share::Known, move || std::future::ready(outcome()));
    for _ in 0..5 {
        known(|| failing(IntrospectErrorKind::Transport)).await.unwrap_err();
    }
    asked.clock.advance(Duration::from_secs(1));
    known(|| failing(IntrospectErrorKind::Transport)).await.unwrap_err();
    assert_eq!(known(|| Ok(1)).await.unwrap_err().kind(), IntrospectErrorKind::CircuitOpen, "two seconds now");
    assert!(asked.ask(Ok).await.is_ok(), "the strangers' own pause is over");
    assert!(known(|| Ok(1)).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn time_that_a_login_took_is_not_held_against_the_authority() {
    let asked = Asked::with(|settings| settings.breaker_threshold = 1);
    let progress = Progress::default();
    let waiting = asked.protection.run(Share::Stranger, &progress, std::future::pending::<Outcome>);
    assert!(waiting.await.unwrap_err().is_timeout());
    assert_eq!(asked.protection.strangers.state(asked.clock.now()), BreakerState::Closed, "nothing was sent");
}

#[tokio::test(start_paused = true)]
async fn a_login_that_fails_says_nothing_about_the_authority() {
    let asked = Asked::with(|settings| (settings.breaker_threshold, settings.max_retries) = (1, 0));
    // A failure of this share opens both.
    asked.run_for(Share::Known, async || failing(IntrospectErrorKind::Transport)).await.unwrap_err();
    asked.clock.advance(Duration::from_secs(1));
    let states =
        || [Share::Known, Share::Stranger].map(|share| asked.protection.breaker(share).state(asked.clock.now()));
    for share in [Share::Known, Share::Stranger] {
        let progress = Progress::default();
        let login_fails = || std::future::ready(failing(IntrospectErrorKind::Credentials));
        asked.protection.run(share, &progress, login_fails).await.unwrap_err();
        assert_eq!(states(), [BreakerState::HalfOpen; 2]);
    }
    assert_eq!(asked.protection.failures.load(Relaxed), 3, "each of them failed");

    // The credentials expire between two attempts, of which the first one finds nobody.
    let retrying = Asked::with(|settings| settings.breaker_threshold = 2);
    retrying.run_for(Share::Known, async || failing(IntrospectErrorKind::Transport)).await.unwrap_err();
    let (progress, attempts) = (Progress::default(), AtomicUsize::new(0));
    let sends_once = || {
        let is_first = attempts.fetch_add(1, Ordering::SeqCst) == 0;
        if is_first {
            retrying.protection.sends(&progress);
        }
        std::future::ready(if is_first { no_answer() } else { failing(IntrospectErrorKind::Credentials) })
    };
    retrying.protection.run(Share::Known, &progress, sends_once).await.unwrap_err();
    assert_eq!(attempts.load(Ordering::SeqCst), 2);
    retrying.run_for(Share::Known, async || failing(IntrospectErrorKind::Transport)).await.unwrap_err();
    let state = retrying.protection.known.state(retrying.clock.now());
    assert_eq!(state, BreakerState::Open, "the failure before it is not forgotten");
    assert!(asked.ask(Ok).await.is_ok(), "and the next question is the probe");
    assert_eq!(states(), [BreakerState::HalfOpen, BreakerState::Closed]);
    assert!(asked.run_for(Share::Known, async || Ok(1)).await.is_ok());
    assert_eq!(states(), [BreakerState::Closed; 2]);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_a_caller_can_bring_about_is_no_news_about_tokens_in_use() {
    let asked = Asked::with(|settings| (settings.breaker_threshold, settings.max_retries) = (1, 0));
    for answer in [400, 403, 500] {
        for share in [Share::Known, Share::Stranger] {
            asked.run_for(share, async || failing(IntrospectErrorKind::Transport)).await.unwrap_err();
        }
        asked.clock.advance(Duration::from_secs(1));
        asked.ask(|_| Err(gateway(answer))).await.unwrap_err();
        let state = |share| asked.protection.breaker(share).state(asked.clock.now());
        assert_eq!(state(Share::Stranger), BreakerState::Closed, "{answer}");
        assert_eq!(state(Share::Known), BreakerState::HalfOpen, "{answer}");
        asked.run_for(Share::Known, async || Ok(1)).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn time_that_passes_once_the_authority_has_answered_is_not_held_against_it() {
    let asked = Asked::with(|settings| settings.breaker_threshold = 1);
    let progress = Progress::default();
    let attempt = || async {
        asked.protection.sends(&progress);
        progress.is_answered();
        std::future::pending::<Outcome>().await
    };
    assert!(asked.protection.run(Share::Stranger, &progress, attempt).await.unwrap_err().is_timeout());
    assert_eq!(asked.protection.strangers.state(asked.clock.now()), BreakerState::Closed);
}

#[tokio::test(start_paused = true)]
async fn the_last_failure_is_kept_with_its_time_and_causes_and_outlives_answers_and_what_was_not_sent() {
    let asked = Asked::with(|settings| (settings.breaker_threshold, settings.max_retries) = (2, 0));
    let last = |asked: &Asked| lock(&asked.protection.last_stranger_failure).clone();
    assert!(last(&asked).is_none());

    for passed in [0, 5] {
        asked.clock.advance(Duration::from_secs(passed));
        let error = IntrospectError::new(IntrospectErrorKind::Connect).with_source("the outer cause");
        asked.ask(|_| Err(error.clone())).await.unwrap_err();
    }
    let failed_at = asked.clock.now();
    asked.clock.advance(Duration::from_millis(1));
    assert_eq!(asked.ask(Ok).await.unwrap_err().kind(), IntrospectErrorKind::CircuitOpen);
    asked.clock.advance(Duration::from_secs(60));
    asked.ask(Ok).await.unwrap();
    asked.ask(|_| failing(IntrospectErrorKind::Overloaded)).await.unwrap_err();
    let LastFailure { at, kind, text } = last(&asked).unwrap();
    assert_eq!((at, kind), (failed_at, IntrospectErrorKind::Connect));
    assert_eq!(&*text, "no connection to the authority: the outer cause");
    // One that nobody waited for.
    let hangs = asked.run(std::future::pending);
    tokio::time::timeout(Duration::from_millis(1_500), hangs).await.unwrap_err();
    assert_eq!(last(&asked).unwrap().kind, IntrospectErrorKind::Timeout);
    assert_eq!(asked.handle().stats().last_stranger_failure.unwrap().kind, IntrospectErrorKind::Timeout);
}

#[tokio::test(start_paused = true)]
async fn the_text_of_a_failure_is_one_line_with_every_cause_and_has_an_end() {
    let text = async |source: Box<dyn std::error::Error + Send + Sync>| {
        let asked = Asked::with(|settings| settings.max_retries = 0);
        let error = IntrospectError::new(IntrospectErrorKind::Credentials).with_source(source);
        asked.ask(|_| Err(error.clone())).await.unwrap_err();
        asked.handle().stats().last_stranger_failure.unwrap().text
    };
    let says = "this service's own credentials were refused, or could not be obtained";
    assert_eq!(&*text(Box::new(Outer)).await, format!("{says}: the outer cause: the inner cause"));
    assert_eq!(&*text("two\r\nlines".into()).await, format!("{says}: two  lines"));
    let room = 500 - format!("{says}: ").chars().count();
    for (long, ends_with) in [(room, "éé"), (room + 1, "é…"), (10_000, "é…")] {
        let text = text("é".repeat(long).into()).await;
        assert!(text.ends_with(ends_with) && text.chars().count() == 500, "{text}");
    }
    assert_eq!(text(Box::new(Round)).await.chars().count(), 500, "a cause that is its own cause");
}

#[derive(Debug)]
struct Outer;

#[derive(Debug)]
struct Inner;

/// Its own cause.
#[derive(Debug)]
struct Round;

macro_rules! error {
    ($error:ident, $text:literal, $source:expr) => {
        impl std::fmt::Display for $error {
            fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
                f.write_str($text)
            }
        }

        impl std::error::Error for $error {
            fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
                $source
            }
        }
    };
}

error!(Outer, "the outer cause", Some(&Inner));
error!(Inner, "the inner cause", None);
error!(Round, "round and round", Some(&Round));

#[tokio::test(start_paused = true)]
async fn a_question_given_up_after_the_authority_had_its_time_counts_as_a_timeout() {
    let asked = Asked::with(|settings| settings.breaker_threshold = 2);
    let given_up_after = async |millis| {
        let hangs = asked.run(std::future::pending);
        tokio::time::timeout(Duration::from_millis(millis), hangs).await.unwrap_err();
    };
    given_up_after(1_499).await;
    given_up_after(1_499).await;
    let state = || asked.protection.breaker(Share::Stranger).state(asked.clock.now());
    assert_eq!((state(), asked.protection.failures.load(Relaxed)), (BreakerState::Closed, 0));
    given_up_after(1_500).await;
    given_up_after(1_500).await;
    assert_eq!((state(), asked.protection.failures.load(Relaxed)), (BreakerState::Open, 2));
}

#[tokio::test(start_paused = true)]
async fn whoever_makes_the_answers_about_a_token_of_its_own_fail_does_not_make_the_endpoint_count_as_failing() {
    use IntrospectErrorKind::{Abandoned, Answer, Credentials, Timeout};
    let kind = IntrospectError::new;
    for (error, then) in [
        (kind(Answer), Health::Healthy),
        (kind(Answer).too_large(), Health::Healthy),
        (kind(Abandoned), Health::Healthy),
        (gateway(500), Health::Healthy),
        (gateway(502), Health::Failing),
        (kind(Timeout), Health::Failing),
        (kind(Credentials), Health::Failing),
    ] {
        let asked = Asked::with(|settings| (settings.breaker_threshold, settings.max_retries) = (100, 0));
        asked.run_for(Share::Known, async || Ok(1)).await.unwrap();
        for _ in 0..5 {
            asked.run_for(Share::Known, || std::future::ready(Err(error.clone()))).await.unwrap_err();
        }
        assert_eq!(asked.protection.health(), then, "{error:?}");
        asked.clock.advance(Duration::from_secs(120));
        asked.run_for(Share::Known, || std::future::ready(Err(error.clone()))).await.unwrap_err();
        assert_eq!(asked.protection.health(), Health::Failing, "nothing else is answered: {error:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_failure_that_a_stranger_brought_about_does_not_hide_that_of_a_token_in_use() {
    let asked = Asked::with(|settings| settings.max_retries = 0);
    asked.run_for(Share::Known, async || failing(IntrospectErrorKind::Credentials)).await.unwrap_err();
    asked.ask(|_| Err(gateway(400))).await.unwrap_err();
    let stats = asked.handle().stats();
    assert_eq!(stats.last_known_failure.unwrap().kind, IntrospectErrorKind::Credentials);
    assert_eq!(stats.last_stranger_failure.unwrap().kind, IntrospectErrorKind::Status);
}

/// Books the first turns, and then says that it is too late.
struct Few(AtomicUsize);

impl SharedPace for Few {
    fn take(&self, _: TurnOf) -> Booking<'_> {
        let is_left = self.0.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok();
        Box::pin(async move { Some(if is_left { Ok(Duration::ZERO) } else { Err(TooLate) }) })
    }

    fn processes(&self) -> u32 {
        1
    }
}

#[tokio::test(start_paused = true)]
async fn questions_retries_and_further_exchanges_take_their_turns_from_the_shared_pace() {
    let asked = Asked::with(|settings| settings.max_retries = 5);
    let few: Arc<dyn SharedPace> = Arc::new(Few(AtomicUsize::new(3)));
    asked.protection.turns.join(&few).unwrap();
    let error = asked.ask(|_| no_answer()).await.unwrap_err();
    assert_eq!((asked.attempts(), error.kind()), (3, IntrospectErrorKind::Transport), "two retries had a turn");
    let late = asked.protection.take_another_turn(Share::Known).await.unwrap_err();
    assert_eq!(late.kind(), IntrospectErrorKind::Overloaded);
    assert_eq!(asked.ask(|_| Ok(1)).await.unwrap_err().kind(), IntrospectErrorKind::Overloaded);
    let handle = asked.handle();
    assert!(handle.share_turns(&few).is_ok());
    let other: Arc<dyn SharedPace> = Arc::new(Few(AtomicUsize::new(0)));
    assert!(handle.share_turns(&other).is_err());
}
