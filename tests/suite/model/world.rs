//! The reference model: what is true of each token, what time it is, and how the authority behaves. It knows nothing of
//! a cache. All times are milliseconds since the start of the case.

use std::fmt;
use std::iter;

use proptest::prelude::*;
use proptest::sample::select;
use proptest_state_machine::ReferenceStateMachine;
use tower_introspection::introspect::IntrospectErrorKind;

use super::common::{Facts, Fault, Mark, Status, Token, Truth, When};

pub(super) const TOKENS: usize = 4;
pub(super) const CLIENTS: usize = 2;

/// How a cache is built.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) max_ttl: i64,
    pub(super) inactive_ttl: i64,
    pub(super) expiry_leeway: i64,
    pub(super) refresh_ahead: f64,
    pub(super) stale_if_error: i64,
    pub(super) max_capacity: u64,
    pub(super) inactive_capacity: u64,
    pub(super) max_questions: usize,
    /// The authority states facts and leaves it to others to judge times: "active" may come with an expiry in the past.
    pub(super) careless: bool,
}

/// What happens next, and how many tasks get a turn after it. `None` has all run until nothing moves any more.
#[derive(Clone, Debug)]
pub(super) struct Step {
    pub(super) operation: Operation,
    pub(super) turns: Option<u8>,
}

#[derive(Clone, Debug)]
pub(super) enum Operation {
    Issue {
        token: usize,
        expires_in: Option<i64>,
        valid_in: Option<i64>,
    },
    Approve(usize),
    Revoke(usize),
    Delete(usize),
    Advance(i64),
    SetBack(i64),
    Fail(Fault),
    Recover,
    /// Questions from now on wait, each until it is released.
    Hold(When),
    Release(usize),
    LetGo,
    /// The time for every question under way is up.
    TimeOut,
    Request {
        token: usize,
        by: Way,
        times: u8,
    },
    HangUp(usize),
    Invalidate(usize),
    InvalidateAll,
    InvalidateClient(usize),
    Stats,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Way {
    Cache,
    Layer,
}

#[derive(Clone)]
pub(super) struct World {
    pub(super) settings: Settings,
    pub(super) step: u64,
    /// What the clock on the wall shows.
    pub(super) wall: i64,
    /// How much time has passed: the same, unless the clock was set back.
    pub(super) steady: i64,
    pub(super) tokens: Vec<Token>,
    pub(super) fault: Option<Fault>,
    pub(super) holding: Option<When>,
    /// When questions may have been asked, by the clock on the wall: the latest few.
    asked_around: Vec<i64>,
}

/// A case that failed shows how it began, and the steps show the rest.
impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        self.settings.fmt(f)
    }
}

impl World {
    pub(super) fn new(settings: Settings) -> Self {
        let mut world = Self {
            settings,
            step: 0,
            wall: 0,
            steady: 0,
            tokens: vec![Token::unknown(); TOKENS],
            fault: None,
            holding: None,
            asked_around: Vec::new(),
        };
        // All but the last one are good to begin with.
        (0..TOKENS - 1).for_each(|token| world.set(token, Status::Approved));
        world
    }

    fn mark(&self) -> Mark {
        Mark { step: self.step, steady: self.steady }
    }

    /// The whole truth at this moment.
    pub(super) fn truth(&self, token: usize) -> Truth {
        self.tokens[token].truth(self.wall)
    }

    /// The truth as this authority tells it.
    pub(super) fn answer(&self, token: usize) -> Truth {
        let asked = &self.tokens[token];
        if self.settings.careless && asked.status == Status::Approved {
            return Truth::Active(asked.facts);
        }
        self.truth(token)
    }

    fn set(&mut self, token: usize, status: Status) {
        let mark = self.mark();
        self.tokens[token].set(status, mark);
    }

    pub(super) fn happen(&mut self, operation: &Operation) {
        self.step += 1;
        match *operation {
            Operation::Issue { token, expires_in, valid_in } => {
                let from_now = |time: i64| self.wall + time;
                let facts = Facts { expires_at: expires_in.map(from_now), not_before: valid_in.map(from_now) };
                self.tokens[token].facts = facts;
                self.set(token, Status::Approved);
            }
            Operation::Approve(token) if self.tokens[token].status == Status::Revoked => {
                self.set(token, Status::Approved);
            }
            Operation::Revoke(token) if self.tokens[token].status == Status::Approved => {
                self.set(token, Status::Revoked);
            }
            Operation::Delete(token) => self.set(token, Status::Unknown),
            Operation::Advance(time) => {
                self.wall += time;
                self.steady += time;
            }
            Operation::SetBack(time) => self.wall -= time,
            Operation::Fail(fault) => self.fault = Some(fault),
            Operation::Recover => self.fault = None,
            Operation::Hold(when) => self.holding = Some(when),
            Operation::LetGo => self.holding = None,
            _ => {}
        }
        if matches!(operation, Operation::Request { .. } | Operation::Release(_) | Operation::LetGo) {
            self.asked_around.push(self.wall);
            if self.asked_around.len() > 8 {
                self.asked_around.remove(0);
            }
        }
    }

    /// How far ahead the moments are at which something may end or begin, and the moments beside them.
    fn times_ahead(&self) -> Vec<i64> {
        let Settings { max_ttl, inactive_ttl, expiry_leeway, stale_if_error, .. } = self.settings;
        // The first token, to which most happens, counts for more.
        let tokens = self.tokens.iter().chain(iter::repeat_n(&self.tokens[0], 2));
        let facts = tokens.flat_map(|token| {
            let end = token.facts.expires_at;
            [end, end.map(|end| end - expiry_leeway), token.facts.not_before].into_iter().flatten()
        });
        let answers = self.asked_around.iter().flat_map(|asked_at| {
            [max_ttl, max_ttl * 9 / 10, inactive_ttl, max_ttl + stale_if_error, 1_000].map(|time| asked_at + time)
        });
        let moments = facts.chain(answers).flat_map(|moment| [moment - 1, moment, moment, moment + 1]);
        let mut ahead: Vec<_> = moments.map(|moment| moment - self.wall).filter(|&ahead| ahead > 0).collect();
        ahead.push(1);
        ahead
    }
}

pub(super) fn settings() -> impl Strategy<Value = Settings> {
    let times = (
        select(vec![60_000, 10_000, 1_000, 0]),
        select(vec![10_000, 30_000, 1_000, 0]),
        select(vec![0, 0, 1_000, 5_000]),
        select(vec![0, 60_000, 60_000, 5_000]),
        select(vec![0.0, 0.2, 0.5, 1.0]),
    );
    let sizes = (
        select(vec![100, 100, 4, 4, 3, 2, 1, 0]),
        select(vec![100, 2, 1, 0]),
        select(vec![100, 3, 2, 1]),
        any::<bool>(),
    );
    (times, sizes).prop_map(|(times, sizes)| {
        let (max_ttl, inactive_ttl, expiry_leeway, stale_if_error, refresh_ahead) = times;
        let (max_capacity, inactive_capacity, max_questions, careless) = sizes;
        Settings {
            max_ttl,
            inactive_ttl,
            expiry_leeway,
            refresh_ahead,
            stale_if_error,
            max_capacity,
            inactive_capacity,
            max_questions,
            careless,
        }
    })
}

const FAULTS: [Fault; 10] = [
    Fault::Fails(IntrospectErrorKind::Connect),
    Fault::Fails(IntrospectErrorKind::Transport),
    Fault::Fails(IntrospectErrorKind::Timeout),
    Fault::Fails(IntrospectErrorKind::Credentials),
    Fault::Fails(IntrospectErrorKind::RateLimited),
    Fault::Fails(IntrospectErrorKind::Status),
    Fault::Fails(IntrospectErrorKind::Answer),
    Fault::Fails(IntrospectErrorKind::Overloaded),
    Fault::Fails(IntrospectErrorKind::CircuitOpen),
    Fault::Panics,
];

/// How long new tokens live, and when they begin to.
const LIVES: [Option<i64>; 9] =
    [None, None, Some(90_000), Some(90_000), Some(30_000), Some(30_000), Some(5_000), Some(500), Some(0)];
const STARTS: [Option<i64>; 8] = [None, None, None, None, None, None, Some(500), Some(15_000)];

/// Chance, as numbers: one strategy for all operations is a great deal faster than one for each.
#[derive(Clone, Copy, Debug)]
struct Chance {
    operation: u32,
    token: usize,
    one: usize,
    other: usize,
}

impl Chance {
    /// Mostly the first ones, so that much happens to one token.
    fn token(self) -> usize {
        match self.token {
            0..6 => 0,
            6..9 => 1,
            _ => 2 + self.other % (TOKENS - 2),
        }
    }

    fn one_of<T: Copy>(self, choices: &[T]) -> T {
        choices[self.one % choices.len()]
    }

    fn other_of<T: Copy>(self, choices: &[T]) -> T {
        choices[self.other % choices.len()]
    }

    /// The operations that change least come first: a failure shrinks to them.
    fn operation(self, world: &World) -> Operation {
        let token = self.token();
        let time = i64::try_from(self.one * CHANCES + self.other).unwrap();
        match self.operation {
            0..2 => Operation::Stats,
            2..5 => Operation::Recover,
            5..12 => Operation::LetGo,
            12..22 => Operation::Release(self.one % 4),
            22..24 => Operation::HangUp(self.one % 4),
            24..54 => Operation::Request {
                token,
                by: self.one_of(&[Way::Cache, Way::Cache, Way::Cache, Way::Layer]),
                times: self.other_of(&[1, 1, 2]),
            },
            54..68 => Operation::Advance(self.one_of(&world.times_ahead())),
            68..71 => Operation::Advance(time % 2_000 + 1),
            71..73 => Operation::Advance(time % 200_000 + 1),
            73..78 => Operation::Revoke(token),
            78..82 => Operation::Approve(token),
            82..83 => Operation::Delete(token),
            83..89 => Operation::Issue { token, expires_in: self.one_of(&LIVES), valid_in: self.other_of(&STARTS) },
            89..94 => Operation::Fail(self.one_of(&FAULTS)),
            94..98 => Operation::Hold(self.one_of(&[When::Asked, When::Released])),
            98..102 => Operation::Invalidate(token),
            102..103 => Operation::InvalidateAll,
            103..104 => Operation::InvalidateClient(token % CLIENTS),
            104..105 => Operation::TimeOut,
            _ => Operation::SetBack(time % 3_000 + 1),
        }
    }
}

const OPERATIONS: u32 = 106;
const CHANCES: usize = 1 << 12;

impl ReferenceStateMachine for World {
    type State = Self;
    type Transition = Step;

    fn init_state() -> BoxedStrategy<Self> {
        settings().prop_map(World::new).boxed()
    }

    fn transitions(world: &Self) -> BoxedStrategy<Step> {
        let world = world.clone();
        (0..OPERATIONS, 0..10_usize, 0..CHANCES, 0..CHANCES, 0..14_u8)
            .prop_map(move |(operation, token, one, other, turns)| Step {
                operation: Chance { operation, token, one, other }.operation(&world),
                turns: (turns >= 10).then(|| turns - 10),
            })
            .boxed()
    }

    fn apply(mut world: Self, step: &Step) -> Self {
        world.happen(&step.operation);
        world
    }
}
