use std::sync::{Arc, Mutex};

use super::super::engine::memory::MemoryEngine;
use super::*;
use crate::clock::{ManualClock, Stopwatch, Timestamp};
use crate::protection::{RateLimit, Share};

/// Shorter than the engine's own.
const TIMEOUT: Duration = Duration::from_millis(30);
const SECOND: Duration = Duration::from_secs(1);
const LIMIT: RateLimit = RateLimit { requests: 600, per: Duration::from_secs(60) };

#[derive(Default)]
struct Known {
    engine: MemoryEngine,
    is_closed: AtomicBool,
    failures: Mutex<Vec<EngineErrorKind>>,
    successes: AtomicU64,
}

impl Reach for Known {
    fn engine(&self) -> &dyn Engine {
        &self.engine
    }

    fn is_open(&self) -> bool {
        !self.is_closed.load(Relaxed)
    }

    fn succeeded(&self) {
        self.successes.fetch_add(1, Relaxed);
    }

    fn failed(&self, error: &EngineError) {
        self.failures.lock().unwrap().push(error.kind);
        self.is_closed.store(true, Relaxed);
    }

    fn disbelieves(&self, error: &EngineError) {
        self.failures.lock().unwrap().push(error.kind);
    }

    fn nodes(&self) -> u32 {
        3
    }
}

struct Fleet {
    engine: MemoryEngine,
    clock: ManualClock,
    known: Arc<Known>,
    pace: FleetPace,
}

fn fleet() -> Fleet {
    let clock = ManualClock::at(Timestamp::from_unix_millis(1_700_000_000_000));
    let engine = MemoryEngine::with_clock(clock.clone());
    let known = Arc::new(Known { engine: engine.clone(), ..Known::default() });
    let pace = pace(&known, "rate");
    Fleet { engine, clock, known, pace }
}

fn pace(known: &Arc<Known>, name: &str) -> FleetPace {
    let reach: Arc<dyn Reach> = known.clone();
    FleetPace::new(Arc::downgrade(&reach), Name(name.into()), TIMEOUT)
}

fn turn(share: Share, max_wait: Duration) -> TurnOf {
    TurnOf::new(LIMIT, share, max_wait)
}

/// How many turns there are at once.
async fn at_once(pace: &FleetPace, share: Share) -> usize {
    let mut taken = 0;
    while pace.take(turn(share, SECOND)).await == Some(Ok(Duration::ZERO)) {
        taken += 1;
    }
    taken
}

fn figures(from_engine: u64, left_to_process: u64, is_left_to_process: bool) -> PaceFigures {
    PaceFigures { from_engine, left_to_process, is_left_to_process }
}

#[tokio::test(start_paused = true)]
async fn processes_that_ask_one_authority_share_its_turns_and_those_of_another_authority_are_others() {
    let Fleet { known, pace: one, .. } = fleet();
    let (same, other) = (pace(&known, "rate"), pace(&known, "another"));
    // Ten may come at once, and ten more are kept for known tokens.
    assert_eq!(at_once(&one, Share::Stranger).await, 10);
    assert_eq!(at_once(&same, Share::Stranger).await, 0);
    assert!(at_once(&same, Share::Known).await > 0, "known tokens come first here as well");
    assert_eq!(at_once(&one, Share::Known).await, 0);
    assert_eq!(at_once(&other, Share::Stranger).await, 10);
    assert_eq!((one.figures(), one.processes()), (figures(12, 0, false), 3));
    assert!(known.successes.load(Relaxed) > 20);
}

#[tokio::test(start_paused = true)]
async fn no_turn_is_later_than_max_wait_without_the_time_of_the_exchange() {
    let max_wait = Duration::from_millis(400);
    for share in [Share::Known, Share::Stranger] {
        let Fleet { clock, pace, known: _known, .. } = fleet();
        let mut latest = Duration::ZERO;
        for _ in 0..1_000 {
            while let Some(Ok(delay)) = pace.take(turn(share, max_wait)).await {
                latest = latest.max(delay);
            }
            assert_eq!(pace.take(turn(share, max_wait)).await, Some(Err(TooLate)));
            clock.advance(Duration::from_millis(7));
        }
        let bounds = Duration::from_millis(360)..=max_wait - TIMEOUT;
        assert!(bounds.contains(&latest), "{latest:?}, {share:?}");
        assert_eq!(pace.figures().left_to_process, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_hangs_holds_a_question_for_the_timeout_and_the_next_one_not_at_all() {
    let Fleet { engine, known, pace, .. } = fleet();
    engine.hang(true);
    let began = Stopwatch::start();
    assert_eq!(pace.take(turn(Share::Known, SECOND)).await, None);
    assert!((TIMEOUT..=TIMEOUT + Duration::from_millis(1)).contains(&began.elapsed()), "{:?}", began.elapsed());
    let began = Stopwatch::start();
    assert_eq!(pace.take(turn(Share::Known, SECOND)).await, None);
    assert_eq!(began.elapsed(), Duration::ZERO);
    assert_eq!(*known.failures.lock().unwrap(), [EngineErrorKind::Timeout]);
    assert_eq!(pace.figures(), figures(0, 2, true));
}

#[tokio::test(start_paused = true)]
async fn an_exchange_takes_half_of_max_wait_at_most_which_says_nothing_about_the_engine() {
    let Fleet { engine, known, pace, .. } = fleet();
    engine.hang(true);
    let began = Stopwatch::start();
    assert_eq!(pace.take(turn(Share::Known, Duration::from_millis(20))).await, None);
    assert!(began.elapsed() <= Duration::from_millis(11), "{:?}", began.elapsed());
    assert!(known.failures.lock().unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn the_engine_is_not_asked_while_it_is_left_alone_nor_by_questions_that_do_not_wait() {
    let Fleet { known, pace, .. } = fleet();
    assert_eq!(pace.take(turn(Share::Known, Duration::ZERO)).await, None);
    known.is_closed.store(true, Relaxed);
    assert_eq!(pace.take(turn(Share::Known, SECOND)).await, None);
    assert_eq!(known.successes.load(Relaxed), 0);
    known.is_closed.store(false, Relaxed);
    assert_eq!(pace.take(turn(Share::Known, SECOND)).await, Some(Ok(Duration::ZERO)));
    assert_eq!(pace.figures(), figures(1, 2, false));
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_told_to_the_node_and_is_none_of_the_question() {
    let Fleet { engine, known, pace, .. } = fleet();
    engine.cut_off(true);
    assert_eq!(pace.take(turn(Share::Stranger, SECOND)).await, None);
    assert_eq!(*known.failures.lock().unwrap(), [EngineErrorKind::Connection]);
}

/// No fault of the engine is a 503.
#[tokio::test(start_paused = true)]
async fn turns_that_others_have_booked_too_far_ahead_are_left_to_the_process() {
    let Fleet { clock, known, pace, .. } = fleet();
    let patient = turn(Share::Known, Duration::from_secs(30));
    while pace.take(patient).await != Some(Err(TooLate)) {}
    assert_eq!(pace.take(turn(Share::Known, SECOND)).await, None);
    assert_eq!(*known.failures.lock().unwrap(), [EngineErrorKind::Answer]);
    assert!(known.is_open(), "what is shared of answers is as good as before");
    clock.advance(Duration::from_secs(30));
    assert!(matches!(pace.take(turn(Share::Known, SECOND)).await, Some(Ok(_))));
}

#[tokio::test(start_paused = true)]
async fn no_minute_holds_more_turns_than_the_limit_however_many_processes_ask() {
    let Fleet { clock, known, .. } = fleet();
    let processes: Vec<_> = (0..5).map(|_| pace(&known, "rate")).collect();
    let mut turns = Vec::new();
    for now in (0..150_000).step_by(10) {
        for (process, share) in processes.iter().flat_map(|pace| [(pace, Share::Stranger), (pace, Share::Known)]) {
            if let Some(Ok(delay)) = process.take(turn(share, SECOND)).await {
                turns.push(now + i64::try_from(delay.as_millis()).unwrap());
            }
        }
        clock.advance(Duration::from_millis(10));
    }
    turns.sort_unstable();
    let most =
        turns.iter().map(|first| turns.iter().filter(|turn| (0..60_000).contains(&(*turn - first))).count()).max();
    assert!(most.is_some_and(|most| (560..=600).contains(&most)), "{most:?}");
}

#[tokio::test(start_paused = true)]
async fn the_engine_books_as_a_process_does_for_itself() {
    let Fleet { clock, pace, known: _known, .. } = fleet();
    let (mut next, mut now) = (i64::MIN, 1_700_000_000_000_000);
    for n in 0_u64..3_000 {
        let turn = turn(if n % 3 == 0 { Share::Known } else { Share::Stranger }, SECOND);
        let here = turn.sooner_by(TIMEOUT).book(&mut next, now);
        let here = here.map(|delay| Duration::from_micros(delay.unsigned_abs())).ok_or(TooLate);
        assert_eq!(pace.take(turn).await, Some(here), "turn {n}");
        // Sometimes more than there is, and sometimes less.
        let millis = n * n % 190;
        clock.advance(Duration::from_millis(millis));
        now += i64::try_from(millis).unwrap() * 1_000;
    }
}
