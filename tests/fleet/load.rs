//! Requests to all processes of a fleet, and invalidations in some of them.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use tokio::task::JoinSet;

use crate::judge::Judge;
use crate::process::Process;
use crate::random::Random;
use crate::worker::Settings;
use crate::{now, pass};

/// Requests at a time in each process.
const REQUESTS: usize = 2;

/// The place of a process, which ends and is started again.
pub struct Place {
    pub settings: Settings,
    process: Mutex<Option<Arc<Process>>>,
    /// When it went on after it was stopped the last time. The end of time: it is stopped.
    went_on_at: AtomicU64,
}

impl Place {
    pub fn new(settings: &Settings) -> Self {
        Self { settings: settings.clone(), process: Mutex::new(None), went_on_at: AtomicU64::new(0) }
    }

    pub async fn start(&self) {
        let process = Process::start(&self.settings).await;
        self.went_on_at.store(0, Ordering::SeqCst);
        *self.process.lock().unwrap() = Some(Arc::new(process));
    }

    pub fn process(&self) -> Option<Arc<Process>> {
        self.process.lock().unwrap().clone()
    }

    pub fn kill(&self) {
        if let Some(process) = self.process.lock().unwrap().take() {
            process.kill();
        }
    }

    /// The process of another place serves here from now on.
    pub fn replace_by(&self, other: &Self) {
        *self.process.lock().unwrap() = other.process();
    }

    pub fn stop(&self) {
        if let Some(process) = self.process() {
            self.went_on_at.store(u64::MAX, Ordering::SeqCst);
            process.stop();
        }
    }

    pub fn go_on(&self) {
        if let Some(process) = self.process() {
            process.go_on();
            self.went_on_at.store(now(), Ordering::SeqCst);
        }
    }

    pub fn is_stopped(&self) -> bool {
        self.went_on_at.load(Ordering::SeqCst) == u64::MAX
    }
}

/// Ends when it is dropped.
pub struct Load {
    is_over: Arc<AtomicBool>,
    tasks: JoinSet<()>,
}

impl Load {
    /// Each place gets a request every `pause` or so, for each of [`REQUESTS`].
    pub fn begin(judge: &Arc<Judge>, places: &[Arc<Place>], pause: u64, random: &mut Random) -> Self {
        let mut load = Self { is_over: Arc::default(), tasks: JoinSet::new() };
        for place in places {
            for _ in 0..REQUESTS {
                let (judge, place, is_over) = (Arc::clone(judge), Arc::clone(place), Arc::clone(&load.is_over));
                let mut random = random.another();
                load.tasks.spawn(async move {
                    while !is_over.load(Ordering::SeqCst) {
                        request(&judge, &place, &mut random).await;
                        pass(random.millis(0, pause * 2)).await;
                    }
                });
            }
        }
        load
    }

    /// Every `pause` or so a token is revoked, or all of a subject; of most of them a process is told.
    pub fn revoke(&mut self, judge: &Arc<Judge>, places: &[Arc<Place>], pause: u64, random: &mut Random) {
        let (judge, places, is_over) = (Arc::clone(judge), places.to_vec(), Arc::clone(&self.is_over));
        let mut random = random.another();
        self.tasks.spawn(async move {
            while !is_over.load(Ordering::SeqCst) {
                pass(random.millis(0, pause * 2)).await;
                let revoked = judge.revoke(random.below(4) == 0, &mut random);
                let process = places[random.below(places.len())].process();
                let (Some(process), 1..) = (process, random.below(4)) else { continue };
                let judge = Arc::clone(&judge);
                // Where the engine is away, it takes a while to say so.
                tokio::spawn(async move {
                    let began_at = now();
                    if let Some(reach) = process.invalidates(revoked.cache, &revoked.what).await {
                        judge.invalidated(&revoked, began_at, reach);
                    }
                });
            }
        });
    }

    /// All that was asked is answered.
    pub async fn end(mut self) {
        self.is_over.store(true, Ordering::SeqCst);
        while let Some(task) = self.tasks.join_next().await {
            task.unwrap();
        }
    }
}

async fn request(judge: &Judge, place: &Place, random: &mut Random) {
    let Some(process) = place.process() else { return };
    let (cache, token) = judge.choose(random);
    let asked_at = now();
    // A process that was killed has answered nobody.
    let Some(answer) = process.asks(cache, &token).await else { return };
    let was_stopped = place.went_on_at.load(Ordering::SeqCst) >= asked_at;
    judge.judge(process.id, &token, &answer, was_stopped);
}
