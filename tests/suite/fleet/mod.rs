//! Several caches on one engine in memory, each as if it were a process of its own. Time is tokio's, paused: nothing
//! waits for real.
#![cfg(all(feature = "redis", feature = "test-util"))]

mod caches;
mod shared;

use std::time::Duration;

use tower_introspection::cache::CachedBuilder;
use tower_introspection::clock::ManualClock;
use tower_introspection::fleet::{Fleet, FleetBuilder, FleetSecret, MemoryEngine};
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
        let fleet = fleet(Fleet::in_memory(engine, "orders", secret()).clock(clock.clone())).build().unwrap();
        let cached = Cached::builder(authority.clone()).clock(clock.clone()).refresh_ahead_uses(1).fleet(&fleet);
        Self { cached: cache(cached).build().unwrap(), fleet }
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
    let step = millis(10);
    let mut left = time;
    while !left.is_zero() {
        let now = left.min(step);
        clock.advance(now);
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
