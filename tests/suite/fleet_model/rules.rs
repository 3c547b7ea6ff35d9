//! What has to be true of each request that has ended, given all that happened.

use tower_introspection::InactiveReason;
use tower_introspection::cache::Reach;
use tower_introspection::introspect::IntrospectErrorKind;

use super::journal::{Invalidated, Journal, Moment, Process, Question};
use super::world::Settings;
use crate::model::common::{Ending, Outcome, Truth};

/// As long as a request may wait for the engine.
const ENGINE_TIME: i64 = 50;
/// The lease of a process that died ends within this time.
const LEASE: i64 = 250;
/// So often a flight asks whose answers are invalidated.
const MOST_QUESTIONS: i64 = 3;
/// What is this long ago disturbs no flight any more.
const LONG_AGO: i64 = 5_000;

/// A request that has ended.
#[derive(Clone, Copy, Debug)]
pub(super) struct Request {
    pub(super) token: usize,
    pub(super) process: Process,
    pub(super) start: Moment,
    pub(super) end: Moment,
    pub(super) ending: Ending,
}

impl Request {
    fn saw(&self, moment: &Moment) -> bool {
        (self.start.event..self.end.event).contains(&moment.event)
    }
}

fn is_failure_of_the_authority(outcome: Outcome) -> bool {
    matches!(outcome, Outcome::Failed(_) | Outcome::TimedOut)
}

impl Journal {
    pub(super) fn judge(&mut self, request: &Request) {
        let told = match request.ending {
            Ending::Accepted { question, stale } => self.accepted(request, question, stale),
            Ending::Rejected(reason) => self.rejected(request, reason),
            Ending::Failed { kind, question } => self.failed(request, kind, question),
        };
        let told = told.and_then(|()| self.is_in_time(request));
        self.require(told.is_ok(), || format!("{request:?}: {}", told.unwrap_err()));
    }

    fn settings(&self, process: Process) -> Settings {
        self.world.setting.machines[process.machine]
    }

    /// By how much an answer may be older than it seems, since clocks were set.
    fn slack(&self, process: Process, question: &Question) -> i64 {
        let since = question.asked.event;
        self.set_back_since(process.machine, since) + self.engine_lags_since(since)
    }

    fn accepted(&self, request: &Request, number: usize, stale: bool) -> Result<(), String> {
        let Request { token, process, start, end, .. } = request;
        let Settings { max_ttl, expiry_leeway, stale_if_error, .. } = self.settings(*process);
        let question = self.questions.get(number).ok_or("an answer from nowhere")?;
        let Some((_, Outcome::Answered(Truth::Active(facts)))) = question.ended else {
            return Err(format!("question {number} was not answered: active"));
        };
        if question.token != *token {
            return Err(format!("question {number} is about token {}", question.token));
        }
        let wall = self.wall(process.machine);
        if facts.expires_at.is_some_and(|expires_at| wall >= expires_at) {
            return Err(format!("it has expired: it is {wall}"));
        }
        let slack = self.slack(*process, question);
        let age = end.steady - question.asked.steady;
        let leaves_the_end_alone = facts.expires_at.is_none_or(|expires_at| wall < expires_at - expiry_leeway);
        let ttl = max_ttl + if stale { stale_if_error } else { 0 };
        let is_own = question.process == *process && question.asked.event > start.event;
        if !(age < ttl + slack && leaves_the_end_alone || is_own && !stale) {
            return Err(format!("question {number} is {age} old: {question:?}"));
        }
        if stale {
            let has_failed = self.own_questions(request).any(|own| {
                own.ended.is_some_and(|(at, outcome)| request.saw(&at) && is_failure_of_the_authority(outcome))
            });
            if !has_failed {
                return Err("stale, and no question failed".into());
            }
        }
        // The same from end to end: it was approved within the window.
        let was_approved = self.world.tokens[*token].approved.iter().any(|(_, until)| {
            until.is_none_or(|until| {
                until.steady > end.steady - ttl - slack || until.step > start.step || until.steady >= start.steady
            })
        });
        if !was_approved {
            return Err(format!("it was revoked for the whole window of {ttl} and {slack}"));
        }
        self.not_superseded(request, question)?;
        self.not_invalidated(request, question, |by| by.scope.is_about_active(*token, question.issued_at))
    }

    fn rejected(&self, request: &Request, reason: InactiveReason) -> Result<(), String> {
        let Request { token, process, start, end, .. } = request;
        let explains = |question: &Question| {
            let Some((_, Outcome::Answered(truth))) = question.ended else { return false };
            let greatest = self.wall(process.machine) + self.set_back_since(process.machine, question.asked.event);
            let says_so = match truth {
                Truth::Inactive(said) => said == reason,
                Truth::Active(facts) => facts.judge(greatest) == Err(reason),
            };
            let age = end.steady - question.asked.steady;
            let ttl = self.settings(*process).inactive_ttl + self.slack(*process, question);
            let is_own = question.process == *process && question.asked.event > start.event;
            let about = |by: &Invalidated| by.scope.is_about_inactive(*token);
            question.token == *token
                && says_so
                && (is_own || age < ttl)
                && self.not_invalidated(request, question, about).is_ok()
        };
        if self.questions.iter().any(explains) { Ok(()) } else { Err("no answer that is young enough says so".into()) }
    }

    fn failed(&self, request: &Request, kind: IntrospectErrorKind, number: Option<usize>) -> Result<(), String> {
        let seen = |expected: Outcome| {
            self.own_questions(request)
                .any(|own| own.ended.is_some_and(|(at, outcome)| request.saw(&at) && outcome == expected))
        };
        let is_explained = match (kind, number) {
            (_, Some(number)) => {
                let question = &self.questions[number];
                question.process == request.process && question.token == request.token && seen(Outcome::Failed(kind))
            }
            (IntrospectErrorKind::Timeout, None) => seen(Outcome::TimedOut),
            (IntrospectErrorKind::Abandoned, None) => {
                seen(Outcome::Panicked) || self.disturbances(request) >= MOST_QUESTIONS
            }
            _ => false,
        };
        if is_explained { Ok(()) } else { Err(format!("nothing failed in that way: {number:?}")) }
    }

    /// The engine costs a request 50 ms at most, and another process' question no more than an own one.
    fn is_in_time(&self, request: &Request) -> Result<(), String> {
        let Request { token, process, start, end, .. } = *request;
        let Settings { max_ttl, question_timeout, .. } = self.settings(process);
        let (mut asking, mut looks, mut is_late) = (0, 0, false);
        for own in self.own_questions(request) {
            let ended = own.ended.map_or(end.steady, |(at, _)| at.steady);
            asking += (ended.min(end.steady) - own.asked.steady.max(start.steady)).max(0);
            looks += i64::from(own.asked.event > start.event);
            is_late |= own.ended.is_some_and(|(at, _)| request.saw(&at)) && ended - own.asked.steady >= max_ttl;
        }
        let looks = looks.max(1) + i64::from(is_late) + self.disturbances(request).min(MOST_QUESTIONS);
        // A lease that nobody gives up lasts longer by as much as the engine's clock goes back.
        let from = start.steady - question_timeout - LEASE - self.engine_lags_since(0);
        let others = self.questions.iter().any(|other| {
            let ended = other.ended.map_or(end.steady, |(at, _)| at.steady);
            other.token == token && other.process != process && ended >= from
        });
        let others = others
            || self.requests.iter().any(|(other, about, at)| *other != process && *about == token && at.steady >= from);
        // Each look may end a moment after the last millisecond.
        let each = if others { ENGINE_TIME + question_timeout + 2 * ENGINE_TIME } else { ENGINE_TIME };
        let waited = end.steady - start.steady - asking;
        if waited > looks * (each + 1) {
            return Err(format!("{waited} ms were spent on {looks} looks, {asking} on questions, others: {others}"));
        }
        Ok(())
    }

    /// What may have had a question asked again while this request waited.
    fn disturbances(&self, request: &Request) -> i64 {
        let from = request.start.steady - LONG_AGO;
        let invalidations = self.invalidations.iter();
        let invalidations = invalidations.filter(|by| by.called.steady >= from && by.called.event < request.end.event);
        let found_inactive = self.questions.iter().filter(|question| {
            let is_inactive = |(at, outcome): (Moment, Outcome)| {
                at.steady >= from && matches!(outcome, Outcome::Answered(Truth::Inactive(_)))
            };
            question.token == request.token && question.ended.is_some_and(is_inactive)
        });
        i64::try_from(invalidations.count() + found_inactive.count()).unwrap()
    }

    /// The questions about the token that the process asked itself.
    fn own_questions(&self, request: &Request) -> impl Iterator<Item = &Question> {
        let Request { token, process, .. } = *request;
        self.questions.iter().filter(move |question| question.token == token && question.process == process)
    }

    /// The process did not know better itself.
    fn not_superseded(&self, request: &Request, question: &Question) -> Result<(), String> {
        let later = self.own_questions(request).find(|later| {
            later.asked.event > question.asked.event
                && matches!(later.ended, Some((at, Outcome::Answered(_))) if at.event < request.start.event)
        });
        match later {
            Some(later) if !self.may_be_dropped(later) => {
                Err(format!("{question:?} is older than what is known: {later:?}"))
            }
            _ => Ok(()),
        }
    }

    /// Whether its answer may have been dropped because of an invalidation while it was under way.
    fn may_be_dropped(&self, question: &Question) -> bool {
        self.invalidations.iter().any(|by| by.called.steady >= question.asked.steady - LONG_AGO)
    }

    /// No invalidation that has reached the process is about the answer.
    fn not_invalidated(
        &self,
        request: &Request,
        question: &Question,
        is_about: impl Fn(&Invalidated) -> bool,
    ) -> Result<(), String> {
        let Request { process, start, .. } = request;
        let landed = question.ended.map_or(0, |(at, _)| at.event);
        let by = self.invalidations.iter().find(|by| {
            if question.asked.event > by.called.event || !is_about(by) {
                return false;
            }
            let is_own = by.process == *process
                && (start.event > by.called.event || question.process == *process && landed > by.called.event);
            let is_read = by.read_by.get(process).is_some_and(|read| start.event > *read);
            let is_everywhere = matches!(by.reached, Some((at, Reach::Everywhere)) if start.event > at.event)
                && !self.has_lost_records_since(by.called.event);
            is_own || is_read || is_everywhere
        });
        match by {
            Some(by) => Err(format!("the answer to {question:?} was invalidated: {by:?}")),
            None => Ok(()),
        }
    }
}
