//! Whether requests may touch the engine.
//!
//! They do while the log is being read, and not otherwise: a value can only be judged by who knows the latest records.
//! The task that reads the log finds out that the engine is back. A call of a request that fails closes the door at
//! once, for longer each time, until one succeeds: an engine that answers the reader in time and requests too late must
//! not cost each of them its wait.

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
    /// Until when a failed call keeps the door closed, in milliseconds.
    closed_until: AtomicU64,
    /// What the next failure does, in milliseconds.
    pause: AtomicU64,
    /// The first attempt to read it has come to something.
    has_begun: watch::Sender<bool>,
}

impl Access {
    pub(super) fn new() -> Self {
        Self {
            since: Stopwatch::start(),
            read_at: AtomicU64::new(0),
            closed_until: AtomicU64::new(0),
            pause: AtomicU64::new(millis(FIRST_PAUSE)),
            has_begun: watch::Sender::new(false),
        }
    }

    pub(super) fn is_open(&self) -> bool {
        let now = self.now();
        self.is_reading_at(now) && now >= self.closed_until.load(Ordering::Relaxed)
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
        let read_at = self.read_at.load(Ordering::Relaxed).checked_sub(1)?;
        Some(Duration::from_millis(self.now().saturating_sub(read_at)))
    }

    /// All of the log was read, by a call that was sent `ago`.
    pub(super) fn reads(&self, ago: Duration) {
        let sent = self.now().saturating_sub(millis(ago));
        self.read_at.store(sent + 1, Ordering::Relaxed);
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
        if now < self.closed_until.load(Ordering::Relaxed) {
            return;
        }
        let pause = self.pause.load(Ordering::Relaxed);
        self.closed_until.store(now + pause, Ordering::Relaxed);
        self.pause.store((pause * 2).min(millis(LONGEST_PAUSE)), Ordering::Relaxed);
    }

    /// Whether the engine is there is known from now on.
    pub(super) fn begins(&self) {
        self.has_begun.send_if_modified(|has_begun| !std::mem::replace(has_begun, true));
    }

    pub(super) fn has_begun(&self) -> bool {
        *self.has_begun.borrow()
    }

    /// Waits until the first attempt to read the log has come to something.
    pub(super) async fn beginning(&self) {
        let mut has_begun = self.has_begun.subscribe();
        // The sender is borrowed, so it is there.
        let _ = has_begun.wait_for(|has_begun| *has_begun).await;
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
        access.reads(Duration::from_millis(20));
        assert!(access.is_open());
        passes(979).await;
        assert!(access.is_open());
        passes(1).await;
        assert!(!access.is_open(), "it counts from when the read was sent");
        access.reads(Duration::ZERO);
        access.does_not_read();
        assert!(!access.is_open());
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
