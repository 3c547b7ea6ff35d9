//! The secret is changed while the fleet serves.

use tower_introspection::Verdict;
use tower_introspection::fleet::{Fleet, FleetBuilder, FleetSecret};

use super::{Process, engine, passes, secret, until_in};
use crate::support::{Authority, bearer, secs};

/// What a process is given at each step: the first secret, and the second.
type Steps = [fn() -> (FleetSecret, Option<FleetSecret>); 4];

fn new_secret() -> FleetSecret {
    FleetSecret::from_bytes(b"the next secret of thirty-two bytes, no less").unwrap()
}

/// Restarts all processes, one after the other, for each step. Each token is in use in each process every two seconds,
/// and one is invalidated after each restart. Tells how many questions there were.
async fn questions(steps: Steps) -> usize {
    let (engine, clock) = engine();
    let authority = Authority::new(Ok(Verdict::Active(until_in(6_000))));
    let start = |step: usize| {
        let (first, second) = steps[step]();
        let fleet = Fleet::in_memory(&engine, "orders", first);
        let fleet = second.into_iter().fold(fleet, FleetBuilder::second_secret);
        Process::of(fleet, &clock, &authority, |cache| cache)
    };
    let mut processes = vec![start(0), start(0), start(0)];
    let tokens: Vec<_> = (0..20).map(|n| format!("token-{n}")).collect();
    for (step, place) in (1..4).flat_map(|step| (0..3).map(move |place| (step, place))) {
        processes[place] = start(step);
        for _ in 0..5 {
            passes(&clock, secs(2)).await;
            for process in &processes {
                for token in &tokens {
                    assert!(process.presents(token).await.unwrap().is_active(), "step {step} of {place}");
                }
            }
        }
        // Whoever says it, all hear of it.
        let (token, before) = (&tokens[place], authority.questions());
        processes[2 - place].handle().invalidate(&bearer(token)).await;
        passes(&clock, secs(1)).await;
        for process in &processes {
            assert!(process.presents(token).await.unwrap().is_active());
        }
        assert!(authority.questions() > before, "step {step} of {place}");
        for process in &processes {
            let stats = process.stats();
            // One that has just gone may still be counted.
            assert!((3..=4).contains(&stats.processes), "step {step} of {place}");
            // A process that no longer has the old secret begins with a gap while records of that secret are kept.
            assert!((stats.unreadable == 0 && stats.gaps == 0) || step == 3, "step {step} of {place}: {stats:?}");
        }
    }
    authority.questions()
}

/// Invariant 4: two secrets at a time; three rolling restarts change the secret, without a failure, with invalidations
/// heard by all, and with no more than half as many questions again as such restarts cost with one secret.
#[tokio::test(start_paused = true)]
async fn three_rolling_restarts_change_the_secret() {
    let unchanged = questions([|| (secret(), None); 4]).await;
    let changed = questions([
        || (secret(), None),
        || (secret(), Some(new_secret())),
        || (new_secret(), Some(secret())),
        || (new_secret(), None),
    ])
    .await;
    assert!(changed * 2 <= unchanged * 3, "{changed} questions, and {unchanged} with one secret");
}
