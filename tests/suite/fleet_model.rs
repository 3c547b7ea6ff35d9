//! A model test of a fleet: random histories of what happens to several processes that share one engine, against a
//! small reference model.
//!
//! `world` is the model, `chance` draws what happens in it, `selections` says what an invalidation is about, `journal`
//! writes down what happens, `rules` judges each request by it, and `system` drives the processes, each a `process`.
//! Time is tokio's, paused; the clocks on the wall are ahead of it or behind, and are set. A case ends with a failure
//! as soon as one rule is broken. In words:
//!
//! * Never is a token accepted at or after its expiry, by the clock of the process that judges.
//! * Never is a token accepted that was revoked for longer than the `max_ttl` of that process, through whichever
//!   process and the engine the answer came, unless the request itself has waited for its answer since before; nor for
//!   longer than `max_ttl` and the allowance of an outage, and then only if a question of this process failed
//!   meanwhile. By as much as a clock was set back, that is longer; for the engine's, what is allowed for is taken off.
//! * After `invalidate` has returned, no request of the same process gets an answer that was asked for before. Nor,
//!   once it was recorded, one of a process that has read the log since, unless the engine lost records meanwhile; nor
//!   any request once it has got everywhere.
//! * A token is rejected only by an answer that says so and is not older than `inactive_ttl`.
//! * A request fails only with the failure of a question that its process asked: never because of the engine.
//! * The engine costs a request no more than 50 ms for each look, and what another process asks no more time than a
//!   question may take.
//! * Whatever happened, when all is healed every request ends and gets what is true, and one asks for all.
//!
//! `PROPTEST_CASES` says how many cases; failures are kept in `fleet_model.proptest-regressions`, and run first from
//! then on.
#![cfg(all(feature = "redis", feature = "test-util"))]

mod chance;
mod journal;
mod process;
mod reached;
mod regressions;
mod rules;
mod selections;
mod system;
mod world;

use proptest::test_runner::{Config, FileFailurePersistence, RngAlgorithm, TestRng, TestRunner};
use proptest_state_machine::{ReferenceStateMachine, StateMachineTest};

use self::reached::Reached;
use self::system::System;
use self::world::World;

/// Enough to break most of what can be broken, in half a minute.
const CASES: u32 = 1_200;

#[test]
fn no_history_of_a_fleet_breaks_a_rule() {
    let mut config = Config {
        source_file: Some(file!()),
        test_name: Some(concat!(module_path!(), "::no_history_of_a_fleet_breaks_a_rule")),
        failure_persistence: Some(Box::new(FileFailurePersistence::WithSource("proptest-regressions"))),
        ..Config::default()
    };
    if std::env::var_os("PROPTEST_CASES").is_none() {
        config.cases = CASES;
    }
    let cases = config.cases;
    Reached::start();
    // The same histories each time, unless others are asked for: what is new is found by whoever looks for it, and not
    // by who changes something else.
    let mut runner = match std::env::var_os("PROPTEST_CASES") {
        None => TestRunner::new_with_rng(config.clone(), TestRng::deterministic_rng(RngAlgorithm::ChaCha)),
        Some(_) => TestRunner::new(config.clone()),
    };
    let outcome = runner.run(&World::sequential_strategy(1..50), |(world, steps, seen)| {
        System::test_sequential(config.clone(), world, steps, seen);
        Ok(())
    });
    if let Err(failure) = outcome {
        panic!("{failure}\n{runner}");
    }
    for (what, count, is_enough) in Reached::counts(cases) {
        println!("{what}: {count}");
        assert!(is_enough || cases < CASES, "{what}: {count}: the model tests less than it should");
    }
}
