//! One process of the fleet: its cache, its member of the fleet, and whatever waits in it.

use std::sync::Arc;

use tokio::task::JoinHandle;
use tower_introspection::Cached;
use tower_introspection::fleet::{Fleet, FleetSecret, FleetStats, MemoryEngine};

use super::journal::{Authority, Process, SharedJournal, WallClock};
use super::reached::Reached;
use super::rules::Request;
use super::selections::Scope;
use super::world::{Setting, Settings};
use crate::model::common::{Ending, millis, name_of};
use crate::support::known_or_asked;

pub(super) struct Running {
    pub(super) process: Process,
    cached: Cached<Authority>,
    fleet: Fleet,
    journal: SharedJournal,
    waiting: Vec<JoinHandle<()>>,
}

impl Running {
    pub(super) fn start(
        process: Process,
        setting: &Setting,
        engine: &MemoryEngine,
        clock: &WallClock,
        journal: &SharedJournal,
    ) -> Self {
        let secret = FleetSecret::from_bytes(b"a secret of thirty-two bytes, no less").unwrap();
        let fleet = Fleet::in_memory(engine, "orders", secret).clock(clock.clone());
        let fleet = match setting.strict {
            Some(lease) => fleet.strict(millis(lease)),
            None => fleet,
        };
        let fleet = fleet.build().unwrap();
        let settings = setting.machines[process.machine];
        let Settings { max_ttl, inactive_ttl, expiry_leeway, stale_if_error, refresh_ahead, question_timeout } =
            settings;
        let cached = Cached::builder(Authority { journal: Arc::clone(journal), process })
            .max_ttl(millis(max_ttl))
            .inactive_ttl(millis(inactive_ttl))
            .expiry_leeway(millis(expiry_leeway))
            .stale_if_error(millis(stale_if_error))
            .refresh_ahead(refresh_ahead)
            .refresh_ahead_uses(1)
            .max_capacity(100)
            .question_timeout(millis(question_timeout))
            .clock(clock.clone())
            .fleet(&fleet)
            .build()
            .unwrap();
        Self { process, cached, fleet, journal: Arc::clone(journal), waiting: Vec::new() }
    }

    pub(super) fn stats(&self) -> FleetStats {
        self.fleet.stats()
    }

    /// Writes down up to where it has read the log.
    pub(super) fn note_read(&self) {
        note_read(&self.fleet, self.process, &self.journal);
    }

    pub(super) fn request(&mut self, token: usize) {
        let (journal, cached, fleet, process) =
            (Arc::clone(&self.journal), self.cached.clone(), self.fleet.clone(), self.process);
        self.waiting.push(tokio::spawn(async move {
            note_read(&fleet, process, &journal);
            let start = {
                let mut journal = journal.lock().unwrap();
                let start = journal.moment();
                journal.requests.push((process, token, start));
                start
            };
            let ending = Ending::of(&known_or_asked(&cached, &name_of(token)).await);
            let mut journal = journal.lock().unwrap();
            let end = journal.moment();
            let request = Request { token, process, start, end, ending };
            Reached::note_request(&request, &journal);
            journal.judge(&request);
        }));
    }

    /// Asks and waits.
    pub(super) async fn answer(&self, token: usize) -> Ending {
        Ending::of(&known_or_asked(&self.cached, &name_of(token)).await)
    }

    pub(super) fn invalidate(&mut self, scope: Scope, is_awaited: bool) {
        let invalidation = self.cached.handle().invalidate(scope.selection());
        let number = self.journal.lock().unwrap().invalidated(scope, self.process);
        if is_awaited {
            let journal = Arc::clone(&self.journal);
            self.waiting.push(tokio::spawn(async move {
                let reach = invalidation.await;
                Reached::note_reach(reach);
                journal.lock().unwrap().reached(number, reach);
            }));
        }
    }

    pub(super) fn waiting(&mut self) -> usize {
        self.waiting.retain(|waiting| !waiting.is_finished());
        self.waiting.len()
    }

    /// Somebody does not wait any longer.
    pub(super) fn hang_up(&mut self, index: usize) {
        let count = self.waiting();
        if count > 0 {
            self.waiting.remove(index % count).abort();
        }
    }
}

/// It is killed: nothing of it goes on.
impl Drop for Running {
    fn drop(&mut self) {
        self.waiting.iter().for_each(JoinHandle::abort);
    }
}

fn note_read(fleet: &Fleet, process: Process, journal: &SharedJournal) {
    let Some(ago) = fleet.stats().last_read else { return };
    let mut journal = journal.lock().unwrap();
    let sent = journal.steady() - i64::try_from(ago.as_millis()).unwrap();
    journal.has_read(process, sent);
}
