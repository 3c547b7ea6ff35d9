//! Settings from the environment, tokens, latencies and bounds, as the programs in `benches/` have them. A copy: theirs
//! come with what only they need.

use std::fmt;
use std::process::ExitCode;
use std::str::FromStr;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use crate::Failure;

/// A number from the environment.
///
/// # Errors
/// If what is there is none.
pub fn setting<T: FromStr>(name: &str, default: T) -> Result<T, Failure> {
    match std::env::var(name) {
        Ok(text) => {
            text.parse().map_err(|_| format!("{name} is {text:?}, which is no number of the right kind").into())
        }
        Err(_) => Ok(default),
    }
}

/// A name as the vendor's tokens are: 28 letters and digits, another for each `n`.
pub fn token_name(kind: char, n: usize) -> String {
    format!("25poPXCPOw43s0hJBn6{kind}{n:08}")
}

/// How long things took, to three digits.
pub struct Latencies(Histogram<u64>);

impl Latencies {
    /// # Errors
    /// Never: the bounds are sound.
    pub fn new() -> Result<Self, Failure> {
        Ok(Self(Histogram::new_with_bounds(100, 120_000_000_000, 3)?))
    }

    pub fn record_since(&mut self, start: Instant) {
        self.0.saturating_record(u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX));
    }

    pub fn quantile(&self, part: f64) -> Duration {
        Duration::from_nanos(self.0.value_at_quantile(part))
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
