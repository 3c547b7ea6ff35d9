//! One turn to be booked, in the numbers of the generic cell rate algorithm.

use std::time::Duration;

use crate::protection::{RateLimit, Share};

/// What decides when a turn is. All in microseconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct TurnOf {
    /// From one turn to the next, on the average.
    pub(crate) interval: i64,
    /// How much earlier than the interval allows a turn of this share may be.
    pub(crate) tolerance: i64,
    /// The same for known tokens, which come first: nobody may have them wait for more than `max_wait_of_known`.
    pub(crate) tolerance_of_known: i64,
    pub(crate) max_wait: i64,
    pub(crate) max_wait_of_known: i64,
}

impl TurnOf {
    /// The turn of a question that may wait for `max_wait`.
    pub(crate) fn new(rate: RateLimit, share: Share, max_wait: Duration) -> Self {
        Spread::of(rate).turn(share, micros(max_wait))
    }

    #[cfg_attr(not(feature = "redis"), allow(dead_code))] // Only the fleet needs time for something else.
    /// The same turn, if `time` of what it may wait for is needed for something else.
    pub(crate) fn sooner_by(self, time: Duration) -> Self {
        let less = |wait: i64, time: i64| wait.saturating_sub(time).max(0);
        let time = micros(time);
        // A stranger may have known tokens wait for half of what it may wait for itself.
        let of_known = if self.max_wait_of_known < self.max_wait { time / 2 } else { time };
        Self { max_wait: less(self.max_wait, time), max_wait_of_known: less(self.max_wait_of_known, of_known), ..self }
    }

    /// Books the turn, and tells how long it is until then. `next` is when somebody who keeps the interval exactly
    /// would be next. `None` if it would be too late, and then nothing is booked.
    pub(crate) fn book(&self, next: &mut i64, now: i64) -> Option<i64> {
        let delay_with = |tolerance| next.saturating_sub(tolerance).saturating_sub(now).max(0);
        let (delay, of_known) = (delay_with(self.tolerance), delay_with(self.tolerance_of_known));
        if delay > self.max_wait || of_known > self.max_wait_of_known {
            return None;
        }
        *next = (*next).max(now).saturating_add(self.interval);
        Some(delay)
    }
}

/// A rate limit, spread over its period. All in microseconds.
#[derive(Clone, Copy)]
pub(super) struct Spread {
    pub(super) interval: i64,
    pub(super) known_tolerance: i64,
    stranger_tolerance: i64,
}

impl Spread {
    /// A sixtieth of the requests may come at once: of a limit for a minute, those of a second; or ten, or a quarter,
    /// if that is little. As many more are kept for known tokens, or a quarter of it, if that is little. The others are
    /// spread so that no window of this length holds more than the limit.
    pub(super) fn of(RateLimit { requests, per }: RateLimit) -> Self {
        let at_once = (requests / 60).max((requests / 4).min(10)).max(1);
        let kept = (requests / 60).max(at_once / 4).max(1).min(requests - at_once);
        let [requests, at_once, kept] = [requests, at_once, kept].map(i64::from);
        let interval = (micros(per) / (requests - at_once - kept + 1)).saturating_add(1);
        Self {
            interval,
            known_tolerance: interval.saturating_mul(at_once + kept - 1),
            stranger_tolerance: interval.saturating_mul(at_once - 1),
        }
    }

    pub(super) fn turn(self, share: Share, max_wait: i64) -> TurnOf {
        let (tolerance, max_wait_of_known) = match share {
            Share::Known => (self.known_tolerance, max_wait),
            Share::Stranger => (self.stranger_tolerance, max_wait / 2),
        };
        let (interval, tolerance_of_known) = (self.interval, self.known_tolerance);
        TurnOf { interval, tolerance, tolerance_of_known, max_wait, max_wait_of_known }
    }
}

pub(super) fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}
