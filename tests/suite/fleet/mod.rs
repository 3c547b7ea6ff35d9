//! Several caches on one engine in memory, each as if it were a process of its own. Time is tokio's, paused: nothing
//! waits for real.
#![cfg(all(feature = "redis", feature = "test-util"))]

mod availability;
mod caches;
mod freshness;
mod gaps;
mod marks;
mod races;
mod revocation;
mod rotation;
mod secrecy;
mod shared;
mod strict;

use std::time::Duration;

use tower_introspection::cache::CachedBuilder;
use tower_introspection::clock::ManualClock;
use tower_introspection::fleet::{Fleet, FleetBuilder, FleetSecret, FleetStats, MemoryEngine};
use tower_introspection::{AccessToken, CacheHandle, Cached};

use crate::support::{Answer, Authority, START, known_or_asked, millis, until};

pub(crate) fn secret() -> FleetSecret {
    FleetSecret::from_bytes(b"a secret of thirty-two bytes, no less").unwrap()
}

/// One process of a fleet, with an authority in the test's hands.
pub(crate) struct Process {
    pub(crate) cached: Cached<Authority>,
    pub(crate) fleet: Fleet,
}

impl Process {
    pub(crate) fn start(engine: &MemoryEngine, clock: &ManualClock, authority: &Authority) -> Self {
        Self::set_up(engine, clock, authority, |fleet| fleet, |cache| cache)
    }

    pub(crate) fn set_up(
        engine: &MemoryEngine,
        clock: &ManualClock,
        authority: &Authority,
        fleet: impl FnOnce(FleetBuilder) -> FleetBuilder,
        cache: impl FnOnce(CachedBuilder<Authority>) -> CachedBuilder<Authority>,
    ) -> Self {
        Self::of(fleet(Fleet::in_memory(engine, "orders", secret())), clock, authority, cache)
    }

    pub(crate) fn of(
        fleet: FleetBuilder,
        clock: &ManualClock,
        authority: &Authority,
        cache: impl FnOnce(CachedBuilder<Authority>) -> CachedBuilder<Authority>,
    ) -> Self {
        let fleet = fleet.clock(clock.clone()).build().unwrap();
        let cached = Cached::builder(authority.clone()).clock(clock.clone()).refresh_ahead_uses(1).fleet(&fleet);
        Self { cached: cache(cached).build().unwrap(), fleet }
    }

    /// So many, alike.
    pub(crate) async fn several<const N: usize>(
        engine: &MemoryEngine,
        clock: &ManualClock,
        authority: &Authority,
    ) -> [Self; N] {
        let processes = [(); N].map(|()| Self::start(engine, clock, authority));
        all_read(&processes.iter().collect::<Vec<_>>()).await;
        processes
    }

    pub(crate) fn stats(&self) -> FleetStats {
        self.fleet.stats()
    }

    pub(crate) async fn presents(&self, token: &str) -> Answer {
        known_or_asked(&self.cached, token).await
    }

    pub(crate) fn handle(&self) -> CacheHandle {
        self.cached.handle()
    }
}

/// An engine and the clock that it and all processes go by.
pub(crate) fn engine() -> (MemoryEngine, ManualClock) {
    let clock = ManualClock::at(START);
    (MemoryEngine::with_clock(clock.clone()), clock)
}

/// Time passes for all, in steps so small that whatever is due meanwhile is done.
pub(crate) async fn passes(clock: &ManualClock, time: Duration) {
    passes_for(&[clock], time, millis(10)).await;
}

pub(crate) async fn passes_for(clocks: &[&ManualClock], time: Duration, step: Duration) {
    let mut left = time;
    while !left.is_zero() {
        let now = left.min(step);
        clocks.iter().for_each(|clock| clock.advance(now));
        tokio::time::sleep(now).await;
        left -= now;
    }
}

/// Waits until all of them read the log.
pub(crate) async fn all_read(processes: &[&Process]) {
    for process in processes {
        until(|| process.fleet.stats().is_reading).await;
    }
}

pub(crate) fn until_in(seconds: u64) -> AccessToken {
    AccessToken::builder()
        .client_id("weather-app")
        .subject("ann")
        .expires_at(START + Duration::from_secs(seconds))
        .build()
}

/// How many values the engine holds.
pub(crate) fn values(engine: &MemoryEngine) -> usize {
    let mut values = 0;
    engine.tamper(|_| values += 1);
    values
}
