//! Telling the operator of what goes on without filling the log with it.

use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::clock::Stopwatch;

/// From one line of a sort to the next.
const PAUSE: Duration = Duration::from_secs(30);

/// Limits lines that a caller, or an authority that fails, could fill the log with. Of each sort one is written at
/// once, and then one every half minute while it goes on. Sorts have to be few: each is remembered.
///
/// The pauses are of the time that really passes, whatever an injected clock shows.
pub(crate) struct LogLimit<S>(Mutex<Vec<Written<S>>>);

struct Written<S> {
    sort: S,
    since: Stopwatch,
    untold: u64,
}

impl<S> fmt::Debug for LogLimit<S> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("LogLimit")
    }
}

impl<S: PartialEq> LogLimit<S> {
    pub(crate) const fn new() -> Self {
        Self(Mutex::new(Vec::new()))
    }

    /// Whether to write a line of this sort, and how many like it were not written since the last one.
    pub(crate) fn due(&self, sort: S) -> Option<u64> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(last) = all.iter_mut().find(|last| last.sort == sort) else {
            all.push(Written { sort, since: Stopwatch::start(), untold: 0 });
            return Some(0);
        };
        if last.since.elapsed() < PAUSE {
            last.untold += 1;
            return None;
        }
        last.since = Stopwatch::start();
        Some(std::mem::take(&mut last.untold))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_line_is_written_at_once_and_then_every_half_minute_with_how_many_there_were() {
        let limit = LogLimit::new();
        let mut due = Vec::new();
        for passes in [0, 1, 28, 1, 1, 270] {
            tokio::time::advance(Duration::from_secs(passes)).await;
            due.push(limit.due("a sort"));
        }
        assert_eq!(due, [Some(0), None, None, Some(2), None, Some(1)]);
    }

    #[tokio::test(start_paused = true)]
    async fn one_sort_of_line_does_not_hide_another() {
        let limit = LogLimit::new();
        for sort in ["one", "another"] {
            assert_eq!([limit.due(sort), limit.due(sort)], [Some(0), None], "{sort}");
        }
    }
}
