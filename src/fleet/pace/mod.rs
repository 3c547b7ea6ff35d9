//! One rate limit for all processes of a fleet: the turns of an authority are booked in the engine.
//!
//! A question asks the engine once, for half of `max_wait` at most, and goes by this process's part of the limit if it
//! is told nothing: while the log is not being read, after a failure, with a `max_wait` of zero, or where turns are
//! booked further ahead than it may wait. An exchange that was given up may have booked a turn, which nobody takes
//! then: the limit is kept.

use std::sync::Weak;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use super::engine::{Engine, EngineError, EngineErrorKind, Name, Turn};
use crate::protection::{Booked, Booking, SharedPace, TooLate, TurnOf};

/// What a node knows of its engine and of the other nodes.
pub(crate) trait Reach: Send + Sync {
    fn engine(&self) -> &dyn Engine;

    /// Whether requests may touch the engine: not while its log is not being read, or a call has failed.
    fn is_open(&self) -> bool;

    /// A request's call came back.
    fn succeeded(&self);

    /// A request's call has failed.
    fn failed(&self, error: &EngineError);

    /// What is booked is of no use, though the engine did what it was asked.
    fn disbelieves(&self, error: &EngineError);

    /// How many nodes are alive, this one included, as far as is known: 0 if that was never known.
    fn nodes(&self) -> u32;
}

/// The turns of one authority.
pub(crate) struct FleetPace {
    /// The node holds this pace, and so do endpoints, which may outlive it: they keep no connection.
    reach: Weak<dyn Reach>,
    name: Name,
    timeout: Duration,
    from_engine: AtomicU64,
    left_to_process: AtomicU64,
    is_left_to_process: AtomicBool,
}

/// Who has handed out the turns.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct PaceFigures {
    /// Questions for a turn that the engine has answered, those that were too late included.
    pub(crate) from_engine: u64,
    /// Those that were left to this process's part of the limit.
    pub(crate) left_to_process: u64,
    /// Whether the last one was.
    pub(crate) is_left_to_process: bool,
}

impl FleetPace {
    /// The turns are booked under `name`. An exchange takes no longer than `timeout`.
    pub(crate) fn new(reach: Weak<dyn Reach>, name: Name, timeout: Duration) -> Self {
        Self {
            reach,
            name,
            timeout,
            from_engine: AtomicU64::new(0),
            left_to_process: AtomicU64::new(0),
            is_left_to_process: AtomicBool::new(false),
        }
    }

    pub(crate) fn figures(&self) -> PaceFigures {
        PaceFigures {
            from_engine: self.from_engine.load(Relaxed),
            left_to_process: self.left_to_process.load(Relaxed),
            is_left_to_process: self.is_left_to_process.load(Relaxed),
        }
    }

    async fn book(&self, turn: TurnOf) -> Option<Booked> {
        let max_wait = Duration::from_micros(turn.max_wait.unsigned_abs());
        let timeout = self.timeout.min(max_wait / 2);
        let reach = self.reach.upgrade()?;
        if timeout.is_zero() || !reach.is_open() {
            return None;
        }
        // What the exchange may take cannot be waited for a second time.
        let TurnOf { interval, tolerance, tolerance_of_known, max_wait, max_wait_of_known } = turn.sooner_by(timeout);
        let name = &self.name;
        let turn = Turn { name, interval, tolerance, tolerance_of_known, max_wait, max_wait_of_known };
        let error = match tokio::time::timeout(timeout, reach.engine().take_turn(turn)).await {
            Ok(Ok(booked)) => {
                reach.succeeded();
                return Some(booked.ok_or(TooLate));
            }
            // It is about these turns alone.
            Ok(Err(error)) if error.kind == EngineErrorKind::Answer => {
                reach.disbelieves(&error);
                return None;
            }
            Ok(Err(error)) => error,
            // A question in a hurry says nothing about the engine.
            Err(_) if timeout < self.timeout => return None,
            Err(_) => {
                EngineError { kind: EngineErrorKind::Timeout, text: format!("no turn was booked within {timeout:?}") }
            }
        };
        reach.failed(&error);
        None
    }
}

impl SharedPace for FleetPace {
    fn take(&self, turn: TurnOf) -> Booking<'_> {
        Box::pin(async move {
            let booked = self.book(turn).await;
            let counter = if booked.is_some() { &self.from_engine } else { &self.left_to_process };
            counter.fetch_add(1, Relaxed);
            self.is_left_to_process.store(booked.is_none(), Relaxed);
            booked
        })
    }

    fn processes(&self) -> u32 {
        self.reach.upgrade().map_or(0, |reach| reach.nodes())
    }
}

#[cfg(test)]
mod tests;
