//! What was invalidated while a question is under way.

use std::sync::Arc;

use crate::error::IntrospectError;
use crate::introspect::Verdict;
use crate::token::AccessToken;

/// Whether a token is one of those that are to be forgotten.
pub(in crate::cache) type Predicate = Arc<dyn Fn(&AccessToken) -> bool + Send + Sync>;

/// How many predicates a question under way remembers. One more, and its answer counts as invalidated whatever it is.
pub(super) const MAX_PREDICATES: usize = 16;

/// What was invalidated since the question now under way was asked: its answer may be older than that.
#[derive(Default)]
pub(super) struct Invalidated {
    pub(super) whatever_it_is: bool,
    pub(super) if_active: bool,
    pub(super) predicates: Vec<Predicate>,
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
                self.whatever_it_is || self.if_active || self.predicates.iter().any(|predicate| predicate(token))
            }
        }
    }

    pub(super) fn add(&mut self, predicate: &Predicate) {
        if self.predicates.len() < MAX_PREDICATES {
            self.predicates.push(Arc::clone(predicate));
        } else {
            self.whatever_it_is = true;
        }
    }
}
