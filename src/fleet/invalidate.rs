//! An invalidation on its way to all processes.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::engine::{self, Epoch, Name, Position, Read};
use super::engine_clock::AHEAD;
use super::node::{Node, Told};
use super::outbox::Stage;
use super::record::Record;
use crate::clock::Timestamp;
use crate::random::random;
use crate::selection::Rule;

/// How long somebody waits to hear that the engine took a record. The engine's own time for it is half of that.
const PATIENCE: Duration = Duration::from_secs(1);
/// From one look at what the others have read to the next.
const PAUSE: Duration = Duration::from_millis(50);

/// How far an invalidation got beyond this process.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Spread {
    Queued,
    Recorded,
    /// No process of the fleet serves from memory what it is about.
    Everywhere,
}

impl Node {
    /// Takes note of an invalidation. From now on this process takes no value from the engine that it is about; then it
    /// is recorded. To be called before anything is forgotten here.
    pub(super) fn invalidate(
        &self,
        cache: &str,
        rule: Rule,
        mark: Option<Timestamp>,
        names: Vec<Name>,
    ) -> watch::Receiver<Stage> {
        let record = Record { leaves_mark: mark.is_some(), ..self.record_of(cache, rule, mark) };
        self.push(record, names)
    }

    /// The same of one token that the authority said no of.
    pub(super) fn found_inactive(&self, cache: &str, rule: Rule) {
        let record = Record { found_inactive: true, ..self.record_of(cache, rule, None) };
        self.push(record, Vec::new());
    }

    fn record_of(&self, cache: &str, rule: Rule, moment: Option<Timestamp>) -> Record {
        Record {
            id: u128::from(random()) << 64 | u128::from(random()),
            cache: Some(cache.to_owned()),
            rule,
            found_inactive: false,
            moment: moment.unwrap_or_else(|| self.clock.now()).as_unix_millis(),
            leaves_mark: false,
        }
    }

    fn push(&self, mut record: Record, names: Vec<Name>) -> watch::Receiver<Stage> {
        if record.encode().is_none() {
            // What cannot be written is part of a larger selection.
            record.rule = Rule::all();
            record.found_inactive = false;
        }
        let (stage, overflows) = self.outbox.push(record, names);
        if overflows && let Some(untold) = self.told.due(Told::Overflow) {
            tracing::warn!(
                fleet = self.fleet,
                untold,
                "too many invalidations wait for the fleet's engine: they become one that is about all tokens"
            );
        }
        stage
    }

    /// Waits until it is known how far the invalidation got.
    pub(super) async fn spread(self: Arc<Self>, mut stage: watch::Receiver<Stage>) -> Spread {
        let is_known = stage.wait_for(|stage| *stage != Stage::Waiting);
        let stage = match tokio::time::timeout(PATIENCE, is_known).await {
            Ok(Ok(stage)) => *stage,
            // Its place was taken by one that is about all tokens, which waits.
            Ok(Err(_)) | Err(_) => Stage::Queued,
        };
        let Stage::Appended(epoch, position) = stage else { return Spread::Queued };
        match &self.lease {
            Some(lease) => {
                self.wait_for_all(epoch, position, lease.lasts()).await;
                Spread::Everywhere
            }
            None => Spread::Recorded,
        }
    }

    /// Until every process has read the record, or a lease has passed. A lease that is renewed after the record was
    /// appended belongs to a process that has read it; one that was renewed before is over then.
    async fn wait_for_all(&self, epoch: Epoch, position: Position, lease: Duration) {
        let all_read = async {
            while !self.is_read_by_all(epoch, position, lease).await {
                tokio::time::sleep(PAUSE).await;
            }
        };
        let _ = tokio::time::timeout(lease, all_read).await;
    }

    async fn is_read_by_all(&self, epoch: Epoch, position: Position, lease: Duration) -> bool {
        if self.engine_clock.has_gone_ahead_within(lease) {
            return false;
        }
        if self.log.known_for(epoch).is_none_or(|known_for| known_for <= lease) {
            // Whoever has a lease from before this log began need not have announced itself in it.
            return false;
        }
        let Ok(nodes) = self.engine.nodes().await else { return false };
        // Where the log is another one by now, nobody knows who has read what.
        let read = Read { after: None, limit: 1, announce: None };
        let Ok(page) = self.engine.read(read).await else { return false };
        self.engine_clock.shows(page.now);
        let is_the_same_log = page.epoch == epoch;
        let has_read = |node: &engine::Node| {
            let told = self.settings_of(node);
            told.is_ok_and(|told| told.epoch == Some(epoch) && told.applied >= position.number)
        };
        is_the_same_log
            && !self.engine_clock.has_gone_ahead_within(lease)
            && nodes.iter().any(|node| node.id == self.id)
            && nodes.iter().filter(|node| node.ago <= lease + AHEAD).all(has_read)
    }
}
