use super::*;
use crate::clock::ManualClock;

const MINUTE: Duration = Duration::from_secs(60);

type KeepWaiting = fn(&Store, TokenKey, &mut dyn FnMut(), &dyn Fn());

/// What a reader finds who had to wait for the index while the clock went on.
fn found_after(waiting: Duration, verdict: Verdict, keep_waiting: KeepWaiting) -> Option<Known> {
    let clock = ManualClock::at(Timestamp::from_unix_millis(0));
    let settings = CacheSettings { refresh_ahead_uses: 1, ..CacheSettings::default() };
    let store = Store::new(settings, Arc::new(clock.clone()), None, None);
    let key = store.key_of(&BearerToken::parse("abc").unwrap());
    store.remember(key, &Ok(verdict), clock.now(), clock.now());
    std::thread::scope(|scope| {
        let mut reader = None;
        let mut start = || reader = Some(scope.spawn(|| store.known(key)));
        keep_waiting(&store, key, &mut start, &|| clock.advance(waiting));
        reader.unwrap().join().unwrap()
    })
}

#[test]
fn whoever_had_to_wait_for_an_entry_judges_it_by_the_clock_of_afterwards() {
    let active = |waiting| {
        let verdict = Verdict::Active(AccessToken::builder().build());
        found_after(waiting, verdict, |store, key, start, go_on| {
            store.active.keep_a_reader_waiting(key, start, go_on);
        })
    };
    assert!(active(MINUTE).is_none(), "served at its deadline");
    assert!(active(MINUTE * 7 / 10).is_some_and(|known| !known.refresh));
    assert!(active(MINUTE * 95 / 100).is_some_and(|known| known.refresh), "due meanwhile");
    let inactive = |waiting| {
        let verdict = Verdict::Inactive(InactiveReason::Revoked);
        found_after(waiting, verdict, |store, key, start, go_on| {
            store.inactive.keep_a_reader_waiting(key, start, go_on);
        })
    };
    assert!(inactive(MINUTE / 6).is_none(), "refused at its deadline");
    assert!(inactive(MINUTE / 7).is_some());
}

#[test]
fn a_refresh_is_for_an_answer_that_serves_and_is_due() {
    let starts = |age| {
        let clock = ManualClock::at(Timestamp::from_unix_millis(0));
        let store = Store::new(CacheSettings::default(), Arc::new(clock.clone()), None, None);
        let key = store.key_of(&BearerToken::parse("abc").unwrap());
        let verdict = Verdict::Active(AccessToken::builder().build());
        store.remember(key, &Ok(verdict), clock.now(), clock.now());
        clock.advance(age);
        store.refresh(key).is_some()
    };
    assert_eq!([MINUTE / 2, MINUTE * 95 / 100, MINUTE].map(starts), [false, true, false]);
}

#[test]
fn a_token_whose_answer_is_kept_is_known_even_if_another_has_its_place() {
    let store = Store::new(CacheSettings::default(), Arc::new(crate::clock::SystemClock), None, None);
    let key = store.key_of(&BearerToken::parse("abc").unwrap());
    assert_eq!(store.share_of(key), Share::Stranger);
    let now = store.clock.now();
    store.remember(key, &Ok(Verdict::Active(AccessToken::builder().build())), now, now);
    store.lately.remove(key);
    assert_eq!(store.share_of(key), Share::Known);
    store.active.remove(key);
    assert_eq!(store.share_of(key), Share::Stranger);
}

#[test]
fn a_token_whose_holder_may_have_made_the_question_fail_is_known_no_longer_once_its_answer_is_gone() {
    use IntrospectErrorKind::*;
    let status = |status| IntrospectError::new(Status).with_status(http::StatusCode::from_u16(status).unwrap());
    let kind = IntrospectError::new;
    for (error, then) in [
        (kind(Answer), Share::Stranger),
        (kind(Answer).too_large(), Share::Stranger),
        (kind(Abandoned), Share::Stranger),
        (status(500), Share::Stranger),
        (status(400), Share::Stranger),
        (status(503), Share::Known),
        (kind(Connect), Share::Known),
        (kind(Transport), Share::Known),
        (kind(Timeout), Share::Known),
        (kind(RateLimited), Share::Known),
        (kind(Discovery), Share::Known),
        (kind(Credentials), Share::Known),
        (kind(Overloaded), Share::Known),
        (kind(CircuitOpen), Share::Known),
    ] {
        let clock = ManualClock::at(Timestamp::from_unix_millis(0));
        let store = Store::new(CacheSettings::default(), Arc::new(clock.clone()), None, None);
        let key = store.key_of(&BearerToken::parse("abc").unwrap());
        store.remember(key, &Ok(Verdict::Active(AccessToken::builder().build())), clock.now(), clock.now());
        let shown = format!("{error:?}");
        store.remember(key, &Err(error), clock.now(), clock.now());
        assert_eq!(store.share_of(key), Share::Known, "while an answer is kept: {shown}");
        store.active.remove(key);
        assert_eq!(store.share_of(key), then, "{shown}");
    }
}
