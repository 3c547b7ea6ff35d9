//! Durations, counted: how many were about how long.
//!
//! Four buckets to each doubling, so a figure read from them is at most a quarter too high; recording is a few
//! instructions and one addition, with no lock.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Up to 2^32 units; whatever is longer counts as that.
const BUCKETS: usize = 4 * 31 + 1;

/// What a bucket's bounds are counted in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    Millisecond,
    Microsecond,
}

impl Unit {
    fn duration(self, count: u64) -> Duration {
        match self {
            Self::Millisecond => Duration::from_millis(count),
            Self::Microsecond => Duration::from_micros(count),
        }
    }
}

/// Counts durations.
pub(crate) struct Recorder([AtomicU64; BUCKETS]);

impl Default for Recorder {
    fn default() -> Self {
        Self([const { AtomicU64::new(0) }; BUCKETS])
    }
}

impl Recorder {
    /// `length` is in the unit that [`snapshot`](Self::snapshot) is given.
    pub(crate) fn record(&self, length: u64) {
        // `bucket` is below `BUCKETS` for every number.
        if let Some(bucket) = self.0.get(bucket(length)) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(crate) fn snapshot(&self, unit: Unit) -> Histogram {
        Histogram { counts: self.0.iter().map(|bucket| bucket.load(Ordering::Relaxed)).collect(), unit }
    }
}

#[allow(clippy::cast_possible_truncation)] // of numbers below four
fn bucket(length: u64) -> usize {
    if length < 4 {
        return length as usize & 3;
    }
    let doubling = length.ilog2().min(31);
    let quarter = if length >> 32 == 0 { (length >> (doubling - 2)) & 3 } else { 3 };
    (doubling as usize - 1) * 4 + quarter as usize
}

/// The first length that is too long for this bucket.
fn bound(bucket: usize) -> u64 {
    if bucket < 4 {
        return bucket as u64 + 1;
    }
    let (doubling, quarter) = (bucket / 4 + 1, bucket as u64 % 4);
    (5 + quarter) << (doubling - 2)
}

/// How many durations were about how long.
///
/// ```
/// use tower_introspection::{Cached, introspect_fn};
/// # let introspector = introspect_fn(|_| async {
/// #     Ok(tower_introspection::Verdict::Inactive(tower_introspection::InactiveReason::Unknown)) });
///
/// let stats = Cached::new(introspector).handle().stats();
/// assert_eq!(stats.question_latency.quantile(0.99), None, "no question was asked yet");
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Histogram {
    counts: Box<[u64]>,
    unit: Unit,
}

impl Histogram {
    /// How many there were.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// The duration that this part of them did not exceed, from 0 to 1: `quantile(0.99)` is the 99th percentile. It is
    /// at most a quarter too high, or one unit (a microsecond of latency, a millisecond of age). `None` if there were
    /// none.
    #[must_use]
    #[allow(clippy::cast_precision_loss)] // of 2^53 durations one more or less is no matter
    pub fn quantile(&self, part: f64) -> Option<Duration> {
        let wanted = (self.count() as f64 * part.clamp(0.0, 1.0)).max(1.0);
        let mut so_far = 0;
        self.buckets().find_map(|(bound, count)| {
            so_far += count;
            (so_far as f64 >= wanted).then_some(bound)
        })
    }

    /// The buckets that are not empty: the first duration that is too long for it, and how many are in it.
    pub fn buckets(&self) -> impl Iterator<Item = (Duration, u64)> {
        let buckets = self.counts.iter().enumerate().filter(|(_, count)| **count > 0);
        buckets.map(|(bucket, count)| (self.unit.duration(bound(bucket)), *count))
    }

    /// These and those of `other`, which has the same unit.
    pub(crate) fn and(mut self, other: &Self) -> Self {
        self.counts.iter_mut().zip(&other.counts).for_each(|(mine, theirs)| *mine += theirs);
        self
    }
}

impl fmt::Debug for Histogram {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.debug_struct("Histogram")
            .field("count", &self.count())
            .field("p50", &self.quantile(0.5))
            .field("p99", &self.quantile(0.99))
            .field("max", &self.quantile(1.0))
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_length_is_in_the_bucket_whose_bounds_are_around_it() {
        let lengths = (0..5_000).chain((3..32).flat_map(|doubling| {
            let power = 1_u64 << doubling;
            [power - 1, power, power + 1, power + power / 2]
        }));
        for length in lengths {
            let at = bucket(length);
            assert!(length < bound(at), "{length} in {at}");
            assert!(at == 0 || bound(at - 1) <= length, "{length} in {at}");
        }
        for at in 4..BUCKETS - 1 {
            assert!(bound(at) * 4 <= bound(at - 1) * 5, "{at} is too wide");
        }
    }

    #[test]
    fn what_is_too_long_for_all_counts_in_the_last_one() {
        let recorder = Recorder::default();
        for length in [u64::MAX, 1 << 32, 1 << 40, (1 << 32) - 1] {
            recorder.record(length);
        }
        assert_eq!(
            recorder.snapshot(Unit::Millisecond).buckets().collect::<Vec<_>>(),
            [(Duration::from_millis(1 << 32), 4)]
        );
    }

    #[test]
    fn quantiles_are_at_most_a_quarter_too_high() {
        let recorder = Recorder::default();
        assert_eq!(recorder.snapshot(Unit::Microsecond).quantile(0.5), None);
        (1..=1_000).for_each(|length| recorder.record(length));
        let histogram = recorder.snapshot(Unit::Microsecond);
        for (part, exact) in [(0.5, 500), (0.9, 900), (0.99, 990), (1.0, 1_000)] {
            let read = histogram.quantile(part).unwrap();
            assert!(
                read >= Duration::from_micros(exact) && read <= Duration::from_micros(exact * 5 / 4),
                "{part}: {read:?}"
            );
        }
        assert_eq!(histogram.clone().and(&histogram).count(), 2_000);
    }
}
