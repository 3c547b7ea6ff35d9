//! What happened: every question, every answer, every invalidation, in one order. The rules read it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};

use tokio::sync::oneshot;
use tokio::time::Instant;
use tower_introspection::cache::Reach;
use tower_introspection::clock::{Clock, Timestamp};
use tower_introspection::introspect::Ask;
use tower_introspection::{Introspect, IntrospectError, Verdict};

use super::selections::{Scope, facts_of};
use super::world::{ENGINE, World};
use crate::model::common::{Fault, Outcome, Truth, When, timestamp};
use crate::support::Answer;

/// A clock of the engine that goes back by no more than this makes no answer seem younger than it is.
const ENGINE_TOLERANCE: i64 = 250;

/// One process that runs, or ran, on one machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Process {
    pub(super) machine: usize,
    pub(super) number: usize,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    /// Its number among all moments.
    pub(super) event: u64,
    /// After which step of the world.
    pub(super) step: u64,
    pub(super) steady: i64,
}

#[derive(Debug)]
pub(super) struct Question {
    pub(super) token: usize,
    pub(super) process: Process,
    pub(super) asked: Moment,
    pub(super) ended: Option<(Moment, Outcome)>,
    pub(super) issued_at: i64,
    looked_up: Option<(Outcome, i64)>,
    held: Option<oneshot::Sender<()>>,
}

#[derive(Debug)]
pub(super) struct Invalidated {
    pub(super) scope: Scope,
    pub(super) process: Process,
    pub(super) called: Moment,
    pub(super) reached: Option<(Moment, Reach)>,
    /// Those that have read the log since it was recorded, with nothing lost in between, and when that was known.
    pub(super) read_by: HashMap<Process, u64>,
}

/// What the clock of a machine, or of the engine, was ahead of the steady one, and since when.
type Offsets = Vec<(u64, i64)>;

pub(super) struct Journal {
    pub(super) world: World,
    start: Instant,
    events: u64,
    pub(super) questions: Vec<Question>,
    pub(super) invalidations: Vec<Invalidated>,
    /// Which process was asked about which token, and when.
    pub(super) requests: Vec<(Process, usize, Moment)>,
    offsets: Vec<Offsets>,
    /// When the engine lost records, or may have.
    losses: Vec<u64>,
    /// What went against the rules.
    pub(super) violations: Vec<String>,
}

pub(super) type SharedJournal = Arc<Mutex<Journal>>;

impl Journal {
    /// To be called within the runtime whose time it is.
    pub(super) fn new(world: World) -> SharedJournal {
        let offsets = world.offsets.iter().map(|&offset| vec![(0, offset)]).collect();
        Arc::new(Mutex::new(Self {
            world,
            start: now(),
            events: 0,
            questions: Vec::new(),
            invalidations: Vec::new(),
            requests: Vec::new(),
            offsets,
            losses: Vec::new(),
            violations: Vec::new(),
        }))
    }

    pub(super) fn steady(&self) -> i64 {
        i64::try_from(self.start.elapsed().as_millis()).unwrap()
    }

    pub(super) fn moment(&mut self) -> Moment {
        self.events += 1;
        Moment { event: self.events, step: self.world.step, steady: self.steady() }
    }

    /// Takes over what the world is like after a step.
    pub(super) fn world_is(&mut self, world: &World) {
        let event = self.moment().event;
        for (known, &offset) in self.offsets.iter_mut().zip(&world.offsets) {
            if known.last().is_none_or(|(_, last)| *last != offset) {
                known.push((event, offset));
            }
        }
        self.world = world.clone();
    }

    pub(super) fn wall(&self, clock: usize) -> i64 {
        self.steady() + self.world.offsets[clock]
    }

    /// By how much the clock was set back since, at most: what looked at it at any moment in between may have seen it
    /// as much further ahead.
    pub(super) fn set_back_since(&self, machine: usize, since: u64) -> i64 {
        let offsets = self.offsets_since(machine, since);
        offsets.iter().max().unwrap() - offsets.last().unwrap()
    }

    /// By how much less the engine's clock may have moved than time has passed, at some moment since, beyond what is
    /// allowed for.
    pub(super) fn engine_lags_since(&self, since: u64) -> i64 {
        let offsets = self.offsets_since(ENGINE, since);
        (offsets[0] - offsets.iter().min().unwrap() - ENGINE_TOLERANCE).max(0)
    }

    fn offsets_since(&self, clock: usize, since: u64) -> Vec<i64> {
        let all = &self.offsets[clock];
        let from = all.iter().rposition(|(at, _)| *at <= since).unwrap_or(0);
        all[from..].iter().map(|(_, offset)| *offset).collect()
    }

    pub(super) fn loses_records(&mut self) {
        let event = self.moment().event;
        self.losses.push(event);
    }

    pub(super) fn has_lost_records_since(&self, event: u64) -> bool {
        self.losses.iter().any(|loss| *loss > event)
    }

    pub(super) fn require(&mut self, holds: bool, rule: impl FnOnce() -> String) {
        if !holds {
            let step = self.world.step;
            self.violations.push(format!("after step {step}: {}", rule()));
        }
    }

    /// Tells its number.
    pub(super) fn invalidated(&mut self, scope: Scope, process: Process) -> usize {
        let called = self.moment();
        self.invalidations.push(Invalidated { scope, process, called, reached: None, read_by: HashMap::new() });
        self.invalidations.len() - 1
    }

    pub(super) fn reached(&mut self, invalidation: usize, reach: Reach) {
        let moment = self.moment();
        self.invalidations[invalidation].reached = Some((moment, reach));
    }

    /// A process has read all of the log by a call that it sent then.
    pub(super) fn has_read(&mut self, process: Process, sent: i64) {
        let event = self.moment().event;
        let losses = &self.losses;
        for known in &mut self.invalidations {
            let Some((recorded, Reach::Recorded | Reach::Everywhere)) = known.reached else { continue };
            let is_complete = !losses.iter().any(|loss| *loss > known.called.event);
            if sent > recorded.steady && is_complete {
                known.read_by.entry(process).or_insert(event);
            }
        }
    }

    fn ask(&mut self, process: Process, token: usize) -> (usize, Option<oneshot::Receiver<()>>) {
        let asked = self.moment();
        let of_token = self.questions.iter().filter(|question| question.token == token && question.ended.is_none());
        let of_process = of_token.filter(|question| question.process == process).count();
        self.require(of_process == 0, || format!("two questions of {process:?} about token {token} are under way"));
        let (held, looked_up, released) = match self.world.holding {
            Some(when) => {
                let (held, released) = oneshot::channel();
                let looked_up = matches!(when, When::Asked).then(|| self.look_up(token));
                (Some(held), looked_up, Some(released))
            }
            None => (None, None, None),
        };
        self.questions.push(Question { token, process, asked, ended: None, issued_at: 0, looked_up, held });
        (self.questions.len() - 1, released)
    }

    /// The answer, and when the token was issued.
    fn look_up(&self, token: usize) -> (Outcome, i64) {
        let issued_at = self.world.tokens[token].approved.last().map_or(0, |(from, _)| from.steady);
        let outcome = match self.world.fault {
            Some(Fault::Fails(kind)) => Outcome::Failed(kind),
            Some(Fault::Panics) => Outcome::Panicked,
            None => Outcome::Answered(self.world.answer(token, self.steady())),
        };
        (outcome, issued_at)
    }

    fn end(&mut self, number: usize) -> (Outcome, i64) {
        let ended = self.moment();
        let token = self.questions[number].token;
        let (outcome, issued_at) = self.questions[number].looked_up.unwrap_or_else(|| self.look_up(token));
        self.questions[number].ended = Some((ended, outcome));
        self.questions[number].issued_at = issued_at;
        (outcome, issued_at)
    }

    fn give_up(&mut self, number: usize) {
        if self.questions[number].ended.is_none() {
            let ended = self.moment();
            self.questions[number].ended = Some((ended, Outcome::TimedOut));
        }
    }

    /// Lets the answer go of one of the questions that are held.
    pub(super) fn release(&mut self, index: usize) {
        let is_held = |question: &&mut Question| question.held.as_ref().is_some_and(|held| !held.is_closed());
        let count = self.questions.iter_mut().filter(is_held).count();
        let held = self.questions.iter_mut().filter(is_held).nth(index % count.max(1));
        if let Some(held) = held.and_then(|question| question.held.take()) {
            held.send(()).ok();
        }
    }

    pub(super) fn release_all(&mut self) {
        for held in self.questions.iter_mut().filter_map(|question| question.held.take()) {
            held.send(()).ok();
        }
    }
}

/// The introspector of one process: the world answers, at the moment at which it is released.
#[derive(Clone)]
pub(super) struct Authority {
    pub(super) journal: SharedJournal,
    pub(super) process: Process,
}

impl Introspect for Authority {
    async fn introspect(&self, ask: Ask<'_>) -> Answer {
        let token = ask.token().expose().strip_prefix("token-").unwrap().parse().unwrap();
        let (number, released) = self.journal.lock().unwrap().ask(self.process, token);
        let _under_way = UnderWay { journal: &self.journal, number };
        if let Some(released) = released {
            released.await.ok();
        }
        let (outcome, issued_at) = self.journal.lock().unwrap().end(number);
        match outcome {
            Outcome::Answered(Truth::Active(facts)) => Ok(Verdict::Active(facts_of(token, number, facts, issued_at))),
            Outcome::Answered(Truth::Inactive(reason)) => Ok(Verdict::Inactive(reason)),
            Outcome::Failed(kind) => Err(IntrospectError::new(kind).with_source(format!("question {number}"))),
            // Like a panic, but says nothing on the terminal.
            Outcome::Panicked | Outcome::TimedOut => std::panic::resume_unwind(Box::new("the introspector panics")),
        }
    }
}

struct UnderWay<'j> {
    journal: &'j SharedJournal,
    number: usize,
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.journal.lock().unwrap().give_up(self.number);
    }
}

/// Of tokio's paused clock.
#[allow(clippy::disallowed_methods)]
fn now() -> Instant {
    Instant::now()
}

/// The clock of a machine, or of the engine: tokio's, and what it is ahead.
#[derive(Clone)]
pub(super) struct WallClock {
    start: Instant,
    offset: Arc<AtomicI64>,
}

impl WallClock {
    pub(super) fn new(offset: i64) -> Self {
        Self { start: now(), offset: Arc::new(AtomicI64::new(offset)) }
    }

    pub(super) fn set(&self, offset: i64) {
        self.offset.store(offset, Ordering::Relaxed);
    }
}

impl Clock for WallClock {
    fn now(&self) -> Timestamp {
        let steady = i64::try_from(self.start.elapsed().as_millis()).unwrap();
        timestamp(steady + self.offset.load(Ordering::Relaxed))
    }
}
