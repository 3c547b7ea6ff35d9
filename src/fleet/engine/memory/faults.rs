//! Outages and damage, on demand.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use super::journal::Journal;
use super::{Kind, MemoryEngine};
use crate::fleet::engine::{Append, EngineError, EngineErrorKind};

const REQUEST_TIMEOUT: Duration = Duration::from_millis(50);
const LOG_TIMEOUT: Duration = Duration::from_millis(500);

const MOST_BYTES: usize = 64 * 1024 * 1024;

/// Of the whole engine.
#[derive(Default)]
pub(super) struct Faults {
    line: Line,
    is_full: AtomicBool,
    calls: AtomicU64,
    given: Mutex<VecDeque<u8>>,
}

/// What is in the way of some callers, or of all.
pub(super) struct Line {
    present: Mutex<Present>,
    is_hung: watch::Sender<bool>,
}

#[derive(Clone, Copy, Default)]
struct Present {
    is_cut_off: bool,
    refuses: bool,
    slow: Duration,
}

impl Default for Line {
    fn default() -> Self {
        let (is_hung, _) = watch::channel(false);
        Self { present: Mutex::default(), is_hung }
    }
}

impl Kind {
    fn timeout(self) -> Duration {
        match self {
            Self::Request | Self::Storing => REQUEST_TIMEOUT,
            Self::Log | Self::Append => LOG_TIMEOUT,
        }
    }

    fn needs_memory(self) -> bool {
        matches!(self, Self::Storing | Self::Append)
    }
}

impl MemoryEngine {
    /// Does the work of a call unless something is in the way. `given` leaves the caller if there is a connection.
    pub(super) async fn around<T>(
        &self,
        kind: Kind,
        given: &[&[u8]],
        work: impl FnOnce() -> T,
    ) -> Result<T, EngineError> {
        let faults = &self.server.faults;
        faults.calls.fetch_add(1, Ordering::Relaxed);
        let present: Vec<_> = self.lines().map(|line| line.present(|present| *present)).collect();
        if present.iter().any(|present| present.is_cut_off) {
            return Err(error(EngineErrorKind::Connection, "is cut off"));
        }
        if present.iter().any(|present| present.refuses) {
            return Err(error(EngineErrorKind::Refused, "refuses the password"));
        }
        faults.record(&self.fleet, given);
        let slow: Duration = present.iter().map(|present| present.slow).sum();
        if slow.is_zero() && !self.lines().any(|line| *line.is_hung.borrow()) {
            return faults.answer(kind, work);
        }
        let late = async {
            for line in self.lines() {
                // The sender lives as long as `self`, so the wait ends with the outage only.
                let _ = line.is_hung.subscribe().wait_for(|is_hung| !is_hung).await;
            }
            tokio::time::sleep(slow / 2).await;
            let answer = faults.answer(kind, work);
            tokio::time::sleep(slow / 2).await;
            answer
        };
        let in_time = tokio::time::timeout(kind.timeout(), late).await;
        in_time.unwrap_or_else(|_| Err(error(EngineErrorKind::Timeout, "does not answer in time")))
    }

    /// All that a call has to pass.
    fn lines(&self) -> impl Iterator<Item = &Line> {
        self.line.as_deref().into_iter().chain([&self.server.faults.line])
    }

    /// Whose outages this one's are.
    fn own_line(&self) -> &Line {
        self.line.as_deref().unwrap_or(&self.server.faults.line)
    }
}

impl Line {
    fn present<T>(&self, with: impl FnOnce(&mut Present) -> T) -> T {
        with(&mut self.present.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Faults {
    fn record(&self, fleet: &str, given: &[&[u8]]) {
        let mut all = self.given.lock().unwrap_or_else(PoisonError::into_inner);
        for bytes in [fleet.as_bytes()].iter().chain(given) {
            all.extend(bytes.iter());
            all.push_back(b'\n');
        }
        let too_many = all.len().saturating_sub(MOST_BYTES);
        all.drain(..too_many);
    }

    fn answer<T>(&self, kind: Kind, work: impl FnOnce() -> T) -> Result<T, EngineError> {
        if self.is_full.load(Ordering::Relaxed) && kind.needs_memory() {
            return Err(error(EngineErrorKind::Full, "is full"));
        }
        Ok(work())
    }
}

fn error(kind: EngineErrorKind, what: &str) -> EngineError {
    EngineError { kind, text: format!("the in-memory engine {what}, as a test has told it") }
}

/// Outages and damage, for tests. They hold for all clones, and for all fleets on this engine.
impl MemoryEngine {
    /// The same engine over a line of its own: what is told to it by [`cut_off`](Self::cut_off), [`hang`](Self::hang),
    /// [`slow`](Self::slow) and [`refuse`](Self::refuse) holds for it and its clones alone, so that one of several
    /// processes can be parted from the others. What is told to the engine that it was made from holds for it too.
    #[must_use]
    pub fn line(&self) -> Self {
        Self { line: Some(Arc::default()), ..self.clone() }
    }

    /// From now on each call fails at once, as without a connection, until it is called with `false`.
    pub fn cut_off(&self, is_cut_off: bool) {
        self.own_line().present(|present| present.is_cut_off = is_cut_off);
    }

    /// From now on no call is answered, until it is called with `false`. Callers give up after 50 ms, and those that
    /// read or write the log after 500 ms, by tokio's timer. What they asked for is not done later.
    pub fn hang(&self, is_hung: bool) {
        self.own_line().is_hung.send_replace(is_hung);
    }

    /// From now on each call takes so long, by tokio's timer: half of it on the way to the engine, and half on the way
    /// back. Callers give up as with [`hang`](Self::hang), maybe after the engine has done what they asked for.
    pub fn slow(&self, takes: Duration) {
        self.own_line().present(|present| present.slow = takes);
    }

    /// From now on each call is refused, as for a wrong password, until it is called with `false`.
    pub fn refuse(&self, refuses: bool) {
        self.own_line().present(|present| present.refuses = refuses);
    }

    /// From now on there is no memory left for a value, a lease or a record, until it is called with `false`. What is
    /// stored can be read.
    pub fn full(&self, is_full: bool) {
        self.server.faults.is_full.store(is_full, Ordering::Relaxed);
    }

    /// Forgets everything, as a server that starts again without persistence.
    pub fn restart_empty(&self) {
        self.evict_all();
        self.evict_log();
    }

    /// Evicts values, leases and rates. The log stays.
    pub fn evict_all(&self) {
        let mut state = self.state();
        state.values.clear();
        state.leases.clear();
        state.rates.clear();
        state.journal = Journal::default();
    }

    /// Evicts the log, and with it who reads it.
    pub fn evict_log(&self) {
        let mut state = self.state();
        state.logs.clear();
        state.journal = Journal::default();
    }

    /// Another server takes over, to which the last `losing` writes did not get: of a value or a record each. It can
    /// lose a thousand.
    pub fn fail_over(&self, losing: usize) {
        self.state().fail_over(losing);
    }

    /// Changes each value that is stored.
    pub fn tamper(&self, mut change: impl FnMut(&mut Vec<u8>)) {
        let mut state = self.state();
        for name in state.values.names() {
            if let Some(value) = state.values.get_mut(&name) {
                change(&mut value.bytes);
            }
        }
    }

    /// Each value gets the name of the one that was stored before it, and the first that of the last. Tells whether
    /// there were at least two.
    #[must_use]
    pub fn swap_values(&self) -> bool {
        let mut state = self.state();
        let names = state.values.names();
        let mut all: Vec<_> = state.values.values().map(|value| value.bytes.clone()).collect();
        all.rotate_left(names.len().min(1));
        for (name, bytes) in names.iter().zip(all) {
            if let Some(value) = state.values.get_mut(name) {
                value.bytes = bytes;
            }
        }
        names.len() > 1
    }

    /// Appends a record that nobody can read to each log.
    pub fn append_junk(&self) {
        let now = self.server.clock.now().as_unix_millis();
        let mut state = self.state();
        let append = Append {
            record: b"nobody can read this",
            nonce: crate::random::random(),
            retention: Duration::MAX,
            max_records: u64::MAX,
        };
        for fleet in state.logs.names() {
            state.append(&fleet, &append, now);
        }
    }

    /// How many calls there were, those that failed among them.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.server.faults.calls.load(Ordering::Relaxed)
    }

    /// Whatever callers have given to the engine since it was made, names, values, records and settings, with a line
    /// feed after each: to see that no token is among them. The last 64 MiB of it.
    #[must_use]
    pub fn stored_bytes(&self) -> Vec<u8> {
        let given = self.server.faults.given.lock().unwrap_or_else(PoisonError::into_inner);
        given.iter().copied().collect()
    }
}
