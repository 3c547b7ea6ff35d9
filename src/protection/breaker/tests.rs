use super::*;
use crate::error::IntrospectErrorKind;

fn at(millis: i64) -> Timestamp {
    Timestamp::from_unix_millis(millis)
}

fn outage() -> Result<(), IntrospectError> {
    Err(IntrospectError::new(IntrospectErrorKind::Timeout))
}

fn rate_limited(retry_after: u64) -> Result<(), IntrospectError> {
    Err(IntrospectError::new(IntrospectErrorKind::RateLimited).with_retry_after(Duration::from_secs(retry_after)))
}

fn breaker() -> Breaker {
    Breaker::pair(3, Duration::from_secs(1), "localhost").1
}

fn fail(breaker: &Breaker, times: usize, now: Timestamp) {
    for _ in 0..times {
        let _ = breaker.admit(now).ok().unwrap().settle(&outage(), now);
    }
}

#[test]
fn it_opens_after_so_many_outages_in_a_row_and_an_answer_in_between_starts_the_count_anew() {
    let breaker = breaker();
    fail(&breaker, 2, at(0));
    let _ = breaker.admit(at(0)).ok().unwrap().settle(&Ok(()), at(0));
    fail(&breaker, 2, at(0));
    assert_eq!(breaker.state(at(0)), BreakerState::Closed);
    assert_eq!(breaker.open_for(at(0)), None);
    fail(&breaker, 1, at(0));
    assert_eq!(breaker.state(at(0)), BreakerState::Open);
    assert_eq!(breaker.open_for(at(400)), Some(Duration::from_millis(600)));
    assert_eq!(breaker.admit(at(400)).err(), Some(Duration::from_millis(600)));
    assert_eq!(breaker.state(at(999)), BreakerState::Open);
}

#[test]
fn one_probe_goes_through_when_the_pause_is_over_and_closes_it() {
    let breaker = breaker();
    fail(&breaker, 3, at(0));
    assert_eq!(breaker.state(at(1_000)), BreakerState::HalfOpen);
    let probe = breaker.admit(at(1_000)).ok().unwrap();
    assert_eq!(breaker.admit(at(1_000)).err(), Some(Duration::ZERO));
    assert_eq!(breaker.open_for(at(1_000)), Some(Duration::ZERO));
    let _ = probe.settle(&Ok(()), at(1_000));
    assert_eq!(breaker.state(at(1_000)), BreakerState::Closed);
    fail(&breaker, 2, at(1_000));
    assert_eq!(breaker.state(at(1_000)), BreakerState::Closed);
}

#[test]
fn a_probe_that_fails_doubles_the_pause_up_to_a_bound() {
    let breaker = breaker();
    fail(&breaker, 3, at(0));
    let mut now = at(0);
    for pause in [1, 2, 4, 8, 16, 30, 30] {
        assert_eq!(breaker.open_for(now), Some(Duration::from_secs(pause)));
        now = now + Duration::from_secs(pause);
        fail(&breaker, 1, now);
    }
}

#[test]
fn a_first_pause_beyond_the_bound_stays_as_it_was_set() {
    let (breaker, _) = Breaker::pair(1, Duration::from_secs(90), "localhost");
    fail(&breaker, 1, at(0));
    fail(&breaker, 1, at(90_000));
    assert_eq!(breaker.open_for(at(90_000)), Some(Duration::from_secs(90)));
}

#[test]
fn a_probe_that_is_given_up_leaves_its_place_to_the_next_question() {
    let breaker = breaker();
    fail(&breaker, 3, at(0));
    drop(breaker.admit(at(1_000)).ok().unwrap());
    assert_eq!(breaker.open_for(at(1_000)), None);
    assert!(breaker.admit(at(1_000)).is_ok());
}

#[test]
fn what_a_caller_can_cause_does_not_open_it() {
    let breaker = breaker();
    for kind in [IntrospectErrorKind::Answer, IntrospectErrorKind::Status, IntrospectErrorKind::Credentials] {
        for _ in 0..10 {
            let error: Result<(), _> = Err(IntrospectError::new(kind));
            let _ = breaker.admit(at(0)).ok().unwrap().settle(&error, at(0));
        }
    }
    assert_eq!(breaker.state(at(0)), BreakerState::Closed);
}

#[test]
fn a_pause_the_authority_asks_for_is_made_at_once() {
    let breaker = breaker();
    let _ = breaker.admit(at(0)).ok().unwrap().settle(&rate_limited(7), at(0));
    assert_eq!(breaker.open_for(at(0)), Some(Duration::from_secs(7)));
    let _ = breaker.admit(at(7_000)).ok().unwrap().settle(&rate_limited(3_600), at(7_000));
    assert_eq!(breaker.open_for(at(7_000)), Some(Duration::from_secs(3_600)));
}

#[test]
fn questions_from_before_it_opened_change_nothing() {
    let (known, strangers) = Breaker::pair(3, Duration::from_secs(1), "localhost");
    let [earlier, of_strangers] =
        [&known, &strangers].map(|breaker| [(); 4].map(|()| breaker.admit(at(0)).ok().unwrap()));
    fail(&known, 3, at(0));
    fail(&strangers, 3, at(0));
    for (n, (admission, of_stranger)) in earlier.into_iter().zip(of_strangers).enumerate() {
        let outcome = if n % 2 == 0 { Ok(()) } else { outage() };
        strangers.hear(&admission.settle(&outcome, at(500)), at(500));
        known.end_pause(&of_stranger.settle(&outcome, at(500)));
        for breaker in [&known, &strangers] {
            assert_eq!(breaker.open_for(at(500)), Some(Duration::from_millis(500)), "{outcome:?}");
        }
    }
}

#[test]
fn failures_from_before_it_opened_do_not_open_it_again_once_the_authority_has_answered() {
    let breaker = breaker();
    let earlier = [(); 3].map(|()| breaker.admit(at(0)).ok().unwrap());
    fail(&breaker, 3, at(0));
    let _ = breaker.admit(at(1_000)).ok().unwrap().settle(&Ok(()), at(1_000));
    for admission in earlier {
        let _ = admission.settle(&outage(), at(1_500));
    }
    assert_eq!(breaker.open_for(at(1_500)), None);
    fail(&breaker, 2, at(1_500));
    assert_eq!(breaker.open_for(at(1_500)), None, "they do not count either");
    fail(&breaker, 1, at(1_500));
    assert_eq!(breaker.open_for(at(1_500)), Some(Duration::from_secs(1)));
}

#[test]
fn a_longer_pause_the_authority_asks_for_counts_while_it_is_open_too() {
    let breaker = breaker();
    let (earlier, probe) = (breaker.admit(at(0)).ok().unwrap(), breaker.admit(at(0)).ok().unwrap());
    fail(&breaker, 3, at(0));
    let _ = earlier.settle(&rate_limited(30), at(500));
    assert_eq!(breaker.open_for(at(500)), Some(Duration::from_secs(30)));
    let _ = probe.settle(&rate_limited(7), at(500));
    assert_eq!(breaker.open_for(at(500)), Some(Duration::from_secs(30)), "a shorter one is no news");
}

#[test]
fn the_probe_of_an_earlier_opening_has_no_say_in_the_next() {
    let (known, strangers) = Breaker::pair(1, Duration::from_secs(1), "localhost");
    let hear = |outcome, now| hear(&known, &strangers, &outcome, now);
    hear(outage(), at(0));
    let left_over = [(); 3].map(|()| {
        let probe = strangers.admit(at(1_000)).ok().unwrap();
        hear(Ok(()), at(1_000));
        assert_eq!(strangers.open_for(at(1_000)), None);
        hear(outage(), at(0));
        probe
    });
    let probe = strangers.admit(at(1_000)).ok().unwrap();
    let [dropped, fails, asks_for_a_pause] = left_over;
    drop(dropped);
    let _ = fails.settle(&outage(), at(1_000));
    assert_eq!(strangers.open_for(at(1_000)), Some(Duration::ZERO), "one probe at a time, and the pause is as it was");
    let _ = asks_for_a_pause.settle(&rate_limited(1), at(1_000));
    assert_eq!(
        strangers.open_for(at(1_000)),
        Some(Duration::from_secs(1)),
        "as long as it asked for, and not twice the pause"
    );
    let _ = probe.settle(&Ok(()), at(1_000));
    assert_eq!(strangers.open_for(at(1_000)), None);
}

/// Strangers hear how a question about a known token went. The breaker of those is kept closed.
fn hear(known: &Breaker, strangers: &Breaker, outcome: &Result<(), IntrospectError>, now: Timestamp) {
    strangers.hear(&known.admit(now).ok().unwrap().settle(outcome, now), now);
    known.learn(&News { outcome: &Ok(()), openings: u64::MAX }, false, now);
}

#[test]
fn failures_that_are_heard_of_count_until_an_answer_is_heard_of_which_closes_what_they_alone_have_opened() {
    let (known, strangers) = Breaker::pair(3, Duration::from_secs(1), "localhost");
    let hear = |outcome, now| hear(&known, &strangers, &outcome, now);
    for _ in 0..3 {
        hear(outage(), at(0));
    }
    assert_eq!(strangers.open_for(at(0)), Some(Duration::from_secs(1)));
    hear(outage(), at(500));
    assert_eq!(strangers.open_for(at(500)), Some(Duration::from_millis(500)));
    hear(Ok(()), at(500));
    assert_eq!(strangers.open_for(at(500)), None);
    fail(&strangers, 2, at(500));
    assert_eq!(strangers.open_for(at(500)), None, "the count began anew");
    let _ = strangers.admit(at(500)).ok().unwrap().settle(&Ok(()), at(500));
    hear(outage(), at(500));
    hear(outage(), at(500));
    hear(Err(IntrospectError::new(IntrospectErrorKind::Answer)), at(500));
    hear(outage(), at(500));
    assert_eq!(strangers.open_for(at(500)), None, "an answer that cannot be used is one");
    fail(&strangers, 2, at(500));
    assert!(strangers.open_for(at(500)).is_some(), "what is heard and what befalls them add up");
    let _ = strangers.admit(at(1_500)).ok().unwrap().settle(&Ok(()), at(1_500));
    fail(&strangers, 2, at(1_500));
    hear(outage(), at(1_500));
    assert!(strangers.open_for(at(1_500)).is_some());
    hear(Ok(()), at(1_500));
    assert_eq!(strangers.open_for(at(1_500)), None);
    fail(&strangers, 1, at(1_500));
    assert!(strangers.open_for(at(1_500)).is_some(), "what befell them is not forgotten for it");
}

#[test]
fn what_befell_strangers_is_not_undone_by_answers_about_known_tokens() {
    let (known, strangers) = Breaker::pair(3, Duration::from_secs(1), "localhost");
    let answered = |now| hear(&known, &strangers, &Ok(()), now);
    for _ in 0..3 {
        assert_eq!(strangers.state(at(0)), BreakerState::Closed);
        fail(&strangers, 1, at(0));
        answered(at(0));
    }
    assert_eq!(strangers.open_for(at(0)), Some(Duration::from_secs(1)), "three in a row, among strangers");
    fail(&strangers, 1, at(1_000));
    answered(at(1_000));
    assert_eq!(strangers.open_for(at(1_000)), Some(Duration::from_secs(2)), "twice the pause, after the probe");
    let _ = strangers.admit(at(3_000)).ok().unwrap().settle(&Ok(()), at(3_000));
    assert_eq!(strangers.state(at(3_000)), BreakerState::Closed);
    // Opened for what was heard, and then it was the probe about a stranger that failed.
    for _ in 0..3 {
        hear(&known, &strangers, &outage(), at(3_000));
    }
    fail(&strangers, 1, at(4_000));
    answered(at(4_000));
    assert_eq!(strangers.open_for(at(4_000)), Some(Duration::from_secs(2)));
}

#[test]
fn an_answer_about_a_stranger_ends_the_pause_of_known_tokens_and_closes_nothing() {
    let (known, strangers) = Breaker::pair(3, Duration::from_secs(1), "localhost");
    let admitted = |now| strangers.admit(now).ok().unwrap();
    let earlier = admitted(at(0));
    fail(&known, 3, at(0));
    known.end_pause(&earlier.settle(&Ok(()), at(0)));
    assert_eq!(known.state(at(0)), BreakerState::Open, "it was asked before");
    for pause in [2, 4] {
        known.end_pause(&admitted(at(0)).settle(&Ok(()), at(0)));
        assert_eq!(known.state(at(0)), BreakerState::HalfOpen);
        fail(&known, 1, at(0));
        assert_eq!(known.open_for(at(0)), Some(Duration::from_secs(pause)), "the next probe failed, too");
    }
    known.end_pause(&admitted(at(0)).settle(&Ok(()), at(0)));
    let _ = known.admit(at(0)).ok().unwrap().settle(&Ok(()), at(0));
    assert_eq!(known.state(at(0)), BreakerState::Closed);
}

#[test]
fn endless_pauses_do_not_overflow() {
    let (breaker, _) = Breaker::pair(1, Duration::MAX, "localhost");
    fail(&breaker, 1, at(0));
    breaker.failed(breaker.lock(), true, false, Some(Duration::MAX), at(1));
}

#[test]
fn a_clock_that_is_set_back_ends_the_pause() {
    let breaker = breaker();
    fail(&breaker, 3, at(1_000_000));
    assert_eq!(breaker.state(at(0)), BreakerState::HalfOpen);
    let breaker = self::breaker();
    fail(&breaker, 3, at(1_000));
    assert_eq!(breaker.state(at(999)), BreakerState::Open, "another thread read the clock a moment earlier");
}
