//! An engine in this process.
//!
//! Each call does its work at once, under one lock, and in memory alone. `state` says what the work is; `faults`, for
//! tests, stands between the call and its work.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::{
    Append, Appended, Claim, Claimed, Engine, EngineTime, Exchange, Name, Node, NodeId, Page, Put, Read, Stored, Turn,
};
use crate::clock::{Clock, SystemClock};
use state::State;

mod bounded;
#[cfg(any(test, feature = "test-util"))]
mod faults;
#[cfg(any(test, feature = "test-util"))]
mod journal;
mod log;
mod state;
#[cfg(test)]
mod tests;

/// Only a test can ask to have writes undone.
#[cfg(not(any(test, feature = "test-util")))]
mod journal {
    use super::state::Value;
    use crate::fleet::engine::Position;

    #[derive(Default)]
    pub(super) struct Journal(());

    impl Journal {
        pub(super) fn note_value(&mut self, _key: &str, _old: Option<Value>) {}

        pub(super) fn note_append(&mut self, _fleet: &str, _position: Position, _before: Position) {}
    }
}

/// An engine in the memory of this process, for tests: several caches share it as processes share Redis.
///
/// Clones share what is stored. It keeps 100,000 values, and the oldest go when there are more. With the feature
/// `test-util` it can be cut off, slow, full, emptied and so on, to see what a service does then.
///
/// Each process of a test is a [`Fleet`](crate::fleet::Fleet) of its own, built over the same engine:
///
/// ```
/// use tower_introspection::fleet::{Fleet, FleetSecret, MemoryEngine};
///
/// let engine = MemoryEngine::new();
/// let secret = FleetSecret::from_bytes("a secret of a test, no random bytes")?;
/// let one = Fleet::in_memory(&engine, "orders", secret.clone()).build()?;
/// let other = Fleet::in_memory(&engine, "orders", secret).build()?;
/// // Nothing is read before a cache has joined.
/// assert!(!one.stats().is_reading && !other.stats().is_reading);
/// # Ok::<(), tower_introspection::BuildError>(())
/// ```
#[derive(Clone)]
pub struct MemoryEngine {
    server: Arc<Server>,
    fleet: Arc<str>,
    /// What is in the way of these callers alone.
    #[cfg(any(test, feature = "test-util"))]
    line: Option<Arc<faults::Line>>,
}

struct Server {
    clock: Box<dyn Clock>,
    state: Mutex<State>,
    #[cfg(any(test, feature = "test-util"))]
    faults: faults::Faults,
}

/// How long a call may take, and whether it needs memory.
#[derive(Clone, Copy)]
enum Kind {
    /// A request may wait for it.
    Request,
    /// The same, and it stores something.
    Storing,
    /// Nobody who cannot wait waits for it.
    Log,
    /// The same, and it stores something.
    Append,
}

impl Default for MemoryEngine {
    fn default() -> Self {
        Self::new()
    }
}

impl MemoryEngine {
    /// One whose time is that of [`SystemClock`].
    #[must_use]
    pub fn new() -> Self {
        Self::with_clock(SystemClock)
    }

    /// One whose time is `clock`'s: leases, the age of values and the rate limit count by it. Give the same clock to
    /// the caches that share it.
    #[must_use]
    pub fn with_clock(clock: impl Clock) -> Self {
        let server = Server {
            clock: Box::new(clock),
            state: Mutex::new(State::new()),
            #[cfg(any(test, feature = "test-util"))]
            faults: faults::Faults::default(),
        };
        Self {
            server: Arc::new(server),
            fleet: "fleet".into(),
            #[cfg(any(test, feature = "test-util"))]
            line: None,
        }
    }

    /// The same server for the fleet of that name. Fleets share nothing but the server.
    pub(crate) fn of_fleet(&self, fleet: &str) -> Self {
        Self { fleet: fleet.into(), ..self.clone() }
    }

    fn key(&self, name: &Name) -> String {
        format!("{}:{{{}}}", self.fleet, name.0)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.server.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does the work when it is polled. `given` is all that leaves the caller.
    #[cfg_attr(not(any(test, feature = "test-util")), allow(unused_variables, clippy::needless_pass_by_value))]
    fn exchange<'a, T: Send + 'a>(
        &'a self,
        kind: Kind,
        given: Vec<&'a [u8]>,
        work: impl FnOnce(&mut State, EngineTime) -> T + Send + 'a,
    ) -> Exchange<'a, T> {
        let work = move || {
            let now = self.server.clock.now().as_unix_millis();
            work(&mut self.state(), now)
        };
        #[cfg(any(test, feature = "test-util"))]
        return Box::pin(async move { self.around(kind, &given, work).await });
        #[cfg(not(any(test, feature = "test-util")))]
        Box::pin(async move { Ok(work()) })
    }
}

impl fmt::Debug for MemoryEngine {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.debug_struct("MemoryEngine").finish_non_exhaustive()
    }
}

impl Engine for MemoryEngine {
    fn claim<'a>(&'a self, claim: Claim<'a>) -> Exchange<'a, Claimed> {
        let kind = if claim.lease.is_some() { Kind::Storing } else { Kind::Request };
        let given = vec![claim.name.0.as_bytes()];
        self.exchange(kind, given, move |state, now| state.claim(&self.key(claim.name), &claim, now))
    }

    fn renew<'a>(&'a self, names: &'a [Name], node: NodeId, lease: Duration) -> Exchange<'a, ()> {
        let given = names.iter().map(|name| name.0.as_bytes()).collect();
        self.exchange(Kind::Request, given, move |state, now| {
            for name in names {
                state.renew(&self.key(name), node, lease, now);
            }
        })
    }

    fn put<'a>(&'a self, put: Put<'a>) -> Exchange<'a, Stored> {
        let given = vec![put.name.0.as_bytes(), put.value];
        self.exchange(Kind::Storing, given, move |state, now| state.put(&self.key(put.name), &put, now))
    }

    fn release<'a>(&'a self, name: &'a Name, node: NodeId) -> Exchange<'a, ()> {
        let given = vec![name.0.as_bytes()];
        self.exchange(Kind::Request, given, move |state, _| state.release(&self.key(name), node))
    }

    fn delete<'a>(&'a self, name: &'a Name) -> Exchange<'a, ()> {
        let given = vec![name.0.as_bytes()];
        self.exchange(Kind::Request, given, move |state, _| state.delete(&self.key(name)))
    }

    fn append<'a>(&'a self, append: Append<'a>) -> Exchange<'a, Appended> {
        let given = vec![append.record];
        self.exchange(Kind::Append, given, move |state, now| state.append(&self.fleet, &append, now))
    }

    fn read<'a>(&'a self, read: Read<'a>) -> Exchange<'a, Page> {
        let given = read.announce.iter().map(|announce| announce.settings).collect();
        self.exchange(Kind::Log, given, move |state, now| state.log(&self.fleet, now).read(&read, now))
    }

    fn nodes(&self) -> Exchange<'_, Vec<Node>> {
        self.exchange(Kind::Log, Vec::new(), |state, now| state.log(&self.fleet, now).nodes(now))
    }

    fn take_turn<'a>(&'a self, turn: Turn<'a>) -> Exchange<'a, Option<Duration>> {
        let given = vec![turn.name.0.as_bytes()];
        let taking =
            self.exchange(Kind::Request, given, move |state, now| state.take_turn(&self.key(turn.name), &turn, now));
        Box::pin(async move { taking.await? })
    }

    #[cfg(feature = "dpop")]
    fn insert_once<'a>(&'a self, name: &'a Name, lasts: Duration) -> Exchange<'a, bool> {
        let given = vec![name.0.as_bytes()];
        self.exchange(Kind::Storing, given, move |state, now| state.insert_once(&self.key(name), lasts, now))
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
