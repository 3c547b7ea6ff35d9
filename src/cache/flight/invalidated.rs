//! What was invalidated while a question is under way.

use std::sync::Arc;

use crate::error::IntrospectError;
use crate::introspect::Verdict;
use crate::selection::Rules;
use crate::token::AccessToken;

/// Tells whether a token is one of those that are to be forgotten.
#[derive(Clone)]
pub(in crate::cache) enum Predicate {
    Closure(Arc<dyn Fn(&AccessToken) -> bool + Send + Sync>),
    Rules(Arc<Rules>),
}

impl Predicate {
    pub(in crate::cache) fn is_true_of(&self, token: &AccessToken) -> bool {
        match self {
            Self::Closure(closure) => closure(token),
            Self::Rules(rules) => rules.any_holds(token),
        }
    }
}

/// How many closures a question under way remembers. What one takes, in time and memory, only its author knows.
const MAX_CLOSURES: usize = 16;
/// How many sets of rules. A fleet's log brings one with each page, ten in a second, whoever logs out anywhere, and
/// security events as many: there is room for a `question_timeout` of a minute. All of a question's are 30 KB.
const MAX_SETS: usize = 1_200;
/// How many rules in these sets: as many as the log keeps. All questions share them, so they take its size once.
const MAX_RULES: usize = 30_000;

/// How many predicates there are. With more than are remembered, an answer counts as invalidated whatever it is.
#[derive(Clone, Copy, Default)]
pub(super) struct Count {
    closures: usize,
    sets: usize,
    rules: usize,
}

impl Count {
    fn add(&mut self, predicate: &Predicate) {
        match predicate {
            Predicate::Closure(_) => self.closures += 1,
            Predicate::Rules(rules) => {
                self.sets += 1;
                self.rules += rules.count();
            }
        }
    }

    pub(super) fn join(&mut self, other: Self) {
        self.closures += other.closures;
        self.sets += other.sets;
        self.rules += other.rules;
    }

    pub(super) fn is_too_much(self) -> bool {
        self.closures > MAX_CLOSURES || self.sets > MAX_SETS || self.rules > MAX_RULES
    }
}

/// What was invalidated since the question now under way was asked: its answer may be older than that.
#[derive(Default)]
pub(super) struct Invalidated {
    pub(super) whatever_it_is: bool,
    pub(super) if_active: bool,
    predicates: Vec<Predicate>,
    pub(super) count: Count,
}

impl Invalidated {
    pub(super) fn is_none(&self) -> bool {
        !self.whatever_it_is && !self.if_active && self.predicates.is_empty()
    }

    /// A failure is never stale, since it is never kept.
    pub(super) fn covers(&self, answer: &Result<Verdict, IntrospectError>) -> bool {
        match answer {
            Err(_) => false,
            Ok(Verdict::Inactive(_)) => self.whatever_it_is,
            Ok(Verdict::Active(token)) => {
                self.whatever_it_is
                    || self.if_active
                    || self.predicates.iter().any(|predicate| predicate.is_true_of(token))
            }
        }
    }

    pub(super) fn add(&mut self, predicate: &Predicate) {
        self.count.add(predicate);
        if self.count.is_too_much() {
            self.whatever_it_is = true;
        } else {
            self.predicates.push(predicate.clone());
        }
    }
}
