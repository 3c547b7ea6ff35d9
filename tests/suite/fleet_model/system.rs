//! The system under test: the processes of a fleet on one engine in memory, on a runtime whose tasks run one at a time
//! and whose clock stands still but when nothing else moves.

use proptest_state_machine::StateMachineTest;
use tokio::runtime::{Builder, Runtime};
use tower_introspection::fleet::MemoryEngine;

use super::journal::{Journal, Process, SharedJournal, WallClock};
use super::process::Running;
use super::reached::Reached;
use super::selections::Scope;
use super::world::{ENGINE, EngineFault, MACHINES, Operation, Step, TOKENS, World};
use crate::model::common::{Ending, Truth, millis};

/// After at most so many seconds whatever waits for the engine is done, and the door to it is open again.
const HEALING: usize = 20;
/// A clock of the engine that is set forward by this makes it let go of records that were not read yet.
const RETENTION: i64 = 30_000;

pub(super) struct System {
    runtime: Runtime,
    journal: SharedJournal,
    engine: MemoryEngine,
    /// To the engine, from each machine.
    lines: Vec<MemoryEngine>,
    clocks: Vec<WallClock>,
    machines: Vec<Option<Running>>,
    started: usize,
}

impl System {
    pub(super) fn new(world: &World) -> Self {
        // One task, and it is the test's turn again.
        let runtime = Builder::new_current_thread().enable_time().start_paused(true).event_interval(1).build().unwrap();
        let (journal, clocks) = runtime.block_on(async {
            let clocks: Vec<_> = world.offsets.iter().map(|&offset| WallClock::new(offset)).collect();
            (Journal::new(world.clone()), clocks)
        });
        let engine = MemoryEngine::with_clock(clocks[ENGINE].clone());
        let lines = (0..MACHINES).map(|_| engine.line()).collect();
        let machines = (0..MACHINES).map(|_| None).collect();
        let mut system = Self { runtime, journal, engine, lines, clocks, machines, started: 0 };
        (0..world.setting.running).for_each(|machine| system.start(world, machine));
        system
    }

    fn start(&mut self, world: &World, machine: usize) {
        if self.machines[machine].is_none() {
            let process = Process { machine, number: self.started };
            let _guard = self.runtime.enter();
            let clock = &self.clocks[machine];
            let running = Running::start(process, &world.setting, &self.lines[machine], clock, &self.journal);
            self.machines[machine] = Some(running);
            self.started += 1;
        }
    }

    fn kill(&mut self, machine: usize) {
        if let Some(running) = self.machines[machine].take() {
            let _guard = self.runtime.enter();
            Reached::note_stats(&running.stats());
            drop(running);
        }
    }

    /// The process on that machine, or else on the next one that runs one.
    fn running(&mut self, machine: usize) -> Option<&mut Running> {
        let (before, from) = self.machines.split_at_mut(machine);
        from.iter_mut().chain(before).flatten().next()
    }

    pub(super) fn step(&mut self, world: &World, step: &Step) {
        self.journal.lock().unwrap().world_is(world);
        for (clock, &offset) in self.clocks.iter().zip(&world.offsets) {
            clock.set(offset);
        }
        self.perform(world, &step.operation);
        let takes = World::takes(step);
        self.runtime.block_on(async {
            for _ in 0..step.turns.unwrap_or(0) {
                tokio::task::yield_now().await;
            }
            if takes > 0 {
                // The paused clock moves on when nothing else does.
                tokio::time::sleep(millis(takes)).await;
            }
        });
        assert_eq!(self.steady(), world.steady, "the steps of the world take as long as those of the system");
        let _guard = self.runtime.enter();
        self.machines.iter().flatten().for_each(Running::note_read);
        self.check();
    }

    fn perform(&mut self, world: &World, operation: &Operation) {
        let runtime = self.runtime.handle().clone();
        let _guard = runtime.enter();
        match *operation {
            Operation::Release(index) => self.journal.lock().unwrap().release(index),
            Operation::LetGo => self.journal.lock().unwrap().release_all(),
            Operation::Request { token, machine, times } => {
                if let Some(running) = self.running(machine) {
                    (0..times).for_each(|_| running.request(token));
                }
            }
            Operation::HangUp(index) => {
                if let Some(running) = self.running(index % MACHINES) {
                    running.hang_up(index);
                }
            }
            Operation::Invalidate { scope, machine, is_awaited } => {
                if let Some(running) = self.running(machine) {
                    running.invalidate(scope, is_awaited);
                }
            }
            Operation::Kill(machine) => self.kill(machine),
            Operation::Start(machine) => self.start(world, machine),
            Operation::Engine(fault) => self.engine_suffers(fault),
            Operation::Line { machine, fault } => {
                Reached::note_line_fault();
                suffers(&self.lines[machine], fault);
            }
            Operation::SetClock { clock: ENGINE, by } if by >= RETENTION => {
                self.journal.lock().unwrap().loses_records();
            }
            _ => {}
        }
    }

    fn engine_suffers(&self, fault: EngineFault) {
        Reached::note_fault(fault);
        suffers(&self.engine, fault);
        if fault == EngineFault::Heal {
            self.lines.iter().for_each(|line| suffers(line, fault));
        }
        if matches!(fault, EngineFault::RestartEmpty | EngineFault::EvictLog | EngineFault::FailOver(1..)) {
            self.journal.lock().unwrap().loses_records();
        }
    }

    fn steady(&self) -> i64 {
        let _guard = self.runtime.enter();
        self.journal.lock().unwrap().steady()
    }

    fn check(&self) {
        let journal = self.journal.lock().unwrap();
        if !journal.violations.is_empty() {
            let violations = journal.violations.join("\n");
            let questions: Vec<_> = journal.questions.iter().enumerate().collect();
            panic!("{violations}\nquestions: {questions:#?}\ninvalidations: {:?}", journal.invalidations);
        }
    }

    pub(super) fn play(&mut self, world: &mut World, operation: Operation) {
        let step = Step { operation, turns: None };
        world.steady = self.steady();
        world.happen(&step);
        world.steady += World::takes(&step);
        self.step(world, &step);
    }

    /// When all is healed every request ends, gets what is true, and the processes share again.
    pub(super) fn end(mut self, mut world: World) {
        for operation in [Operation::Engine(EngineFault::Heal), Operation::Recover, Operation::LetGo] {
            self.play(&mut world, operation);
        }
        (0..MACHINES).for_each(|machine| self.play(&mut world, Operation::Start(machine)));
        for second in 1.. {
            self.play(&mut world, Operation::Advance(1_000));
            let unhealed = self.unhealed().or_else(|| self.unshared(&mut world));
            let Some(unhealed) = unhealed else { break };
            assert!(second < HEALING, "at last, {unhealed}");
        }
        self.all_get_what_is_true();
        (0..MACHINES).for_each(|machine| self.kill(machine));
    }

    /// What is not as it is without a fault.
    fn unhealed(&mut self) -> Option<String> {
        let _guard = self.runtime.enter();
        self.machines.iter_mut().flatten().find_map(|running| {
            let (waiting, stats) = (running.waiting(), running.stats());
            let is_healed = waiting == 0 && stats.is_reading && stats.queued == 0;
            (!is_healed).then(|| format!("{waiting} wait in {:?}, {stats:?}", running.process))
        })
    }

    /// What all processes forget, one of them asks about, for all.
    fn unshared(&mut self, world: &mut World) -> Option<String> {
        self.play(world, Operation::Issue { token: 0, expires_in: None });
        self.play(world, Operation::Invalidate { scope: Scope::All, machine: 0, is_awaited: true });
        self.play(world, Operation::Advance(200));
        let before = self.journal.lock().unwrap().questions.len();
        let shares = |running: &&Running| world.setting.machines[running.process.machine].max_ttl > 0;
        let sharing: Vec<_> = self.machines.iter().flatten().filter(shares).collect();
        for running in &sharing {
            self.runtime.block_on(running.answer(0));
        }
        let questions = self.journal.lock().unwrap().questions.len() - before;
        (questions > 1).then(|| format!("{questions} questions were asked by {} processes", sharing.len()))
    }

    fn all_get_what_is_true(&self) {
        for token in 0..TOKENS {
            for running in self.machines.iter().flatten() {
                let ending = self.runtime.block_on(running.answer(token));
                let _guard = self.runtime.enter();
                let mut journal = self.journal.lock().unwrap();
                let truth = match journal.world.answer(token, journal.steady()) {
                    Truth::Active(facts) => match facts.judge(journal.wall(running.process.machine)) {
                        Ok(()) => Truth::Active(facts),
                        Err(reason) => Truth::Inactive(reason),
                    },
                    inactive => inactive,
                };
                let holds = match truth {
                    Truth::Active(_) => matches!(ending, Ending::Accepted { stale: false, .. }),
                    Truth::Inactive(reason) => ending == Ending::Rejected(reason),
                };
                journal.require(holds, || {
                    format!("at last, token {token} is {truth:?} to {:?} but {ending:?}", running.process)
                });
            }
        }
        self.check();
    }
}

fn suffers(engine: &MemoryEngine, fault: EngineFault) {
    match fault {
        EngineFault::Heal => {
            engine.cut_off(false);
            engine.hang(false);
            engine.slow(millis(0));
            engine.refuse(false);
            engine.full(false);
        }
        EngineFault::CutOff => engine.cut_off(true),
        EngineFault::Hang => engine.hang(true),
        EngineFault::Slow(takes) => engine.slow(millis(takes)),
        EngineFault::Refuse => engine.refuse(true),
        EngineFault::Full => engine.full(true),
        EngineFault::RestartEmpty => engine.restart_empty(),
        EngineFault::EvictAll => engine.evict_all(),
        EngineFault::EvictLog => engine.evict_log(),
        EngineFault::FailOver(losing) => engine.fail_over(losing),
        EngineFault::Tamper(position) => engine.tamper(|bytes| {
            let position = position % bytes.len().max(1);
            bytes.iter_mut().skip(position).take(1).for_each(|byte| *byte ^= 1);
        }),
        EngineFault::SwapValues => drop(engine.swap_values()),
        EngineFault::AppendJunk => engine.append_junk(),
    }
}

impl StateMachineTest for System {
    type SystemUnderTest = Self;
    type Reference = World;

    fn init_test(world: &World) -> Self {
        Self::new(world)
    }

    fn apply(mut system: Self, world: &World, step: Step) -> Self {
        system.step(world, &step);
        system
    }

    fn teardown(system: Self, world: World) {
        system.end(world);
    }
}
