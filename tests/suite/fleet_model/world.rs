//! The reference model: what is true of each token, what time it is, which processes run, and how the authority
//! behaves. It knows nothing of a cache or an engine. All times are milliseconds since the start of the case.

use std::fmt;

use super::selections::Scope;
use crate::model::common::{Facts, Fault, Mark, Status, Token, Truth, When};

pub(super) const TOKENS: usize = 4;
/// The machines on which processes of the fleet may run. The engine has a clock of its own after theirs.
pub(super) const MACHINES: usize = 4;
pub(super) const ENGINE: usize = MACHINES;

/// How the cache of one process is built.
#[derive(Clone, Copy, Debug)]
pub(super) struct Settings {
    pub(super) max_ttl: i64,
    pub(super) inactive_ttl: i64,
    pub(super) expiry_leeway: i64,
    pub(super) stale_if_error: i64,
    pub(super) refresh_ahead: f64,
    pub(super) question_timeout: i64,
}

/// How a case is set up.
#[derive(Clone, Debug)]
pub(super) struct Setting {
    pub(super) machines: Vec<Settings>,
    /// How many of the machines run a process at first.
    pub(super) running: usize,
    /// The lease of a strict fleet.
    pub(super) strict: Option<i64>,
    /// What the clock of each machine, and that of the engine, shows at first.
    pub(super) offsets: Vec<i64>,
    /// The authority states facts and leaves it to others to judge times.
    pub(super) careless: bool,
}

/// What happens next, and how many tasks get a turn after it. `None` has all run until a millisecond is over.
#[derive(Clone, Debug)]
pub(super) struct Step {
    pub(super) operation: Operation,
    pub(super) turns: Option<u8>,
}

#[derive(Clone, Debug)]
pub(super) enum Operation {
    Nothing,
    Issue {
        token: usize,
        expires_in: Option<i64>,
    },
    Approve(usize),
    Revoke(usize),
    Delete(usize),
    Advance(i64),
    /// The clock of a machine, or of the engine, is set forward or back.
    SetClock {
        clock: usize,
        by: i64,
    },
    Fail(Fault),
    Recover,
    /// Questions from now on wait, each until it is released.
    Hold(When),
    Release(usize),
    LetGo,
    Request {
        token: usize,
        machine: usize,
        times: u8,
    },
    HangUp(usize),
    Invalidate {
        scope: Scope,
        machine: usize,
        is_awaited: bool,
    },
    Kill(usize),
    Start(usize),
    Engine(EngineFault),
    /// The same of the line from one machine to the engine.
    Line {
        machine: usize,
        fault: EngineFault,
    },
}

/// What the engine, or the line to it, suffers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EngineFault {
    Heal,
    CutOff,
    Hang,
    Slow(i64),
    Refuse,
    Full,
    RestartEmpty,
    EvictAll,
    EvictLog,
    FailOver(usize),
    /// One byte of each value.
    Tamper(usize),
    SwapValues,
    AppendJunk,
}

#[derive(Clone)]
pub(super) struct World {
    pub(super) setting: Setting,
    pub(super) step: u64,
    pub(super) steady: i64,
    pub(super) tokens: Vec<Token>,
    pub(super) offsets: Vec<i64>,
    pub(super) fault: Option<Fault>,
    pub(super) holding: Option<When>,
    /// When questions may have been asked: the latest few.
    asked_around: Vec<i64>,
}

/// A case that failed shows how it began, and the steps show the rest.
impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        self.setting.fmt(f)
    }
}

impl World {
    pub(super) fn new(setting: Setting) -> Self {
        let offsets = setting.offsets.clone();
        let tokens = vec![Token::unknown(); TOKENS];
        let mut world =
            Self { setting, step: 0, steady: 0, tokens, offsets, fault: None, holding: None, asked_around: Vec::new() };
        // All but the last one are good to begin with.
        (0..TOKENS - 1).for_each(|token| world.set(token, Status::Approved));
        world
    }

    fn set(&mut self, token: usize, status: Status) {
        self.tokens[token].set(status, Mark { step: self.step, steady: self.steady });
    }

    /// The truth, as this authority tells it.
    pub(super) fn answer(&self, token: usize, now: i64) -> Truth {
        let asked = &self.tokens[token];
        if self.setting.careless && asked.status == Status::Approved {
            return Truth::Active(asked.facts);
        }
        asked.truth(now)
    }

    pub(super) fn happen(&mut self, step: &Step) {
        self.step += 1;
        match step.operation {
            Operation::Issue { token, expires_in } => {
                let expires_at = expires_in.map(|time| self.steady + time);
                self.tokens[token].facts = Facts { expires_at, not_before: None };
                self.set(token, Status::Approved);
            }
            Operation::Approve(token) if self.tokens[token].status == Status::Revoked => {
                self.set(token, Status::Approved);
            }
            Operation::Revoke(token) if self.tokens[token].status == Status::Approved => {
                self.set(token, Status::Revoked);
            }
            Operation::Delete(token) => self.set(token, Status::Unknown),
            Operation::SetClock { clock, by } => self.offsets[clock] += by,
            Operation::Fail(fault) => self.fault = Some(fault),
            Operation::Recover => self.fault = None,
            Operation::Hold(when) => self.holding = Some(when),
            Operation::LetGo => self.holding = None,
            _ => {}
        }
        if matches!(step.operation, Operation::Request { .. } | Operation::Release(_) | Operation::LetGo) {
            self.asked_around.push(self.steady);
            if self.asked_around.len() > 6 {
                self.asked_around.remove(0);
            }
        }
    }

    /// How much time a step takes.
    pub(super) fn takes(step: &Step) -> i64 {
        let moves_on = match step.operation {
            Operation::Advance(time) => time,
            _ => 0,
        };
        moves_on + i64::from(step.turns.is_none())
    }

    /// How far ahead the moments are at which something may end, and the moments beside them.
    pub(super) fn times_ahead(&self) -> Vec<i64> {
        let first = self.setting.machines.iter().take(2).chain([&self.setting.machines[MACHINES - 1]]);
        let answers = first.flat_map(|of| {
            self.asked_around.iter().flat_map(|asked_at| {
                [of.max_ttl, of.inactive_ttl, of.max_ttl + of.stale_if_error, of.question_timeout, 250]
                    .map(|time| asked_at + time)
            })
        });
        let ends = self.tokens.iter().filter_map(|token| token.facts.expires_at);
        let moments = answers.chain(ends).flat_map(|moment| [moment - 1, moment, moment + 1]);
        let mut ahead: Vec<_> = moments.map(|moment| moment - self.steady).filter(|&ahead| ahead > 0).collect();
        ahead.push(1);
        ahead
    }
}
