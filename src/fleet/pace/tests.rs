use std::sync::Mutex;

use super::super::engine::{
    Append, Appended, Claim, Claimed, EngineTime, Exchange, Node, NodeId, Page, Put, Read, Stored,
};
use super::*;
use crate::clock::{ManualClock, Stopwatch, Timestamp};
use crate::protection::{RateLimit, Share};

const TIMEOUT: Duration = Duration::from_millis(50);
const SECOND: Duration = Duration::from_secs(1);
const LIMIT: RateLimit = RateLimit { requests: 6_000, per: Duration::from_secs(60) };

#[derive(Clone, Copy, PartialEq)]
enum Does {
    Book,
    Fail,
    Hang,
}

/// An engine that knows nothing but turns.
struct Turning {
    does: Mutex<Does>,
    next: Mutex<i64>,
    asked: Mutex<Vec<(Name, TurnOf)>>,
    clock: ManualClock,
}

impl Turning {
    fn turn(&self, turn: &Turn) -> Option<Duration> {
        let Turn { interval, tolerance, tolerance_of_known, max_wait, max_wait_of_known, .. } = *turn;
        let numbers = TurnOf { interval, tolerance, tolerance_of_known, max_wait, max_wait_of_known };
        self.asked.lock().unwrap().push((turn.name.clone(), numbers));
        let now: EngineTime = crate::clock::Clock::now(&self.clock).as_unix_millis();
        let delay = numbers.book(&mut self.next.lock().unwrap(), now * 1_000);
        delay.map(|delay| Duration::from_micros(delay.unsigned_abs()))
    }
}

impl Engine for Turning {
    fn take_turn<'a>(&'a self, turn: Turn<'a>) -> Exchange<'a, Option<Duration>> {
        Box::pin(async move {
            let does = *self.does.lock().unwrap();
            match does {
                Does::Book => Ok(self.turn(&turn)),
                Does::Fail => Err(EngineError { kind: EngineErrorKind::Connection, text: "it broke".into() }),
                Does::Hang => std::future::pending().await,
            }
        })
    }

    fn claim<'a>(&'a self, _: Claim<'a>) -> Exchange<'a, Claimed> {
        unimplemented!()
    }

    fn renew<'a>(&'a self, _: &'a [Name], _: NodeId, _: Duration) -> Exchange<'a, ()> {
        unimplemented!()
    }

    fn put<'a>(&'a self, _: Put<'a>) -> Exchange<'a, Stored> {
        unimplemented!()
    }

    fn release<'a>(&'a self, _: &'a Name, _: NodeId) -> Exchange<'a, ()> {
        unimplemented!()
    }

    fn delete<'a>(&'a self, _: &'a Name) -> Exchange<'a, ()> {
        unimplemented!()
    }

    fn append<'a>(&'a self, _: Append<'a>) -> Exchange<'a, Appended> {
        unimplemented!()
    }

    fn read<'a>(&'a self, _: Read<'a>) -> Exchange<'a, Page> {
        unimplemented!()
    }

    fn nodes(&self) -> Exchange<'_, Vec<Node>> {
        unimplemented!()
    }
}

#[derive(Default)]
struct Known {
    is_away: AtomicBool,
    failures: Mutex<Vec<EngineErrorKind>>,
}

impl Reach for Known {
    fn is_reading(&self) -> bool {
        !self.is_away.load(Relaxed)
    }

    fn has_failed(&self, error: &EngineError) {
        self.failures.lock().unwrap().push(error.kind);
        self.is_away.store(true, Relaxed);
    }

    fn nodes(&self) -> u32 {
        3
    }
}

struct Fleet {
    engine: Arc<Turning>,
    known: Arc<Known>,
    pace: FleetPace,
}

fn fleet(does: Does) -> Fleet {
    let engine = Arc::new(Turning {
        does: Mutex::new(does),
        next: Mutex::new(i64::MIN),
        asked: Mutex::default(),
        clock: ManualClock::at(Timestamp::from_unix_millis(1_700_000_000_000)),
    });
    let known = Arc::new(Known::default());
    let pace = FleetPace::new(engine.clone(), known.clone(), Name("rate".into()), TIMEOUT);
    Fleet { engine, known, pace }
}

fn turn(share: Share, max_wait: Duration) -> TurnOf {
    TurnOf::new(LIMIT, share, max_wait)
}

#[tokio::test(start_paused = true)]
async fn turns_are_booked_under_the_name_and_leave_time_for_the_exchange() {
    let Fleet { engine, pace, .. } = fleet(Does::Book);
    for (share, max_wait, of_known) in [(Share::Known, 950_000, 950_000), (Share::Stranger, 950_000, 475_000)] {
        assert_eq!(pace.take(turn(share, SECOND)).await, Some(Ok(Duration::ZERO)));
        let expected = TurnOf { max_wait, max_wait_of_known: of_known, ..turn(share, SECOND) };
        assert_eq!(engine.asked.lock().unwrap().pop(), Some((Name("rate".into()), expected)));
    }
    let figures = PaceFigures { from_engine: 2, left_to_process: 0, is_left_to_process: false };
    assert_eq!((pace.figures(), pace.processes()), (figures, 3));
}

#[tokio::test(start_paused = true)]
async fn no_turn_is_later_than_max_wait_without_the_time_of_the_exchange() {
    for share in [Share::Known, Share::Stranger] {
        let Fleet { pace, .. } = fleet(Does::Book);
        let mut latest = Duration::ZERO;
        while let Some(Ok(delay)) = pace.take(turn(share, Duration::from_millis(400))).await {
            latest = latest.max(delay);
        }
        assert!(latest <= Duration::from_millis(350), "{latest:?}");
        assert_eq!(pace.take(turn(share, Duration::from_millis(400))).await, Some(Err(TooLate)));
        assert!(!pace.figures().is_left_to_process);
    }
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_hangs_holds_a_question_no_longer_than_the_timeout_and_the_next_one_not_at_all() {
    let Fleet { known, pace, .. } = fleet(Does::Hang);
    let began = Stopwatch::start();
    assert_eq!(pace.take(turn(Share::Known, SECOND)).await, None);
    assert!((TIMEOUT..=TIMEOUT + Duration::from_millis(1)).contains(&began.elapsed()), "{:?}", began.elapsed());
    let began = Stopwatch::start();
    assert_eq!(pace.take(turn(Share::Known, SECOND)).await, None);
    assert_eq!(began.elapsed(), Duration::ZERO);
    assert_eq!(*known.failures.lock().unwrap(), [EngineErrorKind::Timeout]);
    let figures = PaceFigures { from_engine: 0, left_to_process: 2, is_left_to_process: true };
    assert_eq!(pace.figures(), figures);
}

#[tokio::test(start_paused = true)]
async fn an_exchange_takes_half_of_max_wait_at_most_which_says_nothing_about_the_engine() {
    let Fleet { known, pace, .. } = fleet(Does::Hang);
    let began = Stopwatch::start();
    assert_eq!(pace.take(turn(Share::Known, Duration::from_millis(20))).await, None);
    assert!(began.elapsed() <= Duration::from_millis(11), "{:?}", began.elapsed());
    assert!(known.failures.lock().unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn the_engine_is_not_asked_while_its_log_is_not_read_nor_by_questions_that_do_not_wait() {
    let Fleet { engine, known, pace } = fleet(Does::Book);
    assert_eq!(pace.take(turn(Share::Known, Duration::ZERO)).await, None);
    known.is_away.store(true, Relaxed);
    assert_eq!(pace.take(turn(Share::Known, SECOND)).await, None);
    assert!(engine.asked.lock().unwrap().is_empty());
    known.is_away.store(false, Relaxed);
    assert_eq!(pace.take(turn(Share::Known, SECOND)).await, Some(Ok(Duration::ZERO)));
    assert_eq!(pace.figures(), PaceFigures { from_engine: 1, left_to_process: 2, is_left_to_process: false });
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_told_to_the_fleet_and_is_none_of_the_question() {
    let Fleet { known, pace, .. } = fleet(Does::Fail);
    assert_eq!(pace.take(turn(Share::Stranger, SECOND)).await, None);
    assert_eq!(*known.failures.lock().unwrap(), [EngineErrorKind::Connection]);
}
