//! A pace that several processes keep together.

use std::pin::Pin;

use super::{TooLate, TurnOf};
use crate::protection::RateLimit;

/// How long it is until the turn that was booked.
pub(crate) type Booked = Result<std::time::Duration, TooLate>;

/// `None` if the shared pace cannot be asked: this process goes by its own part of the rate.
pub(crate) type Booking<'a> = Pin<Box<dyn Future<Output = Option<Booked>> + Send + 'a>>;

/// Hands out the turns of one rate limit to several processes.
pub(crate) trait SharedPace: Send + Sync {
    /// Books a turn. The time that this takes and the delay that it tells are no more than `max_wait` together; a
    /// question that is told nothing in this time is the implementer's mistake.
    fn take(&self, turn: TurnOf) -> Booking<'_>;

    /// How many processes share it, as far as is known: 0 if that was never known.
    fn processes(&self) -> u32;
}

/// Among so many processes a rate is divided if nobody knows how many there are.
const PROCESSES_IF_UNKNOWN: u32 = 4;

/// What one of the processes may ask while none can ask the shared pace.
pub(super) fn part_of(rate: RateLimit, processes: u32) -> RateLimit {
    let processes = if processes == 0 { PROCESSES_IF_UNKNOWN } else { processes };
    RateLimit { requests: (rate.requests / processes).max(1), per: rate.per }
}

#[cfg(test)]
mod tests;
