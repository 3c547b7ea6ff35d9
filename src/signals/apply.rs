//! Forgetting what events are about.
//!
//! Each look for tokens goes through all that a cache remembers, so events that arrive while one is under way are
//! looked for together, in the next one. How many may wait is bounded.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Mutex as Turns, Semaphore, oneshot};
use tokio::task::JoinSet;

use super::refusal::{NotTaken, SOON};
use crate::cache::handle::CacheHandle;
use crate::cache::{Reach, Rest, Selection};
use crate::clock::Timestamp;

/// Selections that may wait until they are acted on. Most events are one.
const MOST_WAITING: usize = 1_000;

/// Selections that may wait to be acted on again.
const MOST_WAITING_AGAIN: usize = 5_000;

/// So much later what was forgotten is forgotten again.
const AGAIN: Duration = Duration::from_secs(5);

/// From one look to the next. Questions under way remember each, and there is room for those of a minute.
const PAUSE: Duration = Duration::from_millis(100);

/// When an event may be sent again that the engine of a fleet has not heard of.
const ENGINE_IS_AWAY: Duration = Duration::from_secs(10);

pub(super) struct Appliers {
    caches: Vec<CacheHandle>,
    places: Semaphore,
    places_again: Arc<Semaphore>,
    waiting: Mutex<Vec<Job>>,
    /// Whoever has it looks for all that wait.
    turn: Turns<()>,
    forgotten: AtomicU64,
}

/// Tokens to forget.
#[derive(Clone)]
pub(super) struct Meant {
    pub(super) selection: Selection,
    /// Up to when they were issued. An application that chose them has said so itself.
    pub(super) until: Option<Until>,
}

/// A moment each for two kinds of caches.
#[derive(Clone, Copy)]
pub(super) struct Until {
    /// Where to forget is to refuse: whoever logs in again at the transmitter is not to be kept out.
    pub(super) judged_alone: Timestamp,
    /// Where to forget one too many costs a question.
    pub(super) asked: Timestamp,
}

impl Meant {
    fn in_cache(&self, cache: &CacheHandle) -> Selection {
        let until = |until: Until| if cache.judges_alone() { until.judged_alone } else { until.asked };
        match self.until {
            Some(moments) => self.selection.clone().and(Selection::issued_before(until(moments))),
            None => self.selection.clone(),
        }
    }
}

fn weight(meant: &[Meant]) -> u32 {
    u32::try_from(meant.len()).unwrap_or(u32::MAX)
}

/// What one event is about.
struct Job {
    caches: Vec<usize>,
    meant: Vec<Meant>,
    done: oneshot::Sender<Vec<Rest>>,
}

impl Appliers {
    pub(super) fn new(caches: Vec<CacheHandle>) -> Self {
        Self {
            caches,
            places: Semaphore::new(MOST_WAITING),
            places_again: Arc::new(Semaphore::new(MOST_WAITING_AGAIN)),
            waiting: Mutex::default(),
            turn: Turns::default(),
            forgotten: AtomicU64::new(0),
        }
    }

    /// How many tokens were forgotten so far.
    pub(super) fn forgotten(&self) -> u64 {
        self.forgotten.load(Ordering::Relaxed)
    }

    /// Has the caches at these places forget, here and in their fleets, and waits until it is done. It goes on by
    /// itself if nobody waits any more.
    pub(super) async fn apply(self: &Arc<Self>, caches: &[usize], meant: Vec<Meant>) -> Result<(), NotTaken> {
        let Ok(_place) = self.places.try_acquire_many(weight(&meant)) else {
            return Err(NotTaken::TurnedAway("too many events wait", SOON));
        };
        self.forget_again_soon(caches, &meant);
        let rests = self.forget(caches, meant).await.ok_or(NotTaken::TurnedAway("it was given up", SOON))?;
        // All at once: each waits for the engine by itself.
        let reached: JoinSet<Reach> = rests.into_iter().collect();
        if reached.join_all().await.contains(&Reach::Queued) {
            return Err(NotTaken::TurnedAway(
                "the fleet's engine is away, so other processes have not heard",
                ENGINE_IS_AWAY,
            ));
        }
        Ok(())
    }

    /// What tells how far it got beyond this process, once it is done here.
    async fn forget(self: &Arc<Self>, caches: &[usize], meant: Vec<Meant>) -> Option<Vec<Rest>> {
        let (done, rests) = oneshot::channel();
        self.waiting().push(Job { caches: caches.to_vec(), meant, done });
        let this = Arc::clone(self);
        tokio::spawn(async move {
            let _turn = this.turn.lock().await;
            let jobs = std::mem::take(&mut *this.waiting());
            if !jobs.is_empty() {
                let that = Arc::clone(&this);
                // Whoever waits for what comes to nothing is told so.
                let _ = tokio::task::spawn_blocking(move || that.run(jobs)).await;
                tokio::time::sleep(PAUSE).await;
            }
        });
        rests.await.ok()
    }

    /// The same once more, a little later. There are servers that tell of a logout before they have done it: whoever
    /// asks in between hears that a token is active, and would remember that for long.
    fn forget_again_soon(self: &Arc<Self>, caches: &[usize], meant: &[Meant]) {
        let is_asked = |place: &&usize| self.caches.get(**place).is_some_and(|cache| !cache.judges_alone());
        let caches: Vec<_> = caches.iter().filter(is_asked).copied().collect();
        // In a flood it is left at the first time.
        let Ok(place) = Arc::clone(&self.places_again).try_acquire_many_owned(weight(meant)) else { return };
        if caches.is_empty() {
            return;
        }
        let (this, meant) = (Arc::clone(self), meant.to_vec());
        tokio::spawn(async move {
            tokio::time::sleep(AGAIN).await;
            let _ = this.forget(&caches, meant).await;
            drop(place);
        });
    }

    fn run(&self, jobs: Vec<Job>) {
        let mut rests: Vec<Vec<Rest>> = jobs.iter().map(|_| Vec::new()).collect();
        for (place, cache) in self.caches.iter().enumerate() {
            let of_this_cache = || jobs.iter().enumerate().filter(|(_, job)| job.caches.contains(&place));
            let meant = of_this_cache().flat_map(|(at, job)| job.meant.iter().map(move |meant| (at, meant)));
            let (jobs_of, selections): (Vec<_>, Vec<_>) = meant.map(|(at, meant)| (at, meant.in_cache(cache))).unzip();
            let (forgotten, told) = cache.invalidate_each(&selections);
            self.forgotten.fetch_add(u64::try_from(forgotten).unwrap_or(u64::MAX), Ordering::Relaxed);
            for (at, rest) in jobs_of.into_iter().zip(told) {
                if let (Some(rests), Some(rest)) = (rests.get_mut(at), rest) {
                    rests.push(rest);
                }
            }
        }
        for (job, rests) in jobs.into_iter().zip(rests) {
            let _ = job.done.send(rests);
        }
    }

    /// Nothing that runs under this lock leaves it half changed.
    fn waiting(&self) -> MutexGuard<'_, Vec<Job>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
