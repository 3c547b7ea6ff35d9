//! What the long programs have in common: settings from the environment, memory in use, outcomes, and bounds.
#![allow(dead_code, unreachable_pub)]

pub mod allocations;
pub mod figures;
pub mod inner;
pub mod random;
pub mod requests;
pub mod rounds;

use std::collections::BTreeMap;
use std::fmt;
use std::process::ExitCode;
use std::str::FromStr;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use http::StatusCode;

pub const MIB: f64 = 1024.0 * 1024.0;

/// Whether this is `cargo bench`, which says so. A test runner that starts every bench once must not wait for minutes.
pub fn is_asked_for() -> bool {
    let asked = std::env::args().any(|argument| argument == "--bench");
    if !asked {
        println!("not run: it takes minutes, so it wants `cargo bench --bench NAME`");
    }
    asked
}

/// A number from the environment.
pub fn setting<T: FromStr>(name: &str, default: T) -> T {
    match std::env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name} is {text:?}, which is no number of the right kind")),
        Err(_) => default,
    }
}

/// The memory of this process that is in RAM, in bytes, where the system tells it.
pub fn resident_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let kib = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?.trim().strip_suffix(" kB")?;
    Some(kib.parse::<u64>().ok()? * 1024)
}

/// `memory` for a reader.
#[allow(clippy::cast_precision_loss)]
pub fn mib(memory: Option<u64>) -> String {
    memory.map_or_else(|| "not measured".into(), |bytes| format!("{:.1} MiB", bytes as f64 / MIB))
}

/// A name as the vendor's tokens are: 28 letters and digits, another for each `n`.
pub fn token_name(kind: char, n: usize) -> String {
    format!("25poPXCPOw43s0hJBn6{kind}{n:08}")
}

/// How long things took, to a microsecond and three digits.
pub struct Latencies(Histogram<u64>);

impl Latencies {
    pub fn new() -> Self {
        Self(Histogram::new_with_bounds(100, 120_000_000_000, 3).unwrap())
    }

    pub fn record_since(&mut self, start: Instant) {
        self.0.saturating_record(u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX));
    }

    pub fn add(&mut self, other: &Self) {
        self.0.add(&other.0).unwrap();
    }

    pub fn count(&self) -> u64 {
        self.0.len()
    }

    pub fn quantile(&self, part: f64) -> Duration {
        Duration::from_nanos(self.0.value_at_quantile(part))
    }
}

impl fmt::Display for Latencies {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let [p50, p99, p999, max] = [0.5, 0.99, 0.999, 1.0].map(|part| self.quantile(part).as_secs_f64() * 1e6);
        write!(f, "p50 {p50:.1} us, p99 {p99:.1} us, p99.9 {p999:.1} us, max {max:.0} us of {}", self.count())
    }
}

/// How many answers had which status.
#[derive(Clone, Default)]
pub struct Statuses(BTreeMap<u16, u64>);

impl Statuses {
    pub fn count(&mut self, status: StatusCode) {
        *self.0.entry(status.as_u16()).or_default() += 1;
    }

    pub fn add(&mut self, other: &Self) {
        for (status, count) in &other.0 {
            *self.0.entry(*status).or_default() += count;
        }
    }

    pub fn total(&self) -> u64 {
        self.0.values().sum()
    }

    /// How many had another status than these.
    pub fn other_than(&self, expected: &[u16]) -> u64 {
        self.0.iter().filter(|(status, _)| !expected.contains(status)).map(|(_, count)| count).sum()
    }
}

impl fmt::Display for Statuses {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let shown: Vec<_> = self.0.iter().map(|(status, count)| format!("{status}: {count}")).collect();
        f.write_str(&if shown.is_empty() { "none".to_owned() } else { shown.join(", ") })
    }
}

/// What has to hold. Each bound is printed with the figure that was measured.
#[derive(Default)]
pub struct Bounds {
    broken: usize,
}

impl Bounds {
    pub fn check(&mut self, holds: bool, bound: impl fmt::Display) {
        self.broken += usize::from(!holds);
        println!("{} {bound}", if holds { "  holds:" } else { " BROKEN:" });
    }

    pub fn verdict(self) -> ExitCode {
        if self.broken == 0 {
            println!("\nall bounds hold");
            return ExitCode::SUCCESS;
        }
        println!("\n{} bound(s) broken", self.broken);
        ExitCode::FAILURE
    }
}
