//! What has to be true of each request that has ended, given all that happened.

use tower_introspection::InactiveReason;
use tower_introspection::introspect::IntrospectErrorKind;

use super::common::{Ending, Outcome, Status, Truth};
use super::journal::{BREAKER_PAUSE, Journal, Moment, Question};
use super::world::{Settings, TOKENS};

/// More predicates than this, and a question under way counts as invalidated whatever its answer is.
const PREDICATES: usize = 16;

/// A time to live that no test comes near in real time. (moka evicts by the time that really passes.)
const LONG: i64 = 60_000;

/// "Not valid yet" is remembered no longer than this.
const NOT_YET_VALID_TTL: i64 = 1_000;

/// So long after a failure an answer may serve on for want of room as well.
const AFTERMATH: i64 = 30_000;

/// A request that has ended.
#[derive(Clone, Copy, Debug)]
pub(super) struct Request {
    pub(super) token: usize,
    pub(super) start: Moment,
    pub(super) end: Moment,
    pub(super) ending: Ending,
    /// How many questions were under way when it was turned away, or let in by a stale answer.
    pub(super) under_way: usize,
}

impl Request {
    fn saw(&self, moment: &Moment) -> bool {
        (self.start.event..self.end.event).contains(&moment.event)
    }
}

/// What should be known of a token.
struct Remembered {
    /// Of the question.
    number: usize,
    asked: i64,
    landed: i64,
    deadline: i64,
    /// Of the token, whatever happens.
    end_of_use: i64,
}

fn is_failure_of_the_authority(outcome: Outcome) -> bool {
    match outcome {
        Outcome::Failed(kind) => kind != IntrospectErrorKind::Overloaded,
        Outcome::TimedOut => true,
        Outcome::Answered(_) | Outcome::Panicked => false,
    }
}

impl Journal {
    pub(super) fn judge(&mut self, request: Request) {
        let Request { token, start, end, ending, under_way } = request;
        let told = match ending {
            Ending::Accepted { question, stale } => self.accepted(&request, question, stale),
            Ending::Rejected(reason) => self.rejected(&request, reason),
            Ending::Failed { kind, question } => self.failed(&request, kind, question, under_way),
        };
        let told = told.and_then(|()| self.known_answers_serve(&request));
        self.require(told.is_ok(), || {
            format!("token {token}, from {start:?} to {end:?}, {ending:?}: {}", told.unwrap_err())
        });
    }

    fn accepted(&self, request: &Request, number: usize, stale: bool) -> Result<(), String> {
        let Settings { max_ttl, expiry_leeway, stale_if_error, .. } = self.world.settings;
        let Request { token, start, end, .. } = request;
        let question = self.questions.get(number).ok_or("an answer from nowhere")?;
        let Some((landed, Outcome::Answered(Truth::Active(facts)))) = question.ended else {
            return Err(format!("question {number} was not answered: active"));
        };
        if question.token != *token {
            return Err(format!("question {number} is about token {}", question.token));
        }
        let set_back = end.set_back_since(&question.asked);
        if facts.expires_at.is_some_and(|expires_at| end.wall >= expires_at) {
            return Err("it has expired".into());
        }
        // A token that has begun does not end when the clock is set back.
        if facts.not_before.is_some_and(|not_before| end.wall + set_back < not_before) {
            return Err("it is not valid yet".into());
        }

        // What the authority says now is not asked for: what it said must be young enough.
        let age = end.steady - question.asked.steady;
        let leaves_the_end_alone = facts.expires_at.is_none_or(|expires_at| end.wall < expires_at - expiry_leeway);
        let fresh = Self::asked_since(start, question) || (age < max_ttl + set_back && leaves_the_end_alone);
        let deadline = question.asked.wall.min(landed.wall) + max_ttl;
        let deadline = facts.expires_at.map_or(deadline, |expires_at| deadline.min(expires_at - expiry_leeway));
        if stale {
            if end.wall < deadline {
                return Err(format!("called stale before its deadline at {deadline}"));
            }
            if facts.expires_at.is_some_and(|expires_at| end.wall >= expires_at - expiry_leeway) {
                return Err("the last moments are the authority's, in an outage too".into());
            }
            if end.wall >= deadline + stale_if_error || age >= max_ttl + stale_if_error + set_back {
                return Err(format!("question {number}, asked at {:?}, is too old even in an outage", question.asked));
            }
            let waited_for = |failure: &dyn Fn(Outcome) -> bool| {
                self.questions.iter().any(|later| {
                    later.token == *token
                        && later.asked.event > landed.event
                        && later.ended.is_some_and(|(at, outcome)| request.saw(&at) && failure(outcome))
                })
            };
            let failure = waited_for(&is_failure_of_the_authority);
            let failed_within = |time: i64, failure: &dyn Fn(&Question, Outcome) -> bool| {
                self.questions.iter().any(|other| {
                    other.ended.is_some_and(|(at, outcome)| {
                        failure(other, outcome) && end.steady - at.steady < time + end.set_back_since(&at)
                    })
                })
            };
            // Or there was no room for a question, a moment after another about a token in use had failed.
            let no_room = request.under_way >= self.world.settings.max_questions
                || waited_for(&|outcome| outcome == Outcome::Failed(IntrospectErrorKind::Overloaded));
            let aftermath = no_room
                && failed_within(AFTERMATH, &|other, outcome| other.known && is_failure_of_the_authority(outcome));
            // Or the breaker had said that it would not let one through, and nothing was answered since.
            let left_alone = failed_within(BREAKER_PAUSE, &|other, outcome| {
                other.known
                    && outcome == Outcome::Failed(IntrospectErrorKind::CircuitOpen)
                    && !self.answered_between(other, start)
            });
            if !failure && !aftermath && !left_alone {
                return Err("stale, and no question failed".into());
            }
            if let Some(later) = self.answered_after(question, end) {
                return Err(format!("stale, and the authority had answered: {later:?}"));
            }
        } else if !fresh {
            return Err(format!("question {number}, asked at {:?}, is too old", question.asked));
        }

        // The same from end to end: it was approved within the window.
        let window = max_ttl + if stale { stale_if_error } else { 0 } + set_back;
        let was_approved = self.world.tokens[*token].approved.iter().any(|(_, until)| {
            until.is_none_or(|until| {
                until.steady > end.steady - window || until.step > start.step || until.steady + set_back >= start.steady
            })
        });
        if !was_approved {
            return Err(format!("it was revoked for the whole window of {window}"));
        }
        self.not_invalidated(request, question, true)?;
        self.not_superseded(request, question)
    }

    fn rejected(&self, request: &Request, reason: InactiveReason) -> Result<(), String> {
        let inactive_ttl = self.world.settings.inactive_ttl;
        let Request { token, start, end, .. } = request;
        let explains = |question: &&Question| {
            let Some((landed, Outcome::Answered(truth))) = question.ended else { return false };
            let (said, ttl) = match truth {
                Truth::Inactive(InactiveReason::NotYetValid) => {
                    (reason == InactiveReason::NotYetValid, inactive_ttl.min(NOT_YET_VALID_TTL))
                }
                Truth::Inactive(said) => (said == reason, inactive_ttl),
                Truth::Active(facts) => {
                    let times = [facts.judge(landed.wall), facts.judge(end.wall)];
                    (times.contains(&Err(reason)), inactive_ttl)
                }
            };
            let set_back = end.set_back_since(&question.asked);
            let age = end.steady - question.asked.steady;
            question.token == *token
                && said
                && (Self::asked_since(start, question) || age < ttl + set_back)
                && self.not_invalidated(request, question, false).is_ok()
                && self.not_superseded(request, question).is_ok()
        };
        if !self.questions.iter().any(|question| explains(&question)) {
            return Err("no answer that is young enough says so".into());
        }

        // The same from end to end: it was not active all the time, from when an inactive answer could still serve.
        let stated = &self.world.tokens[*token];
        let set_back = end.steady - end.wall;
        let since = match stated.approved.last() {
            Some((from, None)) => from.steady.max(stated.facts.not_before.map_or(0, |moment| moment + set_back)),
            _ => return Ok(()),
        };
        let alive = stated.facts.expires_at.is_none_or(|expires_at| end.steady < expires_at);
        let before = start.steady - set_back;
        if alive && since < before && since <= before - inactive_ttl {
            return Err(format!("it was active ever since {since}"));
        }
        Ok(())
    }

    fn failed(
        &self,
        request: &Request,
        kind: IntrospectErrorKind,
        number: Option<usize>,
        under_way: usize,
    ) -> Result<(), String> {
        let seen = |outcome: &dyn Fn(&Question, Outcome) -> bool| {
            self.questions.iter().any(|question| {
                question.token == request.token
                    && question.ended.is_some_and(|(at, end)| request.saw(&at) && outcome(question, end))
            })
        };
        if let Some(number) = number {
            let question = &self.questions[number];
            return match question.ended {
                Some((at, Outcome::Failed(failure)))
                    if failure == kind && question.token == request.token && request.saw(&at) =>
                {
                    Ok(())
                }
                _ => Err(format!("question {number} is not what it waited for: {question:?}")),
            };
        }
        let explained = match kind {
            IntrospectErrorKind::Overloaded => under_way >= self.world.settings.max_questions,
            IntrospectErrorKind::Timeout => seen(&|_, outcome| outcome == Outcome::TimedOut),
            IntrospectErrorKind::Abandoned => {
                let again_and_again = || {
                    let questions = self.questions.iter().filter(|question| question.token == request.token);
                    questions.filter(|question| self.may_be_dropped(question)).count() >= 3
                        && seen(&|question, _| self.may_be_dropped(question))
                };
                seen(&|_, outcome| outcome == Outcome::Panicked) || again_and_again()
            }
            _ => false,
        };
        if explained { Ok(()) } else { Err("nothing failed in that way".into()) }
    }

    /// With room for all, an answer that serves answers, and one that may serve on in an outage does.
    fn known_answers_serve(&self, request: &Request) -> Result<(), String> {
        let Settings { stale_if_error, max_capacity, .. } = self.world.settings;
        let Request { start, end, ending, .. } = request;
        if max_capacity < TOKENS as u64 {
            return Ok(());
        }
        if let Some(Remembered { number, asked, landed, deadline, .. }) = self.remembered(request, start)
            && (asked..deadline).contains(&start.wall)
            && end.wall >= asked
            && deadline - landed >= LONG
            && *ending != (Ending::Accepted { question: number, stale: false })
        {
            return Err(format!("question {number} would have answered it"));
        }
        let authority_failed = match *ending {
            Ending::Failed { kind: IntrospectErrorKind::Overloaded, .. } => false,
            Ending::Failed { kind: IntrospectErrorKind::Timeout, .. } => true,
            Ending::Failed { question, .. } => question.is_some(),
            _ => false,
        };
        // The last word counts, also if it came while the request waited, or too late to serve.
        if let Some(Remembered { number, asked, landed, deadline, end_of_use }) = self.remembered(request, end)
            && authority_failed
        {
            let until = (deadline + stale_if_error).min(end_of_use);
            if (asked..until).contains(&end.wall) && until - landed >= LONG {
                return Err(format!("question {number} would have served on until {until}"));
            }
        }
        Ok(())
    }

    /// The authority's last word before that moment, if it is a yes and was not invalidated.
    fn remembered(&self, request: &Request, before: &Moment) -> Option<Remembered> {
        let Settings { max_ttl, expiry_leeway, .. } = self.world.settings;
        let answered = self.questions.iter().enumerate().filter(|(_, question)| {
            question.token == request.token
                && matches!(question.ended, Some((at, Outcome::Answered(_))) if at.event < before.event)
        });
        let (number, question) = answered.max_by_key(|(_, question)| question.asked.event)?;
        let Some((landed, Outcome::Answered(Truth::Active(facts)))) = question.ended else { return None };
        let since = question.asked.event..request.end.event;
        let mut invalidations = self.invalidations.iter().filter(|(at, _)| since.contains(&at.event));
        let invalidated = invalidations.any(|(_, scope)| scope.is_about_active(request.token));
        if invalidated || self.may_be_dropped(question) || facts.judge(landed.wall).is_err() {
            return None;
        }
        // When the clock was set back to before it was asked for, nobody knows how old it is.
        let asked = question.asked.wall.min(landed.wall);
        let end_of_use = facts.expires_at.map_or(i64::MAX, |expires_at| expires_at - expiry_leeway);
        Some(Remembered { number, asked, landed: landed.wall, deadline: (asked + max_ttl).min(end_of_use), end_of_use })
    }

    /// Whether any question was answered after this one had ended, and before that moment.
    fn answered_between(&self, ended: &Question, moment: &Moment) -> bool {
        let end_of = |question: &Question| question.ended.map(|(at, _)| at.event);
        self.questions.iter().any(|question| {
            question.ended.is_some_and(|(at, outcome)| {
                matches!(outcome, Outcome::Answered(_)) && Some(at.event) > end_of(ended) && at.event < moment.event
            })
        })
    }

    /// Whether it was asked after the request came, whatever the clocks say.
    fn asked_since(start: &Moment, question: &Question) -> bool {
        question.asked.event > start.event
    }

    /// No invalidation came between the question and the request, nor while the question was under way.
    fn not_invalidated(&self, request: &Request, question: &Question, active: bool) -> Result<(), String> {
        let Some((landed, _)) = question.ended else { return Err("it is not answered".into()) };
        let until = landed.event.max(request.start.event);
        let covers = self.invalidations.iter().find(|(at, scope)| {
            let concerns = if active { scope.is_about_active(request.token) } else { scope.is_about(request.token) };
            concerns && (question.asked.event..until).contains(&at.event)
        });
        match covers {
            Some(invalidation) => Err(format!("the answer to {question:?} was invalidated: {invalidation:?}")),
            None => Ok(()),
        }
    }

    /// No later question was answered before the request came.
    fn not_superseded(&self, request: &Request, question: &Question) -> Result<(), String> {
        match self.answered_after(question, &request.start) {
            Some(later) => Err(format!("{question:?} is older than what is known: {later:?}")),
            None => Ok(()),
        }
    }

    fn answered_after(&self, question: &Question, until: &Moment) -> Option<&Question> {
        self.questions.iter().find(|later| {
            later.token == question.token
                && later.asked.event > question.asked.event
                && matches!(later.ended, Some((at, Outcome::Answered(_))) if at.event < until.event)
                && !self.may_be_dropped(later)
        })
    }

    /// Whether its answer may have been dropped because of an invalidation while it was under way.
    fn may_be_dropped(&self, question: &Question) -> bool {
        let Some((landed, Outcome::Answered(truth))) = question.ended else { return false };
        let during = self.invalidations.iter();
        let during = during.filter(|(at, _)| (question.asked.event..landed.event).contains(&at.event));
        let predicates = during.clone().count();
        let covered = during.clone().any(|(_, scope)| match truth {
            Truth::Active(_) => scope.is_about_active(question.token),
            Truth::Inactive(_) => scope.is_about(question.token),
        });
        covered || predicates > PREDICATES
    }

    /// What a request has to end with that comes alone, when nothing that was known serves any more.
    pub(super) fn must_end_with(&mut self, token: usize, ending: Ending) {
        let truth = self.world.truth(token);
        let accepted = matches!(ending, Ending::Accepted { stale: false, .. });
        let holds = match truth {
            Truth::Active(_) => accepted,
            Truth::Inactive(reason) => ending == Ending::Rejected(reason),
        };
        let status: Status = self.world.tokens[token].status;
        self.require(holds, || format!("at last, token {token} ({status:?}) is {truth:?} but {ending:?}"));
    }
}
