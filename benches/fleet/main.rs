//! What a fleet does, measured with real processes and a real Redis: `cargo bench --bench fleet`, about a quarter of an
//! hour. Wants `redis-server`.
//!
//! The program starts a Redis without persistence, an RFC 7662 server within itself that notes each question, and
//! itself again as the processes of the fleet, each with `Cached<Rfc7662>` and `Fleet::redis`, on a runtime with one
//! thread. All of them share one machine, so an exchange with Redis costs the loopback interface only, and all wait
//! for its cores. Each part prints a table, and what has to hold. A part alone: `cargo bench --bench fleet -- herd`.
//!
//! * `questions`: requests by Zipf's law, the same ones over one process and over 2, 4 and 8, which take turns. 2,000
//!   requests a second over 2,000 tokens for 20 seconds, `max_ttl` 5 s, refreshing ahead on. How many questions it
//!   takes, in times of those that one process without a fleet asks.
//! * `herd`: a token that nobody knows, 1,000 requests at once in each of 8 processes, 50 ms for an answer.
//! * `hit`: a process that asks about tokens that another one has put into the engine, one after the other, against a
//!   bare `GET` of the same keys by the same client, in turns of 50.
//! * `revocation`: 8 processes under the load of `questions` each present one token once a millisecond. The authority
//!   revokes it, and one process calls `invalidate` and waits. From when that returns to the last request that was
//!   accepted anywhere, in 100 revocations.
//! * `outage`: 8 processes under that load. Redis is killed and comes back empty, at once or after 5 seconds, or
//!   answers nobody for that long (`CLIENT PAUSE`), or is stopped (`SIGSTOP`). Questions in each quarter of a second;
//!   the highest second after its return, in times of the steady second, which is the mean of the last 10 seconds
//!   before, and of the second right before its return, in which each process asked for itself.
//! * `memory`: what 10,000 tokens take in Redis, of three kinds of facts.
//!
//! The environment can change what is measured: `FLEET_ROUNDS` of each part (3; `herd` 21, `hit` 9, `revocation` one
//! of 100), `FLEET_SECONDS` of load (20), `FLEET_RATE` (2,000), `FLEET_TOKENS` (2,000).
#![allow(missing_docs, missing_debug_implementations, unreachable_pub, clippy::must_use_candidate)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, clippy::disallowed_methods)]

mod authority;
mod herd;
mod hit;
mod load;
mod member;
mod memory;
mod outage;
mod process;
mod processes;
mod questions;
mod revocation;
#[path = "../../tests/support/redis.rs"]
mod server;
#[path = "../support/mod.rs"]
mod support;
#[path = "../scale/authority.rs"]
mod vendor;

use std::process::ExitCode;
use std::time::Duration;

use tokio::runtime::Runtime;

use authority::Authority;
use member::Settings;
use server::{Program, Server};
use support::{Bounds, setting};

/// How long the authority takes, where nothing else is said.
const LATENCY: Duration = Duration::from_millis(3);

/// What a part is measured with.
pub struct Scene {
    pub runtime: Runtime,
    pub authority: Authority,
    pub redis: Server,
}

impl Scene {
    fn set(latency: Duration) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let authority = Authority::start(&runtime, latency);
        let redis = Server::start(Program::Redis, &[]).expect("redis-server is not installed");
        Self { runtime, authority, redis }
    }

    /// Those of a fleet of this name.
    pub fn settings(&self, fleet: &str, max_ttl: Duration) -> Settings {
        Settings { authority: self.authority.url.clone(), engine: Some((self.redis.url(), fleet.into())), max_ttl }
    }
}

/// A table in Markdown.
pub fn print_table(head: &[&str], rows: &[Vec<String>]) {
    println!("\n| {} |\n|{}", head.join(" | "), " --- |".repeat(head.len()));
    rows.iter().for_each(|row| println!("| {} |", row.join(" | ")));
    println!();
}

/// How often a part is repeated.
pub fn rounds(default: usize) -> usize {
    setting("FLEET_ROUNDS", default)
}

type Part = fn(&mut Scene, &mut Bounds);

const PARTS: [(&str, Part, Duration); 6] = [
    ("questions", questions::measure, LATENCY),
    ("herd", herd::measure, Duration::from_millis(50)),
    ("hit", hit::measure, LATENCY),
    ("revocation", revocation::measure, LATENCY),
    ("outage", outage::measure, LATENCY),
    ("memory", memory::measure, Duration::ZERO),
];

fn main() -> ExitCode {
    if let Ok(settings) = std::env::var(processes::SETTINGS) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(process::run(&settings));
        return ExitCode::SUCCESS;
    }
    if !support::is_asked_for() {
        return ExitCode::SUCCESS;
    }
    let wanted: Vec<_> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    if let Some(unknown) = wanted.iter().find(|wanted| PARTS.iter().all(|(name, ..)| name != wanted)) {
        println!("there is no part {unknown}");
        return ExitCode::FAILURE;
    }
    let mut bounds = Bounds::default();
    for (name, measure, latency) in PARTS {
        if wanted.is_empty() || wanted.iter().any(|wanted| wanted == name) {
            println!("\n{name}");
            measure(&mut Scene::set(latency), &mut bounds);
        }
    }
    bounds.verdict()
}
