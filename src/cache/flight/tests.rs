use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use super::super::key::keys;
use super::*;
use crate::clock::Stopwatch;
use crate::introspect::InactiveReason;

fn board(flights: &Arc<Flights>, key: TokenKey) -> Boarding<()> {
    flights.board(key, Share::Stranger, || None)
}

#[test]
fn whoever_looks_only_when_a_flight_is_over_hears_how_it_ended() {
    for lands in [true, false] {
        let (flights, key) = (Flights::new(1), keys(1)[0]);
        let Boarding::Started(first, mut flight) = board(&flights, key) else { panic!("it is the first") };
        let Boarding::Joined(second) = board(&flights, key) else { panic!("it is under way") };
        if lands {
            let answer = Ok(Verdict::Inactive(InactiveReason::Revoked));
            flight.depart();
            assert!(flight.land(answer, Timestamp::from_unix_millis(7), |_| ()).is_none());
        } else {
            drop(flight);
        }
        assert_eq!(flights.under_way(), 0);
        for passenger in [first, second] {
            match heard(passenger) {
                Ok((verdict, asked)) => assert!(lands && !verdict.is_active() && asked.at.as_unix_millis() == 7),
                Err(error) => assert!(!lands && error.kind() == IntrospectErrorKind::Abandoned),
            }
        }
    }
}

fn heard(passenger: Passenger) -> Result<(Verdict, Asked), IntrospectError> {
    match pin!(passenger.verdict()).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(heard) => heard,
        Poll::Pending => panic!("it would wait for ever"),
    }
}

#[test]
fn a_passenger_came_before_a_question_if_it_was_on_board_when_that_departed() {
    let (flights, key) = (Flights::new(1), keys(1)[0]);
    let joins = || match board(&flights, key) {
        Boarding::Joined(passenger) => passenger,
        _ => panic!("it is under way"),
    };
    let Boarding::Started(first, mut flight) = board(&flights, key) else { panic!("it is the first") };
    let early = joins();
    flight.depart();
    let late = joins();
    // Its answer is invalidated, and it is asked for again.
    flights.invalidate(key, || ());
    let answer = || Ok(Verdict::Inactive(InactiveReason::Revoked));
    let at = Timestamp::from_unix_millis(7);
    let mut flight = flight.land(answer(), at, |_| ()).expect("it was invalidated");
    let later = joins();
    flight.depart();
    let last = joins();
    assert!(flight.land(answer(), at, |_| ()).is_none());
    let asked_since = |passenger| heard(passenger).unwrap().1.since_boarding;
    assert_eq!([first, early, late, later, last].map(asked_since), [true, true, true, true, false]);
}

#[test]
fn a_destructor_that_panics_keeps_nobody_waiting() {
    struct Panics;
    impl Drop for Panics {
        fn drop(&mut self) {
            panic!("a destructor of the test");
        }
    }
    let (flights, key) = (Flights::new(1), keys(1)[0]);
    let Boarding::Started(passenger, flight) = board(&flights, key) else { panic!("it is the first") };
    let panics = Panics;
    let predicate = Predicate::Closure(Arc::new(move |_| {
        let _ = &panics;
        false
    }));
    flights.invalidate_where(&predicate);
    drop(predicate);
    assert!(catch_unwind(AssertUnwindSafe(|| drop(flight))).is_err());
    assert_eq!(heard(passenger).unwrap_err().kind(), IntrospectErrorKind::Abandoned);
    assert!(matches!(board(&flights, key), Boarding::Started(..)));
}

#[test]
fn questions_about_known_tokens_and_about_strangers_take_no_room_from_each_other() {
    let (flights, keys) = (Flights::new(2), keys(5));
    let board = |key, share| flights.board(key, share, || None::<()>);
    let shares = [Share::Known, Share::Known, Share::Stranger, Share::Stranger];
    let under_way: Vec<_> = keys.iter().zip(shares).map(|(key, share)| board(*key, share)).collect();
    assert!(under_way.iter().all(|boarding| matches!(boarding, Boarding::Started(..))));
    for share in [Share::Known, Share::Stranger] {
        assert!(matches!(board(keys[4], share), Boarding::Full));
    }
}

#[test]
fn a_refresh_starts_if_it_is_claimed_and_no_question_is_under_way() {
    let (flights, key) = (Flights::new(2), keys(1)[0]);
    assert!(flights.refresh(key, || false).is_none());
    let first = flights.refresh(key, || true);
    assert!(first.is_some() && flights.refresh(key, || true).is_none());
    drop(first);
    assert!(flights.refresh(key, || true).is_some());
}

/// Lets two threads go on at the same moment, to a few nanoseconds. Whoever is alone for a minute says so instead of
/// hanging.
fn meet(arrived: &AtomicUsize, round: usize) {
    arrived.fetch_add(1, Ordering::SeqCst);
    let mut alone = None;
    for tries in 0.. {
        if arrived.load(Ordering::SeqCst) >= 2 * round {
            return;
        }
        if tries % 1_000 == 999 {
            let alone = alone.get_or_insert_with(Stopwatch::start).elapsed();
            assert!(alone < Duration::from_secs(60), "the other thread does not come");
            // With one core the other thread waits for this one to stop.
            std::thread::yield_now();
        } else {
            std::hint::spin_loop();
        }
    }
}

/// Wakes whoever is told so.
struct Woken(mpsc::Sender<()>);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        let _ = self.0.send(());
    }
}

#[test]
fn an_answer_that_lands_while_somebody_begins_to_wait_is_heard() {
    const ROUNDS: usize = 20_000;
    let (flights, key, arrived) = (Flights::new(1), keys(1)[0], AtomicUsize::new(0));
    std::thread::scope(|scope| {
        let (take_off, flying) = mpsc::channel::<Flight>();
        let arrived = &arrived;
        scope.spawn(move || {
            for (flight, round) in flying.iter().zip(1..) {
                meet(arrived, round);
                flight.land(Ok(Verdict::Inactive(InactiveReason::Revoked)), Timestamp::from_unix_millis(7), |_| ());
            }
        });
        for round in 1..=ROUNDS {
            let (woken, is_woken) = mpsc::channel();
            let waker = Waker::from(Arc::new(Woken(woken)));
            let Boarding::Started(passenger, flight) = board(&flights, key) else { panic!("the last one is over") };
            take_off.send(flight).unwrap();
            let mut verdict = pin!(passenger.verdict());
            meet(arrived, round);
            // Some rounds look a little later than others, so that in some of them the answer comes in between.
            (0..round % 500).for_each(|n| _ = std::hint::black_box(n));
            if verdict.as_mut().poll(&mut Context::from_waker(&waker)).is_pending() {
                is_woken.recv_timeout(Duration::from_secs(60)).expect("it is heard");
                assert!(verdict.as_mut().poll(&mut Context::from_waker(&waker)).is_ready());
            }
        }
        drop(take_off);
    });
}
