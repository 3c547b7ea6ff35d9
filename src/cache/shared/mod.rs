//! What a cache shares with the same cache in other processes: its membership of a fleet (feature `redis`). Without the
//! feature that is a type which has no values, so that nobody else carries a `cfg`.

#[cfg(not(feature = "redis"))]
mod alone;
#[cfg(feature = "redis")]
mod fleet;
#[cfg(feature = "redis")]
mod heard;

#[cfg(not(feature = "redis"))]
pub(super) use alone::{Membership, Question};
#[cfg(feature = "redis")]
pub(super) use fleet::{Membership, Question};

use crate::clock::Timestamp;
use crate::error::IntrospectError;
use crate::introspect::Verdict;

/// What a look into the shared memory came to.
#[cfg_attr(not(feature = "redis"), allow(dead_code))] // nobody looks then
pub(super) enum Look {
    Found(Found),
    /// This process is to ask. An active answer that no longer serves may have to, if the authority fails.
    Ask(Question, Option<Found>),
}

/// An answer that a process of the fleet got.
pub(super) struct Found {
    pub(super) verdict: Verdict,
    /// Not later than when it was asked for, by the clock of this process.
    pub(super) asked_at: Timestamp,
}

/// What became of a question.
#[cfg_attr(not(feature = "redis"), allow(dead_code))] // nobody is told then
pub(super) struct Settled {
    pub(super) answer: Result<Verdict, IntrospectError>,
    pub(super) asked_at: Timestamp,
    /// Until then an active answer was remembered here.
    pub(super) was_active: bool,
}
