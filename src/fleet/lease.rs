//! The strict fleet's lease: until when this process may serve from memory what it has not asked for anew.
//!
//! It counts from when a read of the log was sent that showed all records, so that whoever appends a record and then
//! waits for one lease knows that each process has read it or serves nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use crate::clock::{Clock, Stopwatch, Timestamp};

/// No answer serves at the end of time.
const END_OF_TIME: Timestamp = Timestamp::from_unix_millis(i64::MAX);

pub(crate) struct Lease {
    lasts: Duration,
    since: Stopwatch,
    /// Until when it lasts, in milliseconds by the monotonic clock.
    until: AtomicU64,
    /// When it began, by the wall clock: a machine that was suspended has a monotonic clock that stood still.
    began: AtomicI64,
}

impl Lease {
    pub(super) fn new(lasts: Duration) -> Self {
        Self { lasts, since: Stopwatch::start(), until: AtomicU64::new(0), began: AtomicI64::new(i64::MIN) }
    }

    pub(super) fn lasts(&self) -> Duration {
        self.lasts
    }

    /// A read that showed all records was `sent_at` that moment, `ago` by the monotonic clock.
    pub(super) fn renew(&self, ago: Duration, sent_at: Timestamp) {
        let until = millis(self.since.elapsed()).saturating_add(millis(self.lasts)).saturating_sub(millis(ago) + 1);
        self.began.store(sent_at.as_unix_millis(), Ordering::Relaxed);
        self.until.store(until, Ordering::Relaxed);
    }

    pub(super) fn holds_at(&self, now: Timestamp) -> bool {
        let began = Timestamp::from_unix_millis(self.began.load(Ordering::Relaxed));
        millis(self.since.elapsed()) < self.until.load(Ordering::Relaxed)
            && now < began + self.lasts
            && !now.was_set_back_since(began)
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// The clock that judges what is in memory, for a cache of a strict fleet: while the lease does not hold it shows the
/// end of time, at which nothing serves. Others pay nothing for it.
pub(crate) struct LeaseClock {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) lease: Arc<Lease>,
}

impl Clock for LeaseClock {
    fn now(&self) -> Timestamp {
        let now = self.clock.now();
        if self.lease.holds_at(now) { now } else { END_OF_TIME }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ManualClock;

    #[tokio::test(start_paused = true)]
    async fn without_a_lease_the_clock_shows_the_end_of_time() {
        let clock = ManualClock::at(Timestamp::from_unix_millis(1_000_000));
        let lease = Arc::new(Lease::new(Duration::from_secs(2)));
        let judges = LeaseClock { clock: Arc::new(clock.clone()), lease: Arc::clone(&lease) };
        let passes = async |millis| {
            clock.advance(Duration::from_millis(millis));
            tokio::time::advance(Duration::from_millis(millis)).await;
        };
        assert_eq!(judges.now(), END_OF_TIME);
        lease.renew(Duration::from_millis(500), clock.now() - Duration::from_millis(500));
        assert_eq!(judges.now(), clock.now());
        passes(1_498).await;
        assert_eq!(judges.now(), clock.now());
        passes(2).await;
        assert_eq!(judges.now(), END_OF_TIME, "it counts from when the read was sent");
        lease.renew(Duration::ZERO, clock.now());
        clock.advance(Duration::from_secs(2));
        assert_eq!(judges.now(), END_OF_TIME, "the machine was suspended");
        lease.renew(Duration::ZERO, clock.now());
        clock.set(clock.now() - Duration::from_secs(2));
        assert_eq!(judges.now(), END_OF_TIME, "the clock was set back");
    }
}
