use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::*;
use crate::clock::{Clock, ManualClock, Stopwatch, Timestamp};
use crate::protection::Share;
use crate::protection::turns::{SharedElsewhere, Turns};

const MINUTE: Duration = Duration::from_secs(60);
const SECOND: Duration = Duration::from_secs(1);

/// The shared pace of a test, which keeps the rate as an engine is to do it.
struct Shared {
    next: Mutex<i64>,
    clock: ManualClock,
    is_away: AtomicBool,
    hangs_for: Duration,
    processes: AtomicU32,
    asked: Mutex<Vec<TurnOf>>,
}

impl Shared {
    fn new(clock: &ManualClock) -> Self {
        Self {
            next: Mutex::new(i64::MIN),
            clock: clock.clone(),
            is_away: AtomicBool::new(false),
            hangs_for: Duration::ZERO,
            processes: AtomicU32::new(0),
            asked: Mutex::default(),
        }
    }

    fn is_away(&self, is_away: bool) {
        self.is_away.store(is_away, Ordering::Relaxed);
    }

    fn has_processes(&self, processes: u32) {
        self.processes.store(processes, Ordering::Relaxed);
    }
}

impl SharedPace for Shared {
    fn take(&self, turn: TurnOf) -> Booking<'_> {
        Box::pin(async move {
            if !self.hangs_for.is_zero() {
                tokio::time::sleep(self.hangs_for).await;
            }
            if self.is_away.load(Ordering::Relaxed) {
                return None;
            }
            self.asked.lock().unwrap().push(turn);
            let now = self.clock.now().as_unix_millis() * 1_000;
            let delay = turn.book(&mut self.next.lock().unwrap(), now);
            Some(delay.map(|delay| Duration::from_micros(delay.unsigned_abs())).ok_or(TooLate))
        })
    }

    fn processes(&self) -> u32 {
        self.processes.load(Ordering::Relaxed)
    }
}

fn clock() -> ManualClock {
    ManualClock::at(Timestamp::from_unix_millis(1_700_000_000_000))
}

fn turns(requests: u32, max_wait: Duration, clock: &ManualClock) -> Turns {
    Turns::new(8, RateLimit { requests, per: MINUTE }, max_wait, Arc::new(clock.clone()))
}

fn joined(requests: u32, max_wait: Duration, shared: &Arc<Shared>) -> Turns {
    let turns = turns(requests, max_wait, &shared.clock);
    let shared: Arc<dyn SharedPace> = shared.clone();
    turns.join(&shared).unwrap();
    turns
}

/// How many turns there are at once.
async fn at_once(turns: &Turns, share: Share) -> usize {
    let mut taken = 0;
    while turns.reserve(share).await == Ok(Duration::ZERO) {
        taken += 1;
    }
    taken
}

#[tokio::test(start_paused = true)]
async fn turns_are_those_of_the_shared_pace_which_is_asked_first() {
    let shared = Arc::new(Shared::new(&clock()));
    let (one, other) = (joined(6_000, SECOND, &shared), joined(6_000, SECOND, &shared));
    // 100 of 6,000 may come at once, whoever asks; 100 are kept for known tokens.
    for _ in 0..50 {
        assert_eq!(one.reserve(Share::Stranger).await, Ok(Duration::ZERO));
        assert_eq!(other.reserve(Share::Stranger).await, Ok(Duration::ZERO));
    }
    assert!(one.reserve(Share::Stranger).await.unwrap() > Duration::ZERO);
    assert_eq!(at_once(&other, Share::Known).await, 99);
    assert!(one.reserve(Share::Known).await.unwrap() > Duration::ZERO);
    let asked = shared.asked.lock().unwrap();
    assert_eq!(asked[0], TurnOf::new(RateLimit { requests: 6_000, per: MINUTE }, Share::Stranger, SECOND));
    let (first, last) = (asked[0], asked.last().unwrap());
    assert_eq!((first.max_wait, first.max_wait_of_known), (1_000_000, 500_000));
    assert_eq!((last.max_wait, last.max_wait_of_known), (1_000_000, 1_000_000));
    assert!(first.tolerance < last.tolerance && first.tolerance_of_known == last.tolerance);
}

#[tokio::test(start_paused = true)]
async fn what_the_shared_pace_calls_too_late_is_not_asked_of_the_local_one() {
    let shared = Arc::new(Shared::new(&clock()));
    let turns = joined(60, Duration::ZERO, &shared);
    assert_eq!(at_once(&turns, Share::Known).await, 12);
    assert!(turns.take(Share::Known).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn without_the_shared_pace_a_process_has_its_part_of_the_limit_and_a_quarter_if_nobody_knows_how_many_there_are()
{
    for (processes, at_once_of_all, known) in [(0, 25, 25), (4, 25, 25), (2, 50, 50), (1, 100, 100), (600, 2, 1)] {
        let shared = Arc::new(Shared::new(&clock()));
        shared.is_away(true);
        shared.has_processes(processes);
        let turns = joined(6_000, Duration::ZERO, &shared);
        assert_eq!(at_once(&turns, Share::Stranger).await, at_once_of_all, "{processes}");
        assert_eq!(at_once(&turns, Share::Known).await, known, "{processes}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_part_is_one_request_at_least() {
    let shared = Arc::new(Shared::new(&clock()));
    shared.is_away(true);
    shared.has_processes(1_000);
    assert_eq!(joined(60, Duration::ZERO, &shared).reserve(Share::Stranger).await, Ok(Duration::ZERO));
    assert_eq!(part_of(RateLimit { requests: 60, per: MINUTE }, 1_000), RateLimit { requests: 1, per: MINUTE });
}

#[tokio::test(start_paused = true)]
async fn a_part_grows_and_shrinks_with_the_number_of_processes_and_what_was_booked_stays_booked() {
    let shared = Arc::new(Shared::new(&clock()));
    shared.is_away(true);
    shared.has_processes(2);
    let turns = joined(6_000, Duration::ZERO, &shared);
    assert_eq!(at_once(&turns, Share::Known).await, 100);
    for processes in [4, 2, 4, 2, 0, 2] {
        shared.has_processes(processes);
        let more = at_once(&turns, Share::Known).await;
        assert!(more <= 2, "{more} more at once for {processes}");
    }
    shared.clock.advance(MINUTE);
    shared.has_processes(1);
    assert_eq!(at_once(&turns, Share::Known).await, 200, "all of it");
}

#[tokio::test(start_paused = true)]
async fn a_question_waits_for_max_wait_at_most_the_time_of_the_shared_pace_included() {
    let wait = Duration::from_millis(400);
    for is_away in [false, true] {
        let shared = Arc::new(Shared { hangs_for: Duration::from_millis(300), ..Shared::new(&clock()) });
        shared.is_away(is_away);
        shared.has_processes(1);
        let turns = joined(600, wait, &shared);
        for share in [Share::Known, Share::Stranger] {
            for _ in 0..40 {
                let began = Stopwatch::start();
                let _ = turns.take(share).await;
                // The timer rounds up to a millisecond.
                assert!(began.elapsed() <= wait + Duration::from_millis(1), "{:?}", began.elapsed());
            }
        }
    }
    let hangs = Arc::new(Shared { hangs_for: Duration::from_secs(3_600), ..Shared::new(&clock()) });
    let turns = joined(600, wait, &hangs);
    let began = Stopwatch::start();
    assert!(turns.take(Share::Known).await.is_err());
    assert!(began.elapsed() <= wait + Duration::from_millis(1));
    assert_eq!(turns.waiting(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_the_shared_pace_has_used_up_is_no_longer_there_to_wait_for_the_local_turn() {
    let shared = Arc::new(Shared { hangs_for: Duration::from_millis(300), ..Shared::new(&clock()) });
    shared.is_away(true);
    shared.has_processes(1);
    let turns = joined(600, Duration::from_millis(400), &shared);
    let mut longest = Duration::ZERO;
    while let Ok(delay) = turns.reserve(Share::Known).await {
        longest = longest.max(delay);
    }
    // One is due every 103 ms, so one of these is not far from what is left.
    assert!(longest <= Duration::from_millis(100), "{longest:?}");
}

#[tokio::test(start_paused = true)]
async fn turns_are_shared_by_one_pace_only() {
    let clock = clock();
    let shared: Arc<dyn SharedPace> = Arc::new(Shared::new(&clock));
    let turns = turns(60, SECOND, &clock);
    let other: Arc<dyn SharedPace> = Arc::new(Shared::new(&clock));
    turns.join(&shared).unwrap();
    turns.join(&shared).unwrap();
    assert_eq!(turns.join(&other), Err(SharedElsewhere));
}

/// When each turn was, in milliseconds.
#[derive(Default)]
struct Turned {
    shared: Vec<i64>,
    local: Vec<i64>,
}

/// `processes` ask for turns all the time, for some seconds; in those that `is_away` tells, each for itself.
async fn flood(processes: u32, limit: u32, max_wait: Duration, is_away: impl Fn(i64) -> bool) -> Turned {
    let shared = Arc::new(Shared::new(&clock()));
    shared.has_processes(processes);
    let all: Vec<_> = (0..processes).map(|_| joined(limit, max_wait, &shared)).collect();
    let mut turned = Turned::default();
    for now in (0..150_000).step_by(5) {
        shared.is_away(is_away(now / 1_000));
        for (process, share) in all.iter().flat_map(|turns| [(turns, Share::Known), (turns, Share::Stranger)]) {
            if let Ok(delay) = process.reserve(share).await {
                let of_whom = if is_away(now / 1_000) { &mut turned.local } else { &mut turned.shared };
                of_whom.push(now + i64::try_from(delay.as_millis()).unwrap());
            }
        }
        shared.clock.advance(Duration::from_millis(5));
    }
    turned
}

fn most_in_a_minute(mut turns: Vec<i64>) -> usize {
    turns.sort_unstable();
    let mut first = 0;
    let most = turns.iter().enumerate().map(|(n, turn)| {
        while turns[first] <= turn - 60_000 {
            first += 1;
        }
        n + 1 - first
    });
    most.max().unwrap_or_default()
}

#[tokio::test(start_paused = true)]
async fn no_minute_holds_more_turns_than_the_limit_however_many_processes_share_it() {
    for (processes, limit, max_wait) in [(1, 600, 0), (4, 600, 0), (5, 6_000, 1_000), (3, 7, 1_000)] {
        let turned = flood(processes, limit, Duration::from_millis(max_wait), |_| false).await;
        assert!(turned.local.is_empty());
        let (most, limit) = (most_in_a_minute(turned.shared), usize::try_from(limit).unwrap());
        assert!(most <= limit && most * 10 >= limit * 7, "{most} of {limit}, {processes} processes");
    }
}

#[tokio::test(start_paused = true)]
async fn however_often_the_shared_pace_comes_and_goes_no_minute_holds_more_than_the_limit_twice() {
    for every in [1, 3, 20] {
        let turned = flood(4, 600, SECOND, |second| second / every % 2 == 1).await;
        let (shared, local) = (most_in_a_minute(turned.shared), most_in_a_minute(turned.local));
        assert!(shared <= 600 && local <= 600, "{shared} shared, {local} local; every {every} s");
        assert!(shared > 200 && local > 200, "{shared} shared, {local} local; every {every} s");
    }
}
