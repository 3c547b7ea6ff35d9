use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use super::*;
use crate::clock::{ManualClock, Timestamp};

fn at(millis: i64) -> Timestamp {
    Timestamp::from_unix_millis(1_700_000_000_000 + millis)
}

fn turns(limit: usize, max_wait: Duration) -> Turns {
    let rate = RateLimit { requests: u32::MAX, per: Duration::from_secs(1) };
    Turns::new(limit, rate, max_wait, Arc::new(ManualClock::at(at(0))))
}

fn poll<T>(future: Pin<&mut impl Future<Output = T>>) -> Poll<T> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

#[tokio::test]
async fn strangers_leave_a_quarter_of_the_places_to_known_tokens() {
    let turns = turns(8, Duration::ZERO);
    let mut held = Vec::new();
    for _ in 0..6 {
        held.push(turns.take(Share::Stranger).await.unwrap());
    }
    assert!(turns.take(Share::Stranger).await.is_err());
    for _ in 0..2 {
        held.push(turns.take(Share::Known).await.unwrap());
    }
    assert!(turns.take(Share::Known).await.is_err());
    assert_eq!((turns.under_way(), turns.waiting()), (8, 0));
    held.clear();
    assert_eq!(turns.under_way(), 0);
}

#[tokio::test]
async fn a_known_token_finds_a_place_at_once_until_known_tokens_have_all_of_them() {
    let turns = turns(8, Duration::ZERO);
    let (mut strangers, mut known) = (Vec::new(), Vec::new());
    while let Ok(place) = turns.take(Share::Stranger).await {
        strangers.push(place);
    }
    for _ in 0..8 {
        known.push(turns.take(Share::Known).await.unwrap());
        if known.len() >= 2 {
            drop(strangers.pop());
        }
        // Junk is always there first.
        assert!(turns.take(Share::Stranger).await.is_err(), "{} known", known.len());
    }
    assert!(turns.take(Share::Known).await.is_err());
    known.truncate(5);
    assert!(turns.take(Share::Stranger).await.is_ok(), "what is left is for strangers");
}

#[tokio::test(start_paused = true)]
async fn a_known_token_that_waits_for_a_place_comes_before_strangers_that_wait_longer() {
    let turns = turns(4, Duration::from_secs(1));
    let mut held = Vec::new();
    for share in [Share::Stranger, Share::Stranger, Share::Stranger, Share::Known] {
        held.push(turns.take(share).await.unwrap());
    }
    let mut stranger = pin!(turns.take(Share::Stranger));
    let mut known = pin!(turns.take(Share::Known));
    assert!(poll(stranger.as_mut()).is_pending() && poll(known.as_mut()).is_pending());
    drop(held.pop());
    assert!(poll(stranger.as_mut()).is_pending());
    let Poll::Ready(Ok(_of_known)) = poll(known.as_mut()) else { panic!("there is a place") };
    drop(held.pop());
    assert!(poll(stranger.as_mut()).is_pending(), "one is kept free");
    drop(held.pop());
    assert!(matches!(poll(stranger.as_mut()), Poll::Ready(Ok(_))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn strangers_never_have_more_than_three_quarters_and_each_gets_a_place_in_the_end() {
    let turns = Arc::new(turns(8, Duration::from_secs(600)));
    let strangers = Arc::new(AtomicUsize::new(0));
    let asking = (0..64).map(|n| {
        let (turns, strangers) = (Arc::clone(&turns), Arc::clone(&strangers));
        tokio::spawn(async move {
            for _ in 0..500 {
                if n % 8 == 0 {
                    let _place = turns.take(Share::Known).await.unwrap();
                    tokio::task::yield_now().await;
                } else if n % 8 == 1 {
                    // Woken, it may be gone: another is to be woken then.
                    let _ = tokio::time::timeout(Duration::ZERO, turns.take(Share::Stranger)).await;
                } else {
                    let _place = turns.take(Share::Stranger).await.unwrap();
                    assert!(strangers.fetch_add(1, Ordering::SeqCst) < 6);
                    tokio::task::yield_now().await;
                    strangers.fetch_sub(1, Ordering::SeqCst);
                }
            }
        })
    });
    for asked in asking.collect::<Vec<_>>() {
        asked.await.unwrap();
    }
    assert_eq!((turns.under_way(), turns.waiting()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_question_that_is_told_to_wait_waits() {
    let rate = RateLimit { requests: 1, per: Duration::from_secs(10) };
    let turns = Turns::new(8, rate, Duration::from_secs(60), Arc::new(ManualClock::at(at(0))));
    assert!(turns.take(Share::Stranger).await.is_ok());
    let mut next = std::pin::pin!(turns.take(Share::Stranger));
    assert!(tokio::time::timeout(Duration::from_secs(9), next.as_mut()).await.is_err());
    assert!(tokio::time::timeout(Duration::from_secs(2), next).await.unwrap().is_ok());
}

#[test]
fn a_quarter_is_kept_and_one_at_least_if_there_are_two() {
    assert_eq!([1, 2, 3, 4, 8, 100].map(kept_of), [0, 1, 1, 1, 2, 25]);
    assert_eq!([Share::Known, Share::Stranger].map(Share::as_str), ["known", "stranger"]);
}

#[tokio::test(start_paused = true)]
async fn a_question_waits_for_its_turn_and_no_longer_than_it_may() {
    let turns = turns(1, Duration::from_secs(1));
    let held = turns.take(Share::Stranger).await.unwrap();
    let (late, ()) = tokio::join!(turns.take(Share::Stranger), async {
        tokio::task::yield_now().await;
        assert_eq!(turns.waiting(), 1);
    });
    assert!(late.is_err());
    let (in_time, ()) = tokio::join!(turns.take(Share::Stranger), async { drop(held) });
    assert!(in_time.is_ok());
}
