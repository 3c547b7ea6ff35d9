//! How far an invalidation got.

use std::fmt;
use std::future::{self, Future, IntoFuture};
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};

/// What [`CacheHandle::invalidate`](crate::CacheHandle::invalidate) has done. In this process all of it is done when
/// the call returns.
///
/// Awaited, it tells how far it got beyond. Dropped, it goes on all the same.
///
/// ```
/// use tower_introspection::cache::{Reach, Selection};
/// use tower_introspection::{Cached, introspect_fn};
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// # let introspector = introspect_fn(|_| async {
/// #     Ok(tower_introspection::Verdict::Inactive(tower_introspection::InactiveReason::Unknown)) });
///
/// let cache = Cached::new(introspector).handle();
/// let invalidation = cache.invalidate(Selection::client("weather-app"));
/// assert_eq!(invalidation.forgotten(), 0);
/// assert_eq!(invalidation.await, Reach::ThisProcess);
/// # }
/// ```
pub struct Invalidation {
    forgotten: usize,
    /// Nobody takes this lock. With it the whole is `Sync`, whatever the future is.
    rest: Option<Mutex<Rest>>,
}

/// Tells how far an invalidation got beyond this process. It goes on whether or not this is polled.
pub(crate) type Rest = Pin<Box<dyn Future<Output = Reach> + Send + 'static>>;

impl Invalidation {
    /// Without a `rest` there is no other process to tell.
    pub(super) fn new(forgotten: usize, rest: Option<Rest>) -> Self {
        Self { forgotten, rest: rest.map(Mutex::new) }
    }

    /// How many active tokens were forgotten in this process.
    #[must_use]
    pub fn forgotten(&self) -> usize {
        self.forgotten
    }
}

impl IntoFuture for Invalidation {
    type Output = Reach;
    type IntoFuture = Pin<Box<dyn Future<Output = Reach> + Send + 'static>>;

    fn into_future(self) -> Self::IntoFuture {
        match self.rest {
            Some(rest) => rest.into_inner().unwrap_or_else(PoisonError::into_inner),
            None => Box::pin(future::ready(Reach::ThisProcess)),
        }
    }
}

impl fmt::Debug for Invalidation {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.debug_struct("Invalidation").field("forgotten", &self.forgotten).finish_non_exhaustive()
    }
}

/// Which processes an [`Invalidation`] has reached by the time it was awaited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reach {
    /// This one. The cache is in no fleet, so nobody else was told.
    ThisProcess,
    /// This one. The fleet's engine does not answer: it is told when it is back, and the others hear of it then.
    Queued,
    /// It is in the fleet's log: each process that reads the log acts on it with its next read.
    Recorded,
    /// All: no process of the fleet serves what was invalidated any more.
    Everywhere,
}

impl Reach {
    /// One word for logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ThisProcess => "this_process",
            Self::Queued => "queued",
            Self::Recorded => "recorded",
            Self::Everywhere => "everywhere",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn awaited_it_says_what_the_rest_says_and_without_one_that_there_is_nobody_else() {
        let alone = Invalidation::new(3, None);
        assert_eq!((alone.forgotten(), alone.await), (3, Reach::ThisProcess));
        for reach in [Reach::Queued, Reach::Recorded, Reach::Everywhere] {
            let invalidation = Invalidation::new(1, Some(Box::pin(future::ready(reach))));
            assert_eq!(format!("{invalidation:?}"), "Invalidation { forgotten: 1, .. }");
            assert_eq!(invalidation.await, reach);
        }
    }

    #[test]
    fn a_reach_is_one_word() {
        let reaches = [Reach::ThisProcess, Reach::Queued, Reach::Recorded, Reach::Everywhere];
        assert_eq!(reaches.map(|reach| reach.to_string()), ["this_process", "queued", "recorded", "everywhere"]);
    }
}
