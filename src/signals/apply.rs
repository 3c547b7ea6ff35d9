//! Forgetting what events are about.
//!
//! Each look for tokens goes through all that a cache remembers, so events that arrive while one is under way are
//! looked for together, in the next one. How many may wait is bounded.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Mutex as Turns, OwnedSemaphorePermit, Semaphore, oneshot};

use super::receiver::SOON;
use super::refusal::NotTaken;
use crate::cache::handle::CacheHandle;
use crate::cache::{Reach, Rest, Selection};

/// Events that may wait until they are acted on.
const MOST_WAITING: usize = 1_000;

/// When an event may be sent again that the engine of a fleet has not heard of.
const ENGINE_IS_AWAY: Duration = Duration::from_secs(10);

pub(super) struct Appliers {
    caches: Vec<CacheHandle>,
    places: Arc<Semaphore>,
    waiting: Mutex<Vec<Job>>,
    /// Whoever has it looks for all that wait.
    turn: Turns<()>,
    forgotten: AtomicU64,
}

/// What one event is about.
struct Job {
    caches: Vec<usize>,
    selections: Vec<Selection>,
    done: oneshot::Sender<Vec<Rest>>,
    _place: OwnedSemaphorePermit,
}

impl Appliers {
    pub(super) fn new(caches: Vec<CacheHandle>) -> Self {
        Self {
            caches,
            places: Arc::new(Semaphore::new(MOST_WAITING)),
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
    pub(super) async fn apply(self: &Arc<Self>, caches: &[usize], selections: Vec<Selection>) -> Result<(), NotTaken> {
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
            return Err(NotTaken::TurnedAway("too many events wait", SOON));
        };
        let (done, rests) = oneshot::channel();
        self.waiting().push(Job { caches: caches.to_vec(), selections, done, _place: place });
        let this = Arc::clone(self);
        tokio::spawn(async move {
            let _turn = this.turn.lock().await;
            let jobs = std::mem::take(&mut *this.waiting());
            if !jobs.is_empty() {
                let that = Arc::clone(&this);
                // What had a place and comes to nothing is told as such to whoever waits.
                let _ = tokio::task::spawn_blocking(move || that.run(jobs)).await;
            }
        });
        let rests = rests.await.map_err(|_| NotTaken::TurnedAway("it was given up", SOON))?;
        let mut is_queued = false;
        for rest in rests {
            is_queued |= rest.await == Reach::Queued;
        }
        if is_queued {
            return Err(NotTaken::TurnedAway(
                "the fleet's engine is away, so other processes have not heard",
                ENGINE_IS_AWAY,
            ));
        }
        Ok(())
    }

    fn run(&self, jobs: Vec<Job>) {
        let mut rests: Vec<Vec<Rest>> = jobs.iter().map(|_| Vec::new()).collect();
        for (place, cache) in self.caches.iter().enumerate() {
            let of_this_cache = || jobs.iter().enumerate().filter(|(_, job)| job.caches.contains(&place));
            let selections = of_this_cache().flat_map(|(_, job)| &job.selections);
            let (forgotten, told) = cache.invalidate_each(selections);
            self.forgotten.fetch_add(u64::try_from(forgotten).unwrap_or(u64::MAX), Ordering::Relaxed);
            let jobs_of_selections = of_this_cache().flat_map(|(at, job)| job.selections.iter().map(move |_| at));
            for (at, rest) in jobs_of_selections.zip(told) {
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
    fn waiting(&self) -> std::sync::MutexGuard<'_, Vec<Job>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
