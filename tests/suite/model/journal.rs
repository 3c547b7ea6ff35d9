//! What happened: every question, every answer, every invalidation, in one order. The rules read it.

use std::sync::{Arc, Mutex};
use tower_introspection::introspect::Ask;

use tokio::sync::oneshot;
use tower_introspection::introspect::IntrospectErrorKind;
use tower_introspection::{AccessToken, BearerToken, Introspect, IntrospectError, Verdict};

use super::common::{Facts, Fault, Outcome, Truth, When, millis, timestamp};
use super::world::{CLIENTS, World};
use crate::support::Answer;

/// For so long a circuit breaker says that it will be open.
pub(super) const BREAKER_PAUSE: i64 = 5_000;

#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    /// Its number among all moments.
    pub(super) event: u64,
    /// After which step of the world.
    pub(super) step: u64,
    pub(super) wall: i64,
    pub(super) steady: i64,
}

impl Moment {
    /// By how much the clock was set back between the two.
    pub(super) fn set_back_since(&self, earlier: &Moment) -> i64 {
        (self.steady - self.wall) - (earlier.steady - earlier.wall)
    }
}

#[derive(Debug)]
pub(super) struct Question {
    pub(super) token: usize,
    /// About a token that the cache knew as active.
    pub(super) known: bool,
    pub(super) asked: Moment,
    pub(super) ended: Option<(Moment, Outcome)>,
    looked_up: Option<Outcome>,
    held: Option<oneshot::Sender<()>>,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Scope {
    Token(usize),
    All,
    Client(usize),
}

impl Scope {
    /// Whether it concerns whatever is known of the token.
    pub(super) fn is_about(self, token: usize) -> bool {
        match self {
            Scope::Token(one) => one == token,
            Scope::All => true,
            Scope::Client(_) => false,
        }
    }

    /// Whether it concerns the token if that is active.
    pub(super) fn is_about_active(self, token: usize) -> bool {
        self.is_about(token) || matches!(self, Scope::Client(client) if client == client_of(token))
    }
}

pub(super) fn client_of(token: usize) -> usize {
    token % CLIENTS
}

pub(super) struct Journal {
    pub(super) world: World,
    events: u64,
    pub(super) questions: Vec<Question>,
    pub(super) invalidations: Vec<(Moment, Scope)>,
    /// What went against the rules.
    pub(super) violations: Vec<String>,
}

pub(super) type SharedJournal = Arc<Mutex<Journal>>;

impl Journal {
    pub(super) fn new(world: World) -> SharedJournal {
        Arc::new(Mutex::new(Self {
            world,
            events: 0,
            questions: Vec::new(),
            invalidations: Vec::new(),
            violations: Vec::new(),
        }))
    }

    pub(super) fn moment(&mut self) -> Moment {
        self.events += 1;
        let World { step, wall, steady, .. } = self.world;
        Moment { event: self.events, step, wall, steady }
    }

    pub(super) fn require(&mut self, holds: bool, rule: impl FnOnce() -> String) {
        if !holds {
            let step = self.world.step;
            self.violations.push(format!("after step {step}: {}", rule()));
        }
    }

    pub(super) fn invalidated(&mut self, scope: Scope) {
        let moment = self.moment();
        self.invalidations.push((moment, scope));
    }

    fn ask(&mut self, token: usize, known: bool) -> (usize, Option<oneshot::Receiver<()>>) {
        let asked = self.moment();
        let under_way = self.questions.iter().filter(|question| question.ended.is_none());
        let same_token = under_way.clone().filter(|question| question.token == token).count();
        let same_share = under_way.filter(|question| question.known == known).count();
        self.require(same_token == 0, || format!("two questions about token {token} are under way"));
        let limit = self.world.settings.max_questions;
        self.require(same_share < limit, || format!("{same_share} questions (known: {known}) and one more"));
        let (held, looked_up, released) = match self.world.holding {
            Some(when) => {
                let (held, released) = oneshot::channel();
                let looked_up = matches!(when, When::Asked).then(|| self.look_up(token));
                (Some(held), looked_up, Some(released))
            }
            None => (None, None, None),
        };
        self.questions.push(Question { token, known, asked, ended: None, looked_up, held });
        (self.questions.len() - 1, released)
    }

    fn look_up(&self, token: usize) -> Outcome {
        match self.world.fault {
            Some(Fault::Fails(kind)) => Outcome::Failed(kind),
            Some(Fault::Panics) => Outcome::Panicked,
            None => Outcome::Answered(self.world.answer(token)),
        }
    }

    fn end(&mut self, number: usize) -> Outcome {
        let ended = self.moment();
        let token = self.questions[number].token;
        let outcome = self.questions[number].looked_up.unwrap_or_else(|| self.look_up(token));
        let outcome = match outcome {
            // An introspector says active only of what is active now.
            Outcome::Answered(Truth::Active(facts)) if !self.world.settings.careless => {
                Outcome::Answered(facts.judge(ended.wall).map_or_else(Truth::Inactive, |()| Truth::Active(facts)))
            }
            outcome => outcome,
        };
        self.questions[number].ended = Some((ended, outcome));
        outcome
    }

    fn give_up(&mut self, number: usize) {
        if self.questions[number].ended.is_none() {
            let ended = self.moment();
            self.questions[number].ended = Some((ended, Outcome::TimedOut));
        }
    }

    /// Lets the answer go of one of the questions that are held.
    pub(super) fn release(&mut self, index: usize) {
        let mut held: Vec<_> = self.questions.iter_mut().filter_map(|question| question.held.as_mut()).collect();
        held.retain(|held| !held.is_closed());
        if held.is_empty() {
            return;
        }
        let index = index % held.len();
        let mut held = self.questions.iter_mut().filter(|question| {
            let held = question.held.as_ref();
            held.is_some_and(|held| !held.is_closed())
        });
        if let Some(held) = held.nth(index).and_then(|question| question.held.take()) {
            held.send(()).ok();
        }
    }

    pub(super) fn release_all(&mut self) {
        for question in &mut self.questions {
            if let Some(held) = question.held.take() {
                held.send(()).ok();
            }
        }
    }
}

/// The introspector of the model: the world answers, at the moment at which it is released.
#[derive(Clone)]
pub(super) struct Authority(pub(super) SharedJournal);

impl Authority {
    async fn ask(&self, token: &BearerToken<'_>, known: bool) -> Answer {
        let token = token.expose().strip_prefix("token-").unwrap().parse().unwrap();
        let (number, released) = self.0.lock().unwrap().ask(token, known);
        let _under_way = UnderWay { journal: &self.0, number };
        if let Some(released) = released {
            released.await.ok();
        }
        let outcome = self.0.lock().unwrap().end(number);
        match outcome {
            Outcome::Answered(Truth::Active(facts)) => Ok(Verdict::Active(facts_of(token, number, facts))),
            Outcome::Answered(Truth::Inactive(reason)) => Ok(Verdict::Inactive(reason)),
            Outcome::Failed(kind) => {
                let error = IntrospectError::new(kind).with_source(format!("question {number}"));
                let is_open = kind == IntrospectErrorKind::CircuitOpen;
                Err(if is_open { error.with_retry_after(millis(BREAKER_PAUSE)) } else { error })
            }
            // Like a panic, but says nothing on the terminal.
            Outcome::Panicked | Outcome::TimedOut => std::panic::resume_unwind(Box::new("the introspector panics")),
        }
    }
}

impl Introspect for Authority {
    async fn introspect(&self, ask: Ask<'_>) -> Answer {
        self.ask(ask.token(), ask.is_known()).await
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

fn facts_of(token: usize, question: usize, facts: Facts) -> AccessToken {
    let builder = AccessToken::builder().client_id(client_of(token).to_string()).claim("question", question).unwrap();
    let builder = match facts.expires_at {
        Some(expires_at) => builder.expires_at(timestamp(expires_at)),
        None => builder,
    };
    match facts.not_before {
        Some(not_before) => builder.not_before(timestamp(not_before)).build(),
        None => builder.build(),
    }
}
