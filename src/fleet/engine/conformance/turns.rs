//! Turns of a rate limit.

use std::time::Duration;

use super::{ROUNDING, Subject, some_name};
use crate::fleet::engine::{EngineErrorKind, Name, Turn};

/// Long, so that it does not matter how long a call takes.
const INTERVAL: i64 = 3_600_000_000;

/// Of a stranger, whom it does not matter how long known tokens wait; all three at once, and none that waits.
fn turn(name: &Name) -> Turn<'_> {
    Turn {
        name,
        interval: INTERVAL,
        tolerance: 2 * INTERVAL,
        tolerance_of_known: 2 * INTERVAL,
        max_wait: 0,
        max_wait_of_known: 0,
    }
}

impl Subject {
    /// In hours, rounded up.
    async fn take(&self, turn: Turn<'_>) -> Option<u64> {
        let wait = self.engine.take_turn(turn).await.unwrap()?;
        Some(wait.as_secs().div_ceil(3_600))
    }
}

pub(crate) async fn so_many_turns_as_the_tolerance_allows_are_at_once(subject: &Subject) {
    let (name, other) = (some_name(), some_name());
    for _ in 0..3 {
        assert_eq!(subject.engine.take_turn(turn(&name)).await.unwrap(), Some(Duration::ZERO));
    }
    assert_eq!(subject.take(turn(&name)).await, None);
    assert_eq!(subject.take(turn(&other)).await, Some(0));
}

pub(crate) async fn a_turn_that_is_too_late_books_nothing(subject: &Subject) {
    let name = some_name();
    let waits = |hours| Turn { max_wait: hours * INTERVAL, max_wait_of_known: hours * INTERVAL, ..turn(&name) };
    for wait in [0, 0, 0, 1, 2] {
        assert_eq!(subject.take(waits(2)).await, Some(wait));
    }
    for _ in 0..3 {
        assert_eq!(subject.take(waits(2)).await, None);
    }
    assert_eq!(subject.take(waits(3)).await, Some(3));
}

/// Or one process, or somebody who is none, could hold up all others.
pub(crate) async fn turns_that_are_booked_further_ahead_than_one_may_wait_are_no_answer_for_it(subject: &Subject) {
    let name = some_name();
    let (interval, tolerance) = (10_000_000, 20_000_000);
    let waits = |max_wait| {
        let (tolerance_of_known, max_wait_of_known) = (tolerance, max_wait);
        let turn = Turn { name: &name, interval, tolerance, tolerance_of_known, max_wait, max_wait_of_known };
        subject.engine.take_turn(turn)
    };
    for wait in [0, 0, 0, 1, 2, 3] {
        let booked = waits(100_000_000).await.unwrap().unwrap();
        assert_eq!(booked.as_secs().div_ceil(10), wait);
    }
    assert_eq!(waits(0).await.unwrap_err().kind, EngineErrorKind::Answer);
    let booked = waits(100_000_000).await.unwrap().unwrap();
    assert_eq!(booked.as_secs().div_ceil(10), 4, "the others' turns are kept");
}

pub(crate) async fn known_tokens_come_first(subject: &Subject) {
    let name = some_name();
    let stranger = || Turn { tolerance: 0, ..turn(&name) };
    assert_eq!(subject.take(stranger()).await, Some(0));
    assert_eq!(subject.take(stranger()).await, None);
    for _ in 0..2 {
        assert_eq!(subject.take(turn(&name)).await, Some(0));
    }
    assert_eq!(subject.take(turn(&name)).await, None);
    // It would wait, but known tokens may not.
    let patient = |of_known| Turn { max_wait: 10 * INTERVAL, max_wait_of_known: of_known, ..stranger() };
    assert_eq!(subject.take(patient(INTERVAL / 2)).await, None);
    assert_eq!(subject.take(patient(INTERVAL)).await, Some(3));
}

pub(crate) async fn a_turn_is_there_again_after_the_interval(subject: &Subject) {
    let name = some_name();
    let short = || Turn { interval: 200_000, tolerance: 0, tolerance_of_known: 0, ..turn(&name) };
    let before = subject.now().await;
    assert_eq!(subject.take(short()).await, Some(0));
    subject.until(async || subject.take(short()).await.is_some()).await;
    let after = subject.now().await;
    assert!(after >= before + 200, "after {} ms", after - before);
    subject.until(async || subject.take(short()).await.is_some()).await;
    assert!(subject.now().await >= before + 400);
}

pub(crate) async fn turns_that_nobody_takes_do_not_add_up(subject: &Subject) {
    let name = some_name();
    let strict = |interval| Turn { interval, tolerance: 0, tolerance_of_known: 0, ..turn(&name) };
    assert_eq!(subject.take(strict(1_000)).await, Some(0));
    let taken = subject.now().await;
    subject.until(async || subject.now().await > taken + 200).await;
    let before = subject.now().await;
    assert_eq!(subject.take(strict(INTERVAL)).await, Some(0));
    let (max_wait, max_wait_of_known) = (INTERVAL, INTERVAL);
    let patient = Turn { max_wait, max_wait_of_known, ..strict(INTERVAL) };
    let wait = subject.engine.take_turn(patient).await.unwrap().unwrap();
    let next = subject.now().await + i64::try_from(wait.as_millis()).unwrap();
    assert!(next >= before + INTERVAL / 1_000 - ROUNDING, "{} ms too early", before + INTERVAL / 1_000 - next);
}
