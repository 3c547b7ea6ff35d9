//! What a process in a fleet does by itself, in one task: it reads the log and applies it, and appends what waits in
//! the outbox.
//!
//! ```text
//! every 100 ms   read, from the position on
//!    │  another epoch, or what was read is not there ── gap ──▶ start over: distrust what is shared,
//!    ▼                                                          have what is remembered asked about again
//! records        open, apply to the caches, then move the position
//!    ▼
//! at the end     the door is open for requests; a strict lease is renewed
//! ```
//!
//! A read that fails closes the door after a second, and is tried again, later each time. Nothing else connects.

use std::collections::BTreeSet;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::Duration;

use super::beginning::{MAX_RECORDS, lost_up_to};
use super::engine::{Announce, Append, EngineError, EngineErrorKind, Epoch, Page, Position, Read};
use super::figures::Counted;
use super::node::{Node, Told};
use super::record::Record;
use super::seal::Unreadable;
use super::settings::Settings;
use super::trouble::Call;
use crate::background::Owner;
use crate::clock::Stopwatch;
use crate::random::random;

/// From one read of the log to the next. Own records are read no sooner: what a failover loses before it was read is
/// appended again, and replicas need a moment.
const PAUSE: Duration = Duration::from_millis(100);
/// The longest from one failed read to the next, and from one failed append to the next.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// Records in one page.
const PAGE: u64 = 500;
/// From one announcement to the next, where a lease wants none more often.
const ANNOUNCED_EVERY: Duration = Duration::from_secs(1);
/// From one look at the other processes to the next.
const LOOKED_EVERY: Duration = Duration::from_secs(5);
/// A process that has not announced itself for this long is no longer there.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(10);

/// More processes do not make this one's part of the rate limit smaller: entries of those that are gone can be stored
/// again by somebody.
const MOST_PROCESSES: u64 = 1_000;

const MISSING: &str = "records are missing";

/// Starts both, unless they run. Without a runtime they are started by the next question.
pub(super) fn start(node: &Arc<Node>, owner: &Owner) {
    if node.is_followed.load(Ordering::Acquire) {
        return;
    }
    let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
    if node.is_followed.swap(true, Ordering::AcqRel) {
        return;
    }
    let running = Running(Arc::clone(node));
    let working = async move {
        let node = &running.0;
        let mut reader = Reader::new(Arc::clone(node));
        let (mut following, mut sending) = (pin!(reader.follow()), pin!(send(node)));
        // One task for both, so that they are there together or not at all. Neither ends.
        poll_fn(|context| {
            let _ = (following.as_mut().poll(context), sending.as_mut().poll(context));
            Poll::<()>::Pending
        })
        .await;
    };
    let span = tracing::debug_span!(parent: None, "introspection_fleet");
    runtime.spawn(tracing::Instrument::instrument(owner.keeps_alive(working), span));
}

/// The runtime they run on may go away before the fleet does; then another one has to take over.
struct Running(Arc<Node>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.is_followed.store(false, Ordering::Release);
    }
}

struct Reader {
    node: Arc<Node>,
    announced: Option<Stopwatch>,
    looked: Option<Stopwatch>,
    /// What the others have that cannot hold together with what this process has; told once for each.
    mismatches: Vec<String>,
    /// Records in the next page: fewer, where a page does not come in time.
    page: u64,
}

/// What a page has come to.
#[derive(PartialEq, Eq)]
enum Progress {
    /// There is more to read.
    More,
    /// It is another log, to be read from its beginning.
    StartsOver,
    /// All is read.
    AtTheEnd,
}

impl Reader {
    fn new(node: Arc<Node>) -> Self {
        Self { node, announced: None, looked: None, mismatches: Vec::new(), page: PAGE }
    }

    async fn follow(&mut self) {
        let mut pause = PAUSE;
        loop {
            match self.read().await {
                Ok(Progress::More) => continue,
                // A log that is another one each time must not keep this process busy.
                Ok(Progress::StartsOver) => pause = PAUSE,
                Ok(Progress::AtTheEnd) => (pause, self.page) = (PAUSE, PAGE),
                Err(error) => {
                    if error.kind == EngineErrorKind::Timeout {
                        self.page = (self.page / 2).max(1);
                    }
                    self.node.access.begins();
                    self.node.failed(Call::Read, &error);
                    self.node.looks_at_the_lease();
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
            // Publishes the figures as of now.
            let _ = self.node.stats();
            // Up to a fifth more or less, so that the processes of a fleet do not come all at once.
            let part = f64::from(u32::try_from(random() % 400).unwrap_or_default()) / 1_000.0;
            tokio::time::sleep(pause.mul_f64(0.8 + part)).await;
        }
    }

    async fn read(&mut self) -> Result<Progress, EngineError> {
        let (sent_at, sent) = (self.node.clock.now(), Stopwatch::start());
        let known = self.node.log.position();
        let settings = self.announcement();
        let page = self
            .node
            .engine
            .read(Read {
                after: known.map(|(_, position)| position).filter(|position| position.number > 0),
                limit: self.page,
                announce: settings.as_deref().map(|settings| Announce {
                    node: self.node.id,
                    settings,
                    forget_after: self.forgotten_after(),
                }),
            })
            .await?;
        self.node.engine_clock.shows(page.now);
        if settings.is_some() {
            self.announced = Some(Stopwatch::start());
        }
        let progress = self.apply(&page, known).await?;
        if progress == Progress::AtTheEnd {
            let ago = sent.elapsed();
            self.node.outbox.append_again(page.epoch, page.last.number);
            self.node.access.reads(ago);
            #[cfg(feature = "dpop")]
            self.node.proof_access.reads(ago);
            self.node.succeeded(Call::Read);
            if let Some(lease) = &self.node.lease {
                lease.renew(ago, sent_at);
            }
            if self.looked.as_ref().is_none_or(|looked| looked.elapsed() >= LOOKED_EVERY) {
                self.looked = Some(Stopwatch::start());
                match self.look_at_the_others().await {
                    Ok(()) => self.node.succeeded(Call::Nodes),
                    Err(error) => self.node.failed(Call::Nodes, &error),
                }
            }
        }
        Ok(progress)
    }

    /// A process is there as long as it may serve from memory.
    fn forgotten_after(&self) -> Duration {
        let lease = self.node.lease.as_ref().map_or(Duration::ZERO, |lease| lease.lasts());
        FORGOTTEN_AFTER.saturating_add(lease)
    }

    /// The settings, sealed, if they are to be announced with the next read.
    fn announcement(&self) -> Option<Vec<u8>> {
        let is_due = self.announced.as_ref().is_none_or(|announced| announced.elapsed() >= ANNOUNCED_EVERY);
        if !is_due && self.node.lease.is_none() {
            return None;
        }
        let settings = self.node.settings();
        let sealed = |settings: &Settings| self.node.keys.seal_settings(&serde_json::to_vec(settings).ok()?);
        // Too many caches to tell of are not told of; that this process is there is.
        let settings = sealed(&settings).or_else(|| sealed(&Settings { caches: Vec::new(), ..settings }));
        Some(settings.unwrap_or_default())
    }

    async fn apply(&self, page: &Page, known: Option<(Epoch, Position)>) -> Result<Progress, EngineError> {
        let node = &self.node;
        let is_another = known.is_some_and(|(epoch, _)| epoch != page.epoch);
        if is_another || !page.continues {
            node.access.does_not_read();
            node.log.close();
            self.has_gap(if is_another { "another server, or it was emptied" } else { MISSING }).await?;
            node.log.start_over(page.epoch, page.first);
            return Ok(Progress::StartsOver);
        }
        let (records, unreadable) = self.open(page);
        let missing = last_missing(page, known.map(|(_, position)| position.number.max(node.log.horizon())));
        if known.is_none() {
            node.log.start_over(page.epoch, page.first);
        }
        // In this order: known, so that nothing comes back that is forgotten; applied; and only then read. What this
        // process has invalidated is its own until then.
        let horizon = [Some(page.first.saturating_sub(1)), missing, unreadable].into_iter().flatten().max();
        node.log.learn(records.clone(), horizon.unwrap_or_default());
        if known.is_none_or(|(_, position)| position.number == 0)
            && let Some(moment) = lost_up_to(page, &records)
        {
            node.log.loses(moment);
            node.members().iter().for_each(|member| member.has_lost(moment));
        }
        self.forget(&records).await?;
        if missing.is_some() || unreadable.is_some() {
            self.has_gap(if missing.is_some() { MISSING } else { "a record cannot be opened" }).await?;
        }
        let position = match page.records.last() {
            // The nonce of a record that was let go is known by this alone.
            Some((last, _)) if last.number < page.last.number => *last,
            _ => page.last,
        };
        node.log.advance(position);
        for (number, record) in records {
            node.outbox.is_read(record.id, page.epoch, Position { number, nonce: 0 });
        }
        Ok(if position.number >= page.last.number { Progress::AtTheEnd } else { Progress::More })
    }

    /// The records with their numbers, and the number of the last one that cannot be opened.
    fn open(&self, page: &Page) -> (Vec<(u64, Arc<Record>)>, Option<u64>) {
        let node = &self.node;
        let (mut records, mut unreadable) = (Vec::with_capacity(page.records.len()), None);
        for (position, sealed) in &page.records {
            node.figures.count(Counted::RecordRead);
            let opened = node.keys.open_record(sealed);
            // What is sealed and not understood is of another release.
            match opened.and_then(|bytes| Record::decode(&bytes).ok_or(Unreadable::OtherVersion)) {
                Ok(record) => records.push((position.number, Arc::new(record))),
                Err(why) => unreadable = Some((position.number, why)),
            }
        }
        if let Some((_, why)) = unreadable {
            node.unreadable("a record", why);
        }
        (records, unreadable.map(|(number, _)| number))
    }

    /// Has the caches of this process forget what the records are about.
    async fn forget(&self, records: &[(u64, Arc<Record>)]) -> Result<(), EngineError> {
        let node = &self.node;
        // What this process has invalidated itself is forgotten here already.
        let news = records.iter().map(|(_, record)| record);
        // What one cache of this process has invalidated, the others have not.
        let members = node.members();
        let has_acted = |id| members.len() < 2 && node.outbox.is_own(id);
        let news = news.filter(|record| !has_acted(record.id) && !node.log.has_applied(record.id));
        let news: Vec<_> = news.cloned().collect();
        if news.is_empty() {
            return Ok(());
        }
        let looks_at_all = news.iter().any(|record| record.rule.is_of_any_token());
        let apply = move || members.iter().for_each(|member| member.apply(&news));
        if looks_at_all {
            return aside(apply).await;
        }
        apply();
        Ok(())
    }

    /// Records may be lost.
    async fn has_gap(&self, why: &'static str) -> Result<(), EngineError> {
        let node = &self.node;
        node.figures.count(Counted::Gap);
        if let Some(untold) = node.told.due(Told::Gap) {
            tracing::warn!(
                fleet = node.fleet,
                why,
                untold,
                "the fleet's log has a gap: what is shared is not trusted, and what is remembered is asked about again"
            );
        }
        let (members, is_strict) = (node.members(), node.lease.is_some());
        aside(move || members.iter().for_each(|member| member.has_gap(is_strict))).await
    }

    /// Counts the other processes, and compares what they were told to do.
    async fn look_at_the_others(&mut self) -> Result<(), EngineError> {
        let nodes = self.node.engine.nodes().await?;
        let (mut there, mut found) = (0, BTreeSet::new());
        let own = self.node.settings();
        for other in &nodes {
            let settings = match self.node.settings_of(other) {
                Ok(settings) => settings,
                Err(why) => {
                    self.node.unreadable("the settings of another process", why);
                    continue;
                }
            };
            there += u64::from(other.ago <= FORGOTTEN_AFTER);
            if other.id == self.node.id {
                continue;
            }
            settings.caches.iter().for_each(|cache| self.node.hears_of_reach(cache.reach));
            found.extend(own.mismatches(&settings));
        }
        self.node.mismatches.store(found.len(), Ordering::Relaxed);
        for mismatch in found {
            if !self.mismatches.contains(&mismatch) {
                let fleet = &self.node.fleet;
                tracing::warn!(fleet, mismatch, "the processes of a fleet are set up in ways that do not go together");
                self.mismatches.push(mismatch);
            }
        }
        self.node.processes.store(there.min(MOST_PROCESSES), Ordering::Relaxed);
        Ok(())
    }
}

/// The last number of which the page should have a record and has none: the engine has lost it, and counts on.
fn last_missing(page: &Page, after: Option<u64>) -> Option<u64> {
    let mut next = after.map_or(page.first, |number| number.saturating_add(1));
    let mut missing = None;
    for (position, _) in &page.records {
        if position.number != next {
            missing = Some(position.number.saturating_sub(1));
        }
        next = position.number.saturating_add(1);
    }
    let is_short = page.records.is_empty() && next <= page.last.number;
    if is_short { Some(page.last.number) } else { missing }
}

/// Does what may take long, since all that is remembered is looked at, where it keeps no request waiting.
async fn aside(work: impl FnOnce() + Send + 'static) -> Result<(), EngineError> {
    let failed = |error| EngineError { kind: EngineErrorKind::Answer, text: format!("it cannot be applied: {error}") };
    tokio::task::spawn_blocking(work).await.map_err(failed)
}

/// Appends what waits in the outbox, in its order, until the engine takes it.
async fn send(node: &Node) {
    let mut pause = PAUSE;
    loop {
        let next = node.outbox.next().await;
        match append(node, &next.record).await {
            Ok(()) => {
                pause = PAUSE;
                for name in &next.names {
                    // It is old by the record, whatever comes of this.
                    let _ = node.engine.delete(name).await;
                }
            }
            Err(error) => {
                node.outbox.is_stuck();
                node.failed(Call::Append, &error);
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    }
}

async fn append(node: &Node, record: &Record) -> Result<(), EngineError> {
    // What goes into the outbox can be written; without random bytes, later.
    let sealed = record.encode().and_then(|bytes| node.keys.seal_record(&bytes));
    let sealed = sealed.ok_or_else(EngineError::unsealed)?;
    let (retention, max_records) = (node.retention(), MAX_RECORDS);
    let append = Append { record: &sealed, nonce: random() >> 1, retention, max_records };
    let appended = node.engine.append(append).await?;
    node.succeeded(Call::Append);
    node.figures.count(Counted::RecordWritten);
    node.outbox.appended(record.id, appended.epoch, appended.position);
    Ok(())
}

#[cfg(test)]
mod tests;
