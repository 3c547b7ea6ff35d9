//! Whose turn it is: how many questions are under way, and how many start in a while.
//!
//! Questions about tokens that were active a moment ago come first, so that a flood of junk tokens cannot keep the
//! tokens in use from being asked about again. Strangers get what these leave, but for a part that is always kept free:
//! a known token finds room at once, and does not wait until a stranger has done.

mod pace;
mod shared;
mod turn;

use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, Semaphore, SemaphorePermit};

pub(crate) use self::shared::{Booked, Booking, SharedPace};
pub(crate) use self::turn::TurnOf;

use self::pace::Pace;
use self::shared::part_of;
use super::RateLimit;
use crate::clock::{Clock, Stopwatch};
use crate::protection::Share;

/// A quarter of the places is kept for known tokens, one at least.
fn kept_of(limit: usize) -> usize {
    (limit / 4).max(usize::from(limit > 1))
}

pub(super) struct Turns {
    places: Places,
    rate: RateLimit,
    /// That of this process, which keeps all of the rate, or its part of it while the shared one cannot be asked.
    pace: Mutex<Pace>,
    /// That of all processes, if there is one.
    shared: OnceLock<Arc<dyn SharedPace>>,
    max_wait: Duration,
    waiting: AtomicUsize,
    clock: Arc<dyn Clock>,
}

/// A question whose turn is too late.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct TooLate;

/// The turns are shared by another pace already.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct SharedElsewhere;

impl Turns {
    pub(super) fn new(limit: usize, rate: RateLimit, max_wait: Duration, clock: Arc<dyn Clock>) -> Self {
        Self {
            places: Places::new(limit),
            rate,
            pace: Mutex::new(Pace::new(rate)),
            shared: OnceLock::new(),
            max_wait,
            waiting: AtomicUsize::new(0),
            clock,
        }
    }

    /// Has `shared` hand out the turns from now on: the rate limit is one for all processes that share it.
    ///
    /// # Errors
    /// If another one does so already.
    pub(super) fn join(&self, shared: &Arc<dyn SharedPace>) -> Result<(), SharedElsewhere> {
        let joined = self.shared.get_or_init(|| Arc::clone(shared));
        if Arc::ptr_eq(joined, shared) { Ok(()) } else { Err(SharedElsewhere) }
    }

    pub(super) fn rate(&self) -> RateLimit {
        self.rate
    }

    pub(super) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    pub(super) fn under_way(&self) -> usize {
        self.places.taken()
    }

    /// Waits for the question's turn, for `max_wait` at most.
    pub(super) async fn take(&self, share: Share) -> Result<Place<'_>, TooLate> {
        let _waiting = Waiting::start(&self.waiting);
        let turn = async {
            let delay = self.reserve(share).await?;
            if !delay.is_zero() {
                tokio::time::sleep(delay).await;
            }
            self.places.take(share).await.ok_or(TooLate)
        };
        tokio::time::timeout(self.max_wait, turn).await.unwrap_or(Err(TooLate))
    }

    /// Books one exchange, and tells how long it has to wait.
    pub(super) async fn reserve(&self, share: Share) -> Booked {
        let Some(shared) = self.shared.get() else { return self.reserve_here(share, self.rate, self.max_wait) };
        let asking = Stopwatch::start();
        if let Some(booked) = shared.take(TurnOf::new(self.rate, share, self.max_wait)).await {
            return booked;
        }
        let left = self.max_wait.saturating_sub(asking.elapsed());
        self.reserve_here(share, part_of(self.rate, shared.processes()), left)
    }

    fn reserve_here(&self, share: Share, rate: RateLimit, max_wait: Duration) -> Booked {
        let now = self.clock.now();
        let mut pace = self.pace.lock().unwrap_or_else(PoisonError::into_inner);
        pace.keep(rate);
        pace.reserve(share, now, max_wait).ok_or(TooLate)
    }
}

/// For the questions under way.
struct Places {
    free: Semaphore,
    limit: usize,
    kept: usize,
    /// So that no two strangers take the last place there is for them.
    strangers: Mutex<()>,
    /// Wakes one of the strangers that wait.
    given_up: Notify,
}

/// A question has it while it is under way. In this order: first it is free, then that is told.
pub(super) struct Place<'p> {
    _permit: SemaphorePermit<'p>,
    _told: Told<'p>,
}

struct Told<'p>(&'p Notify);

impl Drop for Told<'_> {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

impl Places {
    fn new(limit: usize) -> Self {
        let limit = limit.min(Semaphore::MAX_PERMITS);
        Self {
            free: Semaphore::new(limit),
            limit,
            kept: kept_of(limit),
            strangers: Mutex::default(),
            given_up: Notify::new(),
        }
    }

    fn taken(&self) -> usize {
        self.limit - self.free.available_permits()
    }

    /// `None` will not happen: the places are never closed.
    async fn take(&self, share: Share) -> Option<Place<'_>> {
        let permit = match share {
            // One that is given up goes to the known token that waits longest, before any stranger sees it.
            Share::Known => self.free.acquire().await.ok()?,
            Share::Stranger => self.leave_the_kept_free().await,
        };
        Some(Place { _permit: permit, _told: Told(&self.given_up) })
    }

    async fn leave_the_kept_free(&self) -> SemaphorePermit<'_> {
        let mut given_up = pin!(self.given_up.notified());
        loop {
            // Before the look: a place that is given up after it wakes this one up.
            given_up.as_mut().enable();
            if let Some(permit) = self.take_unless_kept() {
                return permit;
            }
            given_up.as_mut().await;
            given_up.set(self.given_up.notified());
        }
    }

    fn take_unless_kept(&self) -> Option<SemaphorePermit<'_>> {
        let _alone = self.strangers.lock().unwrap_or_else(PoisonError::into_inner);
        if self.free.available_permits() > self.kept { self.free.try_acquire().ok() } else { None }
    }
}

struct Waiting<'w>(&'w AtomicUsize);

impl<'w> Waiting<'w> {
    fn start(waiting: &'w AtomicUsize) -> Self {
        waiting.fetch_add(1, Ordering::Relaxed);
        Self(waiting)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests;
