//! How long what one process has learned serves in the others.

use std::time::Duration;

use tower_introspection::cache::CachedBuilder;
use tower_introspection::clock::{Clock, ManualClock};
use tower_introspection::introspect::IntrospectErrorKind;
use tower_introspection::{AccessToken, InactiveReason, Scopes, Verdict};

use super::{Process, all_read, engine, passes, passes_for, until_in};
use crate::support::{Authority, START, bearer, failure, inactive, millis, secs, spawn_ask};

fn until(deadline: Duration) -> AccessToken {
    AccessToken::builder().scopes(Scopes::parse("read")).expires_at(START + deadline).build()
}

/// Whoever has to ask fails.
fn is_silent(authority: &Authority) {
    authority.says(failure(IntrospectErrorKind::Connect));
}

/// Invariant 5: a verdict is shared as the authority gave it; each process judges it by its own settings, each time.
#[tokio::test(start_paused = true)]
async fn each_process_judges_an_answer_by_its_own_settings() {
    let (engine, clock) = engine();
    let authority = Authority::new(Ok(Verdict::Active(until(secs(50)))));
    let with = |settings: fn(CachedBuilder<Authority>) -> CachedBuilder<Authority>| {
        Process::set_up(&engine, &clock, &authority, |fleet| fleet, |cache| settings(cache.refresh_ahead(0.0)))
    };
    let usual = with(|cache| cache);
    let short = with(|cache| cache.max_ttl(secs(20)));
    let careful = with(|cache| cache.expiry_leeway(secs(20)));
    let none = with(|cache| cache.max_ttl(Duration::ZERO));
    all_read(&[&usual, &short, &careful, &none]).await;
    assert!(usual.presents("abc").await.unwrap().is_active());
    passes(&clock, secs(10)).await;
    is_silent(&authority);
    for process in [&short, &careful] {
        let Ok(Verdict::Active(token)) = process.presents("abc").await else { panic!("it is active") };
        assert_eq!(token.scopes().to_string(), "read");
    }
    assert!(none.presents("abc").await.is_err(), "it takes nothing that was asked for before");
    for (time, short_serves, careful_serves, usual_serves) in [
        (19_700, true, true, true),
        (20_000, false, true, true),
        (30_000, false, false, true),
        (50_000, false, false, false),
    ] {
        passes(&clock, millis(time) - clock.now().saturating_since(START)).await;
        let serves = [&short, &careful, &usual].map(|process| process.presents("abc"));
        let [one, two, three] = serves;
        let serves = [one.await.is_ok(), two.await.is_ok(), three.await.is_ok()];
        assert_eq!(serves, [short_serves, careful_serves, usual_serves], "at {time} ms");
    }
}

/// Invariant 6: the window counts from the question, through however many hops.
#[tokio::test(start_paused = true)]
async fn an_answer_that_went_from_hand_to_hand_serves_no_longer_than_in_the_first() {
    let (engine, clock) = engine();
    let authority = Authority::new(Ok(Verdict::Active(until_in(600))));
    let start = || Process::set_up(&engine, &clock, &authority, |fleet| fleet, |cache| cache.refresh_ahead(0.0));
    let [one, second, third] = [(); 3].map(|()| start());
    all_read(&[&one, &second, &third]).await;
    assert!(one.presents("abc").await.unwrap().is_active());
    is_silent(&authority);
    passes(&clock, secs(30)).await;
    assert!(second.presents("abc").await.unwrap().is_active());
    passes(&clock, secs(20)).await;
    assert!(third.presents("abc").await.unwrap().is_active());
    passes(&clock, millis(9_700)).await;
    let late = start();
    all_read(&[&late]).await;
    for process in [&one, &second, &third, &late] {
        assert!(process.presents("abc").await.unwrap().is_active());
    }
    passes(&clock, millis(300)).await;
    for process in [&late, &third, &second, &one] {
        assert!(process.presents("abc").await.is_err());
    }
}

/// Invariant 7: ages are told by the engine's clock, so that processes whose clocks are hours apart share, and nothing
/// lives longer for it.
#[tokio::test(start_paused = true)]
async fn clocks_that_are_hours_apart_prolong_nothing() {
    let (engine, clock) = engine();
    let hours = |hours| ManualClock::at(START + secs(3_600) * hours);
    let (ahead, behind) = (hours(5), ManualClock::at(START - secs(7 * 3_600)));
    let authority = Authority::new(Ok(Verdict::Active(AccessToken::builder().subject("ann").build())));
    let start = |clock| Process::set_up(&engine, clock, &authority, |fleet| fleet, |cache| cache.refresh_ahead(0.0));
    let [one, second, third] = [&ahead, &behind, &clock].map(start);
    all_read(&[&one, &second, &third]).await;
    let clocks = [&clock, &ahead, &behind];
    let passes = |time| passes_for(&clocks, time, millis(10));
    assert!(one.presents("abc").await.unwrap().is_active());
    is_silent(&authority);
    passes(secs(30)).await;
    assert!(second.presents("abc").await.unwrap().is_active());
    passes(secs(29)).await;
    assert!(third.presents("abc").await.unwrap().is_active());
    passes(millis(700)).await;
    for process in [&one, &second, &third] {
        assert!(process.presents("abc").await.unwrap().is_active());
    }
    passes(millis(300)).await;
    for process in [&one, &second, &third] {
        assert!(process.presents("abc").await.is_err());
    }
}

/// Invariant 7: too uncertain, and nothing is shared: the engine's clock goes back, or far ahead.
#[tokio::test(start_paused = true)]
async fn what_was_asked_for_before_the_engines_clock_was_set_is_not_taken() {
    for set in [START - secs(3_600), START - secs(3), START + secs(3_600)] {
        let (engine, engine_clock) = engine();
        let clock = ManualClock::at(START);
        let authority = Authority::new(Ok(Verdict::Active(until_in(600))));
        let [one, other] = Process::several(&engine, &clock, &authority).await;
        assert!(one.presents("abc").await.unwrap().is_active());
        engine_clock.set(set);
        passes_for(&[&clock, &engine_clock], secs(1), millis(10)).await;
        assert!(other.presents("abc").await.unwrap().is_active());
        assert_eq!((authority.questions(), other.stats().hits), (2, 0));
        // And sharing goes on.
        let next = Process::start(&engine, &clock, &authority);
        assert!(next.presents("abc").await.unwrap().is_active());
        assert_eq!((authority.questions(), next.stats().hits), (2, 1));
    }
}

/// Invariant 8: an answer that was asked for earlier and comes later does not take the place of a newer one.
#[tokio::test(start_paused = true)]
async fn an_older_answer_never_overwrites_a_newer_one() {
    let (engine, clock) = engine();
    let by = |subject: &str| Ok(Verdict::Active(AccessToken::builder().subject(subject).build()));
    let (slow, quick) = (Authority::new(by("older")), Authority::new(by("newer")));
    let line = engine.line();
    let one = Process::start(&line, &clock, &slow);
    let [other, third] = Process::several(&engine, &clock, &quick).await;
    all_read(&[&one]).await;
    slow.hold();
    let request = spawn_ask(&one.cached);
    slow.asked(1).await;
    // Its lease ends, since it cannot renew it.
    line.cut_off(true);
    passes(&clock, secs(1)).await;
    assert!(other.presents("abc").await.unwrap().is_active());
    line.cut_off(false);
    passes(&clock, secs(2)).await;
    slow.release();
    assert!(request.await.unwrap().unwrap().is_active());
    passes(&clock, secs(1)).await;
    assert!(one.stats().is_reading && one.stats().stored == 0);
    let Ok(Verdict::Active(token)) = third.presents("abc").await else { panic!("it is active") };
    assert_eq!((token.subject(), quick.questions()), (Some("newer"), 1));
}

/// Invariant 8: an answer that is shared by a process which has not read of an invalidation yet is not taken by those
/// who have.
#[tokio::test(start_paused = true)]
async fn an_answer_as_of_before_a_record_about_it_is_not_taken() {
    let (engine, clock) = engine();
    let authority = Authority::new(Ok(Verdict::Active(until_in(600))));
    let line = engine.line();
    let slow = Process::start(&line, &clock, &authority);
    let [one, other] = Process::several(&engine, &clock, &authority).await;
    all_read(&[&slow]).await;
    authority.hold();
    let request = spawn_ask(&slow.cached);
    authority.asked(1).await;
    assert_eq!(one.handle().invalidate(&bearer("abc")).await.as_str(), "recorded");
    // No time passes, so that it is shared before its process reads the log.
    authority.release();
    assert!(request.await.unwrap().unwrap().is_active());
    crate::support::until(|| slow.stats().stored == 1).await;
    passes(&clock, millis(200)).await;
    authority.says(inactive(InactiveReason::Revoked));
    let request = spawn_ask(&other.cached);
    authority.asked(2).await;
    authority.release();
    passes(&clock, millis(100)).await;
    assert!(!request.await.unwrap().unwrap().is_active());
    assert_eq!(other.stats().outdated, 1);
}
