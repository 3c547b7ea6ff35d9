//! A model test: random histories of tokens, times, faults, invalidations and requests, against a small reference
//! model.
//!
//! `world` is the model, `journal` writes down what happens, `rules` judges each request by it, and `system` drives the
//! cache. `common` is what `fleet_model` needs, too. A case ends with a failure as soon as one rule is broken. In
//! words:
//!
//! * Never is a token accepted at or after its expiry.
//! * Never is a token accepted that was revoked for longer than `max_ttl`, unless the request itself has waited for its
//!   answer since before the revocation; nor for longer than `max_ttl` and the allowance of an outage, and then only if
//!   a question failed that the request waited for, the authority has not answered another since, and the token says
//!   that it is stale.
//! * After an invalidation has returned, no request that comes later gets an answer that was asked for before.
//! * A token is rejected only by an answer that says so and is not older than `inactive_ttl`. A failure is never one.
//! * A request fails only with the failure of a question that it waited for, or for want of room for its question.
//! * One question per token is under way, and no more of them than allowed.
//! * No more entries are remembered than there is room for; an answer that is remembered serves.
//! * Whatever happened, when the authority answers again every request ends, and gets what is true.
//!
//! When the clock on the wall is set back, every "not older than" is longer by as much, and no longer.
//!
//! `PROPTEST_CASES` says how many cases; failures are kept in `model.proptest-regressions`, and run first from then on.
#![cfg(feature = "test-util")]

pub(crate) mod common;
mod journal;
mod regressions;
mod rules;
mod system;
mod world;

use proptest::test_runner::{Config, FileFailurePersistence, TestRunner};
use proptest_state_machine::{ReferenceStateMachine, StateMachineTest};

use self::system::{Reached, System};
use self::world::World;

/// Enough to break most of what can be broken, in seconds.
const CASES: u32 = 2_000;

#[test]
fn no_history_breaks_a_rule() {
    let mut config = Config {
        source_file: Some(file!()),
        test_name: Some(concat!(module_path!(), "::no_history_breaks_a_rule")),
        failure_persistence: Some(Box::new(FileFailurePersistence::WithSource("proptest-regressions"))),
        ..Config::default()
    };
    if std::env::var_os("PROPTEST_CASES").is_none() {
        config.cases = CASES;
    }
    let cases = config.cases;
    Reached::start();
    let mut runner = TestRunner::new(config.clone());
    let outcome = runner.run(&World::sequential_strategy(1..60), |(world, steps, seen)| {
        System::test_sequential(config.clone(), world, steps, seen);
        Ok(())
    });
    if let Err(failure) = outcome {
        panic!("{failure}\n{runner}");
    }
    for (ending, count) in Reached::counts() {
        println!("{ending}: {count}");
        let enough = count >= u64::from(cases / 100);
        assert!(enough || cases < CASES, "{count} requests were {ending}: the model tests less than it should");
    }
}
