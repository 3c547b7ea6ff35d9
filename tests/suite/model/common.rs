//! What this model and that of a fleet have in common: what is true of a token, and how a question and a request end.
//! All times are milliseconds since the start of the case.

use std::time::Duration;

use tower_introspection::clock::Timestamp;
use tower_introspection::introspect::IntrospectErrorKind;
use tower_introspection::{InactiveReason, IntrospectError, Verdict};

use crate::support::{Answer, START};

/// When the authority looks up the answer to a question that it holds.
#[derive(Clone, Copy, Debug)]
pub(crate) enum When {
    Asked,
    Released,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Fault {
    Fails(IntrospectErrorKind),
    Panics,
}

/// A place in the history of the world.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mark {
    pub(crate) step: u64,
    pub(crate) steady: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    Unknown,
    Approved,
    Revoked,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Facts {
    pub(crate) expires_at: Option<i64>,
    pub(crate) not_before: Option<i64>,
}

impl Facts {
    pub(crate) fn judge(&self, wall: i64) -> Result<(), InactiveReason> {
        if self.expires_at.is_some_and(|expires_at| wall >= expires_at) {
            return Err(InactiveReason::Expired);
        }
        if self.not_before.is_some_and(|not_before| wall < not_before) {
            return Err(InactiveReason::NotYetValid);
        }
        Ok(())
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Token {
    pub(crate) status: Status,
    pub(crate) facts: Facts,
    /// From when until when it was approved, in order; the last span may be open.
    pub(crate) approved: Vec<(Mark, Option<Mark>)>,
}

impl Token {
    pub(crate) fn unknown() -> Self {
        let facts = Facts { expires_at: None, not_before: None };
        Self { status: Status::Unknown, facts, approved: Vec::new() }
    }

    pub(crate) fn set(&mut self, status: Status, mark: Mark) {
        if let Some((_, until @ None)) = self.approved.last_mut() {
            *until = Some(mark);
        }
        if status == Status::Approved {
            self.approved.push((mark, None));
        }
        self.status = status;
    }

    /// The whole truth at this moment.
    pub(crate) fn truth(&self, wall: i64) -> Truth {
        match self.status {
            Status::Unknown => Truth::Inactive(InactiveReason::Unknown),
            Status::Revoked => Truth::Inactive(InactiveReason::Revoked),
            Status::Approved => match self.facts.judge(wall) {
                Ok(()) => Truth::Active(self.facts),
                Err(reason) => Truth::Inactive(reason),
            },
        }
    }
}

/// What the authority says of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Truth {
    Active(Facts),
    Inactive(InactiveReason),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Answered(Truth),
    Failed(IntrospectErrorKind),
    Panicked,
    TimedOut,
}

/// How a request ended, in the words of the rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    Accepted { question: usize, stale: bool },
    Rejected(InactiveReason),
    Failed { kind: IntrospectErrorKind, question: Option<usize> },
}

impl Ending {
    pub(crate) fn of(answer: &Answer) -> Self {
        match answer {
            Ok(Verdict::Active(token)) => {
                Self::Accepted { question: token.claim("question").unwrap(), stale: token.is_stale() }
            }
            Ok(Verdict::Inactive(reason)) => Self::Rejected(*reason),
            Err(error) => Self::failed(error),
        }
    }

    pub(crate) fn failed(error: &IntrospectError) -> Self {
        let source = std::error::Error::source(error).map(ToString::to_string);
        let question = source.and_then(|source| source.strip_prefix("question ").map(|number| number.parse().unwrap()));
        Self::Failed { kind: error.kind(), question }
    }
}

pub(crate) fn name_of(token: usize) -> String {
    format!("token-{token}")
}

pub(crate) fn timestamp(wall: i64) -> Timestamp {
    Timestamp::from_unix_millis(START.as_unix_millis() + wall)
}

pub(crate) fn millis(time: i64) -> Duration {
    Duration::from_millis(u64::try_from(time).unwrap())
}
