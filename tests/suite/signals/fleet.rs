//! An event that one process of a fleet is sent.
#![cfg(feature = "redis")]

use tower_introspection::fleet::MemoryEngine;

use super::*;
use crate::fleet::{Process, engine, passes, until_in};
use crate::support::{Authority, inactive, millis, secs};

async fn heard_by(process: &Process, sandbox: &Sandbox, clock: &ManualClock) -> Signals {
    let transmitter = transmitter(sandbox).cache(process.handle());
    Signals::builder().transmitter(transmitter).clock(clock.clone()).build().unwrap()
}

fn event(sandbox: &Sandbox) -> String {
    sandbox.sign_event(SandboxEvent::new(ACCOUNT_DISABLED).about_user(sandbox.issuer(), "ann")).unwrap()
}

#[tokio::test(start_paused = true)]
async fn all_processes_refuse_a_token_once_one_of_them_has_taken_the_event() {
    let (engine, clock) = engine();
    let sandbox = Sandbox::start_with_clock(clock.clone()).await.unwrap();
    let authority = Authority::new(Ok(Verdict::Active(until_in(600))));
    let processes: [Process; 2] = Process::several(&engine, &clock, &authority).await;
    for process in &processes {
        assert!(process.presents("abc").await.unwrap().is_active());
    }
    authority.says(inactive(InactiveReason::Revoked));
    let signals = heard_by(&processes[0], &sandbox, &clock).await;
    assert_eq!(push(&signals, &event(&sandbox)).await, TAKEN);
    assert!(!processes[0].presents("abc").await.unwrap().is_active());
    passes(&clock, millis(300)).await;
    assert!(!processes[1].presents("abc").await.unwrap().is_active());
}

/// Otherwise the transmitter would send it no second time, and nobody else would ever hear of it, should this process
/// end.
#[tokio::test(start_paused = true)]
async fn while_the_engine_is_away_an_event_has_its_effect_here_and_is_to_be_sent_again() {
    type Fault = fn(&MemoryEngine, bool);
    let faults: [(&str, Fault); 3] = [
        ("cut off", |engine, is| engine.cut_off(is)),
        ("hung", |engine, is| engine.hang(is)),
        ("full", |engine, is| engine.full(is)),
    ];
    for (name, fault) in faults {
        let (engine, clock) = engine();
        let sandbox = Sandbox::start_with_clock(clock.clone()).await.unwrap();
        let authority = Authority::new(Ok(Verdict::Active(until_in(600))));
        let processes: [Process; 2] = Process::several(&engine, &clock, &authority).await;
        for process in &processes {
            assert!(process.presents("abc").await.unwrap().is_active());
        }
        authority.says(inactive(InactiveReason::Revoked));
        let signals = heard_by(&processes[0], &sandbox, &clock).await;
        let set = event(&sandbox);
        fault(&engine, true);
        assert_eq!(push(&signals, &set).await, (503, None), "{name}");
        assert!(!processes[0].presents("abc").await.unwrap().is_active(), "{name}");
        fault(&engine, false);
        passes(&clock, secs(12)).await;
        assert_eq!(push(&signals, &set).await, TAKEN, "{name}");
        passes(&clock, millis(300)).await;
        assert!(!processes[1].presents("abc").await.unwrap().is_active(), "{name}");
        let outcomes = signals.handle().stats().transmitters[0].outcomes.clone();
        assert_eq!(outcomes, [(EventOutcome::Applied, 1), (EventOutcome::TurnedAway, 1)], "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn in_a_strict_fleet_no_process_serves_the_token_once_the_event_is_taken() {
    let (engine, clock) = engine();
    let sandbox = Sandbox::start_with_clock(clock.clone()).await.unwrap();
    let authority = Authority::new(Ok(Verdict::Active(until_in(600))));
    let start = || Process::set_up(&engine, &clock, &authority, |fleet| fleet.strict(secs(5)), |cache| cache);
    let processes = [start(), start()];
    crate::fleet::all_read(&[&processes[0], &processes[1]]).await;
    for process in &processes {
        assert!(process.presents("abc").await.unwrap().is_active());
    }
    authority.says(inactive(InactiveReason::Revoked));
    let signals = heard_by(&processes[0], &sandbox, &clock).await;
    let (set, ticking) = (event(&sandbox), clock.clone());
    let ticks = tokio::spawn(async move { passes(&ticking, secs(10)).await });
    assert_eq!(push(&signals, &set).await, TAKEN);
    assert!(!processes[1].presents("abc").await.unwrap().is_active());
    ticks.abort();
}
