//! Whether requests may touch the engine.
//!
//! They do while the log is being read, and not otherwise: a value can only be judged by who knows the latest records.
//! The task that reads the log finds out that the engine is back. A call of a request that fails closes the door at
//! once, until a read that was sent after it has succeeded, and for longer each time until a call succeeds: an engine
//! that answers the reader in time and requests too late must not cost each of them its wait.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::watch;

use crate::clock::Stopwatch;

/// How long what a read of the log told holds.
const READ_LASTS: Duration = Duration::from_secs(1);
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

pub(super) struct Access {
    since: Stopwatch,
    /// When the log was read last, in milliseconds, and one more. Zero: never.
    read_at: AtomicU64,
    /// The same, also when what that read told holds no longer.
    last_read_at: AtomicU64,
    /// When a call failed last, in milliseconds, and one more.
    failed_at: AtomicU64,
    /// Until when that keeps the door closed at least, in milliseconds.
    closed_until: AtomicU64,
    /// What the next failure does, in milliseconds.
    pause: AtomicU64,
    /// Whether there is no use in a wait for the first read.
    is_begun: watch::Sender<bool>,
}

impl Access {
    pub(super) fn new() -> Self {
        Self {
            since: Stopwatch::start(),
            read_at: AtomicU64::new(0),
            last_read_at: AtomicU64::new(0),
            failed_at: AtomicU64::new(0),
            closed_until: AtomicU64::new(0),
            pause: AtomicU64::new(millis(FIRST_PAUSE)),
            is_begun: watch::Sender::new(false),
        }
    }

    pub(super) fn is_open(&self) -> bool {
        let now = self.now();
        let is_read_since = self.read_at.load(Ordering::Relaxed) > self.failed_at.load(Ordering::Relaxed);
        self.is_reading_at(now) && is_read_since && now >= self.closed_until.load(Ordering::Relaxed)
    }

    pub(super) fn is_reading(&self) -> bool {
        self.is_reading_at(self.now())
    }

    fn is_reading_at(&self, now: u64) -> bool {
        let read_at = self.read_at.load(Ordering::Relaxed);
        read_at != 0 && now.saturating_sub(read_at - 1) < millis(READ_LASTS)
    }

    /// How long ago the log was read to its end.
    pub(super) fn last_read(&self) -> Option<Duration> {
        let read_at = self.last_read_at.load(Ordering::Relaxed).checked_sub(1)?;
        Some(Duration::from_millis(self.now().saturating_sub(read_at)))
    }

    /// The same, and how long ago the fleet was built if it was never read.
    pub(super) fn unread_for(&self) -> Duration {
        self.last_read().unwrap_or_else(|| self.since.elapsed())
    }

    /// All of the log was read, by a call that was sent `ago`.
    pub(super) fn reads(&self, ago: Duration) {
        let sent = self.now().saturating_sub(millis(ago));
        self.read_at.store(sent + 1, Ordering::Relaxed);
        self.last_read_at.store(sent + 1, Ordering::Relaxed);
        self.begins();
    }

    /// The log cannot be read, or not all of it was.
    pub(super) fn does_not_read(&self) {
        self.read_at.store(0, Ordering::Relaxed);
    }

    /// A request's call came back.
    pub(super) fn succeeds(&self) {
        self.pause.store(millis(FIRST_PAUSE), Ordering::Relaxed);
    }

    /// A request's call failed. Those that fail at the same time count once.
    pub(super) fn fails(&self) {
        let now = self.now();
        self.failed_at.store(now + 1, Ordering::Relaxed);
        if now < self.closed_until.load(Ordering::Relaxed) {
            return;
        }
        let pause = self.pause.load(Ordering::Relaxed);
        self.closed_until.store(now + pause, Ordering::Relaxed);
        self.pause.store((pause * 2).min(millis(LONGEST_PAUSE)), Ordering::Relaxed);
    }

    /// Whether the log may be read for the first time at any moment.
    pub(super) fn is_about_to_begin(&self) -> bool {
        !*self.is_begun.borrow()
    }

    /// Waits for the first read of the log, or until it is known that it does not come soon.
    pub(super) async fn first_read(&self) {
        let mut is_begun = self.is_begun.subscribe();
        // The sender is borrowed, so it is there.
        let _ = is_begun.wait_for(|is_begun| *is_begun).await;
    }

    /// Nobody waits for the first read any more: there was one, or it failed, or somebody has waited in vain.
    pub(super) fn begins(&self) {
        self.is_begun.send_if_modified(|is_begun| !std::mem::replace(is_begun, true));
    }

    fn now(&self) -> u64 {
        millis(self.since.elapsed())
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn passes(millis: u64) {
        tokio::time::advance(Duration::from_millis(millis)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn the_door_is_open_for_a_second_after_a_read() {
        let access = Access::new();
        assert!(!access.is_open() && access.last_read().is_none());
        passes(50).await;
        assert_eq!(access.unread_for(), Duration::from_millis(50), "never");
        access.reads(Duration::from_millis(20));
        assert!(access.is_open());
        passes(979).await;
        assert!(access.is_open());
        passes(1).await;
        assert!(!access.is_open(), "it counts from when the read was sent");
        access.reads(Duration::ZERO);
        access.does_not_read();
        assert!(!access.is_open());
        assert_eq!(access.last_read(), Some(Duration::ZERO), "it was, all the same");
    }

    #[tokio::test(start_paused = true)]
    async fn only_a_read_that_was_sent_after_a_failure_opens_it_again() {
        let access = Access::new();
        passes(50).await;
        access.reads(Duration::ZERO);
        access.fails();
        passes(1_000 - 50).await;
        assert!(!access.is_open() && access.is_reading(), "the pause is over, and nothing was read since");
        access.reads(Duration::from_millis(950));
        assert!(!access.is_open(), "it had been sent before");
        access.reads(Duration::from_millis(949));
        assert!(access.is_open());
        access.fails();
        passes(10).await;
        access.fails();
        passes(190).await;
        access.reads(Duration::from_millis(190));
        assert!(!access.is_open(), "the last of them counts");
    }

    #[tokio::test(start_paused = true)]
    async fn who_begins_waits_for_the_first_read_until_it_came_or_is_not_to_be_waited_for() {
        let ends: [fn(&Access); 2] = [|access| access.reads(Duration::ZERO), Access::begins];
        for end in ends {
            let access = Access::new();
            assert!(access.is_about_to_begin());
            let waits = async { tokio::time::timeout(Duration::from_secs(60), access.first_read()).await };
            let (waited, ()) = tokio::join!(waits, async { end(&access) });
            assert!(waited.is_ok() && !access.is_about_to_begin());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_that_fails_closes_it_for_longer_each_time_until_one_succeeds() {
        let access = Access::new();
        for (pause, is_success) in [(100, false), (200, false), (400, true), (100, false)] {
            access.reads(Duration::ZERO);
            assert!(access.is_open());
            access.fails();
            access.fails();
            passes(pause - 1).await;
            access.reads(Duration::ZERO);
            assert!(!access.is_open(), "{pause}");
            passes(1).await;
            assert!(access.is_open(), "{pause}");
            if is_success {
                access.succeeds();
            }
        }
    }
}
