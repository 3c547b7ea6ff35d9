//! Counters that many threads add to at once.

use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering};

/// As many threads add without getting into each other's way; more than these share.
const STRIPES: usize = 8;

/// Several of a kind in lines of the processor's cache of their own. A thread adds to the one that is its own, so that
/// counting on one core does not take the line from the others; whoever reads adds all of them up.
#[derive(Default)]
pub(crate) struct Striped<T>([Stripe<T>; STRIPES]);

#[derive(Default)]
#[repr(align(128))] // two lines, since processors fetch them in pairs
struct Stripe<T>(T);

impl<T> Striped<T> {
    /// The one of this thread.
    pub(crate) fn own(&self) -> &T {
        // A remainder of the length is an index within it.
        &self.0[index() % STRIPES].0
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &T> {
        self.0.iter().map(|stripe| &stripe.0)
    }
}

/// A number of this thread: threads take turns.
fn index() -> usize {
    const NONE: usize = usize::MAX;
    static THREADS: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static INDEX: Cell<usize> = const { Cell::new(NONE) };
    }
    let mut index = INDEX.get();
    if index == NONE {
        index = THREADS.fetch_add(1, Ordering::Relaxed) % STRIPES;
        INDEX.set(index);
    }
    index
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU64;

    use super::*;

    #[test]
    fn nothing_that_any_thread_adds_is_lost() {
        let counters = Striped::<AtomicU64>::default();
        std::thread::scope(|scope| {
            for _ in 0..2 * STRIPES {
                scope.spawn(|| {
                    for _ in 0..1_000 {
                        counters.own().fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
        });
        let counts: Vec<u64> = counters.all().map(|counter| counter.load(Ordering::Relaxed)).collect();
        assert_eq!(counts.iter().sum::<u64>(), 2 * STRIPES as u64 * 1_000);
        assert!(counts.iter().filter(|count| **count > 0).count() > 1, "{counts:?}");
    }

    #[test]
    fn a_thread_keeps_to_its_own() {
        let counters = Striped::<AtomicU64>::default();
        assert!(std::ptr::eq(counters.own(), counters.own()));
    }
}
