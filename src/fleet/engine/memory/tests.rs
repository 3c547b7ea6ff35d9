//! Faults, and what is peculiar to this engine; `conformance` has what holds for all.

use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::clock::ManualClock;
use crate::fleet::engine::conformance::{Subject, conforms};

mod conformance {
    use super::*;

    async fn subject() -> Option<Subject> {
        let clock = ManualClock::new();
        let engine = Arc::new(MemoryEngine::with_clock(clock.clone()));
        let advance = move |by: Duration| {
            clock.advance(by);
            Box::pin(std::future::ready(())) as _
        };
        Some(Subject { engine, advance: Box::new(advance) })
    }

    conforms!(subject);
}
