//! How cases are drawn: settings, and one operation after the other.

use proptest::prelude::*;
use proptest::sample::select;
use proptest_state_machine::ReferenceStateMachine;
use tower_introspection::introspect::IntrospectErrorKind;

use super::selections::scope;
use super::world::{EngineFault, MACHINES, Operation, Setting, Settings, Step, TOKENS, World};
use crate::model::common::{Fault, When};

const HOUR: i64 = 3_600_000;

fn settings() -> impl Strategy<Value = Settings> {
    let times = (select(vec![1_000, 3_000, 500, 6_000, 0]), select(vec![1_000, 500, 0]), select(vec![0, 0, 0, 300]));
    let more = (select(vec![0, 1_000, 4_000]), select(vec![0.0, 0.5]), select(vec![1_000, 400, 2_000]));
    (times, more).prop_map(
        |((max_ttl, inactive_ttl, expiry_leeway), (stale_if_error, refresh_ahead, question_timeout))| Settings {
            max_ttl,
            inactive_ttl,
            expiry_leeway,
            stale_if_error,
            refresh_ahead,
            question_timeout,
        },
    )
}

fn setting() -> impl Strategy<Value = Setting> {
    let machines = prop::collection::vec(settings(), MACHINES);
    let offsets = prop::collection::vec(select(vec![0, 0, 0, 0, 400, -700, 3_000, HOUR, -2 * HOUR]), MACHINES + 1);
    let strict = select(vec![None, None, Some(1_000), Some(2_000)]);
    (machines, 2..=MACHINES, strict, offsets, any::<bool>()).prop_map(
        |(machines, running, strict, offsets, careless)| Setting { machines, running, strict, offsets, careless },
    )
}

const FAULTS: [Fault; 6] = [
    Fault::Fails(IntrospectErrorKind::Connect),
    Fault::Fails(IntrospectErrorKind::Connect),
    Fault::Fails(IntrospectErrorKind::Timeout),
    Fault::Fails(IntrospectErrorKind::Status),
    Fault::Fails(IntrospectErrorKind::Answer),
    Fault::Panics,
];

const ENGINE_FAULTS: [EngineFault; 21] = [
    EngineFault::CutOff,
    EngineFault::CutOff,
    EngineFault::Hang,
    EngineFault::Hang,
    EngineFault::Slow(4),
    EngineFault::Slow(30),
    EngineFault::Slow(80),
    EngineFault::Slow(700),
    EngineFault::Refuse,
    EngineFault::Full,
    EngineFault::Full,
    EngineFault::RestartEmpty,
    EngineFault::EvictAll,
    EngineFault::EvictLog,
    EngineFault::FailOver(0),
    EngineFault::FailOver(1),
    EngineFault::FailOver(4),
    EngineFault::Tamper(22),
    EngineFault::Tamper(60),
    EngineFault::SwapValues,
    EngineFault::AppendJunk,
];

const LINE_FAULTS: [EngineFault; 8] = [
    EngineFault::Heal,
    EngineFault::Heal,
    EngineFault::CutOff,
    EngineFault::CutOff,
    EngineFault::Hang,
    EngineFault::Slow(30),
    EngineFault::Slow(700),
    EngineFault::Refuse,
];

/// How long new tokens live.
const LIVES: [Option<i64>; 7] = [None, None, None, Some(5_000), Some(1_500), Some(300), Some(HOUR + 2_000)];

const CLOCK_STEPS: [i64; 8] = [-1, -200, -200, -400, -2_500, 700, 5_000, HOUR];

/// Chance, as numbers: one strategy for all operations is a great deal faster than one for each.
#[derive(Clone, Copy, Debug)]
struct Chance {
    operation: u32,
    token: usize,
    machine: usize,
    one: usize,
    other: usize,
}

impl Chance {
    /// Mostly the first ones, so that much happens to one token.
    fn token(self) -> usize {
        match self.token {
            0..7 => 0,
            7..9 => 1,
            _ => 2 + self.other % (TOKENS - 2),
        }
    }

    fn one_of<T: Copy>(self, choices: &[T]) -> T {
        choices[self.one % choices.len()]
    }

    /// The operations that change least come first: a failure shrinks to them.
    fn operation(self, world: &World) -> Operation {
        let (token, machine) = (self.token(), self.machine);
        let time = i64::try_from(self.one).unwrap();
        match self.operation {
            0..1 => Operation::Nothing,
            1..4 => Operation::Recover,
            4..9 => Operation::LetGo,
            9..15 => Operation::Release(self.one % 4),
            15..17 => Operation::HangUp(self.one % 4),
            17..55 => Operation::Request { token, machine, times: [1, 1, 2][self.other % 3] },
            55..62 => Operation::Advance(self.one_of(&world.times_ahead())),
            62..70 => Operation::Advance(time % 250 + 1),
            70..73 => Operation::Advance(time % 2_500 + 1),
            73..78 => Operation::Revoke(token),
            78..82 => Operation::Approve(token),
            82..83 => Operation::Delete(token),
            83..86 => Operation::Issue { token, expires_in: self.one_of(&LIVES) },
            86..90 => Operation::Fail(self.one_of(&FAULTS)),
            90..94 => Operation::Hold(self.one_of(&[When::Asked, When::Released])),
            94..102 => Operation::Invalidate {
                scope: scope(self.one, token, world.steady),
                machine,
                is_awaited: !self.other.is_multiple_of(4),
            },
            102..104 => Operation::Kill(machine),
            104..107 => Operation::Start(machine),
            107..112 => Operation::Engine(EngineFault::Heal),
            112..119 => Operation::Engine(self.one_of(&ENGINE_FAULTS)),
            119..125 => Operation::Line { machine, fault: self.one_of(&LINE_FAULTS) },
            _ => Operation::SetClock { clock: self.other % (MACHINES + 1), by: self.one_of(&CLOCK_STEPS) },
        }
    }
}

const OPERATIONS: u32 = 126;
const CHANCES: usize = 1 << 12;

impl ReferenceStateMachine for World {
    type State = Self;
    type Transition = Step;

    fn init_state() -> BoxedStrategy<Self> {
        setting().prop_map(World::new).boxed()
    }

    fn transitions(world: &Self) -> BoxedStrategy<Step> {
        let world = world.clone();
        ((0..OPERATIONS, 0..10_usize, 0..MACHINES), 0..CHANCES, 0..CHANCES, 0..10_u8)
            .prop_map(move |((operation, token, machine), one, other, turns)| Step {
                operation: Chance { operation, token, machine, one, other }.operation(&world),
                turns: (turns >= 7).then(|| turns - 7),
            })
            .boxed()
    }

    fn apply(mut world: Self, step: &Step) -> Self {
        world.happen(step);
        world.steady += Self::takes(step);
        world
    }
}
