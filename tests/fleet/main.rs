//! Fleets of real processes on real servers of Redis and Valkey: `cargo test --test fleet`, about two minutes.
//!
//! The program starts an RFC 7662 server within itself, servers of the engine, and itself again as the processes of a
//! fleet, which do what it tells them line by line. It presents tokens to them, takes things away, and judges each
//! answer by what the authority knew.
//!
//! Without the servers' programs the tests say so and pass, unless the environment has `REDIS=required`. `FLEET_SEED`
//! repeats the random choices of a run, and `FLEET_CHAOS_SECONDS` has the processes go through more than half a minute.
//!
//! A time is only waited for where that is what is tested: how long something is away, and how long a load lasts.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, clippy::disallowed_methods)]
#![allow(missing_docs, unreachable_pub, missing_debug_implementations, clippy::must_use_candidate)]
// Not with each feature alone: it takes two minutes, and what it starts is one program with all of them.
#![cfg(all(feature = "redis", feature = "sandbox", feature = "signals"))]

mod authority;
mod chaos;
mod cluster;
mod judge;
mod load;
mod permissions;
mod process;
mod proxy;
mod random;
mod rotation;
mod secrecy;
mod sentinel;
#[path = "../support/redis.rs"]
mod server;
mod servers;
mod signals;
mod worker;

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

/// Microseconds since 1970: processes of one machine have one clock.
fn now() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    u64::try_from(since.as_micros()).unwrap()
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap()
}

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

async fn pass(duration: Duration) {
    tokio::time::sleep(duration).await;
}

/// Two threads: what waits for a server may not keep the rest from going on. One story at a time: a machine that is
/// busy with another one's processes answers too late for a fleet.
fn run(story: impl Future<Output = ()>) {
    static ALONE: Mutex<()> = Mutex::new(());
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(story);
    // A thread may read from a process that ends with it only.
    runtime.shutdown_background();
}

/// Until `holds`, at most half a minute.
async fn wait_until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    for _ in 0..1_500 {
        if holds().await {
            return;
        }
        pass(millis(20)).await;
    }
    panic!("it has not come about: {what}");
}

/// No test: this program as a process of a fleet, if it was started as one.
#[test]
fn process_of_a_fleet() {
    if let Ok(settings) = std::env::var(process::SETTINGS) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(worker::run(&settings));
        std::process::exit(0);
    }
}
